"""The OpenFlow adapter: conversions through Ryu's real bytes, and the conversation with a switch (``fake_switch``)."""

import struct
from dataclasses import replace

import pytest
from fake_switch import (
    ADD,
    BARRIER_REQUEST,
    DELETE_STRICT,
    FLOW_MOD,
    MULTIPART_REQUEST,
    FakeSwitch,
    messages_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ryu.lib import hub
from ryu.ofproto import ofproto_parser, ofproto_protocol
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.flows import COOKIE, ArpReply, FlowEntry, FlowError, Kind, Match, Other, Output, cookie, desired_flows
from controller.openflow import OFP_VERSION, PortCounters, PortStatus, Switch, SwitchLost, entry_of, flow_mod
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import Wiring

MACS = st.integers(0, 2**48 - 1).map(lambda n: ":".join(f"{n:012x}"[i : i + 2] for i in range(0, 12, 2)))
IPV4S = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))
PORTS = st.integers(1, 0xFFFFFF00 - 1)


def optional(values, none=""):
    return st.one_of(st.just(none), values)


IP_MATCHES = st.builds(
    Match, in_port=optional(PORTS, 0), eth_type=st.just(0x0800), eth_src=optional(MACS), eth_dst=optional(MACS),
    ipv4_src=optional(IPV4S), ipv4_dst=optional(IPV4S),
)  # fmt: skip
ARP_MATCHES = st.builds(
    Match, in_port=optional(PORTS, 0), eth_type=st.just(0x0806), eth_src=optional(MACS),
    arp_op=optional(st.integers(1, 65_535), 0), arp_spa=optional(IPV4S), arp_tpa=optional(IPV4S),
    arp_sha=optional(MACS),
)  # fmt: skip
ENTRIES = st.builds(
    FlowEntry,
    table_id=st.integers(0, 254),
    priority=st.integers(0, 65_535),
    cookie=st.sampled_from(Kind).map(cookie),
    match=st.one_of(st.just(Match()), IP_MATCHES, ARP_MATCHES),
    actions=st.one_of(
        st.lists(st.builds(Output, PORTS), max_size=2).map(tuple), st.builds(ArpReply, MACS, IPV4S).map(lambda a: (a,))
    ),
    goto_table=st.integers(0, 254),
)


class FakeDatapath(ofproto_protocol.ProtocolDesc):
    """What ``Switch`` wants of a Ryu datapath, with a FakeSwitch at its other end."""

    def __init__(self, fake: FakeSwitch) -> None:
        super().__init__(OFP_VERSION)
        self.id, self.fake, self.xid, self.closed = fake.datapath_id, fake, 0xFFFFFFF0, False
        self.owner: Switch | None = None

    def set_xid(self, message) -> None:
        self.xid = (self.xid + 1) & 0xFFFFFFFF  # passes 0 early on
        message.set_xid(self.xid)

    def send(self, wire) -> bool:
        for message in messages_of(bytes(wire)):
            for reply in self.fake.handle(message):
                version, kind, length, xid = ofproto_parser.header(reply)
                self.owner.deliver(ofproto_parser.msg(self, version, kind, length, xid, reply))
        return not self.closed

    def close(self) -> None:
        self.closed = True


def connect(fake: FakeSwitch, timeout_s: float = 5.0) -> Switch:
    datapath = FakeDatapath(fake)
    datapath.owner = Switch(datapath, timeout_s)
    return datapath.owner


@pytest.fixture
def fake() -> FakeSwitch:
    return FakeSwitch(0x2_0000_0001, {1: "gw01-eth1", 3: "gw01-eth3"})


@pytest.fixture(scope="module")
def gateway_table() -> tuple[FlowEntry, ...]:
    """The table of a gateway with several sensors, all routed."""
    wiring = Wiring(make_scenario(cells=1, sensors=12, seed=3))
    routes = {sensor.id: Path.SIXG for sensor in wiring.scenario.sensors}
    return desired_flows(wiring, routes)[wiring.cells[wiring.scenario.cells[0].id].gateway.datapath_id]


# --- Conversion -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(ENTRIES)
def test_what_is_sent_is_what_is_read_back(entry):
    fake = FakeSwitch(1, {})
    message = flow_mod(FakeDatapath(fake), entry)
    message.set_xid(1)
    message.serialize()
    assert fake.handle(bytes(message.buf)) == []
    (row,) = connect(fake).read_flows()
    assert row.entry == entry
    assert (row.packets, row.bytes, row.duration_s) == (0, 0, 3)


