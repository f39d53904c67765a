import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from predictor import neural
from predictor.conv3d import Conv3d
from predictor.convlstm import ConvLstm
from predictor.lstm import Lstm
from predictor.mlp import Mlp
from predictor.tuning import per_cell_nrmse, search

DAY = 24
TINY = {
    "day_slots": DAY, "steps": 12, "lookback": 12, "dropout": 0.0, "batch": 64, "training_steps": 150,
    "learning_rate": 1e-2,
}  # fmt: skip
MODELS = {
    "mlp": Mlp(width=32, **TINY),
    "lstm": Lstm(width=16, patch=6, **TINY),
    "conv3d": Conv3d(width=8, patch=6, **TINY),
    "convlstm": ConvLstm(width=12, patch=6, **TINY),
}
SPATIAL = ("conv3d", "convlstm")
GRID = np.array([[0, 0], [0, 1], [1, 0], [2, 1]])  # two squares of the block are empty


def rhythm(days: int, cells: int = 4, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Loads with a day and a weekend, another one in each cell: [cells, slots]."""
    rng = np.random.default_rng(seed)
    slots = np.arange(days * DAY)
    phase = np.arange(cells)[:, None] / 4
    day = 1 + 0.5 * np.sin(2 * np.pi * slots / DAY - phase) + 0.2 * np.sin(4 * np.pi * slots / DAY + phase)
    week = np.where(slots % (7 * DAY) >= 5 * DAY, 0.7, 1.0)
    return 50 * day * week * np.exp(noise * rng.standard_normal((cells, slots.size)))


@pytest.fixture(scope="module")
def fitted():
    """The models, each trained once on four weeks with a little noise."""
    quick = {name: replace(model, training_steps=50) for name, model in MODELS.items()}
    return {name: model.fit(rhythm(28, noise=0.05), grid=GRID) for name, model in quick.items()}


@pytest.mark.parametrize("name", MODELS)
def test_learns_a_periodic_signal_without_noise(name):
    series = rhythm(42)
    model = replace(MODELS[name], training_steps=250, learning_rate=2e-2).fit(series[:, : 35 * DAY], grid=GRID)
    errors, days_before = [], []
    for origin in range(35 * DAY, 41 * DAY, 7):
        true = series[:, origin : origin + 12]
        errors.append(model.forecast(series[:, :origin], 12).mean - true)
        days_before.append(series[:, origin - DAY : origin - DAY + 12] - true)
    error, error_day_before = (np.sqrt(np.mean(np.square(part))) for part in (errors, days_before))
    assert error < 0.6 * error_day_before  # which is wrong at both ends of the weekend only


@pytest.mark.parametrize("name", MODELS)
def test_shapes_quantiles_notes_and_pickling(name, fitted):
    model = pickle.loads(pickle.dumps(fitted[name]))
    history = rhythm(14, noise=0.3, seed=1)
    for horizon in (1, 12, 31):
        result = model.forecast(history, horizon)
        assert result.mean.shape == (4, horizon)
        assert result.quantiles.shape == (4, 9, horizon)
        assert (np.diff(result.quantiles, axis=1) >= 0).all()
        assert (result.quantiles >= 0).all() and (result.mean >= 0).all()
        assert result.notes == ("",) * 4
    np.testing.assert_array_equal(result.mean, fitted[name].forecast(history, 31).mean)
    assert all(isinstance(array, np.ndarray) for array in model.fitted.state.values())
    assert model.parameters == sum(p.numel() for p in model.network(model.fitted.window, GRID).parameters())
    assert MODELS[name].fitted is None and MODELS[name].parameters == 0


@pytest.mark.parametrize("name", MODELS)
def test_longer_horizons_go_on_from_the_means(name, fitted):
    history = rhythm(14, noise=0.1, seed=2)
    first = fitted[name].forecast(history, 12).mean
    longer = fitted[name].forecast(history, 20)
    np.testing.assert_array_equal(longer.mean[:, :12], first)
    again = fitted[name].forecast(np.hstack([history, first]), 8)
    np.testing.assert_allclose(longer.mean[:, 12:], again.mean, rtol=1e-5)
    np.testing.assert_allclose(longer.quantiles[:, :, 12:], again.quantiles, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_scale_equivariance(name, fitted):
    history = rhythm(14, noise=0.1, seed=3)
    plain = fitted[name].forecast(history, 12)
    for scale in (1e-6, 1000.0):
        scaled = fitted[name].forecast(scale * history, 12)
        np.testing.assert_allclose(scaled.mean, scale * plain.mean, rtol=1e-4)
        np.testing.assert_allclose(scaled.quantiles, scale * plain.quantiles, rtol=1e-4, atol=scale * 1e-3)
    refit = [replace(MODELS[name], training_steps=25).fit(scale * rhythm(28, noise=0.1), grid=GRID) for scale in (1, 8)]
    np.testing.assert_allclose(*(model.forecast(history, 12).mean for model in refit), rtol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_earlier_history_and_the_clock_change_nothing(name, fitted):
    history = rhythm(30, noise=0.1, seed=4)
    for cut in (1, 5 * DAY + 3):
        np.testing.assert_allclose(
            fitted[name].forecast(history[:, cut:], 12).mean, fitted[name].forecast(history, 12).mean, rtol=1e-6
        )


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_permutation_of_cells_and_batch_size_change_nothing(name, fitted, monkeypatch):
    history = rhythm(14, cells=7, noise=0.1, seed=5)
    whole = fitted[name].forecast(history, 12)
    order = [3, 1, 6, 0, 2, 5, 4]
    moved = fitted[name].forecast(history[order], 12)
    np.testing.assert_allclose(moved.mean, whole.mean[order], rtol=1e-5)
    np.testing.assert_allclose(moved.quantiles, whole.quantiles[order], rtol=1e-5, atol=1e-3)
    monkeypatch.setattr(neural, "FORECAST_WINDOWS", 2)
    parts = fitted[name].forecast(history, 12)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(parts.quantiles, whole.quantiles, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", SPATIAL)
def test_place_in_the_block_counts_and_order_of_cells_does_not(name):
    series, order = rhythm(28, noise=0.1), [2, 0, 3, 1]
    short = replace(MODELS[name], training_steps=25)
    plain = short.fit(series, grid=GRID)
    moved = short.fit(series[order], grid=GRID[order])
    np.testing.assert_allclose(
        moved.forecast(series[order], 12).mean, plain.forecast(series, 12).mean[order], rtol=1e-3
    )
    elsewhere = replace(plain, fitted=replace(plain.fitted, grid=GRID[order]))
    assert (elsewhere.forecast(series, 12).mean != plain.forecast(series, 12).mean).any()


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_result_and_the_global_generator_is_left_alone(name):
    history = rhythm(28, noise=0.1)
    model = replace(MODELS[name], training_steps=25, dropout=0.2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (model.fit(history, grid=GRID, seed=seed).forecast(history, 12).mean for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SPATIAL)
def test_spatial_models_learn_what_only_the_neighbours_reveal(name):
    """Each square repeats six slots later what its western neighbour did; there is nothing else to learn."""
    steps = np.exp(0.5 * np.random.default_rng(0).standard_normal(40 * DAY // 6 + 4))
    wave = np.repeat(steps, 6)
    chain = np.stack([wave[6 * (4 - k) : wave.size - 6 * k] for k in range(5)])
    row = np.stack([np.zeros(5, int), np.arange(5)], axis=1)
    far = row * [[1, 6]]  # the same cells, too far apart to see each other
    model = replace(MODELS[name], lag_days=(1,), training_steps=200, batch=80)
    split = 32 * DAY
    error = {}
    for place, grid in (("near", row), ("far", far)):
        trained = model.fit(chain[:, :split], grid=grid)
        origins = range(split, chain.shape[1] - 6, 5)
        made = np.stack([trained.forecast(chain[:, :origin], 6).mean for origin in origins])
        true = np.stack([chain[:, origin : origin + 6] for origin in origins])
        error[place] = np.sqrt(np.mean((made - true)[:, 1:] ** 2))  # the first has no western neighbour
    assert error["near"] < 0.8 * error["far"]


@pytest.mark.parametrize("name", MODELS)
def test_the_future_is_never_looked_at(name, fitted):
    """Windows at the end of the series equal those in its middle: no target slot is among the inputs."""
    window = fitted[name].fitted.window
    series = rhythm(20, noise=0.3)
    other = series.copy()
    other[:, 300:] = 1e6
    cells, origins = torch.arange(4), torch.full((4,), 300)
    one, two = (neural.Source.of(array, array, window).batch(cells, origins) for array in (series, other))
    assert torch.equal(one.inputs, two.inputs) and torch.equal(one.scale, two.scale)
    assert not torch.equal(one.true, two.true)


def test_lags_shorter_than_the_forecast_take_the_last_season_known():
    offsets = neural.Window(2, 7, (3, 5)).offsets()
    assert offsets.tolist() == [
        [-2, -1, 0, 1, 2, 3, 4, 5, 6],
        [-5, -4, -3, -2, -1, -3, -2, -1, -3],
        [-7, -6, -5, -4, -3, -2, -1, -5, -4],
    ]


@pytest.mark.parametrize("name", MODELS)
def test_unfitted_wrong_cells_and_wrong_grids(name, fitted):
    history = rhythm(14)
    with pytest.raises(ValueError, match=f"{name}: must be fitted first: call fit, or name a fitted model"):
        MODELS[name].forecast(history, 5)
    with pytest.raises(ValueError, match="is negative"):
        MODELS[name].fit(-history, grid=GRID)
    if name not in SPATIAL:
        assert fitted[name].forecast(np.empty((0, 500)), 3).mean.shape == (0, 3)
        return
    with pytest.raises(ValueError, match="history of 3 cells; it was fitted on a block of 4"):
        fitted[name].forecast(history[:3], 5)
    with pytest.raises(ValueError, match="needs grid"):
        MODELS[name].fit(history)
    for grid, message in (
        (GRID[:3], "must be 4 rows and columns"),
        (GRID - 1, "0 or more"),
        (GRID + 0.5, "whole numbers"),
        (GRID * 0, "two cells are in the same place"),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS[name].fit(history, grid=grid)


@pytest.mark.parametrize("name", MODELS)
def test_short_histories_to_train_on(name):
    model = replace(MODELS[name], training_steps=25)
    least = 12 + DAY + 2 * 12 + 18 - 1  # lookback and a day, twelve windows of twelve steps, and validation
    with pytest.raises(ValueError, match=f"{name}: history of {least - 1} slots; training needs {least} or more"):
        model.fit(rhythm(10)[:, : least - 1], grid=GRID)
    trained = model.fit(rhythm(10)[:, :least], grid=GRID)
    assert trained.fitted.window.lags == (DAY,)
    note = f"trained on {least} slots, without those 7 days before"
    assert trained.forecast(rhythm(10), 5).notes == (note,) * 4
    assert model.fit(rhythm(14), grid=GRID).fitted.window.lags == (DAY, 7 * DAY)
    empty = rhythm(14)
    empty[:, -100:] = np.nan
    for history in (empty, np.full((4, 500), np.nan)):
        with pytest.raises(ValueError, match="no value to train on before slot .* or none to validate on"):
            model.fit(history, grid=GRID)


@pytest.mark.parametrize("name", MODELS)
def test_short_histories_to_forecast_from(name, fitted):
    history = rhythm(14)
    for slots, note in (
        (3, "3 slots of history, 24 needed: persistence instead"),
        (30, "30 slots of history, 36 needed: its first day repeated before it, instead"),
        (100, "100 slots of history, 180 needed: forecast without the longest lag instead"),
    ):
        result = fitted[name].forecast(history[:, -slots:], 20)
        assert all(note in found for found in result.notes), result.notes
        assert np.isfinite(result.quantiles).all()
    late = history.copy()
    late[1, :-30] = np.nan
    notes = fitted[name].forecast(late, 20).notes
    assert "30 slots of history" in notes[1] and notes[0] == ""


@pytest.mark.parametrize("name", MODELS)
def test_missing_slots_and_cells(name, fitted):
    history = rhythm(14)
    whole = fitted[name].forecast(history, 12).mean
    gaps = history.copy()
    gaps[:, np.random.default_rng(0).random(history.shape[1]) < 0.2] = np.nan
    result = fitted[name].forecast(gaps, 12)
    np.testing.assert_allclose(result.mean, whole, rtol=0.35)
    assert all("slots missing, filled in" in note for note in result.notes)
    gaps[2] = np.nan
    result = fitted[name].forecast(gaps, 12)
    assert np.isnan(result.mean[2]).all() and "no value" in result.notes[2]
    assert np.isfinite(result.mean[[0, 1, 3]]).all()
    trained = replace(MODELS[name], training_steps=25).fit(gaps, grid=GRID)
    assert np.isfinite(trained.forecast(history, 12).mean).all()


@pytest.mark.parametrize("name", MODELS)
def test_constant_and_zero_loads_stay_as_they_are(name, fitted):
    history = np.repeat([[0.0], [0.5], [3.0], [1e5]], 14 * DAY, axis=1)
    result = fitted[name].forecast(history, 20)
    np.testing.assert_array_equal(result.mean, history[:, :20])
    np.testing.assert_array_equal(result.quantiles[:, 4], history[:, :20])
    flat = replace(MODELS[name], training_steps=25).fit(history, grid=GRID)
    np.testing.assert_array_equal(flat.forecast(history, 20).mean, history[:, :20])


def test_values_missing_among_the_targets_are_not_learnt():
    history = rhythm(28, noise=0.2)
    history[:, 20 * DAY :: 3] = np.nan
    source = neural.Source.of(neural.filled(history, DAY), history, neural.Window(12, 12, (DAY,)))
    batch = source.batch(torch.arange(4), torch.full((4,), 21 * DAY))
    assert batch.weight[0].tolist() == [0.0, 1.0, 1.0] * 4
    outputs = torch.zeros(4, neural.OUTPUTS, 12)
    changed = replace(batch, true=torch.where(batch.weight == 0, 99.0, batch.true))
    assert neural.loss(outputs, batch) == neural.loss(outputs, changed)


def test_early_stopping_keeps_the_best_weights_and_reports(monkeypatch):
    said = []
    noise = np.exp(np.random.default_rng(0).standard_normal((2, 20 * DAY)))  # nothing to learn: it soon overfits
    model = replace(MODELS["mlp"], training_steps=2000, learning_rate=1e-2)
    model.fit(noise, progress=lambda text, share: said.append((text, share)))
    losses = [float(text.split("loss ")[1].split(",")[0]) for text, _ in said[:-1]]
    assert len(losses) < 2000 // neural.CHECK_STEPS
    assert losses.index(min(losses)) == len(losses) - 1 - neural.PATIENCE
    assert said[-1] == (f"mlp: trained, validation loss {min(losses):.4f}", 1.0)
    shares = [share for _, share in said]
    assert shares == sorted(shares) and 0 < shares[0] < 1


def test_a_patch_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="patch: 5 slots must divide lookback 12 and steps 12"):
        replace(MODELS["lstm"], patch=5).fit(rhythm(14))


def test_search_is_reproducible_and_marks_the_best():
    start = replace(MODELS["mlp"], training_steps=25, steps=60)
    space = {start: {"width": (8, 32), "weight_decay": (0.1,)}}
    trials = search(rhythm(20, noise=0.1), GRID, 1, space=space)
    settings = [dict(trial.settings) for trial in trials]
    assert settings[:2] == [{}, {"width": 8}]
    better = min(trials[:2], key=lambda trial: trial.score)
    assert settings[2:] == [{**better.settings, "weight_decay": 0.1}]
    assert [trial.chosen for trial in trials] == [trial.score == min(t.score for t in trials) for trial in trials]
    assert search(rhythm(20, noise=0.1), GRID, 1, space=space) == trials


def test_per_cell_nrmse_by_hand():
    class Zero:
        name = "zero"

        def forecast(self, history, horizon):
            from predictor.forecast import Forecast

            return Forecast(np.zeros((len(history), horizon)), np.zeros((len(history), 9, horizon)), ())

    history = np.tile([[1.0, 3.0], [2.0, 2.0]], 100)
    figures = per_cell_nrmse(Zero(), history, 100)
    # Root of the mean square over the mean: 1 for a constant; all origins are even, so one step ahead is always 1 or 2.
    assert figures[1] == pytest.approx(1.0)
    assert figures[60] == pytest.approx((np.sqrt(5) / 2 + 1) / 2)
