"""The data plan as JSON: the published schema, and nothing that does not fit it."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from agents import Area, DataPlan, PlanError, PlanItem, from_json, plan_offline, to_json
from agents.schema import schema, schema_text


@pytest.fixture
def document(milan, now) -> dict:
    return to_json(plan_offline("How hot and humid was it near the Castello yesterday?", now, milan))


def test_the_published_file_is_the_schema():
    text = files("agents").joinpath("data_plan.schema.json").read_text("utf-8")
    assert text == schema_text(), 'write it anew: python -c "from agents.schema import write_schema; write_schema()"'
    Draft202012Validator.check_schema(schema())


def test_there_and_back(milan, now):
    for question in ("How hot is it?", "rain in Brera and along Via Padova last week", "Who won?", ""):
        plan = plan_offline(question, now, milan)
        assert from_json(to_json(plan)) == plan
        assert from_json(json.dumps(to_json(plan))) == plan


def test_every_kind_of_area_there_and_back(now):
    ring = ((9.1, 45.4), (9.2, 45.4), (9.2, 45.5))
    areas = (
        Area("city", "Milan"),
        Area("district", "Brera"),
        Area("circle", "here", 9.19, 45.46, 250.0),
        Area("polygon", "triangle", ring=ring),
    )
    items = tuple(PlanItem("humidity", area, now.replace(hour=1), now, "why") for area in areas)
    plan = DataPlan("q", True, "reason", items, ("s001",), "llm", "model", 3, 99, 1.5)
    back = from_json(json.dumps(to_json(plan)))
    assert back == plan and back.seconds == 1.5 and back.items[0].start.isoformat() == "2013-11-18T01:00:00+01:00"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("reason"), "'reason' is a required property"),
        (lambda d: d.update(extra=1), "'extra' was unexpected"),
        (lambda d: d["items"][0].update(type="gravity"), r"items\[0\].type: 'gravity' is not one of"),
        (lambda d: d["items"][0].update(area={"kind": "circle", "name": "x"}), r"items\[0\].area"),
        (lambda d: d["items"][0].update(area={"kind": "moon", "name": "x"}), r"items\[0\].area"),
        (lambda d: d["items"][0].update(start="yesterday"), r"items\[0\].start"),
        (lambda d: d["items"][0].update(start="2013-11-11T00:00:00"), r"items\[0\].start"),
        (lambda d: d["items"][0].update(start="2013-13-41T00:00:00+01:00"), "is no time"),
        (lambda d: d["items"][0].update(start=d["items"][0]["end"]), "not after its start"),
        (lambda d: d.update(answerable=False), "items"),
        (lambda d: d.update(items=[]), "items"),
        (lambda d: d.update(planner="oracle"), "planner"),
        (lambda d: d.update(steps=-1), "steps"),
        (lambda d: d.update(sensors=["s001", "s001"]), "sensors"),
        (lambda d: d.update(query="x" * 2001), "query"),
    ],
)
def test_what_does_not_fit_is_named(document, change, message):
    change(document)
    with pytest.raises(PlanError, match=message):
        from_json(document)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"plan"', "[" * 100_000])
def test_what_is_no_document_is_refused(text):
    with pytest.raises(PlanError):
        from_json(text)
