"""The wiring of a scenario as a Mininet topology: hosts, switches and links with the rates of both radios."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mininet.link import Intf, Link
from mininet.node import Host, OVSSwitch, RemoteController
from mininet.topo import Topo
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from mininet_topos import ovs
from mininet_topos.linux import (
    disable_ipv6,
    disable_offloads,
    has_netem,
    in_namespace,
    set_delay,
    set_rate,
)
from mininet_topos.run_directory import CityError, alias_of
from mininet_topos.zigbee_air import air_rate_bps
from twin.scenario import Scenario, load_scenario
from twin.wiring import AIR_TX, GATEWAY_TO_BASE_STATION, TO_CORE, TO_GATEWAY, Wiring
from twin.wiring import Link as Wire

# A sensor without a grant may send this much: the bit rate of IEEE 802.15.4, so that its Zigbee path is limited by its
# coordinator's air alone.
IDLE_RATE_BPS = 250_000.0
# Queues are long: a CoAP message that has to wait is late, one that is dropped costs a timeout of seconds.
QUEUE_BYTES = 256 * 1024
# One way between base station and core, where the kernel can delay (netem).
BACKHAUL_DELAY_S = 0.001
TWIN_INTERFACE = "twin-eth0"
SENSOR_INTERFACE = "eth0"
# Controllers: at most 1 s between attempts to connect; a silent one is given up after 5 to 10 s.
MAX_BACKOFF_MS, INACTIVITY_PROBE_MS = 1000, 5000


class CityInterface(Intf):
    """An interface configured by netlink in its node's namespace, in one visit.

    ``ip``: address and prefix length; ``alias`` marks whose it is; ``rate_bps`` (0: none) with ``queue_bytes``, or
    ``delay_s``, shape what it sends.
    """

    def config(self, ip="", alias="", rate_bps=0.0, queue_bytes=QUEUE_BYTES, delay_s=0.0, **_):
        self.rate_bps, self.queue_bytes, self.delay_s = rate_bps, queue_bytes, delay_s
        with _netlink_of(self.node) as netlink:
            disable_ipv6(self.name)
            disable_offloads(self.name)
            index = socket.if_nametoindex(self.name)
            netlink.link("set", index=index, state="up", **({"ifalias": alias} if alias else {}))
            if ip:
                self.ip, self.prefixLen = ip.split("/")
                netlink.addr("add", index=index, address=self.ip, prefixlen=int(self.prefixLen))
            if self.node.inNamespace:
                netlink.link("set", index=socket.if_nametoindex("lo"), state="up")
                self._shape(netlink, index)
        return {}

    def shape(self) -> None:
        """Put a switch port's queue in place, after Open vSwitch took the port: it clears what it finds there."""
        if self.rate_bps or self.delay_s:
            with _netlink_of(self.node) as netlink:
                self._shape(netlink, socket.if_nametoindex(self.name))

    def _shape(self, netlink: IPRoute, index: int) -> None:
        if self.rate_bps:
            set_rate(netlink, index, self.rate_bps, self.queue_bytes)
        elif self.delay_s and has_netem():
            set_delay(netlink, index, self.delay_s)

    def delete(self):
        with _netlink_of(self.node) as netlink:
            for index in netlink.link_lookup(ifname=self.name):
                netlink.link("del", index=index)
        self.node.delIntf(self)
        self.link = None


class CityLink(Link):
    """A veth pair made by netlink, its second end directly in its node's namespace."""

    def __init__(self, node1, node2, **params):
        # Mininet's network passes its own default interface class.
        super().__init__(node1, node2, **{**params, "intf": CityInterface})

    @classmethod
    def makeIntfPair(cls, intfname1, intfname2, addr1=None, addr2=None, node1=None, node2=None, deleteIntfs=True):
        peer = {"ifname": intfname2, "address": addr2}
        if node2.inNamespace:
            peer["net_ns_pid"] = node2.pid
        try:
            with _netlink_of(node1) as netlink:
                netlink.link("add", ifname=intfname1, kind="veth", address=addr1, peer=peer)
        except NetlinkError as error:
            raise CityError(f"interfaces {intfname1} and {intfname2} can't be made: {error}") from None


