"""The Ryu application as it runs: a real ryu-manager between a stand-in for the service and stand-ins for switches."""

import itertools
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path as File

import fake_service
import pytest
import trustme
from fake_service import FakeService
from fake_switch import ECHO_REQUEST, EXPERIMENTER, PORT_STATUS, FakeSwitch, message
from ryu_process import ROOT, RyuProcess, free_port

from controller.entries import FlowEntry, Kind, Match, Output, SwitchTable, cookie
from controller.flow_messages import program_to_proto
from controller.flows import desired_tables
from proto import control_pb2
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import Wiring

UNIT = ROOT / "docs/systemd/links-controller.service"
WIRING = Wiring(make_scenario(cells=1, sensors=6, seed=3))
SENSORS = len(WIRING.scenario.sensors)
GATEWAY, _CORE = WIRING.cells[WIRING.scenario.cells[0].id].gateway.datapath_id, WIRING.core.datapath_id
_SIXG, _ZIGBEE = (desired_tables(WIRING, {s.id: path for s in WIRING.scenario.sensors}) for path in Path)
GATEWAY_TABLE, CORE_TABLE = _SIXG[GATEWAY], _SIXG[_CORE]
MOVED_GATEWAY_TABLE, MOVED_CORE_TABLE = _ZIGBEE[GATEWAY], _ZIGBEE[_CORE]


def until(found, timeout_s: float = 20.0):
    """The first true result of ``found()``."""
    deadline = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)
    return result


def log_of(ryu: RyuProcess, text: str) -> bool:
    return until(lambda: text in ryu.text())


def application(directory: File, body: str) -> File:
    """The application, with something about it changed."""
    file = directory / "changed.py"
    file.write_text(
        f"from controller.ryu_app import LinksController\n\n\nclass Changed(LinksController):\n    {body}\n"
    )
    return file


@pytest.fixture(autouse=True, scope="module")
def no_process_is_left():
    """Also when a test fails."""
    yield
    RyuProcess.stop_all()


@pytest.fixture(scope="module")
def service():
    service = FakeService()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def ryu(service, tmp_path_factory):
    """One application for many tests; each test has switches of its own."""
    directory = tmp_path_factory.mktemp("ryu")
    impatient = application(directory, "SWITCH_TIMEOUT_S = 1.0")
    ryu = RyuProcess(directory, impatient, LINKS_SERVICE=service.address, LINKS_OPENFLOW_RECONCILE_S="0.5")
    service.wait_attached()
    yield ryu
    assert ryu.stop() == 0, ryu.text()
    assert "failed; ending" not in ryu.text()


class Pair:
    """A gateway and a core, with datapath ids that no test has used before: the application forgets no table."""

    numbers = itertools.count(0x1000)

    @classmethod
    def next_gateway(cls) -> int:
        return 2 << 32 | next(cls.numbers)

    def __init__(self, port: int) -> None:
        ids = self.next_gateway(), 1 << 32 | next(self.numbers)
        self.gateway, self.core = (FakeSwitch(number, {1: "eth1", 2: "eth2"}) for number in ids)
        self.ids = [self.gateway.datapath_id, self.core.datapath_id]
        self.tables = dict(zip(self.ids, (GATEWAY_TABLE, CORE_TABLE), strict=True))
        self.moved = dict(zip(self.ids, (MOVED_GATEWAY_TABLE, MOVED_CORE_TABLE), strict=True))
        self.connections = [switch.serve(port) for switch in (self.gateway, self.core)]

    @property
    def flow_mods(self) -> list[int]:
        return [len(switch.flow_mods) for switch in (self.gateway, self.core)]


@pytest.fixture
def pair(ryu, service):
    pair = Pair(ryu.port)
    service.wait_connected(pair.ids)
    yield pair
    for connection in pair.connections:
        connection.close()
    service.wait_for(lambda: not service.connected() & set(pair.ids))


def changes(result: control_pb2.SwitchResult) -> tuple[int, int, int]:
    return result.added, result.modified, result.deleted


