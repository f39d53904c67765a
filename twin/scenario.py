"""The scenario: a city, its cells, Zigbee coordinators, cellular users and sensors, in one readable JSON file.

The file holds one object per line in each list, so that it reads and diffs like a table. Loading is strict: unknown or
missing keys, wrong types, doubled ids and addresses, and references to nothing are errors that name the place.
"""

import dataclasses
import ipaddress
import json
import math
import re
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from twin.sensor_types import sensor_types

EARTH_RADIUS_M = 6_371_008.8
BUNDLED = ("milan",)


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message names file, place, value and what would be right."""


@dataclass(frozen=True)
class District:
    """A named part of the city: the circle around its centre in which its sensors stand."""

    name: str
    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True)
class Cell:
    """A 6G cell with its base station (``bs``), tied to a square of the Milan grid for its load."""

    id: str
    district: str
    lon: float
    lat: float
    height_m: float
    square_id: int
    resource_blocks: int
    capacity_bps: float


@dataclass(frozen=True)
class Coordinator:
    """A Zigbee coordinator; it serves the sensors of one cell's gateway."""

    id: str
    cell: str
    lon: float
    lat: float
    channel: int


@dataclass(frozen=True)
class UserEquipment:
    """A conventional cellular (CC) user, source of the cell's own load and of interference to other cells."""

    id: str
    cell: str
    lon: float
    lat: float
    height_m: float
    power_dbm: float


@dataclass(frozen=True)
class Sensor:
    """A sensor with its own radio and address. ``port`` is its OpenFlow port on its cell's gateway."""

    id: str
    type: str
    cell: str
    district: str
    lon: float
    lat: float
    height_m: float
    ipv4: str
    mac: str
    port: int


@dataclass(frozen=True)
class Radio:
    """Parameters of the 6G uplink, common to all cells (TR 38.901 UMa)."""

    frequency_hz: float
    rb_bandwidth_hz: float
    slot_s: float
    noise_figure_db: float
    p_max_dbm: float
    sinr_min_db: float


@dataclass(frozen=True)
class Scenario:
    """Everything that stands still. ``now`` is the moment at which the emulated clock starts (ISO 8601 with offset)."""

    city: str
    timezone: str
    now: str
    seed: int
    subnet: str
    twin_ipv4: str
    twin_mac: str
    radio: Radio
    districts: tuple[District, ...]
    cells: tuple[Cell, ...]
    coordinators: tuple[Coordinator, ...]
    ues: tuple[UserEquipment, ...]
    sensors: tuple[Sensor, ...]

    @cached_property
    def cell(self) -> dict[str, Cell]:
        return {cell.id: cell for cell in self.cells}

    @cached_property
    def sensor(self) -> dict[str, Sensor]:
        return {sensor.id: sensor for sensor in self.sensors}

    @cached_property
    def district(self) -> dict[str, District]:
        return {district.name: district for district in self.districts}

    @cached_property
    def coordinator_of(self) -> dict[str, Coordinator]:
        """Coordinator by cell id."""
        return {coordinator.cell: coordinator for coordinator in self.coordinators}

    @cached_property
    def sensors_of(self) -> dict[str, tuple[Sensor, ...]]:
        """Sensors by cell id, every cell present."""
        by_cell: dict[str, list[Sensor]] = {cell.id: [] for cell in self.cells}
        for sensor in self.sensors:
            by_cell[sensor.cell].append(sensor)
        return {cell: tuple(sensors) for cell, sensors in by_cell.items()}

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def start(self) -> datetime:
        """``now`` as an aware datetime in the city's zone."""
        return datetime.fromisoformat(self.now).astimezone(self.zone)


def distance_m(lon_a: float, lat_a: float, lon_b: float, lat_b: float) -> float:
    """Great-circle distance in metres between two WGS84 points in degrees (haversine)."""
    a, b = math.radians(lat_a), math.radians(lat_b)
    h = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


def load_scenario(source: str | Path) -> Scenario:
    """Load a bundled scenario by name (``"milan"``) or a file by path. Raises ScenarioError, OSError."""
    if str(source) in BUNDLED:
        return scenario_from_json(files("twin").joinpath("scenarios", f"{source}.json").read_text("utf-8"), str(source))
    path = Path(source)
    if not path.is_file():
        raise ScenarioError(f"scenario {str(source)!r}: no such file, and not one of the bundled: {', '.join(BUNDLED)}")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    return scenario_from_json(text, str(path))


