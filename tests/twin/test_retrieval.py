"""Lazy loading over real sockets of 127.0.0.0/8: what is fetched, and what bad sensors and networks do to it."""

import asyncio
import hashlib
import inspect
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiocoap import CONTENT, Context, Message, interfaces
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import senml
from twin.edge import BERT_BYTES, DAY_S, PORT, EdgeStorage, serve
from twin.intervals import length_s, normalise, subtract
from twin.readings import Readings
from twin.retrieval import Demand, Retriever, demands, expected_readings
from twin.scenario import Scenario, Sensor, load_scenario
from twin.sensor_model import fields
from twin.sensor_types import sensor_types
from twin.store import TwinStore

REPOSITORY = Path(__file__).parents[2]
T = 1_384_128_000
NOW = T + 4 * DAY_S
BLOCK = 1024
_addresses = itertools.count(random.SystemRandom().randrange(1, 2**20))


def free_address() -> str:
    """A loopback address that no other test uses, also not one of another process."""
    number = next(_addresses)
    return f"127.{100 + os.getpid() % 100}.{number >> 8 & 255}.{1 + number % 254}"


def sensor(number: int = 1, address: str | None = None, type_id: str = "leakage_current") -> Sensor:
    address, mac = address or free_address(), f"02:00:00:00:00:{number:02x}"
    return Sensor(f"s{number}", type_id, "c1", "Centro", 9.19, 45.46, 2.0, address, mac, 3)


def source(start_s: int, end_s: int) -> Readings:
    """One reading a minute, a function of time alone."""
    t_s = np.arange(-(-start_s // 60) * 60, end_s, 60, dtype=np.int64)
    return Readings(t_s, np.round(10 + (t_s % 977) / 100, 1)[:, None])


def canonical(of: Sensor, start_s: int, end_s: int) -> bytes:
    return senml.encode(source(start_s, end_s), senml.base_name(of.mac), fields(of.type))


def demand(of: Sensor, *intervals) -> Demand:
    intervals = normalise(intervals)
    return Demand(of.id, intervals, sum(len(source(*part)) for part in intervals) * 24)


class FixedClock:
    def now_s(self) -> float:
        return NOW


@pytest.fixture
def store(tmp_path):
    with TwinStore(tmp_path / "twin.db") as opened:
        yield opened


@asynccontextmanager
async def served(tmp_path, *sensors: Sensor):
    """The real server for each sensor."""
    ready = [asyncio.Event() for _ in sensors]
    tasks = [
        asyncio.create_task(
            serve(EdgeStorage(tmp_path / of.id, of, source), of, of.ipv4, FixedClock(), ready=event.set)
        )
        for of, event in zip(sensors, ready, strict=True)
    ]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in ready)), 10)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def assert_holds_exactly(store: TwinStore, of: Sensor, intervals) -> None:
    assert store.held(of.id) == normalise(intervals)
    for start_s, end_s in normalise(intervals):
        assert store.payload(of.id, start_s, end_s) == canonical(of, start_s, end_s)
    assert store.totals().readings == sum(len(source(*part)) for part in normalise(intervals))
    assert store.verify() == ()


# Demands


def scenario_with(*sensors: Sensor) -> Scenario:
    return replace(load_scenario("milan"), sensors=sensors)


