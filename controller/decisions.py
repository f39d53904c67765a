"""Which path each cell takes: forecasts of its load against tau, from the telemetry that is there now."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.config import Config
from controller.workers import Workers
from optimizer.decision import Decision, decide
from predictor import forecaster
from twin.load_history import LoadHistory
from twin.path import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellForecast:
    """Forecast of one cell. Loads are shares of capacity; ``decision_load`` is what is compared with tau: the largest
    of the present slot's load, where it has been observed, and the predicted means over the retrieval window.
    quantiles [9, slots]: levels ``predictor.QUANTILES``, from the slot in progress on; None without a forecast."""

    cell_id: str
    latest_load: float
    mean: tuple[float, ...]
    decision_load: float
    observed_slots: int
    note: str
    quantiles: np.ndarray | None = None


def forecast_cell(model: str, history: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray, str]:
    """In a worker process: mean [horizon], quantiles [9, horizon] and note for one cell's history [T]."""
    forecast = forecaster(model).forecast(history[None, :], horizon)
    return forecast.mean[0], forecast.quantiles[0], forecast.notes[0]


class Decisions:
    """Forecasts and decisions by cell, computed again only for cells with new telemetry."""

    def __init__(
        self,
        config: Config,
        resource_blocks: Mapping[str, int],
        history: LoadHistory,
        workers: Workers,
        now_s: Callable[[], float],
    ):
        self._config = config
        self._resource_blocks = resource_blocks
        self._history = history
        self._workers = workers
        self._now_s = now_s
        self._samples: Counter[str] = Counter()
        self._cache: dict[str, tuple[tuple[int, int], CellForecast]] = {}
        self.new_sample = asyncio.Event()
        self.latest: dict[str, Decision] = {}

    def on_sample(self, cell_id: str) -> None:
        """Telemetry of this cell has come in."""
        self._samples[cell_id] += 1
        self.new_sample.set()

    @property
    def slot_s(self) -> int:
        """Length of a slot of load."""
        return self._history.slot_s

    @property
    def slot_left_s(self) -> float:
        """Seconds until the slot in progress ends, above 0."""
        return self.slot_s - self._now_s() % self.slot_s

    def fresh(self, cell_id: str) -> bool:
        """Whether telemetry of this cell reaches up to now: its newest sample is of this slot or the one before."""
        latest = self._history.latest(cell_id)
        return latest is not None and latest[0] >= (self._now_s() // self._history.slot_s - 1) * self._history.slot_s

    async def forecast(self, cell_ids: Sequence[str]) -> dict[str, CellForecast]:
        """Forecast by cell, for the retrieval window that starts now."""
        slot = int(self._now_s() // self._history.slot_s)
        stale = [cell for cell in cell_ids if self._cache.get(cell, (None,))[0] != (slot, self._samples[cell])]
        versions = {cell: (slot, self._samples[cell]) for cell in stale}
        # The window ends with the present slot, which telemetry may have begun to fill.
        window = self._history.window(stale, (slot + 1) * self._history.slot_s)
        fresh = await asyncio.gather(*map(self._forecast_one, stale, window))
        self._cache |= {cell.cell_id: (versions[cell.cell_id], cell) for cell in fresh}
        return {cell: self._cache[cell][1] for cell in cell_ids}

    async def _forecast_one(self, cell: str, history: np.ndarray) -> CellForecast:
        """Forecast from the newest slot on that may be observed: the present one, or, without a sample, the last."""
        observed = np.flatnonzero(np.isfinite(history))
        if not len(observed):
            return CellForecast(cell, float("nan"), (), float("nan"), 0, "no telemetry yet")
        present = history[-1:][np.isfinite(history[-1:])]
        model, horizon = self._config.forecast.model, self._config.decision.window_slots
        past = history if len(present) else history[:-1]
        mean, quantiles, note = await self._workers.run(forecast_cell, model, past, horizon)
        decision_load = float(max([*present, *mean]))
        if not self.fresh(cell):
            old = f"the newest telemetry is {len(history) - 1 - observed[-1]} slots old"
            note = f"{old}; {note}" if note else old
        return CellForecast(
            cell,
            float(history[observed[-1]]),
            tuple(map(float, mean)),
            decision_load,
            len(observed),
            note,
            np.hstack([np.tile(present, (len(quantiles), 1)), quantiles]),
        )

    async def decide(self, cell_ids: Sequence[str]) -> tuple[dict[str, CellForecast], dict[str, Decision]]:
        """Forecasts and decisions by load for these cells, as of now.

        Under policy "delay", which needs a retrieval's demands, a cell may use 6G as long as its load leaves an RB.
        """
        forecasts = await self.forecast(cell_ids)
        decisions = {}
        for cell in cell_ids:
            least_free = 1 - 1 / self._resource_blocks[cell]
            tau = self._config.decision.tau if self._config.decision.policy == "tau" else least_free
            decisions |= decide({cell: forecasts[cell].decision_load}, tau)
        self.latest.update(decisions)
        return forecasts, decisions


def path_changes(
    routes: Mapping[str, Path],
    cell_of: Callable[[str], str],
    decisions: Mapping[str, Decision],
    retrieving: Callable[[str], bool],
) -> dict[str, Path]:
    """Routed sensors that the decisions of their cells move to another path, with that path.

    A cell over tau gives its resource blocks back at once. Nobody comes back to 6G in the middle of a retrieval: the
    RRM has granted nothing to those on Zigbee, be it the whole cell or a device that admission refused.
    """
    changes = {}
    for sensor, path in routes.items():
        cell = cell_of(sensor)
        wanted = decisions[cell].path if cell in decisions else path
        if wanted is not path and (wanted is Path.ZIGBEE or not retrieving(cell)):
            changes[sensor] = wanted
    return changes
