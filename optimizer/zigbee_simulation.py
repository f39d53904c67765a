"""Event simulation of Zigbee transfers on one channel: unslotted CSMA-CA of IEEE 802.15.4, frame by frame.

This is the judge of the analytic model in ``optimizer.zigbee`` and takes the same ``ZigbeeLink``. What it assumes:

- All nodes hear each other (no hidden terminals), no frame is lost but by collision, and overlapping frames are all
  lost.
- Every sensor sends over relays of its own to one coordinator; a relay has the whole frame before it sends it on.
- A clear channel assessment takes 8 symbols and finds the channel busy if anything is on the air in any part of them.
  A sender that found it idle needs 12 symbols to turn around; who assesses within those collides with it. The gap
  before an acknowledgement is 12 symbols as well, so an assessment fits into it and its frame then destroys the
  acknowledgement.
- The interframe space is a least distance: assessment and turnaround, in which nothing is sent, count towards it. So
  one sender needs exactly the time that Latre et al. (2006) account for.
- A frame given up by the MAC (5 busy assessments, or 4 attempts without acknowledgement) is handed down once more by
  the
  stack: nothing is lost, only late. A frame whose acknowledgement was lost arrives twice; the copy is dropped.

Times are whole microseconds inside. Sensors start within one backoff period of each other, at random. Runs are
deterministic by seed.
"""

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random

from optimizer.zigbee import IEEE_802_15_4, ZigbeeLink, fragments
from twin.ieee802154 import (
    ACK_BYTES,
    ACK_WAIT_S,
    CCA_S,
    MAX_BACKOFFS,
    MAX_BE,
    MAX_RETRIES,
    MIN_BE,
    TURNAROUND_S,
    UNIT_BACKOFF_S,
    air_time_s,
)


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


UNIT, CCA, TURNAROUND, ACK_WAIT = _us(UNIT_BACKOFF_S), _us(CCA_S), _us(TURNAROUND_S), _us(ACK_WAIT_S)


@dataclass(slots=True)
class Transmission:
    """On the air: a fragment's frame on one hop, or its acknowledgement. ``lost``: it overlapped with another."""

    start_us: int
    end_us: int
    sensor: int
    hop: int
    fragment: int
    is_ack: bool
    lost: bool = False


@dataclass
class Outcome:
    """What a run gave. Per sensor, in the order given: ``delay_s``, from its start to the acknowledgement of its last
    fragment (NaN where it is not through), and ``arrived_bytes`` at the coordinator.
    """

    seconds: float
    delay_s: list[float]
    arrived_bytes: list[int]
    collisions: int  # frames lost
    acks_lost: int
    given_up: int  # frames that the MAC gave back to the stack
    air: list[Transmission]  # all of them, in order of their start, if asked for


@dataclass(slots=True)
class _Node:
    """Hop ``hop`` of a sensor's path; hop 0 is the sensor itself."""

    sensor: int
    hop: int
    queue: deque[int] = field(default_factory=deque)  # fragments to send; the first is being sent if ``busy``
    busy: bool = False
    backoffs: int = 0
    exponent: int = MIN_BE
    retries: int = 0
    newest: int = -1  # the newest fragment received; the medium keeps their order
    answering_until: int = 0  # end of the acknowledgement that it owes or sends


