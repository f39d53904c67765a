import pickle

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from predictor import dlinear
from predictor.dlinear import STEPS, DLinear
from predictor.naive import Persistence, SeasonalNaive

DAY = 24  # slots of an hour: small matrices
WEEK = 7 * DAY


def loads(cells: int, slots: int, seed: int, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(slots)
    rhythm = (1.5 + np.sin(2 * np.pi * t / DAY - 2)) * np.where(t % WEEK >= 5 * DAY, 0.6, 1.0)
    return rng.uniform(1, 100, (cells, 1)) * rhythm * np.exp(noise * rng.standard_normal((cells, slots)))


@pytest.fixture(scope="module")
def fitted():
    return DLinear(DAY).fit(loads(6, 6 * WEEK, 1))


def test_fit_returns_a_new_model_of_plain_data(fitted):
    model = DLinear(DAY)
    with pytest.raises(ValueError, match="dlinear: must be fitted first"):
        model.forecast(np.ones((1, 500)), 5)
    assert model.parameters == 0
    told = []
    other = model.fit(loads(6, 6 * WEEK, 1), progress=lambda text, share: told.append((text, share)))
    assert model.weights is None and other is not model
    assert [share for _, share in told] == sorted(share for _, share in told) and told[-1][1] == 1.0
    again = pickle.loads(pickle.dumps(other))
    history = loads(2, 3 * WEEK, 2)
    np.testing.assert_array_equal(again.forecast(history, 9).quantiles, fitted.forecast(history, 9).quantiles)
    assert other.parameters == other.weights.size == min(other.tried, key=lambda row: row[2])[0] * STEPS
    assert {lookback for lookback, _, _ in other.tried} == {2 * DAY, 3 * DAY, 7 * DAY}


def test_a_linear_recurrence_is_learnt():
    """Sums of sinusoids obey a linear recurrence, so that a linear map can forecast them."""
    t = np.arange(60 * DAY)
    waves = [10 + 3 * np.sin(2 * np.pi * t / DAY + p) + np.sin(2 * np.pi * t / 60 + 2 * p) for p in (0.3, 1.7, 4.0)]
    series = np.array(waves)
    model = DLinear(DAY).fit(series[:, : 50 * DAY])
    made = model.forecast(series[:, : 55 * DAY], STEPS).mean
    np.testing.assert_allclose(made, series[:, 55 * DAY : 55 * DAY + STEPS], atol=0.3)


def test_weights_solve_the_penalised_least_squares_of_both_maps():
    rng = np.random.default_rng(3)
    series, ridge, lookback = [rng.uniform(1, 2, 150) for _ in range(2)], 0.1, 30
    inputs, targets = [], []
    for one in series:
        for start in range(150 - lookback - STEPS + 1):
            window, ahead = one[start : start + lookback], one[start + lookback : start + lookback + STEPS]
            scaled = (window - window[-1]) / window.mean()
            trend = uniform_filter1d(scaled, 5, mode="nearest")
            inputs.append(np.append(scaled - trend, trend))
            targets.append((ahead - window[-1]) / window.mean())
    penalty = np.sqrt(ridge * len(inputs)) * np.eye(2 * lookback)
    maps = np.linalg.lstsq(np.vstack([inputs, penalty]), np.vstack([targets, np.zeros((2 * lookback, STEPS))]))[0]
    average = uniform_filter1d(np.eye(lookback), 5, axis=0, mode="nearest").T
    sums = dlinear._sums(series, lookback, 10_000, rng)
    expected = (np.eye(lookback) - average) @ maps[:lookback] + average @ maps[lookback:]
    np.testing.assert_allclose(dlinear._solve(sums, ridge, DAY), expected, atol=1e-9)


def test_better_than_the_naives_on_a_rhythm_with_noise(fitted):
    history = loads(5, 4 * WEEK, 4)

    def error(model):
        origins = range(3 * WEEK, 4 * WEEK - STEPS, 5)
        return np.mean(
            [np.abs(model.forecast(history[:, :o], STEPS).mean / history[:, o : o + STEPS] - 1) for o in origins]
        )

    assert error(fitted) < error(Persistence())
    assert error(fitted) < error(SeasonalNaive("day", (DAY,)))


def test_scale_permutation_batches_and_unknown_cells(fitted):
    history = loads(5, 3 * WEEK, 5)
    plain = fitted.forecast(history, 12)
    scaled = fitted.forecast(history * 1000, 12)
    np.testing.assert_allclose(scaled.mean, plain.mean * 1000)
    np.testing.assert_allclose(scaled.quantiles, plain.quantiles * 1000)
    order = [3, 1, 4, 0, 2]
    np.testing.assert_allclose(fitted.forecast(history[order], 12).quantiles, plain.quantiles[order])
    history[2] = np.nan
    for cell in range(5):
        alone = fitted.forecast(history[cell : cell + 1], 12)
        if cell == 2:
            assert np.isnan(alone.mean).all() and "no value" in alone.notes[0]
        else:
            np.testing.assert_allclose(alone.quantiles[0], plain.quantiles[cell])


def test_constant_and_zero_loads(fitted):
    history = np.stack([np.zeros(3 * WEEK), np.full(3 * WEEK, 0.5)])
    result = fitted.forecast(history, 100)
    np.testing.assert_allclose(result.mean, [[0.0] * 100, [0.5] * 100], atol=1e-12)
    assert (result.quantiles[0] == 0).all()


def test_beyond_the_direct_steps_it_goes_on_from_its_own_forecast(fitted):
    history = loads(2, 3 * WEEK, 6)
    far, near = fitted.forecast(history, 2 * STEPS + 7), fitted.forecast(history, STEPS)
    np.testing.assert_allclose(far.mean[:, :STEPS], near.mean)
    onward = fitted.forecast(np.hstack([history, near.mean]), STEPS)
    np.testing.assert_allclose(far.mean[:, STEPS : 2 * STEPS], onward.mean)
    assert far.mean.shape == (2, 2 * STEPS + 7)
    assert (np.diff(far.quantiles, axis=1) >= 0).all()


def test_short_histories_and_gaps_are_said(fitted):
    lookback = len(fitted.weights)
    history = loads(1, 3 * WEEK, 7, noise=0.0)
    whole = fitted.forecast(history, 10)
    assert whole.notes == ("",)
    few = fitted.forecast(history[:, : DAY - 1], 10)
    assert few.notes == (f"{DAY - 1} slots of history, {DAY} needed: persistence instead",)
    days = fitted.forecast(history[:, -(lookback - 5) :], 10)
    assert f"{lookback - 5} slots of history, {lookback} needed: the first" in days.notes[0]
    np.testing.assert_allclose(days.mean, whole.mean, rtol=0.3)
    gaps = history.copy()
    gaps[0, -20:-10] = np.nan
    result = fitted.forecast(gaps, 10)
    assert "10 of 504 slots missing, filled in" in result.notes[0]
    np.testing.assert_allclose(result.mean, whole.mean, rtol=0.3)


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(ValueError, match=r"history: shape \[5\]"):
        DLinear(DAY).fit(np.ones(5))
    with pytest.raises(ValueError, match="dlinear: needs a cell with 300 slots of history to be fitted to"):
        DLinear(DAY).fit(np.ones((2, 299)))
    with pytest.raises(ValueError, match="dlinear: needs a cell"):
        DLinear(DAY).fit(np.full((2, 5 * WEEK), np.nan))
    assert DLinear(DAY).fit(loads(1, 300, 8)).weights.shape[1] == STEPS


def test_cells_without_use_do_not_disturb_the_fit():
    history = loads(3, 5 * WEEK, 9)
    useless = np.stack([np.zeros(5 * WEEK), np.full(5 * WEEK, np.nan), np.r_[[np.nan] * (5 * WEEK - 9), np.ones(9)]])
    with_them = DLinear(DAY).fit(np.vstack([history, useless]))
    np.testing.assert_array_equal(with_them.weights, DLinear(DAY).fit(history).weights)


def test_where_windows_are_drawn_the_seed_decides(monkeypatch):
    history = loads(3, 5 * WEEK, 10)
    everything = [DLinear(DAY).fit(history, seed=seed).weights for seed in (1, 2)]
    np.testing.assert_array_equal(*everything)
    monkeypatch.setattr(dlinear, "MAX_WINDOWS", 300)
    monkeypatch.setattr(dlinear, "LOOKBACK_DAYS", (2,))
    first, same, other = (DLinear(DAY).fit(history, seed=seed).weights for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)


def test_quantiles_cover_their_shares(fitted):
    history = loads(40, 5 * WEEK, 11)
    under = []
    for origin in range(3 * WEEK, 5 * WEEK - STEPS, 17):
        result = fitted.forecast(history[:, :origin], STEPS)
        under.append(history[:, None, origin : origin + STEPS] <= result.quantiles)
    np.testing.assert_allclose(np.mean(under, axis=(0, 1, 3)), np.arange(1, 10) / 10, atol=0.05)


def test_better_than_the_naives_on_milan(real_data):
    """Fitted to 1 to 10 November 2013, forecasts of 11 to 17."""
    with np.load(real_data("milan/internet_25sq_10min_2013-11-01_24.npz")) as file:
        traffic = file["traffic"].T[:, : 17 * 144].astype(float)
    start = 10 * 144
    model = DLinear().fit(traffic[:, :start])

    def error(one):
        origins = range(start, traffic.shape[1] - STEPS + 1, 24)
        return np.mean([(one.forecast(traffic[:, :o], STEPS).mean - traffic[:, o : o + STEPS]) ** 2 for o in origins])

    ours = error(model)
    for naive in (Persistence(), SeasonalNaive("day", (144,)), SeasonalNaive("week", (1008,))):
        assert ours < error(naive)
