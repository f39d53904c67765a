import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from small_timesfm import DAY, TINY, daily, tiny_checkpoint, tiny_module, trained_module

from predictor import forecaster, lora
from predictor.adapter import Adapter, adapted, merge, read_adapter, save_adapter
from predictor.lora import (
    HORIZONS,
    LoraSettings,
    Site,
    held_back_error,
    train_lora,
    validation_errors,
    windows,
)
from predictor.timesfm_forecaster import TimesFM
from predictor.timesfm_lora import TimesFMLora
from predictor.timesfm_model import CheckpointError, digest, load_checkpoint, predict, save_checkpoint
from predictor.tuning import LORA_BOUND, search_lora

QUICK = LoraSettings(
    batch=12,
    context=20,
    positions=8,
    epochs=3,
    rate=2e-3,
    largest_epoch=36,
    validation_stride=48,
    shrink=(0.0, 0.5, 1.0),
    tolerance=0.05,
)
SITE = daily(4, 6 * DAY, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Folder of a checkpoint that was trained for some seconds."""
    directory = tmp_path_factory.mktemp("trained") / "checkpoint"
    save_checkpoint(trained_module(), directory, {})
    return str(directory)


@pytest.fixture(scope="module")
def adapter(base):
    return train_lora(base, SITE, settings=QUICK, seed=1)


def random_adapter(module, seed: int = 0, rank: int = 16, alpha: int = 16) -> Adapter:
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(TINY.layers):
        for part in ("query", "value"):
            stem = f"base_model.model.stacked_xf.{layer}.attn.{part}"
            tensors[f"{stem}.lora_A.weight"] = rng.normal(0, 0.3, (rank, TINY.width)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = rng.normal(0, 0.3, (TINY.width, rank)).astype(np.float32)
    return Adapter(tensors, digest(module), {"settings": {"rank": rank, "alpha": alpha, "dropout": 0.1}})


def equal(one: Adapter, other: Adapter) -> bool:
    """Bit for bit."""
    return one.tensors.keys() == other.tensors.keys() and all(
        np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


def series() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(daily(3, 160, 9).astype(np.float32)), torch.zeros(3)


# --- What is trained --------------------------------------------------------------------------------------------------


def test_the_papers_settings_are_the_defaults():
    paper = LoraSettings()
    assert (paper.rank, paper.alpha, paper.dropout, paper.batch, paper.epochs) == (16, 16, 0.1, 128, 10)


def test_only_query_and_value_are_touched(adapter):
    assert adapter.tensors.keys() == {
        f"base_model.model.stacked_xf.{layer}.attn.{part}.lora_{matrix}.weight"
        for layer in range(TINY.layers)
        for part in ("query", "value")
        for matrix in "AB"
    }
    assert adapter.parameters == TINY.layers * 2 * 2 * 16 * TINY.width
    assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in adapter.tensors.values())


def test_the_bases_weights_stay_as_they_were(base, monkeypatch):
    loaded = []

    def load(source):
        loaded.append(load_checkpoint(source))
        return loaded[-1]

    monkeypatch.setattr(lora, "load_checkpoint", load)
    before = load_checkpoint(base).state_dict()
    train_lora(base, SITE, settings=replace(QUICK, epochs=1))
    (module,) = loaded
    assert {name.split(".")[-3] for name, p in module.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    after = {name.replace(".base_layer", ""): t for name, t in module.state_dict().items() if ".lora_" not in name}
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def peculiar(cells: int, days: int, seed: int) -> np.ndarray:
    """A city whose load switches between high and low every sixteen slots, in each cell at another time."""
    rng = np.random.default_rng(seed)
    slots = np.arange(days * DAY) + rng.integers(0, 32, (cells, 1))
    return np.where(slots % 32 < 16, 1.8, 0.2) * np.exp(0.05 * rng.standard_normal(slots.shape))


def test_an_adapter_learns_what_is_peculiar_to_a_site(base):
    history, ahead = np.split(peculiar(6, 8, 2)[:, : 7 * DAY + 60], [7 * DAY], axis=1)
    settings = replace(QUICK, batch=16, epochs=4, largest_epoch=240, rate=1e-2, rehearsal=0.1)
    made = train_lora(base, history, settings=settings)
    assert made.about["validation_error"] < 0.85 * made.about["validation_errors"][0]
    # Also on slots that it never saw, through the forecaster.
    plain = TimesFM(checkpoint=base).forecast(history, 60).mean
    tuned = TimesFMLora(checkpoint=base, adapter=made).forecast(history, 60).mean
    assert np.square(tuned - ahead).mean() < 0.85 * np.square(plain - ahead).mean()


def test_the_same_seed_gives_the_same_adapter_and_another_another(base, adapter):
    assert equal(train_lora(base, SITE, settings=QUICK, seed=1), adapter)
    assert not equal(train_lora(base, SITE, settings=QUICK, seed=2), adapter)


def test_the_callers_random_numbers_are_left_alone(base):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_lora(base, SITE, settings=replace(QUICK, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_goes_up_to_the_end(base):
    seen = []
    train_lora(base, SITE, settings=QUICK, progress=lambda text, share: seen.append((text, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert [text for text, _ in seen if text.startswith("epoch 3: validation error")]


# --- Validation -------------------------------------------------------------------------------------------------------


def test_the_error_is_that_of_the_forecasters_on_the_part_held_back(base):
    """Against the forecaster's own forecasts; cells begin apart, and slots are missing in what is to be forecast."""
    history = daily(4, 5 * DAY, 3) * [[1.0], [10.0], [0.1], [3.0]]
    origin = 3 * DAY
    history[1, :100], history[2, origin + 5 : origin + 9], history[3, -1] = np.nan, np.nan, np.nan
    settings = replace(QUICK, validation_stride=10_000)  # one origin
    model = TimesFM(checkpoint=base, context_slots=32 * settings.context)
    expected = []
    for horizon in HORIZONS:
        error = model.forecast(history[:, :origin], horizon).mean - history[:, origin : origin + horizon]
        expected.append(np.sqrt(np.nanmean(error**2, axis=1)) / np.nanmean(history, axis=1))
    site = Site.of(history, DAY, settings)
    assert site.training_end == origin
    found = validation_errors(load_checkpoint(base), site, settings).mean()
    assert found == pytest.approx(np.mean(expected), rel=1e-4)
    assert held_back_error(base, "", history, settings=settings) == pytest.approx(found)


def test_an_adapter_that_does_harm_is_not_kept(base, tmp_path):
    """Steps far too large: every epoch is worse than the base, so the factor is 0 and forecasts are the base's."""
    made = train_lora(base, SITE, settings=replace(QUICK, rate=30.0, patience=2))
    errors = made.about["validation_errors"]
    assert min(errors[1:]) > errors[0]
    assert len(errors) == 3  # the base, and two epochs of patience
    assert (made.about["factor"], made.about["chosen_epoch"]) == (0.0, 0)
    assert made.about["validation_error"] == errors[0]
    plain = TimesFM(checkpoint=base).forecast(SITE, 60)
    tuned = TimesFMLora(checkpoint=base, adapter=made).forecast(SITE, 60)
    np.testing.assert_array_equal(tuned.mean, plain.mean)
    np.testing.assert_array_equal(tuned.quantiles, plain.quantiles)


def test_training_that_falls_apart_leaves_the_base(base):
    made = train_lora(base, SITE, settings=replace(QUICK, rate=1e30))
    assert made.about["factor"] == 0.0
    assert all(np.isfinite(tensor).all() for tensor in made.tensors.values())
    json.dumps(made.about, allow_nan=False)


def test_what_is_kept_is_never_worse_than_the_base(base):
    adapter = train_lora(base, SITE, settings=replace(QUICK, refit=False))
    about = adapter.about
    assert about["validation_error"] <= min(about["validation_errors"])
    assert about["chosen_epoch"] == int(np.argmin(about["validation_errors"]))
    assert about["factor"] in QUICK.shrink
    # The same for what comes out of the file and is merged into the weights.
    error = held_back_error(base, adapter, SITE, settings=QUICK)
    assert error == pytest.approx(about["validation_error"], abs=1e-5)


def test_no_horizon_pays_for_another(base):
    """On this site an adapter gains at 60 slots and loses at one: by default that is no bargain."""
    made = train_lora(base, SITE, settings=QUICK)
    site = Site.of(SITE, DAY, QUICK)
    before = validation_errors(load_checkpoint(base), site, QUICK)
    module = load_checkpoint(base)
    merge(module, train_lora(base, SITE, settings=replace(QUICK, refit=False)))
    after = validation_errors(module, site, QUICK)
    assert before[0] < after[0] < 1.05 * before[0] and after.mean() < before.mean()
    assert made.about["factor"] > 0
    assert train_lora(base, SITE, settings=replace(QUICK, tolerance=0.0)).about["factor"] == 0


def test_the_factor_is_in_the_matrices(base, adapter):
    """A factor of one half halves what is added to the weights."""
    whole = train_lora(base, SITE, settings=replace(QUICK, shrink=(1.0,)), seed=1)
    half = train_lora(base, SITE, settings=replace(QUICK, shrink=(0.5,)), seed=1)
    assert (whole.about["factor"], half.about["factor"]) == (1.0, 0.5)
    for name, tensor in whole.tensors.items():
        factor = 0.5 if ".lora_B." in name else 1.0
        np.testing.assert_array_equal(half.tensors[name], tensor * np.float32(factor))


def test_the_last_days_are_learnt_from_too(base, adapter):
    """What is held back decides, and then takes part in the training."""
    without = train_lora(base, SITE, settings=replace(QUICK, refit=False), seed=1)
    decided = ("validation_errors", "chosen_epoch", "factor", "validation_error")
    assert [adapter.about[key] for key in decided] == [without.about[key] for key in decided]
    assert adapter.about["factor"] > 0 and not equal(adapter, without)
    other_end = SITE.copy()
    other_end[:, -DAY:] = other_end[:, -DAY:].mean(axis=1, keepdims=True)
    end = train_lora(base, other_end, settings=replace(QUICK, shrink=(0.0, 1.0), patience=9), seed=1)
    assert end.about["validation_errors"] != adapter.about["validation_errors"]


# --- Interruptions ----------------------------------------------------------------------------------------------------


class Interruption(Exception):
    pass


@pytest.mark.parametrize("at", ["epoch 1: validation", "epoch 2", "epoch 2 on the whole history"])
def test_an_interrupted_run_goes_on_to_the_same_adapter(base, adapter, tmp_path, at):
    def stop(text, share):
        if text.startswith(at):
            raise Interruption

    with pytest.raises(Interruption):
        train_lora(base, SITE, settings=QUICK, seed=1, directory=tmp_path / "run", progress=stop)
    epochs = []
    made = train_lora(
        base, SITE, settings=QUICK, seed=1, directory=tmp_path / "run", progress=lambda text, _: epochs.append(text)
    )
    assert equal(made, adapter)
    assert made.about == adapter.about
    stage = " on the whole history" if "whole" in at else ""
    assert f"epoch 2{stage}" in epochs and f"epoch 1{stage}" not in epochs


def test_a_finished_run_is_not_trained_again(base, adapter, tmp_path):
    train_lora(base, SITE, settings=QUICK, seed=1, directory=tmp_path)
    epochs = []
    again = train_lora(
        base, SITE, settings=QUICK, seed=1, directory=tmp_path, progress=lambda text, _: epochs.append(text)
    )
    assert equal(again, adapter) and epochs == ["done"]


def test_the_state_of_another_run_is_refused(base, tmp_path):
    once = replace(QUICK, epochs=1)
    train_lora(base, SITE, settings=once, directory=tmp_path)
    other = tiny_checkpoint(tmp_path / "other", seed=77)
    for arguments, settings, seed in (
        ((base, SITE * 1.5 + 0.1), once, 0),
        ((base, SITE[:3]), once, 0),
        ((base, SITE), replace(once, rate=1e-3), 0),
        ((base, SITE), once, 1),
        ((str(other), SITE), once, 0),
    ):
        with pytest.raises(CheckpointError, match="left by a run on other data, settings, seed or base; delete it"):
            train_lora(*arguments, settings=settings, seed=seed, directory=tmp_path)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"no"])
