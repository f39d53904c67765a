"""The gazetteer finds places by name, whatever the case, accents and language, and takes the longest name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.gazetteer import KINDS, NamedPlace, find_places, places
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
    for place in places():
        for name in (place.name, *place.other_names):
            assert names(f"xx {name} xx")[:1] == [place.name], name


def test_places_of_the_city_are_in_the_city_and_the_others_are_not():
    (milan,) = [place for place in places() if place.kind == "city"]
    for place in places():
        away_m = distance_m(milan.lon, milan.lat, place.lon, place.lat)
        assert place.kind in KINDS and place.radius_m > 0
        assert away_m > 12_000 if place.kind == "elsewhere" else away_m < 12_000, place.name


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
