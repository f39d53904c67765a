"""The predictor: forecasts of a cell's traffic load, all models behind one interface.

Public: ``forecaster`` (a model by name), ``NAMES``, ``Forecaster``, ``Forecast``, ``QUANTILES``.
"""

from predictor.forecast import QUANTILES, Forecast, Forecaster
from predictor.registry import NAMES, forecaster

__all__ = ["NAMES", "QUANTILES", "Forecast", "Forecaster", "forecaster"]
