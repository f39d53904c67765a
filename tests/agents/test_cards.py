"""Sensor Cards: those of the bundled types, an operator's own, and what is wrong with a card file."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from own_types import API, CARD, forget, use

from agents import from_json, plan_offline, schema, to_json
from agents.apis import Context
from agents.cards import CardError, check_card_file, sensor_cards
from agents.data_api import call, check_api_file, load_apis
from agents.knowledge import knowledge
from controller import answer
from twin import senml
from twin.scenario import ScenarioError, load_scenario, save_scenario
from twin.sensor_model import fields, readings
from twin.sensor_types import VARIABLE, SensorTypeError, bundled_types, sensor_types

ROOT = Path(__file__).parents[2]
DAY_S = 86_400
CITY = load_scenario("milan")

EVENTS = (
    CARD[: CARD.index("en = ")]
    + """\
en = ["horn*", "hooting"]

[storage]
field = "mobility"
unit = "events"
bytes = 128

[simulated]
per_day = 4
"""
)


def write(directory, text=CARD, name="noise_level.toml"):
    path = directory / name
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An operator's type in use, and one that records events."""
    write(tmp_path)
    write(tmp_path, EVENTS, "horn.toml")
    use(tmp_path, monkeypatch)
    yield tmp_path
    monkeypatch.undo()
    forget()


@pytest.fixture
def city(own, tmp_path):
    """The bundled city with the humidity sensors turned into some of the operator's types, from a file."""
    of_type = {"humidity": "noise_level", "parking": "horn"}
    sensors = tuple(replace(s, type=of_type.get(s.type, s.type)) for s in CITY.sensors)
    save_scenario(replace(CITY, sensors=sensors), tmp_path / "city.json")
    return load_scenario(tmp_path / "city.json")


# --- The bundled cards ------------------------------------------------------------------------------------------------


def test_one_card_file_per_bundled_type_in_the_folder_of_its_field():
    rows = json.loads(files("twin").joinpath("sensor_types.json").read_text("utf-8"))["fields"]
    expected = {f"{field}/{type_id}.toml" for field, types in rows.items() for type_id in types}
    cards = Path(str(files("agents").joinpath("cards")))
    assert {str(path.relative_to(cards)) for path in cards.rglob("*") if path.is_file()} == expected
    assert len(expected) == len(sensor_cards()) == len(bundled_types()) == 20
    assert [problem for path in cards.rglob("*.toml") for problem in check_card_file(path)] == []


def test_a_bundled_card_is_checked_too(tmp_path, monkeypatch):
    cards = tmp_path / "cards" / "weather"
    cards.mkdir(parents=True)
    monkeypatch.setattr("agents.cards._BUNDLED", tmp_path / "cards")
    text = files("agents").joinpath("cards/weather/humidity.toml").read_text("utf-8")
    assert check_card_file(write(cards, text, "humidity.toml")) == []
    assert "in the folder of its field" in check_card_file(write(cards, text, "parking.toml"))[0]
    assert "in the folder of its field" in check_card_file(write(cards, text, "moisture.toml"))[0]
    assert "storage: this key is unknown" in check_card_file(write(cards, f"{text}[storage]\n", "humidity.toml"))[0]
    with pytest.raises(CardError, match=r"cards/weather/temperature\.toml: it can't be read(.|\n)*storage: this key"):
        sensor_cards.__wrapped__()


# --- An operator's type -----------------------------------------------------------------------------------------------


def test_the_examples_in_the_documentation_are_good(tmp_path):
    assert check_card_file(write(tmp_path)) == []
    assert check_card_file(write(tmp_path, EVENTS, "horn.toml")) == []
    assert check_api_file(write(tmp_path, API, "nearest_sensors.py")) == []
    (api,) = load_apis(tmp_path).keys() - load_apis().keys()
    result = call(load_apis(tmp_path), Context(CITY, CITY.start), api, {"type": "humidity", "lon": 9.19, "lat": 45.46})
    distances = [row["distance_m"] for row in result["sensors"]]
    assert len(distances) == 5 and distances == sorted(distances) and distances[0] < 2000


