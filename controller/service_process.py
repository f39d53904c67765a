"""Keeps a links service running beside the Ryu application: joins the one that serves, or starts it as a child.

The child has a session of its own, so that it lives on when ryu-manager is killed; the next ryu-manager joins it.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

import eventlet
from eventlet.event import Event
from eventlet.green import socket, subprocess

from controller.service_link import backoff_s, health
from proto.connection import Connection

# -P: a folder "controller" in the working directory is not ours.
COMMAND = (sys.executable, "-P", "-m", "controller.service")
START_LIMIT_S = 60.0  # to serve, after being started
SILENCE_LIMIT_S = 20.0  # without an answer to a health check, after having served
STOP_LIMIT_S = 10.0  # to end, after SIGTERM
_LOOK_S = 0.1  # how often the child is looked at
_CHECK_S = 0.5  # how often health is checked
_CHECK_TIMEOUT_S = 2.0


class ServiceProcess:
    """Supervises the service at ``connection``. Everything blocks the calling greenlet only, never the hub.

    Nothing is started while something else listens there: it is joined if it is a links service, else complained about.
    """

    def __init__(self, connection: Connection, logger: logging.Logger, command: Sequence[str] = COMMAND) -> None:
        self._connection, self._logger, self._command = connection, logger, command
        self._child: subprocess.Popen | None = None
        self._stopping = False
        self._ended: Event | None = None  # of run
        self._waits = backoff_s(0.5, 10.0)  # before the next start
        self._said = ""

    def run(self) -> None:
        """Keep a service running until ``stop``."""
        self._ended = Event()
        try:
            while not self._stopping:
                if listens(self._connection.address):
                    self._join()
                else:
                    eventlet.sleep(next(self._waits))
                    if not self._stopping:
                        self._run_child()
        finally:
            self._ended.send()

    def stop(self) -> None:
        """End ``run`` and with it the child, if there is one. A service that was joined goes on."""
        self._stopping = True
        if self._ended is not None:
            self._ended.wait()

    def _join(self) -> None:
        """Look once at what listens there."""
        status = health(self._connection, _CHECK_TIMEOUT_S)
        if status == "SERVING":
            self._waits = backoff_s(0.5, 10.0)
            self._say_once(f"joined the links service that serves at {self._connection.address}")
        else:
            self._say_once(f"{self._connection.address} is taken but does not serve ({status}); no service is started")
        eventlet.sleep(_CHECK_S)

    def _run_child(self) -> None:
        """Start the service, watch it until it has ended or must end, and end it."""
        self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
        pid = self._child.pid
        self._say_once(f"started the links service, process {pid}")
        reason = self._watch(time.monotonic())
        if self._stopping:
            self._logger.info("stopping the links service, process %d", pid)
            self._child.terminate()
            self._wait(STOP_LIMIT_S)
        else:
            self._logger.error("links service, process %d: %s; starting it again", pid, reason)
        self._kill()

    def _watch(self, started: float) -> str:
        """Returns, with the reason, when the child has ended or must be ended, or when ``stop`` was called."""
        last = None  # when it was last seen serving
        while not self._stopping:
            if self._wait(_CHECK_S if last else _LOOK_S, unless_stopping=True) is not None:
                return f"ended with {_exit(self._child.returncode)} after {time.monotonic() - started:.1f} s"
            status = (
                health(self._connection, _CHECK_TIMEOUT_S) if listens(self._connection.address) else "not listening"
            )
            now = time.monotonic()
            if status == "SERVING":
                last, self._waits = now, backoff_s(0.5, 10.0)
                self._say_once(f"links service, process {self._child.pid}, serves at {self._connection.address}")
            elif last is None and now - started > START_LIMIT_S:
                return f"does not serve {START_LIMIT_S:g} s after its start ({status})"
            elif last is not None and now - last > SILENCE_LIMIT_S:
                return f"has not answered for {SILENCE_LIMIT_S:g} s ({status})"
        return "stopping"

    def _wait(self, limit_s: float, unless_stopping: bool = False) -> int | None:
        """Wait until the child has ended, but not longer; its return code or None."""
        deadline = time.monotonic() + limit_s
        while self._child.poll() is None and time.monotonic() < deadline and not (unless_stopping and self._stopping):
            eventlet.sleep(min(_LOOK_S, limit_s))
        return self._child.returncode

    def _kill(self) -> None:
        """Kill what is left of the child's session: itself if it does not end, and its worker processes."""
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._wait(STOP_LIMIT_S)

    def _say_once(self, text: str) -> None:
        """Log a state when it is another than before."""
        if text != self._said:
            self._logger.info(text)
            self._said = text


def listens(address: str) -> bool:
    """Whether anything accepts TCP connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CHECK_TIMEOUT_S).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # no answer in time: not free either
    return True


def _exit(code: int) -> str:
    return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"
