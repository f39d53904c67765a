"""Changes of many switches at once, against fake switches that speak real OpenFlow: all or nothing, the smallest
change, and never a packet without a way."""

import random
from dataclasses import replace

import pytest
from fake_datapath import connect
from fake_switch import (
    BARRIER_REQUEST,
    EXPERIMENTER,
    FLOW_MOD,
    GROUP_MOD,
    METER_MOD,
    FakeSwitch,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_walk import down, make_scenario, routings, up, walk
from ryu.lib import hub

from controller.entries import (
    COOKIE,
    Bucket,
    Changes,
    FlowEntry,
    Group,
    Kind,
    Match,
    Meter,
    Output,
    SwitchTable,
    cookie,
    difference,
)
from controller.flows import desired_tables
from controller.transaction import transact
from twin.path import Path
from twin.wiring import Wiring

WIRING = Wiring(make_scenario([[3, 4], [3]]))
CELL = WIRING.cells["c0"]
GATEWAY, CORE = CELL.gateway.datapath_id, WIRING.core.datapath_id
SIXG, ZIGBEE = (desired_tables(WIRING, {s.id: path for s in WIRING.scenario.sensors}) for path in Path)
BUNDLES = pytest.mark.parametrize("bundles", [True, False])


class City:
    """Fake switches of a wiring, and conversations with them."""

    def __init__(self, wiring: Wiring = WIRING, bundles: bool = True, timeout_s: float = 5.0, upset=list):
        self.fakes = {node.datapath_id: FakeSwitch(node.datapath_id, {1: "one"}) for node in wiring.switches}
        for fake in self.fakes.values():
            fake.bundles = bundles
        self.switches = {n: connect(fake, timeout_s, upset) for n, fake in self.fakes.items()}

    def transact(self, tables):
        return transact([self.switches[number] for number in tables], lambda switch: tables[switch.id])

    def held(self) -> dict[int, SwitchTable]:
        """What the switches hold, read by new conversations."""
        return {number: connect(fake).read() for number, fake in self.fakes.items()}

    def mods(self) -> int:
        return sum(len(fake.mods) for fake in self.fakes.values())

    def forget(self) -> None:
        for fake in self.fakes.values():
            fake.mods.clear()
            fake.kinds.clear()


def same(one: dict[int, SwitchTable], other: dict[int, SwitchTable]) -> bool:
    return {n: set(t.items) for n, t in one.items()} == {n: set(t.items) for n, t in other.items()}


def errors(outcomes) -> dict[int, str]:
    return {number: outcome.error for number, outcome in outcomes.items() if outcome.error}


@BUNDLES
def test_tables_are_installed_everywhere_and_a_second_time_nothing_is_sent(bundles):
    city = City(bundles=bundles)
    outcomes = city.transact(SIXG)
    assert errors(outcomes) == {}
    assert {n: (o.added, o.modified, o.deleted) for n, o in outcomes.items()} == {
        n: (len(t), 0, 0) for n, t in SIXG.items()
    }
    assert same(city.held(), SIXG)
    city.forget()
    again = city.transact(SIXG)
    assert {(o.added, o.modified, o.deleted, o.error) for o in again.values()} == {(0, 0, 0, "")}
    assert [fake.kinds for fake in city.fakes.values()] == [[]] * len(city.fakes)


def test_a_change_of_route_is_one_bundle_per_switch_that_it_concerns():
    city = City()
    city.transact(SIXG)
    city.forget()
    city.transact(ZIGBEE)
    # Open, a message per sensor, close, commit.
    assert city.fakes[GATEWAY].kinds == [EXPERIMENTER] * (1 + 2 + 1 + 1)
    assert city.fakes[CORE].kinds == [EXPERIMENTER] * (1 + 3 + 1 + 1)
    assert city.fakes[CELL.base_station.datapath_id].kinds == []
    assert same(city.held(), ZIGBEE)


def test_a_switch_without_bundles_is_found_out_once_and_gets_ordered_messages_and_barriers():
    city = City(bundles=False)
    city.transact(SIXG)
    city.forget()
    city.transact(ZIGBEE)
    assert city.fakes[GATEWAY].kinds == [FLOW_MOD, FLOW_MOD, BARRIER_REQUEST]
    city.forget()
    city.transact({GATEWAY: SwitchTable()})
    kinds = [kind for kind in city.fakes[GATEWAY].kinds if kind != BARRIER_REQUEST]
    assert kinds == sorted(kinds, key=[FLOW_MOD, GROUP_MOD, METER_MOD].index)  # nothing goes before what needs it


def test_a_new_conversation_finds_what_the_switches_hold():
    city = City()
    city.transact(SIXG)
    city.forget()
    city.switches = {number: connect(fake) for number, fake in city.fakes.items()}
    assert errors(city.transact(SIXG)) == {} and city.mods() == 0


def test_foreign_items_are_neither_read_nor_touched():
    city = City()
    fake = city.fakes[GATEWAY]
    foreign = fake.add_foreign(cookie=0xABC)
    fake.groups[7] = fake.meters[7] = [0, b""]
    city.transact(SIXG)
    city.transact({number: SwitchTable() for number in SIXG})
    assert (set(fake.table), set(fake.groups), set(fake.meters)) == ({foreign}, {7}, {7})


def test_a_switch_without_meters_gets_everything_else():
    city = City()
    city.fakes[GATEWAY].knows_meters = False
    assert errors(city.transact(SIXG)) == {}
    held = city.held()[GATEWAY]
    assert held.meters == () and {entry.meter_id for entry in held.entries} == {0}
    assert len(held.entries) == len(SIXG[GATEWAY].entries)
    city.forget()
    city.transact(SIXG)
    assert city.mods() == 0


# --- All or nothing ---------------------------------------------------------------------------------------------------


@BUNDLES
def test_what_one_switch_refuses_is_named_and_all_others_go_back(bundles):
    city = City(bundles=bundles)
    city.transact(SIXG)
    city.fakes[CORE].refused_tables = {1}
    outcomes = city.transact(ZIGBEE)
    first = next(entry for entry in ZIGBEE[CORE].entries if entry.kind == Kind.ROUTE)
    assert list(errors(outcomes)) == [CORE]
    assert outcomes[CORE].error.startswith(f"{first}: OFPET_FLOW_MOD_FAILED(5) OFPFMFC_BAD_TABLE_ID(2)")
    assert {outcome.rolled_back for outcome in outcomes.values()} == {""}
    assert same(city.held(), SIXG)
    city.fakes[CORE].refused_tables = set()
    assert errors(city.transact(ZIGBEE)) == {} and same(city.held(), ZIGBEE)  # nothing of it is left over


@BUNDLES
def test_a_full_table_leaves_everything_as_it_was(bundles):
    city = City(bundles=bundles)
    city.fakes[GATEWAY].capacity = 10
    outcomes = city.transact(SIXG)
    assert "OFPET_FLOW_MOD_FAILED(5) OFPFMFC_TABLE_FULL(1)" in errors(outcomes)[GATEWAY]
    assert set(errors(outcomes)) == {GATEWAY}
    assert same(city.held(), {number: SwitchTable() for number in SIXG})


@BUNDLES
def test_a_switch_that_falls_silent_takes_everything_back_with_it(bundles):
    city = City(bundles=bundles, timeout_s=0.3)
    city.transact(SIXG)
    city.fakes[CORE].silent = {EXPERIMENTER, BARRIER_REQUEST}
    outcomes = city.transact(ZIGBEE)
    assert "no answer within" in errors(outcomes)[CORE] and set(errors(outcomes)) == {CORE}
    held = city.held()
    held.pop(CORE)
    assert same(held, {number: table for number, table in SIXG.items() if number != CORE})
    assert city.switches[CORE].datapath.closed


def test_what_cannot_be_rolled_back_is_told():
    """A switch that refuses the way back too."""
    city = City(bundles=False)
    city.transact(SIXG)
    gateway = city.fakes[GATEWAY]

    def refuse_from_now_on() -> None:
        gateway.refused_tables = {1}

    gateway.applied = refuse_from_now_on
    outcomes = city.transact(ZIGBEE)
    assert "OFPFMFC_BAD_TABLE_ID" in outcomes[GATEWAY].error
    assert "OFPFMFC_BAD_TABLE_ID" in outcomes[GATEWAY].rolled_back
    assert outcomes[CORE].rolled_back == "" and same({CORE: city.held()[CORE]}, {CORE: SIXG[CORE]})
    gateway.applied, gateway.refused_tables = (lambda: None), set()
    assert errors(city.transact(SIXG)) == {} and same(city.held(), SIXG)


def test_what_the_pipeline_does_not_allow_is_never_sent():
    city = City()
    bad = FlowEntry(1, 100, cookie(Kind.ROUTE), Match(eth_type=0x0800, ipv4_src="10.1.2.3"), (Output(0xFFFFFFFB),))
    tables = SIXG | {GATEWAY: replace(SIXG[GATEWAY], entries=(*SIXG[GATEWAY].entries, bad))}
    outcomes = city.transact(tables)
    assert f"{bad}: the pipeline does not allow it" in outcomes[GATEWAY].error
    assert city.mods() == 0 and not any(EXPERIMENTER in fake.kinds for fake in city.fakes.values())


def test_two_transactions_at_once_come_one_after_the_other():
    city = City()
    city.transact(SIXG)
    threads = [hub.spawn(city.transact, tables) for tables in (ZIGBEE, SIXG, ZIGBEE)]
    hub.joinall(threads)
    assert same(city.held(), ZIGBEE)


def test_what_is_wanted_is_asked_when_it_is_ones_turn_and_told_while_it_still_is():
    """A look at a switch that waits for a program's end must not bring back what was before the program."""
    city, in_force = City(), dict(SIXG)
    city.transact(SIXG)
    gateway = city.switches[GATEWAY]
    seen = []

    def program() -> None:
        switches = [city.switches[number] for number in ZIGBEE]
        transact(switches, lambda switch: ZIGBEE[switch.id], lambda: in_force.update(ZIGBEE))

    def look() -> None:
        seen.append(transact([gateway], lambda switch: in_force[switch.id])[GATEWAY])

    hub.joinall([hub.spawn(program), hub.spawn(look)])
    assert same(city.held(), ZIGBEE) and seen[0].modified == 0


# --- Properties -------------------------------------------------------------------------------------------------------


def snapshot(fake: FakeSwitch) -> SwitchTable:
    """What a fake switch holds at this moment, within an exchange with it."""
    copy = FakeSwitch(fake.datapath_id, {})
    copy.table, copy.groups, copy.meters = dict(fake.table), dict(fake.groups), dict(fake.meters)
    return connect(copy).read()


@settings(max_examples=12, deadline=None)
@given(routings(changes=2), st.booleans(), st.sets(st.sampled_from(Path)))
def test_after_no_message_is_a_live_route_absent(case, bundles, avoided):
    wiring, before, after = case
    city = City(wiring, bundles)
    old = desired_tables(wiring, before)
    new = desired_tables(wiring, after, {(wiring.scenario.cells[0].id, path) for path in avoided})
    city.transact(old)
    lasting = [sensor for sensor in wiring.scenario.sensors if sensor.id in before and sensor.id in after]
    now, checked = dict(old), 0

    def check(number: int) -> None:
        nonlocal checked
        now[number], checked = snapshot(city.fakes[number]), checked + 1
        for sensor in lasting:
            assert [host for host, _ in walk(wiring, now, *up(wiring, sensor)).reached] == ["twin"]
            assert [host for host, _ in walk(wiring, now, *down(wiring, sensor)).reached] == [sensor.id]

    for number, fake in city.fakes.items():
        fake.applied = lambda number=number: check(number)
    assert errors(city.transact(new)) == {}
    assert same(city.held(), new)
    assert bool(checked) == (not same(old, new))


OTHERS = st.one_of(
    st.builds(
        FlowEntry,
        st.integers(0, 5),
        st.integers(0, 300),
        st.sampled_from(Kind).map(cookie),
        st.builds(Match, in_port=st.integers(1, 9)),
        st.just((Output(1),)),
        idle_timeout=st.integers(0, 1),
    ),
    st.builds(Group, st.integers(0x4C000000, 0x4C000005), st.just((Bucket(1, (Output(1),)),))),
    st.builds(Meter, st.integers(0x30000, 0x30009), st.integers(1, 9), st.integers(1, 9)),
)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.booleans())
def test_from_any_table_reconciliation_ends_at_the_desired_one_with_no_more_than_the_difference(data, bundles):
    number = data.draw(st.sampled_from(sorted(SIXG)))
    wanted, city = SIXG[number], City(bundles=bundles)
    kept = data.draw(st.sets(st.sampled_from(range(len(wanted)))))
    items = {item.slot: item for i, item in enumerate(wanted.items) if i in kept}
    items |= {item.slot: item for item in data.draw(st.lists(OTHERS, max_size=8))}
    present = SwitchTable.of(_without_dangling(items))
    fake = city.fakes[number]
    foreign = fake.add_foreign(COOKIE + (1 << 24), table_id=9)
    install(fake, present)
    city.forget()
    assert errors(city.transact({number: wanted})) == {}
    assert set(city.held()[number].items) == set(wanted.items) and foreign in fake.table
    changes = difference(present, wanted)
    assert len(fake.mods) == len(changes.add) + len(changes.modify) + len(changes.delete)


