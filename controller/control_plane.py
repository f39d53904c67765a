"""The service's side of the control plane: what should be installed, who carries it out, and what was confirmed.

``ControlPlane`` keeps the wanted routes, turns them into flow programs for the attached Ryu application, sends grants
to the attached radio emulator, and waits for confirmations. ``ControlServicer`` is its gRPC face.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field

import grpc

from controller.entries import SwitchTable
from controller.flow_messages import entry_from_proto, program_to_proto
from controller.flows import desired_tables, installed_routes
from controller.path_health import CellPath, PathHealth
from controller.subscriptions import Subscriptions
from proto import control_pb2, control_pb2_grpc
from twin.path import Path
from twin.wiring import Wiring

log = logging.getLogger(__name__)
COMMANDS_WAITING = 1_000
NO_CONTROLLER = "no Ryu application is attached; start it: ryu-manager controller/ryu_app.py"


class ControlPlaneError(RuntimeError):
    """Routes or grants could not be put in place; the message names the switch or sensor and the cause."""


@dataclass(frozen=True)
class Installed:
    """Outcome of one flow program; ``seconds`` from the program leaving to the last barrier confirmation."""

    sequence: int
    added: int = 0
    modified: int = 0
    deleted: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class _Session:
    """One attached client: the commands that wait for it, and the answers that it owes, by sequence or request."""

    id: str
    commands: asyncio.Queue = field(default_factory=lambda: asyncio.Queue(COMMANDS_WAITING))
    owed: dict[int, asyncio.Future] = field(default_factory=dict)

    def send(self, number: int, command) -> asyncio.Future:
        self.owed[number] = asyncio.get_running_loop().create_future()
        self.commands.put_nowait(command)
        return self.owed[number]

    def answer(self, number: int, reply) -> None:
        future = self.owed.pop(number, None)
        if future is not None and not future.done():
            future.set_result(reply)

    def close(self) -> None:
        for future in self.owed.values():
            if not future.done():
                future.set_exception(ControlPlaneError(f"{self.id} went away before it confirmed"))
                future.exception()  # nobody may be waiting any more
        self.owed.clear()


class ControlPlane:
    """Wanted state and its confirmation. All methods run in the service's event loop."""

    def __init__(self, wiring: Wiring, timeout_s: float, return_after_s: float = 5.0):
        self.wiring = wiring
        self.timeout_s = timeout_s
        self.epoch = time.time_ns()
        self.routes: dict[str, Path] = {}
        self.connected: set[int] = set()
        self.avoided: frozenset[CellPath] = frozenset()  # paths that traffic keeps off, since they are or were broken
        self.changed = Subscriptions()  # publishes "connections", "routes" or "paths"
        self._health = PathHealth(wiring, return_after_s)
        self._returning: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._controller: _Session | None = None
        self._radio: _Session | None = None
        self._ready = asyncio.Event()  # the controller has its first program
        self._adopted: set[int] = set()  # switches whose routes, if they had some, are known here
        self._confirmed: dict[int, SwitchTable] = {}
        self._installing = asyncio.Lock()
        self._tasks: set[asyncio.Task] = set()  # kept here, or they might be collected while they run

    @property
    def controller_attached(self) -> bool:
        return self._controller is not None

    @property
    def radio_attached(self) -> bool:
        return self._radio is not None

    async def install(self, changes: Mapping[str, Path]) -> Installed:
        """Route the sensors as given, the others as before; return once every switch has confirmed by barrier.

        Raises ControlPlaneError, and then the routes are what they were before.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise ControlPlaneError(NO_CONTROLLER) from None
        async with self._installing:
            await self._adopt()
            before, wanted = self.routes, self.routes | changes
            needed = self._switches_of({self.wiring.scenario.sensor[sensor].cell for sensor in changes})
            absent = needed - self._ready_switches
            if absent:
                raise ControlPlaneError("flow entries not installed: " + self._reasons(absent, {}))
            try:
                installed = await self._program(wanted, needed)
            except ControlPlaneError:
                await self._restore(before, needed)
                raise
            if wanted != before:
                self.routes = wanted
                self.changed.publish("routes")
            return installed

    def _switches_of(self, cells: Iterable[str]) -> set[int]:
        """Datapath ids of all switches on the ways of these cells' sensors."""
        wired = [self.wiring.cells[cell] for cell in cells]
        switches = [switch for c in wired for switch in (self.wiring.core, c.gateway, c.base_station, c.coordinator)]
        return {switch.datapath_id for switch in switches}

    @property
    def _ready_switches(self) -> set[int]:
        return self.connected & self._adopted

    async def _restore(self, routes: dict[str, Path], switches: set[int]) -> None:
        """Have switches hold former routes again, where the Ryu application has not seen to it already."""
        try:
            await self._program(routes, switches & self._ready_switches)
        except ControlPlaneError as error:
            log.error("the former routes could not be restored everywhere: %s", error)

    async def _program(self, routes: Mapping[str, Path], switches: set[int]) -> Installed:
        """Send these switches their tables, where they differ from what is confirmed; all hold them then, or none."""
        session = self._attached()
        tables = desired_tables(self.wiring, routes, self.avoided)
        changed = {dpid: tables[dpid] for dpid in sorted(switches) if self._confirmed.get(dpid) != tables[dpid]}
        sequence = next(self._numbers)
        if not changed:
            return Installed(sequence)
        before = {dpid: self._confirmed.pop(dpid) for dpid in changed if dpid in self._confirmed}
        program = control_pb2.ControllerCommand(program=program_to_proto(self.epoch, sequence, changed))
        started = time.monotonic()
        result = await self._reply(session, sequence, program, "flow program")
        results = {switch.datapath_id: switch for switch in result.switches if switch.datapath_id in changed}
        confirmed = [switch for switch in results.values() if switch.confirmed]
        self._confirmed |= {switch.datapath_id: changed[switch.datapath_id] for switch in confirmed}
        as_before = before.keys() & {dpid for dpid, switch in results.items() if switch.rolled_back}
        self._confirmed |= {dpid: before[dpid] for dpid in as_before}
        failed = changed.keys() - {switch.datapath_id for switch in confirmed}
        if failed:
            raise ControlPlaneError("flow entries not installed: " + self._reasons(failed, results))
        return Installed(
            sequence,
            sum(switch.added for switch in confirmed),
            sum(switch.modified for switch in confirmed),
            sum(switch.deleted for switch in confirmed),
            time.monotonic() - started,
        )

    def _reasons(self, failed: Iterable[int], results: Mapping[int, control_pb2.SwitchResult]) -> str:
        names = {switch.datapath_id: switch.name for switch in self.wiring.switches}
        at_fault = {dpid for dpid in failed if dpid not in results or results[dpid].error} or set(failed)
        reasons = [
            f"{names[dpid]}: {results[dpid].error if dpid in results else self._absence(dpid)}"
            for dpid in sorted(at_fault)
        ]
        return "; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more switches" if len(reasons) > 5 else "")

    def _absence(self, dpid: int) -> str:
        if dpid not in self.connected:
            return "not connected"
        return "not in the confirmation" if dpid in self._adopted else "its flow table can't be read"

    async def grant(self, rates_bps: Mapping[str, float]) -> int:
        """Tell the radio which uplink rate each sensor has, bit/s (0: idle rate). Returns how many it applied, 0
        without an attached radio. Raises ControlPlaneError when it could not apply one."""
        session = self._radio
        if session is None or not rates_bps:
            return 0
        sequence = next(self._numbers)
        grants = [control_pb2.RateGrant(sensor_id=sensor, rate_bps=rate) for sensor, rate in rates_bps.items()]
        command = control_pb2.RadioCommand(sequence=sequence, grants=grants)
        report = await self._reply(session, sequence, command, "grants")
        if report.errors:
            raise ControlPlaneError("grants not applied: " + "; ".join(report.errors[:5]))
        return report.applied

    async def statistics(self, datapath_ids: Iterable[int] = ()) -> control_pb2.StatsReply:
        """Flow and port counters as the switches report them now. Raises ControlPlaneError."""
        session, request = self._attached(), next(self._numbers)
        stats = control_pb2.FlowStatsRequest(request=request, datapath_ids=datapath_ids)
        return await self._reply(session, request, control_pb2.ControllerCommand(stats=stats), "statistics")

    def _attached(self) -> _Session:
        if self._controller is None:
            raise ControlPlaneError(NO_CONTROLLER)
        return self._controller

    async def _adopt(self) -> None:
        """Take over the routes on switches that this service instance meets for the first time: a former instance may
        have left them there. Own decisions go before them. Raises ControlPlaneError."""
        strangers = self.connected - self._adopted
        if not strangers:
            return
        reply = await self.statistics(strangers)
        found = self._found(reply)
        self._adopted |= strangers - set(reply.missing_datapath_ids)
        self.routes = found | self.routes
        if found:
            log.info("%d routes found on %d switches", len(found), len(strangers))

    async def _reply(self, session: _Session, number: int, command, what: str):
        try:
            async with asyncio.timeout(self.timeout_s):
                return await session.send(number, command)
        except TimeoutError:
            raise ControlPlaneError(f"{what}: {session.id} did not answer within {self.timeout_s:g} s") from None
        except asyncio.QueueFull:
            raise ControlPlaneError(f"{what}: {COMMANDS_WAITING} commands already wait for {session.id}") from None
        finally:
            session.owed.pop(number, None)

    # What the attached clients bring about.

    def attach_controller(self, session: _Session, switches: Iterable[control_pb2.SwitchState]) -> asyncio.Task:
        if self._controller is not None:
            log.warning("Ryu application %s takes the place of %s", session.id, self._controller.id)
            self._controller.close()
            self._controller.commands.put_nowait(None)
        self._controller = session
        self._confirmed.clear()
        switches = [switch for switch in switches if self._is_wired(switch)]
        self.connected = {switch.datapath_id for switch in switches if switch.connected}
        for switch in switches:
            self._heed_ports(switch)
        self.changed.publish("connections")
        return asyncio.create_task(self._welcome(session))

    async def _welcome(self, session: _Session) -> None:
        """The first program of a Ryu application."""
        await self._complete()
        async with self._installing:
            if self._controller is session:
                self._ready.set()
                self.changed.publish("routes")

    def _found(self, reply: control_pb2.StatsReply) -> dict[str, Path]:
        rows = ((flow.datapath_id, entry_from_proto(flow.entry)) for flow in reply.flows)
        return installed_routes(self.wiring, rows)

    async def _complete(self) -> None:
        """Give switches that have come their tables."""
        async with self._installing:
            if self._controller is None:
                return
            try:
                await self._adopt()
                await self._program(self.routes, self._ready_switches)
            except ControlPlaneError as error:
                log.warning("%s", error)
                await self._complete_one_by_one()

    async def _complete_one_by_one(self) -> None:
        """One switch that refuses its table shall not keep all others from theirs."""
        for dpid in self._ready_switches:
            try:
                await self._program(self.routes, {dpid})
            except ControlPlaneError as error:
                log.error("%s", error)

    def detach_controller(self, session: _Session) -> None:
        session.close()
        if self._controller is session:
            self._controller = None
            self._ready.clear()
            self.connected = set()
            self.changed.publish("connections")

    def report(self, report: control_pb2.ControllerReport) -> None:
        session = self._controller
        if session is None or session.id != report.controller_id:
            return  # of a Ryu application that has been replaced
        match report.WhichOneof("report"):
            case "program":
                if report.program.epoch == self.epoch:
                    session.answer(report.program.sequence, report.program)
            case "stats":
                session.answer(report.stats.request, report.stats)
            case "switch":
                self._on_switch(report.switch)

    def _on_switch(self, switch: control_pb2.SwitchState) -> None:
        """A switch has come, gone, or has other ports than before."""
        dpid = switch.datapath_id
        if not self._is_wired(switch):
            return
        if not switch.connected:
            self.connected.discard(dpid)
            self._confirmed.pop(dpid, None)
        else:
            if dpid not in self.connected:
                self.connected.add(dpid)
                self._confirmed.pop(dpid, None)
                self._start(self._complete())
            self._heed_ports(switch)
        self.changed.publish("connections")

    def _is_wired(self, switch: control_pb2.SwitchState) -> bool:
        known = switch.datapath_id in {node.datapath_id for node in self.wiring.switches}
        if not known:
            log.error("switch %#x is not part of the scenario and gets no flow entries", switch.datapath_id)
        return known

    def _heed_ports(self, switch: control_pb2.SwitchState) -> None:
        """Take note of ports that are up or down. A switch whose ports were not read says nothing of them."""
        if switch.connected and switch.ports:
            self._health.report(switch.datapath_id, {port.port for port in switch.ports if port.up}, time.monotonic())
            self._avoid()

    def _avoid(self) -> None:
        """Keep traffic off the paths that are or were broken, now and when the next of them counts again."""
        now_s, before = time.monotonic(), self.avoided
        self.avoided = self._health.avoided(now_s)
        for cell, path in sorted(self.avoided - before, key=str):
            ports = ", ".join(self.down_ports((cell, path)))
            log.warning("failover: cell %s leaves %s, port down: %s", cell, path.name, ports)
        for cell, path in sorted(before - self.avoided, key=str):
            log.warning("failover: cell %s may use %s again", cell, path.name)
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None
        if (next_s := self._health.next_return_s()) is not None:
            self._returning = asyncio.get_running_loop().call_later(max(0.0, next_s - now_s) + 0.001, self._avoid)
        if self.avoided != before:
            self.changed.publish("paths")
            self._start(self._complete())

    def down_ports(self, path: CellPath) -> list[str]:
        """The ports for which a path is broken now, in words."""
        return [self._port_name(port) for port in self._health.down_ports(path)]

    def _port_name(self, port: tuple[int, int]) -> str:
        names = {switch.datapath_id: switch.name for switch in self.wiring.switches}
        return f"{names[port[0]]} port {port[1]}"

    def _start(self, work: Coroutine) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def attach_radio(self, session: _Session) -> None:
        if self._radio is not None:
            self._radio.close()
            self._radio.commands.put_nowait(None)
        self._radio = session
        self.changed.publish("connections")

    def detach_radio(self, session: _Session) -> None:
        session.close()
        if self._radio is session:
            self._radio = None
            self.changed.publish("connections")

    def report_radio(self, report: control_pb2.RadioReport) -> None:
        if self._radio is not None:
            self._radio.answer(report.sequence, report)


