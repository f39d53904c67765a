"""Flow entries on real switches: Open vSwitch, a real ryu-manager, and a stand-in for the links service."""

import signal
import socket
import struct
import subprocess
import time

import pytest
from flow_network import SCENARIO, Network, grown, routes

from controller.entries import Group
from controller.flow_messages import table_from_proto, table_to_proto
from controller.flows import desired_tables
from evaluation import udp_stream
from twin.path import Path
from twin.wiring import TO_CORE

pytestmark = pytest.mark.emulation

PING_BYTES = 14 + 20 + 8 + 56  # Ethernet, IPv4, ICMP, ping's default payload


MIXED = {sensor.id: list(Path)[i % 2] for i, sensor in enumerate(SCENARIO.sensors)}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = Network(tmp_path_factory.mktemp("flows"))
    try:
        yield network
    finally:
        network.close()


def test_switches_hold_exactly_what_is_wanted_and_a_second_time_nothing_is_sent(network):
    """Open vSwitch's own tool counts; flow entries, groups and meters are read back by a new Ryu application."""
    wanted = desired_tables(network.wiring, MIXED)
    network.route(MIXED)
    for switch in network.wiring.switches:
        table = wanted[switch.datapath_id]
        for what, count in (("flows", table.entries), ("groups", table.groups), ("meters", table.meters)):
            rows = ovs_ofctl(f"dump-{what}", switch.name).splitlines()[1:]
            rows = [row for row in rows if row.strip() and not row.lstrip().startswith("type=")]
            assert len(rows) == len(count), (switch.name, what, rows)
    assert network.route(MIXED) == (0, 0, 0)
    attached = len(network.service.hellos)
    network.ryu.stop()
    network.restart_ryu()
    network.service.wait_attached(attached + 1)
    network.service.wait_connected(network.ids)
    assert network.route(MIXED) == (0, 0, 0)


