"""How a scenario is wired: switches, datapath ids and OpenFlow port numbers, as a pure function of the scenario.

    sensors -- gateway --+-- base station --------+-- core -- twin
                         +-- Zigbee coordinator --+
                                 (air loop)

Each cell has a gateway, a base station and a coordinator. The coordinator has a loop of two ports, its *air*: frames of
both directions leave by ``AIR_TX`` and come back by ``AIR_RX``, so that one queue shapes the half-duplex medium.
"""

from dataclasses import dataclass
from functools import cached_property

from twin.scenario import Scenario

# Ports of a gateway; sensors follow with the port in the scenario, 3 and up.
GATEWAY_TO_BASE_STATION, GATEWAY_TO_COORDINATOR = 1, 2
# Ports of base stations and coordinators.
TO_GATEWAY, TO_CORE, AIR_TX, AIR_RX = 1, 2, 3, 4
# Ports of the core; two per cell follow.
CORE_TO_TWIN = 1

_ROLES = {"core": 1, "gateway": 2, "base_station": 3, "coordinator": 4}


@dataclass(frozen=True)
class SwitchNode:
    """A switch. ``name`` is at most 8 characters for up to 9,999 cells, so that port names fit Linux's 15."""

    name: str
    role: str
    datapath_id: int
    cell: str | None


@dataclass(frozen=True)
class CellWiring:
    """The switches of one cell and its two ports on the core."""

    cell: str
    gateway: SwitchNode
    base_station: SwitchNode
    coordinator: SwitchNode
    core_to_base_station: int
    core_to_coordinator: int


@dataclass(frozen=True)
class Link:
    """A link between two switch ports, or between a host (``b`` is a sensor id or "twin", ``b_port`` 0) and a port."""

    a: str
    a_port: int
    b: str
    b_port: int


@dataclass(frozen=True)
class Wiring:
    scenario: Scenario

    @cached_property
    def core(self) -> SwitchNode:
        return _switch("core", "core", 0, None)

    @cached_property
    def cells(self) -> dict[str, CellWiring]:
        """Wiring by cell id, in the scenario's order."""
        return {
            cell.id: CellWiring(
                cell.id,
                _switch(f"gw{i:02d}", "gateway", i, cell.id),
                _switch(f"bs{i:02d}", "base_station", i, cell.id),
                _switch(f"zb{i:02d}", "coordinator", i, cell.id),
                2 * i,
                2 * i + 1,
            )
            for i, cell in enumerate(self.scenario.cells, 1)
        }

    @cached_property
    def switches(self) -> tuple[SwitchNode, ...]:
        return (
            self.core,
            *(switch for c in self.cells.values() for switch in (c.gateway, c.base_station, c.coordinator)),
        )

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every link once, the coordinators' air loops included (both ends on the same switch)."""
        links = [Link("core", CORE_TO_TWIN, "twin", 0)]
        for cell in self.cells.values():
            gateway, base_station, coordinator = cell.gateway.name, cell.base_station.name, cell.coordinator.name
            links += [
                Link(gateway, GATEWAY_TO_BASE_STATION, base_station, TO_GATEWAY),
                Link(gateway, GATEWAY_TO_COORDINATOR, coordinator, TO_GATEWAY),
                Link("core", cell.core_to_base_station, base_station, TO_CORE),
                Link("core", cell.core_to_coordinator, coordinator, TO_CORE),
                Link(coordinator, AIR_TX, coordinator, AIR_RX),
            ]
            links += [Link(gateway, sensor.port, sensor.id, 0) for sensor in self.scenario.sensors_of[cell.cell]]
        return tuple(links)


def role_of(datapath_id: int) -> str | None:
    """The role that a datapath id says; None: none of ours."""
    return next((role for role, number in _ROLES.items() if datapath_id >> 32 == number), None)


def _switch(name: str, role: str, index: int, cell: str | None) -> SwitchNode:
    return SwitchNode(name, role, (_ROLES[role] << 32) | index, cell)
