"""Edge storage on disk, and its CoAP server as other clients see it, on real sockets of 127.0.0.0/8."""

import asyncio
import hashlib
import itertools
import json
import os
import random
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiocoap
import numpy as np
import pytest
from aiocoap import GET, Context, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import senml
from twin.edge import DAY_S, MAX_INTERVAL_S, PORT, EdgeError, EdgeStorage, serve
from twin.readings import Readings
from twin.scenario import Sensor
from twin.sensor_model import fields

T = 1_384_128_000  # 2013-11-11 00:00 UTC
NOW = T + 3 * DAY_S + 5_000
_addresses = itertools.count(random.SystemRandom().randrange(1, 2**20))


def free_address() -> str:
    """A loopback address that no other test uses, also not one of another process."""
    number = next(_addresses)
    return f"127.{100 + os.getpid() % 100}.{number >> 8 & 255}.{1 + number % 254}"


def sensor(address: str = "127.0.0.1", type_id: str = "leakage_current") -> Sensor:
    return Sensor("s1", type_id, "c1", "Centro", 9.19, 45.46, 2.0, address, "02:00:00:00:00:01", 3)


def source(start_s: int, end_s: int) -> Readings:
    """One reading a minute, a function of time alone."""
    t_s = np.arange(-(-start_s // 60) * 60, end_s, 60, dtype=np.int64)
    return Readings(t_s, np.round(10 + (t_s % 977) / 100, 1)[:, None])


def nothing_new(start_s: int, end_s: int) -> Readings:
    raise AssertionError(f"[{start_s}, {end_s}) should be on disk")


@dataclass
class SettableClock:
    now: float = NOW

    def now_s(self) -> float:
        return self.now


def same(a: Readings, b: Readings) -> bool:
    return np.array_equal(a.t_s, b.t_s) and np.array_equal(a.values, b.values)


# Storage on disk


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * DAY_S), st.integers(0, 4 * DAY_S)), min_size=1, max_size=6))
def test_any_read_at_any_time_gives_what_the_source_has(tmp_path_factory, reads):
    directory, asked, now_s = tmp_path_factory.mktemp("edge"), [], T

    def recording(start_s: int, end_s: int) -> Readings:
        asked.append((start_s, end_s))
        return source(start_s, end_s)

    storage = EdgeStorage(directory, sensor(), recording)
    for a, b in reads:
        start_s, end_s = T + min(a, b), T + max(a, b)
        now_s = max(now_s, end_s)
        assert same(storage.read(start_s, end_s, now_s), source(start_s, end_s))
    # Nothing is recorded twice, or before it happened.
    assert sum(end - start for start, end in asked) == len({s for part in asked for s in range(*part)})
    assert all(end <= now_s for _, end in asked)
    # All of it is on disk.
    for a, b in reads:
        start_s, end_s = T + min(a, b), T + max(a, b)
        assert same(EdgeStorage(directory, sensor(), nothing_new).read(start_s, end_s, now_s), source(start_s, end_s))


def test_the_current_day_grows_and_keeps_what_it_has(tmp_path):
    EdgeStorage(tmp_path, sensor(), source).read(T, T + 100, T + 100)

    def different(start_s: int, end_s: int) -> Readings:
        new = source(start_s, end_s)
        return Readings(new.t_s, new.values + 1)

    storage = EdgeStorage(tmp_path, sensor(), different)
    assert same(storage.read(T, T + 100, T + 500), source(T, T + 100))
    grown = storage.read(T, T + 500, T + 500)
    assert same(grown.between(T, T + 100), source(T, T + 100))
    assert same(grown.between(T + 100, T + 500), different(T + 100, T + 500))


def test_intervals_that_cannot_be_read(tmp_path):
    storage = EdgeStorage(tmp_path, sensor(), source)
    for start_s, end_s in ((T + 1, T), (T, NOW + 1), (-5, T)):
        with pytest.raises(ValueError, match="must be in order and not end after now"):
            storage.read(start_s, end_s, NOW)


def test_a_damaged_segment_is_named_with_the_fix(tmp_path):
    storage = EdgeStorage(tmp_path, sensor(), source)
    storage.read(T, T + DAY_S, NOW)
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    for damaged in (whole[:-1], whole[:40], b"", whole.replace(b'"s1"', b'"s2"'), whole[:-9] + b"\0" + whole[-8:]):
        segment.write_bytes(damaged)
        with pytest.raises(EdgeError, match="2013-11-11.segment: damaged segment .*; delete the file"):
            storage.read(T, T + DAY_S, NOW)
    segment.unlink()
    assert same(storage.read(T, T + DAY_S, NOW), source(T, T + DAY_S))


def test_an_interrupted_write_leaves_the_old_segment(tmp_path, monkeypatch):
    storage = EdgeStorage(tmp_path, sensor(), source)
    storage.read(T, T + 100, T + 100)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            storage.read(T, T + 500, T + 500)
    assert same(EdgeStorage(tmp_path, sensor(), nothing_new).read(T, T + 100, T + 500), source(T, T + 100))
    assert same(storage.read(T, T + 500, T + 500), source(T, T + 500))


