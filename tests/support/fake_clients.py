"""Clients of ControlService for tests: a controller and a radio that keep what they are told and confirm it."""

import asyncio
from contextlib import asynccontextmanager, suppress

import grpc

from controller.entries import SwitchTable
from controller.flow_messages import entry_to_proto, table_from_proto
from proto import control_pb2, control_pb2_grpc


@asynccontextmanager
async def _served(stream, serving):
    """Run ``serving``, which reads ``stream``, and end both afterwards."""
    task = asyncio.create_task(serving)
    try:
        yield
    finally:
        stream.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, grpc.RpcError):
            await task


class FakeController:
    """Holds one flow table per switch, as the Ryu application and the switches together would."""

    def __init__(self, controller_id, datapath_ids, tables=None):
        self.id = controller_id
        self.connected = set(datapath_ids)
        self.tables = dict(tables or {})
        self.programs = []
        self.refuse = {}  # datapath id: error
        self.silent = False

    @asynccontextmanager
    async def attached(self, channel, metadata=()):
        stub = control_pb2_grpc.ControlServiceStub(channel)
        states = [control_pb2.SwitchState(datapath_id=dpid, connected=True) for dpid in self.connected]
        stream = stub.AttachController(
            control_pb2.ControllerHello(controller_id=self.id, switches=states), metadata=metadata
        )
        async with _served(stream, self._serve(stub, stream, metadata)):
            yield self

    async def _serve(self, stub, stream, metadata):
        async for command in stream:
            if self.silent:
                continue
            report = control_pb2.ControllerReport(controller_id=self.id)
            if command.HasField("program"):
                report.program.CopyFrom(self._apply(command.program))
            else:
                report.stats.CopyFrom(self._statistics(command.stats))
            await stub.ReportController(report, metadata=metadata)

    def _apply(self, program):
        self.programs.append(program)
        result = control_pb2.ProgramResult(epoch=program.epoch, sequence=program.sequence)
        for table in program.tables:
            dpid = table.datapath_id
            error = self.refuse.get(dpid) or ("" if dpid in self.connected else "not connected")
            row = result.switches.add(datapath_id=dpid, confirmed=not error, error=error)
            if not error:
                wanted = table_from_proto(table)
                before = set(self.tables.get(dpid, SwitchTable()).items)
                row.added, row.deleted = len(set(wanted.items) - before), len(before - set(wanted.items))
        if all(row.confirmed for row in result.switches):
            self.tables |= {table.datapath_id: table_from_proto(table) for table in program.tables}
        else:
            for row in result.switches:
                row.confirmed, row.rolled_back = False, not row.error
        return result

    def _statistics(self, request):
        reply = control_pb2.StatsReply(request=request.request)
        for dpid, table in self.tables.items():
            if not request.datapath_ids or dpid in request.datapath_ids:
                for entry in table.entries:
                    reply.flows.add(datapath_id=dpid, entry=entry_to_proto(entry))
        return reply

    async def report_switch(self, channel, dpid, connected, up=()):
        """``up``: ports as (number, whether it is up); without any the switch says nothing of its ports."""
        (self.connected.add if connected else self.connected.discard)(dpid)
        stub = control_pb2_grpc.ControlServiceStub(channel)
        ports = [control_pb2.PortState(port=number, name=f"eth{number}", up=is_up) for number, is_up in up]
        state = control_pb2.SwitchState(datapath_id=dpid, connected=connected, ports=ports)
        await stub.ReportController(control_pb2.ControllerReport(controller_id=self.id, switch=state))


class FakeRadio:
    """Keeps the rate granted to each sensor last."""

    def __init__(self):
        self.rates = {}
        self.history = []

    @asynccontextmanager
    async def attached(self, channel, metadata=()):
        stub = control_pb2_grpc.ControlServiceStub(channel)
        stream = stub.AttachRadio(
            control_pb2.RadioHello(radio_id="test", kind="keeps what it is told"), metadata=metadata
        )
        async with _served(stream, self._serve(stub, stream, metadata)):
            yield self

    async def _serve(self, stub, stream, metadata):
        async for command in stream:
            rates = {grant.sensor_id: grant.rate_bps for grant in command.grants}
            self.rates |= rates
            self.history.append(rates)
            await stub.ReportRadio(
                control_pb2.RadioReport(sequence=command.sequence, applied=len(rates)), metadata=metadata
            )


async def until(condition, timeout_s=10.0):
    """Wait until ``condition()`` is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
