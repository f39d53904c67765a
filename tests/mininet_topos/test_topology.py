"""CityTopo against the wiring it must build. No root needed: a Topo is only a plan."""

import dataclasses

import pytest

from mininet_topos.run_directory import CityError
from mininet_topos.topology import (
    IDLE_RATE_BPS,
    CityHost,
    CityLink,
    CitySwitch,
    CityTopo,
    port_interface,
    root_interfaces,
)
from mininet_topos.zigbee_air import air_rate_bps
from twin.generate import make_scenario
from twin.scenario import load_scenario, save_scenario
from twin.wiring import AIR_TX, GATEWAY_TO_BASE_STATION, TO_GATEWAY, Wiring


@pytest.fixture(scope="module")
def scenario():
    return make_scenario(cells=3, sensors=9, seed=5)


@pytest.fixture(scope="module")
def topo(scenario):
    return CityTopo(scenario, owner="test")


def ends(topo):
    """(a, port of a, b, port of b) of every link, and its options."""
    return {
        (info["node1"], info["port1"], info["node2"], info["port2"]): info
        for _, _, info in topo.links(sort=True, withInfo=True)
    }


def test_links_are_exactly_the_wirings(scenario, topo):
    expected = [(wire.a, wire.a_port, wire.b, wire.b_port) for wire in Wiring(scenario).links]
    assert sorted(ends(topo)) == sorted(expected)


def test_nodes_are_exactly_the_wirings(scenario, topo):
    assert set(topo.hosts()) == {"twin", *(sensor.id for sensor in scenario.sensors)}
    wanted = {switch.name: f"{switch.datapath_id:016x}" for switch in Wiring(scenario).switches}
    assert {name: topo.nodeInfo(name)["dpid"] for name in topo.switches()} == wanted
    assert {topo.nodeInfo(name)["cls"] for name in topo.switches()} == {CitySwitch}
    assert {topo.nodeInfo(name)["cls"] for name in topo.hosts()} == {CityHost}
    assert {info["cls"] for info in ends(topo).values()} == {CityLink}


def test_sensors_have_the_scenarios_addresses_and_the_idle_rate(scenario, topo):
    links = {b: info for (_, _, b, _), info in ends(topo).items()}
    length = scenario.subnet.partition("/")[2]
    for sensor in scenario.sensors:
        info = links[sensor.id]
        assert info["addr2"] == sensor.mac
        assert info["params2"] == {"ip": f"{sensor.ipv4}/{length}", "rate_bps": IDLE_RATE_BPS}
    assert links["twin"]["addr2"] == scenario.twin_mac
    assert links["twin"]["params2"]["ip"] == f"{scenario.twin_ipv4}/{length}"
    assert topo.nodeInfo("twin")["inNamespace"] is False


def test_rates_of_both_radios(scenario, topo):
    links = ends(topo)
    for cell in Wiring(scenario).cells.values():
        capacity_bps = scenario.cell[cell.cell].capacity_bps
        radio = links[cell.gateway.name, GATEWAY_TO_BASE_STATION, cell.base_station.name, TO_GATEWAY]
        assert radio["params1"]["rate_bps"] == radio["params2"]["rate_bps"] == capacity_bps
        air = next(info for (a, port, _, _), info in links.items() if (a, port) == (cell.coordinator.name, AIR_TX))
        assert air["params1"]["rate_bps"] == air_rate_bps()
        assert "rate_bps" not in air["params2"]


def test_everything_in_the_root_namespace_is_marked(scenario, topo):
    marked = set()
    for info in ends(topo).values():
        for name, params in ((info["intfName1"], info["params1"]), (info["intfName2"], info["params2"])):
            if params.get("alias") == "links:test":
                marked.add(name)
    assert marked == set(root_interfaces(Wiring(scenario)))


def test_port_addresses_differ_are_local_and_stay_the_same(scenario, topo):
    addresses = [info["addr1"] for info in ends(topo).values()]
    addresses += [info["addr2"] for info in ends(topo).values()]
    assert len(set(addresses)) == len(addresses)
    assert all(int(address[:2], 16) & 3 == 2 for address in addresses)  # locally administered, not group
    assert ends(CityTopo(scenario, owner="test")).keys() == ends(topo).keys()
    assert addresses[0] == next(iter(ends(CityTopo(scenario)).values()))["addr1"]


def test_interface_names_fit_linux_at_the_largest_size():
    assert len(port_interface("gw9999", 65_000)) <= 15


def test_file_and_bundled_name_as_mn_passes_them(scenario, tmp_path):
    save_scenario(scenario, tmp_path / "city.json")
    assert set(CityTopo(str(tmp_path / "city.json")).hosts()) == {"twin", *scenario.sensor}
    assert len(CityTopo().switches()) == 1 + 3 * len(load_scenario("milan").cells)


def test_mn_custom_finds_the_topology():
    """``mn --custom`` executes the file and takes its ``topos``."""
    import mininet_topos.city

    names = {}
    with open(mininet_topos.city.__file__) as file:
        exec(compile(file.read(), "city.py", "exec"), names, names)
    assert names["topos"]["city"] is CityTopo


def test_a_sensor_named_like_a_node_is_refused(scenario):
    first, *rest = scenario.sensors
    clash = dataclasses.replace(scenario, sensors=(dataclasses.replace(first, id="gw01"), *rest))
    with pytest.raises(CityError, match="'gw01'"):
        CityTopo(clash)
