"""The city's life: nothing is left behind whatever happens, and what is not ours is never touched."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mininet.net import Mininet
from small_city import alive, eventually, interfaces, strangers

from mininet_topos import City, CityError, cleanup, ovs
from mininet_topos.city import topos
from mininet_topos.topology import root_interfaces
from twin.scenario import save_scenario
from twin.wiring import Wiring

pytestmark = pytest.mark.emulation
NAME = "links-test"


def assert_nothing_left(scenario):
    wiring = Wiring(scenario)
    assert not {switch.name for switch in wiring.switches} & set(ovs.bridge_owners())
    assert not set(root_interfaces(wiring)) & interfaces()


def test_stop_removes_everything_and_nothing_else(small_scenario):
    with strangers():
        city = City(small_scenario, name=NAME)
        city.start()
        pids = [*city.sensor_pids.values(), *(city.namespace_pid(sensor.id) for sensor in small_scenario.sensors)]
        city.stop()
        assert_nothing_left(small_scenario)
        assert not any(map(alive, pids))
        city.stop()  # once more does no harm


def test_strangers_of_the_same_name_are_refused_and_kept(small_scenario):
    ovs.transact([["add-br", "gw02"], ["set", "Bridge", "gw02", "datapath_type=netdev"]])
    try:
        with pytest.raises(CityError, match="bridge 'gw02' exists and is not ours"):
            City(small_scenario, name=NAME).start()
        assert ovs.bridge_owners()["gw02"] is None
    finally:
        ovs.transact([["--if-exists", "del-br", "gw02"]])
    subprocess.run("ip link add bs01-eth1 type veth peer name stranger1", shell=True, check=True)
    try:
        with pytest.raises(CityError, match="interface 'bs01-eth1' exists and is not ours"):
            City(small_scenario, name=NAME).start()
        cleanup(NAME)
        assert "bs01-eth1" in interfaces()
    finally:
        subprocess.run(["ip", "link", "del", "bs01-eth1"])
    subprocess.run(
        f"ip link add s0 type veth peer name s1; ip addr add {small_scenario.twin_ipv4}/16 dev s0", shell=True
    )
    try:
        with pytest.raises(CityError, match=small_scenario.twin_ipv4):
            City(small_scenario, name=NAME).start()
    finally:
        subprocess.run(["ip", "link", "del", "s0"])
    assert_nothing_left(small_scenario)


def launch(scenario_path, *options):
    command = [sys.executable, "-m", "mininet_topos", "--scenario", str(scenario_path), "--name", NAME, "--no-service"]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def scenario_file(small_scenario, tmp_path):
    save_scenario(small_scenario, tmp_path / "city.json")
    return tmp_path / "city.json"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_city_down(small_scenario, scenario_file, tmp_path, number):
    with strangers():
        process = launch(scenario_file, "--ready-file", str(tmp_path / "ready"))
        ready = json.loads(eventually(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text(), 60))
        assert ready["sensors"] == len(small_scenario.sensors) and ready["city"] == NAME
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert not (tmp_path / "ready").exists()
        assert_nothing_left(small_scenario)


@pytest.mark.parametrize("after", ["record.json", "bridges", "ready"])
def test_kill_9_leaves_what_the_next_start_removes(small_scenario, scenario_file, tmp_path, after):
    """At three moments: before interfaces are marked, when bridges are there, and when all runs."""
    moments = {
        "record.json": lambda: "core-eth1" in interfaces(),
        "bridges": lambda: "core" in ovs.bridge_owners(),
        "ready": (tmp_path / "ready").exists,
    }
    with strangers():
        process = launch(scenario_file, "--ready-file", str(tmp_path / "ready"))
        eventually(moments[after], 60)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.communicate()
        # Sensors and shells end by themselves.
        eventually(lambda: not any(map(alive, children)))
        eventually(lambda: not _processes_of_sensors())
        with City(small_scenario, name=NAME) as city:
            assert len(city.sensor_pids) == len(small_scenario.sensors)
        assert_nothing_left(small_scenario)


def test_cleanup_after_kill_9(small_scenario, scenario_file, tmp_path):
    with strangers():
        process = launch(scenario_file, "--ready-file", str(tmp_path / "ready"))
        eventually((tmp_path / "ready").exists, 60)
        process.kill()
        process.communicate()
        removed = cleanup(NAME)
        assert {f"bridge {switch.name}" for switch in Wiring(small_scenario).switches} <= set(removed)
        assert_nothing_left(small_scenario)
        assert cleanup(NAME) == []


def _processes_of_sensors():
    """Processes whose command line names this test's run directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"/{NAME}/scenario.json".encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_mininet_alone_builds_and_stops_it(small_scenario, scenario_file):
    """As ``mn --custom mininet_topos/city.py --topo city,FILE`` does, with Mininet's own classes and no owner."""
    net = Mininet(topo=topos["city"](str(scenario_file)), controller=None)
    try:
        net.start()
        bridges = ovs.bridge_owners()
        assert {switch.name for switch in Wiring(small_scenario).switches} <= set(bridges)
        assert set(bridges.values()) == {None}
        assert set(root_interfaces(Wiring(small_scenario))) <= interfaces()
    finally:
        net.stop()
    assert_nothing_left(small_scenario)
