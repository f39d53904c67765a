"""Areas from the places named, and the sensors inside them."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.areas import MAX_AREAS, inside, read_places, sensors_in, sensors_of_types, widened_to_nearest
from agents.plan import Area
from evaluation.planning import read_queries
from twin.generate import make_scenario
from twin.scenario import District, Scenario, distance_m

WHEN_AND_WHERE = Path(__file__).parent / "when_and_where.yaml"


@pytest.fixture(scope="module")
def trento(milan) -> Scenario:
    """The bundled scenario moved to Trento, with one of its districts in Rovereto."""
    east, north = 11.1217 - 9.19, 46.0679 - 45.4642
    districts = [District(f"Area {i}", d.lon + east, d.lat + north, d.radius_m) for i, d in enumerate(milan.districts)]
    districts[0] = District("Rovereto centre", 11.0400, 45.8900, 800.0)
    return replace(milan, city="Trento", districts=tuple(districts))


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


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("How is the weather in Leuven?", "Leuven"),
        ("Che tempo fa a Trapani?", "Trapani"),
        ("smog in Dusseldorf and jams", "Düsseldorf"),
        ("traffic in New Orleans today", "New Orleans"),
        ("snow at Madonna di Campiglio", "Madonna di Campiglio"),
        ("Is it raining in Nice?", "Nice"),
        ("forecast for Paris", "Paris"),
        ("quanto è alto l'Adige", "Adige"),
        ("Passengers at Napoli Centrale", "Naples"),
        ("My sister is in Turin. Is it raining there?", "Turin"),
        ("Is it warm for my aunt in Turin?", "Turin"),
    ],
)
def test_cities_that_are_not_the_scenarios_are_outside(milan, text, outside):
    assert read_places(text, milan).outside == (outside,)


@pytest.mark.parametrize(
    "text",
    ["what happened in March", "traffic on Mobile networks at Most", "Traffic In Reading Of Last Year", "a nice day",
     "chiedi a Paola se piove", "a Victoria sponge", "I leave for Rome tomorrow", "the flight from Leuven",
     "is it near San Lorenzo", "però in fondo non piove", "outages in Via Treviso", "crowd at Piazza Siena",
     "it may split in two", "the ring of the phone", "centre of gravity", "prova in isola", "ampere in galleria",
     "su scala urbana", "le marche delle auto", "quanto pagano", "an inflatable castle on the lawn",
     "Turin's smog against ours", "my boss is on Sardinia and I'm here; is it raining?"],
)  # fmt: skip
def test_what_is_no_place_of_the_question_leaves_the_whole_city(milan, text):
    assert read_places(text, milan).areas == (Area("city", "Milan"),)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fireworks over the castle", "Castello Sforzesco"),
        ("crowds at the stadium", "San Siro"),
        ("a boat along the canals", "Navigli"),
        ("amps into the centre", "Centro Storico"),
        ("gente alla fermata Lanza", "Lanza station"),
        ("queue on the eastern ring road", "Tangenziale Est"),
        ("cars entering Area C", "Area C"),
        ("fog in Segrate", "Segrate"),
        ("il parcheggio di Bisceglie", "Bisceglie station"),
        ("wind over the northern districts", "Northern Milan"),
        ("is there a jam at Rho?", "Rho"),
    ],
)
def test_places_as_people_of_milan_name_them(milan, text, name):
    (area,) = read_places(text, milan).areas
    assert (area.kind, area.name) in {("circle", name), ("district", name)}


def test_the_same_names_mean_other_places_in_another_city(milan, trento):
    def names(text: str, scenario: Scenario) -> list[str]:
        return [area.name for area in read_places(text, scenario).areas]

    assert names("traffic in Rovereto", trento) == ["Rovereto"]
    assert names("fog at the castle", trento) == ["Castello del Buonconsiglio"]
    assert names("fog at the castle", milan) == ["Castello Sforzesco"]
    assert names("outages in piazza Duomo", trento) == ["Duomo di Trento"]
    assert names("how high is the Adige", trento) == ["Adige"]
    assert names("how hot is it in Trentino", trento) == ["Trento"]  # all of its districts lie in it
    assert read_places("traffic in Rovereto", milan).outside == ("Rovereto",)
    assert read_places("how hot is it in Milan", trento).outside == ("Milan",)
    assert names("traffic in Via Garibaldi and Corso Italia", trento) == ["Trento"]


def test_places_of_many_questions(milan):
    """Of the questions with an area, the share whose places are those of the area."""
    queries = [query for query in read_queries(WHEN_AND_WHERE)[1] if query.area]

    def names(text: str) -> set[str]:
        return {area.name for area in read_places(text, milan).areas if area.kind != "city"}

    right = [all(names(part) and names(part) <= names(query.q) for part in query.area.split(";")) for query in queries]
    assert len(right) > 100
    assert sum(right) / len(right) >= 0.97


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
