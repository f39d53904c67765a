"""Reflexion on instances whose answers are known by hand or by brute force."""

import dataclasses
import itertools
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import small_rrm as rrm
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import actions, diagnosis, reflexion
from optimizer.actions import Setting, applicable, apply, as_json, find_conflicts, first_setting, solved_instance
from optimizer.check import check
from optimizer.instance import load_solution, save_solution, summary
from optimizer.make_instance import make_instance
from optimizer.parallel import capped
from optimizer.reflexion import Reflexion, reflect, try_setting
from optimizer.solve import Options, solve

B = 180e3  # Hz, of small_rrm's RBs
LITERAL = Options(mode="literal", gap=1e-5)


def plausible(snr, data_bits, **other):
    """One cell with this SINR [N, M] at full power, in watts and gains that nobody doubts."""
    return rrm.make_instance(np.asarray(snr, float) * 1e-14, data_bits, **(dict(noise_w=1e-14) | other))


def actions_of(solution):
    return [step["action"] for step in solution.reflexion]


def passes(instance, solution):
    return all(finding.holds for finding in check(instance, solution))


def conflicts_of(instance, options=LITERAL):
    return find_conflicts(instance, first_setting(instance, options), options)


def tried(instance, options, **changes):
    return try_setting(instance, replace(first_setting(instance, options), **changes), options, lambda: 10.0)


# --- Conflicts --------------------------------------------------------------------------------------------------------


def test_nothing_in_the_way():
    assert conflicts_of(plausible([[9.0, 9.0]], [1e5])) == ()


def test_out_of_reach_says_by_how_much():
    (conflict,) = conflicts_of(plausible([[0.25, 0.1, 90.0], [9.0, 9.0, 9.0]], [1e5, 1e5], free=[[True, True, False]]))
    assert isinstance(conflict, diagnosis.OutOfReach) and (conflict.cell, conflict.device) == (0, 0)
    assert conflict.best_sinr_db == pytest.approx(-6.0206, abs=1e-4)
    assert conflict.sinr_min_db == pytest.approx(-3.0103, abs=1e-4)
    assert conflict.short_db == pytest.approx(3.0103, abs=1e-4)
    assert conflict.texts() == ["cell 0: device 0: best SINR -6.0 dB at full power on one RB, below the -3.0 dB needed"]


def test_no_gain_at_all_is_out_of_reach_by_no_number():
    (conflict,) = conflicts_of(plausible([[0.0]], [1e5]))
    assert conflict.best_sinr_db is None and conflict.short_db is None and "best SINR none" in conflict.texts()[0]


def test_fewer_rbs_than_devices():
    (conflict,) = conflicts_of(plausible([[9.0]] * 3, [3e5, 1e5, 2e5]))
    assert isinstance(conflict, diagnosis.NoRoom)
    assert (conflict.devices, conflict.rivals, conflict.rbs) == ((0, 2), (1,), (0,))
    assert conflict.least_frame == 3
    assert conflict.texts()[0] == "cell 0: device 0: 3 devices want an RB and 1 are free"


def test_no_free_rb():
    (conflict,) = conflicts_of(plausible([[9.0]], [1e5], free=[[False]]))
    assert conflict.devices == (0,) and conflict.least_frame is None
    assert "1 devices want an RB and 0 are free" in conflict.texts()[0]


def test_devices_that_all_need_the_same_rbs():
    snr = np.full((4, 5), 9.0)
    snr[:3, 2:] = 0.1  # three devices reach beta on RBs 0 and 1 only
    (conflict,) = conflicts_of(plausible(snr, [1e5, 3e5, 2e5, 9e5]))
    assert (conflict.devices, conflict.rivals, conflict.rbs) == ((1,), (0, 2), (0, 1))
    assert conflict.texts() == ["cell 0: device 1: 3 devices reach the SINR needed on the same 2 RBs only"]


