"""Linear programs, with or without whole-numbered variables, and the solvers behind one call.

The core is HiGHS through highspy. The same program goes through Pyomo to Gurobi, SCIP or HiGHS: the paper's way, taken
when it is asked for, and a second opinion in tests.
"""

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SOLVERS = ("auto", "highs", "gurobi", "scip")
SIMPLEX_SIZE = 1000
GUROBI_FREE_SIZE = 2000  # variables, and rows, that the licence inside the gurobipy wheel takes
_PYOMO_NAMES = {"gurobi": "gurobi_direct", "scip": "scip_direct", "highs": "highs"}


class SolverError(RuntimeError):
    """A solver that is not there, may not be used for this size, or failed; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise cost @ x with row_lower <= matrix @ x <= row_upper and lower <= x <= upper; integer [n] marks the x that
    must be whole. Infinite limits are np.inf."""

    cost: Floats
    matrix: sp.csc_array
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcome:
    """status: "optimal", "feasible" (values, but time ran out), "infeasible" (proven) or "time_limit" (nothing known).

    values [n], or None. duals [rows] of a linear program, or None. bound: on the objective, from below.
    """

    status: str
    values: Floats | None
    duals: Floats | None
    bound: float
    solver: str


def solve_program(program: Program, solver: str, time_limit_s: float, gap: float = 1e-6) -> Outcome:
    """Solve within the time limit, whole-numbered programs to the relative ``gap``. Raises SolverError, ValueError."""
    if solver not in SOLVERS:
        raise ValueError(f"solver: {solver!r} is unknown; choose one of {', '.join(SOLVERS)}, or 'heuristic'")
    if solver in ("auto", "highs"):
        return _highspy(program, max(time_limit_s, 0.01), gap)
    return solve_with_pyomo(program, solver, time_limit_s, gap)


