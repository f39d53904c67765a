"""The scenario file: strict loading, round trip; sensor types and wiring, which follow from it."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.generate import make_scenario
from twin.scenario import (
    Scenario,
    ScenarioError,
    distance_m,
    load_scenario,
    save_scenario,
    scenario_from_json,
    scenario_to_json,
)
from twin.sensor_types import sensor_types
from twin.wiring import Wiring

SMALL = make_scenario(cells=2, sensors=40, seed=5)


def changed(**parts) -> str:
    """The small scenario's file with top-level keys replaced."""
    return json.dumps(json.loads(scenario_to_json(SMALL)) | parts)


def with_row(key: str, **parts) -> str:
    """The small scenario's file with the first row of a list changed; a part given as None is left out."""
    document = json.loads(scenario_to_json(SMALL))
    row = document[key][0] | parts
    document[key][0] = {name: value for name, value in row.items() if value is not None}
    return json.dumps(document)


@given(cells=st.integers(1, 70), sensors=st.integers(0, 200), seed=st.integers(-(2**70), 2**70), city=st.text())
@settings(max_examples=40, deadline=None)
def test_what_is_written_reads_back_equal(cells, sensors, seed, city):
    scenario = make_scenario(cells, sensors, seed, city)
    assert scenario_from_json(scenario_to_json(scenario), "x") == scenario


@given(
    row=st.builds(
        dict,
        lon=st.floats(-180, 180),
        lat=st.floats(-90, 90),
        height_m=st.floats(0, 1e6, exclude_min=True),
        type=st.sampled_from(sorted(sensor_types())),
    )
)
def test_any_valid_sensor_row_reads_back_equal(row):
    scenario = scenario_from_json(with_row("sensors", **row), "x")
    assert dataclasses.asdict(scenario.sensors[0]) == dataclasses.asdict(SMALL.sensors[0]) | row
    assert scenario_from_json(scenario_to_json(scenario), "x") == scenario


def test_files_round_trip_and_hold_one_object_per_line(tmp_path):
    save_scenario(SMALL, tmp_path / "x.json")
    assert load_scenario(tmp_path / "x.json") == SMALL
    lines = (tmp_path / "x.json").read_text("utf-8").splitlines()
    assert sum('"ipv4"' in line for line in lines) == len(SMALL.sensors)


def test_whole_numbers_are_read_as_floats_where_floats_are_meant():
    height = scenario_from_json(with_row("cells", height_m=25), "x").cells[0].height_m
    assert type(height) is float and height == 25


def test_the_documented_example_loads():
    page = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text("utf-8")
    example = re.search(r"```jsonc\n(.*?)```", page, re.DOTALL).group(1)
    scenario = scenario_from_json(re.sub(r"//.*", "", example), "example")
    assert scenario.sensors[0].type == "leakage_current" and scenario.radio == SMALL.radio