def test_a_deadline_below_the_certified_bound():
    instance = plausible([[3.0]], [1e6])  # 2 bit/s/Hz: 2.78 s
    trial = tried(instance, replace(LITERAL, max_delay_s=1.0))
    (conflict,) = trial.conflicts
    assert isinstance(conflict, diagnosis.Late) and conflict.proven
    assert conflict.proven_s == pytest.approx(1e6 / (2 * B)) == conflict.reached_s
    assert conflict.devices == conflict.costliest == (0,)
    told = {finding.constraint: finding for finding in trial.findings}["max_delay"]
    assert not told.holds and told.slack == pytest.approx(1 - 1e6 / (2 * B))


@given(seed=st.integers(0, 2**32 - 1), devices=st.integers(1, 4), rbs=st.integers(1, 5), part=st.floats(0.2, 0.99))
@settings(max_examples=50, deadline=None)
def test_devices_named_by_a_missed_deadline_are_irreducible(seed, devices, rbs, part):
    """On RBs that are all alike, counting is exact, and brute force must agree with it."""
    rng = np.random.default_rng(seed)
    snr = np.repeat(10 ** rng.uniform(0.5, 3, (devices, 1)), rbs, axis=1)
    instance = plausible(snr, rng.uniform(1e5, 2e6, devices), sinr_min=0.0)
    fastest = rrm.brute_force_s(instance)
    if not np.isfinite(fastest):
        return
    deadline = part * fastest
    (conflict,) = tried(instance, replace(LITERAL, max_delay_s=deadline)).conflicts
    assert conflict.proven and conflict.proven_s == pytest.approx(fastest, rel=2e-5)
    assert rrm.brute_force_s(instance, conflict.devices) > deadline
    for one in conflict.devices:
        rest = [device for device in conflict.devices if device != one]
        assert not rest or rrm.brute_force_s(instance, rest) <= deadline
    kept = [device for device in range(devices) if device not in conflict.costliest]
    assert not kept or rrm.brute_force_s(instance, kept) <= deadline
    fewer = len(conflict.costliest) - 1  # refusing fewer devices would not do, whichever
    for chosen in itertools.combinations(range(devices), devices - fewer):
        assert rrm.brute_force_s(instance, chosen) > deadline


def test_a_cap_that_is_too_low_says_which_would_do():
    instance = plausible([[12.0] * 4], [1e6])  # k RBs: k log2(1 + 12 / k) = 3.7, 5.6, 7.0, 8
    deadline = 1e6 / (B * 6.9)
    options = replace(LITERAL, max_delay_s=deadline, parallel_cap=2)
    conflicts = tried(instance, options, parallel_cap=2).conflicts
    low = next(conflict for conflict in conflicts if isinstance(conflict, diagnosis.CapTooLow))
    assert (low.device, low.cap, low.least_cap) == (0, 2, 3)
    assert low.alone_s == pytest.approx(1e6 / (B * 2 * np.log2(7)))
    options = replace(options, max_delay_s=deadline / 100)
    low = tried(instance, options, parallel_cap=2).conflicts[0]
    assert low.least_cap is None


def test_more_rbs_at_a_time_than_allowed():
    trial = tried(plausible([[12.0] * 4], [1e6]), replace(LITERAL, parallel_cap=2))
    assert trial.conflicts == (diagnosis.OverCap(parallel=4, cap=2),)
    assert {f.constraint: f.slack for f in trial.findings}["parallel_cap"] == -2


def test_time_runs_out():
    instance = plausible([[3.0], [3.0]], [1e6, 2e6])
    options = Options(frame=2, max_delay_s=1.0, longest_delay_s=1.0, time_limit_s=7.0)
    solution = reflect(instance, options, lambda: 0.0)
    assert solution.status == "infeasible" and actions_of(solution) == ["solve", "admission"]
    assert solution.infeasible_because[-1].startswith("time limit: 7 s have passed")
    assert any("deadline 1 s" in reason for reason in solution.infeasible_because)
    assert passes(instance, solution)


# --- Data and units ---------------------------------------------------------------------------------------------------


