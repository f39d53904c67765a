import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer import channel
from twin.noise import stream

GHZ6 = 6e9
DOCS = Path(__file__).parents[2] / "docs" / "channel.md"


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


def links(offset_m, h_ut_m=1.5, senders=None, stations=None, seed=1):
    """Links for offsets [N, C], by default of s0, s1, ... to c0, c1, ..., whose antennas are 25 m high."""
    offset = np.asarray(offset_m, complex)
    n, c = offset.shape
    return channel.draw_links(
        senders or [f"s{i}" for i in range(n)],
        stations or [f"c{i}" for i in range(c)],
        offset,
        np.broadcast_to(h_ut_m, n),
        np.full(c, 25.0),
        GHZ6,
        seed,
    )


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


# A grid for the oracles: both sides of every breakpoint, the ends of the validity range, and low and tall users.
DISTANCES = np.array([10, 17.9, 18.1, 35, 100, 150, 250, 500, 959, 961, 1000, 2500, 5000])
HEIGHTS = np.array([1.5, 2, 6, 12.9, 13.1, 18, 22.5])
FREQUENCIES_GHZ = (0.7, 2.0, 6.0, 28.0, 73.0)


def test_equal_to_pycraf():
    """pycraf implements V16.1.0 for users of up to 13 m, up to 30 GHz, with the 3e8 m/s of Table 7.4.1-1, note 1.

    For these users h_E is always 1 m and the factor C'(h_UT) of Table 7.4.2-1 is 1; tr3gpp's formulas have both.
    """
    pathprof = pytest.importorskip("pycraf.pathprof", reason="pycraf is an oracle for development only")
    units = pytest.importorskip("astropy.units", reason="pycraf's numbers carry astropy's units")
    d, h = DISTANCES[:, None], HEIGHTS[HEIGHTS <= 13]
    for f_ghz in FREQUENCIES_GHZ[:4]:
        for h_bs in (20.0, 25.0, 35.0):
            oracle = pathprof.imt_urban_macro_losses(f_ghz * units.GHz, d * units.m, h_bs * units.m, h * units.m)
            los, nlos, probability = (quantity.value for quantity in oracle)
            np.testing.assert_allclose(channel.path_loss_los_db(d, h, h_bs, f_ghz * 1e9), los, atol=0.01, rtol=0)
            np.testing.assert_allclose(channel.path_loss_nlos_db(d, h, h_bs, f_ghz * 1e9), nlos, atol=0.01, rtol=0)
            np.testing.assert_allclose(channel.los_probability(d, h), probability, atol=1e-6)


def latex_value(latex, **values):
    """Value of one of the TR's formulas in LaTeX, as tr3gpp has them."""
    symbols = {"d_{2D-out}": "d", "d_{3D}": "dd", "f_c": "fc", "d'_{BP}": "bp", "C'(h_{UT})": "C*"}
    symbols |= {"h_{BS}": "hbs", "h_{UT}": "hut", r"\log_{10}": "lg", r"\exp": "exp", r"\left": "", r"\right": ""}
    for old, new in symbols.items():
        latex = latex.replace(old, new)
    text = re.sub(r"\\dfrac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", latex)
    text = re.sub(r"\^\{?([\d.]+)\}?", r"**\1 ", text).replace("[", "(").replace("]", ")")
    text = re.sub(r"(?<=[\d)])\s*(?=[A-Za-z(])", "*", text)  # the multiplications that mathematicians don't write
    return eval(text, {"__builtins__": {}, "lg": np.log10, "exp": np.exp}, values)


