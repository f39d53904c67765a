"""The emulated city: built in Mininet, marked as ours, with its sensors running, and taken down without a trace.

    mn --custom mininet_topos/city.py --topo city[,FILE] --controller remote

builds the wiring of the bundled Milan scenario (or of FILE) with its radio rates and no sensor processes.
"""

import ipaddress
import logging
import re
import time
from pathlib import Path
from typing import Self

from mininet.log import setLogLevel
from mininet.net import Mininet
from pyroute2 import IPRoute

from mininet_topos import ovs
from mininet_topos.linux import ProcessId
from mininet_topos.run_directory import CityError, Record, RunDirectory
from mininet_topos.sensors import SensorProcesses
from mininet_topos.topology import CityController, CityTopo, root_interfaces
from twin.clock import EmulatedClock
from twin.scenario import Scenario, save_scenario
from twin.wiring import CORE_TO_TWIN, Wiring

log = logging.getLogger(__name__)

topos = {"city": CityTopo}


def city_name(scenario: Scenario) -> str:
    """Name of a scenario's city on this machine, unless another is given: "Milan" becomes "milan"."""
    return re.sub(r"[^a-z0-9]+", "-", scenario.city.lower()).strip("-")


class City:
    """A city of one name on this machine. Use as a context manager, or start() and stop().

    ``controller``: where the switches look for their OpenFlow controller. ``name``: default, the scenario's city in
    lower case. ``clock``: the sensors' clock; default, starts at the scenario's ``now`` in real time. ``run_root``:
    where run directories live. Needs root. From a coroutine, start and stop with asyncio.to_thread (netlink blocks).
    """

    def __init__(
        self,
        scenario: Scenario,
        controller: tuple[str, int] = ("127.0.0.1", 6653),
        name: str | None = None,
        clock: EmulatedClock | None = None,
        run_root: Path | None = None,
    ):
        self.scenario = scenario
        self.wiring = Wiring(scenario)
        self.name = name or city_name(scenario)
        self.clock = clock or EmulatedClock(scenario.start.timestamp(), 1.0, time.time())
        self.run_directory = RunDirectory(self.name, run_root)
        self.timings_s: dict[str, float] = {}
        self.net: Mininet | None = None
        self._controller = controller
        self._sensors: SensorProcesses | None = None

    def start(self, sensors: bool = True) -> None:
        """Build everything and start the sensors; returns when all of them serve. What a killed city of this name left
        behind is removed first. Raises CityError, OvsError; nothing is left behind then."""
        setLogLevel("warning")
        self.run_directory.lock()
        try:
            self._timed("clean", self._prepare)
            if sensors:
                self._launch_sensor_parent()
            self._timed("nodes_and_links", self._build)
            self._timed("switches", self._start_switches)
            if sensors:
                self._timed("sensors", lambda: self._sensors.start(self._namespaces()))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Take down everything; may be called again. Raises CityError, OvsError when something can't be removed."""
        if not self.run_directory.locked:
            return  # not started, or the city of this name is another process's
        if self._sensors:
            self._sensors.close()
            self._sensors = None
        net, self.net = self.net, None
        if net:
            for node in (*net.hosts, *net.switches, *net.controllers):
                node.terminate()
        self.run_directory.remove_everything()
        self.run_directory.unlock()
        log.info("city %s is removed", self.name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def namespace_pid(self, sensor: str) -> int:
        """A process in the sensor's network namespace that lives as long as the city."""
        return self.net[sensor].pid

    def sensor_pid(self, sensor: str) -> int:
        """The sensor's own process. Raises CityError when it does not run."""
        return self._sensors.pid(sensor)

    @property
    def sensor_pids(self) -> dict[str, int]:
        """Sensor processes that run, by sensor id."""
        return self._sensors.pids

    def stop_sensor(self, sensor: str) -> None:
        """Kill a sensor's process, as when its battery is empty: its host stays, its port answers no more."""
        self._sensors.stop(sensor)

    def restart_sensor(self, sensor: str) -> None:
        """Start a sensor's process again, after stop_sensor or a death. Its edge storage is what it was."""
        if sensor in self._sensors.pids:
            self._sensors.stop(sensor)
        self._sensors.start({sensor: self.namespace_pid(sensor)})

    def _timed(self, what: str, action) -> None:
        begin = time.monotonic()
        action()
        self.timings_s[what] = round(time.monotonic() - begin, 3)

    def _prepare(self) -> None:
        ovs.ensure_running()
        removed = self.run_directory.remove_everything()
        if removed:
            log.warning("an earlier city %r left %d things behind; removed", self.name, len(removed))
        self._refuse_strangers()
        self.run_directory.save(Record(root_interfaces(self.wiring)))
        save_scenario(self.scenario, self.run_directory.scenario_path)

    def _refuse_strangers(self) -> None:
        """Raise CityError when a name or address that we need is taken by someone else."""
        owners = ovs.bridge_owners()
        for switch in self.wiring.switches:
            if switch.name in owners:
                owner = owners[switch.name]
                whose = f"belongs to city {owner!r}" if owner else "is not ours"
                fix = f"mininet_topos --cleanup --name {owner}" if owner else f"ovs-vsctl del-br {switch.name}"
                raise CityError(f"bridge {switch.name!r} exists and {whose}; stop its owner, or remove it: {fix}")
        subnet = ipaddress.ip_network(self.scenario.subnet)
        with IPRoute() as ip:
            taken = {link.get("ifname") for link in ip.get_links()}
            addresses = {address.get("ifa_address") for address in ip.get_addr(family=2)}
        for name in (*root_interfaces(self.wiring), *(switch.name for switch in self.wiring.switches)):
            if name in taken:
                raise CityError(f"interface {name!r} exists and is not ours; remove it: ip link del {name}")
        for address in addresses:
            if ipaddress.ip_address(address) in subnet:
                raise CityError(f"subnet {subnet} of the scenario holds {address} of this machine; choose another one")

    def _launch_sensor_parent(self) -> None:
        """First, because it imports while the network is built."""
        path = self.run_directory
        path.edge_path.mkdir()
        self._sensors = SensorProcesses(path.scenario_path, self.clock, path.edge_path, path.log_path("sensors"))

    def _build(self) -> None:
        topo = CityTopo(self.scenario, owner=self.name)
        self.net = Mininet(topo=topo, controller=None, build=False)
        host, port = self._controller
        self.net.addController(CityController("controller", ip=host, port=port))
        self.net.build()

    def _start_switches(self) -> None:
        self.net.start()
        nodes = (*self.net.hosts, *self.net.switches, *self.net.controllers)
        processes = [ProcessId.of(node.pid) for node in nodes]
        if self._sensors:
            processes.append(self._sensors.process_id)
        self.run_directory.save(Record(root_interfaces(self.wiring), tuple(processes), complete=True))
        if ovs.datapath_type() == "netdev":
            ovs.widen_send_path(self.wiring.core.name, CORE_TO_TWIN)

    def _namespaces(self) -> dict[str, int]:
        return {sensor.id: self.namespace_pid(sensor.id) for sensor in self.scenario.sensors}
