"""The mean weekly profile, scaled by the present level, which decays back: nothing learnt, nothing to train.

Profile of a slot: mean of the same slot of the weeks before and, with the weight of a part of a week's value, of the
seven days before (one or two weeks alone are noisy), smoothed over neighbouring slots. Level: what was observed over
what the profile had said, once over the last day and once with weights that halve from slot to slot. The forecast is
the profile times the level, which goes from the present one to the day's one and slowly from there to 1. Quantiles:
those of the relative errors that the same forecast would have made, cell by cell, at origins of the last week.

``Settings`` were chosen by ``tune_profile`` on the Milan block, 1 to 17 November 2013.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve1d
from scipy.signal import lfilter

from predictor.forecast import QUANTILES, Floats, Forecast, checked
from predictor.naive import by_block, fill, persist_block, short

TUNED_DAY_SLOTS = 144  # slots of ten minutes, in which Settings count
ORIGINS = 168  # of the backtest behind the quantiles
KNOTS = 10  # steps at which they are taken; linear between them
HORIZONS = (1, 10, 30, 60)
BLOCK_CELLS = 500  # cells computed at once, which bounds the memory


@dataclass(frozen=True)
class Settings:
    """In slots of ten minutes. For other slots Profile converts them."""

    smooth: float = 9  # half width of the triangular window over the profile
    daily_weight: float = 2.0  # of the mean of the seven days before; each past week has weight 1
    memory: float = 0.5  # of the present level: weight of a slot by that of the slot after it
    present_decay: float = 0.93  # per step, of the present level towards the day's level
    day_decay: float = 0.995  # per step, of the day's level towards 1
    prior: float = 0.05  # of the day's mean load, added to both sides of a level: empty nights have none


@dataclass(frozen=True)
class Profile:
    """``day_slots``: slots to a day. Up to a week of history gives it days only; up to a day, persistence instead."""

    day_slots: int = TUNED_DAY_SLOTS
    name: str = "profile"
    settings: Settings = Settings()

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_block(history, horizon, self._block)

    def _block(self, block: Floats, horizon: int) -> Forecast:
        slots, day, week = block.shape[1], self.day_slots, 7 * self.day_slots
        if slots <= day:
            return persist_block(block, horizon, short(slots, day + 1, "persistence"))
        note = "" if slots >= week else short(slots, week, "daily profile")
        if slots < 2 * day:
            note += f", spread from {slots - day} slots only"
        parts = [self._cells(block[i : i + BLOCK_CELLS], horizon) for i in range(0, len(block), BLOCK_CELLS)]
        mean, table = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Forecast(mean, table, (note,) * len(block))

    def _cells(self, block: Floats, horizon: int) -> tuple[Floats, Floats]:
        """Mean [C, H] and quantiles [C, 9, H]."""
        slots = block.shape[1]
        filled = fill(block, 7 * self.day_slots if slots >= 7 * self.day_slots else self.day_slots)
        past = _Past.of(block, filled, horizon, self.day_slots, self._converted())
        mean = past.forecast(np.array([slots]), np.arange(1, horizon + 1))[:, 0]
        return mean, mean[:, None] + self._spread(block, past, mean)

    def _spread(self, block: Floats, past: "_Past", mean: Floats) -> Floats:
        """[C, 9, H]: quantiles of the relative errors of forecasts made in the past; steps beyond a day as at a day."""
        slots, horizon = block.shape[1], mean.shape[1]
        last = min(horizon, slots - self.day_slots, self.day_slots - round(past.settings.smooth))
        knots = np.unique(np.geomspace(1, max(last, 1), KNOTS).round().astype(int))
        stride = max(1, 7 * self.day_slots // ORIGINS)
        rows = []
        for step in knots:
            origins = np.arange(slots - step, self.day_slots - 1, -stride)[:ORIGINS]
            made = past.forecast(origins, np.array([step]))[:, :, 0]
            with np.errstate(divide="ignore", invalid="ignore"):
                rows.append(_quantiles(block[:, origins + step - 1] / made - 1))
        at = np.interp(np.arange(1, horizon + 1), knots, np.arange(len(knots)))
        low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
        table = np.stack(rows, axis=-1)
        table = table[..., low] + (at - low) * (table[..., high] - table[..., low])
        return table * mean[:, None]

    def _converted(self) -> Settings:
        ratio, s = TUNED_DAY_SLOTS / self.day_slots, self.settings
        decays = {name: getattr(s, name) ** ratio for name in ("memory", "present_decay", "day_decay")}
        return replace(s, smooth=s.smooth / ratio, **decays)


@dataclass(frozen=True, eq=False)
class _Past:
    """Profile [C, T + H] and levels [C, T] of some cells, in each slot from the slots before it alone.

    (Profiles more than a day ahead are an exception, and smoothing looks half a window ahead, still from earlier days.)
    """

    profile: Floats
    day: Floats
    present: Floats
    settings: Settings

    @staticmethod
    def of(block: Floats, filled: Floats, horizon: int, day_slots: int, settings: Settings) -> "_Past":
        slots, smooth, week = block.shape[1], round(settings.smooth), 7 * day_slots
        weeks, weeks_count = _sum_of_past(filled, week, -(-slots // week), horizon + smooth)
        days, days_count = _sum_of_past(filled, day_slots, 7, horizon + smooth)
        total = weeks + settings.daily_weight * days / np.maximum(days_count, 1)
        weight = weeks_count + settings.daily_weight * (days_count > 0)
        window = np.convolve(np.ones(smooth + 1), np.ones(smooth + 1))
        total, weight = (convolve1d(part, window, axis=-1, mode="nearest") for part in (total, weight))
        profile = (total / np.where(weight > 0, weight, np.nan))[:, : slots + horizon]
        known = ~np.isnan(block) & ~np.isnan(profile[:, :slots])
        true, said = np.where(known, block, 0.0), np.where(known, profile[:, :slots], 0.0)
        usual = _running_mean(said, day_slots)
        prior = settings.prior * usual
        day = _ratio(_running_mean(true, day_slots), usual)
        true, said = (lfilter([1 - settings.memory], [1, -settings.memory], part) for part in (true, said))
        return _Past(profile, day, _ratio(true + prior * day, said + prior), settings)

    def forecast(self, origins: NDArray[np.int_], steps: NDArray[np.int_]) -> Floats:
        """[C, O, H]: what the slots ``origin + step - 1`` were forecast to be from the slots before each origin."""
        day, present = self.day[:, origins - 1, None], self.present[:, origins - 1, None]
        level = 1 + (day - 1) * self.settings.day_decay**steps
        level += (present - day) * self.settings.present_decay**steps
        return np.maximum(self.profile[:, origins[:, None] + steps - 1] * level, 0.0)


def _sum_of_past(filled: Floats, season: int, count: int, ahead: int) -> tuple[Floats, NDArray[np.int_]]:
    """[C, T + ahead]: each slot's sum over ``count`` seasons before, and [T + ahead] how many of them there are.

    A slot still to come stands for the last one of its place in the season.
    """
    slots = filled.shape[1]
    total, known = np.zeros((len(filled), slots + ahead)), np.zeros(slots + ahead, dtype=int)
    for k in range(1, count + 1):
        source = np.arange(slots + ahead) - k * season
        source -= np.maximum(0, (source - slots) // season + 1) * season
        there = source >= 0
        total[:, there] += filled[:, source[there]]
        known += there
    return total, known


def _running_mean(values: Floats, window: int) -> Floats:
    """[C, T]: sum over the ``window`` slots up to each, over ``window``."""
    return lfilter(np.full(window, 1 / window), [1.0], values)


def _ratio(above: Floats, below: Floats) -> Floats:
    """The level; 1 where nothing is known of it."""
    return np.divide(above, below, out=np.ones_like(above), where=below > 0)


def _quantiles(errors: Floats) -> Floats:
    """[C, 9] of errors [C, N], of which those that are not finite don't count; 0 where none does."""
    ordered = np.sort(np.where(np.isfinite(errors), errors, np.nan), axis=1)  # NaN last
    at = np.maximum(np.isfinite(ordered).sum(axis=1)[:, None] - 1, 0) * np.array(QUANTILES)
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    low_value = np.take_along_axis(ordered, low, axis=1)
    return np.nan_to_num(low_value + (at - low) * (np.take_along_axis(ordered, high, axis=1) - low_value))


