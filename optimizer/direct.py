"""The paper's way, for comparison: literal mode as one direct MILP through Pyomo, max t with t = 1 / (largest delay).

Literal mode (F = 1) with even power in one cell: device i holds k >= 1 RBs throughout, at p_max / k and with an SINR of
beta or more on each. Two exact formulations, y_ik = "device i holds k RBs":

- "extended": binaries w_ijk, "device i holds RB j and k in all"; its relaxation is the stronger, its size N K M.
- "compact": binaries w_ij; rates that depend on k come in by N K rows, slack where fewer RBs are held. Size N (M + K):
  the one that fits Gurobi's free licence longest.

All numbers that a solver sees are of one order of size: gains go in through rates only, in Mbit/s; data are in Mbit.
What a solver answers is computed again by formula before it is told (``Direct.solution``).
"""

import importlib
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optimizer.instance import Instance, Solution

Floats = NDArray[np.float64]
SOLVERS = {"highs": "highs", "gurobi": "gurobi_direct", "scip": "scip_direct"}  # our name: Pyomo's
FORMULATIONS = ("extended", "compact")
GUROBI_FREE_SIZE = 2000  # variables, and rows, that the licence inside the gurobipy wheel takes
MOST_COEFFICIENTS = 2_000_000  # beyond it Pyomo takes minutes to build the model


@dataclass(frozen=True)
class Direct:
    """What the direct MILP came to.

    termination: "optimal", "time_limit", "infeasible", or, where no solver was run, "no_literal_solution" (more devices
    than free RBs), "over_licence" (Gurobi's free licence), "too_large" (MOST_COEFFICIENTS). told_s, bound_s: the
    solver's own objective and lower bound, as delays; None where it has none. solution: the assignment, evaluated by
    formula; its ``objective_s`` is what counts. build_s: Pyomo's model; solve_s: its transfer and the solver.
    """

    solver: str
    formulation: str
    termination: str
    variables: int
    rows: int
    build_s: float = 0.0
    solve_s: float = 0.0
    told_s: float | None = None
    bound_s: float | None = None
    solution: Solution | None = None

    @property
    def tried(self) -> bool:
        """Was a solver run?"""
        return self.solve_s > 0

    @property
    def own_gap(self) -> float | None:
        """(objective - bound) / bound by the solver's own word."""
        return self.told_s / self.bound_s - 1 if self.told_s and self.bound_s else None


def solve_direct(
    instance: Instance, solver: str, formulation: str = "extended", time_limit_s: float = 20.0, gap: float = 1e-4
) -> Direct:
    """Solve a one-cell instance directly; the solver stops at the relative ``gap``, or after ``time_limit_s``.

    solver: "highs", "gurobi" or "scip". Raises ValueError for several cells or unknown names, RuntimeError where the
    solver is not installed or ends without an answer.
    """
    if instance.shape[1] != 1:
        raise ValueError(f"instance: {instance.shape[1]} cells; the direct model is for one")
    if solver not in SOLVERS or formulation not in FORMULATIONS:
        raise ValueError(f"{solver!r}, {formulation!r}: choose a solver of {tuple(SOLVERS)} and one of {FORMULATIONS}")
    data = _Data(instance)
    if len(data.devices) > len(data.rbs):
        return Direct(solver, formulation, "no_literal_solution", 0, 0)
    variables, rows, coefficients = _size(data, formulation)
    engine = _engine(solver)
    if solver == "gurobi" and _limited(engine) and max(variables, rows) > GUROBI_FREE_SIZE:
        return Direct(solver, formulation, "over_licence", variables, rows)
    if coefficients > MOST_COEFFICIENTS:
        return Direct(solver, formulation, "too_large", variables, rows)
    if any(not counts for counts in data.counts):  # a device that reaches beta on no RB
        return Direct(solver, formulation, "infeasible", variables, rows)
    began = time.monotonic()
    model = build(data, formulation)
    built = time.monotonic()
    results = engine.solve(
        model,
        load_solutions=False,
        raise_exception_on_nonoptimal_result=False,
        time_limit=time_limit_s,
        rel_gap=gap,
    )
    solved = time.monotonic()
    return Direct(
        solver,
        formulation,
        _termination(results, solver),
        variables,
        rows,
        built - began,
        solved - built,
        _delay_s(results.incumbent_objective),
        _delay_s(results.objective_bound),
        _solution(data, model, results, solver, solved - began),
    )


