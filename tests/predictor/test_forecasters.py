import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import NAMES, QUANTILES, forecaster
from predictor.arima import Arima
from predictor.naive import Persistence, SeasonalNaive, fill
from predictor.profile import Profile

DAY, WEEK = 144, 1008
UNTRAINED = {
    "arima": Arima(),
    "persistence": Persistence(),
    "seasonal-naive-day": SeasonalNaive("seasonal-naive-day", (DAY,)),
    "seasonal-naive-week": SeasonalNaive("seasonal-naive-week", (WEEK, DAY)),
    "profile": Profile(),
}


def rhythm(cells: int, slots: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Loads with a day, a weekend and multiplicative noise: [cells, slots]."""
    rng = np.random.default_rng(seed)
    t = np.arange(slots)
    day = 0.3 + 0.2 * np.sin(2 * np.pi * t / DAY - 2) + 0.05 * np.sin(4 * np.pi * t / DAY)
    week = np.where(t % WEEK >= 5 * DAY, 0.7, 1.0)
    return day * week * np.exp(noise * rng.standard_normal((cells, slots))) * rng.uniform(0.5, 1.5, (cells, 1))


@pytest.mark.parametrize("name", UNTRAINED)
def test_shapes_order_of_quantiles_and_pickling(name):
    model = pickle.loads(pickle.dumps(UNTRAINED[name]))
    result = pickle.loads(pickle.dumps(model.forecast(rhythm(3, 2 * WEEK, 1), 7)))
    assert model.name == name
    assert result.mean.shape == (3, 7)
    assert result.quantiles.shape == (3, len(QUANTILES), 7)
    assert result.notes == ("", "", "")
    assert (np.diff(result.quantiles, axis=1) >= 0).all()
    assert (result.quantiles >= 0).all()
    assert np.isfinite(result.mean).all()


def test_the_registry_makes_them_by_name():
    for name in NAMES:
        if name in UNTRAINED:
            assert forecaster(name, DAY) == UNTRAINED[name]


@pytest.mark.parametrize(("name", "season"), [("seasonal-naive-day", DAY), ("seasonal-naive-week", WEEK)])
def test_exactly_seasonal_series_is_forecast_exactly(name, season):
    t = np.arange(3 * WEEK)
    series = 1 + np.sin(2 * np.pi * t / season) + (t % season == 5)
    result = UNTRAINED[name].forecast(series[None, : 2 * WEEK], WEEK)
    np.testing.assert_allclose(result.mean[0], series[2 * WEEK :], rtol=1e-12)
    np.testing.assert_allclose(result.quantiles[0], np.tile(series[2 * WEEK :], (9, 1)), atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(DAY, 500))
@settings(max_examples=20, deadline=None)
def test_naives_equal_a_second_implementation(seed, horizon, slots):
    series = np.random.default_rng(seed).random((2, slots))
    day = forecaster("seasonal-naive-day").forecast(series, horizon).mean
    np.testing.assert_allclose(day, np.tile(series[:, -DAY:], 4)[:, :horizon])
    last = forecaster("persistence").forecast(series, horizon)
    np.testing.assert_allclose(last.mean, np.repeat(series[:, -1:], horizon, axis=1))
    # Naive intervals: the spread of the steps, growing with the root of the horizon.
    sigma = np.sqrt((np.diff(series) ** 2).mean(axis=1))
    ahead = np.sqrt(np.arange(1, horizon + 1))
    upper = series[:, -1:] + 1.2815515655446004 * sigma[:, None] * ahead
    np.testing.assert_allclose(last.quantiles[:, 8], upper, rtol=0.02)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 60), st.sampled_from([1, 7, 24]))
@settings(max_examples=30, deadline=None)
def test_naives_and_their_intervals_are_those_of_statsforecast(seed, horizon, slots, season):
    from statsforecast import models

    series = 10 + np.random.default_rng(seed).random((3, max(slots, season)))  # far from 0, at which ours are cut
    ours = (Persistence() if season == 1 else SeasonalNaive("s", (season,))).forecast(series, horizon)
    theirs = models.Naive() if season == 1 else models.SeasonalNaive(season_length=season)
    for cell in range(3):
        result = theirs.forecast(y=series[cell], h=horizon, level=[20, 40, 60, 80])
        low, high = [result[f"lo-{n}"] for n in (80, 60, 40, 20)], [result[f"hi-{n}"] for n in (20, 40, 60, 80)]
        np.testing.assert_allclose(ours.mean[cell], result["mean"])
        np.testing.assert_allclose(ours.quantiles[cell], np.maximum([*low, result["mean"], *high], 0), rtol=1e-6)


def test_cells_whose_histories_begin_apart_do_not_mix():
    history = rhythm(4, 2 * WEEK, 9)
    history[1, :100], history[2, :1900], history[3, 1500] = np.nan, np.nan, np.nan
    for model in UNTRAINED.values():
        together = model.forecast(history, 6)
        for cell in range(4):
            alone = model.forecast(history[cell : cell + 1], 6)
            np.testing.assert_array_equal(together.mean[cell], alone.mean[0])
            np.testing.assert_array_equal(together.quantiles[cell], alone.quantiles[0])
            assert together.notes[cell] == alone.notes[0]


def test_arima_forecasts_a_smooth_seasonal_series_closely():
    series = rhythm(2, 2 * WEEK + 2 * DAY + 60, 3, noise=0.0)
    result = forecaster("arima").forecast(series[:, :-60], 60)
    np.testing.assert_allclose(result.mean, series[:, -60:], rtol=0.1)


def test_arima_reacts_to_the_present_level():
    rng = np.random.default_rng(5)
    normal = 0.4 + 0.02 * rng.standard_normal((4, 2 * WEEK))
    for slots in (1, 2, 6, 30):
        high = normal.copy()
        high[:, -slots:] = 0.95
        result = forecaster("arima").forecast(high, 6)
        assert (result.mean > 0.7).all(), slots
    np.testing.assert_allclose(forecaster("arima").forecast(normal, 6).mean, 0.4, atol=0.02)


def test_arima_reacts_on_top_of_a_rhythm_and_comes_down_after_a_spike():
    usual = rhythm(3, 2 * WEEK, 8) / 2
    high = usual.copy()
    high[:, -2:] = 0.95
    assert (forecaster("arima").forecast(high, 1).mean > 0.7).all()
    over = usual.copy()
    over[:, -6:-2] = 0.95
    back = forecaster("arima").forecast(over, 1).mean
    np.testing.assert_allclose(back, forecaster("arima").forecast(usual, 1).mean, rtol=0.35)


@pytest.mark.parametrize("name", UNTRAINED)
def test_scale_equivariance_and_permutation_of_cells(name):
    history = rhythm(3, 10 * DAY, 11)
    model = UNTRAINED[name]
    plain = model.forecast(history, 5)
    scaled = model.forecast(history * 1000, 5)
    np.testing.assert_allclose(scaled.mean, plain.mean * 1000, rtol=1e-3)
    np.testing.assert_allclose(scaled.quantiles, plain.quantiles * 1000, rtol=1e-3)
    order = [2, 0, 1]
    moved = model.forecast(history[order], 5)
    np.testing.assert_array_equal(moved.mean, plain.mean[order])
    np.testing.assert_array_equal(moved.quantiles, plain.quantiles[order])


@pytest.mark.parametrize("name", UNTRAINED)
@pytest.mark.parametrize("missing", ["scattered", "a block", "the end", "the beginning"])
def test_missing_slots_are_filled_and_said(name, missing):
    history = rhythm(1, 2 * WEEK, 2, noise=0.02)
    whole = UNTRAINED[name].forecast(history, 6)
    where = {
        "scattered": np.random.default_rng(0).random(history.size) < 0.2,
        "a block": slice(500, 700),
        "the end": slice(-5, None),
        "the beginning": slice(0, 300),
    }[missing]
    history[0, where] = np.nan
    count = int(np.isnan(history).sum())
    result = UNTRAINED[name].forecast(history, 6)
    np.testing.assert_allclose(result.mean, whole.mean, rtol=0.3)
    assert np.isfinite(result.quantiles).all()
    if missing == "the beginning":
        assert result.notes == ("",)  # as if the history had begun later
    else:
        assert f"{count} of {history.size} slots missing" in result.notes[0]


def test_slots_missing_at_the_end_count_as_time_gone_by():
    history = rhythm(1, 2 * WEEK + 30, 4, noise=0.0)
    cut = history.copy()
    cut[:, -24:] = np.nan
    result = forecaster("arima").forecast(cut[:, :-6], 6)
    np.testing.assert_allclose(result.mean, history[:, -6:], rtol=0.1)


@given(st.integers(1, 40), st.integers(1, 7), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_fill_keeps_what_is_known_and_takes_the_rest_from_the_same_slot(size, season, share, seed):
    rng = np.random.default_rng(seed)
    series = rng.random(size)
    series[rng.random(size) < share] = np.nan
    series[rng.integers(size)] = 0.5
    filled, known = fill(series, season), ~np.isnan(series)
    np.testing.assert_array_equal(filled[known], series[known])
    assert not np.isnan(filled).any()
    for slot in np.flatnonzero(~known):
        before = [series[s] for s in range(slot - season, -1, -season) if known[s]]
        after = [series[s] for s in range(slot + season, size, season) if known[s]]
        if before or after:
            assert filled[slot] == (before or after)[0]


@pytest.mark.parametrize("name", UNTRAINED)
def test_short_histories_fall_back_and_say_so(name):
    for slots in (1, 2, 3, 30, 143):
        result = UNTRAINED[name].forecast(np.full((2, slots), 0.25), 4)
        np.testing.assert_allclose(result.mean, 0.25)
        np.testing.assert_allclose(result.quantiles, 0.25)
        assert all("persistence" in note or name == "persistence" for note in result.notes)


def test_a_week_is_missing_a_day_will_do():
    series = np.tile(np.linspace(0, 1, DAY), 3)[None]
    result = forecaster("seasonal-naive-week").forecast(series, 10)
    np.testing.assert_allclose(result.mean[0], series[0, :10])
    assert "432 slots of history, 1008 needed: season of 144 slots instead" in result.notes[0]


@pytest.mark.parametrize("name", UNTRAINED)
def test_nothing_known_gives_nan_and_says_so_without_harm_to_other_cells(name):
    history = rhythm(3, 3 * DAY, 6)
    history[1] = np.nan
    result = UNTRAINED[name].forecast(history, 4)
    assert np.isnan(result.mean[1]).all() and np.isnan(result.quantiles[1]).all()
    assert "no value" in result.notes[1]
    assert np.isfinite(result.mean[[0, 2]]).all()
    assert np.isnan(UNTRAINED[name].forecast(np.empty((2, 0)), 3).mean).all()
    assert UNTRAINED[name].forecast(np.empty((0, 500)), 3).mean.shape == (0, 3)


@pytest.mark.parametrize("name", UNTRAINED)
def test_constant_and_zero_loads(name):
    history = np.stack([np.zeros(2 * WEEK), np.full(2 * WEEK, 0.5)])
    result = UNTRAINED[name].forecast(history, 12)
    np.testing.assert_allclose(result.mean, [[0.0] * 12, [0.5] * 12], atol=1e-12)


@pytest.mark.parametrize("name", UNTRAINED)
@pytest.mark.parametrize(
    ("history", "horizon", "message"),
    [
        (np.ones(5), 1, r"shape \[5\]"),
        (np.ones((1, 2, 3)), 1, r"shape \[1, 2, 3\]"),
        ([[1.0, -0.5]], 1, r"history\[0, 1\]: -0.5 is negative"),
        ([[1.0, 2.0], [np.inf, 1.0]], 1, r"history\[1, 0\]: inf is infinite"),
        ([[1.0, 2.0], [1.0, 1e305]], 1, r"history\[1, 1\]: 1e\+305 is too large; loads are finite, 0 or more, at most"),
        ([[1.0, 2.0], [1.0, 1e305]], 1, r"history\[1, 1\]: 1e\+305 is too large; loads are finite, 0 or more, at most"),
        ([[1.0, 2.0]], 0, "horizon: 0"),
        ([[1.0, 2.0]], 1.5, "horizon: 1.5"),
        ([["a"]], 1, "must be numbers"),
    ],
)
def test_bad_input_is_named(name, history, horizon, message):
    with pytest.raises(ValueError, match=message):
        UNTRAINED[name].forecast(history, horizon)


def test_unknown_names_and_slots():
    with pytest.raises(ValueError, match="'prophet' is unknown; choose one of .*arima"):
        forecaster("prophet")
    with pytest.raises(ValueError, match="day_slots: 1"):
        forecaster("arima", 1)


def test_other_slot_lengths():
    t = np.arange(24 * 14)
    series = (2 + np.sin(2 * np.pi * t / 24))[None]
    ahead = 2 + np.sin(2 * np.pi * np.arange(24 * 14, 24 * 15) / 24)
    np.testing.assert_allclose(forecaster("seasonal-naive-day", 24).forecast(series, 24).mean[0], ahead)
    np.testing.assert_allclose(forecaster("arima", 24).forecast(series, 24).mean[0], ahead, rtol=0.1)


def test_arima_beats_both_seasonal_naives_on_milan(real_data):
    """18 to 24 November 2013, one step ahead, error per cell as in the forecast spec."""
    with np.load(real_data("milan/internet_25sq_10min_2013-11-01_24.npz")) as file:
        traffic, epoch_s = file["traffic"].T[::10], file["epoch_s"]
    start = int(np.searchsorted(epoch_s, np.datetime64("2013-11-17T23:00", "s").astype(int)))
    origins = range(start, traffic.shape[1], 72)  # every third origin of the spec
    true = np.stack([traffic[:, o] for o in origins])
    error = {}
    for name in ("arima", "seasonal-naive-day", "seasonal-naive-week"):
        made = np.stack([UNTRAINED[name].forecast(traffic[:, o - 2 * WEEK : o], 1).mean[:, 0] for o in origins])
        error[name] = np.sqrt(((made - true) ** 2).mean(axis=0)) / true.mean(axis=0)
    assert (error["arima"] < error["seasonal-naive-day"]).all()
    assert (error["arima"] < error["seasonal-naive-week"]).all()
