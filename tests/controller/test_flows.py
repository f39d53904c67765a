"""Flow tables, checked with a second implementation: an interpreter that walks packets through the wired switches."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.flows import (
    COOKIE,
    COOKIE_MASK,
    RESERVED_PORTS,
    ArpReply,
    FlowEntry,
    FlowError,
    Kind,
    Match,
    Output,
    bytes_by_path,
    cookie,
    desired_flows,
    difference,
    entry_from_proto,
    entry_to_proto,
    installed_routes,
    is_ours,
    program_to_proto,
)
from proto import control_pb2
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


# --- The interpreter: OpenFlow 1.3.5 sections 5.1 to 5.12, as far as the entries use them ---------------------------

Packet = dict  # of OXM field names, without in_port


def ipv4(eth_src: str, eth_dst: str, src: str, dst: str) -> Packet:
    return {"eth_type": 0x0800, "eth_src": eth_src, "eth_dst": eth_dst, "ipv4_src": src, "ipv4_dst": dst}


def arp(eth_src: str, spa: str, tpa: str, op: int = 1, sha: str = "") -> Packet:
    fields = {"arp_op": op, "arp_spa": spa, "arp_tpa": tpa, "arp_sha": sha or eth_src, "arp_tha": "00:00:00:00:00:00"}
    return {"eth_type": 0x0806, "eth_src": eth_src, "eth_dst": "ff:ff:ff:ff:ff:ff", **fields}


def run_switch(entries, port: int, packet: Packet) -> list[tuple[int, Packet]]:
    """What leaves a switch: (port, packet) each."""
    table, out = 0, []
    while True:
        here = [e for e in entries if e.table_id == table and matches(e.match, port, packet)]
        if not here:
            return out  # table miss without entry: drop (section 5.4)
        best = max(here, key=lambda e: e.priority)
        assert [e.priority for e in here].count(best.priority) == 1, "two entries of one priority match"
        for action in best.actions:
            match action:
                case Output(number) if number != port:  # section 5.12: never back unless OFPP_IN_PORT says so
                    out.append((number, packet))
                case ArpReply(mac, address):
                    assert packet["eth_type"] == 0x0806
                    out.append((IN_PORT, answer(packet, mac, address)))
        if not best.goto_table:
            return out
        assert best.goto_table > table, "goto must go on"
        table = best.goto_table


def matches(match: Match, port: int, packet: Packet) -> bool:
    wanted = {name: getattr(match, name) for name in Match.__slots__ if name not in ("in_port", "other")}
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


def walk(wiring: Wiring, tables: dict[int, tuple[FlowEntry, ...]], switch: str, port: int, packet: Packet) -> Walk:
    """Let a packet in at a switch's port and follow every copy to its end."""
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
        for out, sent in run_switch(tables[ids[name]], port, packet):
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


# --- Reachability and isolation -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(routings())
def test_routed_sensors_reach_the_twin_by_their_path_alone_and_no_one_else_does(case):
    wiring, routes = case
    tables = desired_flows(wiring, routes)
    assert tables.keys() == {node.datapath_id for node in wiring.switches}
    for sensor in wiring.scenario.sensors:
        there, back = walk(wiring, tables, *up(wiring, sensor)), walk(wiring, tables, *down(wiring, sensor))
        if sensor.id in routes:
            way = expected_way(wiring, sensor, routes[sensor.id])
            assert (there.reached, there.passed) == ([("twin", up(wiring, sensor)[2])], way)
            assert (back.reached, back.passed) == ([(sensor.id, down(wiring, sensor)[2])], way[::-1])
        else:
            assert (there.reached, there.passed) == ([], [wiring.cells[sensor.cell].gateway.name])
            assert (back.reached, back.passed) == ([], ["core"])


