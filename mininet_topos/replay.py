"""Telemetry replay: base stations stream their load to the links service, first the past, then live.

    python -m mininet_topos.replay --scenario milan --source generated --speed 60

The service is asked what it holds, and gets what it lacks: after an outage, a restart of the service or of the replay,
no slot is lost and none is sent twice.
"""

import argparse
import asyncio
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np

from mininet_topos.load_sources import PEAK_LOAD, SLOT_S, LoadSource, SourceError, open_source
from mininet_topos.reconnect import Pause
from proto import network_pb2, network_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from proto.connection import Connection
from twin.clock import EmulatedClock
from twin.load_report import FileFormatError
from twin.scenario import Scenario, ScenarioError, load_scenario

log = logging.getLogger(__name__)

# Two weeks, less an hour so that no slot has grown too old for a service that keeps two weeks when it arrives.
HISTORY_SLOTS = 2016 - 6
SAMPLES_PER_CALL = 5_000
# How often an idle replay looks whether the service still holds what it was sent.
LOOK_S = 1.0
CALL_TIMEOUT_S = 60.0


class ReplayError(RuntimeError):
    """The service can't take this replay; the message says why."""


class Replay:
    """Replays ``source`` for every cell of the scenario by the clock. A slot is sent when it has ended."""

    def __init__(
        self,
        scenario: Scenario,
        source: LoadSource,
        clock: EmulatedClock,
        connection: Connection,
        history_slots: int = HISTORY_SLOTS,
    ):
        self._cells = scenario.cells
        self._source = source
        self._clock = clock
        self._connection = connection
        self._begin_s = self._slots_ended_s() - history_slots * SLOT_S
        self._held: dict[str, int] = {}  # newest slot that the service was seen to hold, by cell
        self._answered: dict[str, int] = {}  # end of what the service has taken or refused, by cell
        self.accepted = 0
        self.rejected = 0

    async def run(self, on_caught_up: Callable[[], None] = lambda: None) -> None:
        """Until cancelled. ``on_caught_up`` is called once, when the service first holds all of the past.

        Raises ReplayError, or grpc.aio.AioRpcError when the service refuses us.
        """
        pause = Pause()
        caught_up = False
        while True:
            try:
                async with self._connection.aio_channel() as channel:
                    while True:
                        await self.send_owed(channel)
                        pause.reset()
                        if not caught_up:
                            caught_up = True
                            on_caught_up()
                        await asyncio.sleep(min(LOOK_S, self._clock.wall_until_s(self._slots_ended_s() + SLOT_S)))
            except grpc.aio.AioRpcError as error:
                # What was on its way may have arrived or not: ask again.
                self._answered.clear()
                pause.check(error)
            await pause.wait()

    async def send_owed(self, channel: grpc.aio.Channel) -> None:
        """Send every slot that has ended and that the service lacks."""
        ended_s = self._slots_ended_s()
        owed = self._owed(await self._held_by_service(channel), ended_s)
        telemetry = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        for start_s, end_s in self._spans(min(owed.values()), ended_s):
            samples = list(self._samples(owed, start_s, end_s))
            summary = await telemetry.Publish(samples, metadata=self._connection.metadata, timeout=CALL_TIMEOUT_S)
            self.accepted += summary.accepted
            self.rejected += summary.rejected
            if summary.rejected:
                log.warning("%d samples rejected; first: %s", summary.rejected, summary.rejections[0].reason)
            else:
                self._held |= {sample.cell_id: sample.time.seconds for sample in samples}
            self._answered |= {cell_id: max(end_s, begin_s) for cell_id, begin_s in owed.items()}

    def _slots_ended_s(self) -> int:
        """End of the last slot that has ended."""
        return math.floor(self._clock.now_s() / SLOT_S) * SLOT_S

    async def _held_by_service(self, channel: grpc.aio.Channel) -> dict[str, int | None]:
        """Start of the newest slot that the service holds, by cell; None: nothing."""
        network = network_pb2_grpc.NetworkServiceStub(channel)
        reply = await network.GetTrafficLoad(
            network_pb2.GetTrafficLoadRequest(), metadata=self._connection.metadata, timeout=CALL_TIMEOUT_S
        )
        held = {
            load.cell_id: load.time.seconds // SLOT_S * SLOT_S if load.observed_slots else None for load in reply.cells
        }
        unknown = [cell.id for cell in self._cells if cell.id not in held]
        if unknown:
            raise ReplayError(f"the service does not know cell {unknown[0]!r}; give both the same scenario")
        return held

    def _owed(self, held: dict[str, int | None], end_s: int) -> dict[str, int]:
        """Start of what is owed, by cell, ``end_s`` where nothing is."""
        owed = {}
        # Never older than a service keeps, also when it comes back empty after long.
        oldest_s = max(self._begin_s, end_s - HISTORY_SLOTS * SLOT_S)
        for cell in self._cells:
            newest, before = held[cell.id], self._held.pop(cell.id, None)
            if newest is not None:
                self._held[cell.id] = newest
            if before is not None and (newest is None or newest < before):
                log.warning("cell %s: the service has lost its history; sending it again", cell.id)
                self._answered.pop(cell.id, None)
            after_held_s = oldest_s if newest is None else newest + SLOT_S
            owed[cell.id] = min(end_s, max(oldest_s, after_held_s, self._answered.get(cell.id, oldest_s)))
        return owed

    def _spans(self, begin_s: int, end_s: int) -> Iterator[tuple[int, int]]:
        """[begin_s, end_s) cut into spans of time of one call each."""
        step_s = max(1, SAMPLES_PER_CALL // len(self._cells)) * SLOT_S
        for start_s in range(begin_s, end_s, step_s):
            yield start_s, min(start_s + step_s, end_s)

    def _samples(self, owed: dict[str, int], start_s: int, end_s: int) -> Iterator[telemetry_pb2.LoadSample]:
        """Samples of [start_s, end_s) in order of time, of each cell from what it owes on, without missing slots."""
        slots = (end_s - start_s) // SLOT_S
        loads = np.stack([self._source.load(cell.id, start_s, slots) for cell in self._cells])
        for slot in range(slots):
            time_s = start_s + slot * SLOT_S
            for cell, load in zip(self._cells, loads[:, slot].tolist(), strict=True):
                if time_s >= owed[cell.id] and not math.isnan(load):
                    yield load_sample(cell, time_s, load)


def load_sample(cell, time_s: int, load: float) -> telemetry_pb2.LoadSample:
    """The report of a base station whose cell was offered ``load`` (share of capacity) in the slot from ``time_s``."""
    offered_bps = load * cell.capacity_bps
    sample = telemetry_pb2.LoadSample(
        cell_id=cell.id,
        offered_bps=offered_bps,
        carried_bps=min(offered_bps, cell.capacity_bps),
        capacity_bps=cell.capacity_bps,
        prb_used=round(min(load, 1.0) * cell.resource_blocks),
        prb_total=cell.resource_blocks,
    )
    sample.time.FromSeconds(time_s)
    return sample


def clock_of(scenario: Scenario, speed: float, environment=os.environ) -> EmulatedClock:
    """The city's clock: at the scenario's ``now`` at $LINKS_CLOCK_WALL_START (shared by all processes), else now."""
    wall_start = float(environment.get("LINKS_CLOCK_WALL_START") or time.time())
    return EmulatedClock(scenario.start.timestamp(), speed, wall_start)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what is replayed, shared with the launcher."""
    parser.add_argument("--speed", type=float, default=1.0, help="emulated seconds per second (default 1)")
    parser.add_argument(
        "--source",
        nargs="+",
        default=["generated"],
        metavar="SOURCE",
        help="generated (default), a history file (.npz), or published Milan files (.tsv, .txt)",
    )
    parser.add_argument(
        "--peak-load",
        type=float,
        default=PEAK_LOAD,
        help="measured sources: share of capacity that a square's 99th percentile becomes (default %(default)s)",
    )
    parser.add_argument(
        "--history-slots",
        type=int,
        default=HISTORY_SLOTS,
        help=f"slots of {SLOT_S} s before now that are sent first (default %(default)s, nearly two weeks)",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mininet_topos.replay",
        description="Streams the load of every cell to the links service: the past first, then live.",
    )
    parser.add_argument("--scenario", default="milan", help="bundled scenario or file (default milan)")
    parser.add_argument(
        "--service", help="host:port of the links service (default: $LINKS_SERVICE, else 127.0.0.1:50551)"
    )
    add_source_options(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        scenario = load_scenario(options.scenario)
        source = open_source(scenario, options.source, options.peak_load)
        clock = clock_of(scenario, options.speed)
        connection = connection_to(options.service)
        replay = Replay(scenario, source, clock, connection, options.history_slots)
        for line in source.describe(clock.now_s()):
            log.info("%s", line)
        asyncio.run(replay.run(lambda: log.info("the past is sent: %d samples", replay.accepted)))
    except KeyboardInterrupt:
        return 0
    except (ScenarioError, SourceError, FileFormatError, ReplayError, ValueError, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    except grpc.aio.AioRpcError as error:
        print(f"replay: the service refuses: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    return 0


def connection_to(service: str | None) -> Connection:
    """The service at host:port, else where the environment says; token and TLS from the environment."""
    connection = Connection.from_environment()
    return connection if service is None else Connection(service, connection.tls_ca, connection.token)


if __name__ == "__main__":
    sys.exit(main())