class ControlServicer(control_pb2_grpc.ControlServiceServicer):
    """gRPC face of the control plane."""

    def __init__(self, plane: ControlPlane):
        self._plane = plane

    async def AttachController(self, request, context):
        if not request.controller_id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "controller_id is empty; use a new id at each start")
        session = _Session(request.controller_id)
        log.info("Ryu application %s attached, %d switches connected", session.id, len(request.switches))
        welcome = self._plane.attach_controller(session, request.switches)
        try:
            while (command := await session.commands.get()) is not None:
                yield command
            await context.abort(grpc.StatusCode.ABORTED, "another Ryu application has attached")
        finally:
            welcome.cancel()
            self._plane.detach_controller(session)
            log.info("Ryu application %s detached", session.id)

    async def ReportController(self, request, context):
        if request.WhichOneof("report") is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "report is empty; set program, switch or stats")
        self._plane.report(request)
        return control_pb2.ReportAck()

    async def AttachRadio(self, request, context):
        if not request.radio_id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "radio_id is empty; use a new id at each start")
        session = _Session(request.radio_id)
        log.info("radio %s (%s) attached", request.radio_id, request.kind)
        self._plane.attach_radio(session)
        try:
            while (command := await session.commands.get()) is not None:
                yield command
            await context.abort(grpc.StatusCode.ABORTED, "another radio has attached")
        finally:
            self._plane.detach_radio(session)
            log.info("radio %s detached", request.radio_id)

    async def ReportRadio(self, request, context):
        self._plane.report_radio(request)
        return control_pb2.ReportAck()