def test_numbers_in_a_wrong_unit_are_doubted():
    good = plausible([[9.0, 9.0]], [1e6])
    assert diagnosis.implausible(good) == ()
    wrong = {
        "gain": dict(gain=good.gain * 1e15),
        "noise_w": dict(noise_w=1e-7),
        "p_max_w": dict(p_max_w=23.0),
        "sinr_min": dict(sinr_min=2000.0),
        "data_bits": dict(data_bits=np.array([1e12])),
    }
    for name, change in wrong.items():
        texts = diagnosis.implausible(replace(good, **change))
        assert [text for text in texts if text.startswith(f"{name}: ")], name


def test_doubts_are_told_first_and_only_once_and_change_nothing():
    instance = rrm.make_instance([[100.0]] * 3, [1e5, 2e5, 3e5])  # noise of 1 W
    solution = solve(instance, LITERAL)
    assert actions_of(solution) == ["data_and_units", "admission", "solve"]
    assert any("noise_w: 1 W" in text for text in solution.reflexion[0]["because"])
    assert actions_of(solve(rrm.make_instance([[100.0]], [1e5]), LITERAL)) == ["solve"]  # nothing to doubt them for


def test_no_action_can_touch_power_noise_or_data():
    fields = {field.name for field in dataclasses.fields(Setting)}
    assert fields == {"frame", "max_delay_s", "sinr_min", "parallel_cap", "refused", "opened", "data_checked"}
    instance = plausible([[9.0, 9.0]], [1e6], free=[[True, False]])
    setting = replace(first_setting(instance, LITERAL), opened=((0, 1),), sinr_min=0.1)
    changed = actions.changed_instance(instance, setting)
    differ = [
        field.name
        for field in dataclasses.fields(instance)
        if not np.array_equal(getattr(instance, field.name), getattr(changed, field.name))
    ]
    assert differ == ["free", "sinr_min"]
    assert not instance.free[0, 1]


# --- Actions ----------------------------------------------------------------------------------------------------------

ALL = Options(frame=1, longest_frame=9, max_delay_s=1.0, parallel_cap=1, spare_rbs=2, sinr_waiver_db=10.0)


def all_conflicts():
    """An instance with noise to doubt, a device out of reach (1) and no room (0, 2 on RB 0), and conflicts of all
    kinds. A waiver of 0.46 dB would open RB 1 to device 0 and RB 2 to device 1."""
    instance = rrm.make_instance(
        [[9.0, 0.45, 0.1, 9.0, 9.0], [0.1, 0.45, 0.45, 9.0, 9.0], [9.0, 0.1, 0.1, 0.1, 0.1]],
        [3e4, 2e4, 1e4],
        free=[[True, True, True, False, False]],
        interference_w=[[0, 0, 0, 0.2, 0.1]],
    )
    found = conflicts_of(instance, ALL)
    assert {type(conflict) for conflict in found} == {diagnosis.OutOfReach, diagnosis.NoRoom}
    late = diagnosis.Late(0, 1.0, 0.9, "counting", 2.0, (), (2,), 1)
    return instance, (*found, late, diagnosis.OverCap(3, 1), diagnosis.FailedCheck("sinr", -1.0, "", "highs", 3))


def test_actions_come_in_the_order_agreed():
    instance, conflicts = all_conflicts()
    kinds = [action.kind for action in applicable(instance, first_setting(instance, ALL), conflicts, ALL)]
    assert kinds == [
        *("data_and_units", "larger_delay", "longer_frame", "cap_parallel", "admission", "more_rbs", "waive_sinr")
    ]


@pytest.mark.parametrize(
    ("withdrawn", "gone"),
    [
        (dict(longest_delay_s=1.0), "larger_delay"),
        (dict(longest_frame=None), "longer_frame"),
        (dict(admission=False), "admission"),
        (dict(spare_rbs=0), "more_rbs"),
        (dict(sinr_waiver_db=0.0), "waive_sinr"),
    ],
)
def test_what_is_not_allowed_is_not_offered(withdrawn, gone):
    instance, conflicts = all_conflicts()

    def offered(options):
        return {action.kind for action in applicable(instance, first_setting(instance, options), conflicts, options)}

    assert offered(ALL) - offered(replace(ALL, **withdrawn)) == {gone}


