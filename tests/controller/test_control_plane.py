"""The service's side of the control plane, over real gRPC with a controller that keeps tables."""

from contextlib import asynccontextmanager

import grpc
import pytest
from fake_clients import FakeController, FakeRadio, until

from controller.control_plane import ControlPlane, ControlPlaneError, ControlServicer
from controller.flows import desired_tables, path_ports
from proto import control_pb2, control_pb2_grpc
from twin.path import Path
from twin.scenario import Cell, Coordinator, District, Radio, Scenario, Sensor
from twin.wiring import Wiring


def scenario():
    cells = tuple(Cell(f"C{i}", "D", 9.19, 45.46, 25.0, 5060, 50, 1e8) for i in (1, 2))
    coordinators = tuple(Coordinator(f"Z{i}", f"C{i}", 9.19, 45.46, 11) for i in (1, 2))
    sensors = tuple(
        Sensor(
            f"s{i}{k}", "humidity", f"C{i}", "D", 9.19, 45.46, 3.0, f"10.66.{i}.{k}", f"02:66:00:00:0{i}:0{k}", k + 2
        )
        for i in (1, 2)
        for k in (1, 2)
    )
    return Scenario(
        city="X",
        timezone="Europe/Rome",
        now="2013-11-18T12:00:00+01:00",
        seed=1,
        subnet="10.66.0.0/16",
        twin_ipv4="10.66.0.1",
        twin_mac="02:66:00:00:00:01",
        radio=Radio(6e9, 360e3, 1e-3, 5.0, 23.0, 0.0),
        districts=(District("D", 9.19, 45.46, 500.0),),
        cells=cells,
        coordinators=coordinators,
        ues=(),
        sensors=sensors,
    )


WIRING = Wiring(scenario())
ALL = {switch.datapath_id for switch in WIRING.switches}


def tables(routes, avoided=()):
    return desired_tables(WIRING, routes, avoided)


