"""The Data API: cards from files, schemas, calls with good and bad arguments, and the check of operators' files."""

import ast
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import agents.apis
from agents.apis import MAX_ROWS
from agents.areas import sensors_in
from agents.data_api import (
    MAX_ARGUMENT_CHARS,
    MAX_RESULT_CHARS,
    ApiError,
    ApiFileError,
    Context,
    api_of,
    call,
    call_async,
    cards_text,
    check_api_file,
    load_apis,
    plain,
)
from agents.plan import Area
from agents.schema import from_json
from agents.times import read_time
from twin.generate import make_scenario
from twin.sensor_types import sensor_types

NAMES = (
    "estimate_bytes find_sensors geocode held_intervals list_districts resolve_time sensor_details".split()
)  # in order
YESTERDAY = {"start": "2013-11-17T00:00:00+01:00", "end": "2013-11-18T00:00:00+01:00"}

GOOD = '''
"""An operator's API."""
from agents.apis import ApiError, Context

_FEES = {"Brera": 3.5}


def parking_fee(context: Context, district: str, hours: float = 1.0, tags: list[str] | None = None) -> dict:
    """Tell the fee of parking in a district.

    Args:
        district: name of the district.
        hours: how long, in hours.
        tags: of the car,
            such as "electric".

    Returns:
        {"fee": in euro}

    Example:
        parking_fee("Brera", hours=2.5)
    """
    if district not in _FEES:
        raise ApiError(f"no fee is known of {district}")
    return {"fee": _FEES[district] * hours, "tags": tags}


def _helper():
    pass
'''


@pytest.fixture(scope="module")
def apis():
    return load_apis()


@pytest.fixture
def context(milan, now):
    return Context(milan, now)


def refused(apis, context, name, /, **arguments):
    """The message of a call that must be refused."""
    with pytest.raises(ApiError) as caught:
        call(apis, context, name, arguments)
    message = str(caught.value)
    assert len(message) < 1500
    return message


# --- Cards and schemas ------------------------------------------------------------------------------------------------


def test_there_is_one_api_per_file_and_no_other(apis):
    files = sorted(path.stem for path in Path(agents.apis.__file__).parent.glob("[a-z]*.py"))
    assert list(apis) == files == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_file_is_without_fault(name):
    assert check_api_file(Path(agents.apis.__file__).with_name(f"{name}.py")) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_example_on_every_card_works_and_its_result_has_what_the_card_tells(apis, context, name):
    node = ast.parse(apis[name].example, mode="eval").body
    args, named = [ast.literal_eval(a) for a in node.args], {k.arg: ast.literal_eval(k.value) for k in node.keywords}
    result = call(apis, context, name, apis[name].bind(args, named))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for key in result:
        assert f'"{key}"' in apis[name].returns, key


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_every_parameter_but_not_the_context(apis, name):
    api = apis[name]
    assert api.text.startswith(f"{name}(") and "context" not in api.signature.lower()
    for parameter in api.parameters:
        assert f"\n  {parameter.name}: {parameter.text}" in api.text
    assert f"Example: {name}(" in api.text
    assert api.text in cards_text({name: api, "other": api})


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_json_schema_and_closed(apis, name):
    schema = apis[name].schema
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False and list(schema["properties"]) == [
        parameter.name for parameter in apis[name].parameters
    ]
    tool = apis[name].tool
    assert tool["type"] == "function" and tool["function"]["name"] == name
    assert tool["function"]["parameters"] == schema
    assert json.loads(json.dumps(tool)) == tool


def test_a_schema_says_types_defaults_and_what_is_required(apis):
    schema = apis["find_sensors"].schema
    assert schema["required"] == ["type"]
    assert schema["properties"]["type"]["type"] == "string"
    assert schema["properties"]["area"]["type"] == ["object", "null"]
    assert schema["properties"]["limit"]["type"] == "integer" and schema["properties"]["limit"]["default"] == 50
    assert "degrees (WGS84)" in schema["properties"]["area"]["description"]
    assert apis["estimate_bytes"].schema["required"] == ["type", "area", "start", "end"]


