import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from proto import common_pb2 as _common_pb2
from proto import control_pb2 as _control_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Layer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_UNSPECIFIED: _ClassVar[Layer]
    LAYER_CONNECTIONS: _ClassVar[Layer]
    LAYER_TRAFFIC_LOAD: _ClassVar[Layer]
    LAYER_DATA_LOAD: _ClassVar[Layer]
    LAYER_ROUTES: _ClassVar[Layer]
    LAYER_PATHS: _ClassVar[Layer]
LAYER_UNSPECIFIED: Layer
LAYER_CONNECTIONS: Layer
LAYER_TRAFFIC_LOAD: Layer
LAYER_DATA_LOAD: Layer
LAYER_ROUTES: Layer
LAYER_PATHS: Layer

class GetConnectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Connections(_message.Message):
    __slots__ = ("switches", "links", "controllers", "radio_emulators")
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    CONTROLLERS_FIELD_NUMBER: _ClassVar[int]
    RADIO_EMULATORS_FIELD_NUMBER: _ClassVar[int]
    switches: _containers.RepeatedCompositeFieldContainer[Switch]
    links: _containers.RepeatedCompositeFieldContainer[Connection]
    controllers: int
    radio_emulators: int
    def __init__(self, switches: _Optional[_Iterable[_Union[Switch, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[Connection, _Mapping]]] = ..., controllers: _Optional[int] = ..., radio_emulators: _Optional[int] = ...) -> None: ...

class Switch(_message.Message):
    __slots__ = ("datapath_id", "name", "role", "connected")
    DATAPATH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    datapath_id: int
    name: str
    role: str
    connected: bool
    def __init__(self, datapath_id: _Optional[int] = ..., name: _Optional[str] = ..., role: _Optional[str] = ..., connected: _Optional[bool] = ...) -> None: ...

class Connection(_message.Message):
    __slots__ = ("a", "a_port", "b", "b_port")
    A_FIELD_NUMBER: _ClassVar[int]
    A_PORT_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    B_PORT_FIELD_NUMBER: _ClassVar[int]
    a: str
    a_port: int
    b: str
    b_port: int
    def __init__(self, a: _Optional[str] = ..., a_port: _Optional[int] = ..., b: _Optional[str] = ..., b_port: _Optional[int] = ...) -> None: ...

class GetTrafficLoadRequest(_message.Message):
    __slots__ = ("cell_ids",)
    CELL_IDS_FIELD_NUMBER: _ClassVar[int]
    cell_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cell_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class TrafficLoad(_message.Message):
    __slots__ = ("cells", "now")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[CellLoad]
    now: _timestamp_pb2.Timestamp
    def __init__(self, cells: _Optional[_Iterable[_Union[CellLoad, _Mapping]]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CellLoad(_message.Message):
    __slots__ = ("cell_id", "time", "load", "observed_slots", "path", "why")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    time: _timestamp_pb2.Timestamp
    load: float
    observed_slots: int
    path: _common_pb2.Path
    why: str
    def __init__(self, cell_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., load: _Optional[float] = ..., observed_slots: _Optional[int] = ..., path: _Optional[_Union[_common_pb2.Path, str]] = ..., why: _Optional[str] = ...) -> None: ...

class GetGeographyRequest(_message.Message):
    __slots__ = ("type", "district")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DISTRICT_FIELD_NUMBER: _ClassVar[int]
    type: str
    district: str
    def __init__(self, type: _Optional[str] = ..., district: _Optional[str] = ...) -> None: ...

class Geography(_message.Message):
    __slots__ = ("cells", "sensors")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[CellSite]
    sensors: _containers.RepeatedCompositeFieldContainer[SensorSite]
    def __init__(self, cells: _Optional[_Iterable[_Union[CellSite, _Mapping]]] = ..., sensors: _Optional[_Iterable[_Union[SensorSite, _Mapping]]] = ...) -> None: ...

class CellSite(_message.Message):
    __slots__ = ("cell_id", "district", "lon", "lat", "height_m", "square_id")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    DISTRICT_FIELD_NUMBER: _ClassVar[int]
    LON_FIELD_NUMBER: _ClassVar[int]
    LAT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    SQUARE_ID_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    district: str
    lon: float
    lat: float
    height_m: float
    square_id: int
    def __init__(self, cell_id: _Optional[str] = ..., district: _Optional[str] = ..., lon: _Optional[float] = ..., lat: _Optional[float] = ..., height_m: _Optional[float] = ..., square_id: _Optional[int] = ...) -> None: ...

class SensorSite(_message.Message):
    __slots__ = ("sensor_id", "type", "cell_id", "district", "lon", "lat", "address")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    DISTRICT_FIELD_NUMBER: _ClassVar[int]
    LON_FIELD_NUMBER: _ClassVar[int]
    LAT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    type: str
    cell_id: str
    district: str
    lon: float
    lat: float
    address: str
    def __init__(self, sensor_id: _Optional[str] = ..., type: _Optional[str] = ..., cell_id: _Optional[str] = ..., district: _Optional[str] = ..., lon: _Optional[float] = ..., lat: _Optional[float] = ..., address: _Optional[str] = ...) -> None: ...

class GetDataLoadRequest(_message.Message):
    __slots__ = ("sensor_ids",)
    SENSOR_IDS_FIELD_NUMBER: _ClassVar[int]
    sensor_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sensor_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DataLoad(_message.Message):
    __slots__ = ("sensors",)
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    sensors: _containers.RepeatedCompositeFieldContainer[SensorData]
    def __init__(self, sensors: _Optional[_Iterable[_Union[SensorData, _Mapping]]] = ...) -> None: ...

class SensorData(_message.Message):
    __slots__ = ("sensor_id", "readings", "bytes", "held")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    readings: int
    bytes: int
    held: _containers.RepeatedCompositeFieldContainer[_common_pb2.TimeWindow]
    def __init__(self, sensor_id: _Optional[str] = ..., readings: _Optional[int] = ..., bytes: _Optional[int] = ..., held: _Optional[_Iterable[_Union[_common_pb2.TimeWindow, _Mapping]]] = ...) -> None: ...

class GetFlowsRequest(_message.Message):
    __slots__ = ("datapath_ids",)
    DATAPATH_IDS_FIELD_NUMBER: _ClassVar[int]
    datapath_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, datapath_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Flows(_message.Message):
    __slots__ = ("routes", "flows", "ports")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    flows: _containers.RepeatedCompositeFieldContainer[_control_pb2.FlowStatistics]
    ports: _containers.RepeatedCompositeFieldContainer[_control_pb2.PortStatistics]
    def __init__(self, routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., flows: _Optional[_Iterable[_Union[_control_pb2.FlowStatistics, _Mapping]]] = ..., ports: _Optional[_Iterable[_Union[_control_pb2.PortStatistics, _Mapping]]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("sensor_id", "path")
    SENSOR_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    sensor_id: str
    path: _common_pb2.Path
    def __init__(self, sensor_id: _Optional[str] = ..., path: _Optional[_Union[_common_pb2.Path, str]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("layers",)
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedScalarFieldContainer[Layer]
    def __init__(self, layers: _Optional[_Iterable[_Union[Layer, str]]] = ...) -> None: ...

class NetworkEvent(_message.Message):
    __slots__ = ("time", "connections", "traffic_load", "data_load", "routes", "paths")
    TIME_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_LOAD_FIELD_NUMBER: _ClassVar[int]
    DATA_LOAD_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    connections: Connections
    traffic_load: CellLoad
    data_load: SensorData
    routes: Routes
    paths: Paths
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., connections: _Optional[_Union[Connections, _Mapping]] = ..., traffic_load: _Optional[_Union[CellLoad, _Mapping]] = ..., data_load: _Optional[_Union[SensorData, _Mapping]] = ..., routes: _Optional[_Union[Routes, _Mapping]] = ..., paths: _Optional[_Union[Paths, _Mapping]] = ...) -> None: ...

class GetPathsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Paths(_message.Message):
    __slots__ = ("paths",)
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedCompositeFieldContainer[CellPath]
    def __init__(self, paths: _Optional[_Iterable[_Union[CellPath, _Mapping]]] = ...) -> None: ...

class CellPath(_message.Message):
    __slots__ = ("cell_id", "path", "ports_down", "avoided")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PORTS_DOWN_FIELD_NUMBER: _ClassVar[int]
    AVOIDED_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    path: _common_pb2.Path
    ports_down: _containers.RepeatedScalarFieldContainer[str]
    avoided: bool
    def __init__(self, cell_id: _Optional[str] = ..., path: _Optional[_Union[_common_pb2.Path, str]] = ..., ports_down: _Optional[_Iterable[str]] = ..., avoided: _Optional[bool] = ...) -> None: ...

class Routes(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...