def test_programs_are_installed_by_difference_and_confirmed(service, pair):
    first = service.program(pair.tables)
    assert [(s.datapath_id, s.confirmed, s.error) for s in first.switches] == [(n, True, "") for n in pair.ids]
    assert [changes(s) for s in first.switches] == [(len(table), 0, 0) for table in pair.tables.values()]
    assert pair.flow_mods == [len(table.entries) for table in pair.tables.values()]
    again = service.program(pair.tables)
    assert [(s.confirmed, *changes(s)) for s in again.switches] == [(True, 0, 0, 0)] * 2
    assert pair.flow_mods == [len(table.entries) for table in pair.tables.values()]
    moved = service.program(pair.moved)
    assert [(s.confirmed, *changes(s)) for s in moved.switches] == [(True, 0, SENSORS, 0)] * 2
    assert all(0 < s.seconds < 5 for s in moved.switches)


def test_a_switch_that_comes_again_gets_the_table_in_force(ryu, service):
    switch = FakeSwitch(Pair.next_gateway(), {1: "bs01-1"})
    (absent,) = service.program({switch.datapath_id: GATEWAY_TABLE}).switches
    assert (absent.confirmed, absent.error) == (False, "not connected")
    connection = switch.serve(ryu.port)
    service.wait_connected([switch.datapath_id])
    assert not switch.mods  # a program that failed is not in force
    assert service.program({switch.datapath_id: GATEWAY_TABLE}).switches[0].confirmed
    held = dict(switch.table)
    for as_it_was in (True, False):
        connection.close()
        service.wait_for(lambda: switch.datapath_id not in service.connected())
        if not as_it_was:
            switch.table, switch.groups, switch.meters = {}, {}, {}  # restarted
        switch.mods.clear()
        connection = switch.serve(ryu.port)
        service.wait_connected([switch.datapath_id])
        assert set(switch.table) == set(held)
        assert len(switch.mods) == (0 if as_it_was else len(GATEWAY_TABLE))
    connection.close()


def test_switches_of_no_role_and_second_ones_of_a_number_are_refused(ryu, service, pair):
    stranger = FakeSwitch(0xDEAD, {5: "wild"})
    connection = stranger.serve(ryu.port)
    log_of(ryu, "switch 0xdead at 127.0.0.1")
    assert "refused: its number says no role in a LINKs network" in ryu.text()
    connection.close()
    service.program(pair.tables)
    twin = FakeSwitch(pair.ids[0], {1: "one"})
    connection = twin.serve(ryu.port)
    log_of(ryu, "another switch of this number is connected; give each its own datapath id")
    assert not twin.mods and service.program(pair.moved).switches[0].confirmed  # the first one goes on
    connection.close()
    # One that has gone without a word makes way.
    pair.gateway.silent = {ECHO_REQUEST}
    connection = twin.serve(ryu.port)
    until(lambda: len(twin.mods) == len(GATEWAY_TABLE))
    connection.close()


def test_a_switch_that_no_program_names_is_reported_and_left_alone(ryu, service, pair):
    stranger = FakeSwitch(Pair.next_gateway(), {5: "wild"})
    ours = stranger.add_foreign(cookie=cookie(Kind.ROUTE))  # even what looks like ours
    connection = stranger.serve(ryu.port)
    service.wait_connected([stranger.datapath_id])
    service.program(pair.tables)
    states = [r.switch for r in service.reports if r.HasField("switch")]
    states = [state for state in states if state.datapath_id == stranger.datapath_id]
    assert [(p.port, p.name, p.up) for p in states[-1].ports] == [(5, "wild", True)]
    assert (stranger.mods, list(stranger.table)) == ([], [ours])
    connection.close()


def test_stale_programs_are_refused(service, pair):
    service.program(pair.tables)
    before, newest = pair.flow_mods, service.sequence
    stale = service.program(pair.moved, sequence=newest - 1)
    assert [s.confirmed for s in stale.switches] == [False, False]
    assert f"sequence {newest - 1} came after epoch 1, sequence {newest}" in stale.switches[0].error
    older = service.program(pair.moved, epoch=0, sequence=newest + 1)
    assert "stale program" in older.switches[0].error
    assert pair.flow_mods == before
    service.sequence = newest
    assert service.program(pair.tables).switches[0].confirmed


def test_refused_entries_are_named_and_no_switch_keeps_anything_of_the_program(service, pair):
    pair.gateway.refused_tables = {1}
    gateway, core = service.program(pair.tables).switches
    assert (core.confirmed, gateway.confirmed, core.error) == (False, False, "")
    assert (core.rolled_back, gateway.rolled_back) == (True, True)
    assert "table 1 priority 0 any -> drop: OFPET_FLOW_MOD_FAILED(5) OFPFMFC_BAD_TABLE_ID(2)" in gateway.error
    assert not pair.gateway.table and not pair.core.table
    pair.gateway.refused_tables = set()
    mended = service.program(pair.tables).switches[0]
    assert (mended.confirmed, changes(mended)) == (True, (len(GATEWAY_TABLE), 0, 0))


