"""Water-filling: how a device spreads its power over the RBs that it holds in a slot.

Power is in units of p_max, SNR is that of the whole p_max on one RB, so that numbers are of the order of one.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def water_fill(snr: Floats, group: NDArray[np.int64], sinr_min: float = 0.0) -> Floats:
    """Power [E] of each entry that maximises, in each group, the sum of log2(1 + snr q) with the sum of q at most 1.

    snr [E] > 0 of one device on one RB of one slot; group [E]: number of the device and slot, 0 and up. Every entry
    keeps an SINR of at least ``sinr_min``; with sinr_min = 0 weak entries may get no power. NaN for the entries of a
    group whose RBs can't all reach it. Exact: q = max(sinr_min / snr, w - 1 / snr) with the group's water level w,
    which only falls as entries are pinned to their least power, so that pinned entries stay pinned.
    """
    least, inverse = sinr_min / snr, 1 / snr
    groups = int(group.max(initial=-1)) + 1
    pinned = np.zeros(len(snr), bool)
    while True:
        free = ~pinned
        left = 1 - np.bincount(group[pinned], least[pinned], groups) + np.bincount(group[free], inverse[free], groups)
        count = np.bincount(group[free], minlength=groups)
        level = left / np.maximum(count, 1)
        low = free & (level[group] - inverse < least * (1 - 1e-12))
        if not low.any():
            break
        pinned |= low
    power = np.where(pinned, least, np.maximum(level[group] - inverse, least))
    total = np.bincount(group, power, groups)
    power[total[group] > 1 + 1e-9] = np.nan
    return power / np.maximum(total[group], 1.0)


def together(snr: Floats, group: NDArray[np.int64], sinr_min: float) -> NDArray[np.bool_]:
    """Which entries [E] to keep so that each group's can all reach ``sinr_min`` with power 1: its strongest ones."""
    if sinr_min == 0 or not len(snr):
        return snr > 0
    order = np.lexsort((-snr, group))
    least = np.minimum(sinr_min / np.maximum(snr[order], 1e-300), 2.0)
    total = np.cumsum(least)
    first = np.concatenate([[True], np.diff(group[order]) != 0])
    before = np.maximum.accumulate(np.where(first, total - least, 0.0))
    keep = np.zeros(len(snr), bool)
    keep[order] = total - before <= 1 + 1e-9
    return keep