class CityHost(Host):
    """A sensor's host in its own namespace, or (``inNamespace`` False) the twin's end in the root namespace."""

    def config(self, **_):
        return {}  # its interface is configured with its link


class CitySwitch(OVSSwitch):
    """An Open vSwitch bridge with OpenFlow 1.3 that forwards only what it is told. Started in one transaction with all
    others; never takes over a bridge that exists."""

    def __init__(self, name, owner="", **params):
        self.owner = owner
        super().__init__(name, failMode="secure", protocols="OpenFlow13", **params)

    def start(self, controllers):
        """Queue the commands; batchStartup carries them out."""
        targets = [f"{c.protocol}:{c.IP()}:{c.port}" for c in controllers]
        settings = [
            f"datapath_type={ovs.datapath_type()}",
            "fail_mode=secure",
            "protocols=OpenFlow13",
            f"other_config:datapath-id={self.dpid}",
            "other_config:disable-in-band=true",
            f"other_config:dp-desc={self.name}",
        ]
        if self.owner:
            settings.append(f"external_ids:{ovs.OWNER_KEY}={self.owner}")
        self.commands = [["add-br", self.name], ["set", "Bridge", self.name, *settings]]
        for i, target in enumerate(targets):
            handle = f"@{self.name}-{i}"
            row = [f'target="{target}"', f"max_backoff={MAX_BACKOFF_MS}", f"inactivity_probe={INACTIVITY_PROBE_MS}"]
            self.commands.append([f"--id={handle}", "create", "Controller", *row])
            self.commands.append(["add", "Bridge", self.name, "controller", handle])
        for port, interface in self.data_ports():
            self.commands.append(["add-port", self.name, interface.name])
            self.commands.append(["set", "Interface", interface.name, f"ofport_request={port}"])
        if not self.batch:
            self.batchStartup([self])

    def data_ports(self) -> list[tuple[int, CityInterface]]:
        return [(port, interface) for port, interface in self.intfs.items() if interface.name != "lo"]

    @classmethod
    def batchStartup(cls, switches, run=None):
        ovs.transact(command for switch in switches for command in switch.commands)
        ports = [(port, interface) for switch in switches for port, interface in switch.data_ports()]
        ovs.check_ports({interface.name: port for port, interface in ports})
        for _, interface in ports:
            interface.shape()
        return switches


class CityController(RemoteController):
    """Where the switches look for their controller. It may come later: they keep trying."""

    def checkListening(self):
        pass


