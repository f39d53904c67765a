"""One attempt at an instance whose devices can all be served: cell by cell, then put together as a Solution."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.cell import NO_SIGNAL, Cell, CellResult
from optimizer.coupled import solve_coupled
from optimizer.frames import Start, frame_length, solve_frames
from optimizer.instance import Instance, Solution
from optimizer.literal import solve_literal

COUPLED_FRAME = 10  # slots
_AFTERWARDS_S = 1.3e-6  # for an RB-slot: schedule, power and check, as measured; kept back from the time limit
_APART = 0.3  # of the time, for the cells without each other's interference


@dataclass(frozen=True, eq=False)
class Part:
    """One cell of an instance: its index, its devices with data that are served, its free RBs, and the problem."""

    index: int
    devices: NDArray[np.int64]
    rbs: NDArray[np.int64]
    cell: Cell
    watts_per_rate: float  # p_max / B: prices of power per price of rate, from the cell's units to the instance's


def parts(instance: Instance, served: NDArray[np.bool_]) -> Iterator[Part]:
    """The cells that have devices with data among ``served`` [N]."""
    snr = np.maximum(instance.snr_per_w() * instance.p_max_w, NO_SIGNAL)  # so that all can be divided by
    scale = instance.p_max_w / instance.rb_bandwidth_hz
    for index in range(instance.shape[1]):
        devices = np.flatnonzero((instance.serving == index) & served & (instance.data_bits > 0))
        if devices.size:
            rbs = np.flatnonzero(instance.free[index])
            work = instance.data_bits[devices] / instance.rb_bandwidth_hz
            yield Part(index, devices, rbs, Cell(snr[np.ix_(devices, rbs)], work, instance.sinr_min), scale)


def choose_frame(instance: Instance, served: NDArray[np.bool_]) -> int:
    """Slots of the frame for frames mode: the longest that one of the cells wants; few where cells are coupled, since
    the search for who disturbs whom grows with the frame."""
    lengths = [1]
    for part in parts(instance, served):
        devices, rbs = part.cell.shape
        if rbs and part.cell.usable.any(axis=1).all():
            if instance.coupled:
                lengths.append(max(2 * math.ceil(devices / rbs), COUPLED_FRAME))
                continue
            least = max(2 * math.ceil(devices / rbs), 20)
            lengths.append(frame_length(devices, rbs, part.cell.counting_bound_s(least, 1e-2), instance.slot_s))
    return max(lengths)


def attempt(
    instance: Instance,
    refused: NDArray[np.bool_],
    frame: int,
    solver: str,
    gap: float,
    seconds_left: Callable[[], float],
    warm: Solution | None = None,
) -> Solution:
    """Solve for the devices that are not ``refused`` [N], with ``frame`` slots, 1 for literal mode.

    Every cell must have room for its devices (``optimizer.admission``). The solution is unchecked. It is infeasible
    only where coupled cells are and no way was found; ``to_zigbee`` then names the devices without which there was one.
    """
    if instance.coupled:
        return _attempt_coupled(instance, refused, frame, solver, gap, seconds_left)
    began = time.monotonic()
    n, c, m = instance.shape
    schedule, power = np.full((c, frame, m), -1, np.int32), np.zeros((c, frame, m))
    delay = np.where(refused, np.nan, 0.0)
    cells, results = list(parts(instance, ~refused)), []
    warm = warm if warm is not None and warm.feasible and warm.schedule.shape == schedule.shape else None
    for i, part in enumerate(cells):
        # What is left of the time is shared by the cells still to come.
        afterwards = _AFTERWARDS_S * frame * part.cell.shape[1]
        end = time.monotonic() + seconds_left() / (len(cells) - i) - afterwards
        result = _solve_part(part, frame, solver, gap, lambda end=end: end - time.monotonic(), warm)
        results.append(result)
        slot, rb = np.nonzero(result.schedule >= 0)
        schedule[part.index, slot, part.rbs[rb]] = part.devices[result.schedule[slot, rb]]
        power[part.index, slot, part.rbs[rb]] = result.power[slot, rb] * instance.p_max_w
        delay[part.devices] = result.delay_s
    objective = max((r.objective_s for r in results), default=0.0)
    slowest = max(results, key=lambda r: r.lower_bound_s, default=None)
    lower = min(slowest.lower_bound_s, objective) if slowest else 0.0
    achieved = objective / lower - 1 if lower > 0 else 0.0
    timed_out = any(r.timed_out for r in results)
    return Solution(
        schedule=schedule,
        power_w=power,
        delay_s=delay,
        to_zigbee=refused,
        status="optimal" if achieved <= gap else "time_limit" if timed_out else "feasible",
        objective_s=objective,
        lower_bound_s=lower,
        gap=achieved,
        bound=slowest.bound if slowest else "none",
        solver="+".join(sorted({name for r in results for name in r.solvers})) or "none",
        seconds=time.monotonic() - began,
        iterations=sum(r.iterations for r in results),
        certificate=_certificate(instance, cells, results, frame),
    )


def _attempt_coupled(
    instance: Instance,
    refused: NDArray[np.bool_],
    frame: int,
    solver: str,
    gap: float,
    seconds_left: Callable[[], float],
) -> Solution:
    began = time.monotonic()

    def solve_apart(alone: Instance) -> Solution:
        end = time.monotonic() + _APART * seconds_left()
        return attempt(alone, np.zeros(len(refused), bool), frame, solver, gap, lambda: end - time.monotonic())

    found = solve_coupled(instance, ~refused, solve_apart, gap, seconds_left)
    left_out = np.zeros(len(refused), bool)
    left_out[list(found.left_out)] = True
    feasible = found.objective_s is not None
    achieved = found.objective_s / found.lower_bound_s - 1 if feasible and found.lower_bound_s else 0.0
    status = "optimal" if achieved <= gap else "time_limit" if found.timed_out else "feasible"
    return Solution(
        schedule=found.schedule,
        power_w=found.power_w,
        delay_s=np.where(refused | (not feasible), np.nan, found.delay_s),
        to_zigbee=refused if feasible else left_out,
        status=status if feasible else "infeasible",
        objective_s=found.objective_s,
        lower_bound_s=found.lower_bound_s if feasible else None,
        gap=achieved if feasible else None,
        bound=found.bound if feasible else "none",
        solver="coupled search",
        seconds=time.monotonic() - began,
        iterations=found.iterations,
        certificate=found.certificate if feasible else {},
        infeasible_because=found.infeasible_because,
    )


def _solve_part(
    part: Part, frame: int, solver: str, gap: float, seconds_left: Callable[[], float], warm: Solution | None
) -> CellResult:
    held = None if warm is None else _localised(warm.schedule[part.index][:, part.rbs], part.devices)
    if frame == 1:
        return solve_literal(part.cell, solver, gap, seconds_left, None if held is None else held[0])
    start = None if held is None else _start(part, held, warm)
    return solve_frames(part.cell, frame, solver, gap, seconds_left, start)


def _localised(schedule: NDArray[np.int32], devices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The schedule [F, M] with indices into ``devices``, -1 for all others."""
    local = np.full(max(int(devices.max()), int(schedule.max())) + 2, -1, np.int64)
    local[devices] = np.arange(len(devices))
    return local[schedule]


