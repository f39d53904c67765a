import dataclasses

import numpy as np
import pytest
import small_rrm as rrm
from pyomo.contrib.solver.common.base import Availability
from pyomo.contrib.solver.common.factory import SolverFactory

from optimizer import direct
from optimizer.check import check
from optimizer.direct import FORMULATIONS, SOLVERS, solve_direct

EVERY_WAY = [(solver, formulation) for solver in SOLVERS for formulation in FORMULATIONS]


@pytest.mark.parametrize(("solver", "formulation"), EVERY_WAY)
@pytest.mark.parametrize(
    ("devices", "rbs", "beta"), [(1, 1, 0.5), (1, 5, 20.0), (2, 6, 20.0), (3, 6, 0.0), (4, 5, 5.0)]
)
def test_direct_milp_equals_brute_force(solver, formulation, devices, rbs, beta):
    for seed in range(2):
        instance = rrm.random_instance(seed, devices, rbs, sinr_min=beta)
        best = rrm.brute_force_s(instance, even=True)
        found = solve_direct(instance, solver, formulation, gap=1e-6)
        if np.isinf(best):
            assert found.termination == "infeasible" and found.solution is None
            continue
        assert found.termination == "optimal"
        assert found.solution.objective_s == pytest.approx(best, rel=1e-5)
        assert found.told_s == pytest.approx(best, rel=1e-5) and found.bound_s <= best * (1 + 1e-5)
        assert 0 <= found.own_gap + 1e-6 <= 1e-5
        np.testing.assert_allclose(
            rrm.delays(instance, found.solution.schedule[0, 0], even=True), found.solution.delay_s
        )
        assert all(finding.holds for finding in check(instance, found.solution))


@pytest.mark.parametrize(("solver", "formulation"), EVERY_WAY)
def test_taken_rbs_idle_devices_and_interference(solver, formulation):
    instance = rrm.random_instance(
        3, 3, 7, free=np.array([[1, 0, 1, 1, 0, 1, 1]], bool), interference_w=np.linspace(0, 5, 7)[None]
    )
    instance = dataclasses.replace(instance, data_bits=instance.data_bits * [1, 0, 1])
    found = solve_direct(instance, solver, formulation, gap=1e-6)
    assert found.solution.objective_s == pytest.approx(rrm.brute_force_s(instance, [0, 2], even=True), rel=1e-5)
    assert found.solution.delay_s[1] == 0 and 1 not in found.solution.schedule
    assert all(finding.holds for finding in check(instance, found.solution))


@pytest.mark.parametrize(("solver", "formulation"), EVERY_WAY)
def test_tiny_gains_are_no_matter(solver, formulation):
    """Radio gains and noise lie near 1e-12 W: only their ratio may count, and the solver's word must be the truth."""
    plain = rrm.random_instance(1, 3, 6)
    radio = dataclasses.replace(plain, gain=plain.gain * 1e-13, noise_w=1e-13, data_bits=plain.data_bits * 1e3)
    scaled, found = (solve_direct(each, solver, formulation, gap=1e-6) for each in (plain, radio))
    assert found.solution.objective_s == pytest.approx(1e3 * scaled.solution.objective_s, rel=1e-6)
    assert found.told_s == pytest.approx(found.solution.objective_s, rel=1e-6)


@pytest.mark.parametrize(("formulation", "variables", "rows"), [("extended", 17, 11), ("compact", 11, 11)])
def test_size_of_the_model(formulation, variables, rows):
    """2 devices, 3 RBs, so k = 1 or 2: t, 4 y, and 12 w_ijk or 6 w_ij; 4 rows for y and w, 4 for rates, 3 for RBs."""
    found = solve_direct(rrm.random_instance(0, 2, 3, sinr_min=0.0), "highs", formulation)
    assert (found.variables, found.rows) == (variables, rows)


def test_more_devices_than_rbs_have_no_direct_model():
    found = solve_direct(rrm.random_instance(0, 4, 3), "highs")
    assert found.termination == "no_literal_solution" and not found.tried and found.solution is None


def test_gurobis_licence_is_respected():
    if SolverFactory("gurobi_direct").available() != Availability.LimitedLicense:
        pytest.skip("Gurobi has a full licence here")
    instance = rrm.random_instance(0, 10, 25)
    assert solve_direct(instance, "gurobi", "extended").termination == "over_licence"
    small = solve_direct(instance, "gurobi", "compact", time_limit_s=1.0)
    assert small.tried and max(small.variables, small.rows) <= direct.GUROBI_FREE_SIZE


def test_what_is_too_large_is_not_built(monkeypatch):
    monkeypatch.setattr(direct, "MOST_COEFFICIENTS", 50)
    found = solve_direct(rrm.random_instance(0, 3, 6), "highs")
    assert found.termination == "too_large" and not found.tried and found.variables > 50


def test_bad_input_is_named():
    instance = rrm.random_instance(0, 2, 3)
    with pytest.raises(ValueError, match="choose a solver of .*highs"):
        solve_direct(instance, "cplex")
    two = dataclasses.replace(
        instance,
        gain=np.repeat(instance.gain, 2, axis=1),
        free=np.ones((2, 3), bool),
        interference_w=np.zeros((2, 3)),
    )
    with pytest.raises(ValueError, match="2 cells"):
        solve_direct(two, "highs")
