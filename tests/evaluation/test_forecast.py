"""``links eval forecast`` and ``table3`` as a user runs them: documents, files, messages, exit codes."""

import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation import forecast, table3, tau
from evaluation.forecast_measures import HORIZONS
from evaluation.forecast_protocol import Run, protocol
from twin.history_file import History, load_history_file, save_history_file

START_S = 1383260400  # 1 November 2013, 00:00 in Milan
DAY = 144
TEST_START = "2013-11-08T00:00+01:00"
ERRORS = {"per_cell_mean", "per_cell_std", "pooled"}
NAIVES = "persistence,seasonal-naive-day"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Ten days of three cells with a day's rhythm, no two days alike."""
    rng = np.random.default_rng(0)
    day = 1.5 + np.sin(2 * np.pi * np.arange(DAY) / DAY)
    traffic = (np.tile(day, 10)[:, None] * rng.uniform(0.5, 1.5, (10 * DAY, 3))) * [1.0, 5.0, 20.0]
    path = tmp_path_factory.mktemp("data") / "ten days.npz"
    save_history_file(History(traffic, START_S + 600 * np.arange(10 * DAY), np.array([4142, 4143, 4144])), path)
    return path


@pytest.fixture(scope="module")
def data(file):
    return protocol(file, TEST_START, 24, 60)


@pytest.fixture
def links(capsys, file):
    """Run an evaluation on the file: (exit code, standard output, standard error)."""

    def run(module, *arguments, start=TEST_START):
        try:
            code = module.main(["--data", str(file), "--test-start", start, *map(str, arguments)])
        except SystemExit as stop:  # argparse's way
            code = stop.code
        return code, *capsys.readouterr()

    return run


def measured(data, errors, fit_s=1.0):
    """A model that forecasts ``error`` times too much, one run per error."""
    runs = []
    for error in errors:
        mean = data.truth * (1 + error)
        quantiles = np.repeat(mean[:, :, None], 9, axis=2)
        runs.append(Run(mean, quantiles, np.full(len(data.origins), 0.3), fit_s, 11))
    return forecast.Measured(tuple(runs), 50.0)


@pytest.fixture
def figures(data):
    """A document with a model without chance, two trained with five seeds, and one that can't run."""
    models = {
        "persistence": measured(data, [0.4], fit_s=None),
        "lstm": measured(data, [0.2, 0.21, 0.22, 0.19, 0.18]),
        "timesfm": measured(data, [0.1, 0.3, 0.1, 0.3, 0.1]),
        "mlp": forecast.Measured(error="no module named torch"),
    }
    document = forecast.document(data, models, forecast.origin("table3", ["--data", "/far/away/x.npz"]))
    return forecast.plain(document | {"examples": table3.examples(data, models)})


# --- links eval forecast ----------------------------------------------------------------------------------------------


def test_json_has_the_keys_of_the_spec(links, file):
    code, text, err = links(forecast, "--models", NAIVES, "--json")
    assert code == 0, err
    document = json.loads(text)  # nothing else on standard output
    assert {"data", "test_start", "origins", "models"} <= document.keys()
    assert document["data"]["file"] == "ten days.npz" and document["data"]["cells"] == 3
    assert (document["test_start"], document["origins"]) == ("2013-11-07T23:00:00Z", 16)
    assert list(document["models"]) == NAIVES.split(",")
    for model in document["models"].values():
        assert {"1", "10", "30", "60", "pinball", "coverage", "mase", "s_per_1000_series", "parameters"} <= model.keys()
        assert model["peak_memory_mb"] > 10 and model["parameters"] == 0 and "seeds" not in model
        assert model["s_per_1000_series"] > 0
        for part in (model, model["working_days"], model["weekend"]):
            assert all(part[str(h)].keys() == ERRORS for h in HORIZONS)
            assert len(part["coverage"]) == 9
            assert part["mase"] > 0 and part["pinball"] > 0
    assert document["commit"] and document["machine"]
    assert document["command"].startswith("links eval forecast --data 'ten days.npz' --test-start")


