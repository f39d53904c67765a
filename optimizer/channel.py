"""Uplink channel of 3GPP TR 38.901 (V14.0.0), scenario UMa: eq. (1) of the paper, vectorised.

All distances and heights in metres, frequency in Hz, losses in dB; arrays broadcast. Validity (Table 7.4.1-1):
10 m <= d_2d <= 5 km, 1.5 m <= h_ut <= 22.5 m, h_bs = 25 m; ``draw_gain`` brings nearer and lower users to that edge.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LIGHT_SPEED_M_S = 3.0e8  # the value that Table 7.4.1-1, note 1, prescribes
THERMAL_NOISE_DBM_HZ = -174.0  # k T at 290 K
SHADOWING_LOS_DB, SHADOWING_NLOS_DB = 4.0, 6.0  # Table 7.4.1-1, sigma_SF
MIN_DISTANCE_M, MIN_HEIGHT_M, MAX_HEIGHT_M = 10.0, 1.5, 22.5

Array = NDArray[np.float64]


def los_probability(d_2d_m: ArrayLike, h_ut_m: ArrayLike) -> Array:
    """Probability of line of sight (Table 7.4.2-1, UMa, outdoor users)."""
    d, h = np.broadcast_arrays(np.asarray(d_2d_m, float), np.asarray(h_ut_m, float))
    far = np.maximum(d, 18.0)
    tall = np.clip((h - 13) / 10, 0, None) ** 1.5
    p = (18 / far + np.exp(-far / 63) * (1 - 18 / far)) * (1 + tall * 1.25 * (far / 100) ** 3 * np.exp(-far / 150))
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


def environment_height_m(d_2d_m: float, h_ut_m: float, rng: np.random.Generator) -> float:
    """Effective environment height h_E of one link (Table 7.4.1-1, note 1): 1 m, or drawn among roof heights."""
    if h_ut_m < 13:
        return 1.0
    g = 0.0 if d_2d_m <= 18 else 1.25 * (d_2d_m / 100) ** 3 * np.exp(-d_2d_m / 150)
    if rng.random() < 1 / (1 + ((h_ut_m - 13) / 10) ** 1.5 * g):
        return 1.0
    roofs = np.arange(12, h_ut_m - 1.5 + 1e-9, 3)
    return float(rng.choice(roofs)) if roofs.size else 1.0


def draw_gain(
    d_2d_m: float, h_ut_m: float, h_bs_m: float, frequency_hz: float, rbs: int, rng: np.random.Generator
) -> Array:
    """Linear power gain of one link on each of ``rbs`` RBs [M] (eq. 1).

    Line of sight and shadowing are drawn once per link, Rayleigh fading (mean power 1) once per RB. Distances under
    10 m and heights outside 1.5 to 22.5 m, where the TR is silent, are taken at that edge.
    """
    d, h = max(d_2d_m, MIN_DISTANCE_M), min(max(h_ut_m, MIN_HEIGHT_M), MAX_HEIGHT_M)
    h_e = environment_height_m(d, h, rng)
    los = rng.random() < los_probability(d, h)
    loss = (path_loss_los_db if los else path_loss_nlos_db)(d, h, h_bs_m, frequency_hz, h_e)
    shadowing = rng.normal(0.0, SHADOWING_LOS_DB if los else SHADOWING_NLOS_DB)
    return 10 ** (-(loss + shadowing) / 10) * rng.exponential(1.0, rbs)


def noise_w(bandwidth_hz: float, noise_figure_db: float) -> float:
    """Thermal noise power in watts over ``bandwidth_hz`` with the receiver's noise figure."""
    return dbm_to_w(THERMAL_NOISE_DBM_HZ + 10 * np.log10(bandwidth_hz) + noise_figure_db)


def dbm_to_w(dbm: float) -> float:
    return float(10 ** ((dbm - 30) / 10))


def w_to_dbm(w: float) -> float:
    return float(10 * np.log10(w) + 30)
