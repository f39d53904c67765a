"""Where a question looks: areas from the places it names, and the registered sensors in an area."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from agents.plan import Area
from twin.gazetteer import NamedPlace, PlaceMatch, find_places, towns
from twin.scenario import District, Scenario, Sensor, distance_m
from twin.words import fold

MAX_AREAS = 8
_NEAR_M = 1000.0  # "near", "around" a place: at least so far

_WITHIN = re.compile(
    r"(?:within|nel raggio di|entro) (?:a radius of )?(\d{1,3}(?:[.,]\d+)?) ?(km|kilomet\w+|chilomet\w+|m|met\w+"
    r"|miles?) (?:of|from|around|da|dal|dalla|di) ?(?:the |il |la )?$"
)
_AROUND = re.compile(
    r"(?:near|around|close to|in the vicinity of|next to|by|vicino a|vicino al|intorno a|intorno al)(?: the| la)? $"
)
# Going to or coming from a place elsewhere is no question about that place, nor is a street named after it.
_ON_THE_WAY = re.compile(
    r"(?:(?:to|towards?|from|via|verso|da|dal|dalla|dallo) (?:the )?|dall'"
    r"|(?:leav\w+|left|trains?|bus|flights?|bound|head\w*|off|depart\w*|part\w*|treno|volo)(?: \w+)? (?:for|per) )$"
)
_STREET_OF = re.compile(
    r"\b(?:via|viale|corso|piazza|piazzale|largo|vicolo|ponte|cavalcavia|stazione|fermata) (?:di |del |della )?$"
)
# Where somebody else is, said before the question, is not where it looks: "my boss is on Sardinia; does it rain?"
_SOMEBODY = re.compile(
    r"\b(?:husband|wife|sister|brother|cousin|aunt|uncle|mother|father|mum|dad|grand\w+|friend|colleague|boss|son"
    r"|supervisor|daughter|nonn[ao]|marito|moglie|sorella|fratello|cugin[ao]|zi[ao]|amic[ao]|collega|figli[ao]|capo)"
    r"\b[^.;?!]*$"
)
_THEN_THE_QUESTION = re.compile(r"[^.;?!]*[.;](?!.*\b(?:there|li|la|laggiu)\b).*\w+.*\?", re.DOTALL)
# "against ours": the question is about the city too.
_OURS = re.compile(
    r"\b(?:ours|(?:than|as|like|versus|vs|against) (?:here|us)|(?:che|rispetto a|da) (?:noi|qui|qua)|al nostro)\b"
)
_STREET = re.compile(
    r"\b(?:[Vv]ia|[Vv]iale|[Cc]orso|[Pp]iazza|[Pp]iazzale|[Ll]argo|[Vv]icolo) [A-Z][\w']+(?: [A-Z][\w']+)*"
)
towns()  # loaded with the module, so that no question waits for it


@dataclass(frozen=True)
class Places:
    """What a question says of places: the areas (the city where it names none), what to tell the asker (``notes``), and
    the places elsewhere that it is about (``outside``) when it names none in the city."""

    areas: tuple[Area, ...]
    notes: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


def read_places(text: str, scenario: Scenario) -> Places:
    """The areas that ``text`` (in NFC form) names: a scenario's district by name, anything else as a circle. A place
    that is not the city's own (see ``twin.gazetteer``) is outside."""
    districts = districts_of(scenario)
    folded, whole = fold(text), Area("city", scenario.city)
    areas: dict[str, Area] = {}
    outside, notes, city_named = [], [], False
    found = [
        match for match in find_places(text, districts) if match.own or not _STREET_OF.search(folded[: match.start])
    ]
    for match in found:
        place = match.place
        if _is_whole(place, districts, scenario.city):
            city_named = True
        elif match.own:
            areas.setdefault(place.name, _area(match, folded, scenario))
        elif not _ON_THE_WAY.search(folded[: match.start]) and not _is_aside(match, folded):
            outside.append(place.name)
    if outside and not areas and not city_named and not _OURS.search(folded):
        return Places((), outside=tuple(dict.fromkeys(outside)))
    notes += [f"{name} is outside {scenario.city} and left out" for name in dict.fromkeys(outside)]
    for street in _STREET.finditer(text):
        if not any(match.start < street.end() and street.start() < match.end for match in found):
            rest = "" if areas else f", so the whole of {scenario.city} is taken"
            notes.append(f"the gazetteer does not know {street.group()!r}{rest}")
    if len(areas) > MAX_AREAS:
        notes.append(f"only the first {MAX_AREAS} of {len(areas)} places are taken")
    return Places(tuple(areas.values())[:MAX_AREAS] or (whole,), tuple(notes))