def test_an_operators_type_from_its_words_to_the_answer(city):
    assert list(sensor_types()) == [*bundled_types(), "horn", "noise_level"]
    now, context = city.start, Context(city, city.start)
    # planned by its words, though noise is outside of what the bundled types measure
    for question in ("How loud is it in the city today?", "noise pollution yesterday", "Quanto rumore c'era ieri?"):
        plan = plan_offline(question, now, city)
        assert [item.type for item in plan.items] == ["noise_level"] and plan.sensors
        assert from_json(json.dumps(to_json(plan))) == plan
    why = plan_offline("Why was it so noisy yesterday?", now, city)
    assert {item.type for item in why.items} == {"noise_level", "road_traffic"}
    assert [item.type for item in plan_offline("How many horns today?", now, city).items] == ["horn"]
    # in the schema, the cards and the Data API
    enum = schema.schema()["properties"]["items"]["items"]["properties"]["type"]["enum"]
    assert enum == list(sensor_types())
    assert "Noise level: it is designed to monitor sound level" in sensor_cards()["noise_level"].text
    found = call(load_apis(), context, "find_sensors", {"type": "noise_level"})
    noise = [sensor for sensor in city.sensors if sensor.type == "noise_level"]
    assert found["count"] == len(noise) > 3
    window = {"start": "2013-11-17T00:00:00+01:00", "end": "2013-11-18T00:00:00+01:00"}
    size = call(load_apis(), context, "estimate_bytes", {"type": "noise_level", "area": None, **window})
    assert size["bytes"] == len(noise) * 144 * 32
    details = call(load_apis(), context, "sensor_details", {"sensor_id": noise[0].id})
    assert (details["unit"], details["field"], details["interval_s"]) == ("dB", "mobility", 600)
    # generated, carried and told
    end_s = int(now.timestamp()) // DAY_S * DAY_S
    made = [readings(city, sensor, end_s - 7 * DAY_S, end_s) for sensor in noise]
    assert all(len(one) == 7 * 144 for one in made)
    values = np.array([one.values[:, 0] for one in made])
    assert abs(values.mean() - 58) < 1.5 and 30 <= values.min() and values.max() <= 110
    by_hour = values.reshape(len(noise), 7, 144).mean(axis=(0, 1))
    assert by_hour[16 * 6] - by_hour[4 * 6] == pytest.approx(16, abs=2)  # 17:00 and 05:00 in Milan
    payload = senml.encode(made[0], senml.base_name(noise[0].mac), fields("noise_level"))
    assert (senml.decode(payload, senml.base_name(noise[0].mac), fields("noise_level")).values == made[0].values).all()
    series = answer.series("noise_level", fields("noise_level"), noise[0].district, noise[0].id, made[0])
    rows = answer.statistics(series, city.city)
    assert re.search(r"noise level: mean \d\d(\.\d+)? dB, from", answer.in_words(why.items, rows, [], city.city))


def test_words_that_no_bundled_type_answers_become_an_operators(own, monkeypatch):
    write(own, CARD.replace('"noisy"', '"water temperature", "who"'))
    use(own, monkeypatch)
    question = "What was the water temperature yesterday?"
    assert [item.type for item in plan_offline(question, CITY.start, CITY).items] == []  # the city has no such sensor
    (evidence,) = knowledge().read(question).evidence
    assert (evidence.type, evidence.why) == ("noise_level", 'the question names "water temperature"')
    assert not knowledge().read("Who won the match yesterday?").evidence  # a word of it is not enough


def test_an_operators_events(city):
    sensor = next(sensor for sensor in city.sensors if sensor.type == "horn")
    end_s = int(city.start.timestamp())
    made = readings(city, sensor, end_s - 100 * DAY_S, end_s)
    assert 330 < len(made) < 470 and (made.values == 1).all()
    part = readings(city, sensor, end_s - 40 * DAY_S, end_s - 39 * DAY_S)
    assert (part.t_s == made.between(end_s - 40 * DAY_S, end_s - 39 * DAY_S).t_s).all()
    series = answer.series("horn", fields("horn"), sensor.district, sensor.id, made)
    plan = plan_offline("How many horns today?", city.start, city)
    words = answer.in_words(plan.items, answer.statistics(series, city.city), [], city.city)
    assert f"horn: {len(made)}.0 events per sensor in total" in words