def test_equal_to_the_formulas_in_tr3gpp():
    """tr3gpp computes nothing; it holds the formulas of V19.4.0, in LaTeX, which are evaluated here."""
    section = pytest.importorskip("tr3gpp.tr38901", reason="tr3gpp is an oracle for development only").section("7.4")
    los = section.pathloss(scenario="UMa", condition="LOS").formula
    nlos = section.pathloss(scenario="UMa", condition="NLOS").formula
    near, far = re.search(r"PL_1 = (.*?);", los)[1], re.search(r"PL_2 = (.*)$", los)[1]
    own = re.search(r"PL'_\{UMa-NLOS\} = (.*)$", nlos)[1]
    assert "max(PL_{UMa-LOS}, PL'_{UMa-NLOS})" in nlos
    probability = section.los_probability(scenario="UMa").formula
    beyond = re.search(r"18m \\\\ (.*?) & 18m", probability)[1]
    tall = re.search(r"13m \\\\ (.*?) & 13m", probability)[1]
    d, h = DISTANCES[:, None], HEIGHTS
    for f_ghz in FREQUENCIES_GHZ:
        for h_e in (1.0, 12.0):  # 12 m: only tall users have it
            bp = 4 * (25 - h_e) * (h - h_e) * f_ghz * 1e9 / 3e8
            values = dict(dd=np.hypot(d, 25 - h), fc=f_ghz, hbs=25.0, hut=h, bp=bp)
            wanted = np.where(d <= bp, latex_value(near, **values), latex_value(far, **values))
            got = channel.path_loss_los_db(d, h, 25.0, f_ghz * 1e9, h_e)
            np.testing.assert_allclose(got, wanted, atol=0.01, rtol=0)
            got = channel.path_loss_nlos_db(d, h, 25.0, f_ghz * 1e9, h_e)
            np.testing.assert_allclose(got, np.maximum(wanted, latex_value(own, **values)), atol=0.01, rtol=0)
    c = latex_value(tall, hut=np.maximum(h, 13))
    wanted = np.where(d <= 18, 1, latex_value(beyond, d=d, C=c))
    np.testing.assert_allclose(channel.los_probability(d, h), wanted, atol=1e-9)


def test_constants_are_those_in_tr3gpp():
    tr38901 = pytest.importorskip("tr3gpp.tr38901", reason="tr3gpp is an oracle for development only")
    ours = {
        "LOS": (channel.SHADOWING_LOS_DB, channel.SHADOWING_LOS_M),
        "NLOS": (channel.SHADOWING_NLOS_DB, channel.SHADOWING_NLOS_M),
    }
    for condition, (sigma_db, reach_m) in ours.items():
        loss = tr38901.section("7.4").pathloss(scenario="UMa", condition=condition)
        assert [float(x.value_db) for x in loss.shadow_fading_std_db] == [sigma_db]
        large = tr38901.section("7.5").channel_model_parameters(scenario="UMa", condition=condition)
        assert float(large.corr_distance_SF_m) == reach_m
        state = tr38901.section("7.6").correlation_distance(scenario="UMa", condition=condition)
        assert float(state.los_nlos_state_m) == channel.LOS_STATE_M
        constant, slope = re.fullmatch(r"(-[\d.]+) - ([\d.]+) log10\(fc\), see note 8", large.mu_lgDS).groups()
        for f_ghz in (6, 28):
            wanted = 10 ** (float(constant) - float(slope) * math.log10(f_ghz))
            assert channel.delay_spread_s(f_ghz * 1e9, condition == "LOS") == pytest.approx(wanted)
    assert channel.delay_spread_s(2e9, True) == channel.delay_spread_s(6e9, True)


@pytest.mark.parametrize("reach_m", [37.0, 50.0])
def test_field_is_standard_normal_with_exponential_correlation(reach_m):
    """20,000 pairs at each distance, in places so far from each other that they count as independent."""
    rng = np.random.default_rng(4)
    apart = np.array([0.0, 5.0, 20.0, reach_m, 100.0, 300.0])
    values = []
    for n in range(100):
        here = rng.uniform(-5e4, 5e4, 200) + 1j * rng.uniform(-5e4, 5e4, 200)
        there = here[:, None] + apart * np.exp(2j * np.pi * rng.random((200, 1)))
        values.append(channel.gaussian_field(stream(n), there, reach_m))
    values = np.concatenate(values)
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values[:, 0].var() == pytest.approx(1, abs=0.04)
    assert (np.abs(values[:, 0]) > 1.96).mean() == pytest.approx(0.05, abs=0.006)
    correlation = (values * values[:, :1]).mean(axis=0)
    np.testing.assert_allclose(correlation, np.exp(-apart / reach_m), atol=0.04)