@settings(max_examples=30, deadline=None)
@given(routings(), st.data())
def test_forged_and_stray_packets_are_dropped_where_they_enter(case, data):
    wiring, routes = case
    s, tables = wiring.scenario, desired_flows(wiring, routes)
    if not s.sensors:
        return
    one = data.draw(st.sampled_from(s.sensors))
    gateway, port, good = up(wiring, one)
    other_mac, other_ipv4 = "02:00:00:0f:00:01", "10.77.240.1"
    bad = [
        (gateway, port, good | {"eth_src": other_mac}),
        (gateway, port, good | {"ipv4_src": other_ipv4}),
        (gateway, port, good | {"ipv4_src": s.twin_ipv4}),
        (gateway, port, good | {"ipv4_dst": other_ipv4}),
        (gateway, port, good | {"eth_type": 0x86DD}),
        (gateway, 65_001, good),
        (gateway, 1, good),  # a sensor's packet that comes in by an uplink
        (gateway, port, good | {"eth_dst": "ff:ff:ff:ff:ff:ff", "ipv4_dst": "10.77.255.255"}),
        ("core", 1, down(wiring, one)[2] | {"eth_src": other_mac}),
        ("core", 1, down(wiring, one)[2] | {"ipv4_src": one.ipv4}),
        ("core", 65_001, good),
    ]
    bad += [(gateway, port, good | {"ipv4_src": x.ipv4, "eth_src": x.mac}) for x in s.sensors if x is not one]
    bad += [(gateway, port, good | {"ipv4_dst": x.ipv4, "eth_dst": x.mac}) for x in s.sensors if x is not one]
    for cell in wiring.cells.values():  # a sensor's packet on the core only by its own cell's ports
        if cell.cell != one.cell:
            bad += [("core", number, good) for number in (cell.core_to_base_station, cell.core_to_coordinator)]
    for packet in bad:
        result = walk(wiring, tables, *packet)
        assert (result.reached, len(result.passed)) == ([], 1), packet


@settings(max_examples=40, deadline=None)
@given(routings())
def test_arp_is_answered_by_the_first_switch_and_never_passed_on(case):
    wiring, routes = case
    s, tables = wiring.scenario, desired_flows(wiring, routes)
    for sensor in s.sensors:
        gateway, port, _ = up(wiring, sensor)
        result = walk(wiring, tables, gateway, port, arp(sensor.mac, sensor.ipv4, s.twin_ipv4))
        ((host, reply),) = result.reached
        assert (host, result.passed, reply["eth_dst"]) == (sensor.id, [gateway], sensor.mac)
        assert (reply["arp_op"], reply["arp_spa"], reply["arp_sha"]) == (2, s.twin_ipv4, s.twin_mac)
        assert (reply["arp_tpa"], reply["arp_tha"]) == (sensor.ipv4, sensor.mac)
        result = walk(wiring, tables, "core", 1, arp(s.twin_mac, s.twin_ipv4, sensor.ipv4))
        ((host, reply),) = result.reached
        assert (host, result.passed, reply["arp_sha"], reply["arp_spa"]) == ("twin", ["core"], sensor.mac, sensor.ipv4)
        forged = [
            arp(sensor.mac, sensor.ipv4, "10.77.240.9"),
            arp(sensor.mac, "10.77.240.9", s.twin_ipv4),
            arp("02:00:00:0f:00:01", sensor.ipv4, s.twin_ipv4),
            arp(sensor.mac, sensor.ipv4, s.twin_ipv4, sha="02:00:00:0f:00:01"),
            arp(sensor.mac, s.twin_ipv4, s.twin_ipv4),  # claims the twin's address
            arp(sensor.mac, sensor.ipv4, sensor.ipv4),  # gratuitous
            arp(sensor.mac, sensor.ipv4, s.twin_ipv4, op=2),
        ]
        assert all(not walk(wiring, tables, gateway, port, packet).reached for packet in forged)


@settings(max_examples=30, deadline=None)
@given(routings(changes=2))
def test_no_interleaving_of_a_change_leaves_a_packet_without_a_way(case):
    wiring, before, after = case
    old, new = desired_flows(wiring, before), desired_flows(wiring, after)
    changes = {number: difference(old[number], new[number]) for number in old}
    touched = [number for number in old if changes[number]]
    assert set(touched) <= {wiring.core.datapath_id, *(cell.gateway.datapath_id for cell in wiring.cells.values())}
    # Every state that a switch passes through. Between two switches all combinations can occur; of several gateways
    # each concerns its own sensors only, so one gateway and the core at a time are all there is.
    states = {number: prefixes(old[number], changes[number]) for number in old}
    core = wiring.core.datapath_id
    for cell in wiring.cells.values():
        lasting = [s for s in wiring.scenario.sensors_of[cell.cell] if s.id in before and s.id in after]
        for gateway_state, core_state in product(states[cell.gateway.datapath_id], states[core]):
            tables = new | {cell.gateway.datapath_id: gateway_state, core: core_state}
            for sensor in lasting:
                assert [host for host, _ in walk(wiring, tables, *up(wiring, sensor)).reached] == ["twin"]
                assert [host for host, _ in walk(wiring, tables, *down(wiring, sensor)).reached] == [sensor.id]


def prefixes(present, changes) -> list[tuple[FlowEntry, ...]]:
    """The table before, after each single flow-mod, in the order add, modify, delete."""
    table = {entry.slot: entry for entry in present}
    states = [tuple(table.values())]
    for entry in (*changes.add, *changes.modify):
        table[entry.slot] = entry
        states.append(tuple(table.values()))
    for entry in changes.delete:
        del table[entry.slot]
        states.append(tuple(table.values()))
    return states