def _highspy(program: Program, time_limit_s: float, gap: float) -> Outcome:
    import highspy

    model, mip = _highs_model(program), bool(program.integer.any())
    deadline = time.monotonic() + time_limit_s
    options = {"output_flag": False, "threads": 1, "mip_rel_gap": gap}
    options |= {"mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9} if mip else {}
    known = highspy.HighsModelStatus
    for method in _methods(program):
        engine = highspy.Highs()
        left = {"time_limit": max(deadline - time.monotonic(), 0.01)}
        for name, value in (options | method | left).items():
            engine.setOptionValue(name, value)
        if engine.passModel(model) == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refused the model: a coefficient is not finite or out of its range")
        engine.run()
        status = engine.getModelStatus()
        if status in (known.kOptimal, known.kTimeLimit, known.kInterrupt):
            break
    found, solution = engine.getInfo(), engine.getSolution()
    feasible = found.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = np.array(solution.col_value) if feasible else None
    duals = np.array(solution.row_dual) if solution.dual_valid and not mip else None
    if status == known.kOptimal:
        bound = found.mip_dual_bound if mip else found.objective_function_value
        return Outcome("optimal", values, duals, bound, "highs")
    if status in (known.kTimeLimit, known.kInterrupt):
        if mip:
            return Outcome("feasible" if feasible else "time_limit", values, None, found.mip_dual_bound, "highs")
        return Outcome("time_limit", None, None, -np.inf, "highs")
    if status in (known.kInfeasible, known.kUnboundedOrInfeasible):
        return Outcome("infeasible", None, None, np.inf, "highs")  # nothing here is unbounded
    raise SolverError(f"HiGHS ended without an answer: {engine.modelStatusToString(status)}")


def _methods(program: Program) -> tuple[dict, ...]:
    """HiGHS's options in the order in which they are tried, until one gives an answer.

    Measured: on small linear programs the primal simplex without presolve takes half of the default's time, but fails
    now and then; on larger ones the interior point method, with crossover, takes a third.
    """
    if program.integer.any():
        return ({},)
    small = {"simplex_strategy": 4, "presolve": "off"}
    return (small if len(program.cost) < SIMPLEX_SIZE else {"solver": "ipm"}, {})


def _highs_model(program: Program):
    import highspy

    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = program.matrix.shape
    model.col_cost_, model.col_lower_, model.col_upper_ = program.cost, program.lower, program.upper
    model.row_lower_, model.row_upper_ = program.row_lower, program.row_upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_ = program.matrix.indptr, program.matrix.indices
    model.a_matrix_.value_ = program.matrix.data
    if program.integer.any():
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        model.integrality_ = [kinds[whole] for whole in program.integer.astype(int)]
    return model


def solve_with_pyomo(program: Program, solver: str, time_limit_s: float, gap: float = 1e-6) -> Outcome:
    """The same program as a Pyomo model, for "gurobi", "scip" or "highs". Raises SolverError."""
    import pyomo.environ as pyo  # takes about a second, and registers the solvers; only who asks for them pays for it
    from pyomo.contrib.solver.common.factory import SolverFactory
    from pyomo.contrib.solver.common.results import SolutionStatus, TerminationCondition

    deadline = time.monotonic() + time_limit_s  # building the model takes its part
    rows, columns = program.matrix.shape
    engine = SolverFactory(_PYOMO_NAMES[solver])
    if not engine.available():
        raise SolverError(f"{solver} is not there: install {_package(solver)}, or choose solver 'highs'")
    if solver == "gurobi" and max(rows, columns) > GUROBI_FREE_SIZE and not _gurobi_licensed():
        raise SolverError(
            f"gurobi: {columns} variables and {rows} rows are more than the {GUROBI_FREE_SIZE} that the licence inside "
            "gurobipy takes; install a licence (GRB_LICENSE_FILE), or choose solver 'highs'"
        )
    model = _pyomo_model(program, pyo)
    try:
        results = engine.solve(
            model,
            load_solutions=False,
            raise_exception_on_nonoptimal_result=False,
            time_limit=max(deadline - time.monotonic(), 0.01),
            rel_gap=gap if program.integer.any() else None,
        )
    except Exception as error:  # each solver has errors of its own
        raise SolverError(f"{solver} failed: {error}") from error
    condition, status = results.termination_condition, results.solution_status
    bound = -np.inf if results.objective_bound is None else results.objective_bound
    values = duals = None
    if status in (SolutionStatus.optimal, SolutionStatus.feasible):
        found = results.solution_loader.get_vars()
        values = np.array([found[model.x[j]] for j in range(columns)])
        if not program.integer.any() and solver != "scip":
            prices = results.solution_loader.get_duals()
            duals = np.array([prices.get(model.rows[i], 0.0) for i in range(rows)])
    if condition == TerminationCondition.convergenceCriteriaSatisfied:
        return Outcome("optimal", values, duals, bound, solver)
    if condition in (TerminationCondition.provenInfeasible, TerminationCondition.infeasibleOrUnbounded):
        return Outcome("infeasible", None, None, np.inf, solver)
    if condition == TerminationCondition.maxTimeLimit:
        return Outcome("time_limit" if values is None else "feasible", values, duals, bound, solver)
    raise SolverError(f"{solver} ended without an answer: {condition}")


def _package(solver: str) -> str:
    return {"gurobi": "gurobipy and a licence", "scip": "pyscipopt", "highs": "highspy"}[solver]


def _gurobi_licensed() -> bool:
    """Whether Gurobi takes models of any size here."""
    import gurobipy

    try:
        with gurobipy.Env(params={"OutputFlag": 0}) as environment, gurobipy.Model(env=environment) as model:
            model.addVars(GUROBI_FREE_SIZE + 1)
            model.optimize()
        return True
    except gurobipy.GurobiError:
        return False


def _pyomo_model(program: Program, pyo):
    from pyomo.core.expr.numeric_expr import LinearExpression

    def limit(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    matrix = program.matrix.tocsr()
    rows, columns = matrix.shape
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(columns), domain=pyo.Reals)
    for j in range(columns):
        if program.integer[j]:
            model.x[j].domain = pyo.Integers
        model.x[j].setlb(limit(program.lower[j]))
        model.x[j].setub(limit(program.upper[j]))

    def linear(at, coefficients):
        return LinearExpression(constant=0.0, linear_coefs=list(coefficients), linear_vars=[model.x[j] for j in at])

    used = np.flatnonzero(program.cost)
    model.objective = pyo.Objective(expr=linear(used.tolist(), program.cost[used].tolist()))
    model.rows = pyo.Constraint(range(rows))
    for i in range(rows):
        part = slice(matrix.indptr[i], matrix.indptr[i + 1])
        body = linear(matrix.indices[part].tolist(), matrix.data[part].tolist())
        model.rows[i] = (limit(program.row_lower[i]), body, limit(program.row_upper[i]))
    return model