def test_a_damaged_state_is_named(base, tmp_path, damage):
    train_lora(base, SITE, settings=replace(QUICK, epochs=1), directory=tmp_path)
    state = tmp_path / "training_state.pt"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(CheckpointError, match=r"training_state\.pt: damaged .*delete it to train from the beginning"):
        train_lora(base, SITE, settings=replace(QUICK, epochs=1), directory=tmp_path)


def test_the_search_tries_one_setting_after_the_other(base):
    start = replace(QUICK, epochs=1)
    *trials, bound = search_lora(
        SITE, {"rate": (1e-3, start.rate), "rehearsal": (0.5,)}, start=start, checkpoint=str(base)
    )
    better = min(trials[:2], key=lambda trial: trial.error).settings
    assert [trial.settings for trial in trials] == [{}, {"rate": 1e-3}, {**better, "rehearsal": 0.5}]
    assert [trial.chosen for trial in trials].count(True) == 1
    assert min(trials, key=lambda trial: trial.error).chosen
    about = train_lora(str(base), SITE, settings=replace(start, rate=1e-3)).about
    assert (trials[1].error, trials[1].base) == (about["validation_error"], about["validation_errors"][0])
    # The bound has seen the days it is judged on, and is not chosen even if it is the best.
    assert bound.settings == LORA_BOUND and not bound.chosen
    blind = train_lora(str(base), SITE, settings=replace(start, **LORA_BOUND | {"peek": False})).about
    assert bound.base == blind["validation_errors"][0] and bound.error != blind["validation_error"]


