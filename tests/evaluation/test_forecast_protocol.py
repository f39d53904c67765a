"""What a model sees and when: origins, histories, training, and the process it runs in."""

import dataclasses
import os
from dataclasses import dataclass, field

import numpy as np
import pytest

from evaluation import forecast_protocol as fp
from predictor import Forecast
from twin.history_file import History, save_history_file

START_S = 1383260400  # 1 November 2013, 00:00 in Milan
DAY = 144


def write(path, days=4.0, cells=2, slot_s=600, **changes):
    slots = int(days * DAY)
    traffic = np.random.default_rng(0).uniform(1, 5, (slots, cells))
    history = History(traffic, START_S + slot_s * np.arange(slots), np.arange(1, cells + 1))
    save_history_file(dataclasses.replace(history, **changes), path)
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "four days.npz")


@pytest.fixture
def data(file):
    return fp.protocol(file, "2013-11-04T00:00+01:00", 24, 60)


@dataclass
class Spy:
    """Remembers what it was shown; forecasts the last value."""

    name: str = "spy"
    seen: list = field(default_factory=list)

    def forecast(self, history, horizon):
        self.seen.append(history.copy())
        mean = np.repeat(history[:, -1:], horizon, axis=1)
        return Forecast(mean, np.repeat(mean[:, None], 9, axis=1), ("",) * len(history))


@dataclass
class Trainee(Spy):
    trained_on: list = field(default_factory=list)
    parameters: int = 7

    def fit(self, history, *, grid=None, seed=0, progress=None):
        progress("epoch 1", 0.5)
        self.trained_on.append((history.copy(), grid, seed))
        history[:] = -1.0  # a model that scribbles on its data harms nobody
        return dataclasses.replace(self)


def run(data, model, monkeypatch, seeds=1, adapter=None, name="lstm", progress=lambda text, share: None):
    monkeypatch.setattr(fp, "forecaster", lambda *a, **k: model)
    return fp.run(data, fp.Task(data.path, "", 24, 60, name, adapter=adapter, seeds=seeds), progress)


# --- Origins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["2013-11-04T00:00+01:00", "2013-11-03T23:00Z", "2013-11-03T23:00", "2013-11-03 23:00:00"]
)
def test_test_start_is_utc_unless_it_says_otherwise(file, text):
    assert fp.protocol(file, text, 24, 60).start == 3 * DAY


def test_origins_go_on_while_60_more_slots_exist(file):
    assert fp.protocol(file, "2013-11-03T23:00Z", 24, 60).origins.tolist() == [432, 456, 480, 504]
    assert fp.protocol(file, "2013-11-03T23:00Z", 28, 60).origins.tolist() == [432, 460, 488, 516]  # 516 + 60 = 576
    assert fp.protocol(file, "2013-11-03T23:10Z", 83, 60).origins.tolist() == [433, 516]
    assert fp.protocol(file, "2013-11-03T23:20Z", 83, 60).origins.tolist() == [434]


def test_truth_is_what_follows_each_origin(data):
    assert data.truth.shape == (4, 2, 60)
    np.testing.assert_array_equal(data.truth[1, 0], data.history[0, 456:516])


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2013-11-04T00:05+01:00", "not the start of a slot; the nearest are 2013-11-03T23:00:00Z or 2013-11-03T23:10"),
        ("2013-10-31T23:00Z", "must be a slot of .* after the first: 2013-10-31T23:10:00Z to 2013-11-04T22:50:00Z"),
        ("2013-12-24", "must be a slot of .* after the first"),
        ("yesterday", "must be an ISO time as 2013-11-18"),
        ("2013-11-04T14:00Z", "54 slots from there to the file's end.*start at 2013-11-04T13:00:00Z or before"),
    ],
)
def test_a_test_start_that_cannot_be_used_is_an_error(file, start, words):
    with pytest.raises(fp.ProtocolError, match=words):
        fp.protocol(file, start, 24, 60)


