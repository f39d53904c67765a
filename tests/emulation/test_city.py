"""The emulated city: built as wired, sensors that serve, and nothing left behind whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import eventually

from mininet_topos import City, CityError, cleanup, ovs
from mininet_topos.topology import root_interfaces
from twin.edge import PORT
from twin.wiring import Wiring

pytestmark = pytest.mark.emulation
NAME = "links-test"


def interfaces():
    return set(os.listdir("/sys/class/net"))


def alive(pid):
    return Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def coap_get(address, path="readings/info", query="start=0&end=600"):
    command = [sys.executable, "-m", "aiocoap.cli.client", "--quiet", f"coap://{address}:{PORT}/{path}?{query}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@contextmanager
def strangers():
    """A bridge, a veth pair and a namespace of somebody else, which must survive; removed in the end."""
    ovs.transact([["add-br", "stranger-br"], ["set", "Bridge", "stranger-br", "datapath_type=netdev"]])
    subprocess.run("ip link add stranger0 type veth peer name stranger1; ip netns add stranger", shell=True, check=True)
    try:
        yield
        assert "stranger-br" in ovs.bridge_owners()
        assert {"stranger0", "stranger1"} <= interfaces()
        assert "stranger" in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    finally:
        subprocess.run("ip link del stranger0; ip netns del stranger", shell=True)
        ovs.transact([["--if-exists", "del-br", "stranger-br"]])


def assert_nothing_left(scenario):
    wiring = Wiring(scenario)
    assert not {switch.name for switch in wiring.switches} & set(ovs.bridge_owners())
    assert not set(root_interfaces(wiring)) & interfaces()


def test_ports_and_datapath_ids_are_the_wirings(small_city):
    wiring = small_city.wiring
    expected = {}
    for wire in wiring.links:
        expected[f"{wire.a}-eth{wire.a_port}"] = wire.a_port
        if wire.b_port:
            expected[f"{wire.b}-eth{wire.b_port}"] = wire.b_port
    actual = {name: port for name, port, kind in ovs.table("Interface", "name", "ofport", "type") if kind != "internal"}
    assert {name: actual.get(name) for name in expected} == expected
    rows = ovs.table("Bridge", "name", "datapath_id", "fail_mode", "protocols", "external_ids", "datapath_type")
    found = {name: rest for name, *rest in rows}
    for switch in wiring.switches:
        datapath_id, fail_mode, protocols, ids, kind = found[switch.name]
        assert int(datapath_id, 16) == switch.datapath_id
        assert (fail_mode, protocols, ids["links-city"]) == ("secure", "OpenFlow13", NAME)
        assert kind == ovs.datapath_type()


def test_sensors_have_their_addresses_and_a_quiet_interface(small_city):
    for sensor in small_city.scenario.sensors:
        host = small_city.net[sensor.id]
        link = json.loads(host.cmd("ip -j -d addr show dev eth0"))[0]
        length = int(small_city.scenario.subnet.partition("/")[2])
        assert link["address"] == sensor.mac
        assert [(a["local"], a["prefixlen"]) for a in link["addr_info"]] == [(sensor.ipv4, length)]  # and no IPv6
        features = host.cmd("ethtool -k eth0")
        for name in ("tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"):
            assert f"{name}: off" in features


def test_every_sensor_answers_coap_over_the_network(small_city):
    for sensor in small_city.scenario.sensors:
        answer = coap_get(sensor.ipv4)
        assert json.loads(answer.stdout)["count"] >= 0, answer.stderr


def test_killing_one_sensor_affects_only_it_and_it_can_be_restarted(small_city):
    victim, *others = small_city.scenario.sensors
    before = small_city.sensor_pids
    os.kill(small_city.sensor_pid(victim.id), signal.SIGKILL)
    eventually(lambda: victim.id not in small_city.sensor_pids)
    with pytest.raises(CityError, match=victim.id):
        small_city.sensor_pid(victim.id)
    assert small_city.sensor_pids == {sensor.id: before[sensor.id] for sensor in others}
    assert coap_get(others[0].ipv4).returncode == 0
    assert coap_get(victim.ipv4).returncode != 0
    small_city.restart_sensor(victim.id)
    assert small_city.sensor_pid(victim.id) != before[victim.id]
    assert coap_get(victim.ipv4).returncode == 0
    small_city.stop_sensor(victim.id)
    assert not alive(before[victim.id]) and victim.id not in small_city.sensor_pids
    small_city.restart_sensor(victim.id)


def test_sensors_share_their_memory(small_city):
    """All of a city's 120 must stay under 2 GB; each may then have 16 MB for itself."""
    for pid in small_city.sensor_pids.values():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        pss_kb = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        assert pss_kb < 16_000


