"""The optimiser's commands as a user runs them: files, output and exit codes."""

import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import small_rrm as rrm

from agents import plan_offline
from controller import messages
from controller.cli import _as_dict, main
from optimizer.check import check
from optimizer.instance import load_instance, load_solution, save_instance
from twin.scenario import load_scenario

HUMIDITY = "How does the humidity level vary across different districts of the city today?"


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


@pytest.fixture
def instance_file(tmp_path):
    """Three devices that can be served and one (3) without gain."""
    rng = np.random.default_rng(7)
    gain = np.array([[50.0], [80.0], [200.0], [0.0]]) * rng.uniform(0.5, 2, (4, 6))
    save_instance(rrm.make_instance(gain, [2e5, 3e5, 4e5, 1e5]), tmp_path / "i.npz")
    return tmp_path / "i.npz"


@pytest.fixture
def solved(links, instance_file, tmp_path):
    assert links("solve", instance_file, "--mode", "literal", "--out", tmp_path / "solved")[0] == 0
    return instance_file, tmp_path / "solved"


# --- solve ------------------------------------------------------------------------------------------------------------


def test_solve_writes_both_files_and_prints_the_summary(links, instance_file, tmp_path):
    out = tmp_path / "new" / "directory"
    code, text, err = links("solve", instance_file, "--mode", "literal", "--out", out, "--json")
    assert (code, err) == (0, "")
    summary = json.loads(text)
    assert summary.keys() == {
        *("status", "objective_s", "lower_bound_s", "gap", "bound", "certificate", "solver", "seconds", "iterations"),
        *("reflexion", "infeasible_because"),
    }
    assert summary == json.loads((out / "solution.json").read_text())
    solution = load_solution(out)
    assert solution.objective_s == summary["objective_s"] > 0
    assert solution.to_zigbee.tolist() == [False, False, False, True]
    assert all(finding.holds for finding in check(load_instance(instance_file), solution))


def test_solve_shows_a_table(links, instance_file, tmp_path):
    code, text, _ = links("solve", instance_file, "--mode", "literal", "--out", tmp_path)
    assert code == 0
    for words in ("status", "largest delay", "lower bound", "gap", "solver", "1 devices: 3", "slack", "step 1"):
        assert words in text, text
    for constraint in ("exclusive", "free_rbs", "power", "sinr", "served", "delay", "objective"):
        assert constraint in text, text


def test_frames_are_the_default(links, instance_file, tmp_path):
    code, text, err = links("solve", instance_file, "--out", tmp_path, "--json")
    assert code == 0, err
    assert load_solution(tmp_path).schedule.shape[1] > 1
    code, text, err = links("solve", instance_file, "--frame", 20, "--out", tmp_path, "--json")
    assert code == 0, err
    assert load_solution(tmp_path).schedule.shape[1] == 20


def test_infeasible_is_1_with_reasons_and_files(links, instance_file, tmp_path):
    command = ("solve", instance_file, "--mode", "literal", "--no-admission", "--out", tmp_path / "out")
    code, text, _ = links(*command, "--json")
    assert code == 1
    assert json.loads(text)["status"] == "infeasible"
    assert "device 3" in json.loads(text)["infeasible_because"][0]
    assert load_solution(tmp_path / "out").status == "infeasible"
    code, text, _ = links(*command)
    assert code == 1 and "infeasible: " in text


