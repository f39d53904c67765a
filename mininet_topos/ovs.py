"""Open vSwitch: whether it is there and runs, which datapath it has, batched transactions, and what in it is ours."""

import json
import logging
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from mininet_topos.linux import enlarge_packet_buffer

log = logging.getLogger(__name__)

# external_ids key that marks a bridge as part of a city.
OWNER_KEY = "links-city"
# The userspace datapath sends every frame of every port through one socket, so one full queue would starve all others.
PACKET_BUFFER_BYTES = 32 << 20

_CTL = Path("/usr/share/openvswitch/scripts/ovs-ctl")
_ARGUMENT_BYTES = 500_000
_INSTALL = "install it: apt-get install openvswitch-switch"


class OvsError(RuntimeError):
    """Open vSwitch is not there or refused something; the message says what and what to do."""


def run(command: Sequence[str], timeout_s: float = 60) -> str:
    """Run a program and return what it printed. Raises OvsError with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except FileNotFoundError:
        raise OvsError(f"{command[0]} is not installed: Open vSwitch is missing; {_INSTALL}") from None
    except subprocess.TimeoutExpired:
        raise OvsError(f"{command[0]} {command[1]}: no answer within {timeout_s} s; is ovs-vswitchd hung?") from None
    if done.returncode:
        raise OvsError(f"{' '.join(command[:3])}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def version() -> str | None:
    """Version of the installed Open vSwitch; None: not installed."""
    if not shutil.which("ovs-vsctl"):
        return None
    return run(["ovs-vsctl", "--version"]).splitlines()[0].split()[-1]


def is_running() -> bool:
    """Whether database and switch daemon answer."""
    try:
        run(["ovs-vsctl", "--timeout=5", "--no-wait", "get", "Open_vSwitch", ".", "_uuid"])
        run(["ovs-appctl", "--timeout=5", "-t", "ovs-vswitchd", "version"])
        return True
    except OvsError:
        return False


def ensure_running() -> None:
    """Start Open vSwitch unless it runs; it is left running. Raises OvsError."""
    if version() is None:
        raise OvsError(f"Open vSwitch is missing (no ovs-vsctl on the path); {_INSTALL}")
    if is_running():
        return
    if not _CTL.exists():
        raise OvsError(f"Open vSwitch does not run and {_CTL} is missing; start it: systemctl start openvswitch-switch")
    log.info("starting Open vSwitch")
    run([str(_CTL), "start", "--system-id=random"])
    if not is_running():
        raise OvsError("Open vSwitch was started but does not answer; see /var/log/openvswitch/ovs-vswitchd.log")


@cache
def datapath_type() -> str:
    """ "system" (kernel) where there is one, else "netdev" (userspace)."""
    return "system" if has_kernel_datapath() else "netdev"


def has_kernel_datapath() -> bool:
    """Whether the kernel has Open vSwitch's datapath (asking for the family loads the module where there is one)."""
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind("ovs_datapath", genlmsg)
            return True
        except (NetlinkError, OSError, KeyError):
            return False


def transact(commands: Iterable[Sequence[str]]) -> None:
    """Run ovs-vsctl commands in as few transactions as the argument limit allows (nearly always one).

    Returns when the switch daemon has carried them out. Raises OvsError.
    """
    batch: list[str] = []
    size = 0
    for command in commands:
        length = sum(map(len, command)) + len(command)
        if batch and size + length > _ARGUMENT_BYTES:
            run(["ovs-vsctl", *batch])
            batch, size = [], 0
        batch += ["--", *command]
        size += length
    if batch:
        run(["ovs-vsctl", *batch])


def table(name: str, *columns: str) -> list[list]:
    """Rows of a table of the database, maps and sets converted to dict and list. Raises OvsError."""
    text = run(["ovs-vsctl", "--no-wait", "--format=json", f"--columns={','.join(columns)}", "list", name])
    document = json.loads(text) if text.strip() else {"headings": list(columns), "data": []}
    order = [document["headings"].index(column) for column in columns]
    return [[_plain(row[i]) for i in order] for row in document["data"]]


def _plain(value):
    match value:
        case ["map", pairs]:
            return {key: _plain(item) for key, item in pairs}
        case ["set", items]:
            return [_plain(item) for item in items]
        case ["uuid", text]:
            return text
    return value


def bridge_owners() -> dict[str, str | None]:
    """Every bridge with the city that it belongs to, None for other people's."""
    return {name: ids.get(OWNER_KEY) for name, ids in table("Bridge", "name", "external_ids")}


def remove(city: str) -> list[str]:
    """Remove the bridges of a city, nothing else; returns their names. Raises OvsError."""
    bridges = [name for name, owner in bridge_owners().items() if owner == city]
    transact(["--if-exists", "del-br", name] for name in bridges)
    return bridges


def check_ports(expected: dict[str, int]) -> None:
    """Check that each interface has the OpenFlow port number it must have. Raises OvsError naming those that don't."""
    actual = {name: (port, error) for name, port, error in table("Interface", "name", "ofport", "error")}
    wrong = []
    for name, port in expected.items():
        found, error = actual.get(name, ("absent", ""))
        if found != port:
            wrong.append(f"{name}: OpenFlow port {port} is wanted, Open vSwitch has {found} {error or ''}".strip())
    if wrong:
        raise OvsError("; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""))


def widen_send_path(bridge: str, port: int) -> bool:
    """Give the userspace datapath's one send socket room for the queues of all ports; False where that failed.

    Queued frames count against the socket's send buffer (208 KiB by default, 90 frames of 1 kB): one coordinator's
    backlog would make Open vSwitch drop the frames of every other port. The socket exists once a frame was sent, so one
    empty frame of the local experimental type (IEEE 802 88-B5) goes out by ``port`` first.
    """
    frame = "ff" * 6 + "020000000001" + "88b5" + "00" * 46
    run(
        [
            "ovs-ofctl",
            "-O",
            "OpenFlow13",
            "packet-out",
            bridge,
            f"in_port=controller packet={frame} actions=output:{port}",
        ]
    )
    try:
        pid = int(Path("/run/openvswitch/ovs-vswitchd.pid").read_text())
        if enlarge_packet_buffer(pid, PACKET_BUFFER_BYTES):
            return True
        log.warning("Open vSwitch's send socket was not found; long queues of one port may delay others")
    except OSError as error:
        log.warning("Open vSwitch's send buffer stays small, long queues of one port may delay others: %s", error)
    return False
