import pickle

import numpy as np
import pytest
from small_timesfm import DAY, daily, tiny_checkpoint

from predictor import QUANTILES, forecaster, timesfm_forecaster
from predictor.naive import Persistence, fill
from predictor.timesfm_forecaster import TimesFM
from predictor.timesfm_model import CheckpointError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32; loads are about 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return TimesFM(checkpoint=str(tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", seed=4)))


def same(one, other, **tolerance) -> None:
    np.testing.assert_allclose(one.mean, other.mean, **tolerance)
    np.testing.assert_allclose(one.quantiles, other.quantiles, **tolerance)


# --- What a forecast looks like ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 60, 128, 129, 300])
def test_shapes_order_of_quantiles_and_signs(model, horizon):
    history = daily(3, 5 * DAY, 1) * [[1.0], [1e-6], [300.0]]
    history[0, ::7] = 0.0
    result = model.forecast(history, horizon)
    assert result.mean.shape == (3, horizon)
    assert result.quantiles.shape == (3, len(QUANTILES), horizon)
    assert result.notes == ("", "", "")
    assert np.isfinite(result.mean).all() and np.isfinite(result.quantiles).all()
    assert (result.mean >= 0).all() and (result.quantiles >= 0).all()
    assert (np.diff(result.quantiles, axis=1) >= 0).all()
    assert (result.quantiles[:, 8] > result.quantiles[:, 0]).mean() > 0.9


def test_a_longer_horizon_goes_on_from_a_shorter_one(model):
    history = daily(2, 5 * DAY, 1)
    long, short = model.forecast(history, 300), model.forecast(history, 60)
    same(short, type(long)(long.mean[:, :60], long.quantiles[..., :60], long.notes), **CLOSE)


def test_models_and_forecasts_travel_to_other_processes(model):
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    result = pickle.loads(pickle.dumps(again.forecast(daily(1, 3 * DAY, 1), 4)))
    assert result.mean.shape == (1, 4)


def test_the_registry_makes_it_with_any_checkpoint(model):
    assert forecaster("timesfm") == TimesFM()
    made = forecaster("timesfm", 24, checkpoint=model.checkpoint)
    assert made == TimesFM(24, model.checkpoint)
    assert made.name == "timesfm"
    assert made.parameters == sum(p.numel() for p in model.module().parameters()) > 10_000
    with pytest.raises(CheckpointError, match="missing: no such folder"):
        forecaster("timesfm", checkpoint="missing").forecast(daily(1, 300, 1), 4)


# --- What must change nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [-30, -1, 1, 3, 30])
def test_powers_of_two_scale_the_forecast_exactly(model, power):
    history = daily(3, 4 * DAY, 2)
    history[0, 50:60], history[1, -3:], history[2, :100] = np.nan, np.nan, 0.0
    plain, scaled = model.forecast(history, 150), model.forecast(history * 2.0**power, 150)
    np.testing.assert_array_equal(scaled.mean, plain.mean * 2.0**power)
    np.testing.assert_array_equal(scaled.quantiles, plain.quantiles * 2.0**power)
    assert scaled.notes == plain.notes


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e-9, 0.1, 3.7, 1e9, 1e30, 1e300])
def test_the_forecast_scales_with_the_load(model, factor):
    history = daily(3, 4 * DAY, 2)
    plain, scaled = model.forecast(history, 60), model.forecast(history * factor, 60)
    np.testing.assert_allclose(scaled.mean / factor, plain.mean, **CLOSE)
    np.testing.assert_allclose(scaled.quantiles / factor, plain.quantiles, **CLOSE)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("load", [5e-324, 1e-310, 1e-45, 1e38, 1e300])
def test_loads_of_any_size_give_finite_forecasts(model, load):
    """Far beyond what float32 holds."""
    history = np.where(np.arange(96) % 3, load, 0.0)[None]
    result = model.forecast(np.vstack([history, np.full_like(history, load)]), 4)
    assert not np.isnan(result.mean).any() and not np.isnan(result.quantiles).any()
    np.testing.assert_allclose(result.mean[1], load, rtol=1e-6)


