"""The Ryu application: carries out flow programs of the links service on the switches, and keeps that service running.

    ryu-manager controller/ryu_app.py

is the one command of the control plane. It starts the service as its child, or joins the one that serves already; with
LINKS_SERVICE=host:port it only joins. The configuration is the service's (``controller.config``).
"""

import os
import signal
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial

import eventlet
from ryu.base import app_manager
from ryu.controller import controller as ryu_controller
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub

from controller import service_link  # first: it sees to how grpc is imported
from controller.config import Config, ConfigError, load_config
from controller.entries import SwitchTable
from controller.flow_messages import entry_to_proto, table_from_proto
from controller.openflow import OFP_VERSION, error_text
from controller.service_process import COMMAND, ServiceProcess
from controller.switch import PortCounters, Switch, SwitchLost
from controller.switch_tls import TlsServer, context_of
from controller.transaction import Outcome, transact
from proto import control_pb2
from proto.connection import Connection
from twin.wiring import role_of

# A switch that leaves more than this many echo requests unanswered is taken for lost, within 10 s. Ryu's default is
# never.
_ECHO_INTERVAL_S, _ECHOES = 2.0, 2
_SIGNAL_LOOK_S = 0.1
_DUPLICATE_S = 1.0  # in which a switch that is still there answers
_PROGRAMS_WAITING = 16

Version = tuple[int, int]  # epoch and sequence of a flow program


