"""Measures of forecasts against hand-computed and known answers."""

import math
import statistics

import numpy as np
import pytest

from evaluation import forecast_measures as m
from predictor import QUANTILES

RNG = np.random.default_rng(4)
SHAPE = (5, 3, 60)  # origins, cells, steps


@pytest.fixture
def forecast():
    """(truth, mean, quantiles, counts, scale) of a model that is off by about a tenth."""
    truth = RNG.uniform(1, 9, SHAPE) * np.array([1.0, 10.0, 100.0])[:, None]
    mean = truth * RNG.normal(1, 0.1, SHAPE)
    quantiles = mean[:, :, None] * np.linspace(0.8, 1.2, 9)[:, None]
    return truth, mean, quantiles, np.ones(SHAPE, bool), np.ones(3)


def test_nrmse_by_hand():
    truth = np.array([[[1.0, 3.0], [10.0, 30.0]]])  # one origin, two cells, two steps
    mean = np.array([[[2.0, 3.0], [10.0, 33.0]]])
    result = m.nrmse(truth, mean, np.ones(truth.shape, bool))
    first, second = math.sqrt(1 / 2) / 2, math.sqrt(9 / 2) / 20
    assert result["per_cell_mean"] == pytest.approx((first + second) / 2)
    assert result["per_cell_std"] == pytest.approx(abs(first - second) / 2)
    assert result["pooled"] == pytest.approx(math.sqrt(10 / 4) / 11)


def test_nrmse_equals_loops_over_eq_9(forecast):
    truth, mean, quantiles, counts, scale = forecast
    counts = counts & (RNG.random(SHAPE) < 0.7)
    result = m.measures(truth, mean, quantiles, counts, scale)
    for h in (1, 10, 30, 60):
        cells, everything = [], []
        for c in range(3):
            points = [(truth[o, c, s], mean[o, c, s]) for o in range(5) for s in range(h) if counts[o, c, s]]
            everything += points
            error = math.sqrt(statistics.fmean((y - d) ** 2 for d, y in points))
            cells.append(error / statistics.fmean(d for d, _ in points))
        pooled = math.sqrt(statistics.fmean((y - d) ** 2 for d, y in everything))
        assert result[str(h)] == pytest.approx(
            {
                "per_cell_mean": statistics.fmean(cells),
                "per_cell_std": statistics.pstdev(cells),
                "pooled": pooled / statistics.fmean(d for d, _ in everything),
            }
        )


def test_per_cell_and_pooled_weigh_cells_differently():
    """A large cell that is right hides a small one that is wrong, if they are pooled."""
    truth = np.stack([np.full((1, 60), 1.0), np.full((1, 60), 99.0)], axis=1)
    mean = truth + np.array([1.0, 0.0])[:, None]
    result = m.nrmse(truth, mean, np.ones(truth.shape, bool))
    assert result["per_cell_mean"] == pytest.approx(0.5)
    assert result["pooled"] == pytest.approx(math.sqrt(0.5) / 50)


def test_a_perfect_forecaster_has_no_error(forecast):
    truth, *_, counts, scale = forecast
    result = m.measures(truth, truth, np.repeat(truth[:, :, None], 9, axis=2), counts, scale)
    for h in m.HORIZONS:
        assert result[str(h)] == {"per_cell_mean": 0.0, "per_cell_std": 0.0, "pooled": 0.0}
    assert (result["pinball"], result["mase"]) == (0.0, 0.0)
    assert result["coverage"] == [1.0] * 9


def test_persistence_on_a_ramp():
    """Truth 101, 102, ... after 100: the error at step k is k."""
    truth = np.arange(101.0, 161.0)[None, None]
    result = m.nrmse(truth, np.full((1, 1, 60), 100.0), np.ones((1, 1, 60), bool))
    assert result["pooled"] == pytest.approx(math.sqrt(61 * 121 / 6) / 130.5)
    assert result["per_cell_mean"] == pytest.approx(result["pooled"])


def test_exact_quantiles_cover_their_share_and_have_the_known_pinball_loss():
    """Uniform on 0 to 1: the quantile of level p is p, and its expected pinball loss p (1 - p) / 2; the mean is 1/2."""
    truth = np.random.default_rng(0).random((200, 10, 60))
    quantiles = np.broadcast_to(np.array(QUANTILES)[:, None], (200, 10, 9, 60))
    counts = np.ones(truth.shape, bool)
    assert m.coverage(truth, quantiles, counts) == pytest.approx(QUANTILES, abs=0.005)
    expected = statistics.fmean(p * (1 - p) / 2 for p in QUANTILES) / 0.5
    assert m.pinball(truth, quantiles, counts) == pytest.approx(expected, rel=0.01)