def test_time_is_not_absolute(model):
    """However long before it nothing was known, the same history gives the same forecast."""
    history = daily(2, 3 * DAY + 5, 3)
    plain = model.forecast(history, 20)
    for shift in (1, 31, 100, 1008):
        later = model.forecast(np.hstack([np.full((2, shift), np.nan), history]), 20)
        same(later, plain, rtol=0)
        assert later.notes == plain.notes


def test_only_the_context_is_looked_at(model):
    short = TimesFM(checkpoint=model.checkpoint, context_slots=320)
    history = daily(2, 5 * DAY, 3)
    plain = short.forecast(history, 20)
    changed = history.copy()
    changed[:, :-320] *= 5
    same(short.forecast(changed, 20), plain, rtol=0)
    changed[:, -320] *= 5
    assert (short.forecast(changed, 20).mean != plain.mean).any()


def test_permutation_of_cells(model):
    history = mixed()
    plain = model.forecast(history, 40)
    order = np.random.default_rng(0).permutation(len(history))
    moved = model.forecast(history[order], 40)
    np.testing.assert_allclose(moved.mean, plain.mean[order], **CLOSE)
    np.testing.assert_allclose(moved.quantiles, plain.quantiles[order], **CLOSE)
    assert moved.notes == tuple(plain.notes[i] for i in order)


def mixed() -> np.ndarray:
    """Cells that begin apart, with gaps, unknown ends, nothing, a constant, and far too little."""
    history = daily(12, 4 * DAY, 5)
    for cell, first in enumerate((0, 1, 31, 32, 200, 400)):
        history[cell, :first] = np.nan
    history[4, 300:320] = np.nan
    history[5, -10:], history[6, -100:], history[7, -200:] = np.nan, np.nan, np.nan
    history[8] = np.nan
    history[9] = 0.7
    history[10, :-5] = np.nan
    return history


@pytest.mark.parametrize("batch", [1, 3, 5, 100])
def test_the_size_of_batches_changes_nothing(model, monkeypatch, batch):
    plain = model.forecast(mixed(), 60)
    monkeypatch.setattr(timesfm_forecaster, "BATCH", batch)
    again = model.forecast(mixed(), 60)
    same(again, plain, **CLOSE)
    assert again.notes == plain.notes


def test_every_cell_is_forecast_as_if_it_were_alone(model):
    together = model.forecast(mixed(), 60)
    for cell, series in enumerate(mixed()):
        alone = model.forecast(series[None], 60)
        np.testing.assert_allclose(together.mean[cell], alone.mean[0], **CLOSE)
        np.testing.assert_allclose(together.quantiles[cell], alone.quantiles[0], **CLOSE)
        assert together.notes[cell] == alone.notes[0]


# --- Missing slots ----------------------------------------------------------------------------------------------------


def test_gaps_are_filled_and_said(model):
    history = daily(2, 5 * DAY, 6)
    history[0, 100:130], history[1, 1::9] = np.nan, np.nan
    result = model.forecast(history, 20)
    same(result, model.forecast(fill(history, DAY), 20), rtol=0)
    assert result.notes == ("30 of 720 slots missing, filled in", "80 of 720 slots missing, filled in")


@pytest.mark.parametrize("missing", [1, 32, 68, 69, 150])
def test_slots_missing_at_the_end_are_forecast_like_those_to_come(model, missing):
    history = daily(2, 5 * DAY, 7)
    longer = model.forecast(history[:, :-missing], missing + 60)
    history[:, -missing:] = np.nan
    result = model.forecast(history, 60)
    np.testing.assert_allclose(result.mean, longer.mean[:, missing:], **CLOSE)
    np.testing.assert_allclose(result.quantiles, longer.quantiles[..., missing:], **CLOSE)
    assert all(f"{missing} of 720 slots missing" in note for note in result.notes)


def test_an_outage_of_weeks_at_the_end_still_gives_a_forecast(model):
    history = daily(1, 21 * DAY, 8)
    history[:, 2 * DAY :] = np.nan
    result = model.forecast(history, 10)
    assert np.isfinite(result.quantiles).all()
    assert f"{19 * DAY} of {21 * DAY} slots missing" in result.notes[0]