def test_without_conflicts_nothing_is_offered():
    instance, _ = all_conflicts()
    assert applicable(instance, first_setting(instance, ALL), (), ALL) == ()


def test_every_action_changes_its_own_part_of_the_setting():
    instance, conflicts = all_conflicts()
    start = first_setting(instance, ALL)
    changed = {}
    for action in applicable(instance, start, conflicts, ALL):
        after = apply(action, start)
        changed[action.kind] = {name: value for name, value in vars(after).items() if value != getattr(start, name)}
    assert changed == {
        "data_and_units": {"data_checked": True},
        "larger_delay": {"max_delay_s": 2.0},
        "longer_frame": {"frame": 2},
        "cap_parallel": {"parallel_cap": 1},
        "admission": {"refused": (0, 1)},
        "more_rbs": {"opened": ((0, 3), (0, 4))},
        "waive_sinr": {"sinr_min": pytest.approx(0.5 * 10**-0.046)},
    }
    assert start == first_setting(instance, ALL)


def test_conflicts_and_actions_are_plain_json():
    instance, conflicts = all_conflicts()
    conflicts += (diagnosis.CapTooLow(0, 0, 1, None, 2.0, 1.0), diagnosis.TimeOut(1.0))
    for thing in (*conflicts, *applicable(instance, first_setting(instance, ALL), conflicts, ALL)):
        data = as_json(thing)
        assert data["kind"] == thing.kind and json.loads(json.dumps(data, allow_nan=False)) == data


# --- The loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        LITERAL,
        Options(frame=2, longest_frame=20, max_delay_s=0.5),
        Options(frame=4, max_delay_s=0.5, longest_delay_s=2.0, parallel_cap=2),
        Options(frame=4, max_delay_s=1e-3, admission=False, longest_delay_s=1e-3),
    ],
)
def test_step_by_step_is_the_same_as_at_once(options):
    for seed in range(6):
        instance = rrm.random_instance(seed, 5, 3)
        at_once = reflect(instance, options, lambda: 10.0)
        course = Reflexion.begin(instance, options).solve(lambda: 10.0)
        while course.solution is None:
            assert course.conflicts and course.offers[0] in applicable(
                instance, course.setting, course.conflicts, options
            )
            before = course
            course = pickle.loads(pickle.dumps(course)).take(course.offers[0]).solve(lambda: 10.0)
            assert before.solution is None and len(before.log.steps) < len(course.log.steps)
        assert course.solution.reflexion == at_once.reflexion
        assert summary(replace(course.solution, seconds=0.0)) == summary(replace(at_once, seconds=0.0))
        np.testing.assert_array_equal(course.solution.schedule, at_once.schedule)


def test_a_larger_delay_needs_no_new_solve(monkeypatch):
    instance, solves, honest = plausible([[3.0]], [1e6]), [], reflexion.attempt
    monkeypatch.setattr(reflexion, "attempt", lambda *given: solves.append(given) or honest(*given))
    solution = solve(instance, replace(LITERAL, max_delay_s=1.0))
    assert len(solves) == 1
    assert solution.feasible and actions_of(solution) == ["solve", "larger_delay", "check"]
    first, larger, again = solution.reflexion
    assert first["before"] is None and first["after"]["lower_bound_s"] == pytest.approx(1e6 / (2 * B))
    assert larger["max_delay_s"] == pytest.approx(1e6 / (2 * B))
    assert larger["before"] == first["after"] == again["before"] == larger["after"]
    assert [c["holds"] for c in again["checked"] if c["constraint"] == "max_delay"] == [True]


