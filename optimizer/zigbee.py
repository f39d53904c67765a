"""Delay of transfers over a Zigbee coordinator: an analytic model of unslotted CSMA-CA (IEEE 802.15.4, 2.4 GHz).

Contention is a fixed point of two probabilities, in the manner of Bianchi (2000) with a clear channel assessment (CCA):
a CCA finds the channel busy, a frame collides. It assumes senders that always have a frame ready, hear each other and
act independently. A frame given up by the MAC is sent again by the layer above, so nothing is lost, only late. It is a
model: an event simulation in the tests stands beside it.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

from twin.ieee802154 import (
    ACK_BYTES,
    LIFS_S,
    MAX_BACKOFFS,
    MAX_BE,
    MAX_FRAME_BYTES,
    MIN_BE,
    SYMBOL_S,
    TURNAROUND_S,
    ZIGBEE_PAYLOAD_BYTES,
    air_time_s,
    exchange_time_s,
    goodput_bps,
    mean_backoff_s,
)

ACK_WAIT_S = 54 * SYMBOL_S  # macAckWaitDuration


@lru_cache(maxsize=1024)
def shared_goodput_bps(contenders: int) -> float:
    """Payload bit/s that ``contenders`` sensors carry together through one coordinator, full frames, acknowledged.

    One contender has ``goodput_bps()``. Raises ValueError under 1.
    """
    if contenders < 1:
        raise ValueError(f"contenders: {contenders} must be 1 or more")
    backoffs_s = [mean_backoff_s(min(MIN_BE + i, MAX_BE)) for i in range(MAX_BACKOFFS + 1)]
    frame_s, ack_s = air_time_s(MAX_FRAME_BYTES), air_time_s(ACK_BYTES)
    success_s, collision_s = frame_s + TURNAROUND_S + ack_s + LIFS_S, frame_s + ACK_WAIT_S

    def state(busy: float) -> tuple[float, float]:
        """(frames/s that one sensor carries, share of CCAs that find the channel busy), if that share is ``busy``."""
        waiting_s = sum(busy**i * backoff_s for i, backoff_s in enumerate(backoffs_s))
        others_per_s = (contenders - 1) * sum(busy**i for i in range(MAX_BACKOFFS + 1)) / waiting_s  # CCAs
        # The first CCA of an idle spell sends; those that follow within a turnaround join it, and all of them collide.
        joining = others_per_s * TURNAROUND_S
        alone = math.exp(-joining)
        collides = 1 - alone / (1 + joining)
        air_s = frame_s + alone * ack_s
        reached = 1 - busy ** (MAX_BACKOFFS + 1)
        cycle_s = waiting_s + reached * ((1 - collides) * success_s + collides * collision_s)
        return reached * (1 - collides) / cycle_s, others_per_s * air_s / (1 + joining + others_per_s * air_s)

    low, high = 0.0, 1.0  # bisection on the difference between the share found and the share assumed
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if state(middle)[1] > middle else (low, middle)
    return contenders * state(low)[0] * 8 * ZIGBEE_PAYLOAD_BYTES


def transfer_delay_s(data_bytes: float, contenders: int = 1, hops: int = 1) -> float:
    """Seconds to carry ``data_bytes`` while ``contenders`` sensors, this one included, send throughout.

    The data go in fragments of the payload that fits a 127-byte frame; every hop is on the same channel.
    Raises ValueError for negative or non-finite data, and for contenders or hops under 1.
    """
    if hops < 1:
        raise ValueError(f"hops: {hops} must be 1 or more")
    return _alone_s(data_bytes) * hops / _share(contenders)


def zigbee_delays(demands_bytes: Mapping[str, float], hops: int = 1) -> dict[str, float]:
    """Delay in seconds of each sensor id when all start together on one coordinator and share it fairly.

    Processor sharing: as long as n transfers run, each goes on at 1/n of what n contenders carry together.
    Raises ValueError as transfer_delay_s does, naming the sensor.
    """
    work = {}
    for sensor, data_bytes in demands_bytes.items():
        try:
            work[sensor] = transfer_delay_s(data_bytes, hops=hops)
        except ValueError as error:
            raise ValueError(f"sensor {sensor}: {error}") from None
    delays, now, done = {}, 0.0, 0.0
    order = sorted(work, key=lambda sensor: (work[sensor], sensor))
    for finished, sensor in enumerate(order):
        if work[sensor] > done:
            now += (work[sensor] - done) / _share(len(order) - finished)
            done = work[sensor]
        delays[sensor] = now
    return {sensor: delays[sensor] for sensor in demands_bytes}


def _alone_s(data_bytes: float) -> float:
    if not (math.isfinite(data_bytes) and data_bytes >= 0):
        raise ValueError(f"data_bytes: {data_bytes} must be a finite number of 0 or more")
    full, rest = divmod(math.ceil(data_bytes), ZIGBEE_PAYLOAD_BYTES)
    return full * exchange_time_s(ZIGBEE_PAYLOAD_BYTES) + (exchange_time_s(rest) if rest else 0.0)


def _share(contenders: int) -> float:
    """Speed of one of ``contenders`` transfers, relative to being alone."""
    return shared_goodput_bps(contenders) / goodput_bps() / contenders