def test_arguments_bind_by_position_and_by_name(apis):
    find = apis["find_sensors"]
    assert find.bind(["parking", None], {"limit": 3}) == {"type": "parking", "area": None, "limit": 3}
    with pytest.raises(ApiError, match="at most 3 arguments, not 4"):
        find.bind([1, 2, 3, 4], {})
    with pytest.raises(ApiError, match="type is given twice"):
        find.bind(["parking"], {"type": "parking"})


# --- Functions --------------------------------------------------------------------------------------------------------


def test_geocode_gives_the_area_that_planning_takes(apis, context):
    brera = call(apis, context, "geocode", {"place": "brera"})
    district = context.scenario.district["Brera"]
    assert brera["kind"] == "district" and brera["area"] == {"kind": "district", "name": "Brera"}
    assert (brera["lon"], brera["lat"], brera["radius_m"]) == (district.lon, district.lat, district.radius_m)
    castle = call(apis, context, "geocode", {"place": "within 2 km of the Castello Sforzesco"})
    assert castle["kind"] == "landmark" and castle["area"]["kind"] == "circle" and castle["area"]["radius_m"] == 2000
    assert call(apis, context, "geocode", {"place": "Milano"})["area"] == {"kind": "city", "name": "Milan"}
    found = call(apis, context, "find_sensors", {"type": "humidity", "area": castle["area"]})
    assert found["count"] == len(
        sensors_in(context.scenario, "humidity", Area("circle", "x", castle["lon"], castle["lat"], 2000))
    )


def test_geocode_tells_what_it_does_not_know(apis, context):
    assert "nearest names: Parco Sempione" in refused(apis, context, "geocode", place="Sempionne")
    assert "Rome is outside Milan" in refused(apis, context, "geocode", place="Rome")
    assert "2 places: Brera, Navigli" in refused(apis, context, "geocode", place="Brera and the Navigli")
    assert "place is empty" in refused(apis, context, "geocode", place="  ")
    assert "at most 200" in refused(apis, context, "geocode", place="Duomo " * 50)
    assert "no place called 'zzzz'" in refused(apis, context, "geocode", place="zzzz")


def test_districts_are_listed_with_their_sensors(apis, context):
    result = call(apis, context, "list_districts", {})
    assert [d["name"] for d in result["districts"]] == [d.name for d in context.scenario.districts]
    assert sum(d["sensors"] for d in result["districts"]) == len(context.scenario.sensors)
    assert result["count"] == 10 and result["left_out"] == 0 and result["note"] == "complete"
    few = call(apis, context, "list_districts", {"limit": 3})
    assert len(few["districts"]) == 3 and few["count"] == 10 and few["left_out"] == 7
    assert "7 more left out by limit=3" in few["note"]


@pytest.mark.parametrize(
    "area",
    [
        None,
        {"kind": "city", "name": "milano"},
        {"kind": "district", "name": "Brera"},
        {"kind": "district", "name": "citta studi"},
        {"kind": "circle", "name": "centre", "lon": 9.19, "lat": 45.46, "radius_m": 3000},
        {"kind": "polygon", "name": "box", "ring": [[9.1, 45.4], [9.3, 45.4], [9.3, 45.6], [9.1, 45.6]]},
    ],
    ids=str,
)
@pytest.mark.parametrize("type_id", ["temperature", "grid_frequency"])
def test_sensors_are_those_that_planning_finds(apis, context, area, type_id):
    result = call(apis, context, "find_sensors", {"type": type_id, "area": area})
    whole = Area("city", "Milan")
    by_kind = {
        "city": whole,
        "district": Area("district", "Brera" if area and "Brera" in area["name"] else "Città Studi"),
        "circle": Area("circle", "centre", 9.19, 45.46, 3000),
        "polygon": whole,  # the box holds the whole city
    }
    expected = sensors_in(context.scenario, type_id, by_kind[area["kind"]] if area else whole)
    assert [s["id"] for s in result["sensors"]] == [s.id for s in expected] and result["count"] == len(expected)


