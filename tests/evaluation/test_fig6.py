"""Fig. 6 on a small scale: its parts against known answers, and what must hold between its curves."""

import json
import math

import numpy as np
import pytest
from small_rrm import make_instance, random_instance

from evaluation import fig6, fig6_model

SMALL = fig6_model.Settings(seeds=1, retrievals=1, taus=(0.0, 0.5, 1.0), forecasters=("persistence",))


@pytest.fixture(scope="module")
def runs():
    return {name: [retrievals] for name, retrievals in fig6_model.run_seed(SMALL, 3).items()}


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_backlog_by_hand():
    load = fig6_model.with_backlog(np.array([[0.5, 1.4, 0.9, 0.2, 0.1]]))
    assert load[0] == pytest.approx([0.5, 1.4, 1.3, 0.5, 0.1])


def test_backlog_loses_no_demand():
    offered = np.random.default_rng(0).uniform(0, 1.8, (4, 200))
    load = fig6_model.with_backlog(offered)
    served = np.minimum(load, 1.0)
    waiting = load[:, -1] - served[:, -1]
    assert served.sum(axis=1) + waiting == pytest.approx(offered.sum(axis=1))


def test_usable_rbs():
    loads = np.array([0.0, 0.5, 0.9, 0.99, 1.0, 3.0])
    assert fig6_model.usable_rbs(loads, 25, 1.0).tolist() == [25, 12, 2, 0, 0, 0]
    assert fig6_model.usable_rbs(loads, 25, 0.24).tolist() == [6, 6, 2, 0, 0, 0]
    assert fig6_model.usable_rbs(loads, 25, 0.001).tolist() == [1, 1, 1, 0, 0, 0]


def test_lone_device_connects_as_the_detection_probability_says():
    """Alone, it needs k preambles with probability p_k (1 - p_1) .. (1 - p_(k-1)), p_i = 1 - exp(-i)."""
    rng = np.random.default_rng(0)
    rounds = [fig6_model.access_delays_s(1, 0.0, rng) for _ in range(2000)]
    sent = np.array([sent[0] for _, sent in rounds])
    assert (sent == 1).mean() == pytest.approx(1 - math.exp(-1), abs=0.04)
    assert (sent <= 2).mean() == pytest.approx(1 - math.exp(-1) * math.exp(-2), abs=0.03)
    first = [delay[0] for delay, number in rounds if number[0] == 1]
    assert fig6_model.SETUP_S <= min(first) and max(first) <= fig6_model.SETUP_S + fig6_model.OPPORTUNITY_S


def test_more_devices_take_longer_to_connect():
    rng = np.random.default_rng(0)
    last = [np.mean([fig6_model.access_delays_s(n, 0.0, rng)[0].max() for _ in range(20)]) for n in (1, 12, 100, 400)]
    assert last == sorted(last) and last[3] > last[0] + 0.05


def test_even_power_by_hand():
    """Two devices, two RBs, two slots: alone on both RBs with half the power each, then an RB each with all of it."""
    snr = np.array([[8.0, 6.0], [3.0, 1.0]])
    schedule = np.array([[0, 0], [0, 1]])
    rates = fig6_model.even_power_rates(schedule, snr, 0.5)
    assert rates == pytest.approx([(np.log2(5) + np.log2(4) + np.log2(9)) / 2, np.log2(2) / 2])
    # with beta 3.5 the first device leaves out its weaker RB of the first slot, and the second device has none
    assert fig6_model.even_power_rates(schedule, snr, 3.5) == pytest.approx([np.log2(9), 0.0])


def test_baselines_of_a_lone_device():
    """It holds all RBs in every slot, under every rule."""
    instance = make_instance([[4.0, 4.0]], [1e6])
    expected = 1e6 / (2 * 180e3 * np.log2(3))
    for scheme in fig6_model.BASELINES:
        assert fig6_model.baseline_delay_s(instance, scheme, np.random.default_rng(0)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="unknown"):
        fig6_model.baseline_delay_s(instance, "best", np.random.default_rng(0))


def test_equal_shares_by_hand():
    """Two devices take turns on one RB: each is served half of the time."""
    instance = make_instance([[3.0], [1.0]], [180e3, 180e3])
    assert fig6_model.baseline_delay_s(instance, "equal", np.random.default_rng(0)) == pytest.approx(2.0)


