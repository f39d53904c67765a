"""Literal mode in one cell: each device holds its RBs throughout (F = 1) and spreads p_max evenly over them.

The problem solved, exactly as far as its gap says: choose disjoint sets S_i of free RBs, k_i = |S_i| >= 1, with power
p_max / k_i and SINR >= beta on each RB of S_i, so that the largest delay D_i / (sum over S_i of B log2(1 + SINR_ij)) is
least.
What is not optimised is an uneven split of a device's power; with that the delay could be smaller still.

1. Counting gives a lower bound: the least T at which the RBs that the devices need at least, k_i(T), fit together.
2. Assignments by the Hungarian method, with weights that grow for the slowest devices, give a solution.
3. Bisection between the two: is T within reach? A small MILP decides (``optimizer.milp``), until the gap is closed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from optimizer import milp

Floats = NDArray[np.float64]
Owner = NDArray[np.int64]  # [M]: device that holds the RB, or -1

_LADDER = (1.001, 1.003, 1.01, 1.03, 1.1, 1.3, 2.0, 5.0)  # times the bound, tried by the heuristic in turn
_INADMISSIBLE = -1e6


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell's problem: SINR per watt [N, M] on its M free RBs, data > 0 [N]; N <= M, and a matching must exist."""

    sinr_per_w: Floats
    data_bits: Floats
    p_max_w: float
    sinr_min: float
    rb_bandwidth_hz: float

    @cached_property
    def rates_bps(self) -> Floats:
        """[N, K, M]: rate of a device on an RB when it holds k = 1..K RBs; 0 where its SINR would be below beta."""
        devices, rbs = self.sinr_per_w.shape
        power_w = self.p_max_w / np.arange(1, rbs - devices + 2)  # the others hold one RB each at least
        sinr = self.sinr_per_w[:, None, :] * power_w[None, :, None]
        return np.where(sinr >= self.sinr_min, self.rb_bandwidth_hz * np.log2(1 + sinr), 0.0)

    @cached_property
    def best_rates_bps(self) -> Floats:
        """[N, K, M]: rates_bps in falling order over the RBs."""
        return -np.sort(-self.rates_bps, axis=2)

    @cached_property
    def best_delays_s(self) -> Floats:
        """[N, K]: delay of a device that holds at most k RBs, the best of all; inf where none will do."""
        levels = np.arange(self.rates_bps.shape[1])
        total = np.cumsum(self.best_rates_bps, axis=2)[:, levels, levels]
        total[self.best_rates_bps[:, levels, levels] <= 0] = 0.0  # fewer than k RBs reach beta
        with np.errstate(divide="ignore"):
            return np.minimum.accumulate(self.data_bits[:, None] / total, axis=1)

    def counts(self, delay_s: float) -> NDArray[np.int64]:
        """k_i(T): the least number of RBs with which each device alone would meet the delay; M + 1 where none does."""
        met = self.best_delays_s <= delay_s * (1 + 1e-12)
        return np.where(met.any(axis=1), met.argmax(axis=1) + 1, self.sinr_per_w.shape[1] + 1)

    def counting_bound_s(self) -> float:
        """The least delay at which the counts fit in the free RBs: no assignment can be faster."""
        candidates = np.unique(self.best_delays_s[np.isfinite(self.best_delays_s)])
        low, high = 0, len(candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if self.counts(candidates[middle]).sum() <= self.sinr_per_w.shape[1]:
                high = middle
            else:
                low = middle + 1
        return float(candidates[low])

    def delays_s(self, owner: Owner) -> Floats:
        """Delay of each device under an assignment, by formula; inf where it breaks beta or has no RB."""
        held = owner[None, :] == np.arange(len(self.data_bits))[:, None]
        count = held.sum(axis=1, keepdims=True)
        sinr = self.sinr_per_w * self.p_max_w / np.maximum(count, 1)
        rate = np.where(held, self.rb_bandwidth_hz * np.log2(1 + sinr), 0.0).sum(axis=1)
        rate[(held & (sinr < self.sinr_min)).any(axis=1)] = 0.0
        with np.errstate(divide="ignore"):
            return self.data_bits / rate


@dataclass(frozen=True, eq=False)
class CellResult:
    """Assignment, its largest delay, the proven lower bound (of the problem above) and how it came about."""

    owner: Owner
    objective_s: float
    lower_bound_s: float
    bound: str
    solvers: tuple[str, ...]
    iterations: int
    timed_out: bool


def solve_cell(cell: Cell, solver: str, gap: float, seconds_left: Callable[[], float]) -> CellResult:
    """Solve to the relative gap asked for, or as far as time allows; always returns a feasible assignment."""
    lower, bound = cell.counting_bound_s(), "counting"
    owner, iterations = _heuristic(cell, lower, gap, seconds_left)
    upper = float(cell.delays_s(owner).max())
    solvers, extra, timed_out = ["heuristic"], 1, False
    while upper / lower - 1 > gap and solver != "heuristic":
        if timed_out := seconds_left() <= 0:
            break
        target = (lower * upper) ** 0.5
        levels, complete = _levels(cell, target, extra)
        if levels is None:
            answer = milp.Answer("infeasible", None, "")
        else:
            answer = milp.reachable(levels, solver, seconds_left())
        iterations += 1
        if answer.solver and answer.solver not in solvers:
            solvers.append(answer.solver)
        found = np.inf if answer.owner is None else float(cell.delays_s(answer.owner).max())
        if found < upper:  # believed by formula only, never by the solver's word
            owner, upper = answer.owner, found
        elif answer.status == "infeasible" and complete:
            lower, bound = target, "MILP" if levels else bound
        elif answer.status == "infeasible":
            extra *= 4  # the RB counts tried were a part of the possible ones: widen them
        else:
            timed_out = answer.status == "time_limit"
            break
    return CellResult(owner, upper, min(lower, upper), bound, tuple(solvers), iterations, timed_out)


def _heuristic(cell: Cell, lower: float, gap: float, seconds_left: Callable[[], float]) -> tuple[Owner, int]:
    """A good assignment and the number of Hungarian assignments it took; one RB per device is where it begins."""
    best, best_delay, iterations = None, np.inf, 0
    for target in (None, *(lower * step for step in _LADDER)):
        if best is not None and (seconds_left() <= 0 or best_delay <= max(target, lower * (1 + gap))):
            break
        counts = np.ones(len(cell.data_bits), np.int64) if target is None else cell.counts(target)
        owner, steps = _attempt(cell, counts, target or lower)
        iterations += steps
        if owner is not None and (delay := float(cell.delays_s(owner).max())) < best_delay:
            best, best_delay = owner, delay
    return best, iterations


def _attempt(cell: Cell, counts: NDArray[np.int64], target_s: float) -> tuple[Owner | None, int]:
    """Assignments with ``counts`` RBs per device; the slowest device gets one more while RBs are left."""
    devices, rbs = cell.sinr_per_w.shape
    if counts.sum() > rbs:
        return None, 0
    counts, weight = counts.copy(), np.ones(devices)
    best, best_share, steps = None, 0.0, 0
    while True:
        rates = cell.rates_bps[np.arange(devices), counts - 1] * (target_s / cell.data_bits)[:, None]
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
            if best_share >= 1:
                return best, steps
            shortfall += 1 - np.minimum(share, 1.0)
            weight *= np.exp((1 - np.minimum(share, 1.2)) / (1 + turn / 5))
            weight /= weight.mean()
        if counts.sum() >= rbs or steps > 300:
            return best, steps
        worst = np.argmax(np.where(counts < cell.rates_bps.shape[1], shortfall, -1.0))
        counts[worst] = min(counts[worst] + 1, cell.rates_bps.shape[1])


def _levels(cell: Cell, target_s: float, extra: int) -> tuple[list[milp.Level] | None, bool]:
    """What may serve to reach the target: per device and RB count, the RBs strong enough, and whether that is all.

    None where counting alone rules the target out.
    """
    rbs = cell.sinr_per_w.shape[1]
    least = cell.counts(target_s)
    spare = int(rbs - least.sum())
    if spare < 0:
        return None, True
    levels, complete = [], True
    for device, need in enumerate(cell.data_bits / target_s):
        top = min(least[device] + spare, cell.rates_bps.shape[1])
        complete &= top <= least[device] + extra
        for count in range(least[device], min(top, least[device] + extra) + 1):
            rates, best = cell.rates_bps[device, count - 1], cell.best_rates_bps[device, count - 1]
            if best[count - 1] <= 0 or best[:count].sum() < need * (1 - 1e-9):
                continue
            weakest = need - best[: count - 1].sum()  # an RB below this could not be one of count that meet the need
            useful = np.flatnonzero((rates > 0) & (rates >= weakest - 1e-9 * need))
            levels.append(milp.Level(device, count, useful, np.minimum(rates[useful] / need, 1.0), rbs))
    return levels, bool(complete)