def test_where_an_area_has_no_sensor_the_nearest_is_told(apis, context):
    area = {"kind": "circle", "name": "x", "lon": 9.0, "lat": 45.4, "radius_m": 5}
    result = call(apis, context, "find_sensors", {"type": "outage", "area": area})
    assert result["count"] == 0 and result["sensors"] == []
    assert context.scenario.sensor[result["nearest"]["id"]].type == "outage" and result["nearest"]["radius_m"] > 5000
    none = Context(replace(context.scenario, sensors=()), context.now)
    assert call(apis, none, "find_sensors", {"type": "outage"})["nearest"] is None


def test_long_lists_are_cut_and_say_so(apis, now):
    wide = Context(make_scenario(50, 5000), now)
    result = call(apis, wide, "find_sensors", {"type": "temperature", "limit": MAX_ROWS})
    assert result["count"] > MAX_ROWS == len(result["sensors"])
    assert result["left_out"] == result["count"] - MAX_ROWS
    assert f"{result['left_out']} more left out by limit={MAX_ROWS}" in result["note"]
    assert len(json.dumps(result)) < MAX_RESULT_CHARS
    assert len(call(apis, wide, "find_sensors", {"type": "temperature"})["sensors"]) == 50
    for limit in (0, -1, MAX_ROWS + 1):
        assert "limit must be 1 to 200" in refused(apis, wide, "find_sensors", type="temperature", limit=limit)


def test_sensor_details(apis, context):
    sensor = context.scenario.sensors[0]
    result = call(apis, context, "sensor_details", {"sensor_id": sensor.id})
    assert result["type"] == sensor.type and result["district"] == sensor.district and result["lon"] == sensor.lon
    assert result["interval_s"] == sensor_types()[sensor.type].interval_s and result["unit"] == "degC"
    assert "temperature" in result["monitors"]
    message = refused(apis, context, "sensor_details", sensor_id="s12x")
    assert "there is no sensor 's12x'" in message and "nearest names: s12" in message


def test_held_intervals_are_local_times_latest_first(apis, milan, now):
    asked = []

    def held(sensor_id):
        asked.append(sensor_id)
        return ((1384729200, 1384732800), (1384642800, 1384646400))

    result = call(apis, Context(milan, now, held), "held_intervals", {"sensor_id": "s001", "limit": 1})
    assert asked == ["s001"]
    assert result["store"] is True and result["count"] == 2 and result["held_s"] == 7200 and result["left_out"] == 1
    assert result["intervals"] == [{"start": "2013-11-18T00:00:00+01:00", "end": "2013-11-18T01:00:00+01:00"}]
    nothing = call(apis, Context(milan, now), "held_intervals", {"sensor_id": "s001"})
    assert nothing["store"] is False and nothing["intervals"] == []
    assert "there is no sensor" in refused(apis, Context(milan, now, held), "held_intervals", sensor_id="nope")


@pytest.mark.parametrize(
    "words, kind", [("yesterday", "past"), ("tomorrow", "forecast"), ("how warm is it", "default")]
)
def test_words_of_time_are_read_as_planning_reads_them(apis, context, words, kind):
    window = read_time(words, context.now)
    result = call(apis, context, "resolve_time", {"words": words})
    assert (result["start"], result["end"]) == (window.start.isoformat(), window.end.isoformat())
    assert result["kind"] == kind and result["note"]


def test_words_of_time_are_in_the_citys_zone(apis, milan, now):
    result = call(apis, Context(milan, now.astimezone(UTC)), "resolve_time", {"words": "yesterday"})
    assert (result["start"], result["end"]) == (YESTERDAY["start"], YESTERDAY["end"])


@pytest.mark.parametrize("type_id", ["temperature", "grid_frequency", "air_quality", "outage", "accident"])
def test_bytes_are_readings_times_their_size(apis, context, type_id):
    kind = sensor_types()[type_id]
    sensors = len(sensors_in(context.scenario, type_id, Area("city", "Milan")))
    result = call(apis, context, "estimate_bytes", {"type": type_id, "area": None, **YESTERDAY})
    per_sensor = 1 if kind.interval_s is None else 86_400 // kind.interval_s
    assert result["sensors"] == sensors > 0
    assert result["readings"] == sensors * per_sensor and result["bytes"] == sensors * per_sensor * kind.record_bytes