class LinksController(app_manager.RyuApp):
    """Switches by datapath id, the table in force for each, and what goes between them and the service.

    A program is carried out on all its switches or on none (``controller.transaction``). Its tables are then in force:
    switches that come back get theirs, and from time to time all are compared with them and mended. A switch that no
    program has named is left alone. While the service is away the tables stay in force.
    """

    OFP_VERSIONS = [OFP_VERSION]
    SERVICE_COMMAND = COMMAND
    SWITCH_TIMEOUT_S = 5.0  # for an answer from a switch

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        config = _config()
        self.CONF.set_default("maximum_unreplied_echo_requests", _ECHOES)
        self.CONF.set_default("echo_request_interval", _ECHO_INTERVAL_S)
        self.CONF.set_default("ofp_listen_host", "127.0.0.1")  # Ryu's is every address; --ofp-listen-host opens it
        if config.openflow.tls_certificate:
            ryu_controller.StreamServer = partial(TlsServer, _tls_context(config))
        # An emulated clock goes on, and does not start anew, when the service is started again.
        os.environ.setdefault("LINKS_CLOCK_WALL_START", repr(time.time()))
        connection, join_only = _connection(config)
        self.id = f"ryu-{uuid.uuid4().hex[:12]}"
        self.switches: dict[int, Switch] = {}
        self.tables: dict[int, SwitchTable] = {}  # in force: of the newest program that all its switches confirmed
        self.newest: Version = (0, 0)
        self._programs: eventlet.queue.LightQueue = eventlet.queue.LightQueue(_PROGRAMS_WAITING)
        self._reconcile_s = config.openflow.reconcile_s
        self._link = service_link.ServiceLink(connection, self._hello, self._on_command, self.logger)
        self._process = None if join_only else ServiceProcess(connection, self.logger, self.SERVICE_COMMAND)
        self._signal = 0

    # --- Life of the process

    def start(self) -> None:
        super().start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._spawn(self._end_on_signal)
        self._spawn(self._carry_out_all)
        self._spawn(self._reconcile_all)
        self._spawn(self._link.run)
        if self._process is not None:
            self._spawn(self._process.run)

    def close(self) -> None:
        """Called by Ryu at the end: stops the service that was started here."""
        self._link.close()
        if self._process is not None:
            self._process.stop()
        if not self._signal:  # Ryu's main would return as if all were well
            self.logger.error("Ryu ended by itself, see above; is its OpenFlow port taken?")
            _end_process()

    def _on_signal(self, number: int, _frame) -> None:
        # Only noted: raised here, KeyboardInterrupt would end whichever greenlet happens to run, and be swallowed.
        self._signal = number

    def _end_on_signal(self) -> None:
        while not self._signal:
            hub.sleep(_SIGNAL_LOOK_S)
        self.logger.info("%s: ending; flow entries stay on the switches", signal.strsignal(self._signal))
        app_manager.AppManager.get_instance().close()  # ends what Ryu's main waits for

    def _spawn(self, function: Callable, *args) -> None:
        """Run in a greenlet whose failure ends the process: what it left half done can't be trusted."""

        def guarded() -> None:
            try:
                function(*args)
            except Exception:
                self._fail(function.__qualname__)

        eventlet.spawn(guarded)

    def _fail(self, where: str) -> None:
        """An error that should not be possible: end, so that a fresh start reads the state from the switches."""
        self.logger.exception("%s failed; ending. Flow entries stay on the switches, the service goes on", where)
        _end_process()

    # --- Switches

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state_change(self, event) -> None:
        """A switch has connected, or its connection has ended. (Ryu swallows what handlers raise, hence the guard.)"""
        try:
            datapath = event.datapath
            if event.state == MAIN_DISPATCHER:
                self._spawn(self._meet, datapath)
            else:
                self._part(datapath)
        except Exception:
            self._fail("on_state_change")

    def _meet(self, datapath) -> None:
        """A connection is up: it is a switch of ours unless its number has no role or belongs to one that is there."""
        if role_of(datapath.id) is None:
            self._refuse(datapath, "its number says no role in a LINKs network; see docs/sdn.md")
            return
        while (known := self.switches.get(datapath.id)) is not None:
            if _answers(known):
                self._refuse(datapath, "another switch of this number is connected; give each its own datapath id")
                return
            if self.switches.get(datapath.id) is known:  # while it was asked, a third one may have come
                break
        if datapath.state == DEAD_DISPATCHER:  # ended in the meantime
            return
        if known is not None:
            known.lose("the switch has connected again")
            self._report(switch=control_pb2.SwitchState(datapath_id=datapath.id, connected=False))
        switch = self.switches[datapath.id] = Switch(datapath, self.SWITCH_TIMEOUT_S)
        self._welcome(switch)

    def _refuse(self, datapath, reason: str) -> None:
        address = ":".join(map(str, datapath.address[:2]))
        self.logger.error("switch %#x at %s refused: %s", datapath.id, address, reason)
        datapath.close()

    def _part(self, datapath) -> None:
        """A connection has ended."""
        known = self.switches.get(datapath.id)
        if known is not None and known.datapath is datapath:
            del self.switches[datapath.id]
            known.lose("the connection ended")
            self.logger.warning("switch %#x: the connection ended", datapath.id)
            self._report(switch=control_pb2.SwitchState(datapath_id=datapath.id, connected=False))

    @set_ev_cls(
        [
            ofp_event.EventOFPBarrierReply,
            ofp_event.EventOFPEchoReply,
            ofp_event.EventOFPErrorMsg,
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPGroupDescStatsReply,
            ofp_event.EventOFPMeterConfigStatsReply,
            ofp_event.EventONFBundleCtrlMsg,
            ofp_event.EventOFPPortDescStatsReply,
            ofp_event.EventOFPPortStatsReply,
        ],
        MAIN_DISPATCHER,
    )
    def on_reply(self, event) -> None:
        """An answer or an error from a switch."""
        try:
            message = event.msg
            switch = self.switches.get(message.datapath.id)
            taken = switch is not None and switch.datapath is message.datapath and switch.deliver(message)
            if not taken and isinstance(event, ofp_event.EventOFPErrorMsg):
                self.logger.error("switch %#x: %s", message.datapath.id or 0, error_text(message))
        except Exception:
            self._fail("on_reply")

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def on_port_status(self, event) -> None:
        """A port has come, gone or changed."""
        try:
            switch = self.switches.get(event.msg.datapath.id)
            if switch is not None:
                self._spawn(self._report_ports, switch)
        except Exception:
            self._fail("on_port_status")

    def _welcome(self, switch: Switch) -> None:
        """Read what a switch that has just connected holds, and bring it to the table in force if there is one."""
        started = time.monotonic()
        try:
            held = switch.read_flows()
            switch.read_ports()
        except SwitchLost as lost:
            self.logger.warning("switch %#x: %s", switch.id, lost)
            return
        self.logger.info("switch %#x connected with %d flow entries of ours", switch.id, len(held))
        # Before the service hears of it, so that what it sends next finds the switch as it was.
        self._reconcile(switch)
        if switch.id in self.tables:
            seconds = time.monotonic() - started
            self.logger.info("switch %#x holds its table again %.3f s after it connected", switch.id, seconds)
        self._report(switch=_switch_state(switch))

    def _reconcile_all(self) -> None:
        """From time to time, compare what switches hold with the tables in force, and mend it."""
        while True:
            eventlet.sleep(self._reconcile_s)
            for switch in list(self.switches.values()):
                self._reconcile(switch)

    def _reconcile(self, switch: Switch) -> None:
        """Have a switch hold the table in force. One that refuses is tried again with the next look."""
        if switch.id not in self.tables or switch.lost:
            return

        def in_force(switch: Switch) -> SwitchTable:
            switch.holds = None  # to be read anew
            return self.tables[switch.id]

        (outcome,) = transact([switch], in_force).values()
        if outcome.error:
            self.logger.error("switch %#x does not hold what it should: %s", switch.id, outcome.error)
        elif changed := outcome.added + outcome.modified + outcome.deleted:
            self.logger.warning("switch %#x: %d items differed and were put right", switch.id, changed)

    def _report_ports(self, switch: Switch) -> None:
        before = switch.port_status
        try:
            if switch.read_ports() != before:
                self._report(switch=_switch_state(switch))
        except SwitchLost:
            pass  # reported when the connection ends

    # --- The service

    def _hello(self) -> control_pb2.ControllerHello:
        switches = map(_switch_state, self.switches.values())
        return control_pb2.ControllerHello(controller_id=self.id, pid=os.getpid(), switches=switches)

    def _report(self, **report) -> None:
        self._link.report(control_pb2.ControllerReport(controller_id=self.id, **report))

    def _on_command(self, command: control_pb2.ControllerCommand) -> None:
        match command.WhichOneof("command"):
            case "program":
                self._take(command.program)
            case "stats":
                self._spawn(self._answer, command.stats)
            case _:
                self.logger.error("the service sent a command that this version does not know; it is ignored")

    def _take(self, program: control_pb2.FlowProgram) -> None:
        """Have a program carried out after those that came before, unless a newer one has been here."""
        version = program.epoch, program.sequence
        if version < self.newest:
            self._turn_down(
                program,
                "stale program: epoch {}, sequence {} came after epoch {}, sequence {}".format(*version, *self.newest),
            )
            return
        self.newest = version
        try:
            self._programs.put_nowait(program)
        except eventlet.queue.Full:
            self._turn_down(program, f"{_PROGRAMS_WAITING} programs wait already; send it again later")

    def _turn_down(self, program: control_pb2.FlowProgram, reason: str) -> None:
        self.logger.error(reason)
        outcomes = {table.datapath_id: Outcome(error=reason) for table in program.tables}
        self._report(program=_program_result((program.epoch, program.sequence), outcomes))

    def _carry_out_all(self) -> None:
        while True:
            self._carry_out(self._programs.get())

    def _carry_out(self, program: control_pb2.FlowProgram) -> None:
        """Install on all switches or on none; one report when it is done."""
        version = program.epoch, program.sequence
        tables = {table.datapath_id: table_from_proto(table) for table in program.tables}
        started = time.monotonic()
        absent = tables.keys() - self.switches.keys()
        if absent:
            outcomes = {number: Outcome(error="not connected" if number in absent else "") for number in tables}
        else:
            outcomes = transact(
                [self.switches[number] for number in tables],
                lambda switch: tables[switch.id],
                lambda: self.tables.update(tables),
            )
        failed = [number for number, outcome in outcomes.items() if outcome.error]
        for number in failed:
            self.logger.warning("switch %#x: %s", number, outcomes[number].error)
        for number, outcome in outcomes.items():
            if outcome.rolled_back:
                self.logger.error("switch %#x was not brought back to what it held: %s", number, outcome.rolled_back)
        self.logger.info(
            "program %d: %s, %d added, %d modified, %d deleted, %.3f s",
            version[1],
            f"refused by {len(failed)} of {len(tables)} switches" if failed else f"confirmed by {len(tables)} switches",
            *(
                sum(getattr(outcome, name) for outcome in outcomes.values())
                for name in ("added", "modified", "deleted")
            ),
            time.monotonic() - started,
        )
        self._report(program=_program_result(version, outcomes))

    def _answer(self, request: control_pb2.FlowStatsRequest) -> None:
        """Read the counters of all switches asked for, at the same time, and report them."""
        reply = control_pb2.StatsReply(request=request.request)
        asked = {number: self.switches.get(number) for number in request.datapath_ids} or dict(self.switches)
        reads = {number: eventlet.spawn(_read_counters, switch) for number, switch in asked.items()}
        for number, read in reads.items():
            flows, ports = read.wait()
            if flows is None:
                reply.missing_datapath_ids.append(number)
                continue
            for row in flows:
                entry = entry_to_proto(row.entry)
                counters = {"packets": row.packets, "bytes": row.bytes, "duration_s": row.duration_s}
                reply.flows.add(datapath_id=number, entry=entry, **counters)
            for port in ports:
                reply.ports.add(datapath_id=number, **{name: getattr(port, name) for name in PortCounters.__slots__})
        self._report(stats=reply)