def test_options_reach_the_solver(links, instance_file, tmp_path, monkeypatch):
    import optimizer.solve

    told = []
    honest = optimizer.solve.solve
    monkeypatch.setattr(optimizer.solve, "solve", lambda i, options: told.append(options) or honest(i, options))
    flags = ("--mode", "literal", "--solver", "highs", "--time-limit", "3", "--gap", "0.05", "--no-admission")
    links("solve", instance_file, *flags, "--out", tmp_path)
    links("solve", instance_file, "--mode", "literal", "--out", tmp_path)
    default = optimizer.solve.Options(mode="literal")
    assert told == [
        dataclasses.replace(default, solver="highs", time_limit_s=3.0, gap=0.05, admission=False),
        default,
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("{i}",),  # nowhere to write
        ("{i}", "{d}"),  # neither --check nor --out
        ("{i}", "--out", "{d}", "--mode", "magic"),
        ("{i}", "--out", "{d}", "--solver", "guess"),
        ("{i}", "--out", "{d}", "--time-limit", "soon"),
        ("{i}", "--out", "{d}", "--mode", "literal", "--gap", "-1"),
        ("{i}", "--out", "{d}", "--mode", "literal", "--time-limit", "nan"),
        ("--check", "{i}"),
        ("--check", "{i}", "{d}", "--out", "{d}"),
        ("--check", "{i}", "{d}", "--mode", "literal"),
        ("{i}/no.npz", "--out", "{d}"),
        ("{i}", "--out", "{i}"),  # a file
    ],
)
def test_wrong_use_is_2(links, instance_file, tmp_path, arguments):
    places = {"i": instance_file, "d": tmp_path}
    code, text, err = links("solve", *(argument.format(**places) for argument in arguments))
    assert (code, text) == (2, "")
    assert err.startswith(("usage: links solve", "links: "))


# --- solve --check ----------------------------------------------------------------------------------------------------


def test_check_has_a_line_for_every_constraint(links, solved):
    instance_file, directory = solved
    code, text, err = links("solve", "--check", instance_file, directory)
    assert (code, err) == (0, "")
    findings = check(load_instance(instance_file), load_solution(directory))
    assert [line.split()[:2] for line in text.splitlines()] == [[f.constraint, "holds"] for f in findings]
    code, text, err = links("solve", "--check", instance_file, directory, "--json")
    assert (code, err) == (0, "")
    assert json.loads(text) == {"holds": True, "constraints": [vars(finding) for finding in findings]}


def test_a_broken_constraint_is_1(links, solved):
    instance_file, directory = solved
    with np.load(directory / "solution.npz") as file:
        arrays = dict(file)
    np.savez(directory / "solution.npz", **(arrays | {"power_w": arrays["power_w"] * 1.5}))
    code, text, _ = links("solve", "--check", instance_file, directory)
    assert code == 1
    verdict = {line.split()[0]: line.split()[1] for line in text.splitlines()}
    assert verdict["power"] == verdict["delay"] == "BROKEN" and verdict["exclusive"] == "holds"
    code, text, _ = links("solve", "--check", instance_file, directory, "--json")
    assert code == 1 and json.loads(text)["holds"] is False


def test_a_lie_in_the_summary_is_1(links, solved):
    instance_file, directory = solved
    path = directory / "solution.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"objective_s": told["objective_s"] / 2}))
    assert links("solve", "--check", instance_file, directory)[0] == 1
    path.write_text(json.dumps(told | {"objective_s": float("nan")}))
    code, text, _ = links("solve", "--check", instance_file, directory, "--json")
    assert code == 1 and not json.loads(text, parse_constant=pytest.fail)["holds"]


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def pickled(path):
    path.write_bytes(pickle.dumps({"gain": 1}))


def object_array(path):
    np.savez(path, gain=np.array([{}], object))


def other_arrays(path):
    np.savez(path, gain=np.ones((1, 1, 1)))


def not_a_number(path):
    with np.load(path) as file:
        arrays = dict(file)
    name = "gain" if "gain" in arrays else "to_zigbee"
    arrays[name] = np.full(arrays[name].shape, np.nan)
    np.savez(path, **arrays)


@pytest.mark.parametrize("damage", [empty, cut, pickled, object_array, other_arrays, not_a_number])
def test_bad_files_are_named(links, solved, tmp_path, damage):
    instance_file, directory = solved
    damage(directory / "solution.npz")
    code, text, err = links("solve", "--check", instance_file, directory)
    assert (code, text) == (2, "")
    assert err.startswith("links: ") and ("solution.npz" in err or "to_zigbee" in err)
    damage(instance_file)
    code, text, err = links("solve", instance_file, "--mode", "literal", "--out", tmp_path)
    assert (code, text) == (2, "")
    assert err.startswith("links: ") and ("i.npz" in err or "gain" in err)


