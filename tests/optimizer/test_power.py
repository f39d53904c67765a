import numpy as np
import pytest
import small_rrm as rrm
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from optimizer.power import together, water_fill

SNR = st.lists(st.floats(0.05, 1e5), min_size=1, max_size=6)


def one_group(snr, sinr_min=0.0):
    return water_fill(np.array(snr), np.zeros(len(snr), int), sinr_min)


def test_two_equal_rbs_share_the_power():
    np.testing.assert_allclose(one_group([10.0, 10.0]), [0.5, 0.5])


def test_by_hand():
    # Water level w = (1 + 1/4 + 1/2) / 2 = 0.875.
    np.testing.assert_allclose(one_group([4.0, 2.0]), [0.625, 0.375])
    # 1/0.5 = 2 lies above the level: that RB stays dry, unless it must reach SINR 0.1, for which it needs 0.2.
    np.testing.assert_allclose(one_group([4.0, 0.5]), [1.0, 0.0])
    np.testing.assert_allclose(one_group([4.0, 0.5], 0.1), [0.8, 0.2])
    assert np.isnan(one_group([4.0, 0.5], 1.0)).all()


@given(SNR, st.sampled_from([0.0, 0.01, 0.5, 3.0]))
def test_no_other_way_is_better(snr, sinr_min):
    snr = np.array(snr)
    power = one_group(snr, sinr_min)
    reachable = (sinr_min / snr).sum() <= 1
    assert np.isnan(power).all() != reachable or abs((sinr_min / snr).sum() - 1) < 1e-6
    if not reachable:
        return
    assert power.sum() == pytest.approx(1) and (snr * power >= sinr_min * (1 - 1e-9)).all()
    rate = np.log2(1 + snr * power).sum()
    assert rate == pytest.approx(rrm.fastest(snr, sinr_min), rel=1e-6)
    rng = np.random.default_rng(0)
    least = sinr_min / snr
    others = least + (1 - least.sum()) * rng.dirichlet(np.ones(len(snr)), 50)
    assert (np.log2(1 + snr * others).sum(axis=1) <= rate + 1e-9).all()


def test_against_a_general_solver():
    snr, sinr_min = np.array([30.0, 4.0, 2.0, 0.9]), 0.15
    best = minimize(
        lambda q: -np.log2(1 + snr * q).sum(),
        np.full(4, 0.25),
        bounds=[(sinr_min / s, 1) for s in snr],
        constraints={"type": "ineq", "fun": lambda q: 1 - q.sum()},
        method="SLSQP",
        tol=1e-12,
    )
    np.testing.assert_allclose(one_group(snr, sinr_min), best.x, atol=1e-5)


def test_groups_are_each_for_itself():
    rng = np.random.default_rng(1)
    snr, group = rng.exponential(10, 40), rng.integers(0, 7, 40)
    power = water_fill(snr, group, 0.01)
    for one in range(7):
        np.testing.assert_allclose(power[group == one], one_group(snr[group == one], 0.01))


@given(SNR, st.sampled_from([0.0, 0.5, 3.0, 100.0]))
def test_together_keeps_the_strongest_that_fit(snr, sinr_min):
    snr = np.array(snr)
    keep = together(snr, np.zeros(len(snr), int), sinr_min)
    if keep.any() and not keep.all():
        assert snr[keep].min() >= snr[~keep].max()
    assert (sinr_min / snr[keep]).sum() <= 1 + 1e-6
    if not keep.all() and sinr_min:
        assert (sinr_min / snr[keep]).sum() + sinr_min / snr[~keep].max() > 1 - 1e-6