def test_figures_are_those_of_a_second_implementation(links, file):
    """The daily seasonal naive, straight from the file."""
    model = json.loads(links(forecast, "--models", "seasonal-naive-day", "--stride", 100, "--json")[1])["models"]
    traffic = load_history_file(file).traffic
    origins = [o for o in range(7 * DAY, 10 * DAY, 100) if o + 60 <= 10 * DAY]
    for h in HORIZONS:
        errors, truth = [], []
        for o in origins:
            errors.append(traffic[o : o + h] - traffic[o - DAY : o - DAY + h])
            truth.append(traffic[o : o + h])
        errors, truth = np.array(errors), np.array(truth)
        per_cell = np.sqrt((errors**2).mean(axis=(0, 1))) / truth.mean(axis=(0, 1))
        pooled = np.sqrt((errors**2).mean()) / truth.mean()
        expected = {"per_cell_mean": per_cell.mean(), "per_cell_std": per_cell.std(), "pooled": pooled}
        assert model["seasonal-naive-day"][str(h)] == pytest.approx(expected)
    past = traffic[: 7 * DAY]
    scale = np.abs(past[DAY:] - past[:-DAY]).mean(axis=0)
    assert model["seasonal-naive-day"]["mase"] == pytest.approx((np.abs(errors).mean(axis=(0, 1)) / scale).mean())


def test_the_split_adds_up(data):
    """8 November is a Friday, 9 and 10 the weekend: squared errors of both parts make up the whole."""
    entry = forecast.entry(data, measured(data, [0.3], None), np.ones(3))
    weekend = data.weekend[:, None, :] & data.counts
    assert 0 < weekend.sum() < data.counts.sum()
    for part, counts in (("weekend", weekend), ("working_days", data.counts & ~weekend)):
        truth = data.truth[counts]
        expected = np.sqrt(((0.3 * truth) ** 2).mean()) / truth.mean()
        assert entry[part]["60"]["pooled"] == pytest.approx(expected)


def test_without_weekend_there_are_no_figures_of_it(file):
    friday = protocol(file, TEST_START, 1000, 60)  # one origin, on a Friday
    entry = forecast.entry(friday, measured(friday, [0.1], None), np.ones(3))
    assert entry["weekend"]["60"] == dict.fromkeys(ERRORS) and entry["weekend"]["coverage"] is None
    assert entry["working_days"]["60"] == entry["60"]


def test_seeds_are_averaged_and_their_spread_is_told(data):
    errors = [0.1, 0.2, 0.4]
    many = forecast.entry(data, measured(data, errors), np.ones(3))
    each = [forecast.entry(data, measured(data, [error]), np.ones(3)) for error in errors]
    assert many["seeds"]["count"] == 3 and all("seeds" not in one for one in each)
    for h in HORIZONS:
        values = [one[str(h)]["pooled"] for one in each]
        assert many[str(h)]["pooled"] == pytest.approx(statistics.fmean(values))
        assert many["seeds"]["std"][str(h)]["pooled"] == pytest.approx(statistics.stdev(values))
    weekends = [one["weekend"]["mase"] for one in each]
    assert many["seeds"]["std"]["weekend"]["mase"] == pytest.approx(statistics.stdev(weekends))
    assert many["parameters"] == 11 and many["s_per_1000_series"] == pytest.approx(0.3 / 3 * 1000)


def test_a_table_for_people(links):
    code, text, err = links(forecast, "--models", NAIVES)
    assert code == 0
    for words in ("NRMSE per cell", "60 steps", "persistence", "MASE", "s / 1000 series", "16 origins"):
        assert words in text
    assert "persistence: done" in err


def test_fallbacks_are_told(links, file):
    """A day before the test: no week to look back on."""
    arguments = ("--models", "seasonal-naive-week", "--stride", 144)
    code, text, _ = links(forecast, *arguments, start="2013-11-02T00:00+01:00")
    assert code == 0
    assert "seasonal-naive-week: 18 of 27 forecasts had a note: 3 x 144 slots of history, 1008 needed" in text


def test_of_all_models_one_that_cannot_run_is_left_out_with_its_reason(links, monkeypatch):
    monkeypatch.setattr(forecast, "NAMES", ("persistence", "crystal-ball"))
    code, text, err = links(forecast, "--json")
    models = json.loads(text)["models"]
    assert code == 0 and "pinball" in models["persistence"]
    assert models["crystal-ball"].keys() == {"error"} and "'crystal-ball' is unknown" in models["crystal-ball"]["error"]
    assert "crystal-ball: left out" in err
    assert "crystal-ball: left out: forecaster: 'crystal-ball' is unknown" in links(forecast)[1]
    monkeypatch.setattr(forecast, "NAMES", ("crystal-ball",))
    code, text, err = links(forecast, "--json")
    assert (code, text) == (1, "") and "links: none of the models can run" in err