def test_types_of_events_state_the_assumption(apis, context):
    result = call(apis, context, "estimate_bytes", {"type": "outage", "area": None, **YESTERDAY})
    assert "no fixed rate" in result["assumption"] and "1 a day per sensor" in result["assumption"]
    regular = call(apis, context, "estimate_bytes", {"type": "humidity", "area": None, **YESTERDAY})
    assert regular["assumption"] == "one reading every 600 s per sensor"


def test_what_resolve_time_gives_is_what_estimate_bytes_takes(apis, context):
    for words in ("now", "today", "tomorrow", "last month", "in 2012", ""):
        window = call(apis, context, "resolve_time", {"words": words or "x"})
        estimate = {"type": "humidity", "area": None, "start": window["start"], "end": window["end"]}
        assert call(apis, context, "estimate_bytes", estimate)["bytes"] > 0


def test_areas_are_those_of_data_plans(apis, context):
    """The area of a result goes unchanged into a plan that the schema accepts."""
    area = call(apis, context, "geocode", {"place": "Castello Sforzesco"})["area"]
    item = {"type": "humidity", "area": area, **YESTERDAY, "why": "x"}
    plan = {"query": "q", "answerable": True, "reason": "x", "items": [item], "sensors": [], "planner": "llm"}
    plan |= {"model": "", "steps": 0, "tokens": 0, "seconds": 0}
    assert from_json(plan).items[0].area.radius_m == area["radius_m"]


# --- Bad calls --------------------------------------------------------------------------------------------------------


def test_an_unknown_function_is_told_with_those_there_are(apis, context):
    message = refused(apis, context, "find_sensor")
    assert "did you mean find_sensors?" in message and all(name in message for name in NAMES)
    with pytest.raises(ApiError, match="there is no function 'None'"):
        call(apis, context, None, {})


@pytest.mark.parametrize("arguments", [None, [], "type", 3, [{"type": "temperature"}]], ids=str)
def test_arguments_must_be_an_object(apis, context, arguments):
    with pytest.raises(ApiError, match="must be one object by parameter name, not "):
        call(apis, context, "find_sensors", arguments)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({}, "find_sensors needs 'type', text: id of the sensor type"),
        ({"type": 3}, "type must be text, not the number 3"),
        ({"type": None}, "type must be text, not null"),
        ({"type": ["temperature"]}, "type must be text, not a list"),
        ({"type": "temperature", "limit": "10"}, "limit must be a whole number, not the text '10'"),
        ({"type": "temperature", "limit": 2.5}, "limit must be a whole number, not the number 2.5"),
        ({"type": "temperature", "limit": True}, "limit must be a whole number, not true"),
        ({"type": "temperature", "limit": None}, "limit must be a whole number, not null"),
        ({"type": "temperature", "area": "Brera"}, "area must be an object or null (None), not the text 'Brera'"),
        ({"typ": "temperature"}, "no parameter 'typ'; did you mean 'type'?; it is called as find_sensors(type: str"),
        ({"type": "temperature", "context": 1}, "no parameter 'context'"),
        ({"type": "temprature"}, "there is no sensor type 'temprature'; nearest names: temperature"),
        ({"type": "x" * 5000}, "the types are temperature"),
        ({"type": "temperature", "limit": float("nan")}, "nan, which JSON can't hold"),
        ({"type": "temperature", "limit": 10**30}, "more than 64 bits"),
        ({"type": "\ud800"}, "half a surrogate pair"),
        ({"type": "temperature", "area": {"x": object()}}, "it has a object, no plain data"),
        ({"type": "temperature", "area": {3.5: 1}}, "a dict has a float as key"),
    ],
)
def test_a_wrong_argument_is_told_with_what_would_be_right(apis, context, arguments, said):
    assert said in refused(apis, context, "find_sensors", **arguments)


