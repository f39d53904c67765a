"""Fine-tuning while the service runs: trained in a worker, compared on held-back days, and taken only if better."""

import numpy as np
import pytest

from controller import fine_tuning
from controller.config import ForecastConfig
from controller.fine_tuning import FineTuning, Outcome, tune_site
from predictor import forecaster
from twin.load_history import LoadHistory


class InProcess:
    """Runs a worker's function here."""

    def __init__(self, function=None):
        self.function = function
        self.calls = []

    async def run(self, function, *arguments):
        self.calls.append(arguments)
        return (self.function or function)(*arguments)


@pytest.fixture(autouse=True)
def not_nicer(monkeypatch):
    """A worker lowers its priority; this process shall keep its own."""
    monkeypatch.setattr(fine_tuning.os, "nice", lambda _: 0)


@pytest.fixture
def site(tmp_path):
    used = []
    history = LoadHistory(["cell-1", "cell-2"])
    settings = ForecastConfig(model="timesfm", fine_tune_hours=1.0)
    return (
        FineTuning(settings, history, tmp_path / "adapters", lambda: 5000.0, used.append),
        used,
        tmp_path / "adapters",
    )


def outcome(directory, error, present):
    (directory / "5000").mkdir(parents=True, exist_ok=True)
    return Outcome(str(directory / "5000"), error, present)


async def test_a_better_adapter_is_taken_and_remembered_over_a_restart(site):
    tuning, used, directory = site
    await tuning.tune(InProcess(lambda *_: outcome(directory, 0.15, 0.20)))
    assert used == [str(directory / "5000")]
    again = []
    restarted = FineTuning(ForecastConfig(model="timesfm"), None, directory, lambda: 0.0, again.append)
    restarted.remember()
    assert again == used


@pytest.mark.parametrize("error", [0.199, 0.2, 0.3, float("nan")])
async def test_the_present_model_stays_unless_the_new_one_is_clearly_better(site, error):
    tuning, used, directory = site
    result = await tuning.tune(InProcess(lambda *_: outcome(directory, error, 0.2)))
    assert result is not None and used == [] and not (directory / fine_tuning.CURRENT).exists()


async def test_the_next_round_is_compared_with_the_adapter_in_use(site):
    tuning, used, directory = site
    workers = InProcess(lambda *_: outcome(directory, 0.15, 0.20))
    await tuning.tune(workers)
    await tuning.tune(workers)
    assert [call[1] for call in workers.calls] == ["", used[0]]


async def test_too_little_telemetry_is_said_and_the_service_goes_on(site, caplog):
    tuning, used, _ = site
    assert await tuning.tune(InProcess()) is None
    assert used == [] and "too few to fine-tune" in caplog.text


def test_a_site_is_tuned_end_to_end(tmp_path, monkeypatch):
    """With the bundled checkpoint, one short epoch: the adapter can be used, and its error is the one reported."""
    import predictor.lora as lora

    settings = lora.LoraSettings(epochs=1, batch=4, context=16, positions=4, largest_epoch=4, validation_stride=144)
    monkeypatch.setattr(lora.train_lora, "__kwdefaults__", lora.train_lora.__kwdefaults__ | {"settings": settings})
    monkeypatch.setattr(lora.held_back_error, "__defaults__", (144, settings))
    rng = np.random.default_rng(2)
    slots = np.arange(6 * 144)
    history = (1 + 0.5 * np.sin(2 * np.pi * slots / 144)) * rng.lognormal(0, 0.05, (2, slots.size))
    result = tune_site("", "", history, str(tmp_path / "a"))
    assert 0 < result.error <= result.present_error
    model = forecaster("timesfm+lora", adapter=str(tmp_path / "a"))
    assert np.isfinite(model.forecast(history, 6).mean).all()
