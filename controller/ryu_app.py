"""The Ryu application: carries out flow programs of the links service on the switches, and keeps that service running.

    ryu-manager controller/ryu_app.py

is the one command of the control plane. It starts the service as its child, or joins the one that serves already; with
LINKS_SERVICE=host:port it only joins. The configuration is the service's (``controller.config``).
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import eventlet
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub

from controller import service_link  # first: it sees to how grpc is imported
from controller.config import ConfigError, load_config
from controller.flows import FlowEntry, FlowError, entry_from_proto, entry_to_proto
from controller.openflow import OFP_VERSION, PortCounters, Switch, SwitchLost, error_text
from controller.service_process import COMMAND, ServiceProcess
from proto import control_pb2
from proto.connection import Connection

# A switch that does not answer this many echo requests in a row is taken for lost. Ryu's default is never.
_ECHO_INTERVAL_S, _ECHOES = 5.0, 2
_SIGNAL_LOOK_S = 0.1

Version = tuple[int, int]  # epoch and sequence of a flow program


@dataclass(frozen=True)
class Table:
    """The newest table that a program gave a switch; ``entries`` is what is wrong with it when it cannot be used."""

    version: Version
    entries: tuple[FlowEntry, ...] | FlowError


class LinksController(app_manager.RyuApp):
    """Switches by datapath id, the newest table wanted for each, and what goes between them and the service.

    Tables are kept by switch, also for switches that are not connected: they get theirs when they come. A switch that
    no program has named is left alone. While the service is away the newest tables stay in force.
    """

    OFP_VERSIONS = [OFP_VERSION]
    SERVICE_COMMAND = COMMAND
    SWITCH_TIMEOUT_S = 5.0  # for an answer from a switch

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.CONF.set_default("maximum_unreplied_echo_requests", _ECHOES)
        self.CONF.set_default("echo_request_interval", _ECHO_INTERVAL_S)
        self.CONF.set_default("ofp_listen_host", "127.0.0.1")  # Ryu's is every address; --ofp-listen-host opens it
        # An emulated clock goes on, and does not start anew, when the service is started again.
        os.environ.setdefault("LINKS_CLOCK_WALL_START", repr(time.time()))
        connection, join_only = _connection()
        self.id = f"ryu-{uuid.uuid4().hex[:12]}"
        self.switches: dict[int, Switch] = {}
        self.tables: dict[int, Table] = {}
        self.newest: Version = (0, 0)
        self._link = service_link.ServiceLink(connection, self._hello, self._on_command, self.logger)
        self._process = None if join_only else ServiceProcess(connection, self.logger, self.SERVICE_COMMAND)
        self._signal = 0

    # --- Life of the process

    def start(self) -> None:
        super().start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._spawn(self._end_on_signal)
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
            known = self.switches.get(datapath.id)
            if event.state == MAIN_DISPATCHER:
                if known is not None:
                    known.lose("the switch has connected again")
                switch = self.switches[datapath.id] = Switch(datapath, self.SWITCH_TIMEOUT_S)
                self._spawn(self._welcome, switch)
            elif known is not None and known.datapath is datapath:
                del self.switches[datapath.id]
                known.lose("the connection ended")
                self.logger.warning("switch %#x: the connection ended", datapath.id)
                self._report(switch=control_pb2.SwitchState(datapath_id=datapath.id, connected=False))
        except Exception:
            self._fail("on_state_change")

    @set_ev_cls(
        [
            ofp_event.EventOFPBarrierReply,
            ofp_event.EventOFPErrorMsg,
            ofp_event.EventOFPFlowStatsReply,
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
        switch = self.switches.get(event.msg.datapath.id)
        if switch is not None:
            self._spawn(self._report_ports, switch)

    def _welcome(self, switch: Switch) -> None:
        """Read what a switch that has just connected holds, and bring it to the newest table if there is one."""
        try:
            flows = switch.read_flows()
            switch.read_ports()
        except SwitchLost as lost:
            self.logger.warning("switch %#x: %s", switch.id, lost)
            return
        self.logger.info("switch %#x connected with %d flow entries of ours", switch.id, len(flows))
        self._report(switch=_switch_state(switch))
        table = self.tables.get(switch.id)
        if table is not None:
            result = self._install(switch.id, table.version)
            self._report(program=_program_result(table.version, [result]))

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
        """Make a program's tables the wanted ones and carry them out, unless a newer program has been here."""
        version = program.epoch, program.sequence
        if version < self.newest:
            stale = "stale program: epoch {}, sequence {} came after epoch {}, sequence {}".format(
                *version, *self.newest
            )
            self.logger.error(stale)
            results = [control_pb2.SwitchResult(datapath_id=table.datapath_id, error=stale) for table in program.tables]
            self._report(program=_program_result(version, results))
            return
        self.newest = version
        for table in program.tables:
            try:
                entries = tuple(map(entry_from_proto, table.entries))
            except FlowError as error:
                entries = error
            self.tables[table.datapath_id] = Table(version, entries)
        self._spawn(self._carry_out, version, [table.datapath_id for table in program.tables])

    def _carry_out(self, version: Version, datapath_ids: list[int]) -> None:
        """Install on all switches at the same time; one report when all are done."""
        started = time.monotonic()
        installs = [eventlet.spawn(self._install, datapath_id, version) for datapath_id in datapath_ids]
        results = [install.wait() for install in installs]
        confirmed = sum(result.confirmed for result in results)
        self.logger.info(
            "program %d: %d of %d switches confirmed, %d added, %d modified, %d deleted, %.3f s",
            version[1],
            confirmed,
            len(results),
            *(sum(getattr(result, name) for result in results) for name in ("added", "modified", "deleted")),
            time.monotonic() - started,
        )
        self._report(program=_program_result(version, results))

    def _install(self, datapath_id: int, version: Version) -> control_pb2.SwitchResult:
        """Bring one switch to its newest table, and say whether that of ``version`` is confirmed."""
        switch, table = self.switches.get(datapath_id), self.tables[datapath_id]
        result = control_pb2.SwitchResult(datapath_id=datapath_id)
        if isinstance(table.entries, FlowError):
            result.error = str(table.entries)
        elif table.version != version:
            result.error = "superseded by epoch {}, sequence {}".format(*table.version)
        elif switch is None:
            result.error = "not connected"
        else:
            try:
                done = switch.apply(table.entries)
                result.error = "; ".join(done.errors[:3]) + (
                    f"; and {len(done.errors) - 3} more" * (len(done.errors) > 3)
                )
                result.added, result.modified, result.deleted = done.added, done.modified, done.deleted
                result.seconds = done.seconds
            except (SwitchLost, FlowError) as error:
                result.error = str(error)
        result.confirmed = not result.error
        if result.error:
            self.logger.warning("switch %#x: %s", datapath_id, result.error)
        return result

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