def _start(part: Part, held: NDArray[np.int64], warm: Solution) -> Start | None:
    """A schedule [F, M] to begin with, and the prices of its certificate; None unless every device has RBs."""
    if not np.isin(np.arange(len(part.devices)), held).all():
        return None
    price = np.array(warm.certificate["mu"])[part.devices]
    power_price = np.array(warm.certificate["nu"])[part.devices] * part.watts_per_rate
    return Start(held, price, power_price)


def _certificate(instance: Instance, cells: list[Part], results: list[CellResult], frame: int) -> dict:
    """What proves the bound, as plain data: the prices of the cell with the largest fluid bound, and all counts."""
    if not results:
        return {}
    n = instance.shape[0]
    mu, nu, needed = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    at = int(np.argmax([r.fluid_bound_s for r in results]))
    part, result = cells[at], results[at]
    scale = result.mu @ instance.data_bits[part.devices]
    mu[part.devices] = result.mu / scale
    nu[part.devices] = result.nu / scale / part.watts_per_rate
    counting = max(r.counting_bound_s for r in results)
    for part, result in zip(cells, results, strict=True):
        if result.counting_bound_s == counting:
            needed[part.devices] = part.cell.counts(counting * (1 - 1e-9), frame)
    slowest = max(results, key=lambda r: r.lower_bound_s)
    return {
        "kind": slowest.bound,
        "mu": mu.tolist(),
        "nu": nu.tolist(),
        "fluid_bound_s": results[at].fluid_bound_s,
        "counting_bound_s": counting,
        "rbs_needed": needed.tolist(),
    }
