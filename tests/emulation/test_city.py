"""The emulated city: built as wired, with sensors that serve and share what they can."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_city import alive, eventually, strangers

from mininet_topos import City, CityError, cleanup, ovs
from mininet_topos.linux import has_netem
from mininet_topos.topology import BACKHAUL_DELAY_S, root_interfaces
from twin.edge import PORT

pytestmark = pytest.mark.emulation
NAME = "links-test"


def coap_get(address, path="readings/info", query="start=1384700000&end=1384700600"):
    command = [sys.executable, "-m", "aiocoap.cli.client", "--quiet", f"coap://{address}:{PORT}/{path}?{query}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def in_host(city, sensor, command):
    """Output of a command in a sensor's namespace."""
    words = ["mnexec", "-a", str(city.namespace_pid(sensor.id)), *command.split()]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


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
        link = json.loads(in_host(small_city, sensor, "ip -j addr show dev eth0"))[0]
        length = int(small_city.scenario.subnet.partition("/")[2])
        assert link["address"] == sensor.mac
        assert [(a["local"], a["prefixlen"]) for a in link["addr_info"]] == [(sensor.ipv4, length)]  # and no IPv6
        features = in_host(small_city, sensor, "ethtool -k eth0")
        for name in ("tx-checksumming", "scatter-gather", "tx-tcp-segmentation", "generic-receive-offload"):
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


def test_backhaul_has_its_delay_where_the_kernel_can(small_city):
    if not has_netem():
        pytest.skip("NETEM NOT TESTED: this kernel has no sch_netem; delays are not emulated here")
    cell = next(iter(small_city.wiring.cells.values()))
    port = f"core-eth{cell.core_to_base_station}"
    (queue,) = json.loads(subprocess.run(["tc", "-j", "qdisc", "show", "dev", port], capture_output=True).stdout)
    assert queue["kind"] == "netem"
    assert queue["options"]["delay"]["delay"] == pytest.approx(BACKHAUL_DELAY_S, rel=0.01)
