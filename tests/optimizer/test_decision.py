import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.decision import decide, decide_by_delay, delay_of_rbs, risked_delay_s, sixg_delay_s, with_tail
from proto import common_pb2
from twin.path import Path


def test_below_tau_is_6g_else_zigbee_and_the_reason_is_said():
    made = decide({"a": 0.2, "b": 0.5, "c": 0.9}, 0.5)
    assert {cell: d.path for cell, d in made.items()} == {"a": Path.SIXG, "b": Path.ZIGBEE, "c": Path.ZIGBEE}
    assert made["a"].why == "predicted load 0.200 below tau 0.500"
    assert made["b"].why == "predicted load 0.500 not below tau 0.500"
    assert made["c"].load == 0.9 and made["c"].tau == 0.5


def test_unknown_load_means_zigbee():
    made = decide({"a": math.nan}, 1.0)
    assert made["a"].path is Path.ZIGBEE and "unknown" in made["a"].why


@given(st.dictionaries(st.text(), st.floats(0, 2)), st.floats(0, 1))
def test_every_cell_is_decided_and_higher_tau_never_takes_6g_away(load, tau):
    made = decide(load, tau)
    assert list(made) == list(load)
    for cell, decision in decide(load, 1.0).items():
        assert made[cell].path is Path.ZIGBEE or decision.path is Path.SIXG


@pytest.mark.parametrize("tau", [-0.1, 1.1, math.nan])
def test_tau_must_be_a_share(tau):
    with pytest.raises(ValueError, match="tau"):
        decide({"a": 0.1}, tau)


@pytest.mark.parametrize("load", [-0.1, math.inf])
def test_impossible_loads_are_named(load):
    with pytest.raises(ValueError, match="load of cell a"):
        decide({"a": load}, 0.5)


def path_of(loads, tau, hysteresis):
    """The paths of one cell whose load takes these values one after the other."""
    previous, paths = {}, []
    for load in loads:
        previous = decide({"a": load}, tau, hysteresis, previous)
        paths.append(previous["a"].path)
    return paths


def test_a_cell_comes_back_below_tau_less_the_hysteresis_and_the_reason_is_said():
    sixg, zigbee = Path.SIXG, Path.ZIGBEE
    assert path_of([0.69, 0.70, 0.69, 0.65, 0.64, 0.69], 0.7, 0.05) == [sixg, zigbee, zigbee, zigbee, sixg, sixg]
    over = decide({"a": 0.7}, 0.7, 0.05)
    held = decide({"a": 0.68, "b": 0.68}, 0.7, 0.05, over, "largest predicted load")
    assert held["a"].why == (
        "largest predicted load 0.680 below tau 0.700, but the cell was over it and comes back to 6G below 0.650"
    )
    assert held["b"].why == "largest predicted load 0.680 below tau 0.700" and held["a"].load == 0.68


@given(st.floats(0.05, 1), st.floats(0, 0.5), st.lists(st.floats(-1, 1), min_size=2, max_size=50))
def test_a_load_within_the_hysteresis_of_tau_changes_the_path_at_most_once(tau, hysteresis, noise):
    """Below tau by less than the hysteresis, or anything above: to Zigbee at most once, and never back."""
    width = min(hysteresis, tau / 2)
    paths = path_of([tau + max(value, -0.999) * width for value in noise], tau, hysteresis)
    assert sum(a is not b for a, b in zip(paths, paths[1:], strict=False)) <= 1


@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(0, 1.5), min_size=1, max_size=50))
def test_hysteresis_only_ever_keeps_a_cell_off_6g_and_never_for_good(tau, hysteresis, loads):
    with_it, without = path_of(loads, tau, hysteresis), path_of(loads, tau, 0.0)
    for path, plain, load in zip(with_it, without, loads, strict=True):
        assert path is plain or (path is Path.ZIGBEE and load >= tau / 2)
    if tau > 1e-300:
        assert path_of([*loads, 0.0], tau, hysteresis)[-1] is Path.SIXG


