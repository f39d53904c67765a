"""Random instances of the RRM problem of any size, for benchmarks: ``links make-instance``.

Base stations stand in the middle of hexagons whose corners are 250 m away, which puts neighbouring sites
sqrt(3) 250 m = 433 m apart. They fill the plane from the middle outwards. Devices, and ten conventional (CC) users per
cell, are dropped uniformly over all hexagons and belong to the cell that hears them best. CC users hold RBs and disturb
other cells as in the parameter convertor. Every draw is a hash of the seed and of what is drawn: the first devices of a
larger instance with the same cells and RBs are those of the smaller one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from optimizer.channel import MIN_DISTANCE_M, Links, dbm_to_w, draw_links, noise_w
from optimizer.convertor import cc_power_w, draw_free_rbs
from optimizer.instance import Instance
from twin.noise import stream, uniform

CELL_RADIUS_M = 250.0  # from the base station to a corner of its hexagon
CC_USERS_PER_CELL = 10
FREQUENCY_HZ, RB_BANDWIDTH_HZ, SLOT_S, NOISE_FIGURE_DB = 6e9, 180e3, 1e-3, 5.0
P_MAX_DBM, SINR_MIN_DB = 23.0, -3.0  # of CC users too; beta
STATION_HEIGHT_M, DEVICE_HEIGHT_M = 25.0, 1.5
DATA_BITS = 0.1e6, 2e6  # uniform between these


def make_instance(devices: int, cells: int, rbs: int, load: float, seed: int, coupled: bool = False) -> Instance:
    """An instance of N ``devices`` (0 and up) in C ``cells`` of M ``rbs``, of which floor(M (1 - load)) are free.

    UMa at 6 GHz, 23 dBm, RBs of 180 kHz, slots of 1 ms, noise figure 5 dB, beta -3 dB, 0.1 to 2 Mbit per device. A load
    above 1 counts as full. How many devices a cell gets is left to the radio; a cell may stay empty. Raises ValueError.
    """
    for name, value, least in (("devices", devices, 0), ("cells", cells, 1), ("rbs", rbs, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name}: {value!r} must be a whole number, {least} or more")
    if not isinstance(seed, int | np.integer):
        raise ValueError(f"seed: {seed!r} must be a whole number")
    if not (math.isfinite(load) and load >= 0):
        raise ValueError(f"load: {load} must be a finite share of capacity, 0 or more")
    seed = int(seed)
    site = sites_m(cells)
    at = drop_m(site, devices, stream(seed, "devices"))
    links = _links("device", at, site, seed)
    free = np.array([draw_free_rbs(rbs, load, f"cell {c}", seed) for c in range(cells)])
    low, high = DATA_BITS
    return Instance(
        gain=links.gain(rbs, RB_BANDWIDTH_HZ),
        serving=links.strongest_cell(),
        data_bits=low + (high - low) * uniform(stream(seed, "data"), np.arange(devices)),
        free=free,
        interference_w=_interference_w(site, free, seed),
        rb_bandwidth_hz=RB_BANDWIDTH_HZ,
        slot_s=SLOT_S,
        noise_w=noise_w(RB_BANDWIDTH_HZ, NOISE_FIGURE_DB),
        p_max_w=dbm_to_w(P_MAX_DBM),
        sinr_min=10 ** (SINR_MIN_DB / 10),
        coupled=coupled,
    )


def sites_m(cells: int) -> NDArray[np.complex128]:
    """[C]: the base stations, east + 1j north: the points of a triangular lattice that lie nearest to the first."""
    reach = math.isqrt(cells) + 2
    a, b = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    points = math.sqrt(3) * CELL_RADIUS_M * (a + b * np.exp(1j * np.pi / 3))
    order = np.lexsort((np.angle(points).round(6), np.abs(points).round(3)))
    return points[order[:cells]]


def drop_m(site_m: NDArray[np.complex128], count: int, name: np.uint64) -> NDArray[np.complex128]:
    """[count]: places drawn uniformly over the hexagons; those nearer than 10 m to their site are moved out to 10 m."""
    which, third, u, v = (uniform(name, 4 * np.arange(count) + n) for n in range(4))
    # A hexagon is three rhombi, each spanned by two of its corners; every other corner, the first one to the north.
    corner = CELL_RADIUS_M * 1j * np.exp(2j * np.pi / 3 * np.arange(4))
    k = (3 * third).astype(int)
    offset = u * corner[k] + v * corner[k + 1]
    offset *= np.maximum(1, MIN_DISTANCE_M / np.abs(offset))
    return site_m[(len(site_m) * which).astype(int)] + offset


def _links(kind: str, at_m: NDArray[np.complex128], site_m: NDArray[np.complex128], seed: int) -> Links:
    """Links [N, C] of devices or users at ``at_m`` [N] to the base stations at ``site_m`` [C]."""
    names = [f"{kind} {n}" for n in range(len(at_m))]
    stations = [f"cell {c}" for c in range(len(site_m))]
    heights = np.full(len(names), DEVICE_HEIGHT_M), np.full(len(stations), STATION_HEIGHT_M)
    return draw_links(names, stations, at_m[:, None] - site_m, *heights, FREQUENCY_HZ, seed)


def _interference_w(site_m: NDArray[np.complex128], free: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """[C, M]: power of other cells' CC users at the base stations."""
    links = _links("user", drop_m(site_m, CC_USERS_PER_CELL * len(site_m), stream(seed, "users")), site_m, seed)
    serving = links.strongest_cell()
    power_w = np.zeros((len(serving), free.shape[1]))
    for c, taken in enumerate(~free):
        own = serving == c
        power_w[own] = cc_power_w(taken, np.full(own.sum(), dbm_to_w(P_MAX_DBM)))
    total = np.zeros(free.shape)
    for c in range(len(site_m)):  # cell by cell, which bounds the memory
        gain = links.to_cell(c).gain(free.shape[1], RB_BANDWIDTH_HZ)[:, 0]
        total[c] = (power_w * gain)[serving != c].sum(axis=0)
    return total
