"""The load a decision rests on: statistic of each slot, then largest or mean over the window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from predictor import QUANTILES
from predictor.risk import RULES, WINDOWS, decision_load, described

tables = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(9), st.integers(1, 6)), elements=st.floats(0, 2))


def test_known_answers():
    mean = [[0.2, 0.6], [0.5, 0.5]]
    quantiles = np.arange(9)[None, :, None] / 10 + np.array([[[0.0, 0.4]], [[0.1, 0.1]]])
    assert decision_load(mean, quantiles).tolist() == [0.6, 0.5]
    assert decision_load(mean, quantiles, "mean", "mean") == pytest.approx([0.4, 0.5])
    assert decision_load(mean, quantiles, "0.1") == pytest.approx([0.4, 0.1])
    assert decision_load(mean, quantiles, 0.9) == pytest.approx([1.2, 0.9])
    assert decision_load(mean, quantiles, "0.9", "mean") == pytest.approx([1.0, 0.9])


@given(tables)
def test_a_higher_level_never_gives_a_smaller_load_and_the_maximum_is_never_below_the_mean(table):
    quantiles = np.sort(table, axis=1)
    mean = quantiles.mean(axis=1)
    for window in WINDOWS:
        loads = [decision_load(mean, quantiles, level, window) for level in QUANTILES]
        assert all((low <= high).all() for low, high in zip(loads, loads[1:], strict=False))
    for rule in RULES:
        largest, average = (decision_load(mean, quantiles, rule, window) for window in ("max", "mean"))
        assert (largest >= average * (1 - 1e-12)).all()


@given(tables)
def test_one_cell_knows_nothing_of_the_others(table):
    for rule in RULES:
        together = decision_load(table[:, 4], table, rule)
        assert together.tolist() == [decision_load(row[None, 4], row[None], rule)[0] for row in table]


def test_an_unknown_slot_makes_the_load_unknown():
    mean, quantiles = np.ones((2, 3)), np.ones((2, 9, 3))
    mean[0, 1] = quantiles[0, :, 1] = np.nan
    for rule in RULES:
        for window in WINDOWS:
            assert np.isnan(decision_load(mean, quantiles, rule, window)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"rule": "0.95"}, "rule: '0.95' must be one of mean, 0.1"),
        ({"rule": 0.55}, "rule: 0.55"),
        ({"rule": "median"}, "rule"),
        ({"window": "min"}, "window: 'min' must be one of max, mean"),
        ({"mean": np.ones(3)}, "forecast"),
        ({"mean": np.ones((2, 4))}, "forecast"),
        ({"quantiles": np.ones((2, 3, 9))}, "forecast"),
        ({"mean": np.ones((2, 0)), "quantiles": np.ones((2, 9, 0))}, "at least one slot"),
    ],
)
def test_bad_arguments_are_named(parts, named):
    with pytest.raises(ValueError, match=named):
        decision_load(**{"mean": np.ones((2, 3)), "quantiles": np.ones((2, 9, 3))} | parts)


def test_words():
    assert described("mean", "max") == "largest predicted load"
    assert described("0.8", "mean") == described(0.8, "mean") == "mean 80% quantile of the load"
