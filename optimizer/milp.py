"""The paper's reference path: an assignment question as a MILP in Pyomo, for Gurobi or HiGHS.

Question: are there disjoint RB sets, one per device with one of the RB counts offered, whose rates meet every need?
Rates come as shares of the need, at most 1, so that all coefficients are of one order of size.
"""

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

SOLVERS = ("auto", "highs", "gurobi")
GUROBI_FREE_SIZE = 2000  # variables, and rows, that the licence inside the gurobipy wheel takes


@dataclass(frozen=True, eq=False)
class Level:
    """``device`` holding exactly ``count`` of ``rbs`` (there are ``total_rbs``); ``shares`` of its need, one per RB."""

    device: int
    count: int
    rbs: NDArray[np.int64]
    shares: NDArray[np.float64]
    total_rbs: int


@dataclass(frozen=True, eq=False)
class Answer:
    """status: "feasible" (with owner [M]), "infeasible" (proven) or "time_limit"; solver: who said so."""

    status: str
    owner: NDArray[np.int64] | None
    solver: str


def reachable(levels: list[Level], solver: str, time_limit_s: float) -> Answer:
    """Decide the question; every device that occurs must be given one of its levels.

    ``solver`` "auto" takes Gurobi when the model fits its licence and it is there, else HiGHS. Raises RuntimeError when
    the solver asked for is not there or fails.
    """
    from pyomo.contrib.solver.common.results import SolutionStatus, TerminationCondition

    deadline = time.monotonic() + time_limit_s  # building the model takes its part
    model, size = _model(levels)
    name, engine = _engine(solver, size)
    try:
        results = _run(engine, model, deadline - time.monotonic())
    except Exception as error:
        if not (solver == "auto" and name == "gurobi"):
            raise RuntimeError(f"{name} failed: {error}") from error
        log.warning("Gurobi failed (%s); HiGHS takes its place", error)
        name, engine = _engine("highs", size)
        results = _run(engine, model, deadline - time.monotonic())
    if results.solution_status in (SolutionStatus.optimal, SolutionStatus.feasible):
        values = results.solution_loader.get_vars()
        owner = np.full(levels[0].total_rbs, -1, np.int64)
        for (at, rb), variable in model.holds.items():
            if values[variable] > 0.5:
                owner[rb] = levels[at].device
        return Answer("feasible", owner, name)
    condition = results.termination_condition
    if condition in (TerminationCondition.provenInfeasible, TerminationCondition.infeasibleOrUnbounded):
        return Answer("infeasible", None, name)  # nothing here is unbounded
    if condition == TerminationCondition.maxTimeLimit:
        return Answer("time_limit", None, name)
    raise RuntimeError(f"{name} ended without an answer: {condition}")


def _run(engine, model, time_limit_s: float):
    return engine.solve(
        model, load_solutions=False, raise_exception_on_nonoptimal_result=False, time_limit=max(time_limit_s, 0.01)
    )


def _model(levels: list[Level]):
    """The Pyomo model and the larger of its numbers of variables and rows."""
    import pyomo.environ as pyo  # takes about a second to import; only those who solve pay for it

    model = pyo.ConcreteModel()
    pairs = [(at, int(rb)) for at, level in enumerate(levels) for rb in level.rbs]
    model.takes = pyo.Var(range(len(levels)), domain=pyo.Binary)  # the device of a level takes that level
    model.holds = pyo.Var(pairs, domain=pyo.Binary)  # the device of a level holds the RB, at that level
    model.nothing = pyo.Objective(expr=0.0)
    model.rows = pyo.ConstraintList()
    by_device: dict[int, list] = {}
    by_rb: dict[int, list] = {}
    for at, level in enumerate(levels):
        by_device.setdefault(level.device, []).append(model.takes[at])
        held = [model.holds[at, int(rb)] for rb in level.rbs]
        for rb, variable in zip(level.rbs, held, strict=True):
            by_rb.setdefault(int(rb), []).append(variable)
        model.rows.add(_sum([*held, model.takes[at]], [*[1.0] * len(held), -float(level.count)]) == 0)
        model.rows.add(_sum([*held, model.takes[at]], [*level.shares.tolist(), -1.0]) >= 0)
    for taken in by_device.values():
        model.rows.add(_sum(taken, [1.0] * len(taken)) == 1)
    for holders in by_rb.values():
        if len(holders) > 1:
            model.rows.add(_sum(holders, [1.0] * len(holders)) <= 1)
    return model, max(len(levels) + len(pairs), len(model.rows))


def _sum(variables: list, coefficients: list[float]):
    from pyomo.core.expr.numeric_expr import LinearExpression

    return LinearExpression(constant=0.0, linear_coefs=coefficients, linear_vars=variables)


def _engine(solver: str, size: int):
    """(name, Pyomo solver) for a model of this size."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    if solver not in SOLVERS:
        raise ValueError(f"solver: {solver!r} is unknown; choose one of {', '.join(SOLVERS)}, or 'heuristic'")
    if solver == "gurobi" or (solver == "auto" and size <= GUROBI_FREE_SIZE):
        gurobi = SolverFactory("gurobi_direct")
        if gurobi.available():
            return "gurobi", gurobi
        if solver == "gurobi":
            raise RuntimeError("Gurobi is not there: install gurobipy, check its licence, or choose solver 'highs'")
        log.info("Gurobi is not there; HiGHS takes its place")
    highs = SolverFactory("highs")
    if not highs.available():
        raise RuntimeError("HiGHS is not there: install highspy")
    return "highs", highs
