"""One question, end to end: plan, lazy loading, forecasts, decisions, RRM, routes, retrieval, answer."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from agents import DataPlan
from agents.areas import sensors_in
from agents.planning import Planning
from agents.turns import Human
from controller import answer, messages
from controller.approvals import Approvals
from controller.config import Config
from controller.control_plane import ControlPlane, ControlPlaneError
from controller.decisions import CellForecast, Decisions
from controller.rrm import predict_delays
from controller.stage_two import Management, in_order
from controller.workers import Workers
from optimizer.decision import Decision, decide, decide_by_delay
from optimizer.solve import Options
from predictor import QUANTILES
from proto import query_pb2
from twin.path import Path
from twin.retrieval import Demand, FetchResult, Retriever, demands
from twin.scenario import Scenario
from twin.sensor_model import fields
from twin.store import TwinStore

if TYPE_CHECKING:  # imports a model's SDK, which takes seconds
    from agents.model import LanguageModel, Limits

log = logging.getLogger(__name__)
# A Zigbee radio's own bit rate (IEEE 802.15.4, 2.4 GHz); the coordinator's shared medium is what limits.
ZIGBEE_RADIO_BPS = 250_000.0
# Progress of one sensor is told at most this often.
PROGRESS_INTERVAL_S = 0.5

Emit = Callable[[query_pb2.AskEvent], None]


@dataclass(frozen=True)
class Way:
    """How one demand's data come: path, rate (bit/s) and the delay that is predicted for it."""

    demand: Demand
    cell: str
    path: Path
    rate_bps: float
    predicted_delay_s: float


