"""Solve an Instance: admission, cell by cell, then the checker; every step is logged (the paper's reflexion)."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer import program
from optimizer.admission import Refusal, admit
from optimizer.attempt import attempt, choose_frame, parts
from optimizer.check import check
from optimizer.instance import Instance, Solution

MODES = ("frames", "literal")


@dataclass(frozen=True)
class Options:
    """mode: "frames" (RBs are shared over the slots of a frame) or "literal" (each RB is one device's throughout).

    solver: "auto" and "highs" are HiGHS; "gurobi" and "scip" (literal mode only) go through Pyomo; "heuristic" solves no
    program. frame: slots of the frame; None: as long as rounding needs. gap: relative, at which to stop.
    admission: send devices that can't be served to Zigbee and go on, instead of reporting the instance infeasible.
    """

    mode: str = "frames"
    solver: str = "auto"
    frame: int | None = None
    gap: float = 0.01
    time_limit_s: float = 10.0
    admission: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode: {self.mode!r} is unknown; choose {' or '.join(MODES)}")
        if self.solver not in (*program.SOLVERS, "heuristic"):
            raise ValueError(f"solver: {self.solver!r} is unknown; choose {', '.join(program.SOLVERS)} or heuristic")
        if self.frame is not None and not (isinstance(self.frame, int) and self.frame >= 1):
            raise ValueError(f"frame: {self.frame} must be a whole number of slots, 1 or more")
        if self.mode == "literal" and self.frame not in (None, 1):
            raise ValueError(f"frame: {self.frame} slots are for mode 'frames'; mode 'literal' has one")
        if not (self.gap > 0 and math.isfinite(self.gap)):
            raise ValueError(f"gap: {self.gap} must be above 0")
        if not self.time_limit_s > 0:
            raise ValueError(f"time_limit_s: {self.time_limit_s} must be above 0")


DEFAULT = Options()


def solve(instance: Instance, options: Options = DEFAULT, warm: Solution | None = None) -> Solution:
    """The least largest delay, with what proves how good it is (``Solution.certificate``).

    A pure function of plain data but for the time limit. Devices without data hold no RB and have delay 0. ``warm``: the
    solution of an instance that was much the same, with the same devices, cells and RBs; it saves time where it still
    reaches the gap. Raises ValueError for coupled instances, SolverError.
    """
    if instance.coupled:
        raise ValueError(
            "coupled: instances whose devices interfere across cells can't be solved yet; set coupled to 0"
        )
    began = time.monotonic()
    n, c, m = instance.shape
    everyone = np.ones(n, bool)
    frame = 1 if options.mode == "literal" else options.frame or choose_frame(instance, everyone)
    refused, reasons = _admission(instance, frame)
    if reasons and not options.admission:
        return _infeasible(instance, reasons, (), time.monotonic() - began)
    steps = [_admission_step(refused, reasons)] if reasons else []
    if options.mode == "frames" and options.frame is None:
        frame = choose_frame(instance, ~refused)

    def seconds_left() -> float:
        return options.time_limit_s - (time.monotonic() - began)

    solution = attempt(instance, refused, frame, options.solver, options.gap, seconds_left, warm)
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


def _admission(instance: Instance, frame: int) -> tuple[NDArray[np.bool_], list[str]]:
    """Which devices [N] must go to Zigbee, with a reason each."""
    refused, reasons = np.zeros(instance.shape[0], bool), []
    for part in parts(instance, ~refused):
        cell = part.cell
        best = cell.snr.max(axis=1, initial=0.0)
        with np.errstate(divide="ignore"):
            cost = cell.work / np.log2(1 + best)  # delay on the best RB alone
        for refusal in admit((cell.snr >= cell.sinr_min) & (cell.snr > 0), cost, frame):
            refused[part.devices[refusal.device]] = True
            device = f"cell {part.index}: device {part.devices[refusal.device]}"
            reasons.append(f"{device}: {_why(refusal, best[refusal.device], cell, frame)}")
    return refused, reasons


def _why(refusal: Refusal, best_snr: float, cell, frame: int) -> str:
    devices, rbs = cell.shape
    if rbs and not (best_snr >= cell.sinr_min and best_snr > 0):
        best = 10 * np.log10(max(best_snr, 1e-30))
        least = 10 * np.log10(cell.sinr_min) if cell.sinr_min > 0 else -np.inf
        return f"best SINR {best:.1f} dB at full power on one RB, below the {least:.1f} dB needed"
    slots = "" if frame == 1 else f" in each of {frame} slots"
    if rbs * frame < devices:
        return f"{devices} devices want an RB and {rbs} are free{slots}"
    rivals = len(refusal.rivals)
    return f"{rivals + 1} devices reach the SINR needed on the same {len(refusal.rbs)} RBs only{slots}"


def _admission_step(refused: NDArray[np.bool_], reasons: list[str]) -> dict:
    return {"action": "admission", "to_zigbee": np.flatnonzero(refused).tolist(), "because": reasons}


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