BAD = {
    "unknown key": (changed(colour="red"), "unknown key 'colour'"),
    "missing key": (with_row("cells", height_m=None), "cells[0]: key 'height_m' is missing"),
    "unknown key in a row": (with_row("sensors", model="x"), "sensors[0]: unknown key 'model'"),
    "not an object": ("[]", "an object is expected"),
    "not JSON": ('{"city": ', "line 1"),
    "key twice": ('{"city": "a", "city": "b"}', "key 'city' is used twice"),
    "NaN": (changed().replace("25.0", "NaN", 1), "NaN"),
    "infinite": (changed().replace("25.0", "1e999", 1), "finite number"),
    "nested too deep": ("[" * 100_000, "recursion"),
    "text for a number": (with_row("cells", height_m="25"), "cells[0]: height_m: a finite number is expected"),
    "bool for a number": (changed(seed=True), "seed: a whole number is expected"),
    "float for a whole number": (with_row("cells", resource_blocks=10.5), "whole number"),
    "row that is no object": (changed(cells=[3]), "cells[0]: an object is expected"),
    "list that is none": (changed(cells={}), "cells: a list is expected"),
    "time zone": (changed(timezone="Mars/Olympus"), "timezone: 'Mars/Olympus'"),
    "time zone that is a folder": (changed(timezone="Europe"), "timezone: 'Europe'"),
    "time zone outside": (changed(timezone="../passwd"), "timezone"),
    "now without offset": (changed(now="2013-11-18T12:00:00"), "no offset"),
    "now that is no time": (changed(now="noon"), "ISO 8601"),
    "now out of range": (changed(now="0001-01-01T00:00:00+00:00"), "1971 to 2100"),
    "subnet": (changed(subnet="10.66.0.1/16"), "subnet"),
    "no cells": (changed(cells=[], coordinators=[], ues=[], sensors=[]), "at least one"),
    "radio": (changed(radio=dataclasses.asdict(SMALL.radio) | {"slot_s": 0}), "radio: slot_s"),
    "cell id": (with_row("cells", id="a b"), "'a b'"),
    "cell id twice": (with_row("cells", id="c02"), "cells: id 'c02' is used twice"),
    "square": (with_row("cells", square_id=10_001), "square_id 10001"),
    "cell without blocks": (with_row("cells", resource_blocks=0), "resource_blocks"),
    "cell without coordinator": (changed(coordinators=[]), "c01: has no Zigbee coordinator"),
    "two coordinators of a cell": (with_row("coordinators", cell="c02"), "coordinators: cell 'c02' is used twice"),
    "channel": (with_row("coordinators", channel=10), "channel 10"),
    "unknown district": (with_row("cells", district="Atlantis"), "district 'Atlantis' is not defined"),
    "unknown cell": (with_row("ues", cell="c99"), "cell 'c99' is not defined"),
    "unknown type": (with_row("sensors", type="sonar"), "type 'sonar' is not defined"),
    "district twice": (changed(districts=[dataclasses.asdict(SMALL.districts[0])] * 2), "districts: name"),
    "district without radius": (with_row("districts", radius_m=0), "radius_m"),
    "place": (with_row("ues", lat=91), "no place on Earth"),
    "height": (with_row("sensors", height_m=-1), "height_m -1"),
    "address twice": (with_row("sensors", ipv4=SMALL.twin_ipv4), f"ipv4 '{SMALL.twin_ipv4}' is used twice"),
    "address outside": (with_row("sensors", ipv4="192.0.2.1"), "192.0.2.1"),
    "address that is none": (with_row("sensors", ipv4="10.66.1.01"), "10.66.1.01"),
    "MAC twice": (with_row("sensors", mac=SMALL.twin_mac), "mac"),
    "group MAC": (with_row("sensors", mac="03:66:0a:42:09:01"), "group address"),
    "upper-case MAC": (with_row("sensors", mac="02:66:0A:42:09:01"), "lower-case"),
    "a switch's name": (with_row("sensors", id="gw01"), "sensors gw01: this id is the name of a switch"),
    "port of an uplink": (with_row("sensors", port=2), "port 2"),
    "port twice": (with_row("sensors", port=4), "sensors: cell and port"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_scenario_is_refused_by_name(name):
    text, part = BAD[name]
    with pytest.raises(ScenarioError) as caught:
        scenario_from_json(text, "mine.json")
    assert str(caught.value).startswith("mine.json")
    assert part in str(caught.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ScenarioError) as caught:
        scenario_from_json(changed(timezone="Mars/Olympus", now="noon", subnet="x"), "x")
    assert all(part in str(caught.value) for part in ("Mars/Olympus", "noon", "subnet"))


def test_a_file_that_is_missing_or_no_utf8_is_an_error(tmp_path):
    with pytest.raises(ScenarioError, match="no such file.*milan"):
        load_scenario(tmp_path / "none.json")
    (tmp_path / "x.json").write_bytes(scenario_to_json(SMALL).encode("utf-16"))
    with pytest.raises(ScenarioError, match="UTF-8"):
        load_scenario(tmp_path / "x.json")


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Scenario)]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.text()),
)))  # fmt: skip
def test_no_content_ends_in_anything_but_a_scenario_or_a_scenario_error(parts):
    try:
        scenario_from_json(changed(**parts), "x")
    except ScenarioError:
        pass


def test_lookups_agree_with_the_rows():
    assert SMALL.cell["c02"] is SMALL.cells[1]
    assert SMALL.coordinator_of["c02"].cell == "c02"
    assert sorted(s.id for rows in SMALL.sensors_of.values() for s in rows) == sorted(SMALL.sensor)
    assert SMALL.start.utcoffset().total_seconds() == 3600


def test_distance_matches_known_ones():
    # A degree of latitude, and Milan cathedral to Castello Sforzesco (about 1.2 km on the map).
    assert distance_m(9, 45, 9, 46) == pytest.approx(111_195, abs=1)
    assert distance_m(9.1919, 45.4642, 9.1793, 45.4705) == pytest.approx(1208, abs=10)


def test_sensor_types_are_the_twenty_of_three_fields():
    assert Counter(t.field for t in sensor_types().values()) == {"weather": 8, "power": 7, "mobility": 5}
    assert {t.id for t in sensor_types().values() if t.interval_s is None} == {"outage", "accident"}
    assert all(t.record_bytes > 0 for t in sensor_types().values())


@given(cells=st.integers(1, 120), sensors=st.integers(0, 150))
@settings(max_examples=20, deadline=None)
def test_wiring_uses_every_port_once_and_connects_everything(cells, sensors):
    scenario = make_scenario(cells, sensors)
    wiring = Wiring(scenario)
    switches = {switch.name for switch in wiring.switches}
    assert len(switches) == len({switch.datapath_id for switch in wiring.switches}) == 1 + 3 * cells
    assert all(len(name) <= 8 for name in switches)
    ends = [end for link in wiring.links for end in ((link.a, link.a_port), (link.b, link.b_port))]
    ports = [end for end in ends if end[0] in switches]
    assert len(ports) == len(set(ports))
    hosts = [name for name, _ in ends if name not in switches]
    assert sorted(hosts) == sorted(["twin", *scenario.sensor])
    reached, links = {"twin"}, wiring.links
    for _ in range(5):  # twin, core, base station, gateway, sensor
        reached |= {b for a, b in ((k.a, k.b) for k in links) if a in reached}
        reached |= {a for a, b in ((k.a, k.b) for k in links) if b in reached}
    assert reached == switches | set(hosts)
