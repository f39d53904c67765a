"""Lazy loading: what of the wanted data the twin lacks, and fetching it from the sensors' edge storage over CoAP.

A fetch cuts the missing intervals into chunks. Of each chunk it asks the sensor for count, size and checksum, then for
the payload in blocks (RFC 7959; over TCP in BERT messages, RFC 8323), and stores it in one transaction when everything
agrees. Several blocks are outstanding at once, because stop-and-wait cannot fill a fast link; how many, the delay
decides (see _Window). A few chunks are under way together, so that the link never waits for the store.

Over UDP the requests are non-confirmable and repeated here: aiocoap 0.4 keeps to one outstanding confirmable message
per peer (NSTART = 1).
"""

import asyncio
import json
import math
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiocoap
from aiocoap import CONTENT, GET, Context, Message, Unreliable
from aiocoap.transports.udp6 import UDP6EndpointAddress

from twin import senml
from twin.edge import BERT_BYTES, DAY_S, MAX_INTERVAL_S, PORT
from twin.intervals import Interval, intersect, normalise, subtract
from twin.scenario import Scenario, Sensor
from twin.sensor_types import SensorType, sensor_types
from twin.store import StoreError, TwinStore

EVENTS_PER_DAY = 1  # expected of types that record events, such as outages
BLOCK_BYTES = 1024

_CHUNKS_AT_ONCE = 3
_MAX_CHUNK_BYTES = 1 << 24  # a sensor that announces more than this is not believed
_RESTARTS = 3  # of a chunk whose payload changed while it was read
_RECONNECT_S = 0.3
_CHECK_S = 1.0  # between looks at whether a TCP connection is still there
_FIRST_TIMEOUT_S, _LEAST_TIMEOUT_S = 2.0, 0.3  # of a UDP request before it is repeated
_TARGET_DELAY_S = 0.2  # queueing delay that a transfer may cause
_RECEIVE_BUFFER_BYTES = 1 << 22
_SO_RCVBUFFORCE = 33  # Linux, not named by Python


class RetrievalError(Exception):
    """A sensor's data could not be fetched, or were not what the sensor announced."""


@dataclass(frozen=True)
class Demand:
    """Data to be fetched from one sensor: normal intervals, and D_i of eq. (3), readings x the type's record size."""

    sensor_id: str
    intervals: tuple[Interval, ...]
    bytes: int


@dataclass(frozen=True)
class FetchResult:
    """What became of a demand. ``received_bytes`` is SenML payload, stored; ``seconds`` is from the first request to
    the last byte, 0 when none came; ``missing`` is what of the demand the twin still lacks, nothing when ``error`` is
    None."""

    sensor_id: str
    received_bytes: int
    readings: int
    seconds: float
    error: str | None
    missing: tuple[Interval, ...]


