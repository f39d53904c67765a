"""Failover and restarts under a stream of packets: what is lost, and for how long nothing arrives.

``links eval failover`` builds a small city of real Open vSwitch switches with a ryu-manager and the service's control
plane, sends numbered datagrams from a sensor to the twin and back, and cuts every link of its cell at either end, in
turn; then restarts ryu-manager, the control plane, both, and Open vSwitch. Radio rates are not emulated here: at 1,000
packets/s Zigbee's own rate would lose most of them. Writes docs/results/failover.md. Needs root.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path as File

import grpc

from controller.control_plane import ControlPlane, ControlServicer
from evaluation import udp_stream
from mininet_topos import City
from mininet_topos.topology import port_interface
from proto import control_pb2_grpc
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import AIR_TX, TO_CORE, TO_GATEWAY, CellWiring

RETURN_AFTER_S = 0.5
CUT_S, WHOLE_S, END_S = 1.5, 3.0, 5.0  # of the stream
ROOT = File(__file__).parents[1]
RESULTS = ROOT / "docs/results"
RESTART_OVS = ["/usr/share/openvswitch/scripts/ovs-ctl", "--no-ovsdb-server", "restart", "--system-id=random"]


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="links eval failover", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="cuts of each link (%(default)s)")
    parser.add_argument("--per-second", type=int, default=1_000, metavar="N", help="packets (%(default)s)")
    parser.add_argument("--out", type=File, default=RESULTS / "failover.md", help="(%(default)s)")
    options = parser.parse_args(argv)
    if os.geteuid() != 0:
        print("links eval failover: it needs root, for network namespaces: run it with sudo", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory, rig(File(directory)) as built:
        document = measure(built, options.repeats, options.per_second)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    options.out.write_text(page(document))
    print(page(document))
    return 0


# --- The network ------------------------------------------------------------------------------------------------------


class PlaneThread:
    """The service's control plane behind gRPC, in a thread with an event loop of its own; it can be started anew."""

    def __init__(self, city: City, port: int):
        self._wiring, self._port = city.wiring, port
        self.start()

    def start(self) -> None:
        ready: Future = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.result(30)

    async def _serve(self, ready: Future) -> None:
        self.plane = ControlPlane(self._wiring, 10.0, RETURN_AFTER_S)
        server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 4_000)])
        control_pb2_grpc.add_ControlServiceServicer_to_server(ControlServicer(self.plane), server)
        server.add_insecure_port(f"127.0.0.1:{self._port}")
        await server.start()
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        ready.set_result(None)
        await self._end.wait()
        await server.stop(0)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    def install(self, routes: dict[str, Path]):
        return asyncio.run_coroutine_threadsafe(self.plane.install(routes), self._loop).result(30)


class Rig:
    """City, ryu-manager and control plane."""

    def __init__(self, directory: File, city: City, openflow_port: int, service_port: int):
        self.city, self._openflow_port, self._service_port = city, openflow_port, service_port
        self.log = directory / "ryu.log"
        self.sensor = city.scenario.sensors[0]
        self.service = PlaneThread(city, service_port)
        self.start_ryu()

    @property
    def cell(self) -> CellWiring:
        return self.city.wiring.cells[self.sensor.cell]

    def start_ryu(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "controller.ryu_manager"]
        command += ["--ofp-tcp-listen-port", str(self._openflow_port), str(ROOT / "controller/ryu_app.py")]
        environment = os.environ | {"LINKS_SERVICE": f"127.0.0.1:{self._service_port}", "PYTHONPATH": str(ROOT)}
        with self.log.open("a") as log:
            self._ryu = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill_ryu(self) -> None:
        self._ryu.send_signal(signal.SIGKILL)
        self._ryu.wait()

    def wait_connected(self) -> None:
        """Until every switch is connected and holds its table."""
        wanted = {switch.datapath_id for switch in self.city.wiring.switches}
        _until(lambda: self.service.plane.connected == wanted, "not every switch connects")
        self.service.install({})

    def free_of_rates(self) -> None:
        """Take the emulated radios' rates off the sensor's paths."""
        subprocess.run(["tc", "qdisc", "del", "dev", port_interface(self.cell.coordinator.name, AIR_TX), "root"])
        pid = str(self.city.namespace_pid(self.sensor.id))
        subprocess.run(["mnexec", "-a", pid, "tc", "qdisc", "del", "dev", "eth0", "root"])

    def close(self) -> None:
        self._ryu.terminate()
        self._ryu.wait()
        self.service.stop()


