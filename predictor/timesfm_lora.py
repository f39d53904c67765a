"""TimesFM with a LoRA adapter as a forecaster."""

from dataclasses import dataclass, replace
from pathlib import Path

from numpy.typing import ArrayLike

from predictor.adapter import Adapter, adapted, read_adapter
from predictor.forecast import Forecast
from predictor.lora import Progress, train_lora
from predictor.timesfm_forecaster import TimesFM
from predictor.timesfm_model import TimesFMModule


@dataclass(frozen=True)
class TimesFMLora(TimesFM):
    """TimesFM with an adapter: of a folder, or trained by ``fit``."""

    name: str = "timesfm+lora"
    adapter: str | Adapter = ""

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        if not self.adapter:
            raise ValueError(f"{self.name}: must be fitted first: call fit, or name an adapter of `links train lora`")
        return super().forecast(history, horizon)

    def module(self) -> TimesFMModule:
        return adapted(self.checkpoint, self.adapter)

    @property
    def parameters(self) -> int:
        """Trained parameters: the adapter's; 0 before ``fit``."""
        if not self.adapter:
            return 0
        adapter = self.adapter if isinstance(self.adapter, Adapter) else read_adapter(Path(self.adapter))
        return adapter.parameters

    def fit(self, history: ArrayLike, *, grid=None, seed: int = 0, progress: Progress | None = None) -> "TimesFMLora":
        """An adapter from history [C, T]; ``grid`` is not needed. Raises ValueError for a history too short."""
        adapter = train_lora(self.checkpoint, history, day_slots=self.day_slots, seed=seed, progress=progress)
        return replace(self, adapter=adapter)