def test_state_and_shadowing_of_links():
    """Pairs of senders 30 m apart at 75 m from 2,000 base stations, each pair in its own direction."""
    here = 75 * np.exp(2j * np.pi * np.arange(4) / 4)
    offset = np.concatenate((here, here * np.exp(2j * math.asin(30 / 75 / 2))))  # a chord of 30 m
    drawn = links(np.repeat(offset[:, None], 2000, axis=1))
    p = scalar_los_probability(75, 1.5)
    assert drawn.los.mean() == pytest.approx(p, abs=0.02)
    los, nlos = scalar_losses(75, 1.5, 25, 6, 1)
    np.testing.assert_allclose(drawn.path_loss_db, np.where(drawn.los, los, nlos))
    np.testing.assert_allclose(drawn.loss_db, drawn.path_loss_db + drawn.shadowing_db)
    for state, sigma_db, reach_m in ((drawn.los, 4, 37), (~drawn.los, 6, 50)):
        assert drawn.shadowing_db[state].mean() == pytest.approx(0, abs=0.05 * sigma_db)
        assert drawn.shadowing_db[state].std() == pytest.approx(sigma_db, rel=0.03)
        both = state[:4] & state[4:]
        pair = np.corrcoef(drawn.shadowing_db[:4][both], drawn.shadowing_db[4:][both])[0, 1]
        assert pair == pytest.approx(math.exp(-30 / reach_m), abs=0.04)
    mixed = drawn.los[:4] & ~drawn.los[4:]  # the two states have fields of their own
    pair = np.corrcoef(drawn.shadowing_db[:4][mixed], drawn.shadowing_db[4:][mixed])[0, 1]
    assert pair == pytest.approx(0, abs=0.1)
    # The state is a normal field of correlation exp(-30/50) cut at its quantile: P(both) by simulation of that pair.
    rng, r = np.random.default_rng(1), math.exp(-30 / 50)
    first = rng.normal(size=400_000)
    second = r * first + math.sqrt(1 - r * r) * rng.normal(size=400_000)
    cut = np.quantile(first, p)
    assert (drawn.los[:4] & drawn.los[4:]).mean() == pytest.approx(((first < cut) & (second < cut)).mean(), abs=0.02)
    # Base stations are independent of each other.
    assert (drawn.los[:, :1000] & drawn.los[:, 1000:]).mean() == pytest.approx(p * p, abs=0.02)


def test_fading_is_rayleigh_with_the_given_correlation():
    """|h|^2 is exponential with mean 1; its correlation is the square of that of the complex amplitudes."""
    keys, neighbour = np.array([stream("link", n) for n in range(20_000)]), 0.9
    power = channel.rayleigh_power(keys, neighbour, 12)
    assert power.shape == (20_000, 12)
    np.testing.assert_allclose(power.mean(axis=0), 1, atol=0.04)
    for level in (0.1, 1.0, 3.0):
        assert (power > level).mean() == pytest.approx(math.exp(-level), abs=0.01)
    np.testing.assert_allclose(np.corrcoef(power.T)[0], neighbour ** (2 * np.arange(12)), atol=0.04)
    np.testing.assert_allclose(np.corrcoef(power.T)[6, 5:8], [neighbour**2, 1, neighbour**2], atol=0.04)


def test_coherence_bandwidth():
    """RBs one coherence bandwidth apart: correlation of the amplitudes 1/2, of the powers 1/4; 74 ns and 267 ns."""
    los, nlos = channel.coherence_bandwidth_hz(GHZ6, [True, False])
    assert los == pytest.approx(3.71e6, rel=0.01) and nlos == pytest.approx(1.034e6, rel=0.01)
    for df, ds in ((los, 74.34e-9), (nlos, 266.5e-9)):
        assert 1 / abs(1 + 2j * math.pi * df * ds) == pytest.approx(0.5, abs=1e-3)
    drawn = links(np.full((6000, 1), 40.0))
    for state, coherence in ((drawn.los[:, 0], los), (~drawn.los[:, 0], nlos)):
        one = channel.Links(GHZ6, drawn.key, *(np.full((6000, 1), x) for x in (40.0, state[0], 0.0, 0.0)))
        apart = one.gain(2, coherence)[:, 0]
        assert np.corrcoef(apart.T)[0, 1] == pytest.approx(0.25, abs=0.05)


def test_gain_is_loss_times_fading():
    drawn = links(np.full((300, 2), 150.0 + 50j))
    gain = drawn.gain(100, 20e6)  # RBs so wide that they fade almost independently
    assert gain.shape == (300, 2, 100)
    np.testing.assert_allclose(10 * np.log10(gain.mean(axis=(0, 2))), -drawn.loss_db[0], atol=0.2)


