"""A cap on the RBs that a device uses in a slot, with its power spread anew over those that it keeps."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimizer.attempt import Part, parts
from optimizer.instance import Instance, Solution


def most_parallel(solution: Solution) -> int:
    """The most RBs that a device holds in one slot."""
    cell, slot, _ = np.nonzero(solution.schedule >= 0)
    device = solution.schedule[solution.schedule >= 0]
    held = np.unique(np.stack([cell, slot, device]), axis=1, return_counts=True)[1]
    return int(held.max(initial=0))


def capped(instance: Instance, solution: Solution, cap: int, gap: float) -> Solution:
    """The solution with each device keeping its ``cap`` strongest RBs of a slot, water-filled.

    What was proven holds all the more: nobody is faster with fewer RBs. "optimal" is said where that still proves
    ``gap``.
    """
    schedule, power = np.full_like(solution.schedule, -1), np.zeros_like(solution.power_w)
    delay = solution.delay_s.copy()
    for part in parts(instance, ~solution.to_zigbee):
        local = np.full(instance.shape[0] + 1, -1, np.int64)
        local[part.devices] = np.arange(len(part.devices))
        kept, share = part.cell.powered(_strongest(part, local[solution.schedule[part.index][:, part.rbs]], cap))
        slot, rb = np.nonzero(kept >= 0)
        schedule[part.index, slot, part.rbs[rb]] = part.devices[kept[slot, rb]]
        power[part.index, slot, part.rbs[rb]] = share[slot, rb] * instance.p_max_w
        delay[part.devices] = part.cell.work / part.cell.rates(kept, share)
    objective = float(delay[~solution.to_zigbee].max(initial=0.0))
    reached = objective / solution.lower_bound_s - 1 if solution.lower_bound_s else solution.gap
    proven = reached is not None and reached <= gap
    status = "optimal" if proven else "feasible" if solution.status == "optimal" else solution.status
    return replace(
        solution,
        schedule=schedule,
        power_w=power,
        delay_s=delay,
        objective_s=objective,
        gap=reached,
        status=status,
    )


def _strongest(part: Part, schedule: NDArray[np.int64], cap: int) -> NDArray[np.int64]:
    """The schedule [F, M] (device or -1) with no more than a device's ``cap`` strongest RBs in each slot."""
    slot, rb = np.nonzero(schedule >= 0)
    device = schedule[slot, rb]
    order = np.lexsort((-part.cell.snr[device, rb], device, slot))
    slot, rb, device = slot[order], rb[order], device[order]
    first = np.flatnonzero((np.diff(slot, prepend=-1) != 0) | (np.diff(device, prepend=-1) != 0))
    rank = np.arange(len(slot)) - np.repeat(first, np.diff(first, append=len(slot)))
    keep = rank < cap
    result = np.full_like(schedule, -1)
    result[slot[keep], rb[keep]] = device[keep]
    return result
