"""``links up`` as a user runs it, with TLS and a token, ended by Ctrl-C."""

import os
import re
import signal
import subprocess
import sys

import pytest
import trustme
from running_stack import SETTINGS

from twin.generate import make_scenario
from twin.scenario import save_scenario

pytestmark = pytest.mark.emulation


def test_links_up_ends_on_ctrl_c_and_leaves_only_what_was_there(tmp_path):
    path = tmp_path / "scenario.json"
    save_scenario(make_scenario(cells=1, sensors=4, seed=5, city="Tinytown"), path)
    before = _traces()
    environment = os.environ | SETTINGS | {"LINKS_SCENARIO_FILE": str(path)}
    environment |= {"LINKS_SERVICE_LISTEN": "127.0.0.1:50562", "LINKS_OPENFLOW_LISTEN_PORT": "6694"}
    environment |= _secured(tmp_path)
    command = [sys.executable, "-m", "controller.cli", "up", "--state", str(tmp_path / "state")]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
    ) as up:
        for line in up.stderr:
            if "ready" in line:
                break
        assert _traces() != before
        up.send_signal(signal.SIGINT)
        up.stderr.read()
        assert up.wait(60) == 0
    assert _traces() == before


def _heed_interrupts():
    """Tests run in the background of a script inherit that SIGINT is ignored; a user's terminal doesn't do that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _secured(tmp_path):
    """TLS and a token: ready then means that ryu-manager, the radio and the replay all got through."""
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    names = {name: str(tmp_path / f"{name}.pem") for name in ("certificate", "key", "ca")}
    pair.cert_chain_pems[0].write_to_path(names["certificate"])
    pair.private_key_pem.write_to_path(names["key"])
    authority.cert_pem.write_to_path(names["ca"])
    return {f"LINKS_SERVICE_TLS_{name}".upper(): path for name, path in names.items()} | {
        "LINKS_SERVICE_TOKEN": "s3cret"
    }


def _traces():
    """Bridges, root interfaces and LINKs processes on this machine."""
    bridges = subprocess.run(["ovs-vsctl", "list-br"], capture_output=True, text=True).stdout
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    names = re.findall(r"^\d+: ([^:@]+)", links, re.M)
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    ours = [line for line in processes.splitlines() if re.search(r"Tinytown|controller\.service|mininet_topos", line)]
    return sorted(bridges.split()), sorted(names), len(ours)