def ovs_ofctl(*arguments: str) -> str:
    return subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow13", *arguments], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def test_a_full_table_is_named_and_nothing_is_left_of_the_program(network):
    network.route({})
    core, gateway = (network.wiring.core, network.wiring.cells[SCENARIO.cells[0].id].gateway)
    before = {node.name: ovs_ofctl("dump-flows", "--no-stats", node.name) for node in network.wiring.switches}
    full = ["--", "--id=@full", "create", "Flow_Table", "flow_limit=1", "overflow_policy=refuse"]
    subprocess.run(
        ["ovs-vsctl", *full, "--", "set", "Bridge", gateway.name, "flow_tables=1=@full"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        result = network.service.program(desired_tables(network.wiring, MIXED))
    finally:
        subprocess.run(["ovs-vsctl", "clear", "Bridge", gateway.name, "flow_tables"], check=True)
    failed = {s.datapath_id: s.error for s in result.switches if s.error}
    assert list(failed) == [gateway.datapath_id]
    assert "OFPET_FLOW_MOD_FAILED(5) OFPFMFC_TABLE_FULL(1)" in failed[gateway.datapath_id]
    assert "table 1 priority 100 eth_type=2048,ipv4_src=" in failed[gateway.datapath_id]
    assert not any(s.confirmed for s in result.switches) and all(s.rolled_back for s in result.switches)
    after = {node.name: ovs_ofctl("dump-flows", "--no-stats", node.name) for node in network.wiring.switches}
    assert after == before and core.name in after
    assert network.route(MIXED) == (2 * len(MIXED), 0, 0)


def test_drift_is_mended_and_what_others_put_there_stays(network):
    network.route(MIXED)
    gateway = network.wiring.cells[SCENARIO.cells[0].id].gateway.name
    wanted = ovs_ofctl("dump-flows", "--no-stats", gateway), ovs_ofctl("dump-groups", gateway)
    foreign = "table=0,priority=7,udp,tp_dst=9999,cookie=0xabc,actions=drop"
    ovs_ofctl("del-flows", gateway)
    ovs_ofctl("del-groups", gateway)
    ovs_ofctl("add-flow", gateway, foreign)
    deadline = time.monotonic() + 15
    while True:
        flows = [f for f in ovs_ofctl("dump-flows", "--no-stats", gateway).splitlines() if "0xabc" not in f]
        if sorted(flows) == sorted(wanted[0].splitlines()):
            break
        assert time.monotonic() < deadline, "the flow entries did not come back"
        time.sleep(0.1)
    assert sorted(ovs_ofctl("dump-groups", gateway).splitlines()[1:]) == sorted(wanted[1].splitlines()[1:])
    assert "tp_dst=9999" in ovs_ofctl("dump-flows", gateway)
    ovs_ofctl("--strict", "del-flows", gateway, "table=0,priority=7,udp,tp_dst=9999")


def test_messages_carry_tables_unchanged(network):
    for number, table in desired_tables(network.wiring, MIXED).items():
        assert table_from_proto(table_to_proto(number, table)) == table and any(
            isinstance(g, Group) for g in table.items
        )


def test_pings_take_the_path_chosen_and_no_other(network):
    network.route(MIXED)
    for sensor in SCENARIO.sensors:
        cell, path = network.wiring.cells[sensor.cell], MIXED[sensor.id]
        before = network.counters()
        assert network.ping(sensor.id) == 3
        after = network.counters_after(before, sensor.id, 3 * PING_BYTES)
        expected = {path: 3 * PING_BYTES, next(p for p in Path if p is not path): 0}
        assert grown(before, after, sensor.id) == expected
        # The same by the counters of the ports, upwards; other sensors of the cell are silent.
        ports = {Path.SIXG: (cell.base_station, TO_CORE), Path.ZIGBEE: (cell.coordinator, TO_CORE)}
        assert {p: after.sent(*port) - before.sent(*port) for p, port in ports.items()} == expected


def test_the_twin_reaches_sensors_by_both_paths(network):
    for path in Path:
        network.route(routes(path))
        for sensor in SCENARIO.sensors:
            command = ["ping", "-n", "-i", "0.05", "-W", "1", "-c", "2", sensor.ipv4]
            assert "2 received" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_without_a_route_nothing_gets_through_and_the_drop_is_counted(network):
    network.route(MIXED)
    victim, other = SCENARIO.sensors[0], SCENARIO.sensors[1]
    gateway = network.wiring.cells[victim.cell].gateway
    assert network.route({name: path for name, path in MIXED.items() if name != victim.id}) == (0, 0, 2)
    before = network.counters().drops(gateway)
    assert network.ping(victim.id) == 0
    assert network.ping(other.id) == 3
    after = network.counters_when(lambda now: now.drops(gateway)[1] >= before[1] + 3).drops(gateway)
    assert {table: after[table] - before[table] for table in after} == {0: 0, 1: 3, 2: 0}
    assert network.route(MIXED) == (2, 0, 0)
    assert network.ping(victim.id) == 3


def udp_frame(eth_src: str, eth_dst: str, src: str, dst: str, port: int) -> bytes:
    """An Ethernet frame with a UDP datagram (checksum of the IPv4 header right, of UDP none)."""
    data = b"spoof"
    udp = struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, *map(socket.inet_aton, (src, dst)))
    total = sum(struct.unpack("!10H", head))
    checksum = ~(total + (total >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", checksum) + head[12:]
    macs = bytes.fromhex((eth_dst + eth_src).replace(":", ""))
    return macs + b"\x08\x00" + head + udp


def test_forged_addresses_are_dropped_at_the_gateway_and_counted(network):
    network.route(MIXED)
    sensor, neighbour = SCENARIO.sensors_of[SCENARIO.cells[0].id][:2]
    gateway = network.wiring.cells[sensor.cell].gateway
    twin = SCENARIO.twin_mac, SCENARIO.twin_ipv4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((SCENARIO.twin_ipv4, 0))
        receiver.settimeout(1.0)
        port = receiver.getsockname()[1]
        forged = [
            udp_frame(sensor.mac, twin[0], neighbour.ipv4, twin[1], port),
            udp_frame(neighbour.mac, twin[0], neighbour.ipv4, twin[1], port),
            udp_frame("02:00:00:0f:00:01", twin[0], sensor.ipv4, twin[1], port),
            udp_frame(sensor.mac, neighbour.mac, sensor.ipv4, neighbour.ipv4, port),
            udp_frame(sensor.mac, "ff:ff:ff:ff:ff:ff", sensor.ipv4, "255.255.255.255", port),
        ]
        before = network.counters()
        network.send_frames(sensor.id, forged + [udp_frame(sensor.mac, twin[0], sensor.ipv4, twin[1], port)])
        assert receiver.recvfrom(64)[1] == (sensor.ipv4, 4000)  # the honest one, sent last
        with pytest.raises(TimeoutError):
            receiver.recvfrom(64)
    after = network.counters_when(lambda now: now.drops(gateway)[0] >= before.drops(gateway)[0] + len(forged))
    assert after.drops(gateway)[0] - before.drops(gateway)[0] == len(forged)
    assert after.by_path[neighbour.id] == before.by_path[neighbour.id]


def test_sensors_do_not_reach_each_other(network):
    network.route(MIXED)
    one, two = SCENARIO.sensors[:2]
    before = network.counters()
    assert network.ping(one.id, two.ipv4) == 0  # not even its ARP request is answered
    gateway = network.wiring.cells[one.cell].gateway
    network.counters_when(lambda now: now.drops(gateway)[0] > before.drops(gateway)[0])


@pytest.fixture
def echo(network):
    echo = udp_stream.Echo(SCENARIO.twin_ipv4)
    yield echo
    echo.close()


def arrive(echo: udp_stream.Echo, more: int) -> None:
    """Until so many more datagrams have arrived."""
    seen, deadline = len(echo.received), time.monotonic() + 10
    while len(echo.received) < seen + more:
        assert time.monotonic() < deadline, "the stream does not arrive"
        time.sleep(0.005)


def test_changes_of_route_lose_nothing_of_a_stream_and_keep_counting(network, echo):
    sensor = SCENARIO.sensors[0]
    network.route(routes(Path.SIXG))
    before = network.counters()
    stream = udp_stream.start(network.city.namespace_pid(sensor.id), echo, per_second=200, seconds=4.0)
    changed = 0
    while stream.poll() is None and changed < 12:
        arrive(echo, 40)
        changed += 1
        assert network.route(routes(list(Path)[changed % 2])) == (0, 2 * len(SCENARIO.sensors), 0)
    sent, lost_up, lost = udp_stream.finish(stream, echo)
    assert (sent, lost_up, lost) == (800, [], [])
    frames = sum(14 + 20 + 8 + len(str(number)) for number in range(sent))
    after = network.counters_after(before, sensor.id, frames)
    by_path = grown(before, after, sensor.id)
    assert min(by_path.values()) > 0  # both paths were used
    assert sum(by_path.values()) == frames  # and their counters went on through every change


def test_killing_ryu_manager_loses_nothing_and_the_next_one_finds_its_flows(network, echo):
    network.route(MIXED)
    attached = len(network.service.hellos)
    stream = udp_stream.start(network.city.namespace_pid(SCENARIO.sensors[0].id), echo, per_second=200, seconds=5.0)
    arrive(echo, 100)
    network.ryu.stop(signal.SIGKILL)
    network.restart_ryu()
    network.service.wait_attached(attached + 1)
    network.service.wait_connected(network.ids)
    assert network.route(MIXED) == (0, 0, 0)
    assert udp_stream.finish(stream, echo) == (1000, [], [])