@pytest.mark.parametrize(
    ("slot_s", "advice"), [(300, "add up 2 slots each first"), (3600, "bring the data to such slots first")]
)
def test_slots_of_another_length_are_an_error(tmp_path, slot_s, advice):
    file = write(tmp_path / "f.npz", slot_s=slot_s)
    with pytest.raises(fp.ProtocolError, match=f"slots of {slot_s} s; they must be 600 s .*: {advice}"):
        fp.protocol(file, "2013-11-03T23:00Z", 24, 60)


def test_a_stride_below_1_is_an_error(file):
    with pytest.raises(fp.ProtocolError, match="stride: 0 must be 1"):
        fp.protocol(file, "2013-11-03T23:00Z", 0, 60)


def test_weekend_by_the_local_date_of_each_slot(tmp_path):
    """1 November is a holiday, 2 and 3 the weekend, 4 a Monday: the day changes at 23:00 UTC."""
    data = fp.protocol(write(tmp_path / "f.npz", days=5), "2013-10-31T23:10Z", 1, 60)
    weekend = dict(zip(data.slots.flat, data.weekend.flat, strict=True))
    assert [weekend[s] for s in (1, 143, 144, 431, 432, 575)] == [True, True, True, True, False, False]


def test_christmas_counts_with_the_weekend(tmp_path):
    epoch_s = 1387839600 + 600 * np.arange(5 * DAY)  # 24 December 2013, 00:00 in Milan, a Tuesday
    data = fp.protocol(write(tmp_path / "f.npz", days=5, epoch_s=epoch_s), "2013-12-24T01:00+01:00", DAY, 60)
    assert data.weekend[:, 0].tolist() == [False, True, True, False, True]  # the 28th is a Saturday


# --- What counts ------------------------------------------------------------------------------------------------------


def test_missing_truth_and_cells_that_have_not_begun_do_not_count(tmp_path):
    traffic = np.ones((4 * DAY, 3))
    traffic[440, 0] = np.nan
    traffic[:470, 1] = np.nan  # begins after the second of the four origins
    traffic[:, 2] = np.nan
    data = fp.protocol(write(tmp_path / "f.npz", cells=3, traffic=traffic), "2013-11-03T23:00Z", 24, 60)
    expected = np.ones((4, 3, 60), bool)
    expected[0, 0, 8] = False
    expected[:2, 1] = False
    expected[:, 2] = False
    np.testing.assert_array_equal(data.counts, expected)


# --- What a model sees ------------------------------------------------------------------------------------------------


def test_a_model_sees_exactly_what_precedes_each_origin(data, monkeypatch):
    spy = Spy()
    (result,) = run(data, spy, monkeypatch)
    assert len(spy.seen) == len(data.origins) == 4
    for origin, seen in zip(data.origins, spy.seen, strict=True):
        np.testing.assert_array_equal(seen, data.history[:, :origin])
    np.testing.assert_array_equal(result.mean[2, :, 59], data.history[:, data.origins[2] - 1])
    assert (result.parameters, result.fit_s, result.notes) == (0, None, {})
    assert result.mean.shape == (4, 2, 60) and result.quantiles.shape == (4, 2, 9, 60) and result.seconds.shape == (4,)


def test_a_model_that_trains_is_fitted_once_per_seed_on_what_precedes_the_test(data, monkeypatch):
    model, told = Trainee(), []
    runs = run(data, model, monkeypatch, seeds=3, progress=lambda *event: told.append(event))
    assert [seed for *_, seed in model.trained_on] == [0, 1, 2]
    for history, grid, _ in model.trained_on:
        np.testing.assert_array_equal(history, data.history[:, :432])
        np.testing.assert_array_equal(grid, data.grid)
    assert [run.parameters for run in runs] == [7, 7, 7] and all(run.fit_s >= 0 for run in runs)
    assert (data.history > 0).all()
    assert told[0] == ("seed 1 of 3: training: epoch 1", 0.5) and told[-1] == ("seed 3 of 3: forecasting", 1.0)


