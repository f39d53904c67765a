"""The functions that agents may call, one file each, and what these files share.

Each file here is a Data API Card (paper, section III-A): its one public function's signature and docstring are the
card, the JSON schema and the binding in the sandbox; ``agents.data_api`` tells the form and makes them. An operator's
files look the same and import from here.

Public: ``Context`` (what a function is given besides its arguments), ``ApiError`` (what it raises), for arguments
``known_type``, ``known_sensor``, ``read_area``, ``read_window``, ``short_text`` and ``nearest``, for results
``first_rows`` and ``area_to_json``.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cache

from jsonschema import Draft202012Validator

from agents.local_time import EARLIEST_YEAR
from agents.plan import Area
from agents.schema import area_from_json, area_to_json
from agents.schema import schema as plan_schema
from twin.gazetteer import places
from twin.intervals import Interval
from twin.scenario import Scenario, Sensor
from twin.sensor_types import SensorType, sensor_types
from twin.words import fold

MAX_ROWS = 200  # most rows of a result, whatever ``limit`` asks for
MAX_NAME_CHARS = 200

__all__ = [
    "ApiError",
    "Context",
    "area_to_json",
    "first_rows",
    "known_sensor",
    "known_type",
    "nearest",
    "read_area",
    "read_window",
    "short_text",
]


class ApiError(ValueError):
    """A call that can't be answered; the message tells a language model what was wrong and what would be right."""


@dataclass(frozen=True)
class Context:
    """What functions answer from. ``now`` is aware. ``held`` gives the intervals [start_s, end_s) of UTC epoch seconds
    that the twin holds of a sensor id; None where there is no store. Raises ValueError when ``now`` has no zone."""

    scenario: Scenario
    now: datetime
    held: Callable[[str], tuple[Interval, ...]] | None = None

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError(f"now {self.now.isoformat()} has no offset; write it as 2013-11-18T12:00:00+01:00")

    @property
    def local_now(self) -> datetime:
        """``now`` in the city's zone."""
        return self.now.astimezone(self.scenario.zone)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known names most like a word, ready to follow it in a message; empty when none is like it."""
    by_fold = {fold(name): name for name in known}
    found = get_close_matches(fold(word[:MAX_NAME_CHARS]), by_fold, n=3, cutoff=0.5)
    return f"; nearest names: {', '.join(by_fold[name] for name in found)}" if found else ""


def known_type(type_id: str) -> SensorType:
    """The sensor type of an id. Raises ApiError with the nearest and all ids."""
    types = sensor_types()
    if type_id not in types:
        raise ApiError(
            f"there is no sensor type {type_id[:MAX_NAME_CHARS]!r}{nearest(type_id, types)}; "
            f"the types are {', '.join(types)}"
        )
    return types[type_id]


def known_sensor(context: Context, sensor_id: str) -> Sensor:
    """The registered sensor of an id. Raises ApiError."""
    sensors = context.scenario.sensor
    if sensor_id not in sensors:
        raise ApiError(
            f"there is no sensor {sensor_id[:MAX_NAME_CHARS]!r}{nearest(sensor_id, sensors)}; "
            "find_sensors(type) lists the ids of a type"
        )
    return sensors[sensor_id]


def short_text(name: str, text: str, most: int = MAX_NAME_CHARS) -> str:
    """The text. Raises ApiError for one that is blank or has more than ``most`` characters."""
    if not text.strip():
        raise ApiError(f"{name} is empty")
    if len(text) > most:
        raise ApiError(f"{name} has {len(text)} characters; give at most {most}")
    return text


def first_rows(rows: list, limit: int) -> tuple[list, dict]:
    """The first ``limit`` rows, and what a result says of those left out. Raises ApiError for a limit out of range."""
    if not 1 <= limit <= MAX_ROWS:
        raise ApiError(f"limit must be 1 to {MAX_ROWS}, not {limit}")
    left = max(0, len(rows) - limit)
    note = f"{left} more left out by limit={limit}, of at most {MAX_ROWS}" if left else "complete"
    return rows[:limit], {"left_out": left, "note": note}


# --- Areas ------------------------------------------------------------------------------------------------------------


def read_area(context: Context, area: dict | None) -> Area:
    """An area in the form that data plans have; None is the whole city. Raises ApiError with an example of the form.

    The names of districts and of the city are taken without regard to case and accents.
    """
    scenario = context.scenario
    if area is None:
        return Area("city", scenario.city)
    kind = area.get("kind")
    if not isinstance(kind, str) or kind not in _forms():
        examples = "; ".join(json.dumps(_example(scenario, kind), ensure_ascii=False) for kind in _forms())
        raise ApiError(f"area: kind must be one of {', '.join(_forms())}, such as {examples}")
    error = next(iter(sorted(_forms()[kind].iter_errors(area), key=lambda error: list(map(str, error.path)))), None)
    if error is not None:
        place = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
        example = json.dumps(_example(scenario, kind), ensure_ascii=False)
        raise ApiError(f"area{place}: {error.message[:200]}; a {kind} is written as {example}")
    read = area_from_json(area)
    if kind == "district":
        return Area("district", _district(scenario, read.name))
    if kind == "city" and fold(read.name) not in map(fold, _names_of_city(scenario)):
        raise ApiError(f"area: {read.name!r} is not this city; all sensors are in {scenario.city}")
    return Area("city", scenario.city) if kind == "city" else read


@cache
def _forms() -> dict[str, Draft202012Validator]:
    """What checks an area, by kind: the parts of the data plan's own schema."""
    area = plan_schema()["properties"]["items"]["items"]["properties"]["area"]
    return {form["properties"]["kind"]["const"]: Draft202012Validator(form) for form in area["oneOf"]}


