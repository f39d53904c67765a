"""Flow tables, checked with a second implementation: an interpreter that walks packets through the wired switches."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_walk import arp, down, expected_way, links_of, make_scenario, routings, up, walk

from controller.entries import (
    COOKIE,
    COOKIE_MASK,
    ArpReply,
    Bucket,
    Changes,
    FlowEntry,
    FlowError,
    Group,
    Kind,
    Match,
    Meter,
    Output,
    SendBack,
    SwitchTable,
    ToGroup,
    cookie,
    difference,
    stages,
)
from controller.flow_messages import entry_to_proto, program_to_proto, table_from_proto
from controller.flows import bytes_by_path, desired_tables, installed_routes
from controller.pipeline import REROUTED_DSCP, RESERVED_PORTS, check
from proto import control_pb2
from twin.path import Path
from twin.wiring import Wiring

# --- Reachability and isolation -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(routings())
def test_routed_sensors_reach_the_twin_by_their_path_alone_and_no_one_else_does(case):
    wiring, routes = case
    tables = desired_tables(wiring, routes)
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
    s, tables = wiring.scenario, desired_tables(wiring, routes)
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
    s, tables = wiring.scenario, desired_tables(wiring, routes)
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
    old, new = desired_tables(wiring, before), desired_tables(wiring, after)
    changes = {number: difference(old[number], new[number]) for number in old}
    touched = [number for number in old if changes[number]]
    assert set(touched) <= {wiring.core.datapath_id, *(cell.gateway.datapath_id for cell in wiring.cells.values())}
    # Every state that a switch passes through. Between two switches all combinations can occur; of several gateways
    # each concerns its own sensors only, so one gateway and the core at a time are all there is.
    states = {number: [*prefixes(old[number], changes[number])] for number in old}
    core = wiring.core.datapath_id
    for cell in wiring.cells.values():
        lasting = [s for s in wiring.scenario.sensors_of[cell.cell] if s.id in before and s.id in after]
        for gateway_state, core_state in product(states[cell.gateway.datapath_id], states[core]):
            tables = new | {cell.gateway.datapath_id: gateway_state, core: core_state}
            for sensor in lasting:
                assert [host for host, _ in walk(wiring, tables, *up(wiring, sensor)).reached] == ["twin"]
                assert [host for host, _ in walk(wiring, tables, *down(wiring, sensor)).reached] == [sensor.id]


def prefixes(present: SwitchTable, changes: Changes) -> list[SwitchTable]:
    """The table before, and after each single message, stage by stage in the order add, modify, delete."""
    table = {item.slot: item for item in present.items}
    states = [present]
    for stage in stages(changes):
        for item in (*stage.add, *stage.modify):
            table[item.slot] = item
            states.append(SwitchTable.of(table.values()))
        for item in stage.delete:
            del table[item.slot]
            states.append(SwitchTable.of(table.values()))
    return states


# --- Failover ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(routings(), st.data())
def test_whatever_links_are_cut_packets_arrive_while_a_path_is_whole_and_never_circle(case, data):
    """Nobody changes an entry: it is the switches that know. ``walk`` fails on a loop."""
    wiring, routes = case
    cell = wiring.cells[data.draw(st.sampled_from([cell.id for cell in wiring.scenario.cells]))]
    avoided = data.draw(st.sets(st.sampled_from([(cell.cell, path) for path in Path])))
    tables, links = desired_tables(wiring, routes, avoided), links_of(cell)
    for cut in product((False, True), repeat=len(links)):
        broken = [link for link, is_cut in zip(links.values(), cut, strict=True) if is_cut]
        dead = {port for _, ports in broken for port in ports}
        whole = set(Path) - {path for path, _ in broken}
        for sensor in wiring.scenario.sensors:
            if sensor.id not in routes:
                continue
            there = walk(wiring, tables, *up(wiring, sensor), dead)
            back = walk(wiring, tables, *down(wiring, sensor), dead)
            if sensor.cell != cell.cell or whole:
                assert [host for host, _ in there.reached] == ["twin"]
                assert [host for host, _ in back.reached] == [sensor.id]
            else:
                assert there.reached == back.reached == []
            middle = {cell.base_station.name, cell.coordinator.name} if sensor.cell == cell.cell else set()
            for result in (there, back):
                marked = [packet.get("ip_dscp") for _, packet in result.reached]
                assert marked in ([], [None], [REROUTED_DSCP])
                if len(whole) == 2 and middle & set(result.passed):
                    assert marked == [None] and len(middle & set(result.passed)) == 1


@settings(max_examples=15, deadline=None)
@given(routings(), st.data())
def test_an_avoided_path_is_left_alone_while_there_is_another(case, data):
    wiring, routes = case
    avoided = data.draw(st.sets(st.sampled_from([(cell.id, path) for cell in wiring.scenario.cells for path in Path])))
    tables = desired_tables(wiring, routes, avoided)
    for sensor in wiring.scenario.sensors:
        if sensor.id in routes:
            usable = [path for path in Path if (sensor.cell, path) not in avoided]
            path = routes[sensor.id] if routes[sensor.id] in usable or not usable else usable[0]
            way = expected_way(wiring, sensor, path)
            assert walk(wiring, tables, *up(wiring, sensor)).passed == way
            assert walk(wiring, tables, *down(wiring, sensor)).passed == way[::-1]


def test_avoiding_a_path_changes_two_groups_and_nothing_else():
    wiring = Wiring(make_scenario([[3, 4], [3]]))
    routes = {sensor.id: Path.SIXG for sensor in wiring.scenario.sensors}
    old, new = desired_tables(wiring, routes), desired_tables(wiring, routes, {("c0", Path.SIXG)})
    changes = {number: difference(old[number], new[number]) for number in old}
    assert {number: (c.add, c.delete) for number, c in changes.items() if c.add or c.delete} == {}
    touched = {number: [type(one) for one in c.modify] for number, c in changes.items() if c.modify}
    assert touched == {wiring.core.datapath_id: [Group], wiring.cells["c0"].gateway.datapath_id: [Group]}


def test_a_sensor_may_send_as_much_as_its_cell_carries():
    wiring = Wiring(make_scenario([[3]]))
    (meter,) = desired_tables(wiring, {})[wiring.cells["c0"].gateway.datapath_id].meters
    assert (meter.rate_kbps, meter.burst_kbits) == (100_000, 10_000)  # 1e8 bit/s, and a tenth of a second of it


# --- Difference -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(routings(changes=2))
def test_carrying_out_the_difference_gives_the_wanted_tables_and_a_second_one_is_empty(case):
    wiring, before, after = case
    old, new = desired_tables(wiring, before), desired_tables(wiring, after)
    for number in old:
        end = prefixes(old[number], difference(old[number], new[number]))[-1]
        assert set(end.items) == set(new[number].items)
        assert not difference(end, new[number])


@settings(max_examples=30, deadline=None)
@given(routings(changes=2))
def test_a_change_touches_only_the_routes_that_change(case):
    wiring, before, after = case
    old, new = desired_tables(wiring, before), desired_tables(wiring, after)
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
    changes = difference(SwitchTable((ENTRY,)), SwitchTable((wanted,)))
    assert (changes.add, changes.modify, changes.delete) == ((), (wanted,), ())


@pytest.mark.parametrize(
    "field, value", [("table_id", 2), ("priority", 99), ("match", Match(eth_type=0x0800, ipv4_src="10.77.0.3"))]
)
def test_another_slot_is_an_addition_and_a_deletion(field, value):
    wanted = replace(ENTRY, **{field: value})
    changes = difference(SwitchTable((ENTRY,)), SwitchTable((wanted,)))
    assert (changes.add, changes.modify, changes.delete) == ((wanted,), (), (ENTRY,))


NOTHING = SwitchTable()


def test_foreign_items_are_left_alone():
    foreign = replace(ENTRY, cookie=0x1234, priority=7)
    table = SwitchTable((foreign, ENTRY), (Group(7, ()),), (Meter(7, 1, 1),))
    assert difference(replace(table, entries=(foreign,)), NOTHING) == difference(NOTHING, NOTHING)
    assert difference(table, NOTHING).delete == (ENTRY,)


def test_wanting_the_impossible_is_an_error():
    for table in (
        SwitchTable((replace(ENTRY, cookie=5),)),
        SwitchTable((), (Group(5, ()),)),
        SwitchTable((), (), (Meter(5, 1, 1),)),
    ):
        with pytest.raises(FlowError, match="not ours"):
            difference(NOTHING, table)
    with pytest.raises(FlowError, match="second one"):
        difference(NOTHING, SwitchTable((ENTRY, replace(ENTRY, actions=()))))
    circle = tuple(Group(0x4C000000 + i, (Bucket(1, (ToGroup(0x4C000001 - i),)),)) for i in (0, 1))
    with pytest.raises(FlowError, match="in a circle"):
        difference(NOTHING, SwitchTable((), circle))


@pytest.mark.parametrize(
    "before, after",
    [
        (Group(0x4C000001, (Bucket(1, (Output(1),)),)), Group(0x4C000001, (Bucket(2, (Output(1),)),))),
        (Group(0x4C000001, (Bucket(1, (Output(1),)),), "of type 0"), Group(0x4C000001, (Bucket(1, (Output(1),)),))),
        (Meter(0x30001, 5, 1), Meter(0x30001, 6, 1)),
        (replace(ENTRY, idle_timeout=3), ENTRY),
        (replace(ENTRY, hard_timeout=3), ENTRY),
        (replace(ENTRY, flags=1), ENTRY),
        (replace(ENTRY, meter_id=0x30001), ENTRY),
    ],
)
def test_every_attribute_of_an_item_counts(before, after):
    assert difference(SwitchTable.of([before]), SwitchTable.of([after])) == Changes((), (after,), ())


def test_nothing_comes_before_what_it_needs_nor_goes_after_it():
    air, on = Group(0x4C010001, (Bucket(3, (Output(3),)),)), Group(0x4C000002, (Bucket(2, (ToGroup(0x4C010001),)),))
    entry = replace(ENTRY, actions=(ToGroup(0x4C000002),), meter_id=0x30001, cookie=cookie(Kind.ADMIT))
    table = SwitchTable((entry,), (on, air), (Meter(0x30001, 5, 1),))
    order = (Meter(0x30001, 5, 1), air, on, entry)
    assert difference(NOTHING, table).add == order
    assert difference(table, NOTHING).delete == order[::-1]


# --- Tables ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(routings())
def test_every_table_fits_its_pipeline_and_neither_floods_nor_asks_the_controller(case):
    wiring, routes = case
    for number, table in desired_tables(wiring, routes).items():
        check(number, table)
        tables = {entry.table_id for entry in table.entries}
        drops = [e for e in table.entries if e.kind == Kind.DROP]
        assert [(e.table_id, e.priority, e.match, e.actions) for e in drops] == [(t, 0, Match(), ()) for t in tables]
        assert all(item.is_ours for item in table.items)
        actions = [a for e in table.entries for a in e.actions]
        actions += [a for group in table.groups for bucket in group.buckets for a in bucket.actions]
        assert all(0 < action.port < RESERVED_PORTS for action in actions if isinstance(action, Output))


def test_cookie_says_links_in_its_high_bits():
    assert COOKIE.to_bytes(8, "big")[:5] == b"LINKS"
    assert len({cookie(kind) for kind in Kind}) == len(Kind)
    assert all(cookie(kind) & COOKIE_MASK == COOKIE for kind in Kind)
    assert not replace(ENTRY, cookie=0).is_ours


def test_size_of_the_tables_of_a_known_city():
    wiring = Wiring(make_scenario([[3, 4, 5], [3]]))
    tables = desired_tables(wiring, {"s1": Path.SIXG, "s4": Path.ZIGBEE})
    held = {node.name: tables[node.datapath_id] for node in wiring.switches}
    # gateway: 3 drops, 2 for what came back, 5 per sensor, 1 per route; core: 3 drops, 2 for the twin, 2 per cell for
    # what came back, 3 per sensor, 1 per route
    sizes = {name: (len(t.entries), len(t.groups), len(t.meters)) for name, t in held.items()}
    assert sizes == {
        "core": (3 + 2 + 2 * 2 + 4 * 3 + 2, 4, 0),
        "gw01": (3 + 2 + 15 + 1, 2, 3),
        "bs01": (5, 2, 0),
        "zb01": (7, 4, 0),
        "gw02": (3 + 2 + 5 + 1, 2, 1),
        "bs02": (5, 2, 0),
        "zb02": (7, 4, 0),
    }


def test_static_switches_do_not_depend_on_routes():
    wiring = Wiring(make_scenario([[3, 4]]))
    off, on = desired_tables(wiring, {}), desired_tables(wiring, {"s1": Path.SIXG, "s2": Path.ZIGBEE})
    cell = wiring.cells["c0"]
    assert all(off[node.datapath_id] == on[node.datapath_id] for node in (cell.base_station, cell.coordinator))


def test_routes_are_checked():
    wiring = Wiring(make_scenario([[3]]))
    with pytest.raises(FlowError, match="'s9'.*no such sensor"):
        desired_tables(wiring, {"s9": Path.SIXG})
    with pytest.raises(FlowError, match="'s1'.*path 0"):
        desired_tables(wiring, {"s1": 0})


# --- What switches report -------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(routings())
def test_routes_can_be_read_back_from_the_entries(case):
    wiring, routes = case
    rows = [(number, entry) for number, table in desired_tables(wiring, routes).items() for entry in table.entries]
    assert installed_routes(wiring, rows) == routes


def test_of_a_program_that_was_cut_short_the_gateway_counts():
    wiring = Wiring(make_scenario([[3, 4, 5]]))
    core, gateway = wiring.core.datapath_id, wiring.cells["c0"].gateway.datapath_id
    old = desired_tables(wiring, {"s1": Path.SIXG, "s2": Path.SIXG})
    new = desired_tables(wiring, {"s1": Path.ZIGBEE, "s3": Path.SIXG})
    rows = [(gateway, entry) for entry in new[gateway].entries] + [(core, entry) for entry in old[core].entries]
    assert installed_routes(wiring, rows) == {"s1": Path.ZIGBEE, "s2": Path.SIXG, "s3": Path.SIXG}


def test_bytes_by_path_reads_the_cores_counters():
    wiring = Wiring(make_scenario([[3], [3]]))
    tables, rows, expected = desired_tables(wiring, {"s1": Path.SIXG}), [], {}
    for number, table in tables.items():
        for i, entry in enumerate(table.entries):
            rows.append(control_pb2.FlowStatistics(datapath_id=number, entry=entry_to_proto(entry), bytes=1000 + i))
    ports = {2: ("s1", Path.SIXG), 3: ("s1", Path.ZIGBEE), 4: ("s2", Path.SIXG), 5: ("s2", Path.ZIGBEE)}
    for i, entry in enumerate(tables[wiring.core.datapath_id].entries):
        if entry.cookie == cookie(Kind.PATH):
            sensor, path = ports[entry.match.in_port]
            expected.setdefault(sensor, {})[path] = 1000 + i
    assert {sensor: set(paths) for sensor, paths in expected.items()} == {"s1": set(Path), "s2": set(Path)}
    assert bytes_by_path(wiring, rows) == expected


# --- Messages -------------------------------------------------------------------------------------------------------


def test_program_carries_complete_tables():
    wiring = Wiring(make_scenario([[3, 4]]))
    tables = desired_tables(wiring, {"s1": Path.SIXG})
    program = control_pb2.FlowProgram.FromString(program_to_proto(7, 8, tables).SerializeToString())
    assert (program.epoch, program.sequence) == (7, 8)
    assert {t.datapath_id: table_from_proto(t) for t in program.tables} == tables


# --- The pipeline's check ---------------------------------------------------------------------------------------------

WIRING = Wiring(make_scenario([[3]]))
GATEWAY, COORDINATOR = (getattr(WIRING.cells["c0"], role).datapath_id for role in ("gateway", "coordinator"))
TABLES = desired_tables(WIRING, {"s1": Path.SIXG})


def checked(change: dict, kind: Kind = Kind.ROUTE, dpid: int = GATEWAY) -> None:
    """Check a table of which one entry is changed."""
    table = TABLES[dpid]
    entry = next(e for e in table.entries if e.kind == kind)
    check(dpid, replace(table, entries=(replace(entry, **change),)))


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"cookie": 7}, "not marked as ours"),
        ({"table_id": 3}, "a gateway has no table 3; it must be 0 to 2"),
        ({"table_id": 2}, "in table output of a gateway, entries may be DROP, DELIVER"),
        ({"priority": 70_000}, "of its kind may be ROUTE    priority 100"),
        ({"goto_table": 2}, "the pipeline does not allow it"),
        ({"idle_timeout": 1}, "the pipeline does not allow it"),
        ({"hard_timeout": 1}, "the pipeline does not allow it"),
        ({"flags": 1}, "the pipeline does not allow it"),
        ({"meter_id": 0x30003}, "the pipeline does not allow it"),
        ({"match": Match(eth_type=0x0800)}, "the pipeline does not allow it"),
        ({"match": Match(eth_type=0x86DD, ipv4_src="10.0.0.3")}, "eth_type 0x86dd must be IPv4 or ARP"),
        ({"match": Match(eth_type=0x0800, ipv4_src="10.0.0.300")}, "ipv4_src '10.0.0.300' must be an IPv4 address"),
        ({"match": Match(eth_type=0x0800, ipv4_src="10.0.0.3", other=(("ip_proto", 6),))}, "does not allow it"),
        ({"actions": ()}, "the pipeline does not allow it"),
        ({"actions": (Output(2),)}, "the pipeline does not allow it"),
        ({"actions": (ToGroup(0x4C000009),)}, "group 0x4c000009 is not part of the table"),
    ],
)
def test_an_entry_that_the_pipeline_does_not_allow_is_refused_by_name(change, complaint):
    with pytest.raises(FlowError, match=complaint):
        checked(change)


@pytest.mark.parametrize(
    "kind, change, complaint",
    [
        (Kind.DELIVER, {"actions": (Output(0xFFFFFFFB),)}, "output 4294967291 must be a port of the switch"),  # FLOOD
        (Kind.DELIVER, {"actions": (Output(0xFFFFFFFD),)}, "output 4294967293 must be a port"),  # CONTROLLER
        (Kind.DELIVER, {"actions": (Output(0),)}, "output 0 must be"),
        (Kind.ARP, {"actions": (ArpReply("", "10.0.0.1"),)}, "arp_reply mac 'none'"),
        (Kind.ARP, {"actions": (ArpReply("02:00:00:00:00:01", ""),)}, "arp_reply ipv4 'none'"),
        (Kind.ADMIT, {"meter_id": 0}, "the pipeline does not allow it"),
        (Kind.ADMIT, {"meter_id": 0x30009}, "meter 0x30009 is not part of the table"),
    ],
)
def test_an_entry_that_no_switch_should_carry_out_is_refused(kind, change, complaint):
    with pytest.raises(FlowError, match=complaint):
        checked(change, kind)


def test_an_admission_by_less_than_port_mac_and_address_is_refused():
    match = next(e.match for e in TABLES[GATEWAY].entries if e.kind == Kind.ADMIT)
    for field in ("in_port", "eth_src", "ipv4_src", "ipv4_dst"):
        with pytest.raises(FlowError, match="does not allow it"):
            checked({"match": replace(match, **{field: 0 if field == "in_port" else ""})}, Kind.ADMIT)
    with pytest.raises(FlowError, match="eth_src '02:00' must be six"):
        checked({"match": replace(match, eth_src="02:00")}, Kind.ADMIT)
    with pytest.raises(FlowError, match="in_port 4294967293 must be a port of the switch"):
        checked({"match": replace(match, in_port=0xFFFFFFFD)}, Kind.ADMIT)


@pytest.mark.parametrize(
    "group, complaint",
    [
        (Group(0x4C000001, ()), "it has no bucket"),
        (Group(5, (Bucket(1, (Output(1),)),)), "not marked as ours"),
        (Group(0x4C000001, (Bucket(1, (Output(1),)),), "of type 1"), "must be of type fast failover"),
        (Group(0x4C000001, (Bucket(0, (Output(1),)),)), "watch_port 0 must be a port"),
        (Group(0x4C000001, (Bucket(1, ()),)), "must do one thing, Output or SendBack or ToGroup"),
        (Group(0x4C000001, (Bucket(1, (SendBack(9),)),)), "dscp 9 must be 3"),
        (Group(0x4C000001, (Bucket(1, (ToGroup(0x4C000007),)),)), "group 0x4c000007 is not part"),
    ],
)
def test_a_group_that_cannot_be_used_is_refused_by_name(group, complaint):
    with pytest.raises(FlowError, match=complaint):
        check(COORDINATOR, SwitchTable((), (group,)))


def test_a_meter_without_a_rate_and_a_switch_without_a_role_are_refused():
    with pytest.raises(FlowError, match="rate 0 and burst 1 must be"):
        check(GATEWAY, SwitchTable((), (), (Meter(0x30001, 0, 1),)))
    with pytest.raises(FlowError, match="switch 0x7: its number says no role"):
        check(7, TABLES[GATEWAY])


def test_an_action_of_no_kind_is_refused():
    (message,) = program_to_proto(1, 1, {GATEWAY: SwitchTable((ENTRY,))}).tables
    message.entries[0].actions.add()
    with pytest.raises(FlowError, match="no action set"):
        check(GATEWAY, table_from_proto(message))
