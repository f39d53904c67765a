"""``links demo``: question 8 of the paper on the whole running system, and proof of what it says.

Each proof looks at something other than the claim: switch counters, the sensors' files, the store, the clock of events.
"""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.flow_messages import entry_from_proto
from controller.flows import bytes_by_path, installed_routes
from controller.progress import Progress
from controller.stack import Stack, StackError
from controller.status import TIMEOUT_S, push_load
from proto import network_pb2, network_pb2_grpc, query_pb2, query_pb2_grpc
from twin import senml
from twin.edge import EdgeStorage
from twin.path import Path as RadioPath
from twin.readings import Readings
from twin.scenario import Sensor, load_scenario
from twin.sensor_model import fields
from twin.store import TwinStore
from twin.wiring import TO_GATEWAY, Wiring

QUESTION = "What is the likelihood of electrical leakage in the city due to continuous rainfall?"
# Asked once a cell is over tau; a few small readings, since Zigbee is slow.
SMALL_TYPE = "air_quality"
SMALL_QUESTION = "What was the air quality in the city this morning?"
OVERLOAD = 2.5
SETTLE_S = 1.5
_PATH = {1: "6G", 2: "Zigbee"}


@dataclass
class Proofs:
    """Claims with their evidence; the demo fails when one does not hold."""

    console: Console
    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, claim: str, holds: bool, evidence: str) -> None:
        self.rows.append((claim, holds, evidence))
        self.console.print(
            f"  {'[green]holds[/]' if holds else '[red]FAILS[/]'}  {claim}: {escape(evidence)}", highlight=False
        )

    @property
    def hold(self) -> bool:
        return bool(self.rows) and all(holds for _, holds, _ in self.rows)


