"""Dynamic harmonic regression with ARIMA errors (Hyndman and Athanasopoulos, Forecasting, 3rd ed., section 10.5).

Seasonal ARIMA with seasons of 144 and 1,008 slots is out of reach; instead the logarithm of the load is regressed on
sines and cosines of the day and, with at least a week of history, of the week and their products; statsforecast's
AutoARIMA models what is left of the last days. A jump of the deviation within the last day, far beyond its usual steps,
is a change of level (an intervention in the sense of Box and Tiao, 1975) that dies off slowly: the forecast follows the
present level even where ARIMA sees only noise. The constants were chosen one by one on every third cell of the Milan
block, origins every 48 slots from 11 to 17 November 2013.
"""

import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from predictor.forecast import Floats, Forecast, Series, by_cell
from predictor.naive import LEVELS, persist, quantiles

DAILY_HARMONICS = 8
HISTORY_DAYS = 21  # older slots are left out
REMAINDER_DAYS = 3  # AutoARIMA's own history: its time grows with it
OFFSET = 0.02  # of the mean load, added before the logarithm, so that an empty slot doesn't count as a catastrophe
JUMP = 8.0  # robust standard deviations of the deviation's steps
JUMP_DAYS = 0.35  # in which a change of level falls to 1/e


@dataclass(frozen=True)
class Arima:
    """``day_slots``: slots to a day. Needs two days of history, else it falls back on persistence."""

    day_slots: int = 144
    name: str = "arima"

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_cell(history, horizon, self._one)

    def _one(self, series: Floats, horizon: int) -> Series:
        known = np.flatnonzero(~np.isnan(series))
        if known.size < 2 * self.day_slots:
            note = f"{known.size} slots of history, {2 * self.day_slots} needed: persistence instead"
            return _persist(series, horizon, note)
        if series[known].max() == series[known].min():
            return _persist(series, horizon, "constant history: persistence instead")
        end = known[-1] + 1
        missing_at_end = series.size - end  # forecast like the slots to come
        series = series[max(0, end - HISTORY_DAYS * self.day_slots) : end]
        mean, table = self._model(series, missing_at_end + horizon)
        if not np.isfinite(table).all():
            return _persist(series, horizon, "AutoARIMA gave no finite forecast: persistence instead")
        return Series(mean[missing_at_end:], table[:, missing_at_end:])

    def _model(self, series: Floats, horizon: int) -> tuple[Floats, Floats]:
        scale = np.nanmean(series)
        log_load = np.log(series / scale + OFFSET)
        rhythm = self._rhythm(log_load, horizon)
        remainder = (log_load - rhythm[: series.size])[-REMAINDER_DAYS * self.day_slots :]
        known = np.flatnonzero(~np.isnan(remainder))
        remainder = np.interp(np.arange(remainder.size), known, remainder[known])
        level = present_level(remainder, self.day_slots)
        result = _auto_arima(remainder - level, horizon)
        held = level[-1] * np.exp(-np.arange(1, horizon + 1) / (JUMP_DAYS * self.day_slots))
        logs = rhythm[series.size :] + np.append(quantiles(result), [result["mean"]], axis=0) + held
        table = scale * np.maximum(np.exp(logs[:-1]) - OFFSET, 0.0)
        # The mean of a log-normal variable is above its median.
        deviation = (result["hi-80"] - result["mean"]) / NormalDist().inv_cdf(0.9)
        mean = scale * np.maximum(np.exp(logs[-1] + np.minimum(deviation, 1.0) ** 2 / 2) - OFFSET, 0.0)
        return mean, table

    def _rhythm(self, log_load: Floats, horizon: int) -> Floats:
        """[T + H]: the day's and week's regular part of the log load, fitted by least squares to the known slots."""
        slots = np.arange(log_load.size + horizon)
        day = [7 * k for k in range(1, DAILY_HARMONICS + 1)]
        week = [1, *(f + side for f in day for side in (-1, 1))] if log_load.size >= 7 * self.day_slots else []
        angle = 2 * np.pi * np.outer(slots, day + week) / (7 * self.day_slots)
        regressors = np.hstack([np.ones((slots.size, 1)), np.cos(angle), np.sin(angle)])
        known = ~np.isnan(log_load)
        weights = np.linalg.lstsq(regressors[: log_load.size][known], log_load[known], rcond=None)[0]
        return regressors @ weights


def present_level(remainder: Floats, window: int) -> Floats:
    """[T]: 0, but from the last jump within ``window`` slots on the level held since, if the last slot still shows it.

    The level is the mean since the jump or the last value, whichever is nearer to 0; 0 where they differ in sign.
    """
    steps = np.diff(remainder)
    usual = 1.4826 * np.median(np.abs(steps))  # standard deviation of normal steps, deaf to jumps
    jumps = np.flatnonzero(np.abs(steps) > JUMP * usual)
    level = np.zeros(remainder.size)
    if usual > 0 and jumps.size and jumps[-1] >= steps.size - window:
        since, last = remainder[jumps[-1] + 1 :].mean(), remainder[-1]
        level[jumps[-1] + 1 :] = min(since, last, key=abs) if since * last > 0 else 0.0
    return level


def _auto_arima(series: Floats, horizon: int) -> dict:
    from statsforecast.models import AutoARIMA  # takes seconds to import; only those who forecast pay for it

    model = AutoARIMA(season_length=1, d=0, start_p=1, start_q=1, max_p=2, max_q=1, allowmean=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search warns of every order that it tries and gives up
        return model.forecast(y=series, h=horizon, level=list(LEVELS))


def _persist(series: Floats, horizon: int, note: str) -> Series:
    fallback = persist(series, horizon)
    return Series(fallback.mean, fallback.quantiles, (note, *fallback.notes))