@given(st.integers(0, 11), st.integers(0, 4), st.integers(1, 30))
def test_a_link_does_not_depend_on_its_company(i, c, rbs):
    """Bit for bit: alone, with other base stations, and with fewer RBs."""
    rng = np.random.default_rng(7)
    offset = rng.uniform(-400, 400, (12, 5)) + 1j * rng.uniform(-400, 400, (12, 5))
    heights = np.linspace(1.5, 22.5, 12)
    whole = links(offset, heights)
    alone = links(offset[[i], c][:, None], heights[i], [f"s{i}"], [f"c{c}"])
    for name in ("key", "los", "distance_m", "path_loss_db", "shadowing_db"):
        np.testing.assert_array_equal(getattr(alone, name)[0, 0], getattr(whole, name)[i, c])
    np.testing.assert_array_equal(alone.gain(rbs, 180e3)[0, 0], whole.gain(30, 180e3)[i, c, :rbs])
    np.testing.assert_array_equal(whole.to_cell(c).gain(30, 180e3)[:, 0], whole.gain(30, 180e3)[:, c])


def test_draws_change_with_seed_and_names():
    offset = np.full((1, 40), 100.0 + 0j)
    first, again, other, renamed = (
        links(offset, senders=[s], seed=n) for s, n in (("a", 1), ("a", np.int64(1)), ("a", 2), ("b", 1))
    )
    np.testing.assert_array_equal(first.gain(4, 180e3), again.gain(4, 180e3))
    assert not np.isclose(first.gain(4, 180e3) / other.gain(4, 180e3), 1).any()
    assert (first.los != other.los).any()
    np.testing.assert_array_equal(first.loss_db, renamed.loss_db)  # the same place
    assert not np.isclose(first.gain(4, 180e3) / renamed.gain(4, 180e3), 1).any()


def test_strongest_cell_has_the_least_loss():
    shape = np.zeros((3, 3))
    loss, shadowing = np.array([[90, 80, 95], [70, 75, 74], [99, 99, 60]]), np.array([[0, 0, -20], [0] * 3, [0] * 3])
    drawn = channel.Links(GHZ6, shape.astype(np.uint64), shape, shape > 0, loss.astype(float), shadowing.astype(float))
    assert drawn.strongest_cell().tolist() == [2, 0, 2]


def test_environment_height():
    """Table 7.4.1-1, note 1, at 300 m and 22.5 m."""
    rng = np.random.default_rng(2)
    assert channel.environment_height_m(100, 1.5, 0.999, 0.5) == 1.0
    drawn = channel.environment_height_m(300, np.full(4000, 22.5), *rng.random((2, 4000)))
    roofs, counts = np.unique(drawn, return_counts=True)
    assert roofs.tolist() == [1.0, 12.0, 15.0, 18.0, 21.0]
    assert counts[0] / 4000 == pytest.approx(1 / (1 + 0.95**1.5 * 1.25 * 27 * math.exp(-2)), abs=0.04)
    np.testing.assert_allclose(counts[1:] / counts[1:].sum(), 0.25, atol=0.04)
    assert channel.environment_height_m(300, 13.4, 0.999, 0.5) == 1.0  # no roof from 12 m up to 11.9 m
    assert channel.environment_height_m(300, 13.5, 0.9999, 0.999) == 12.0


def test_too_near_too_low_and_too_high_is_taken_at_the_edge():
    def loss(d, h):
        return links([[d]], h).path_loss_db[0, 0]

    assert loss(0, 0.5) == loss(10, 1.5) == loss(0, 0) == loss(3j, 1)
    assert loss(60, 40) == loss(60, 22.5)


def test_link_budget_of_the_docs():
    """The table in the docs is what the function prints, and one row of it by hand."""
    table = channel.link_budget()
    assert table in DOCS.read_text("utf-8")
    # 100 m, NLOS: 23 - 107.719 = -84.72 dBm; + 116.447 = 31.73 dB; - 1.2816 * 6 = 24.04 dB; log2(1 + 253.4) = 7.99
    assert "| 100 | NLOS | 0.652 | 107.7 | -84.7 | -116.4 | 31.7 | 7.7 | 24.0 | 7.99 |" in table
    assert len(table.splitlines()) == 2 + 6 * 2


def test_ninety_percent_of_places_have_the_snr_of_the_link_budget():
    drawn = links(np.full((1, 2000), 250.0))
    noise_dbm = channel.w_to_dbm(channel.noise_w(180e3, 5))
    snr = 23 - drawn.loss_db - noise_dbm
    assert (snr[~drawn.los] > 8.9).mean() == pytest.approx(0.9, abs=0.02)  # the table's row: 250 m, NLOS
