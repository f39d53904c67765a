"""`links train` as a user runs it: files, output and exit codes."""

import json

import numpy as np
import pytest
from small_timesfm import DAY, TRAINING, daily, tiny_checkpoint

from controller.cli import main
from predictor import forecaster, pretrain
from predictor.timesfm_model import load_checkpoint
from twin.history_file import History, save_history_file

START_S = 1_383_260_400  # 2013-11-01T00:00+01:00


@pytest.fixture
def links(capsys):
    """Run a command: (exit code, standard output, standard error)."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's way
            code = stop.code
        return code, *capsys.readouterr()

    return run


def write(path, traffic, slot_s=600):
    """A history file of [C, T]."""
    cells, slots = traffic.shape
    save_history_file(History(traffic.T, START_S + slot_s * np.arange(slots), np.arange(cells) + 1), path)
    return path


@pytest.fixture
def data(tmp_path):
    """Seven days of two cells."""
    return write(tmp_path / "history.npz", daily(2, 7 * DAY, 1) * 100)


@pytest.fixture
def base(tmp_path):
    return tiny_checkpoint(tmp_path / "base", seed=2)


# --- links train lora -------------------------------------------------------------------------------------------------


def test_lora_trains_an_adapter_that_forecasts(links, data, base, tmp_path):
    command = (
        "train",
        "lora",
        "--data",
        data,
        "--until",
        "2013-11-07T00:00+01:00",
        "--out",
        tmp_path / "new" / "adapter",
    )
    command = (*command, "--checkpoint", base, "--epochs", "1", "--seed", "3", "--json")
    code, text, _ = links(*command)
    assert code == 0
    document = json.loads(text)
    assert document["adapter"] == str(tmp_path / "new" / "adapter")
    assert (document["cells"], document["slots"], document["seed"]) == (2, 6 * DAY, 3)  # nothing after --until
    assert (document["settings"]["epochs"], document["settings"]["rank"]) == (1, 16)
    assert len(document["validation_errors"]) == 2
    assert document["validation_error"] <= document["validation_errors"][0]
    files = {file.name for file in (tmp_path / "new" / "adapter").iterdir()}
    assert files >= {"adapter_model.safetensors", "adapter_config.json"}
    model = forecaster("timesfm+lora", checkpoint=str(base), adapter=str(tmp_path / "new" / "adapter"))
    result = model.forecast(daily(2, 7 * DAY, 1) * 100, 60)
    assert np.isfinite(result.mean).all()
    # Again: the finished run is found, and says the same.
    assert links(*command)[:2] == (0, text)


def test_lora_says_in_words_what_came_out(links, data, base, tmp_path):
    code, text, _ = links("train", "lora", "--data", data, "--out", tmp_path / "a", "--checkpoint", base, "--epochs", 1)
    assert code == 0
    assert f"{tmp_path / 'a'}: adapter of 4,096 parameters; validation error" in text
    assert "of the base alone" in text
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["links"]["slots"] == 7 * DAY  # without --until: all
    assert ("Nothing learnt here" in text) == (not config["links"]["factor"] or not config["links"]["chosen_epoch"])


def test_times_without_an_offset_are_utc(links, data, base, tmp_path):
    common = ("train", "lora", "--data", data, "--checkpoint", base, "--epochs", 1, "--json")
    _, text, _ = links(*common, "--out", tmp_path / "a", "--until", "2013-11-05T23:00")
    assert json.loads(text)["slots"] == 5 * DAY
    _, text, _ = links(*common, "--out", tmp_path / "b", "--until", "2013-11-06")
    assert json.loads(text)["slots"] == 5 * DAY + 6


def test_the_run_of_other_arguments_is_not_gone_on_with(links, data, base, tmp_path):
    command = ("train", "lora", "--data", data, "--checkpoint", base, "--epochs", 1, "--out", tmp_path / "a")
    assert links(*command)[0] == 0
    code, _, err = links(*command, "--seed", 1)
    assert code == 2
    assert "left by a run on other data, settings, seed or base; delete it or name another directory" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until", "soon"), "'soon' is no ISO 8601 time, such as 2013-11-18"),
        (("--until", "2013-13-40"), "no ISO 8601 time"),
        (("--until", "2013-11-01T00:00+01:00"), "nothing precedes it; the history begins at 2013-10-31T23:00:00+00:00"),
        (("--until", "1999-01-01"), "nothing precedes it"),
        (("--until", "2013-11-04"), "are too few to fine-tune on; at least four days (576 slots)"),
        (("--epochs", "0"), "'0' must be a whole number, 1 or more"),
        (("--epochs", "ten"), "'ten' must be a whole number"),
        (("--seed", "-1"), "'-1' must be a whole number, 0 or more"),
        (("--seed", str(2**63)), "must be a whole number"),
        (("--checkpoint", "nowhere"), "nowhere: no such folder; name a folder with model.safetensors"),
    ],
)
def test_wrong_arguments_are_named(links, data, base, tmp_path, arguments, message):
    command = ("train", "lora", "--data", data, "--out", tmp_path / "a", "--checkpoint", base)
    code, text, err = links(*command, *arguments)
    assert (code, text) == (2, "")
    assert message in " ".join(err.split())
    assert not (tmp_path / "a" / "adapter_model.safetensors").exists()


def test_files_that_are_no_history_are_named(links, base, tmp_path):
    def error(path) -> str:
        code, text, err = links("train", "lora", "--data", path, "--out", tmp_path / "a", "--checkpoint", base)
        assert (code, text) == (2, "")
        return err

    assert "missing.npz" in error(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    assert "text.npz: not a .npz file" in error(tmp_path / "text.npz")
    history = {"traffic": np.ones((9, 1)), "epoch_s": np.arange(9) ** 2 * 600, "square_id": np.array([1])}
    np.savez(tmp_path / "uneven.npz", **history)
    assert "uneven.npz: epoch_s" in error(tmp_path / "uneven.npz")
    odd = write(tmp_path / "odd.npz", daily(1, 900, 1), slot_s=700)
    assert "odd.npz: slots of 700 s don't divide a day" in error(odd)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(links, data, base, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = links("train", "lora", "--data", data, "--out", out, "--checkpoint", base, "--epochs", 1)
        assert code == 2
        assert f"{out}: can't be written" in err
        assert "epoch 1" not in err


def test_hourly_data(links, base, tmp_path):
    hourly = write(tmp_path / "hourly.npz", daily(3, 14 * DAY, 1)[:, ::6], slot_s=3600)
    code, text, _ = links(
        "train", "lora", "--data", hourly, "--out", tmp_path / "a", "--checkpoint", base, "--epochs", 1, "--json"
    )
    assert code == 0
    assert json.loads(text)["slots"] == 14 * 24


# --- links train timesfm ----------------------------------------------------------------------------------------------


def test_timesfm_trains_a_checkpoint(links, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "Pretraining", lambda: TRAINING)
    code, text, _ = links("train", "timesfm", "--out", tmp_path / "c", "--steps", 2, "--seed", 5, "--no-compile")
    assert code == 0
    assert f"{tmp_path / 'c'}: checkpoint written" in text
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    assert (config["training"]["steps"], config["training"]["seed"]) == (2, 5)
    assert config["training"]["series"] == TRAINING.series
    assert load_checkpoint(tmp_path / "c").architecture == TRAINING.architecture
    assert len((tmp_path / "c" / "log.jsonl").read_text().splitlines()) == 1


def test_timesfm_names_wrong_arguments(links, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = links("train", "timesfm", "--out", tmp_path / "file", "--steps", 2, "--no-compile")
    assert code == 2 and f"{tmp_path / 'file'}: can't be written" in err
    assert links("train", "timesfm", "--out", tmp_path, "--steps", "0")[0] == 2
    assert links("train", "timesfm")[0] == 2


# --- Help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("train",), ("lora", "timesfm")),
        (("train", "lora"), ("--data", "--until", "--out", "--checkpoint", "--epochs", "--seed", "--json")),
        (("train", "timesfm"), ("--out", "--steps", "--seed", "--no-compile")),
    ],
)
def test_help(links, command, words):
    code, text, err = links(*command, "--help")
    assert (code, err) == (0, "")
    assert all(word in text for word in words)


@pytest.mark.parametrize(
    "command", [("train",), ("train", "everything"), ("train", "lora"), ("train", "lora", "--out", "x")]
)
def test_an_incomplete_command_shows_its_use(links, command):
    code, text, err = links(*command)
    assert (code, text) == (2, "")
    assert "usage: links train" in err