def _end_process() -> None:
    """End with exit code 1, now: Ryu swallows exceptions, SystemExit too."""
    sys.stderr.flush()
    os._exit(1)


def _config() -> Config:
    """The configuration. Ends the process on a bad one."""
    try:
        return load_config()
    except ConfigError as error:
        raise SystemExit(f"ryu_app: {error}") from None


def _connection(config: Config) -> tuple[Connection, bool]:
    """How to reach the service, and whether it is only to be joined. Ends the process on a bad configuration."""
    service = config.service
    join = os.environ.get("LINKS_SERVICE", "")
    address = join or service.listen
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        name = "LINKS_SERVICE" if join else "service.listen"
        raise SystemExit(f"ryu_app: {name}: {address!r} must be host:port with a port of 1 to 65535")
    if service.tls_ca and not os.access(service.tls_ca, os.R_OK):
        raise SystemExit(f"ryu_app: service.tls_ca: {service.tls_ca!r} can't be read; name a PEM file")
    return Connection(address, service.tls_ca, service.token), bool(join)


def _tls_context(config: Config) -> ssl.SSLContext:
    """Ends the process where it can't be made."""
    try:
        return context_of(config.openflow)
    except ConfigError as error:
        raise SystemExit(f"ryu_app: {error}") from None


def _answers(switch: Switch) -> bool:
    """Whether a switch is still there."""
    with eventlet.Timeout(_DUPLICATE_S, False):
        try:
            switch.ping()
            return True
        except SwitchLost:
            pass
    return False


def _read_counters(switch: Switch | None) -> tuple:
    """Flow and port counters, or None twice without a switch that answers."""
    try:
        return (switch.read_flows(), switch.read_port_counters()) if switch else (None, None)
    except SwitchLost:
        return None, None


def _switch_state(switch: Switch) -> control_pb2.SwitchState:
    ports = [control_pb2.PortState(port=port.port, name=port.name, up=port.up) for port in switch.port_status]
    return control_pb2.SwitchState(datapath_id=switch.id, connected=True, ports=ports)


def _program_result(version: Version, outcomes: Mapping[int, Outcome]) -> control_pb2.ProgramResult:
    """What became of a program. Where one switch failed none is confirmed."""
    failed = [number for number, outcome in outcomes.items() if outcome.error]
    result = control_pb2.ProgramResult(epoch=version[0], sequence=version[1])
    for number, outcome in outcomes.items():
        result.switches.add(
            datapath_id=number,
            confirmed=not failed,
            error=outcome.error,
            added=outcome.added,
            modified=outcome.modified,
            deleted=outcome.deleted,
            seconds=outcome.seconds,
            rolled_back=bool(failed) and not outcome.rolled_back,
        )
    return result
