"""A soak of the running system: faults without end under questions and changing load, memory and descriptors watched.

``make soak``, or ``sudo .venv/bin/python -m evaluation.soak --minutes 30``. Every few seconds a question is asked, a
cell's load goes over tau or under it, and in turn a link is cut and mended, a switch loses and finds its controller,
and somebody deletes a switch's flow entries. After a warm-up of a third of the time, memory and open descriptors of
ryu-manager, the service and its workers must not grow any more. Writes docs/results/soak.md. Exit code 0 flat, 1 not
flat, 2 wrong use.
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path as File

import grpc

from controller.stack import Stack
from controller.status import push_load
from mininet_topos.topology import port_interface
from proto import query_pb2, query_pb2_grpc
from twin.scenario import load_scenario
from twin.wiring import TO_CORE, TO_GATEWAY, CellWiring, Wiring

RESULTS = File(__file__).parents[1] / "docs/results"
# What a process may gain from the first half to the second half of the time after the warm-up.
MOST_GROWTH, MOST_GROWTH_MB, MOST_DESCRIPTORS = 0.03, 3.0, 4
PAUSE_S = 2.0
QUESTIONS = (
    "What is the temperature in the city now?",
    "Did it rain in the last hour?",
    "How strong was the wind in the last 20 minutes?",
    "How much power is consumed in the city now?",
)
# Each kind of process by a part of its command line.
WATCHED = {"ryu-manager": "bin/ryu-manager", "links service": "controller.service", "worker": "spawn_main"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evaluation.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (%(default)s)")
    parser.add_argument("--out", type=File, default=RESULTS / "soak.md", help="(%(default)s)")
    options = parser.parse_args(argv)
    if os.geteuid() != 0:
        print("soak: it needs root, for network namespaces: run it with sudo", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(
            File(directory), overrides={"LINKS_OPENFLOW_RECONCILE_S": "5", "LINKS_OPENFLOW_RETURN_AFTER_S": "2"}
        )
        try:
            stack.start()
            stack.wait_ready(lambda text: print(text, file=sys.stderr))
            soak = Soak(stack, random.Random(options.seed))
            soak.run(options.minutes * 60)
        finally:
            stack.stop()
    text, flat = soak.page(options.minutes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text)
    return 0 if flat else 1


class Soak:
    """Faults, questions, and what the processes take."""

    def __init__(self, stack: Stack, draw: random.Random):
        self._stack, self._draw = stack, draw
        self._wiring = Wiring(load_scenario(stack.config.scenario.file))
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        # (kind, process id) -> (seconds, resident MB, descriptors)
        self.samples: dict[tuple[str, int], list[tuple[float, float, int]]] = defaultdict(list)

    def run(self, seconds: float) -> None:
        faults: list[Callable[[], None]] = [self._cut_a_link, self._reconnect_a_switch, self._delete_flows]
        started = told = time.monotonic()
        link = self._stack.connection
        with link.channel() as channel:
            while (now := time.monotonic()) - started < seconds:
                self._stack.supervise()
                faults[self.counts["rounds"] % len(faults)]()
                self._move_load(channel, link.metadata)
                self._ask(channel, link.metadata)
                self.counts["rounds"] += 1
                self._sample(now - started)
                if now - told > 60:
                    told = now
                    print(f"{(now - started) / 60:.0f} min: {dict(self.counts)}", file=sys.stderr, flush=True)
                time.sleep(PAUSE_S)

    # --- What happens

    def _cell(self) -> CellWiring:
        return self._draw.choice(list(self._wiring.cells.values()))

    def _cut_a_link(self) -> None:
        cell = self._cell()
        switch = self._draw.choice([cell.base_station, cell.coordinator])
        interface = port_interface(switch.name, self._draw.choice([TO_GATEWAY, TO_CORE]))
        subprocess.run(["ip", "link", "set", interface, "down"], check=True)
        time.sleep(self._draw.uniform(0.1, 1.0))
        subprocess.run(["ip", "link", "set", interface, "up"], check=True)
        self.counts["links cut"] += 1

    def _reconnect_a_switch(self) -> None:
        name = self._draw.choice(self._wiring.switches).name
        target = f"tcp:127.0.0.1:{self._stack.config.openflow.listen_port}"
        subprocess.run(["ovs-vsctl", "del-controller", name], check=True)
        subprocess.run(["ovs-vsctl", "set-controller", name, target], check=True)
        self.counts["switches reconnected"] += 1

    def _delete_flows(self) -> None:
        name = self._draw.choice(self._wiring.switches).name
        subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "del-flows", name], check=True)
        self.counts["flow tables deleted"] += 1

    def _move_load(self, channel: grpc.Channel, metadata) -> None:
        cell = self._draw.choice(list(self._wiring.cells))
        try:
            push_load(channel, metadata, self._stack.config, cell, self._draw.choice([0.1, 0.95]))
            self.counts["loads moved"] += 1
        except grpc.RpcError as error:
            self.errors[f"load: {error.code().name}"] += 1

    def _ask(self, channel: grpc.Channel, metadata) -> None:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        question = self._draw.choice(QUESTIONS)
        try:
            *_, last = stub.Ask(query_pb2.AskRequest(question=question), timeout=120, metadata=metadata)
            self.counts["questions answered"] += 1
            self.counts["bytes moved"] += last.result.moved_bytes
            self.counts["sensors that failed"] += len(last.result.failed_sensors)
        except grpc.RpcError as error:
            self.errors[f"question: {error.code().name}: {_without_numbers(error.details())}"] += 1

    def _sample(self, at_s: float) -> None:
        for path in File("/proc").glob("[0-9]*"):
            try:
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                kind = next((kind for kind, part in WATCHED.items() if part in command), None)
                if kind:
                    resident_mb = int((path / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024
                    descriptors = len(list((path / "fd").iterdir()))
                    self.samples[kind, int(path.name)].append((at_s, resident_mb, descriptors))
            except (OSError, IndexError):
                continue  # it has just ended

    # --- The page

    def page(self, minutes: float) -> tuple[str, bool]:
        """The results as Markdown, and whether all is flat."""
        lines = [
            "# Soak",
            "",
            f"{minutes:g} minutes of faults, questions and changing load on the bundled Milan (`make soak`); medians "
            "of the first and the second half of the time after the warm-up of a third.",
            "",
            "| process | resident MB | descriptors | |",
            "|---|---|---|---|",
        ]
        all_flat = True
        end_s = max((rows[-1][0] for rows in self.samples.values()), default=0.0)
        for (kind, pid), rows in sorted(self.samples.items()):
            late = [row for row in rows if row[0] > end_s / 3]
            half = len(late) // 2
            if half < 5:
                lines.append(f"| {kind} {pid} | | | lived for {rows[-1][0] - rows[0][0]:.0f} s only |")
                all_flat = False
                continue
            (mb0, mb1), (fd0, fd1) = (
                [statistics.median(row[i] for row in part) for part in (late[:half], late[half:])] for i in (1, 2)
            )
            flat = mb1 - mb0 <= max(MOST_GROWTH * mb0, MOST_GROWTH_MB) and fd1 - fd0 <= MOST_DESCRIPTORS
            all_flat &= flat
            lines.append(f"| {kind} | {mb0:.1f}, {mb1:.1f} | {fd0:g}, {fd1:g} | {'flat' if flat else '**grows**'} |")
        lines += ["", *(f"- {name}: {count:,}" for name, count in self.counts.items())]
        lines += [f"- {count} times {error}" for error, count in self.errors.most_common(8)]
        return "\n".join(lines) + "\n", all_flat


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text)[:120]


if __name__ == "__main__":
    sys.exit(main())
