"""The whole system on an emulated city, with everything real but the sensors' readings; then things die."""

import os
import signal
import subprocess
import threading
import time

import grpc
import pytest
from running_stack import SIXG, ZIGBEE, start
from small_city import eventually

from proto import network_pb2, query_pb2, query_pb2_grpc
from twin import senml
from twin.edge import EdgeStorage
from twin.generate import make_scenario
from twin.scenario import save_scenario
from twin.sensor_model import fields
from twin.store import TwinStore

pytestmark = pytest.mark.emulation

HUMIDITY = "How does the humidity level vary across different districts of the city today?"
TEMPERATURE = "What was the temperature in the city this morning?"
LONG = "How stable was the grid frequency over the past week?"  # 60,480 readings a sensor: seconds of transfer
LONG_TOO = "How stable was the grid frequency from 4 November to 10 November?"
DONE, FAILED = query_pb2.SensorTransfer.STATE_DONE, query_pb2.SensorTransfer.STATE_FAILED


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    directory = tmp_path_factory.mktemp("system")
    path = directory / "scenario.json"
    save_scenario(make_scenario(cells=3, sensors=60, seed=5, city="Testville"), path)
    running = start(directory, path)
    stop = threading.Event()

    def supervise():
        while not stop.wait(0.2):
            running.stack.supervise()

    watching = threading.Thread(target=supervise)
    watching.start()
    yield running
    stop.set()
    watching.join()
    running.stack.stop()


def test_data_take_the_decided_path_and_arrive_as_stored(system):
    before = system.bytes_at_core()
    events = system.ask(HUMIDITY)
    after = system.bytes_at_core()
    result = events[-1].result
    assert {t.sensor_id for t in result.transfers} == {sensor.id for sensor in system.of_type("humidity")}
    for transfer in result.transfers:
        assert (transfer.state, transfer.path) == (DONE, SIXG)
        assert after[transfer.sensor_id, SIXG] - before[transfer.sensor_id, SIXG] >= transfer.received_bytes > 0
        assert after[transfer.sensor_id, ZIGBEE] == before[transfer.sensor_id, ZIGBEE]
    untouched = {sensor.id for sensor in system.scenario.sensors} - {t.sensor_id for t in result.transfers}
    assert all(after[sensor, path] == before[sensor, path] for sensor in untouched for path in (SIXG, ZIGBEE))
    loading = next(event.loading for event in events if event.HasField("loading"))
    with TwinStore(system.store_path) as store:
        for demand in loading.demands:
            sensor = system.scenario.sensor[demand.sensor_id]
            storage = EdgeStorage(system.stack.edge_directory, sensor, None)  # without a source: only what is on disk
            for window in demand.windows:
                start_s, end_s = window.start.seconds, window.end.seconds
                read = storage.read(start_s, end_s, end_s)
                expected = senml.encode(read, senml.base_name(sensor.mac), fields(sensor.type))
                assert store.payload(sensor.id, start_s, end_s) == expected


def test_asked_again_as_of_the_same_moment_nothing_moves(system):
    moment = system.ask(HUMIDITY)[0].plan.now
    before = system.bytes_at_core()
    request = query_pb2.AskRequest(question=HUMIDITY, now=moment)
    with system.link.channel() as channel:
        *_, last = query_pb2_grpc.QueryServiceStub(channel).Ask(request, timeout=60)
    assert last.result.moved_bytes == 0 and not last.result.transfers
    assert last.result.statistics
    assert system.bytes_at_core() == before


