"""Makes scenarios of any size on the Milan grid, deterministic by seed.

The first 60 cells stand in districts of Milan known by name (``twin.milan_districts``), every further one in a square
of the Milan grid, in a district named after it. ``twin/scenarios/milan.json`` is ``make_scenario()``.
"""

import math
from itertools import cycle, islice

import numpy as np

from twin.milan_districts import PLACES, Place
from twin.milan_grid import SIDE, square_at, square_centre
from twin.noise import stream, uniform
from twin.scenario import Cell, Coordinator, District, Radio, Scenario, Sensor, UserEquipment

DEFAULT_SEED = 14

# Sensors per 120, and height above ground in metres (TR 38.901 UMa wants 1.5 to 22.5).
_MIX = {
    "temperature": (8, 2.0),
    "humidity": (8, 2.0),
    "precipitation": (8, 3.0),
    "wind_speed": (4, 10.0),
    "wind_direction": (4, 10.0),
    "solar_radiation": (4, 10.0),
    "water_level": (6, 1.5),
    "air_quality": (6, 3.5),
    "power_consumption": (8, 2.0),
    "line_current": (8, 6.0),
    "grid_frequency": (3, 3.0),
    "leakage_current": (10, 2.0),
    "solar_generation": (5, 12.0),
    "ev_charging": (5, 1.5),
    "outage": (5, 3.0),
    "road_traffic": (8, 6.0),
    "accident": (5, 6.0),
    "cellular_load": (5, 12.0),
    "parking": (5, 1.5),
    "public_transport": (5, 2.5),
}
_NEAREST_M, _FARTHEST_M = 36.0, 299.0  # of sensors and users to their base station


def make_scenario(cells: int = 10, sensors: int = 120, seed: int = DEFAULT_SEED, city: str = "Milan") -> Scenario:
    """A scenario of ``cells`` (1 to 10,000) cells that share ``sensors`` (0 to 100,000) sensors evenly.

    Every sensor stands 35 to 300 m from its base station, inside its district. ``city`` is the name that the scenario
    carries; places are always on the Milan grid. Raises ValueError.
    """
    if not 1 <= cells <= SIDE * SIDE:
        raise ValueError(f"cells must be 1 to {SIDE * SIDE}, the squares of the Milan grid, not {cells}")
    if not 0 <= sensors <= 100_000 or sensors > cells * 60_000:
        raise ValueError(f"sensors must be 0 to 100000 and at most 60000 per cell, not {sensors} for {cells} cells")
    places = _places(cells, seed)
    digits = max(2, len(str(cells)))
    cell_rows = tuple(
        Cell(f"c{i:0{digits}d}", place.name, place.lon, place.lat, 25.0, square_at(place.lon, place.lat), 25, 36e6)
        for i, place in enumerate(places, 1)
    )
    small = cells <= 254 and sensors <= cells * 254
    return Scenario(
        city=city,
        timezone="Europe/Rome",
        now="2013-11-18T12:00:00+01:00",
        seed=seed,
        subnet="10.66.0.0/16" if small else "10.0.0.0/8",
        twin_ipv4="10.66.0.1" if small else "10.0.0.1",
        twin_mac=_mac("10.66.0.1" if small else "10.0.0.1"),
        # 5 MHz of 15 kHz subcarriers: 25 blocks of 180 kHz and slots of 1 ms (TS 38.101-1 table 5.3.2-1, TS 38.211);
        # the capacity is that of 256QAM, 8 bit/s/Hz.
        radio=Radio(6e9, 180e3, 1e-3, 5.0, 23.0, -3.0),
        districts=tuple(District(place.name, place.lon, place.lat, float(place.radius_m)) for place in places),
        cells=cell_rows,
        coordinators=tuple(_coordinators(cell_rows, seed)),
        ues=tuple(_users(cell_rows, seed)),
        sensors=tuple(_sensors(cell_rows, places, sensors, small, seed)),
    )


def type_counts(sensors: int) -> dict[str, int]:
    """How many sensors of each type, in the proportions of the bundled scenario; at least 3 each from 60 sensors on."""
    types = list(_MIX)
    least = min(3, sensors // len(types))
    spare = sensors - least * len(types)
    weights = np.array([_MIX[type_id][0] for type_id in types], float) - min(count for count, _ in _MIX.values())
    exact = spare * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: spare - counts.sum()]] += 1  # largest remainders
    return {type_id: least + int(count) for type_id, count in zip(types, counts, strict=True)}


