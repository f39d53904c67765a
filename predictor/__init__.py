"""The predictor: forecasts of a cell's traffic load, all models behind one interface.

Public: ``forecaster`` (a model by name), ``NAMES`` and, of them, ``TRAINED`` (those that need ``fit``), ``Forecaster``,
``Forecast``, ``QUANTILES``.
"""

from predictor.forecast import QUANTILES, Forecast, Forecaster
from predictor.registry import NAMES, OPTIONAL, TRAINED, forecaster

__all__ = ["NAMES", "OPTIONAL", "QUANTILES", "TRAINED", "Forecast", "Forecaster", "forecaster"]
