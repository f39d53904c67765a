"""Which paths of which cells are broken, or were until a moment ago: pure, told of ports and of the time.

Failover itself is the switches' work and needs nobody (``controller.flows``). This gives it hysteresis: the group of a
path that broke has the other path first until it has been whole for some time, so that a link that comes and goes does
not take the traffic to and fro with it.
"""

from collections.abc import Collection

from controller.flows import path_ports
from twin.path import Path
from twin.wiring import Wiring

CellPath = tuple[str, Path]


class PathHealth:
    """``return_after_s``: how long a path that was broken must have been whole before it counts again."""

    def __init__(self, wiring: Wiring, return_after_s: float):
        self._return_after_s = return_after_s
        self._ports_of: dict[CellPath, tuple[tuple[int, int], ...]] = {}
        self._paths_of: dict[tuple[int, int], CellPath] = {}
        for cell in wiring.cells.values():
            for path, ports in path_ports(cell, wiring).items():
                self._ports_of[cell.cell, path] = ports
                self._paths_of |= dict.fromkeys(ports, (cell.cell, path))
        self._down: set[tuple[int, int]] = set()
        self._until: dict[CellPath, float] = {}  # paths that are whole again, but were not for long enough

    def report(self, datapath_id: int, up: Collection[int], now_s: float) -> None:
        """The ports of a switch that are up; all others of its ports on a path are down or gone. A switch that is not
        heard of is taken to be as it was."""
        before = self.broken
        for port in [port for port in self._paths_of if port[0] == datapath_id]:
            (self._down.discard if port[1] in up else self._down.add)(port)
        for path in before - self.broken:
            self._until[path] = now_s + self._return_after_s
        for path in self.broken:
            self._until.pop(path, None)

    @property
    def broken(self) -> frozenset[CellPath]:
        """Paths with a port that is down now."""
        return frozenset(self._paths_of[port] for port in self._down)

    def down_ports(self, path: CellPath) -> tuple[tuple[int, int], ...]:
        """The ports, as (datapath id, port), for which a path is broken."""
        return tuple(port for port in self._ports_of[path] if port in self._down)

    def avoided(self, now_s: float) -> frozenset[CellPath]:
        """Paths that are broken, or were until ``return_after_s`` ago."""
        self._until = {path: until for path, until in self._until.items() if until > now_s}
        return self.broken | self._until.keys()

    def next_return_s(self) -> float | None:
        """When, on the clock of ``report``, the next path counts again if all stays as it is; None: none is waiting."""
        return min(self._until.values(), default=None)