# --- Difference -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(routings(changes=2))
def test_carrying_out_the_difference_gives_the_wanted_tables_and_a_second_one_is_empty(case):
    wiring, before, after = case
    old, new = desired_flows(wiring, before), desired_flows(wiring, after)
    for number in old:
        end = prefixes(old[number], difference(old[number], new[number]))[-1]
        assert set(end) == set(new[number])
        assert not difference(end, new[number])


@settings(max_examples=30, deadline=None)
@given(routings(changes=2))
def test_a_change_touches_only_the_routes_that_change(case):
    wiring, before, after = case
    old, new = desired_flows(wiring, before), desired_flows(wiring, after)
    moved = sum(before.get(s.id) != after.get(s.id) for s in wiring.scenario.sensors)
    changes = [difference(old[number], new[number]) for number in old]
    assert sum(len(c.add) + len(c.modify) + len(c.delete) for c in changes) == 2 * moved


ENTRY = FlowEntry(1, 100, cookie(Kind.ROUTE), Match(eth_type=0x0800, ipv4_src="10.77.0.2"), (Output(1),))


@pytest.mark.parametrize(
    "field, value",
    [("actions", (Output(2),)), ("actions", ()), ("goto_table", 2), ("cookie", cookie(Kind.DELIVER))],
)
def test_any_difference_in_the_same_slot_is_a_modification(field, value):
    wanted = replace(ENTRY, **{field: value})
    changes = difference([ENTRY], [wanted])
    assert (changes.add, changes.modify, changes.delete) == ((), (wanted,), ())


@pytest.mark.parametrize(
    "field, value", [("table_id", 2), ("priority", 99), ("match", Match(eth_type=0x0800, ipv4_src="10.77.0.3"))]
)
def test_another_slot_is_an_addition_and_a_deletion(field, value):
    wanted = replace(ENTRY, **{field: value})
    changes = difference([ENTRY], [wanted])
    assert (changes.add, changes.modify, changes.delete) == ((wanted,), (), (ENTRY,))


def test_foreign_entries_are_left_alone():
    foreign = replace(ENTRY, cookie=0x1234, priority=7)
    assert difference([foreign], []) == difference([], [])
    assert difference([foreign, ENTRY], []).delete == (ENTRY,)


def test_wanting_the_impossible_is_an_error():
    with pytest.raises(FlowError, match="not ours"):
        difference([], [replace(ENTRY, cookie=5)])
    with pytest.raises(FlowError, match="second entry"):
        difference([], [ENTRY, replace(ENTRY, actions=())])


# --- Tables ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(routings())
def test_every_entry_is_ours_valid_and_neither_floods_nor_asks_the_controller(case):
    wiring, routes = case
    for number, entries in desired_flows(wiring, routes).items():
        assert not difference([], entries).modify
        tables = {entry.table_id for entry in entries}
        drops = [e for e in entries if e.cookie == cookie(Kind.DROP)]
        assert [(e.table_id, e.priority, e.match, e.actions) for e in drops] == [(t, 0, Match(), ()) for t in tables]
        for entry in entries:
            assert is_ours(entry.cookie)
            assert all(0 < action.port < RESERVED_PORTS for action in entry.actions if isinstance(action, Output))
            assert entry_from_proto(entry_to_proto(entry)) == entry, number


def test_cookie_says_links_in_its_high_bits():
    assert COOKIE.to_bytes(8, "big")[:5] == b"LINKS"
    assert len({cookie(kind) for kind in Kind}) == len(Kind)
    assert all(cookie(kind) & COOKIE_MASK == COOKIE for kind in Kind)
    assert not is_ours(0)


def test_size_of_the_tables_of_a_known_city():
    wiring = Wiring(make_scenario([[3, 4, 5], [3]]))
    tables = desired_flows(wiring, {"s1": Path.SIXG, "s4": Path.ZIGBEE})
    sizes = {node.name: len(tables[node.datapath_id]) for node in wiring.switches}
    # gateway: 3 drops, 5 per sensor, 1 per route; core: 3 drops, 2 for the twin, 3 per sensor, 1 per route
    assert sizes == {
        "core": 3 + 2 + 4 * 3 + 2,
        "gw01": 3 + 15 + 1,
        "bs01": 3,
        "zb01": 5,
        "gw02": 9,
        "bs02": 3,
        "zb02": 5,
    }