def save_scenario(scenario: Scenario, path: Path) -> None:
    """Write a scenario file that load_scenario reads back as an equal Scenario."""
    path.write_text(scenario_to_json(scenario), "utf-8")


def scenario_to_json(scenario: Scenario) -> str:
    """The file's text: scalars first, then each list with one object per line."""
    lines = []
    for field in dataclasses.fields(scenario):
        value = getattr(scenario, field.name)
        if isinstance(value, tuple):
            rows = ",\n".join("    " + json.dumps(dataclasses.asdict(row), ensure_ascii=False) for row in value)
            text = f"[\n{rows}\n  ]" if value else "[]"
        else:
            plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
            text = json.dumps(plain, ensure_ascii=False)
        lines.append(f'  "{field.name}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def scenario_from_json(text: str, name: str) -> Scenario:
    """Parse and check a scenario. ``name`` is used in messages. Raises ScenarioError."""
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{name}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a key twice, NaN, a number of thousands of digits, deep nesting
        raise ScenarioError(f"{name}: {error}") from None
    scenario = _build(Scenario, document, name)
    problems = list(_problems(scenario))
    if problems:
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ScenarioError(f"{name}: " + "\n  ".join(problems[:20]) + more)
    return scenario


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(_doubled("key", (key for key, _ in pairs)))
        raise ValueError(f"{twice} in one object: {json.dumps(found, ensure_ascii=False)[:100]}")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number; a finite number is expected")


def _build(kind: type, value: object, where: str):
    """Build dataclass ``kind`` from a JSON object; ``where`` locates it in messages."""
    if not isinstance(value, dict):
        raise ScenarioError(f"{where}: an object is expected, not {type(value).__name__}")
    types = _types(kind)
    unknown, missing = value.keys() - types.keys(), types.keys() - value.keys()
    if unknown:
        raise ScenarioError(f"{where}: unknown key {sorted(unknown)[0]!r}; the keys are {', '.join(types)}")
    if missing:
        raise ScenarioError(f"{where}: key {sorted(missing)[0]!r} is missing")
    return kind(**{key: _convert(types[key], value[key], f"{where}: {key}") for key in types})


_NAMES = {float: "finite number", int: "whole number", str: "text"}
_TYPES: dict[type, dict[str, type]] = {}


def _types(kind: type) -> dict[str, type]:
    if kind not in _TYPES:
        _TYPES[kind] = {field.name: typing.get_type_hints(kind)[field.name] for field in dataclasses.fields(kind)}
    return _TYPES[kind]


def _convert(kind: type, value: object, where: str):
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ScenarioError(f"{where}: a list is expected, not {type(value).__name__}")
        return tuple(_build(typing.get_args(kind)[0], row, f"{where}[{i}]") for i, row in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:  # refuses 1e999 too
        return float(value)
    if type(value) is not kind or kind is float:
        raise ScenarioError(f"{where}: a {_NAMES[kind]} is expected, not {value!r:.60}")
    return value


def _problems(s: Scenario) -> Iterable[str]:
    """Everything that makes a well-formed scenario unusable, one sentence each."""
    try:
        ZoneInfo(s.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory, such as Europe
        yield f"timezone: {s.timezone!r} is not an IANA time zone such as Europe/Rome"
    try:
        now = datetime.fromisoformat(s.now)
        if now.tzinfo is None:
            yield f"now: {s.now!r} has no offset; write it as 2013-11-18T12:00:00+01:00"
        if not 1971 <= now.year <= 2100:
            yield f"now: {s.now!r} is outside the years 1971 to 2100"
    except ValueError:
        yield f"now: {s.now!r} is not an ISO 8601 time such as 2013-11-18T12:00:00+01:00"
    try:
        network = ipaddress.IPv4Network(s.subnet)
    except ValueError as error:
        yield f"subnet: {error}; write it as 10.66.0.0/16"
        network = None
    for key in ("frequency_hz", "rb_bandwidth_hz", "slot_s"):
        if getattr(s.radio, key) <= 0:
            yield f"radio: {key} {getattr(s.radio, key)} must be above 0"
    for row in (*s.districts, *s.cells, *s.coordinators, *s.ues, *s.sensors):
        if not (-180 <= row.lon <= 180 and -90 <= row.lat <= 90):
            name = getattr(row, "id", None) or row.name
            yield f"{type(row).__name__} {name}: lon {row.lon}, lat {row.lat} is no place on Earth (degrees, WGS84)"
    for title, rows in (("cells", s.cells), ("coordinators", s.coordinators), ("ues", s.ues), ("sensors", s.sensors)):
        yield from _doubled(f"{title}: id", (row.id for row in rows))
        for row in rows:
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", row.id):
                yield f"{title}: id {row.id!r} must be 1 to 32 letters, digits, '.', '_' or '-'"
    yield from _doubled("districts: name", (district.name for district in s.districts))
    for district in s.districts:
        if not district.name.strip() or district.radius_m <= 0:
            yield f"districts {district.name!r}: the name must not be empty and radius_m must be above 0"
    for title, rows in (("ues", s.ues), ("sensors", s.sensors)):
        for row in rows:
            if row.height_m <= 0:
                yield f"{title} {row.id}: height_m {row.height_m} must be above 0"
    for coordinator in s.coordinators:
        if not 11 <= coordinator.channel <= 26:
            yield f"coordinators {coordinator.id}: channel {coordinator.channel} must be 11 to 26 (2.4 GHz)"
    cells, districts = {cell.id for cell in s.cells}, {district.name for district in s.districts}
    if not cells:
        yield "cells: at least one is needed"
    for cell in s.cells:
        if cell.resource_blocks < 1 or cell.capacity_bps <= 0 or cell.height_m <= 0:
            yield f"cells {cell.id}: resource_blocks, capacity_bps and height_m must be above 0"
        if not 1 <= cell.square_id <= 10_000:
            yield f"cells {cell.id}: square_id {cell.square_id} is outside the Milan grid, 1 to 10000"
    yield from _references("cells", "district", s.cells, districts)
    yield from _references("coordinators", "cell", s.coordinators, cells)
    yield from _references("ues", "cell", s.ues, cells)
    yield from _references("sensors", "cell", s.sensors, cells)
    yield from _references("sensors", "district", s.sensors, districts)
    yield from _references("sensors", "type", s.sensors, sensor_types().keys())
    yield from _doubled("coordinators: cell", (coordinator.cell for coordinator in s.coordinators))
    for cell in sorted(cells - {coordinator.cell for coordinator in s.coordinators}):
        yield f"cells {cell}: has no Zigbee coordinator"
    yield from _address_problems(s, network)


def _address_problems(s: Scenario, network: ipaddress.IPv4Network | None) -> Iterable[str]:
    yield from _doubled("ipv4", (s.twin_ipv4, *(sensor.ipv4 for sensor in s.sensors)))
    yield from _doubled("mac", (s.twin_mac, *(sensor.mac for sensor in s.sensors)))
    yield from _doubled("sensors: cell and port", (f"{sensor.cell} {sensor.port}" for sensor in s.sensors))
    for where, ipv4, mac in (
        ("twin", s.twin_ipv4, s.twin_mac),
        *((f"sensors {x.id}", x.ipv4, x.mac) for x in s.sensors),
    ):
        try:
            inside = network is None or ipaddress.IPv4Address(ipv4) in network
        except ValueError:
            inside = False
        if not inside:
            yield f"{where}: ipv4 {ipv4!r} is not an address inside {s.subnet}"
        if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac) or int(mac[:2], 16) & 1:
            yield f"{where}: mac {mac!r} must be six lower-case hex pairs with ':' and not a group address"
    for sensor in s.sensors:
        if re.fullmatch(r"core|twin|(gw|bs|zb)\d+", sensor.id):
            yield f"sensors {sensor.id}: this id is the name of a switch or of the twin; choose another, such as s001"
        if not 3 <= sensor.port <= 65_000:
            yield f"sensors {sensor.id}: port {sensor.port} must be 3 to 65000 (1 and 2 are the gateway's uplinks)"


def _doubled(what: str, values: Iterable[str]) -> Iterable[str]:
    seen = set()
    for value in values:
        if value in seen:
            yield f"{what} {value!r} is used twice"
        seen.add(value)


def _references(title: str, key: str, rows: Iterable, known: Iterable[str]) -> Iterable[str]:
    for row in rows:
        if getattr(row, key) not in known:
            yield f"{title} {row.id}: {key} {getattr(row, key)!r} is not defined"
