"""NetworkService: the layers of the control plane as they are now, and every change of them."""

import asyncio
from collections.abc import Callable, Sequence

import grpc

from controller.control_plane import ControlPlane, ControlPlaneError
from controller.decisions import Decisions
from controller.messages import window
from controller.subscriptions import SlowWatcher, Subscriptions
from proto import network_pb2, network_pb2_grpc
from twin.load_history import LoadHistory
from twin.path import Path
from twin.scenario import Scenario
from twin.sensor_types import sensor_types
from twin.store import TwinStore


class NetworkServicer(network_pb2_grpc.NetworkServiceServicer):
    """``events`` carries (layer, ids): what changed, to be looked up when it is sent."""

    def __init__(
        self,
        scenario: Scenario,
        plane: ControlPlane,
        decisions: Decisions,
        history: LoadHistory,
        store: TwinStore,
        events: Subscriptions,
        now_s: Callable[[], float],
    ):
        self._scenario = scenario
        self._plane = plane
        self._decisions = decisions
        self._history = history
        self._store = store
        self._events = events
        self._now_s = now_s

    async def GetConnections(self, request, context):
        return self._connections()

    def _connections(self) -> network_pb2.Connections:
        plane = self._plane
        message = network_pb2.Connections(
            controllers=int(plane.controller_attached), radio_emulators=int(plane.radio_attached)
        )
        for switch in plane.wiring.switches:
            connected = switch.datapath_id in plane.connected
            message.switches.add(
                datapath_id=switch.datapath_id, name=switch.name, role=switch.role, connected=connected
            )
        for link in plane.wiring.links:
            message.links.add(a=link.a, a_port=link.a_port, b=link.b, b_port=link.b_port)
        return message

    async def GetTrafficLoad(self, request, context):
        await self._known(request.cell_ids, self._scenario.cell, "cell_ids", context)
        cells = request.cell_ids or self._scenario.cell
        message = network_pb2.TrafficLoad(cells=map(self._cell_load, cells))
        message.now.FromSeconds(int(self._now_s()))
        return message

    def _cell_load(self, cell_id: str) -> network_pb2.CellLoad:
        message = network_pb2.CellLoad(cell_id=cell_id, observed_slots=self._history.observed_slots(cell_id))
        latest = self._history.latest(cell_id)
        if latest:
            message.time.FromSeconds(int(latest[0]))
            message.load = latest[1]
        if cell_id in self._decisions.latest:
            decision = self._decisions.latest[cell_id]
            message.path, message.why = decision.path.value, decision.why
        return message

    async def GetGeography(self, request, context):
        districts = self._scenario.district
        await self._known([request.district] if request.district else [], districts, "district", context)
        await self._known([request.type] if request.type else [], sensor_types(), "type", context)
        message = network_pb2.Geography()
        for cell in self._scenario.cells:
            if request.district in ("", cell.district):
                message.cells.add(
                    cell_id=cell.id,
                    district=cell.district,
                    lon=cell.lon,
                    lat=cell.lat,
                    height_m=cell.height_m,
                    square_id=cell.square_id,
                )
        for sensor in self._scenario.sensors:
            if request.district in ("", sensor.district) and request.type in ("", sensor.type):
                message.sensors.add(
                    sensor_id=sensor.id,
                    type=sensor.type,
                    cell_id=sensor.cell,
                    district=sensor.district,
                    lon=sensor.lon,
                    lat=sensor.lat,
                    address=sensor.ipv4,
                )
        return message

    async def GetDataLoad(self, request, context):
        await self._known(request.sensor_ids, self._scenario.sensor, "sensor_ids", context)
        sensors = list(request.sensor_ids) or list(self._scenario.sensor)
        return network_pb2.DataLoad(sensors=await asyncio.to_thread(self._data_load, sensors))

    def _data_load(self, sensor_ids: Sequence[str]) -> list[network_pb2.SensorData]:
        held = self._store.sensors()
        messages = []
        for sensor in sensor_ids:
            message = network_pb2.SensorData(sensor_id=sensor)
            if sensor in held:
                message.readings, message.bytes = held[sensor].readings, held[sensor].bytes
                message.held.extend(window(*interval) for interval in held[sensor].intervals)
            messages.append(message)
        return messages

    async def GetFlows(self, request, context):
        known = {switch.datapath_id for switch in self._plane.wiring.switches}
        await self._known(request.datapath_ids, known, "datapath_ids", context)
        try:
            reply = await self._plane.statistics(request.datapath_ids)
        except ControlPlaneError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return network_pb2.Flows(routes=self._routes().routes, flows=reply.flows, ports=reply.ports)

    def _routes(self) -> network_pb2.Routes:
        routes = sorted(self._plane.routes.items())
        return network_pb2.Routes(routes=[network_pb2.Route(sensor_id=s, path=path.value) for s, path in routes])

    async def Watch(self, request, context):
        layers = set(request.layers) or set(network_pb2.Layer.values()) - {network_pb2.LAYER_UNSPECIFIED}
        unknown = layers - set(network_pb2.Layer.values()) | (layers & {network_pb2.LAYER_UNSPECIFIED})
        if unknown:
            names = ", ".join(network_pb2.Layer.keys()[1:])
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"layers: {unknown.pop()} is none of {names}")
        try:
            with self._events.subscribe() as events:
                for layer in sorted(layers):
                    for event in await self._look_up(layer, ()):
                        yield event
                async for layer, ids in events:
                    if layer in layers:
                        for event in await self._look_up(layer, ids):
                            yield event
        except SlowWatcher:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow: events were waiting; watch again")

    async def GetPaths(self, request, context):
        return self._paths()

    def _paths(self) -> network_pb2.Paths:
        plane = self._plane
        message = network_pb2.Paths()
        for cell in self._scenario.cells:
            for path in Path:
                ports = plane.down_ports((cell.id, path))
                avoided = (cell.id, path) in plane.avoided
                message.paths.add(cell_id=cell.id, path=path.value, ports_down=ports, avoided=avoided)
        return message

    async def _look_up(self, layer: int, ids: Sequence[str]) -> list[network_pb2.NetworkEvent]:
        """The layer's present state as events; ``ids`` names the cells or sensors, empty means all."""
        match layer:
            case network_pb2.LAYER_CONNECTIONS:
                events = [network_pb2.NetworkEvent(connections=self._connections())]
            case network_pb2.LAYER_TRAFFIC_LOAD:
                cells = ids or self._scenario.cell
                events = [network_pb2.NetworkEvent(traffic_load=self._cell_load(cell)) for cell in cells]
            case network_pb2.LAYER_DATA_LOAD:
                rows = await asyncio.to_thread(self._data_load, list(ids) or list(self._scenario.sensor))
                events = [network_pb2.NetworkEvent(data_load=row) for row in rows]
            case network_pb2.LAYER_ROUTES:
                events = [network_pb2.NetworkEvent(routes=self._routes())]
            case network_pb2.LAYER_PATHS:
                events = [network_pb2.NetworkEvent(paths=self._paths())]
        for event in events:
            event.time.GetCurrentTime()
        return events

    async def _known(self, names: Sequence, known, what: str, context) -> None:
        for name in names:
            if name not in known:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"{what}: {name!r} is not part of the scenario")