@pytest.mark.parametrize(
    "area, said",
    [
        ({}, 'kind must be one of city, district, circle, polygon, such as {"kind": "city", "name": "Milan"}'),
        ({"kind": "box"}, "kind must be one of"),
        ({"kind": ["city"]}, "kind must be one of"),
        ({"kind": "district"}, "'name' is a required property; a district is written as {"),
        ({"kind": "district", "name": "Brerra"}, "there is no district 'Brerra'; nearest names: Brera"),
        ({"kind": "district", "name": "zzzz"}, "list_districts() lists all"),
        ({"kind": "city", "name": "Rome"}, "'Rome' is not this city; all sensors are in Milan"),
        ({"kind": "circle", "name": "x", "lon": 9, "lat": 45}, "'radius_m' is a required property; a circle is"),
        ({"kind": "circle", "name": "x", "lon": 999, "lat": 45, "radius_m": 1}, "area.lon: 999 is greater than"),
        ({"kind": "circle", "name": "x", "lon": 9, "lat": 45, "radius_m": 0}, "area.radius_m: 0 is less than"),
        ({"kind": "polygon", "name": "x", "ring": [[9, 45]]}, "area.ring: [[9, 45]] is too short"),
        ({"kind": "polygon", "name": "x", "ring": [[9, 45], [9, "a"], [9, 46]]}, "area.ring[1][1]: 'a' is not of type"),
        ({"kind": "city", "name": "Milan", "extra": 1}, "'extra' was unexpected"),
    ],
)
def test_a_wrong_area_is_told_with_the_right_form(apis, context, area, said):
    assert said in refused(apis, context, "find_sensors", type="temperature", area=area)


def test_the_example_areas_in_messages_are_right_themselves(apis, context):
    message = refused(apis, context, "find_sensors", type="temperature", area={})
    for text in message.partition("such as ")[2].split("; "):
        assert call(apis, context, "find_sensors", {"type": "temperature", "area": json.loads(text)})["count"] >= 0


@pytest.mark.parametrize(
    "window, said",
    [
        ({"start": YESTERDAY["end"], "end": YESTERDAY["start"]}, "the window is reversed or empty"),
        ({"start": YESTERDAY["end"], "end": YESTERDAY["end"]}, "the window is reversed or empty"),
        ({"start": "2013-11-17T00:00:00"}, "has no offset; write it as 2013-11-18T12:00:00+01:00"),
        ({"start": "2013-11-17"}, "has no offset"),
        ({"start": "yesterday"}, "start 'yesterday' is no ISO 8601 time; write it as"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "is before 1970"),
        ({"start": "9999-12-31T23:59:59-12:00"}, "the window is reversed"),
        ({"end": "2013-11-19T00:00:00+01:00"}, "is in the future; it is 2013-11-18T12:00:00+01:00 now"),
        ({"end": ""}, "end '' is no ISO 8601 time"),
    ],
    ids=str,
)
def test_a_wrong_window_is_told_with_what_would_be_right(apis, context, window, said):
    assert said in refused(apis, context, "estimate_bytes", type="humidity", area=None, **{**YESTERDAY, **window})


def test_a_window_to_the_present_moment_is_no_future(apis, context):
    """The last moment counts even in another zone, and one second more does not."""
    start = context.now - timedelta(hours=1)
    arguments = {"type": "grid_frequency", "area": None, "start": start.isoformat(), "end": context.now.isoformat()}
    assert (
        call(apis, context, "estimate_bytes", arguments)["readings"]
        == 360 * call(apis, context, "find_sensors", {"type": "grid_frequency"})["count"]
    )
    arguments["end"] = (context.now + timedelta(seconds=1)).isoformat()
    assert "in the future" in refused(apis, context, "estimate_bytes", **arguments)


