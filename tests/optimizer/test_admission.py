import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import maximum_bipartite_matching

from optimizer.admission import Refusal, admit


def fit(usable, devices, capacity):
    """Whether all of these devices can have an RB-slot."""
    rows = np.repeat(usable[list(devices)], capacity, axis=1)
    return bool((maximum_bipartite_matching(sp.csr_array(rows), perm_type="column") >= 0).all())


@given(
    seed=st.integers(0, 2**32 - 1),
    devices=st.integers(1, 7),
    rbs=st.integers(1, 5),
    capacity=st.integers(1, 2),
    density=st.floats(0.1, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_as_few_as_possible_go_and_of_those_the_costliest(seed, devices, rbs, capacity, density):
    rng = np.random.default_rng(seed)
    usable, cost = rng.random((devices, rbs)) < density, rng.random(devices)
    refusals = admit(usable, cost, capacity)
    refused = {refusal.device for refusal in refusals}
    sets = [
        kept
        for size in range(devices + 1)
        for kept in itertools.combinations(range(devices), size)
        if fit(usable, kept, capacity)
    ]
    best = min(sets, key=lambda kept: (-len(kept), cost[list(kept)].sum()))
    assert set(range(devices)) - refused == set(best)
    for refusal in refusals:
        crowd = {refusal.device, *refusal.rivals}
        assert set(refusal.rbs) == set(np.flatnonzero(usable[list(crowd)].any(axis=0)))
        assert len(crowd) == capacity * len(refusal.rbs) + 1
        assert not fit(usable, crowd, capacity)
        assert all(fit(usable, crowd - {one}, capacity) for one in crowd)


def test_two_crowds_are_told_apart():
    usable = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], bool)
    refusals = admit(usable, np.arange(5.0), 1)
    assert refusals == [Refusal(1, (0,), (0,)), Refusal(3, (2,), (1,))]


def test_a_crowd_is_followed_from_holder_to_holder():
    usable = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]], bool)
    assert admit(usable, np.array([3.0, 2.0, 1.0, 4.0]), 1) == [Refusal(3, (0, 1, 2), (0, 1, 2))]


def test_whoever_can_use_no_rb_stands_alone():
    usable = np.array([[False, False], [True, True]])
    assert admit(usable, np.array([1.0, 2.0]), 3) == [Refusal(0, (), ())]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_nothing_to_match(shape):
    refusals = admit(np.ones(shape, bool), np.ones(shape[0]), 1)
    assert refusals == [Refusal(device, (), ()) for device in range(shape[0])]
