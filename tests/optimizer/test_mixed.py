import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.mixed import by_shares, mixed_split, slowest_on_zigbee_s
from optimizer.zigbee import zigbee_delays


def brute_force_s(demands, sixg_delay_s, zigbee_delay_s=slowest_on_zigbee_s) -> float:
    """Least largest delay over all ways to split the sensors."""
    names = list(demands)
    best = math.inf
    for bits in itertools.product((False, True), repeat=len(names)):
        stay = frozenset(name for name, on_6g in zip(names, bits, strict=True) if on_6g)
        away = {name: demands[name] for name in names if name not in stay}
        best = min(best, max(sixg_delay_s(stay) if stay else 0.0, zigbee_delay_s(away) if away else 0.0))
    return best


def additive(costs):
    """6G on which everybody's time adds up."""
    return lambda sensors: sum(costs[sensor] for sensor in sensors)


def test_the_dearest_per_byte_leaves_6g():
    """Equal data, Zigbee carries one of them in the time that 6G needs for the other two."""
    demands = dict.fromkeys("abc", 8200.0)
    alone_s = zigbee_delays({"a": 8200.0})["a"]
    split = mixed_split(demands, {"a": 1.0, "b": 5.0, "c": 1.0}, additive({"a": 0.5, "b": 2.5, "c": 0.5}))
    assert (split.sixg, split.zigbee) == (("a", "c"), ("b",))
    assert split.sixg_s == pytest.approx(1.0)
    assert split.zigbee_s == pytest.approx(alone_s)
    assert split.delay_s == max(split.sixg_s, split.zigbee_s)


def test_6g_alone_when_zigbee_would_only_be_slower():
    demands = dict.fromkeys("abc", 100_000.0)
    split = mixed_split(demands, dict.fromkeys("abc", 1.0), additive(dict.fromkeys("abc", 0.01)))
    assert split.zigbee == () and split.sixg == ("a", "b", "c") and split.zigbee_s == 0
    assert split.delay_s == pytest.approx(0.03)


def test_zigbee_alone_when_6g_never_ends():
    demands = {"a": 100.0, "b": 200.0}
    split = mixed_split(demands, {"a": 1.0, "b": 1.0}, lambda sensors: math.inf)
    assert split.sixg == () and split.zigbee == ("a", "b") and split.sixg_s == 0
    assert split.delay_s == pytest.approx(slowest_on_zigbee_s(demands))


def test_no_demands_and_missing_costs():
    empty = mixed_split({}, {}, lambda sensors: 1 / 0)
    assert (empty.sixg, empty.zigbee, empty.delay_s) == ((), (), 0.0)
    with pytest.raises(ValueError, match="sensor b"):
        mixed_split({"a": 1.0, "b": 1.0}, {"a": 1.0}, lambda sensors: 1.0)


CASES = st.lists(
    st.tuples(st.integers(1, 20_000), st.floats(0.1, 10)), min_size=1, max_size=6
)  # bytes, RB-slots per kilobyte


@given(CASES, st.floats(0.01, 3))
def test_against_brute_force(cases, scale):
    """Never worse than one path alone, nor better than the best of all splits; and what it says of itself is true."""
    demands = {str(i): float(size) for i, (size, _) in enumerate(cases)}
    costs = {str(i): size / 1000 * each for i, (size, each) in enumerate(cases)}
    sixg = by_shares(scale * sum(costs.values()), costs)
    split = mixed_split(demands, costs, sixg)
    best = brute_force_s(demands, sixg)
    everyone = frozenset(demands)
    assert sorted(split.sixg + split.zigbee) == sorted(demands)
    assert split.sixg_s == pytest.approx(sixg(frozenset(split.sixg)))
    assert split.zigbee_s == pytest.approx(slowest_on_zigbee_s({s: demands[s] for s in split.zigbee}))
    assert best * (1 - 1e-9) <= split.delay_s <= min(sixg(everyone), slowest_on_zigbee_s(demands)) * (1 + 1e-9)


def test_splits_are_near_the_best_of_all():
    """Seven sensors of 0.1 to 20 kB, RB costs per byte over a factor of 10, either path the slower one."""
    rng = np.random.default_rng(1)
    excess = []
    for _ in range(60):
        demands = {str(i): float(size) for i, size in enumerate(10 ** rng.uniform(2, 4.3, 7))}
        costs = {sensor: size * 10 ** rng.uniform(-0.5, 0.5) for sensor, size in demands.items()}
        sixg = by_shares(slowest_on_zigbee_s(demands) * 10 ** rng.uniform(-2, 0.5), costs)
        excess.append(mixed_split(demands, costs, sixg).delay_s / brute_force_s(demands, sixg) - 1)
    assert np.mean(excess) < 0.02 and np.median(excess) < 1e-9


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.floats(0.01, 3))
def test_equal_costs_per_byte_and_small_sensors_come_near_the_best(sizes, scale):
    """Packing can miss the best split by at most the largest sensor, on either path."""
    demands = {str(i): 82.0 * size for i, size in enumerate(sizes)}
    costs = {str(i): float(size) for i, size in enumerate(sizes)}
    sixg = by_shares(scale * sum(sizes), costs)

    def linear(away):
        return 0.01 * sum(away.values()) / 82

    split = mixed_split(demands, costs, sixg, linear)
    slack = max(sizes) * min(scale, 0.01)
    assert split.delay_s <= brute_force_s(demands, sixg, linear) + slack + 1e-6


def test_no_set_is_asked_twice():
    asked = []

    def sixg(sensors):
        asked.append(sensors)
        return 0.2 * len(sensors)

    mixed_split({str(i): 500.0 * (i + 1) for i in range(8)}, {str(i): float(i + 1) for i in range(8)}, sixg)
    assert len(asked) == len(set(asked)) and frozenset() not in asked


def test_shares():
    delay = by_shares(10.0, {"a": 1.0, "b": 3.0})
    assert delay(frozenset("ab")) == pytest.approx(10)
    assert delay(frozenset("b")) == pytest.approx(7.5)