def run(config_file: str | None, keep: bool) -> int:
    """Run the demo; 0 when every proof holds."""
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="links-demo-"))
    stack = Stack(directory, config_file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        console.rule("1. Start: ryu-manager, links service, Open vSwitch, Mininet, sensors, telemetry")
        stack.start()
        stack.wait_ready(lambda text: console.print(f"{time.monotonic() - started:6.1f} s  {text}"))
        up_s = time.monotonic() - started
        console.print(f"{up_s:6.1f} s  ready")
        proofs = _Demo(stack, console).run()
        _summary(console, proofs, up_s, time.monotonic() - started)
        return 0 if proofs.hold else 1
    except (StackError, grpc.RpcError) as error:
        text = error.details() if isinstance(error, grpc.RpcError) else error
        print(f"links demo: {text}", file=sys.stderr)
        for name in stack.processes:
            print(f"links demo: {name}: {stack.last_line(name)}", file=sys.stderr)
        keep = True
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()
        if keep:
            console.print(f"logs and store are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _summary(console: Console, proofs: Proofs, up_s: float, total_s: float) -> None:
    console.rule("Summary")
    table = Table(show_header=False)
    for claim, holds, evidence in proofs.rows:
        table.add_row("[green]holds[/]" if holds else "[red]FAILS[/]", claim, escape(evidence))
    console.print(table, highlight=False)
    verdict = "[green]every proof holds[/]" if proofs.hold else "[red]something does not hold[/]"
    console.print(f"{verdict}; up after {up_s:.1f} s, done after {total_s:.1f} s", highlight=False)


class _Demo:
    """The steps after the start."""

    def __init__(self, stack: Stack, console: Console):
        self._stack = stack
        self._console = console
        self._link = stack.connection
        self._scenario = load_scenario(stack.config.scenario.file)
        self._wiring = Wiring(self._scenario)
        self._now: Timestamp | None = None

    def run(self) -> Proofs:
        proofs = Proofs(self._console)
        with self._link.channel() as self._channel:
            self._network = network_pb2_grpc.NetworkServiceStub(self._channel)
            self._console.rule("2. Question 8 of the paper")
            before = self._settled_flows()
            events = self._ask(QUESTION)
            result = events[-1].result
            self._console.print(result.text, markup=False)
            self._console.rule("3. Proofs")
            proofs.add("the question is answered", result.answerable and not result.failed_sensors, self._size(result))
            self._prove_paths(proofs, "its data", before, self._settled_flows(), result)
            self._prove_equal(proofs, events)
            again = self._ask(QUESTION)[-1].result
            proofs.add("asked again, nothing moves", again.moved_bytes == 0, f"{again.moved_bytes} bytes moved")
            proofs.add(
                "and the answer is the same", again.text == result.text, f"{len(again.text)} characters compared"
            )
            self._prove_tau(proofs, result)
        return proofs

    def _settled_flows(self) -> network_pb2.Flows:
        """Counters once they stand still: Open vSwitch's lag behind its packets by up to a second."""
        flows, last = self._flows(), None
        while last is None or _total_bytes(flows) != _total_bytes(last):
            time.sleep(SETTLE_S)
            flows, last = self._flows(), flows
        return flows

    def _flows(self) -> network_pb2.Flows:
        return self._network.GetFlows(network_pb2.GetFlowsRequest(), timeout=TIMEOUT_S, metadata=self._link.metadata)

    def _ask(self, question: str) -> list[query_pb2.AskEvent]:
        """All events of a question, shown as they come; asked as of one moment throughout the demo."""
        request = query_pb2.AskRequest(question=question, now=self._now)
        stub = query_pb2_grpc.QueryServiceStub(self._channel)
        events = []
        with Progress(self._console) as progress:
            for event in stub.Ask(request, timeout=600, metadata=self._link.metadata):
                progress.show(event)
                events.append(event)
                if event.HasField("plan"):
                    self._now = event.plan.now
        return events

    def _size(self, result: query_pb2.AskResult) -> str:
        readings = sum(transfer.readings for transfer in result.transfers)
        return f"{len(result.transfers)} sensors, {readings:,} readings, {result.moved_bytes / 1000:,.0f} kB of SenML"

    def _prove_paths(self, proofs: Proofs, whose: str, before, after, result: query_pb2.AskResult) -> None:
        """Flow counters of the core, per sensor and path, and the port counters of base stations and coordinators."""
        old, new = (bytes_by_path(self._wiring, flows.flows) for flows in (before, after))
        strays, payload, on_path = [], 0, 0
        for transfer in result.transfers:
            sensor, chosen = transfer.sensor_id, RadioPath(transfer.path)
            moved = {path: new[sensor][path] - old[sensor][path] for path in RadioPath}
            payload += transfer.received_bytes
            on_path += moved[chosen]
            others = sum(count for path, count in moved.items() if path is not chosen)
            if others or moved[chosen] < transfer.received_bytes:
                strays.append(transfer.sensor_id)
        evidence = (
            f"{payload:,} bytes of payload in {on_path:,} bytes of frames at the core, {len(strays)} sensors astray"
        )
        proofs.add(f"{whose} took the paths decided", bool(result.transfers) and not strays, evidence)
        by_port = self._gateway_side_bytes(after, result) - self._gateway_side_bytes(before, result)
        evidence = f"{by_port:,} bytes came in from the gateways"
        proofs.add(f"{whose} passed the radios' ports", by_port >= on_path, evidence)

    def _gateway_side_bytes(self, flows: network_pb2.Flows, result: query_pb2.AskResult) -> int:
        """Bytes that the base stations and coordinators in question have received from their gateways."""
        nodes = set()
        for transfer in result.transfers:
            cell = self._wiring.cells[transfer.cell_id]
            nodes.add((cell.base_station if transfer.path == 1 else cell.coordinator).datapath_id)
        return sum(port.rx_bytes for port in flows.ports if port.datapath_id in nodes and port.port == TO_GATEWAY)

    def _prove_equal(self, proofs: Proofs, events: list[query_pb2.AskEvent]) -> None:
        """The store's canonical SenML against the sensors' files, interval by interval."""
        loading = next(event.loading for event in events if event.HasField("loading"))
        compared, different = 0, []
        with TwinStore(self._stack.directory / "twin.sqlite") as store:
            for demand in loading.demands:
                sensor = self._scenario.sensor[demand.sensor_id]
                for window in demand.windows:
                    start_s, end_s = window.start.seconds, window.end.seconds
                    held = store.payload(sensor.id, start_s, end_s)
                    compared += len(held)
                    if held != self._edge_payload(sensor, start_s, end_s):
                        different.append(sensor.id)
        evidence = f"{compared:,} bytes of {len(loading.demands)} sensors compared, {len(different)} differ"
        proofs.add("the twin equals the edge storage byte for byte", compared > 0 and not different, evidence)

    def _edge_payload(self, sensor: Sensor, start_s: int, end_s: int) -> bytes:
        """What the sensor's own files hold, read without the sensor and without the network."""
        storage = EdgeStorage(self._stack.edge_directory, sensor, _nothing_new)
        readings = storage.read(start_s, end_s, end_s)
        return senml.encode(readings, senml.base_name(sensor.mac), fields(sensor.type))

    def _prove_tau(self, proofs: Proofs, result: query_pb2.AskResult) -> None:
        """Push one cell over tau by telemetry; its routed sensors must move, and new data must come by Zigbee."""
        self._console.rule("4. One cell is pushed over tau")
        asked_next = {sensor.cell for sensor in self._scenario.sensors if sensor.type == SMALL_TYPE}
        sixg = sorted({t.cell_id for t in result.transfers if t.path == 1} & asked_next)
        if not sixg:
            proofs.add("a cell over tau goes to Zigbee", False, f"no cell with {SMALL_TYPE} was on 6G to begin with")
            return
        cell = sixg[0]
        routed = {r.sensor_id for r in self._flows().routes if self._scenario.sensor[r.sensor_id].cell == cell}
        started = time.monotonic()
        summary = push_load(self._channel, self._link.metadata, self._stack.config, cell, OVERLOAD)
        self._console.print(f"{cell}: {summary.accepted} sample with load {OVERLOAD} reported")
        limit_s = self._stack.config.decision.interval_s + 5
        moved = _wait(lambda: self._on_zigbee(routed), limit_s)
        evidence = f"{len(routed)} sensors of {cell}, {time.monotonic() - started:.1f} s after the sample"
        proofs.add("a cell over tau goes to Zigbee within one decision", bool(routed) and moved, evidence)
        before = self._settled_flows()
        small = self._ask(SMALL_QUESTION)[-1].result
        zigbee = [transfer for transfer in small.transfers if transfer.cell_id == cell]
        self._prove_paths(proofs, "the next question's data", before, self._settled_flows(), small)
        by_zigbee = bool(zigbee) and all(t.path == 2 and t.state == query_pb2.SensorTransfer.STATE_DONE for t in zigbee)
        others = ", ".join(sorted({_PATH[t.path] for t in small.transfers if t.cell_id != cell}))
        evidence = f"{len(zigbee)} sensors of {cell} by Zigbee, the other cells' by {others or 'none'}"
        proofs.add("and new data of that cell come by Zigbee", by_zigbee, evidence)

    def _on_zigbee(self, sensors: set[str]) -> bool:
        """Whether the switches themselves say so: every route is Zigbee, in the gateways' flow tables."""
        flows = self._flows()
        rows = ((flow.datapath_id, entry_from_proto(flow.entry)) for flow in flows.flows)
        installed = installed_routes(self._wiring, rows)
        return all(installed.get(sensor) is RadioPath.ZIGBEE for sensor in sensors)


def _nothing_new(start_s: int, end_s: int) -> Readings:
    raise AssertionError(f"the sensor's files lack [{start_s}, {end_s})")


def _total_bytes(flows: network_pb2.Flows) -> int:
    return sum(flow.bytes for flow in flows.flows)


def _wait(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()