@asynccontextmanager
async def serving(timeout_s=2.0, return_after_s=0.2):
    plane = ControlPlane(WIRING, timeout_s, return_after_s)
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServiceServicer_to_server(ControlServicer(plane), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield plane, channel
    await server.stop(None)


async def test_routes_reach_every_switch_and_only_changes_are_sent():
    async with serving() as (plane, channel), FakeController("r1", ALL).attached(channel) as controller:
        installed = await plane.install({"s11": Path.SIXG})
        assert installed.added > 0
        assert controller.tables == tables({"s11": Path.SIXG})
        programs = len(controller.programs)
        assert (await plane.install({"s11": Path.SIXG})).added == 0
        assert len(controller.programs) == programs, "an unchanged plan sends nothing"
        await plane.install({"s21": Path.ZIGBEE})
        assert {table.datapath_id for table in controller.programs[-1].tables} == {
            WIRING.core.datapath_id,
            WIRING.cells["C2"].gateway.datapath_id,
        }
        assert controller.tables == tables({"s11": Path.SIXG, "s21": Path.ZIGBEE})


async def test_a_new_service_takes_over_the_routes_on_the_switches():
    routes = {"s11": Path.SIXG, "s22": Path.ZIGBEE}
    async with serving() as (plane, channel), FakeController("r1", ALL, tables(routes)).attached(channel) as controller:
        installed = await plane.install({"s12": Path.SIXG})
        assert plane.routes == routes | {"s12": Path.SIXG}
        assert installed.deleted == 0
        assert controller.tables == tables(plane.routes)


async def test_switches_that_connect_late_keep_the_routes_they_have():
    routes = {"s11": Path.SIXG, "s22": Path.ZIGBEE}
    async with serving() as (plane, channel), FakeController("r1", [], tables(routes)).attached(channel) as controller:
        await plane.install({})  # the first program, without a single switch
        for switch in WIRING.switches:
            await controller.report_switch(channel, switch.datapath_id, True)
        installed = await plane.install({"s12": Path.SIXG})
        assert installed.deleted == 0
        assert plane.routes == routes | {"s12": Path.SIXG}
        assert controller.tables == tables(plane.routes)


async def test_a_refusing_switch_fails_the_installation_and_the_former_routes_come_back():
    async with serving() as (plane, channel), FakeController("r1", ALL).attached(channel) as controller:
        await plane.install({"s11": Path.SIXG})
        gateway = WIRING.cells["C1"].gateway
        controller.refuse[gateway.datapath_id] = "OFPET_FLOW_MOD_FAILED: table full"
        with pytest.raises(ControlPlaneError, match="gw01: OFPET_FLOW_MOD_FAILED: table full"):
            await plane.install({"s11": Path.ZIGBEE})
        controller.refuse.clear()
        await plane.install({})
        assert plane.routes == {"s11": Path.SIXG}
        assert controller.tables == tables(plane.routes)


async def test_a_switch_that_refuses_does_not_keep_other_cells_from_their_routes():
    async with serving() as (plane, channel):
        controller, gateway = FakeController("r1", ALL), WIRING.cells["C2"].gateway.datapath_id
        controller.refuse[gateway] = "OFPET_FLOW_MOD_FAILED: table full"
        async with controller.attached(channel):
            await plane.install({"s11": Path.SIXG})
            expected = tables({"s11": Path.SIXG})
            del expected[gateway]
            assert controller.tables == expected
            with pytest.raises(ControlPlaneError, match="gw02: OFPET_FLOW_MOD_FAILED: table full$"):
                await plane.install({"s21": Path.SIXG})
            assert controller.tables == expected and plane.routes == {"s11": Path.SIXG}


async def test_a_broken_path_is_left_for_both_directions_and_taken_again_after_a_while():
    """Hysteresis: a link that comes and goes within the time does not take the traffic with it."""
    station = WIRING.cells["C1"].base_station.datapath_id
    async with serving(return_after_s=0.6) as (plane, channel), FakeController("r1", ALL).attached(channel) as ryu:
        routes = {"s11": Path.SIXG, "s12": Path.ZIGBEE, "s21": Path.SIXG}
        await plane.install(routes)
        broken, whole = [(1, False), (2, True)], [(1, True), (2, True)]
        await ryu.report_switch(channel, station, True, broken)
        await until(lambda: ryu.tables == tables(routes, {("C1", Path.SIXG)}))
        programs = len(ryu.programs)
        for up in (whole, broken, whole):  # flaps
            await ryu.report_switch(channel, station, True, up)
        assert plane.avoided == {("C1", Path.SIXG)}
        assert len(ryu.programs) == programs
        await until(lambda: ryu.tables == tables(routes))
        assert plane.avoided == set()
        assert plane.routes == routes  # what was decided is not changed by it


async def test_every_port_on_a_path_counts_and_a_switch_that_is_away_says_nothing():
    async with serving() as (plane, channel), FakeController("r1", ALL).attached(channel) as ryu:
        await plane.install({})
        for path, ports in path_ports(WIRING.cells["C2"], WIRING).items():
            for dpid, port in ports:
                known = [p for d, p in sum(path_ports(WIRING.cells["C2"], WIRING).values(), ()) if d == dpid]
                known += [2, 3] if dpid == WIRING.core.datapath_id else []
                await ryu.report_switch(channel, dpid, True, [(p, p != port) for p in known])
                assert plane.avoided == {("C2", path)}, (dpid, port)
                await ryu.report_switch(channel, dpid, False)
                assert plane.avoided == {("C2", path)}
                await ryu.report_switch(channel, dpid, True, [(p, True) for p in known])
                await until(lambda: plane.avoided == set())


async def test_a_switch_that_is_not_of_the_scenario_is_named_and_ignored(caplog):
    async with serving() as (plane, channel), FakeController("r1", ALL).attached(channel) as ryu:
        await plane.install({"s11": Path.SIXG})
        await ryu.report_switch(channel, 0x2_0000_0099, True)
        assert 0x2_0000_0099 not in plane.connected | ryu.tables.keys()
        assert "switch 0x200000099 is not part of the scenario" in caplog.text


async def test_a_switch_that_is_away_fails_only_those_who_need_it():
    away = WIRING.cells["C2"].base_station.datapath_id
    async with serving() as (plane, channel), FakeController("r1", ALL - {away}).attached(channel) as controller:
        await plane.install({"s11": Path.SIXG})
        with pytest.raises(ControlPlaneError, match="bs02: not connected"):
            await plane.install({"s21": Path.SIXG})
        await controller.report_switch(channel, away, True)
        await until(lambda: controller.tables == tables({"s11": Path.SIXG}))
        await plane.install({"s21": Path.SIXG})
        assert controller.tables == tables({"s11": Path.SIXG, "s21": Path.SIXG})


async def test_no_controller_and_a_silent_one_are_named():
    async with serving(timeout_s=0.3) as (plane, channel):
        with pytest.raises(ControlPlaneError, match="no Ryu application is attached"):
            await plane.install({"s11": Path.SIXG})
        controller = FakeController("r1", ALL)
        async with controller.attached(channel):
            await plane.install({})
            controller.silent = True
            with pytest.raises(ControlPlaneError, match="r1 did not answer within 0.3 s"):
                await plane.install({"s11": Path.SIXG})


async def test_the_newest_controller_wins():
    async with serving() as (plane, channel), FakeController("old", ALL).attached(channel) as old:
        await plane.install({"s11": Path.SIXG})
        async with FakeController("new", ALL, old.tables).attached(channel) as new:
            await until(lambda: plane._controller.id == "new")
            before = len(old.programs)
            await plane.install({"s12": Path.SIXG})
            assert len(old.programs) == before
            assert new.tables == tables({"s11": Path.SIXG, "s12": Path.SIXG})


async def test_grants_reach_the_radio_and_no_radio_is_no_error():
    async with serving() as (plane, channel):
        assert await plane.grant({"s11": 1e6}) == 0
        async with FakeRadio().attached(channel) as radio:
            await until(lambda: plane.radio_attached)
            assert await plane.grant({"s11": 1e6, "s12": 2e6}) == 2
            assert radio.rates == {"s11": 1e6, "s12": 2e6}
        await until(lambda: not plane.radio_attached)


async def test_nonsense_from_clients_gets_a_status():
    async with serving() as (_, channel):
        stub = control_pb2_grpc.ControlServiceStub(channel)
        for call in (stub.AttachController(control_pb2.ControllerHello()), stub.AttachRadio(control_pb2.RadioHello())):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReportController(control_pb2.ControllerReport(controller_id="x"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
