"""Data API Card: the size of a retrieval."""

from agents.apis import Context, known_type, read_area, read_window
from agents.areas import describe, sensors_in
from twin.retrieval import EVENTS_PER_DAY, expected_readings


def estimate_bytes(context: Context, type: str, area: dict | None, start: str, end: str) -> dict:
    """Estimate how many bytes it takes to retrieve all readings of one sensor type in an area over a window.

    What the twin holds already is not taken off: see held_intervals.

    Args:
        type: id of the sensor type, such as "temperature".
        area: where, in the form that find_sensors takes; None is the whole city.
        start: begin of the half-open window, ISO 8601 with offset, such as "2013-11-18T00:00:00+01:00".
        end: end of the window, not part of it, ISO 8601 with offset, not in the future.

    Returns:
        {"type", "area": in words, "sensors": their number, "readings": in all, "bytes": in all, "assumption": how the
        readings were counted}

    Example:
        estimate_bytes("humidity", None, "2013-11-17T00:00:00+01:00", "2013-11-18T00:00:00+01:00")
    """
    kind, where = known_type(type), read_area(context, area)
    window = read_window(context, start, end)
    sensors = len(sensors_in(context.scenario, type, where))
    readings = sensors * expected_readings(kind, [window])
    if kind.interval_s is None:
        assumption = f"{type} records events, which have no fixed rate: {EVENTS_PER_DAY} a day per sensor is assumed"
    else:
        assumption = f"one reading every {kind.interval_s} s per sensor"
    return {
        "type": type,
        "area": describe(where),
        "sensors": sensors,
        "readings": readings,
        "bytes": readings * kind.record_bytes,
        "assumption": assumption,
    }
