"""The sensor types of the city by field: those of ``sensor_types.json`` (ids are fixed and shared with other programs),
and an operator's own.

An operator's type is one file ``<id>.toml`` in the directory that $LINKS_SCENARIO_SENSOR_TYPES names
(``scenario.sensor_types`` of the configuration): its Sensor Card (``agents.cards``) with two tables more, which this
module reads. ``[storage]`` has what ``sensor_types.json`` says of the others, ``[simulated]`` tells the emulation which
readings to make up. docs/planning.md has an example.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from twin.tables import Key, problems_of, read_table, shown, text, within

VARIABLE = "LINKS_SCENARIO_SENSOR_TYPES"
FIELDS = ("weather", "power", "mobility")
_LARGEST = 1e7  # of generated values; stored with six decimals they have less than SenML's 15 digits


class SensorTypeError(ValueError):
    """Operators' files that can't be used; the message says of each all that is wrong with it."""


@dataclass(frozen=True)
class Simulated:
    """How readings of an operator's type are made up. In its unit: ``mean`` over a day, ``day_amplitude`` above it at
    ``peak_hour`` (local, 0 to 24) and below it twelve hours later, ``noise`` (standard deviation, also between sites),
    all within ``minimum`` and ``maximum``. For events: ``per_day``, mean number per sensor."""

    mean: float = 0.0
    day_amplitude: float = 0.0
    peak_hour: float = 15.0
    noise: float = 0.0
    minimum: float = -_LARGEST
    maximum: float = _LARGEST
    per_day: float = 0.0


@dataclass(frozen=True)
class SensorType:
    """One sensor type. ``interval_s`` is None for types that record events; ``record_bytes`` is one stored reading.

    Of an operator's type also its ``file``, the ``decimals`` of its values and how they are ``simulated``; for the
    others ``twin.sensor_model`` knows.
    """

    id: str
    field: str
    unit: str
    interval_s: int | None
    record_bytes: int
    file: Path | None = None
    decimals: int = 0
    simulated: Simulated | None = None

    @property
    def additive(self) -> bool:
        """Whether sums mean something: of events, and of amounts per interval, whose unit says so as mm/10min does."""
        if self.interval_s is None:
            return True
        return self.unit.endswith((f"/{self.interval_s / 60:g}min", f"/{self.interval_s / 3600:g}h"))


@cache
def sensor_types() -> dict[str, SensorType]:
    """All sensor types by id, in the order of the file, then an operator's in the order of their ids.

    $LINKS_SCENARIO_SENSOR_TYPES is read once per process. Raises SensorTypeError.
    """
    own, problems = {}, []
    for path in type_files(Path(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else ():
        table, wrong = read_table(path)
        kind, more = (None, []) if wrong else own_type(path, table)
        problems += [f"{path}: {problem}." for problem in wrong + more]
        own[path.stem] = kind
    if problems:
        raise SensorTypeError("\n".join(problems))
    return bundled_types() | own


@cache
def bundled_types() -> dict[str, SensorType]:
    """The types of ``sensor_types.json``."""
    fields = json.loads(files("twin").joinpath("sensor_types.json").read_text("utf-8"))["fields"]
    return {
        type_id: SensorType(type_id, field, row["unit"], row["interval_s"], row["bytes"])
        for field, rows in fields.items()
        for type_id, row in rows.items()
    }


def type_files(directory: Path) -> list[Path]:
    """The files ``*.toml`` in an operator's directory but those that begin with "_". Raises SensorTypeError."""
    if not directory.is_dir():
        raise SensorTypeError(f"{directory}: no such directory; it must hold a file per type, such as noise_level.toml")
    return sorted(path for path in directory.glob("*.toml") if not path.name.startswith("_"))


# --- An operator's file -----------------------------------------------------------------------------------------------


def _one_of_the_fields(value: str) -> list[str]:
    return [] if value in FIELDS else [f"{shown(value)} is none of them"]


_UNIT = Key(str, "the unit as tables write it, 1 to 40 characters in one line, such as dB or mm/10min", text(40))
_INTERVAL = "the whole seconds between readings, 1 to 604800, left out where the type records events"
_STORAGE = {
    "field": Key(str, f"one of {', '.join(FIELDS)}", _one_of_the_fields),
    "unit": _UNIT,
    "interval_s": Key(int, _INTERVAL, within(1, 604_800), required=False),
    "bytes": Key(int, "the size of one stored reading, 1 to 4096", within(1, 4096)),
}
_DECIMALS = Key(int, "the decimals of a stored value, 0 to 6", within(0, 6))


def _number(wants: str, low: float = -_LARGEST, high: float = _LARGEST, required: bool = False) -> Key:
    return Key(float, f"{wants}, {low:g} to {high:g}", within(low, high), required)


_SIMULATED = {
    "mean": _number("the mean over a day, in the type's unit", required=True),
    "day_amplitude": _number("how far above the mean a day's peak is", 0),
    "peak_hour": _number("the hour of the day with the peak", 0, 24),
    "noise": _number("the standard deviation around that", 0),
    "minimum": _number("the lowest value that is possible"),
    "maximum": _number("the highest value that is possible"),
}
_SIMULATED_EVENTS = {"per_day": _number("the mean number of events per day and sensor", 0.001, 100, required=True)}


TABLES = {
    "storage": Key(dict, "a table [storage] after the card's keys"),
    "simulated": Key(dict, "a table [simulated] after the card's keys"),
}


def own_type(path: Path, table: Mapping[str, object]) -> tuple[SensorType | None, list[str]]:
    """The type that an operator's file (already read as ``table``) defines, or all that is wrong with its name and with
    its tables ``[storage]`` and ``[simulated]``. The other keys are the card's: ``agents.cards`` checks them."""
    tables = {name: table[name] for name in TABLES if name in table}
    problems = _problems_of_id(path.stem) + problems_of(tables, TABLES)
    storage, simulated = (table.get(name) if isinstance(table.get(name), dict) else None for name in TABLES)
    events = storage is not None and "interval_s" not in storage
    if storage is not None:
        problems += problems_of(storage, _STORAGE if events else _STORAGE | {"decimals": _DECIMALS}, "storage.")
    if storage is not None and simulated is not None:
        problems += problems_of(simulated, _SIMULATED_EVENTS if events else _SIMULATED, "simulated.")
    if problems:
        return None, problems
    how = Simulated(**simulated)
    if not events and not how.minimum <= how.mean <= how.maximum:
        return None, [f"simulated.mean: {how.mean} is not within simulated.minimum and simulated.maximum; it must be"]
    row = (storage["field"], storage["unit"], storage.get("interval_s"), storage["bytes"])
    return SensorType(path.stem, *row, path, storage.get("decimals", 0), how), []


def _problems_of_id(type_id: str) -> list[str]:
    problems = []
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", type_id) or len(type_id) > 40:
        problems.append(f"{shown(type_id)} is no id; name the file in snake_case as the type, such as noise_level.toml")
    if type_id in bundled_types():
        problems.append(f"the id {type_id} is that of a bundled type; choose another name for the file")
    return problems
