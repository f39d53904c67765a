"""Sensor processes: one per sensor, each in its host's network namespace, forked from one process that has everything
imported and so shares its memory with all of them.

``python -m mininet_topos.sensors`` is that parent (a *zygote*); SensorProcesses is how a city talks to it. Nothing is
left behind: the parent ends when the city's end of its socket closes, and the kernel kills the sensors with it.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mininet_topos.linux import ProcessId, die_with_parent, enter_namespace
from mininet_topos.run_directory import CityError
from twin.clock import EmulatedClock

log = logging.getLogger(__name__)

_MESSAGE_BYTES = 4096
_IMPORT_TIMEOUT_S = 60.0


class SensorProcesses:
    """The sensor processes of one city. The parent starts at once, importing while the caller builds the network.

    ``scenario_path``: scenario file; ``storage``: directory of the sensors' edge storage; ``log_path``: log of all.
    """

    def __init__(self, scenario_path: Path, clock: EmulatedClock, storage: Path, log_path: Path):
        self._log_path = log_path
        self._states: dict[str, tuple[str, int]] = {}  # sensor id: (state, pid or exit status)
        self._changed = threading.Condition()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "mininet_topos.sensors", "--socket", str(theirs.fileno())]
        command += ["--scenario", str(scenario_path), "--storage", str(storage)]
        command += ["--clock", str(clock.start_epoch_s), str(clock.speed), str(clock.wall_start)]
        # One thread each: the sensors share two numbers, not matrices, and threads would not survive the fork.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs, open(log_path, "wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # Ctrl-C is for the city, which then ends the sensors
            )
        self.process_id = ProcessId.of(self._process.pid)
        self._reader = threading.Thread(target=self._read, name="sensor-processes", daemon=True)
        self._reader.start()

    def start(self, namespaces: Mapping[str, int], timeout_s: float = _IMPORT_TIMEOUT_S) -> None:
        """Start sensors, given by id with a process in their namespace, and wait until all serve. Raises CityError."""
        with self._changed:
            for sensor in namespaces:
                self._states[sensor] = ("starting", 0)
        for sensor, namespace_pid in namespaces.items():
            self._send({"start": sensor, "namespace": namespace_pid})
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while waiting := [sensor for sensor in namespaces if self._states[sensor][0] == "starting"]:
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    raise CityError(
                        f"{len(waiting)} sensors do not serve after {timeout_s:.0f} s; see {self._log_path}"
                    )
            failed = [sensor for sensor in namespaces if self._states[sensor][0] != "serving"]
        if failed:
            raise CityError(f"sensors {', '.join(failed[:5])} ended at start; see {self._log_path}")

    def stop(self, sensor: str, timeout_s: float = 5.0) -> None:
        """Kill one sensor's process and wait until it is gone. Raises CityError."""
        self._send({"stop": sensor})
        with self._changed:
            if not self._changed.wait_for(lambda: self._states[sensor][0] != "serving", timeout_s):
                raise CityError(f"sensor {sensor}: does not end within {timeout_s} s of SIGKILL")

    def pid(self, sensor: str) -> int:
        """Process id of a sensor that serves. Raises CityError for one that does not."""
        state, pid = self._states.get(sensor, ("not started", 0))
        if state != "serving":
            raise CityError(f"sensor {sensor}: {state}; see {self._log_path}")
        return pid

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of all sensors that serve."""
        with self._changed:
            return {sensor: pid for sensor, (state, pid) in self._states.items() if state == "serving"}

    def close(self) -> None:
        """End all sensors and their parent."""
        self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._socket.close()

    def _send(self, message: dict) -> None:
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError:
            raise CityError(f"the sensors' parent process has ended; see {self._log_path}") from None

    def _read(self) -> None:
        while data := self._receive():
            message = json.loads(data)
            with self._changed:
                self._states[message["sensor"]] = (message["state"], message["value"])
                self._changed.notify_all()
            if message["state"] == "ended":
                log.warning("sensor %s ended (%s)", message["sensor"], _reason(message["value"]))
        with self._changed:
            self._states = {sensor: ("ended", 0) for sensor in self._states}
            self._changed.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_MESSAGE_BYTES)
        except OSError:
            return b""


def _reason(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


class _Zygote:
    """The parent process: forks a sensor per request, reports what becomes of it."""

    def __init__(self, control: socket.socket, serve_sensor) -> None:
        self._control = control
        self._serve_sensor = serve_sensor
        self._children: dict[int, str] = {}

    def run(self) -> None:
        """Until the city closes its end of the socket."""
        wake, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(signalled)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if wake in ready:
                os.read(wake, 512)
                self._collect()
            if self._control.fileno() in ready:
                data = self._control.recv(_MESSAGE_BYTES)
                if not data:
                    return
                self._obey(json.loads(data))

    def _obey(self, message: dict) -> None:
        if "start" in message:
            self._fork(message["start"], message["namespace"])
        else:
            for pid, sensor in self._children.items():
                if sensor == message["stop"]:
                    os.kill(pid, signal.SIGKILL)

    def _fork(self, sensor: str, namespace_pid: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._children[pid] = sensor
            return
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            enter_namespace(namespace_pid)
            self._serve_sensor(sensor, lambda: self._report(sensor, "serving", os.getpid()))
        except BaseException:
            log.exception("sensor %s", sensor)
        finally:
            os._exit(1)  # never back into the parent's loop

    def _collect(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._report(self._children.pop(pid), "ended", status)

    def _report(self, sensor: str, state: str, value: int) -> None:
        self._control.send(json.dumps({"sensor": sensor, "state": state, "value": value}).encode())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mininet_topos.sensors", description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--scenario", type=Path, required=True)
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--clock", type=float, nargs=3, required=True)
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(process)d: %(message)s", level=logging.INFO)

    # Imported here, once, for all sensors.
    from twin.edge import EdgeStorage, serve
    from twin.scenario import load_scenario
    from twin.sensor_model import readings

    scenario = load_scenario(options.scenario)
    clock = EmulatedClock(*options.clock)

    def serve_sensor(sensor_id: str, ready) -> None:
        sensor = scenario.sensor[sensor_id]
        storage = EdgeStorage(options.storage, sensor, partial(readings, scenario, sensor))
        asyncio.run(serve(storage, sensor, sensor.ipv4, clock, ready=ready))

    gc.collect()
    gc.freeze()  # so that collections in the children leave the shared pages alone
    _Zygote(socket.socket(fileno=options.socket), serve_sensor).run()


if __name__ == "__main__":
    main()
