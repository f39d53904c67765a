"""The radio emulator: gives each sensor exactly the uplink rate that it was granted, as a base station would.

A grant is a token bucket on the sensor's interface in its own namespace, so it holds for whatever the sensor sends, and
nothing outside can slip past it. Both radios' own limits are part of the topology (``topology``): each base station's
links hold its cell's capacity, each coordinator's air the goodput of IEEE 802.15.4.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
from pyroute2 import IPRoute

from mininet_topos.city import City
from mininet_topos.linux import in_namespace, set_rate
from mininet_topos.reconnect import Pause
from mininet_topos.run_directory import CityError
from mininet_topos.topology import IDLE_RATE_BPS, QUEUE_BYTES, SENSOR_INTERFACE
from proto import control_pb2, control_pb2_grpc
from proto.connection import Connection

log = logging.getLogger(__name__)

KIND = "emulator: token bucket filter in each sensor's namespace"
# A bucket's rate field is 32 bit of bytes/s; below 1 kbit/s a single frame takes longer than CoAP waits.
MIN_RATE_BPS, MAX_RATE_BPS = 1_000.0, 30e9


class RadioEmulator:
    """Sets grants in a running city. Keeps a netlink socket open in every sensor's namespace, so that many grants take
    milliseconds; a namespace lives as long as its city, also when the sensor's process dies."""

    def __init__(self, city: City):
        self._sensors = {sensor.id: city.namespace_pid(sensor.id) for sensor in city.scenario.sensors}
        self._sockets: dict[str, tuple[IPRoute, int]] = {}
        self.rates_bps: dict[str, float] = dict.fromkeys(self._sensors, IDLE_RATE_BPS)
        # One thread owns all sockets: it enters namespaces, and pyroute2's sockets belong to one thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="radio")
        self._thread.submit(self._open).result()

    def grant(self, rates_bps: Mapping[str, float]) -> dict[str, str]:
        """Set rates in bit/s of Ethernet frames by sensor id (0: the idle rate).

        Returns, by sensor id, why a grant could not be applied; the others are in force then.
        """
        return self._thread.submit(self._apply, dict(rates_bps)).result()

    async def grant_async(self, rates_bps: Mapping[str, float]) -> dict[str, str]:
        """As grant, from a coroutine."""
        return await asyncio.wrap_future(self._thread.submit(self._apply, dict(rates_bps)))

    def close(self) -> None:
        """Close the sockets; the rates stay."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def __enter__(self) -> "RadioEmulator":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open(self) -> None:
        for sensor, pid in self._sensors.items():
            try:
                with in_namespace(pid):
                    self._sockets[sensor] = (IPRoute(), socket.if_nametoindex(SENSOR_INTERFACE))
            except OSError as error:
                self._close()
                raise CityError(f"sensor {sensor}: its namespace can't be entered: {error}") from None

    def _close(self) -> None:
        for netlink, _ in self._sockets.values():
            netlink.close()
        self._sockets.clear()

    def _apply(self, rates_bps: dict[str, float]) -> dict[str, str]:
        errors = {}
        for sensor, rate_bps in rates_bps.items():
            problem = self._apply_one(sensor, rate_bps)
            if problem:
                errors[sensor] = problem
        return errors

    def _apply_one(self, sensor: str, rate_bps: float) -> str | None:
        if sensor not in self._sockets:
            return f"no sensor {sensor!r} in this city"
        # Written so that NaN is refused too.
        if rate_bps != 0 and not MIN_RATE_BPS <= rate_bps <= MAX_RATE_BPS:
            return f"rate {rate_bps} bit/s is outside {MIN_RATE_BPS:.0f} to {MAX_RATE_BPS:.0f}; 0 is the idle rate"
        wanted_bps = rate_bps or IDLE_RATE_BPS
        if wanted_bps == self.rates_bps[sensor]:
            return None
        try:
            set_rate(*self._sockets[sensor], wanted_bps, QUEUE_BYTES)
        except OSError as error:
            return str(error)
        self.rates_bps[sensor] = wanted_bps
        return None


async def run_radio_client(connection: Connection, emulator: RadioEmulator, radio_id: str | None = None) -> None:
    """Serve the links service's grants until cancelled: attach, apply, report.

    When the service is away, try again with growing pauses; grants stay in force meanwhile. Raises grpc.aio.AioRpcError
    when the service refuses us.
    """
    radio_id = radio_id or f"radio-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    pause = Pause()
    while True:
        try:
            async with connection.aio_channel() as channel:
                stub = control_pb2_grpc.ControlServiceStub(channel)
                hello = control_pb2.RadioHello(radio_id=radio_id, kind=KIND)
                async for command in stub.AttachRadio(hello, metadata=connection.metadata):
                    pause.reset()
                    await stub.ReportRadio(await _obey(command, emulator), metadata=connection.metadata, timeout=10)
            log.warning("the links service closed the radio's stream; attaching again")
        except grpc.aio.AioRpcError as error:
            pause.check(error)
        await pause.wait()


async def _obey(command: control_pb2.RadioCommand, emulator: RadioEmulator) -> control_pb2.RadioReport:
    rates_bps = {grant.sensor_id: grant.rate_bps for grant in command.grants}
    errors = await emulator.grant_async(rates_bps)
    for sensor, problem in errors.items():
        log.error("grant of sensor %s: %s", sensor, problem)
    log.info("grants %d: %d applied, %d refused", command.sequence, len(rates_bps) - len(errors), len(errors))
    return control_pb2.RadioReport(
        sequence=command.sequence,
        applied=len(rates_bps) - len(errors),
        errors=[f"{sensor}: {problem}" for sensor, problem in errors.items()],
    )
