"""Generated load of a cell, as a share of its capacity, shaped like mobile internet activity in Milan.

Product of a daily and weekly rhythm that follows the district's character (weekends and Italian holidays included),
slow swings of the whole city and of the cell, and heavy-tailed noise; plus events (matches at a stadium, gatherings
elsewhere). Deterministic by (seed, cell, time); any window equals the same part of a longer one.
"""

import numpy as np

from twin.local_time import SATURDAY, SUNDAY, WORKING, LocalTime, by_hour, local_time
from twin.milan_districts import character_of
from twin.noise import heavy, smooth, stream, uniform
from twin.scenario import Scenario

SLOT_S = 600

# Activity by hour of the day in percent of the busiest. The day runs from 04:00 to 04:00, so that a night belongs to
# its evening.
_WORKING_DAY = {
    "office": by_hour("16 10 7 5 5 6 14 38 70 90 96 100 96 93 95 97 96 92 80 58 42 34 28 22"),
    "residential": by_hour("40 24 14 8 6 8 18 38 54 55 56 58 64 64 60 60 64 74 86 94 98 100 86 62"),
    "nightlife": by_hour("52 34 20 10 6 6 10 24 42 50 54 58 64 64 60 60 64 72 82 92 98 100 92 74"),
    "stadium": by_hour("32 20 12 8 6 8 20 40 56 60 62 64 66 66 64 64 66 72 78 80 80 78 66 48"),
}
_FREE_DAY = by_hour("56 38 24 12 7 6 9 18 34 50 62 70 74 72 70 72 74 78 84 88 94 98 90 72")
_FREE_DAY_SCALE = {
    SATURDAY: {"office": 0.5, "residential": 0.92, "nightlife": 1.1, "stadium": 0.85},
    SUNDAY: {"office": 0.34, "residential": 0.9, "nightlife": 0.85, "stadium": 0.8},
}
_MATCH_ODDS = {SUNDAY: 0.55, SATURDAY: 0.3, WORKING: 0.12}


def cell_load(scenario: Scenario, cell_id: str, start_s: int, slots: int, slot_s: int = SLOT_S) -> np.ndarray:
    """Generated load of a cell for ``slots`` slots from ``start_s`` on (UTC epoch seconds): float64 [slots], 0..1.

    Raises ValueError for an unknown cell or a negative number of slots.
    """
    if cell_id not in scenario.cell:
        raise ValueError(f"cell {cell_id!r} is not in the scenario; its cells are {', '.join(scenario.cell)[:200]}")
    if slots < 0 or slot_s <= 0:
        raise ValueError(f"slots must be 0 or more and slot_s above 0, not {slots} and {slot_s}")
    return load_at(scenario, cell_id, start_s + slot_s * np.arange(slots, dtype=np.int64))


def load_at(scenario: Scenario, cell_id: str, t_s: np.ndarray) -> np.ndarray:
    """Generated load of a cell at UTC epoch seconds [n]: float64 [n], 0..1, six decimals."""
    character = character_of(scenario.cell[cell_id].district)
    name = stream(scenario.seed, "load", cell_id)
    local = local_time(scenario.zone, t_s, day_starts_at_s=4 * 3600)
    busy = 0.46 + 0.12 * float(uniform(name, -1))
    night = 0.13 + 0.06 * float(uniform(name, -2))
    rhythm = busy * (night + (1 - night) * daily_rhythm(character, local))
    city = stream(scenario.seed, "load")
    swing = 0.05 * smooth(city, t_s, 6 * 3600) + 0.06 * smooth(name, t_s, 2 * 3600)
    jitter = 0.045 * np.clip(heavy(name, t_s // SLOT_S), -8, 8)
    load = rhythm * np.exp(swing + jitter) + _events(character, name, local)
    return np.round(np.clip(load, 0, 1), 6)


def daily_rhythm(character: str, local: LocalTime) -> np.ndarray:
    """Activity [n] of a kind of district, 0 to about 1.1. ``local`` must count days from 04:00."""
    free = _FREE_DAY(local.hour)
    activity = _WORKING_DAY[character](local.hour)
    for kind, scale in _FREE_DAY_SCALE.items():
        activity = np.where(local.kind == kind, scale[character] * free, activity)
    return activity


def _events(character: str, name: np.uint64, local: LocalTime) -> np.ndarray:
    """Load added by the day's event, if it has one: rises for an hour or two, falls as fast."""
    odds, hour, length_h, size = (uniform(name, 8 * local.day + k) for k in range(4))
    if character == "stadium":
        happens = odds < np.select([local.kind == k for k in _MATCH_ODDS], list(_MATCH_ODDS.values()))
        centre, half_h, height = 21.0, 2.5 + 0 * length_h, 0.22 + 0.16 * size
    else:
        happens = odds < 0.04
        centre, half_h, height = 9 + 12 * hour, 1 + 1.5 * length_h, 0.05 + 0.17 * size**2
    since_four = (local.hour - 4) % 24  # the event's day runs from 04:00 too
    distance = np.abs(since_four - (centre - 4)) / half_h
    return np.where(happens, height * np.maximum(0, 1 - distance**2), 0)
