"""Chronos-Bolt (Ansari et al., 2024; Amazon's pretrained forecaster) as a rival, for who has its weights.

An optional model: it needs the package ``chronos-forecasting`` and a checkpoint, in a folder or on the hub.
"""

import logging
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from predictor.forecast import QUANTILES, Floats, Forecast
from predictor.naive import by_block
from predictor.timesfm_model import CheckpointError

BATCH = 64


@dataclass(frozen=True)
class ChronosBolt:
    """``checkpoint``: a folder or an owner/name on the hub (``amazon/chronos-bolt-small``). Its mean is the median, as
    the package has it; missing slots are masked, as the model was trained to see them."""

    checkpoint: str
    name: str = "chronos"

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        return by_block(history, horizon, self._block)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in pipeline(self.checkpoint).model.parameters())

    def _block(self, block: Floats, horizon: int) -> Forecast:
        import torch

        model = pipeline(self.checkpoint)
        # Powers of two change no digit, and bring loads of any unit into the range of float32.
        largest = np.nanmax(block, axis=1, keepdims=True)
        scale = 2.0 ** np.floor(np.log2(np.where(largest > 0, largest, 1.0)))
        scaled = torch.from_numpy((block / scale).astype(np.float32))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "We recommend keeping prediction length")  # our note says it
            tables = [
                model.predict_quantiles(part, prediction_length=horizon, quantile_levels=list(QUANTILES))[0]
                for part in scaled.split(BATCH)
            ]
        table = np.sort(torch.cat(tables).numpy().astype(np.float64), axis=2).swapaxes(1, 2) * scale[:, :, None]
        notes = []
        if horizon > model.model_prediction_length:
            notes.append(
                f"{horizon} slots ahead, {model.model_prediction_length} trained for: fed on its own quantiles"
            )
        if block.shape[1] == 1:
            notes.append("one slot of history: no spread known")
        return Forecast(table[:, QUANTILES.index(0.5)], table, ("; ".join(notes),) * len(block))


@lru_cache(maxsize=1)
def pipeline(checkpoint: str):
    """The package's pipeline, loaded once in a process. Raises CheckpointError."""
    try:
        from chronos import ChronosBoltPipeline
    except ImportError:
        raise CheckpointError("chronos: its package is missing: pip install 'links-6g-twin[chronos]'") from None
    where = "a folder here" if Path(checkpoint).is_dir() else "neither a folder here nor to be had from the hub;"
    logging.getLogger("chronos").setLevel(logging.ERROR)
    try:
        model = ChronosBoltPipeline.from_pretrained(checkpoint)
    except Exception as error:  # of any kind: transformers, safetensors, the hub
        raise CheckpointError(
            f"chronos: {checkpoint}: {where} not a Chronos-Bolt checkpoint that can be loaded "
            f"({type(error).__name__}: {str(error)[:200]}); name the folder of amazon/chronos-bolt-small or another"
        ) from None
    if missing := set(QUANTILES) - set(model.quantiles):
        raise CheckpointError(f"chronos: {checkpoint}: gives no quantiles {sorted(missing)}; 0.1 to 0.9 are needed")
    return model