# --- Adapters ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments:UserWarning")
@pytest.mark.parametrize(("rank", "alpha"), [(16, 16), (8, 32)])
def test_merged_weights_forecast_as_peft_does(tmp_path, rank, alpha):
    module = tiny_module(3)
    made = random_adapter(module, rank=rank, alpha=alpha)
    save_adapter(made, tmp_path)
    theirs = PeftModel.from_pretrained(tiny_module(3), tmp_path).base_model.model.eval()
    plain = predict(module, *series(), 60)
    merge(module, made)
    ours = predict(module, *series(), 60)
    torch.testing.assert_close(ours, predict(theirs, *series(), 60), rtol=1e-3, atol=1e-3)
    assert (ours - plain).abs().max() > 0.05


def test_adapters_come_back_as_they_were_saved_and_are_small(adapter, tmp_path):
    save_adapter(adapter, tmp_path / "new" / "folder")
    again = read_adapter(tmp_path / "new" / "folder")
    assert equal(again, adapter)
    assert again.base == adapter.base
    assert again.about == json.loads(json.dumps(adapter.about))
    files = {file.name: file.stat().st_size for file in (tmp_path / "new" / "folder").iterdir()}
    assert files.keys() == {"adapter_model.safetensors", "adapter_config.json"}
    assert sum(files.values()) < 4 * adapter.parameters + 4096


