"""The launcher's command line and the report on this machine. Nothing is built here."""

import os
import shutil

import pytest

from mininet_topos import capabilities
from mininet_topos.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--controller", "6653"], "host:port"),
        (["--scenario", "nowhere.json"], "'nowhere.json'"),
        (["--source", "load.csv"], "'load.csv'"),
        (["--speed", "0"], "speed 0.0"),
        (["--cleanup", "--name", "../etc"], "'../etc'"),
    ],
)
def test_wrong_use_is_named_and_fails(arguments, complaint, capsys):
    assert main(arguments) == 1
    assert complaint in capsys.readouterr().err


def test_capabilities_say_what_is_and_what_to_do():
    found = {capability.subject: capability for capability in capabilities()}
    assert found["mnexec"].good == bool(shutil.which("mnexec"))
    assert found["Open vSwitch"].good == bool(shutil.which("ovs-vsctl"))
    assert ("netem" in found) == (os.geteuid() == 0)  # looking for queues needs root, and without it says so
    for capability in found.values():
        assert capability.found
        assert capability.good or capability.advice
