"""Data API Card: one sensor."""

from agents.apis import Context, known_sensor
from agents.cards import sensor_cards
from twin.sensor_types import sensor_types


def sensor_details(context: Context, sensor_id: str) -> dict:
    """Tell what one sensor measures, how often, and where it stands.

    Args:
        sensor_id: id of the sensor, such as "s001"; find_sensors(type) lists them.

    Returns:
        {"id", "type", "field", "monitors": in words, "unit", "interval_s": seconds between readings, None for types
        that record events, "record_bytes": bytes of one stored reading, "district", "cell", "lon" and "lat" in degrees
        (WGS84), "height_m": metres above ground}

    Example:
        sensor_details("s001")
    """
    sensor = known_sensor(context, sensor_id)
    kind, card = sensor_types()[sensor.type], sensor_cards()[sensor.type]
    return {
        "id": sensor.id,
        "type": sensor.type,
        "field": kind.field,
        "monitors": card.monitors,
        "unit": kind.unit,
        "interval_s": kind.interval_s,
        "record_bytes": kind.record_bytes,
        "district": sensor.district,
        "cell": sensor.cell,
        "lon": sensor.lon,
        "lat": sensor.lat,
        "height_m": sensor.height_m,
    }