def _without_dangling(items: dict) -> list:
    """Without what refers to groups and meters that are not there: no switch would have taken it."""
    while True:
        groups = {item.group_id for item in items.values() if isinstance(item, Group)}
        meters = {item.meter_id for item in items.values() if isinstance(item, Meter)} | {0}
        fine = {
            slot: item
            for slot, item in items.items()
            if (isinstance(item, Meter))
            or (isinstance(item, Group) and item.next_groups <= groups)
            or (
                isinstance(item, FlowEntry)
                and {getattr(action, "group_id", 0) for action in item.actions} <= groups | {0}
                and item.meter_id in meters
            )
        }
        if len(fine) == len(items):
            return list(items.values())
        items = fine


def install(fake: FakeSwitch, table: SwitchTable) -> None:
    """Put items on a switch without a look at the pipeline."""
    switch = connect(fake)
    switch.commit(switch.prepare(Changes(table.items, (), ())))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_replies_that_are_doubled_late_or_in_another_order_end_at_the_desired_table(seed, bundles):
    """The next look (holds None: read anew) finds what a reply that came too late did not tell."""
    draw, late = random.Random(seed), []

    def upset(replies: list[bytes]) -> list[bytes]:
        result = [*late, *(reply for reply in replies for _ in range(draw.choice((1, 1, 2))))]
        late[:] = [reply for reply in result if draw.random() < 0.1][:3]  # once more, when nobody waits for it
        if draw.random() < 0.3:
            draw.shuffle(result)
        return result

    city = City(bundles=bundles, upset=upset)
    for tables in (SIXG, ZIGBEE):
        city.transact(tables)
        for fake in city.fakes.values():
            fake.refused_tables = set()
    for switch in city.switches.values():
        switch.holds = None
        switch.datapath.upset = list
    assert errors(city.transact(ZIGBEE)) == {} or any(switch.lost for switch in city.switches.values())
    lost = {number for number, switch in city.switches.items() if switch.lost}
    held = {number: table for number, table in city.held().items() if number not in lost}
    if not lost:
        assert same(held, ZIGBEE)
    again = City(bundles=bundles)
    again.fakes, again.switches = city.fakes, {number: connect(fake) for number, fake in city.fakes.items()}
    assert errors(again.transact(ZIGBEE)) == {} and same(again.held(), ZIGBEE)


def test_the_commit_is_what_changes_a_switch_and_not_the_bundle_before_it():
    city = City()
    city.transact(SIXG)
    fake = city.fakes[GATEWAY]
    commits: list[int] = []
    fake.applied = lambda: commits.append(len(fake.mods))
    city.transact(ZIGBEE)
    assert len(commits) == 1 and commits[0] == len(fake.mods)
