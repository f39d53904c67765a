"""``links eval forecast-speed``: what is measured and written. No test looks at how long anything takes."""

import json
import os

import numpy as np
import pytest
import torch

from controller import cli
from evaluation import forecast_speed as speed
from evaluation.forecast_protocol import ModelError
from predictor.timesfm_forecaster import checkpoint
from predictor.timesfm_model import Architecture, TimesFMModule, save_checkpoint

TINY = (1, 16, 2)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    checkpoint.cache_clear()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("tiny")
    save_checkpoint(TimesFMModule(Architecture(*TINY, quantile_horizon=128)), path, {})
    return str(path)


def work(checkpoint, **changes):
    return speed.Work(
        **{"cells": 5, "slots": 96, "horizon": 4, "threads": 1, "repeats": 2, "checkpoint": checkpoint} | changes
    )


@pytest.fixture
def document(tiny, monkeypatch):
    """A small measurement, in this process."""
    monkeypatch.setattr(speed, "in_own_process", lambda threads, function, *arguments: function(*arguments))
    monkeypatch.setattr(speed, "CELLS", (2, 10_000))
    monkeypatch.setattr(speed, "CONTEXTS", (32, 64))
    monkeypatch.setattr(speed, "ARCHITECTURES", (TINY,))
    monkeypatch.setattr(speed, "RUNTIMES", {"torch": speed._torch, "other": missing})
    measured = speed.measure(work(tiny), 3, True, lambda text: None)
    return measured | {"command": "links eval forecast-speed", "commit": "c0ffee", "machine": "a machine"}


def missing(work, slots, directory):
    raise ImportError("No module named 'other'")


def off(work, slots, directory):
    one = speed._torch(work, slots, directory)
    return lambda values, padding: one(values, padding) + 0.01


# --- Measuring --------------------------------------------------------------------------------------------------------


def test_histories_are_loads_of_different_size_with_gaps():
    history = speed.histories(130, 200)
    assert history.shape == (130, 200)
    gaps = np.isnan(history)
    assert gaps.any(axis=1).sum() == 7 and gaps.sum() == 7 * 6
    assert (history[~gaps] >= 0).all()
    means = np.nanmean(history, axis=1)
    assert len(np.unique(means)) == 130 and means.max() > 10 * means.min()
    np.testing.assert_array_equal(history, speed.histories(130, 200))


def test_every_repeat_is_a_forecast_of_all_cells(tiny, monkeypatch):
    from predictor.timesfm_forecaster import TimesFM

    asked, real = [], TimesFM.forecast

    def forecast(model, history, horizon):
        asked.append((history.shape, horizon, model.context_slots))
        return real(model, history, horizon)

    monkeypatch.setattr(TimesFM, "forecast", forecast)
    timed = speed.timed_forecasts(work(tiny, context_slots=64, repeats=3))
    assert asked[1:] == [((5, 96), 4, 64)] * 3  # the first is the warm-up
    assert len(timed.seconds) == len(timed.processor_s) == 3 and min(timed.seconds) > 0
    module = TimesFMModule(Architecture(*TINY, quantile_horizon=128))
    assert timed.parameters == sum(weights.numel() for weights in module.parameters())


def test_the_process_is_another_on_the_cores_named():
    pid, cores = os.getpid(), len(os.sched_getaffinity(0))
    assert speed.in_own_process(1, os.getpid) != pid
    assert len(speed.in_own_process(1, os.sched_getaffinity, 0)) == 1
    assert len(os.sched_getaffinity(0)) == cores


def test_a_process_that_dies_is_an_error_with_a_message():
    with pytest.raises(ModelError, match="died"):
        speed.in_own_process(1, os._exit, 9)


def test_document(document):
    growth = document["growth"]
    assert [one["cells"] for one in growth["cells"]] == [2, 5]
    assert [(one["cells"], one["slots"]) for one in growth["context"]] == [(3, 32), (3, 64)]
    assert [(one["layers"], one["width"], one["cells"]) for one in growth["parameters"]] == [(1, 16, 3)]
    assert growth["cells"][-1] == document["forecast"]
    assert document["forecast"]["peak_memory_mb"] > 10
    assert document["met"] is None  # five cells are no city


