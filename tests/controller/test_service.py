"""The whole service over gRPC, with real edge storage on loopback; switches and radio keep what they are told."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from fake_clients import until
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from loopback_city import NOW, running

from controller.config import Config, DecisionConfig, OpenFlowConfig, RetrievalConfig
from controller.flows import desired_tables
from proto import (
    control_pb2,
    control_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    telemetry_pb2,
    telemetry_pb2_grpc,
)
from twin import senml
from twin.path import Path
from twin.sensor_model import fields

RAIN = "What is the likelihood of electrical leakage in the city due to continuous rainfall?"
HUMIDITY = "How does the humidity level vary across different districts of the city today?"
DONE, FAILED = query_pb2.SensorTransfer.STATE_DONE, query_pb2.SensorTransfer.STATE_FAILED


async def ask(city, question=HUMIDITY, **keys):
    stub = query_pb2_grpc.QueryServiceStub(city.channel)
    return [event async for event in stub.Ask(query_pb2.AskRequest(question=question, **keys))]


async def test_a_question_from_plan_to_answer(tmp_path):
    async with running(tmp_path) as city:
        events = await ask(city, request_id="q-1")
        kinds = [event.WhichOneof("event") for event in events]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        order = [kind for kind in dict.fromkeys(kinds) if kind != "notice"]
        assert order == ["plan", "loading", "forecasts", "decisions", "solution", "routes", "transfer", "result"]
        result = events[-1].result
        humid = [sensor for sensor in city.scenario.sensors if sensor.type == "humidity"]
        assert {t.sensor_id for t in result.transfers} == {sensor.id for sensor in humid}
        assert all(t.state == DONE and t.path == Path.SIXG.value for t in result.transfers)
        assert result.request_id == "q-1"
        readings_today = 12 * 6  # from midnight to noon, every ten minutes
        assert result.statistics[0].readings == readings_today * len(humid)
        routes = {sensor.id: Path.SIXG for sensor in humid}
        wanted = desired_tables(city.service.plane.wiring, routes)
        assert city.controller.tables == wanted


async def test_grants_are_given_before_data_move_and_taken_back(tmp_path):
    async with running(tmp_path) as city:
        events = await ask(city)
        granted = {g.sensor_id: g.rate_bps for e in events if e.HasField("solution") for g in e.solution.grants}
        assert granted and all(rate > 0 for rate in granted.values())
        assert city.radio.history == [granted, dict.fromkeys(granted, 0.0)]
        for transfer in events[-1].result.transfers:
            expected = transfer.demand_bytes * 8 / granted[transfer.sensor_id]
            assert transfer.predicted_delay_s == pytest.approx(expected, rel=1e-6)


async def test_what_arrived_is_what_the_sensors_hold_and_nothing_moves_twice(tmp_path):
    async with running(tmp_path) as city:
        first = (await ask(city))[-1].result
        moved = {transfer.sensor_id: transfer.received_bytes for transfer in first.transfers}
        total = 0
        for sensor_id, held in city.store.sensors().items():
            sensor = city.scenario.sensor[sensor_id]
            for start_s, end_s in held.intervals:
                read = city.storage(sensor).read(start_s, end_s, int(NOW.timestamp()))
                expected = senml.encode(read, senml.base_name(sensor.mac), fields(sensor.type))
                assert city.store.payload(sensor_id, start_s, end_s) == expected
            total += held.bytes
        assert total == first.moved_bytes == sum(moved.values()) > 0
        again = await ask(city)
        assert again[-1].result.moved_bytes == 0
        assert not again[-1].result.transfers
        assert again[-1].result.statistics == first.statistics
        assert again[-1].result.text == first.text


async def test_load_decides_the_path_and_telemetry_moves_routes(tmp_path):
    async with running(tmp_path) as city:
        await ask(city)
        plane = city.service.plane
        assert set(plane.routes.values()) == {Path.SIXG}
        crowded = city.scenario.cells[0].id
        await city.publish(1.4, [crowded])
        theirs = {s for s in plane.routes if city.scenario.sensor[s].cell == crowded}
        assert theirs
        await until(lambda: all(plane.routes[s] is Path.ZIGBEE for s in theirs))
        assert all(path is Path.SIXG for s, path in plane.routes.items() if s not in theirs)
        events = await ask(city, "What was the temperature in the city this morning?")
        transfers = events[-1].result.transfers
        assert transfers
        assert all((t.path == Path.ZIGBEE.value) == (t.cell_id == crowded) for t in transfers)


async def test_a_new_decision_is_told_to_watchers_with_its_reason(tmp_path):
    async with running(tmp_path) as city:
        network = network_pb2_grpc.NetworkServiceStub(city.channel)
        crowded = city.scenario.cells[0].id
        watch = network.Watch(network_pb2.WatchRequest(layers=[network_pb2.LAYER_TRAFFIC_LOAD]))
        await city.publish(1.4, [crowded])
        async for event in watch:
            if event.traffic_load.cell_id == crowded and event.traffic_load.path == Path.ZIGBEE.value:
                break
        assert event.traffic_load.why.startswith("largest predicted load")
        assert "not below tau 0.700" in event.traffic_load.why
        now = await network.GetTrafficLoad(network_pb2.GetTrafficLoadRequest(cell_ids=[crowded]))
        assert now.cells[0].why == event.traffic_load.why


async def test_policy_delay_decides_by_predicted_delay(tmp_path):
    config = replace(Config(), decision=DecisionConfig(policy="delay", mixed=True, tau=0.0))
    async with running(tmp_path, config=config) as city:
        full = city.scenario.cells[0].id
        await city.publish(3.0, [full])  # with the 0.3 before, 1.65 in the mean
        events = await ask(city)
        (decided,) = [event.decisions for event in events if event.HasField("decisions")]
        assert len(decided.cells) > 1 and all("predicted delay on 6G" in cell.why for cell in decided.cells)
        paths = {cell.cell_id: cell.path for cell in decided.cells}
        assert paths.pop(full) == Path.ZIGBEE.value and set(paths.values()) == {Path.SIXG.value}
        assert not events[-1].result.failed_sensors
        # Routes of a cell that leaves resource blocks stay on 6G, whatever tau says.
        assert {city.service.plane.routes[t.sensor_id].value for t in events[-1].result.transfers} == {
            Path.SIXG.value,
            Path.ZIGBEE.value,
        }


async def test_silence_moves_no_routes(tmp_path):
    async with running(tmp_path) as city:
        await ask(city)
        plane, (first, *others) = city.service.plane, [cell.id for cell in city.scenario.cells]
        before = dict(plane.routes)
        city.service.history.__init__(city.service.history.cell_ids)  # as after a restart of the service
        await city.publish(1.4, [first])
        await until(
            lambda: all(plane.routes[s] is Path.ZIGBEE for s in before if city.scenario.sensor[s].cell == first)
        )
        theirs = [s for s in before if city.scenario.sensor[s].cell in others]
        assert theirs and all(plane.routes[s] is before[s] for s in theirs)


async def test_without_telemetry_a_cell_gets_zigbee_and_it_is_said(tmp_path):
    async with running(tmp_path) as city:
        city.service.history.__init__(city.service.history.cell_ids)  # as if nothing had ever come in
        events = await ask(city)
        decisions = next(event.decisions for event in events if event.HasField("decisions"))
        assert all(cell.path == Path.ZIGBEE.value and cell.why for cell in decisions.cells)
        assert not events[-1].result.failed_sensors


async def test_a_sensor_that_is_gone_is_named_and_the_rest_is_kept(tmp_path):
    config = replace(Config(), retrieval=RetrievalConfig(stall_timeout_s=1.0))
    async with running(tmp_path, config=config) as city:
        gone = next(sensor for sensor in city.scenario.sensors if sensor.type == "humidity")
        await city.stop_sensor(gone.id)
        result = (await ask(city))[-1].result
        assert list(result.failed_sensors) == [gone.id]
        states = {transfer.sensor_id: transfer for transfer in result.transfers}
        assert states[gone.id].state == FAILED and gone.id in states[gone.id].error
        assert all(t.state == DONE for s, t in states.items() if s != gone.id)
        await city.start_sensor(gone)
        later = (await ask(city))[-1].result
        assert [t.sensor_id for t in later.transfers] == [gone.id]
        assert not later.failed_sensors


async def test_an_unanswerable_question_moves_nothing(tmp_path):
    async with running(tmp_path) as city:
        events = await ask(city, "Who won the football match?")
        assert [event.WhichOneof("event") for event in events] == ["plan", "result"]
        assert not events[-1].result.answerable and events[-1].result.text
        assert not city.controller.tables or not city.service.plane.routes


async def test_cancelling_ends_the_retrieval_and_keeps_what_is_whole(tmp_path):
    async with running(tmp_path) as city:
        stub = query_pb2_grpc.QueryServiceStub(city.channel)
        call = stub.Ask(query_pb2.AskRequest(question=RAIN))
        async for event in call:
            if event.HasField("transfer") and event.transfer.state == DONE:
                break
        call.cancel()
        await until(lambda: city.radio.rates and set(city.radio.rates.values()) == {0.0})
        assert not city.store.verify()
        result = (await ask(city, RAIN))[-1].result
        assert not result.failed_sensors
        assert not city.store.verify()


async def test_a_deadline_is_kept(tmp_path):
    async with running(tmp_path, controller=False) as city:
        stub = query_pb2_grpc.QueryServiceStub(city.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.Ask(query_pb2.AskRequest(question=HUMIDITY), timeout=0.5):
                pass
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_without_a_controller_the_question_fails_with_the_reason(tmp_path):
    config = replace(Config(), openflow=OpenFlowConfig(timeout_s=0.2))
    async with running(tmp_path, config=config, controller=False) as city:
        with pytest.raises(grpc.aio.AioRpcError, match="ryu-manager controller/ryu_app.py") as caught:
            await ask(city)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_two_questions_for_the_same_data_fetch_it_once(tmp_path):
    async with running(tmp_path) as city:
        results = await asyncio.gather(ask(city), ask(city))
        moved = [events[-1].result.moved_bytes for events in results]
        assert sorted(moved) == [0, max(moved)]
        assert max(moved) == sum(held.bytes for held in city.store.sensors().values())


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (query_pb2.AskRequest(), "question is empty"),
        (query_pb2.AskRequest(question=" \n"), "question is empty"),
        (query_pb2.AskRequest(question="rain " * 500), "at most 2000"),
        (query_pb2.AskRequest(question="rain?", now={"seconds": -(10**12)}), "now must lie between"),
        (query_pb2.AskRequest(question="rain?", now={"seconds": 10**15}), "now must lie between"),
    ],
)
async def test_nonsense_questions(tmp_path, request_, says):
    async with running(tmp_path, controller=False) as city:
        stub = query_pb2_grpc.QueryServiceStub(city.channel)
        with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
            [event async for event in stub.Ask(request_)]
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        plan = query_pb2.PlanRequest(question=request_.question, now=request_.now if request_.HasField("now") else None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Plan(plan)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await stub.Plan(query_pb2.PlanRequest(question=HUMIDITY))).answerable, "the service lives"


async def test_nonsense_telemetry_is_named_sample_by_sample(tmp_path):
    async with running(tmp_path, controller=False) as city:
        cell = city.scenario.cells[0]
        good = telemetry_pb2.LoadSample(cell_id=cell.id, offered_bps=1, carried_bps=1, capacity_bps=10, prb_total=9)
        good.time.FromSeconds(int(NOW.timestamp()))
        bad = [telemetry_pb2.LoadSample() for _ in range(6)]
        for sample in bad:
            sample.CopyFrom(good)
        bad[0].cell_id = "nowhere"
        bad[1].offered_bps = float("nan")
        bad[2].capacity_bps = 0
        bad[3].ClearField("time")
        bad[4].time.FromSeconds(0)
        bad[5].prb_used = 10
        stub = telemetry_pb2_grpc.TelemetryServiceStub(city.channel)
        summary = await stub.Publish(iter([good, *bad, good]))
        assert (summary.accepted, summary.rejected) == (2, 6)
        assert [row.index for row in summary.rejections] == [1, 2, 3, 4, 5, 6]
        reasons = [row.reason for row in summary.rejections]
        for reason, word in zip(reasons, ("nowhere", "nan", "capacity", "time", "time", "prb_used"), strict=True):
            assert word in reason
        flood = await stub.Publish(bad[0] for _ in range(1_000))
        assert (flood.rejected, len(flood.rejections)) == (1_000, 100)


async def test_nonsense_at_the_other_services(tmp_path):
    async with running(tmp_path, controller=False) as city:
        network = network_pb2_grpc.NetworkServiceStub(city.channel)
        control = control_pb2_grpc.ControlServiceStub(city.channel)
        for call, code in (
            (network.GetTrafficLoad(network_pb2.GetTrafficLoadRequest(cell_ids=["?"])), grpc.StatusCode.NOT_FOUND),
            (network.GetGeography(network_pb2.GetGeographyRequest(district="?")), grpc.StatusCode.NOT_FOUND),
            (network.GetGeography(network_pb2.GetGeographyRequest(type="?")), grpc.StatusCode.NOT_FOUND),
            (network.GetDataLoad(network_pb2.GetDataLoadRequest(sensor_ids=["?"])), grpc.StatusCode.NOT_FOUND),
            (network.GetFlows(network_pb2.GetFlowsRequest(datapath_ids=[12345])), grpc.StatusCode.NOT_FOUND),
            (network.GetFlows(network_pb2.GetFlowsRequest()), grpc.StatusCode.UNAVAILABLE),
            (control.ReportController(control_pb2.ControllerReport()), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is code
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [event async for event in network.Watch(network_pb2.WatchRequest(layers=[99]))]
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        raw = city.channel.unary_unary("/links.v1.QueryService/Plan", None, None)
        with pytest.raises(grpc.aio.AioRpcError):
            await raw(b"\xff\xff\xff nonsense")
        assert (await network.GetConnections(network_pb2.GetConnectionsRequest())).switches, "the service lives"


async def test_the_layers_and_watching_them(tmp_path):
    async with running(tmp_path) as city:
        network = network_pb2_grpc.NetworkServiceStub(city.channel)
        connections = await network.GetConnections(network_pb2.GetConnectionsRequest())
        assert all(switch.connected for switch in connections.switches)
        assert (connections.controllers, connections.radio_emulators) == (1, 1)
        assert len(connections.links) == len(city.service.plane.wiring.links)
        geography = await network.GetGeography(network_pb2.GetGeographyRequest(type="humidity"))
        humid = [sensor for sensor in city.scenario.sensors if sensor.type == "humidity"]
        assert [site.sensor_id for site in geography.sensors] == [sensor.id for sensor in humid]
        load = await network.GetTrafficLoad(network_pb2.GetTrafficLoadRequest())
        assert [(c.cell_id, c.observed_slots) for c in load.cells] == [(c.id, 12) for c in city.scenario.cells]
        assert all(cell.load == pytest.approx(0.3) for cell in load.cells)
        watch = network.Watch(network_pb2.WatchRequest(layers=[network_pb2.LAYER_ROUTES, network_pb2.LAYER_DATA_LOAD]))
        seen = []

        async def collect():
            async for event in watch:
                seen.append(event)

        task = asyncio.create_task(collect())
        await until(lambda: len(seen) == len(city.scenario.sensors) + 1)  # the present state
        result = (await ask(city))[-1].result
        await until(lambda: len(seen) >= len(city.scenario.sensors) + 1 + len(result.transfers) + 1)
        changes = seen[len(city.scenario.sensors) + 1 :]
        stored = {e.data_load.sensor_id: e.data_load.bytes for e in changes if e.HasField("data_load")}
        assert stored == {transfer.sensor_id: transfer.received_bytes for transfer in result.transfers}
        routes = [event.routes for event in changes if event.HasField("routes")][-1]
        assert {route.sensor_id for route in routes.routes} == set(stored)
        watch.cancel()
        await asyncio.gather(task, return_exceptions=True)
        data = await network.GetDataLoad(network_pb2.GetDataLoadRequest(sensor_ids=[humid[0].id]))
        assert data.sensors[0].bytes == stored[humid[0].id]
        flows = await network.GetFlows(network_pb2.GetFlowsRequest())
        assert len(flows.flows) == sum(len(table.entries) for table in city.controller.tables.values())


async def test_health_and_reflection(tmp_path):
    async with running(tmp_path, controller=False) as city:
        health = await health_pb2_grpc.HealthStub(city.channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(city.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name async for reply in call for service in reply.list_services_response.service}
        services = {f"links.v1.{name}Service" for name in ("Query", "Telemetry", "Network", "Control")}
        assert names >= services | {"grpc.health.v1.Health"}
