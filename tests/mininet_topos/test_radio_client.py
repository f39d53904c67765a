"""The radio emulator's side of ControlService, against a service in this process and without a network."""

import asyncio
import socket
from contextlib import asynccontextmanager

import grpc
import pytest

from mininet_topos.radio import run_radio_client
from proto import control_pb2, control_pb2_grpc
from proto.connection import Connection


class Emulator:
    """Knows the sensors s1 and s2."""

    def __init__(self):
        self.rates_bps = {"s1": 0.0, "s2": 0.0}

    async def grant_async(self, rates_bps):
        self.rates_bps |= {sensor: rate for sensor, rate in rates_bps.items() if sensor in self.rates_bps}
        return {sensor: "no such sensor" for sensor in rates_bps if sensor not in self.rates_bps}


class Service(control_pb2_grpc.ControlServiceServicer):
    def __init__(self):
        self.hellos, self.reports = [], []
        self.commands = asyncio.Queue()
        self.token = None

    async def AttachRadio(self, request, context):
        if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        self.hellos.append(request)
        while command := await self.commands.get():
            yield command

    async def ReportRadio(self, request, context):
        self.reports.append(request)
        return control_pb2.ReportAck()

    @asynccontextmanager
    async def listening(self, port=0):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, server)
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)


def command(sequence, **rates_bps):
    grants = [control_pb2.RateGrant(sensor_id=sensor, rate_bps=rate) for sensor, rate in rates_bps.items()]
    return control_pb2.RadioCommand(sequence=sequence, grants=grants)


@asynccontextmanager
async def client(port, emulator, token=""):
    task = asyncio.create_task(run_radio_client(Connection(f"127.0.0.1:{port}", token=token), emulator, "radio-1"))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_grants_are_applied_and_reported():
    service, emulator = Service(), Emulator()
    async with service.listening() as port, client(port, emulator):
        await service.commands.put(command(1, s1=2e6))
        await service.commands.put(command(2, s2=5e5, ghost=1e6))
        await until(lambda: len(service.reports) == 2)
    assert emulator.rates_bps == {"s1": 2e6, "s2": 5e5}
    assert service.hellos[0].radio_id == "radio-1" and "emulator" in service.hellos[0].kind
    first, second = service.reports
    assert (first.sequence, first.applied, list(first.errors)) == (1, 1, [])
    assert (second.sequence, second.applied, list(second.errors)) == (2, 1, ["ghost: no such sensor"])


async def test_it_attaches_again_when_the_service_comes_back_and_grants_stay():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    emulator, fresh = Emulator(), Service()
    async with client(port, emulator) as task:
        for number in (1, 2):
            service = Service()
            async with service.listening(port):
                await until(lambda service=service: service.hellos)
                await service.commands.put(command(number, s1=1e6 * number))
                await until(lambda service=service: service.reports)
            assert emulator.rates_bps["s1"] == 1e6 * number
        async with fresh.listening(port):
            await until(lambda: fresh.hellos)
            assert emulator.rates_bps["s1"] == 2e6
        assert not task.done()


async def test_a_stream_that_the_service_ends_is_opened_again():
    service = Service()
    async with service.listening() as port, client(port, Emulator()):
        await until(lambda: service.hellos)
        await service.commands.put(None)
        await until(lambda: len(service.hellos) == 2)


async def test_a_wrong_token_is_not_tried_again():
    service = Service()
    service.token = "right"
    async with service.listening() as port:
        async with client(port, Emulator(), "wrong") as task:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
                await asyncio.wait_for(task, 20)
        async with client(port, Emulator(), "right"):
            await until(lambda: service.hellos)
