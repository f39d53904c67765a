from dataclasses import replace

import numpy as np
import pytest

from predictor import profile
from predictor.naive import SeasonalNaive
from predictor.profile import PLAIN, SEARCH, Profile, Settings, backtest_error, tune_profile

DAY, WEEK = 144, 1008


def loads(cells: int, slots: int, seed: int, noise: float = 0.1, wander: float = 0.01) -> np.ndarray:
    """A day's rhythm, quieter weekends, a level that wanders slowly, and noise, all multiplicative: [cells, slots]."""
    rng = np.random.default_rng(seed)
    t = np.arange(slots)
    rhythm = (1.5 + np.sin(2 * np.pi * t / DAY - 2)) * np.where(t % WEEK >= 5 * DAY, 0.6, 1.0)
    level = np.cumsum(wander * rng.standard_normal((cells, slots)), axis=1)
    return rng.uniform(1, 100, (cells, 1)) * rhythm * np.exp(noise * rng.standard_normal((cells, slots)) + level)


def by_hand(series: np.ndarray, horizon: int, s: Settings) -> np.ndarray:
    """The forecast of one complete series of two weeks or more, slot by slot as the module's docstring says it."""
    slots, half = len(series), int(s.smooth)

    def value(slot, season):
        while slot >= slots:
            slot -= season
        return series[slot]

    def profile_of(slot):
        above = below = 0.0
        for near in range(-half, half + 1):
            weight = half + 1 - abs(near)
            weeks = [value(slot + near - k * WEEK, WEEK) for k in range(1, 9) if slot + near - k * WEEK >= 0]
            days = [value(slot + near - k * DAY, DAY) for k in range(1, 8)]
            above += weight * (sum(weeks) + s.daily_weight * np.mean(days))
            below += weight * (len(weeks) + s.daily_weight)
        return above / below

    past = np.array([profile_of(slot) for slot in range(slots - DAY, slots)])
    weights = (1 - s.memory) * s.memory ** np.arange(DAY - 1, -1, -1)
    day = series[-DAY:].mean() / past.mean()
    prior = s.prior * past.mean()
    present = ((weights * series[-DAY:]).sum() + prior * day) / ((weights * past).sum() + prior)
    steps = np.arange(1, horizon + 1)
    level = 1 + (day - 1) * s.day_decay**steps + (present - day) * s.present_decay**steps
    return np.array([profile_of(slots + h) for h in range(horizon)]) * level


@pytest.mark.parametrize("settings", [Settings(), PLAIN, replace(Settings(), smooth=2, memory=0.7, prior=0.3)])
def test_forecast_equals_a_second_implementation(settings):
    history = loads(2, 2 * WEEK + 300, 1)
    result = Profile(settings=settings).forecast(history, 160)
    for cell in range(2):
        np.testing.assert_allclose(result.mean[cell], by_hand(history[cell], 160, settings), rtol=1e-9)


@pytest.mark.parametrize("slots", [2 * WEEK + 2 * DAY + 70, 3 * WEEK - 75, 4 * WEEK - 4 * DAY])
def test_a_weekly_rhythm_is_forecast_closely(slots):
    series = loads(2, slots + 60, 2, noise=0.0, wander=0.0)
    result = Profile().forecast(series[:, :-60], 60)
    np.testing.assert_allclose(result.mean, series[:, -60:], rtol=0.1)


def test_the_backtest_sees_only_what_precedes_each_origin():
    history = loads(3, 2 * WEEK + 120, 3)
    settings, steps = Settings(), np.arange(1, 61)
    origins = np.array([WEEK + 5, 2 * WEEK, 2 * WEEK + 59])
    past = profile._Past.of(history, history, 60, DAY, settings)
    for origin, made in zip(origins, np.moveaxis(past.forecast(origins, steps), 1, 0), strict=True):
        np.testing.assert_allclose(Profile().forecast(history[:, :origin], 60).mean, made, rtol=1e-9)


