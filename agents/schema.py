"""The data plan as JSON, with its published JSON Schema ``data_plan.schema.json`` (draft 2020-12).

``write_schema()`` writes the file anew from this module and the sensor types.
"""

import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from jsonschema import Draft202012Validator

from agents.plan import MAX_QUESTION_CHARS, Area, DataPlan, PlanItem
from twin.sensor_types import sensor_types

# ISO 8601 with an offset, as Python's isoformat writes it.
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2}(:\d{2})?)$",
    "description": "ISO 8601 with offset",
}
_LON = {"type": "number", "minimum": -180, "maximum": 180, "description": "degrees, WGS84"}
_LAT = {"type": "number", "minimum": -90, "maximum": 90, "description": "degrees, WGS84"}


class PlanError(ValueError):
    """A document that is no data plan; the message names the place, what is wrong and what is expected."""


def schema() -> dict:
    """The JSON Schema of a data plan."""
    name = {"type": "string", "maxLength": 200}
    point = {"type": "array", "prefixItems": [_LON, _LAT], "minItems": 2, "maxItems": 2}
    area = {
        "oneOf": [
            _object(kind={"const": "city"}, name=name),
            _object(kind={"const": "district"}, name=name),
            _object(
                kind={"const": "circle"},
                name=name,
                lon=_LON,
                lat=_LAT,
                radius_m={"type": "number", "exclusiveMinimum": 0, "description": "metres"},
            ),
            _object(
                kind={"const": "polygon"},
                name=name,
                ring={"type": "array", "items": point, "minItems": 3, "description": "outer ring of [lon, lat]"},
            ),
        ]
    }
    sentence = {"type": "string", "minLength": 1, "description": "one sentence"}
    item = _object(
        type={"enum": list(sensor_types()), "description": "sensor type id"},
        area=area,
        start={**_TIME, "description": "begin of the half-open window, ISO 8601 with offset"},
        end={**_TIME, "description": "end of the window, not part of it, ISO 8601 with offset"},
        why=sentence,
    )
    whole = {"type": "integer", "minimum": 0}
    document = _object(
        query={"type": "string", "maxLength": MAX_QUESTION_CHARS},
        answerable={"type": "boolean"},
        reason=sentence,
        items={"type": "array", "items": item},
        sensors={"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
        planner={"enum": ["offline", "llm"]},
        model={"type": "string", "description": "language model, empty for the offline planner"},
        steps={**whole, "description": "agent steps taken"},
        tokens={**whole, "description": "language-model tokens used"},
        seconds={"type": "number", "minimum": 0, "description": "time that planning took"},
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Data plan",
        "description": "Which sensor types a question needs, where and in which time window.",
        **document,
        "if": {"properties": {"answerable": {"const": True}}},
        "then": {"properties": {"items": {"minItems": 1}}},
        "else": {"properties": {"items": {"maxItems": 0}, "sensors": {"maxItems": 0}}},
    }


def schema_text() -> str:
    """The text of ``data_plan.schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def to_json(plan: DataPlan) -> dict:
    """The plan as a JSON document (for ``json.dumps``) that fits the schema. Raises PlanError."""
    document = {
        "query": plan.query,
        "answerable": plan.answerable,
        "reason": plan.reason,
        "items": [
            {
                "type": item.type,
                "area": area_to_json(item.area),
                "start": item.start.isoformat(),
                "end": item.end.isoformat(),
                "why": item.why,
            }
            for item in plan.items
        ],
        "sensors": list(plan.sensors),
        "planner": plan.planner,
        "model": plan.model,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "seconds": plan.seconds,
    }
    _check(document)
    return document


def from_json(document: dict | str) -> DataPlan:
    """The plan of a JSON document or text. Raises PlanError for anything that does not fit the schema, and for windows
    that are empty or reversed."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PlanError(f"the data plan is not JSON: {error}") from None
    _check(document)
    items = tuple(
        PlanItem(row["type"], area_from_json(row["area"]), _time(row["start"]), _time(row["end"]), row["why"])
        for row in document["items"]
    )
    for i, item in enumerate(items):
        if item.start.timestamp() >= item.end.timestamp():
            raise PlanError(f"items[{i}]: the window ends at {item.end.isoformat()}, not after its start")
    return DataPlan(
        items=items,
        sensors=tuple(document["sensors"]),
        **{key: document[key] for key in document if key not in ("items", "sensors")},
    )


def _object(**properties: dict) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def _check(document: object) -> None:
    errors = sorted(_validator().iter_errors(document), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        error = errors[0]
        place = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path).lstrip(".")
        raise PlanError(f"data plan: {place or 'document'}: {error.message[:500]}")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise PlanError(f"data plan: {text!r} is no time: {error}") from None


def area_from_json(row: dict) -> Area:
    ring = tuple((float(lon), float(lat)) for lon, lat in row.get("ring", ()))
    return Area(row["kind"], row["name"], row.get("lon"), row.get("lat"), row.get("radius_m"), ring)


def area_to_json(area: Area) -> dict:
    document: dict = {"kind": area.kind, "name": area.name}
    if area.kind == "circle":
        document |= {"lon": area.lon, "lat": area.lat, "radius_m": area.radius_m}
    elif area.kind == "polygon":
        document["ring"] = [list(point) for point in area.ring]
    return document


def write_schema() -> None:
    """Write ``data_plan.schema.json`` anew, in a source checkout."""
    Path(str(files("agents").joinpath("data_plan.schema.json"))).write_text(schema_text(), "utf-8")