def test_missing_files_are_named(links, instance_file, tmp_path):
    code, _, err = links("solve", tmp_path / "no.npz", "--mode", "literal", "--out", tmp_path)
    assert code == 2 and "no.npz: No such file" in err
    code, _, err = links("solve", "--check", instance_file, tmp_path / "nowhere")
    assert code == 2 and "solution.json: No such file" in err


# --- make-instance ----------------------------------------------------------------------------------------------------

SIZE = ("--devices", 5, "--cells", 2, "--rbs", 8, "--load", 0.25)


def test_make_instance_writes_what_solve_takes(links, tmp_path):
    path = tmp_path / "made"  # the file's name is the user's
    code, text, _ = links("make-instance", *SIZE, "--seed", 3, "--out", path)
    assert code == 0 and "5 devices, 2 cells, 8 RBs" in text
    instance = load_instance(path)
    assert instance.shape == (5, 2, 8) and instance.coupled is False
    assert instance.free.sum(axis=1).tolist() == [6, 6]
    assert links("solve", path, "--mode", "literal", "--out", tmp_path / "s")[0] in (0, 1)
    assert links("solve", "--check", path, tmp_path / "s")[0] == 0


def test_the_seed_decides_and_coupling_is_asked_for(links, tmp_path):
    for name, *arguments in (("a", 3), ("b", 3), ("c", 4), ("d", 3, "--coupled")):
        assert links("make-instance", *SIZE, "--seed", *arguments, "--out", tmp_path / name)[0] == 0
    a, b, c, d = (load_instance(tmp_path / name) for name in "abcd")
    np.testing.assert_array_equal(a.gain, b.gain)
    assert (a.gain != c.gain).any()
    assert d.coupled is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("--devices", -1, *SIZE[2:], "--seed", 1, "--out", "{d}/i.npz"),
        (*SIZE[:2], "--cells", 0, *SIZE[4:], "--seed", 1, "--out", "{d}/i.npz"),
        (*SIZE[:6], "--load", "nan", "--seed", 1, "--out", "{d}/i.npz"),
        (*SIZE, "--seed", 1, "--out", "{d}/no/such/directory/i.npz"),
        (*SIZE, "--seed", 1),
        (*SIZE, "--seed", "x", "--out", "{d}/i.npz"),
    ],
)
def test_make_instance_refuses_what_makes_no_sense(links, tmp_path, arguments):
    code, text, err = links("make-instance", *(str(argument).format(d=tmp_path) for argument in arguments))
    assert (code, text) == (2, "")
    assert err.startswith(("links: ", "usage: links make-instance"))
    assert not (tmp_path / "i.npz").exists()


# --- convert ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def milan():
    return load_scenario("milan")


def test_convert_shows_the_numbers_of_demands(links, milan, tmp_path):
    first, second = milan.sensors[0], milan.sensors[1]
    demands = ("--demand", f"{first.id}=5000", f"{second.id}=2500")
    code, text, err = links("convert", *demands, "--load", 0.5, "--out", tmp_path / "i.npz", "--json")
    assert (code, err) == (0, "")
    document = json.loads(text)
    assert {(d["sensor"], d["cell"], d["data_bits"]) for d in document["devices"]} == {
        (first.id, first.cell, 40_000),
        (second.id, second.cell, 20_000),
    }
    assert "solution" not in document
    instance = load_instance(tmp_path / "i.npz")
    assert sorted(instance.data_bits) == [20_000, 40_000]
    for c, cell in enumerate(document["cells"]):
        assert cell["load"] == 0.5
        assert cell["free_rbs"] == np.flatnonzero(instance.free[c]).tolist()


def test_convert_and_back(links, milan):
    """What is granted fits what was asked: rate x delay is the data."""
    sensors = milan.sensors_of[milan.cells[0].id][:3]
    demands = [f"{sensor.id}=20000" for sensor in sensors]
    command = ("convert", "--demand", *demands, "--load", 0.2, "--seed", 5, "--mode", "literal", "--solve")
    code, text, _ = links(*command, "--json")
    assert code == 0
    document = json.loads(text)
    granted = document["solution"]["grants"]
    assert granted.keys() | set(document["solution"]["refused"]) == {sensor.id for sensor in sensors}
    for grant in granted.values():
        assert grant["rate_bps"] * grant["delay_s"] == pytest.approx(160_000)
        assert set(grant["resource_blocks"]) <= set(document["cells"][0]["free_rbs"])
    assert json.loads(links(*command, "--json")[1])["solution"]["grants"] == granted
    code, text, _ = links(*command)
    assert code == 0 and "kbit/s" in text and "largest delay" in text