class _Network:
    def __init__(self, totals: list[float], last_bytes: list[int], link: ZigbeeLink, seed: int, record: bool):
        self.link, self.rng, self.record = link, Random(seed), record
        self.totals, self.last_bytes = totals, last_bytes
        self.events: list = []
        self.serial = count()
        self.on_air: list[Transmission] = []
        self.history: list[Transmission] = []
        self.now = 0
        self.frame_us = {size: self._frame_us(size) for size in {link.payload_bytes, *last_bytes} if size}
        self.ack_us = _us(air_time_s(ACK_BYTES))
        self.paths = [[_Node(sensor, hop) for hop in range(link.hops)] for sensor in range(len(totals))]
        self.through = [0] * len(totals)  # fragments that have arrived or are lost, in their order
        self.started = [self.rng.randrange(UNIT) for _ in totals]
        self.finished: list[int | None] = [None] * len(totals)
        self.arrived_bytes = [0] * len(totals)
        self.collisions = self.acks_lost = self.given_up = 0
        for sensor, start in enumerate(self.started):
            self._at(start, self._feed, sensor)

    def _frame_us(self, payload_bytes: int) -> tuple[int, int]:
        """(time on air, pause before its first backoff) of a frame, microseconds."""
        frame_bytes = payload_bytes + self.link.overhead_bytes
        return _us(air_time_s(frame_bytes)), _us(self.link.pause_s(payload_bytes))

    def run(self, until_us: float = math.inf) -> None:
        """Goes through the events until none is left or the time is up."""
        events = self.events
        while events and events[0][0] <= until_us:
            self.now, _, what, subject = heapq.heappop(events)
            what(subject)

    def _at(self, time_us: int, what, subject) -> None:
        heapq.heappush(self.events, (time_us, next(self.serial), what, subject))

    def _payload(self, sensor: int, fragment: int) -> int:
        return self.last_bytes[sensor] if fragment == self.totals[sensor] - 1 else self.link.payload_bytes

    def _feed(self, sensor: int) -> None:
        """Gives the sensor its next fragment, if there is one."""
        if self.through[sensor] < self.totals[sensor]:
            node = self.paths[sensor][0]
            node.queue.append(self.through[sensor])
            self._take_up(node)

    def _take_up(self, node: _Node) -> None:
        if node.queue and not node.busy:
            node.busy, node.retries = True, 0
            space = self.frame_us[self._payload(node.sensor, node.queue[0])][1]
            self._contend(node, self.now + space + self._stack_us())

    def _stack_us(self) -> int:
        return _us(self.link.stack_s * self.rng.uniform(0.5, 1.5)) if self.link.stack_s else 0

    def _contend(self, node: _Node, time_us: int) -> None:
        """Starts CSMA-CA."""
        node.backoffs, node.exponent = 0, MIN_BE
        self._back_off(node, time_us)

    def _back_off(self, node: _Node, time_us: int) -> None:
        self._at(time_us + self.rng.getrandbits(node.exponent) * UNIT + CCA, self._assessed, node)

    def _assessed(self, node: _Node) -> None:
        begin = self.now - CCA
        for other in self.on_air:
            if other.start_us < self.now and other.end_us > begin:
                break
        else:
            if node.answering_until <= begin:
                return self._send(node)
        node.backoffs += 1
        if node.backoffs > MAX_BACKOFFS:
            self._give_up(node, self.now)
        else:
            node.exponent = min(node.exponent + 1, MAX_BE)
            self._back_off(node, self.now)

    def _give_up(self, node: _Node, time_us: int) -> None:
        self.given_up += 1
        node.retries = 0
        self._contend(node, time_us + self._stack_us())

    def _send(self, node: _Node) -> None:
        fragment = node.queue[0]
        start = self.now + TURNAROUND
        end = start + self.frame_us[self._payload(node.sensor, fragment)][0]
        frame = Transmission(start, end, node.sensor, node.hop, fragment, is_ack=False)
        self._put_on_air(frame)
        self._at(end, self._sent, frame)

    def _put_on_air(self, new: Transmission) -> None:
        for other in self.on_air:
            if other.end_us > new.start_us:  # none on the air starts later than the new one ends
                other.lost = new.lost = True
        self.on_air.append(new)
        if self.record:
            self.history.append(new)

    def _sent(self, frame: Transmission) -> None:
        self.on_air = [each for each in self.on_air if each.end_us > self.now - CCA]
        node = self.paths[frame.sensor][frame.hop]
        self.collisions += frame.lost
        if not self.link.ack:
            self._unacknowledged(frame, node)
        elif frame.lost:
            self._at(self.now + ACK_WAIT, self._unanswered, node)
        else:
            self._receive(frame)
            start, end = self.now + TURNAROUND, self.now + TURNAROUND + self.ack_us
            if frame.hop + 1 < self.link.hops:
                self.paths[frame.sensor][frame.hop + 1].answering_until = end
            ack = Transmission(start, end, frame.sensor, frame.hop, frame.fragment, is_ack=True)
            self._put_on_air(ack)
            self._at(end, self._answered, ack)

    def _unacknowledged(self, frame: Transmission, node: _Node) -> None:
        """What is lost stays lost. The sensor goes on with its next fragment then, as if it had arrived."""
        if not frame.lost:
            self._receive(frame)
            if frame.hop + 1 < self.link.hops:
                self._take_up(self.paths[frame.sensor][frame.hop + 1])
        else:
            self.through[frame.sensor] = frame.fragment + 1
        self._done(node, lost=frame.lost)

    def _receive(self, frame: Transmission) -> None:
        if frame.hop + 1 < self.link.hops:
            receiver = self.paths[frame.sensor][frame.hop + 1]
            if frame.fragment > receiver.newest:
                receiver.newest = frame.fragment
                receiver.queue.append(frame.fragment)
        elif frame.fragment >= self.through[frame.sensor]:
            self.through[frame.sensor] = frame.fragment + 1
            self.arrived_bytes[frame.sensor] += self._payload(frame.sensor, frame.fragment)

    def _answered(self, ack: Transmission) -> None:
        node = self.paths[ack.sensor][ack.hop]
        self.acks_lost += ack.lost
        if ack.hop + 1 < self.link.hops:
            self._take_up(self.paths[ack.sensor][ack.hop + 1])
        if ack.lost:
            self._at(self.now - TURNAROUND - self.ack_us + ACK_WAIT, self._unanswered, node)
        else:
            self._done(node)

    def _unanswered(self, node: _Node) -> None:
        node.retries += 1
        if node.retries > MAX_RETRIES:
            self._give_up(node, self.now)
        else:
            self._contend(node, self.now)

    def _done(self, node: _Node, lost: bool = False) -> None:
        node.queue.popleft()
        node.busy = False
        if lost or node.hop + 1 == self.link.hops:
            if self.through[node.sensor] == self.totals[node.sensor]:
                self.finished[node.sensor] = self.now
            self._feed(node.sensor)
        self._take_up(node)

    def outcome(self) -> Outcome:
        ends = zip(self.started, self.finished, strict=True)
        return Outcome(
            seconds=self.now / 1e6,
            delay_s=[math.nan if end is None else (end - start) / 1e6 for start, end in ends],
            arrived_bytes=list(self.arrived_bytes),
            collisions=self.collisions,
            acks_lost=self.acks_lost,
            given_up=self.given_up,
            air=sorted(self.history, key=lambda each: each.start_us),
        )