def test_the_present_level_is_followed_and_forgotten():
    history = loads(4, 2 * WEEK, 4, noise=0.01)
    usual = Profile().forecast(history, 5 * DAY // 2).mean
    high = history.copy()
    high[:, -6:] *= 3
    ratio = Profile().forecast(high, 5 * DAY // 2).mean / usual
    assert (ratio[:, 0] > 2).all() and (ratio[:, 5] < ratio[:, 0]).all()
    np.testing.assert_allclose(ratio[:, -1], 1, atol=0.02)


@pytest.mark.parametrize(
    ("slots", "note"),
    [
        (DAY, "144 slots of history, 145 needed: persistence instead"),
        (DAY + 1, "145 slots of history, 1008 needed: daily profile instead, spread from 1 slots only"),
        (3 * DAY, "432 slots of history, 1008 needed: daily profile instead"),
        (WEEK, ""),
    ],
)
def test_every_length_has_a_forecast_and_says_which(slots, note):
    result = Profile().forecast(loads(2, slots, 5), 200)
    assert result.notes == (note, note)
    assert np.isfinite(result.mean).all() and np.isfinite(result.quantiles).all()
    assert (np.diff(result.quantiles, axis=1) >= 0).all()


def test_days_alone_follow_the_day():
    series = np.tile(2 + np.sin(2 * np.pi * np.arange(DAY) / DAY), 4)[None]
    np.testing.assert_allclose(Profile().forecast(series[:, :-60], 60).mean, series[:, -60:], rtol=0.02)
    hourly = np.tile(2 + np.sin(2 * np.pi * np.arange(24) / 24), 16)[None]
    np.testing.assert_allclose(Profile(24).forecast(hourly[:, :-24], 24).mean, hourly[:, -24:], rtol=0.1)


def test_horizons_beyond_a_week():
    history = loads(1, 2 * WEEK, 6)
    far, near = Profile().forecast(history, WEEK + 80), Profile().forecast(history, 60)
    np.testing.assert_allclose(far.mean[:, :60], near.mean, rtol=1e-9)
    assert np.isfinite(far.quantiles).all() and (far.mean > 0).all()


def test_gaps_do_not_count_as_observed():
    """A gap filled from the week before must not pull the level of a busier day back to that week's."""
    history = loads(3, 2 * WEEK, 7, noise=0.01)
    history[:, -DAY:] *= 2
    whole = Profile().forecast(history, 30)
    gaps = history.copy()
    gaps[:, -100:-6] = np.nan
    result = Profile().forecast(gaps, 30)
    np.testing.assert_allclose(result.mean, whole.mean, rtol=0.1)
    assert all("94 of 2016 slots missing, filled in" in note for note in result.notes)


def test_how_cells_are_batched_changes_nothing(monkeypatch):
    history = loads(7, 2 * WEEK, 8)
    history[4, 100:200] = np.nan
    whole = Profile().forecast(history, 20)
    monkeypatch.setattr(profile, "BLOCK_CELLS", 3)
    parts = Profile().forecast(history, 20)
    np.testing.assert_array_equal(parts.mean, whole.mean)
    np.testing.assert_array_equal(parts.quantiles, whole.quantiles)


def test_empty_nights_and_single_bursts_do_no_harm():
    quiet = np.zeros((2, 2 * WEEK))
    quiet[0, 77] = 5.0
    quiet[1, -1] = 5.0
    result = Profile().forecast(quiet, 60)
    assert np.isfinite(result.quantiles).all() and result.mean.max() <= 5.0


def test_quantiles_cover_their_shares():
    history = loads(40, 3 * WEEK, 9)
    under = []
    for origin in range(2 * WEEK, 3 * WEEK - 60, 100):
        result = Profile().forecast(history[:, :origin], 60)
        under.append(history[:, None, origin : origin + 60] <= result.quantiles)
    np.testing.assert_allclose(np.mean(under, axis=(0, 1, 3)), np.arange(1, 10) / 10, atol=0.05)


def test_the_search_is_reproducible_and_only_looks_back():
    history = loads(3, 12 * DAY, 10)
    table = tune_profile(history, stride=24)
    assert table == tune_profile(history, stride=24)
    assert table[0][0] == PLAIN
    best = min(table, key=lambda row: sum(row[1]))
    assert sum(best[1]) < sum(table[0][1])
    assert all(getattr(best[0], name) in values for name, values in SEARCH.items())
    # One error by hand, from forecasts of the truncated history.
    origins = range(10 * DAY, 12 * DAY - 59, 24)
    wrong = [Profile(settings=best[0]).forecast(history[:, :o], 1).mean[:, 0] - history[:, o] for o in origins]
    load = np.mean([history[:, o] for o in origins], axis=0)
    expected = (np.sqrt(np.mean(np.square(wrong), axis=0)) / load).mean()
    assert backtest_error(history, best[0], 10 * DAY, 24)[0] == pytest.approx(expected)


def test_settings_are_those_that_the_search_finds_on_milan(real_data):
    with np.load(real_data("milan/internet_25sq_10min_2013-11-01_24.npz")) as file:
        traffic = file["traffic"].T[:, : 17 * DAY].astype(float)
    best = min(tune_profile(traffic), key=lambda row: sum(row[1]))
    assert best[0] == Settings()
    for season in (DAY, WEEK):
        naive = SeasonalNaive("naive", (season,))
        origins = range(10 * DAY, 17 * DAY - 59, 24)
        error = np.mean([(naive.forecast(traffic[:, :o], 60).mean - traffic[:, o : o + 60]) ** 2 for o in origins])
        ours = np.mean([(Profile().forecast(traffic[:, :o], 60).mean - traffic[:, o : o + 60]) ** 2 for o in origins])
        assert ours < error