def expected_readings(sensor_type: SensorType, intervals: Iterable[Interval]) -> int:
    """Readings that a sensor takes in the intervals: one at every multiple of interval_s since 1970, UTC; of events
    EVENTS_PER_DAY, rounded up per interval."""
    step_s = sensor_type.interval_s
    if step_s is None:
        return sum(math.ceil((end - start) * EVENTS_PER_DAY / DAY_S) for start, end in normalise(intervals))
    return sum(-(-end // step_s) - -(-start // step_s) for start, end in normalise(intervals))


def demands(
    scenario: Scenario, store: TwinStore, wanted: Iterable[tuple[str, int, int]]
) -> tuple[tuple[Demand, ...], int, int]:
    """Demands of the parts of ``wanted`` (sensor id, start_s, end_s) that the store lacks, in order of first mention.

    Returns (demands, held_bytes, missing_bytes), both estimates by record size. Ends must not be in the future.
    """
    by_sensor: dict[str, list[Interval]] = {}
    for sensor_id, start_s, end_s in wanted:
        by_sensor.setdefault(sensor_id, []).append((start_s, end_s))
    result, held_bytes = [], 0
    for sensor_id, intervals in by_sensor.items():
        kind, held = sensor_types()[scenario.sensor[sensor_id].type], store.held(sensor_id)
        held_bytes += expected_readings(kind, intersect(intervals, held)) * kind.record_bytes
        if missing := subtract(intervals, held):
            result.append(Demand(sensor_id, missing, expected_readings(kind, missing) * kind.record_bytes))
    return tuple(result), held_bytes, sum(demand.bytes for demand in result)


class Retriever:
    """Fetches demands into a store; one for all sensors, used as ``async with Retriever(store) as retriever``.

    ``window``: most blocks outstanding per sensor, 1 is stop-and-wait. ``stall_timeout_s``: a sensor from which no
    whole block (fast TCP: message of up to 8 KiB) came for so long is given up; until then a lost connection is opened
    again.
    """

    def __init__(
        self,
        store: TwinStore,
        transport: str = "udp",
        chunk_bytes: int = 65_536,
        window: int = 16,
        stall_timeout_s: float = 10.0,
    ) -> None:
        if transport not in ("udp", "tcp"):
            raise ValueError(f"transport {transport!r} must be 'udp' or 'tcp'")
        if window < 1 or chunk_bytes < 1 or stall_timeout_s <= 0:
            raise ValueError(f"window {window}, chunk_bytes {chunk_bytes}, stall_timeout_s {stall_timeout_s}: above 0")
        self.store, self.transport, self.chunk_bytes = store, transport, chunk_bytes
        self.window, self.stall_timeout_s = window, stall_timeout_s
        self._context: Context | None = None

    async def __aenter__(self) -> "Retriever":
        backend = {"udp": "udp6", "tcp": "tcpclient"}[self.transport]  # udp6 hears of ICMP errors; it speaks IPv4 too
        self._context = await Context.create_client_context(transports=[backend], loggername="links.retrieval")
        if self.transport == "udp":
            _enlarge_receive_buffer(self._context)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._context.shutdown()
        self._context = None

    async def fetch(
        self, sensor: Sensor, demand: Demand, progress: Callable[[int, int], None] = lambda received, readings: None
    ) -> FetchResult:
        """Fetch a demand. ``progress(received_bytes, readings)`` is called after each chunk is stored, with the sums.

        Does not raise for what the sensor or the network does: ``error`` says what failed and what is missing. What was
        stored stays. Cancelling leaves no task, connection or half-stored chunk.
        """
        if self._context is None:
            raise RuntimeError("a Retriever is used inside 'async with'")
        if demand.sensor_id != sensor.id:
            raise ValueError(f"the demand is of sensor {demand.sensor_id}, not of {sensor.id}")
        session = _Session(self._context, sensor, self.transport, self.window, self.stall_timeout_s)
        tally, error = _Tally(progress), None
        chunks = _chunks(demand.intervals, self._span_s(sensor))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CHUNKS_AT_ONCE):
                    group.create_task(self._fetch_chunks(session, chunks, tally))
        except ExceptionGroup as failures:
            known, others = failures.split((RetrievalError, StoreError, senml.SenmlError))
            if others:
                raise others from None
            error = str(known.exceptions[0])
        finally:
            session.close()
        missing = subtract(demand.intervals, await asyncio.to_thread(self.store.held, sensor.id))
        if error:
            error = f"{sensor.id} at {sensor.ipv4}: {error}; missing: {_in_words(missing)}"
        return FetchResult(sensor.id, tally.received_bytes, tally.readings, session.seconds(), error, missing)

    async def _fetch_chunks(self, session: "_Session", chunks: Iterator[Interval], tally: "_Tally") -> None:
        """One of several workers that share ``chunks``: while one stores, another keeps the link busy."""
        for start_s, end_s in chunks:
            info, payload = await session.chunk(start_s, end_s)
            storing = asyncio.create_task(
                asyncio.to_thread(self.store.add, session.sensor, start_s, end_s, payload, info.count, info.sha256)
            )
            try:
                await asyncio.wait([storing])
            except asyncio.CancelledError:
                await asyncio.wait([storing])  # a transaction that has begun is not left behind
                raise
            finally:
                if storing.done() and not storing.exception():
                    tally.add(len(payload), info.count)
            storing.result()

    def _span_s(self, sensor: Sensor) -> int:
        """Seconds of data in a chunk."""
        kind = sensor_types()[sensor.type]
        if kind.interval_s is None:
            return MAX_INTERVAL_S
        return min(max(1, self.chunk_bytes // kind.record_bytes) * kind.interval_s, MAX_INTERVAL_S)


class _Tally:
    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self.received_bytes, self.readings, self._progress = 0, 0, progress

    def add(self, received_bytes: int, readings: int) -> None:
        self.received_bytes += received_bytes
        self.readings += readings
        self._progress(self.received_bytes, self.readings)


@dataclass(frozen=True)
class _Info:
    """What a sensor announces of an interval."""

    count: int
    bytes: int
    sha256: str
    etag: bytes


class _Changed(Exception):
    """A block with another ETag than announced."""


class _Session:
    """One fetch from one sensor: its connection, its window, and when it was last heard."""

    def __init__(self, context: Context, sensor: Sensor, transport: str, window: int, stall_timeout_s: float) -> None:
        self.sensor, self._context, self._stall_timeout_s = sensor, context, stall_timeout_s
        self._reliable = transport == "tcp"
        self._uri = f"{'coap+tcp' if self._reliable else 'coap'}://{sensor.ipv4}:{PORT}"
        self._window = _Window(window, stall_timeout_s / 4)
        self._turn = asyncio.Lock()  # of the chunk whose blocks are asked for
        self._connecting = asyncio.Lock()
        self._remote: aiocoap.interfaces.EndpointAddress | None = None
        self._started = self._heard = time.monotonic()
        self._trouble = "no answer"

    def seconds(self) -> float:
        """From the first request to the last response."""
        return self._heard - self._started

    async def chunk(self, start_s: int, end_s: int) -> tuple[_Info, bytes]:
        """Announcement and payload of an interval. Raises RetrievalError."""
        query = (f"start={start_s}", f"end={end_s}")
        for _ in range(_RESTARTS):
            await self._window.acquire()
            try:
                info = _info((await self._exchange(("readings", "info"), query, (0, False, 6))).payload)
            finally:
                self._window.release()
            try:
                return info, await self._payload(query, info)
            except _Changed:
                continue
        raise RetrievalError(f"[{start_s}, {end_s}) changed {_RESTARTS} times while it was read")

    async def _payload(self, query: tuple[str, str], info: _Info) -> bytes:
        parts = []
        try:
            async with asyncio.TaskGroup() as group, self._turn:
                start = 0
                while start < info.bytes:
                    await self._window.acquire()
                    size, exponent = (BERT_BYTES, 7) if self._reliable and self._window.wide else (BLOCK_BYTES, 6)
                    end = min(start + size, info.bytes)
                    parts.append(group.create_task(self._part(query, info, start, end, exponent)))
                    parts[-1].add_done_callback(lambda part: self._window.release())
                    start = end
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return b"".join(part.result() for part in parts)

    async def _part(self, query: tuple[str, str], info: _Info, start: int, end: int, exponent: int) -> bytes:
        """Bytes [start, end) of a payload. A server may need several BERT messages for them, or send more."""
        part = b""
        while start + len(part) < end:
            number = (start + len(part)) // BLOCK_BYTES
            response = await self._exchange(("readings",), query, (number, False, exponent))
            if response.opt.etag != info.etag:
                raise _Changed
            _check_block(response, number, exponent, info.bytes)
            part += response.payload
        return part[: end - start]

    async def _exchange(self, path: tuple[str, ...], query: tuple[str, str], block: tuple[int, bool, int]) -> Message:
        """A request and its successful response. Repeats and reconnects until the sensor counts as silent."""
        attempts: dict[asyncio.Future[Message], float] = {}  # with the time of sending; the first answer counts
        try:
            while True:
                if not attempts or not self._reliable:
                    remote = await self._connect()
                    sent = time.monotonic()
                    attempts[self._send(remote, path, query, block)] = sent
                # The random factor of RFC 7252, section 4.2, gets senders out of step.
                wait_s = _CHECK_S if self._reliable else self._window.timeout_s * random.uniform(1, 1.5)
                wait_s = min(wait_s, self._patience_s())
                done, _ = await asyncio.wait(attempts, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if answers := [request for request in done if not request.exception()]:
                    self._heard = time.monotonic()
                    self._window.measured(self._heard - attempts[answers[0]])
                    return _successful(answers[0].result())
                if done:
                    self._disconnect(remote)
                    await self._pause(next(iter(done)).exception())
                    attempts = {request: sent for request, sent in attempts.items() if request not in done}
                elif self._patience_s() <= 0:
                    raise self._silent()
                elif not self._reliable:
                    self._window.lost(sent)
                elif self._is_lost(remote):
                    attempts.popitem()[0].cancel()  # over TCP there is one
        finally:
            for request in attempts:
                if not request.cancel():
                    request.exception()  # seen, so that asyncio does not complain

    def _send(self, remote, path: tuple[str, ...], query: tuple[str, str], block: tuple) -> asyncio.Future[Message]:
        tuning = {} if self._reliable else {"transport_tuning": Unreliable()}
        message = Message(code=GET, uri_path=path, uri_query=query, block2=block, **tuning)
        message.remote = remote
        return self._context.request(message, handle_blockwise=False).response

    async def _connect(self) -> aiocoap.interfaces.EndpointAddress:
        """The sensor's address, over TCP a connection. aiocoap would leave an attempt to connect behind when a request
        is cancelled; therefore it is made here."""
        async with self._connecting:
            if self._remote is not None and self._is_lost(self._remote):
                self._remote = None
            while self._remote is None:
                probe = Message(code=GET, uri=self._uri)
                try:
                    async with asyncio.timeout(max(0.0, self._patience_s())):
                        await self._context.find_remote_and_interface(probe)
                    self._remote = probe.remote if self._reliable else _Unicast(probe.remote)
                except TimeoutError:
                    raise self._silent() from None
                except (aiocoap.error.Error, OSError) as problem:
                    await self._pause(problem)
            return self._remote

    def _is_lost(self, remote: aiocoap.interfaces.EndpointAddress) -> bool:
        """Whether a connection has ended. aiocoap would still send into it, and tells only requests sent before."""
        return self._reliable and remote._transport.is_closing()

    def _disconnect(self, remote: aiocoap.interfaces.EndpointAddress) -> None:
        if self._remote is remote:
            self.close()

    def close(self) -> None:
        """Close the TCP connection; aiocoap's client would keep it for as long as the sensor does."""
        if self._reliable and self._remote is not None:
            self._remote._transport.abort()
        self._remote = None

    async def _pause(self, problem: BaseException) -> None:
        cause = problem.__cause__ or problem  # aiocoap wraps the system's errors
        known = isinstance(cause, OSError) and cause.errno
        self._trouble = os.strerror(cause.errno) if known else str(cause) or type(cause).__name__
        if self._patience_s() <= 0:
            raise self._silent()
        await asyncio.sleep(_RECONNECT_S)

    def _patience_s(self) -> float:
        """How long the sensor may still stay silent."""
        return max(self._heard, self._window.busy_since) + self._stall_timeout_s - time.monotonic()

    def _silent(self) -> RetrievalError:
        return RetrievalError(f"silent for {self._stall_timeout_s:g} s ({self._trouble})")


class _Unicast(UDP6EndpointAddress):
    """A sensor's address. aiocoap parses it anew for each message to see whether it is a multicast address, which is a
    quarter of the client's time."""

    is_multicast = False

    def __init__(self, address: UDP6EndpointAddress) -> None:
        super().__init__(address.sockaddr, address.interface, pktinfo=address.pktinfo)


class _Window:
    """How many requests may be outstanding, and how long to wait for one.

    Grows while the round trip shows little queueing and shrinks when the queue holds more than _TARGET_DELAY_S (the
    rule of LEDBAT, RFC 6817, counted in requests); a loss halves it. So a lone transfer fills its link, and many that
    share a slow radio keep its queue short. The timeout is that of RFC 6298, but every round trip is measured: each
    repetition has its own token.
    """

    def __init__(self, maximum: int, longest_timeout_s: float) -> None:
        self.timeout_s, self.busy_since = min(_FIRST_TIMEOUT_S, longest_timeout_s), time.monotonic()
        self._maximum, self._size, self._in_flight = maximum, 1.0, 0
        self._longest_timeout_s = longest_timeout_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        # A transfer that starts into a full queue must not take its delay for the path's: hence the bound.
        self._least_s, self._mean_s, self._deviation_s, self._lost_at = _TARGET_DELAY_S / 2, None, 0.0, -math.inf

    @property
    def wide(self) -> bool:
        """Whether the path is fast enough for larger messages."""
        return self._size >= 4

    async def acquire(self) -> None:
        if self._in_flight < int(self._size) and not self._waiting:
            self._enter()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        self._in_flight -= 1
        while self._waiting and self._in_flight < int(self._size):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._enter()

    def _enter(self) -> None:
        if self._in_flight == 0:
            self.busy_since = time.monotonic()
        self._in_flight += 1

    def measured(self, round_trip_s: float) -> None:
        if self._mean_s is None:
            self._mean_s, self._deviation_s = round_trip_s, round_trip_s / 2
        self._least_s = min(self._least_s, round_trip_s)
        self._deviation_s += (abs(round_trip_s - self._mean_s) - self._deviation_s) / 4
        self._mean_s += (round_trip_s - self._mean_s) / 8
        wanted_s = self._mean_s + 4 * self._deviation_s
        self.timeout_s = min(max(_LEAST_TIMEOUT_S, wanted_s), 2 * self._longest_timeout_s)
        room = max(-1.0, 1 - (round_trip_s - self._least_s) / _TARGET_DELAY_S)
        self._size = min(self._maximum, max(1.0, self._size + room / self._size))

    def lost(self, sent: float) -> None:
        """A request sent at that time was not answered in time."""
        if sent > self._lost_at:  # else it belongs to a loss that counted already
            self._size, self._lost_at = max(1.0, self._size / 2), time.monotonic()
            self.timeout_s = max(self.timeout_s, min(2 * self.timeout_s, self._longest_timeout_s))


def _chunks(intervals: Iterable[Interval], span_s: int) -> Iterator[Interval]:
    for start_s, end_s in intervals:
        for at in range(start_s, end_s, span_s):
            yield at, min(at + span_s, end_s)


def _successful(response: Message) -> Message:
    if response.code != CONTENT:
        raise RetrievalError(f"answered {response.code}: {response.payload[:200].decode(errors='replace')}")
    return response


def _info(payload: bytes) -> _Info:
    try:
        announced = json.loads(payload)
        info = _Info(announced["count"], announced["bytes"], announced["sha256"], bytes.fromhex(announced["etag"]))
    except (ValueError, KeyError, TypeError):
        raise RetrievalError(f"announced {payload[:120]!r}, not count, bytes, sha256 and etag as JSON") from None
    if type(info.count) is not int or type(info.bytes) is not int or not 0 < info.bytes <= _MAX_CHUNK_BYTES:
        raise RetrievalError(f"announced {payload[:120]!r}; bytes must be 1 to {_MAX_CHUNK_BYTES}")
    return info


def _check_block(response: Message, number: int, exponent: int, total_bytes: int) -> None:
    block, size, start = response.opt.block2, len(response.payload), number * BLOCK_BYTES
    if response.opt.content_format != senml.CONTENT_FORMAT:
        raise RetrievalError(f"sent content format {response.opt.content_format}, not {senml.CONTENT_FORMAT} (SenML)")
    if block is None or (block.block_number, block.size_exponent) != (number, exponent):
        raise RetrievalError(f"sent block {block}, asked for {number} of exponent {exponent}")
    more = start + size < total_bytes
    whole = size > 0 and (size % BLOCK_BYTES == 0 or not more)
    if block.more != more or not whole or start + size > total_bytes:
        raise RetrievalError(f"sent {size} bytes at {start} of {total_bytes} announced, more={block.more}")


def _in_words(intervals: Sequence[Interval]) -> str:
    """The first intervals in UTC, and how many more."""
    texts = [" to ".join(datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for t in i) for i in intervals]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "") or "nothing"


def _enlarge_receive_buffer(context: Context) -> None:
    """One socket receives from all sensors. The kernel gives what net.core.rmem_max allows, to root what is asked."""
    transport = context.request_interfaces[0].token_interface.message_interface.transport
    udp = transport.get_extra_info("socket")
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