def _places(cells: int, seed: int) -> list[Place]:
    named = list(PLACES[:cells])
    taken = {square_at(place.lon, place.lat) for place in PLACES}
    free = [square for square in range(1, SIDE * SIDE + 1) if square not in taken]
    order = np.argsort(uniform(stream(seed, "squares"), np.array(free)), kind="stable")
    squares = [free[i] for i in order[: max(0, cells - len(PLACES))]]
    name = stream(seed, "water")
    return named + [
        Place(
            f"Square {square}",
            *(round(x, 6) for x in square_centre(square)),
            310.0,
            "",
            bool(uniform(name, square) < 0.2),
        )
        for square in squares
    ]


def _coordinators(cells: tuple[Cell, ...], seed: int) -> list[Coordinator]:
    """One on each base station's site, 5 to 15 m from it, on one of the 16 channels of IEEE 802.15.4 at 2.4 GHz."""
    positions = _around(cells, np.arange(len(cells)), stream(seed, "coordinators"), 5.0, 15.0)
    return [
        Coordinator("z" + cell.id[1:], cell.id, lon, lat, 11 + 5 * i % 16)
        for i, (cell, (lon, lat)) in enumerate(zip(cells, positions, strict=True))
    ]


def _users(cells: tuple[Cell, ...], seed: int) -> list[UserEquipment]:
    positions = _around(cells, np.arange(len(cells)), stream(seed, "ues"), _NEAREST_M, _FARTHEST_M)
    return [
        UserEquipment("u" + cell.id[1:], cell.id, lon, lat, 1.5, 23.0)
        for cell, (lon, lat) in zip(cells, positions, strict=True)
    ]


def _sensors(cells: tuple[Cell, ...], places: list[Place], count: int, small: bool, seed: int) -> list[Sensor]:
    digits = max(3, len(str(count)))
    cell_of, types = _deal(places, count)
    positions = _around(cells, cell_of, stream(seed, "sensors"), _NEAREST_M, _FARTHEST_M)
    used = [0] * len(cells)
    rows = []
    for i, (c, type_id, (lon, lat)) in enumerate(zip(cell_of.tolist(), types, positions, strict=True)):
        used[c] += 1
        ipv4 = f"10.66.{c + 1}.{used[c]}" if small else f"10.{1 + i // 254 // 256}.{i // 254 % 256}.{1 + i % 254}"
        name, cell = f"s{i + 1:0{digits}d}", cells[c]
        rows.append(
            Sensor(name, type_id, cell.id, cell.district, lon, lat, _MIX[type_id][1], ipv4, _mac(ipv4), used[c] + 2)
        )
    return rows


def _deal(places: list[Place], count: int) -> tuple[np.ndarray, list[str]]:
    """Cell index (ascending) and type of each sensor: evenly many per cell, each type over as many cells as it can.

    Types are dealt like cards, cell after cell; water levels go to districts with water first.
    """
    counts = type_counts(count)
    slots = list(islice(cycle(range(len(places))), count))
    wet_first = sorted(range(count), key=lambda k: not places[slots[k]].water)
    water = set(wet_first[: counts.pop("water_level")])
    others = iter([type_id for type_id, n in counts.items() for _ in range(n)])
    types = ["water_level" if k in water else next(others) for k in range(count)]
    order = np.argsort(np.array(slots, np.int64), kind="stable")
    return np.array(slots, np.int64)[order], [types[k] for k in order]


def _around(
    cells: tuple[Cell, ...], cell_of: np.ndarray, name: np.uint64, nearest_m: float, farthest_m: float
) -> list[tuple[float, float]]:
    """Points spread evenly over the ring between two distances around the base stations ``cell_of`` (indices)."""
    index = 2 * np.arange(len(cell_of))
    radius_m = np.sqrt(nearest_m**2 + (farthest_m**2 - nearest_m**2) * uniform(name, index))
    angle = 2 * math.pi * uniform(name, index + 1)
    lon, lat = (np.array([getattr(cell, axis) for cell in cells])[cell_of] for axis in ("lon", "lat"))
    metres_per_degree = math.pi * 6_371_008.8 / 180
    lon = lon + radius_m * np.cos(angle) / (metres_per_degree * np.cos(np.radians(lat)))
    lat = lat + radius_m * np.sin(angle) / metres_per_degree
    return list(zip(np.round(lon, 6).tolist(), np.round(lat, 6).tolist(), strict=True))


def _mac(ipv4: str) -> str:
    """A locally administered address that is as unique as the IPv4 address in it."""
    return "02:66:" + ":".join(f"{int(part):02x}" for part in ipv4.split("."))
