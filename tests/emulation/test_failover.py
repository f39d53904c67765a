"""A failure plan under traffic, on real Open vSwitch: links cut on either side and flapping, switches and the daemon
restarted, frozen and of the wrong version, the controller gone. Packets are counted one by one.

The streams are slow enough for the emulated Zigbee air (250 kbit/s for both directions); how fast failover is at 1,000
packets/s is measured by ``links eval failover``."""

import signal
import subprocess
import time

import pytest
from flow_network import SCENARIO, Network, routes

from controller.flows import desired_tables
from evaluation import udp_stream
from mininet_topos.topology import port_interface
from twin.path import Path
from twin.wiring import AIR_TX, TO_CORE, TO_GATEWAY, CellWiring, Wiring

pytestmark = pytest.mark.emulation

SENSOR = SCENARIO.sensors[0]
PER_SECOND = 100
# A packet is on its way for a few milliseconds, and the switches notice within some more; on a busy machine much more.
MOST_LOST = 25


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = Network(tmp_path_factory.mktemp("failover"))
    try:
        yield network
    finally:
        network.close()


@pytest.fixture
def echo(network):
    echo = udp_stream.Echo(SCENARIO.twin_ipv4)
    yield echo
    echo.close()


def link(name: str, up: bool) -> None:
    subprocess.run(["ip", "link", "set", name, "up" if up else "down"], check=True)


def cell() -> CellWiring:
    return Wiring(SCENARIO).cells[SENSOR.cell]


# The end that is taken down; the other end loses its link with it.
ENDS = {
    "gateway to base station": (Path.SIXG, cell().gateway.name, 1),
    "base station from gateway": (Path.SIXG, cell().base_station.name, TO_GATEWAY),
    "base station to core": (Path.SIXG, cell().base_station.name, TO_CORE),
    "core from base station": (Path.SIXG, "core", cell().core_to_base_station),
    "gateway to coordinator": (Path.ZIGBEE, cell().gateway.name, 2),
    "coordinator to core": (Path.ZIGBEE, cell().coordinator.name, TO_CORE),
    "air": (Path.ZIGBEE, cell().coordinator.name, AIR_TX),
}


def stream(network, echo, seconds: float) -> subprocess.Popen:
    return udp_stream.start(network.city.namespace_pid(SENSOR.id), echo, per_second=PER_SECOND, seconds=seconds)


def arrived(echo, number: int) -> None:
    """Until the stream has come so far."""
    deadline = time.monotonic() + 20
    while not echo.received or echo.received[-1] < number:
        assert time.monotonic() < deadline, f"the stream stopped at {echo.received[-1:]}"
        time.sleep(0.005)


@pytest.mark.parametrize("path", Path)
def test_cut_links_cost_a_few_packets_in_both_directions_and_their_return_none(network, echo, path):
    """Each link of the path, at either end, one after the other under one stream."""
    ends = [port_interface(switch, port) for of, switch, port in ENDS.values() if of is path]
    network.route(routes(path))
    before = network.counters()
    running = stream(network, echo, 1.0 + 0.8 * len(ends))
    cuts = []
    for i, interface in enumerate(ends):
        arrived(echo, 50 + 80 * i)
        cuts.append(echo.received[-1])
        link(interface, up=False)
        try:
            arrived(echo, 90 + 80 * i)
        finally:
            link(interface, up=True)
    sent, lost_up, lost = udp_stream.finish(running, echo)
    assert set(lost_up) <= set(lost)
    at_a_cut = [[n for n in lost if cut <= n <= cut + MOST_LOST] for cut in cuts]
    assert all(len(numbers) <= MOST_LOST for numbers in at_a_cut)
    assert sorted(lost) == sorted(n for numbers in at_a_cut for n in numbers), (cuts, lost)  # none elsewhere
    other = next(p for p in Path if p is not path)
    after = network.counters_when(lambda now: now.by_path[SENSOR.id][other] > before.by_path[SENSOR.id][other])
    assert after.by_path[SENSOR.id][path] > before.by_path[SENSOR.id][path]


def test_a_link_that_flaps_costs_a_few_packets_each_time(network, echo):
    network.route(routes(Path.SIXG))
    running, name = stream(network, echo, 2.0), port_interface(cell().gateway.name, 1)
    try:
        for number in range(30, 150, 30):
            arrived(echo, number)
            link(name, up=False)
            arrived(echo, number + 15)
            link(name, up=True)
    finally:
        link(name, up=True)
    sent, _, lost = udp_stream.finish(running, echo)
    assert sent == 200 and len(lost) <= 4 * MOST_LOST


def test_without_any_controller_links_are_failed_over_all_the_same(network, echo):
    network.route(routes(Path.SIXG))
    attached, name = len(network.service.hellos), port_interface(cell().base_station.name, TO_CORE)
    network.ryu.stop(signal.SIGKILL)
    try:
        running = stream(network, echo, 1.5)
        arrived(echo, 50)
        link(name, up=False)
        try:
            arrived(echo, 100)
        finally:
            link(name, up=True)
        sent, _, lost = udp_stream.finish(running, echo)
        assert sent == 150 and len(lost) <= MOST_LOST
    finally:
        network.restart_ryu()
    network.service.wait_attached(attached + 1)
    network.service.wait_connected(network.ids)
    assert network.route(routes(Path.SIXG)) == (0, 0, 0)


def test_a_frozen_controller_does_not_hold_up_traffic(network, echo):
    network.route(routes(Path.SIXG))
    network.ryu.process.send_signal(signal.SIGSTOP)
    try:
        running = stream(network, echo, 1.5)
        assert udp_stream.finish(running, echo) == (150, [], [])
    finally:
        network.ryu.process.send_signal(signal.SIGCONT)
    network.service.wait_connected(network.ids)
    assert network.route(routes(Path.SIXG)) == (0, 0, 0)


def test_a_bridge_that_speaks_another_version_only_is_named_and_joins_when_it_speaks_ours(network):
    network.route(routes(Path.SIXG))
    station = cell().base_station
    ovs("set", "Bridge", station.name, "protocols=OpenFlow10")
    try:
        network.service.wait_for(lambda: station.datapath_id not in network.service.connected(), 30)
        table = desired_tables(network.wiring, routes(Path.SIXG))[station.datapath_id]
        result = network.service.program({station.datapath_id: table})
        assert result.switches[0].error == "not connected"
    finally:
        ovs("set", "Bridge", station.name, "protocols=OpenFlow13")
    network.service.wait_connected([station.datapath_id])
    assert network.route(routes(Path.SIXG)) == (0, 0, 0)


def ovs(*arguments: str) -> None:
    subprocess.run(["ovs-vsctl", "--timeout=20", *arguments], check=True)


def test_after_a_restart_of_the_switch_daemon_all_flows_come_back_by_themselves(network):
    """Last: the daemon serves every bridge of the machine."""
    network.route(routes(Path.SIXG))
    assert network.ping(SENSOR.id) == 3
    restart = ["/usr/share/openvswitch/scripts/ovs-ctl", "--no-ovsdb-server", "restart", "--system-id=random"]
    subprocess.run(restart, check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while network.ping(SENSOR.id, count=1) != 1:
        assert time.monotonic() < deadline, "no packet gets through"
    network.service.wait_connected(network.ids)
    assert network.route(routes(Path.SIXG)) == (0, 0, 0)
