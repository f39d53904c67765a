"""What one emulated city made on this machine, on disk, so that all of it and nothing else can be removed later.

``/run/links/CITY/`` holds the lock of the living process, the record of what it made, and its logs. Things are known by
marks that can't belong to anyone else: bridges by an external id, interfaces by their alias, processes by pid and start
time.
"""

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from mininet_topos import ovs
from mininet_topos.linux import ProcessId

log = logging.getLogger(__name__)

RUN_ROOT = Path("/run/links")
_KILL_WAIT_S = 5.0


class CityError(RuntimeError):
    """The city can't be built, run or removed; the message says what is in the way and what to do."""


@dataclass(frozen=True)
class Record:
    """``interfaces``: names in the root namespace that did not exist before. ``complete``: all of them were made and
    carry their alias; until then one without alias counts as ours too."""

    interfaces: tuple[str, ...] = ()
    processes: tuple[ProcessId, ...] = ()
    complete: bool = False


def alias_of(city: str) -> str:
    """Alias that marks an interface as part of a city."""
    return f"links:{city}"


class RunDirectory:
    """The directory of one city. Raises CityError for a name that can't be one."""

    def __init__(self, city: str, root: Path | None = None):
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", city):
            raise CityError(f"city name {city!r}: use 1 to 32 of a-z, 0-9, '_' and '-', a letter or digit first")
        self.city = city
        self.path = (root or RUN_ROOT) / city
        self._lock: int | None = None

    def log_path(self, name: str) -> Path:
        return self.path / f"{name}.log"

    @property
    def ready_path(self) -> Path:
        """Exists while the city is up; JSON."""
        return self.path / "ready.json"

    @property
    def scenario_path(self) -> Path:
        return self.path / "scenario.json"

    @property
    def edge_path(self) -> Path:
        """Edge storage of the sensors, as long as the city lives."""
        return self.path / "edge"

    def lock(self) -> None:
        """Hold the city until unlock() or the end of this process, however it ends. Raises CityError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CityError(f"{self.path}: {error.strerror}; the emulated city needs root") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode() or "unknown"
            os.close(descriptor)
            raise CityError(
                f"city {self.city!r} is running already (process {holder}); stop it, or give this one another name"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor

    @property
    def locked(self) -> bool:
        """Whether this object holds the city."""
        return self._lock is not None

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_) -> None:
        self.unlock()

    def save(self, record: Record) -> None:
        self._write("record.json", json.dumps(asdict(record)))

    def load(self) -> Record:
        """What an earlier process recorded; empty when there is nothing."""
        try:
            document = json.loads((self.path / "record.json").read_text())
        except FileNotFoundError:
            return Record()
        processes = tuple(ProcessId(**row) for row in document["processes"])
        return Record(tuple(document["interfaces"]), processes, document["complete"])

    def write_ready(self, document: dict) -> None:
        self._write("ready.json", json.dumps(document, indent=1))

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, also when the process is killed in between."""
        temporary = self.path / f".{name}"
        temporary.write_text(text)
        temporary.replace(self.path / name)

    def remove_everything(self) -> list[str]:
        """Remove every process, bridge and interface of the city; returns what was removed, in words. Needs the lock.

        Raises CityError or OvsError when something of ours can't be removed.
        """
        record = self.load()
        self.ready_path.unlink(missing_ok=True)
        removed = [f"process {process.pid}" for process in record.processes if process.signal(signal.SIGKILL)]
        _wait_gone(record.processes)
        if record.interfaces and ovs.version():
            ovs.ensure_running()  # its database may still hold our bridges
        if ovs.version() and ovs.is_running():
            removed += [f"bridge {name}" for name in ovs.remove(self.city)]
        removed += [f"interface {name}" for name in self._remove_interfaces(record)]
        shutil.rmtree(self.edge_path, ignore_errors=True)
        for name in ("record.json", "scenario.json"):
            (self.path / name).unlink(missing_ok=True)
        return removed

    def _remove_interfaces(self, record: Record) -> list[str]:
        removed = []
        with IPRoute() as ip:
            # Until none is found: a listing that others change meanwhile may lack some.
            while ours := [link for link in ip.get_links() if self._is_ours(link, record)]:
                for link in ours:
                    try:
                        ip.link("del", index=link["index"])
                    except NetlinkError as error:
                        if error.code != errno.ENODEV:  # gone with its peer
                            raise CityError(f"interface {link.get('ifname')} can't be removed: {error}") from None
                    removed.append(link.get("ifname"))
        return removed

    def _is_ours(self, link, record: Record) -> bool:
        alias = link.get("ifalias")
        if alias or record.complete:
            return alias == alias_of(self.city)
        return link.get("ifname") in record.interfaces and link.get(("linkinfo", "kind")) == "veth"


def _wait_gone(processes: tuple[ProcessId, ...]) -> None:
    deadline = time.monotonic() + _KILL_WAIT_S
    for process in processes:
        while process.alive() and not _is_zombie(process.pid):
            if time.monotonic() > deadline:
                raise CityError(f"process {process.pid} does not end after SIGKILL; see its state in /proc")
            time.sleep(0.01)


def _is_zombie(pid: int) -> bool:
    """Dead, but not yet collected by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def cleanup(city: str, root: Path | None = None) -> list[str]:
    """Remove what a city that was killed left behind; returns what was removed, in words.

    Raises CityError while the city is alive, or when something can't be removed.
    """
    with RunDirectory(city, root) as directory:
        return directory.remove_everything()