def test_a_source_that_answers_something_else_is_an_error(tmp_path):
    late = EdgeStorage(tmp_path, sensor(), lambda start_s, end_s: source(start_s, end_s + 60))
    with pytest.raises(EdgeError, match="outside"):
        late.read(T, T + 600, T + 600)
    with pytest.raises(EdgeError, match="1 values in a reading"):
        EdgeStorage(tmp_path, sensor(type_id="ev_charging"), source).read(T, T + 600, NOW)
    assert list(tmp_path.iterdir()) == []


# The server


@asynccontextmanager
async def served(tmp_path, of: Sensor, clock=None, transports=("udp", "tcp"), what=source):
    ready = asyncio.Event()
    storage = EdgeStorage(tmp_path, of, what)
    task = asyncio.create_task(serve(storage, of, of.ipv4, clock or SettableClock(), transports, ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            task.result()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def client(transport: str):
    context = await Context.create_client_context(transports=[{"udp": "udp6", "tcp": "tcpclient"}[transport]])
    try:
        yield context
    finally:
        await context.shutdown()


async def get(context: Context, transport: str, of: Sensor, path: str, **options) -> Message:
    uri = f"{'coap' if transport == 'udp' else 'coap+tcp'}://{of.ipv4}{path}"
    return await asyncio.wait_for(context.request(Message(code=GET, uri=uri, **options)).response, 10)


def canonical(start_s: int, end_s: int) -> bytes:
    return senml.encode(source(start_s, end_s), senml.base_name(sensor().mac), fields("leakage_current"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@settings(max_examples=12, deadline=None)
@given(st.integers(T, NOW - 1), st.integers(1, 2 * DAY_S))
def test_any_interval_arrives_whole_by_aiocoaps_own_blockwise_client(tmp_path_factory, transport, start_s, length):
    end_s = min(start_s + length, NOW)

    async def fetch():
        of = sensor(free_address())
        async with served(tmp_path_factory.mktemp("edge"), of, transports=[transport]), client(transport) as context:
            query = f"?start={start_s}&end={end_s}"
            payload = await get(context, transport, of, "/readings" + query)
            info = await get(context, transport, of, "/readings/info" + query)
            return payload, json.loads(info.payload)

    response, info = asyncio.run(fetch())
    expected, readings = canonical(start_s, end_s), source(start_s, end_s)
    assert response.payload == expected
    assert response.opt.content_format == 110
    assert info == {
        "count": len(readings),
        "bytes": len(expected),
        "sha256": hashlib.sha256(expected).hexdigest(),
        "etag": response.opt.etag.hex(),
        "first": int(readings.t_s[0]) if len(readings) else None,
        "last": int(readings.t_s[-1]) if len(readings) else None,
    }


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_blocks_of_every_size(tmp_path, transport):
    of, expected = sensor(free_address()), canonical(T, T + 12_000)
    query = f"/readings?start={T}&end={T + 12_000}"
    async with served(tmp_path, of), client(transport) as context:
        for exponent in (0, 2, 6, 7) if transport == "tcp" else (0, 2, 6):
            size, body, etags = 2 ** (min(exponent, 6) + 4), b"", set()
            while len(body) < len(expected):
                request = Message(code=GET, uri=f"{'coap' if transport == 'udp' else 'coap+tcp'}://{of.ipv4}{query}")
                request.opt.block2 = (len(body) // size, False, exponent)
                response = await context.request(request, handle_blockwise=False).response
                assert response.opt.block2.more == (len(body) + len(response.payload) < len(expected))
                assert response.opt.size2 == (None if body else len(expected))
                body += response.payload
                etags.add(response.opt.etag)
            assert body == expected
            assert len(etags) == 1
        request.opt.block2 = (len(expected) // 16 + 1, False, 0)
        response = await context.request(request.copy(), handle_blockwise=False).response
        assert response.code == aiocoap.BAD_REQUEST


async def test_wrong_requests_get_a_diagnostic(tmp_path):
    of = sensor(free_address())
    cases = [
        ("/readings", "4.00", "the query must be start=S&end=E"),
        (f"/readings?start={T}", "4.00", "the query must be"),
        (f"/readings?start={T}&end={T + 60}&x=1", "4.00", "x=1"),
        (f"/readings?start={T}&start={T + 60}", "4.00", "the query must be"),
        (f"/readings?start={T}&end=tomorrow", "4.00", "tomorrow"),
        (f"/readings?start={T}&end=1e9", "4.00", "whole epoch seconds"),
        (f"/readings?start={T}&end={'9' * 30}", "4.00", "999"),
        (f"/readings?start=-5&end={T}", "4.00", "-5"),
        (f"/readings?start={T + 60}&end={T}", "4.00", "is not before end"),
        (f"/readings/info?start={T}&end={T}", "4.00", "is not before end"),
        (f"/readings?start={T}&end={NOW + 100}", "4.00", f"has not come yet: the sensor's clock is at {NOW}"),
        (f"/readings?start={NOW + 50}&end={NOW + 100}", "4.00", "has not come yet"),
        (f"/readings?start={NOW - MAX_INTERVAL_S - 1}&end={NOW}", "4.00", f"at most {MAX_INTERVAL_S} s"),
        ("/elsewhere", "4.04", "/readings"),
    ]
    async with served(tmp_path, of), client("udp") as context:
        for path, code, message in cases:
            response = await get(context, "udp", of, path)
            assert str(response.code).startswith(code), path
            assert message in response.payload.decode(), path
        response = await get(context, "udp", of, f"/readings?start={T}&end={T + 60}", accept=0)
        assert response.code == aiocoap.NOT_ACCEPTABLE
        post = Message(code=aiocoap.POST, uri=f"coap://{of.ipv4}/readings")
        assert (await context.request(post).response).code == aiocoap.METHOD_NOT_ALLOWED


async def test_discovery_and_etag(tmp_path):
    of = sensor(free_address())
    async with served(tmp_path, of), client("udp") as context:
        links = await get(context, "udp", of, "/.well-known/core")
        assert links.opt.content_format == 40
        assert b"</readings>;ct=110" in links.payload
        first = await get(context, "udp", of, f"/readings?start={T}&end={T + 600}")
        again = await get(context, "udp", of, f"/readings?start={T}&end={T + 600}", etags=[first.opt.etag])
        assert (again.code, again.payload) == (aiocoap.VALID, b"")


async def test_an_end_a_moment_ahead_is_waited_for(tmp_path):
    of, clock = sensor(free_address()), SettableClock(NOW - 0.5)
    async with served(tmp_path, of, clock), client("udp") as context:
        asked = asyncio.create_task(get(context, "udp", of, f"/readings?start={NOW - 600}&end={NOW}"))
        await asyncio.sleep(0.15)
        assert not asked.done()
        clock.now = NOW
        assert (await asked).payload == canonical(NOW - 600, NOW)


async def test_a_broken_storage_answers_5_00_and_lives(tmp_path):
    of = sensor(free_address())

    def broken_on_monday(start_s: int, end_s: int) -> Readings:
        return source(start_s, end_s + (60 if start_s == T else 0))

    async with served(tmp_path, of, what=broken_on_monday), client("udp") as context:
        failed = await get(context, "udp", of, f"/readings?start={T}&end={T + 60}")
        assert failed.code == aiocoap.INTERNAL_SERVER_ERROR
        assert b"outside" in failed.payload
        answer = await get(context, "udp", of, f"/readings?start={T + DAY_S}&end={T + DAY_S + 60}")
        assert answer.payload == canonical(T + DAY_S, T + DAY_S + 60)


async def test_one_process_serves_several_sensors(tmp_path):
    several = [sensor(free_address()) for _ in range(3)]
    async with (
        served(tmp_path / "0", several[0]),
        served(tmp_path / "1", several[1]),
        served(tmp_path / "2", several[2]),
    ):
        async with client("udp") as context:
            for of in several:
                answer = await get(context, "udp", of, f"/readings?start={T}&end={T + 60}")
                assert answer.payload == canonical(T, T + 60)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_address_in_use_or_foreign_is_an_error(tmp_path, transport):
    of = sensor(free_address())
    async with served(tmp_path, of, transports=[transport]):
        with pytest.raises(EdgeError, match=f"cannot bind {of.ipv4} port {PORT} .{transport}.*address must be"):
            async with served(tmp_path, of):
                pass
    with pytest.raises(EdgeError, match="cannot bind 192.0.2.1"):
        async with served(tmp_path, sensor("192.0.2.1"), transports=[transport]):
            pass


async def test_a_used_message_id_is_answered_again(tmp_path):
    """A client that has used up its 65,536 message ids starts again: its requests must not be taken for old ones."""
    of = sensor(free_address())

    def request(token: bytes, path: bytes) -> bytes:
        return struct.pack("!BBH", 0x50 | len(token), 1, 77) + token + bytes([0xB0 | len(path)]) + path

    async with served(tmp_path, of):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            raw.setblocking(False)
            raw.connect((of.ipv4, PORT))
            for token in (b"a", b"b"):
                raw.send(request(token, b"readings"))
                answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 2000), 5)
                assert answer[4:5] == token


async def test_nothing_stays_when_a_server_ends(tmp_path):
    of, before = sensor(free_address()), len(asyncio.all_tasks())
    async with served(tmp_path, of), client("tcp") as context:
        await get(context, "tcp", of, f"/readings?start={T}&end={T + 60}")
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == before
    async with served(tmp_path, of):  # the address is free at once
        pass
