"""The real ryu-manager as a process, for tests."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPLICATION = ROOT / "controller" / "ryu_app.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RyuProcess:
    """``ryu-manager APPLICATION`` with an OpenFlow port of its own; what it logs is in ``log``."""

    started: list["RyuProcess"] = []

    def __init__(self, directory: Path, application: str | Path = APPLICATION, port: int = 0, **environment: str):
        self.port = port or free_port()
        self.log = directory / "ryu.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LINKS_")}
        path = os.pathsep.join(filter(None, [str(ROOT), clean.get("PYTHONPATH", "")]))
        command = [sys.executable, "-W", "ignore", "-m", "controller.ryu_manager"]
        command += ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(self.port), str(application)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=clean | {"PYTHONPATH": path} | environment, stderr=log, stdout=log
            )

        self.started.append(self)

    @classmethod
    def stop_all(cls) -> None:
        """Stop those that a failed test has left."""
        while cls.started:
            cls.started.pop().stop()

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def text(self) -> str:
        return self.log.read_text()