def test_units_tell_which_sums_mean_something(own):
    additive = {kind.id for kind in sensor_types().values() if kind.additive}
    assert additive == {
        *("precipitation", "outage", "accident", "road_traffic", "public_transport", "cellular_load", "horn")
    }


def test_prompts_and_forms_of_another_process_have_the_type(tmp_path):
    """The variable alone makes it known, and neither the command line nor the service is too early to set it."""
    write(tmp_path)
    code = (
        "import sys, controller.cli, controller.service, controller.config\n"
        "assert 'agents.roles' not in sys.modules\n"
        "config = controller.config.load_config()\n"
        "import agents.workflow\n"
        "from agents.roles import REVIEWER, Draft, Verdict, planner_instructions\n"
        "assert 'noise_level: Noise level: it is designed' in planner_instructions() and 'noise_level' in REVIEWER\n"
        "assert 'noise_level' in str(Draft.model_json_schema()) and 'noise_level' in str(Verdict.model_json_schema())\n"
        "Draft(thought='', answerable=True, needs=[{'type': 'noise_level', 'why': ''}])"
    )
    (tmp_path / "links.toml").write_text(f'[scenario]\nsensor_types = "{tmp_path}/types"\n')
    (tmp_path / "types").mkdir()
    write(tmp_path / "types")
    for environment in ({VARIABLE: str(tmp_path / "types")}, {"LINKS_CONFIG": str(tmp_path / "links.toml")}):
        subprocess.run([sys.executable, "-c", code], env=os.environ | environment, cwd=ROOT, check=True)


def test_without_its_file_the_type_does_not_exist(tmp_path):
    sensors = (replace(CITY.sensors[0], type="noise_level"), *CITY.sensors[1:])
    save_scenario(replace(CITY, sensors=sensors), tmp_path / "city.json")
    with pytest.raises(ScenarioError, match="type 'noise_level' is not defined"):
        load_scenario(tmp_path / "city.json")
    with pytest.raises(ValueError, match="'noise_level' does not exist; the types are temperature, "):
        fields("noise_level")


def test_files_that_cannot_be_used_stop_everything_at_once(own, monkeypatch):
    write(own, CARD.replace("bytes = 32", "bytes = 0"))
    write(own, CARD.replace('field = "mobility"', 'field = "traffic"'), "sirens.toml")
    write(own, "not a card at all", "_draft.toml")
    use(own, monkeypatch)
    with pytest.raises(SensorTypeError) as caught:
        sensor_types()
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()] == [
        [str(own / "noise_level.toml"), "storage.bytes"],
        [str(own / "sirens.toml"), "storage.field"],
    ]
    use(own / "nowhere", monkeypatch)
    with pytest.raises(SensorTypeError, match="no such directory; it must hold a file per type"):
        sensor_types()


def test_a_card_that_cannot_be_used_is_named(own, monkeypatch):
    write(own, CARD.replace("silent_on", "silenton"))
    use(own, monkeypatch)
    with pytest.raises(CardError, match=r"noise_level\.toml: silenton: this key is unknown; the nearest is silent_on"):
        sensor_cards()


# --- What is wrong with a file ----------------------------------------------------------------------------------------


def put(old, new):
    return lambda text: text.replace(old, new)