def test_a_model_without_training_runs_once_whatever_the_seeds(data, monkeypatch):
    assert len(run(data, Spy(), monkeypatch, seeds=3)) == 1


def test_an_adapter_that_is_given_is_not_trained_again(data, monkeypatch):
    model = Trainee()
    assert len(run(data, model, monkeypatch, seeds=3, adapter="dir", name="timesfm+lora")) == 1
    assert model.trained_on == []
    run(data, model, monkeypatch, adapter="dir", name="lstm")  # an adapter is nothing to other models
    assert len(model.trained_on) == 1


def test_notes_are_counted(data, monkeypatch):
    @dataclass
    class Noted(Spy):
        def forecast(self, history, horizon):
            return dataclasses.replace(super().forecast(history, horizon), notes=("too short", ""))

    (result,) = run(data, Noted(), monkeypatch)
    assert result.notes == {"too short": 4}


@pytest.mark.parametrize("what", ["mean", "quantiles"])
def test_a_forecast_that_is_no_number_is_an_error_not_a_smaller_test(data, monkeypatch, what):
    @dataclass
    class Holed(Spy):
        def forecast(self, history, horizon):
            result = super().forecast(history, horizon)
            getattr(result, what)[1, ..., 5] = np.nan if len(self.seen) == 3 else 1.0
            return result

    with pytest.raises(fp.ModelError, match="1 forecasts are no numbers, the first of square 2 at 2013-11-04T07:00.*6"):
        run(data, Holed(), monkeypatch)


def test_a_forecast_of_the_wrong_shape_is_an_error(data, monkeypatch):
    @dataclass
    class Short(Spy):
        def forecast(self, history, horizon):
            return super().forecast(history, horizon - 1)

    with pytest.raises(fp.ModelError, match="shapes"):
        run(data, Short(), monkeypatch)


def test_a_spatial_model_is_told_why_there_is_no_grid(tmp_path, monkeypatch):
    @dataclass
    class Spatial(Trainee):
        def fit(self, history, *, grid=None, seed=0, progress=None):
            raise ValueError("conv3d: needs grid")

    squares = np.array([900_001, 900_007])
    data = fp.protocol(write(tmp_path / "f.npz", square_id=squares), "2013-11-04T00:00+01:00", 24, 60)
    assert data.grid is None
    with pytest.raises(fp.ModelError, match="conv3d: needs grid .*not Milan's"):
        run(data, Spatial(), monkeypatch)


# --- Processes --------------------------------------------------------------------------------------------------------


def test_a_process_of_its_own_gives_what_this_process_does(file, data):
    task = fp.Task(file, "2013-11-04T00:00+01:00", 24, 60, "persistence")
    told = []
    (there,), peak_mb = fp.run_in_own_process(task, lambda *event: told.append(event))
    (here,) = fp.run(data, task, lambda *event: None)
    np.testing.assert_array_equal(there.mean, here.mean)
    np.testing.assert_array_equal(there.quantiles, here.quantiles)
    assert told[-1] == ("forecasting", 1.0)
    assert 10 < peak_mb < 100_000


def test_what_a_model_says_against_its_input_crosses_the_process(file):
    task = fp.Task(file, "2013-11-04T00:00+01:00", 24, 60, "persistence-of-vision")
    with pytest.raises(fp.ModelError, match="'persistence-of-vision' is unknown"):
        fp.run_in_own_process(task, lambda *event: None)


def test_a_process_that_dies_is_reported(monkeypatch, file):
    monkeypatch.setattr(fp, "_child", os.abort)  # takes no arguments: the new process ends with an error
    with pytest.raises(fp.ModelError, match="its process ended with exit code 1"):
        fp.run_in_own_process(fp.Task(file, "", 24, 60, "persistence"), lambda *event: None)
