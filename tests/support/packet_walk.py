"""A second implementation of the data plane: an interpreter that walks packets through the wired switches, by OpenFlow
1.3.5 sections 5.1 to 5.12 as far as our entries use them; and scenarios and routes to try it with."""

from dataclasses import dataclass

from hypothesis import strategies as st

from controller.entries import ArpReply, Match, Output, SendBack, SwitchTable, ToGroup
from twin.path import Path
from twin.scenario import Cell, Coordinator, District, Radio, Scenario, Sensor
from twin.wiring import Wiring

IN_PORT = -1  # of an interpreter's output


def make_scenario(sensors_per_cell: list[list[int]]) -> Scenario:
    """Cells with sensors on the given gateway ports."""
    cells = [Cell(f"c{i}", "d", 9.19, 45.46, 25.0, 1 + i, 50, 1e8) for i in range(len(sensors_per_cell))]
    sensors, number = [], 0
    for cell, ports in zip(cells, sensors_per_cell, strict=True):
        for port in ports:
            number += 1
            address = f"10.77.{number // 200}.{number % 200 + 2}"
            mac = f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
            sensors.append(Sensor(f"s{number}", "rainfall", cell.id, "d", 9.19, 45.46, 2.0, address, mac, port))
    return Scenario(
        "Test", "Europe/Rome", "2013-11-18T12:00:00+01:00", 1, "10.77.0.0/16", "10.77.250.1", "02:00:00:01:00:01",
        Radio(3.5e9, 180e3, 5e-4, 7.0, 23.0, -5.0), (District("d", 9.19, 45.46, 900.0),), tuple(cells),
        tuple(Coordinator(f"z{i}", cell.id, 9.19, 45.46, 15) for i, cell in enumerate(cells)), (), tuple(sensors),
    )  # fmt: skip


@st.composite
def scenarios(draw) -> Wiring:
    ports = st.lists(st.integers(3, 65_000), max_size=4, unique=True)
    return Wiring(make_scenario(draw(st.lists(ports, min_size=1, max_size=3))))


@st.composite
def routings(draw, changes: int = 1):
    """A wiring and so many sets of routes."""
    wiring = draw(scenarios())
    names = [sensor.id for sensor in wiring.scenario.sensors]
    paths = st.sampled_from([None, *Path])
    sets = []
    for _ in range(changes):
        chosen = draw(st.lists(paths, min_size=len(names), max_size=len(names)))
        sets.append({name: path for name, path in zip(names, chosen, strict=True) if path})
    return wiring, *sets


Packet = dict  # of OXM field names, without in_port


def ipv4(eth_src: str, eth_dst: str, src: str, dst: str) -> Packet:
    return {"eth_type": 0x0800, "eth_src": eth_src, "eth_dst": eth_dst, "ipv4_src": src, "ipv4_dst": dst}


def arp(eth_src: str, spa: str, tpa: str, op: int = 1, sha: str = "") -> Packet:
    fields = {"arp_op": op, "arp_spa": spa, "arp_tpa": tpa, "arp_sha": sha or eth_src, "arp_tha": "00:00:00:00:00:00"}
    return {"eth_type": 0x0806, "eth_src": eth_src, "eth_dst": "ff:ff:ff:ff:ff:ff", **fields}


def run_switch(held: SwitchTable, port: int, packet: Packet, dead=frozenset()) -> list[tuple[int, Packet]]:
    """What leaves a switch with some ports dead: (port, packet) each. Meters let everything pass."""
    table, out = 0, []
    while True:
        here = [e for e in held.entries if e.table_id == table and matches(e.match, port, packet)]
        if not here:
            return out  # table miss without entry: drop (section 5.4)
        best = max(here, key=lambda e: e.priority)
        assert [e.priority for e in here].count(best.priority) == 1, "two entries of one priority match"
        out += run_actions(best.actions, held, port, packet, dead)
        if not best.goto_table:
            return out
        assert best.goto_table > table, "goto must go on"
        table = best.goto_table


