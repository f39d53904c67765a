"""Data API Card: the districts."""

from collections import Counter

from agents.apis import Context, first_rows


def list_districts(context: Context, limit: int = 100) -> dict:
    """List the districts of the city, with the number of sensors in each.

    Args:
        limit: most districts to list, 1 to 200.

    Returns:
        {"city", "count": districts in all, "districts": [{"name", "lon" and "lat" of the centre in degrees (WGS84),
        "radius_m" in metres, "sensors": number of sensors}], "left_out": districts not listed, "note": on that}

    Example:
        list_districts()
    """
    scenario = context.scenario
    sensors = Counter(sensor.district for sensor in scenario.sensors)
    rows, left_out = first_rows(list(scenario.districts), limit)
    districts = [
        {"name": d.name, "lon": d.lon, "lat": d.lat, "radius_m": d.radius_m, "sensors": sensors[d.name]} for d in rows
    ]
    return {"city": scenario.city, "count": len(scenario.districts), "districts": districts, **left_out}
