"""Mixed cells: some of a cell's sensors over 6G, the others over Zigbee, both at the same time.

The two media don't disturb each other (6 GHz, 2.4 GHz), so the cell is done when the slower of the two is. Sensors that
cost most resource-block slots (RB-slots) per byte leave 6G first: there they hold up the others most, while Zigbee asks
the same time for everybody's byte.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from optimizer.zigbee import zigbee_delays

STEPS = 14  # of bisection on the delay, to 1e-4 of that of the better path
MISSES = 5  # sensors passed over as too large


@dataclass(frozen=True)
class Split:
    """Sensors by path, in the demands' order, and the largest delay of each path in seconds, 0 where nobody is."""

    sixg: tuple[str, ...]
    zigbee: tuple[str, ...]
    sixg_s: float
    zigbee_s: float

    @property
    def delay_s(self) -> float:
        """The cell's largest delay."""
        return max(self.sixg_s, self.zigbee_s)


def slowest_on_zigbee_s(demands_bytes: Mapping[str, float]) -> float:
    """Largest delay in seconds of demands in bytes that share a coordinator; 0 without any."""
    return max(zigbee_delays(demands_bytes).values(), default=0.0)


def mixed_split(
    demands_bytes: Mapping[str, float],
    rb_slots: Mapping[str, float],
    sixg_delay_s: Callable[[frozenset[str]], float],
    zigbee_delay_s: Callable[[Mapping[str, float]], float] = slowest_on_zigbee_s,
) -> Split:
    """Split a cell's sensors so that its largest delay is small; it is never above that of the better path alone.

    demands_bytes: by sensor id. rb_slots: what each sensor costs on 6G, in any unit (RB-slots that it holds when all
    are on 6G). sixg_delay_s: largest delay of a set of sensors on 6G, inf where they can't be served; not asked for
    the empty set, and for no set twice. zigbee_delay_s: the same for demands on Zigbee. Neither may fall when a sensor
    joins. Raises ValueError for a sensor without its cost.

    Bisection on the delay T: Zigbee takes sensors in a given order, each that it can still carry within T; T can be met
    if the rest can on 6G. Orders: cost per byte, which is right when all are small, and size both ways, as packing a
    few large ones is a knapsack. A heuristic therefore; ``tests`` compare it with all splits.
    """
    if missing := demands_bytes.keys() - rb_slots.keys():
        raise ValueError(f"rb_slots: sensor {sorted(missing)[0]} is missing; give the cost of every sensor")
    known: dict[frozenset[str], float] = {frozenset(): 0.0}

    def split(over_zigbee: Collection[str]) -> Split:
        rest = frozenset(demands_bytes.keys() - set(over_zigbee))
        if rest not in known:
            known[rest] = sixg_delay_s(rest)
        chosen = {sensor: demands_bytes[sensor] for sensor in demands_bytes if sensor not in rest}
        stay = tuple(sensor for sensor in demands_bytes if sensor in rest)
        return Split(stay, tuple(chosen), known[rest], zigbee_delay_s(chosen) if chosen else 0.0)

    def fits(sensors: Sequence[str], limit_s: float) -> bool:
        return not sensors or zigbee_delay_s({sensor: demands_bytes[sensor] for sensor in sensors}) <= limit_s

    best = min(split(()), split(demands_bytes.keys()), key=lambda each: each.delay_s)
    by_cost = sorted(
        demands_bytes, key=lambda sensor: rb_slots[sensor] / max(demands_bytes[sensor], 1e-9), reverse=True
    )
    by_size = sorted(demands_bytes, key=demands_bytes.__getitem__)
    for order in (by_cost, by_size, by_size[::-1]):
        low, high = 0.0, best.delay_s
        for _ in range(STEPS):
            middle = (low + high) / 2
            tried = split(_packed(order, lambda sensors, limit_s=middle: fits(sensors, limit_s)))
            best = min(best, tried, key=lambda each: each.delay_s)
            low, high = (low, middle) if tried.delay_s <= middle else (middle, high)
    return best


def _packed(order: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """Sensors in their order, each that fits with those before; after MISSES that don't, no more are tried."""
    taken: list[str] = []
    at = 0
    for _ in range(MISSES + 1):
        run = order[at:]
        more = bisect_left(range(1, len(run) + 1), True, key=lambda n, run=run: not fits([*taken, *run[:n]]))
        taken += run[:more]
        at += more + 1
        if at >= len(order):
            break
    return taken


def by_shares(delay_s: float, rb_slots: Mapping[str, float]) -> Callable[[frozenset[str]], float]:
    """A fast 6G delay of sets of sensors: ``delay_s`` is that of all; a set needs its share of the RB-slots.

    Who stays takes over the RB-slots of those who leave. That is what RB-slots of equal worth would give; solve the
    chosen set again before it is used.
    """
    total = sum(rb_slots.values())
    return lambda sensors: delay_s * sum(rb_slots[sensor] for sensor in sensors) / total