def _connection() -> tuple[Connection, bool]:
    """How to reach the service, and whether it is only to be joined. Ends the process on a bad configuration."""
    try:
        service = load_config().service
    except ConfigError as error:
        raise SystemExit(f"ryu_app: {error}") from None
    join = os.environ.get("LINKS_SERVICE", "")
    address = join or service.listen
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        name = "LINKS_SERVICE" if join else "service.listen"
        raise SystemExit(f"ryu_app: {name}: {address!r} must be host:port with a port of 1 to 65535")
    if service.tls_ca and not os.access(service.tls_ca, os.R_OK):
        raise SystemExit(f"ryu_app: service.tls_ca: {service.tls_ca!r} can't be read; name a PEM file")
    return Connection(address, service.tls_ca, service.token), bool(join)


def _read_counters(switch: Switch | None) -> tuple:
    """Flow and port counters, or None twice without a switch that answers."""
    try:
        return (switch.read_flows(), switch.read_port_counters()) if switch else (None, None)
    except SwitchLost:
        return None, None


def _switch_state(switch: Switch) -> control_pb2.SwitchState:
    ports = [control_pb2.PortState(port=port.port, name=port.name, up=port.up) for port in switch.port_status]
    return control_pb2.SwitchState(datapath_id=switch.id, connected=True, ports=ports)


def _program_result(version: Version, results: list[control_pb2.SwitchResult]) -> control_pb2.ProgramResult:
    return control_pb2.ProgramResult(epoch=version[0], sequence=version[1], switches=results)