def test_queues_survive_changes_of_other_bridges(small_city):
    """Open vSwitch clears the queues of ports that it takes over; not of ours when it is told something else."""

    def queues():
        rows = json.loads(subprocess.run(["tc", "-j", "qdisc", "show"], capture_output=True, text=True).stdout)
        return {row["dev"]: row["options"]["rate"] for row in rows if row["kind"] == "tbf"}

    before = queues()
    cells = len(small_city.scenario.cells)
    assert len([dev for dev in before if dev in root_interfaces(small_city.wiring)]) == 3 * cells
    with strangers():
        assert {dev: rate for dev, rate in queues().items() if dev in before} == before


def test_a_second_city_is_refused_and_the_first_lives_on(small_city, small_scenario):
    with pytest.raises(CityError, match="running already"):
        City(small_scenario, name=NAME).start()
    with pytest.raises(CityError, match="running already"):
        cleanup(NAME)
    with pytest.raises(CityError, match=f"'core' exists and belongs to city '{NAME}'"):
        City(small_scenario, name="links-other").start()
    assert coap_get(small_scenario.sensors[0].ipv4).returncode == 0


# From here on cities of their own. They come after the module's city has gone, which pytest does not promise by itself.


@pytest.fixture
def no_city(request, small_scenario):
    if "small_city" in request.session._fixturemanager._arg2fixturedefs:
        definition = request.session._fixturemanager._arg2fixturedefs["small_city"][-1]
        definition.finish(request)
    return small_scenario


def test_stop_removes_everything_and_nothing_else(no_city):
    with strangers():
        city = City(no_city, name=NAME)
        city.start()
        pids = [*city.sensor_pids.values(), *(city.namespace_pid(sensor.id) for sensor in no_city.sensors)]
        city.stop()
        assert_nothing_left(no_city)
        assert not any(map(alive, pids))
        city.stop()  # once more does no harm


def test_strangers_of_the_same_name_are_refused_and_kept(no_city):
    ovs.transact([["add-br", "gw02"], ["set", "Bridge", "gw02", "datapath_type=netdev"]])
    try:
        with pytest.raises(CityError, match="bridge 'gw02' exists and is not ours"):
            City(no_city, name=NAME).start()
        assert ovs.bridge_owners()["gw02"] is None
    finally:
        ovs.transact([["--if-exists", "del-br", "gw02"]])
    subprocess.run("ip link add bs01-eth1 type veth peer name stranger1", shell=True, check=True)
    try:
        with pytest.raises(CityError, match="interface 'bs01-eth1' exists and is not ours"):
            City(no_city, name=NAME).start()
        cleanup(NAME)
        assert "bs01-eth1" in interfaces()
    finally:
        subprocess.run(["ip", "link", "del", "bs01-eth1"])
    subprocess.run(f"ip link add s0 type veth peer name s1; ip addr add {no_city.twin_ipv4}/16 dev s0", shell=True)
    try:
        with pytest.raises(CityError, match=no_city.twin_ipv4):
            City(no_city, name=NAME).start()
    finally:
        subprocess.run(["ip", "link", "del", "s0"])
    assert_nothing_left(no_city)


def launch(scenario_path, *options):
    command = [sys.executable, "-m", "mininet_topos", "--scenario", str(scenario_path), "--name", NAME, "--no-service"]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def scenario_file(no_city, tmp_path):
    from twin.scenario import save_scenario

    save_scenario(no_city, tmp_path / "city.json")
    return tmp_path / "city.json"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_city_down(no_city, scenario_file, tmp_path, number):
    with strangers():
        process = launch(scenario_file, "--ready-file", str(tmp_path / "ready"))
        ready = json.loads(eventually(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text(), 60))
        assert ready["sensors"] == len(no_city.sensors) and ready["city"] == NAME
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert not (tmp_path / "ready").exists()
        assert_nothing_left(no_city)


@pytest.mark.parametrize("after", ["record.json", "bridges", "ready"])
def test_kill_9_leaves_what_the_next_start_removes(no_city, scenario_file, tmp_path, after):
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
        with City(no_city, name=NAME) as city:
            assert len(city.sensor_pids) == len(no_city.sensors)
        assert_nothing_left(no_city)


def test_cleanup_after_kill_9(no_city, scenario_file, tmp_path):
    with strangers():
        process = launch(scenario_file, "--ready-file", str(tmp_path / "ready"))
        eventually((tmp_path / "ready").exists, 60)
        process.kill()
        process.communicate()
        removed = cleanup(NAME)
        assert {f"bridge {switch.name}" for switch in Wiring(no_city).switches} <= set(removed)
        assert_nothing_left(no_city)
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
