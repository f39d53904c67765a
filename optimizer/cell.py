"""One cell's problem in numbers of the order of one, and what can be said of it by formula alone.

Power is in units of p_max and rate in bit/s/Hz (units of the RB bandwidth B), so that ``snr`` is that of the full power
on one RB and ``work`` is data over B, in seconds at 1 bit/s/Hz.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optimizer.power import together, water_fill

Floats = NDArray[np.float64]
LN2 = float(np.log(2.0))
NO_SIGNAL = 1e-15  # SNR at full power up to which an RB is of no use to a device


@dataclass(frozen=True, eq=False)
class Cell:
    """N devices with data on M free RBs: snr [N, M] at full power on one RB, work [N] = data / B > 0, sinr_min
    linear.
    """

    snr: Floats
    work: Floats
    sinr_min: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.snr.shape

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """[N, M]: the device reaches the SINR floor on the RB, alone on it at full power."""
        return (self.snr >= self.sinr_min) & (self.snr > NO_SIGNAL)

    @cached_property
    def ranked_snr(self) -> Floats:
        """[N, M]: snr in falling order over the RBs."""
        return -np.sort(-self.snr, axis=1)

    @cached_property
    def best_rates(self) -> Floats:
        """[N, M + 1]: no device is faster on 0..M RBs of a slot: water-filled on its best RBs, each at the SINR floor
        at least. Where the floor makes that not concave in the number, its concave hull from above."""
        devices, rbs = self.shape
        count, beta = np.arange(1, rbs + 1), self.sinr_min
        with np.errstate(divide="ignore", invalid="ignore"):
            sums, logs = np.cumsum(1 / self.ranked_snr, axis=1), np.cumsum(np.log2(self.ranked_snr), axis=1)
            water = (1 + sums) / count
            rate = np.where(count <= self.most_parallel[:, None], count * np.log2(water) + logs, 0.0)
            row, held = np.nonzero((water * self.ranked_snr < 1 + beta) & (rate > 0))
        # Where the weakest RB would fall under its floor, bisection on how many of the weakest are held at the floor.
        low, high = np.ones(len(held), np.int64), held.copy()

        def level(pinned):
            free = held + 1 - pinned
            below = np.where(free > 0, sums[row, free - 1], 0.0)
            return (1 - beta * (sums[row, held] - below) + below) / np.maximum(free, 1)

        while (low < high).any():
            middle = (low + high) // 2
            above = level(middle) * self.ranked_snr[row, held - middle] >= 1 + beta
            low, high = np.where(above, low, middle + 1), np.where(above, middle, high)
        free = held + 1 - low
        rate[row, held] = free * np.log2(level(low)) + logs[row, free - 1] + low * np.log2(1 + beta)
        rate = np.concatenate([np.zeros((devices, 1)), rate], axis=1)
        rate = np.maximum.accumulate(np.nan_to_num(rate), axis=1)
        gains = -np.sort(-np.diff(rate, axis=1), axis=1)
        return np.concatenate([np.zeros((devices, 1)), np.cumsum(gains, axis=1)], axis=1)

    @cached_property
    def most_parallel(self) -> NDArray[np.int64]:
        """[N]: on how many RBs of a slot, its best ones, a device can reach the SINR floor together."""
        with np.errstate(divide="ignore"):
            least = self.sinr_min / self.ranked_snr
        return (np.cumsum(least, axis=1) <= 1 + 1e-9).sum(axis=1)

    def counts(self, delay_s: float, frame: int) -> NDArray[np.int64]:
        """[N]: least number of RB-slots of a frame of ``frame`` slots with which each device alone meets the delay.

        frame * M + 1 where none does.
        """
        need, best = self.work / delay_s, self.best_rates
        full = np.minimum((best <= need[:, None]).sum(axis=1) - 1, best.shape[1] - 1)  # RBs held in every slot
        rows = np.arange(len(need))
        step = best[rows, np.minimum(full + 1, best.shape[1] - 1)] - best[rows, full]
        rest = need - best[rows, full]
        with np.errstate(divide="ignore", invalid="ignore"):
            more = np.ceil(frame * rest / step - 1e-9)
        reached = rest <= 1e-12 * need
        out_of_reach = ~reached & (step <= 0)
        more = np.where(reached | out_of_reach, 0, np.maximum(more, 1))
        return np.where(out_of_reach, frame * self.shape[1] + 1, full * frame + more.astype(np.int64))

    def counting_bound_s(self, frame: int, tolerance: float = 1e-10) -> float:
        """The least delay at which the counts fit in the free RBs of a frame: no assignment can be faster.

        At most the relative ``tolerance`` below it.
        """
        capacity = frame * self.shape[1]
        least = float((self.work / self.best_rates[:, -1]).max())
        low, high = least * (1 - 1e-9), least
        while self.counts(high, frame).sum() > capacity:
            low, high = high, high * 2
            if not np.isfinite(high):
                return np.inf
        while high / low - 1 > tolerance:
            middle = (low * high) ** 0.5
            low, high = (low, middle) if self.counts(middle, frame).sum() <= capacity else (middle, high)
        return low

    def fluid_bound_s(self, mu: Floats, nu: Floats) -> float:
        """The delay that prices mu [N] of rate and nu [N] of mean power prove (``rrm`` certificate, in these units)."""
        worth = mu @ self.work
        if not worth > 0:
            return 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.clip(np.nan_to_num(mu / (nu * LN2), nan=0.0, posinf=np.inf)[:, None] - 1 / self.snr, 0.0, 1.0)
        value = mu[:, None] * np.log2(1 + self.snr * power) - nu[:, None] * power
        per_second = np.maximum(value.max(axis=0, initial=0.0), 0.0).sum() + nu.sum()
        return float(worth / per_second)

    def rates(self, schedule: NDArray[np.int64], power: Floats) -> Floats:
        """Mean rate [N] of a schedule [F, M] (device or -1) with its power [F, M], by formula."""
        slot, rb = np.nonzero(schedule >= 0)
        device = schedule[slot, rb]
        rate = np.log2(1 + self.snr[device, rb] * power[slot, rb])
        return np.bincount(device, rate, len(self.work)) / len(schedule)

    def powered(self, schedule: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """The schedule [F, M] and its water-filled power [F, M].

        A device's weakest RBs of a slot are left unused where they can't all reach the SINR floor or would get no
        power.
        """
        slot, rb = np.nonzero(schedule >= 0)
        device = schedule[slot, rb]
        snr, group = self.snr[device, rb], slot * len(self.work) + device
        _, group = np.unique(group, return_inverse=True)
        keep = together(snr, group, self.sinr_min)
        slot, rb = slot[keep], rb[keep]
        share = water_fill(snr[keep], group[keep], self.sinr_min)
        power, used = np.zeros(schedule.shape), np.full(schedule.shape, -1)
        power[slot, rb] = share
        used[slot, rb] = np.where(share > 0, device[keep], -1)
        return used, power


@dataclass(frozen=True, eq=False)
class CellResult:
    """What a solver found for a cell, and what it proved.

    schedule [F, M]: device or -1. power [F, M]: in units of p_max. delay_s [N]. lower_bound_s, named by bound ("fluid",
    "counting" or "milp"), is the largest of those proven; mu, nu [N] prove fluid_bound_s (``Cell.fluid_bound_s``), and
    the counts of RBs counting_bound_s. solvers: those that had a part in it.
    """

    schedule: NDArray[np.int64]
    power: Floats
    delay_s: Floats
    lower_bound_s: float
    bound: str
    fluid_bound_s: float
    mu: Floats
    nu: Floats
    counting_bound_s: float
    solvers: tuple[str, ...]
    iterations: int
    timed_out: bool

    @property
    def objective_s(self) -> float:
        return float(self.delay_s.max())

    @property
    def gap(self) -> float:
        return self.objective_s / self.lower_bound_s - 1