def test_wire_format_of_a_route_against_the_specification():
    entry = FlowEntry(1, 100, cookie(Kind.ROUTE), Match(eth_type=0x0800, ipv4_src="10.66.0.5"), (Output(2),))
    message = flow_mod(FakeDatapath(FakeSwitch(1, {})), entry)
    message.set_xid(0x01020304)
    message.serialize()
    expected = (
        "04 0e 0060 01020304"  # OpenFlow 1.3, OFPT_FLOW_MOD, 96 bytes, xid
        "4c494e4b53000004 0000000000000000 01 00 0000 0000 0064"  # cookie, mask, table 1, ADD, no timeouts, priority
        "ffffffff ffffffff ffffffff 0000 0000"  # no buffer, any port, any group, no flags
        "0001 0012 80000a02 0800 80001604 0a420005 000000000000"  # OXM match, eth_type and ipv4_src, padded
        "0004 0018 00000000 0000 0010 00000002 ffe5 000000000000"  # apply actions: output 2, OFPCML_MAX
    )
    assert bytes(message.buf).hex() == expected.replace(" ", "")


def stats(match=None, instructions=(), **fields) -> parser.OFPFlowStats:
    values = {"table_id": 0, "priority": 1, "cookie": COOKIE | 2} | fields
    return parser.OFPFlowStats(match=match or parser.OFPMatch(), instructions=list(instructions), **values)


def test_what_links_never_writes_is_kept_so_that_it_can_be_named_and_deleted(fake):
    masked = parser.OFPMatch(eth_type=0x0800, ipv4_src=("10.0.0.0", "255.0.0.0"), ip_proto=17)
    flood = parser.OFPActionOutput(ofproto.OFPP_FLOOD)
    meter = parser.OFPInstructionMeter(4)
    entry = entry_of(stats(masked, [meter, parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, [flood])]))
    assert entry.match.eth_type == 0x0800
    assert dict(entry.match.other) == {"ipv4_src": ("10.0.0.0", "255.0.0.0"), "ip_proto": 17}
    assert [type(action) for action in entry.actions] == [Other, Other]
    with pytest.raises(TypeError):
        flow_mod(FakeDatapath(fake), entry)

    add = flow_mod(FakeDatapath(fake), replace(entry, actions=()))
    add.set_xid(1)
    add.serialize()
    fake.handle(bytes(add.buf))
    assert connect(fake).apply([]).deleted == 1
    assert not fake.table


def test_an_arp_reply_with_anything_else_about_it_is_not_taken_for_one():
    good = flow_mod(
        FakeDatapath(FakeSwitch(1, {})),
        FlowEntry(0, 1, COOKIE | 3, Match(), (ArpReply("02:00:00:00:00:01", "10.0.0.1"),)),
    )
    actions = good.instructions[0].actions
    assert entry_of(stats(instructions=good.instructions)).actions == (ArpReply("02:00:00:00:00:01", "10.0.0.1"),)
    for i in range(len(actions)):
        less = parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions[:i] + actions[i + 1 :])
        assert not any(isinstance(a, ArpReply) for a in entry_of(stats(instructions=[less])).actions)


def test_an_arp_reply_is_recognised_as_open_vswitch_reports_it():
    """Moved fields come back by their NXM headers. Bytes as sent by Open vSwitch 3.1."""
    text = (
        "ffff0018000023200006003000000000 0000040600000206"  # move eth_src -> eth_dst
        "00190010800008060200000000010000 0019001080002a020002000000000000"  # set eth_src; set arp_op 2
        "ffff0018000023200006003000000000 0001220600012406"  # move arp_sha -> arp_tha
        "ffff0018000023200006002000000000 0000200400002204"  # move arp_spa -> arp_tpa
        "00190010800030060200000000010000 001900108 0002c040a00000100000000"  # set arp_sha; set arp_spa
        "00000010fffffff8ffe5000000000000"  # output IN_PORT
    )
    wire = bytes.fromhex(text.replace(" ", ""))
    header = struct.pack("!HH4x", ofproto.OFPIT_APPLY_ACTIONS, 8 + len(wire))
    fake = FakeSwitch(1, {})
    fake.table[0, 100, struct.pack("!HH4x", 1, 4)] = [cookie(Kind.ARP), header + wire, 0, 0]
    (row,) = connect(fake).read_flows()
    assert row.entry.actions == (ArpReply("02:00:00:00:00:01", "10.0.0.1"),)


# --- Conversation ---------------------------------------------------------------------------------------------------


def test_a_table_is_installed_and_confirmed_and_a_second_time_sends_no_flow_mod(fake, gateway_table):
    switch = connect(fake)
    done = switch.apply(gateway_table)
    assert (done.added, done.modified, done.deleted, done.errors) == (len(gateway_table), 0, 0, ())
    assert len(fake.table) == len(fake.flow_mods) == len(gateway_table)
    assert fake.kinds[-1] == BARRIER_REQUEST
    again = switch.apply(gateway_table)
    assert (again.added, again.modified, again.deleted, again.errors) == (0, 0, 0, ())
    assert len(fake.flow_mods) == len(gateway_table)
    assert fake.kinds.count(BARRIER_REQUEST) == 2  # confirmed anew: the switch is there


def test_a_new_connection_finds_what_the_switch_holds(fake, gateway_table):
    connect(fake).apply(gateway_table)
    fake.flow_mods.clear()
    switch = connect(fake)  # nothing known, many parts of statistics
    assert {row.entry for row in switch.read_flows()} == set(gateway_table)
    assert switch.apply(gateway_table).errors == ()
    assert fake.flow_mods == []


