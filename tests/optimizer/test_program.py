import numpy as np
import pytest
import scipy.sparse as sp

from optimizer import program
from optimizer.program import Program, SolverError, solve_program, solve_with_pyomo

WAYS = {
    "highspy": lambda p: solve_program(p, "auto", 10),
    "gurobi": lambda p: solve_program(p, "gurobi", 10),
    "scip": lambda p: solve_program(p, "scip", 10),
    "highs": lambda p: solve_with_pyomo(p, "highs", 10),
}


def small(upper_first=4.0, lower_first=-np.inf, whole=False, upper=np.inf):
    """Maximise x + 2 y with x + y <= 4 and x + 3 y <= 6."""
    return Program(
        cost=np.array([-1.0, -2.0]),
        matrix=sp.csc_array(np.array([[1.0, 1.0], [1.0, 3.0]])),
        row_lower=np.array([lower_first, -np.inf]),
        row_upper=np.array([upper_first, 6.0]),
        lower=np.zeros(2),
        upper=np.full(2, upper),
        integer=np.full(2, whole),
    )


@pytest.mark.parametrize("way", WAYS)
def test_linear_program_by_hand(way):
    outcome = WAYS[way](small())
    assert outcome.status == "optimal" and outcome.bound == pytest.approx(-5)
    np.testing.assert_allclose(outcome.values, [3, 1])
    if way != "scip":  # which gives none
        np.testing.assert_allclose(np.abs(outcome.duals), [0.5, 0.5])


@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_and_infeasible(way):
    outcome = WAYS[way](small(upper_first=4.5, whole=True))
    np.testing.assert_allclose(outcome.values, [3, 1])
    assert outcome.status == "optimal" and outcome.duals is None
    none = WAYS[way](small(upper_first=9.0, lower_first=9.0, upper=1.0, whole=True))
    assert none.status == "infeasible" and none.values is None


def test_all_ways_agree_on_random_programs():
    rng = np.random.default_rng(1)
    for whole in (False, True):
        matrix = sp.csc_array(rng.integers(0, 5, (6, 9)).astype(float))
        one = Program(
            cost=-rng.uniform(1, 5, 9),
            matrix=matrix,
            row_lower=np.full(6, -np.inf),
            row_upper=rng.uniform(5, 20, 6),
            lower=np.zeros(9),
            upper=np.full(9, 3.0),
            integer=np.full(9, whole),
        )
        found = {name: way(one) for name, way in WAYS.items()}
        best = one.cost @ found["highspy"].values
        for outcome in found.values():
            assert one.cost @ outcome.values == pytest.approx(best, rel=1e-5)
            assert outcome.bound == pytest.approx(best, rel=1e-5)


def test_time_limit_is_said():
    rng = np.random.default_rng(2)
    hard = Program(
        cost=-rng.uniform(1, 2, 400),
        matrix=sp.csc_array(rng.uniform(0, 1, (60, 400))),
        row_lower=np.full(60, -np.inf),
        row_upper=np.full(60, 20.0),
        lower=np.zeros(400),
        upper=np.ones(400),
        integer=np.ones(400, bool),
    )
    outcome = solve_program(hard, "highs", 0.3, gap=1e-9)
    assert outcome.status in ("feasible", "time_limit")
    if outcome.values is not None:
        assert outcome.bound <= hard.cost @ outcome.values


def test_what_a_solver_may_not_do_is_said_with_the_fix(monkeypatch):
    with pytest.raises(ValueError, match="choose one of"):
        solve_program(small(), "cplex", 1)
    monkeypatch.setattr(program, "GUROBI_FREE_SIZE", 1)
    monkeypatch.setattr(program, "_gurobi_licensed", lambda: False)
    with pytest.raises(SolverError, match="choose solver 'highs'"):
        solve_program(small(), "gurobi", 1)