def run_actions(actions, held: SwitchTable, port: int, packet: Packet, dead) -> list[tuple[int, Packet]]:
    out = []
    for action in actions:
        match action:
            case Output(number) if number != port:  # section 5.12: never back unless OFPP_IN_PORT says so
                out += [] if number in dead else [(number, packet)]
            case ArpReply(mac, address):
                assert packet["eth_type"] == 0x0806
                out.append((IN_PORT, answer(packet, mac, address)))
            case SendBack(dscp):
                out += [] if port in dead else [(IN_PORT, packet | {"ip_dscp": dscp})]
            case ToGroup(number):
                (group,) = [one for one in held.groups if one.group_id == number]
                alive = [bucket for bucket in group.buckets if bucket.watch_port not in dead]  # section 5.6.1
                out += run_actions(alive[0].actions, held, port, packet, dead) if alive else []
    return out


def matches(match: Match, port: int, packet: Packet) -> bool:
    wanted = {name: getattr(match, name) for name in match.fields if name != "in_port"}
    fits = all(packet.get(name) == value for name, value in wanted.items() if value)
    return fits and match.in_port in (0, port) and not match.other


def answer(packet: Packet, mac: str, address: str) -> Packet:
    return {
        "eth_type": 0x0806, "eth_src": mac, "eth_dst": packet["eth_src"], "arp_op": 2, "arp_sha": mac,
        "arp_spa": address, "arp_tha": packet["arp_sha"], "arp_tpa": packet["arp_spa"],
    }  # fmt: skip


@dataclass
class Walk:
    """Where a packet went: hosts reached as (host, packet), and switches passed in order."""

    reached: list[tuple[str, Packet]]
    passed: list[str]


def walk(
    wiring: Wiring, tables: dict[int, SwitchTable], switch: str, port: int, packet: Packet, dead=frozenset()
) -> Walk:
    """Let a packet in at a switch's port and follow every copy to its end. ``dead``: ports, as (switch, port)."""
    ids = {node.name: node.datapath_id for node in wiring.switches}
    peer = {}
    for link in wiring.links:
        peer[link.a, link.a_port] = link.b, link.b_port
        if link.b_port:
            peer[link.b, link.b_port] = link.a, link.a_port
    result, waiting = Walk([], []), [(switch, port, packet)]
    while waiting:
        name, port, packet = waiting.pop()
        result.passed.append(name)
        assert len(result.passed) < 20, f"a loop: {result.passed}"
        here = {number for at, number in dead if at == name}
        for out, sent in run_switch(tables[ids[name]], port, packet, here):
            b, b_port = peer[name, port if out == IN_PORT else out]
            if b_port:
                waiting.append((b, b_port, sent))
            else:
                result.reached.append((b, sent))
    return result


def up(wiring: Wiring, sensor: Sensor) -> tuple[str, int, Packet]:
    s = wiring.scenario
    return wiring.cells[sensor.cell].gateway.name, sensor.port, ipv4(sensor.mac, s.twin_mac, sensor.ipv4, s.twin_ipv4)


def down(wiring: Wiring, sensor: Sensor) -> tuple[str, int, Packet]:
    s = wiring.scenario
    return "core", 1, ipv4(s.twin_mac, sensor.mac, s.twin_ipv4, sensor.ipv4)


def expected_way(wiring: Wiring, sensor: Sensor, path: Path) -> list[str]:
    cell = wiring.cells[sensor.cell]
    middle = [cell.base_station.name] if path is Path.SIXG else [cell.coordinator.name] * 2  # its air is a loop
    return [cell.gateway.name, *middle, "core"]


def links_of(cell) -> dict[str, tuple[Path, set[tuple[str, int]]]]:
    """The links of a cell that can be cut: the path each belongs to, and its two ports."""
    gateway, station, coordinator = cell.gateway.name, cell.base_station.name, cell.coordinator.name
    return {
        "gateway - base station": (Path.SIXG, {(gateway, 1), (station, 1)}),
        "base station - core": (Path.SIXG, {(station, 2), ("core", cell.core_to_base_station)}),
        "gateway - coordinator": (Path.ZIGBEE, {(gateway, 2), (coordinator, 1)}),
        "coordinator - core": (Path.ZIGBEE, {(coordinator, 2), ("core", cell.core_to_coordinator)}),
        "air": (Path.ZIGBEE, {(coordinator, 3), (coordinator, 4)}),
    }