def test_huge_and_endless_arguments_are_refused_at_once(apis, context):
    assert f"larger than {MAX_ARGUMENT_CHARS} characters" in refused(
        apis, context, "find_sensors", type="t" * (MAX_ARGUMENT_CHARS + 1)
    )
    endless = {"kind": "city"}
    endless["again"] = endless
    assert "deep" in refused(apis, context, "find_sensors", type="temperature", area=endless)
    wide = [0] * 10
    for _ in range(30):
        wide = [wide] * 10
    assert "characters as JSON" in refused(apis, context, "find_sensors", type="temperature", area={"x": wide})
    bomb = (0,) * 10
    for _ in range(4):
        bomb = (bomb,) * 10
    assert "characters as JSON" in refused(apis, context, "find_sensors", type="temperature", area={"x": {bomb}})


def test_whole_numbers_may_come_as_floats(apis, context):
    assert len(call(apis, context, "find_sensors", {"type": "humidity", "limit": 3.0})["sensors"]) == 3


def test_a_context_without_a_zone_is_refused(milan):
    with pytest.raises(ValueError, match="has no offset"):
        Context(milan, datetime(2013, 11, 18, 12))


def test_plain_copies_what_json_can_hold():
    when = datetime.fromisoformat("2013-11-18T12:00:00+01:00")
    value = {"a": (1, 2.5, None, True), "b": {"y", "x"}, 3: when, "c": when.date(), "d": {2, 1}}
    assert plain(value, 1000) == {
        "a": [1, 2.5, None, True],
        "b": ["x", "y"],
        "3": "2013-11-18T12:00:00+01:00",
        "c": "2013-11-18",
        "d": [1, 2],
    }
    rows = [{"x": 1}]
    copy = plain(rows, 100)
    copy[0]["x"] = 2
    assert rows == [{"x": 1}]


# --- Methods ----------------------------------------------------------------------------------------------------------


class Till:
    """A state with tools."""

    taken = 0.0

    def take(self, amount: float, notes: list[str] | None = None) -> dict:
        """Take money.

        Args:
            amount: in euros.
            notes: what it is for.

        Returns:
            {"taken": in euros, of all calls}

        Example:
            take(2.5, ["parking"])
        """
        self.taken += amount
        return {"taken": self.taken}

    async def count(self) -> dict:
        """Count the money.

        Returns:
            {"taken": in euros}

        Example:
            count()
        """
        if self.taken > 100:
            raise ApiError("too much to be counted")
        return {"taken": self.taken, "coins": {1, 2} if self.taken < 50 else object()}

    def broken(self, amount, **more):
        """Nobody knows."""


async def test_methods_are_apis_bound_to_their_object():
    apis, till = {"take": api_of(Till.take), "count": api_of(Till.count)}, Till()
    assert apis["take"].signature == "take(amount: float, notes: list[str] | None = None) -> dict"
    assert apis["take"].schema["required"] == ["amount"] and "amount: in euros." in apis["take"].text
    assert call(apis, till, "take", {"amount": 2}) == {"taken": 2.0}
    assert await call_async(apis, till, "count", {}) == {"taken": 2.0, "coins": [1, 2]}
    for arguments, said in (({"coins": 1}, "has no parameter 'coins'"), ([], "must be one object")):
        with pytest.raises(ApiError, match=said):
            await call_async(apis, till, "count", arguments)
    till.taken = 60.0
    with pytest.raises(ApiError, match="the result can't be given: it has a object"):
        await call_async(apis, till, "count", {})
    till.taken = 101.0
    with pytest.raises(ApiError, match="count: too much to be counted"):
        await call_async(apis, till, "count", {})
    till.taken = None
    with pytest.raises(ApiError, match="failed inside, which is no fault of the call: TypeError"):
        await call_async(apis, till, "count", {})


def test_all_that_is_wrong_with_a_method_is_told():
    with pytest.raises(ApiFileError) as error:
        api_of(Till.broken)
    assert all(line.startswith("Till.broken: ") for line in str(error.value).splitlines())
    for part in ("**kwargs", "amount has no annotation", "amount is not documented", "'Returns:'", "'Example:'"):
        assert part in str(error.value)


# --- Operators' files -------------------------------------------------------------------------------------------------


def write(directory, text, name="parking_fee.py"):
    path = directory / name
    path.write_text(text, "utf-8")
    return path


