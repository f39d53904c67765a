import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.zigbee import shared_goodput_bps, transfer_delay_s, zigbee_delays
from twin import ieee802154 as phy


def test_latre_2006():
    """One sender, no addresses, no acknowledgement, largest frame: 64.9% of 250 kbit/s, about 162 kbit/s."""
    assert phy.goodput_bps(122, phy.MAC_BYTES_NO_ADDRESS, ack=False) == pytest.approx(0.649 * 250e3, rel=1e-3)


def test_frame_times_by_hand():
    # 7 units of 320 us / 2, 133 bytes at 32 us, turnaround 192 us, ACK of 11 bytes at 32 us, LIFS 640 us
    assert phy.exchange_time_s(82) == pytest.approx(1120e-6 + 133 * 32e-6 + 192e-6 + 11 * 32e-6 + 640e-6)
    # a frame of 18 bytes is followed by the short space
    assert phy.exchange_time_s(13, 5, ack=False) == pytest.approx(1120e-6 + 24 * 32e-6 + 192e-6)
    assert phy.exchange_time_s(14, 5, ack=False) == pytest.approx(1120e-6 + 25 * 32e-6 + 640e-6)
    assert phy.ZIGBEE_PAYLOAD_BYTES == 82
    assert phy.goodput_bps() == pytest.approx(100e3)


@pytest.mark.parametrize(("payload", "overhead"), [(0, 45), (83, 45), (10, 4)])
def test_frames_that_do_not_exist(payload, overhead):
    with pytest.raises(ValueError, match="127"):
        phy.exchange_time_s(payload, overhead)


def simulated_goodput_bps(contenders: int, seconds: float, seed: int) -> float:
    """Event by event: senders that always have a full frame, unslotted CSMA-CA with acknowledgements."""
    rng = np.random.default_rng(seed)
    unit, turn, frame, ack, space, wait = 320e-6, 192e-6, 133 * 32e-6, 11 * 32e-6, 640e-6, 54 * 16e-6
    exponent, failures = [3] * contenders, [0] * contenders
    events: list[tuple[float, int, str]] = []
    air: list[tuple[float, float, int]] = []  # (start, end, sender)
    carried = now = 0.0

    def back_off(sender, since):
        heapq.heappush(events, (since + rng.integers(2 ** exponent[sender]) * unit, sender, "assess"))

    for sender in range(contenders):
        back_off(sender, rng.random() * 5e-3)
    while now < seconds:
        now, sender, what = heapq.heappop(events)
        air = [each for each in air if each[1] > now - 0.01]
        if what == "assess" and any(start < now < end for start, end, _ in air):
            failures[sender] += 1
            exponent[sender] = min(exponent[sender] + 1, 5)
            if failures[sender] > 4:
                failures[sender], exponent[sender] = 0, 3  # given up; the layer above sends it again
            back_off(sender, now)
        elif what == "assess":
            air.append((now + turn, now + turn + frame, sender))
            heapq.heappush(events, (now + turn + frame, sender, "sent"))
        else:
            failures[sender], exponent[sender] = 0, 3
            if any(other != sender and start < now and end > now - frame for start, end, other in air):
                back_off(sender, now + wait)
            else:
                carried += 8 * 82
                air.append((now + turn, now + turn + ack, -1))
                # The turnaround before sending is not counted by Latre; it is taken out of the space here.
                back_off(sender, now + turn + ack + space - turn)
    return carried / now


@pytest.mark.parametrize("contenders", [1, 2, 4, 8, 12, 20])
def test_contention_model_against_event_simulation(contenders):
    simulated = simulated_goodput_bps(contenders, 30, seed=contenders)
    assert shared_goodput_bps(contenders) == pytest.approx(simulated, rel=0.12)


def test_one_contender_is_alone():
    assert shared_goodput_bps(1) == pytest.approx(phy.goodput_bps())
    assert transfer_delay_s(8200) == pytest.approx(100 * phy.exchange_time_s(82))
    assert transfer_delay_s(8201) == pytest.approx(100 * phy.exchange_time_s(82) + phy.exchange_time_s(1))
    assert transfer_delay_s(8200, hops=3) == pytest.approx(3 * transfer_delay_s(8200))
    assert transfer_delay_s(0) == 0


def test_processor_sharing_known_answer():
    """Two sensors with work 1 and 3 (alone): both share until the first is done, then the second goes on alone."""
    one, three = 82 * 1000, 82 * 3000
    alone = 1000 * phy.exchange_time_s(82)
    slowdown = 2 * phy.goodput_bps() / shared_goodput_bps(2)
    delays = zigbee_delays({"big": three, "small": one, "none": 0})
    assert delays == {
        "big": pytest.approx(alone * slowdown + 2 * alone),
        "small": pytest.approx(alone * slowdown),
        "none": 0,
    }
    assert list(delays) == ["big", "small", "none"]


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10**6), min_size=1, max_size=12))
def test_sharing_keeps_order_and_never_beats_the_medium(demands):
    delays = zigbee_delays(demands)
    order = sorted(demands, key=demands.get)
    assert all(delays[a] <= delays[b] + 1e-12 for a, b in zip(order, order[1:], strict=False))
    assert all(delays[s] >= transfer_delay_s(d) * (1 - 1e-12) for s, d in demands.items())
    best = max(shared_goodput_bps(n) for n in range(1, len(demands) + 1))
    assert max(delays.values()) >= 8 * sum(demands.values()) / best * (1 - 1e-9)


def test_equal_demands_end_together():
    delays = zigbee_delays(dict.fromkeys("abcdef", 8200))
    assert delays == dict.fromkeys("abcdef", pytest.approx(8 * 6 * 8200 / shared_goodput_bps(6)))


@pytest.mark.parametrize("size", [-1, math.nan, math.inf])
def test_bad_demands_are_named(size):
    with pytest.raises(ValueError, match=f"sensor s1: data_bytes: {size}"):
        zigbee_delays({"s1": size})
    with pytest.raises(ValueError, match="hops"):
        transfer_delay_s(1, hops=0)
    with pytest.raises(ValueError, match="contenders"):
        shared_goodput_bps(0)
