"""Solve an Instance: admission, cell by cell, then the checker; every step is logged (the paper's reflexion)."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer import literal, milp
from optimizer.admission import admit
from optimizer.check import check
from optimizer.instance import Instance, Solution


@dataclass(frozen=True)
class Options:
    """mode: "literal". solver: "auto", "highs", "gurobi" or "heuristic". gap: relative, at which to stop.

    admission: send devices that can't be served to Zigbee and go on, instead of reporting the instance infeasible.
    """

    mode: str = "literal"
    solver: str = "auto"
    gap: float = 0.01
    time_limit_s: float = 10.0
    admission: bool = True

    def __post_init__(self) -> None:
        if self.mode != "literal":
            raise ValueError(f"mode: {self.mode!r} is not there yet; 'literal' is")
        if self.solver not in (*milp.SOLVERS, "heuristic"):
            raise ValueError(f"solver: {self.solver!r} is unknown; choose {', '.join(milp.SOLVERS)} or heuristic")
        if not (self.gap > 0 and math.isfinite(self.gap)):
            raise ValueError(f"gap: {self.gap} must be above 0")
        if not self.time_limit_s > 0:
            raise ValueError(f"time_limit_s: {self.time_limit_s} must be above 0")


DEFAULT = Options()


def solve(instance: Instance, options: Options = DEFAULT) -> Solution:
    """The least largest delay over assignments with evenly spread power (see ``optimizer.literal``), with its gap.

    A pure function of plain data but for the time limit. Devices without data hold no RB and have delay 0.
    ``lower_bound_s`` bounds that even-power problem. Raises ValueError for coupled instances.
    """
    if instance.coupled:
        raise ValueError(
            "coupled: instances whose devices interfere across cells can't be solved yet; set coupled to 0"
        )
    began = time.monotonic()
    refused, reasons = _admission(instance)
    if reasons and not options.admission:
        return _infeasible(instance, reasons, (), time.monotonic() - began)
    steps = [_admission_step(refused, reasons)] if reasons else []
    solution = _solve_admitted(instance, refused, options, began)
    findings = check(instance, solution)
    steps.append(
        {
            "action": "solve",
            "objective_s": solution.objective_s,
            "lower_bound_s": solution.lower_bound_s,
            "solver": solution.solver,
            "checked": [{"constraint": f.constraint, "holds": f.holds, "slack": f.slack} for f in findings],
        }
    )
    if broken := [f"{f.constraint}: {f.detail}" for f in findings if not f.holds]:
        reasons = [f"the solution of {solution.solver} failed the check and was discarded", *broken]
        return _infeasible(instance, reasons, tuple(steps), time.monotonic() - began)
    return replace(solution, reflexion=tuple(steps), seconds=time.monotonic() - began)


def _cells(instance: Instance, keep: NDArray[np.bool_]):
    """(cell, its devices with data among ``keep``, its free RBs) for each cell that has such devices."""
    for c in range(instance.shape[1]):
        devices = np.flatnonzero((instance.serving == c) & keep & (instance.data_bits > 0))
        if devices.size:
            yield c, devices, np.flatnonzero(instance.free[c])


def _admission(instance: Instance) -> tuple[NDArray[np.bool_], list[str]]:
    refused, reasons = np.zeros(instance.shape[0], bool), []
    for c, devices, rbs in _cells(instance, ~refused):
        sinr = instance.snr_per_w()[np.ix_(devices, rbs)] * instance.p_max_w
        with np.errstate(divide="ignore"):
            delay = instance.data_bits[devices, None] / (instance.rb_bandwidth_hz * np.log2(1 + sinr))
        rows, why = admit(np.where(sinr >= instance.sinr_min, delay, np.inf), sinr, instance.sinr_min)
        refused[devices[rows]] = True
        for row, text in zip(rows, why, strict=True):
            reasons.append(f"cell {c}: " + text.replace(f"device {row}:", f"device {devices[row]}:", 1))
    return refused, reasons


def _admission_step(refused: NDArray[np.bool_], reasons: list[str]) -> dict:
    return {"action": "admission", "to_zigbee": np.flatnonzero(refused).tolist(), "because": reasons}


def _solve_admitted(instance: Instance, refused: NDArray[np.bool_], options: Options, began: float) -> Solution:
    n, c, m = instance.shape
    schedule, power = np.full((c, 1, m), -1, np.int32), np.zeros((c, 1, m))
    delay = np.where(refused, np.nan, 0.0)
    cells, results = list(_cells(instance, ~refused)), []
    for i, (c, devices, rbs) in enumerate(cells):
        cell = literal.Cell(
            instance.snr_per_w()[np.ix_(devices, rbs)],
            instance.data_bits[devices],
            instance.p_max_w,
            instance.sinr_min,
            instance.rb_bandwidth_hz,
        )
        # What is left of the time is shared by the cells still to come.
        now = time.monotonic()
        deadline = now + (options.time_limit_s - (now - began)) / (len(cells) - i)
        result = literal.solve_cell(cell, options.solver, options.gap, lambda end=deadline: end - time.monotonic())
        results.append(result)
        held = result.owner >= 0
        schedule[c, 0, rbs[held]] = devices[result.owner[held]]
        count = np.bincount(result.owner[held], minlength=len(devices))
        power[c, 0, rbs[held]] = instance.p_max_w / count[result.owner[held]]
        delay[devices] = cell.delays_s(result.owner)
    objective = max((r.objective_s for r in results), default=0.0)
    lower = max((r.lower_bound_s for r in results), default=0.0)
    gap = objective / lower - 1 if lower > 0 else 0.0
    timed_out = any(r.timed_out for r in results)
    status = "optimal" if gap <= options.gap else "time_limit" if timed_out else "feasible"
    bounds = sorted({r.bound for r in results})
    solvers = sorted({name for r in results for name in r.solvers})
    return Solution(
        schedule=schedule,
        power_w=power,
        delay_s=delay,
        to_zigbee=refused,
        status=status,
        objective_s=objective,
        lower_bound_s=lower,
        gap=gap,
        bound=f"{' and '.join(bounds)}, even power" if bounds else "none",
        solver="+".join(solvers) or "none",
        seconds=time.monotonic() - began,
        iterations=sum(r.iterations for r in results),
    )


def _infeasible(instance: Instance, reasons: list[str], steps: tuple[dict, ...], seconds: float) -> Solution:
    n, c, m = instance.shape
    return Solution(
        schedule=np.full((c, 1, m), -1, np.int32),
        power_w=np.zeros((c, 1, m)),
        delay_s=np.full(n, np.nan),
        to_zigbee=np.zeros(n, bool),
        status="infeasible",
        objective_s=None,
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="none",
        seconds=seconds,
        iterations=0,
        reflexion=steps,
        infeasible_because=tuple(reasons),
    )
