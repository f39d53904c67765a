import dataclasses

import numpy as np
import pytest
import small_rrm as rrm

from optimizer.check import check
from optimizer.instance import Solution
from optimizer.solve import Options, solve


@pytest.fixture(scope="module")
def solved():
    """Two cells, one RB of each taken, and a device without a way (6): a solution with admission."""
    rng = np.random.default_rng(4)
    gain = 10 ** rng.uniform(1.5, 4, (7, 2, 1)) * rng.exponential(1, (7, 2, 8))
    gain[6] = 0.0
    free = np.ones((2, 8), bool)
    free[:, 3] = False
    instance = dataclasses.replace(
        rrm.make_instance(np.ones((7, 8)), rng.uniform(1e5, 1e6, 7)),
        gain=gain,
        serving=np.array([0, 0, 0, 1, 1, 1, 1]),
        free=free,
        interference_w=np.full((2, 8), 0.3),
    )
    return instance, solve(instance, Options(gap=1e-4))


def broken(instance, solution) -> set[str]:
    return {finding.constraint for finding in check(instance, solution) if not finding.holds}


def changed(solution, name, change) -> Solution:
    array = getattr(solution, name).copy()
    change(array)
    return dataclasses.replace(solution, **{name: array})


def test_a_true_solution_passes_with_slacks(solved):
    findings = {finding.constraint: finding for finding in check(*solved)}
    assert all(finding.holds for finding in findings.values())
    assert findings["sinr"].slack >= 0
    assert findings["power"].slack == pytest.approx(0, abs=1e-9)
    assert solved[1].to_zigbee.tolist() == [False] * 6 + [True]


def used(solution, cell):
    return int(np.flatnonzero(solution.schedule[cell, 0] >= 0)[0])


@pytest.mark.parametrize(
    ("constraint", "name", "change"),
    [
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), 99)),
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), -2)),
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), 4)),  # a device of cell 1
        ("free_rbs", "schedule", lambda a: a.__setitem__((0, 0, 3), a[0, 0][a[0, 0] >= 0][0])),
        ("power", "power_w", lambda a: a.__imul__(1.01)),
        ("power", "power_w", lambda a: a.__imul__(-1)),
        ("power", "power_w", lambda a: a.__setitem__((0, 0, 3), 0.1)),  # on an unused RB
        ("power", "power_w", lambda a: a.fill(np.nan)),
        ("power", "power_w", lambda a: a.fill(0.0)),
        ("sinr", "power_w", lambda a: a.__imul__(1e-6)),
        ("delay", "power_w", lambda a: a.__imul__(0.9)),
        ("delay", "delay_s", lambda a: a.__imul__(0.999)),
        ("delay", "delay_s", lambda a: a.__setitem__(0, np.nan)),
        ("delay", "delay_s", lambda a: a.__setitem__(6, 0.1)),  # a refused device has none
        ("objective", "delay_s", lambda a: a.__imul__(0.999)),
        ("served", "to_zigbee", lambda a: a.fill(True)),
        ("served", "to_zigbee", lambda a: a.fill(False)),
        ("served", "schedule", lambda a: a.fill(-1)),
    ],
)
def test_tampering_with_arrays_is_caught(solved, constraint, name, change):
    instance, solution = solved
    assert constraint in broken(instance, changed(solution, name, change))


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("objective", lambda s: dict(objective_s=s.objective_s * 0.99)),
        ("objective", lambda s: dict(objective_s=None)),
        ("bound", lambda s: dict(lower_bound_s=s.objective_s * 1.01)),
        ("bound", lambda s: dict(gap=s.gap + 0.1)),
        ("bound", lambda s: dict(lower_bound_s=None)),
        ("bound", lambda s: dict(bound="none")),  # and yet "optimal"
        ("shape", lambda s: dict(power_w=s.power_w[:, :, :-1])),
        ("shape", lambda s: dict(delay_s=s.delay_s[:-1])),
        ("infeasible", lambda s: dict(status="infeasible")),  # but a schedule, and no reason
    ],
)
def test_tampering_with_figures_is_caught(solved, constraint, change):
    instance, solution = solved
    assert constraint in broken(instance, dataclasses.replace(solution, **change(solution)))


def test_interference_of_other_cells_devices_counts_when_coupled():
    """Two cells, one RB, by hand: SINR = g p / (noise + g' p')."""
    gain = np.array([[[40.0], [2.0]], [[4.0], [30.0]]])
    base = rrm.make_instance(np.ones((2, 1)), [1e5, 1e5])
    instance = dataclasses.replace(
        base,
        gain=gain,
        serving=np.array([0, 1]),
        free=np.ones((2, 1), bool),
        interference_w=np.zeros((2, 1)),
        coupled=True,
    )
    sinr = np.array([40 / (1 + 4), 30 / (1 + 2)])
    delay = 1e5 / (180e3 * np.log2(1 + sinr))
    solution = Solution(
        schedule=np.array([[[0]], [[1]]], np.int32),
        power_w=np.ones((2, 1, 1)),
        delay_s=delay,
        to_zigbee=np.zeros(2, bool),
        status="feasible",
        objective_s=float(delay.max()),
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="by hand",
        seconds=0.0,
        iterations=0,
    )
    assert broken(instance, solution) == set()
    assert broken(dataclasses.replace(instance, coupled=False), solution) == {"delay"}
    assert broken(dataclasses.replace(instance, sinr_min=9.0), solution) == {"sinr"}


def test_rates_are_means_over_the_frame_and_power_counts_by_slot():
    """One device, one of two slots: half the rate; full power in each of two slots is allowed."""
    instance = rrm.make_instance([[7.0]], [1e5])
    rate = 180e3 * 3
    one_slot = Solution(
        schedule=np.array([[[0], [-1]]], np.int32),
        power_w=np.array([[[1.0], [0.0]]]),
        delay_s=np.array([1e5 / (rate / 2)]),
        to_zigbee=np.zeros(1, bool),
        status="feasible",
        objective_s=1e5 / (rate / 2),
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="by hand",
        seconds=0.0,
        iterations=0,
    )
    assert broken(instance, one_slot) == set()
    both = dataclasses.replace(
        one_slot,
        schedule=np.zeros((1, 2, 1), np.int32),
        power_w=np.ones((1, 2, 1)),
        delay_s=np.array([1e5 / rate]),
        objective_s=1e5 / rate,
    )
    assert broken(instance, both) == set()


def test_a_solution_that_fails_the_check_never_leaves_solve(monkeypatch):
    """A solver that lies about powers, by way of its assignment: the check turns it into a plain failure."""
    from optimizer import literal

    instance = rrm.random_instance(1, 2, 4)
    honest = literal.solve_cell

    def lying(*arguments):
        result = honest(*arguments)
        return dataclasses.replace(result, objective_s=result.objective_s / 2)

    monkeypatch.setattr(literal, "solve_cell", lying)
    solution = solve(instance)
    assert solution.status == "infeasible"
    assert "failed the check" in solution.infeasible_because[0]
    assert (solution.schedule == -1).all()