def test_static_switches_do_not_depend_on_routes():
    wiring = Wiring(make_scenario([[3, 4]]))
    off, on = desired_flows(wiring, {}), desired_flows(wiring, {"s1": Path.SIXG, "s2": Path.ZIGBEE})
    cell = wiring.cells["c0"]
    assert all(off[node.datapath_id] == on[node.datapath_id] for node in (cell.base_station, cell.coordinator))


def test_routes_are_checked():
    wiring = Wiring(make_scenario([[3]]))
    with pytest.raises(FlowError, match="'s9'.*no such sensor"):
        desired_flows(wiring, {"s9": Path.SIXG})
    with pytest.raises(FlowError, match="'s1'.*path 0"):
        desired_flows(wiring, {"s1": 0})


# --- What switches report -------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(routings())
def test_routes_can_be_read_back_from_the_entries(case):
    wiring, routes = case
    rows = [(number, entry) for number, entries in desired_flows(wiring, routes).items() for entry in entries]
    assert installed_routes(wiring, rows) == routes


def test_of_a_program_that_was_cut_short_the_gateway_counts():
    wiring = Wiring(make_scenario([[3, 4, 5]]))
    core, gateway = wiring.core.datapath_id, wiring.cells["c0"].gateway.datapath_id
    old = desired_flows(wiring, {"s1": Path.SIXG, "s2": Path.SIXG})
    new = desired_flows(wiring, {"s1": Path.ZIGBEE, "s3": Path.SIXG})
    rows = [(gateway, entry) for entry in new[gateway]] + [(core, entry) for entry in old[core]]
    assert installed_routes(wiring, rows) == {"s1": Path.ZIGBEE, "s2": Path.SIXG, "s3": Path.SIXG}


def test_bytes_by_path_reads_the_cores_counters():
    wiring = Wiring(make_scenario([[3], [3]]))
    tables, rows, expected = desired_flows(wiring, {"s1": Path.SIXG}), [], {}
    for number, entries in tables.items():
        for i, entry in enumerate(entries):
            rows.append(control_pb2.FlowStatistics(datapath_id=number, entry=entry_to_proto(entry), bytes=1000 + i))
    ports = {2: ("s1", Path.SIXG), 3: ("s1", Path.ZIGBEE), 4: ("s2", Path.SIXG), 5: ("s2", Path.ZIGBEE)}
    for i, entry in enumerate(tables[wiring.core.datapath_id]):
        if entry.cookie == cookie(Kind.PATH):
            sensor, path = ports[entry.match.in_port]
            expected.setdefault(sensor, {})[path] = 1000 + i
    assert {sensor: set(paths) for sensor, paths in expected.items()} == {"s1": set(Path), "s2": set(Path)}
    assert bytes_by_path(wiring, rows) == expected


# --- Messages -------------------------------------------------------------------------------------------------------


def test_program_carries_complete_tables():
    wiring = Wiring(make_scenario([[3, 4]]))
    tables = desired_flows(wiring, {"s1": Path.SIXG})
    program = control_pb2.FlowProgram.FromString(program_to_proto(7, 8, tables).SerializeToString())
    assert (program.epoch, program.sequence) == (7, 8)
    assert {t.datapath_id: tuple(map(entry_from_proto, t.entries)) for t in program.tables} == tables


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"cookie": 7}, "cookie 0x7 is not ours"),
        ({"table_id": 255}, "table 255 must be 0 to 254"),
        ({"priority": 70_000}, "priority 70000 must be 0 to 65535"),
        ({"goto_table": 1}, "goto 1 must be a later table"),
        ({"match": Match(eth_src="02:00")}, "eth_src '02:00' must be six"),
        ({"match": Match(ipv4_src="10.0.0.300")}, "ipv4_src '10.0.0.300' must be an IPv4 address"),
        ({"match": Match(in_port=0xFFFFFFFD)}, "in_port 4294967293 must be a port of the switch"),
        ({"match": Match(arp_op=65_536)}, "arp_op 65536 must be"),
        ({"actions": (Output(0xFFFFFFFB),)}, "output 4294967291 must be a port of the switch"),  # OFPP_FLOOD
        ({"actions": (Output(0),)}, "output 0 must be"),
        ({"actions": (ArpReply("", "10.0.0.1"),)}, "arp_reply mac 'none'"),
        ({"actions": (ArpReply("02:00:00:00:00:01", ""),)}, "arp_reply ipv4 'none'"),
    ],
)
def test_unusable_entries_are_refused_by_name(change, complaint):
    with pytest.raises(FlowError, match=complaint):
        entry_from_proto(entry_to_proto(replace(ENTRY, **change)))


def test_an_action_of_no_kind_is_refused():
    message = entry_to_proto(ENTRY)
    message.actions.add()
    with pytest.raises(FlowError, match="no action set"):
        entry_from_proto(message)
