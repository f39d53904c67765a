"""The OpenFlow adapter: conversions through Ryu's real bytes, to a switch (``fake_switch``) and back."""

import struct
from dataclasses import replace

import pytest
from fake_datapath import FakeDatapath, connect
from fake_switch import FakeSwitch
from hypothesis import given, settings
from hypothesis import strategies as st
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.entries import (
    COOKIE,
    ArpReply,
    Bucket,
    FlowEntry,
    Group,
    Kind,
    Match,
    Meter,
    Other,
    Output,
    SendBack,
    SwitchTable,
    ToGroup,
    cookie,
)
from controller.openflow import entry_of, flow_mod, group_of, meter_of, put
from controller.transaction import transact

MACS = st.integers(0, 2**48 - 1).map(lambda n: ":".join(f"{n:012x}"[i : i + 2] for i in range(0, 12, 2)))
IPV4S = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))
PORTS = st.integers(1, 0xFFFFFF00 - 1)


def optional(values, none=""):
    return st.one_of(st.just(none), values)


IP_MATCHES = st.builds(
    Match, in_port=optional(PORTS, 0), eth_type=st.just(0x0800), eth_src=optional(MACS), eth_dst=optional(MACS),
    ipv4_src=optional(IPV4S), ipv4_dst=optional(IPV4S), ip_dscp=optional(st.integers(1, 63), 0),
)  # fmt: skip
ACTIONS = st.one_of(
    st.builds(Output, PORTS),
    st.builds(ToGroup, st.integers(0x4C000000, 0x4CFFFFFF)),
    st.builds(SendBack, st.integers(0, 63)),
)
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
        st.lists(st.builds(Output, PORTS), max_size=2).map(tuple),
        st.one_of(ACTIONS, st.builds(ArpReply, MACS, IPV4S)).map(lambda a: (a,)),
    ),
    goto_table=st.integers(0, 254),
    meter_id=optional(st.integers(0x30000, 0x3FFFF), 0),
)
GROUPS = st.builds(
    Group,
    group_id=st.integers(0x4C000000, 0x4CFFFFFF),
    buckets=st.lists(st.builds(Bucket, PORTS, ACTIONS.map(lambda a: (a,))), max_size=3).map(tuple),
)
METERS = st.builds(Meter, st.integers(0x30000, 0x3FFFF), st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))


def exists(fake: FakeSwitch, *actions, meter_id: int = 0) -> None:
    """Have the switch hold what something refers to."""
    fake.groups |= {action.group_id: [3, b""] for action in actions if isinstance(action, ToGroup)}
    fake.meters |= (
        {meter_id: [5, bytes.fromhex("0001001000000001 0000000100000000".replace(" ", ""))]} if meter_id else {}
    )


@pytest.fixture
def fake() -> FakeSwitch:
    return FakeSwitch(0x2_0000_0001, {1: "gw01-eth1", 3: "gw01-eth3"})


def send(fake: FakeSwitch, message) -> None:
    message.set_xid(1)
    message.serialize()
    assert fake.handle(bytes(message.buf)) == []


# --- Conversion -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(ENTRIES)
def test_what_is_sent_is_what_is_read_back(entry):
    fake = FakeSwitch(1, {})
    exists(fake, *entry.actions, meter_id=entry.meter_id)
    send(fake, flow_mod(FakeDatapath(fake), entry))
    (row,) = connect(fake).read_flows()
    assert row.entry == entry
    assert (row.packets, row.bytes, row.duration_s) == (0, 0, 3)


@settings(max_examples=50, deadline=None)
@given(GROUPS, METERS)
def test_groups_and_meters_are_read_back_as_they_were_sent(group, meter):
    fake = FakeSwitch(1, {})
    exists(fake, *(one for bucket in group.buckets for one in bucket.actions))
    fake.groups.pop(group.group_id, None)
    if group.next_groups - fake.groups.keys():
        return  # it hands over to itself
    for item in (group, meter):
        send(fake, put(FakeDatapath(fake), item, present=False))
    held = connect(fake).read()
    assert group in held.groups and held.meters == (meter,)


def test_groups_and_meters_that_links_never_writes_are_not_taken_for_its_own():
    plain = parser.OFPBucket(watch_port=1, actions=[parser.OFPActionOutput(1)])
    ours = Group(0x4C000001, (Bucket(1, (Output(1),)),))
    assert group_of(parser.OFPGroupDescStats(ofproto.OFPGT_FF, 0x4C000001, [plain])) == ours
    weighted = parser.OFPBucket(weight=5, watch_port=1, actions=[parser.OFPActionOutput(1)])
    watching = parser.OFPBucket(watch_port=1, watch_group=7, actions=[parser.OFPActionOutput(1)])
    for kind, bucket in ((ofproto.OFPGT_ALL, plain), (ofproto.OFPGT_FF, weighted), (ofproto.OFPGT_FF, watching)):
        assert group_of(parser.OFPGroupDescStats(kind, 0x4C000001, [bucket])) != ours
    band, flags = parser.OFPMeterBandDrop(100, 10), ofproto.OFPMF_KBPS | ofproto.OFPMF_BURST
    assert meter_of(parser.OFPMeterConfigStats(flags, 0x30001, [band])) == Meter(0x30001, 100, 10)
    for other in ((ofproto.OFPMF_PKTPS, [band]), (flags, []), (flags, [band, band])):
        assert meter_of(parser.OFPMeterConfigStats(other[0], 0x30001, other[1])) != Meter(0x30001, 100, 10)


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
    values = {
        "table_id": 0,
        "priority": 1,
        "cookie": COOKIE | 2,
        "idle_timeout": 0,
        "hard_timeout": 0,
        "flags": 0,
    } | fields
    return parser.OFPFlowStats(match=match or parser.OFPMatch(), instructions=list(instructions), **values)


def test_what_links_never_writes_is_kept_so_that_it_can_be_named_and_deleted(fake):
    masked = parser.OFPMatch(eth_type=0x0800, ipv4_src=("10.0.0.0", "255.0.0.0"), ip_proto=17)
    flood = parser.OFPActionOutput(ofproto.OFPP_FLOOD)
    clear = parser.OFPInstructionActions(ofproto.OFPIT_CLEAR_ACTIONS, [])
    entry = entry_of(stats(masked, [clear, parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, [flood])]))
    assert entry.match.eth_type == 0x0800
    assert dict(entry.match.other) == {"ipv4_src": ("10.0.0.0", "255.0.0.0"), "ip_proto": 17}
    assert [type(action) for action in entry.actions] == [Other, Other]
    with pytest.raises(TypeError):
        flow_mod(FakeDatapath(fake), entry)

    send(fake, flow_mod(FakeDatapath(fake), replace(entry, actions=())))
    assert transact([connect(fake)], lambda _: SwitchTable())[fake.datapath_id].deleted == 1
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
    fake.table[0, 100, struct.pack("!HH4x", 1, 4)] = [cookie(Kind.ARP), header + wire, 0, 0, (0, 0, 0)]
    (row,) = connect(fake).read_flows()
    assert row.entry.actions == (ArpReply("02:00:00:00:00:01", "10.0.0.1"),)
