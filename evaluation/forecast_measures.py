"""Measures of forecasts against the truth, as plain arithmetic on arrays [O, C, H]: origins, cells, steps ahead.

Paper, eq. (9) and Table III; quantiles by the pinball loss and their coverage; MASE after Hyndman and Koehler,
International Journal of Forecasting 22 (2006), 679-688.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor import QUANTILES

HORIZONS = (1, 10, 30, 60)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def measures(truth: Floats, mean: Floats, quantiles: Floats, counts: Flags, scale: Floats) -> dict:
    """All measures of one model.

    truth, mean, counts [O, C, H] with H >= 60; quantiles [O, C, 9, H]. Only points where ``counts`` is true count: that
    is how missing true values and the kinds of day are left out. scale [C]: see ``naive_mae``. None where there is
    nothing to measure: no point, only zeros as true values, a model without quantiles (all NaN), no scale.
    """
    has_quantiles = not np.isnan(quantiles).all()
    return {str(h): nrmse(truth[..., :h], mean[..., :h], counts[..., :h]) for h in HORIZONS} | {
        "pinball": pinball(truth, quantiles, counts) if has_quantiles else None,
        "coverage": coverage(truth, quantiles, counts) if has_quantiles else None,
        "mase": mase(truth, mean, counts, scale),
    }


def nrmse(truth: Floats, mean: Floats, counts: Flags) -> dict[str, float | None]:
    """Root mean squared error over the mean of the true values: per cell over origins and steps (its mean and standard
    deviation over the cells, divided by their number), and pooled over everything, eq. (9).

    A cell whose true values are all zero or missing has no figure of its own; its errors count in the pooled one.
    """
    squared, total, points = (
        np.where(counts, values, 0.0).sum(axis=(0, 2)) for values in ((mean - truth) ** 2, truth, 1.0)
    )
    some = total > 0
    if not some.any():
        return {"per_cell_mean": None, "per_cell_std": None, "pooled": None}
    per_cell = np.sqrt(squared[some] / points[some]) / (total[some] / points[some])
    pooled = np.sqrt(squared.sum() / points.sum()) / (total.sum() / points.sum())
    return {"per_cell_mean": float(per_cell.mean()), "per_cell_std": float(per_cell.std()), "pooled": float(pooled)}


def pinball(truth: Floats, quantiles: Floats, counts: Flags) -> float | None:
    """Mean pinball loss over the nine levels and all points / mean of the true values."""
    above = truth[:, :, None, :] - quantiles
    levels = np.array(QUANTILES)[:, None]
    loss = np.maximum(levels * above, (levels - 1) * above).mean(axis=2)
    total = truth[counts].sum()
    return float(loss[counts].sum() / total) if total > 0 else None


def coverage(truth: Floats, quantiles: Floats, counts: Flags) -> list[float] | None:
    """[9]: the share of true values at or under each quantile."""
    if not counts.any():
        return None
    return [float((truth <= quantiles[:, :, level])[counts].mean()) for level in range(len(QUANTILES))]


def naive_mae(past: Floats, season: int) -> Floats:
    """[C]: mean absolute error of the seasonal naive within ``past`` [C, T], over the pairs of slots one season apart
    that are both known; NaN where there is none."""
    errors = np.abs(past[:, season:] - past[:, :-season])
    known = ~np.isnan(errors)
    with np.errstate(invalid="ignore"):
        return np.where(known, errors, 0.0).sum(axis=1) / known.sum(axis=1)


def mase(truth: Floats, mean: Floats, counts: Flags, scale: Floats) -> float | None:
    """Mean over cells of mean absolute error / scale; cells without points or with a scale of 0 or NaN are left out."""
    points = counts.sum(axis=(0, 2))
    usable = (points > 0) & (scale > 0)
    if not usable.any():
        return None
    absolute = np.where(counts, np.abs(mean - truth), 0.0).sum(axis=(0, 2))
    return float((absolute[usable] / points[usable] / scale[usable]).mean())


def over_seeds(documents: Sequence, statistic: Callable[[list[float]], float]):
    """Documents of the same form (dicts and lists of numbers) become one, with ``statistic`` of each number's values;
    None where one of them is None."""
    first = documents[0]
    if isinstance(first, dict):
        return {key: over_seeds([document[key] for document in documents], statistic) for key in first}
    if None in documents:
        return None
    if isinstance(first, list):
        return [over_seeds(values, statistic) for values in zip(*documents, strict=True)]
    return float(statistic([float(value) for value in documents]))
