"""Literal mode in one cell: each device holds its RBs throughout (F = 1), its power spread over them by water-filling.

Disjoint sets S_i of free RBs are wanted, with SINR >= beta on each RB of a set, so that the largest delay is least.
Exact as far as the gap says:

1. Counting gives a lower bound: the least T at which the RBs that the devices need at least, k_i(T), fit together.
2. Assignments by the Hungarian method, with weights that grow for the slowest devices, give a solution.
3. Bisection between the two: is T within reach? A mixed-integer program decides, with a binary for "device i holds k
   RBs". Its rates are tangents of water-filling from above: for every price of power l, the rate on a set is at most
   the sum over its RBs of max_q [log2(1 + snr q) - l q], plus l. So "no" is proven; where "yes" is too hopeful, the
   tangent at the set's own price is added and the question put again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from optimizer.cell import LN2, Cell, CellResult
from optimizer.fluid import solve_fluid
from optimizer.program import Program, solve_program

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LADDER = (1.001, 1.003, 1.01, 1.03, 1.1, 1.3, 2.0, 5.0)  # times the bound, tried by the heuristic in turn
_INADMISSIBLE = -1e6


def solve_literal(
    cell: Cell, solver: str, gap: float, seconds_left: Callable[[], float], start: Ints | None = None
) -> CellResult:
    """Solve to the relative gap asked for, or as far as time allows; a matching of devices to RBs must exist.

    ``start`` [M]: an assignment (device or -1) to begin with, from a problem that was much the same.
    """
    counting = cell.counting_bound_s(1)
    lower, bound, solvers, timed_out = counting, "counting", ["heuristic"], False
    best, iterations = _heuristic(cell, counting, gap, seconds_left, start)
    search = _Search(cell, solver)
    while best.upper_s / lower - 1 > gap and solver != "heuristic":
        if timed_out := seconds_left() <= 0:
            break
        target = (lower * best.upper_s) ** 0.5
        status, owner = search.reachable(target, seconds_left)
        iterations += 1
        if owner is not None:
            best = best.or_better(_assigned(cell, owner))
        if status == "infeasible":
            lower, bound = target, "milp"
        elif status != "feasible":
            timed_out = status == "time_limit"
            break
        solvers += [search.used] if search.used and search.used not in solvers else []
    fluid = solve_fluid(cell, counting, "auto", seconds_left)
    if fluid.bound_s > lower:
        lower, bound = fluid.bound_s, "fluid"
    return CellResult(
        schedule=best.schedule,
        power=best.power,
        delay_s=best.delay_s,
        lower_bound_s=min(lower, best.upper_s),
        bound=bound,
        fluid_bound_s=fluid.bound_s,
        mu=fluid.mu,
        nu=fluid.nu,
        counting_bound_s=counting,
        solvers=tuple(solvers),
        iterations=iterations,
        timed_out=timed_out,
    )


@dataclass(frozen=True, eq=False)
class _Assigned:
    """An assignment with its power [1, M] and delays [N]; believed by formula only, never by a solver's word."""

    schedule: Ints
    power: Floats
    delay_s: Floats

    @property
    def upper_s(self) -> float:
        return float(self.delay_s.max())

    def or_better(self, other: "_Assigned") -> "_Assigned":
        return other if other.upper_s < self.upper_s else self


def _assigned(cell: Cell, owner: Ints) -> _Assigned:
    schedule, power = cell.powered(owner[None, :])
    with np.errstate(divide="ignore"):
        return _Assigned(schedule, power, cell.work / cell.rates(schedule, power))


# --- The heuristic ----------------------------------------------------------------------------------------------------


def _heuristic(
    cell: Cell, lower: float, gap: float, seconds_left: Callable[[], float], start: Ints | None
) -> tuple[_Assigned, int]:
    """A good assignment and the number of Hungarian assignments it took; one RB per device is where it begins."""
    best, iterations = None, 0
    if start is not None and np.isin(np.arange(len(cell.work)), start).all():
        best = _assigned(cell, start)
        best = best if np.isfinite(best.upper_s) else None
    for target in (None, *(lower * step for step in _LADDER)):
        if best is not None and (seconds_left() <= 0 or best.upper_s <= max(target or 0.0, lower * (1 + gap))):
            break
        counts = np.ones(len(cell.work), np.int64) if target is None else cell.counts(target, 1)
        owner, steps = _attempt(cell, counts, target or lower, seconds_left)
        iterations += steps
        if owner is not None:
            found = _assigned(cell, owner)
            best = found if best is None else best.or_better(found)
    return best, iterations


