"""A TimesFM of some two hundred thousand parameters, and loads to forecast with it."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from predictor.pretrain import Pretraining, pretrain
from predictor.timesfm_model import Architecture, TimesFMModule, save_checkpoint

DAY = 144
TINY = Architecture(layers=2, width=32, heads=2, quantile_horizon=128)
TRAINING = Pretraining(
    steps=40,
    series=8,
    context=16,
    positions=6,
    quantile_positions=2,
    warmup=10,
    average=0.9,
    architecture=TINY,
)


def tiny_module(seed: int = 0, **sizes: int) -> TimesFMModule:
    """A module with random weights; ``sizes`` other than TINY's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TimesFMModule(replace(TINY, **sizes)).eval()


def tiny_checkpoint(directory: Path, seed: int = 0, **sizes: int) -> Path:
    """The folder of a checkpoint with random weights."""
    save_checkpoint(tiny_module(seed, **sizes), directory, {})
    return directory


@cache
def trained_module() -> TimesFMModule:
    """A module that was trained for some seconds: it knows levels, not yet days."""
    with tempfile.TemporaryDirectory() as directory:
        return pretrain(TRAINING, Path(directory), compiled=False).eval()


def daily(cells: int, slots: int, seed: int, noise: float = 0.1) -> np.ndarray:
    """[cells, slots] loads with a day, about 1, and multiplicative noise."""
    rng = np.random.default_rng(seed)
    rhythm = 1 + 0.6 * np.sin(2 * np.pi * (np.arange(slots) / DAY + rng.random((cells, 1))))
    return rhythm * np.exp(noise * rng.standard_normal((cells, slots)))
