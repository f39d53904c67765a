"""Benchmarks of the running system: ``python -m evaluation.benchmarks ring | telemetry | system``.

Ratios and medians with their spread, since machines are noisy; both sides of a ratio run in turn, in one go.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from controller.stack import Stack
from proto import query_pb2, query_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from proto.connection import Connection
from twin.load_history import LoadHistory
from twin.scenario import Scenario, load_scenario
from twin.sensor_types import sensor_types

RAIN_QUESTION = "What is the likelihood of electrical leakage in the city due to continuous rainfall?"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.benchmarks", description=__doc__)
    parser.add_argument("what", choices=("ring", "telemetry", "system"))
    parser.add_argument("--samples", type=int, default=50_000, help="telemetry: samples per run")
    parser.add_argument("--runs", type=int, default=5, help="telemetry: runs of each side")
    options = parser.parse_args()
    if options.what == "ring":
        ring()
    elif options.what == "telemetry":
        telemetry(options.samples, options.runs)
    else:
        system()


# --- Ring of loads ---------------------------------------------------------------------------------------------------


def ring(cells: int = 10_000, slots: int = 2016) -> None:
    """Memory of two weeks of load for a city, and samples/s into it on one core, by the way in and the batch size."""
    names = [f"c{i:05d}" for i in range(cells)]
    offered = np.random.default_rng(0).random(cells) * 1e9
    capacity, now_s = np.full(cells, 1e9), (slots - 1) * 600.0
    before = _resident_mb()
    history = LoadHistory(names, slots=slots)
    started = time.process_time()
    for slot in range(slots):
        history.add_many(names, np.full(cells, slot * 600.0), offered, offered, capacity, now_s)
    seconds = time.process_time() - started
    print(f"{cells:,} cells, {slots:,} slots: {history.nbytes / 1e6:.0f} MB, process +{_resident_mb() - before:.0f} MB")
    print(f"filled slot by slot, {cells:,} at once: {cells * slots / seconds:,.0f} samples/s")
    for batch in (1_000, 200, 1):
        rates = [_ring_rate(history, names, offered, capacity, now_s, batch) for _ in range(5)]
        way = "one by one" if batch == 1 else f"{batch:,} at once"
        print(f"all cells' newest slot, {way}: {_spread(rates)} samples/s")


def _ring_rate(
    history: LoadHistory, names: list[str], offered: np.ndarray, capacity: np.ndarray, now_s: float, batch: int
) -> float:
    started = time.process_time()
    for i in range(0, len(names), batch):
        loads, of = offered[i : i + batch], capacity[i : i + batch]
        if batch == 1:
            history.add(names[i], now_s, float(loads[0]), float(loads[0]), float(of[0]), now_s)
        else:
            history.add_many(names[i : i + batch], np.full(len(loads), now_s), loads, loads, of, now_s)
    return len(names) / (time.process_time() - started)


def _resident_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1000


# --- Telemetry ------------------------------------------------------------------------------------------------------


class _Counter(telemetry_pb2_grpc.TelemetryServiceServicer):
    """The least that a server can do with the same messages."""

    async def Publish(self, request_iterator, context):
        summary = telemetry_pb2.PublishSummary()
        async for _ in request_iterator:
            summary.accepted += 1
        return summary


def _bare_server(ready) -> None:
    async def serve() -> None:
        server = grpc.aio.server()
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(_Counter(), server)
        ready.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


@contextmanager
def _bare() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_bare_server, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


@contextmanager
def _service() -> Iterator[str]:
    address = "127.0.0.1:50571"
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {
            "LINKS_SERVICE_LISTEN": address,
            "LINKS_SERVICE_STATE_DIRECTORY": directory,
            "LINKS_SCENARIO_FILE": "milan",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "controller.service"], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            with Connection(address).channel() as channel:
                grpc.channel_ready_future(channel).result(60)
            yield address
        finally:
            process.terminate()
            process.wait()


def _samples(scenario: Scenario, count: int) -> list[telemetry_pb2.LoadSample]:
    """Every cell's last slots, over and over."""
    newest = int(scenario.start.timestamp()) // 600
    samples = []
    for i in range(count):
        cell = scenario.cells[i % len(scenario.cells)]
        sample = telemetry_pb2.LoadSample(
            cell_id=cell.id, offered_bps=2e7, carried_bps=2e7, capacity_bps=cell.capacity_bps
        )
        sample.time.FromSeconds((newest - i // len(scenario.cells) % 2_000) * 600)
        samples.append(sample)
    return samples


def _rate(address: str, samples: list[telemetry_pb2.LoadSample]) -> float:
    with Connection(address).channel() as channel:
        stub = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        started = time.monotonic()
        summary = stub.Publish(iter(samples))
        seconds = time.monotonic() - started
    if summary.accepted != len(samples):
        raise RuntimeError(f"{summary.rejected} samples rejected: {summary.rejections[0].reason}")
    return len(samples) / seconds


def telemetry(count: int, runs: int) -> None:
    """Samples/s into the service against a bare grpc-python stream of the same messages."""
    samples = _samples(load_scenario("milan"), count)
    with _bare() as bare, _service() as service:
        for address in (bare, service):
            _rate(address, samples[: count // 10])  # warm-up
        pairs = [(_rate(service, samples), _rate(bare, samples)) for _ in range(runs)]
    print(f"service  {_spread([a for a, _ in pairs])} samples/s")
    print(f"bare     {_spread([b for _, b in pairs])} samples/s")
    print(f"ratio    {_spread([a / b for a, b in pairs], '.2f')}")


def _spread(values: list[float], form: str = ",.0f") -> str:
    return (
        f"median {statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}}, {len(values)} runs)"
    )


# --- The whole system -----------------------------------------------------------------------------------------------


def system() -> None:
    """Start-up, questions from plan to barrier, the paper's question 8 as a whole, and memory by process."""
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory))
        started = time.monotonic()
        try:
            stack.start()
            stack.wait_ready(lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}"))
            print(f"{time.monotonic() - started:6.1f} s  ready")
            with stack.connection.channel() as channel:
                stub = query_pb2_grpc.QueryServiceStub(channel)
                _plan_to_barrier(stub)
                _question_8(stub)
            _memory()
        finally:
            stack.stop()


def _plan_to_barrier(stub: query_pb2_grpc.QueryServiceStub) -> None:
    """First questions about each sensor type: new routes and grants each time; ended when routes are confirmed."""
    times_ms = []
    for type_id in sensor_types():
        question = f"What was the {type_id.replace('_', ' ')} in the city today?"
        started = time.monotonic()
        call = stub.Ask(query_pb2.AskRequest(question=question), timeout=60)
        for event in call:
            if event.HasField("routes") and event.routes.added:
                times_ms.append((time.monotonic() - started) * 1000)
            if event.HasField("routes"):
                call.cancel()
                break
        time.sleep(0.3)  # the cancelled question gives its cells back
    print(f"plan to barrier  {_spread(times_ms)} ms")


def _question_8(stub: query_pb2_grpc.QueryServiceStub) -> None:
    started = time.monotonic()
    *_, last = stub.Ask(query_pb2.AskRequest(question=RAIN_QUESTION), timeout=300)
    stages = ", ".join(f"{stage.stage} {stage.seconds:.3f} s" for stage in last.result.stages)
    print(f"question 8: {time.monotonic() - started:.2f} s, {last.result.moved_bytes:,} bytes; {stages}")


def _memory() -> None:
    """Peak resident memory, and the proportional share of what is resident now, by command."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            names = {
                "controller.service": "links service",
                "spawn_main": "worker process",
                "ryu-manager": "ryu-manager",
                "mininet_topos.sensors": "sensor process",
                "-m mininet_topos ": "city (Mininet, radio, replay)",
                "ovs-vswitchd": "ovs-vswitchd",
            }
            name = next((label for text, label in names.items() if text in command), None)
            if name:
                peak_kb = int((path / "status").read_text().split("VmHWM:")[1].split()[0])
                share_kb = int((path / "smaps_rollup").read_text().split("Pss:")[1].split()[0])
                groups.setdefault(name, []).append((peak_kb, share_kb))
        except (OSError, IndexError):
            continue
    for name, rows in sorted(groups.items()):
        peak, total = max(p for p, _ in rows) / 1024, sum(s for _, s in rows) / 1024
        print(f"{name:30} {len(rows):4} processes, largest peak {peak:,.0f} MB, together {total:,.0f} MB now")


if __name__ == "__main__":
    main()