def test_nothing_known_gives_nan_and_says_so_without_harm_to_other_cells(model):
    history = daily(3, 3 * DAY, 9)
    alone = model.forecast(history[[0, 2]], 5)
    history[1] = np.nan
    result = model.forecast(history, 5)
    assert np.isnan(result.mean[1]).all() and np.isnan(result.quantiles[1]).all()
    assert "no value in the history" in result.notes[1]
    np.testing.assert_allclose(result.mean[[0, 2]], alone.mean, **CLOSE)
    assert result.notes[::2] == ("", "")


def test_no_slots_and_no_cells(model):
    result = model.forecast(np.empty((2, 0)), 3)
    assert np.isnan(result.mean).all() and result.quantiles.shape == (2, 9, 3)
    assert all("no value" in note for note in result.notes)
    assert model.forecast(np.empty((0, 500)), 3).mean.shape == (0, 3)


# --- Fallbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.0, 0.1, 1e-9, 1e9])
def test_constant_loads_stay_and_are_said(model, load):
    result = model.forecast(np.full((2, 3 * DAY), load), 200)
    np.testing.assert_allclose(result.mean, load, rtol=1e-6)
    np.testing.assert_allclose(result.quantiles, load, rtol=1e-6)
    assert result.notes == ("constant history: no spread known",) * 2


@pytest.mark.parametrize("slots", [1, 2, 31])
def test_histories_under_a_patch_fall_back_on_persistence_and_say_so(model, slots):
    history = daily(2, slots, 10)
    result = model.forecast(history, 5)
    same(result, Persistence().forecast(history, 5), rtol=0)
    assert result.notes == (f"{slots} slots of history, 32 needed: persistence instead",) * 2


def test_known_slots_count_not_slots(model):
    history = np.full((2, 3 * DAY), np.nan)
    values = daily(1, 32, 11)[0]
    history[0, 10 : 10 + 31 * 8 : 8], history[1, 10 : 10 + 32 * 8 : 8] = values[:31], values
    result = model.forecast(history, 5)
    same(Persistence().forecast(history[:1], 5), type(result)(result.mean[:1], result.quantiles[:1], ()), rtol=0)
    assert "31 slots of history, 32 needed: persistence instead" in result.notes[0]
    assert "persistence" not in result.notes[1]
    assert (result.mean[1] != result.mean[1, 0]).any()


def test_a_history_of_under_two_days_is_said(model):
    assert model.forecast(daily(1, 32, 12), 5).notes == (
        "32 slots of history, under two days: the day's rhythm is not known",
    )
    assert model.forecast(daily(1, 2 * DAY, 12), 5).notes == ("",)
    assert TimesFM(24, model.checkpoint).forecast(daily(1, 48, 12), 5).notes == ("",)


@pytest.mark.parametrize(
    ("history", "horizon", "message"),
    [
        (np.ones(50), 1, r"shape \[50\]"),
        (np.ones((1, 2, 3)), 1, r"shape \[1, 2, 3\]"),
        (np.where(np.arange(100) == 7, -0.5, 1.0)[None], 1, r"history\[0, 7\]: -0.5 is negative"),
        (np.where(np.arange(100) == 99, np.inf, 1.0)[None], 1, r"history\[0, 99\]: inf is infinite"),
        (np.ones((1, 100)), 0, "horizon: 0"),
        (np.ones((1, 100)), -3, "horizon: -3"),
        (np.ones((1, 100)), 1.5, "horizon: 1.5"),
        (np.ones((1, 100)), True, "horizon: True"),
        ([["a"]], 1, "must be numbers"),
        ([[1.0, 2.0], [1.0]], 1, "must be numbers"),
    ],
)
def test_bad_input_is_named(model, history, horizon, message):
    with pytest.raises(ValueError, match=message):
        model.forecast(history, horizon)


def test_input_is_left_as_it_was(model):
    history = mixed()
    model.forecast(history, 10)
    np.testing.assert_array_equal(history, mixed())
