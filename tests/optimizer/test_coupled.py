import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.check import check
from optimizer.coupled import solve_coupled
from optimizer.instance import Instance, Solution
from optimizer.solve import Options, solve

SPLITS = np.concatenate([0.01 * 2.0 ** np.arange(4), np.linspace(0.12, 0.88, 24), 1 - 0.01 * 2.0 ** np.arange(4)[::-1]])


def coupled(gain, serving, data_bits, **other) -> Instance:
    """Coupled instance over a noise of 1 W, p_max 1 W: gains [N, C, M] are SNRs."""
    gain = np.asarray(gain, float)
    _, c, m = gain.shape
    values = dict(
        gain=gain,
        serving=np.asarray(serving),
        data_bits=np.asarray(data_bits, float),
        free=np.ones((c, m), bool),
        interference_w=np.zeros((c, m)),
        rb_bandwidth_hz=180e3,
        slot_s=1e-3,
        noise_w=1.0,
        p_max_w=1.0,
        sinr_min=0.1,
        coupled=True,
    )
    return Instance(**(values | other))


def random_coupled(seed: int, cells: int, devices: int, rbs: int, **other) -> Instance:
    """``devices`` per cell; other base stations hear them 3 to 20 dB weaker, before fading."""
    rng = np.random.default_rng(seed)
    n = cells * devices
    serving = np.repeat(np.arange(cells), devices)
    mean = 10 ** (rng.uniform(1, 4, (n, 1)) - rng.uniform(0.3, 2, (n, cells)) * (serving[:, None] != np.arange(cells)))
    gain = mean[:, :, None] * rng.exponential(1, (n, cells, rbs))
    return coupled(gain, serving, rng.uniform(1e5, 2e6, n), **other)


def uncoupled(instance: Instance) -> Solution:
    return solve(instance, Options(mode="literal", admission=False))


def framed(slots: int):
    """solve_uncoupled for frames: the literal solution in every slot."""

    def solve_uncoupled(instance: Instance) -> Solution:
        solution = uncoupled(instance)
        return dataclasses.replace(
            solution,
            schedule=np.repeat(solution.schedule, slots, axis=1),
            power_w=np.repeat(solution.power_w, slots, axis=1),
        )

    return solve_uncoupled


def calls(count: int):
    """seconds_left that runs out after ``count`` calls; its list ``made`` counts them."""
    made = []

    def seconds_left() -> float:
        made.append(None)
        return count - len(made)

    return seconds_left, made


def run(instance: Instance, keep=None, solve_uncoupled=uncoupled, effort: int = 150, **other):
    keep = np.ones(len(instance.serving), bool) if keep is None else keep
    seconds_left = calls(effort)[0]
    return solve_coupled(instance, keep, solve_uncoupled, gap=1e-6, seconds_left=seconds_left, **other)


def assert_checked(instance: Instance, result, keep=None) -> None:
    refused = np.zeros(len(instance.serving), bool) if keep is None else ~keep
    solution = Solution(
        schedule=result.schedule,
        power_w=result.power_w,
        delay_s=result.delay_s,
        to_zigbee=refused,
        status="feasible" if result.objective_s is not None else "infeasible",
        objective_s=result.objective_s,
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="coupled",
        seconds=0.0,
        iterations=result.iterations,
        infeasible_because=result.infeasible_because,
    )
    assert [f for f in check(instance, solution) if not f.holds] == []