def _attempt(cell: Cell, counts: Ints, target_s: float, seconds_left: Callable[[], float]) -> tuple[Ints | None, int]:
    """Assignments with ``counts`` RBs per device, evenly powered; the slowest device gets one more while RBs are
    left.
    """
    devices, rbs = cell.shape
    if counts.sum() > rbs:
        return None, 0
    counts, weight = counts.copy(), np.ones(devices)
    best, best_share, steps = None, 0.0, 0
    while True:
        rates = _even_rates(cell, counts) * (target_s / cell.work)[:, None]
        rows, shortfall = np.repeat(np.arange(devices), counts), np.zeros(devices)
        for turn in range(40 if steps == 0 else 8):
            value = np.where(rates > 0, weight[:, None] * np.minimum(rates, 1.0), _INADMISSIBLE)[rows]
            at, columns = linear_sum_assignment(value, maximize=True)
            steps += 1
            if (value[at, columns] == _INADMISSIBLE).any():
                return best, steps
            share = np.bincount(rows[at], rates[rows[at], columns], minlength=devices)  # of the rate wanted
            if share.min() > best_share:
                best, best_share = np.full(rbs, -1), share.min()
                best[columns] = rows[at]
            if best_share >= 1 or (best is not None and seconds_left() <= 0):
                return best, steps
            shortfall += 1 - np.minimum(share, 1.0)
            weight *= np.exp((1 - np.minimum(share, 1.2)) / (1 + turn / 5))
            weight /= weight.mean()
        if counts.sum() >= rbs or steps > 300:
            return best, steps
        worst = np.argmax(np.where(counts < cell.most_parallel, shortfall, -1.0))
        counts[worst] = min(counts[worst] + 1, cell.most_parallel[worst])


def _even_rates(cell: Cell, counts: Ints) -> Floats:
    """[N, M]: rate on each RB when a device spreads its power evenly over ``counts`` RBs; 0 under the SINR floor."""
    sinr = cell.snr / counts[:, None]
    return np.where(sinr >= cell.sinr_min, np.log2(1 + sinr), 0.0)


# --- The exact search -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Tangent:
    """Upper bound on a device's rate, whatever set it holds: sum of ``gain`` [M] over the set, plus ``price``.

    -inf on RBs where the device can't reach the SINR floor.
    """

    device: int
    price: float
    gain: Floats


@dataclass(frozen=True, eq=False)
class _Level:
    """``device`` holding exactly ``count`` of ``rbs``; ``shares``: part of its need that each would bring, at most
    1.
    """

    device: int
    count: int
    rbs: Ints
    shares: Floats


