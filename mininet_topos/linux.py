"""What the emulator asks of Linux: network namespaces, queues and interface flags, process identity.

Namespaces are entered by thread (setns(2)); everything here is synchronous and leaves the thread where it was.
"""

import ctypes
import fcntl
import logging
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

log = logging.getLogger(__name__)

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SIOCETHTOOL = 0x8946
# linux/ethtool.h: transmit checksums, scatter-gather, TCP segmentation, generic segmentation, generic receive offload.
_OFFLOADS = {"tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
_SYS_PIDFD_GETFD = 438
_SO_SNDBUFFORCE = 32

# A bucket of one full frame, or what 2 ms bring at higher rates: deep enough for the timer, too shallow to lend a short
# transfer more than its grant.
FRAME_BYTES = 1600
BURST_S = 0.002

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


@contextmanager
def in_namespace(pid: int) -> Iterator[None]:
    """Run the calling thread in the network namespace of process ``pid``. Raises OSError."""
    with open("/proc/thread-self/ns/net") as home:
        enter_namespace(pid)
        try:
            yield
        finally:
            _check(_libc.setns(home.fileno(), _CLONE_NEWNET), "setns back")


def enter_namespace(pid: int) -> None:
    """Move the calling thread into the network namespace of process ``pid`` for good. Raises OSError."""
    with open(f"/proc/{pid}/ns/net") as target:
        _check(_libc.setns(target.fileno(), _CLONE_NEWNET), f"setns to the network namespace of process {pid}")


def unshare_network() -> None:
    """Move the calling thread into a new, empty network namespace. Raises OSError."""
    _check(_libc.unshare(_CLONE_NEWNET), "unshare")


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the thread that started it ends; at once if ``parent`` is gone."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@dataclass(frozen=True)
class ProcessId:
    """A process for certain: a pid is used again, but not with the same start time (clock ticks since boot)."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Raises ProcessLookupError."""
        try:
            # The name in parentheses may hold anything, so count fields from its end (proc(5)).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(f"no process {pid}") from None
        return cls(pid, int(fields[19]))

    def signal(self, number: int) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # Read after the descriptor is held: what has this start time now is what the descriptor means.
            if ProcessId.of(self.pid) != self:
                return False
            signal.pidfd_send_signal(fd, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)

    def alive(self) -> bool:
        return self.signal(0)


def disable_offloads(name: str) -> None:
    """Switch off every offload of an interface of this thread's namespace.

    The userspace datapath passes frames on as they are: a checksum left to the hardware is never filled in, and a
    segment left to it is larger than any queue's bucket.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        for command in _OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", name.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(channel, _SIOCETHTOOL, request)
            except OSError as error:
                raise OSError(
                    error.errno, f"interface {name}: offloads cannot be switched off: {error.strerror}"
                ) from None


def disable_ipv6(name: str) -> None:
    """Keep neighbour discovery of an interface (or "all") off the emulated air. Nothing to do without IPv6."""
    path = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if path.exists():
        path.write_text("1")


def set_rate(ip: IPRoute, index: int, rate_bps: float, queue_bytes: int) -> None:
    """Hold what an interface sends to ``rate_bps`` bit/s of Ethernet frames by a token bucket (tc-tbf).

    At most ``queue_bytes`` wait, then frames are dropped. Changing the rate keeps what waits. Raises OSError.
    """
    burst = max(FRAME_BYTES, int(rate_bps / 8 * BURST_S))
    # Asked with the rate in bytes/s, as the kernel's structure has it.
    try:
        ip.tc("replace", "tbf", index=index, rate=max(1, round(rate_bps / 8)), burst=burst, limit=queue_bytes)
    except NetlinkError as error:
        raise OSError(error.code, f"interface {index}: TBF with {rate_bps:.0f} bit/s refused: {error}") from None


def set_delay(ip: IPRoute, index: int, delay_s: float, queue_frames: int = 10_000) -> None:
    """Delay what an interface sends (tc-netem). Raises OSError, also when the kernel has no netem."""
    try:
        ip.tc("replace", "netem", index=index, delay=round(delay_s * 1e6), limit=queue_frames)
    except NetlinkError as error:
        raise OSError(error.code, f"interface {index}: netem with {delay_s} s refused: {error}") from None


@cache
def has_netem() -> bool:
    """Whether the kernel can delay frames (needs root)."""
    return _accepts(lambda ip, index: set_delay(ip, index, 0.001))


@cache
def has_tbf() -> bool:
    """Whether the kernel can hold an interface to a rate (needs root)."""
    return _accepts(lambda ip, index: set_rate(ip, index, 1e6, 10_000))


def _accepts(shape: Callable[[IPRoute, int], None]) -> bool:
    """Try a queue on the loopback of a scratch namespace, which goes with the thread."""

    def attempt() -> bool:
        unshare_network()
        with IPRoute() as ip:
            try:
                shape(ip, 1)
                return True
            except OSError:
                return False

    with ThreadPoolExecutor(1) as scratch:
        return scratch.submit(attempt).result()


def enlarge_packet_buffer(pid: int, size_bytes: int) -> bool:
    """Enlarge the send buffer of the packet sockets through which process ``pid`` sends, to ``size_bytes``.

    Returns whether there was such a socket. Raises OSError (kernel before 5.6, or no permission).
    """
    senders = {inode for inode, protocol in _packet_sockets() if protocol == 0}
    found = False
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except FileNotFoundError:
                continue  # closed since; it was no packet socket, those stay open
            if target.startswith("socket:[") and int(target[8:-1]) in senders:
                number = _check(_libc.syscall(_SYS_PIDFD_GETFD, process, int(name), 0), "pidfd_getfd")
                with socket.socket(fileno=number) as sender:
                    sender.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size_bytes // 2)  # the kernel doubles it
                found = True
    finally:
        os.close(process)
    return found


def _packet_sockets() -> Iterator[tuple[int, int]]:
    """Inode and protocol of every packet socket (packet(7)) of this namespace."""
    for line in Path("/proc/net/packet").read_text().splitlines()[1:]:
        fields = line.split()
        yield int(fields[8]), int(fields[3], 16)