@pytest.mark.parametrize(
    "changes, seconds, memory_mb, expected",
    [
        ({}, (59.0, 59.0, 90.0), 1999.0, True),
        ({}, (59.0, 61.0, 90.0), 1999.0, False),
        ({}, (1.0,), 2001.0, False),
        ({"threads": 4}, (1.0,), 1.0, None),
        ({"cells": 9_999}, (90.0,), 1.0, None),
        ({"slots": 1_008}, (1.0,), 1.0, None),
        ({"horizon": 30}, (1.0,), 1.0, None),
    ],
)
def test_the_target_is_judged_by_median_and_peak_of_work_as_large(changes, seconds, memory_mb, expected):
    whole = work("", **{"cells": 10_000, "slots": 2016, "horizon": 60, "threads": 2} | changes)
    assert speed.met(whole, {"seconds": seconds, "peak_memory_mb": memory_mb}) is expected


# --- Runtimes ---------------------------------------------------------------------------------------------------------


def test_ways_of_torch_agree(tiny, monkeypatch):
    names = ("torch", "torch, plain attention", "torch, a thread per part of a batch")
    monkeypatch.setattr(speed, "RUNTIMES", {name: speed.RUNTIMES[name] for name in names} | {"off": off})
    monkeypatch.setattr(speed, "BATCHES", (1, 4))
    results = speed.runtimes(work(tiny, slots=320, threads=2))
    assert tuple(results) == (*names, "off")
    assert results.pop("off")["difference"] == pytest.approx(0.01, rel=0.01)
    for result in results.values():
        assert result["difference"] <= speed.AGREEMENT
        assert {batch: len(each) for batch, each in result["seconds"].items()} == {"1": 2, "4": 2}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name, module", [("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino")])
def test_exported_network_agrees_for_any_number_of_rows(tiny, monkeypatch, name, module):
    for needed in ("onnx", "onnxscript", module):
        pytest.importorskip(needed)
    monkeypatch.setattr(speed, "RUNTIMES", {each: speed.RUNTIMES[each] for each in ("torch", name)})
    monkeypatch.setattr(speed, "BATCHES", (1, 2, 5))
    results = speed.runtimes(work(tiny, slots=320, repeats=1))
    assert "skipped" not in results[name], results[name]
    assert results[name]["difference"] <= speed.AGREEMENT


def test_a_wrong_runtime_is_called_so_and_a_missing_one_skipped(document):
    assert document["runtimes"]["results"]["other"] == {"skipped": "ImportError: No module named 'other'"}
    assert "skipped: ImportError: No module named 'other'" in speed.markdown(document)
    assert "wrong" not in speed._runtimes_table(document["runtimes"])
    document["runtimes"]["results"]["off"] = document["runtimes"]["results"]["torch"] | {"difference": 1e-3}
    assert "1.0e-03, wrong" in speed._runtimes_table(document["runtimes"])


# --- Files and command line -------------------------------------------------------------------------------------------


def test_files(document, tmp_path):
    speed.write(document, tmp_path)
    assert json.loads((tmp_path / "forecast_speed.json").read_text()) == json.loads(json.dumps(document))
    text = (tmp_path / "forecast_speed.md").read_text()
    for part in ("c0ffee", "a machine", "## Cells", "## Context", "## Parameters", "## Runtimes", "not judged"):
        assert part in text
    assert (tmp_path / "forecast_speed.svg").read_text().startswith("<?xml")


def test_a_missed_target_is_said(document):
    assert "MISSED" in speed.summary(document | {"met": False})
    assert speed.summary(document | {"met": True}).endswith(": met")


def test_spread_and_rate():
    assert speed.spread([3.0, 1.0, 20.0]) == "3 (1 to 20)"
    assert speed.rate({"cells": 100, "seconds": [4.0, 5.0, 50.0]}) == 20.0


def test_json_is_all_of_standard_output(document, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(speed, "measure", lambda work, cells, runtimes, told: {**document, "cells_asked": work.cells})
    assert speed.main(["--cells", "7", "--threads", "1", "--out", str(tmp_path / "new"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["cells_asked"] == 7 and printed["command"].startswith("links eval forecast-speed --cells 7")
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [".json", ".md", ".svg"]


def test_checkpoint_that_is_not_there(tmp_path, capsys):
    assert speed.main(["--checkpoint", str(tmp_path), "--threads", "1", "--out", str(tmp_path / "out")]) == 1
    assert "no model.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--cells", "0"], ["--repeats", "x"], ["--threads", "100000"]])
def test_wrong_use(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        speed.main(wrong)
    assert stop.value.code == 2 and wrong[0] in capsys.readouterr().err


def test_is_a_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "forecast-speed", "--help"])
    assert stop.value.code == 0 and "--growth-cells" in capsys.readouterr().out