@dataclass
class Stages:
    """Wall-clock seconds of each stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str):
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


class Answerer:
    """Answers questions; several at a time, but one retrieval per cell at a time, first come first served, because the
    RRM grants a cell's free resource blocks as a whole.

    stage_two_model: asked with each retrieval for the model that manages it and what it may take of it; it may raise
    ModelFailure. None: the fixed order, without a model.
    """

    def __init__(
        self,
        config: Config,
        scenario: Scenario,
        plane: ControlPlane,
        decisions: Decisions,
        workers: Workers,
        store: TwinStore,
        retriever: Retriever,
        on_stored: Callable[[str], None],
        planning: Planning,
        stage_two_model: "Callable[[], tuple[LanguageModel, Limits]] | None" = None,
    ):
        self._config = config
        self._scenario = scenario
        self._plane = plane
        self._decisions = decisions
        self._workers = workers
        self._store = store
        self._retriever = retriever
        self._on_stored = on_stored
        self._planning = planning
        self._stage_two_model = stage_two_model
        self.approvals = Approvals(config.agents.human_s)
        self._cell_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def plan(self, question: str, now: datetime) -> DataPlan:
        """The data plan alone; no person is asked."""
        return await self._planning.plan(question, now, held=self._store.held)

    async def ask(
        self, question: str, now: datetime, request_id: str, emit: Emit, human: Human | None = None
    ) -> query_pb2.AskResult:
        """Answer, telling every step by ``emit``; ``human`` None: as configured. Raises ControlPlaneError when routes
        or grants fail, Stopped when a person does not approve the plan."""
        stages = Stages()
        with stages.stage("plan"):
            data_plan = await self._planning.plan(
                question,
                now,
                held=self._store.held,
                request_id=request_id,
                human=Human(self._config.agents.human) if human is None else human,
                ask_person=lambda turn: self.approvals.ask(turn, emit),
                on_turn=lambda turn: emit(messages.turn(turn)),
            )
        emit(query_pb2.AskEvent(plan=messages.plan(data_plan, now)))
        log.info("[%s] %r: %d items, %d sensors", request_id, question, len(data_plan.items), len(data_plan.sensors))
        result = query_pb2.AskResult(question=question, answerable=data_plan.answerable, request_id=request_id)
        if not data_plan.answerable:
            result.text = data_plan.reason
            return result
        wanted = wanted_intervals(data_plan, self._scenario)
        fetched = await self._load(wanted, emit, stages)
        result.transfers.extend(fetched)
        result.moved_bytes = sum(transfer.received_bytes for transfer in fetched)
        result.failed_sensors.extend(t.sensor_id for t in fetched if t.state == query_pb2.SensorTransfer.STATE_FAILED)
        with stages.stage("answer"):
            await asyncio.to_thread(self._summarise, data_plan, wanted, result)
        if result.failed_sensors:
            result.text += f" Without {len(result.failed_sensors)} sensors that could not be read."
        result.stages.extend(query_pb2.StageTime(stage=name, seconds=s) for name, s in stages.seconds.items())
        return result

    async def _load(
        self, wanted: list[tuple[str, int, int]], emit: Emit, stages: Stages
    ) -> list[query_pb2.SensorTransfer]:
        """Fetch what the twin lacks of ``wanted``; the final state of every sensor that was fetched from."""
        async with AsyncExitStack() as held:
            needed, _, _ = await asyncio.to_thread(demands, self._scenario, self._store, wanted)
            with stages.stage("wait for other questions"):
                await self._lock_cells({self._scenario.sensor[d.sensor_id].cell for d in needed}, held, emit)
            with stages.stage("lazy loading"):
                # Again, because a question that held the cells may have fetched some of it.
                needed, held_bytes, missing_bytes = await asyncio.to_thread(
                    demands, self._scenario, self._store, wanted
                )
            emit(query_pb2.AskEvent(loading=messages.loading(self._scenario, needed, held_bytes, missing_bytes)))
            if not needed:
                return []
            ways = await self._ways(needed, emit, stages)
            try:
                await self._open(ways, emit, stages)
                with stages.stage("retrieval"):
                    return await self._fetch(ways, emit)
            finally:
                await asyncio.shield(self._release(ways))

    def retrieving(self, cell: str) -> bool:
        """Whether a retrieval holds the cell now."""
        return self._cell_locks[cell].locked()

    async def _lock_cells(self, cells: set[str], held: AsyncExitStack, emit: Emit) -> None:
        busy = sorted(filter(self.retrieving, cells))
        if busy:
            emit(messages.notice(f"waiting for another question's retrieval in {', '.join(busy)}"))
        for cell in sorted(cells):  # one order for all, so that no two questions wait for each other
            await held.enter_async_context(self._cell_locks[cell])

    async def _ways(self, needed: Iterable[Demand], emit: Emit, stages: Stages) -> dict[str, Way]:
        """Forecast, decide and solve: the way of each sensor's data."""
        by_cell: dict[str, dict[str, Demand]] = defaultdict(dict)
        for demand in needed:
            by_cell[self._scenario.sensor[demand.sensor_id].cell][demand.sensor_id] = demand
        # A demand in which no reading is expected is still a request to be sent.
        sizes = {cell: {s: max(d.bytes, 1) for s, d in by_cell[cell].items()} for cell in sorted(by_cell)}
        mixed = self._config.decision.mixed
        management = Management(
            self._scenario, sizes, partial(self._predict, sizes, emit), self._workers, self._options(), mixed
        )
        if self._stage_two_model is not None:
            with stages.stage("network management by the model"):
                await self._manage(management, emit)
        with stages.stage("forecast and decision"):
            await management.predict_load()
        with stages.stage("RRM"):
            await in_order(management)
        ways: dict[str, Way] = {}
        for cell, plan in management.plans.items():
            emit(query_pb2.AskEvent(solution=messages.solution(cell, plan)))
            for sensor, grant in plan.grants.items():
                ways[sensor] = Way(by_cell[cell][sensor], cell, Path.SIXG, grant.rate_bps, grant.delay_s)
        for sensor, delay_s in management.zigbee_s.items():
            cell = self._scenario.sensor[sensor].cell
            ways[sensor] = Way(by_cell[cell][sensor], cell, Path.ZIGBEE, ZIGBEE_RADIO_BPS, delay_s)
        return ways

    async def _manage(self, management: Management, emit: Emit) -> None:
        """Let the model of stage two do what it can; what it leaves is done in the fixed order."""
        from agents.model import ModelFailure
        from controller.network_manager import by_model

        def tell(text: str) -> None:
            emit(messages.notice(text))

        try:
            model, limits = self._stage_two_model()
        except ModelFailure as failure:
            tell(f"no network management by a model ({failure.kind}): {failure}; it is done in the fixed order")
            return
        await by_model(management, model, limits, tell)

    async def _predict(
        self, sizes: Mapping[str, Mapping[str, int]], emit: Emit
    ) -> tuple[dict[str, CellForecast], dict[str, Decision]]:
        """Forecasts and decisions, told for the cells with demands (``sizes``: bytes by sensor by cell)."""
        # All cells are forecast: other cells' users are the interference of this one's.
        forecasts, decisions = await self._decisions.decide([cell.id for cell in self._scenario.cells])
        if self._config.decision.policy == "delay":
            loads = {cell: forecast.decision_load for cell, forecast in forecasts.items()}
            chosen = (self._by_delay(cell, sizes[cell], forecasts[cell], loads) for cell in sizes)
            by_delay = dict(zip(sizes, await asyncio.gather(*chosen), strict=True))
            decisions = decisions | self._decisions.around_broken(by_delay)
        tau = self._config.decision.tau
        emit(query_pb2.AskEvent(forecasts=messages.forecasts(self._config, [forecasts[cell] for cell in sizes])))
        emit(query_pb2.AskEvent(decisions=messages.decisions({cell: decisions[cell] for cell in sizes}, tau)))
        return forecasts, decisions

    async def _by_delay(
        self, cell: str, sizes: Mapping[str, int], forecast: CellForecast, loads: Mapping[str, float]
    ) -> Decision:
        """The decision of policy "delay"."""
        if forecast.quantiles is None:
            return decide({cell: math.nan}, self._config.decision.tau)[cell]
        levels, sixg_s, zigbee_s = await self._workers.run(
            predict_delays,
            self._scenario,
            cell,
            sizes,
            dict(loads),
            forecast.quantiles,
            QUANTILES,
            self._options(),
            self._decisions.slot_left_s,
            self._decisions.slot_s,
        )
        return decide_by_delay({cell: loads[cell]}, {cell: sixg_s}, {cell: zigbee_s}, levels)[cell]

    def _options(self) -> Options:
        settings = self._config.optimizer
        return Options(mode=settings.mode, solver=settings.solver, time_limit_s=settings.time_limit_s, gap=settings.gap)

    async def _open(self, ways: Mapping[str, Way], emit: Emit, stages: Stages) -> None:
        """Routes first, confirmed by barrier, then grants; only then may data move."""
        started = time.monotonic()
        with stages.stage("routes and grants"):
            installed = await self._plane.install({sensor: way.path for sensor, way in ways.items()})
            applied = await self._plane.grant({sensor: way.rate_bps for sensor, way in ways.items()})
        routes = query_pb2.RoutesInstalled(
            program=installed.sequence,
            routes=len(ways),
            added=installed.added,
            modified=installed.modified,
            deleted=installed.deleted,
            seconds=time.monotonic() - started,
            grants=applied,
            radio_attached=self._plane.radio_attached,
        )
        emit(query_pb2.AskEvent(routes=routes))
        if not self._plane.radio_attached:
            emit(messages.notice("no radio emulator or scheduler is attached: the granted rates are not enforced"))

    async def _release(self, ways: Mapping[str, Way]) -> None:
        """Give the resource blocks back. The routes stay."""
        try:
            await self._plane.grant({sensor: 0.0 for sensor in ways})
        except ControlPlaneError as error:
            log.warning("grants not released: %s", error)

    async def _fetch(self, ways: Mapping[str, Way], emit: Emit) -> list[query_pb2.SensorTransfer]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._fetch_one(way, emit)) for way in ways.values()]
        return [task.result() for task in tasks]

    async def _fetch_one(self, way: Way, emit: Emit) -> query_pb2.SensorTransfer:
        sensor = self._scenario.sensor[way.demand.sensor_id]
        started = told = time.monotonic()

        def progress(received_bytes: int, readings: int) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_INTERVAL_S:
                told = time.monotonic()
                state = query_pb2.SensorTransfer.STATE_RUNNING
                emit(query_pb2.AskEvent(transfer=self._transfer(way, state, received_bytes, told - started)))

        emit(query_pb2.AskEvent(transfer=self._transfer(way, query_pb2.SensorTransfer.STATE_RUNNING, 0, 0.0)))
        fetched: FetchResult = await self._retriever.fetch(sensor, way.demand, progress)
        state = query_pb2.SensorTransfer.STATE_FAILED if fetched.error else query_pb2.SensorTransfer.STATE_DONE
        transfer = self._transfer(way, state, fetched.received_bytes, fetched.seconds)
        transfer.readings = fetched.readings
        transfer.error = fetched.error or ""
        emit(query_pb2.AskEvent(transfer=transfer))
        self._on_stored(sensor.id)
        return transfer

    def _transfer(self, way: Way, state: int, received_bytes: int, seconds: float) -> query_pb2.SensorTransfer:
        # The path may have changed under way: say the one that is installed.
        path = self._plane.routes.get(way.demand.sensor_id, way.path)
        return query_pb2.SensorTransfer(
            sensor_id=way.demand.sensor_id,
            cell_id=way.cell,
            path=path.value,
            state=state,
            received_bytes=received_bytes,
            demand_bytes=way.demand.bytes,
            predicted_delay_s=way.predicted_delay_s,
            measured_delay_s=seconds,
        )

    def _summarise(self, data_plan: DataPlan, wanted: list[tuple[str, int, int]], result: query_pb2.AskResult) -> None:
        """In a thread: statistics and words over what the twin holds now."""
        series = []
        for sensor_id, start_s, end_s in wanted:
            sensor = self._scenario.sensor[sensor_id]
            readings = self._store.readings(sensor_id, start_s, end_s)
            series += answer.series(sensor.type, fields(sensor.type), sensor.district, sensor_id, readings)
        rows = answer.statistics(series, self._scenario.city)
        pairs = answer.correlations(series)
        result.text = answer.in_words(data_plan.items, rows, pairs, self._scenario.city)
        result.statistics.extend(messages.statistics(rows))
        result.correlations.extend(messages.correlations(pairs))


def wanted_intervals(data_plan: DataPlan, scenario: Scenario) -> list[tuple[str, int, int]]:
    """(sensor, start, end) in epoch seconds for every sensor of every item of the plan."""
    return [
        (sensor.id, int(item.start.timestamp()), int(item.end.timestamp()))
        for item in data_plan.items
        for sensor in sensors_in(scenario, item.type, item.area)
    ]