@contextmanager
def rig(directory: File) -> Iterator[Rig]:
    """Two cells with three sensors each; all routes by 6G."""
    openflow_port, service_port = _free_port(), _free_port()
    scenario = make_scenario(cells=2, sensors=6, seed=11)
    city = City(scenario, ("127.0.0.1", openflow_port), name="links-failover", run_root=directory / "run")
    city.start(sensors=False)
    try:
        built = Rig(directory, city, openflow_port, service_port)
        try:
            built.wait_connected()
            built.free_of_rates()
            yield built
        finally:
            built.close()
    finally:
        city.stop()


# --- Measurements -----------------------------------------------------------------------------------------------------


def links_of(cell: CellWiring) -> dict[str, tuple[Path, str, int]]:
    """Every link of a cell by the end that is taken down: the path it belongs to, switch and port."""
    gateway, station, coordinator = cell.gateway.name, cell.base_station.name, cell.coordinator.name
    return {
        "6G: gateway's port to the base station": (Path.SIXG, gateway, 1),
        "6G: base station's port to the gateway": (Path.SIXG, station, TO_GATEWAY),
        "6G: base station's port to the core": (Path.SIXG, station, TO_CORE),
        "6G: core's port to the base station": (Path.SIXG, "core", cell.core_to_base_station),
        "Zigbee: gateway's port to the coordinator": (Path.ZIGBEE, gateway, 2),
        "Zigbee: coordinator's port to the gateway": (Path.ZIGBEE, coordinator, TO_GATEWAY),
        "Zigbee: coordinator's port to the core": (Path.ZIGBEE, coordinator, TO_CORE),
        "Zigbee: core's port to the coordinator": (Path.ZIGBEE, "core", cell.core_to_coordinator),
        "Zigbee: air": (Path.ZIGBEE, coordinator, AIR_TX),
    }


def measure(built: Rig, repeats: int, per_second: int) -> dict:
    """All rows; what is being done is told on standard error."""
    document = {"per_second": per_second, "repeats": repeats, "return_after_s": RETURN_AFTER_S, "cuts": {}}
    for name, (path, switch, port) in links_of(built.cell).items():
        built.service.install({sensor.id: path for sensor in built.city.scenario.sensors})
        rows = []
        for _ in range(repeats):
            _told(f"cut {len(rows) + 1} of {repeats}: {name}")
            rows.append(_cut(built, port_interface(switch, port), per_second))
            _until(lambda: not built.service.plane.avoided, "the path does not come back")
        document["cuts"][name] = rows
    document["restarts"] = {
        name: _restart(built, action, per_second, name) for name, action in _restarts(built).items()
    }
    document["ovs_restart"] = _restart_ovs(built)
    return document


def _cut(built: Rig, interface: str, per_second: int) -> dict:
    """One cut and return under a stream."""
    with _stream(built, per_second, END_S) as (echo, finish):
        _wait_for(echo, int(CUT_S * per_second))
        _link(interface, up=False)
        try:
            _wait_for(echo, int(WHOLE_S * per_second))
        finally:
            _link(interface, up=True)
        returned = len(echo.received) and echo.received[-1]
        _, lost_up, lost = finish()
        gap_s = max(later - earlier for earlier, later in zip(echo.times_s, echo.times_s[1:], strict=False))
    return {
        "lost_up": len(lost_up),
        "lost": sum(number <= returned for number in lost),
        "lost_on_return": sum(number > returned for number in lost),
        "gap_ms": gap_s * 1e3,
    }