SEARCH = {
    "smooth": (0, 3, 6, 9, 12, 18),
    "daily_weight": (0.0, 0.5, 1.0, 2.0, 4.0),
    "memory": (0.0, 0.3, 0.5, 0.65, 0.8),
    "present_decay": (0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99),
    "day_decay": (0.97, 0.98, 0.99, 0.995, 1.0),
    "prior": (0.0, 0.02, 0.05, 0.1),
}
PLAIN = Settings(smooth=0, daily_weight=0.0, memory=0.0, present_decay=0.97, day_decay=0.97, prior=0.0)


def tune_profile(
    history: ArrayLike, first_origin: int = 10 * TUNED_DAY_SLOTS, stride: int = 6
) -> list[tuple[Settings, tuple[float, ...]]]:
    """The search behind ``Settings``: from PLAIN, each constant in turn takes its best value, until none changes.

    history [C, T]: complete, in slots of ten minutes. The forecasts of each origin use only what precedes it. Returns
    all settings tried, in order, with their errors at HORIZONS; the smallest mean of the four is best.
    """
    history = checked(history, 1)
    table: dict[Settings, tuple[float, ...]] = {}

    def mean_error(settings: Settings) -> float:
        if settings not in table:
            table[settings] = backtest_error(history, settings, first_origin, stride)
        return sum(table[settings]) / len(HORIZONS)

    best, before = PLAIN, None
    while best != before:
        before = best
        for name, values in SEARCH.items():
            best = min((replace(best, **{name: value}) for value in values), key=mean_error)
    return list(table.items())


def backtest_error(history: Floats, settings: Settings, first_origin: int, stride: int) -> tuple[float, ...]:
    """At each of HORIZONS, the mean over cells of root mean squared error over mean load, of all steps up to it."""
    last = max(HORIZONS)
    past = _Past.of(history, history, last, TUNED_DAY_SLOTS, settings)
    origins, steps = np.arange(first_origin, history.shape[1] - last + 1, stride), np.arange(1, last + 1)
    true = history[:, origins[:, None] + steps - 1]
    squared = (past.forecast(origins, steps) - true) ** 2
    by_horizon = ((squared[:, :, :h].mean(axis=(1, 2)), true[:, :, :h].mean(axis=(1, 2))) for h in HORIZONS)
    return tuple(float((np.sqrt(error) / load).mean()) for error, load in by_horizon)