def _is_aside(match: PlaceMatch, folded: str) -> bool:
    return bool(_SOMEBODY.search(folded[: match.start]) and _THEN_THE_QUESTION.match(folded[match.end :]))


def districts_of(scenario: Scenario) -> tuple[NamedPlace, ...]:
    """The scenario's districts as the gazetteer takes them."""
    return _named(scenario.districts)


@lru_cache(maxsize=8)
def _named(districts: tuple[District, ...]) -> tuple[NamedPlace, ...]:
    return tuple(NamedPlace(d.name, "district", d.lon, d.lat, d.radius_m) for d in districts)


def _is_whole(place: NamedPlace, districts: Iterable[NamedPlace], city: str) -> bool:
    """Whether a place is the scenario's city itself, or a city or region that has all its districts in it."""
    return city in (place.name, *place.other_names) or (
        place.kind in ("city", "region")
        and all(distance_m(place.lon, place.lat, one.lon, one.lat) <= place.radius_m for one in districts)
    )


def _area(match: PlaceMatch, folded: str, scenario: Scenario) -> Area:
    place, before = match.place, folded[: match.start]
    within = _WITHIN.search(before)
    if within:
        unit_m = 1.0 if within[2].startswith("m") and not within[2].startswith("mile") else 1000.0
        unit_m = 1609.344 if within[2].startswith("mile") else unit_m
        return Area("circle", place.name, place.lon, place.lat, float(within[1].replace(",", ".")) * unit_m)
    if place.name in scenario.district:
        return Area("district", place.name)
    radius_m = max(place.radius_m, _NEAR_M) if _AROUND.search(before) else place.radius_m
    return Area("circle", place.name, place.lon, place.lat, radius_m)


def sensors_of_types(scenario: Scenario, types: Iterable[str]) -> dict[str, list[Sensor]]:
    """The registered sensors of some types, by type, in the scenario's order; every type asked for is present."""
    by_type: dict[str, list[Sensor]] = {type_id: [] for type_id in types}
    for sensor in scenario.sensors:
        if sensor.type in by_type:
            by_type[sensor.type].append(sensor)
    return by_type


def sensors_in(scenario: Scenario, type_id: str, area: Area) -> list[Sensor]:
    """The registered sensors of a type in an area, in the scenario's order."""
    return inside(area, sensors_of_types(scenario, [type_id])[type_id])


def inside(area: Area, sensors: Iterable[Sensor]) -> list[Sensor]:
    """Those of the sensors that stand in an area."""
    return [sensor for sensor in sensors if contains(area, sensor)]


def contains(area: Area, sensor: Sensor) -> bool:
    """Whether a sensor stands in an area: by its district's name, or by its position."""
    if area.kind == "city":
        return True
    if area.kind == "district":
        return sensor.district == area.name
    if area.kind == "circle":
        return distance_m(area.lon, area.lat, sensor.lon, sensor.lat) <= area.radius_m
    return _in_ring(sensor.lon, sensor.lat, area.ring)


def widened_to_nearest(area: Area, sensors: Iterable[Sensor], scenario: Scenario) -> Area | None:
    """A circle round the area's centre that just reaches the nearest of the sensors; None where there is none."""
    lon, lat = _centre(area, scenario)
    nearest_m = min((distance_m(lon, lat, sensor.lon, sensor.lat) for sensor in sensors), default=None)
    return None if nearest_m is None else Area("circle", area.name, lon, lat, float(math.ceil(nearest_m) or 1))


def _centre(area: Area, scenario: Scenario) -> tuple[float, float]:
    if area.kind == "district":
        district = scenario.district[area.name]
        return district.lon, district.lat
    if area.kind == "circle":
        return area.lon, area.lat
    points = area.ring or [(cell.lon, cell.lat) for cell in scenario.cells]
    return sum(lon for lon, _ in points) / len(points), sum(lat for _, lat in points) / len(points)


def _in_ring(lon: float, lat: float, ring: Iterable[tuple[float, float]]) -> bool:
    """Even-odd rule; the ring closes by itself."""
    points = list(ring)
    inside = False
    for (lon_a, lat_a), (lon_b, lat_b) in zip(points, points[1:] + points[:1], strict=True):
        if (lat_a > lat) != (lat_b > lat) and lon < lon_a + (lat - lat_a) / (lat_b - lat_a) * (lon_b - lon_a):
            inside = not inside
    return inside


def describe(area: Area) -> str:
    """An area in words."""
    if area.kind == "city":
        return f"the whole of {area.name}"
    if area.kind == "polygon":
        return area.name or "the polygon"
    return area.name if area.kind == "district" else f"{area.name} and {area.radius_m:.0f} m around"