def test_entries_that_cannot_be_used_are_refused_before_anything_is_sent(service, pair):
    flood = FlowEntry(2, 100, cookie(Kind.DELIVER), Match(eth_type=0x0800, ipv4_dst="10.66.0.9"), (Output(0xFFFFFFFB),))
    bad = SwitchTable((*GATEWAY_TABLE.entries, flood), GATEWAY_TABLE.groups, GATEWAY_TABLE.meters)
    (result,) = service.program({pair.ids[0]: bad}).switches
    assert "output 4294967291 must be a port of the switch" in result.error
    double = SwitchTable(GATEWAY_TABLE.entries * 2, GATEWAY_TABLE.groups, GATEWAY_TABLE.meters)
    (result,) = service.program({pair.ids[0]: double}).switches
    assert "a second one with the same table, priority and match" in result.error
    assert pair.flow_mods == [0, 0]


def test_a_silent_switch_takes_the_program_back_and_its_connection_is_closed(service, pair):
    service.program(pair.tables)
    held = [dict(switch.table) for switch in (pair.gateway, pair.core)]
    pair.gateway.silent = {EXPERIMENTER}
    gateway, core = service.program(pair.moved).switches
    assert (core.confirmed, gateway.confirmed, core.rolled_back) == (False, False, True)
    assert "no answer within" in gateway.error
    assert [dict(switch.table) for switch in (pair.gateway, pair.core)] == held
    service.wait_for(lambda: service.connected() & set(pair.ids) == {pair.ids[1]})


def test_a_connection_that_ends_within_a_program_is_reported(service, pair):
    pair.gateway.silent = {EXPERIMENTER}
    service.sequence += 1
    seen = len(service.reports)
    service.send(program=program_to_proto(1, service.sequence, {pair.ids[0]: GATEWAY_TABLE}))
    until(lambda: EXPERIMENTER in pair.gateway.kinds)
    pair.connections[0].close()
    (result,) = service.wait_for(lambda: [s for r in service.reports[seen:] for s in r.program.switches])
    assert (result.confirmed, result.error) == (False, "the connection ended")


def test_statistics(service, pair):
    service.program(pair.tables)
    for i, row in enumerate(pair.gateway.table.values()):
        row[2:4] = [i, 100 * i]
    reply = service.statistics([pair.ids[0], 0x77])
    assert list(reply.missing_datapath_ids) == [0x77]
    entries = program_to_proto(1, 1, pair.tables).tables[0].entries  # routes are installed last
    assert sorted(str(flow.entry) for flow in reply.flows) == sorted(map(str, entries))
    assert [(flow.packets, flow.bytes) for flow in reply.flows] == [(i, 100 * i) for i in range(len(entries))]
    assert [(p.port, p.rx_packets, p.tx_bytes) for p in reply.ports] == [(1, 100, 103), (2, 200, 203)]
    everything = service.statistics()
    assert {flow.datapath_id for flow in everything.flows} == set(pair.ids)


def test_what_is_changed_behind_the_applications_back_is_mended_by_itself(ryu, service, pair):
    service.program(pair.tables)
    gateway, held = pair.gateway, dict(pair.gateway.table)
    entry, group = next(iter(gateway.table)), next(iter(gateway.groups))
    del gateway.table[entry], gateway.groups[group]
    foreign = gateway.add_foreign(cookie=0xABC)
    gateway.meters.clear()
    until(lambda: set(gateway.table) == {*held, foreign} and group in gateway.groups and gateway.meters)
    assert "items differed and were put right" in ryu.text()


def test_ports_that_come_are_reported(service, pair):
    pair.gateway.ports[3] = "eth3"
    port = struct.pack("!I4x6s2x16s8I", 3, bytes(6), b"eth3", *[0] * 8)
    pair.connections[0].send(message(PORT_STATUS, 0, struct.pack("!B7x", 0) + port))

    def names() -> bool:
        states = [r.switch for r in service.reports if r.HasField("switch") and r.switch.datapath_id == pair.ids[0]]
        return [p.name for p in states[-1].ports] == ["eth1", "eth2", "eth3"]

    service.wait_for(names)


