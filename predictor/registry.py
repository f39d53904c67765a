"""Forecasters by the names of the spec."""

from pathlib import Path

from predictor.forecast import Forecaster

BUNDLED = Path(__file__).parent / "checkpoints" / "timesfm-small"

NAMES = (
    "timesfm",
    "timesfm+lora",
    "mlp",
    "arima",
    "lstm",
    "conv3d",
    "convlstm",
    "persistence",
    "seasonal-naive-day",
    "seasonal-naive-week",
    "profile",
    "dlinear",
)
OPTIONAL = ("chronos",)  # needs a package and weights that don't come with LINKs
TRAINED = ("timesfm+lora", "mlp", "lstm", "conv3d", "convlstm", "dlinear")  # have `fit` and need it


def forecaster(name: str, day_slots: int = 144, checkpoint: str = "", adapter: str = "") -> Forecaster:
    """A forecaster for histories of ``day_slots`` slots to a day (144: slots of ten minutes).

    ``checkpoint`` and ``adapter`` are for the two TimesFM: a folder or an owner/name on the hub, and a folder of
    `links train lora`; "" are the bundled checkpoint and, for timesfm+lora, an adapter still to be trained by ``fit``.
    ``chronos`` takes its own weights as ``checkpoint``, and there is no default.
    Raises ValueError for an unknown name or a wrong argument.
    """
    if isinstance(day_slots, bool) or not isinstance(day_slots, int) or day_slots < 2:
        raise ValueError(f"day_slots: {day_slots!r} must be a whole number of 2 or more")
    # Imported here: torch and statsforecast take seconds, and only those who use them should pay for them.
    match name:
        case "timesfm":
            from predictor.timesfm_forecaster import TimesFM

            return TimesFM(day_slots, checkpoint)
        case "timesfm+lora":
            from predictor.timesfm_lora import TimesFMLora

            return TimesFMLora(day_slots, checkpoint, adapter=adapter)
        case "chronos":
            if not checkpoint:
                raise ValueError("chronos: needs its weights: the folder of amazon/chronos-bolt-small or another")
            from predictor.chronos_bolt import ChronosBolt

            return ChronosBolt(checkpoint)
        case "mlp":
            from predictor.mlp import Mlp

            return Mlp(day_slots=day_slots)
        case "lstm":
            from predictor.lstm import Lstm

            return Lstm(day_slots=day_slots)
        case "conv3d":
            from predictor.conv3d import Conv3d

            return Conv3d(day_slots=day_slots)
        case "convlstm":
            from predictor.convlstm import ConvLstm

            return ConvLstm(day_slots=day_slots)
        case "dlinear":
            from predictor.dlinear import DLinear

            return DLinear(day_slots)
        case "profile":
            from predictor.profile import Profile

            return Profile(day_slots)
        case "arima":
            from predictor.arima import Arima

            return Arima(day_slots)
        case "persistence":
            from predictor.naive import Persistence

            return Persistence()
        case "seasonal-naive-day":
            from predictor.naive import SeasonalNaive

            return SeasonalNaive(name, (day_slots,))
        case "seasonal-naive-week":
            from predictor.naive import SeasonalNaive

            return SeasonalNaive(name, (7 * day_slots, day_slots))
    raise ValueError(f"forecaster: {name!r} is unknown; choose one of {', '.join(NAMES + OPTIONAL)}")
