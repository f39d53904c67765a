"""The sensor types of the city by field, from ``sensor_types.json`` (ids are fixed and shared with other programs)."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class SensorType:
    """One sensor type. ``interval_s`` is None for types that record events; ``record_bytes`` is one stored reading."""

    id: str
    field: str
    unit: str
    interval_s: int | None
    record_bytes: int


@cache
def sensor_types() -> dict[str, SensorType]:
    """All sensor types by id, in the order of the file."""
    fields = json.loads(files("twin").joinpath("sensor_types.json").read_text("utf-8"))["fields"]
    return {
        type_id: SensorType(type_id, field, row["unit"], row["interval_s"], row["bytes"])
        for field, rows in fields.items()
        for type_id, row in rows.items()
    }
