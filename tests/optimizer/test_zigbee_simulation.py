import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.zigbee import ZigbeeLink
from optimizer.zigbee_simulation import simulate_transfers, simulated_goodput_bps

US = 1e-6


def test_latre_2006():
    """One sender, no addresses, no acknowledgement, largest frame: 64.9% of 250 kbit/s, about 162 kbit/s."""
    link = ZigbeeLink(mac_bytes=5, network_bytes=0, security_bytes=0, application_bytes=0, ack=False)
    assert simulated_goodput_bps(1, link, seconds=60) == pytest.approx(0.649 * 250e3, rel=5e-3)


def test_one_acknowledged_sender_by_hand():
    # mean backoff 3.5 * 320 us, 133 bytes at 32 us, turnaround 192 us, acknowledgement of 11 bytes, interframe space
    exchange_s = 1120 * US + 133 * 32 * US + 192 * US + 11 * 32 * US + 640 * US
    assert simulated_goodput_bps(1, seconds=60) == pytest.approx(8 * 82 / exchange_s, rel=5e-3)
    outcome = simulate_transfers({"a": 82 * 2000})
    assert outcome.delay_s[0] == pytest.approx(2000 * exchange_s, rel=5e-3)
    assert (outcome.collisions, outcome.acks_lost, outcome.given_up) == (0, 0, 0)


def test_every_step_of_one_frame_by_hand():
    """One full frame: pause 320 us (the space of 640 less assessment and turnaround), backoff, 128, 192, frame, ACK."""
    outcome = simulate_transfers({"a": 82}, seed=3, record=True)
    frame, ack = outcome.air
    start_us = frame.start_us - (320 + 128 + 192)  # of the sensor, if it drew no backoff
    assert frame.end_us - frame.start_us == 133 * 32
    assert ack.start_us - frame.end_us == 192
    assert ack.end_us - ack.start_us == 11 * 32
    backoff_us = round(outcome.delay_s[0] / US) - (ack.end_us - start_us)
    assert backoff_us % 320 == 0 and 0 <= backoff_us <= 7 * 320


def test_hops_one_after_the_other():
    one, three = (simulate_transfers({"a": 82 * 500}, ZigbeeLink(hops=hops)).delay_s[0] for hops in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.02)


def test_the_stack_takes_its_time_at_every_node():
    slow = simulate_transfers({"a": 82 * 300}, ZigbeeLink(hops=2, stack_s=0.01)).delay_s[0]
    bare = simulate_transfers({"a": 82 * 300}, ZigbeeLink(hops=2)).delay_s[0]
    assert slow - bare == pytest.approx(300 * 2 * 0.01, rel=0.05)


@settings(deadline=None, max_examples=40)
@given(
    demands=st.lists(st.integers(0, 1500), min_size=1, max_size=8),
    hops=st.integers(1, 4),
    fragment=st.sampled_from([None, 7, 40]),
    seed=st.integers(0, 99),
)
def test_conservation(demands, hops, fragment, seed):
    """Every byte arrives exactly once, and what is on the air adds up."""
    link = ZigbeeLink(hops=hops, fragment_bytes=fragment)
    outcome = simulate_transfers({f"s{i}": size for i, size in enumerate(demands)}, link, seed, record=True)
    assert outcome.arrived_bytes == demands
    assert all((delay > 0) == (size > 0) for delay, size in zip(outcome.delay_s, demands, strict=True))
    frames = [each for each in outcome.air if not each.is_ack]
    acks = [each for each in outcome.air if each.is_ack]

    # On every hop each fragment is acknowledged successfully once, in order.
    pieces = [math.ceil(size / link.payload_bytes) for size in demands]
    for sensor, count in enumerate(pieces):
        for hop in range(hops):
            answered = [a.fragment for a in acks if (a.sensor, a.hop, a.lost) == (sensor, hop, False)]
            assert answered == list(range(count))
    assert len(acks) == len(frames) - outcome.collisions
    assert outcome.acks_lost == sum(a.lost for a in acks)

    # Air time of every frame is that of its bytes.
    for each in frames:
        last = each.fragment == pieces[each.sensor] - 1
        payload = demands[each.sensor] - each.fragment * link.payload_bytes if last else link.payload_bytes
        assert each.end_us - each.start_us == 32 * (6 + payload + link.overhead_bytes)

    # Two overlap if and only if both are lost; so no two successful ones ever do.
    ordered = sorted(outcome.air, key=lambda each: each.start_us)
    overlapped, latest = set(), None
    for each in ordered:
        if latest is not None and each.start_us < latest.end_us:
            overlapped |= {id(each), id(latest)}
        if latest is None or each.end_us > latest.end_us:
            latest = each
    assert overlapped <= {id(each) for each in ordered if each.lost}
    assert all(a.end_us <= b.start_us for a, b in pairwise([each for each in ordered if not each.lost]))


def test_lost_means_overlapped():
    outcome = simulate_transfers({f"s{i}": 2000 for i in range(10)}, record=True)
    air = outcome.air
    for each in air:
        others = [o for o in air if o is not each and o.start_us < each.end_us and o.end_us > each.start_us]
        assert each.lost == bool(others)
    assert outcome.collisions > 0 and outcome.acks_lost > 0 and outcome.given_up > 0


def test_nobody_sends_into_a_frame_that_he_could_hear():
    """Frames overlap only if their assessments were within a turnaround, or to hit an acknowledgement."""
    outcome = simulate_transfers({f"s{i}": 2000 for i in range(10)}, ZigbeeLink(hops=2), record=True)
    frames = [each for each in outcome.air if not each.is_ack]
    for first, second in pairwise(frames):
        if second.start_us < first.end_us:
            assert second.start_us - first.start_us <= 192


def test_deterministic_by_seed():
    demands = {f"s{i}": 900 * (i + 1) for i in range(6)}
    first, again, other = (simulate_transfers(demands, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.delay_s != other.delay_s


def test_more_is_never_faster():
    goodputs = [[simulated_goodput_bps(n, ZigbeeLink(hops), seconds=10) for n in (2, 6, 14)] for hops in (1, 2, 3)]
    for row in (*goodputs, *zip(*goodputs, strict=True)):
        assert all(b < a for a, b in pairwise(row))
    ends = [max(simulate_transfers(dict.fromkeys("abcde", size)).delay_s) for size in (500, 2000, 8000)]
    assert all(b > a for a, b in pairwise(ends))


def test_without_acknowledgements_what_collides_is_lost():
    demands = dict.fromkeys("abcdef", 8200)
    outcome = simulate_transfers(demands, ZigbeeLink(ack=False), record=True)
    assert not any(each.is_ack for each in outcome.air)
    assert sum(outcome.arrived_bytes) == 82 * sum(not each.lost for each in outcome.air) < 6 * 8200


@pytest.mark.parametrize("size", [-1, math.nan, math.inf])
def test_bad_demands_are_named(size):
    with pytest.raises(ValueError, match=f"sensor s1: data_bytes: {size}"):
        simulate_transfers({"s1": size})


def test_bad_runs():
    with pytest.raises(ValueError, match="contenders: 0"):
        simulated_goodput_bps(0)
    with pytest.raises(ValueError, match="seconds: 0"):
        simulated_goodput_bps(1, seconds=0)
    assert simulate_transfers({}).delay_s == []
