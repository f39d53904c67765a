"""Areas from the places named, and the sensors inside them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.areas import MAX_AREAS, inside, read_places, sensors_in, sensors_of_types, widened_to_nearest
from agents.plan import Area
from twin.generate import make_scenario
from twin.scenario import distance_m


def test_no_place_is_the_whole_city(milan):
    assert read_places("how hot is it", milan).areas == (Area("city", "Milan"),)
    assert read_places("how hot is it in Milano", milan).areas == (Area("city", "Milan"),)


def test_a_district_of_the_scenario_goes_by_name_and_anything_else_is_a_circle(milan):
    assert read_places("in brera and Città Studi", milan).areas == (
        Area("district", "Brera"),
        Area("district", "Città Studi"),
    )
    (area,) = read_places("along Via Padova in Milan", milan).areas
    assert (area.kind, area.name) == ("circle", "Via Padova") and area.radius_m > 1000


def test_distances_said_are_kept(milan):
    assert read_places("within 2.5 km of the Castello Sforzesco", milan).areas[0].radius_m == 2500
    assert read_places("within 300 m of the Duomo", milan).areas[0].radius_m == 300
    assert read_places("near the Castello Sforzesco", milan).areas[0].radius_m == 1000


def test_districts_of_any_scenario_are_known():
    wide = make_scenario(70, 140)
    name = wide.districts[-1].name
    assert read_places(f"how hot is it in {name}?", wide).areas == (Area("district", name),)


@pytest.mark.parametrize("text", ["the weather in Rome", "Che tempo fa a Torino?", "traffic in New York"])
def test_a_place_elsewhere_alone_is_outside(milan, text):
    places = read_places(text, milan)
    assert places.outside and not places.areas


def test_a_place_elsewhere_on_the_way_or_beside_one_here(milan):
    assert read_places("I drive to Como tomorrow", milan).areas == (Area("city", "Milan"),)
    both = read_places("compare Rome and Brera", milan)
    assert both.areas == (Area("district", "Brera"),)
    assert both.notes == ("Rome is outside Milan and left out",)


def test_an_unknown_street_is_told(milan):
    assert "'Via Pirandello'" in read_places("traffic in Via Pirandello", milan).notes[0]
    assert read_places("traffic in Via Torino", milan).notes == ()


def test_too_many_places_are_told(milan):
    places = read_places(" and ".join(district.name for district in milan.districts), milan)
    assert len(places.areas) == MAX_AREAS
    assert f"only the first {MAX_AREAS} of {len(milan.districts)}" in places.notes[-1]


def test_sensors_inside_by_hand(milan):
    sensors = sensors_of_types(milan, ["temperature"])["temperature"]
    brera = inside(Area("district", "Brera"), sensors)
    assert {sensor.id for sensor in brera} == {
        sensor.id for sensor in milan.sensors if sensor.type == "temperature" and sensor.district == "Brera"
    }
    assert sensors_in(milan, "temperature", Area("district", "Brera")) == brera
    assert inside(Area("city", "Milan"), sensors) == sensors
    at = sensors[0]
    assert inside(Area("circle", "here", at.lon, at.lat, 1.0), sensors) == [at]
    d = 0.0001
    ring = ((at.lon - d, at.lat - d), (at.lon + d, at.lat - d), (at.lon + d, at.lat + d), (at.lon - d, at.lat + d))
    assert inside(Area("polygon", "box", ring=ring), sensors) == [at]
    moved = tuple((lon + 1, lat) for lon, lat in ring)
    assert inside(Area("polygon", "elsewhere", ring=moved), sensors) == []


@given(st.floats(9.0, 9.3), st.floats(45.4, 45.55))
def test_the_nearest_sensor_is_the_nearest(milan, lon, lat):
    sensors = sensors_of_types(milan, ["outage"])["outage"]
    wider = widened_to_nearest(Area("circle", "x", lon, lat, 1.0), sensors, milan)
    found = inside(wider, sensors)
    nearest = min(sensors, key=lambda sensor: distance_m(lon, lat, sensor.lon, sensor.lat))
    assert nearest in found
    assert all(distance_m(lon, lat, s.lon, s.lat) <= wider.radius_m for s in found)
    assert widened_to_nearest(wider, [], replace(milan, sensors=())) is None