class _Data:
    """The numbers of the model: devices with data, free RBs, rates and the RB counts that beta leaves."""

    def __init__(self, instance: Instance):
        self.instance = instance
        self.devices = np.flatnonzero(instance.data_bits > 0)
        self.rbs = np.flatnonzero(instance.free[0])
        self.data_mbit = instance.data_bits[self.devices] / 1e6

    @cached_property
    def rates_mbps(self) -> Floats:
        """[N, K, M]: rate of a device on an RB when it holds k = 1..K RBs; 0 where its SINR would be below beta."""
        power_w = self.instance.p_max_w / np.arange(
            1, len(self.rbs) - len(self.devices) + 2
        )  # one RB each for the rest
        sinr = self.instance.snr_per_w()[np.ix_(self.devices, self.rbs)][:, None, :] * power_w[None, :, None]
        rate = self.instance.rb_bandwidth_hz / 1e6 * np.log2(1 + sinr)
        return np.where(sinr >= self.instance.sinr_min, rate, 0.0)

    @cached_property
    def counts(self) -> list[list[int]]:
        """For each device the k for which at least k RBs reach beta (beta as a cap on k)."""
        strong = (self.rates_mbps > 0).sum(axis=2)
        return [[k + 1 for k in range(row.size) if row[k] > k] for row in strong]

    @cached_property
    def most(self) -> NDArray[np.int64]:
        """[N, M]: the largest k at which device i reaches beta on RB j; 0: never."""
        return (self.rates_mbps > 0).sum(axis=1)


