"""Data API Card: registered sensors."""

from agents.apis import Context, first_rows, known_type, read_area
from agents.areas import describe, inside, sensors_in, sensors_of_types, widened_to_nearest


def find_sensors(context: Context, type: str, area: dict | None = None, limit: int = 50) -> dict:
    """Find the registered sensors of one type in an area; where it has none, the nearest one elsewhere.

    Args:
        type: id of the sensor type, such as "temperature".
        area: where, as in a data plan: {"kind": "city", "name"}, {"kind": "district", "name"}, {"kind": "circle",
            "name", "lon", "lat", "radius_m"} with degrees (WGS84) and metres, or {"kind": "polygon", "name", "ring"}
            with [lon, lat] points; None is the whole city.
        limit: most sensors to list, 1 to 200; "count" counts all.

    Returns:
        {"type", "area": in words, "count": sensors in the area, "sensors": [{"id", "district", "lon", "lat"}] with
        degrees (WGS84), "left_out": sensors not listed, "note": on that, "nearest": None, or where the area has
        no sensor, {"id", "district", "radius_m": metres from the area's centre}}

    Example:
        find_sensors("temperature", {"kind": "district", "name": "Brera"})
    """
    known_type(type)
    where = read_area(context, area)
    found = sensors_in(context.scenario, type, where)
    rows, left_out = first_rows(found, limit)
    nearest = None
    if not found:
        registered = sensors_of_types(context.scenario, [type])[type]
        wider = widened_to_nearest(where, registered, context.scenario)
        if wider is not None:
            sensor = inside(wider, registered)[0]
            nearest = {"id": sensor.id, "district": sensor.district, "radius_m": wider.radius_m}
    return {
        "type": type,
        "area": describe(where),
        "count": len(found),
        "sensors": [{"id": s.id, "district": s.district, "lon": s.lon, "lat": s.lat} for s in rows],
        **left_out,
        "nearest": nearest,
    }
