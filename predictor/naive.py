"""Persistence and the seasonal naives, through statsforecast, with its prediction intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from predictor.forecast import QUANTILES, Floats, Forecast, Series, by_cell

LEVELS = (20, 40, 60, 80)  # central intervals, in percent, whose ends are the quantiles but for the median


@dataclass(frozen=True)
class Persistence:
    """The last known value goes on."""

    name: str = "persistence"

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_cell(history, horizon, persist)


@dataclass(frozen=True)
class SeasonalNaive:
    """The value of the same slot one season before, or of the nearest season before that where it is missing.

    ``seasons_slots``: the season wanted, then shorter ones to fall back on when the history is shorter than a season.
    """

    name: str
    seasons_slots: tuple[int, ...]

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_cell(history, horizon, self._one)

    def _one(self, series: Floats, horizon: int) -> Series:
        for season in self.seasons_slots:
            if series.size >= season:
                from statsforecast import models  # takes seconds to import; only those who forecast pay for it

                result = models.SeasonalNaive(season_length=season).forecast(
                    y=fill(series, season), h=horizon, level=list(LEVELS)
                )
                notes = () if season == self.seasons_slots[0] else (self._short(series, f"season of {season} slots"),)
                return _from_statsforecast(result, notes)
        result = persist(series, horizon)
        return Series(result.mean, result.quantiles, (self._short(series, "persistence"), *result.notes))

    def _short(self, series: Floats, instead: str) -> str:
        return f"{series.size} slots of history, {self.seasons_slots[0]} needed: {instead} instead"


def persist(series: Floats, horizon: int) -> Series:
    """Persistence of one series that starts with a value."""
    from statsforecast import models

    filled = fill(series, 1)
    if filled.size == 1:
        value = np.full((len(QUANTILES), horizon), filled[0])
        return Series(value[0], value, ("one slot of history: no spread known",))
    return _from_statsforecast(models.Naive().forecast(y=filled, h=horizon, level=list(LEVELS)), ())


def fill(series: Floats, season: int) -> Floats:
    """Missing slots take the value one season before, else the nearest season after, else between their neighbours."""
    if not np.isnan(series).any():
        return series
    rows = -(-series.size // season)
    table = np.full(rows * season, np.nan)
    table[: series.size] = series
    table = table.reshape(rows, season)
    for order in (range(1, rows), range(rows - 2, -1, -1)):
        for row in order:
            source = table[row - 1 if order.step > 0 else row + 1]
            table[row] = np.where(np.isnan(table[row]), source, table[row])
    flat = table.reshape(-1)[: series.size]
    known = np.flatnonzero(~np.isnan(flat))
    return np.interp(np.arange(flat.size), known, flat[known])


def quantiles(result: dict) -> Floats:
    """[9, H] of a statsforecast result with LEVELS. Intervals that are no numbers (too little data) become the mean."""
    low = [result[f"lo-{level}"] for level in reversed(LEVELS)]
    high = [result[f"hi-{level}"] for level in LEVELS]
    table = np.array([*low, result["mean"], *high], dtype=np.float64)
    return np.where(np.isfinite(table), table, result["mean"])


def _from_statsforecast(result: dict, notes: tuple[str, ...]) -> Series:
    return Series(np.asarray(result["mean"], np.float64), quantiles(result), notes)