def test_an_operators_file_joins_the_apis(tmp_path, context):
    assert check_api_file(write(tmp_path, GOOD)) == []
    write(tmp_path, "not Python at all", "_draft.py")
    apis = load_apis(tmp_path)
    assert list(apis) == [*NAMES, "parking_fee"]
    assert call(apis, context, "parking_fee", {"district": "Brera", "hours": 2}) == {"fee": 7.0, "tags": None}
    assert "no fee is known of Isola" in refused(apis, context, "parking_fee", district="Isola")
    assert "tags must be a list of texts or null (None), not a list" in refused(
        apis, context, "parking_fee", district="Brera", tags=[1]
    )
    assert 'tags: of the car, such as "electric".' in apis["parking_fee"].text
    assert apis["parking_fee"].signature == (
        "parking_fee(district: str, hours: float = 1.0, tags: list[str] | None = None) -> dict"
    )


def test_a_function_that_fails_or_gives_no_json_is_told_as_its_own_fault(tmp_path, context):
    broken = GOOD.replace(
        "    if district", "    if district == 'boom':\n        raise KeyError(district)\n    if district"
    )
    broken = broken.replace(
        "    if district not", "    if district == 'odd':\n        return {1: object()}\n    if district not"
    )
    broken = broken.replace(
        "    if district not", "    if district == 'vast':\n        return {'x': 'y' * 100_000}\n    if district not"
    )
    write(tmp_path, broken)
    apis = load_apis(tmp_path)
    assert "failed inside, which is no fault of the call: KeyError" in refused(
        apis, context, "parking_fee", district="boom"
    )
    assert "the result can't be given: it has a object" in refused(apis, context, "parking_fee", district="odd")
    assert "ask for less" in refused(apis, context, "parking_fee", district="vast")


FAULTS = [
    ("syntax", lambda t: t.replace("-> dict:", "-> dict"), "it is not Python in line 8"),
    ("null", lambda t: t + "\0", "it is not Python"),
    ("no_function", lambda t: t.replace("def parking_fee", "def _parking_fee"), "it has 0 public functions;"),
    ("two_functions", lambda t: t.replace("_helper", "helper"), "2 public functions (parking_fee, helper)"),
    ("other_name", lambda t: t.replace("parking_fee", "parking_fees"), "must be called as the file, parking_fee"),
    ("async", lambda t: t.replace("def parking", "async def parking"), "is an async def"),
    ("decorated", lambda t: t.replace("def parking", "@staticmethod\ndef parking"), "has a decorator"),
    ("no_context", lambda t: t.replace("context: Context, ", ""), "must be context: Context"),
    ("context_bare", lambda t: t.replace("context: Context", "context"), "must be context: Context"),
    ("context_last", lambda t: t.replace("context: Context", "c: Context"), "must be context: Context"),
    ("star", lambda t: t.replace("hours: float", "*rest, hours: float"), "has *args or **kwargs"),
    ("star_star", lambda t: t.replace("None = None)", "None = None, **rest)"), "has *args or **kwargs"),
    ("keyword_only", lambda t: t.replace("hours: float", "*, hours: float"), "has '/' or '*'"),
    ("private", lambda t: t.replace("hours", "_hours"), "the parameter _hours begins with an underscore"),
    ("bare", lambda t: t.replace("district: str", "district"), "the parameter district has no annotation; only str"),
    ("bytes", lambda t: t.replace("district: str", "district: bytes"), "annotation bytes of the parameter district"),
    ("list", lambda t: t.replace("list[str]", "list[int]"), "annotation list[int] | None of the parameter tags"),
    ("optional", lambda t: t.replace("list[str] | None", "Optional[str]"), "only str, int, float, bool"),
    ("only_none", lambda t: t.replace("district: str", "district: None"), "annotation None of the parameter"),
    ("default", lambda t: t.replace("= 1.0", "= max(1, 2)"), "the default of hours is no plain value"),
    ("default_kind", lambda t: t.replace("= 1.0", "= 'long'"), "the default of hours, 'long', is not a number"),
    ("no_result", lambda t: t.replace(" -> dict", ""), "the result of parking_fee has no annotation"),
    ("odd_result", lambda t: t.replace(" -> dict", " -> set"), "annotation set of the result of parking_fee"),
    ("no_docstring", lambda t: t.replace('    """Tell', '    x = """Tell'), "parking_fee has no docstring"),
    ("no_summary", lambda t: t.replace("Tell the fee of parking in a district.", ""), "the docstring has no summary"),
    ("undocumented", lambda t: t.replace("        hours: how long, in hours.\n", ""), "hours is not documented"),
    ("empty_text", lambda t: t.replace("hours: how long, in hours.", "hours:"), "hours is not documented"),
    ("stranger", lambda t: t.replace("hours: how", "days: x\n        hours: how"), "Args documents days, but"),
    ("no_returns", lambda t: t.replace("Returns:", "Gives:"), "the docstring has no 'Returns:'"),
    ("no_example", lambda t: t.replace("Example:", "E.g.:"), "no 'Example:' with a call of parking_fee"),
    ("example_syntax", lambda t: t.replace("hours=2.5)", "hours="), "the example must be one call of parking_fee"),
    ("example_other", lambda t: t.replace('    parking_fee("B', '    other("B'), "the example must be one call of"),
    ("example_name", lambda t: t.replace("hours=2.5)", "hours=x)"), "the example must be one call of"),
    ("example_kind", lambda t: t.replace("hours=2.5)", "hours='x')"), "the example does not fit: parking_fee: hours"),
    ("example_many", lambda t: t.replace("hours=2.5)", "1, [], 4)"), "the example does not fit: parking_fee takes"),
    ("example_less", lambda t: t.replace('("Brera", hours=2.5)', "()"), "the example does not fit: parking_fee needs"),
    ("import", lambda t: t + "\nimport no_such_module\n", "importing it fails: ModuleNotFoundError"),
    ("exit", lambda t: t + "\nraise SystemExit(1)\n", "importing it fails: SystemExit"),
    ("replaced", lambda t: t + "\nparking_fee = 3\n", "importing it fails: TypeError: parking_fee is no function"),
]


