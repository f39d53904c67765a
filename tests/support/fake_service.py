"""A stand-in for the links service: health and ControlService on a real gRPC server.

In a test process: ``FakeService()``. As a process of its own, for tests that kill it: ``fake_service.py ADDRESS LOG``.
"""

import os
import signal
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from queue import Queue

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from controller.flow_messages import program_to_proto
from proto import control_pb2, control_pb2_grpc

OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class FakeService(control_pb2_grpc.ControlServiceServicer):
    """Keeps every hello and report; sends the commands that a test gives it."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self.hellos: list[control_pb2.ControllerHello] = []
        self.reports: list[control_pb2.ControllerReport] = []
        self.metadata: list[dict[str, str]] = []
        self.sequence = 0
        self._commands: Queue | None = None
        self._news = threading.Condition()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=OPTIONS)
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        checks = health.HealthServicer()
        checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(address)}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    # What a test asks for.

    def wait_for(self, found, timeout_s: float = 15.0):
        """The first true result of ``found()``, which is called again whenever something came in."""
        with self._news:
            result = self._news.wait_for(found, timeout_s)
        assert result, f"nothing like it within {timeout_s} s; reports: {self.reports}"
        return result

    def wait_attached(self, count: int = 1) -> control_pb2.ControllerHello:
        return self.wait_for(lambda: len(self.hellos) >= count and self.hellos[-1])

    def wait_connected(self, datapath_ids) -> None:
        """Until every switch has been reported as connected with its ports."""
        self.wait_for(lambda: set(datapath_ids) <= self.connected())

    def connected(self) -> set[int]:
        """Switches that the application attached last has reported as connected."""
        hellos = self.hellos[-1:]
        states = {switch.datapath_id: switch for hello in hellos for switch in hello.switches}
        for report in self.reports:
            if report.HasField("switch") and report.controller_id == hellos[0].controller_id:
                states[report.switch.datapath_id] = report.switch
        return {number for number, state in states.items() if state.connected and state.ports}

    def send(self, **command) -> None:
        self.wait_for(lambda: self._commands)
        self._commands.put(control_pb2.ControllerCommand(**command))

    def program(self, tables, epoch: int = 1, sequence: int | None = None) -> control_pb2.ProgramResult:
        """Send a program and wait for its result."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        seen, number = len(self.reports), self.sequence
        self.send(program=program_to_proto(epoch, number, tables))
        return self.wait_for(lambda: self._results(seen, epoch, number))[0]

    def _results(self, seen: int, epoch: int, sequence: int) -> list[control_pb2.ProgramResult]:
        programs = [report.program for report in self.reports[seen:] if report.HasField("program")]
        return [result for result in programs if (result.epoch, result.sequence) == (epoch, sequence)]

    def statistics(self, datapath_ids=()) -> control_pb2.StatsReply:
        self.sequence += 1
        number = self.sequence
        self.send(stats=control_pb2.FlowStatsRequest(request=number, datapath_ids=datapath_ids))

        def replies():
            return [r.stats for r in self.reports if r.HasField("stats") and r.stats.request == number]

        return self.wait_for(replies)[0]

    # gRPC

    def AttachController(self, request, context):
        commands: Queue = Queue()
        context.add_callback(lambda: commands.put(None))
        with self._news:
            self.metadata.append(dict(context.invocation_metadata()))
            self.hellos.append(request)
            self._commands = commands
            self._news.notify_all()
        while (command := commands.get()) is not None:
            yield command

    def ReportController(self, request, context):
        with self._news:
            self.reports.append(request)
            self._news.notify_all()
        return control_pb2.ReportAck()


def main(address: str, log: str) -> None:
    """Serve until SIGTERM, writing what happens to ``log``, a line each: start PID, attach PID, stop PID."""

    def write(what: str) -> None:
        with Path(log).open("a") as file:
            file.write(f"{what} {os.getpid()}\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    write("start")
    service = FakeService(address)
    attached = 0
    try:
        while True:
            if len(service.hellos) > attached:
                attached += 1
                # A first command, so that the application knows that it is attached.
                service.send(stats=control_pb2.FlowStatsRequest(request=1))
                write("attach")
            time.sleep(0.02)
    finally:
        write("stop")
        service.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
