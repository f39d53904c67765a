"""DLinear (Zeng et al., Are Transformers Effective for Time Series Forecasting?, AAAI 2023): two linear maps from the
past to the steps ahead, one for the window's moving average and one for the rest, shared by all cells.

A linear model of squared loss has an exact solution, so that ridge regression takes the place of the paper's gradient
descent: no learning rate, no epochs, and a penalty chosen on the validation part. Each window is normalised by its last
value and its mean, as the paper's NLinear does with the last value, so that forecasts scale with the load. On the
Milan block, fitted to 1 to 10 and looked at on 11 to 17 November 2013, subtracting the last value was better than the
window's mean or nothing with every lookback; moving averages of 25 slots (the paper's) and 145 and none differed by 1%.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d
from threadpoolctl import threadpool_limits

from predictor.forecast import QUANTILES, Floats, Forecast, checked
from predictor.naive import by_block, fill, persist_block, short

STEPS = 60  # of the direct map; forecasts beyond go on from their own mean
LOOKBACK_DAYS = (2, 3, 7)
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # times the number of windows
VALIDATION_SHARE = 0.2  # of the history, at its end
VALIDATION_STRIDE = 3
MOVING_AVERAGE_DAYS = 1 / 6  # 25 slots of ten minutes, as in the paper
MAX_WINDOWS = 60_000  # drawn by seed where there are more
LARGEST = 10.0  # times the window's mean, at which bursts are cut for fitting: they would outweigh all else
LEAST_UNIT = 0.1  # of the window's mean: errors count relative to the forecast, which may be 0


@dataclass(frozen=True, eq=False)
class DLinear:
    """``day_slots``: slots to a day. Fitted: ``weights`` [lookback, STEPS], the two maps in one; ``errors`` [9, STEPS],
    quantiles of relative errors on the validation part; ``tried``: lookback, ridge and validation error of the search.
    """

    day_slots: int = 144
    name: str = "dlinear"
    weights: Floats | None = None
    errors: Floats | None = None
    tried: tuple[tuple[int, float, float], ...] = ()

    @property
    def parameters(self) -> int:
        """Number of trained parameters, 0 before fit."""
        return 0 if self.weights is None else self.weights.size

    def fit(
        self,
        history: ArrayLike,
        *,
        grid: NDArray[np.int_] | None = None,
        seed: int = 0,
        progress: Callable[[str, float], None] | None = None,
    ) -> "DLinear":
        """The model fitted to history [C, T]. Lookback and ridge are those of least error on its last part.

        ``grid`` is not used; ``seed`` draws windows where there are more than MAX_WINDOWS. Raises ValueError as
        Forecaster.forecast does, and for a history too short for any lookback.
        """
        array = checked(history, 1)
        held_back = int(array.shape[1] * VALIDATION_SHARE)
        lookbacks, cells = self._usable(array, held_back)
        best, tried = np.inf, []
        for i, lookback in enumerate(lookbacks):
            if progress:
                progress(f"lookback of {lookback} slots", i / len(lookbacks))
            most, rng = MAX_WINDOWS // len(cells) + 1, np.random.default_rng(seed)
            early = _sums([cell[:-held_back] for cell in cells], lookback, most, rng)
            late = _sums([cell[-held_back - lookback - STEPS + 1 :] for cell in cells], lookback, most, rng)
            for ridge in RIDGES:
                trial = replace(self, weights=_solve(early, ridge, self.day_slots))
                error, relative = trial._validate(cells, held_back)
                tried.append((lookback, ridge, error))
                if error < best:
                    best = error
                    quantiles = np.quantile(relative if len(relative) else np.zeros((1, STEPS)), QUANTILES, axis=0)
                    chosen = ridge, [a + b for a, b in zip(early, late, strict=True)]
        if progress:
            progress("done", 1.0)
        ridge, sums = chosen
        weights = _solve(sums, ridge, self.day_slots)
        return replace(self, weights=weights, errors=quantiles, tried=tuple(tried))

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        if self.weights is None:
            raise ValueError(f"{self.name}: must be fitted first: call fit, or name a fitted model")
        with threadpool_limits(1, user_api="blas"):
            return by_block(history, horizon, self._block)

    def _block(self, block: Floats, horizon: int) -> Forecast:
        slots, lookback, day = block.shape[1], len(self.weights), self.day_slots
        if slots < day:
            return persist_block(block, horizon, short(slots, day, "persistence"))
        season = 7 * day if slots >= 7 * day else day
        note = "" if slots >= lookback else short(slots, lookback, f"the first {season} repeated before them")
        source = np.arange(slots - lookback, slots)
        source += np.maximum(0, -(source // season)) * season
        window = fill(block, season)[:, source]
        parts = []
        for _ in range(0, horizon, STEPS):
            parts.append(self._predict(window))
            window = np.hstack([window, parts[-1][0]])[:, -lookback:]
        mean, unit = (np.hstack(part)[:, :horizon] for part in zip(*parts, strict=True))
        errors = self.errors[:, np.minimum(np.arange(horizon), STEPS - 1)]
        return Forecast(mean, mean[:, None] + errors * unit[:, None], (note,) * len(block))

    def _predict(self, windows: Floats) -> tuple[Floats, Floats]:
        """Mean [N, STEPS] after windows [N, lookback], and the unit of its errors."""
        inputs, last, scale = _normalised(windows)
        mean = np.maximum(last + scale * (inputs @ self.weights), 0.0)
        return mean, np.maximum(mean, LEAST_UNIT * scale)

    def _validate(self, cells: list[Floats], held_back: int) -> tuple[float, Floats]:
        """Of forecasts of the last slots: root mean squared error over mean load, mean of cells and steps, and relative
        errors [N, STEPS]."""
        errors, relative = [], []
        for cell in cells:
            windows = sliding_window_view(cell[-held_back - len(self.weights) :], len(self.weights) + STEPS)
            windows = windows[::VALIDATION_STRIDE]
            mean, unit = self._predict(windows[:, : len(self.weights)])
            wrong = windows[:, len(self.weights) :] - mean
            errors.append(np.sqrt((wrong**2).mean(axis=0)).mean() / cell.mean())
            live = unit[:, 0] > 0
            relative.append(wrong[live] / unit[live])
        return float(np.mean(errors)), np.concatenate(relative)

    def _usable(self, array: Floats, held_back: int) -> tuple[list[int], list[Floats]]:
        """The lookbacks that the history allows and the cells that are long enough for them, filled."""
        lookbacks = [days * self.day_slots for days in LOOKBACK_DAYS]
        windows = STEPS + self.day_slots  # a day of windows besides the lookback
        cells = [row[np.flatnonzero(~np.isnan(row))[0] :] for row in array if np.nansum(row) > 0]
        if held_back >= STEPS:
            for lookback in reversed(lookbacks):
                long = [cell for cell in cells if cell.size - held_back >= lookback + windows]
                if long:
                    usable = [n for n in lookbacks if n <= lookback]
                    return usable, [fill(cell, 7 * self.day_slots) for cell in long]
        needed = max((lookbacks[0] + windows) / (1 - VALIDATION_SHARE), STEPS / VALIDATION_SHARE)
        raise ValueError(f"{self.name}: needs a cell with {int(np.ceil(needed))} slots of history to be fitted to")


def _normalised(windows: Floats) -> tuple[Floats, Floats, Floats]:
    """Inputs [N, lookback], last value and mean [N, 1] of windows."""
    last, scale = windows[:, -1:], windows.mean(axis=1, keepdims=True)
    return (windows - last) / np.where(scale > 0, scale, 1.0), last, scale


def _sums(cells: list[Floats], lookback: int, most: int, rng: np.random.Generator) -> tuple[Floats, Floats, int]:
    """The normal equations' inputs' products [lookback, lookback], those with targets [lookback, STEPS], and windows.

    ``most``: windows of a cell, drawn where there are more.
    """
    squares, products, count = np.zeros((lookback, lookback)), np.zeros((lookback, STEPS)), 0
    for cell in cells:
        windows = sliding_window_view(cell, lookback + STEPS)
        if len(windows) > most:
            windows = windows[np.sort(rng.choice(len(windows), most, replace=False))]
        windows = windows[windows[:, :lookback].any(axis=1)]
        windows = np.minimum(windows, LARGEST * windows[:, :lookback].mean(axis=1, keepdims=True))
        inputs, last, scale = _normalised(windows[:, :lookback])
        targets = (windows[:, lookback:] - last) / scale
        squares += inputs.T @ inputs
        products += inputs.T @ targets
        count += len(windows)
    return squares, products, count


def _solve(sums: tuple[Floats, Floats, int], ridge: float, day_slots: int) -> Floats:
    """[lookback, STEPS]: ridge regression on each window's moving average and on the rest of it, both maps in one."""
    squares, products, count = sums
    size = 2 * round(MOVING_AVERAGE_DAYS * day_slots / 2) + 1
    average = uniform_filter1d(np.eye(len(squares)), size, axis=0, mode="nearest").T  # edges repeated as in the paper
    split = np.hstack([np.eye(len(squares)) - average, average])
    equations = split.T @ squares @ split
    equations[np.diag_indices_from(equations)] += ridge * max(count, 1)
    return split @ scipy.linalg.solve(equations, split.T @ products, assume_a="pos")
