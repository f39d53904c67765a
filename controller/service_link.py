"""The Ryu application's gRPC client of the links service, for a process that eventlet has monkey-patched.

Blocking gRPC calls run in native threads (``eventlet.tpool``), so that the hub goes on.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import eventlet
from eventlet import patcher, tpool
from eventlet.queue import Full, LightQueue


@contextmanager
def _native_locks() -> Iterator[None]:
    """What is imported within uses the threading module as it was before eventlet patched it.

    gRPC's locks must be native: native threads that meet at a patched one never wake again.
    """
    if patcher.is_monkey_patched("thread"):
        if "grpc" in sys.modules:
            raise ImportError("grpc is imported already, with locks that deadlock: load controller/ryu_app.py first")
        patched, sys.modules["threading"] = sys.modules["threading"], patcher.original("threading")
        try:
            yield
        finally:
            sys.modules["threading"] = patched
    else:
        yield


with _native_locks():
    import grpc
    import grpc.experimental
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from proto import control_pb2, control_pb2_grpc
    from proto.connection import Connection

    grpc.insecure_channel("127.0.0.1:1").close()  # grpc imports the rest of itself with the first channel

_CHANNEL_OPTIONS = (
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),  # else a patched thread would read the stream
    ("grpc.max_receive_message_length", -1),  # flow programs grow with the city
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # which bounds the time that connecting may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # a health check connects at once, whatever befell the one before
    ("grpc.enable_http_proxy", 0),
)
_RPC_TIMEOUT_S = 5.0
_REPORTS_WAITING = 1_000
# The report itself is at fault, not the moment: sending it again would not help.
_USELESS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}


def backoff_s(first: float, most: float) -> Iterator[float]:
    """Waiting times in seconds: none, then ``first``, doubling up to ``most``."""
    yield 0.0
    while True:
        yield first
        first = min(2 * first, most)


def health(connection: Connection, timeout_s: float) -> str:
    """ "SERVING" or, in words, why not (grpc.health.v1, service name ""). Blocks the calling greenlet only."""
    channel = connection.channel(_CHANNEL_OPTIONS)
    try:
        call = health_pb2_grpc.HealthStub(channel).Check
        request = health_pb2.HealthCheckRequest()
        reply = tpool.execute(call, request, timeout=timeout_s, metadata=connection.metadata)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    except grpc.RpcError as error:
        return describe(error)
    finally:
        channel.close()


def describe(error: grpc.RpcError) -> str:
    """Status code and details of a failed call."""
    return f"{error.code().name}: {error.details()}"


class ServiceLink:
    """Stays attached to the links service: hands its commands on and carries reports back.

    What the service may rely on: after each attach it sends the programs that it wants confirmed. Reports of an attach
    that has ended are dropped, since the next hello and the next programs bring everything up to date.
    """

    def __init__(
        self,
        connection: Connection,
        hello: Callable[[], control_pb2.ControllerHello],
        on_command: Callable[[control_pb2.ControllerCommand], None],
        logger: logging.Logger,
    ) -> None:
        self._connection, self._hello, self._on_command, self._logger = connection, hello, on_command, logger
        self._channel = connection.channel(_CHANNEL_OPTIONS)
        self._outbox: LightQueue | None = None  # reports for the present attach
        self._stream: grpc.Call | None = None
        self._closed = False

    def report(self, report: control_pb2.ControllerReport) -> None:
        """Queue a report; without an attached service it is dropped. A service that takes none for too long is attached
        to anew, which brings it up to date."""
        if self._outbox is None:
            return
        try:
            self._outbox.put_nowait(report)
        except Full:
            self._logger.error("links service at %s takes no reports; attaching again", self._connection.address)
            if self._stream is not None:
                self._stream.cancel()

    def run(self) -> None:
        """Attach, and attach again when the service has gone: at once, then with waiting times up to 1 s."""
        stub = control_pb2_grpc.ControlServiceStub(self._channel)
        waits, last_reason = backoff_s(0.1, 1.0), ""
        while not self._closed:
            commands, reason = self._attach(stub)
            if commands:
                waits, last_reason = backoff_s(0.1, 1.0), ""
            if reason != last_reason and not self._closed:
                self._logger.warning("links service at %s: %s; attaching again", self._connection.address, reason)
                last_reason = reason
            eventlet.sleep(next(waits))
        self._channel.close()

    def close(self) -> None:
        """End the present attach and make no other."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def _attach(self, stub: control_pb2_grpc.ControlServiceStub) -> tuple[int, str]:
        """One attach from beginning to end: the number of commands received, and why it ended."""
        commands = 0
        outbox = self._outbox = LightQueue(_REPORTS_WAITING)  # from here on, changes that the hello misses are reported
        reporter = eventlet.spawn(self._send_reports, stub, outbox)
        try:
            self._stream = stub.AttachController(self._hello(), metadata=self._connection.metadata)
            while (command := tpool.execute(next, self._stream, None)) is not None:
                if not commands:
                    self._logger.info("attached to the links service at %s", self._connection.address)
                commands += 1
                self._on_command(command)
            return commands, "ended the stream"
        except grpc.RpcError as error:
            return commands, describe(error)
        finally:
            self._outbox = self._stream = None
            reporter.kill()

    def _send_reports(self, stub: control_pb2_grpc.ControlServiceStub, outbox: LightQueue) -> None:
        """Send reports in order; one that fails is sent again until the service takes it."""
        while True:
            report = outbox.get()
            for wait in backoff_s(0.1, 1.0):
                eventlet.sleep(wait)
                started = time.monotonic()
                try:
                    metadata = self._connection.metadata
                    tpool.execute(stub.ReportController, report, timeout=_RPC_TIMEOUT_S, metadata=metadata)
                    break
                except grpc.RpcError as error:
                    what = f"report {report.WhichOneof('report')} after {time.monotonic() - started:.1f} s"
                    self._logger.warning("links service at %s: %s: %s", self._connection.address, what, describe(error))
                    if error.code() in _USELESS:
                        break
