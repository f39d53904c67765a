"""Open vSwitch is started where it does not run."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.emulation
CTL = "/usr/share/openvswitch/scripts/ovs-ctl"


def test_it_is_started_without_waiting_for_its_daemons_to_end(tmp_path):
    """A second Open vSwitch with directories of its own; the program that starts it returns though the daemons live."""
    directories = {f"OVS_{name}DIR": str(tmp_path) for name in ("RUN", "LOG", "DB", "SYSCONF")}
    environment = os.environ | directories
    code = "from mininet_topos import ovs; assert not ovs.is_running(); ovs.ensure_running(); print(ovs.is_running())"
    try:
        started = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=50
        )
        assert started.stdout == "True\n", started.stderr
        assert sorted(path.name for path in tmp_path.glob("*.pid")) == ["ovs-vswitchd.pid", "ovsdb-server.pid"]
    finally:
        subprocess.run([CTL, "stop"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert not list(tmp_path.glob("*.pid"))
