import dataclasses
import itertools
import json
import pickle

import numpy as np
import pytest
import small_rrm as rrm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.check import check
from optimizer.instance import load_solution, save_solution, summary
from optimizer.make_instance import make_instance
from optimizer.solve import MODES, Options, solve

EXACT = dict(mode="literal", gap=1e-5, time_limit_s=60)


def passes(instance, solution):
    return all(finding.holds for finding in check(instance, solution))


@pytest.mark.parametrize("solver", ["auto", "gurobi", "scip"])
@pytest.mark.parametrize(("devices", "rbs"), [(1, 1), (1, 5), (2, 2), (2, 6), (3, 3), (3, 5), (4, 4)])
def test_exact_path_equals_brute_force(solver, devices, rbs):
    for seed in range(4):
        instance = rrm.random_instance(seed, devices, rbs)
        best = rrm.brute_force_s(instance)
        solution = solve(instance, Options(solver=solver, admission=False, **EXACT))
        if np.isinf(best):
            assert solution.status == "infeasible" and solution.infeasible_because
            continue
        assert solution.status == "optimal"
        assert solution.objective_s == pytest.approx(best, rel=2e-5)
        assert solution.lower_bound_s <= best * (1 + 1e-9)
        np.testing.assert_allclose(rrm.delays(instance, solution.schedule[0, 0]), solution.delay_s, rtol=1e-9)


