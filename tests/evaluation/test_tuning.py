import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation import tuning
from predictor.mlp import Mlp
from predictor.profile import PLAIN, backtest_error
from twin.history_file import History, save_history_file

DAY = 144
START_S = 1383260400  # 31 October 2013, 23:00 UTC


@pytest.fixture
def data(tmp_path):
    """17 days of four squares, then a day that must not matter."""
    rng = np.random.default_rng(3)
    slots = np.arange(18 * DAY)
    shape = 10 + 6 * np.sin(2 * np.pi * slots / DAY) + 3 * (slots // DAY % 7 < 2)
    traffic = (shape * rng.lognormal(0, 0.1, (4, slots.size))).T
    squares = np.array([5058, 5059, 5158, 5159])
    history = History(traffic, START_S + 600 * slots, squares, None, None)
    save_history_file(history, tmp_path / "data.npz")
    return history, tmp_path / "data.npz"


def run(path, out, *arguments):
    start = "2013-11-17T23:00Z"
    return tuning.main(["--data", str(path), "--test-start", start, "--out", str(out), *arguments])


def read(out):
    return json.loads((out / "tuning.json").read_text())


def test_what_was_tried_is_written_up(data, tmp_path, monkeypatch):
    quick = Mlp(training_steps=25, width=8, lookback=36)
    monkeypatch.setattr(tuning, "SPACE", {quick: {"width": (8, 16)}})
    history, path = data
    assert run(path, tmp_path / "out", "--models", "profile,dlinear,mlp") == 0
    document = read(tmp_path / "out")
    assert list(document["models"]) == ["profile", "dlinear", "mlp"]
    assert document["test_start"] == "2013-11-17T23:00:00Z"
    for model in document["models"].values():
        rows = model["tried"]
        score = [np.mean(row.get("errors") or [row["error"]]) for row in rows]
        assert [row["chosen"] for row in rows] == [s == min(score) for s in score]
    assert [row["settings"] for row in document["models"]["mlp"]["tried"]] == [{"width": 8}, {"width": 16}]
    first = document["models"]["profile"]["tried"][0]
    assert first["errors"] == pytest.approx(backtest_error(history.traffic[: 17 * DAY].T, PLAIN, 10 * DAY, 6))
    text = (tmp_path / "out" / "tuning.md").read_text()
    for name, model in document["models"].items():
        part = text.split(f"## {name}")[1].split("##")[0]
        assert part.count("** | **") == 1
        assert part.count("\n|") == 2 + len(model["tried"])


def test_nothing_from_the_test_on_matters(data, tmp_path):
    history, path = data
    assert run(path, tmp_path / "one", "--models", "profile") == 0
    later = history.traffic.copy()
    later[17 * DAY :] *= 7
    save_history_file(replace(history, traffic=later), tmp_path / "later.npz")
    assert run(tmp_path / "later.npz", tmp_path / "two", "--models", "profile") == 0
    one, two = (read(tmp_path / out)["models"]["profile"]["tried"] for out in ("one", "two"))
    assert one == two


def test_wrong_input_is_named(data, tmp_path, capsys):
    _, path = data
    with pytest.raises(SystemExit) as stop:
        run(path, tmp_path, "--models", "persistence")
    assert stop.value.code == 2
    assert "'persistence' has no search; choose from profile, dlinear, mlp" in capsys.readouterr().err
    assert run(tmp_path / "none.npz", tmp_path) == 1
    assert "none.npz" in capsys.readouterr().err
