"""Search for the settings of the models that train by gradient, on the training part of a history only.

One setting after the other is varied and the best value kept (coordinate search). The neural rivals are trained on all
but the last three days and measured on these; LoRA has its own validation part. ``docs/results/tuning.md`` has the
search that the defaults come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.conv3d import Conv3d
from predictor.convlstm import ConvLstm
from predictor.forecast import Floats, Forecaster, checked
from predictor.lora import LoraSettings, train_lora
from predictor.lstm import Lstm
from predictor.mlp import Mlp
from predictor.neural import NeuralForecaster, Progress

HELD_BACK_DAYS = 3
HORIZONS = (1, 10, 30, 60)
STRIDE = 24  # slots from one origin to the next

Space = Mapping[NeuralForecaster, Mapping[str, Sequence]]  # for each model where the search starts from

SEEDS = 2  # trainings per trial, averaged: seeds differ by as much as many settings do

SETTINGS = {"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2), "lookback": (36, 72, 144), "dropout": (0.1, 0.3)}
SPACE: Space = {model: SETTINGS for model in (Mlp(), Lstm(), Conv3d(), ConvLstm())}
LORA_START = LoraSettings(refit=False)  # which changes nothing on the part held back
LORA = {"rate": (3e-4, 1e-3, 2e-3, 4e-3), "rehearsal": (0.0, 0.2), "least_days": (1, 7)}
LORA_BOUND = {
    "peek": True,
    "rate": 2e-3,
    "patience": 10,
}  # trained on the days that it is judged on: no adapter for use


@dataclass(frozen=True)
class Trial:
    """Changed settings, per-cell NRMSE by horizon (mean over cells and seeds), parameters, whether it was the best."""

    model: str
    settings: Mapping[str, Any]
    nrmse: Mapping[int, float]
    parameters: int
    chosen: bool = False

    @property
    def score(self) -> float:
        """What is minimised: the mean over the horizons."""
        return float(np.mean(list(self.nrmse.values())))


def search(
    history: ArrayLike,
    grid: NDArray[np.int64],
    seed: int = 0,
    *,
    space: Space = SPACE,
    progress: Progress | None = None,
) -> list[Trial]:
    """All trials, model by model and in order, on ``history`` [C, T] of cells at rows and columns ``grid`` [C, 2].

    ``chosen`` marks the best trial of each model. Raises ValueError for a history too short to train on.
    """
    array = checked(history, 1)
    trials: list[Trial] = []
    for done, (model, options) in enumerate(space.items()):
        found = [_trial(model, {}, array, grid, seed)]
        for setting, values in options.items():
            best = min(found, key=lambda trial: trial.score)
            tried = getattr(replace(model, **best.settings), setting)
            for value in values:
                if value != tried:
                    settings = {**best.settings, setting: value}
                    found.append(_trial(model, settings, array, grid, seed))
                    if progress:
                        progress(f"{found[-1].model} {settings}: {found[-1].score:.4f}", done / len(space))
        best = min(found, key=lambda trial: trial.score)
        trials += [replace(trial, chosen=trial is best) for trial in found]
    return trials


@dataclass(frozen=True)
class LoraTrial:
    """Changed settings, the validation error of the adapter and of its base, whether it was the best."""

    settings: Mapping[str, Any]
    error: float
    base: float
    chosen: bool = False


def search_lora(
    history: ArrayLike,
    options: Mapping[str, Sequence] = LORA,
    progress: Progress | None = None,
    *,
    start: LoraSettings = LORA_START,
    checkpoint: str = "",
    day_slots: int = 144,
) -> list[LoraTrial]:
    """All trials in order on ``history`` [C, T], of which train_lora holds back the last part; after them one of
    LORA_BOUND, which says how much there is to gain at most and is never chosen."""
    found: list[LoraTrial] = []

    def tried(settings: Mapping[str, Any]) -> None:
        about = train_lora(checkpoint, history, day_slots=day_slots, settings=replace(start, **settings)).about
        found.append(LoraTrial(settings, about["validation_error"], about["validation_errors"][0]))
        if progress:
            share = len(found) / (2 + sum(len(values) - 1 for values in options.values()))
            progress(f"{settings or 'as it is'}: {found[-1].error:.4f}, base {found[-1].base:.4f}", min(share, 1.0))

    tried({})
    for setting, values in options.items():
        best = min(found, key=lambda trial: trial.error)
        for value in values:
            if value != getattr(replace(start, **best.settings), setting):
                tried({**best.settings, setting: value})
    best = min(found, key=lambda trial: trial.error)
    tried(LORA_BOUND)
    return [replace(trial, chosen=trial is best) for trial in found]


def _trial(
    base: NeuralForecaster, settings: Mapping[str, Any], array: Floats, grid: NDArray[np.int64], seed: int
) -> Trial:
    start = array.shape[1] - HELD_BACK_DAYS * base.day_slots
    model = replace(base, **settings)
    models = [model.fit(array[:, :start], grid=grid, seed=seed + k) for k in range(SEEDS)]
    figures = [per_cell_nrmse(fitted, array, start) for fitted in models]
    nrmse = {horizon: float(np.mean([found[horizon] for found in figures])) for horizon in HORIZONS}
    return Trial(base.name, settings, nrmse, models[0].parameters)


def per_cell_nrmse(model: Forecaster, array: Floats, start: int) -> dict[int, float]:
    """Root mean squared error of each cell over its mean true value, averaged over cells, by horizon (forecast spec).

    Origins from slot ``start`` on, every STRIDE slots; missing true values don't count.
    """
    longest = HORIZONS[-1]
    origins = range(start, array.shape[1] - longest + 1, STRIDE)
    made = np.stack([model.forecast(array[:, :origin], longest).mean for origin in origins])
    true = np.stack([array[:, origin : origin + longest] for origin in origins])
    figures = {}
    for horizon in HORIZONS:
        part = true[:, :, :horizon]
        error = np.sqrt(np.nanmean((made[:, :, :horizon] - part) ** 2, axis=(0, 2)))
        figures[horizon] = float(np.mean(error / np.nanmean(part, axis=(0, 2))))
    return figures
