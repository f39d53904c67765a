"""Admission: which devices of a cell can be served together, and which must go to Zigbee."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Refusal:
    """A device that can't be served and why: it can use no RB (``rbs`` is then empty), or it and its ``rivals`` can use
    no others than ``rbs``, which have room for the rivals alone. It and they are irreducible: without any one of them
    all the others fit."""

    device: int
    rivals: tuple[int, ...]
    rbs: tuple[int, ...]


def admit(usable: Bools, cost: NDArray[np.float64], capacity: int) -> list[Refusal]:
    """Refuse as few devices as possible, and of those the costliest.

    usable [N, M]: the device reaches its least SINR on the RB; cost [N]; capacity: devices that an RB can take, one in
    each slot of the frame. Sets of devices that fit on the RBs form a (transversal) matroid, so taking devices from the
    cheapest on, each if the matching can still grow, keeps the largest number, and the cheapest of that number. Why one
    is refused is its circuit: itself and all whose slots alternating paths from it reach.
    """
    if (usable.sum(axis=1) * capacity >= len(usable)).all():
        return []  # each has room even if all others are on its RBs
    holders: list[list[int]] = [[] for _ in range(usable.shape[1])]
    full = np.zeros(usable.shape[1], bool)  # RBs from which no way to a free slot leads, now or later
    refused = []
    for device in np.argsort(cost, kind="stable").tolist():
        seen = _grow(device, usable, holders, full, capacity)
        if seen is not None:
            full |= seen
            refused.append(device)
    if not refused:
        return []
    reach = _reach(usable, holders)
    return [_refusal(device, reach[usable[device]].any(axis=0), holders) for device in sorted(refused)]


def _refusal(device: int, reach: Bools, holders: list[list[int]]) -> Refusal:
    rbs = np.flatnonzero(reach).tolist()
    return Refusal(device, tuple(sorted({holder for rb in rbs for holder in holders[rb]})), tuple(rbs))


def _reach(usable: Bools, holders: list[list[int]]) -> Bools:
    """[M, M]: the RBs that alternating paths from an RB lead to."""
    reach = np.eye(len(holders), dtype=bool)
    for rb, held in enumerate(holders):
        reach[rb] |= usable[held].any(axis=0)
    while True:
        hops = reach.astype(np.float32)
        further = hops @ hops > 0
        if (further == reach).all():
            return reach
        reach = further


def _grow(device: int, usable: Bools, holders: list[list[int]], full: Bools, capacity: int) -> Bools | None:
    """Give the device a slot, moving others if need be; None when done, else the RBs that were tried in vain."""
    seen = usable[device] & ~full
    rbs = np.flatnonzero(seen).tolist()
    emptiest = min(rbs, key=lambda rb: len(holders[rb]), default=None)
    if emptiest is not None and len(holders[emptiest]) < capacity:
        holders[emptiest].append(device)
        return None
    comes_from: dict[int, tuple[int, int | None]] = {rb: (device, None) for rb in rbs}
    queue = deque(rbs)
    while queue:
        rb = queue.popleft()
        if len(holders[rb]) < capacity:
            while rb is not None:
                mover, previous = comes_from[rb]
                holders[rb].append(mover)
                if previous is not None:
                    holders[previous].remove(mover)
                rb = previous
            return None
        for holder in holders[rb]:
            news = usable[holder] & ~full & ~seen
            seen |= news
            for other in np.flatnonzero(news).tolist():
                comes_from[other] = (holder, rb)
                queue.append(other)
    return seen
