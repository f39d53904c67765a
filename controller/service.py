"""The links service: the process that answers questions. ``controller/ryu_app.py`` starts it as its child."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from controller.access import TokenInterceptor, add_port
from controller.config import Config, ConfigError, load_config
from controller.control_plane import ControlPlane, ControlPlaneError, ControlServicer
from controller.decisions import Decisions, path_changes
from controller.fine_tuning import FineTuning
from controller.lockfile import lock
from controller.network import NetworkServicer
from controller.planning_setup import make_planning, make_stage_two
from controller.query import QueryServicer
from controller.question import Answerer
from controller.subscriptions import Subscriptions
from controller.telemetry import TelemetryServicer
from controller.workers import Workers
from proto import (
    control_pb2,
    control_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    telemetry_pb2,
    telemetry_pb2_grpc,
)
from twin.clock import Clock, EmulatedClock, SystemClock
from twin.load_history import LoadHistory
from twin.retrieval import Retriever
from twin.scenario import Scenario, ScenarioError, load_scenario
from twin.store import StoreError, TwinStore
from twin.wiring import Wiring

log = logging.getLogger(__name__)
# One service per address; statistics of a large city are a large message.
# The Ryu application and other clients ping every 5 s (proto.connection.KEEPALIVE); without this the server hangs up.
OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
)
# Calls under way get this long to end when the service is told to stop.
GRACE_S = 2.0
# What worker processes import at their start.
PRELOAD = ("controller.decisions", "controller.rrm", "predictor.timesfm_forecaster", "pyomo.environ")


class Service:
    """All parts of the service, wired together. ``run`` serves until it is cancelled."""

    def __init__(self, config: Config, scenario: Scenario, clock: Clock, store: TwinStore, workers: Workers):
        self.config = config
        self.scenario = scenario
        self.events = Subscriptions()
        self.workers = workers
        self.history = LoadHistory(tuple(scenario.cell), slots=config.forecast.history_slots)
        self.plane = ControlPlane(Wiring(scenario), config.openflow.timeout_s, config.openflow.return_after_s)
        resource_blocks = {cell.id: cell.resource_blocks for cell in self.scenario.cells}
        self.decisions = Decisions(
            config, resource_blocks, self.history, self.workers, clock.now_s, lambda: self.plane.avoided
        )
        self.clock = clock
        self.store = store

    async def run(self, started: asyncio.Future | None = None) -> None:
        """Serve until cancelled; ``started`` gets the port. Raises OSError when the address can't be used."""
        config = self.config
        async with AsyncExitStack() as stack:
            retriever = await stack.enter_async_context(
                Retriever(
                    self.store,
                    transport=config.retrieval.transport,
                    chunk_bytes=config.retrieval.chunk_bytes,
                    window=config.retrieval.window,
                    stall_timeout_s=config.retrieval.stall_timeout_s,
                )
            )
            planning = make_planning(config, self.scenario)
            stack.push_async_callback(planning.close)
            answerer = Answerer(
                config,
                self.scenario,
                self.plane,
                self.decisions,
                self.workers,
                self.store,
                retriever,
                self._on_stored,
                planning,
                make_stage_two(config),
            )
            interceptors = [TokenInterceptor(config.service.token)] if config.service.token else []
            server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
            health_servicer = self._add_servicers(server, answerer)
            port = add_port(server, config.service)
            await server.start()
            stack.push_async_callback(server.stop, GRACE_S)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_telemetry(answerer.retrieving))
                group.create_task(self._publish_control_plane())
                if config.forecast.fine_tune_hours:
                    directory = config.state_directory / "adapters"
                    use = self.decisions.use_adapter
                    tuning = FineTuning(config.forecast, self.history, directory, self.clock.now_s, use)
                    group.create_task(tuning.run())
                await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
                log.info("serving on %s, %d cells, %d sensors", config.service.listen, *self._size())
                if started is not None:
                    started.set_result(port)

    def _size(self) -> tuple[int, int]:
        return len(self.scenario.cells), len(self.scenario.sensors)

    def _add_servicers(self, server: grpc.aio.Server, answerer: Answerer) -> health.HealthServicer:
        network = NetworkServicer(
            self.scenario, self.plane, self.decisions, self.history, self.store, self.events, self.clock.now_s
        )
        query = QueryServicer(answerer, self._moment, self.config.service.max_questions)
        telemetry = TelemetryServicer(self.history, self.clock.now_s, self._on_sample)
        query_pb2_grpc.add_QueryServiceServicer_to_server(query, server)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(telemetry, server)
        network_pb2_grpc.add_NetworkServiceServicer_to_server(network, server)
        control_pb2_grpc.add_ControlServiceServicer_to_server(ControlServicer(self.plane), server)
        health_servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        modules = (query_pb2, telemetry_pb2, network_pb2, control_pb2)
        names = [service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
        reflection.enable_server_reflection([*names, HEALTH, reflection.SERVICE_NAME], server)
        return health_servicer

    def _moment(self) -> datetime:
        """Now, by the service's clock, in the city's time zone."""
        return datetime.fromtimestamp(self.clock.now_s(), UTC).astimezone(self.scenario.zone)

    def _on_sample(self, cell_id: str) -> None:
        self.decisions.on_sample(cell_id)
        self.events.publish((network_pb2.LAYER_TRAFFIC_LOAD, (cell_id,)))

    def _on_stored(self, sensor_id: str) -> None:
        self.events.publish((network_pb2.LAYER_DATA_LOAD, (sensor_id,)))

    async def _publish_control_plane(self) -> None:
        layers = {
            "connections": network_pb2.LAYER_CONNECTIONS,
            "routes": network_pb2.LAYER_ROUTES,
            "paths": network_pb2.LAYER_PATHS,
        }
        with self.plane.changed.subscribe() as changes:
            async for change in changes:
                self.events.publish((layers[change], ()))
                if change == "paths":
                    self.decisions.new_sample.set()  # cells whose 6G broke are to leave it, or may come back to it

    async def _follow_telemetry(self, retrieving: Callable[[str], bool]) -> None:
        """Decide again when telemetry has come in, and move routed sensors whose cell went over tau, or back under.

        All cells with telemetry up to now are forecast here, so that a question finds the forecasts made. Routes of the
        others stay as they are: silence, as after a restart, is no reason to move them."""
        while True:
            await self.decisions.new_sample.wait()
            self.decisions.new_sample.clear()
            fresh = [cell for cell in self.scenario.cell if self.decisions.fresh(cell)]
            await self._decide_again(fresh, retrieving)
            await asyncio.sleep(self.config.decision.interval_s)

    async def _decide_again(self, cells: list[str], retrieving: Callable[[str], bool]) -> None:
        before = {cell: decision.path for cell, decision in self.decisions.latest.items()}
        try:
            _, decisions = await self.decisions.decide(cells)
            turned = tuple(cell for cell, decision in decisions.items() if decision.path is not before.get(cell))
            if turned:
                self.events.publish((network_pb2.LAYER_TRAFFIC_LOAD, turned))
            cell_of = {sensor: self.scenario.sensor[sensor].cell for sensor in self.plane.routes}
            changes = path_changes(self.plane.routes, cell_of.__getitem__, decisions, retrieving)
            if changes:
                installed = await self.plane.install(changes)
                log.info("telemetry moved %d sensors to another path in %.3f s", len(changes), installed.seconds)
        except ControlPlaneError as error:
            log.warning("routes do not follow the telemetry: %s", error)
            self.decisions.new_sample.set()


def make_clock(config: Config, scenario: Scenario, environment=os.environ) -> Clock:
    """The clock of the configuration. Emulated processes share $LINKS_CLOCK_WALL_START, the wall-clock second at which
    the scenario's `now` was; without it the emulated clock starts now."""
    if config.scenario.clock == "system":
        return SystemClock()
    wall_start = float(environment.get("LINKS_CLOCK_WALL_START") or time.time())
    return EmulatedClock(scenario.start.timestamp(), config.scenario.speed, wall_start)


async def serve(config: Config) -> None:
    """Run the service until SIGTERM or SIGINT."""
    scenario = load_scenario(config.scenario.file)
    directory = config.state_directory
    directory.mkdir(parents=True, exist_ok=True)
    with lock(directory / "service.lock"), TwinStore(directory / "twin.sqlite") as store:
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            async with Workers(config.service.workers, PRELOAD) as workers:
                await Service(config, scenario, make_clock(config, scenario), store, workers).run()
        except asyncio.CancelledError:
            log.info("stopped")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="links serve", description=__doc__)
    parser.add_argument("--config", metavar="FILE", help="configuration (default: $LINKS_CONFIG, else the defaults)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(load_config(options.config)))
    except (ConfigError, ScenarioError, StoreError, OSError) as error:
        print(f"links service: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
