import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.zigbee import ZigbeeLink, shared_goodput_bps, transfer_delay_s, zigbee_delays
from optimizer.zigbee_simulation import simulate_transfers, simulated_goodput_bps
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


@pytest.mark.parametrize("link", [ZigbeeLink(), ZigbeeLink(fragment_bytes=20), ZigbeeLink(stack_s=0.005)])
@pytest.mark.parametrize("contenders", [2, 3, 5, 10, 20, 50])
def test_one_hop_is_within_6_percent_of_the_simulation(link, contenders):
    """5% of the model and what 20 to 60 simulated seconds leave of chance."""
    simulated = simulated_goodput_bps(contenders, link, seconds=60 if contenders == 50 else 20, seed=contenders)
    assert shared_goodput_bps(contenders, link) == pytest.approx(simulated, rel=0.06 if contenders < 50 else 0.1)


@pytest.mark.parametrize("hops", [2, 3, 4])
@pytest.mark.parametrize(("contenders", "seconds"), [(1, 15), (3, 15), (8, 15), (20, 30), (30, 60)])
def test_several_hops_are_within_12_percent_of_the_simulation(hops, contenders, seconds):
    """10% of the model and what is left of chance, up to 30 contenders."""
    link = ZigbeeLink(hops=hops)
    simulated = simulated_goodput_bps(contenders, link, seconds, seed=7)
    assert shared_goodput_bps(contenders, link) == pytest.approx(simulated, rel=0.12)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_transfers_are_within_5_percent_of_the_simulation(hops):
    """The last one to finish; the model is less sharp on the first of several like demands."""
    demands = {f"s{i}": 2000 + 900 * i for i in range(8)}
    simulated = [max(simulate_transfers(demands, ZigbeeLink(hops=hops), seed).delay_s) for seed in range(3)]
    assert max(zigbee_delays(demands, hops=hops).values()) == pytest.approx(sum(simulated) / 3, rel=0.05)


def test_more_is_never_faster():
    for link in (ZigbeeLink(), ZigbeeLink(hops=3), ZigbeeLink(fragment_bytes=30)):
        shares = [shared_goodput_bps(n, link) / n for n in range(1, 60)]
        assert all(b < a for a, b in pairwise(shares))
    for n in (1, 7, 40):
        by_hops = [transfer_delay_s(5000, n, hops) for hops in range(1, 7)]
        by_bytes = [transfer_delay_s(size, n) for size in range(0, 400, 7)]
        assert all(b > a for series in (by_hops, by_bytes) for a, b in pairwise(series))


def test_a_slow_stack_costs_a_lone_sender_and_relieves_a_crowded_channel():
    """While a sensor's software works, the sensor does not contend; the simulation says the same."""
    bare, slow = ZigbeeLink(), ZigbeeLink(stack_s=0.02)
    assert shared_goodput_bps(1, slow) < shared_goodput_bps(1, bare) / 3
    assert shared_goodput_bps(30, slow) > shared_goodput_bps(30, bare) * 2
    assert simulated_goodput_bps(30, slow, 10) > simulated_goodput_bps(30, bare, 10) * 2


def test_stack_time_counts_once_for_each_frame_and_hop():
    slow = ZigbeeLink(stack_s=0.01)
    assert transfer_delay_s(820, hops=3, link=slow) - transfer_delay_s(820, hops=3) == pytest.approx(10 * 3 * 0.01)


def test_latre_2006_through_the_link():
    link = ZigbeeLink(mac_bytes=5, network_bytes=0, security_bytes=0, application_bytes=0, ack=False)
    assert shared_goodput_bps(1, link) == pytest.approx(phy.goodput_bps(122, phy.MAC_BYTES_NO_ADDRESS, ack=False))


def test_between_the_numbers_solved_the_model_is_interpolated_smoothly():
    steps = [math.log(shared_goodput_bps(n + 1) / shared_goodput_bps(n)) for n in range(8, 200)]
    assert all(abs(b - a) < 0.02 for a, b in pairwise(steps))


def test_thousands_of_contenders_end_in_collapse_not_in_an_error():
    delays = zigbee_delays({f"s{i}": 100 for i in range(30_000)})
    assert set(delays.values()) == {math.inf}
    assert transfer_delay_s(0, contenders=30_000) == 0


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
    with pytest.raises(ValueError, match="ack=True"):
        shared_goodput_bps(2, ZigbeeLink(ack=False))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hops": 0}, "hops: 0"),
        ({"mac_bytes": 4}, "mac_bytes: 4"),
        ({"security_bytes": -1}, "security_bytes: -1"),
        ({"application_bytes": 90}, "headers of 127 bytes"),
        ({"fragment_bytes": 83}, "fragment_bytes: 83 must be 1 to 82"),
        ({"fragment_bytes": 0}, "fragment_bytes: 0"),
        ({"stack_s": -0.1}, "stack_s: -0.1"),
        ({"stack_s": math.nan}, "stack_s: nan"),
    ],
)
def test_links_that_do_not_exist(wrong, message):
    with pytest.raises(ValueError, match=message):
        ZigbeeLink(**wrong)