FAULTS = {
    "toml": (put("monitors =", "monitors"), "it is not TOML: Expected '=' after a key"),
    "key_twice": (put("unit = ", 'unit = "x"\nunit = '), "it is not TOML: Cannot overwrite a value"),
    "nested": (lambda text: f"{text}deep = {'[' * 5000}{']' * 5000}", "it is not TOML"),
    "huge": (lambda text: text + "#" * 100_000, "it has more than 100000 bytes"),
    "unknown": (put("silent_on", "silent"), "silent: this key is unknown; the nearest is silent_on"),
    "far": (put("silent_on", "zzz"), "zzz: this key is unknown; the keys are monitors, unit, "),
    "missing": (put("silent_on", "silent"), "silent_on: this key is missing; it must be what the data do not tell"),
    "kind": (put('"decibels"', "3"), "unit: 3 is not a text; it must be the unit in words"),
    "list": (put('it = ["rumor*", "livello sonoro"]', 'it = "rumor*"'), "it: 'rumor*' is not a list; it must be"),
    "entry": (put('"noisy"', "7"), "en: entry 2, 7, is not a text"),
    "no_entry": (put('["annoyance by traffic", "sleep at night"]', "[]"), "bears_on: it has 0 entries; it must be"),
    "many": (put('"noisy"', ", ".join(f'"noise {i}"' for i in range(300))), "en: it has 308 entries; it must be 1 to"),
    "twice": (put('"noisy"', '"loud"'), "en: entry 7, 'loud', stands there twice"),
    "empty": (put('"decibels"', '" "'), "unit: it is empty; it must be"),
    "long": (put("what makes", "what makes " * 40), "silent_on: it has 450 characters; it must be"),
    "newline": (put("at the kerb", "at the kerb.\\nIgnore"), "monitors: character 25 is '\\n', a line break or"),
    "control": (put("sleep at", "sleep\\u001b[2J at"), "bears_on: entry 2, 'sleep\\x1b[2J at night': character 6 is"),
    "bidi": (put("at the kerb", "at\\u202e the kerb"), "monitors: character 15 is '\\u202e', a line break or"),
    "hazard": (put("hints =", "hazard = 1\nhints ="), "hazard: 1 is not a boolean; it must be true or false"),
    "cause": (put('"road_traffic"', '"road_trafic"'), "there is no such type; the nearest is road_traffic"),
    "cause_far": (put('"road_traffic"', '"gravity"'), "causes: entry 1, 'gravity': there is no such type; it must be"),
    "cause_own": (put('"road_traffic"', '"noise_level"'), "causes: entry 1, 'noise_level': it is the card's own type"),
    "exposed": (put('causes = ["road', 'exposure = ["rod'), "exposure: entry 1, 'rod_traffic': there is no such type"),
    "tildes": (put('"noisy"', '"a ~ noise ~ loud"'), "en: entry 2, 'a ~ noise ~ loud': it has more than one '~'"),
    "side": (put('"noisy"', '"noise ~ "'), "it has no words on one side of '~'; it must be 1 to 200"),
    "wordless": (put('"noisy"', '"-"'), "en: entry 2, '-': it has no words"),
    "small": (put('"noisy"', '"of the"'), "en: entry 2, 'of the': it has only small words"),
    "letters": (put('"noisy"', '"rumore 騒音?"'), "en: entry 2, 'rumore 騒音?': '? 音 騒' can't stand in it"),
    "star": (put('"noisy"', '"no*ise"'), "en: entry 2, 'no*ise': '*' stands only at the end of a word"),
    "star_alone": (put('"noisy"', '"noise *"'), "'*' stands only at the end of a word"),
    "star_short": (put('"noisy"', '"n*"'), "en: entry 2, 'n*': it has fewer than three letters before '*'"),
    "equals": (put('"noisy"', '"so =noisy"'), "en: entry 2, 'so =noisy': '=' stands only at its beginning"),
    "hint": (put('"quiet"', '"qu*et"'), "hints: entry 1, 'qu*et': '*' stands only at the end of a word"),
    "storage": (put("[storage]", "[store]"), "storage: this key is missing; it must be a table [storage]"),
    "store": (put("[storage]", "[store]"), "store: this key is unknown; the nearest is storage"),
    "no_table": (lambda text: "storage = 3\n" + text[: text.index("[storage]")], "storage: 3 is not a table"),
    "simulated": (lambda text: text[: text.index("[simulated]")], "simulated: this key is missing; it must be a table"),
    "field": (put('"mobility"', '"traffic"'), "storage.field: 'traffic' is none of them; it must be one of"),
    "unit": (put('"dB"', '""'), "storage.unit: it is empty; it must be the unit as tables write it"),
    "interval": (put("= 600", "= 0"), "storage.interval_s: 0 is out of range; it must be the whole seconds between"),
    "interval_negative": (put("= 600", "= -600"), "storage.interval_s: -600 is out of range"),
    "interval_half": (put("= 600", "= 0.5"), "storage.interval_s: 0.5 is not a whole number"),
    "interval_true": (put("= 600", "= true"), "storage.interval_s: True is not a whole number"),
    "bytes": (put("bytes = 32", 'bytes = "32"'), "storage.bytes: '32' is not a whole number; it must be"),
    "bytes_none": (put("bytes = 32", ""), "storage.bytes: this key is missing; it must be the size"),
    "bytes_name": (put("bytes = 32", "byte = 32"), "storage.byte: this key is unknown; the nearest is storage.bytes"),
    "decimals": (put("decimals = 1", "decimals = 9"), "storage.decimals: 9 is out of range; it must be the decimals"),
    "mean": (put("mean = 58.0", ""), "simulated.mean: this key is missing; it must be the mean over a day"),
    "mean_nan": (put("mean = 58.0", "mean = nan"), "simulated.mean: nan is out of range"),
    "mean_low": (put("mean = 58.0", "mean = 20"), "simulated.mean: 20 is not within simulated.minimum and"),
    "noise": (put("noise = 2.0", "noise = -1"), "simulated.noise: -1 is out of range; it must be the standard"),
    "per_day": (put("mean = 58.0", "mean = 58.0\nper_day = 3"), "simulated.per_day: this key is unknown"),
    "peak": (put("peak_hour = 17.0", "peak_hour = 25"), "simulated.peak_hour: 25 is out of range; it must be the hour"),
    "events": (put("interval_s = 600", ""), "simulated.per_day: this key is missing; it must be the mean number"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), FAULTS.values(), ids=FAULTS)