@given(
    seed=st.integers(0, 2**32 - 1),
    devices=st.integers(1, 3),
    rbs=st.integers(1, 5),
    load=st.floats(0, 0.6),
    beta=st.sampled_from([0.0, 0.5, 20.0, 300.0]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_small_instances(seed, devices, rbs, load, beta):
    free = np.random.default_rng(seed).random((1, rbs)) >= load
    instance = rrm.random_instance(seed, devices, rbs, free=free, sinr_min=beta)
    best = rrm.brute_force_s(instance)
    strict = solve(instance, Options(admission=False, **EXACT))
    assert strict.feasible == np.isfinite(best)
    assert passes(instance, strict)
    solution = solve(instance, Options(**EXACT))
    assert solution.feasible and passes(instance, solution)
    kept = np.flatnonzero(~solution.to_zigbee)
    most = max(
        len(chosen)
        for size in range(devices + 1)
        for chosen in itertools.combinations(range(devices), size)
        if not chosen or np.isfinite(rrm.brute_force_s(instance, chosen))
    )
    assert len(kept) == most  # admission refuses no more than it must
    if kept.size:
        assert solution.objective_s == pytest.approx(rrm.brute_force_s(instance, kept.tolist()), rel=2e-5)


def test_heuristic_alone_is_feasible_and_says_its_gap():
    for seed, mode in itertools.product(range(5), MODES):
        instance = rrm.random_instance(seed, 6, 20)
        quick, exact = (
            solve(instance, Options(mode=mode, **other)) for other in (dict(solver="heuristic"), dict(gap=1e-3))
        )
        assert passes(instance, quick) and quick.solver == "heuristic"
        assert quick.lower_bound_s <= exact.objective_s * (1 + 1e-9)
        assert exact.lower_bound_s <= quick.objective_s * (1 + 1e-9)
        assert quick.gap == pytest.approx(quick.objective_s / quick.lower_bound_s - 1)
        assert (quick.status == "optimal") == (quick.gap <= 0.01)


def test_permuting_devices_and_rbs_changes_nothing():
    instance, rng = rrm.random_instance(7, 4, 9), np.random.default_rng(0)
    plain = solve(instance, Options(**EXACT))
    devices, rbs = rng.permutation(4), rng.permutation(9)
    moved = rrm.make_instance(instance.gain[devices][:, 0][:, rbs], instance.data_bits[devices])
    other = solve(moved, Options(**EXACT))
    assert other.objective_s == pytest.approx(plain.objective_s, rel=3e-5)


def test_units_scale():
    instance = rrm.random_instance(8, 4, 9)
    plain = solve(instance, Options(**EXACT))
    # Gains and noise in a unit a million million times as small; data and bandwidth in a unit 1,000 times as large.
    scaled = dataclasses.replace(
        instance,
        gain=instance.gain * 1e-12,
        noise_w=instance.noise_w * 1e-12,
        data_bits=instance.data_bits * 1e3,
        rb_bandwidth_hz=instance.rb_bandwidth_hz * 1e3,
    )
    assert solve(scaled, Options(**EXACT)).objective_s == pytest.approx(plain.objective_s, rel=3e-5)
    later = dataclasses.replace(instance, data_bits=instance.data_bits * 10)
    assert solve(later, Options(**EXACT)).objective_s == pytest.approx(10 * plain.objective_s, rel=3e-5)


def test_more_power_more_rbs_or_less_data_is_never_worse():
    instance = rrm.random_instance(9, 4, 8, sinr_min=0.0)
    fewer = instance.free.copy()
    fewer[0, :2] = False

    def objective(**change):
        return solve(dataclasses.replace(instance, **change), Options(**EXACT)).objective_s

    assert objective(p_max_w=2.0) <= objective() * (1 + 3e-5)
    assert objective(data_bits=instance.data_bits * 0.9) <= objective() * (1 + 3e-5)
    assert objective() <= objective(free=fewer) * (1 + 3e-5)


def test_cells_are_solved_each_for_itself():
    one, two = rrm.random_instance(1, 2, 5), rrm.random_instance(2, 3, 5)
    gain = np.ones((5, 2, 5))
    gain[:2, 0], gain[2:, 1] = one.gain[:, 0], two.gain[:, 0]
    both = rrm.make_instance(np.ones((5, 5)), np.concatenate([one.data_bits, two.data_bits]))
    both = dataclasses.replace(
        both,
        gain=gain,
        serving=np.array([0, 0, 1, 1, 1]),
        free=np.ones((2, 5), bool),
        interference_w=np.zeros((2, 5)),
    )
    solution = solve(both, Options(**EXACT))
    alone = [solve(part, Options(**EXACT)) for part in (one, two)]
    assert passes(both, solution)
    assert solution.objective_s == pytest.approx(max(part.objective_s for part in alone), rel=3e-5)
    assert solution.schedule.shape == (2, 1, 5)
    assert set(solution.schedule[0].ravel()) <= {-1, 0, 1} and set(solution.schedule[1].ravel()) <= {-1, 2, 3, 4}


def test_no_devices():
    solution = solve(rrm.make_instance(np.empty((0, 3)), []))
    assert solution.status == "optimal" and solution.objective_s == 0.0 and solution.delay_s.shape == (0,)


def test_devices_without_data_take_no_rb_and_have_no_delay():
    instance = rrm.make_instance([[100.0, 50.0], [80.0, 90.0]], [0.0, 1e6])
    solution = solve(instance, Options(**EXACT))
    assert passes(instance, solution)
    assert solution.delay_s[0] == 0 and 0 not in solution.schedule
    assert solution.objective_s == pytest.approx(rrm.brute_force_s(instance, [1]), rel=1e-5)


@pytest.mark.parametrize("admitted", [True, False])
def test_all_rbs_taken(admitted):
    instance = rrm.make_instance([[100.0, 50.0]], [1e6], free=np.zeros((1, 2), bool))
    solution = solve(instance, Options(admission=admitted))
    if admitted:
        assert solution.to_zigbee.all() and solution.feasible
        (step,) = [step for step in solution.reflexion if step["action"] == "admission"]
        assert "1 devices want an RB and 0 are free" in step["because"][0]
    else:
        assert solution.status == "infeasible" and solution.objective_s is None
        assert "0 are free" in solution.infeasible_because[0]
    assert passes(instance, solution)


def test_more_devices_than_rbs_sends_the_costliest_to_zigbee():
    gain = np.full((4, 2), 1000.0)
    instance = rrm.make_instance(gain, [4e5, 1e5, 3e5, 2e5])
    solution = solve(instance, Options(**EXACT))
    np.testing.assert_array_equal(solution.to_zigbee, [True, False, True, False])
    assert np.isnan(solution.delay_s[[0, 2]]).all()
    assert solution.objective_s == pytest.approx(2e5 / (180e3 * np.log2(1001)))
    assert [step["action"] for step in solution.reflexion[-2:]] == ["admission", "solve"]


def test_device_out_of_reach_is_named_and_only_it_is_refused():
    gain = np.array([[1000.0, 900.0, 1000.0], [0.0, 0.0, 0.0], [0.4, 0.1, 0.2]])
    solution = solve(rrm.make_instance(gain, [1e5, 1e5, 1e5]), Options(admission=False))
    assert [reason.split(":")[1].strip() for reason in solution.infeasible_because] == ["device 1", "device 2"]
    assert "best SINR -4.0 dB at full power on one RB, below the -3.0 dB needed" in solution.infeasible_because[1]
    admitted = solve(rrm.make_instance(gain, [1e5, 1e5, 1e5]))
    np.testing.assert_array_equal(admitted.to_zigbee, [False, True, True])


def test_two_devices_that_need_the_same_rb():
    gain = np.array([[1000.0, 0.1], [900.0, 0.1]])
    instance = rrm.make_instance(gain, [1e5, 1e5])
    strict = solve(instance, Options(mode="literal", admission=False))
    assert len(strict.infeasible_because) == 1 and "device 1" in strict.infeasible_because[0]
    shared = solve(instance, Options(frame=2, admission=False))  # in turns, they can share it
    assert passes(instance, shared) and shared.objective_s == pytest.approx(rrm.brute_force_s(instance, frame=2))


def test_beta_caps_the_number_of_rbs():
    # With two RBs the SINR would be 0.9 on each, below 1: one RB each time, though two would be faster.
    instance = rrm.make_instance([[1.8, 1.8, 1.8]], [1e5], sinr_min=1.0)
    solution = solve(instance, Options(**EXACT))
    assert (solution.schedule >= 0).sum() == 1
    assert solution.objective_s == pytest.approx(1e5 / (180e3 * np.log2(2.8)))
    assert (solve(dataclasses.replace(instance, sinr_min=0.5), Options(**EXACT)).schedule >= 0).sum() == 3


def test_time_limit_returns_the_best_so_far_with_its_gap():
    instances = (rrm.random_instance(seed, 8, 20) for seed in range(50))
    instance = next(i for i in instances if solve(i, Options(solver="heuristic")).gap > 1e-3)
    solution = solve(instance, Options(gap=1e-9, time_limit_s=1e-6))
    assert solution.status == "time_limit"
    assert passes(instance, solution) and solution.gap > 0


@pytest.mark.parametrize("mode", MODES)
def test_coupled_cells(mode):
    instance = make_instance(12, 3, 10, 0.2, 1, coupled=True)
    solution = solve(instance, Options(mode=mode, time_limit_s=2.0))
    assert passes(instance, solution) and solution.feasible
    apart = solve(dataclasses.replace(instance, coupled=False), Options(mode=mode))
    assert apart.lower_bound_s <= solution.objective_s  # interference only hurts


def test_coupled_devices_without_a_place_go_to_zigbee():
    # Two cells with one RB, whose devices hear the other cell as well as their own: SINR under 1 for one of them.
    instance = dataclasses.replace(
        rrm.make_instance(np.full((2, 1), 100.0), [1e5, 1e5], sinr_min=2.0),
        gain=np.full((2, 2, 1), 100.0),
        serving=np.array([0, 1]),
        free=np.ones((2, 1), bool),
        interference_w=np.zeros((2, 1)),
        coupled=True,
    )
    admitted = solve(instance, Options(mode="literal", time_limit_s=1.0))
    assert passes(instance, admitted) and admitted.to_zigbee.sum() == 1
    strict = solve(instance, Options(mode="literal", admission=False, time_limit_s=1.0))
    assert strict.status == "infeasible" and strict.infeasible_because
    in_turns = solve(instance, Options(frame=2, admission=False, time_limit_s=1.0))
    assert passes(instance, in_turns) and in_turns.objective_s == pytest.approx(2e5 / (180e3 * np.log2(101)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(mode="magic"), "mode"),
        (dict(frame=0), "frame"),
        (dict(frame=2.5), "frame"),
        (dict(mode="literal", frame=10), "frame"),
        (dict(solver="cplex"), "solver: 'cplex'"),
        (dict(gap=0.0), "gap"),
        (dict(time_limit_s=0), "time_limit_s"),
        (dict(gap=float("nan")), "gap"),
    ],
)
def test_bad_options_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Options(**wrong)


def test_reflexion_and_summary_are_plain_data(tmp_path):
    instance = rrm.random_instance(5, 3, 6)
    solution = solve(instance)
    text = json.loads(json.dumps(summary(solution)))
    assert {"status", "objective_s", "lower_bound_s", "gap", "bound", "solver", "seconds", "iterations"} <= set(text)
    checked = {c["constraint"] for c in text["reflexion"][-1]["checked"]}
    assert {"exclusive", "free_rbs", "power", "sinr", "served", "delay", "objective", "bound", "certificate"} <= checked
    save_solution(solution, tmp_path / "out")
    again = load_solution(tmp_path / "out")
    assert passes(instance, again) and summary(again) == summary(solution)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(solution)).schedule, solution.schedule)
    assert solution.schedule.dtype == np.int32