def _restarts(built: Rig) -> dict[str, Callable[[], None]]:
    def ryu() -> None:
        built.kill_ryu()
        built.start_ryu()

    def service() -> None:
        built.service.stop()
        built.service.start()

    def both() -> None:
        built.kill_ryu()
        service()
        built.start_ryu()

    return {"ryu-manager (killed)": ryu, "the service's control plane": service, "both": both}


def _restart(built: Rig, action: Callable[[], None], per_second: int, name: str) -> dict:
    _told(f"restart: {name}")
    with _stream(built, per_second, 2 * END_S) as (echo, finish):
        _wait_for(echo, int(CUT_S * per_second))
        action()
        built.wait_connected()
        sent, _, lost = finish()
    return {"sent": sent, "lost": len(lost)}


def _restart_ovs(built: Rig) -> dict:
    """How long after each switch's reconnection its flows were back, as the Ryu application logs it."""
    _told("restart: ovs-vswitchd")
    before = built.log.read_text()
    started = time.monotonic()
    subprocess.run(RESTART_OVS, check=True, stdout=subprocess.DEVNULL)
    switches = len(built.city.wiring.switches)
    pattern = re.compile(r"holds its table again (\S+) s after it connected")

    def back() -> list[str]:
        return pattern.findall(built.log.read_text()[len(before) :])

    _until(lambda: len(back()) >= switches, "the flows do not come back")
    return {"switches": switches, "seconds": [float(s) for s in back()], "in_all_s": time.monotonic() - started}


@contextmanager
def _stream(built: Rig, per_second: int, seconds: float) -> Iterator[tuple[udp_stream.Echo, Callable]]:
    echo = udp_stream.Echo(built.city.scenario.twin_ipv4)
    try:
        stream = udp_stream.start(built.city.namespace_pid(built.sensor.id), echo, per_second, seconds)
        yield echo, lambda: udp_stream.finish(stream, echo)
    finally:
        echo.close()


def _wait_for(echo: udp_stream.Echo, number: int) -> None:
    _until(lambda: echo.received and echo.received[-1] >= number, "the stream does not arrive")


def _link(interface: str, up: bool) -> None:
    subprocess.run(["ip", "link", "set", interface, "up" if up else "down"], check=True)


def _until(condition: Callable[[], object], otherwise: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.001)


def _told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- The page ---------------------------------------------------------------------------------------------------------


def page(document: dict) -> str:
    """The results as Markdown."""
    lines = [
        "# Failover",
        "",
        f"A stream of {document['per_second']:,} packets/s from a sensor to the twin, sent back there; each link of "
        f"its cell cut and mended {document['repeats']} times under it. Median, and the largest in brackets. The "
        "longest gap is between two packets that reach the twin. After a return the path counts again "
        f"{document['return_after_s']:g} s later. `sudo .venv/bin/links eval failover` measures this anew.",
        "",
        "| link cut | longest gap, ms | lost, there and back | lost on the way up | lost on return |",
        "|---|---|---|---|---|",
    ]
    for name, rows in document["cuts"].items():
        cells = [_spread(rows, key, form) for key, form in (("gap_ms", ".1f"), ("lost", ".0f"), ("lost_up", ".0f"))]
        lines.append(f"| {name} | {' | '.join(cells)} | {_spread(rows, 'lost_on_return', '.0f')} |")
    lines += ["", "| restarted under the stream | sent | lost, there and back |", "|---|---|---|"]
    lines += [f"| {name} | {row['sent']:,} | {row['lost']} |" for name, row in document["restarts"].items()]
    ovs = document["ovs_restart"]
    lines += [
        "",
        f"After a restart of ovs-vswitchd each of {ovs['switches']} switches held its table again "
        f"{statistics.median(ovs['seconds']):.3f} s (largest {max(ovs['seconds']):.3f} s) after it had connected; all "
        f"of them {ovs['in_all_s']:.1f} s after the restart began.",
    ]
    return "\n".join(lines) + "\n"


def _spread(rows: list[dict], key: str, form: str) -> str:
    values = [row[key] for row in rows]
    return f"{statistics.median(values):{form}} ({max(values):{form}})"


if __name__ == "__main__":
    sys.exit(main())
