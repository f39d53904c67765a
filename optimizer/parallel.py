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
    """The solution with each device keeping its ``cap`` strongest RBs of a slot.

    Its power is spread over them anew (water-filling), but not in coupled cells, where others would hear more of it.
    What was proven holds all the more: nobody is faster with fewer RBs. "optimal" is said where that still proves
    ``gap``.
    """
    schedule, power = np.full_like(solution.schedule, -1), np.zeros_like(solution.power_w)
    for part in parts(instance, ~solution.to_zigbee):
        local = np.full(instance.shape[0] + 1, -1, np.int64)
        local[part.devices] = np.arange(len(part.devices))
        kept = _strongest(part, local[solution.schedule[part.index][:, part.rbs]], cap)
        share = solution.power_w[part.index][:, part.rbs] / instance.p_max_w
        if not instance.coupled:
            kept, share = part.cell.powered(kept)
        slot, rb = np.nonzero(kept >= 0)
        schedule[part.index, slot, part.rbs[rb]] = part.devices[kept[slot, rb]]
        power[part.index, slot, part.rbs[rb]] = share[slot, rb] * instance.p_max_w
    delay = _delay_s(instance, solution.to_zigbee, schedule, power)
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


def _delay_s(
    instance: Instance, refused: NDArray[np.bool_], schedule: NDArray[np.int32], power: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N]: by formula, with what the devices of coupled cells hear of each other; NaN for those refused."""
    cell, slot, rb = np.nonzero(schedule >= 0)
    device, sent = schedule[cell, slot, rb], power[cell, slot, rb]
    heard = np.zeros(schedule.shape)
    if instance.coupled:
        for base in range(instance.shape[1]):
            other = cell != base
            at = (base, slot[other], rb[other])
            np.add.at(heard, at, instance.gain[device[other], base, rb[other]] * sent[other])
    disturbance = instance.noise_w + instance.interference_w[cell, rb] + heard[cell, slot, rb]
    rate = instance.rb_bandwidth_hz * np.log2(1 + instance.gain[device, cell, rb] * sent / disturbance)
    mean = np.bincount(device, rate, instance.shape[0]) / schedule.shape[1]
    busy = instance.data_bits > 0
    delay = np.divide(instance.data_bits, mean, out=np.zeros(instance.shape[0]), where=busy & ~refused)
    return np.where(refused, np.nan, delay)


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