def test_a_deadline_that_may_not_move_sends_the_costliest_to_zigbee():
    instance = plausible(np.full((3, 3), 3.0), [1e6, 3e6, 1e6])  # an RB each: 2.78 s, 8.33 s, 2.78 s
    options = replace(LITERAL, max_delay_s=3.0, longest_delay_s=3.0)
    solution = solve(instance, options)
    assert actions_of(solution) == ["solve", "admission", "solve"]
    np.testing.assert_array_equal(solution.to_zigbee, [False, True, False])
    assert solution.objective_s <= 3.0 and passes(instance, solution)
    strict = solve(instance, replace(options, admission=False))
    assert strict.status == "infeasible" and "deadline 3 s" in strict.infeasible_because[0]
    assert strict.infeasible_because[0].endswith("can't be met")
    half = solve(instance, replace(options, longest_delay_s=3.5))
    assert actions_of(half) == ["solve", "larger_delay", "check", "admission", "solve"]
    assert half.reflexion[1]["max_delay_s"] == 3.5


def test_a_longer_frame_comes_before_admission():
    instance = plausible([[9.0]] * 3, [1e5, 2e5, 3e5])
    longer = solve(instance, Options(frame=1, longest_frame=10))
    assert actions_of(longer) == ["longer_frame", "solve"] and longer.reflexion[0]["frame"] == 3
    assert not longer.to_zigbee.any() and longer.schedule.shape[1] == 3 and passes(instance, longer)
    bit = solve(instance, Options(frame=1, longest_frame=2))  # the longest frame helps one; the costliest has to go
    assert actions_of(bit) == ["longer_frame", "admission", "solve"]
    np.testing.assert_array_equal(bit.to_zigbee, [False, False, True])
    kept = solve(instance, Options(frame=1))
    assert actions_of(kept) == ["admission", "solve"] and kept.to_zigbee.sum() == 2


def test_the_least_frame_is_found():
    snr = np.full((6, 3), 0.1)
    snr[:4, 0] = snr[4:, 1:] = 9.0  # four devices take turns on RB 0
    solution = solve(plausible(snr, [1e5] * 6), Options(frame=1, longest_frame=10, admission=False))
    assert solution.schedule.shape[1] == 4 and actions_of(solution)[-1] == "solve"


def test_the_frame_doubles_while_rounding_costs_the_deadline():
    instance = plausible([[9.0], [9.0]], [1e5, 2e5])  # in turns 1 : 2, no frame of 2 slots can do that
    best = 3e5 / (B * np.log2(10))
    options = Options(frame=2, longest_frame=12, max_delay_s=1.2 * best, longest_delay_s=1.2 * best)
    solution = solve(instance, options)
    assert actions_of(solution) == ["solve", "longer_frame", "solve"]
    assert solution.reflexion[1]["frame"] == 8  # of 4 slots, 2 and 3 would be needed
    assert solution.objective_s <= 1.2 * best and not solution.to_zigbee.any()
    slow = solve(replace(instance, slot_s=1.2 * best / 3.5), options)
    assert slow.reflexion[1]["frame"] == 3 and slow.objective_s <= 1.2 * best  # no longer than the deadline


def test_out_of_reach_devices_do_not_shorten_the_frame_of_the_others():
    instance = plausible([[9.0]] * 5 + [[0.1]], [1e5] * 6)
    solution = solve(instance)
    np.testing.assert_array_equal(solution.to_zigbee, [False] * 5 + [True])
    alone = solve(plausible([[9.0]] * 5, [1e5] * 5))
    assert actions_of(solution) == ["admission", "solve"]
    assert solution.schedule.shape == alone.schedule.shape and solution.objective_s == alone.objective_s


def test_a_cap_on_parallel_rbs_is_kept_with_the_power_spread_anew():
    instance = plausible([[12.0, 11.0, 10.0, 9.0]], [1e6])
    solution = solve(instance, replace(LITERAL, parallel_cap=2))
    assert actions_of(solution) == ["solve", "cap_parallel", "check"]
    assert (solution.schedule >= 0).sum() == 2 and passes(instance, solution)
    assert solution.objective_s == pytest.approx(1e6 / (B * rrm.fastest([12.0, 11.0], 0.5)))
    assert solution.status == "feasible" and solution.gap > 0.01  # the bound is that without the cap
    assert actions_of(solve(instance, replace(LITERAL, parallel_cap=4))) == ["solve"]


