"""The scores of planning against known answers, and query files that cannot be used."""

import json
from datetime import datetime, timedelta

import pytest

from agents import Area, DataPlan, PlanItem
from agents.assemble import planned_bytes
from evaluation.planning import (
    QueryFileError,
    abstention_score,
    evaluate,
    f1_score,
    hull,
    main,
    over_selected_bytes,
    read_queries,
    window_iou,
)
from twin.scenario import load_scenario

NOW = datetime.fromisoformat("2013-11-18T12:00:00+01:00")
CITY = Area("city", "Milan")


@pytest.mark.parametrize(
    ("chosen", "required", "optional", "f1"),
    [
        (["a"], ["a"], [], 1.0),
        (["a", "b"], ["a"], [], 2 / 3),
        (["a"], ["a", "b"], [], 2 / 3),
        (["a", "b", "c"], ["a", "d"], [], 2 * 1 / 5),
        (["a", "o"], ["a"], ["o", "p"], 1.0),
        (["o"], ["a"], ["o"], 0.0),
        ([], ["a"], [], 0.0),
        (["a", "a"], ["a"], [], 1.0),
        (["a"], ["a"], ["a"], 1.0),
    ],
)
def test_f1(chosen, required, optional, f1):
    assert f1_score(chosen, required, optional) == pytest.approx(f1)


def hours(start: float, end: float) -> tuple[datetime, datetime]:
    return NOW + timedelta(hours=start), NOW + timedelta(hours=end)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [((0, 4), (0, 4), 1.0), ((0, 4), (2, 6), 1 / 3), ((0, 4), (0, 1), 1 / 4), ((0, 1), (1, 2), 0), ((0, 0), (0, 0), 0)],
)
def test_window_iou(a, b, iou):
    assert window_iou(hours(*a), hours(*b)) == pytest.approx(iou)


def test_window_iou_counts_hours_and_not_wall_clocks():
    """The day on which summer time ended has 25 hours."""
    day = (datetime.fromisoformat("2013-10-27T00:00:00+02:00"), datetime.fromisoformat("2013-10-28T00:00:00+01:00"))
    assert window_iou(day, (day[0], day[0] + timedelta(hours=5))) == pytest.approx(1 / 5)


def item(type_id: str, start: float, end: float) -> PlanItem:
    return PlanItem(type_id, CITY, *hours(start, end), "why")


def test_hull():
    assert hull([]) is None
    assert hull([item("humidity", -9, -5), item("humidity", -3, 0)]) == hours(-9, 0)


def test_abstention():
    assert (abstention_score([]), abstention_score(["humidity"])) == (1.0, 0.0)


def test_bytes_by_hand():
    """10 hours of a reading of 32 bytes each 600 s is 1,920 bytes a sensor; of 24 bytes each 10 s, 86,400."""
    scenario = load_scenario("milan")
    temperature = [sensor.id for sensor in scenario.sensors if sensor.type == "temperature"][:2]
    frequency = [sensor.id for sensor in scenario.sensors if sensor.type == "grid_frequency"][:1]
    items = (item("temperature", -10, 0), item("grid_frequency", -10, 0))
    plan = DataPlan("q", True, "r", items, (*temperature, *frequency), "offline")
    sizes = planned_bytes(plan.items, plan.sensors, scenario)
    assert sizes == pytest.approx({"temperature": 3840, "grid_frequency": 86_400})
    assert over_selected_bytes(sizes, ["temperature"], []) == pytest.approx(86_400 / 3840)
    assert over_selected_bytes(sizes, ["temperature"], ["grid_frequency"]) == 0
    assert over_selected_bytes(sizes, ["humidity"], []) is None


FILE = """
now: "2013-11-18T12:00:00+01:00"
queries:
  - id: right
    q: "humidity"
    required: [humidity]
    fields: 1
    window: ["2013-11-18T02:00:00+01:00", "2013-11-18T12:00:00+01:00"]
  - id: half
    q: "humidity and more"
    required: [humidity, outage]
    optional: [precipitation]
    fields: 2
    window: ["2013-11-17T16:00:00+01:00", "2013-11-18T12:00:00+01:00"]
  - id: none
    q: "nothing"
    required: [outage]
    fields: 2
    window: ["2013-11-18T02:00:00+01:00", "2013-11-18T12:00:00+01:00"]
  - {id: abstain, q: "nothing", answerable: false}
  - {id: should-abstain, q: "humidity", answerable: false}
"""