# --- Frames mode ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "rbs", "frame"), [(1, 3, 2), (2, 2, 3), (2, 3, 2), (3, 2, 2), (3, 2, 3), (4, 2, 2)]
)
def test_frames_against_brute_force(devices, rbs, frame):
    for seed in range(4):
        instance = rrm.random_instance(seed, devices, rbs, sinr_min=[0.0, 0.5, 5.0][seed % 3])
        best = rrm.brute_force_s(instance, frame=frame)
        solution = solve(instance, Options(frame=frame, admission=False))
        assert solution.feasible == np.isfinite(best)
        assert passes(instance, solution)
        if solution.feasible:
            assert solution.lower_bound_s <= best * (1 + 1e-9)
            assert best * (1 - 1e-9) <= solution.objective_s <= 1.35 * best


@given(
    seed=st.integers(0, 2**32 - 1),
    devices=st.integers(1, 12),
    rbs=st.integers(1, 10),
    frame=st.integers(1, 30),
    load=st.floats(0, 0.6),
    beta=st.sampled_from([0.0, 0.5, 20.0, 300.0]),
    solver=st.sampled_from(["auto", "heuristic"]),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_frames_are_feasible_and_their_bound_is_proven(seed, devices, rbs, frame, load, beta, solver):
    free = np.random.default_rng(seed).random((1, rbs)) >= load
    instance = rrm.random_instance(seed, devices, rbs, free=free, sinr_min=beta)
    solution = solve(instance, Options(frame=frame, solver=solver))
    assert solution.feasible and passes(instance, solution)
    assert solution.schedule.shape[1] == (frame if not solution.to_zigbee.all() else solution.schedule.shape[1])


def test_default_frames_reach_the_gap_asked_for():
    for seed, (devices, rbs) in enumerate([(4, 12), (10, 25), (30, 12), (60, 40), (40, 90)]):
        instance = rrm.random_instance(seed, devices, rbs)
        solution = solve(instance)
        assert passes(instance, solution)
        assert solution.status == "optimal" and solution.gap <= 0.01 and not solution.to_zigbee.any()


def test_frames_are_no_slower_than_literal():
    for seed in range(4):
        instance = rrm.random_instance(seed, 8, 20)
        literal = solve(instance, Options(**EXACT))
        assert solve(instance).lower_bound_s <= literal.objective_s  # each RB could be held throughout


def test_one_device_alone_is_water_filling():
    instance = rrm.random_instance(3, 1, 12, sinr_min=0.0)
    alone = rrm.delays(instance, np.zeros(12, int))[0]
    for options in (Options(frame=5), Options(**EXACT)):
        solution = solve(instance, options)
        assert solution.objective_s == pytest.approx(alone, rel=1e-6)
        assert solution.lower_bound_s == pytest.approx(alone, rel=1e-6)


def test_devices_alike_share_the_frame_evenly():
    # 6 devices alike on 4 flat RBs: each holds 4/6 of an RB, at full power while it sends.
    instance = rrm.make_instance(np.full((6, 4), 100.0), np.full(6, 1e6))
    solution = solve(instance, Options(frame=30))
    best = 1e6 / (180e3 * np.log2(101) * 4 / 6)
    assert solution.objective_s == pytest.approx(best) and solution.lower_bound_s == pytest.approx(best)
    assert [(solution.schedule == i).sum() for i in range(6)] == [20] * 6


@pytest.mark.parametrize("mode", MODES)
def test_an_easier_problem_is_never_proven_slower(mode):
    instance = rrm.random_instance(9, 6, 12)
    fewer = instance.free.copy()
    fewer[0, :2] = False
    base = solve(instance, Options(mode=mode))
    for easier in (
        dataclasses.replace(instance, p_max_w=2.0),
        dataclasses.replace(instance, data_bits=instance.data_bits * 0.9),
        dataclasses.replace(instance, sinr_min=0.0),
    ):
        assert solve(easier, Options(mode=mode)).lower_bound_s <= base.objective_s
    assert base.lower_bound_s <= solve(dataclasses.replace(instance, free=fewer), Options(mode=mode)).objective_s


@pytest.mark.parametrize("mode", MODES)
def test_order_and_units_change_nothing_in_any_mode(mode):
    instance, rng = rrm.random_instance(11, 8, 10), np.random.default_rng(0)
    plain = solve(instance, Options(mode=mode))
    devices, rbs = rng.permutation(8), rng.permutation(10)
    moved = rrm.make_instance(instance.gain[devices][:, 0][:, rbs], instance.data_bits[devices])
    scaled = dataclasses.replace(
        instance,
        gain=instance.gain * 1e-13,
        noise_w=instance.noise_w * 1e-15,
        p_max_w=instance.p_max_w * 1e-2,
        data_bits=instance.data_bits * 1e3,
        rb_bandwidth_hz=instance.rb_bandwidth_hz * 1e3,
    )
    for other in (solve(moved, Options(mode=mode)), solve(scaled, Options(mode=mode))):
        assert other.lower_bound_s <= plain.objective_s * (1 + 1e-9)
        assert plain.lower_bound_s <= other.objective_s * (1 + 1e-9)


def test_same_instance_same_solution():
    instance = rrm.random_instance(12, 9, 14)
    for options in (Options(), Options(mode="literal")):
        one, two = solve(instance, options), solve(instance, options)
        np.testing.assert_array_equal(one.schedule, two.schedule)
        np.testing.assert_array_equal(one.power_w, two.power_w)


@pytest.mark.parametrize("mode", MODES)
def test_warm_start_where_little_changed(mode):
    instance, rng = rrm.random_instance(13, 8, 20), np.random.default_rng(0)
    first = solve(instance, Options(mode=mode, frame=None if mode == "literal" else 60))
    data = instance.data_bits * rng.uniform(0.999, 1.001, 8)
    changed = dataclasses.replace(instance, data_bits=data)
    options = Options(mode=mode, frame=None if mode == "literal" else 60, gap=0.1)
    again = solve(changed, options, warm=first)
    assert passes(changed, again) and again.gap <= 0.1
    assert again.iterations < solve(changed, options).iterations
    other = rrm.random_instance(14, 5, 9)
    unfitting = solve(other, Options(mode=mode), warm=first)  # of another size: it is left aside
    assert passes(other, unfitting)


def test_reference_path_agrees_in_frames_mode():
    instance = rrm.random_instance(15, 5, 8)
    core, gurobi = solve(instance, Options(frame=20)), solve(instance, Options(frame=20, solver="gurobi"))
    assert gurobi.solver == "gurobi" and passes(instance, gurobi)
    assert gurobi.lower_bound_s == pytest.approx(core.lower_bound_s, rel=1e-3)
    scip = solve(instance, Options(frame=20, solver="scip"))
    assert scip.solver == "scip" and passes(instance, scip) and scip.gap <= 0.02


def test_frames_in_no_time_at_all():
    instance = rrm.random_instance(16, 30, 20)
    solution = solve(instance, Options(time_limit_s=1e-3, gap=1e-6))
    assert passes(instance, solution) and solution.status == "time_limit"
    assert solution.bound == "counting" or solution.certificate["fluid_bound_s"] > 0
