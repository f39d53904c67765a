"""The whole system on one machine as processes: ryu-manager, with the service as its child, and the emulated city.

Used by ``links up``, ``links demo`` and the emulation tests.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc

from controller import ryu_app_path
from controller.config import Config, load_config
from controller.lockfile import holder
from mininet_topos.city import city_name
from mininet_topos.linux import die_with_parent
from mininet_topos.run_directory import RunDirectory
from proto import network_pb2, network_pb2_grpc
from proto.connection import Connection
from twin.scenario import load_scenario

log = logging.getLogger(__name__)
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
# A cell's telemetry has caught up when its newest sample is at most this old, emulated seconds.
FRESH_S = 2 * 600


class StackError(RuntimeError):
    """A process did not start or ended by itself; the message names it and its log."""


@dataclass
class Stack:
    """Start with ``start``, then ``wait_ready``; call ``supervise`` now and then, and ``stop`` at the end.

    ``city_options`` go to ``python -m mininet_topos``. Logs lie in ``directory``, which is also the state directory.
    """

    directory: Path
    config_file: str | None = None
    city_options: Sequence[str] = ()
    overrides: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | self.overrides
        self.environment.pop("LINKS_SERVICE", None)  # this stack has a service of its own
        self.environment.setdefault("LINKS_CLOCK_WALL_START", repr(time.time()))
        self.environment["LINKS_SERVICE_STATE_DIRECTORY"] = str(self.directory)
        if self.config_file:
            self.environment["LINKS_CONFIG"] = str(Path(self.config_file).resolve())
        self.config: Config = load_config(None, self.environment)
        self.processes: dict[str, subprocess.Popen] = {}
        self.city_name = city_name(load_scenario(self.config.scenario.file))

    @property
    def connection(self) -> Connection:
        return connection(self.config)

    @property
    def edge_directory(self) -> Path:
        """Where the sensors of the running city keep their data."""
        return RunDirectory(self.city_name).edge_path

    def start(self) -> None:
        """Start ryu-manager, which starts the service, and the city."""
        self.start_ryu()
        service = self.config.service
        self.environment |= {"LINKS_SERVICE_TOKEN": service.token, "LINKS_SERVICE_TLS_CA": service.tls_ca}
        command = [sys.executable, "-m", "mininet_topos", "--scenario", self.config.scenario.file]
        command += ["--controller", f"127.0.0.1:{self.config.openflow.listen_port}", "--service", service.listen]
        command += ["--speed", repr(self.config.scenario.speed), "--ready-file", str(self._city_ready)]
        command += self.city_options
        self._city_ready.unlink(missing_ok=True)
        self._spawn("city", command)

    def start_ryu(self) -> None:
        """Start (or start again) ryu-manager."""
        manager = Path(sys.executable).with_name("ryu-manager")
        port = str(self.config.openflow.listen_port)
        listen = ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", port]
        self._spawn("ryu-manager", [str(manager), *listen, str(ryu_app_path())])

    def _spawn(self, name: str, command: list[str]) -> None:
        end_with_us = partial(die_with_parent, os.getpid(), signal.SIGTERM)
        with (self.directory / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for us; we stop them in order
                preexec_fn=end_with_us,
            )

    def wait_ready(self, tell: Callable[[str], None] = lambda text: None) -> None:
        """Until every switch is connected, the radio is attached and every cell has telemetry. Raises StackError."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        told = ""
        while True:
            self.supervise()
            lacks = self._lacks()
            if not lacks:
                return
            if time.monotonic() > deadline:
                raise StackError(f"not ready after {READY_TIMEOUT_S:g} s: {lacks}; {self.last_line('ryu-manager')}")
            if lacks != told:
                tell(f"waiting for {lacks}")
                told = lacks
            time.sleep(0.2)

    def _lacks(self) -> str:
        """What is still missing, in words; empty when the system is ready."""
        link = self.connection
        try:
            with link.channel() as channel:
                network = network_pb2_grpc.NetworkServiceStub(channel)
                ask = {"timeout": 5, "metadata": link.metadata}
                now = network.GetConnections(network_pb2.GetConnectionsRequest(), **ask)
                load = network.GetTrafficLoad(network_pb2.GetTrafficLoadRequest(), **ask)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise StackError(f"the service refuses: {error.details()}") from None
            return "the links service"
        missing = [switch.name for switch in now.switches if not switch.connected]
        if not now.controllers:
            return "the Ryu application"
        if missing:
            return f"{len(missing)} of {len(now.switches)} switches"
        if not now.radio_emulators:
            return "the radio emulator"
        if not self._city_ready.exists():
            return "the sensors"
        fresh_s = load.now.seconds - FRESH_S
        silent = [cell.cell_id for cell in load.cells if not cell.HasField("time") or cell.time.seconds < fresh_s]
        if silent and "--no-replay" not in self.city_options:
            return f"telemetry of {len(silent)} cells"
        return ""

    @property
    def _city_ready(self) -> Path:
        """Exists when all sensors serve."""
        return self.directory / "city.json"

    def supervise(self) -> None:
        """Start ryu-manager again if it ended; raise StackError if the city did."""
        ryu, city = self.processes.get("ryu-manager"), self.processes.get("city")
        if city is not None and city.poll() is not None:
            raise StackError(f"the emulated city ended with {city.returncode}: {self.last_line('city')}")
        if ryu is not None and ryu.poll() is not None:
            log.warning("ryu-manager ended with %d; starting it again", ryu.returncode)
            self.start_ryu()
            time.sleep(0.5)  # not in a tight loop when it ends at once

    def last_line(self, name: str) -> str:
        """The last line of a process's log, with where to read the rest."""
        path = self.directory / f"{name}.log"
        lines = path.read_text("utf-8", "replace").strip().splitlines() if path.exists() else []
        return f"{lines[-1] if lines else 'no output'} (all of it in {path})"

    def service_pid(self) -> int | None:
        """Process id of the running service."""
        return holder(self.directory / "service.lock")

    def stop(self) -> None:
        """Stop all, in order: the city, ryu-manager, and a service that a former ryu-manager left."""
        for name in ("city", "ryu-manager"):
            process = self.processes.pop(name, None)
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    log.error("%s did not stop within %g s; killing it", name, STOP_TIMEOUT_S)
                    process.kill()
                    process.wait()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        if pid := self.service_pid():
            os.kill(pid, signal.SIGTERM)
        while (pid := self.service_pid()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if pid:
            os.kill(pid, signal.SIGKILL)


def connection(config: Config) -> Connection:
    """How clients on this machine reach the configured service."""
    return Connection(config.service.listen, config.service.tls_ca, config.service.token)