def speed_by_grid(instance: Instance, owner) -> float:
    """1 / (least largest delay) of one assignment [C, M], each device on one or two RBs, over a grid of rate splits.

    At each split bisection over the delay and the least powers from the linear equations of the SINRs.
    """
    cells, rbs = owner.shape
    if set(range(len(instance.serving))) - set(owner.ravel()):
        return 0.0
    share = np.ones((1, cells, rbs))
    for i in range(len(instance.serving)):
        if len(on := np.argwhere(owner == i)) == 2:
            share = np.repeat(share, len(SPLITS), axis=0)
            for (c, j), part in zip(on, (SPLITS, 1 - SPLITS), strict=True):
                share[:, c, j] = np.tile(part, len(share) // len(SPLITS))

    def reachable(speed: float) -> bool:
        """Some split, a column of sender powers for each RB: (diag(own) - SINR * cross) power = SINR * noise of 1."""
        total = np.zeros((len(share), len(instance.serving)))
        for j in range(rbs):
            on = np.flatnonzero(owner[:, j] >= 0)
            if not len(on):
                continue
            sender = owner[on, j]
            bits = share[:, on, j] * instance.data_bits[sender] * speed
            sinr = np.maximum(2 ** np.minimum(bits / instance.rb_bandwidth_hz, 60) - 1, instance.sinr_min)
            gain = instance.gain[sender][:, on, j].T  # [to, from]
            matrix = np.eye(len(on)) * gain - sinr[:, :, None] * gain * (1 - np.eye(len(on)))
            power = np.linalg.solve(matrix, sinr[:, :, None])[:, :, 0]
            power[(power < 0).any(axis=1)] = np.inf
            total[:, sender] += power
        return bool((total.max(axis=1) <= 1).any())

    low, high = 0.0, 1e-2
    while reachable(high):
        low, high = high, high * 4
    while high - low > 2e-4 * high and high > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if reachable(middle) else (low, middle)
    return low


def brute_force_s(instance: Instance) -> float:
    n, cells, rbs = instance.shape
    choices = []
    for c in range(cells):
        mine = np.flatnonzero(instance.serving == c)
        every = itertools.product((-1, *mine), repeat=rbs)
        choices.append([owner for owner in every if set(mine) <= set(owner)])
    best = max(speed_by_grid(instance, np.array(owner)) for owner in itertools.product(*choices))
    return 1 / best


@pytest.mark.parametrize("cells", [2, 3])
def test_one_rb_gives_the_eigenvalue_of_the_gain_matrix(cells):
    """Noise aside, the largest SINR that all can have is 1 / (spectral radius of the normalised cross gains)."""
    rng = np.random.default_rng(cells)
    for _ in range(3):
        gain = rng.uniform(0.05, 0.5, (cells, cells)) + np.diag(rng.uniform(1, 3, cells))
        ratio = gain.T / np.diag(gain)[:, None] * (1 - np.eye(cells))
        sinr = 1 / np.abs(np.linalg.eigvals(ratio)).max()
        instance = coupled(1e9 * gain[:, :, None], range(cells), [1e6] * cells)
        result = run(instance)
        assert result.objective_s == pytest.approx(1e6 / (180e3 * np.log2(1 + sinr)), rel=1e-5)
        assert_checked(instance, result)


@pytest.mark.parametrize(("cells", "devices", "rbs", "seeds"), [(2, 1, 2, 4), (2, 2, 2, 2), (3, 2, 2, 3), (2, 2, 3, 2)])
def test_tiny_instances_come_to_within_a_percent_of_brute_force(cells, devices, rbs, seeds):
    for seed in range(seeds):
        instance = random_coupled(seed, cells, devices, rbs)
        result = run(instance, effort=120)
        assert_checked(instance, result)
        assert result.objective_s <= brute_force_s(instance) * 1.01
        assert result.lower_bound_s <= result.objective_s * (1 + 1e-9)


def test_without_cross_gains_nothing_is_lost():
    for seed in range(4):
        instance = random_coupled(seed, 2, 3, 6)
        gain = np.where((instance.serving[:, None] == np.arange(2))[:, :, None], instance.gain, 0.0)
        instance = dataclasses.replace(instance, gain=gain)
        apart = uncoupled(dataclasses.replace(instance, coupled=False))
        result = run(instance, effort=200)
        assert_checked(instance, result)
        assert result.objective_s <= apart.objective_s * (1 + 1e-6)
        assert (result.lower_bound_s, result.bound) == (apart.lower_bound_s, apart.bound)
        assert result.certificate == apart.certificate


def test_deafening_neighbours_take_disjoint_rbs():
    """Two cells, a device each, four RBs as good as each other: two RBs for either, by symmetry."""
    gain = np.full((2, 2, 4), 1e5)
    gain[0, 0] = gain[1, 1] = 100.0
    instance = coupled(gain, [0, 1], [1e6, 1e6])
    result = run(instance)
    assert_checked(instance, result)
    assert ((result.schedule >= 0).sum(axis=0) <= 1).all()
    assert result.objective_s == pytest.approx(1e6 / (2 * 180e3 * np.log2(1 + 50)), rel=1e-5)


def test_deafening_neighbours_take_turns_in_a_frame():
    gain = np.full((2, 2, 1), 1e5)
    gain[0, 0] = gain[1, 1] = 100.0
    instance = coupled(gain, [0, 1], [1e6, 1e6])
    result = run(instance, solve_uncoupled=framed(4))
    assert_checked(instance, result)
    assert result.schedule.shape == (2, 4, 1)
    assert result.objective_s == pytest.approx(2 * 1e6 / (180e3 * np.log2(1 + 100)), rel=1e-5)


def test_more_devices_than_rbs_share_the_slots():
    """Two cells that don't hear each other, in each two devices on one RB: half of the slots each."""
    gain = np.zeros((4, 2, 1))
    gain[[0, 1, 2, 3], [0, 0, 1, 1]] = 100.0
    instance = coupled(gain, [0, 0, 1, 1], [1e6] * 4)

    unfair = Solution(
        schedule=np.array([[0, 0, 0, 1], [2, 2, 2, 3]], np.int32)[:, :, None],
        power_w=np.ones((2, 4, 1)),
        delay_s=np.ones(4),
        to_zigbee=np.zeros(4, bool),
        status="feasible",
        objective_s=1.0,
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="by hand",
        seconds=0.0,
        iterations=0,
    )
    result = run(instance, solve_uncoupled=lambda alone: unfair)
    assert_checked(instance, result)
    assert result.objective_s == pytest.approx(2 * 1e6 / (180e3 * np.log2(1 + 100)), rel=1e-5)


def test_more_slots_are_no_worse_than_one():
    instance = random_coupled(3, 3, 2, 3)
    one, three = run(instance), run(instance, solve_uncoupled=framed(3))
    assert_checked(instance, three)
    assert three.objective_s <= one.objective_s * 1.01


def test_least_sinr_is_kept_by_moving_apart():
    """Alone, each device would take both RBs; with beta at 3, two devices can't share one."""
    instance = coupled(np.full((2, 2, 2), 100.0), [0, 1], [1e6, 1e6], sinr_min=3.0)
    result = run(instance)
    assert_checked(instance, result)
    assert result.objective_s == pytest.approx(1e6 / (180e3 * np.log2(1 + 100)), rel=1e-5)


def test_least_sinr_out_of_reach_is_said_with_whom_to_leave_out():
    instance = coupled(np.full((2, 2, 1), 100.0), [0, 1], [1e6, 1e6], sinr_min=3.0)
    result = run(instance)
    assert result.objective_s is None and len(result.left_out) == 1
    assert f"device {result.left_out[0]}" in result.infeasible_because[0]
    assert_checked(instance, result)
    keep = ~np.isin(np.arange(2), result.left_out)
    second = run(instance, keep)
    assert second.objective_s == pytest.approx(1e6 / (180e3 * np.log2(1 + 100)), rel=1e-5)
    assert_checked(instance, second, keep)


def test_out_of_reach_without_neighbours_too():
    instance = random_coupled(0, 2, 3, 2)
    result = run(instance)
    assert result.objective_s is None and result.infeasible_because and not result.left_out


def test_nothing_to_send():
    instance = dataclasses.replace(random_coupled(0, 2, 2, 2), data_bits=np.zeros(4))
    result = run(instance)
    assert result.objective_s == 0 and not result.power_w.any()
    assert_checked(instance, result)


def test_out_of_time_it_stops_with_a_feasible_point():
    instance = random_coupled(1, 3, 3, 6)
    keep = np.ones(9, bool)
    for allowed in (0, 1, 5, 40):
        seconds_left, made = calls(allowed)
        result = solve_coupled(instance, keep, uncoupled, gap=1e-6, seconds_left=seconds_left)
        assert result.timed_out and len(made) <= allowed + 10
        assert result.objective_s is not None
        assert_checked(instance, result)


def test_more_effort_is_no_worse_and_the_seed_decides():
    instance = random_coupled(2, 3, 3, 5)
    short, long = run(instance, effort=30), run(instance, effort=300)
    assert long.objective_s <= short.objective_s
    again = run(instance, effort=300)
    assert again.objective_s == long.objective_s and (again.schedule == long.schedule).all()
    np.testing.assert_array_equal(again.power_w, long.power_w)


@given(
    seed=st.integers(0, 2**32 - 1),
    cells=st.integers(1, 3),
    devices=st.integers(0, 3),
    rbs=st.integers(1, 5),
    slots=st.integers(1, 3),
    load=st.floats(0, 0.5),
    beta=st.sampled_from([0.0, 0.5, 5.0]),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_result_passes_the_checker(seed, cells, devices, rbs, slots, load, beta):
    rng = np.random.default_rng(seed)
    instance = random_coupled(seed, cells, devices, rbs, free=rng.random((cells, rbs)) >= load, sinr_min=beta)
    data = np.where(rng.random(cells * devices) < 0.8, instance.data_bits, 0.0)
    gain = np.where(rng.random(instance.shape) < 0.9, instance.gain, 0.0)
    instance = dataclasses.replace(instance, data_bits=data, gain=gain)
    keep = rng.random(cells * devices) < 0.8
    result = run(instance, keep, framed(slots), effort=40)
    assert_checked(instance, result, keep)
    if result.left_out:
        rest = keep & ~np.isin(np.arange(cells * devices), result.left_out)
        assert run(instance, rest, framed(slots), effort=100).objective_s is not None
