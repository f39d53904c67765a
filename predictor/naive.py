"""Persistence and the seasonal naives, for all cells at once, with the prediction intervals of statsforecast's models.

Intervals are normal; the standard deviation is the root mean square of the steps of one season, and grows with the root
of the number of seasons ahead (Hyndman and Athanasopoulos, Forecasting, 3rd ed., section 5.5).
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from predictor.forecast import QUANTILES, Floats, Forecast, Series, checked

LEVELS = (20, 40, 60, 80)  # central intervals, in percent, whose ends are the quantiles but for the median
NORMAL = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])  # [9]


@dataclass(frozen=True)
class Persistence:
    """The last known value goes on."""

    name: str = "persistence"

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_block(history, horizon, persist_block)


@dataclass(frozen=True)
class SeasonalNaive:
    """The value of the same slot one season before, or of the nearest season before that where it is missing.

    ``seasons_slots``: the season wanted, then shorter ones to fall back on when the history is shorter than a season.
    """

    name: str
    seasons_slots: tuple[int, ...]

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_block(history, horizon, self._block)

    def _block(self, block: Floats, horizon: int) -> Forecast:
        slots, wanted = block.shape[1], self.seasons_slots[0]
        for season in self.seasons_slots:
            if slots >= season:
                note = "" if season == wanted else short(slots, wanted, f"season of {season} slots")
                return _repeat_season(fill(block, season), season, horizon, note)
        return persist_block(block, horizon, short(slots, wanted, "persistence"))


def by_block(history: ArrayLike, horizon: int, one: Callable[[Floats, int], Forecast]) -> Forecast:
    """Run ``one`` on blocks [c, t] of cells whose first values are in the same slot, and put the results together.

    Blocks have no slot before the first value; NaN inside them are missing slots, said in the notes. Cells without any
    value become NaN. Raises ValueError as Forecaster.forecast says.
    """
    array, horizon = checked(history, horizon), int(horizon)
    mean = np.full((len(array), horizon), np.nan)
    table = np.full((len(array), len(QUANTILES), horizon), np.nan)
    notes = np.full(len(array), "no value in the history: nothing to forecast from", dtype=object)
    known = ~np.isnan(array)
    first = np.where(known.any(axis=1), known.argmax(axis=1) if array.shape[1] else 0, -1)
    for start in np.unique(first[first >= 0]):
        cells = np.flatnonzero(first == start)
        block = array[cells, start:]
        result = one(block, horizon)
        mean[cells], table[cells] = np.maximum(result.mean, 0.0), np.maximum(result.quantiles, 0.0)
        for cell, missing, note in zip(cells, np.isnan(block).sum(axis=1), result.notes, strict=True):
            gaps = f"{missing} of {block.shape[1]} slots missing, filled in" if missing else ""
            notes[cell] = "; ".join(filter(None, (gaps, note)))
    return Forecast(mean, table, tuple(notes))


def persist_block(block: Floats, horizon: int, note: str = "") -> Forecast:
    """Persistence of a block of ``by_block``, with ``note`` for every cell."""
    if block.shape[1] == 1:
        note = "; ".join(filter(None, (note, "one slot of history: no spread known")))
    return _repeat_season(fill(block, 1), 1, horizon, note)


def persist(series: Floats, horizon: int) -> Series:
    """Persistence of one series that starts with a value."""
    result = persist_block(series[None], horizon)
    return Series(result.mean[0], result.quantiles[0], tuple(filter(None, result.notes)))


def short(slots: int, needed: int, instead: str) -> str:
    """The note of a history too short for the model."""
    return f"{slots} slots of history, {needed} needed: {instead} instead"


def fill(series: Floats, season: int) -> Floats:
    """Missing slots take the value one season before, else the nearest season after, else between their neighbours.

    series [..., T]: at least one value in each row.
    """
    if not np.isnan(series).any():
        return series
    slots = series.shape[-1]
    flat = series.reshape(-1, slots).copy()
    gaps = np.isnan(flat).any(axis=1)
    flat[gaps] = _fill_rows(flat[gaps], season)
    return flat.reshape(series.shape)


def _fill_rows(rows: Floats, season: int) -> Floats:
    slots = rows.shape[1]
    seasons = -(-slots // season)
    table = np.pad(rows, ((0, 0), (0, seasons * season - slots)), constant_values=np.nan)
    table = table.reshape(-1, seasons, season)
    for k in range(1, seasons):
        table[:, k] = np.where(np.isnan(table[:, k]), table[:, k - 1], table[:, k])
    for k in range(seasons - 2, -1, -1):
        table[:, k] = np.where(np.isnan(table[:, k]), table[:, k + 1], table[:, k])
    filled = table.reshape(len(rows), -1)[:, :slots].copy()
    for row in filled:
        known = np.flatnonzero(~np.isnan(row))
        if known.size < slots:
            row[:] = np.interp(np.arange(slots), known, row[known])
    return filled


def quantiles(result: dict) -> Floats:
    """[9, H] of a statsforecast result with LEVELS. Intervals that are no numbers (too little data) become the mean."""
    low = [result[f"lo-{level}"] for level in reversed(LEVELS)]
    high = [result[f"hi-{level}"] for level in LEVELS]
    table = np.array([*low, result["mean"], *high], dtype=np.float64)
    return np.where(np.isfinite(table), table, result["mean"])


def _repeat_season(filled: Floats, season: int, horizon: int, note: str) -> Forecast:
    ahead = np.arange(horizon)
    mean = filled[:, -season:][:, ahead % season]
    steps = filled[:, season:] - filled[:, :-season]
    sigma = np.sqrt((steps**2).sum(axis=1) / max(steps.shape[1], 1))
    spread = sigma[:, None] * np.sqrt(ahead // season + 1)
    table = mean[:, None] + NORMAL[:, None] * spread[:, None]
    return Forecast(mean, table, (note,) * len(filled))