class CityTopo(Topo):
    """The wiring of a scenario, as Mininet builds it. ``scenario`` is a Scenario, a file or a bundled name.

    ``owner`` marks bridges and interfaces as part of the city of that name. Raises ScenarioError, OSError, CityError.
    """

    def build(self, scenario: Scenario | Path | str = "milan", owner: str = "") -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        self.wiring = Wiring(self.scenario)
        self.alias = alias_of(owner) if owner else ""
        self._macs = {switch.name: switch.datapath_id for switch in self.wiring.switches}
        self._shapes = _shapes(self.wiring)
        self._check_names()
        self.addHost("twin", cls=CityHost, inNamespace=False, ip=self._address(self.scenario.twin_ipv4))
        for sensor in self.scenario.sensors:
            self.addHost(sensor.id, cls=CityHost, ip=self._address(sensor.ipv4))
        for switch in self.wiring.switches:
            self.addSwitch(switch.name, cls=CitySwitch, dpid=f"{switch.datapath_id:016x}", owner=owner)
        for wire in self.wiring.links:
            self._add_wire(wire)

    def _check_names(self) -> None:
        taken = {"twin", *(switch.name for switch in self.wiring.switches)}
        for sensor in self.scenario.sensors:
            if sensor.id in taken:
                raise CityError(f"sensors: id {sensor.id!r} is the name of a node of the network; give it another id")

    def _add_wire(self, wire: Wire) -> None:
        mark = {"alias": self.alias} if self.alias else {}
        first = mark | self._shapes.get((wire.a, wire.a_port), {})
        if wire.b == "twin":
            second = mark | {"ip": self._address(self.scenario.twin_ipv4)}
            mac, name = self.scenario.twin_mac, TWIN_INTERFACE
        elif wire.b in self.scenario.sensor:
            sensor = self.scenario.sensor[wire.b]
            second = {"ip": self._address(sensor.ipv4), "rate_bps": IDLE_RATE_BPS}
            mac, name = sensor.mac, SENSOR_INTERFACE
        else:
            second = mark | self._shapes.get((wire.b, wire.b_port), {})
            mac, name = self._port_mac(wire.b, wire.b_port), port_interface(wire.b, wire.b_port)
        self.addLink(
            wire.a,
            wire.b,
            cls=CityLink,
            port1=wire.a_port,
            port2=wire.b_port,
            addr1=self._port_mac(wire.a, wire.a_port),
            addr2=mac,
            intfName1=port_interface(wire.a, wire.a_port),
            intfName2=name,
            params1=first,
            params2=second,
        )

    def _address(self, ipv4: str) -> str:
        return f"{ipv4}/{self.scenario.subnet.partition('/')[2]}"

    def _port_mac(self, name: str, port: int) -> str:
        """A locally administered address for a switch port, the same at every start."""
        role, index = self._macs[name] >> 32, self._macs[name] & 0xFFFF
        return "0a:" + bytes([role, *index.to_bytes(2, "big"), *port.to_bytes(2, "big")]).hex(":")


def port_interface(switch: str, port: int) -> str:
    """Name of the interface of a switch port."""
    return f"{switch}-eth{port}"


def root_interfaces(wiring: Wiring) -> tuple[str, ...]:
    """Names of all interfaces that a city puts into the root namespace."""
    names = [TWIN_INTERFACE]
    for wire in wiring.links:
        names.append(port_interface(wire.a, wire.a_port))
        if wire.b_port:
            names.append(port_interface(wire.b, wire.b_port))
    return tuple(names)


def _shapes(wiring: Wiring) -> dict[tuple[str, int], dict]:
    """Rate or delay of what a switch port sends, by switch and port."""
    shapes: dict[tuple[str, int], dict] = {}
    for cell in wiring.cells.values():
        capacity_bps = wiring.scenario.cell[cell.cell].capacity_bps
        radio = {"rate_bps": capacity_bps, "queue_bytes": max(QUEUE_BYTES, int(capacity_bps / 8 * 0.05))}
        # Both directions of the radio link between a gateway's sensors and their base station.
        shapes[cell.gateway.name, GATEWAY_TO_BASE_STATION] = radio
        shapes[cell.base_station.name, TO_GATEWAY] = radio
        # One queue for both directions: the coordinator sends everything over this loop.
        shapes[cell.coordinator.name, AIR_TX] = {"rate_bps": air_rate_bps()}
        backhaul = {"delay_s": BACKHAUL_DELAY_S}
        shapes[wiring.core.name, cell.core_to_base_station] = backhaul
        shapes[cell.base_station.name, TO_CORE] = backhaul
    return shapes


_threads = threading.local()


@contextmanager
def _netlink_of(node) -> Iterator[IPRoute]:
    """Netlink in the node's namespace; for the root namespace one connection per thread is kept."""
    if node.inNamespace:
        with in_namespace(node.pid), IPRoute() as netlink:
            yield netlink
    else:
        if not hasattr(_threads, "root"):
            _threads.root = IPRoute()
        yield _threads.root
