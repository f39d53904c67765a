"""The interface of all forecasters: checked history in, mean and quantiles out, cell by cell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST = 1e304  # of a load in any unit; sums of larger ones overflow

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forecast:
    """mean [C, H] and quantiles [C, 9, H] (levels QUANTILES) of the next H slots, in the unit of the history, >= 0.

    notes: per cell, what was unusual about it (missing slots, a fallback), "" if nothing. NaN where nothing is known.
    """

    mean: Floats
    quantiles: Floats
    notes: tuple[str, ...]


class Forecaster(Protocol):
    """A model. Implementations are small frozen objects of plain data, so that worker processes can take them."""

    name: str

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        """Forecast ``horizon`` slots after ``history`` [C, T]: load per slot, evenly spaced, NaN = missing.

        A history too short for the model gives a fallback, said in the notes; one without any value gives NaN. Raises
        ValueError for a wrong shape, values that are negative, infinite or above LARGEST, and a horizon below 1.
        """
        ...


@dataclass(frozen=True, eq=False)
class Series:
    """One cell's forecast: mean [H], quantiles [9, H] and notes."""

    mean: Floats
    quantiles: Floats
    notes: tuple[str, ...] = ()


def checked(history: ArrayLike, horizon: int) -> Floats:
    """The history as float64 [C, T]. Raises ValueError as Forecaster.forecast says."""
    try:
        array = np.asarray(history, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("history: must be numbers, [C, T]: one row per cell, NaN where a slot is missing") from None
    if array.ndim != 2:
        raise ValueError(f"history: shape {list(array.shape)} must be [C, T]: one row per cell, one column per slot")
    for bad, what in ((np.isinf(array), "is infinite"), (array < 0, "is negative"), (array > LARGEST, "is too large")):
        if bad.any():
            cell, slot = np.argwhere(bad)[0]
            raise ValueError(
                f"history[{cell}, {slot}]: {array[cell, slot]} {what}; loads are finite, 0 or more, at most {LARGEST:g}"
            )
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise ValueError(f"horizon: {horizon!r} must be a whole number of slots, 1 or more")
    return array


def by_cell(history: ArrayLike, horizon: int, one: Callable[[Floats, int], Series]) -> Forecast:
    """Run ``one`` (series without leading or only missing slots, horizon) on each cell and put the results together."""
    array = checked(history, horizon)
    # Matrices this small only lose by BLAS threads (twice the processor time); processes are for more cells.
    with threadpool_limits(1, user_api="blas"):
        rows = [_one_cell(series, int(horizon), one) for series in array]
    return Forecast(
        mean=np.array([row.mean for row in rows]).reshape(len(rows), horizon),
        quantiles=np.array([row.quantiles for row in rows]).reshape(len(rows), len(QUANTILES), horizon),
        notes=tuple("; ".join(row.notes) for row in rows),
    )


def _one_cell(series: Floats, horizon: int, one: Callable[[Floats, int], Series]) -> Series:
    known = np.flatnonzero(~np.isnan(series))
    if not known.size:
        nothing = np.full((len(QUANTILES), horizon), np.nan)
        return Series(nothing[0], nothing, ("no value in the history: nothing to forecast from",))
    result = one(series[known[0] :], horizon)
    missing = np.isnan(series[known[0] :]).sum()
    notes = (f"{missing} of {series.size} slots missing, filled in",) if missing else ()
    return Series(np.maximum(result.mean, 0.0), np.maximum(result.quantiles, 0.0), notes + result.notes)
