"""Decisions that stand on forecasts, against hand-made answers, and ``links eval tau`` as a user runs it."""

import json

import numpy as np
import pytest

from evaluation import forecast, tau
from evaluation.forecast_protocol import ProtocolError, Run, protocol
from twin.history_file import History, save_history_file

START_S = 1383260400  # 1 November 2013, 00:00 in Milan
DAY = 144
TEST_START = "2013-11-03T00:00+01:00"


def write(path, traffic):
    save_history_file(
        History(traffic, START_S + 600 * np.arange(len(traffic)), np.arange(1, traffic.shape[1] + 1)), path
    )
    return path


@pytest.fixture
def file(tmp_path):
    """Three days of three cells; the largest load before the test is 10, 20 and 40."""
    traffic = np.random.default_rng(1).uniform(0.5, 9.5, (3 * DAY, 3)) * [1, 2, 4]
    traffic[7] = [10, 20, 40]
    return write(tmp_path / "three days.npz", traffic)


@pytest.fixture
def data(file):
    return protocol(file, TEST_START, 6, 3)


def of(data, mean, spread=0.0):
    """A model with these means [O, C, W], its quantiles ``spread`` around them."""
    quantiles = np.maximum(mean[:, :, None] + spread * np.linspace(-1, 1, 9)[:, None], 0)
    return forecast.Measured((Run(mean, quantiles, np.ones(len(mean)), None, 0),), 50.0)


def test_wrong_ways_by_hand():
    chosen = np.array([[True, True], [True, False], [False, True], [False, True]])
    right = np.array([[True, False], [True, True], [True, True], [True, False]])
    counts = np.ones((4, 2), bool)
    # wrong: cell 0 at 2, 3; cell 1 at 0 (over), 1 (free), 3 (over). Flaps: cell 0 at 2; cell 1 at 2.
    assert tau.wrong_ways(chosen, right, counts) == pytest.approx(
        {"wrong": 5 / 8, "sixg_though_overloaded": 2 / 8, "zigbee_though_free": 3 / 8, "flaps": 2 / 6}
    )
    counts[2, 0] = False
    assert tau.wrong_ways(chosen, right, counts) == pytest.approx(
        {"wrong": 4 / 7, "sixg_though_overloaded": 2 / 7, "zigbee_though_free": 2 / 7, "flaps": 1 / 4}
    )


def test_the_controllers_rule_decides_and_hysteresis_holds():
    loads = np.array([[0.52, np.nan], [0.48, 0.2], [0.51, 0.6], [0.44, 0.5]])
    assert tau.sixg(loads, 0.5, 0.0).tolist() == [[False, False], [True, True], [False, False], [True, False]]
    assert tau.sixg(loads, 0.5, 0.05).tolist() == [[False, False], [False, True], [False, False], [True, False]]


def test_capacity_is_a_quantile_of_the_loads_before_the_test(data):
    truth = tau.truth_of(data, "max", 1.0)
    assert truth.capacity.tolist() == [10, 20, 40]
    np.testing.assert_allclose(truth.load[0], data.history[:, 288:291].max(axis=1) / [10, 20, 40])
    half = tau.truth_of(data, "mean", 0.5)
    np.testing.assert_allclose(half.capacity, np.median(data.history[:, :288], axis=1))
    np.testing.assert_allclose(half.load[0], data.history[:, 288:291].mean(axis=1) / half.capacity)
    assert truth.counts.all()


def test_windows_with_missing_truth_and_cells_without_capacity_do_not_count(tmp_path):
    traffic = np.ones((3 * DAY, 3))
    traffic[290, 0] = np.nan  # the last slot of the first window
    traffic[:288, 1] = 0.0
    traffic[:288, 2] = np.nan
    data = protocol(write(tmp_path / "f.npz", traffic), TEST_START, 6, 3)
    truth = tau.truth_of(data, "max", 1.0)
    assert truth.counts[:, 0].tolist() == [False] + [True] * (len(data.origins) - 1)
    assert not truth.counts[:, 1:].any()
    result = tau.document(data, {"m": of(data, np.ones(data.truth.shape))}, ["mean"], "max", 1.0, 0.05)
    assert result["cells_without_capacity"] == 2 and result["decisions"] == len(data.origins) - 1
    traffic[:288, 0] = 0.0
    data = protocol(write(tmp_path / "g.npz", traffic), TEST_START, 6, 3)
    with pytest.raises(ProtocolError, match="no cell has a capacity"):
        tau.truth_of(data, "max", 1.0)


def test_a_perfect_forecast_is_never_wrong_and_never_flaps(data):
    result = tau.document(data, {"oracle": of(data, data.truth)}, ["mean", "0.5"], "max", 1.0, 0.05)
    for rule in ("mean", "0.5"):
        for point in result["models"]["oracle"][rule]["without_hysteresis"]:
            assert set(point.values()) == {0.0}
    assert max(p["zigbee_though_free"] for p in result["models"]["oracle"]["mean"]["with_hysteresis"]) > 0
    assert all(p["sixg_though_overloaded"] == 0 for p in result["models"]["oracle"]["mean"]["with_hysteresis"])
    assert result["truth"]["changes"][4] > 0


