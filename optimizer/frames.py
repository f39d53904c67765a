"""Frames mode in one cell: RBs are shared over the F slots of a frame.

1. Bounds: the fluid relaxation (``optimizer.fluid``) and counting (``Cell.counting_bound_s``).
2. Shares that slots can hold: in a slot a device holds m RBs at p_max / m each, so a second linear program mixes
   columns with powers 1/m, m being the two whole numbers beside the device's mean number of RBs.
3. Rounding: shares become whole numbers of slots by a transportation problem; what is still missing is made up with
   single slots by bipartite matching, at the smallest slowdown at which that works (bisection).
4. Schedule by edge colouring (``optimizer.schedule``), then each slot's power by water-filling.

The heuristic leaves out 1 and 2: greedily, the devices with the largest needs first, each takes its best RBs' free
slots.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import maximum_bipartite_matching

from optimizer.cell import Cell, CellResult
from optimizer.fluid import Columns, Fluid, columns_rate, share_program, solve_fluid
from optimizer.power import water_fill
from optimizer.program import Program, solve_program
from optimizer.schedule import schedule_slots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MANY = 4  # RBs at a time from which the mean power of the relaxation stands for the power in each slot
_PASSES = 3  # of shares, rounding and scheduling, each with what the one before taught
_ROUNDING_LIMIT_S = 60.0  # far more than the transportation problem ever takes
_FINE_ENOUGH = 4e-4  # slowdown by rounding is known to this
SLOTS_PER_DEVICE = 250  # RB-slots of a frame per device from which rounding costs next to nothing
SHORTEST, LONGEST = 20, 2000  # slots


def frame_length(devices: int, rbs: int, delay_s: float, slot_s: float) -> int:
    """Slots of a frame in which rounding costs next to nothing, but no longer than the shortest possible delay."""
    wanted = math.ceil(SLOTS_PER_DEVICE * devices / rbs)
    least = math.ceil(2 * devices / rbs)  # so that everyone can be served
    return int(np.clip(wanted, max(SHORTEST, least), max(min(LONGEST, delay_s / slot_s), SHORTEST, least)))


@dataclass(frozen=True, eq=False)
class Start:
    """Schedule [F, M] (device or -1) and prices mu, nu [N] from a problem that was much the same."""

    schedule: Ints
    mu: Floats
    nu: Floats


def solve_frames(
    cell: Cell, frame: int, solver: str, gap: float, seconds_left: Callable[[], float], start: Start | None = None
) -> CellResult:
    """A schedule of ``frame`` slots with its certified gap; there must be room for each device.

    Where ``start`` still reaches the gap, nothing more is done.
    """
    counting = cell.counting_bound_s(frame)
    best = None
    if start is not None:
        proof = Fluid(cell.fluid_bound_s(start.mu, start.nu), start.mu, start.nu, None, None, 0, False)
        best = _result(cell, start.schedule, proof, counting, "warm start", False)
        if best.gap <= gap:
            return best
    limit = seconds_left()
    # Half of the time for the bound, a part of the rest for the shares: rounding and scheduling need theirs.
    pricing = "highs" if solver in ("auto", "scip") else solver  # Pyomo's SCIP gives no prices
    fluid = solve_fluid(cell, counting, pricing, lambda: seconds_left() - limit / 2)
    best = best and _result(cell, start.schedule, fluid, counting, "warm start", False)
    columns, lag = _slot_columns(cell, fluid), np.ones(len(cell.work))
    for _ in range(1 if solver == "heuristic" else _PASSES):
        shares = None if solver == "heuristic" else _slot_shares(cell, columns, lag, solver, seconds_left() - limit / 4)
        if shares is None:
            break
        slots = round_to_slots(cell, *shares, frame, seconds_left)
        if slots is None:
            break
        schedule = schedule_slots(slots, frame)
        found = _result(cell, schedule, fluid, counting, "highs" if solver == "auto" else solver, False)
        best = found if best is None or found.objective_s < best.objective_s else best
        if best.gap <= gap:
            return best
        # Slots may pair RBs otherwise than the shares assumed: reckon with the rates that came of it.
        expected = np.maximum(slots.multiply(shares[1]).sum(axis=1) / frame, 1e-12)
        lag = lag * np.clip(cell.work / found.delay_s / expected, 0.5, 2.0)
    if best is None:
        slots = greedy_slots(cell, frame, counting, seconds_left)
        schedule = schedule_slots(slots, frame)
        best = _result(cell, schedule, fluid, counting, "heuristic", shares is None and solver != "heuristic")
    return best


def _result(cell: Cell, schedule: Ints, fluid: Fluid, counting_s: float, solver: str, timed_out: bool) -> CellResult:
    schedule, power = cell.powered(schedule)
    with np.errstate(divide="ignore"):
        delay = cell.work / cell.rates(schedule, power)
    return CellResult(
        schedule=schedule,
        power=power,
        delay_s=delay,
        lower_bound_s=min(max(fluid.bound_s, counting_s), float(delay.max())),  # equal but for rounding, at times
        bound="fluid" if fluid.bound_s >= counting_s else "counting",
        fluid_bound_s=fluid.bound_s,
        mu=fluid.mu,
        nu=fluid.nu,
        counting_bound_s=counting_s,
        solvers=(solver,),
        iterations=fluid.rounds,
        timed_out=timed_out,
    )


# --- Shares -----------------------------------------------------------------------------------------------------------


def _slot_shares(
    cell: Cell, columns: Columns | None, lag: Floats, solver: str, time_limit_s: float
) -> tuple[sp.csr_array, sp.csr_array] | None:
    """Shares [N, M] of RBs, and the rate per share of each, with powers that slots can hold; None when time ran out.

    lag [N]: what devices were seen to get of the rates of their columns.
    """
    if columns is None or time_limit_s <= 0:
        return None
    rate = columns_rate(cell, columns) * lag[columns.device]
    mix = share_program(cell, columns, rate, solver, time_limit_s)
    if mix is None:
        return None
    x = mix.shares
    used = x > 1e-9
    at = (columns.device[used], columns.rb[used])
    shares = sp.coo_array((x[used], at), cell.shape).tocsr()
    carried = sp.coo_array((x[used] * rate[used], at), cell.shape).tocsr()
    carried.data /= shares.data
    return shares, carried


def _slot_columns(cell: Cell, fluid: Fluid) -> Columns | None:
    """Columns for the pairs of device and RB that the relaxation tried, with powers that slots can hold."""
    if fluid.shares is None:
        return None
    pool, most = fluid.columns, cell.most_parallel
    held = np.minimum(fluid.shares.sum(axis=1), most)
    many = (held >= _MANY)[pool.device]
    power = np.maximum(pool.power, cell.sinr_min / cell.snr[pool.device, pool.rb])
    parts = [[array[many & (power <= 1)] for array in (pool.device, pool.rb, power)]]
    device, rb = np.divmod(np.unique(pool.device * cell.shape[1] + pool.rb), cell.shape[1])
    number = np.maximum(np.floor(held[device]), 1.0)
    for parallel in (number, number + 1):
        fits = cell.snr[device, rb] >= cell.sinr_min * parallel
        used = fits & ((parallel == 1) | (held[device] > 0.5)) & (parallel <= most[device])
        parts.append([device[used], rb[used], 1 / parallel[used]])
    limited = np.flatnonzero((most < cell.shape[1]) & (held >= 0.5 * most) & (most > 1))
    for part in (1.0, 0.85, 0.7, 0.5):
        parts.append(_best_together(cell, limited, np.maximum((part * most).astype(np.int64), 1)))
    return Columns(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _best_together(cell: Cell, devices: Ints, number: Ints) -> tuple[Ints, Ints, Floats]:
    """Columns of devices that the SINR floor holds back: each on its best ``number`` RBs, water-filled."""
    best = np.argsort(-cell.snr[devices], axis=1)
    row, rank = np.nonzero(np.arange(cell.shape[1]) < number[devices, None])
    device, rb = devices[row], best[row, rank]
    return device, rb, water_fill(cell.snr[device, rb], row, cell.sinr_min)


# --- Rounding ---------------------------------------------------------------------------------------------------------


def round_to_slots(
    cell: Cell,
    shares: sp.csr_array,
    rate: sp.csr_array,
    frame: int,
    seconds_left: Callable[[], float],
) -> sp.csr_array | None:
    """Slots [N, M] of each device on each RB, at most ``frame`` an RB, that lose least by being whole; None where no
    slowdown makes room for all, as the shares leave too few RBs to choose from."""
    devices, rbs = cell.shape
    carried = shares.multiply(rate).sum(axis=1)
    speed = (carried / cell.work).min()
    trim = speed * cell.work / carried  # devices faster than the slowest give their surplus away
    parallel = np.maximum(np.ceil(shares.sum(axis=1) * trim - 1e-9), 1.0)
    single = np.where(cell.snr >= cell.sinr_min * parallel[:, None], np.log2(1 + cell.snr / parallel[:, None]), 0.0)
    low, high, best = 0.0, 1.0, None
    factor = 1 - 0.25 * (devices + rbs) / (rbs * frame)  # the loss that was found to be usual
    while high - low > _FINE_ENOUGH and (best is None or seconds_left() > 0):
        whole = _whole_slots(shares, rate, trim * factor, frame)
        found = _complete(cell, whole, rate, single, speed * factor, frame)
        if found is None:
            high = factor
        else:
            low, best = factor, found
        step = 1 - factor if best is None else 0.0
        if best is None and factor < 1e-3:
            return None
        factor = max(factor - 2 * step, factor / 4) if best is None else (low + high) / 2
    return best


def _whole_slots(shares: sp.csr_array, rate: sp.csr_array, scale: Floats, frame: int) -> sp.csr_array:
    """Shares times ``scale`` [N] in slots, each rounded up or down, and so in sum for each device; RBs stay within the
    frame. A transportation problem: its vertices are whole."""
    exact = shares.multiply(scale[:, None] * frame).tocoo()
    rows, columns, value = exact.row, exact.col, exact.data
    below = np.floor(value + 1e-9)
    part = np.flatnonzero(value - below > 1e-9)  # those that are whole stay as they are
    at, count = np.arange(len(part)), len(part)
    devices, rbs = shares.shape
    matrix = sp.csc_array(
        (np.ones(2 * count), (np.concatenate([rows[part], devices + columns[part]]), np.concatenate([at, at]))),
        shape=(devices + rbs, count),
    )
    rest = np.bincount(rows[part], value[part] - below[part], devices)
    free = frame - np.bincount(columns, below, rbs)
    weight = rate.tocoo().data[part]
    outcome = solve_program(
        Program(
            cost=-weight / np.bincount(rows, rate.tocoo().data, devices)[rows[part]],
            matrix=matrix,
            row_lower=np.concatenate([np.floor(rest + 1e-9), np.zeros(rbs)]),
            row_upper=np.concatenate([np.ceil(rest - 1e-9), free]),
            lower=np.zeros(count),
            upper=np.ones(count),
            integer=np.zeros(count, bool),
        ),
        "highs",
        _ROUNDING_LIMIT_S,
    )
    below[part] += np.round(outcome.values)
    return sp.coo_array((below, (rows, columns)), shares.shape).tocsr()


def _complete(
    cell: Cell, slots: sp.csr_array, rate: sp.csr_array, single: Floats, speed: float, frame: int
) -> sp.csr_array | None:
    """Free slots added until every device reaches ``speed``; None when they don't suffice."""
    left = (frame - slots.sum(axis=0)).astype(np.int64)
    missing = frame * speed * cell.work - slots.multiply(rate).sum(axis=1)
    extra: list[tuple[Ints, Ints]] = []
    for _ in range(4):
        short = np.flatnonzero(missing > 1e-9 * frame * speed * cell.work)
        if not short.size:
            break
        enough = (single[short] >= missing[short, None]) & (left > 0)
        none = ~enough.any(axis=1)
        if none.any():  # more than one slot is missing: any good one now, the rest in the next turn
            some = np.where(left > 0, single[short[none]], 0.0)
            enough[none] = (some >= 0.7 * some.max(axis=1, keepdims=True)) & (some > 0)
        copies = np.repeat(np.arange(len(left)), np.minimum(left, 3 + 3 * len(short) // len(left)))
        match = maximum_bipartite_matching(sp.csr_array(enough[:, copies]), perm_type="column")
        if (match < 0).any():
            return None
        rb = copies[match]
        extra.append((short, rb))
        left -= np.bincount(rb, minlength=len(left))
        missing[short] -= single[short, rb]
    else:
        return None
    if extra:
        device, rb = (np.concatenate(arrays) for arrays in zip(*extra, strict=True))
        slots = slots + sp.coo_array((np.ones(len(device)), (device, rb)), slots.shape).tocsr()
    return slots.tocsr().astype(np.int64)


# --- The heuristic ----------------------------------------------------------------------------------------------------


def greedy_slots(cell: Cell, frame: int, bound_s: float, seconds_left: Callable[[], float]) -> sp.csr_array:
    """Slots [N, M] for the smallest delay at which taking turns works, to 1%; one slot each where none was found."""
    low, high, best = bound_s, bound_s * 1.1, None
    while best is None or (high / low > 1.01 and seconds_left() > 0):
        delay = high if best is None else (low * high) ** 0.5
        found = _greedy(cell, frame, delay)
        if found is not None:
            high, best = delay, found
        elif best is None:
            low, high = high, high * 2
            if high > 1e6 * bound_s:
                return _one_slot_each(cell, frame)
        else:
            low = delay
    return best


def _greedy(cell: Cell, frame: int, delay_s: float) -> sp.csr_array | None:
    devices, rbs = cell.shape
    counts = cell.counts(delay_s, frame)
    if counts.sum() > frame * rbs:
        return None
    left, taken = np.full(rbs, frame), np.zeros((devices, rbs), np.int64)
    for device in np.argsort(-counts, kind="stable"):
        need = frame * cell.work[device] / delay_s
        for parallel in range(-(-int(counts[device]) // frame), int(cell.most_parallel[device]) + 1):
            sinr = cell.snr[device] / parallel
            rate = np.where((sinr >= cell.sinr_min) & (left > 0), np.log2(1 + sinr), 0.0)
            order = np.argsort(-rate)
            brought = np.cumsum(rate[order] * left[order])
            last = int(np.searchsorted(brought, need))
            if last == rbs or rate[order[last]] <= 0:
                continue
            take = left[order[: last + 1]].copy()
            before = brought[last] - rate[order[last]] * take[-1]
            take[-1] = math.ceil((need - before) / rate[order[last]] - 1e-9)
            if take.sum() <= parallel * frame:
                taken[device, order[: last + 1]] = take
                left[order[: last + 1]] -= take
                break
        else:
            return None
    return sp.csr_array(taken)


def _one_slot_each(cell: Cell, frame: int) -> sp.csr_array:
    usable = np.repeat(cell.usable, min(frame, cell.shape[0]), axis=1)
    match = maximum_bipartite_matching(sp.csr_array(usable), perm_type="column")
    rb = match // min(frame, cell.shape[0])
    return sp.coo_array((np.ones(len(rb), np.int64), (np.arange(len(rb)), rb)), cell.shape).tocsr()
