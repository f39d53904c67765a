"""Reflexion: solve, check the constraints one by one, and where they can't hold, say why and take the next action.

Of the actions that help and are allowed (``optimizer.actions``) ``reflect`` takes the first; with ``Reflexion`` others
may choose. Every step is logged as plain JSON data with the certificate before it and after it (None: no solution yet):
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

_MOST_STEPS = 200  # solves, checks and actions

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


@dataclass(frozen=True)
class _Log:
    """The steps so far; ``after`` of the last ``untold`` is filled in by the next solve."""

    steps: tuple[dict, ...] = ()
    certificate: dict | None = None
    untold: int = 0

    def taken(self, action: Action) -> "_Log":
        values = dataclasses.asdict(action)
        because = values.pop("why")
        step = {"action": action.kind, **values, "because": because, "before": self.certificate, "after": None}
        steps = (*self.steps, json.loads(json.dumps(step, allow_nan=False)))
        return replace(self, steps=steps, untold=self.untold + 1)

    def tried(self, what: str, trial: Trial) -> "_Log":
        believed = not any(isinstance(conflict, FailedCheck) for conflict in trial.conflicts)
        names = ("objective_s", "lower_bound_s", "gap", "bound")
        after = {name: getattr(trial.solution, name) for name in names} if believed else None
        told = len(self.steps) - self.untold
        step = {
            "action": what,
            "solver": trial.solution.solver,
            "checked": [{"constraint": f.constraint, "holds": f.holds, "slack": f.slack} for f in trial.findings],
            "before": self.certificate,
            "after": after,
        }
        return _Log((*self.steps[:told], *({**one, "after": after} for one in self.steps[told:]), step), after)


@dataclass(frozen=True, eq=False)
class Reflexion:
    """Reflexion one step at a time, for whoever chooses the actions: ``solve``, then ``take`` one of ``offers`` and
    ``solve`` again, until there is a ``solution``. Plain data; each step gives a new one.

    After ``solve``: findings and conflicts of the present setting, without findings where formulas alone show the
    conflicts; either the solution, an infeasible one when nothing is left to do, or the actions that are applicable.
    """

    instance: Instance
    options: Options
    setting: Setting
    warm: Solution | None = None
    check: Checker = check
    findings: tuple[Finding, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    offers: tuple[Action, ...] = ()
    solution: Solution | None = None
    trial: Trial | None = None  # the last solve's, and the setting in which its raw solution was found
    solved: Setting | None = None
    log: _Log = _Log()

    @classmethod
    def begin(
        cls, instance: Instance, options: Options, warm: Solution | None = None, check: Checker = check
    ) -> "Reflexion":
        """Nothing changed and nothing solved yet."""
        return cls(instance, options, first_setting(instance, options), warm, check)

    def solve(self, seconds_left: Callable[[], float]) -> "Reflexion":
        """Solve in the present setting, where no formula excludes it, and check. After the time limit no further solve
        is begun, the first one excepted."""
        instance, options = self.instance, self.options
        now = replace(self.setting, frame=frame_of(changed_instance(instance, self.setting), self.setting, options))
        if conflicts := find_conflicts(instance, now, options):
            return self._judged(conflicts, ())
        key = replace(now, max_delay_s=None, parallel_cap=None, data_checked=True)
        again = self.trial is not None and key == self.solved
        if self.trial is not None and not again and seconds_left() <= 0:
            conflicts = (*self.trial.conflicts, TimeOut(options.time_limit_s))
            return replace(self, conflicts=conflicts, findings=(), offers=(), solution=self._infeasible(conflicts))
        known = self.trial.raw if self.trial else self.warm
        raw = self.trial.raw if again else None
        trial = try_setting(instance, now, options, seconds_left, known, raw, self.check)
        log = self.log.tried("check" if again else "solve", trial)
        tried = replace(self, trial=trial, solved=key, log=log)
        if trial.conflicts:
            return tried._judged(trial.conflicts, trial.findings)
        solution = replace(trial.solution, reflexion=log.steps)
        return replace(tried, conflicts=(), findings=trial.findings, offers=(), solution=solution)

    def take(self, action: Action) -> "Reflexion":
        """After an action out of ``offers``; ``solve`` comes next."""
        return replace(self, setting=apply(action, self.setting), log=self.log.taken(action), offers=())

    def _judged(self, conflicts: tuple[Conflict, ...], findings: tuple[Finding, ...]) -> "Reflexion":
        offers = applicable(self.instance, self.setting, conflicts, self.options)
        if not offers or len(self.log.steps) >= _MOST_STEPS:
            solution = self._infeasible(conflicts)
            return replace(self, conflicts=conflicts, findings=findings, offers=(), solution=solution)
        return replace(self, conflicts=conflicts, findings=findings, offers=offers)

    def _infeasible(self, conflicts: Sequence[Conflict]) -> Solution:
        n, c, m = self.instance.shape
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
            reflexion=self.log.steps,
            infeasible_because=tuple(dict.fromkeys(reasons)),
        )


def reflect(
    instance: Instance,
    options: Options,
    seconds_left: Callable[[], float],
    warm: Solution | None = None,
    check: Checker = check,
) -> Solution:
    """The solution in the first setting in which all constraints hold, or an infeasible one with the reasons."""
    course = Reflexion.begin(instance, options, warm, check).solve(seconds_left)
    while course.solution is None:
        course = course.take(course.offers[0]).solve(seconds_left)
    return course.solution
