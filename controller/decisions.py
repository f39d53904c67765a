"""Which path each cell takes: forecasts of its load against tau, from the telemetry that is there now."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from controller.config import Config, ForecastConfig
from controller.path_health import CellPath
from controller.workers import Workers
from optimizer.decision import Decision, decide
from predictor import QUANTILES, Forecast, Forecaster, forecaster
from predictor.risk import decision_load, described
from twin.load_history import LoadHistory
from twin.path import Path

log = logging.getLogger(__name__)
BATCH_CELLS = 512  # forecast in one call of a worker: a few seconds, so that other work gets its turn


@dataclass(frozen=True)
class CellForecast:
    """Forecast of one cell. Loads are shares of capacity; ``decision_load`` is what is compared with tau, by the rule
    of the configuration: of the predicted loads over the retrieval window and of the present slot's load, where it has
    been observed. quantiles [9, slots]: levels ``predictor.QUANTILES``, from the slot in progress on; None without a
    forecast."""

    cell_id: str
    latest_load: float
    mean: tuple[float, ...]
    decision_load: float
    observed_slots: int
    note: str
    quantiles: np.ndarray | None = None


@lru_cache(maxsize=2)
def loaded(model: str, checkpoint: str, adapter: str) -> Forecaster:
    """The forecaster; each worker process loads its weights once."""
    return forecaster(f"{model}+lora" if adapter else model, checkpoint=checkpoint, adapter=adapter)


def forecast_cells(settings: ForecastConfig, history: np.ndarray, horizon: int) -> Forecast:
    """In a worker process: the forecast of ``horizon`` slots after each cell's history [C, T]."""
    return loaded(settings.model, settings.checkpoint, settings.adapter).forecast(history, horizon)


