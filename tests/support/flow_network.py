"""A city of real Open vSwitch switches, its Ryu application, and a stand-in for the links service that commands it."""

import json
import subprocess
import sys
import time

from fake_service import FakeService
from ryu_process import RyuProcess, free_port

from controller.entries import Kind, cookie
from controller.flows import bytes_by_path, desired_tables
from mininet_topos import City
from twin.generate import make_scenario
from twin.path import Path

SCENARIO = make_scenario(cells=2, sensors=6, seed=11)


class Network:
    """A city without sensor processes, its Ryu application, and the service that commands it."""

    def __init__(self, directory) -> None:
        self.directory, self.service, port = directory, FakeService(), free_port()
        self.environment = {"LINKS_SERVICE": self.service.address, "LINKS_OPENFLOW_RECONCILE_S": "2"}
        self.ryu = RyuProcess(directory, port=port, **self.environment)
        self.city = City(SCENARIO, controller=("127.0.0.1", port), name="links-flows", run_root=directory / "run")
        self.wiring = self.city.wiring
        try:
            self.city.start(sensors=False)
            self.service.wait_connected(self.ids)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.city.stop()
        self.ryu.stop()
        self.service.stop()

    @property
    def ids(self) -> list[int]:
        return [switch.datapath_id for switch in self.wiring.switches]

    def restart_ryu(self) -> None:
        self.ryu = RyuProcess(self.directory, port=self.ryu.port, **self.environment)

    def route(self, routes) -> tuple[int, int, int]:
        """Install routes everywhere; (added, modified, deleted) of all switches together."""
        result = self.service.program(desired_tables(self.wiring, routes))
        assert [s.error for s in result.switches] == [""] * len(self.ids)
        assert all(s.confirmed for s in result.switches)
        names = "added", "modified", "deleted"
        return tuple(sum(getattr(s, name) for s in result.switches) for name in names)

    def counters(self) -> "Counters":
        reply = self.service.statistics()
        assert not reply.missing_datapath_ids
        return Counters(self.wiring, reply)

    def counters_when(self, complete) -> "Counters":
        """The counters once ``complete(counters)``: Open vSwitch brings them up to date about once a second."""
        deadline = time.monotonic() + 10
        while not complete(counters := self.counters()):
            assert time.monotonic() < deadline, f"counters stay at {counters.by_path}"
            time.sleep(0.1)
        return counters

    def counters_after(self, before: "Counters", sensor_id: str, count: int) -> "Counters":
        """The counters once at least so many bytes of a sensor have reached the core."""
        return self.counters_when(lambda now: sum(grown(before, now, sensor_id).values()) >= count)

    def run(self, sensor_id: str, *command: str) -> subprocess.CompletedProcess:
        """Run a program in a sensor's namespace."""
        inside = ["mnexec", "-a", str(self.city.namespace_pid(sensor_id)), *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60)

    def ping(self, sensor_id: str, address: str = SCENARIO.twin_ipv4, count: int = 3) -> int:
        """How many of ``count`` echo requests were answered."""
        result = self.run(sensor_id, "ping", "-n", "-i", "0.05", "-W", "1", "-c", str(count), address)
        return int(result.stdout.split(" received")[0].split()[-1])

    def send_frames(self, sensor_id: str, frames: list[bytes]) -> None:
        """Send raw Ethernet frames from a sensor's interface."""
        code = (
            "import json, socket, sys\n"
            "raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
            "raw.bind(('eth0', 0))\n"
            "for frame in json.loads(sys.argv[1]): raw.send(bytes.fromhex(frame))\n"
        )
        result = self.run(sensor_id, sys.executable, "-c", code, json.dumps([frame.hex() for frame in frames]))
        assert result.returncode == 0, result.stderr


class Counters:
    """A reading of all counters."""

    def __init__(self, wiring, reply) -> None:
        self.wiring, self.reply = wiring, reply
        self.by_path = bytes_by_path(wiring, reply.flows)

    def drops(self, switch) -> dict[int, int]:
        """Packets that met the drop entry of each table."""
        rows = [f for f in self.reply.flows if f.datapath_id == switch.datapath_id]
        return {f.entry.table_id: f.packets for f in rows if f.entry.cookie == cookie(Kind.DROP)}

    def sent(self, switch, port: int) -> int:
        """Bytes sent out of a port."""
        (row,) = [p for p in self.reply.ports if (p.datapath_id, p.port) == (switch.datapath_id, port)]
        return row.tx_bytes


def grown(before: Counters, after: Counters, sensor_id: str) -> dict[Path, int]:
    """Bytes of a sensor that have reached the core in between, by path."""
    return {path: after.by_path[sensor_id][path] - before.by_path[sensor_id][path] for path in Path}


def routes(path: Path) -> dict[str, Path]:
    """All sensors by one path."""
    return {sensor.id: path for sensor in SCENARIO.sensors}