def test_demands_are_the_missing_parts_by_record_size(store):
    leakage, frequency, outage = sensor(1), sensor(2, type_id="grid_frequency"), sensor(3, type_id="outage")
    city = scenario_with(leakage, frequency, outage)
    payload = canonical(leakage, T, T + 600)
    store.add(leakage, T, T + 600, payload, 10, hashlib.sha256(payload).hexdigest())
    wanted = [("s2", T, T + 100), ("s1", T, T + 1200), ("s1", T + 900, T + 1800), ("s3", T, T + 7 * DAY_S)]
    found, held_bytes, missing_bytes = demands(city, store, wanted)
    assert found == (
        Demand("s2", ((T, T + 100),), 10 * 24),  # every 10 s
        Demand("s1", ((T + 600, T + 1800),), 20 * 24),  # every 60 s
        Demand("s3", ((T, T + 7 * DAY_S),), 7 * 128),  # one event a day
    )
    assert (held_bytes, missing_bytes) == (10 * 24, 240 + 480 + 896)
    assert demands(city, store, [("s1", T, T + 600)]) == ((), 240, 0)
    assert demands(city, store, []) == ((), 0, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_expected_readings_are_the_multiples_of_the_interval(start_s, length):
    parts = ((start_s, start_s + length),)
    for kind in sensor_types().values():
        if kind.interval_s:
            assert expected_readings(kind, parts) == sum(1 for t in range(*parts[0]) if t % kind.interval_s == 0)


# Fetching


@pytest.mark.parametrize(("transport", "window"), [("udp", 1), ("udp", 16), ("tcp", 1), ("tcp", 16)])
async def test_everything_arrives_and_is_not_fetched_again(tmp_path, store, transport, window):
    of, seen = sensor(), []
    async with served(tmp_path, of), Retriever(store, transport, 8192, window) as retriever:
        wanted = demand(of, (T + 7, T + DAY_S), (T + 2 * DAY_S, NOW))
        result = await retriever.fetch(of, wanted, lambda received, readings: seen.append((received, readings)))
    assert (result.sensor_id, result.error, result.missing) == ("s1", None, ())
    assert result.readings == sum(len(source(*part)) for part in wanted.intervals)
    assert result.received_bytes == store.totals().bytes
    assert 0 < result.seconds
    assert len(seen) > 5 and seen == sorted(seen) and seen[-1] == (result.received_bytes, result.readings)
    assert_holds_exactly(store, of, wanted.intervals)
    assert demands(scenario_with(of), store, [("s1", T + 7, T + DAY_S), ("s1", T + 3 * DAY_S, NOW)])[0] == ()


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2 * DAY_S), st.integers(1, DAY_S)), min_size=1, max_size=4),
    st.sampled_from(["udp", "tcp"]),
)
def test_question_after_question_only_what_is_missing_moves(tmp_path_factory, wanted, transport):
    async def ask_all():
        directory, of = tmp_path_factory.mktemp("lazy"), sensor()
        asked = []
        with TwinStore(directory / "twin.db") as store:
            async with served(directory, of), Retriever(store, transport) as retriever:
                for start, length in wanted:
                    part = (T + start, T + start + length)
                    missing = subtract([part], asked)
                    found, _, _ = demands(scenario_with(of), store, [("s1", *part)])
                    assert [d.intervals for d in found] == ([missing] if missing else [])
                    for each in found:
                        result = await retriever.fetch(of, each)
                        assert result.error is None
                        assert result.readings == sum(len(source(*m)) for m in missing)
                    asked.append(part)
            assert_holds_exactly(store, of, asked)
            assert length_s(store.held("s1")) == length_s(asked)

    asyncio.run(ask_all())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_many_sensors_share_a_retriever(tmp_path, store, transport):
    several = [sensor(number) for number in range(1, 9)]
    async with served(tmp_path, *several), Retriever(store, transport) as retriever:
        results = await asyncio.gather(*(retriever.fetch(of, demand(of, (T, T + DAY_S))) for of in several))
    assert [result.error for result in results] == [None] * 8
    for of in several:
        assert store.payload(of.id, T, T + DAY_S) == canonical(of, T, T + DAY_S)
    assert store.totals().readings == 8 * 1440
    assert store.verify() == ()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_two_questions_at_once_never_double(tmp_path, store, transport):
    of = sensor()
    async with served(tmp_path, of), Retriever(store, transport) as retriever:
        wanted = demand(of, (T, T + DAY_S)), demand(of, (T + DAY_S // 2, T + 2 * DAY_S))
        results = await asyncio.gather(*(retriever.fetch(of, each) for each in wanted))
    assert [result.error for result in results] == [None, None]
    assert_holds_exactly(store, of, [(T, T + 2 * DAY_S)])


def test_settings_are_checked(store):
    for wrong in ({"transport": "sctp"}, {"window": 0}, {"chunk_bytes": 0}, {"stall_timeout_s": 0}):
        with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
            Retriever(store, **wrong)


# Bad networks


class Proxy(asyncio.DatagramProtocol):
    """A UDP path to another address. ``treat(number, request)`` gives a datagram's delays in seconds, one per copy."""

    def __init__(self, server: str, treat) -> None:
        self._server, self._treat, self._clients, self._numbers = server, treat, {}, itertools.count()

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        asyncio.get_running_loop().create_task(self._forward(data, address))

    async def _forward(self, data: bytes, address) -> None:
        loop = asyncio.get_running_loop()
        if address not in self._clients:
            back = self

            class Back(asyncio.DatagramProtocol):
                def datagram_received(self, answer: bytes, _) -> None:
                    back._pass(False, lambda: back._transport.sendto(answer, address))

            created = loop.create_datagram_endpoint(Back, remote_addr=(self._server, PORT))
            self._clients[address] = loop.create_task(created)
        upstream = (await self._clients[address])[0]
        self._pass(True, lambda: upstream.sendto(data))

    def _pass(self, request: bool, send) -> None:
        for delay_s in self._treat(next(self._numbers), request):
            asyncio.get_running_loop().call_later(delay_s, send)

    async def close(self) -> None:
        self._transport.close()
        for upstream in self._clients.values():
            (await upstream)[0].close()


@asynccontextmanager
async def reached_by(of: Sensor, treat):
    """The same sensor behind a proxy."""
    behind = replace(of, ipv4=free_address())
    proxy = Proxy(of.ipv4, treat)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: proxy, local_addr=(behind.ipv4, PORT))
    try:
        yield behind
    finally:
        await proxy.close()


@pytest.mark.parametrize("window", [1, 16])
async def test_losses_copies_and_disorder_do_no_harm(tmp_path, store, window):
    rng = random.Random(5)

    def treat(number: int, request: bool) -> list[float]:
        return [rng.choice([0, 0, 0.01, 0.05]) for _ in range(rng.choices([0, 1, 2], [1, 12, 3])[0])]

    of = sensor()
    async with (
        served(tmp_path, of),
        reached_by(of, treat) as behind,
        Retriever(store, "udp", window=window) as retriever,
    ):
        result = await retriever.fetch(behind, demand(of, (T, T + DAY_S)))
    assert result.error is None
    assert_holds_exactly(store, of, [(T, T + DAY_S)])


async def test_a_path_slower_than_the_first_timeout_settles(tmp_path, store):
    of, requests = sensor(), 0

    def treat(number: int, request: bool) -> list[float]:
        nonlocal requests
        requests += request
        return [0.35]

    # The first timeout is a quarter of the stall timeout, 0.4 s; the round trip takes 0.7 s.
    async with served(tmp_path, of), reached_by(of, treat) as behind:
        async with Retriever(store, "udp", stall_timeout_s=1.6) as retriever:
            result = await retriever.fetch(behind, demand(of, (T, T + 3600)))
    assert result.error is None
    needed = 1 + -(-len(canonical(of, T, T + 3600)) // BLOCK)
    assert needed <= requests <= needed + 4
    assert_holds_exactly(store, of, [(T, T + 3600)])


async def test_a_path_that_dies_is_found_by_the_stall_timeout(tmp_path, store):
    of = sensor()
    async with served(tmp_path, of), reached_by(of, lambda number, request: [0] if number < 60 else []) as behind:
        async with Retriever(store, "udp", 8192, stall_timeout_s=0.6) as retriever:
            result = await retriever.fetch(behind, demand(of, (T, T + DAY_S)))
    assert "silent for 0.6 s" in result.error
    assert result.missing and result.missing == subtract([(T, T + DAY_S)], store.held("s1"))
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result.missing[0][0])) in result.error
    assert result.readings == store.totals().readings > 0
    assert result.received_bytes == store.totals().bytes
    assert_holds_exactly(store, of, store.held("s1"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nobody_there(store, transport):
    of = sensor()
    async with Retriever(store, transport, stall_timeout_s=0.5) as retriever:
        result = await retriever.fetch(of, demand(of, (T, T + 600)))
    assert f"s1 at {of.ipv4}: silent for 0.5 s (" in result.error
    assert "refused" in result.error
    assert result.missing == ((T, T + 600),)


# Sensors that die, freeze and come back: real processes

SENSOR_PROCESS = f"""
import asyncio, sys
import numpy as np
from twin.edge import DAY_S, EdgeStorage, serve
from twin.readings import Readings
from twin.scenario import Sensor
T, NOW = {T}, {NOW}
{inspect.getsource(sensor)}
{inspect.getsource(source)}
{inspect.getsource(FixedClock)}
of = sensor(address=sys.argv[1])
storage = EdgeStorage(sys.argv[2], of, source)
asyncio.run(serve(storage, of, of.ipv4, FixedClock(), ready=lambda: print("ready", flush=True)))
"""


class SensorProcess:
    def __init__(self, of: Sensor, directory: Path) -> None:
        self._command = [sys.executable, "-c", SENSOR_PROCESS, of.ipv4, str(directory)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert self.process.stdout.readline() == b"ready\n"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def sensor_process(tmp_path):
    started = []

    def start(of: Sensor) -> SensorProcess:
        started.append(SensorProcess(of, tmp_path / "edge"))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_sensor_that_is_killed_freezes_or_restarts(store, sensor_process, transport):
    of = sensor()
    running = sensor_process(of)
    wanted = [(T, T + 2 * DAY_S)]

    def after_chunk(count: int, action):
        calls = itertools.count(1)
        return lambda received, readings: action() if next(calls) == count else None

    async with Retriever(store, transport, 4096, stall_timeout_s=1.2) as retriever:
        # Frozen: found by the stall timeout, what came is kept.
        frozen = await retriever.fetch(of, demand(of, *wanted), after_chunk(3, lambda: running.signal(signal.SIGSTOP)))
        assert "silent for 1.2 s (no answer)" in frozen.error
        assert 3 <= store.totals().holdings and frozen.readings == store.totals().readings
        assert_holds_exactly(store, of, store.held("s1"))
        running.signal(signal.SIGCONT)

        # Killed for good: the connection is refused until the stall timeout.
        left = subtract(wanted, store.held("s1"))
        killed = await retriever.fetch(of, demand(of, *left), after_chunk(3, running.kill))
        assert "silent for 1.2 s" in killed.error and "refused" in killed.error
        assert killed.missing == subtract(wanted, store.held("s1")) != left
        assert_holds_exactly(store, of, store.held("s1"))

    # Killed, and back before the stall timeout: the fetch goes on.
    running.start()

    def restart():
        running.kill()
        asyncio.get_running_loop().run_in_executor(None, running.start)

    async with Retriever(store, transport, 4096, stall_timeout_s=20.0) as retriever:
        result = await retriever.fetch(of, demand(of, *killed.missing), after_chunk(3, restart))
    assert (result.error, result.missing) == (None, ())
    assert_holds_exactly(store, of, wanted)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_sensor_that_restarts_while_nothing_is_asked_of_it(tmp_path, sensor_process, transport):
    """Nobody is told that the connection is gone; the next request must not wait on it."""
    of, restarted, calls = sensor(), threading.Event(), itertools.count(1)
    running = sensor_process(of)

    class StoreThatRestartsTheSensor(TwinStore):
        def add(self, *arguments) -> int:
            if next(calls) == 3:  # as many chunks as are under way together
                running.kill()
                running.start()
                restarted.set()
            assert restarted.wait(30)
            return super().add(*arguments)

    with StoreThatRestartsTheSensor(tmp_path / "twin.db") as store:
        async with Retriever(store, transport, 4096, stall_timeout_s=20.0) as retriever:
            result = await retriever.fetch(of, demand(of, (T, T + DAY_S)))
        assert (result.error, result.missing) == (None, ())
        assert_holds_exactly(store, of, [(T, T + DAY_S)])


# Sensors that lie


class Liar(interfaces.Resource):
    """Answers as a sensor would, with one thing changed by ``lie(kind, value)`` (kind: info, payload, block)."""

    def __init__(self, of: Sensor, lie) -> None:
        self._of, self._lie = of, lie

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        return False

    async def render(self, request: Message) -> Message:
        raise NotImplementedError

    async def render_to_pipe(self, pipe) -> None:
        request = pipe.request
        start_s, end_s = (int(part.partition("=")[2]) for part in request.opt.uri_query)
        payload = self._lie("payload", canonical(self._of, start_s, end_s))
        if request.opt.uri_path == ("readings", "info"):
            info = {
                "count": len(source(start_s, end_s)),
                "bytes": len(payload),
                "sha256": hashlib.sha256(payload).hexdigest(),
                "etag": hashlib.sha256(payload).digest()[:8].hex(),
            }
            said = self._lie("info", info)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            pipe.add_response(Message(code=CONTENT, payload=content, content_format=50), is_last=True)
            return
        block = request.opt.block2
        size = BERT_BYTES if block.size_exponent == 7 else block.size
        part = payload[block.start : block.start + size]
        response = Message(code=CONTENT, payload=part, content_format=110, etag=hashlib.sha256(payload).digest()[:8])
        response.opt.block2 = (block.block_number, block.start + size < len(payload), block.size_exponent)
        pipe.add_response(self._lie("block", response), is_last=True)


def changed(kind: str, change):
    return lambda of_kind, value: change(value) if of_kind == kind else value


def with_options(**options):
    def change(response: Message) -> Message:
        return response.copy(**options)

    return changed("block", change)


def shifted(payload: bytes) -> bytes:
    return payload.replace(b'"bt":%d' % T, b'"bt":%d' % (T - 60))


def swapped(payload: bytes) -> bytes:
    return payload.replace(b'"t":60,', b'"t":120,')


LIES = {
    "count": (changed("info", lambda info: {**info, "count": info["count"] + 1}), "announced 301"),
    "checksum": (changed("info", lambda info: {**info, "sha256": "0" * 64}), "SHA-256"),
    "checksum of no text": (changed("info", lambda info: {**info, "sha256": None}), "SHA-256 is .* announced None"),
    "fewer bytes": (changed("info", lambda info: {**info, "bytes": info["bytes"] - 1}), "of .* announced"),
    "more bytes": (changed("info", lambda info: {**info, "bytes": info["bytes"] + 5000}), "of .* announced"),
    "endless": (changed("info", lambda info: {**info, "bytes": 2**40}), "bytes must be 1 to"),
    "no bytes": (changed("info", lambda info: {**info, "bytes": 0}), "bytes must be 1 to"),
    "count of no number": (changed("info", lambda info: {**info, "count": "x"}), "announced b'"),
    "etag": (changed("info", lambda info: {**info, "etag": "00"}), "changed 3 times while it was read"),
    "etag of no hex": (changed("info", lambda info: {**info, "etag": "zz"}), "as JSON"),
    "garbage announced": (changed("info", lambda info: b"\xff{"), "as JSON"),
    "list announced": (changed("info", lambda info: []), "as JSON"),
    "garbage sent": (changed("payload", lambda payload: b"x" * 3000), "not a JSON text"),
    "outside": (changed("payload", shifted), "lie outside the interval"),
    "unordered": (changed("payload", swapped), "second value|comes after"),
    "another sensor": (changed("payload", lambda p: p.replace(b"000001", b"000002")), "is not one of this sensor"),
    "content format": (with_options(content_format=0), "content format"),
    "no block option": (with_options(block2=None), "sent block None, asked for"),
    "another block": (with_options(block2=(9, True, 6)), "sent block"),
    "smaller blocks": (with_options(block2=(0, True, 5)), "sent block"),
    "no more": (with_options(block2=(0, False, 6)), "more=False"),
    "empty block": (with_options(payload=b""), "sent 0 bytes at 0"),
    "short block": (with_options(payload=b"x"), "sent 1 bytes at 0"),
    "long block": (with_options(payload=b"x" * 1100), "sent 1100 bytes at 0"),
    "error code": (with_options(code=160, payload=b"no disk"), "answered 5.00 .*: no disk"),
}


@asynccontextmanager
async def lying(of: Sensor, lie, transport: str):
    backend = {"udp": "simplesocketserver", "tcp": "tcpserver"}[transport]
    context = await Context.create_server_context(Liar(of, lie), bind=(of.ipv4, PORT), transports=[backend])
    try:
        yield
    finally:
        await context.shutdown()


ALSO_OVER_TCP = ("checksum", "fewer bytes", "etag", "garbage sent", "another block", "no more", "error code")


@pytest.mark.parametrize(
    ("name", "transport"), [(name, "udp") for name in LIES] + [(name, "tcp") for name in ALSO_OVER_TCP]
)
async def test_a_lie_is_reported_and_never_stored(store, name, transport):
    of, (lie, message) = sensor(), LIES[name]
    async with lying(of, lie, transport), Retriever(store, transport, stall_timeout_s=2.0) as retriever:
        result = await retriever.fetch(of, demand(of, (T, T + 18_000)))
    assert result.error is not None and result.missing == ((T, T + 18_000),)
    assert re.search(message, result.error), result.error
    assert (result.received_bytes, result.readings) == (0, 0)
    assert store.totals().holdings == store.totals().readings == 0


async def test_the_liar_tells_the_truth_when_it_does_not_lie(store):
    of = sensor()
    async with lying(of, lambda kind, value: value, "udp"), Retriever(store) as retriever:
        assert (await retriever.fetch(of, demand(of, (T, T + 18_000)))).error is None
    assert_holds_exactly(store, of, [(T, T + 18_000)])


async def test_a_payload_that_changes_once_is_read_again(store):
    of, etags = sensor(), itertools.count()

    def once(kind: str, value):
        return value.copy(etag=b"other") if kind == "block" and next(etags) == 3 else value

    async with lying(of, once, "udp"), Retriever(store) as retriever:
        assert (await retriever.fetch(of, demand(of, (T, T + 18_000)))).error is None
    assert_holds_exactly(store, of, [(T, T + 18_000)])


# Cancelling


def open_sockets() -> int:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(1 for link in links if os.path.lexists(link) and os.readlink(link).startswith("socket:"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_cancelling_leaves_nothing_behind(tmp_path, store, transport):
    of = sensor()
    async with served(tmp_path, of):
        tasks, sockets = len(asyncio.all_tasks()), open_sockets()
        async with Retriever(store, transport, 4096) as retriever:
            enough = asyncio.Event()
            fetching = asyncio.create_task(
                retriever.fetch(of, demand(of, (T, NOW)), lambda received, readings: enough.set())
            )
            await asyncio.wait_for(enough.wait(), 10)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
            await asyncio.sleep(0.05)
            assert len(asyncio.all_tasks()) == tasks
            assert open_sockets() == sockets + (transport == "udp")  # the one UDP socket of the retriever
            held = store.held("s1")
            assert 0 < length_s(held) < NOW - T
            assert_holds_exactly(store, of, held)
            rest = await retriever.fetch(of, demand(of, *subtract([(T, NOW)], held)))
            assert rest.error is None
        await asyncio.sleep(0.05)
        assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)
    assert_holds_exactly(store, of, [(T, NOW)])