class Decisions:
    """Forecasts and decisions by cell, computed again only for cells with new telemetry."""

    def __init__(
        self,
        config: Config,
        resource_blocks: Mapping[str, int],
        history: LoadHistory,
        workers: Workers,
        now_s: Callable[[], float],
        avoided: Callable[[], Collection[CellPath]] = tuple,
    ):
        """``avoided``: the paths that are broken now, or were a moment ago."""
        self._config = config
        self._avoided = avoided
        self._by_load: dict[str, Decision] = {}
        self._model = config.forecast
        self._resource_blocks = resource_blocks
        self._history = history
        self._workers = workers
        self._now_s = now_s
        self._samples: Counter[str] = Counter()
        self._cache: dict[str, tuple[tuple, CellForecast]] = {}  # with what it was made of
        # No more calls than workers at a time, so that a question's work does not wait for all cells' forecasts.
        self._turns = asyncio.Semaphore(config.service.workers)
        self.new_sample = asyncio.Event()
        self.latest: dict[str, Decision] = {}

    def on_sample(self, cell_id: str) -> None:
        """Telemetry of this cell has come in."""
        self._samples[cell_id] += 1
        self.new_sample.set()

    def use_adapter(self, directory: str) -> None:
        """Forecast with this LoRA adapter from now on."""
        self._model = replace(self._model, adapter=directory)
        self._cache.clear()
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
        versions = {cell: (slot, self._samples[cell], self._history.latest(cell)) for cell in cell_ids}
        stale = [cell for cell in cell_ids if self._cache.get(cell, (None,))[0] != versions[cell]]
        size = max(1, min(BATCH_CELLS, math.ceil(len(stale) / self._config.service.workers)))
        batches = [stale[i : i + size] for i in range(0, len(stale), size)]
        for fresh in await asyncio.gather(*(self._forecast_batch(batch, slot) for batch in batches)):
            self._cache |= {cell.cell_id: (versions[cell.cell_id], cell) for cell in fresh}
        return {cell: self._cache[cell][1] for cell in cell_ids}

    async def _forecast_batch(self, cells: Sequence[str], slot: int) -> list[CellForecast]:
        """Forecast from the newest slot on that may be observed: the present one, or, without a sample, the last."""
        async with self._turns:
            # The window ends with the present slot, which telemetry may have begun to fill.
            window = self._history.window(cells, (slot + 1) * self._history.slot_s)
            seen, known = np.isfinite(window[:, -1]), np.isfinite(window).any(axis=1)
            forecasts = [self._cell_forecast(cells[row], window[row]) for row in np.flatnonzero(~known)]
            for rows, past in ((np.flatnonzero(seen), window), (np.flatnonzero(known & ~seen), window[:, :-1])):
                if len(rows):
                    forecasts += await self._forecast_alike([cells[row] for row in rows], window[rows], past[rows])
        return forecasts

    async def _forecast_alike(self, cells: Sequence[str], window: np.ndarray, past: np.ndarray) -> list[CellForecast]:
        """Forecast what follows ``past``: all of ``window`` [C, T], or all but the present slot, its last."""
        settings = self._config.decision
        try:
            forecast = await self._workers.run(forecast_cells, self._model, past, settings.window_slots)
        except (ValueError, OSError, ImportError) as error:
            log.error("no forecast of %d cells: %s", len(cells), error)
            note = f"no forecast: {error}"
            return [self._cell_forecast(cell, row, note) for cell, row in zip(cells, window, strict=True)]
        present = window[:, -1:] if past.shape == window.shape else window[:, :0]
        quantiles = np.concatenate([np.repeat(present[:, None], len(QUANTILES), axis=1), forecast.quantiles], axis=2)
        loads = decision_load(np.hstack([present, forecast.mean]), quantiles, settings.load, settings.window)
        rows = zip(cells, window, forecast.notes, forecast.mean.tolist(), loads.tolist(), quantiles, strict=True)
        return [self._cell_forecast(*row) for row in rows]

    def _cell_forecast(
        self,
        cell: str,
        history: np.ndarray,
        note: str = "",
        mean: Sequence[float] = (),
        load: float = math.nan,
        quantiles: np.ndarray | None = None,
    ) -> CellForecast:
        """What was found for one cell, with what is to be said of its history [T] up to the present slot."""
        observed = np.flatnonzero(np.isfinite(history))
        if not len(observed):
            return CellForecast(cell, math.nan, (), math.nan, 0, "no telemetry yet")
        if not self.fresh(cell):
            old = f"the newest telemetry is {len(history) - 1 - observed[-1]} slots old"
            note = f"{old}; {note}" if note else old
        return CellForecast(cell, float(history[observed[-1]]), tuple(mean), load, len(observed), note, quantiles)

    async def decide(self, cell_ids: Sequence[str]) -> tuple[dict[str, CellForecast], dict[str, Decision]]:
        """Forecasts and decisions by load for these cells, as of now.

        Under policy "delay", which needs a retrieval's demands, a cell may use 6G as long as its load leaves an RB.
        """
        forecasts = await self.forecast(cell_ids)
        settings = self._config.decision
        loads = {cell: forecasts[cell].decision_load for cell in cell_ids}
        name = described(settings.load, settings.window)
        if settings.policy == "tau":
            decisions = decide(loads, settings.tau, settings.hysteresis, self._by_load, name)
        else:
            decisions = {}
            for cell, load in loads.items():
                least_free = 1 - 1 / self._resource_blocks[cell]
                decisions |= decide({cell: load}, least_free, name=name)
        self._by_load.update(decisions)
        decisions = self.around_broken(decisions)
        self.latest.update(decisions)
        return forecasts, decisions

    def around_broken(self, decisions: Mapping[str, Decision]) -> dict[str, Decision]:
        """The decisions, with Zigbee for cells whose 6G path is broken, unless Zigbee's is too: resource blocks would
        be granted for nothing."""
        avoided = self._avoided()

        def kept(cell: str, decision: Decision) -> Decision:
            broken = (cell, Path.SIXG) in avoided and (cell, Path.ZIGBEE) not in avoided
            if decision.path is Path.ZIGBEE or not broken:
                return decision
            return replace(decision, path=Path.ZIGBEE, why=f"its 6G path is broken; else: {decision.why}")

        return {cell: kept(cell, decision) for cell, decision in decisions.items()}


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