def test_a_named_model_that_cannot_run_is_an_error_but_the_others_figures_are_kept(links):
    code, text, err = links(forecast, "--models", "chronos,persistence", "--json")
    models = json.loads(text)["models"]
    assert code == 1 and "links: chronos: needs its weights" in err
    assert "pinball" in models["persistence"] and models["chronos"].keys() == {"error"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--models", "persistence,sybil"), "'sybil' is unknown; choose from"),
        (("--models", "persistence,persistence"), "names a model twice"),
        (("--models", ","), "is unknown"),
        (("--seeds", "0"), "must be a whole number of 1 or more"),
        (("--stride", "often"), "invalid int value"),
    ],
)
def test_wrong_use(links, arguments, words):
    code, _, err = links(forecast, *arguments)
    assert code == 2 and words in err


@pytest.mark.parametrize(
    ("arguments", "start", "words"),
    [
        (("--stride", "0"), TEST_START, "stride: 0 must be 1 slot or more"),
        ((), "2014-01-01", "must be a slot of"),
        (("--data", "no/such.npz"), TEST_START, "no/such.npz"),
        (("--data", __file__), TEST_START, "not a .npz file"),
    ],
)
def test_input_that_cannot_be_used(links, arguments, start, words):
    code, text, err = links(forecast, "--models", "persistence", *arguments, start=start)
    assert (code, text) == (1, "") and err.startswith("links: ") and words in err


def test_commands_are_told_without_other_peoples_paths():
    told = forecast.command("table3", ["--data", "/home/me/my data.npz", "--adapter=/tmp/a", "--out", "docs/results"])
    assert told == "links eval table3 --data 'my data.npz' --adapter=a --out docs/results"


def test_commit(monkeypatch, tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", "-C", tmp_path, *arguments], check=True)

    (tmp_path / "evaluation").mkdir()
    monkeypatch.setattr(forecast, "__file__", str(tmp_path / "evaluation" / "forecast.py"))
    assert forecast.commit() == "unknown"
    git("init", "-q")
    (tmp_path / "evaluation" / "forecast.py").write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "one")
    clean = forecast.commit()
    assert len(clean) >= 7 and int(clean, 16)
    (tmp_path / "results").write_text("new files are no change of the program\n")
    assert forecast.commit() == clean
    (tmp_path / "evaluation" / "forecast.py").write_text("2\n")
    assert forecast.commit() == f"{clean}-dirty"
    monkeypatch.setattr(forecast, "__file__", str(tmp_path / "evaluation" / "installed" / "evaluation" / "forecast.py"))
    assert forecast.commit() == "unknown"  # in a tree that isn't ours


def test_help_needs_no_model():
    program = "import sys, evaluation.forecast; sys.exit(any(n in sys.modules for n in ('torch', 'statsforecast')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- links eval table3 ------------------------------------------------------------------------------------------------


def test_best_must_exceed_the_spread(figures):
    assert table3.best(figures, 60) is None  # lstm 0.20 ± 0.016 against timesfm 0.18 ± 0.11
    del figures["models"]["timesfm"]
    assert table3.best(figures, 60) == "lstm" == table3.best(figures, 60, "weekend")
    figures["models"]["persistence"]["60"]["per_cell_mean"] = figures["models"]["lstm"]["60"]["per_cell_mean"] + 0.001
    assert table3.best(figures, 60) is None and table3.best(figures, 30) == "lstm"


def test_nobody_is_best_where_a_spread_is_unknown(figures):
    del figures["models"]["timesfm"]
    del figures["models"]["lstm"]["seeds"]
    assert table3.best(figures, 60) is None


def test_nobody_is_best_alone(figures):
    figures["models"] = {name: figures["models"][name] for name in ("persistence", "mlp")}
    assert table3.best(figures, 60) is None


def test_examples_are_the_smallest_median_and_busiest_cell_on_both_kinds_of_day(figures, data):
    drawn = figures["examples"]["forecasts"]
    assert figures["examples"]["model"] == "timesfm"
    assert [one["cell"] for one in drawn[::2]] == [
        "smallest cell, square 4142",
        "median cell, square 4143",
        "busiest cell, square 4144",
    ]
    assert {one["day"]: one["origin"] for one in drawn} == {
        "working day": "2013-11-08T07:00:00Z",
        "weekend": "2013-11-09T07:00:00Z",
    }
    busiest = drawn[4]
    at = 7 * DAY + 48
    np.testing.assert_allclose(busiest["truth"], data.history[2, at : at + 60])
    np.testing.assert_allclose(busiest["before"], data.history[2, at - 60 : at])
    assert np.shape(busiest["quantiles"]) == (9, 60)