def scripted(question, now, scenario) -> DataPlan:
    """Chooses humidity, and rain where "more" is asked, over the past ten hours; nothing for "nothing"."""
    if question == "nothing":
        return DataPlan(question, False, "r", (), (), "offline")
    types = ["humidity"] + (["precipitation", "wind_speed"] if "more" in question else [])
    sensors = tuple(sensor.id for sensor in scenario.sensors if sensor.type in types)
    return DataPlan(question, True, "r", tuple(item(t, -10, 0) for t in types), sensors, "offline", steps=2)


def test_evaluation_by_hand(tmp_path):
    path = tmp_path / "queries.yaml"
    path.write_text(FILE)
    scores = evaluate(path, scripted)
    rows = {row["id"]: row for row in scores["queries"]}
    assert [row["f1"] for row in rows.values()] == pytest.approx([1, 0.5, 0, 1, 0])
    assert [row["window_iou"] for row in rows.values()] == [1, 0.5, 0, None, None]
    assert rows["half"]["types"] == ["humidity", "precipitation", "wind_speed"]
    assert rows["half"]["start"] == "2013-11-18T02:00:00+01:00" and rows["half"]["steps"] == 2
    assert rows["half"]["over_selected_bytes"] == pytest.approx(0.5)  # 4 of wind against 8 of humidity, same size
    assert rows["none"]["start"] is None
    assert scores["f1"] == pytest.approx(0.5)
    assert scores["f1_by_fields"] == pytest.approx({"1": 1.0, "2": 0.25, "3": None})
    assert scores["abstention"] == 0.5
    assert scores["window_iou"] == pytest.approx(0.5)
    assert scores["exact"] == pytest.approx(1 / 3)


def test_command_line(tmp_path, capsys):
    path = tmp_path / "queries.yaml"
    path.write_text(FILE)
    assert main(["--queries", str(path), "--planner", "offline", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["planner"] == "offline" and len(document["queries"]) == 5
    expected = {"id", "types", "start", "end", "answerable", "f1", "window_iou", "steps", "tokens", "seconds"}
    assert expected <= document["queries"][0].keys()
    assert main(["--queries", str(tmp_path / "absent.yaml")]) == 1
    with pytest.raises(SystemExit) as exit_:
        main(["--queries", str(path), "--planner", "oracle"])
    assert exit_.value.code == 2


def test_unknown_planners_are_named(tmp_path):
    path = tmp_path / "queries.yaml"
    path.write_text(FILE)
    with pytest.raises(ValueError, match="'llm' is not available by name"):
        evaluate(path, "llm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "two keys"),
        ("now: [", "not YAML"),
        ("now: soon\nqueries: []", "no ISO 8601 time"),
        ("now: '2013-11-18T12:00:00'\nqueries: []", "no offset"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a}]", "at least id and q"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, requires: []}]", "unknown key 'requires'"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, required: [gravity]}]", "'gravity' is no sensor"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b}]", "needs required types"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, answerable: false, required: [outage]}]", "needs"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, required: [outage], fields: 4}]", "1, 2 or 3"),
        ("now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, required: [outage], window: [x]}]", "start, end"),
        (
            "now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, required: [outage], window: "
            "['2013-11-18T12:00:00+01:00', '2013-11-18T12:00:00+01:00']}]",
            "must end after",
        ),
        (
            "now: '2013-11-18T12:00:00+01:00'\nqueries: [{id: a, q: b, required: [outage]}, "
            "{id: a, q: c, required: [outage]}]",
            "used twice",
        ),
    ],
)
def test_query_files_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "queries.yaml"
    path.write_text(text)
    with pytest.raises(QueryFileError, match=message):
        read_queries(path)