# --- Life of the process --------------------------------------------------------------------------------------------


def test_a_restarted_application_finds_its_flows_and_sends_no_flow_mod(tmp_path):
    service = FakeService()
    switch = FakeSwitch(GATEWAY, {1: "one"})
    first = RyuProcess(tmp_path, LINKS_SERVICE=service.address)
    service.wait_attached()
    connection = switch.serve(first.port)
    service.wait_connected([GATEWAY])
    assert service.program({GATEWAY: GATEWAY_TABLE}).switches[0].confirmed
    first.stop(signal.SIGKILL)
    connection.close()
    switch.mods.clear()
    second = RyuProcess(tmp_path, LINKS_SERVICE=service.address)
    hello = service.wait_attached(2)
    assert (hello.pid, len({h.controller_id for h in service.hellos})) == (second.process.pid, 2)
    connection = switch.serve(second.port)
    service.wait_connected([GATEWAY])
    log_of(second, f"connected with {len(GATEWAY_TABLE.entries)} flow entries of ours")
    result = service.program({GATEWAY: GATEWAY_TABLE}).switches[0]
    assert (result.confirmed, changes(result), switch.flow_mods) == (True, (0, 0, 0), [])
    assert second.stop(signal.SIGINT) == 0
    connection.close()
    service.stop()


def test_the_systemd_units_command_line_runs_from_anywhere(tmp_path):
    """``controller.ryu_app`` by name, as installed, with the options of the unit."""
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    program, *options, application = line.removeprefix("ExecStart=").split()
    assert File(program).name == "ryu-manager" and options[0::2] == ["--ofp-listen-host", "--ofp-tcp-listen-port"]
    service = FakeService()
    ryu = RyuProcess(tmp_path, application, LINKS_SERVICE=service.address)
    service.wait_attached()
    assert ryu.stop() == 0
    service.stop()


def test_it_attaches_again_when_the_service_comes_back_and_carries_a_token(tmp_path):
    service = FakeService()
    environment = {"LINKS_SERVICE": service.address, "LINKS_SERVICE_TOKEN": "secret"}
    ryu = RyuProcess(tmp_path, **environment)
    service.wait_attached()
    assert service.metadata[0]["authorization"] == "Bearer secret"
    switch = FakeSwitch(GATEWAY, {1: "one"})
    connection = switch.serve(ryu.port)
    service.wait_connected([GATEWAY])
    assert service.program({GATEWAY: GATEWAY_TABLE}).switches[0].confirmed
    table, _ = dict(switch.table), switch.mods.clear()
    service.stop()
    log_of(ryu, "UNAVAILABLE")
    assert (switch.table, switch.flow_mods) == (table, [])  # nothing changes while the service is away
    successor = FakeService(service.address)
    hello = successor.wait_attached()
    assert [s.datapath_id for s in hello.switches] == [GATEWAY]
    assert [p.name for p in hello.switches[0].ports] == ["one"]
    result = successor.program({GATEWAY: GATEWAY_TABLE}, epoch=2).switches[0]
    assert (result.confirmed, switch.flow_mods) == (True, [])
    assert ryu.stop() == 0
    connection.close()
    successor.stop()


def test_a_bad_configuration_is_named_and_ends_the_process(tmp_path):
    ryu = RyuProcess(tmp_path, LINKS_SERVICE="nonsense")
    assert ryu.process.wait(20) == 1
    assert "LINKS_SERVICE: 'nonsense' must be host:port" in ryu.text()
    assert "Traceback" not in ryu.text()


@pytest.fixture
def certificates(tmp_path):
    """Of the controller as environment, and TLS contexts of a switch: a good one, and one of another authority."""
    authority, other = trustme.CA(), trustme.CA()
    files = {name: str(tmp_path / f"{name}.pem") for name in ("certificate", "key", "ca")}
    pair = authority.issue_cert("localhost")
    pair.cert_chain_pems[0].write_to_path(files["certificate"])
    pair.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    contexts = []
    for issuer in (authority, other):
        context = ssl.create_default_context()
        authority.configure_trust(context)
        issuer.issue_cert("switch").configure_cert(context)
        contexts.append(context)
    return {f"LINKS_OPENFLOW_TLS_{name.upper()}": file for name, file in files.items()}, *contexts


