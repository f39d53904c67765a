"""Uplink channel of 3GPP TR 38.901 (V19.4.0), scenario UMa: eq. (1) of the paper, vectorised. See docs/channel.md.

All distances and heights in metres, frequencies in Hz, losses in dB; arrays broadcast. Validity (Table 7.4.1-1):
10 m <= d_2d <= 5 km, 1.5 m <= h_ut <= 22.5 m, h_bs = 25 m; ``draw_links`` brings nearer, lower and higher users to that
edge. Every draw is a hash of the seed and the names of what is drawn, so that a link is the same in whatever company.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from twin.noise import stream, uniform

LIGHT_SPEED_M_S = 3.0e8  # the value that Table 7.4.1-1, note 1, prescribes
THERMAL_NOISE_DBM_HZ = -174.0  # k T at 290 K
SHADOWING_LOS_DB, SHADOWING_NLOS_DB = 4.0, 6.0  # Table 7.4.1-1, sigma_SF
SHADOWING_LOS_M, SHADOWING_NLOS_M = 37.0, 50.0  # Table 7.5-6, horizontal correlation distance of SF
LOS_STATE_M = 50.0  # Table 7.6.3.1-2, correlation distance of the LOS/NLOS state
MIN_DISTANCE_M, MIN_HEIGHT_M, MAX_HEIGHT_M = 10.0, 1.5, 22.5
WAVES = 256  # plane waves per field
_BLOCK = 1024  # links whose fading is drawn at once; bounds the memory

Array = NDArray[np.float64]


def los_probability(d_2d_m: ArrayLike, h_ut_m: ArrayLike) -> Array:
    """Probability of line of sight (Table 7.4.2-1, UMa, outdoor users)."""
    d, h = np.broadcast_arrays(np.asarray(d_2d_m, float), np.asarray(h_ut_m, float))
    far = np.maximum(d, 18.0)
    p = (18 / far + np.exp(-far / 63) * (1 - 18 / far)) * (1 + _tall(far, h))
    return np.where(d <= 18, 1.0, p)


def path_loss_los_db(
    d_2d_m: ArrayLike, h_ut_m: ArrayLike, h_bs_m: ArrayLike, frequency_hz: float, h_e_m: ArrayLike = 1.0
) -> Array:
    """Path loss with line of sight (Table 7.4.1-1, PL_UMa-LOS); ``h_e_m`` is the effective environment height."""
    d, h_ut, h_bs, h_e = (np.asarray(x, float) for x in (d_2d_m, h_ut_m, h_bs_m, h_e_m))
    breakpoint_m = 4 * (h_bs - h_e) * (h_ut - h_e) * frequency_hz / LIGHT_SPEED_M_S  # note 1
    d_3d = np.hypot(d, h_bs - h_ut)
    common = 28.0 + 20 * np.log10(frequency_hz / 1e9)
    near = common + 22 * np.log10(d_3d)
    far = common + 40 * np.log10(d_3d) - 9 * np.log10(breakpoint_m**2 + (h_bs - h_ut) ** 2)
    return np.where(d <= breakpoint_m, near, far)


def path_loss_nlos_db(
    d_2d_m: ArrayLike, h_ut_m: ArrayLike, h_bs_m: ArrayLike, frequency_hz: float, h_e_m: ArrayLike = 1.0
) -> Array:
    """Path loss without line of sight (Table 7.4.1-1, PL_UMa-NLOS): never below the loss with line of sight."""
    d_3d = np.hypot(np.asarray(d_2d_m, float), np.asarray(h_bs_m, float) - np.asarray(h_ut_m, float))
    own = 13.54 + 39.08 * np.log10(d_3d) + 20 * np.log10(frequency_hz / 1e9) - 0.6 * (np.asarray(h_ut_m, float) - 1.5)
    return np.maximum(path_loss_los_db(d_2d_m, h_ut_m, h_bs_m, frequency_hz, h_e_m), own)


def environment_height_m(d_2d_m: ArrayLike, h_ut_m: ArrayLike, chance: ArrayLike, choice: ArrayLike) -> Array:
    """Effective environment height h_E (Table 7.4.1-1, note 1): 1 m, or one of the roof heights 12, 15, ... h_ut - 1.5.

    ``chance`` decides which of the two, ``choice`` which roof; both uniform in (0, 1).
    """
    d, h = np.asarray(d_2d_m, float), np.asarray(h_ut_m, float)
    roofs = np.floor((h - 1.5 - 12) / 3 + 1 + 1e-9)
    none = (roofs < 1) | (np.asarray(chance) < 1 / (1 + _tall(d, h)))
    return np.where(none, 1.0, 12 + 3 * np.floor(choice * np.maximum(roofs, 1)))


def _tall(d_2d_m: Array, h_ut_m: Array) -> Array:
    """C(d_2D, h_UT) of Table 7.4.1-1, note 1, and of Table 7.4.2-1: what a user above the roofs gains."""
    g = np.where(d_2d_m <= 18, 0.0, 1.25 * (d_2d_m / 100) ** 3 * np.exp(-d_2d_m / 150))
    return np.clip((h_ut_m - 13) / 10, 0, None) ** 1.5 * g


def gaussian_field(name: np.uint64, at_m: NDArray[np.complex128], correlation_m: float) -> Array:
    """A standard normal field in the plane, correlated as exp(-distance / correlation_m) (eq. 7.4-5), at ``at_m``.

    Sum of plane waves of random direction and phase. The wave number k has the density of that correlation's spectrum,
    proportional to k (1 + (k correlation_m)^2)^(-3/2); it is drawn by inversion, one wave from each of WAVES strata.
    """
    wave = np.arange(WAVES)
    exceeded = (wave + uniform(name, wave)) / WAVES
    k = np.sqrt(exceeded**-2 - 1) / correlation_m
    direction, phase = (2 * np.pi * uniform(name, wave + n * WAVES) for n in (1, 2))
    x, y = at_m.real[..., None], at_m.imag[..., None]
    return np.sqrt(2 / WAVES) * np.cos(k * np.cos(direction) * x + k * np.sin(direction) * y + phase).sum(axis=-1)


def delay_spread_s(frequency_hz: float, los: ArrayLike) -> Array:
    """Median root-mean-square delay spread (Table 7.5-6, mu_lgDS); below 6 GHz that of 6 GHz, as its notes say."""
    lg = np.log10(max(frequency_hz / 1e9, 6.0))
    return 10 ** np.where(los, -7.067 - 0.0794 * lg, -6.47 - 0.134 * lg)


def coherence_bandwidth_hz(frequency_hz: float, los: ArrayLike) -> Array:
    """Where the correlation of fading, 1 / sqrt(1 + (2 pi df DS)^2) of an exponential delay profile, is down to 1/2."""
    return np.sqrt(3) / (2 * np.pi * delay_spread_s(frequency_hz, los))


def rayleigh_power(key: NDArray[np.uint64], neighbour: ArrayLike, rbs: int) -> Array:
    """|h|^2 of eq. (1) [L, M] for L links named by ``key`` on M RBs: Rayleigh fading of mean power 1.

    The complex amplitudes of RBs j and k have the correlation neighbour^|j - k| (a first-order autoregression).
    """
    rb = np.arange(rbs)[:, None]
    size, angle = np.sqrt(-np.log(uniform(key, 2 * rb))), 2 * np.pi * uniform(key, 2 * rb + 1)
    h = np.stack((size * np.cos(angle), size * np.sin(angle)), axis=1)  # [M, 2, L]
    fresh = np.sqrt(1 - np.square(neighbour))
    for j in range(1, rbs):
        h[j] = neighbour * h[j - 1] + fresh * h[j]
    return (h[:, 0] ** 2 + h[:, 1] ** 2).T


@dataclass(frozen=True, eq=False)
class Links:
    """Links of N senders to C base stations, arrays [N, C]; ``key`` names their fading."""

    frequency_hz: float
    key: NDArray[np.uint64]
    distance_m: Array
    los: NDArray[np.bool_]
    path_loss_db: Array
    shadowing_db: Array

    @property
    def loss_db(self) -> Array:
        """[N, C]: path loss and shadowing, which is the loss averaged over fading."""
        return self.path_loss_db + self.shadowing_db

    def strongest_cell(self) -> NDArray[np.int64]:
        """[N]: the base station that hears the sender best, averaged over fading."""
        return self.loss_db.argmin(axis=1)

    def to_cell(self, c: int) -> "Links":
        """The links to one of the base stations, C = 1."""
        arrays = (self.key, self.distance_m, self.los, self.path_loss_db, self.shadowing_db)
        return Links(self.frequency_hz, *(array[:, [c]] for array in arrays))

    def gain(self, rbs: int, rb_bandwidth_hz: float) -> Array:
        """[N, C, M]: linear power gain on each of ``rbs`` RBs (eq. 1). More RBs don't change the first ones."""
        gain = np.empty((self.key.size, rbs))
        neighbour = 0.5 ** (rb_bandwidth_hz / coherence_bandwidth_hz(self.frequency_hz, self.los.ravel()))
        for start in range(0, self.key.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            mean = 10 ** (-self.loss_db.ravel()[block, None] / 10)
            gain[block] = mean * rayleigh_power(self.key.ravel()[block], neighbour[block], rbs)
        return gain.reshape(*self.key.shape, rbs)


def draw_links(
    senders: Sequence[str],
    stations: Sequence[str],
    offset_m: NDArray[np.complex128],
    h_ut_m: ArrayLike,
    h_bs_m: ArrayLike,
    frequency_hz: float,
    seed: int,
) -> Links:
    """Links of ``senders`` [N] to base stations [C], both by name; ``offset_m`` [N, C]: east + 1j north of the station.

    The state (line of sight or not) and the shadowing are fields around each base station, independent between base
    stations (7.5, step 4) and, for shadowing, between the two states; senders in one place see the same.
    """
    seed = int(seed)  # a number of numpy's would name other streams
    h_ut = np.clip(np.asarray(h_ut_m, float), MIN_HEIGHT_M, MAX_HEIGHT_M)[:, None]
    distance = np.abs(offset_m)
    d = np.maximum(distance, MIN_DISTANCE_M)
    key = np.array([[stream(seed, "link", a, b) for b in stations] for a in senders], np.uint64).reshape(d.shape)
    h_e = environment_height_m(d, h_ut, uniform(key, -1), uniform(key, -2))
    los, shadowing = np.empty(d.shape, bool), np.empty(d.shape)
    probability = los_probability(d, h_ut)
    for c, station in enumerate(stations):
        at = offset_m[:, c]
        los[:, c] = ndtr(gaussian_field(stream(seed, "state", station), at, LOS_STATE_M)) < probability[:, c]
        for state, sigma, reach, where in (
            ("los", SHADOWING_LOS_DB, SHADOWING_LOS_M, los[:, c]),
            ("nlos", SHADOWING_NLOS_DB, SHADOWING_NLOS_M, ~los[:, c]),
        ):
            field = gaussian_field(stream(seed, "shadowing", state, station), at[where], reach)
            shadowing[where, c] = sigma * field
    losses = (f(d, h_ut, h_bs_m, frequency_hz, h_e) for f in (path_loss_los_db, path_loss_nlos_db))
    return Links(frequency_hz, key, distance, los, np.where(los, *losses), shadowing)


def link_budget(p_dbm: float = 23.0, frequency_hz: float = 6e9, h_ut_m: float = 1.5, h_bs_m: float = 25.0) -> str:
    """The link-budget table of docs/channel.md (Markdown): all power on one RB of 180 kHz, noise figure 5 dB."""
    noise_dbm = w_to_dbm(noise_w(180e3, 5.0))
    rows = [
        "| d (m) | state | P(LOS) | path loss (dB) | received (dBm) | noise per RB (dBm) | SNR (dB) "
        "| shadowing margin, 90% (dB) | SNR in 90% of places (dB) | bit/s/Hz |",
        "|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for d in (50, 100, 150, 250, 500, 1000):
        for state, loss_db, sigma in (
            ("LOS", path_loss_los_db, SHADOWING_LOS_DB),
            ("NLOS", path_loss_nlos_db, SHADOWING_NLOS_DB),
        ):
            loss, p = float(loss_db(d, h_ut_m, h_bs_m, frequency_hz)), float(los_probability(d, h_ut_m))
            margin = 1.2816 * sigma  # 90% of a normal distribution
            sure = p_dbm - loss - noise_dbm - margin
            numbers = (loss, p_dbm - loss, noise_dbm, p_dbm - loss - noise_dbm, margin, sure)
            cells = " | ".join(f"{x:.1f}" for x in numbers)
            share = p if state == "LOS" else 1 - p
            rows.append(f"| {d} | {state} | {share:.3f} | {cells} | {np.log2(1 + 10 ** (sure / 10)):.2f} |")
    return "\n".join(rows)


def noise_w(bandwidth_hz: float, noise_figure_db: float) -> float:
    """Thermal noise power in watts over ``bandwidth_hz`` with the receiver's noise figure."""
    return dbm_to_w(THERMAL_NOISE_DBM_HZ + 10 * np.log10(bandwidth_hz) + noise_figure_db)


def dbm_to_w(dbm: float) -> float:
    return float(10 ** ((dbm - 30) / 10))


def w_to_dbm(w: float) -> float:
    return float(10 * np.log10(w) + 30)