class _Search:
    """Answers "is T within reach?", remembering the tangents found on the way."""

    def __init__(self, cell: Cell, solver: str):
        self.cell, self.solver, self.used = cell, solver, ""
        self._tangents: list[_Tangent] = []
        self._touched: set[tuple[int, ...]] = set()  # (device, RBs) at which a tangent was taken
        self._extra = 1  # RB counts offered to a device beyond its least
        devices = np.arange(cell.shape[0])[:, None]
        held = np.arange(1, cell.shape[1] + 1)
        with np.errstate(divide="ignore"):
            inverse = 1 / cell.ranked_snr
        # Water level of each device's best k RBs [N, M]: the price at which level k's tangent touches.
        self._water = np.minimum((1 + np.cumsum(inverse, axis=1)) / held, 1.0 + inverse[devices, 0])

    def reachable(self, target_s: float, seconds_left: Callable[[], float]) -> tuple[str, Ints | None]:
        """("feasible", owner [M] that meets the target), ("infeasible", None); "time_limit", or "undecided" where the
        solver's tolerance is coarser than the question, with an owner or None."""
        owner = None
        while True:
            levels, complete = self._levels(target_s)
            if levels is None:
                return "infeasible", None
            program, pairs = self._program(levels, target_s)
            if seconds_left() <= 0:
                return "time_limit", owner
            outcome = solve_program(program, self.solver, seconds_left())
            self.used = outcome.solver
            if outcome.values is None and outcome.status == "infeasible":
                if complete:
                    return "infeasible", None
                self._extra *= 4
                continue
            if outcome.values is None:
                return "time_limit", owner
            owner = np.full(self.cell.shape[1], -1, np.int64)
            for (device, rb), value in zip(pairs, outcome.values[len(levels) :], strict=True):
                if value > 0.5:
                    owner[rb] = device
            late = np.flatnonzero(_assigned(self.cell, owner).delay_s > target_s * (1 + 1e-9))
            if not late.size:
                return "feasible", owner
            news = {(int(device), *np.flatnonzero(owner == device).tolist()) for device in late} - self._touched
            if not news:
                return "undecided", owner
            self._touched |= news
            self._tangents += [self._tangent_at(device, np.array(held)) for device, *held in news]

    def _tangent(self, device: int, water: float) -> _Tangent:
        """The tangent whose price is that of a water level."""
        snr, price = self.cell.snr[device], 1 / (water * LN2)
        with np.errstate(divide="ignore"):
            floor = self.cell.sinr_min / snr
            power = np.maximum(np.minimum(water - 1 / snr, 1.0), floor)
        reach = floor <= 1
        power = np.where(reach, power, 0.0)
        return _Tangent(device, price, np.where(reach, np.log2(1 + snr * power) - price * power, -np.inf))

    def _tangent_at(self, device: int, held: Ints) -> _Tangent:
        """The tangent that touches at the set held."""
        owner = np.full(self.cell.shape[1], -1, np.int64)
        owner[held] = device
        schedule, power = self.cell.powered(owner[None, :])
        snr, at_floor = self.cell.snr[device, held], 1 + 1e-9
        above = (power[0, held] * snr > self.cell.sinr_min * at_floor) & (schedule[0, held] >= 0)
        # With every RB at its floor any lower level touches; the least one that lifts none of them is the tightest.
        level = (power[0, held] + 1 / snr)[above].mean() if above.any() else ((1 + self.cell.sinr_min) / snr).min()
        return self._tangent(device, float(level))

    def _levels(self, target_s: float) -> tuple[list[_Level] | None, bool]:
        """What may serve to reach the target: per device and RB count, the RBs strong enough, and whether that is all.

        None where counting alone rules the target out.
        """
        cell, rbs = self.cell, self.cell.shape[1]
        least = cell.counts(target_s, 1)
        spare = int(rbs - least.sum())
        if spare < 0:
            return None, True
        levels, complete = [], True
        for device, need in enumerate(cell.work / target_s):
            top = min(int(least[device]) + spare, int(cell.most_parallel[device]))
            complete &= top <= least[device] + self._extra
            for count in range(int(least[device]), min(top, int(least[device]) + self._extra) + 1):
                tangent = self._tangent(device, float(self._water[device, count - 1]))
                rates = np.maximum(tangent.gain + tangent.price / count, 0.0)
                strongest = -np.sort(-rates)[:count]
                if strongest[-1] <= 0 or strongest.sum() < need * (1 - 1e-9):
                    continue
                weakest = need - strongest[:-1].sum()  # an RB below this could not be one of count that meet the need
                useful = np.flatnonzero((rates > 0) & (rates >= weakest - 1e-9 * need))
                levels.append(_Level(device, count, useful, np.minimum(rates[useful] / need, 1.0)))
        return levels, bool(complete)

    def _program(self, levels: list[_Level], target_s: float) -> tuple[Program, list[tuple[int, int]]]:
        """Binaries: first "takes level", then "holds an RB at a level" in the order of the pairs returned."""
        cell = self.cell
        devices, rbs = cell.shape
        level = np.repeat(np.arange(len(levels)), [len(one.rbs) for one in levels])
        rb = np.concatenate([one.rbs for one in levels])
        count = np.array([one.count for one in levels], float)
        device_of = np.array([one.device for one in levels])
        device, number = device_of[level], len(levels)
        hold = number + np.arange(len(level))
        floor = cell.sinr_min / cell.snr[device, rb]
        rows = _Rows(number + len(level))
        every = np.arange(number)
        ones = np.ones(len(level))
        rows.add(level, hold, ones, every, every, -count, 0.0, 0.0)
        rows.add(
            level, hold, np.concatenate([one.shares for one in levels]), every, every, -np.ones(number), 0.0, np.inf
        )
        rows.add(device_of, every, np.ones(number), lower=1.0, upper=1.0, rows=devices)
        rows.add(rb, hold, ones, lower=-np.inf, upper=1.0, rows=rbs)
        if cell.sinr_min > 0:
            rows.add(level, hold, floor, every, every, -np.ones(number), -np.inf, 1e-9)
        for tangent in self._tangents:
            need = cell.work[tangent.device] / target_s - tangent.price
            if need > 0:
                mine = device == tangent.device
                share = np.clip(tangent.gain[rb[mine]] / need, 0.0, 1.0)
                rows.add(np.zeros(mine.sum(), np.int64), hold[mine], share, lower=1.0, upper=np.inf, rows=1)
        size = number + len(level)
        program = Program(
            cost=np.zeros(size),
            matrix=rows.matrix(),
            row_lower=np.concatenate(rows.lower),
            row_upper=np.concatenate(rows.upper),
            lower=np.zeros(size),
            upper=np.ones(size),
            integer=np.ones(size, bool),
        )
        return program, list(zip(device.tolist(), rb.tolist(), strict=True))


class _Rows:
    """Rows of a program, block by block."""

    def __init__(self, columns: int):
        self.columns, self.count = columns, 0
        self.lower: list[Floats] = []
        self.upper: list[Floats] = []
        self._parts: list[tuple[Ints, Ints, Floats]] = []

    def add(self, row, column, value, row2=None, column2=None, value2=None, lower=0.0, upper=0.0, rows=None) -> None:
        """One block: entries (row, column, value), a second batch of them if given, and the limits of its rows."""
        rows = len(row2) if rows is None else rows
        self._parts.append((row + self.count, column, value))
        if row2 is not None:
            self._parts.append((row2 + self.count, column2, value2))
        self.lower.append(np.full(rows, lower))
        self.upper.append(np.full(rows, upper))
        self.count += rows

    def matrix(self) -> sp.csc_array:
        row, column, value = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        return sp.csc_array((value, (row, column)), shape=(self.count, self.columns))