def test_routes_follow_telemetry_and_no_packet_is_lost(system):
    system.ask(HUMIDITY)
    sensor = system.of_type("humidity")[0]
    assert system.routes()[sensor.id] == SIXG
    before = system.bytes_at_core()
    ping = subprocess.Popen(
        ["ping", "-i", "0.05", "-c", "160", "-W", "5", sensor.ipv4], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(2)
        system.push(sensor.cell, 3.0)
        eventually(lambda: system.routes()[sensor.id] == ZIGBEE)
        time.sleep(2)
        for _ in range(6):
            system.push(sensor.cell, 0.0)
        eventually(lambda: system.routes()[sensor.id] == SIXG)
    finally:
        output = ping.communicate(timeout=60)[0]
    assert "160 packets transmitted, 160 received" in output, output
    after = system.bytes_at_core()
    assert after[sensor.id, SIXG] > before[sensor.id, SIXG]
    assert after[sensor.id, ZIGBEE] > before[sensor.id, ZIGBEE]


def test_over_tau_new_data_come_by_zigbee(system):
    crowded = system.scenario.cells[1].id
    system.push(crowded, 5.0)
    before = system.bytes_at_core()
    result = system.result(TEMPERATURE)
    after = system.bytes_at_core()
    assert not result.failed_sensors
    for transfer in result.transfers:
        path = ZIGBEE if transfer.cell_id == crowded else SIXG
        assert transfer.path == path
        assert after[transfer.sensor_id, path] - before[transfer.sensor_id, path] >= transfer.received_bytes
        assert after[transfer.sensor_id, 3 - path] == before[transfer.sensor_id, 3 - path]
    assert crowded in {transfer.cell_id for transfer in result.transfers}
    for _ in range(12):
        system.push(crowded, 0.0)
    eventually(lambda: set(system.routes().values()) == {SIXG})


def test_killing_ryu_manager_costs_nothing(system):
    stack = system.stack
    service, killed = stack.service_pid(), []

    def kill(event):
        if event.HasField("transfer") and not killed:
            killed.append((stack.processes["ryu-manager"].pid, time.monotonic()))
            os.kill(killed[0][0], signal.SIGKILL)

    result = system.ask(LONG, kill)[-1].result
    assert killed and not result.failed_sensors
    assert all(transfer.state == DONE for transfer in result.transfers)
    eventually(lambda: system.network("GetConnections", network_pb2.GetConnectionsRequest()).controllers == 1)
    everything = len(system.wiring.switches)

    def connected():
        rows = system.network("GetConnections", network_pb2.GetConnectionsRequest()).switches
        return sum(row.connected for row in rows)

    eventually(lambda: connected() == everything)
    assert stack.processes["ryu-manager"].pid != killed[0][0]
    assert stack.service_pid() == service, "the restarted ryu-manager joined the running service"
    flows = system.network("GetFlows", network_pb2.GetFlowsRequest()).flows
    age_s = time.monotonic() - killed[0][1]
    assert flows and all(flow.duration_s >= int(age_s) for flow in flows), "it found its flows and left them alone"
    assert system.result(TEMPERATURE).answerable


def test_killing_the_service_keeps_what_is_whole_and_it_comes_back(system):
    stack = system.stack
    first, killed = stack.service_pid(), []

    def kill(event):
        if event.HasField("transfer") and event.transfer.received_bytes and not killed:
            killed.append(time.monotonic())
            os.kill(first, signal.SIGKILL)

    with pytest.raises(grpc.RpcError) as caught:
        system.ask(LONG_TOO, kill)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with TwinStore(system.store_path) as store:
        assert store.verify() == ()
        stored = {sensor.id: store.sensors()[sensor.id] for sensor in system.of_type("grid_frequency")}
    eventually(lambda: stack.service_pid() not in (None, first))
    with system.link.channel() as channel:
        grpc.channel_ready_future(channel).result(20)
    back_s = time.monotonic() - killed[0]
    assert back_s < 5, f"the service was away for {back_s:.1f} s"
    eventually(lambda: not stack._lacks(), timeout_s=30)
    events = system.ask(LONG_TOO)
    result = events[-1].result
    assert not result.failed_sensors
    with TwinStore(system.store_path) as store:
        assert store.verify() == ()
        now_held = {sensor.id: store.sensors()[sensor.id] for sensor in system.of_type("grid_frequency")}
    fetched = sum(transfer.readings for transfer in result.transfers)
    before, after = (sum(held.readings for held in rows.values()) for rows in (stored, now_held))
    assert fetched == after - before > 0, "only what was missing"
    loading = next(event.loading for event in events if event.HasField("loading"))
    assert loading.held_bytes > 0


def test_killing_both_at_once_loses_no_packet_and_no_route(system):
    system.ask(HUMIDITY)
    stack, sensor, routes = system.stack, system.of_type("humidity")[0], system.routes()
    ping = subprocess.Popen(
        ["ping", "-i", "0.02", "-c", "500", "-W", "5", sensor.ipv4], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1)
        killed = time.monotonic()
        service = stack.service_pid()
        os.kill(service, signal.SIGKILL)
        os.kill(stack.processes["ryu-manager"].pid, signal.SIGKILL)
        eventually(lambda: stack.service_pid() not in (None, service))
        eventually(lambda: not stack._lacks(), timeout_s=40)
    finally:
        output = ping.communicate(timeout=60)[0]
    assert "500 packets transmitted, 500 received" in output, output
    assert system.routes() == routes
    flows = system.network("GetFlows", network_pb2.GetFlowsRequest()).flows
    assert min(flow.duration_s for flow in flows) >= int(time.monotonic() - killed), "no entry was touched"


def test_a_sensor_that_vanishes_is_reported_and_the_rest_is_kept(system):
    question = "How stable was the grid frequency from 28 October to 3 November?"
    gone = system.of_type("grid_frequency")[0]
    port = f"{system.wiring.cells[gone.cell].gateway.name}-eth{gone.port}"
    cut = []

    def vanish(event):
        if event.HasField("transfer") and event.transfer.received_bytes and not cut:
            cut.append(subprocess.run(["ip", "link", "set", port, "down"], check=True))

    try:
        result = system.ask(question, vanish)[-1].result
    finally:
        subprocess.run(["ip", "link", "set", port, "up"], check=True)
    states = {transfer.sensor_id: transfer for transfer in result.transfers}
    assert cut and list(result.failed_sensors) == [gone.id]
    assert states[gone.id].state == FAILED and "missing" in states[gone.id].error
    assert all(transfer.state == DONE for sensor, transfer in states.items() if sensor != gone.id)
    again = system.result(question)
    assert [transfer.sensor_id for transfer in again.transfers] == [gone.id]
    assert not again.failed_sensors
    assert again.transfers[0].received_bytes + states[gone.id].received_bytes > states[gone.id].received_bytes