def test_with_tls_only_switches_with_a_certificate_of_ours_get_in(tmp_path, certificates):
    environment, good, foreign = certificates
    service = FakeService()
    ryu = RyuProcess(tmp_path, LINKS_SERVICE=service.address, **environment)
    service.wait_attached()
    switches = [FakeSwitch(number, {1: "one"}) for number in (GATEWAY, GATEWAY + 1)]
    connections = [switch.serve(ryu.port, good) for switch in switches]  # more than one
    service.wait_connected([switch.datapath_id for switch in switches])
    assert service.program({GATEWAY: GATEWAY_TABLE}).switches[0].confirmed
    plain, stranger = FakeSwitch(GATEWAY + 2, {1: "one"}), FakeSwitch(GATEWAY + 3, {1: "one"})
    connections.append(plain.serve(ryu.port))
    try:
        connections.append(stranger.serve(ryu.port, foreign))
    except OSError:
        pass  # TLS 1.3 may tell it only with the first message
    until(lambda: ryu.text().count("no TLS") == 2)
    assert "CERTIFICATE_VERIFY_FAILED" in ryu.text() and not {GATEWAY + 2, GATEWAY + 3} & service.connected()
    for connection in connections:
        connection.close()
    assert ryu.stop() == 0
    service.stop()


def test_tls_files_that_cannot_be_read_are_named(tmp_path, certificates):
    environment = certificates[0] | {"LINKS_OPENFLOW_TLS_KEY": str(tmp_path / "none.pem")}
    ryu = RyuProcess(tmp_path, LINKS_SERVICE=f"127.0.0.1:{free_port()}", **environment)
    assert ryu.process.wait(20) == 1
    assert "tls_certificate, tls_key and tls_ca must name PEM files that can be read" in ryu.text()


def test_a_dead_switch_is_found_within_ten_seconds(service, pair):
    service.program(pair.tables)
    pair.gateway.silent = {ECHO_REQUEST}
    service.wait_for(lambda: pair.ids[0] not in service.connected(), 11.0)


