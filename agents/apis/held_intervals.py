"""Data API Card: what the twin holds."""

from datetime import UTC, datetime

from agents.apis import Context, first_rows, known_sensor
from twin.intervals import length_s, normalise


def held_intervals(context: Context, sensor_id: str, limit: int = 50) -> dict:
    """Tell which intervals of a sensor's readings the twin holds already, so that they need not be fetched.

    Args:
        sensor_id: id of the sensor, such as "s001"; find_sensors(type) lists them.
        limit: most intervals to list, 1 to 200; the latest are kept.

    Returns:
        {"sensor_id", "store": False where the twin's store is not at hand and nothing is known, "count": intervals in
        all, "held_s": seconds held in all, "intervals": [{"start", "end"}], latest first, half-open, ISO 8601 with
        offset, "left_out": intervals not listed, "note": on that}

    Example:
        held_intervals("s001")
    """
    known_sensor(context, sensor_id)
    held = normalise(context.held(sensor_id)) if context.held is not None else ()
    rows, left_out = first_rows(list(reversed(held)), limit)
    zone = context.scenario.zone

    def local(epoch_s: int) -> str:
        return datetime.fromtimestamp(epoch_s, UTC).astimezone(zone).isoformat()

    return {
        "sensor_id": sensor_id,
        "store": context.held is not None,
        "count": len(held),
        "held_s": length_s(held),
        "intervals": [{"start": local(start), "end": local(end)} for start, end in rows],
        **left_out,
    }