@pytest.mark.parametrize("mode", ["literal", "frames"])
def test_a_cap_holds_in_cells_that_disturb_each_other(mode):
    instance = make_instance(6, 2, 12, 0.0, 1, coupled=True)
    frame = 4 if mode == "frames" else None
    solution = solve(instance, Options(mode=mode, frame=frame, parallel_cap=2, time_limit_s=1.0))
    assert "cap_parallel" in actions_of(solution) and passes(instance, solution) and solution.feasible
    held = [(slot == device).sum() for cell in solution.schedule for slot in cell for device in range(6)]
    assert max(held) == 2
    thinner = capped(instance, solution, 1, gap=0.01)
    kept = thinner.schedule >= 0
    assert kept.sum() < (solution.schedule >= 0).sum() and passes(instance, thinner)
    np.testing.assert_array_equal(thinner.power_w[kept], solution.power_w[kept])  # no louder for the other cells


@pytest.mark.parametrize("mode", ["literal", "frames"])
def test_a_cap_holds_in_every_slot(mode):
    instance = rrm.random_instance(3, 3, 12)
    frame = 4 if mode == "frames" else None
    solution = solve(instance, Options(mode=mode, frame=frame, parallel_cap=2))
    held = [(slot == device).sum() for slot in solution.schedule[0] for device in range(3)]
    assert max(held) == 2 and passes(instance, solution)


def test_a_solution_with_broken_sinr_gets_a_cap_until_it_holds():
    instance = plausible([[100.0] * 8], [1e6])

    def strict(instance, solution):
        findings = check(instance, solution)
        too_many = (solution.schedule >= 0).sum() > 2
        return tuple(replace(f, holds=not too_many) if f.constraint == "sinr" else f for f in findings)

    solution = reflect(instance, LITERAL, lambda: 10.0, check=strict)
    assert actions_of(solution) == ["solve", "cap_parallel", "check", "cap_parallel", "check"]
    assert [step.get("parallel_cap") for step in solution.reflexion] == [None, 4, None, 2, None]
    assert solution.reflexion[0]["after"] is None  # what fails the check is not believed
    assert (solution.schedule >= 0).sum() == 2 and passes(instance, solution)


def test_more_rbs_come_before_a_waiver():
    instance = plausible(
        [[0.4, 0.9, 0.9, 0.9]],
        [1e5],
        free=[[True, False, False, False]],
        interference_w=[[0, 0.5e-14, 0.1e-14, 0.3e-14]],
    )
    options = replace(LITERAL, admission=False, spare_rbs=2, sinr_waiver_db=10.0)
    solution = solve(instance, options)
    assert actions_of(solution) == ["more_rbs", "solve"]
    assert solution.reflexion[0]["rbs"] == [[0, 2]]  # the least interference, and no more than are needed
    assert passes(solved_instance(instance, solution), solution)
    assert "free_rbs" in {f.constraint for f in check(instance, solution) if not f.holds}
    assert "not for the one given" in solution.reflexion[0]["because"][-1]
    assert actions_of(solve(instance, replace(options, admission=True))) == ["admission", "solve"]


def test_sinr_is_waived_last_flagged_and_by_no_more_than_needed():
    instance = plausible([[0.4]], [1e5])  # 0.969 dB below 0.5
    options = replace(LITERAL, admission=False, sinr_waiver_db=3.0)
    solution = solve(instance, options)
    assert actions_of(solution) == ["waive_sinr", "solve"]
    step = solution.reflexion[0]
    assert step["waived_db"] == 0.97 and step["sinr_min"] == pytest.approx(0.5 * 10**-0.097)
    assert step["because"][-1].startswith("WAIVER: sinr_min is 0.97 dB lower")
    assert passes(solved_instance(instance, solution), solution)
    assert "sinr" in {f.constraint for f in check(instance, solution) if not f.holds}
    for little in (0.0, 0.96):
        strict = solve(instance, replace(options, sinr_waiver_db=little))
        assert strict.status == "infeasible" and actions_of(strict) == []
        assert strict.infeasible_because == (
            "cell 0: device 0: best SINR -4.0 dB at full power on one RB, below the -3.0 dB needed",
        )