def test_pinball_by_hand():
    """Truth 10; quantiles 4 under it at all levels: loss 4 p; over it: 4 (1 - p); both have the mean 2."""
    truth = np.full((1, 1, 60), 10.0)
    counts = np.ones(truth.shape, bool)
    for value in (6.0, 14.0):
        assert m.pinball(truth, np.full((1, 1, 9, 60), value), counts) == pytest.approx(0.2)
    low = np.full((1, 1, 9, 60), 10.0)
    low[:, :, 0] = 6.0
    assert m.pinball(truth, low, counts) == pytest.approx(0.1 * 4 / 9 / 10)
    assert m.coverage(truth, low, counts) == [0.0] + [1.0] * 8


def test_mase_of_the_seasonal_naive_is_1_where_its_errors_go_on():
    """Each day is 10 above the one before it, in the past as in the test."""
    day = RNG.uniform(0, 50, (2, 144))
    series = np.hstack([day + 10.0 * d for d in range(5)])
    scale = m.naive_mae(series[:, : 3 * 144], 144)
    np.testing.assert_allclose(scale, 10.0)
    truth, naive = series[None, :, 432:492], series[None, :, 288:348]
    assert m.mase(truth, naive, np.ones(truth.shape, bool), scale) == pytest.approx(1.0)
    assert m.mase(truth, truth + 5.0, np.ones(truth.shape, bool), scale) == pytest.approx(0.5)


def test_mase_scale_skips_missing_slots_and_cells_without_one():
    past = np.array([[1.0, 2.0, np.nan, 4.0, 5.0, 9.0], [7.0] * 6, [np.nan] * 6])
    scale = m.naive_mae(past, 2)
    assert scale[:2] == pytest.approx([(2 + 5) / 2, 0.0])  # 4 - 2 and 9 - 4
    assert np.isnan(scale[2])
    truth, counts = np.full((1, 3, 60), 7.0), np.ones((1, 3, 60), bool)
    assert m.mase(truth, truth + 7.0, counts, scale) == pytest.approx(2.0)  # of the first cell alone
    assert m.mase(truth, truth, counts, scale[1:].repeat(2)[1:]) is None
    assert m.naive_mae(past, 6).shape == (3,) and np.isnan(m.naive_mae(past, 6)).all()


def test_missing_true_values_are_left_out(forecast):
    truth, mean, quantiles, counts, scale = forecast
    whole = m.measures(truth, mean, quantiles, counts, scale)
    twice = np.concatenate([truth, np.full(SHAPE, np.nan)])
    known = ~np.isnan(twice)
    more = m.measures(twice, np.tile(mean, (2, 1, 1)), np.tile(quantiles, (2, 1, 1, 1)), known, scale)
    assert more["60"] == pytest.approx(whole["60"])
    assert [more["pinball"], *more["coverage"]] == pytest.approx([whole["pinball"], *whole["coverage"]])
    assert more["mase"] == pytest.approx(whole["mase"])


def test_a_cell_without_traffic_has_no_figure_of_its_own_but_counts_when_pooled():
    truth = np.stack([np.full((1, 60), 2.0), np.zeros((1, 60))], axis=1)
    result = m.nrmse(truth, truth + 1.0, np.ones(truth.shape, bool))
    assert result == pytest.approx({"per_cell_mean": 0.5, "per_cell_std": 0.0, "pooled": 1.0})


def test_none_where_there_is_nothing_to_measure(forecast):
    truth, mean, quantiles, counts, scale = forecast
    nothing = m.measures(truth, mean, quantiles, counts & False, scale)
    assert nothing["60"] == {"per_cell_mean": None, "per_cell_std": None, "pooled": None}
    assert (nothing["pinball"], nothing["coverage"], nothing["mase"]) == (None, None, None)
    points_only = m.measures(truth, mean, np.full_like(quantiles, np.nan), counts, scale)
    assert (points_only["pinball"], points_only["coverage"]) == (None, None)
    assert points_only["60"]["pooled"] > 0


def test_over_seeds():
    documents = [{"a": 1.0, "b": {"c": [1, 5]}, "d": None}, {"a": 3.0, "b": {"c": [2, 5]}, "d": 2.0}]
    assert m.over_seeds(documents, statistics.fmean) == {"a": 2.0, "b": {"c": [1.5, 5.0]}, "d": None}
    assert m.over_seeds(documents, statistics.stdev) == {
        "a": pytest.approx(math.sqrt(2)),
        "b": {"c": [pytest.approx(math.sqrt(0.5)), 0.0]},
        "d": None,
    }
