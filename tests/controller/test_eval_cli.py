import sys
import types

import pytest

from controller import cli

EVALUATIONS = ("fig6", "forecast", "forecast-speed", "rrm", "table3", "tau", "tuning", "zigbee")


def test_all_arguments_are_passed_on_and_the_exit_code_comes_back(monkeypatch):
    told = []
    stand_in = types.SimpleNamespace(main=lambda argv: told.append(argv) or len(told) - 1)
    monkeypatch.setitem(sys.modules, "evaluation.fig6", stand_in)
    assert cli.main(["eval", "fig6", "--seeds", "3", "--out", "here", "--help"]) == 0
    assert cli.main(["eval", "fig6"]) == 1
    assert told == [["--seeds", "3", "--out", "here", "--help"], []]


def test_help_lists_what_there_is_and_other_names_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"{name}:" in " ".join(text.split()) for name in EVALUATIONS)
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "dreams"])
    assert stop.value.code == 2
    assert "invalid choice: 'dreams'" in capsys.readouterr().err


@pytest.mark.parametrize("name", EVALUATIONS)
def test_each_explains_its_own_arguments(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", name, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: links eval {name} ")