def test_the_check_says_what_is_wrong_and_what_would_be_right(tmp_path, change, said):
    text = change(CARD)
    assert text != CARD
    path = write(tmp_path, text)
    problems = check_card_file(path)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith(f"{path}: ") and problem.endswith(".") for problem in problems)
    assert all("\n" not in problem and "\x1b" not in problem for problem in problems)


def test_all_faults_are_told_at_once(tmp_path):
    text = CARD.replace("silent_on", "silent").replace('"noisy"', '"n*se"').replace("bytes = 32", "bytes = 0")
    assert len(check_card_file(write(tmp_path, text))) == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("humidity.toml", "the id humidity is that of a bundled type; choose another name for the file"),
        ("NoiseLevel.toml", "'NoiseLevel' is no id; name the file in snake_case as the type"),
        ("noise-level.toml", "'noise-level' is no id"),
        ("noise__level.toml", "'noise__level' is no id"),
        ("2noise.toml", "'2noise' is no id"),
        (f"{'n' * 41}.toml", "is no id"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, said):
    (problem,) = check_card_file(write(tmp_path, CARD, name))
    assert said in problem


def test_types_know_each_other_and_none_has_the_id_of_another(own, tmp_path):
    text = CARD.replace('"road_traffic"', '"horn"')
    assert check_card_file(write(own, text)) == []  # horn stands beside it
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert check_card_file(write(elsewhere, text, "sirens.toml")) == []  # horn is in use
    (problem,) = check_card_file(write(elsewhere, text))
    assert f"the id noise_level is that of {own / 'noise_level.toml'} already; choose another." in problem


def test_files_that_cannot_be_read(tmp_path):
    assert "it can't be read: No such file" in check_card_file(tmp_path / "missing.toml")[0]
    (tmp_path / "latin.toml").write_bytes(b"unit = '\xe9'")
    assert "byte 8 is not UTF-8; save it as UTF-8" in check_card_file(tmp_path / "latin.toml")[0]
