"""The fluid relaxation of a cell: RBs shared at will, power limited in the mean only. Its optimum bounds every
schedule.

Maximise t over shares x of (device i, RB j, power q): sum of r_ij(q) x >= work_i t for each device, shares of an RB sum
to at most 1, mean power sum of q x of a device at most 1. The prices of rate (mu), of RBs (pi) and of power (nu) are
the certificate. Columns are made as they are needed: for given prices the best power is a water level's,
q = clip(mu / (nu ln 2) - 1 / snr, 0, 1).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from optimizer.cell import LN2, Cell
from optimizer.power import water_fill
from optimizer.program import Program, solve_program

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 20
_TOLERANCE = 1e-3  # between the relaxation's own optimum and the bound that its prices prove
_FINE = 100  # slots of the frame in which RBs are counted for the first guess
_PER_DEVICE = 8  # columns of a device, for its best RBs, to begin with and at most in a round


@dataclass(frozen=True, eq=False)
class Columns:
    """Device, RB and power of each column."""

    device: Ints
    rb: Ints
    power: Floats

    def with_more(self, other: "Columns") -> "Columns":
        return Columns(*(np.concatenate(pair) for pair in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[Ints, Ints, Floats]:
        return self.device, self.rb, self.power

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, eq=False)
class Mix:
    """speed: the least rate over work, in 1/s. shares: of each column. mu, nu [N]: prices of rate and of mean power,
    None from a solver that gives none."""

    speed: float
    shares: Floats
    mu: Floats | None
    nu: Floats | None


@dataclass(frozen=True, eq=False)
class Fluid:
    """Proven bound in seconds with its prices mu, nu [N]; shares [N, M] of the best mix of the columns.

    shares is None when there was no time for a first answer; the bound is then that of the slowest device alone.
    """

    bound_s: float
    mu: Floats
    nu: Floats
    shares: sp.csr_array | None
    columns: Columns
    rounds: int
    timed_out: bool


def solve_fluid(cell: Cell, known_bound_s: float, solver: str, seconds_left: Callable[[], float]) -> Fluid:
    """The relaxation, closely enough or until ``known_bound_s`` is out of its reach, as far as time allows.

    With solver "heuristic" no program is solved.
    """
    free = replace(cell, sinr_min=0.0)  # the SINR floor is no part of the relaxation
    mu, nu = _slowest_alone(free)
    bound, shares, columns = cell.fluid_bound_s(mu, nu), None, _first_columns(free)
    turn = 0
    for turn in range(1, 1 if solver == "heuristic" else _ROUNDS + 1):
        found = share_program(cell, columns, columns_rate(cell, columns), solver, seconds_left())
        if found is None:
            return Fluid(bound, mu, nu, shares, columns, turn, timed_out=True)
        if (proven := cell.fluid_bound_s(found.mu, found.nu)) > bound:
            bound, mu, nu = proven, found.mu, found.nu
        shares = sp.coo_array((found.shares, (columns.device, columns.rb)), cell.shape).tocsr()
        if 1 / found.speed <= max(bound * (1 + _TOLERANCE), known_bound_s):
            break
        columns = columns.with_more(_priced_columns(cell, found.mu, found.nu))
    return Fluid(bound, mu, nu, shares, columns, turn, timed_out=False)


def _slowest_alone(cell: Cell) -> tuple[Floats, Floats]:
    """Prices that prove the delay of the device that would be slowest if each had all RBs for itself."""
    slowest = int((cell.work / cell.best_rates[:, -1]).argmax())
    power = water_fill(cell.snr[slowest], np.zeros(cell.shape[1], np.int64))
    level = (power + 1 / cell.snr[slowest])[power > 0].min()
    mu, nu = np.zeros(len(cell.work)), np.zeros(len(cell.work))
    mu[slowest], nu[slowest] = 1.0, 1 / (level * LN2)
    return mu, nu


def columns_rate(cell: Cell, columns: Columns) -> Floats:
    return np.log2(1 + cell.snr[columns.device, columns.rb] * columns.power)


def share_program(cell: Cell, columns: Columns, rate: Floats, solver: str, time_limit_s: float) -> Mix | None:
    """The best mix of the columns; None when time ran out."""
    if time_limit_s <= 0:
        return None
    (devices, rbs), count = cell.shape, len(columns)
    at, one = np.arange(count), np.ones(count)
    scale = float(np.median(cell.work))  # t in units in which work is of the order of one
    rows = np.concatenate([columns.device, devices + columns.rb, devices + rbs + columns.device, np.arange(devices)])
    matrix = sp.csc_array(
        (
            np.concatenate([rate, one, columns.power, -cell.work / scale]),
            (rows, np.concatenate([at, at, at, np.full(devices, count)])),
        ),
        shape=(2 * devices + rbs, count + 1),
    )
    outcome = solve_program(
        Program(
            cost=np.append(np.zeros(count), -1.0),
            matrix=matrix,
            row_lower=np.concatenate([np.zeros(devices), np.full(devices + rbs, -np.inf)]),
            row_upper=np.concatenate([np.full(devices, np.inf), np.ones(rbs + devices)]),
            lower=np.zeros(count + 1),
            upper=np.full(count + 1, np.inf),
            integer=np.zeros(count + 1, bool),
        ),
        solver,
        time_limit_s,
    )
    if outcome.status != "optimal":
        return None
    speed, shares = outcome.values[-1] / scale, np.maximum(outcome.values[:-1], 0.0)
    if outcome.duals is None:
        return Mix(speed, shares, None, None)
    prices = np.abs(outcome.duals)
    return Mix(speed, shares, prices[:devices], prices[devices + rbs :])


def _first_columns(cell: Cell) -> Columns:
    """The best RBs of each device, powered as if it held the number that counting alone gives it, or somewhat more."""
    devices, rbs = cell.shape
    counts = cell.counts(cell.counting_bound_s(_FINE, 1e-2), _FINE) / _FINE
    best = np.argsort(-cell.snr, axis=1)
    parts, before = [], np.zeros(devices)
    for factor in (0.7, 1.0, 1.4, 2.0):
        parallel = np.clip(np.round(factor * counts), 1, rbs).astype(np.int64)
        kept = np.arange(rbs)[None, :] < (np.maximum(_PER_DEVICE, 3 * parallel) * (parallel > before))[:, None]
        before = parallel
        device, rank = np.nonzero(kept)
        rb = best[device, rank]
        inverse = 1 / cell.snr[np.arange(devices)[:, None], best]
        level = (1 + np.cumsum(inverse, axis=1)[np.arange(devices), parallel - 1]) / parallel
        power = np.clip(level[device] - 1 / cell.snr[device, rb], 0.0, 1.0)
        parts.append(Columns(device[power > 0], rb[power > 0], power[power > 0]))
    return Columns(*(np.concatenate(arrays) for arrays in zip(*(part.parts() for part in parts), strict=True)))


def _priced_columns(cell: Cell, mu: Floats, nu: Floats) -> Columns:
    """Columns worth more than their RB's price: on each RB the best devices, and of each device the best RBs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.nan_to_num(mu / (nu * LN2), nan=0.0, posinf=np.inf)
        power = np.clip(level[:, None] - 1 / cell.snr, 0.0, 1.0)
    value = mu[:, None] * np.log2(1 + cell.snr * power) - nu[:, None] * power
    top = value.max(axis=0)
    near = (value >= top * (1 - 0.02)) & (power > 0)
    count = min(_PER_DEVICE, cell.shape[1])
    order = np.argpartition(-(value - top), count - 1, axis=1)[:, :count]
    chosen = np.zeros(cell.shape, bool)
    chosen[np.arange(cell.shape[0])[:, None], order] = True
    device, rb = np.nonzero(((value >= top * (1 - 1e-9)) | (near & chosen)) & (power > 0))
    return Columns(device, rb, power[device, rb])
