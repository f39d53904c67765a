"""Edge storage: a sensor keeps its own readings on disk and serves any interval of them over CoAP as SenML.

Resources (GET only), on UDP (RFC 7252, block-wise by RFC 7959) and TCP (RFC 8323, with BERT), port 5683:

- ``/readings?start=S&end=E``: the readings of [S, E), epoch seconds, as canonical SenML JSON (content format 110) with
  an ETag; E must have passed on the sensor's clock, so that an answer never changes;
- ``/readings/info?start=S&end=E``: JSON ``{count, bytes, sha256, etag, first, last}`` of exactly that payload;
- ``/.well-known/core``: both, in link format (RFC 6690).

The sensors are simulated: see EdgeStorage.
"""

import asyncio
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiocoap import CONTENT, GET, VALID, Context, Message, error, interfaces
from aiocoap.pipe import Pipe
from aiocoap.transports import simplesocketserver, tcp  # noqa: F401  here, so that forked sensors share them

from twin import senml
from twin.clock import Clock
from twin.readings import Readings
from twin.scenario import Sensor
from twin.sensor_model import fields

PORT = 5683
DAY_S = 86_400
MAX_INTERVAL_S = 31 * DAY_S  # of one request; keeps a small device's memory bounded
BERT_BYTES = 8192  # payload of one message over TCP when the client asks for BERT blocks: a few 1024-byte blocks
CLOCK_SKEW_S = 2  # an interval that ends this little ahead is waited for, as clocks differ
TRANSPORTS = {"udp": "simplesocketserver", "tcp": "tcpserver"}  # aiocoap's backends that bind one IPv4 address

_JSON, _LINK_FORMAT = 50, 40  # CoAP content formats
_CACHED_PAYLOADS = 8
_LINKS = f'</readings>;ct={senml.CONTENT_FORMAT};rt="links.readings",</readings/info>;ct={_JSON};rt="links.info"'


class EdgeError(Exception):
    """Edge storage that cannot be read or served; the message names the file or address and the fix."""


class EdgeStorage:
    """The readings of one sensor on disk, one segment file per UTC day, written whole and put in place by rename.

    The sensor is simulated: it did not run while nobody looked, so a day's segment is recorded on its first access,
    from ``source(start_s, end_s) -> Readings``, and kept; every later access reads the file. The current day is
    recorded up to now only and grows at its end; what is recorded never changes. ``source`` must be a function of time
    alone.
    """

    def __init__(self, directory: Path, sensor: Sensor, source: Callable[[int, int], Readings]) -> None:
        self.sensor = sensor
        self._directory, self._source = Path(directory), source
        self._values = len(fields(sensor.type))
        self._directory.mkdir(parents=True, exist_ok=True)

    def read(self, start_s: int, end_s: int, now_s: int) -> Readings:
        """Readings in [start_s, end_s), end_s at most now_s. Raises ValueError for other intervals, EdgeError."""
        if not 0 <= start_s <= end_s <= now_s:
            raise ValueError(f"interval [{start_s}, {end_s}) must be in order and not end after now, {now_s}")
        days = range(start_s - start_s % DAY_S, end_s, DAY_S)
        recorded = [self._day(day, min(day + DAY_S, end_s), now_s) for day in days]
        return _join(recorded, self._values).between(start_s, end_s)

    def _day(self, day_s: int, end_s: int, now_s: int) -> Readings:
        """Readings of a day, recorded at least up to end_s."""
        path = self._directory / f"{self.sensor.id}_{np.datetime64(day_s, 's').astype('datetime64[D]')}.segment"
        try:
            recorded_s, readings = self._load(path)
        except FileNotFoundError:
            recorded_s, readings = day_s, _empty(self._values)
        if recorded_s < end_s:
            until_s = min(day_s + DAY_S, now_s)
            readings = _join([readings, self._record(recorded_s, until_s)], self._values)
            self._save(path, until_s, readings)
        return readings

    def _record(self, start_s: int, end_s: int) -> Readings:
        new = self._source(start_s, end_s)
        if new.values.shape[1] != self._values:
            raise EdgeError(f"sensor {self.sensor.id}: its source gives {new.values.shape[1]} values in a reading")
        if len(new) and not (start_s <= new.t_s[0] and new.t_s[-1] < end_s):
            raise EdgeError(f"sensor {self.sensor.id}: its source gives readings outside [{start_s}, {end_s})")
        return new

    def _load(self, path: Path) -> tuple[int, Readings]:
        head, _, body = path.read_bytes().partition(b"\n")
        try:
            meta = json.loads(head)
            if hashlib.sha256(body).hexdigest() != meta["sha256"] or meta["sensor"] != self.sensor.id:
                raise ValueError("its checksum or sensor id is wrong")
            t_s = np.frombuffer(body, "<i8", meta["count"]).astype(np.int64)
            values = np.frombuffer(body, "<f8", offset=t_s.nbytes).astype(np.float64)
            return meta["end_s"], Readings(t_s, values.reshape(meta["count"], self._values))
        except (ValueError, KeyError, TypeError) as problem:
            raise EdgeError(f"{path}: damaged segment ({problem}); delete the file to record that day again") from None

    def _save(self, path: Path, end_s: int, readings: Readings) -> None:
        body = readings.t_s.astype("<i8").tobytes() + readings.values.astype("<f8").tobytes()
        meta = {"sensor": self.sensor.id, "end_s": end_s, "count": len(readings)}
        meta["sha256"] = hashlib.sha256(body).hexdigest()
        # No fsync: a rename survives the death of the process; after a power cut the checksum tells.
        temporary = path.with_suffix(f".{os.getpid()}.new")
        temporary.write_bytes(json.dumps(meta).encode() + b"\n" + body)
        temporary.replace(path)


