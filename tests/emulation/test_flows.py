"""Flow entries on real switches: Open vSwitch, a real ryu-manager, and a stand-in for the links service."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest
import udp_stream
from fake_service import FakeService
from ryu_process import RyuProcess, free_port

from controller.flows import FlowEntry, Kind, Match, Output, bytes_by_path, cookie, desired_flows, entry_from_proto
from mininet_topos import City
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import TO_CORE

pytestmark = pytest.mark.emulation

SCENARIO = make_scenario(cells=2, sensors=6, seed=11)
PING_BYTES = 14 + 20 + 8 + 56  # Ethernet, IPv4, ICMP, ping's default payload


class Network:
    """A city without sensor processes, its Ryu application, and the service that commands it."""

    def __init__(self, directory) -> None:
        self.directory, self.service, port = directory, FakeService(), free_port()
        self.ryu = RyuProcess(directory, port=port, LINKS_SERVICE=self.service.address)
        self.city = City(SCENARIO, controller=("127.0.0.1", port), name="links-flows", run_root=directory / "run")
        self.wiring = self.city.wiring
        try:
            self.city.start(sensors=False)
            self.service.wait_connected(self.ids)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.city.stop()
        self.ryu.stop()
        self.service.stop()

    @property
    def ids(self) -> list[int]:
        return [switch.datapath_id for switch in self.wiring.switches]

    def restart_ryu(self) -> None:
        self.ryu = RyuProcess(self.directory, port=self.ryu.port, LINKS_SERVICE=self.service.address)

    def route(self, routes) -> tuple[int, int, int]:
        """Install routes everywhere; (added, modified, deleted) of all switches together."""
        result = self.service.program(desired_flows(self.wiring, routes))
        assert [s.error for s in result.switches] == [""] * len(self.ids)
        assert all(s.confirmed for s in result.switches)
        names = "added", "modified", "deleted"
        return tuple(sum(getattr(s, name) for s in result.switches) for name in names)

    def counters(self) -> "Counters":
        reply = self.service.statistics()
        assert not reply.missing_datapath_ids
        return Counters(self.wiring, reply)

    def counters_when(self, complete) -> "Counters":
        """The counters once ``complete(counters)``: Open vSwitch brings them up to date about once a second."""
        deadline = time.monotonic() + 10
        while not complete(counters := self.counters()):
            assert time.monotonic() < deadline, f"counters stay at {counters.by_path}"
            time.sleep(0.1)
        return counters

    def counters_after(self, before: "Counters", sensor_id: str, count: int) -> "Counters":
        """The counters once at least so many bytes of a sensor have reached the core."""
        return self.counters_when(lambda now: sum(grown(before, now, sensor_id).values()) >= count)

    def run(self, sensor_id: str, *command: str) -> subprocess.CompletedProcess:
        """Run a program in a sensor's namespace."""
        inside = ["mnexec", "-a", str(self.city.namespace_pid(sensor_id)), *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60)

    def ping(self, sensor_id: str, address: str = SCENARIO.twin_ipv4, count: int = 3) -> int:
        """How many of ``count`` echo requests were answered."""
        result = self.run(sensor_id, "ping", "-n", "-i", "0.05", "-W", "1", "-c", str(count), address)
        return int(result.stdout.split(" received")[0].split()[-1])

    def send_frames(self, sensor_id: str, frames: list[bytes]) -> None:
        """Send raw Ethernet frames from a sensor's interface."""
        code = (
            "import json, socket, sys\n"
            "raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
            "raw.bind(('eth0', 0))\n"
            "for frame in json.loads(sys.argv[1]): raw.send(bytes.fromhex(frame))\n"
        )
        result = self.run(sensor_id, sys.executable, "-c", code, json.dumps([frame.hex() for frame in frames]))
        assert result.returncode == 0, result.stderr


class Counters:
    """A reading of all counters."""

    def __init__(self, wiring, reply) -> None:
        self.wiring, self.reply = wiring, reply
        self.by_path = bytes_by_path(wiring, reply.flows)

    def drops(self, switch) -> dict[int, int]:
        """Packets that met the drop entry of each table."""
        rows = [f for f in self.reply.flows if f.datapath_id == switch.datapath_id]
        return {f.entry.table_id: f.packets for f in rows if f.entry.cookie == cookie(Kind.DROP)}

    def sent(self, switch, port: int) -> int:
        """Bytes sent out of a port."""
        (row,) = [p for p in self.reply.ports if (p.datapath_id, p.port) == (switch.datapath_id, port)]
        return row.tx_bytes


def grown(before: Counters, after: Counters, sensor_id: str) -> dict[Path, int]:
    """Bytes of a sensor that have reached the core in between, by path."""
    return {path: after.by_path[sensor_id][path] - before.by_path[sensor_id][path] for path in Path}


def routes(path: Path) -> dict[str, Path]:
    return {sensor.id: path for sensor in SCENARIO.sensors}


MIXED = {sensor.id: list(Path)[i % 2] for i, sensor in enumerate(SCENARIO.sensors)}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = Network(tmp_path_factory.mktemp("flows"))
    try:
        yield network
    finally:
        network.close()


def test_switches_hold_exactly_what_is_wanted_and_a_second_time_nothing_is_sent(network):
    wanted = desired_flows(network.wiring, MIXED)
    network.route(MIXED)
    held: dict[int, list] = {number: [] for number in network.ids}
    for flow in network.service.statistics().flows:
        held[flow.datapath_id].append(entry_from_proto(flow.entry))
    for number, entries in wanted.items():
        assert len(held[number]) == len(entries)
        assert set(held[number]) == set(entries)
    assert network.route(MIXED) == (0, 0, 0)


def test_what_a_switch_refuses_is_named_by_entry_and_error(network):
    network.route(MIXED)
    core = network.wiring.core.datapath_id
    table = desired_flows(network.wiring, MIXED)[core]
    bad = FlowEntry(1, 7, cookie(Kind.ROUTE), Match(ipv4_dst="10.66.0.99"), (Output(1),))  # an IPv4 field without IPv4
    (result,) = network.service.program({core: (*table, bad)}).switches
    assert (result.confirmed, result.error) == (False, f"{bad}: OFPET_BAD_MATCH(4) OFPBMC_BAD_PREREQ(9)")
    assert network.route(MIXED) == (0, 0, 0)


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