def simulate_transfers(
    demands_bytes: Mapping[str, float], link: ZigbeeLink = IEEE_802_15_4, seed: int = 0, record: bool = False
) -> Outcome:
    """All sensors start together, each with its own demand, until the last one is through.

    ``record``: keep every transmission in ``Outcome.air``. Without acknowledgements what collides stays lost
    (``arrived_bytes`` tells). Raises ValueError for a demand that is negative or not finite, naming the sensor.
    """
    totals, last = [], []
    for sensor, data_bytes in demands_bytes.items():
        try:
            full, rest = fragments(data_bytes, link)
        except ValueError as error:
            raise ValueError(f"sensor {sensor}: {error}") from None
        totals.append(full + (rest > 0))
        last.append(rest or link.payload_bytes)
    network = _Network(totals, last, link, seed, record)
    network.run()
    outcome = network.outcome()
    outcome.delay_s = [delay if total else 0.0 for delay, total in zip(outcome.delay_s, totals, strict=True)]
    return outcome


def simulated_goodput_bps(
    contenders: int, link: ZigbeeLink = IEEE_802_15_4, seconds: float = 30.0, seed: int = 0
) -> float:
    """Payload bit/s that reach the coordinator from ``contenders`` sensors that always have something to send.

    Counted over ``seconds`` of simulated time, after a second to settle. Raises ValueError.
    """
    if contenders < 1:
        raise ValueError(f"contenders: {contenders} must be 1 or more")
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds: {seconds} must be positive and finite")
    network = _Network([math.inf] * contenders, [0] * contenders, link, seed, record=False)
    network.run(_us(1.0))
    before = sum(network.arrived_bytes)
    network.run(_us(1.0 + seconds))
    return 8 * (sum(network.arrived_bytes) - before) / seconds