def test_the_adapter_of_another_base_is_refused(adapter, tmp_path):
    save_adapter(adapter, tmp_path / "adapter")
    other = tiny_checkpoint(tmp_path / "other", seed=123)
    model = TimesFMLora(checkpoint=str(other), adapter=str(tmp_path / "adapter"))
    with pytest.raises(CheckpointError, match="trained on another checkpoint .*name the checkpoint that it belongs to"):
        model.forecast(SITE, 4)


@pytest.fixture
def folder(adapter, tmp_path):
    save_adapter(adapter, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_with_a_file_missing_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"adapter: {name} is missing; `links train lora` writes it"):
        read_adapter(folder)
    with pytest.raises(CheckpointError, match=r"nowhere: adapter_model\.safetensors is missing"):
        read_adapter(folder / "nowhere")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-5], lambda whole: b"", lambda whole: b"\xff" * 50])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_named(folder, name, damage):
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(CheckpointError, match="adapter: not an adapter of `links train lora`"):
        read_adapter(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"links": 3}',
        '{"links": {}}',
        '{"links": {"base_sha256": "x"}}',
        '{"links": {"base_sha256": "x", "settings": {"rank": 0, "alpha": 16}}}',
        '{"links": {"base_sha256": "x", "settings": {"rank": "a", "alpha": 16}}}',
    ],
)
def test_an_adapter_that_is_not_ours_is_named(folder, text):
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match="not an adapter of `links train lora`"):
        read_adapter(folder)