def _empty(values: int) -> Readings:
    return Readings(np.empty(0, np.int64), np.empty((0, values)))


def _join(parts: list[Readings], values: int) -> Readings:
    parts = [_empty(values), *parts]
    return Readings(np.concatenate([p.t_s for p in parts]), np.concatenate([p.values for p in parts]))


@dataclass(frozen=True)
class _Answer:
    """What is served of one interval; kept for the blocks that follow."""

    payload: bytes
    etag: bytes
    info: bytes


class _Site(interfaces.Resource):
    """The resources. One class instead of aiocoap's Site, which copies every request's options deeply; each block of a
    transfer is a request."""

    def __init__(self, storage: EdgeStorage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._fields, self._base_name = fields(storage.sensor.type), senml.base_name(storage.sensor.mac)
        self._answers: OrderedDict[tuple[int, int], _Answer] = OrderedDict()

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        return False

    async def render(self, request: Message) -> Message:
        return await self._respond(request)

    async def render_to_pipe(self, pipe: Pipe) -> None:
        pipe.add_response(await self._respond(pipe.request), is_last=True)

    async def _respond(self, request: Message) -> Message:
        path = request.opt.uri_path
        if path not in (("readings",), ("readings", "info"), (".well-known", "core")):
            raise error.NotFound("the resources are /readings, /readings/info and /.well-known/core")
        if request.code != GET:
            raise error.MethodNotAllowed("only GET")
        if path[0] == ".well-known":
            return _blockwise(request, _LINKS.encode(), _LINK_FORMAT)
        answer = await self._answer(*_interval(request.opt.uri_query))
        if path[1:]:
            return _blockwise(request, answer.info, _JSON)
        if answer.etag in request.opt.etags:
            return Message(code=VALID, etag=answer.etag)
        return _blockwise(request, answer.payload, senml.CONTENT_FORMAT, answer.etag)

    async def _answer(self, start_s: int, end_s: int) -> _Answer:
        key = (start_s, end_s)
        if key not in self._answers:
            await self._wait_until(end_s)
            try:
                self._answers[key] = self._encode(start_s, end_s)
            except (EdgeError, senml.SenmlError, OSError) as problem:
                raise error.InternalServerError(str(problem)) from None
            if len(self._answers) > _CACHED_PAYLOADS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        return self._answers[key]

    async def _wait_until(self, end_s: int) -> None:
        while (ahead_s := end_s - self._clock.now_s()) > 0:
            if ahead_s > CLOCK_SKEW_S:
                now_s = int(end_s - ahead_s)
                raise error.BadRequest(f"end={end_s} has not come yet: the sensor's clock is at {now_s}")
            await asyncio.sleep(0.02)

    def _encode(self, start_s: int, end_s: int) -> _Answer:
        readings = self._storage.read(start_s, end_s, int(self._clock.now_s()))
        payload = senml.encode(readings, self._base_name, self._fields)
        sha256 = hashlib.sha256(payload)
        etag = sha256.digest()[:8]
        info = {
            "count": len(readings),
            "bytes": len(payload),
            "sha256": sha256.hexdigest(),
            "etag": etag.hex(),
            "first": int(readings.t_s[0]) if len(readings) else None,
            "last": int(readings.t_s[-1]) if len(readings) else None,
        }
        return _Answer(payload, etag, json.dumps(info, separators=(",", ":")).encode())


def _interval(query: tuple[str, ...]) -> tuple[int, int]:
    """start and end of a request's query. Raises BadRequest with a diagnostic payload."""
    right = "the query must be start=S&end=E with whole epoch seconds, S before E"
    values = dict(part.partition("=")[::2] for part in query)
    if len(query) != 2 or values.keys() != {"start", "end"}:
        raise error.BadRequest(f"{right}; it is {'&'.join(query)[:80]!r}")
    if not all(text.isascii() and text.isdigit() and len(text) <= 12 for text in values.values()):
        raise error.BadRequest(f"{right}; it is {'&'.join(query)[:80]!r}")
    start_s, end_s = int(values["start"]), int(values["end"])
    if start_s >= end_s:
        raise error.BadRequest(f"{right}; start={start_s} is not before end={end_s}")
    if end_s - start_s > MAX_INTERVAL_S:
        raise error.BadRequest(f"at most {MAX_INTERVAL_S} s in one request; it asks for {end_s - start_s} s")
    return start_s, end_s


def _blockwise(request: Message, payload: bytes, content_format: int, etag: bytes | None = None) -> Message:
    """The part of the payload that the request's Block2 option asks for; the whole where it fits and none is given."""
    if request.opt.accept not in (None, content_format):
        raise error.NotAcceptable(f"only content format {content_format}")
    block = request.opt.block2
    if block is None and len(payload) <= request.remote.maximum_payload_size:
        return Message(code=CONTENT, payload=payload, content_format=content_format, etag=etag)
    number, exponent = (block.block_number, block.size_exponent) if block else (0, 6)
    exponent = min(exponent, request.remote.maximum_block_size_exp)
    start = block.start if block else 0
    size = BERT_BYTES if exponent == 7 else 2 ** (exponent + 4)
    if start and start >= len(payload):
        raise error.BadRequest(f"block {number} starts at {start}; the payload has {len(payload)} bytes")
    part = payload[start : start + size]
    more = start + size < len(payload)
    response = Message(code=CONTENT, payload=part, content_format=content_format, etag=etag)
    response.opt.block2 = (number, more, exponent)
    if number == 0:
        response.opt.size2 = len(payload)
    return response


async def serve(
    storage: EdgeStorage,
    sensor: Sensor,
    bind_address: str,
    clock: Clock,
    transports: Iterable[str] = ("udp", "tcp"),
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve one sensor on an IPv4 address until cancelled. ``ready`` is called when bound.

    One process may run several, each on its own address. Raises EdgeError when the address cannot be bound.
    """
    # Two servers on one address would share its requests without a word; aiocoap reads this when it binds.
    os.environ["AIOCOAP_REUSE_PORT"] = "0"
    site = _Site(storage, clock)
    async with AsyncExitStack() as stack:
        for transport in transports:
            try:
                context = await Context.create_server_context(
                    site, bind=(bind_address, PORT), transports=[TRANSPORTS[transport]], loggername="links.edge"
                )
            except OSError as problem:
                raise EdgeError(
                    f"sensor {sensor.id}: cannot bind {bind_address} port {PORT} ({transport}): {problem}; "
                    "the address must be this host's and free"
                ) from None
            stack.push_async_callback(context.shutdown)
            if transport == "udp":
                _answer_duplicates_anew(context)
        ready()
        await asyncio.get_running_loop().create_future()


def _answer_duplicates_anew(context: Context) -> None:
    """Answer every request as new, as RFC 7252, section 4.5 allows for GET.

    aiocoap 0.4 remembers each message id, with its response, for 247 s. A large transfer would fill a small device's
    memory, and once a client has used up its 65,536 ids within that time, new requests would be dropped as old ones.
    """
    for interface in context.request_interfaces:
        interface.token_interface._deduplicate_message = lambda message: False
