"""Rates of the radio emulator, measured on frames that real CoAP transfers put on the emulated network.

Frames are counted where they arrive: at the gateway's port, at the coordinator's air.
"""

import asyncio
import json
import socket
import subprocess
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiocoap import GET, Message
from small_city import route, sent_bytes

from mininet_topos import RadioEmulator
from mininet_topos.linux import in_namespace
from mininet_topos.topology import IDLE_RATE_BPS
from mininet_topos.zigbee_air import air_rate_bps
from twin.edge import DAY_S, PORT
from twin.retrieval import Demand, Retriever
from twin.sensor_types import sensor_types
from twin.store import TwinStore
from twin.wiring import AIR_TX

pytestmark = pytest.mark.emulation


@pytest.fixture(scope="module")
def emulator(small_city):
    with RadioEmulator(small_city) as emulator:
        yield emulator


def most_talkative(city):
    """The sensor with the most readings a day, which has to do least for each byte that it sends."""
    return min(city.scenario.sensors, key=lambda sensor: sensor_types()[sensor.type].interval_s or DAY_S)


@asynccontextmanager
async def retrieving(city, store_path, sensors, transport):
    """Fetches more of the sensors' data than any test waits for."""
    end_s = int(city.scenario.start.timestamp()) // DAY_S * DAY_S
    with TwinStore(store_path) as store:
        async with Retriever(store, transport=transport) as retriever:
            demands = [(sensor, Demand(sensor.id, ((end_s - 2000 * DAY_S, end_s),), 0)) for sensor in sensors]
            tasks = [asyncio.create_task(retriever.fetch(sensor, demand)) for sensor, demand in demands]
            try:
                yield
                assert not any(task.done() for task in tasks), "the transfer ended before the measurement did"
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def rates_bps(count_bytes, seconds, busy=lambda: True, settle_s=1.0, parts=16):
    """Median rate over ``parts`` intervals, bit/s; ``count_bytes()`` gives an array of counters.

    Intervals at whose ends not all is ``busy()`` do not count: then the sender was slow, on a machine with more to do.
    """
    await asyncio.sleep(settle_s)
    rates = []
    for _ in range(10 * parts):
        before, begin, busy_before = np.array(count_bytes()), time.monotonic(), busy()
        await asyncio.sleep(seconds / parts)
        after, end = np.array(count_bytes()), time.monotonic()
        if busy_before and busy():
            rates.append(8 * (after - before) / (end - begin))
        if len(rates) == parts:
            return np.median(rates, axis=0)
    raise AssertionError(f"frames waited only in {len(rates)} of {10 * parts} intervals; nothing to measure")


def waiting(city, *sensors):
    """Whether frames wait in the queues of all these sensors."""
    return all(queue_of(city, sensor)["backlog"] > 0 for sensor in sensors)