def test_a_taken_openflow_port_ends_the_process(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        ryu = RyuProcess(tmp_path, port=other.getsockname()[1], LINKS_SERVICE=f"127.0.0.1:{free_port()}")
        assert ryu.process.wait(20) == 1
    assert "Address already in use" in ryu.text()
    assert "is its OpenFlow port taken?" in ryu.text()


def test_an_impossible_error_ends_the_process_and_is_seen(tmp_path):
    """Ryu itself would log it and go on with handlers in an unknown state."""
    broken = application(tmp_path, "def _take(self, program): raise RuntimeError('boom')")
    service = FakeService()
    ryu = RyuProcess(tmp_path, broken, LINKS_SERVICE=service.address)
    service.wait_attached()
    service.send(program=control_pb2.FlowProgram(epoch=1, sequence=1))
    assert ryu.process.wait(20) == 1
    assert "RuntimeError: boom" in ryu.text()
    service.stop()


def test_native_threads_that_meet_at_one_of_grpcs_locks_both_go_on():
    """With grpc imported the ordinary way this hangs: eventlet's locks work within one thread only."""
    code = """
import eventlet; eventlet.monkey_patch()
from eventlet import patcher, tpool
from controller import service_link
import grpc, os, sys, threading
native = patcher.original("threading")
assert threading is not native
used = {name: module.threading for name, module in sys.modules.items()
        if name.startswith("grpc.") and hasattr(module, "threading")}
assert "grpc._channel" in used and "grpc._cython.cygrpc" in used and set(used.values()) == {native}, used
lock = grpc._channel._RPCState((), None, None, None, None).condition
sleep = patcher.original("time").sleep
def hold():
    with lock:
        sleep(0.3)
def want():
    sleep(0.1)
    with lock:
        return "got it"
first, second = eventlet.spawn(tpool.execute, hold), eventlet.spawn(tpool.execute, want)
first.wait()
with eventlet.Timeout(10):
    print(second.wait(), flush=True)
os._exit(0)
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "got it\n", result.stderr


# --- The service as a child -----------------------------------------------------------------------------------------


class Supervised:
    """An application whose service is ``fake_service.py`` as a process; ``events`` are (what, process id)."""

    def __init__(
        self,
        directory: File,
        address: str = "",
        command: str = "",
        variable: str = "LINKS_SERVICE_LISTEN",
        extra: str = "pass",
    ):
        self.directory, self.variable, self.address = directory, variable, address or f"127.0.0.1:{free_port()}"
        self.events_file = directory / "events"
        command = command or repr([sys.executable, fake_service.__file__, self.address, str(self.events_file)])
        self.application = application(directory, f"SERVICE_COMMAND = {command}; {extra}")
        self.ryu = self.start()

    def start(self) -> RyuProcess:
        return RyuProcess(self.directory, self.application, **{self.variable: self.address})

    def events(self, what: str = "") -> list[tuple[str, int]]:
        lines = self.events_file.read_text().splitlines() if self.events_file.exists() else []
        events = [(line.split()[0], int(line.split()[1])) for line in lines]
        return [event for event in events if event[0] == what] if what else events

    def wait(self, what: str, count: int) -> int:
        """Wait for so many events; the process id of the last."""
        return until(lambda: len(self.events(what)) >= count and self.events(what)[-1][1])


def alive(pid: int) -> bool:
    stat = File(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_service_is_started_watched_and_stopped(tmp_path):
    it = Supervised(tmp_path)
    first = it.wait("attach", 1)
    os.kill(first, signal.SIGKILL)
    second = it.wait("attach", 2)
    assert second != first
    log_of(it.ryu, "ended with signal 9 (Killed)")
    os.kill(second, signal.SIGTERM)  # and when it ends by itself
    third = it.wait("attach", 3)
    log_of(it.ryu, "ended with exit code 0")
    assert it.ryu.stop() == 0
    assert it.events()[-1] == ("stop", third)
    assert len(it.events("start")) == 3
    assert not alive(third)


def test_a_frozen_service_is_replaced(tmp_path):
    it = Supervised(tmp_path, extra="from controller import service_process; service_process.SILENCE_LIMIT_S = 0.5")
    frozen = it.wait("attach", 1)
    log_of(it.ryu, f"process {frozen}, serves")
    os.kill(frozen, signal.SIGSTOP)
    assert it.wait("attach", 2) != frozen
    assert f"process {frozen}: has not answered for 0.5 s" in it.ryu.text()
    assert not alive(frozen)
    assert it.ryu.stop() == 0


def test_the_service_outlives_a_killed_application_and_is_joined_by_the_next(tmp_path):
    it = Supervised(tmp_path)
    pid = it.wait("attach", 1)
    it.ryu.stop(signal.SIGKILL)
    it.ryu = it.start()
    it.wait("attach", 2)
    log_of(it.ryu, "joined the links service")
    assert it.events() == [("start", pid), ("attach", pid), ("attach", pid)]
    # When the one that was joined dies, it has a successor.
    os.kill(pid, signal.SIGKILL)
    successor = it.wait("attach", 3)
    assert len(it.events("start")) == 2
    assert it.ryu.stop() == 0
    assert not alive(successor)


def test_a_service_that_serves_is_joined_and_no_second_one_started(tmp_path):
    service = FakeService()
    ryu = RyuProcess(tmp_path, "controller.ryu_app", LINKS_SERVICE_LISTEN=service.address)  # by module name works too
    service.wait_attached()
    log_of(ryu, "joined the links service")
    assert ryu.stop() == 0
    assert "started the links service" not in ryu.text()
    service.stop()


def test_nothing_is_started_on_an_address_that_something_else_holds(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        it = Supervised(tmp_path, f"127.0.0.1:{other.getsockname()[1]}")
        log_of(it.ryu, "is taken but does not serve")
        assert it.events() == []
        assert it.ryu.stop() == 0


def test_a_service_that_dies_at_its_start_is_tried_again(tmp_path):
    code = f"open({str(tmp_path / 'events')!r}, 'a').write('start 1\\n'); raise SystemExit(3)"
    it = Supervised(tmp_path, command=repr([sys.executable, "-c", code]))
    it.wait("start", 3)  # at once, after 0.5 s, after 1 s
    log_of(it.ryu, "ended with exit code 3")
    assert it.ryu.stop() == 0


def test_with_links_service_nothing_is_ever_started(tmp_path):
    it = Supervised(tmp_path, variable="LINKS_SERVICE")
    log_of(it.ryu, f"links service at {it.address}: UNAVAILABLE")
    service = FakeService(it.address)
    service.wait_attached()
    assert it.ryu.stop() == 0
    assert it.events() == []
    service.stop()