@pytest.mark.parametrize("scheme", fig6_model.BASELINES)
@pytest.mark.parametrize("seed", range(4))
def test_no_baseline_beats_the_certified_bound(scheme, seed):
    instance = random_instance(seed, 4, 6)
    bound = fig6_model.solve(instance, fig6_model.SOLVER).lower_bound_s
    assert fig6_model.baseline_delay_s(instance, scheme, np.random.default_rng(0)) >= bound * (1 - 1e-9)


def test_spread_of_constant_latency():
    point = fig6.spread(np.full((5, 3), 2.0))
    assert point == {"mean_s": 2.0, "mean_ci_s": [2.0, 2.0], "p95_s": 2.0, "p95_ci_s": [2.0, 2.0]}


# --- The whole --------------------------------------------------------------------------------------------------------


def test_tau_0_is_always_zigbee_and_tau_above_all_loads_always_6g(runs):
    zigbee = fig6.latency_s(runs["plain"], lambda cell: cell.zigbee_s)
    waits = fig6.latency_s(runs["plain"], lambda cell: cell.sixg.get("waits"))
    assert max(cell.loads["persistence"] for each in runs["plain"][0] for cell in each) < 1
    assert (fig6.latency_s(runs["plain"], fig6.by_tau("links", "persistence", 0.0)) == zigbee).all()
    assert (fig6.latency_s(runs["plain"], fig6.by_tau("links", "persistence", 1.0)) == waits).all()


def test_oracle_and_bound_are_below_every_choice(runs):
    for name, variant in runs.items():
        oracle = fig6.latency_s(variant, lambda cell: cell.chosen.get("oracle"))
        bound = fig6.latency_s(variant, lambda cell: cell.chosen.get("bound"))
        assert (bound <= oracle * (1 + 1e-9)).all(), name
        for tau in SMALL.taus:
            for forecast in ("persistence", "perfect"):
                assert (oracle <= fig6.latency_s(variant, fig6.by_tau("links", forecast, tau))).all(), (name, tau)


def test_certified_bound_is_below_every_6g_delay(runs):
    for variant in runs.values():
        cells = [cell for each in variant[0] for cell in each if "links" in cell.sixg]
        assert cells
        for cell in cells:
            for scheme in ("links", "waits", *fig6_model.BASELINES):
                if scheme in cell.sixg:
                    assert min(cell.sixg["bound"], cell.zigbee_s) <= cell.sixg[scheme] * (1 + 1e-9)
            assert all(ratio >= 1 - 1e-9 for ratio in cell.over_bound.values())


def test_fewer_rbs_and_access_only_delay(runs):
    """Cell by cell, with the same load: a smaller slice or a connection to set up is never faster."""
    for less, more in (("slice", "plain"), ("one RB", "slice"), ("access", "plain"), ("all, one RB", "all")):
        for slower, faster in zip(runs[less][0], runs[more][0], strict=True):
            ours = {cell.cell: cell.sixg["bound"] for cell in slower if "links" in cell.sixg}
            theirs = {cell.cell: cell.sixg["bound"] for cell in faster if "links" in cell.sixg}
            assert ours.keys() == theirs.keys()
            assert all(ours[cell] >= theirs[cell] * (1 - 0.02) for cell in ours), (less, more)


def test_the_plain_model_blocks_no_cell_and_the_slice_caps(runs):
    assert all(cell.rbs > 0 for each in runs["plain"][0] for cell in each)
    assert {cell.rbs for each in runs["all"][0] for cell in each} <= set(range(7))


def test_same_settings_same_files(tmp_path, capsys):
    arguments = ["--seeds", "1", "--retrievals", "1", "--tau", "0", "0.5", "1", "--forecasters", "persistence"]
    assert fig6.main([*arguments, "--jobs", "1", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "fig6.json").read_text())
    assert document == json.loads(json.dumps(fig6.evaluate(SMALL)))
    for variant in document["variants"].values():
        assert variant["curves"]["LINKs, persistence"][0] == variant["policies"]["always Zigbee"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fig6.json", "fig6.md", "fig6_effects.svg", "fig6_latency.svg", "fig6_policies.svg"
    ]  # fmt: skip
    assert "fig6_policies.svg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--tau=1.5", "tau"),
        ("--seeds=0", "seeds"),
        ("--slice=0", "slice"),
        ("--demand=nan", "demand"),
        ("--jobs=0", "jobs"),
    ],
)
def test_wrong_use_is_named_at_once(option, named, tmp_path, capsys):
    assert fig6.main(["--out", str(tmp_path), option]) == 2
    assert f"links: {named}: " in capsys.readouterr().err
