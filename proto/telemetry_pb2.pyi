import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LoadSample(_message.Message):
    __slots__ = ("cell_id", "time", "offered_bps", "carried_bps", "capacity_bps", "prb_used", "prb_total")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OFFERED_BPS_FIELD_NUMBER: _ClassVar[int]
    CARRIED_BPS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BPS_FIELD_NUMBER: _ClassVar[int]
    PRB_USED_FIELD_NUMBER: _ClassVar[int]
    PRB_TOTAL_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    time: _timestamp_pb2.Timestamp
    offered_bps: float
    carried_bps: float
    capacity_bps: float
    prb_used: int
    prb_total: int
    def __init__(self, cell_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., offered_bps: _Optional[float] = ..., carried_bps: _Optional[float] = ..., capacity_bps: _Optional[float] = ..., prb_used: _Optional[int] = ..., prb_total: _Optional[int] = ...) -> None: ...

class PublishSummary(_message.Message):
    __slots__ = ("accepted", "rejected", "rejections")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    rejected: int
    rejections: _containers.RepeatedCompositeFieldContainer[RejectedSample]
    def __init__(self, accepted: _Optional[int] = ..., rejected: _Optional[int] = ..., rejections: _Optional[_Iterable[_Union[RejectedSample, _Mapping]]] = ...) -> None: ...

class RejectedSample(_message.Message):
    __slots__ = ("index", "cell_id", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    cell_id: str
    reason: str
    def __init__(self, index: _Optional[int] = ..., cell_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