def test_an_adapter_whose_matrices_do_not_fit_is_named(base, folder):
    file = folder / "adapter_model.safetensors"
    whole = load_file(file)
    first = sorted(whole)[0]
    less = {name: tensor for name, tensor in whole.items() if name != first}
    for tensors in ({}, less, whole | {"more": whole[first]}, whole | {first: whole[first][:, :5].copy()}):
        save_file(tensors, file)
        with pytest.raises(CheckpointError, match="matrices are not those"):
            merge(load_checkpoint(base), read_adapter(folder))
    save_file(whole | {first: whole[first] * np.float32(np.nan)}, file)
    with pytest.raises(CheckpointError, match="not finite"):
        read_adapter(folder)


# --- Histories --------------------------------------------------------------------------------------------------------


def test_cells_with_few_values_are_left_out(base):
    history = np.vstack([SITE, np.full((4, SITE.shape[1]), np.nan)])
    history[5, -10:] = 1.0  # all in the part held back
    history[6] = 0.0
    history[7] = 0.4
    made = train_lora(base, history, settings=replace(QUICK, epochs=1))
    assert made.about["cells"] == 5  # those of SITE and the constant one
    assert np.isfinite(made.about["validation_errors"]).all()


@pytest.mark.parametrize(
    "history",
    [
        np.ones((3, 4 * DAY - 1)),
        np.ones((3, 10)),
        np.empty((3, 0)),
        np.empty((0, 6 * DAY)),
        np.zeros((3, 6 * DAY)),
        np.full((3, 6 * DAY), np.nan),
    ],
)
def test_histories_that_are_too_short_are_named(base, history):
    with pytest.raises(ValueError, match=r"are too few to fine-tune on; at least four days \(576 slots\)"):
        train_lora(base, history, settings=QUICK)


def test_four_days_will_do(base):
    made = train_lora(base, daily(1, 4 * DAY, 4), settings=replace(QUICK, epochs=1))
    assert np.isfinite(made.about["validation_errors"]).all()


def test_a_part_to_judge_by_without_values_is_named(base):
    history = SITE.copy()
    history[:, -2 * DAY :] = np.nan
    with pytest.raises(ValueError, match="no value in its last 288 slots, which are held back"):
        train_lora(base, history, settings=QUICK)


def test_bad_histories_are_named(base):
    with pytest.raises(ValueError, match="is negative"):
        train_lora(base, -SITE, settings=QUICK)
    with pytest.raises(ValueError, match="must be"):
        train_lora(base, SITE[0], settings=QUICK)
    with pytest.raises(CheckpointError, match="no such folder"):
        train_lora("missing", SITE, settings=QUICK)


def test_windows_show_nothing_of_the_part_held_back_nor_of_what_is_not_known():
    history = daily(3, 6 * DAY, 5)
    history[:, :200], history[:, 4 * DAY :] = np.nan, 1e6  # training ends after four days
    site = Site.of(history, DAY, QUICK)
    module = tiny_module()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        observed, _, known, padding, positions = windows(rng, site, replace(QUICK, rehearsal=0.0), module)
        assert observed.shape == known.shape == (12, 20 * 32 + 128)
        assert len(set(positions.tolist())) == 8 and positions.max() < 20
        for row, there, nothing in zip(observed, known, padding, strict=True):
            assert row.max() < 0.1  # the mean over all days is far above that of the first four
            assert not there[:nothing].any() and there[nothing]
            assert (row[there] > 0).all()
            assert there.sum() <= 4 * DAY - 200