def _size(data: _Data, formulation: str) -> tuple[int, int, int]:
    """(variables, rows, coefficients) of the model, without building it; coefficients to within a few per cent."""
    devices, rbs = len(data.devices), int(data.most.any(axis=0).sum())
    choices = sum(map(len, data.counts))
    if formulation == "extended":
        held = sum(int((data.rates_mbps[i, k - 1] > 0).sum()) for i, counts in enumerate(data.counts) for k in counts)
        return 1 + choices + held, 2 * devices + choices + rbs, 3 * held
    held = int((data.most > 0).sum())
    capped = sum(int(((m > 0) & (m < len(counts))).sum()) for m, counts in zip(data.most, data.counts, strict=True))
    return 1 + choices + held, 2 * devices + choices + capped + rbs, choices * (rbs + choices // max(2 * devices, 1))


def build(data: _Data, formulation: str):
    """The Pyomo model. ``model.holds`` is indexed (device, RB, ...), ``model.t`` is in 1/s."""
    import pyomo.environ as pyo  # takes about a second to import; only those who solve pay for it

    model = pyo.ConcreteModel()
    model.t = pyo.Var(domain=pyo.NonNegativeReals)
    model.takes = pyo.Var([(i, k) for i, counts in enumerate(data.counts) for k in counts], domain=pyo.Binary)
    model.largest = pyo.Objective(expr=model.t, sense=pyo.maximize)
    model.rows = pyo.ConstraintList()
    for i, counts in enumerate(data.counts):
        model.rows.add(_sum([(1.0, model.takes[i, k]) for k in counts]) == 1)
    (_extended if formulation == "extended" else _compact)(data, model, pyo)
    holders = [[] for _ in data.rbs]
    for index, variable in model.holds.items():
        holders[index[1]].append((1.0, variable))
    for terms in filter(None, holders):  # an RB that nobody can use has none
        model.rows.add(_sum(terms) <= 1)
    return model


def _extended(data: _Data, model, pyo) -> None:
    usable = {(i, k): np.flatnonzero(data.rates_mbps[i, k - 1]).tolist() for i, k in model.takes}
    model.holds = pyo.Var([(i, j, k) for (i, k), rbs in usable.items() for j in rbs], domain=pyo.Binary)
    for (i, k), rbs in usable.items():
        model.rows.add(_sum([(1.0, model.holds[i, j, k]) for j in rbs] + [(-float(k), model.takes[i, k])]) == 0)
    for i, counts in enumerate(data.counts):
        rate = [(data.rates_mbps[i, k - 1, j], model.holds[i, j, k]) for k in counts for j in usable[i, k]]
        model.rows.add(_sum([*rate, (-data.data_mbit[i], model.t)]) >= 0)


def _compact(data: _Data, model, pyo) -> None:
    model.holds = pyo.Var([(int(i), int(j)) for i, j in np.argwhere(data.most > 0)], domain=pyo.Binary)
    for i, counts in enumerate(data.counts):
        rbs = np.flatnonzero(data.most[i]).tolist()
        rates = data.rates_mbps[i][:, rbs]
        held = [(1.0, model.holds[i, j]) for j in rbs]
        model.rows.add(_sum(held + [(-float(k), model.takes[i, k]) for k in counts]) == 0)
        for k in counts:
            # Rates fall with k: the row holds as it is where more than k RBs are held; where k2 < k are held, their
            # rates are above those of k, by no more than the k2 largest differences.
            slack = [(np.sort(rates[k2 - 1] - rates[k - 1])[-k2:].sum(), model.takes[i, k2]) for k2 in counts if k2 < k]
            rate = [(r, model.holds[i, j]) for r, j in zip(rates[k - 1], rbs, strict=True)]
            model.rows.add(_sum([*rate, *slack, (-data.data_mbit[i], model.t)]) >= 0)
        for j in rbs:
            if too_many := [(1.0, model.takes[i, k]) for k in counts if k > data.most[i, j]]:
                model.rows.add(_sum([(1.0, model.holds[i, j]), *too_many]) <= 1)


def _sum(terms: list[tuple]):
    from pyomo.core.expr.numeric_expr import LinearExpression

    coefficients, variables = zip(*terms, strict=True)
    return LinearExpression(constant=0.0, linear_coefs=[float(c) for c in coefficients], linear_vars=list(variables))


def _engine(solver: str):
    importlib.import_module("pyomo.environ")  # registers the solvers
    from pyomo.contrib.solver.common.factory import SolverFactory

    engine = SolverFactory(SOLVERS[solver])
    if not engine.available():
        raise RuntimeError(f"{solver} is not there: install gurobipy, highspy or pyscipopt, and check Gurobi's licence")
    return engine


def _limited(engine) -> bool:
    from pyomo.contrib.solver.common.base import Availability

    return engine.available() == Availability.LimitedLicense


def _termination(results, solver: str) -> str:
    from pyomo.contrib.solver.common.results import TerminationCondition

    known = {
        TerminationCondition.convergenceCriteriaSatisfied: "optimal",
        TerminationCondition.maxTimeLimit: "time_limit",
        TerminationCondition.provenInfeasible: "infeasible",
        TerminationCondition.infeasibleOrUnbounded: "infeasible",  # t is bounded by the rates
    }
    if results.termination_condition not in known:
        raise RuntimeError(f"{solver} ended without an answer: {results.termination_condition}")
    return known[results.termination_condition]


def _delay_s(per_s: float | None) -> float | None:
    """1 / t; None without a number, or where t is 0 or unbounded and so says nothing."""
    return 1 / per_s if per_s is not None and 0 < per_s < 1e15 else None


def _solution(data: _Data, model, results, solver: str, seconds: float) -> Solution | None:
    """The assignment as a Solution: rates, delays and objective from the spec's formulas, no word of the solver's."""
    if results.solution_loader.get_number_of_solutions() == 0:
        return None
    values = results.solution_loader.get_vars()
    instance = data.instance
    n, _, m = instance.shape
    owner = np.full(m, -1, np.int32)
    for index, variable in model.holds.items():
        if values[variable] > 0.5:
            owner[data.rbs[index[1]]] = data.devices[index[0]]
    used = np.flatnonzero(owner >= 0)
    held = np.bincount(owner[used], minlength=n)
    power = np.zeros(m)
    power[used] = instance.p_max_w / held[owner[used]]
    sinr = instance.snr_per_w()[owner[used], used] * power[used]
    rate = np.bincount(owner[used], instance.rb_bandwidth_hz * np.log2(1 + sinr), minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        delay = np.where(instance.data_bits > 0, instance.data_bits / rate, 0.0)
    return Solution(
        schedule=owner[None, None, :],
        power_w=power[None, None, :],
        delay_s=delay,
        to_zigbee=np.zeros(n, bool),
        status="feasible",
        objective_s=float(delay.max(initial=0.0)),
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver=f"Pyomo, {solver}",
        seconds=seconds,
        iterations=0,
    )
