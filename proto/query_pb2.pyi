import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Human(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HUMAN_UNSPECIFIED: _ClassVar[Human]
    HUMAN_NEVER: _ClassVar[Human]
    HUMAN_TERMINATE: _ClassVar[Human]
    HUMAN_ALWAYS: _ClassVar[Human]
HUMAN_UNSPECIFIED: Human
HUMAN_NEVER: Human
HUMAN_TERMINATE: Human
HUMAN_ALWAYS: Human

class AskRequest(_message.Message):
    __slots__ = ("question", "now", "request_id", "human")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HUMAN_FIELD_NUMBER: _ClassVar[int]
    question: str
    now: _timestamp_pb2.Timestamp
    request_id: str
    human: Human
    def __init__(self, question: _Optional[str] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., human: _Optional[_Union[Human, str]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("approval_id", "go_on", "advice")
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    GO_ON_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    approval_id: str
    go_on: bool
    advice: str
    def __init__(self, approval_id: _Optional[str] = ..., go_on: _Optional[bool] = ..., advice: _Optional[str] = ...) -> None: ...

class ApproveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("question", "now")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    question: str
    now: _timestamp_pb2.Timestamp
    def __init__(self, question: _Optional[str] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DataPlan(_message.Message):
    __slots__ = ("query", "answerable", "reason", "items", "sensors", "planner", "model", "steps", "tokens", "seconds", "now")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    PLANNER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    query: str
    answerable: bool
    reason: str
    items: _containers.RepeatedCompositeFieldContainer[PlanItem]
    sensors: _containers.RepeatedScalarFieldContainer[str]
    planner: str
    model: str
    steps: int
    tokens: int
    seconds: float
    now: _timestamp_pb2.Timestamp
    def __init__(self, query: _Optional[str] = ..., answerable: _Optional[bool] = ..., reason: _Optional[str] = ..., items: _Optional[_Iterable[_Union[PlanItem, _Mapping]]] = ..., sensors: _Optional[_Iterable[str]] = ..., planner: _Optional[str] = ..., model: _Optional[str] = ..., steps: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PlanItem(_message.Message):
    __slots__ = ("type", "area", "window", "why")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    type: str
    area: Area
    window: _common_pb2.TimeWindow
    why: str
    def __init__(self, type: _Optional[str] = ..., area: _Optional[_Union[Area, _Mapping]] = ..., window: _Optional[_Union[_common_pb2.TimeWindow, _Mapping]] = ..., why: _Optional[str] = ...) -> None: ...

class Area(_message.Message):
    __slots__ = ("kind", "name", "lon", "lat", "radius_m", "ring")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LON_FIELD_NUMBER: _ClassVar[int]
    LAT_FIELD_NUMBER: _ClassVar[int]
    RADIUS_M_FIELD_NUMBER: _ClassVar[int]
    RING_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    lon: float
    lat: float
    radius_m: float
    ring: _containers.RepeatedCompositeFieldContainer[LonLat]
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., lon: _Optional[float] = ..., lat: _Optional[float] = ..., radius_m: _Optional[float] = ..., ring: _Optional[_Iterable[_Union[LonLat, _Mapping]]] = ...) -> None: ...

class LonLat(_message.Message):
    __slots__ = ("lon", "lat")
    LON_FIELD_NUMBER: _ClassVar[int]
    LAT_FIELD_NUMBER: _ClassVar[int]
    lon: float
    lat: float
    def __init__(self, lon: _Optional[float] = ..., lat: _Optional[float] = ...) -> None: ...

class AskEvent(_message.Message):
    __slots__ = ("sequence", "time", "plan", "loading", "forecasts", "decisions", "solution", "routes", "transfer", "notice", "turn", "approval", "result")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    FORECASTS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    SOLUTION_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    plan: DataPlan
    loading: LazyLoading
    forecasts: CellForecasts
    decisions: CellDecisions
    solution: RrmSolution
    routes: RoutesInstalled
    transfer: SensorTransfer
    notice: Notice
    turn: AgentTurn
    approval: Approval
    result: AskResult
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., plan: _Optional[_Union[DataPlan, _Mapping]] = ..., loading: _Optional[_Union[LazyLoading, _Mapping]] = ..., forecasts: _Optional[_Union[CellForecasts, _Mapping]] = ..., decisions: _Optional[_Union[CellDecisions, _Mapping]] = ..., solution: _Optional[_Union[RrmSolution, _Mapping]] = ..., routes: _Optional[_Union[RoutesInstalled, _Mapping]] = ..., transfer: _Optional[_Union[SensorTransfer, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., turn: _Optional[_Union[AgentTurn, _Mapping]] = ..., approval: _Optional[_Union[Approval, _Mapping]] = ..., result: _Optional[_Union[AskResult, _Mapping]] = ...) -> None: ...

class AgentTurn(_message.Message):
    __slots__ = ("step", "agent", "text")
    STEP_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    step: int
    agent: str
    text: str
    def __init__(self, step: _Optional[int] = ..., agent: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Approval(_message.Message):
    __slots__ = ("approval_id", "turn", "seconds")
    APPROVAL_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    approval_id: str
    turn: AgentTurn
    seconds: float
    def __init__(self, approval_id: _Optional[str] = ..., turn: _Optional[_Union[AgentTurn, _Mapping]] = ..., seconds: _Optional[float] = ...) -> None: ...

class LazyLoading(_message.Message):
    __slots__ = ("held_bytes", "missing_bytes", "demands")
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEMANDS_FIELD_NUMBER: _ClassVar[int]
    held_bytes: int
    missing_bytes: int
    demands: _containers.RepeatedCompositeFieldContainer[Demand]
    def __init__(self, held_bytes: _Optional[int] = ..., missing_bytes: _Optional[int] = ..., demands: _Optional[_Iterable[_Union[Demand, _Mapping]]] = ...) -> None: ...

class Demand(_message.Message):
    __slots__ = ("sensor_id", "cell_id", "windows", "bytes")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    cell_id: str
    windows: _containers.RepeatedCompositeFieldContainer[_common_pb2.TimeWindow]
    bytes: int
    def __init__(self, sensor_id: _Optional[str] = ..., cell_id: _Optional[str] = ..., windows: _Optional[_Iterable[_Union[_common_pb2.TimeWindow, _Mapping]]] = ..., bytes: _Optional[int] = ...) -> None: ...

class CellForecasts(_message.Message):
    __slots__ = ("model", "tau", "cells")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    model: str
    tau: float
    cells: _containers.RepeatedCompositeFieldContainer[CellForecast]
    def __init__(self, model: _Optional[str] = ..., tau: _Optional[float] = ..., cells: _Optional[_Iterable[_Union[CellForecast, _Mapping]]] = ...) -> None: ...

class CellForecast(_message.Message):
    __slots__ = ("cell_id", "latest_load", "mean", "decision_load", "slot_s", "observed_slots", "note")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    LATEST_LOAD_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    DECISION_LOAD_FIELD_NUMBER: _ClassVar[int]
    SLOT_S_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    latest_load: float
    mean: _containers.RepeatedScalarFieldContainer[float]
    decision_load: float
    slot_s: int
    observed_slots: int
    note: str
    def __init__(self, cell_id: _Optional[str] = ..., latest_load: _Optional[float] = ..., mean: _Optional[_Iterable[float]] = ..., decision_load: _Optional[float] = ..., slot_s: _Optional[int] = ..., observed_slots: _Optional[int] = ..., note: _Optional[str] = ...) -> None: ...

class CellDecisions(_message.Message):
    __slots__ = ("cells",)
    CELLS_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[CellDecision]
    def __init__(self, cells: _Optional[_Iterable[_Union[CellDecision, _Mapping]]] = ...) -> None: ...

class CellDecision(_message.Message):
    __slots__ = ("cell_id", "path", "load", "tau", "why")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    path: _common_pb2.Path
    load: float
    tau: float
    why: str
    def __init__(self, cell_id: _Optional[str] = ..., path: _Optional[_Union[_common_pb2.Path, str]] = ..., load: _Optional[float] = ..., tau: _Optional[float] = ..., why: _Optional[str] = ...) -> None: ...

class RrmSolution(_message.Message):
    __slots__ = ("cell_id", "status", "objective_s", "lower_bound_s", "solver", "seconds", "grants", "notes")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_S_FIELD_NUMBER: _ClassVar[int]
    LOWER_BOUND_S_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    status: str
    objective_s: float
    lower_bound_s: float
    solver: str
    seconds: float
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cell_id: _Optional[str] = ..., status: _Optional[str] = ..., objective_s: _Optional[float] = ..., lower_bound_s: _Optional[float] = ..., solver: _Optional[str] = ..., seconds: _Optional[float] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("sensor_id", "rate_bps", "predicted_delay_s", "resource_blocks", "power_dbm")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_DELAY_S_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    POWER_DBM_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    rate_bps: float
    predicted_delay_s: float
    resource_blocks: _containers.RepeatedScalarFieldContainer[int]
    power_dbm: float
    def __init__(self, sensor_id: _Optional[str] = ..., rate_bps: _Optional[float] = ..., predicted_delay_s: _Optional[float] = ..., resource_blocks: _Optional[_Iterable[int]] = ..., power_dbm: _Optional[float] = ...) -> None: ...

class RoutesInstalled(_message.Message):
    __slots__ = ("program", "routes", "added", "modified", "deleted", "seconds", "grants", "radio_attached")
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    RADIO_ATTACHED_FIELD_NUMBER: _ClassVar[int]
    program: int
    routes: int
    added: int
    modified: int
    deleted: int
    seconds: float
    grants: int
    radio_attached: bool
    def __init__(self, program: _Optional[int] = ..., routes: _Optional[int] = ..., added: _Optional[int] = ..., modified: _Optional[int] = ..., deleted: _Optional[int] = ..., seconds: _Optional[float] = ..., grants: _Optional[int] = ..., radio_attached: _Optional[bool] = ...) -> None: ...

class SensorTransfer(_message.Message):
    __slots__ = ("sensor_id", "cell_id", "path", "state", "received_bytes", "demand_bytes", "predicted_delay_s", "measured_delay_s", "readings", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[SensorTransfer.State]
        STATE_RUNNING: _ClassVar[SensorTransfer.State]
        STATE_DONE: _ClassVar[SensorTransfer.State]
        STATE_FAILED: _ClassVar[SensorTransfer.State]
    STATE_UNSPECIFIED: SensorTransfer.State
    STATE_RUNNING: SensorTransfer.State
    STATE_DONE: SensorTransfer.State
    STATE_FAILED: SensorTransfer.State
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEMAND_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_DELAY_S_FIELD_NUMBER: _ClassVar[int]
    MEASURED_DELAY_S_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    cell_id: str
    path: _common_pb2.Path
    state: SensorTransfer.State
    received_bytes: int
    demand_bytes: int
    predicted_delay_s: float
    measured_delay_s: float
    readings: int
    error: str
    def __init__(self, sensor_id: _Optional[str] = ..., cell_id: _Optional[str] = ..., path: _Optional[_Union[_common_pb2.Path, str]] = ..., state: _Optional[_Union[SensorTransfer.State, str]] = ..., received_bytes: _Optional[int] = ..., demand_bytes: _Optional[int] = ..., predicted_delay_s: _Optional[float] = ..., measured_delay_s: _Optional[float] = ..., readings: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class AskResult(_message.Message):
    __slots__ = ("question", "answerable", "text", "statistics", "correlations", "transfers", "moved_bytes", "stages", "failed_sensors", "request_id")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    CORRELATIONS_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    MOVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    FAILED_SENSORS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    question: str
    answerable: bool
    text: str
    statistics: _containers.RepeatedCompositeFieldContainer[TypeStatistics]
    correlations: _containers.RepeatedCompositeFieldContainer[Correlation]
    transfers: _containers.RepeatedCompositeFieldContainer[SensorTransfer]
    moved_bytes: int
    stages: _containers.RepeatedCompositeFieldContainer[StageTime]
    failed_sensors: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    def __init__(self, question: _Optional[str] = ..., answerable: _Optional[bool] = ..., text: _Optional[str] = ..., statistics: _Optional[_Iterable[_Union[TypeStatistics, _Mapping]]] = ..., correlations: _Optional[_Iterable[_Union[Correlation, _Mapping]]] = ..., transfers: _Optional[_Iterable[_Union[SensorTransfer, _Mapping]]] = ..., moved_bytes: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., failed_sensors: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class TypeStatistics(_message.Message):
    __slots__ = ("type", "unit", "area", "sensors", "readings", "mean", "minimum", "maximum", "standard_deviation", "total")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    STANDARD_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    type: str
    unit: str
    area: str
    sensors: int
    readings: int
    mean: float
    minimum: float
    maximum: float
    standard_deviation: float
    total: float
    def __init__(self, type: _Optional[str] = ..., unit: _Optional[str] = ..., area: _Optional[str] = ..., sensors: _Optional[int] = ..., readings: _Optional[int] = ..., mean: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., standard_deviation: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class Correlation(_message.Message):
    __slots__ = ("first", "second", "coefficient", "hours")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    COEFFICIENT_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    first: str
    second: str
    coefficient: float
    hours: int
    def __init__(self, first: _Optional[str] = ..., second: _Optional[str] = ..., coefficient: _Optional[float] = ..., hours: _Optional[int] = ...) -> None: ...

class StageTime(_message.Message):
    __slots__ = ("stage", "seconds")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    seconds: float
    def __init__(self, stage: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...