@pytest.mark.parametrize("change, said", [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_the_check_says_in_words_what_is_wrong(tmp_path, change, said):
    text = change(GOOD)
    assert text != GOOD
    path = write(tmp_path, text)
    problems = check_api_file(path)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith(f"{path}: ") and problem.endswith(".") for problem in problems)
    with pytest.raises(ApiFileError) as caught:
        load_apis(tmp_path)
    assert str(caught.value).splitlines() == problems


@pytest.mark.parametrize(
    "name, said",
    [
        ("find_sensors.py", "the name find_sensors is taken by a bundled API"),
        ("print.py", "the name print has a meaning of its own"),
        ("result.py", "the name result has a meaning of its own"),
        ("parking-fee.py", "'parking-fee' is no Python name"),
        ("2fees.py", "'2fees' is no Python name"),
        ("lambda.py", "'lambda' is no Python name"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, said):
    problems = check_api_file(write(tmp_path, GOOD.replace("parking_fee", name[:-3]), name))
    assert any(said in problem for problem in problems), problems
    with pytest.raises(ApiFileError, match="is no Python name|taken|meaning of its own"):
        load_apis(tmp_path)


def test_all_faults_are_told_at_once(tmp_path):
    text = GOOD.replace("district: str", "district").replace("Returns:", "R:").replace("hours: how long, in hours.", "")
    assert len(check_api_file(write(tmp_path, text))) == 3


def test_files_that_cannot_be_read(tmp_path):
    assert "it can't be read" in check_api_file(tmp_path / "missing.py")[0]
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'")
    assert "it can't be read" in check_api_file(tmp_path / "latin.py")[0]
    with pytest.raises(ApiFileError, match="no such directory"):
        load_apis(tmp_path / "nowhere")


def test_a_faulty_file_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    text = GOOD.replace("Returns:", "R:") + f"\nopen({str(trace)!r}, 'w')\n"
    assert check_api_file(write(tmp_path, text))
    assert not trace.exists()