def test_an_unknown_load_is_no_load_over_tau():
    assert path_of([math.nan, 0.68], 0.7, 0.05) == [Path.ZIGBEE, Path.SIXG]


@pytest.mark.parametrize("hysteresis", [-0.1, 1.1, math.nan])
def test_hysteresis_must_be_a_share(hysteresis):
    with pytest.raises(ValueError, match="hysteresis"):
        decide({"a": 0.1}, 0.7, hysteresis)


def test_paths_have_the_numbers_of_the_proto():
    assert Path(common_pb2.PATH_SIXG) is Path.SIXG and Path.SIXG.value == common_pb2.PATH_SIXG
    assert Path(common_pb2.PATH_ZIGBEE) is Path.ZIGBEE and Path.ZIGBEE.value == common_pb2.PATH_ZIGBEE


LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def test_by_delay_takes_the_smaller_delay():
    loads = {"a": 0.2, "b": 0.3, "c": 0.4}
    sixg = {"a": [1.0] * 5, "b": [1.0, 1.0, 1.0, 1.0, 600.0], "c": [5.0] * 5}
    made = decide_by_delay(loads, sixg, dict.fromkeys(loads, 5.0), LEVELS)
    assert {cell: d.path for cell, d in made.items()} == {"a": Path.SIXG, "b": Path.ZIGBEE, "c": Path.SIXG}
    assert made["b"].why == "predicted delay on 6G 121 s (mean) above 5 s on Zigbee"
    assert made["b"].load == 0.3 and math.isnan(made["b"].tau)
    bold = decide_by_delay(loads, sixg, dict.fromkeys(loads, 5.0), LEVELS, risk=0.7)
    assert bold["b"].path is Path.SIXG and "70% quantile" in bold["b"].why


def test_by_delay_without_knowledge_is_zigbee():
    made = decide_by_delay({"a": math.nan}, {"a": [math.nan] * 5}, {"a": 5.0}, LEVELS)
    assert made["a"].path is Path.ZIGBEE and "unknown" in made["a"].why


def test_by_delay_names_the_cell():
    with pytest.raises(ValueError, match="cell a: delays_s"):
        decide_by_delay({"a": 0.5}, {"a": [-1.0] * 5}, {"a": 5.0}, LEVELS)
    with pytest.raises(ValueError, match="zigbee_s of cell a"):
        decide_by_delay({"a": 0.5}, {"a": [1.0] * 5}, {"a": math.nan}, LEVELS)


def test_risked_delay_known_answers():
    delays = [1.0, 2.0, 3.0, 4.0, 10.0]
    assert risked_delay_s(delays, LEVELS) == pytest.approx(0.2 * (1 + 2 + 3 + 4 + 10))
    assert risked_delay_s([7.0], [0.5]) == 7.0
    assert [risked_delay_s(delays, LEVELS, risk) for risk in (0.05, 0.3, 0.31, 0.9)] == [1.0, 2.0, 3.0, 10.0]
    assert risked_delay_s([1.0] * 4 + [math.inf], LEVELS) == math.inf
    assert risked_delay_s([1.0] * 4 + [math.inf], LEVELS, 0.7) == 1.0


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=5), st.none() | st.floats(0.01, 0.9))
def test_risked_delay_is_one_of_the_delays_or_between_them(delays, risk):
    value = risked_delay_s(delays, LEVELS, risk)
    assert min(delays) <= value * (1 + 1e-9) and value <= max(delays) * (1 + 1e-9)
    assert risk is None or value in delays


