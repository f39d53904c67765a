"""Reflexion: solve, check the constraints one by one, and where they can't hold, say why and take the next action.

The loop is deterministic: of the actions that help and are allowed (``optimizer.actions``) it takes the first. Every
step is logged as plain JSON data with the certificate before it and after it (None: no solution yet):
``{"action": .., its parameters, "because": [texts], "before": .., "after": ..}``; a step "solve" or "check" also has
the constraints "checked", each with its slack. A solution that fails the check has no certificate.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.actions import (
    Action,
    Setting,
    applicable,
    apply,
    changed_instance,
    find_conflicts,
    first_setting,
    frame_of,
    served,
)
from optimizer.attempt import attempt
from optimizer.check import Finding, check
from optimizer.diagnosis import Conflict, Disturbed, FailedCheck, TimeOut, judge, requirements
from optimizer.instance import Instance, Solution
from optimizer.options import Options
from optimizer.parallel import capped

_MOST_STEPS = 100

Checker = Callable[[Instance, Solution], tuple[Finding, ...]]


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of a setting: the solver's solution, the one with the cap on parallel RBs, its findings, conflicts."""

    raw: Solution
    solution: Solution
    findings: tuple[Finding, ...]
    conflicts: tuple[Conflict, ...]


def try_setting(
    instance: Instance,
    setting: Setting,
    options: Options,
    seconds_left: Callable[[], float],
    warm: Solution | None = None,
    raw: Solution | None = None,
    check: Checker = check,
) -> Trial:
    """Solve in a setting in which ``find_conflicts`` finds none, and check.

    raw: what the solver found before, where the setting differs in the deadline or the cap alone.
    """
    problem = changed_instance(instance, setting)
    if raw is None:
        frame = frame_of(problem, setting, options)
        refused = ~served(problem, setting)
        raw = attempt(problem, refused, frame, options.solver, options.gap, seconds_left, warm)
    if not raw.feasible:  # only coupled cells are found to be so this late
        left_out = tuple(np.flatnonzero(raw.to_zigbee).tolist())
        return Trial(raw, raw, check(problem, raw), (Disturbed(left_out, raw.infeasible_because),))
    cap = setting.parallel_cap
    solution = raw if cap is None else capped(problem, raw, cap, options.gap)
    findings = check(problem, solution)
    conflicts = judge(problem, solution, findings, setting.max_delay_s, options.parallel_cap)
    if all(finding.holds for finding in findings):
        findings = (*findings, *requirements(solution, setting.max_delay_s, options.parallel_cap))
    return Trial(raw, solution, findings, conflicts)


def reflect(
    instance: Instance,
    options: Options,
    seconds_left: Callable[[], float],
    warm: Solution | None = None,
    check: Checker = check,
) -> Solution:
    """The solution in the first setting in which all constraints hold, or an infeasible one with the reasons.

    After the time limit no further solve is begun, the first one excepted.
    """
    setting, log = first_setting(instance, options), _Log()
    trial, solved = None, None
    for _ in range(_MOST_STEPS):
        frame = frame_of(changed_instance(instance, setting), setting, options)
        now = replace(setting, frame=frame)
        conflicts = find_conflicts(instance, now, options)
        if not conflicts:
            key = replace(now, max_delay_s=None, parallel_cap=None, data_checked=True)
            again = trial is not None and key == solved
            if trial is not None and not again and seconds_left() <= 0:
                return _infeasible(instance, (*trial.conflicts, TimeOut(options.time_limit_s)), log)
            known = trial.raw if trial else warm
            trial = try_setting(instance, now, options, seconds_left, known, trial.raw if again else None, check)
            solved = key
            log.tried("check" if again else "solve", trial)
            conflicts = trial.conflicts
            if not conflicts:
                return replace(trial.solution, reflexion=tuple(log.steps))
        action = next(iter(applicable(instance, setting, conflicts, options)), None)
        if action is None:
            break
        log.taken(action)
        setting = apply(action, setting)
    return _infeasible(instance, conflicts, log)


class _Log:
    """The steps so far; ``after`` is filled in by the next solve."""

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self._certificate: dict | None = None
        self._open: list[dict] = []

    def taken(self, action: Action) -> None:
        values = dataclasses.asdict(action)
        because = values.pop("why")
        step = {"action": action.kind, **values, "because": because, "before": self._certificate, "after": None}
        self.steps.append(json.loads(json.dumps(step, allow_nan=False)))
        self._open.append(self.steps[-1])

    def tried(self, what: str, trial: Trial) -> None:
        believed = not any(isinstance(conflict, FailedCheck) for conflict in trial.conflicts)
        names = ("objective_s", "lower_bound_s", "gap", "bound")
        after = {name: getattr(trial.solution, name) for name in names} if believed else None
        self.steps.append(
            {
                "action": what,
                "solver": trial.solution.solver,
                "checked": [{"constraint": f.constraint, "holds": f.holds, "slack": f.slack} for f in trial.findings],
                "before": self._certificate,
                "after": after,
            }
        )
        for step in self._open:
            step["after"] = after
        self._certificate, self._open = after, []


def _infeasible(instance: Instance, conflicts: Sequence[Conflict], log: _Log) -> Solution:
    n, c, m = instance.shape
    reasons = [text for conflict in conflicts for text in conflict.texts()]
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
        seconds=0.0,
        iterations=0,
        reflexion=tuple(log.steps),
        infeasible_because=tuple(dict.fromkeys(reasons)),
    )