def test_only_the_difference_is_sent_and_deletions_come_last(fake, gateway_table):
    switch = connect(fake)
    switch.apply(gateway_table)
    fake.flow_mods.clear()
    fake.kinds.clear()
    route = next(entry for entry in gateway_table if entry.cookie == cookie(Kind.ROUTE))
    rest = [entry for entry in gateway_table if entry is not route][1:]
    moved = replace(route, actions=(Output(2),))
    extra = replace(route, priority=50)
    done = switch.apply([*rest, moved, extra])
    assert (done.added, done.modified, done.deleted, done.errors) == (1, 1, 1, ())
    assert fake.flow_mods == [(ADD, 1), (ADD, 1), (DELETE_STRICT, 0)]
    assert fake.kinds == [FLOW_MOD, FLOW_MOD, BARRIER_REQUEST, FLOW_MOD, BARRIER_REQUEST]
    assert {row.entry for row in connect(fake).read_flows()} == {*rest, moved, extra}


def test_foreign_entries_are_neither_read_nor_deleted(fake, gateway_table):
    foreign = fake.add_foreign(cookie=0xABC)
    switch = connect(fake)
    assert switch.read_flows() == ()
    switch.apply(gateway_table)
    switch.apply([])
    assert set(fake.table) == {foreign}


def test_a_refused_entry_is_named_with_the_error_and_nothing_is_deleted(fake, gateway_table):
    switch = connect(fake)
    switch.apply(gateway_table)
    fake.refused_tables = {7}
    bad = FlowEntry(7, 100, cookie(Kind.ROUTE), Match(eth_type=0x0800, ipv4_src="10.1.2.3"), (Output(1),))
    good = replace(bad, table_id=1)
    done = switch.apply([bad, good])
    assert done.errors == (f"{bad}: OFPET_FLOW_MOD_FAILED(5) OFPFMFC_BAD_TABLE_ID(2)",)
    assert "table 7 priority 100 eth_type=2048,ipv4_src=10.1.2.3" in done.errors[0]
    assert len(fake.table) == len(gateway_table) + 1  # `good` is in, the deletions were held back
    # What the switch holds was read again: the next table is compared with that.
    fake.refused_tables = set()
    fake.flow_mods.clear()
    assert switch.apply([*gateway_table, good]).errors == ()
    assert fake.flow_mods == []


def test_an_unusable_table_changes_nothing(fake, gateway_table):
    switch = connect(fake)
    with pytest.raises(FlowError, match="not ours"):
        switch.apply([replace(gateway_table[0], cookie=1)])
    assert fake.flow_mods == []
    assert switch.apply(gateway_table).errors == ()  # the conversation goes on


@pytest.mark.parametrize("silent", [BARRIER_REQUEST, MULTIPART_REQUEST])
def test_a_switch_that_does_not_answer_is_given_up_and_disconnected(fake, gateway_table, silent):
    fake.silent = {silent}
    switch = connect(fake, timeout_s=0.05)
    with pytest.raises(SwitchLost, match="no answer within"):
        switch.apply(gateway_table)
    assert switch.datapath.closed
    fake.silent = set()
    with pytest.raises(SwitchLost):  # for good: a new connection must begin
        switch.read_ports()


def test_a_connection_that_ends_frees_whoever_waits(fake, gateway_table):
    fake.silent = {BARRIER_REQUEST}
    switch = connect(fake, timeout_s=60)
    results = hub.Queue()

    def apply() -> None:
        try:
            switch.apply(gateway_table)
        except SwitchLost as lost:
            results.put(str(lost))

    hub.spawn(apply)
    hub.spawn(apply)  # waits for its turn
    hub.sleep(0.05)
    switch.lose("the connection ended")
    assert [results.get(timeout=5), results.get(timeout=5)] == ["the connection ended"] * 2


def test_one_exchange_at_a_time(fake, gateway_table):
    switch = connect(fake)
    half = gateway_table[: len(gateway_table) // 2]
    threads = [hub.spawn(switch.apply, table) for table in (gateway_table, half, gateway_table, half)]
    hub.joinall(threads)
    assert {row.entry for row in connect(fake).read_flows()} == set(half)
    # Each exchange is complete before the next begins: barriers never come without their own flow-mods before them.
    changes = len(gateway_table) - len(half)
    assert len(fake.flow_mods) == len(gateway_table) + 3 * changes


def test_replies_that_nobody_waits_for_are_not_taken(fake):
    switch = connect(fake)
    late = parser.OFPBarrierReply(switch.datapath)
    late.set_xid(99)
    assert switch.deliver(late) is False
    assert switch.read_ports() == (PortStatus(1, "gw01-eth1", True), PortStatus(3, "gw01-eth3", True))


def test_port_counters(fake):
    assert connect(fake).read_port_counters() == (
        PortCounters(1, 100, 101, 102, 103, 104, 105),
        PortCounters(3, 300, 301, 302, 303, 304, 305),
    )
