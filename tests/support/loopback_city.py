"""A city on loopback addresses: real edge storage over CoAP, the real service, a controller and a radio that keep what
they are told. No root, no switches."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime

from fake_clients import FakeController, FakeRadio, until

from controller.config import Config
from controller.service import Service
from controller.workers import Workers
from proto import telemetry_pb2, telemetry_pb2_grpc
from proto.connection import Connection
from twin.edge import EdgeStorage, serve
from twin.generate import make_scenario
from twin.scenario import Scenario
from twin.sensor_model import readings
from twin.store import TwinStore

SLOT_S = 600
WORKERS = Workers(1)  # for all tests of a run: a process that has imported the solvers is expensive
NOW = datetime.fromisoformat("2013-11-18T12:00:00+01:00")


class FixedClock:
    """Stands still, so that a question's windows do."""

    def now_s(self) -> float:
        return NOW.timestamp()


def loopback_scenario(cells: int = 3, sensors: int = 60, seed: int = 7) -> Scenario:
    """A generated city whose sensors have loopback addresses."""
    scenario = make_scenario(cells=cells, sensors=sensors, seed=seed)
    moved = tuple(replace(sensor, ipv4=f"127.66.{i // 200}.{i % 200 + 2}") for i, sensor in enumerate(scenario.sensors))
    return replace(scenario, subnet="127.66.0.0/16", twin_ipv4="127.66.255.1", sensors=moved)


class LoopbackCity:
    """Use ``async with running(tmp_path) as city``."""

    def __init__(self, scenario: Scenario, config: Config, directory):
        self.scenario, self.config, self.directory = scenario, config, directory
        self.store_path = directory / "twin.sqlite"
        self._sensors: dict[str, asyncio.Task] = {}

    def storage(self, sensor) -> EdgeStorage:
        return EdgeStorage(
            self.directory / "edge", sensor, lambda start, end: readings(self.scenario, sensor, start, end)
        )

    async def start_sensor(self, sensor) -> None:
        ready = asyncio.Event()
        serving = serve(self.storage(sensor), sensor, sensor.ipv4, FixedClock(), ready=ready.set)
        self._sensors[sensor.id] = asyncio.create_task(serving)
        await ready.wait()

    async def stop_sensor(self, sensor_id: str) -> None:
        task = self._sensors.pop(sensor_id)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def publish(self, load, cells=None, slots=12):
        """The same load for the last ``slots`` slots of the cells."""

        async def samples():
            for cell in cells or self.scenario.cell:
                capacity = self.scenario.cell[cell].capacity_bps
                for slot in range(slots):
                    sample = telemetry_pb2.LoadSample(
                        cell_id=cell,
                        offered_bps=load * capacity,
                        carried_bps=min(load, 1) * capacity,
                        capacity_bps=capacity,
                    )
                    sample.time.FromSeconds(int(NOW.timestamp()) - slot * SLOT_S)
                    yield sample

        return await telemetry_pb2_grpc.TelemetryServiceStub(self.channel).Publish(samples())


@asynccontextmanager
async def running(tmp_path, scenario=None, config=None, controller=True):
    """The service with its city; ``city.channel`` is open, controller and radio attached, all cells have load 0.3."""
    scenario, config = scenario or loopback_scenario(), config or Config()
    config = replace(config, service=replace(config.service, listen="127.0.0.1:0"))
    city = LoopbackCity(scenario, config, tmp_path)
    for sensor in scenario.sensors:
        await city.start_sensor(sensor)
    with TwinStore(city.store_path) as city.store:
        city.service = Service(config, scenario, FixedClock(), city.store, WORKERS)
        started = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(city.service.run(started))
        await asyncio.wait([serving, started], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        city.address = f"127.0.0.1:{started.result()}"
        everything = {switch.datapath_id for switch in city.service.plane.wiring.switches}
        city.controller, city.radio = FakeController("r1", everything), FakeRadio()
        try:
            async with Connection(city.address).aio_channel() as city.channel:
                await city.publish(0.3)
                if controller:
                    async with city.controller.attached(city.channel), city.radio.attached(city.channel):
                        plane = city.service.plane
                        await until(lambda: plane.controller_attached and plane.radio_attached)
                        yield city
                else:
                    yield city
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
            for sensor_id in list(city._sensors):
                await city.stop_sensor(sensor_id)
