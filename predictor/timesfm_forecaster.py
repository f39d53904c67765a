"""TimesFM as a forecaster, zero-shot: the bundled checkpoint or another."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike

from predictor.forecast import QUANTILES, Floats, Forecast, checked
from predictor.naive import Persistence, fill
from predictor.registry import BUNDLED
from predictor.timesfm_model import TimesFMModule, load_checkpoint, predict

BATCH = 64  # series at a time: more gain nothing on a processor and cost memory


@dataclass(frozen=True)
class TimesFM:
    """``checkpoint``: a folder or an owner/name on the hub; "": the bundled one. ``context_slots``: how much of the
    history is used at most.
    """

    day_slots: int = 144
    checkpoint: str = ""
    context_slots: int = 2048
    name: str = "timesfm"

    def forecast(self, history: ArrayLike, horizon: int) -> Forecast:
        array = checked(history, horizon)
        module = self.module()
        result = Forecast(
            np.full((len(array), horizon), np.nan),
            np.full((len(array), len(QUANTILES), horizon), np.nan),
            tuple(self._note(row, module.p) for row in array),
        )
        known = np.isfinite(array)
        enough = known.sum(1) >= module.p
        _persist_short(array, enough, horizon, result)
        # Slots missing at the end are forecast like those to come; rows that need as many passes go together.
        behind = np.argmax(known[:, ::-1], axis=1) if known.size else np.zeros(len(array), np.int64)
        passes = -(-(behind + horizon) // module.o)
        for count in np.unique(passes[enough]):
            rows = np.flatnonzero(enough & (passes == count))
            for first in range(0, len(rows), BATCH):
                self._fill_in(result, array, behind, rows[first : first + BATCH], module)
        return result

    def module(self) -> TimesFMModule:
        """The network behind it. Raises CheckpointError."""
        return checkpoint(self.checkpoint)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module().parameters())

    def _fill_in(self, result: Forecast, array: Floats, behind, rows, module: TimesFMModule) -> None:
        """Forecast some rows and write them into ``result``."""
        horizon = result.mean.shape[1]
        series = [self._prepared(array[row, : array.shape[1] - behind[row]]) for row in rows]
        length = -(-max(map(len, series)) // module.p) * module.p
        values = np.zeros((len(rows), length), np.float32)
        scale = np.empty(len(rows))
        for i, one in enumerate(series):
            # A power of two changes no digit; RevIN, which takes deviations under 1e-6 for none, does the rest.
            scale[i] = 2.0 ** np.floor(np.log2(one.mean())) if one.any() else 1.0
            values[i, length - len(one) :] = one / scale[i]
        padding = torch.tensor([length - len(one) for one in series])
        steps = int(behind[rows].max()) + horizon
        outputs = predict(module, torch.from_numpy(values), padding, steps).numpy().astype(np.float64)
        outputs = np.maximum(outputs * scale[:, None, None], 0.0)
        for i, row in enumerate(rows):
            part = outputs[i, behind[row] : behind[row] + horizon]
            result.mean[row] = part[:, 0]
            result.quantiles[row] = np.sort(part[:, 1:], axis=1).T

    def _prepared(self, series: Floats) -> Floats:
        """From the first known slot on, without gaps, no longer than the context."""
        series = series[np.argmax(np.isfinite(series)) :]
        return fill(series, self.day_slots)[-self.context_slots :]

    def _note(self, series: Floats, patch: int) -> str:
        known = np.flatnonzero(np.isfinite(series))
        if not known.size:
            return "no value in the history: nothing to forecast from"
        notes = []
        if missing := series.size - known[0] - known.size:
            notes.append(f"{missing} of {series.size - known[0]} slots missing, filled in")
        if known.size < patch:
            notes.append(f"{known.size} slots of history, {patch} needed: persistence instead")
        elif known.size < 2 * self.day_slots:
            notes.append(f"{known.size} slots of history, under two days: the day's rhythm is not known")
        if known.size >= patch and np.ptp(series[known]) == 0:
            notes.append("constant history: no spread known")
        return "; ".join(notes)


def _persist_short(array: Floats, enough, horizon: int, result: Forecast) -> None:
    short = np.flatnonzero(~enough)
    if short.size:
        simple = Persistence().forecast(array[short], horizon)
        result.mean[short], result.quantiles[short] = simple.mean, simple.quantiles


@lru_cache(maxsize=2)
def checkpoint(source: str) -> TimesFMModule:
    """The module, loaded once in a process; "": the bundled one. Raises CheckpointError."""
    return load_checkpoint(source or BUNDLED)
