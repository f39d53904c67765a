"""Replay against a service in this process that keeps, breaks off, forgets and refuses as it is told."""

import asyncio
import socket
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import numpy as np
import pytest

from mininet_topos.load_sources import SLOT_S, GeneratedLoad
from mininet_topos.replay import Replay, ReplayError, load_sample
from proto import network_pb2, network_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from proto.connection import Connection
from twin.clock import EmulatedClock
from twin.generate import make_scenario
from twin.load_model import cell_load

SCENARIO = make_scenario(cells=3, sensors=3, seed=5)
NOW_S = int(SCENARIO.start.timestamp())
CELLS = [cell.id for cell in SCENARIO.cells]


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Wall:
    """A wall clock that tests move."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Service(telemetry_pb2_grpc.TelemetryServiceServicer, network_pb2_grpc.NetworkServiceServicer):
    """Keeps samples. ``break_after``: the stream breaks off after so many more samples, which are kept."""

    def __init__(self, cells=CELLS):
        self.cells = cells
        self.samples = []
        self.publishes = 0
        self.break_after = None
        self.refuse = lambda sample: ""
        self.status = None

    async def Publish(self, request_iterator, context):
        summary = telemetry_pb2.PublishSummary()
        self.publishes += 1
        async for sample in request_iterator:
            if self.break_after == 0:
                self.break_after = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            if self.break_after:
                self.break_after -= 1
            if reason := self.refuse(sample):
                summary.rejected += 1
                summary.rejections.add(reason=reason)
            else:
                summary.accepted += 1
                self.samples.append(sample)
        return summary

    async def GetTrafficLoad(self, request, context):
        if self.status:
            await context.abort(self.status, "not now")
        reply = network_pb2.TrafficLoad()
        for cell_id in self.cells:
            times = [sample.time.seconds for sample in self.samples if sample.cell_id == cell_id]
            load = reply.cells.add(cell_id=cell_id, observed_slots=len(times))
            if times:
                load.time.FromSeconds(max(times))
        return reply

    @asynccontextmanager
    async def listening(self, port=0):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(self, server)
        network_pb2_grpc.add_NetworkServiceServicer_to_server(self, server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)

    def keys(self):
        return [(sample.cell_id, sample.time.seconds) for sample in self.samples]


def expected(first_slot, end_slot):
    return {(cell, NOW_S + slot * SLOT_S) for cell in CELLS for slot in range(first_slot, end_slot)}


@asynccontextmanager
async def replaying(port, wall, history_slots=20, source=None):
    clock = EmulatedClock(NOW_S, 1.0, 0.0, wall)
    connection = Connection(f"127.0.0.1:{port}")
    replay = Replay(SCENARIO, source or GeneratedLoad(SCENARIO), clock, connection, history_slots)
    caught_up = asyncio.Event()
    task = asyncio.create_task(replay.run(caught_up.set))
    waiting = asyncio.create_task(caught_up.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if task.done():
            task.result()
        yield replay
    finally:
        waiting.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def once_each(service, wanted):
    assert Counter(service.keys()) == Counter(wanted)


async def test_the_past_is_sent_in_order_with_the_sources_load():
    service = Service()
    async with service.listening() as port, replaying(port, Wall()) as replay:
        once_each(service, expected(-20, 0))
        assert replay.accepted == 60 and replay.rejected == 0
        times = [time_s for _, time_s in service.keys()]
        assert times == sorted(times)
        for cell in SCENARIO.cells:
            offered_bps = [sample.offered_bps for sample in service.samples if sample.cell_id == cell.id]
            load = cell_load(SCENARIO, cell.id, NOW_S - 20 * SLOT_S, 20)
            np.testing.assert_allclose(np.array(offered_bps) / cell.capacity_bps, load)


async def test_live_slots_are_sent_when_they_have_ended():
    service, wall = Service(), Wall()
    async with service.listening() as port, replaying(port, wall):
        wall.now_s = SLOT_S - 1.0
        await asyncio.sleep(1.2)
        once_each(service, expected(-20, 0))
        wall.now_s = SLOT_S
        await until(lambda: len(service.samples) == 63)
        wall.now_s = 3 * SLOT_S + 5
        await until(lambda: len(service.samples) == 69)
        once_each(service, expected(-20, 3))


@pytest.mark.parametrize("break_after", [0, 1, 2, 31, 59])
async def test_a_stream_that_breaks_off_loses_and_doubles_nothing(break_after):
    service = Service()
    service.break_after = break_after
    async with service.listening() as port, replaying(port, Wall()):
        once_each(service, expected(-20, 0))
        assert service.publishes >= 2


async def test_a_service_that_comes_late(unused_port):
    service, wall = Service(), Wall()
    replay = Replay(
        SCENARIO,
        GeneratedLoad(SCENARIO),
        EmulatedClock(NOW_S, 1.0, 0.0, wall),
        Connection(f"127.0.0.1:{unused_port}"),
        history_slots=5,
    )
    task = asyncio.create_task(replay.run())
    await asyncio.sleep(0.5)
    wall.now_s = 4 * SLOT_S  # four slots end while nobody listens
    async with service.listening(unused_port):
        await until(lambda: len(service.samples) >= 3 * 9)
        once_each(service, expected(-5, 4))
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_restarted_service_gets_everything_again(unused_port):
    service, wall = Service(), Wall()
    async with AsyncExitStack() as stack:
        async with service.listening(unused_port):
            await stack.enter_async_context(replaying(unused_port, wall, history_slots=6))
        once_each(service, expected(-6, 0))
        fresh = Service()
        wall.now_s = 2 * SLOT_S
        await stack.enter_async_context(fresh.listening(unused_port))
        await until(lambda: len(fresh.samples) >= 3 * 8)
        once_each(fresh, expected(-6, 2))


async def test_history_lost_without_an_outage_is_noticed():
    service = Service()
    async with service.listening() as port, replaying(port, Wall(), history_slots=6):
        service.samples.clear()
        await until(lambda: len(service.samples) >= 18)
        once_each(service, expected(-6, 0))


async def test_a_restarted_replay_sends_only_what_is_lacking():
    service, wall = Service(), Wall()
    async with service.listening() as port:
        async with replaying(port, wall, history_slots=6):
            pass
        wall.now_s = SLOT_S
        async with replaying(port, wall, history_slots=6):
            once_each(service, expected(-6, 1))


async def test_refused_samples_are_counted_and_not_sent_for_ever():
    service = Service()
    service.refuse = lambda sample: "too hot" if sample.cell_id == CELLS[1] else ""
    async with service.listening() as port, replaying(port, Wall(), history_slots=4) as replay:
        await asyncio.sleep(2.5)
        assert (replay.accepted, replay.rejected, service.publishes) == (8, 4, 1)


async def test_missing_slots_are_left_out():
    class Gappy(GeneratedLoad):
        def load(self, cell_id, start_s, slots):
            load = super().load(cell_id, start_s, slots)
            load[(start_s + SLOT_S * np.arange(slots)) == NOW_S - 2 * SLOT_S] = np.nan
            return load

    service = Service()
    async with service.listening() as port, replaying(port, Wall(), 4, Gappy(SCENARIO)):
        once_each(service, expected(-4, -2) | expected(-1, 0))


async def test_a_service_of_another_city_is_refused():
    service = Service(cells=CELLS[:2])
    async with service.listening() as port:
        with pytest.raises(ReplayError, match=CELLS[2]):
            async with replaying(port, Wall()):
                pass
    assert not service.samples


async def test_refusal_of_the_caller_is_not_tried_again():
    service = Service()
    service.status = grpc.StatusCode.UNAUTHENTICATED
    async with service.listening() as port:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            async with replaying(port, Wall()):
                pass


def test_an_overloaded_cell_carries_its_capacity():
    cell = SCENARIO.cells[0]
    sample = load_sample(cell, NOW_S, 1.25)
    assert sample.offered_bps == pytest.approx(1.25 * cell.capacity_bps)
    assert sample.carried_bps == sample.capacity_bps == cell.capacity_bps
    assert sample.prb_used == sample.prb_total == cell.resource_blocks