@pytest.mark.parametrize(
    ("delays", "levels", "risk", "named"),
    [
        ([1.0], LEVELS, None, "delays_s"),
        ([], [], None, "at least one"),
        ([1.0, 2.0], [0.5, 0.5], None, "levels"),
        ([1.0], [1.0], None, "levels"),
        ([math.nan], [0.5], None, "delays_s"),
        ([1.0], [0.5], 0.6, "risk"),
        ([1.0], [0.5], 0.0, "risk"),
    ],
)
def test_bad_risks_are_named(delays, levels, risk, named):
    with pytest.raises(ValueError, match=named):
        risked_delay_s(delays, levels, risk)


def test_tail_of_a_normal_forecast_is_the_normal_one():
    normal = NormalDist(0.6, 0.1)
    loads = [[normal.inv_cdf(level)] * 2 for level in LEVELS]
    levels, table = with_tail(LEVELS, loads)
    assert levels[:5] == LEVELS and min(levels[5:]) > 0.9
    assert table[:, 0] == pytest.approx([normal.inv_cdf(level) for level in levels])
    assert table.shape == (len(levels), 2)


def test_tail_needs_a_median():
    with pytest.raises(ValueError, match="median"):
        with_tail((0.1, 0.9), [[0.1], [0.9]])
    with pytest.raises(ValueError, match="rows"):
        with_tail(LEVELS, [[0.1], [0.9]])


def test_delay_of_rbs_known_answers():
    """Rates 1/8, 1/2 and 1 per second with 1, 4 and 10 RBs."""
    solved = {4: 2.0, 1: 8.0, 10: 1.0}
    assert [delay_of_rbs(solved, n) for n in (0, 1, 2, 4, 7, 10, 25)] == pytest.approx(
        [math.inf, 8, 4, 2, 1 / 0.75, 1, 1]
    )
    assert delay_of_rbs({1: math.inf, 2: 4.0}, 1) == math.inf


@pytest.mark.parametrize("solved", [{}, {0: 1.0}, {1: 0.0}, {1: math.nan}])
def test_delays_that_cannot_be_are_named(solved):
    with pytest.raises(ValueError, match="solved_s"):
        delay_of_rbs(solved, 1)


def test_retrieval_over_slots_by_hand():
    never = math.inf
    assert sixg_delay_s([2.0], 5.0, 10.0) == 2.0
    assert sixg_delay_s([5.0], 5.0, 10.0) == 5.0
    # half of it in the first slot's 5 s, the other half at twice the speed
    assert sixg_delay_s([10.0, 5.0], 5.0, 10.0) == pytest.approx(7.5)
    # a slot without RBs: wait for it to end and for the next, or leave for Zigbee at its end
    assert sixg_delay_s([never, 2.0], 5.0, 10.0) == pytest.approx(7.0)
    assert sixg_delay_s([never, 2.0], 5.0, 10.0, zigbee_s=30.0) == pytest.approx(35.0)
    # a quarter is done when the second slot has none; three quarters go over Zigbee
    assert sixg_delay_s([20.0, never], 5.0, 10.0, zigbee_s=40.0) == pytest.approx(15 + 30)
    assert sixg_delay_s([20.0, never], 5.0, 10.0) == never
    assert sixg_delay_s([], 5.0, 10.0) == never
    for first_s in (0.0, 11.0):
        with pytest.raises(ValueError, match="first_s"):
            sixg_delay_s([1.0], first_s, 10.0)


@given(st.lists(st.floats(0.1, 100) | st.just(math.inf), min_size=1, max_size=6), st.floats(0.1, 10), st.floats(0, 50))
def test_more_rbs_never_delay_a_retrieval(alone_s, first_s, zigbee_s):
    """Faster slots, none of them without RBs where there were some, never make it later."""
    faster = [value / 2 for value in alone_s]
    assert sixg_delay_s(faster, first_s, 10.0) <= sixg_delay_s(alone_s, first_s, 10.0) * (1 + 1e-9)
    assert sixg_delay_s(faster, first_s, 10.0, zigbee_s) <= sixg_delay_s(alone_s, first_s, 10.0, zigbee_s) * (1 + 1e-9)
