from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControllerHello(_message.Message):
    __slots__ = ("controller_id", "pid", "switches")
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    controller_id: str
    pid: int
    switches: _containers.RepeatedCompositeFieldContainer[SwitchState]
    def __init__(self, controller_id: _Optional[str] = ..., pid: _Optional[int] = ..., switches: _Optional[_Iterable[_Union[SwitchState, _Mapping]]] = ...) -> None: ...

class ControllerCommand(_message.Message):
    __slots__ = ("program", "stats")
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    program: FlowProgram
    stats: FlowStatsRequest
    def __init__(self, program: _Optional[_Union[FlowProgram, _Mapping]] = ..., stats: _Optional[_Union[FlowStatsRequest, _Mapping]] = ...) -> None: ...

class FlowProgram(_message.Message):
    __slots__ = ("epoch", "sequence", "tables")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    tables: _containers.RepeatedCompositeFieldContainer[SwitchTable]
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., tables: _Optional[_Iterable[_Union[SwitchTable, _Mapping]]] = ...) -> None: ...

class SwitchTable(_message.Message):
    __slots__ = ("datapath_id", "entries", "groups", "meters")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    METERS_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    entries: _containers.RepeatedCompositeFieldContainer[FlowEntry]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    meters: _containers.RepeatedCompositeFieldContainer[Meter]
    def __init__(self, datapath_id: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[FlowEntry, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ..., meters: _Optional[_Iterable[_Union[Meter, _Mapping]]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("group_id", "buckets")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, group_id: _Optional[int] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("watch_port", "actions")
    WATCH_PORT_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    watch_port: int
    actions: _containers.RepeatedCompositeFieldContainer[FlowAction]
    def __init__(self, watch_port: _Optional[int] = ..., actions: _Optional[_Iterable[_Union[FlowAction, _Mapping]]] = ...) -> None: ...

class Meter(_message.Message):
    __slots__ = ("meter_id", "rate_kbps", "burst_kbits")
    METER_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_KBPS_FIELD_NUMBER: _ClassVar[int]
    BURST_KBITS_FIELD_NUMBER: _ClassVar[int]
    meter_id: int
    rate_kbps: int
    burst_kbits: int
    def __init__(self, meter_id: _Optional[int] = ..., rate_kbps: _Optional[int] = ..., burst_kbits: _Optional[int] = ...) -> None: ...

class FlowEntry(_message.Message):
    __slots__ = ("table_id", "priority", "cookie", "match", "actions", "goto_table", "meter_id")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    COOKIE_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    GOTO_TABLE_FIELD_NUMBER: _ClassVar[int]
    METER_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: int
    priority: int
    cookie: int
    match: FlowMatch
    actions: _containers.RepeatedCompositeFieldContainer[FlowAction]
    goto_table: int
    meter_id: int
    def __init__(self, table_id: _Optional[int] = ..., priority: _Optional[int] = ..., cookie: _Optional[int] = ..., match: _Optional[_Union[FlowMatch, _Mapping]] = ..., actions: _Optional[_Iterable[_Union[FlowAction, _Mapping]]] = ..., goto_table: _Optional[int] = ..., meter_id: _Optional[int] = ...) -> None: ...

class FlowMatch(_message.Message):
    __slots__ = ("in_port", "eth_type", "eth_src", "eth_dst", "ipv4_src", "ipv4_dst", "arp_op", "arp_spa", "arp_tpa", "arp_sha", "ip_dscp")
    IN_PORT_FIELD_NUMBER: _ClassVar[int]
    ETH_TYPE_FIELD_NUMBER: _ClassVar[int]
    ETH_SRC_FIELD_NUMBER: _ClassVar[int]
    ETH_DST_FIELD_NUMBER: _ClassVar[int]
    IPV4_SRC_FIELD_NUMBER: _ClassVar[int]
    IPV4_DST_FIELD_NUMBER: _ClassVar[int]
    ARP_OP_FIELD_NUMBER: _ClassVar[int]
    ARP_SPA_FIELD_NUMBER: _ClassVar[int]
    ARP_TPA_FIELD_NUMBER: _ClassVar[int]
    ARP_SHA_FIELD_NUMBER: _ClassVar[int]
    IP_DSCP_FIELD_NUMBER: _ClassVar[int]
    in_port: int
    eth_type: int
    eth_src: str
    eth_dst: str
    ipv4_src: str
    ipv4_dst: str
    arp_op: int
    arp_spa: str
    arp_tpa: str
    arp_sha: str
    ip_dscp: int
    def __init__(self, in_port: _Optional[int] = ..., eth_type: _Optional[int] = ..., eth_src: _Optional[str] = ..., eth_dst: _Optional[str] = ..., ipv4_src: _Optional[str] = ..., ipv4_dst: _Optional[str] = ..., arp_op: _Optional[int] = ..., arp_spa: _Optional[str] = ..., arp_tpa: _Optional[str] = ..., arp_sha: _Optional[str] = ..., ip_dscp: _Optional[int] = ...) -> None: ...

class FlowAction(_message.Message):
    __slots__ = ("output", "arp_reply", "to_group", "send_back")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ARP_REPLY_FIELD_NUMBER: _ClassVar[int]
    TO_GROUP_FIELD_NUMBER: _ClassVar[int]
    SEND_BACK_FIELD_NUMBER: _ClassVar[int]
    output: int
    arp_reply: ArpReply
    to_group: int
    send_back: int
    def __init__(self, output: _Optional[int] = ..., arp_reply: _Optional[_Union[ArpReply, _Mapping]] = ..., to_group: _Optional[int] = ..., send_back: _Optional[int] = ...) -> None: ...

class ArpReply(_message.Message):
    __slots__ = ("mac", "ipv4")
    MAC_FIELD_NUMBER: _ClassVar[int]
    IPV4_FIELD_NUMBER: _ClassVar[int]
    mac: str
    ipv4: str
    def __init__(self, mac: _Optional[str] = ..., ipv4: _Optional[str] = ...) -> None: ...

class FlowStatsRequest(_message.Message):
    __slots__ = ("request", "datapath_ids")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    DATAPATH_IDS_FIELD_NUMBER: _ClassVar[int]
    request: int
    datapath_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, request: _Optional[int] = ..., datapath_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ControllerReport(_message.Message):
    __slots__ = ("controller_id", "program", "switch", "stats")
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    controller_id: str
    program: ProgramResult
    switch: SwitchState
    stats: StatsReply
    def __init__(self, controller_id: _Optional[str] = ..., program: _Optional[_Union[ProgramResult, _Mapping]] = ..., switch: _Optional[_Union[SwitchState, _Mapping]] = ..., stats: _Optional[_Union[StatsReply, _Mapping]] = ...) -> None: ...

class ProgramResult(_message.Message):
    __slots__ = ("epoch", "sequence", "switches")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    switches: _containers.RepeatedCompositeFieldContainer[SwitchResult]
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., switches: _Optional[_Iterable[_Union[SwitchResult, _Mapping]]] = ...) -> None: ...

class SwitchResult(_message.Message):
    __slots__ = ("datapath_id", "confirmed", "error", "added", "modified", "deleted", "seconds", "rolled_back")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROLLED_BACK_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    confirmed: bool
    error: str
    added: int
    modified: int
    deleted: int
    seconds: float
    rolled_back: bool
    def __init__(self, datapath_id: _Optional[int] = ..., confirmed: _Optional[bool] = ..., error: _Optional[str] = ..., added: _Optional[int] = ..., modified: _Optional[int] = ..., deleted: _Optional[int] = ..., seconds: _Optional[float] = ..., rolled_back: _Optional[bool] = ...) -> None: ...

class SwitchState(_message.Message):
    __slots__ = ("datapath_id", "connected", "ports")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    connected: bool
    ports: _containers.RepeatedCompositeFieldContainer[PortState]
    def __init__(self, datapath_id: _Optional[int] = ..., connected: _Optional[bool] = ..., ports: _Optional[_Iterable[_Union[PortState, _Mapping]]] = ...) -> None: ...

class PortState(_message.Message):
    __slots__ = ("port", "name", "up")
    PORT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    port: int
    name: str
    up: bool
    def __init__(self, port: _Optional[int] = ..., name: _Optional[str] = ..., up: _Optional[bool] = ...) -> None: ...

class StatsReply(_message.Message):
    __slots__ = ("request", "flows", "ports", "missing_datapath_ids")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_DATAPATH_IDS_FIELD_NUMBER: _ClassVar[int]
    request: int
    flows: _containers.RepeatedCompositeFieldContainer[FlowStatistics]
    ports: _containers.RepeatedCompositeFieldContainer[PortStatistics]
    missing_datapath_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, request: _Optional[int] = ..., flows: _Optional[_Iterable[_Union[FlowStatistics, _Mapping]]] = ..., ports: _Optional[_Iterable[_Union[PortStatistics, _Mapping]]] = ..., missing_datapath_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class FlowStatistics(_message.Message):
    __slots__ = ("datapath_id", "entry", "packets", "bytes", "duration_s")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    entry: FlowEntry
    packets: int
    bytes: int
    duration_s: int
    def __init__(self, datapath_id: _Optional[int] = ..., entry: _Optional[_Union[FlowEntry, _Mapping]] = ..., packets: _Optional[int] = ..., bytes: _Optional[int] = ..., duration_s: _Optional[int] = ...) -> None: ...

class PortStatistics(_message.Message):
    __slots__ = ("datapath_id", "port", "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    RX_PACKETS_FIELD_NUMBER: _ClassVar[int]
    TX_PACKETS_FIELD_NUMBER: _ClassVar[int]
    RX_BYTES_FIELD_NUMBER: _ClassVar[int]
    TX_BYTES_FIELD_NUMBER: _ClassVar[int]
    RX_DROPPED_FIELD_NUMBER: _ClassVar[int]
    TX_DROPPED_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    port: int
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int
    def __init__(self, datapath_id: _Optional[int] = ..., port: _Optional[int] = ..., rx_packets: _Optional[int] = ..., tx_packets: _Optional[int] = ..., rx_bytes: _Optional[int] = ..., tx_bytes: _Optional[int] = ..., rx_dropped: _Optional[int] = ..., tx_dropped: _Optional[int] = ...) -> None: ...

class ReportAck(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RadioHello(_message.Message):
    __slots__ = ("radio_id", "kind")
    RADIO_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    radio_id: str
    kind: str
    def __init__(self, radio_id: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class RadioCommand(_message.Message):
    __slots__ = ("sequence", "grants")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    grants: _containers.RepeatedCompositeFieldContainer[RateGrant]
    def __init__(self, sequence: _Optional[int] = ..., grants: _Optional[_Iterable[_Union[RateGrant, _Mapping]]] = ...) -> None: ...

class RateGrant(_message.Message):
    __slots__ = ("sensor_id", "rate_bps")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    rate_bps: float
    def __init__(self, sensor_id: _Optional[str] = ..., rate_bps: _Optional[float] = ...) -> None: ...

class RadioReport(_message.Message):
    __slots__ = ("sequence", "applied", "errors")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    applied: int
    errors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sequence: _Optional[int] = ..., applied: _Optional[int] = ..., errors: _Optional[_Iterable[str]] = ...) -> None: ...