def test_a_waiver_opens_rbs_to_a_crowd():
    instance = plausible([[9.0, 0.45], [9.0, 0.1]], [1e5, 1e5])
    solution = solve(instance, replace(LITERAL, admission=False, sinr_waiver_db=1.0))
    assert actions_of(solution) == ["waive_sinr", "solve"]
    assert solution.reflexion[0]["waived_db"] == pytest.approx(0.46)  # 10 log10(0.5 / 0.45) = 0.458


def test_more_rbs_for_a_deadline():
    instance = plausible(np.full((1, 3), 3.0), [1e6], free=[[True, False, False]])  # 2, 2.64 (two RBs) bit/s/Hz
    deadline = 1e6 / (B * 2.6)
    options = replace(LITERAL, admission=False, max_delay_s=deadline, longest_delay_s=deadline, spare_rbs=2)
    solution = solve(instance, options)
    assert actions_of(solution) == ["solve", "more_rbs", "solve"]
    assert solution.reflexion[1]["rbs"] == [[0, 1]] and solution.objective_s <= deadline


def test_a_waiver_for_a_deadline():
    instance = plausible([[1.8, 1.8]], [1e6], sinr_min=1.0)  # beta keeps it to one RB: 1.49; two: 1.85 bit/s/Hz
    deadline = 1e6 / (B * 1.8)
    options = replace(LITERAL, admission=False, max_delay_s=deadline, longest_delay_s=deadline, sinr_waiver_db=1.0)
    solution = solve(instance, options)
    assert actions_of(solution) == ["solve", "waive_sinr", "solve"]
    assert solution.reflexion[1]["waived_db"] == pytest.approx(0.46)  # to 0.9
    assert solution.objective_s == pytest.approx(1e6 / (B * 2 * np.log2(1.9)))


def test_cells_are_judged_each_for_itself():
    gain = np.zeros((3, 2, 2))
    gain[0, 0], gain[1, 1], gain[2, 1] = 3e-14, 3e-14, 0.1e-14
    instance = replace(
        plausible(np.ones((3, 2)), [1e6, 3e6, 1e6]),
        gain=gain,
        serving=np.array([0, 1, 1]),
        free=np.array([[True, False], [True, False]]),
        interference_w=np.zeros((2, 2)),
    )
    solution = solve(instance, replace(LITERAL, max_delay_s=3.0, longest_delay_s=3.0))
    assert actions_of(solution) == ["admission", "solve", "admission", "solve"]
    assert [step["to_zigbee"] for step in solution.reflexion if step["action"] == "admission"] == [[2], [1]]
    assert all("cell 1: device" in text for step in solution.reflexion for text in step.get("because", ()))
    assert passes(instance, solution)


def test_what_is_proven_of_one_cell_is_not_said_of_another():
    instance = replace(
        plausible(np.ones((2, 2)), [1e6, 3e6]),
        gain=np.full((2, 2, 1), 3e-14),
        serving=np.array([0, 1]),
        free=np.ones((2, 1), bool),
        interference_w=np.zeros((2, 1)),
    )
    conflicts = tried(instance, replace(LITERAL, max_delay_s=1.0)).conflicts
    assert [conflict.cell for conflict in conflicts] == [0, 1]
    for conflict, bits in zip(conflicts, (1e6, 3e6), strict=True):
        assert conflict.proven_s == pytest.approx(bits / (2 * B)) and conflict.reached_s == pytest.approx(
            bits / (2 * B)
        )