def _example(scenario: Scenario, kind: str) -> dict:
    at = scenario.cells[0]
    name = {"city": scenario.city, "district": at.district, "circle": "around the stadium", "polygon": "the old town"}
    d, example = 0.01, {"kind": kind, "name": name[kind]}
    if kind == "circle":
        return example | {"lon": at.lon, "lat": at.lat, "radius_m": 500}
    if kind == "polygon":
        corners = [[at.lon - d, at.lat - d], [at.lon + d, at.lat - d], [at.lon, at.lat + d]]
        return example | {"ring": [[round(lon, 4), round(lat, 4)] for lon, lat in corners]}
    return example


def _district(scenario: Scenario, name: str) -> str:
    by_fold = {fold(known): known for known in scenario.district}
    if fold(name) not in by_fold:
        raise ApiError(
            f"area: there is no district {name!r}{nearest(name, scenario.district)}; list_districts() lists all, and "
            "geocode(place) gives the area of any other place"
        )
    return by_fold[fold(name)]


def _names_of_city(scenario: Scenario) -> set[str]:
    others = (place.other_names for place in places() if place.name == scenario.city)
    return {scenario.city, *(name for names in others for name in names)}


# --- Times ------------------------------------------------------------------------------------------------------------


def read_window(context: Context, start: str, end: str) -> Interval:
    """[start_s, end_s) in whole UTC epoch seconds, of two ISO 8601 times with offset. Raises ApiError for times without
    offset, for windows that are empty, reversed or begin before 1970, and for ends after now."""
    first, last = _time("start", start), _time("end", end)
    if first.timestamp() >= last.timestamp():
        raise ApiError(f"the window is reversed or empty: start must be before end, but {start} is not before {end}")
    if last.timestamp() > context.now.timestamp():
        now = context.local_now.isoformat()
        raise ApiError(f"end {end} is in the future; it is {now} now, and sensors have readings only up to now")
    if first.timestamp() < 0:
        raise ApiError(f"start {start} is before {EARLIEST_YEAR}; resolve_time(words) gives a window that has data")
    # Readings stand at whole seconds, so that half-open bounds round up.
    return math.ceil(first.timestamp()), math.ceil(last.timestamp())


def _time(name: str, text: str) -> datetime:
    example = "write it as 2013-11-18T12:00:00+01:00, or take it from resolve_time(words)"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(f"{name} {text[:MAX_NAME_CHARS]!r} is no ISO 8601 time; {example}") from None
    if time.tzinfo is None:
        raise ApiError(f"{name} {text!r} has no offset; {example}")
    return time
