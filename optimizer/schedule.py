"""From numbers of slots to a schedule: which device holds which RB in which slot of the frame.

A device with n RB-slots in a frame of F slots holds floor(n / F) or one RB more in every slot: it is split into ports
that send on one RB at a time. Ports and RBs are the two sides of a bipartite multigraph with at most F edges at each
node; by Koenig's theorem its edges take F colours, the slots. Each colour is found as a perfect matching of the graph
filled up to be F-regular, and is used for as many slots as all its edges have left.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import maximum_bipartite_matching

Ints = NDArray[np.int64]


def schedule_slots(slots: sp.csr_array, frame: int) -> Ints:
    """[F, M] device or -1, in which device i holds RB j in slots[i, j] slots; column sums of ``slots`` are at most
    F.
    """
    ports, owner = _ports(slots, frame)
    schedule = np.full((frame, slots.shape[1]), -1, np.int64)
    if owner.size == 0:
        return schedule
    graph, filled = _regular(ports, frame), 0
    side = graph.shape[0]
    row_of = np.repeat(np.arange(side), np.diff(graph.indptr))
    while filled < frame:
        match = maximum_bipartite_matching(graph, perm_type="column")
        chosen = np.flatnonzero(graph.indices == match[row_of])
        times = int(graph.data[chosen].min())
        port, rb = row_of[chosen], graph.indices[chosen]
        real = (port < len(owner)) & (rb < slots.shape[1])
        schedule[filled : filled + times, rb[real]] = owner[port[real]]
        filled += times
        left = graph.data.copy()
        left[chosen] -= times
        kept = left > 0
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row_of[kept], minlength=side))])
        graph = sp.csr_array((left[kept], graph.indices[kept], indptr), graph.shape)
        row_of = row_of[kept]
    return schedule


def _ports(slots: sp.csr_array, frame: int) -> tuple[sp.csr_array, Ints]:
    """Slots by port and RB, at most ``frame`` a port, and the device of each port."""
    entries = slots.tocoo()
    order = np.lexsort((entries.col, entries.row))
    device, rb, count = entries.row[order], entries.col[order], entries.data[order].astype(np.int64)
    device, rb, count = device[count > 0], rb[count > 0], count[count > 0]
    if not count.size:
        return sp.csr_array((0, slots.shape[1])), np.empty(0, np.int64)
    end = np.cumsum(count)
    first = np.concatenate([[0], np.flatnonzero(np.diff(device)) + 1])
    begin_of_device = (end - count)[first]
    start = end - count - np.repeat(begin_of_device, np.diff(np.append(first, len(device))))
    stop = start + count  # positions of an entry among its device's RB-slots; a port takes ``frame`` of them
    pieces = (stop - 1) // frame - start // frame + 1
    entry = np.repeat(np.arange(len(count)), pieces)
    level = start[entry] // frame + np.arange(len(entry)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    size = np.minimum(stop[entry], (level + 1) * frame) - np.maximum(start[entry], level * frame)
    keys, port = np.unique(np.stack([device[entry], level]), axis=1, return_inverse=True)
    ports = sp.coo_array((size, (port, rb[entry])), (keys.shape[1], slots.shape[1])).tocsr()
    return ports, keys[0]


def _regular(ports: sp.csr_array, frame: int) -> sp.csr_array:
    """Filled up with idle ports and idle RBs so that every row and column sums to ``frame``."""
    idle_port = sp.diags_array((frame - ports.sum(axis=1)).astype(np.float64)).tocsr()
    idle_rb = sp.diags_array((frame - ports.sum(axis=0)).astype(np.float64)).tocsr()
    full = sp.block_array([[ports, idle_port], [idle_rb, ports.T]]).tocsr()
    full.eliminate_zeros()
    full.sort_indices()
    return sp.csr_array((full.data.astype(np.int64), full.indices.astype(np.int32), full.indptr), full.shape)
