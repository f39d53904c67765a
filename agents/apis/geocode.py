"""Data API Card: places by name."""

from agents.apis import ApiError, Context, area_to_json, nearest, short_text
from agents.areas import districts_of, read_places
from twin.gazetteer import find_places, own_places


def geocode(context: Context, place: str) -> dict:
    """Look up one place of the city by its name: where it is, and the area to give to the other functions.

    Args:
        place: name of one district, quarter, station, landmark, park, water, square or main street, in English or
            Italian; with "within 2 km of" before it, or "near", the area grows.

    Returns:
        {"name", "kind", "lon" and "lat" in degrees (WGS84), "radius_m" in metres, "area": the place as an area}

    Example:
        geocode("Castello Sforzesco")
    """
    short_text("place", place)
    scenario = context.scenario
    districts = districts_of(scenario)
    found = list(dict.fromkeys((match.place, match.own) for match in find_places(place, districts)))
    if not found:
        known = nearest(place, (one.name for one in own_places(districts)))
        raise ApiError(f"no place called {place!r} is known{known}; list_districts() lists districts")
    if len(found) > 1:
        names = ", ".join(one.name for one, _ in found)
        raise ApiError(f"{place!r} names {len(found)} places: {names}; ask for one at a time")
    ((at, own),) = found
    if not own:
        raise ApiError(f"{at.name} is outside {scenario.city}, where all sensors are")
    (area,) = read_places(place, scenario).areas
    return {
        "name": at.name,
        "kind": at.kind,
        "lon": at.lon,
        "lat": at.lat,
        "radius_m": at.radius_m,
        "area": area_to_json(area),
    }
