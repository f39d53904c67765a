"""Forecasters by the names of the spec."""

from predictor.arima import Arima
from predictor.forecast import Forecaster
from predictor.naive import Persistence, SeasonalNaive

NAMES = ("arima", "persistence", "seasonal-naive-day", "seasonal-naive-week")


def forecaster(name: str, day_slots: int = 144) -> Forecaster:
    """A forecaster for histories of ``day_slots`` slots to a day (144: slots of ten minutes). Raises ValueError."""
    if isinstance(day_slots, bool) or not isinstance(day_slots, int) or day_slots < 2:
        raise ValueError(f"day_slots: {day_slots!r} must be a whole number of 2 or more")
    if name == "arima":
        return Arima(day_slots)
    if name == "persistence":
        return Persistence()
    if name == "seasonal-naive-day":
        return SeasonalNaive(name, (day_slots,))
    if name == "seasonal-naive-week":
        return SeasonalNaive(name, (7 * day_slots, day_slots))
    raise ValueError(f"forecaster: {name!r} is unknown; choose one of {', '.join(NAMES)}")
