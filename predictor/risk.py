"""Risk: the one load of a forecast that a decision rests on, from its mean or one of its quantiles."""

import numpy as np
from numpy.typing import ArrayLike

from predictor.forecast import QUANTILES, Floats

RULES = ("mean", *map(str, QUANTILES))
WINDOWS = ("max", "mean")


def decision_load(mean: ArrayLike, quantiles: ArrayLike, rule: str | float = "mean", window: str = "max") -> Floats:
    """[C]: the load of each cell over a window of W slots. NaN where a slot's load is unknown.

    mean [C, W], quantiles [C, 9, W] (levels QUANTILES): a forecast, in any unit. rule: "mean" or one of the levels, as
    a number or in words, "0.8": which statistic of each slot counts; between the levels nothing is interpolated.
    window: "max" or "mean" over the slots. A forecast knows its slots only one by one, so a quantile here is that of
    the window's maximum or mean only if the slots rise and fall together; that of the maximum is at least as large.
    Raises ValueError for another rule, window or shape.
    """
    mean, quantiles = np.asarray(mean, np.float64), np.asarray(quantiles, np.float64)
    if str(rule) not in RULES:
        raise ValueError(f"rule: {rule!r} must be one of {', '.join(RULES)}")
    if window not in WINDOWS:
        raise ValueError(f"window: {window!r} must be one of {', '.join(WINDOWS)}")
    if mean.ndim != 2 or not mean.shape[1] or quantiles.shape != (len(mean), len(QUANTILES), mean.shape[1]):
        raise ValueError(
            f"forecast: mean {list(mean.shape)} and quantiles {list(quantiles.shape)} must be [C, W] and "
            f"[C, {len(QUANTILES)}, W] with at least one slot"
        )
    loads = mean if str(rule) == "mean" else quantiles[:, RULES.index(str(rule)) - 1]
    return loads.max(axis=1) if window == "max" else loads.mean(axis=1)


def described(rule: str | float, window: str) -> str:
    """What ``decision_load`` gives, in words."""
    statistic = "predicted load" if str(rule) == "mean" else f"{float(rule):.0%} quantile of the load"
    return f"{'largest' if window == 'max' else 'mean'} {statistic}"