def test_the_log_is_plain_json_with_certificates(tmp_path):
    instance = plausible(np.full((3, 2), 3.0), [1e6, 3e6, 1e6])
    solution = solve(instance, replace(LITERAL, max_delay_s=3.0, longest_delay_s=3.0))
    log = json.loads(json.dumps(summary(solution), allow_nan=False))["reflexion"]
    assert log == list(solution.reflexion) and len(log) >= 2
    for step in log:
        assert {"action", "before", "after"} <= set(step)
        assert ("checked" in step) != ("because" in step)
    certificates = [step["after"] for step in log if step["action"] == "solve"]
    assert certificates[-1] == {
        name: getattr(solution, name) for name in ("objective_s", "lower_bound_s", "gap", "bound")
    }
    assert all(set(check) == {"constraint", "holds", "slack"} for step in log for check in step.get("checked", ()))
    save_solution(solution, tmp_path)
    assert summary(load_solution(tmp_path)) == summary(solution)


@given(
    seed=st.integers(0, 2**32 - 1),
    devices=st.integers(1, 4),
    rbs=st.integers(1, 5),
    load=st.floats(0, 1),
    beta=st.sampled_from([0.0, 0.5, 20.0, 300.0]),
    deadline=st.none() | st.floats(0.05, 20.0),
    freedom=st.floats(1.0, 3.0),
    cap=st.none() | st.integers(1, 3),
    frame=st.sampled_from([1, 3]),
    admission=st.booleans(),
    spare=st.integers(0, 2),
    waiver=st.sampled_from([0.0, 3.0]),
)
@settings(max_examples=150, deadline=None)
def test_it_ends_and_what_comes_out_holds(
    seed, devices, rbs, load, beta, deadline, freedom, cap, frame, admission, spare, waiver
):
    free = np.random.default_rng(seed).random((1, rbs)) >= load
    instance = rrm.random_instance(seed, devices, rbs, free=free, sinr_min=beta)
    latest = np.inf if deadline is None else deadline * freedom
    options = Options(
        frame=frame,
        longest_frame=2 * frame,
        max_delay_s=deadline,
        longest_delay_s=latest,
        parallel_cap=cap,
        admission=admission,
        spare_rbs=spare,
        sinr_waiver_db=waiver,
        time_limit_s=60,
    )
    solution = solve(instance, options)
    kinds = set(actions_of(solution))
    assert solution.feasible or not admission  # with everybody refused, all holds
    assert passes(solved_instance(instance, solution), solution)
    assert admission or not solution.to_zigbee.any()
    assert spare or "more_rbs" not in kinds
    assert waiver or "waive_sinr" not in kinds
    if solution.feasible:
        assert solution.objective_s <= latest * (1 + 1e-9)
        held = [(slot == device).sum() for slot in solution.schedule[0] for device in range(devices)]
        assert max(held) <= (cap or rbs) and solution.schedule.shape[1] <= 2 * frame
    if not kinds & {"more_rbs", "waive_sinr"}:
        assert solved_instance(instance, solution) is instance


@given(
    seed=st.integers(0, 2**32 - 1), devices=st.integers(1, 4), rbs=st.integers(1, 4), beta=st.sampled_from([0.5, 300.0])
)
@settings(max_examples=50, deadline=None)
def test_admission_alone_refuses_no_more_than_it_must(seed, devices, rbs, beta):
    instance = rrm.random_instance(seed, devices, rbs, sinr_min=beta)
    solution = solve(instance, LITERAL)
    most = max(
        len(kept)
        for size in range(devices + 1)
        for kept in itertools.combinations(range(devices), size)
        if not kept or np.isfinite(rrm.brute_force_s(instance, kept))
    )
    assert passes(instance, solution) and (~solution.to_zigbee).sum() == most


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(max_delay_s=0.0), "max_delay_s: 0.0"),
        (dict(max_delay_s=2.0, longest_delay_s=1.0), "longest_delay_s: 1.0"),
        (dict(frame=5, longest_frame=3), "longest_frame: 3"),
        (dict(mode="literal", longest_frame=3), "longest_frame: 3"),
        (dict(parallel_cap=0), "parallel_cap: 0"),
        (dict(spare_rbs=-1), "spare_rbs: -1"),
        (dict(sinr_waiver_db=-1.0), "sinr_waiver_db: -1.0"),
        (dict(sinr_waiver_db=float("nan")), "sinr_waiver_db: nan"),
    ],
)
def test_bad_permissions_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Options(**wrong)
