import itertools

import numpy as np
import pytest
import small_rrm as rrm
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.cell import Cell


def random_cell(seed, devices, rbs, sinr_min=0.5):
    rng = np.random.default_rng(seed)
    snr = 10 ** rng.uniform(-0.5, 3, (devices, 1)) * rng.exponential(1, (devices, rbs))
    return Cell(snr, rng.uniform(1, 10, devices), sinr_min)


@pytest.mark.parametrize("sinr_min", [0.0, 0.5, 3.0])
def test_best_rates_are_those_of_the_best_rbs(sinr_min):
    cell = random_cell(1, 12, 7, sinr_min)
    for device in range(12):
        best = [0.0]
        for count in range(1, 8):
            sets = itertools.combinations(cell.snr[device], count)
            best.append(max(best[-1], max(rrm.fastest(held, sinr_min) for held in sets)))
        np.testing.assert_allclose(cell.best_rates[device], best, rtol=1e-9, atol=1e-12)
        assert cell.most_parallel[device] == sum(
            np.isfinite(rrm.fastest(cell.ranked_snr[device, :k], sinr_min)) for k in range(1, 8)
        )


def test_counts_are_the_least_that_do():
    cell = random_cell(2, 5, 6)
    for frame, delay in itertools.product((1, 3, 10), (0.3, 1.0, 5.0, 100.0)):
        for device, count in enumerate(cell.counts(delay, frame)):

            def carried(n, rates=cell.best_rates[device], frame=frame):
                full, rest = divmod(n, frame)
                return ((frame - rest) * rates[full] + rest * rates[min(full + 1, 6)]) / frame

            enough = [n for n in range(1, 6 * frame + 1) if carried(n) >= cell.work[device] / delay * (1 - 1e-9)]
            assert count == (enough[0] if enough else 6 * frame + 1)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 6), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_counting_bound_is_where_the_counts_begin_to_fit(seed, devices, rbs, frame):
    cell = random_cell(seed, devices, rbs, sinr_min=0.0)
    if devices > rbs * frame:
        assert cell.counting_bound_s(frame) == np.inf
        return
    bound = cell.counting_bound_s(frame)
    assert cell.counts(bound * (1 - 1e-6), frame).sum() > rbs * frame
    assert cell.counts(bound * (1 + 1e-6), frame).sum() <= rbs * frame


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_any_prices_prove_a_bound(seed):
    rng = np.random.default_rng(seed)
    cell = random_cell(seed, 3, 4)
    mu, nu = rng.exponential(1, 3) * (rng.random(3) < 0.8), rng.exponential(1, 3) * (rng.random(3) < 0.8)
    owner = rng.integers(0, 3, (5, 4))
    schedule, power = cell.powered(owner)
    rates = cell.rates(schedule, power)
    if (rates > 0).all() and mu.any():
        assert cell.fluid_bound_s(mu, nu) <= (cell.work / rates).max() * (1 + 1e-9)


def test_fluid_bound_by_hand():
    # One device, one RB: with mu = 1 and nu = 0 the bound is the delay at full power.
    cell = Cell(np.array([[3.0]]), np.array([4.0]), 0.0)
    assert cell.fluid_bound_s(np.ones(1), np.zeros(1)) == pytest.approx(2.0)
    assert cell.fluid_bound_s(np.zeros(1), np.ones(1)) == 0.0


def test_powered_leaves_out_what_can_not_reach_the_floor():
    cell = Cell(np.array([[10.0, 6.0, 1.0]]), np.array([1.0]), 4.0)
    schedule, power = cell.powered(np.zeros((1, 3), int))
    assert schedule.tolist() == [[0, -1, -1]] and power.tolist() == [[1.0, 0.0, 0.0]]
