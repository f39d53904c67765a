"""Fine-tuning of the forecaster on the site's own telemetry, in a worker process of its own, while the service runs."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.config import ForecastConfig
from controller.workers import Workers
from twin.load_history import LoadHistory

log = logging.getLogger(__name__)
MARGIN = 0.01  # a new adapter must be better than the present one by this share: nobody gains from switching for noise
CURRENT = "current"  # file that names the adapter in use
_POLL_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """Errors on the part held back (mean per-cell NRMSE over 1, 10, 30 and 60 slots) of the new and present model."""

    directory: str
    error: float
    present_error: float

    @property
    def better(self) -> bool:
        return self.error < self.present_error * (1 - MARGIN)


def tune_site(checkpoint: str, present: str, history: np.ndarray, directory: str) -> Outcome:
    """In a worker process: train an adapter on history [C, T] and write it to ``directory``. Raises ValueError."""
    import torch

    from predictor.adapter import save_adapter
    from predictor.lora import held_back_error, train_lora

    os.nice(10)  # questions come first
    torch.set_num_threads(1)
    adapter = train_lora(checkpoint, history, directory=Path(directory))
    save_adapter(adapter, Path(directory))
    # Its error is from before it was trained on the part held back too.
    return Outcome(directory, adapter.about["validation_error"], held_back_error(checkpoint, present, history))


class FineTuning:
    """Every ``fine_tune_hours`` of the service's clock: train, compare, and switch by ``use`` if it is worth it.

    ``directory``: where adapters are kept, a folder each; the one in use is remembered over restarts.
    """

    def __init__(
        self,
        settings: ForecastConfig,
        history: LoadHistory,
        directory: Path,
        now_s: Callable[[], float],
        use: Callable[[str], None],
    ):
        self._settings = settings
        self._history = history
        self._directory = directory
        self._now_s = now_s
        self._use = use
        self._present = settings.adapter

    async def run(self) -> None:
        """Until cancelled."""
        self.remember()
        async with Workers(1) as workers:
            while True:
                due = self._now_s() + self._settings.fine_tune_hours * 3600
                while self._now_s() < due:
                    await asyncio.sleep(_POLL_S)
                await self.tune(workers)

    async def tune(self, workers: Workers) -> Outcome | None:
        """One round; None, with a line in the log, where there is too little telemetry or something failed."""
        directory = self._directory / f"{int(self._now_s())}"
        history = self._history.window()
        try:
            outcome = await workers.run(tune_site, self._settings.checkpoint, self._present, history, str(directory))
            if outcome.better:
                (self._directory / CURRENT).write_text(outcome.directory + "\n")
        except Exception as error:  # the service goes on with the model that it has
            log.warning("fine-tuning failed, the present model stays: %s: %s", type(error).__name__, error)
            return None
        errors = f"error on the part held back {outcome.error:.4f}, of the present model {outcome.present_error:.4f}"
        if not outcome.better:
            log.info("fine-tuning: the present model stays: %s", errors)
            return outcome
        log.info("fine-tuning: switching to %s: %s", directory, errors)
        self._switch(outcome.directory)
        return outcome

    def _switch(self, adapter: str) -> None:
        self._present = adapter
        self._use(adapter)

    def remember(self) -> None:
        """Go on with the adapter that was in use before a restart."""
        current = self._directory / CURRENT
        if current.exists() and Path(adapter := current.read_text().strip()).is_dir():
            log.info("forecasting with the adapter %s, as before the restart", adapter)
            self._switch(adapter)
