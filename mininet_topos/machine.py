"""What this machine can and can't emulate, said plainly (for ``links doctor`` and the launcher's log)."""

import os
import shutil
from dataclasses import dataclass

from mininet_topos import linux, ovs


@dataclass(frozen=True)
class Capability:
    """One line. ``needed``: without it no city is built. ``advice``: what to do, empty when all is well."""

    subject: str
    good: bool
    needed: bool
    found: str
    advice: str = ""


def capabilities() -> list[Capability]:
    """Look at everything that the emulator uses; changes nothing (queues are tried in a scratch namespace)."""
    root = os.geteuid() == 0
    return [_open_vswitch(root), _kernel_datapath(), *(_queues() if root else _queues_unknown()), _mnexec()]


def _open_vswitch(root: bool) -> Capability:
    version = ovs.version()
    if version is None:
        return Capability("Open vSwitch", False, True, "not installed", "apt-get install openvswitch-switch")
    if root and not ovs.is_running():
        return Capability("Open vSwitch", True, True, f"{version}, not running", "started when a city is")
    return Capability("Open vSwitch", True, True, f"{version}{', running' if root else ''}")


def _kernel_datapath() -> Capability:
    if ovs.has_kernel_datapath():
        return Capability("OVS datapath", True, False, "kernel (datapath_type=system)")
    advice = "slower, with the same results; a kernel with the openvswitch module would be used by itself"
    return Capability("OVS datapath", False, False, "userspace (datapath_type=netdev): no kernel datapath", advice)


def _queues() -> list[Capability]:
    tbf = Capability("TBF", True, True, "radio rates are enforced by token buckets")
    if not linux.has_tbf():
        tbf = Capability(
            "TBF", False, True, "no sch_tbf: rates can't be enforced", "use a kernel with CONFIG_NET_SCH_TBF"
        )
    netem = Capability("netem", True, False, "links to the base stations have their delay")
    if not linux.has_netem():
        advice = "a kernel with sch_netem adds 1 ms each way between base station and core"
        netem = Capability("netem", False, False, "no sch_netem: rates are emulated, propagation delay is not", advice)
    return [tbf, netem]


def _queues_unknown() -> list[Capability]:
    return [Capability("TBF and netem", False, False, "unknown: looking needs root", "run links doctor as root")]


def _mnexec() -> Capability:
    path = shutil.which("mnexec")
    if path:
        return Capability("mnexec", True, True, path)
    return Capability("mnexec", False, True, "not installed", "apt-get install mininet")
