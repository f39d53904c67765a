"""The conversation with one switch, whose other end is a fake one that speaks real OpenFlow."""

import pytest
from fake_datapath import connect
from fake_switch import BARRIER_REQUEST, MULTIPART_REQUEST, FakeSwitch
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.switch import PortCounters, PortStatus, SwitchLost


@pytest.fixture
def fake() -> FakeSwitch:
    return FakeSwitch(0x2_0000_0001, {1: "gw01-eth1", 3: "gw01-eth3"})


def test_a_switch_that_does_not_answer_is_given_up_and_disconnected(fake):
    fake.silent = {MULTIPART_REQUEST}
    switch = connect(fake, timeout_s=0.05)
    with pytest.raises(SwitchLost, match="no answer within"):
        switch.read()
    assert switch.datapath.closed and switch.lost
    fake.silent = set()
    with pytest.raises(SwitchLost):  # for good: a new connection must begin
        switch.read_ports()


def test_a_connection_that_ends_frees_whoever_waits(fake):
    fake.silent = {MULTIPART_REQUEST}
    switch = connect(fake, timeout_s=60)
    results = hub.Queue()

    def read() -> None:
        try:
            switch.read()
        except SwitchLost as lost:
            results.put(str(lost))

    hub.spawn(read)
    hub.spawn(read)  # waits for its turn
    hub.sleep(0.05)
    switch.lose("the connection ended")
    assert [results.get(timeout=5), results.get(timeout=5)] == ["the connection ended"] * 2


def test_replies_that_nobody_waits_for_are_not_taken(fake):
    switch = connect(fake)
    late = parser.OFPBarrierReply(switch.datapath)
    late.set_xid(99)
    assert switch.deliver(late) is False
    fake.down = {3}
    assert switch.read_ports() == (PortStatus(1, "gw01-eth1", True), PortStatus(3, "gw01-eth3", False))


def test_port_counters(fake):
    assert connect(fake).read_port_counters() == (
        PortCounters(1, 100, 101, 102, 103, 104, 105),
        PortCounters(3, 300, 301, 302, 303, 304, 305),
    )


def test_a_ping_is_answered_or_the_switch_is_lost(fake):
    connect(fake).ping()
    switch = connect(fake)
    switch.lose("gone")
    with pytest.raises(SwitchLost, match="gone"):
        switch.ping()


def test_a_switch_without_meters_is_read_all_the_same(fake):
    fake.knows_meters = False
    switch = connect(fake)
    assert (len(switch.read()), switch.meters) == (0, False)
    asked = len(fake.kinds)
    switch.read()
    assert len(fake.kinds) - asked == 2  # flows and groups
    assert BARRIER_REQUEST not in fake.kinds