def test_hourly_loads_are_learnt_from_too(base, monkeypatch):
    """A day of history is enough for a window to count, however many slots a day has."""
    counted = []
    original = lora.forecast_loss

    def counting(outputs, targets):
        counted.append(targets.known[3:].any())  # after the synthetic ones
        return original(outputs, targets)

    monkeypatch.setattr(lora, "forecast_loss", counting)
    hourly = 1 + 0.5 * np.sin(2 * np.pi * np.arange(24 * 7) / 24 + np.arange(3)[:, None])
    train_lora(base, hourly, day_slots=24, settings=replace(QUICK, epochs=2, rehearsal=0.25, least_days=1))
    # Positions are drawn over the whole context, of which seven such days fill a quarter: a batch may miss them.
    assert sum(counted) > len(counted) / 2


# --- The forecaster ---------------------------------------------------------------------------------------------------


def test_without_an_adapter_it_says_what_to_do(base):
    model = TimesFMLora(checkpoint=base)
    with pytest.raises(ValueError, match=r"timesfm\+lora: must be fitted first: call fit, or name an adapter"):
        model.forecast(SITE, 4)
    assert model.parameters == 0


def test_fit_returns_a_fitted_model_and_leaves_itself(base, monkeypatch):
    monkeypatch.setattr(lora.train_lora, "__kwdefaults__", lora.train_lora.__kwdefaults__ | {"settings": QUICK})
    model = forecaster("timesfm+lora", checkpoint=base)
    fitted = model.fit(SITE, seed=1)
    assert model == TimesFMLora(checkpoint=base) != fitted
    assert fitted.parameters == fitted.adapter.parameters > 0
    again = pickle.loads(pickle.dumps(fitted))
    one, other = fitted.forecast(SITE, 12), again.forecast(SITE, 12)
    np.testing.assert_array_equal(one.mean, other.mean)
    assert one.mean.shape == (4, 12) and (np.diff(one.quantiles, axis=1) >= 0).all()


def test_an_adapter_works_from_its_folder(base, folder, adapter):
    model = forecaster("timesfm+lora", checkpoint=base, adapter=str(folder))
    assert model.name == "timesfm+lora"
    assert model.parameters == adapter.parameters
    named = model.forecast(SITE, 12)
    held = TimesFMLora(checkpoint=base, adapter=adapter).forecast(SITE, 12)
    np.testing.assert_array_equal(named.mean, held.mean)
    with pytest.raises(CheckpointError, match="nowhere: adapter_model"):
        forecaster("timesfm+lora", checkpoint=base, adapter="nowhere").forecast(SITE, 4)


def test_models_with_other_adapters_differ(base, adapter):
    one, other = (TimesFMLora(checkpoint=base, adapter=folder) for folder in ("a", "b"))
    assert one != other and one == TimesFMLora(checkpoint=base, adapter="a")
    assert len({one, other, TimesFMLora(checkpoint=base, adapter=adapter)}) == 3


def test_forecasts_with_an_adapter_scale_and_handle_bad_cells(base):
    made = random_adapter(load_checkpoint(base))
    model = TimesFMLora(checkpoint=base, adapter=made)
    history = SITE.copy()
    history[1], history[2, :-5] = np.nan, np.nan
    plain, scaled = model.forecast(history, 20), model.forecast(history * 1024, 20)
    np.testing.assert_array_equal(scaled.mean, plain.mean * 1024)
    assert np.isnan(plain.mean[1]).all() and "no value" in plain.notes[1] and "persistence" in plain.notes[2]
    assert np.isfinite(plain.mean[[0, 2, 3]]).all()
    assert (
        adapted(base, made).stacked_xf[0].attn.query.weight != load_checkpoint(base).stacked_xf[0].attn.query.weight
    ).any()
