"""Helpers of the emulation tests: flow entries put in by hand, counters, waiting."""

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from mininet_topos import ovs
from twin.wiring import (
    AIR_RX,
    AIR_TX,
    CORE_TO_TWIN,
    GATEWAY_TO_BASE_STATION,
    GATEWAY_TO_COORDINATOR,
    TO_CORE,
    TO_GATEWAY,
)


def route(city, path, sensors=None):
    """Put in flow entries that take all traffic of the sensors (default: all) over "sixg" or "zigbee"."""
    wiring, scenario = city.wiring, city.scenario
    chosen = {sensor.id for sensor in scenario.sensors} if sensors is None else set(sensors)
    tables = {wiring.core.name: []}
    for cell in wiring.cells.values():
        gateway, core = tables.setdefault(cell.gateway.name, []), tables[wiring.core.name]
        tables[cell.base_station.name] = [
            f"in_port={TO_GATEWAY},actions=output:{TO_CORE}",
            f"in_port={TO_CORE},actions=output:{TO_GATEWAY}",
        ]
        air = tables.setdefault(cell.coordinator.name, [])
        air += [f"in_port={port},actions=output:{AIR_TX}" for port in (TO_GATEWAY, TO_CORE)]
        core_ports = {"sixg": cell.core_to_base_station, "zigbee": cell.core_to_coordinator}
        gateway_ports = {"sixg": GATEWAY_TO_BASE_STATION, "zigbee": GATEWAY_TO_COORDINATOR}
        for protocol, to, end in (("ip", "nw_dst", scenario.twin_ipv4), ("arp", "arp_tpa", scenario.twin_ipv4)):
            air.append(f"in_port={AIR_RX},{protocol},{to}={end},actions=output:{TO_CORE}")
            core += [
                f"in_port={port},{protocol},{to}={end},actions=output:{CORE_TO_TWIN}" for port in core_ports.values()
            ]
        for sensor in scenario.sensors_of[cell.cell]:
            way = path if sensor.id in chosen else "sixg"
            gateway.append(f"in_port={sensor.port},actions=output:{gateway_ports[way]}")
            for protocol, to in (("ip", "nw_dst"), ("arp", "arp_tpa")):
                match = f"{protocol},{to}={sensor.ipv4}"
                core.append(f"in_port={CORE_TO_TWIN},{match},actions=output:{core_ports[way]}")
                air.append(f"in_port={AIR_RX},{match},actions=output:{TO_GATEWAY}")
                gateway += [f"in_port={port},{match},actions=output:{sensor.port}" for port in gateway_ports.values()]
    for switch, flows in tables.items():
        command = ["ovs-ofctl", "-O", "OpenFlow13", "replace-flows", switch, "-"]
        subprocess.run(command, input="\n".join(flows) + "\n", text=True, check=True)


def sent_bytes(city, sensor_id):
    """Bytes of Ethernet frames that a sensor has sent, as its gateway's port received them."""
    sensor = city.scenario.sensor[sensor_id]
    port = f"{city.wiring.cells[sensor.cell].gateway.name}-eth{sensor.port}"
    return int(Path(f"/sys/class/net/{port}/statistics/rx_bytes").read_text())


def eventually(condition, timeout_s=10.0):
    """Wait until ``condition()`` is true, and return it."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)
    return result


def interfaces():
    return set(os.listdir("/sys/class/net"))


def alive(pid):
    return Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@contextmanager
def strangers():
    """A bridge, a veth pair and a namespace of somebody else, which must survive; removed in the end."""
    ovs.transact([["add-br", "stranger-br"], ["set", "Bridge", "stranger-br", "datapath_type=netdev"]])
    subprocess.run("ip link add stranger0 type veth peer name stranger1; ip netns add stranger", shell=True, check=True)
    try:
        yield
        assert "stranger-br" in ovs.bridge_owners()
        assert {"stranger0", "stranger1"} <= interfaces()
        assert "stranger" in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    finally:
        subprocess.run("ip link del stranger0; ip netns del stranger", shell=True)
        ovs.transact([["--if-exists", "del-br", "stranger-br"]])
