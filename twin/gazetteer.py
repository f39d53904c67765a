"""Places by name: Milan's districts, quarters, landmarks, parks, waters, squares and main streets, and some well-known
places elsewhere, so that a question about Rome isn't answered with data of Milan.

The data are one readable table, ``places.csv`` (WGS84 degrees, radius in metres, other names after ``|``). Districts
without coordinates there have those of ``twin.milan_districts``.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from io import StringIO

from twin.milan_districts import PLACES
from twin.words import PhraseIndex, longest, words

KINDS = ("city", "district", "quarter", "landmark", "park", "water", "square", "street", "elsewhere")


@dataclass(frozen=True)
class NamedPlace:
    """A place as a circle. ``kind`` is one of KINDS; "elsewhere" is outside the city."""

    name: str
    kind: str
    lon: float
    lat: float
    radius_m: float
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlaceMatch:
    """A place named in a text, at [start, end) of the text's NFC form."""

    place: NamedPlace
    start: int
    end: int


@cache
def places() -> tuple[NamedPlace, ...]:
    """The whole gazetteer. Raises ValueError for a row that can't be right, with its line number."""
    districts = {place.name: place for place in PLACES}
    table = csv.DictReader(StringIO(files("twin").joinpath("places.csv").read_text("utf-8")))
    found = []
    for row in table:
        where = f"places.csv, line {table.line_num}: {row['name']!r}"
        if row["kind"] not in KINDS:
            raise ValueError(f"{where}: kind {row['kind']!r} is none of {', '.join(KINDS)}")
        if not row["lon"]:
            if row["name"] not in districts:
                raise ValueError(f"{where}: has no coordinates and is no district of twin.milan_districts")
            at = districts.pop(row["name"])
            lon, lat, radius_m = at.lon, at.lat, at.radius_m
        else:
            lon, lat, radius_m = float(row["lon"]), float(row["lat"]), float(row["radius_m"])
        others = tuple(name for name in row["other_names"].split("|") if name)
        found.append(NamedPlace(row["name"], row["kind"], lon, lat, radius_m, others))
    found += [NamedPlace(at.name, "district", at.lon, at.lat, at.radius_m) for at in districts.values()]
    return tuple(found)


def find_places(text: str, more: Iterable[NamedPlace] = ()) -> list[PlaceMatch]:
    """The places named in ``text``, in order, the longest name where several fit ("Via Padova", not "Padova").

    ``more`` are places beyond the gazetteer, such as a scenario's districts; under the same name they come first.
    """
    known, index = _index(tuple(more))
    found = words(text)
    matches, taken = [], -1
    for one in longest(index.find(found)):
        if one.first > taken:  # of several places with the very same name, the first listed
            matches.append(PlaceMatch(known[one.phrase], found[one.first].start, found[one.last].end))
            taken = one.last
    return matches


@lru_cache(maxsize=8)
def _index(more: tuple[NamedPlace, ...]) -> tuple[list[NamedPlace], PhraseIndex]:
    """Place by phrase number, and the index of phrases."""
    named = [(place, name) for place in (*more, *places()) for name in (place.name, *place.other_names)]
    return [place for place, _ in named], PhraseIndex(name for _, name in named)