@pytest.mark.parametrize("window", ["max", "mean"])
def test_always_6g_and_always_zigbee_are_wrong_as_often_as_the_truth_says(data, window):
    models = {"6g": of(data, np.zeros(data.truth.shape)), "zigbee": of(data, np.full(data.truth.shape, 1000.0))}
    result = tau.document(data, models, ["mean"], window, 1.0, 0.05)
    loads = data.truth / np.array([10, 20, 40])[:, None]
    loads = loads.max(axis=2) if window == "max" else loads.mean(axis=2)
    for at, level in enumerate(tau.TAUS):
        overloaded = (loads >= level).mean()
        always_6g, always_zigbee = (result["models"][n]["mean"]["without_hysteresis"][at] for n in ("6g", "zigbee"))
        assert result["truth"]["overloaded"][at] == pytest.approx(overloaded)
        assert always_6g["wrong"] == always_6g["sixg_though_overloaded"] == pytest.approx(overloaded)
        assert always_zigbee["wrong"] == always_zigbee["zigbee_though_free"] == pytest.approx(1 - overloaded)
        assert tau.one_choice(result)[at] == pytest.approx(min(overloaded, 1 - overloaded))
        assert always_6g["flaps"] == always_zigbee["flaps"] == pytest.approx(0)


def test_a_higher_quantile_risks_less_6g(data):
    noisy = data.truth * np.random.default_rng(0).uniform(0.7, 1.3, data.truth.shape)
    result = tau.document(data, {"m": of(data, noisy, spread=5.0)}, ["0.2", "0.5", "0.8"], "max", 1.0, 0.05)
    risk = [
        sum(p["sixg_though_overloaded"] for p in result["models"]["m"][rule]["without_hysteresis"])
        for rule in ("0.2", "0.5", "0.8")
    ]
    assert risk[0] > risk[1] > risk[2]


def test_seeds_are_averaged(data):
    runs = tuple(of(data, np.full(data.truth.shape, value)).runs[0] for value in (0.0, 1000.0))
    result = tau.document(data, {"m": forecast.Measured(runs, 50.0)}, ["mean"], "max", 1.0, 0.05)
    assert all(p["wrong"] == pytest.approx(0.5) for p in result["models"]["m"]["mean"]["without_hysteresis"])
    assert result["models"]["m"]["seeds"]["count"] == 2
    assert result["models"]["m"]["seeds"]["std"]["mean"]["without_hysteresis"][0]["wrong"] > 0


def test_the_command_writes_table_document_and_figure(file, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--data", str(file), "--test-start", TEST_START, "--models", "persistence,seasonal-naive-day"]
    assert tau.main([*arguments, "--quantile", "mean", "0.8", "--window-slots", "4", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "wrong decisions against tau" in text and "seasonal-naive-day" in text
    document = json.loads((out / "tau.json").read_text())
    assert document["window_slots"] == 4 and document["rules"] == ["mean", "0.8"] and document["stride"] == 6
    assert document["decisions"] == 3 * document["origins"] == 3 * 24
    for model in document["models"].values():
        for rule in ("mean", "0.8"):
            for points in model[rule].values():
                assert len(points) == 9
                for p in points:
                    assert p["wrong"] == pytest.approx(p["sixg_though_overloaded"] + p["zigbee_though_free"])
    page = (out / "tau.md").read_text()
    wrong = document["models"]["persistence"]["0.8"]["without_hysteresis"][4]["wrong"]
    for words in (document["command"], document["data"]["sha256"], f"{100 * wrong:.1f} (", "](tau.svg)", "60 minutes"):
        assert words in page
    assert "<svg" in (out / "tau.svg").read_text()


def test_a_model_that_cannot_run_is_left_out_with_its_reason(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(forecast, "NAMES", ("persistence", "crystal-ball"))
    assert tau.main(["--data", str(file), "--test-start", TEST_START, "--out", str(tmp_path)]) == 0
    assert "- crystal-ball: forecaster: 'crystal-ball' is unknown" in (tmp_path / "tau.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--quantile", "0.85"), "invalid choice: '0.85'"),
        (("--capacity-quantile", "2"), "must be a number from 0 to 1"),
        (("--hysteresis", "wide"), "must be a number from 0 to 1"),
        (("--window-slots", "0"), "must be 1 or more"),
        (("--window-load", "min"), "invalid choice"),
    ],
)
def test_wrong_use(file, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        tau.main(["--data", str(file), "--test-start", TEST_START, *arguments])
    assert stop.value.code == 2 and words in capsys.readouterr().err
