"""Delay of transfers over a Zigbee coordinator: an analytic model of unslotted CSMA-CA (IEEE 802.15.4, 2.4 GHz).

``ZigbeeLink`` holds hop and stack factors; as it stands it is pure IEEE 802.15.4 with Zigbee's headers, one hop. The
judge of this model is the event simulation ``optimizer.zigbee_simulation``; ``docs/zigbee.md`` compares them and gives
sources.

Contention is a renewal process (``_Contention``). Nothing in it is fitted. It assumes that

- senders always have a frame ready and all nodes hear each other;
- channel access goes from one end of a busy spell to the next, and at such an end the senders that did not take part
  are independent and alike in when they next assess the channel. Those that did take part are counted apart;
- a sender gives a frame up after 5 busy assessments and hands it down again; the limit of 3 retries is not modelled.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twin.ieee802154 import (
    ACK_BYTES,
    ACK_WAIT_S,
    CCA_S,
    LIFS_S,
    MAC_BYTES_NO_ADDRESS,
    MAX_BACKOFFS,
    MAX_BE,
    MAX_FRAME_BYTES,
    MAX_SIFS_FRAME_BYTES,
    MIN_BE,
    SIFS_S,
    TURNAROUND_S,
    UNIT_BACKOFF_S,
    air_time_s,
    mean_backoff_s,
)


@dataclass(frozen=True)
class ZigbeeLink:
    """How sensors reach their coordinator. Sources of all figures: ``docs/zigbee.md``. Raises ValueError.

    hops: transmissions from sensor to coordinator, all on one channel; every sensor has relays of its own. A sensor has
        one fragment under way at a time: the next one leaves when the last hop is done.
    mac_bytes .. application_bytes: headers and trailers inside a frame of at most 127 bytes: MAC with short addresses,
        network, network security (auxiliary header 14, integrity code 4), application support.
    fragment_bytes: payload of a full fragment; None: all that fits, 82 with these headers.
    stack_s: mean time that each node's software takes for each frame before channel access, uniform between half and
        one and a half of it. 0 is pure IEEE 802.15.4; modules measured have 0.01 to 0.02.
    ack: acknowledged frames. Without, what collides is lost, so the analytic model takes a single contender only.
    """

    hops: int = 1
    mac_bytes: int = 11
    network_bytes: int = 8
    security_bytes: int = 18
    application_bytes: int = 8
    fragment_bytes: int | None = None
    stack_s: float = 0.0
    ack: bool = True

    def __post_init__(self):
        for name, least in (("hops", 1), ("mac_bytes", MAC_BYTES_NO_ADDRESS)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} must be {least} or more")
        for name in ("network_bytes", "security_bytes", "application_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        room = MAX_FRAME_BYTES - self.overhead_bytes
        if room < 1:
            raise ValueError(
                f"headers of {self.overhead_bytes} bytes: a frame of {MAX_FRAME_BYTES} has no room for data"
            )
        if self.fragment_bytes is not None and not 1 <= self.fragment_bytes <= room:
            raise ValueError(f"fragment_bytes: {self.fragment_bytes} must be 1 to {room}, what fits beside the headers")
        if not 0 <= self.stack_s <= 1:
            raise ValueError(f"stack_s: {self.stack_s} must be 0 to 1 second")

    @property
    def overhead_bytes(self) -> int:
        """Headers and trailers of a frame."""
        return self.mac_bytes + self.network_bytes + self.security_bytes + self.application_bytes

    @property
    def payload_bytes(self) -> int:
        """Payload of a full fragment."""
        return self.fragment_bytes or MAX_FRAME_BYTES - self.overhead_bytes

    def pause_s(self, payload_bytes: int) -> float:
        """Interframe space less assessment and turnaround: nothing is sent in these, so they count towards it."""
        short = payload_bytes + self.overhead_bytes <= MAX_SIFS_FRAME_BYTES
        return max((SIFS_S if short else LIFS_S) - CCA_S - TURNAROUND_S, 0.0)

    def exchange_s(self, payload_bytes: int) -> float:
        """Mean seconds of one frame on a free channel, stack to stack, after Latre et al. (2006)."""
        answer_s = TURNAROUND_S + air_time_s(ACK_BYTES) if self.ack else 0.0
        access_s = self.stack_s + self.pause_s(payload_bytes) + mean_backoff_s() + CCA_S + TURNAROUND_S
        return access_s + air_time_s(payload_bytes + self.overhead_bytes) + answer_s


IEEE_802_15_4 = ZigbeeLink()


def fragments(data_bytes: float, link: ZigbeeLink = IEEE_802_15_4) -> tuple[int, int]:
    """(number of full fragments, bytes of the rest, 0 if none). Raises ValueError for negative or non-finite data."""
    if not (math.isfinite(data_bytes) and data_bytes >= 0):
        raise ValueError(f"data_bytes: {data_bytes} must be a finite number of 0 or more")
    return divmod(math.ceil(data_bytes), link.payload_bytes)


@lru_cache(maxsize=8192)
def shared_goodput_bps(contenders: int, link: ZigbeeLink = IEEE_802_15_4) -> float:
    """Payload bit/s that ``contenders`` sensors carry together to the coordinator, over all hops of ``link``.

    Every fragment needs one acknowledged frame per hop. A sender whose acknowledgement is lost goes on though its relay
    has the frame and goes on as well, so that more than ``contenders`` nodes contend. Raises ValueError.
    """
    if contenders < 1:
        raise ValueError(f"contenders: {contenders} must be 1 or more")
    if not link.ack and contenders > 1:
        raise ValueError(f"{contenders} contenders need ack=True: without acknowledgements what collides is lost")
    one_hop = replace(link, hops=1)
    active, before = float(contenders), 0.0
    while active - before > 1e-3 * active:  # from below, and bounded by contenders * hops
        before, active = active, contenders * _active_nodes(link.hops, _medium(active, one_hop)[1])
    return _medium(active, one_hop)[0] / link.hops


def _active_nodes(hops: int, lost: float) -> float:
    """Mean number of a sensor's nodes in contention, if a share ``lost`` of received frames stays unacknowledged.

    Let a node need a mean time of 1 until a frame is acknowledged, all times being exponential. Then its frame is
    received after 1 - lost, and all nodes together are busy for ``hops``. The next fragment starts when the last node
    is done and the first one is: that is later, by 1, if its acknowledgement was lost and the others were all faster.
    That a relay may be late in the same way is left out; so this is a little too high where half of them are lost.
    """
    if hops == 1:
        return 1.0
    first_is_late = lost * (2 - lost) ** (2 - hops) / 2
    return hops / ((hops - 1) * (1 - lost) + 1 + first_is_late)


def transfer_delay_s(
    data_bytes: float, contenders: int = 1, hops: int | None = None, link: ZigbeeLink = IEEE_802_15_4
) -> float:
    """Seconds to carry ``data_bytes`` while ``contenders`` sensors, this one included, send throughout.

    The data go in fragments of ``link.payload_bytes``. ``hops`` overrides the link's. Infinite where contention is such
    that nothing gets through (thousands of contenders). Raises ValueError for negative or non-finite data, and for
    contenders or hops under 1.
    """
    link = _with_hops(link, hops)
    return _slowed(_work_s(data_bytes, link), contenders, link)


def zigbee_delays(
    demands_bytes: Mapping[str, float], hops: int | None = None, link: ZigbeeLink = IEEE_802_15_4
) -> dict[str, float]:
    """Delay in seconds of each sensor id when all start together on one coordinator and share it fairly.

    Processor sharing: as long as n transfers run, each goes on at 1/n of what n contenders carry together. ``hops``
    overrides the link's. Raises ValueError as transfer_delay_s does, naming the sensor.
    """
    link = _with_hops(link, hops)
    work = {}
    for sensor, data_bytes in demands_bytes.items():
        try:
            work[sensor] = _work_s(data_bytes, link)
        except ValueError as error:
            raise ValueError(f"sensor {sensor}: {error}") from None
    delays, now, done = {}, 0.0, 0.0
    order = sorted(work, key=lambda sensor: (work[sensor], sensor))
    for finished, sensor in enumerate(order):
        if work[sensor] > done:
            now += _slowed(work[sensor] - done, len(order) - finished, link)
            done = work[sensor]
        delays[sensor] = now
    return {sensor: delays[sensor] for sensor in demands_bytes}


def _with_hops(link: ZigbeeLink, hops: int | None) -> ZigbeeLink:
    return link if hops is None else replace(link, hops=hops)


def _work_s(data_bytes: float, link: ZigbeeLink) -> float:
    """Seconds for one hop on a free channel."""
    full, rest = fragments(data_bytes, link)
    return full * link.exchange_s(link.payload_bytes) + (link.exchange_s(rest) if rest else 0.0)


def _slowed(work_s: float, contenders: int, link: ZigbeeLink) -> float:
    """Seconds that ``work_s`` takes one of ``contenders`` sensors, all hops included."""
    full_speed_bps = 8 * link.payload_bytes / link.exchange_s(link.payload_bytes)
    share = shared_goodput_bps(contenders, link) / full_speed_bps / contenders
    return work_s / share if share else (math.inf if work_s else 0.0)


# The model is solved for these numbers of contenders; the logarithm of goodput is linear in between and beyond.
_SOLVED = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150)


def _medium(active: float, link: ZigbeeLink) -> tuple[float, float]:
    """(payload bit/s over one hop, share of received frames whose acknowledgement is lost).

    With ``active`` contenders, which need not be a whole number.
    """
    above = max(next((i for i, nodes in enumerate(_SOLVED) if nodes >= active), len(_SOLVED) - 1), 1)
    low, high = _SOLVED[above - 1], _SOLVED[above]
    (low_bps, low_lost), (high_bps, high_lost) = _solved(low, link), _solved(high, link)
    part = (active - low) / (high - low)
    return low_bps * (high_bps / low_bps) ** part, min(low_lost + (high_lost - low_lost) * part, 1.0)


@lru_cache(maxsize=1024)
def _solved(contenders: int, link: ZigbeeLink) -> tuple[float, float]:
    if contenders == 1:
        return 8 * link.payload_bytes / link.exchange_s(link.payload_bytes), 0.0
    frames_per_s, lost = _Contention(contenders, link).solve()
    return float(8 * link.payload_bytes * frames_per_s), float(lost)


_SLOT_S = air_time_s(1) - air_time_s(0)  # a byte's time, 2 symbols: every duration is a multiple of it
_STAGES = MAX_BACKOFFS + 1


def _slots(seconds: float) -> int:
    return round(seconds / _SLOT_S)


_UNIT, _CCA, _TURNAROUND = _slots(UNIT_BACKOFF_S), _slots(CCA_S), _slots(TURNAROUND_S)
_GAP = _TURNAROUND - _CCA  # assessments that begin in these slots after a frame end before its acknowledgement begins


class _Contention:
    """Busy spell after busy spell of ``contenders`` saturated senders, as one fixed point.

    A spell is a *success* (a frame and its acknowledgement), a *collision* (frames of senders that assessed the channel
    within a turnaround of the first) or a *lost acknowledgement* (somebody assessed the channel in the gap before it
    and found it free). After it, those whose frame it was start CSMA-CA anew, at times that are known; of all others
    one distribution, ``others`` [stage of CSMA-CA, slots to the next assessment], is kept.
    """

    def __init__(self, contenders: int, link: ZigbeeLink):
        self.contenders = contenders
        self.stack = _slots(link.stack_s)
        frame = _slots(air_time_s(link.payload_bytes + link.overhead_bytes))
        pause, wait = _slots(link.pause_s(link.payload_bytes)), _slots(ACK_WAIT_S)
        self.sent = _CCA + _TURNAROUND + frame  # times count from the beginning of the first sender's assessment
        ends = (
            self.sent + _TURNAROUND + _slots(air_time_s(ACK_BYTES)),  # success
            self.sent + _TURNAROUND // 2,  # collision, of senders half a turnaround apart in the mean
            self.sent + _GAP // 2 + self.sent,  # lost acknowledgement: the intruder's frame ends it
        )
        self.ends = np.array(ends)
        # Nobody's next assessment is farther away.
        self.horizon = 2**MAX_BE * _UNIT + _CCA + 2 * self.stack + pause + wait
        self.width = ends[-1] + 2 * self.horizon
        self.fft_size = 2 * self.horizon
        self.anew = [self._through_stack(self._backoff(pause)), self._backoff(wait), self._backoff(wait)]
        # The sender whose acknowledgement was lost tries again while the intruder still sends.
        unanswered = np.zeros((_STAGES, self.width))
        unanswered[0, self.sent + wait : self.sent + wait + self.horizon] = self._backoff(0)
        self.unanswered = self._after(self._busy(unanswered, self.sent, ends[2]), ends[2])

    def _backoff(self, begin: int) -> NDArray[np.float64]:
        """Distribution of the first assessment of a CSMA-CA that begins in so many slots."""
        times = np.zeros(self.horizon)
        times[begin : begin + 2**MIN_BE * _UNIT : _UNIT] = 2.0**-MIN_BE
        return times

    def _through_stack(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same later by the stack's time, which is uniform between half and one and a half times its mean."""
        delays = np.ones(self.stack + 1) / (self.stack + 1)
        return np.convolve(times, np.append(np.zeros(self.stack // 2), delays))[: self.horizon]

    def _busy(self, waiting: NDArray[np.float64], begin: int, end: int) -> NDArray[np.float64]:
        """Assessments in [begin, end) find the channel busy: to the next stage, or anew after the last. In place."""
        for stage in (*range(_STAGES), 0, 1):  # hardly anyone gets farther within a frame
            following = (stage + 1) % _STAGES
            exponent = min(MIN_BE + following, MAX_BE)
            spread = np.zeros(end - begin + (2**exponent - 1) * _UNIT)
            spread[: end - begin] = waiting[stage, begin:end] / 2**exponent
            for i in range(exponent):  # doubles the choices of backoff
                step = _UNIT * 2**i
                spread[step:] += spread[:-step].copy()
            waiting[stage, begin:end] = 0
            start = begin + _CCA + (0 if following else self.stack)
            waiting[following, start : start + len(spread)] += spread
        return waiting

    def _after(self, waiting: NDArray[np.float64], end: int) -> NDArray[np.float64]:
        return waiting[:, end : end + self.horizon]

    def solve(self) -> tuple[float, float]:
        """(acknowledged frames per second, all senders together; share of received frames that stay unacknowledged)."""
        others = np.zeros((_STAGES, self.horizon))
        others[0] = np.cumsum(self.anew[0][::-1])[::-1] / np.cumsum(self.anew[0][::-1]).sum()
        state = (np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 1.0]), others)  # as from _spell
        rate, previous = 0.0, math.inf
        while abs(rate - previous) > 1e-4 * rate:
            previous = rate
            idle, *access = self._access(*state)
            spell = self._spell(*access)
            rate = spell[0][0] / (idle + spell[0] @ self.ends)
            state = tuple((old + new) / 2 for old, new in zip(state, spell, strict=True))  # damped: it might oscillate
        return rate / _SLOT_S, spell[0][2] / (spell[0][0] + spell[0][2])

    def _access(self, shares: NDArray, senders: NDArray, others: NDArray) -> tuple[float, float, NDArray, NDArray]:
        """From the end of a spell to the assessment that begins the next one, averaged over the kinds of spell.

        (mean slots, probability that a sender is alone, and [stage, slots from then to their next assessment] of all
        that don't send, times the probability: when a sender is alone, and when several collide).
        """
        some = others.sum(axis=0)
        others_spectrum = self._spectrum(others)
        idle = alone_share = 0.0
        losers = np.zeros((2, *others_spectrum.shape), complex)
        for share, number, anew in zip(shares, np.minimum(senders, self.contenders), self.anew, strict=True):
            first = _First(anew, some)
            rest = self.contenders - number
            idle += share * (first.any(number, rest) @ np.arange(self.horizon))
            alone_share += share * first.alone(number, rest).sum()
            # A loser's time is seen from the first of all others, so it is the difference of two independent times.
            for i, law in enumerate((first.alone, first.any)):
                losers[i] += share * rest * others_spectrum * self._spectrum(law(number, rest - 1)).conj()
                losers[i, 0] += share * number * self._spectrum(anew) * self._spectrum(law(number - 1, rest)).conj()
        found = np.fft.irfft(losers, self.fft_size)[..., : self.horizon].clip(0)
        found[..., :_TURNAROUND] = 0  # these collide with the first; at just a turnaround, half of them do
        found[..., _TURNAROUND] /= 2
        return idle, alone_share, found[0], (found[1] - found[0]).clip(0)

    def _spectrum(self, times: NDArray[np.float64]) -> NDArray[np.complex128]:
        return np.fft.rfft(times, self.fft_size)

    def _spell(self, alone: float, alone_losers: NDArray, collision_losers: NDArray) -> tuple:
        """(shares of the kinds of the next spell, senders in them, others after it)."""
        waiting = np.zeros((2, _STAGES, self.width))
        waiting[:, :, : self.horizon] = alone_losers, collision_losers
        lonely, collided = waiting
        collision = 1 - alone
        colliders = max((self.contenders * collision - collision_losers.sum()) / max(collision, 1e-12), 2.0)
        self._busy(collided, _TURNAROUND, self.ends[1])
        self._busy(lonely, _TURNAROUND, self.sent)
        gap = slice(self.sent, self.sent + _GAP)
        intruders = lonely[:, gap].sum() / alone
        lost = -math.expm1(-intruders)
        lonely[:, gap] = 0
        self._busy(lonely, self.sent, self.ends[0])
        after_success = self._after(lonely, self.ends[0]).copy()
        after_loss = self._after(self._busy(lonely, self.ends[0], self.ends[2]), self.ends[2])
        others = (1 - lost) * after_success + lost * after_loss + alone * lost * self.unanswered
        others += self._after(collided, self.ends[1])
        shares = np.array([alone * (1 - lost), collision, alone * lost])
        return shares, np.array([1.0, colliders, max(intruders / max(lost, 1e-12), 1.0)]), others / others.sum()


class _First:
    """The first assessment among ``a`` senders with times as ``anew`` and ``b`` as ``some``, all independent."""

    def __init__(self, anew: NDArray[np.float64], some: NDArray[np.float64]):
        self.anew, self.some = anew, some
        self.anew_tail, self.some_tail = _tail(anew), _tail(some)
        self.anew_later, self.some_later = _a_turnaround_later(self.anew_tail), _a_turnaround_later(self.some_tail)

    def any(self, a: float, b: float) -> NDArray[np.float64]:
        """[slot] the first of them assesses in this slot."""
        return -np.diff(self.anew_tail ** max(a, 0) * self.some_tail ** max(b, 0))

    def alone(self, a: float, b: float) -> NDArray[np.float64]:
        """[slot] one of them assesses in this slot, and all others more than a turnaround later."""
        a, b = max(a, 0), max(b, 0)
        one_anew = a * self.anew * self.anew_later ** max(a - 1, 0) * self.some_later**b
        return one_anew + b * self.some * self.anew_later**a * self.some_later ** max(b - 1, 0)


def _tail(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(time >= slot), one entry more than there are slots."""
    return np.append(np.cumsum(times[::-1])[::-1], 0.0).clip(0, 1)


def _a_turnaround_later(tail: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(time > slot + turnaround), senders' slots being shifted against each other at random."""
    middles = (tail[:-1] + tail[1:]) / 2
    return np.append(middles[_TURNAROUND:], np.zeros(_TURNAROUND))
