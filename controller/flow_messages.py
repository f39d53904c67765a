"""Flow programs as gRPC messages: tables of switches to and from ``proto/control.proto``."""

from collections.abc import Mapping

from controller.entries import (
    MATCH_FIELDS,
    Action,
    ArpReply,
    Bucket,
    FlowEntry,
    Group,
    Match,
    Meter,
    Other,
    Output,
    SendBack,
    SwitchTable,
    ToGroup,
)
from proto import control_pb2


def program_to_proto(epoch: int, sequence: int, tables: Mapping[int, SwitchTable]) -> control_pb2.FlowProgram:
    """A flow program of complete tables by datapath id."""
    rows = [table_to_proto(datapath_id, table) for datapath_id, table in tables.items()]
    return control_pb2.FlowProgram(epoch=epoch, sequence=sequence, tables=rows)


def table_to_proto(datapath_id: int, table: SwitchTable) -> control_pb2.SwitchTable:
    """The table as a message."""
    return control_pb2.SwitchTable(
        datapath_id=datapath_id,
        entries=map(entry_to_proto, table.entries),
        groups=[
            control_pb2.Group(group_id=group.group_id, buckets=map(_bucket_to_proto, group.buckets))
            for group in table.groups
        ],
        meters=[
            control_pb2.Meter(meter_id=one.meter_id, rate_kbps=one.rate_kbps, burst_kbits=one.burst_kbits)
            for one in table.meters
        ],
    )


def table_from_proto(message: control_pb2.SwitchTable) -> SwitchTable:
    """The table of a message, as it stands: ``controller.pipeline.check`` tells whether it can be used."""
    return SwitchTable(
        tuple(map(entry_from_proto, message.entries)),
        tuple(
            Group(
                group.group_id,
                tuple(Bucket(one.watch_port, tuple(map(_action_from_proto, one.actions))) for one in group.buckets),
            )
            for group in message.groups
        ),
        tuple(Meter(one.meter_id, one.rate_kbps, one.burst_kbits) for one in message.meters),
    )


def entry_to_proto(entry: FlowEntry) -> control_pb2.FlowEntry:
    """The entry as a message. What LINKs never writes (``other``, ``Other``, timeouts) has no place in it and is left
    out."""
    return control_pb2.FlowEntry(
        table_id=entry.table_id,
        priority=entry.priority,
        cookie=entry.cookie,
        match=control_pb2.FlowMatch(**{name: getattr(entry.match, name) for name in MATCH_FIELDS}),
        actions=[_action_to_proto(action) for action in entry.actions if not isinstance(action, Other)],
        goto_table=entry.goto_table,
        meter_id=entry.meter_id,
    )


def entry_from_proto(message: control_pb2.FlowEntry) -> FlowEntry:
    """The entry of a message, as it stands."""
    return FlowEntry(
        message.table_id,
        message.priority,
        message.cookie,
        Match(**{name: getattr(message.match, name) for name in MATCH_FIELDS}),
        tuple(map(_action_from_proto, message.actions)),
        message.goto_table,
        message.meter_id,
    )


def _bucket_to_proto(bucket: Bucket) -> control_pb2.Bucket:
    return control_pb2.Bucket(watch_port=bucket.watch_port, actions=map(_action_to_proto, bucket.actions))


def _action_to_proto(action: Action) -> control_pb2.FlowAction:
    match action:
        case Output(port):
            return control_pb2.FlowAction(output=port)
        case ArpReply(mac, ipv4):
            return control_pb2.FlowAction(arp_reply=control_pb2.ArpReply(mac=mac, ipv4=ipv4))
        case ToGroup(number):
            return control_pb2.FlowAction(to_group=number)
        case SendBack(dscp):
            return control_pb2.FlowAction(send_back=dscp)
    raise TypeError(f"{action!r} is what a switch reported; it cannot be sent")


def _action_from_proto(message: control_pb2.FlowAction) -> Action:
    match message.WhichOneof("action"):
        case "output":
            return Output(message.output)
        case "arp_reply":
            return ArpReply(message.arp_reply.mac, message.arp_reply.ipv4)
        case "to_group":
            return ToGroup(message.to_group)
        case "send_back":
            return SendBack(message.send_back)
    return Other("no action set")