def queue_of(city, sensor):
    """The token bucket on a sensor's interface, as tc tells it; its rate in bit/s."""
    command = ["mnexec", "-a", str(city.namespace_pid(sensor.id)), "tc", "-j", "-s", "qdisc", "show", "dev", "eth0"]
    (queue,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert queue["kind"] == "tbf"
    return queue | {"rate": queue["options"]["rate"] * 8}


@pytest.mark.parametrize(("transport", "rate_bps"), [("udp", 0.5e6), ("tcp", 0.5e6), ("tcp", 2e6)])
async def test_a_granted_rate_holds_for_coap(small_city, emulator, tmp_path, transport, rate_bps):
    route(small_city, "sixg")
    sensor = most_talkative(small_city)
    assert emulator.grant({sensor.id: rate_bps}) == {}
    async with retrieving(small_city, tmp_path / "twin.sqlite", [sensor], transport):
        measured = await rates_bps(
            lambda: [sent_bytes(small_city, sensor.id)], 5.0, lambda: waiting(small_city, sensor)
        )
    assert measured[0] == pytest.approx(rate_bps, rel=0.1)


class _LeanCoap:
    """Block requests for one interval at a fixed number outstanding: a client light enough not to be the bottleneck."""

    def __init__(self, city, sensor, outstanding=24):
        end_s = int(city.scenario.start.timestamp()) // DAY_S * DAY_S
        query = (f"start={end_s - 30 * DAY_S}", f"end={end_s}")
        request = Message(code=GET, uri_path=("readings",), uri_query=query, block2=(0, False, 6))
        request.mtype, request.mid, request.token = 1, 0, b"abcd"  # non-confirmable
        self._request = bytearray(request.encode())
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((sensor.ipv4, PORT))
        self._socket.settimeout(0.5)
        self._left = outstanding
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._mid = 0
        self.answers = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _ask(self):
        self._mid = (self._mid + 1) % 65_536
        self._request[2:4] = self._mid.to_bytes(2, "big")
        self._socket.send(self._request)

    def _run(self):
        while not self._stop.is_set():
            for _ in range(self._left):
                self._ask()
            self._left = 0
            try:
                assert self._socket.recv(2048)[1] == 0x45  # 2.05 Content
                self.answers += 1
                self._left = 1
            except TimeoutError:
                self._left = 24


@pytest.mark.parametrize("rate_bps", [2e6, 8e6])
async def test_high_rates_hold_for_coap_over_udp(small_city, emulator, rate_bps):
    """Lean client: aiocoap's own can't ask for 8 Mbit/s in blocks of 1 KiB where processors are few."""
    route(small_city, "sixg")
    sensor = most_talkative(small_city)
    emulator.grant({sensor.id: rate_bps})
    with _LeanCoap(small_city, sensor) as client:
        measured = await rates_bps(
            lambda: [sent_bytes(small_city, sensor.id)], 5.0, lambda: waiting(small_city, sensor)
        )
    assert client.answers > 500
    assert measured[0] == pytest.approx(rate_bps, rel=0.1)


async def test_8_mbit_holds_for_tcp(small_city, emulator):
    """A plain TCP stream out of the sensor's namespace, as fast as TCP will."""
    route(small_city, "sixg")
    sensor = small_city.scenario.sensors[2]
    emulator.grant({sensor.id: 8e6})
    listener = socket.create_server((small_city.scenario.twin_ipv4, 0))
    with in_namespace(small_city.namespace_pid(sensor.id)):
        sender = socket.create_connection(listener.getsockname(), 10)
    receiver, _ = listener.accept()

    def send():
        try:
            while True:
                sender.send(bytes(65_536))
        except OSError:
            return

    def receive():
        while receiver.recv(1 << 20):
            pass

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    try:
        measured = await rates_bps(
            lambda: [sent_bytes(small_city, sensor.id)], 5.0, lambda: waiting(small_city, sensor)
        )
    finally:
        sender.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        for end in (sender, receiver, listener):
            end.close()
    assert measured[0] == pytest.approx(8e6, rel=0.1)


async def test_grants_are_each_sensors_own(small_city, emulator):
    """Two sensors of one gateway at different rates at the same time."""
    route(small_city, "sixg")
    first, second = small_city.scenario.sensors_of["c01"][:2]
    emulator.grant({first.id: 0.4e6, second.id: 0.8e6})
    with _LeanCoap(small_city, first), _LeanCoap(small_city, second):
        measured = await rates_bps(
            lambda: [sent_bytes(small_city, sensor.id) for sensor in (first, second)],
            5.0,
            lambda: waiting(small_city, first, second),
        )
    np.testing.assert_allclose(measured, [0.4e6, 0.8e6], rtol=0.1)


def test_grants_in_numbers_and_back_to_idle(small_city, emulator):
    sensors = small_city.scenario.sensors
    assert emulator.grant({sensor.id: 1e6 * (i + 1) for i, sensor in enumerate(sensors)}) == {}
    for i, sensor in enumerate(sensors):
        assert queue_of(small_city, sensor)["rate"] == 1e6 * (i + 1)
    assert emulator.grant({sensors[0].id: 0}) == {}
    assert queue_of(small_city, sensors[0])["rate"] == 250e3
    assert emulator.rates_bps[sensors[0].id] == IDLE_RATE_BPS
    assert queue_of(small_city, sensors[1])["rate"] == 2e6


def test_bad_grants_are_named_and_the_others_applied(small_city, emulator):
    first, second, third, *_ = small_city.scenario.sensors
    errors = emulator.grant({"ghost": 1e6, first.id: -1.0, second.id: float("nan"), third.id: 3e6})
    assert set(errors) == {"ghost", first.id, second.id}
    assert "'ghost'" in errors["ghost"] and "-1.0" in errors[first.id] and "nan" in errors[second.id]
    assert queue_of(small_city, third)["rate"] == 3e6


def test_a_grant_outlives_the_sensors_process(small_city, emulator):
    sensor = small_city.scenario.sensors[3]
    emulator.grant({sensor.id: 1.5e6})
    small_city.restart_sensor(sensor.id)
    assert queue_of(small_city, sensor)["rate"] == 1500e3
    assert emulator.grant({sensor.id: 2.5e6}) == {}
    assert queue_of(small_city, sensor)["rate"] == 2500e3


def air_bytes(city, cell):
    port = f"{city.wiring.cells[cell].coordinator.name}-eth{AIR_TX}"
    return int(Path(f"/sys/class/net/{port}/statistics/tx_bytes").read_text())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sensors_of_one_coordinator_share_its_air(small_city, emulator, tmp_path, transport):
    """Both directions of both sensors together are the air's rate, and neither sensor starves."""
    route(small_city, "zigbee")
    first, second, *_ = small_city.scenario.sensors_of["c02"]
    emulator.grant({first.id: 0, second.id: 0})
    async with retrieving(small_city, tmp_path / "twin.sqlite", [first, second], transport):

        def count():
            return [air_bytes(small_city, "c02"), sent_bytes(small_city, first.id), sent_bytes(small_city, second.id)]

        air, *senders = await rates_bps(count, 9.0, settle_s=3.0, parts=3)
    assert air == pytest.approx(air_rate_bps(), rel=0.05)
    assert sum(senders) < air * 1.02  # the rest of the air is what goes down to the sensors
    assert min(senders) > 0.15 * air


async def test_a_full_air_delays_nobody_elses_frames(small_city, emulator):
    """Frames that wait for one coordinator's air must not use up what Open vSwitch can send elsewhere."""
    slow, other = small_city.scenario.sensors_of["c01"], small_city.scenario.sensors_of["c02"][0]
    route(small_city, "zigbee", [sensor.id for sensor in slow])
    emulator.grant({sensor.id: 0 for sensor in slow})
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind((small_city.scenario.twin_ipv4, 0))
    senders = []
    for sensor in slow:
        with in_namespace(small_city.namespace_pid(sensor.id)):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect(sink.getsockname())
        senders.append(sender)
    begin = time.monotonic()
    try:
        while time.monotonic() < begin + 6:  # 3 x 250 kbit/s into 101 kbit/s: several times what stops it otherwise
            for sender in senders:
                sender.send(bytes(1000))
            await asyncio.sleep(0.03)
        command = ["ping", "-q", "-c", "50", "-i", "0.02", other.ipv4]
        report = subprocess.run(command, capture_output=True, text=True).stdout
    finally:
        for end in (sink, *senders):
            end.close()
    command = ["tc", "-j", "-s", "qdisc", "show", "dev", "zb01-eth3"]
    (queue,) = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert queue["backlog"] > 100_000, queue  # the air is full indeed
    assert " 0% packet loss" in report, report
