"""Which path each cell takes: policy "tau" (paper, section II.A) or policy "delay".

"tau": predicted load below the threshold, then 6G, else Zigbee; the way back has a lower threshold (hysteresis), so
that a cell near tau doesn't flap. "delay": the path with the smaller predicted delay under the forecast's uncertainty;
``with_tail``, ``delay_of_rbs`` and ``sixg_delay_s`` lead from predicted loads there.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twin.path import Path

TAIL = (0.95, 0.98, 0.99)  # levels that with_tail adds


@dataclass(frozen=True)
class Decision:
    """The path of a cell's sensors, the predicted load (share of capacity) it rests on, and the reason in words.

    tau: NaN where no threshold was asked.
    """

    path: Path
    load: float
    tau: float
    why: str


def decide(
    load: Mapping[str, float],
    tau: float,
    hysteresis: float = 0.0,
    previous: Mapping[str, Decision] = MappingProxyType({}),
    name: str = "predicted load",
) -> dict[str, Decision]:
    """Decide for each cell id of ``load`` (predicted share of capacity; NaN = unknown).

    Without knowledge of the load no spectrum can be promised, so an unknown load means Zigbee. hysteresis, share of
    capacity: a cell whose ``previous`` decision found it over tau comes back to 6G only below tau - hysteresis, though
    at half of tau at the latest. name: of the load, for the reason in words. Raises ValueError for tau or hysteresis
    outside 0 to 1, and for a negative or infinite load.
    """
    for key, value in (("tau", tau), ("hysteresis", hysteresis)):
        if not 0 <= value <= 1:
            raise ValueError(f"{key}: {value} is not a share of capacity; give a number from 0 to 1")
    back = max(tau - hysteresis, tau / 2)
    over = {cell for cell, last in previous.items() if last.path is Path.ZIGBEE and not math.isnan(last.load)}
    return {cell: _decide(cell, float(value), tau, back if cell in over else tau, name) for cell, value in load.items()}


def decide_by_delay(
    load: Mapping[str, float],
    sixg_s: Mapping[str, Sequence[float]],
    zigbee_s: Mapping[str, float],
    levels: Sequence[float],
    risk: float | None = None,
) -> dict[str, Decision]:
    """Decide for each cell id of ``load`` (predicted share of capacity, NaN = unknown: Zigbee) by predicted delay.

    sixg_s[cell]: delay in seconds (inf: never) at the load quantiles ``levels`` of the forecast; zigbee_s[cell]: delay
    in seconds. risk: which quantile of the 6G delay counts; None: its mean (see ``risked_delay_s``). Ties go to 6G.
    Raises ValueError for delays that are negative or NaN, and as ``risked_delay_s`` does, naming the cell.
    """
    return {
        cell: _decide_by_delay(cell, float(value), sixg_s[cell], zigbee_s[cell], levels, risk)
        for cell, value in load.items()
    }


def risked_delay_s(delays_s: Sequence[float], levels: Sequence[float], risk: float | None = None) -> float:
    """One delay out of those at the quantile ``levels`` (rising, inside 0 to 1) of an uncertain quantity.

    risk None: the mean, where each quantile stands for the levels nearer to it than to the others. Else the delay at
    the lowest of the levels that is not below ``risk``. Raises ValueError.
    """
    at, values = np.asarray(levels, float), np.asarray(delays_s, float)
    if at.ndim != 1 or not at.size or values.shape != at.shape:
        raise ValueError(f"delays_s: {values.size} delays for {at.size} levels; give one for each, and at least one")
    if not (0 < at[0] and at[-1] < 1 and (np.diff(at) > 0).all()):
        raise ValueError(f"levels: {list(levels)} must rise between 0 and 1")
    if not (values >= 0).all():
        raise ValueError(f"delays_s: {list(delays_s)} must be numbers of 0 or more")
    if risk is None:
        edges = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
        return float(values @ np.diff(edges))
    if not 0 < risk <= at[-1] + 1e-12:
        raise ValueError(f"risk: {risk} must be above 0 and at most {at[-1]}, the highest level of the forecast")
    return float(values[np.searchsorted(at, risk - 1e-12)])


def with_tail(levels: Sequence[float], loads: ArrayLike) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """The levels and load quantiles [levels, slots] of a forecast, with TAIL added as a normal upper half has it.

    A cell without a free RB costs minutes where Zigbee takes seconds, so a chance of a few percent decides, and the
    highest level of a forecast, 0.9, doesn't show it. Raises ValueError without the median and a higher level.
    """
    at, table = tuple(levels), np.asarray(loads, float)
    if 0.5 not in at or not 0.5 < at[-1] < TAIL[0] or table.shape[:1] != (len(at),):
        raise ValueError(f"levels: {at} for {table.shape[:1]} rows; the median and a level up to {TAIL[0]} are needed")
    z = NormalDist().inv_cdf
    median = table[at.index(0.5)]
    tail = [median + (table[-1] - median) * z(level) / z(at[-1]) for level in TAIL]
    return (*at, *TAIL), np.vstack([table, tail])


def delay_of_rbs(solved_s: Mapping[int, float], rbs: int) -> float:
    """Delay in seconds with ``rbs`` free RBs, from delays solved for a few numbers of RBs; inf without a free RB.

    Between the solved numbers the rate (1 / delay) is linear in the RBs; above the largest it stays. The true rate is
    concave but for the luck of single RBs (more of them never hurt, and the power is shared), so this errs against 6G.
    """
    if not solved_s or min(solved_s) < 1 or not min(solved_s.values()) > 0:
        raise ValueError(f"solved_s: {dict(solved_s)} must be delays above 0 by number of RBs from 1 on, at least one")
    known = sorted(solved_s)
    rate = float(np.interp(rbs, [0, *known], [0.0, *(1 / solved_s[count] for count in known)]))
    return 1 / rate if rate > 0 else math.inf


def sixg_delay_s(alone_s: Iterable[float], first_s: float, slot_s: float, zigbee_s: float | None = None) -> float:
    """Delay in seconds of a retrieval that begins on 6G ``first_s`` before the end of a slot of load.

    alone_s: what the whole transfer would take in this slot, the next and so on, inf where no RB is free; read only as
    far as needed. Progress in a slot is the share of that time. When a slot without a free RB ends, its telemetry is in
    and what is left goes over Zigbee, which would take ``zigbee_s`` for the whole; None: the retrieval waits for RBs.
    inf when it isn't done where ``alone_s`` ends. Raises ValueError for ``first_s`` outside 0 to ``slot_s``.
    """
    if not 0 < first_s <= slot_s:
        raise ValueError(f"first_s: {first_s} must be above 0 and at most {slot_s}, the length of a slot")
    now, left, to_come = 0.0, first_s, 1.0
    for whole_s in alone_s:
        if math.isinf(whole_s):
            if zigbee_s is not None:
                return now + left + to_come * zigbee_s
        elif to_come * whole_s <= left:
            return now + to_come * whole_s
        else:
            to_come -= left / whole_s
        now, left = now + left, slot_s
    return math.inf


def _decide(cell: str, load: float, tau: float, limit: float, name: str) -> Decision:
    """6G below ``limit``, which is tau or, for a cell that was over it, less."""
    if math.isnan(load):
        return Decision(Path.ZIGBEE, load, tau, f"{name} unknown: no spectrum can be promised")
    if load < 0 or math.isinf(load):
        raise ValueError(f"load of cell {cell}: {load} is not a share of capacity; give a finite number of 0 or more")
    if load >= tau:
        return Decision(Path.ZIGBEE, load, tau, f"{name} {load:.3f} not below tau {tau:.3f}")
    if load >= limit:
        held = f"but the cell was over it and comes back to 6G below {limit:.3f}"
        return Decision(Path.ZIGBEE, load, tau, f"{name} {load:.3f} below tau {tau:.3f}, {held}")
    return Decision(Path.SIXG, load, tau, f"{name} {load:.3f} below tau {tau:.3f}")


def _decide_by_delay(
    cell: str, load: float, sixg_s: Sequence[float], zigbee_s: float, levels: Sequence[float], risk: float | None
) -> Decision:
    if math.isnan(load):
        return Decision(Path.ZIGBEE, load, math.nan, "predicted load unknown: no spectrum can be promised")
    if not zigbee_s >= 0:
        raise ValueError(f"zigbee_s of cell {cell}: {zigbee_s} must be a number of 0 or more")
    try:
        predicted_s = risked_delay_s(sixg_s, levels, risk)
    except ValueError as error:
        raise ValueError(f"cell {cell}: {error}") from None
    name = "mean" if risk is None else f"{risk:.0%} quantile"
    path, word = (Path.SIXG, "not above") if predicted_s <= zigbee_s else (Path.ZIGBEE, "above")
    why = f"predicted delay on 6G {predicted_s:.3g} s ({name}) {word} {zigbee_s:.3g} s on Zigbee"
    return Decision(path, load, math.nan, why)
