import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer import channel

GHZ6 = 6e9


def scalar_los_probability(d, h):
    """TR 38.901 Table 7.4.2-1, UMa, written again."""
    if d <= 18:
        return 1.0
    c = 0.0 if h <= 13 else ((h - 13) / 10) ** 1.5
    return (18 / d + math.exp(-d / 63) * (1 - 18 / d)) * (1 + c * 5 / 4 * (d / 100) ** 3 * math.exp(-d / 150))


def scalar_losses(d, h_ut, h_bs, f_ghz, h_e):
    """(PL_LOS, PL_NLOS) of TR 38.901 Table 7.4.1-1, UMa, written again."""
    d3 = math.sqrt(d * d + (h_bs - h_ut) ** 2)
    d_bp = 4 * (h_bs - h_e) * (h_ut - h_e) * f_ghz * 1e9 / 3e8
    if d <= d_bp:
        los = 28.0 + 22 * math.log10(d3) + 20 * math.log10(f_ghz)
    else:
        los = 28.0 + 40 * math.log10(d3) + 20 * math.log10(f_ghz) - 9 * math.log10(d_bp**2 + (h_bs - h_ut) ** 2)
    nlos = 13.54 + 39.08 * math.log10(d3) + 20 * math.log10(f_ghz) - 0.6 * (h_ut - 1.5)
    return los, max(los, nlos)


def test_hand_computed_values():
    # 100 m, user at 1.5 m, base station at 25 m: d_3D = 102.724 m, breakpoint 4 * 24 * 0.5 * 20 = 960 m.
    assert channel.path_loss_los_db(100, 1.5, 25, GHZ6) == pytest.approx(87.820, abs=1e-3)
    assert channel.path_loss_nlos_db(100, 1.5, 25, GHZ6) == pytest.approx(107.719, abs=1e-3)
    assert channel.los_probability(100, 1.5) == pytest.approx(0.34767, abs=1e-5)
    assert channel.los_probability(18, 1.5) == 1.0
    # 2,000 m is beyond the breakpoint.
    assert channel.path_loss_los_db(2000, 1.5, 25, GHZ6) == pytest.approx(121.922, abs=1e-3)
    # -174 dBm/Hz over 180 kHz with 5 dB noise figure: -116.45 dBm
    assert channel.w_to_dbm(channel.noise_w(180e3, 5)) == pytest.approx(-116.447, abs=1e-3)
    assert channel.dbm_to_w(23) == pytest.approx(0.19953, abs=1e-5)


@given(st.floats(10, 5000), st.floats(1.5, 22.5), st.floats(0.5, 100), st.floats(20, 30))
def test_formulas_equal_a_second_implementation(d, h_ut, f_ghz, h_bs):
    los, nlos = scalar_losses(d, h_ut, h_bs, f_ghz, 1.0)
    assert channel.path_loss_los_db(d, h_ut, h_bs, f_ghz * 1e9) == pytest.approx(los, abs=1e-9)
    assert channel.path_loss_nlos_db(d, h_ut, h_bs, f_ghz * 1e9) == pytest.approx(nlos, abs=1e-9)
    assert channel.los_probability(d, h_ut) == pytest.approx(scalar_los_probability(d, h_ut), abs=1e-12)


def test_arrays_broadcast():
    d, h = np.array([[20.0], [200.0]]), np.array([1.5, 15.0, 22.0])
    loss = channel.path_loss_nlos_db(d, h, 25.0, GHZ6)
    assert loss.shape == (2, 3)
    assert loss[1, 2] == pytest.approx(scalar_losses(200, 22.0, 25.0, 6, 1.0)[1])
    assert channel.los_probability(d, h).shape == (2, 3)


def test_draws_have_the_statistics_of_the_model():
    d, h_ut, h_bs, draws = 150.0, 1.5, 25.0, 6000
    rng = np.random.default_rng(1)
    gains = np.array([channel.draw_gain(d, h_ut, h_bs, GHZ6, 64, rng) for _ in range(draws)])
    loss = -10 * np.log10(gains.mean(axis=1))  # fading averaged out to about 0.5 dB
    los, nlos = scalar_losses(d, h_ut, h_bs, 6, 1.0)
    p = scalar_los_probability(d, h_ut)
    mean = p * los + (1 - p) * nlos
    variance = p * (4**2 + (los - mean) ** 2) + (1 - p) * (6**2 + (nlos - mean) ** 2)
    assert loss.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / draws) + 0.1)
    assert loss.std() == pytest.approx(math.sqrt(variance), rel=0.05)
    fading = gains / gains.mean(axis=1, keepdims=True)
    assert (fading > 1).mean() == pytest.approx(math.exp(-1), abs=0.01)  # Rayleigh: exponential power


def test_environment_height():
    rng = np.random.default_rng(2)
    assert channel.environment_height_m(100, 1.5, rng) == 1.0
    drawn = [channel.environment_height_m(300, 22.5, rng) for _ in range(4000)]
    assert set(drawn) == {1.0, 12.0, 15.0, 18.0, 21.0}
    g = 1.25 * 27 * math.exp(-2)
    expected = 1 / (1 + 0.95**1.5 * g)
    assert drawn.count(1.0) / 4000 == pytest.approx(expected, abs=0.04)


def test_too_near_and_too_low_is_taken_at_the_edge():
    def gain(d, h):
        return channel.draw_gain(d, h, 25.0, GHZ6, 4, np.random.default_rng(3))

    np.testing.assert_array_equal(gain(0.0, 0.5), gain(10.0, 1.5))
    assert np.isfinite(gain(0.0, 0.0)).all()