def test_convert_of_a_question_and_of_its_plan_are_the_same(links, milan, tmp_path):
    plan = plan_offline(HUMIDITY, milan.start, milan)
    (tmp_path / "plan.json").write_text(json.dumps(_as_dict(messages.plan(plan, milan.start))))
    code, asked, _ = links("convert", "--scenario", "milan", "--question", HUMIDITY, "--json")
    assert code == 0
    code, planned, err = links("convert", "--plan", tmp_path / "plan.json", "--json")
    assert code == 0, err
    assert json.loads(asked) == json.loads(planned)
    assert {device["sensor"] for device in json.loads(asked)["devices"]} == set(plan.sensors)


def test_loads_of_single_cells(links, milan):
    one, other = milan.cells[0], milan.cells[1]
    demands = [f"{milan.sensors_of[cell.id][0].id}=100" for cell in (one, other)]
    code, text, _ = links("convert", "--demand", *demands, "--load", f"{one.id}=0.9", "0.1", "--json")
    assert code == 0
    loads = {cell["cell"]: cell["load"] for cell in json.loads(text)["cells"]}
    assert loads == {one.id: 0.9, other.id: 0.1}
    code, _, err = links("convert", "--demand", *demands, "--load", f"{one.id}=0.9")
    assert code == 2 and f"load of cell {other.id}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: links convert"),
        (("--question", HUMIDITY, "--demand", "a=1"), "usage: links convert"),
        (("--question", "What is love?"), "there are no data to plan for"),
        (("--demand", "nobody=5"), "nobody"),
        (("--demand", "nobody"), "'nobody' must be SENSOR=BYTES"),
        (("--demand", "a=1", "a=2"), "a is given twice"),
        (("--demand", "a=much"), "'a=much'"),
        (("--demand", "a=-1"), "'a=-1'"),
        (("--question", HUMIDITY, "--load", "0.1", "0.2"), "2 shares without a cell"),
        (("--question", HUMIDITY, "--load", "nan"), "'nan'"),
        (("--question", HUMIDITY, "--load", "0.5", "nowhere=0.3"), "nowhere"),
        (("--question", HUMIDITY, "--scenario", "atlantis"), "atlantis"),
        (("--question", HUMIDITY, "--out", "/no/such/directory/i.npz"), "/no/such/directory/i.npz"),
        (("--question", HUMIDITY, "--gap", "-1"), "gap"),
        (("--plan", "/no/such/plan.json"), "/no/such/plan.json: No such file"),
        (("--plan", __file__), "no plan as `links plan --json` prints it"),
    ],
)
def test_convert_names_what_is_wrong(links, arguments, message):
    code, text, err = links("convert", *arguments)
    assert (code, text) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p | {"colour": "red"}, "colour"),
        (lambda p: p | {"items": [p["items"][0] | {"type": "dragons"}]}, "dragons"),
        (lambda p: p | {"items": [p["items"][0] | {"window": {}}]}, "window"),
        (lambda p: p | {"items": [], "sensors": [], "answerable": False, "reason": "Nobody knows."}, "Nobody knows."),
        (lambda p: [p], "plan.json"),
    ],
)
def test_plans_are_checked(links, milan, tmp_path, change, message):
    plan = _as_dict(messages.plan(plan_offline(HUMIDITY, milan.start, milan), milan.start))
    (tmp_path / "plan.json").write_text(json.dumps(change(plan)))
    code, text, err = links("convert", "--plan", tmp_path / "plan.json")
    assert (code, text) == (2, "")
    assert message in err


def test_help_needs_no_solver():
    program = "import sys, controller.cli; sys.exit(any(name in sys.modules for name in ('numpy', 'scipy', 'highspy')))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