def test_the_papers_figures_are_the_papers(real_data):
    """Against the text of the paper, where it is at hand."""
    text = real_data("../paper/links-paper.txt").read_text("utf-8")
    order = ("mlp", "arima", "lstm", "conv3d", "convlstm", "timesfm", "timesfm+lora")
    assert tuple(table3.PAPER) == order
    table = text[text.index("Table III NRMSE") :]
    for name in order:
        for mean, std in table3.PAPER[name]:
            assert f"{mean:.4f}" in table and f"{std:.4f}" in table


def test_table3_writes_what_it_measured_and_draws_it_again(links, tmp_path, capsys):
    code, text, _ = links(table3, "--models", NAIVES, "--out", tmp_path / "a")
    assert code == 0 and "table3.json, table3.md, table3.svg, forecasts.svg" in text
    document = json.loads((tmp_path / "a" / "table3.json").read_text())
    page = (tmp_path / "a" / "table3.md").read_text()
    for words in (
        document["data"]["sha256"],
        f"Commit {document['commit']}",
        document["command"],
        f"{document['models']['persistence']['60']['per_cell_mean']:.4f}",
        "0.3035 ± 0.3290",
        "can't be compared one to one",
        "## Working days and weekend",
        "](table3.svg)",
        "](forecasts.svg)",
    ):
        assert words in page
    for name in ("table3.svg", "forecasts.svg"):
        assert "<svg" in (tmp_path / "a" / name).read_text()
    assert table3.main(["--from", str(tmp_path / "a" / "table3.json"), "--out", str(tmp_path / "b")]) == 0
    for name in ("table3.json", "table3.md", "table3.svg", "forecasts.svg"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_the_page_tells_best_spread_and_who_was_left_out(figures):
    del figures["models"]["timesfm"]
    page = table3.markdown(figures)
    lstm = figures["models"]["lstm"]
    text = f"{lstm['60']['per_cell_mean']:.4f} ± {lstm['60']['per_cell_std']:.4f}"
    assert f"**{text}**" in page
    assert f"{lstm['60']['per_cell_mean']:.4f} ± {lstm['seeds']['std']['60']['per_cell_mean']:.4f}" in page
    assert "| *best* | lstm | lstm | lstm | lstm |" in page
    assert "- mlp: left out: no module named torch" in page
    assert "links eval table3 --data x.npz" in page and "/far/away" not in page


def test_figures_leave_out_models_without_figures(figures, tmp_path):
    names = table3.write(figures, tmp_path)
    assert names == ["table3.json", "table3.md", "table3.svg", "forecasts.svg"]
    figures["examples"] = {}
    assert table3.write(figures, tmp_path / "none") == ["table3.json", "table3.md", "table3.svg"]


@pytest.mark.parametrize("module", [table3, tau])
def test_a_folder_that_cannot_be_written_is_told_before_the_work(links, tmp_path, monkeypatch, module):
    monkeypatch.setattr(module, "measure", None)
    (tmp_path / "file").write_text("")
    code, _, err = links(module, "--out", tmp_path / "file")
    assert code == 1 and "file" in err


@pytest.mark.parametrize(
    ("content", "words"), [("{", "not JSON"), ("[]", "not a table3.json"), ('{"data": 1}', "not a table3.json")]
)
def test_from_something_else_is_an_error(tmp_path, capsys, content, words):
    (tmp_path / "x.json").write_text(content)
    assert table3.main(["--from", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 1
    assert words in capsys.readouterr().err


def test_table3_needs_data_or_a_document(capsys):
    with pytest.raises(SystemExit) as stop:
        table3.main(["--out", "x"])
    assert stop.value.code == 2 and "--from" in capsys.readouterr().err


def test_missing_values_are_drawn_as_gaps(file, tmp_path):
    history = load_history_file(file)
    traffic = history.traffic.copy()
    traffic[7 * DAY + 50 : 7 * DAY + 55] = np.nan
    path = tmp_path / "holes.npz"
    save_history_file(dataclasses.replace(history, traffic=traffic), path)
    data = protocol(path, TEST_START, 24, 60)
    models = {"lstm": measured(data, [0.1])}
    figures = forecast.plain(forecast.document(data, models, forecast.origin("table3", [])))
    figures["examples"] = forecast.plain(table3.examples(data, models))
    table3.write(figures, tmp_path / "out")
    assert None in json.loads(Path(tmp_path / "out" / "table3.json").read_text())["examples"]["forecasts"][0]["truth"]
