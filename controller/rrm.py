"""Radio resource management of one cell as calls for a worker process: convert, solve, read back; at once, or one step
of reflexion at a time."""

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np

from optimizer.actions import Action, Admit
from optimizer.channel import w_to_dbm
from optimizer.check import Finding
from optimizer.convertor import Conversion, Grant, convert, grants
from optimizer.decision import delay_of_rbs, sixg_delay_s, with_tail
from optimizer.instance import Solution
from optimizer.mixed import by_shares, mixed_split, slowest_on_zigbee_s
from optimizer.reflexion import Reflexion
from optimizer.solve import Options, solve
from twin.scenario import Scenario

_SLOTS_AHEAD = 144  # beyond the forecast, as in its last slot


@dataclass(frozen=True)
class CellPlan:
    """Grants by sensor id with the RB-slots of a frame that each holds, and how they were found.

    Sensors without a grant go to Zigbee; ``notes`` says why. checked: the constraints of the solution, one by one, each
    with its slack in its own unit; empty where it is infeasible.
    """

    status: str
    objective_s: float
    lower_bound_s: float
    solver: str
    seconds: float
    grants: dict[str, Grant]
    rb_slots: dict[str, float]
    notes: tuple[str, ...]
    checked: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there is a solution of which all constraints hold."""
        return bool(self.checked) and all(finding.holds for finding in self.checked)


@dataclass(frozen=True, eq=False)
class CellTrial:
    """How far a cell's reflexion has come after ``seconds`` of solving: the ``plan`` once it has ended, and until then
    what it goes on from. conflicts: what stands in the way, in words with sensors by name."""

    seconds: float
    plan: CellPlan | None
    conversion: Conversion | None = None
    reflexion: Reflexion | None = None
    conflicts: tuple[str, ...] = ()

    @property
    def offers(self) -> tuple[Action, ...]:
        """The actions that may be taken next, in order. What changes the problem itself comes after admission, which
        always helps, and isn't offered beside it."""
        offers = self.reflexion.offers if self.reflexion else ()
        admission = next((i for i, action in enumerate(offers) if isinstance(action, Admit)), len(offers))
        return offers[: admission + 1]


def plan_cell(
    scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float], options: Options
) -> CellPlan:
    """RRM for the sensors of one cell. ``load``: share of capacity by cell, the other cells' for interference.

    A pure function of its arguments, but for the time limit; the channel is drawn by the scenario's seed.
    """
    conversion = convert(scenario, demands_bytes, load, scenario.seed)
    return _plan(conversion, solve(conversion.instance, options))


def _plan(conversion: Conversion, solution: Solution) -> CellPlan:
    granted = grants(conversion, solution) if solution.feasible else {}
    held = np.bincount(solution.schedule[solution.schedule >= 0], minlength=len(conversion.sensor_ids))
    return CellPlan(
        solution.status,
        solution.objective_s or 0.0,
        solution.lower_bound_s or 0.0,
        solution.solver,
        solution.seconds,
        granted,
        {name: float(count) for name, count in zip(conversion.sensor_ids, held, strict=True) if name in granted},
        tuple(_notes(solution, conversion.sensor_ids)),
        tuple(_checked(solution)),
    )


def plan_mixed(
    scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float], options: Options
) -> CellPlan:
    """As ``plan_cell``, but with some sensors left to Zigbee where that lowers the largest delay of the cell."""
    return _mixed(scenario, demands_bytes, load, options, plan_cell(scenario, demands_bytes, load, options))


def _mixed(
    scenario: Scenario,
    demands_bytes: Mapping[str, int],
    load: Mapping[str, float],
    options: Options,
    whole: CellPlan,
) -> CellPlan:
    """``whole``, or a better plan for some of its sensors."""
    refused = {name: size for name, size in demands_bytes.items() if name not in whole.grants}
    if not whole.grants:
        return whole

    def zigbee_s(chosen: Mapping[str, float]) -> float:
        return slowest_on_zigbee_s(refused | dict(chosen))

    candidates = {name: demands_bytes[name] for name in whole.grants}
    split = mixed_split(candidates, whole.rb_slots, by_shares(whole.objective_s, whole.rb_slots), zigbee_s)
    if not split.zigbee:
        return whole
    part = plan_cell(scenario, {name: demands_bytes[name] for name in split.sixg}, load, options)
    if max(part.objective_s, split.zigbee_s) >= max(whole.objective_s, zigbee_s({})) or len(part.grants) < len(
        split.sixg
    ):
        return whole
    note = f"{', '.join(split.zigbee)}: over Zigbee, since the cell's largest delay is smaller so"
    return replace(part, seconds=whole.seconds + part.seconds, notes=(*part.notes, note))


def try_cell(
    scenario: Scenario,
    demands_bytes: Mapping[str, int],
    load: Mapping[str, float],
    options: Options,
    mixed: bool,
    last: CellTrial | None = None,
    action: Action | None = None,
) -> CellTrial:
    """One step of the reflexion that ``plan_cell`` (mixed: ``plan_mixed``) does at once: solve and check, after an
    action out of the offers of the ``last`` trial. Whoever takes the first offer every time gets the same plan.
    """
    conversion = last.conversion if last else convert(scenario, demands_bytes, load, scenario.seed)
    reflexion = last.reflexion if last else Reflexion.begin(conversion.instance, options)
    spent_s, began = last.seconds if last else 0.0, time.monotonic()
    if action is not None:
        reflexion = reflexion.take(action)
    reflexion = reflexion.solve(lambda: options.working_s - spent_s - (time.monotonic() - began))
    seconds = spent_s + time.monotonic() - began
    if reflexion.solution is None:
        conflicts = [text for conflict in reflexion.conflicts for text in conflict.texts()]
        return CellTrial(seconds, None, conversion, reflexion, tuple(_named(conflicts, conversion.sensor_ids)))
    plan = _plan(conversion, replace(reflexion.solution, seconds=seconds))
    return CellTrial(seconds, _mixed(scenario, demands_bytes, load, options, plan) if mixed else plan)


def cell_parameters(scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float]) -> dict:
    """The numbers of one cell's RRM problem in brief, as plain JSON data: devices, RBs, demands, distances and losses
    (least, median, largest), and the limits on power and SINR."""
    conversion = convert(scenario, demands_bytes, load, scenario.seed)
    instance, links = conversion.instance, conversion.links
    return {
        "devices": len(conversion.sensor_ids),
        "free_rbs": int(instance.free.sum()),
        "rbs": instance.shape[2],
        "load": conversion.load[0],
        "demand_bytes": _range(instance.data_bits / 8),
        "distance_m": _range(links.distance_m),
        "loss_db": _range(links.loss_db),
        "noise_dbm": w_to_dbm(instance.noise_w),
        "p_max_dbm": w_to_dbm(instance.p_max_w),
        "sinr_min_db": 10 * math.log10(instance.sinr_min) if instance.sinr_min > 0 else None,
        "rb_bandwidth_hz": instance.rb_bandwidth_hz,
        "slot_s": instance.slot_s,
    }


def _range(values: np.ndarray) -> list[float] | None:
    return np.percentile(values, (0, 50, 100)).tolist() if values.size else None


def predict_delays(
    scenario: Scenario,
    cell: str,
    demands_bytes: Mapping[str, int],
    load: Mapping[str, float],
    quantiles: np.ndarray,
    levels: tuple[float, ...],
    options: Options,
    first_s: float,
    slot_s: float,
) -> tuple[tuple[float, ...], list[float], float]:
    """(levels, delay on 6G at each level of the cell's load, delay on Zigbee), seconds.

    quantiles [levels, slots]: of the load, from the slot in progress on, which ends in ``first_s``. The delay on 6G is
    solved for one, half and all of the cell's RBs, and read between them.
    """
    blocks = scenario.cell[cell].resource_blocks
    solved_s = {}
    for free in sorted({1, (blocks + 1) // 2, blocks}):
        plan = plan_cell(scenario, demands_bytes, {**load, cell: 1 - free / blocks}, options)
        solved_s[free] = plan.objective_s if plan.grants else math.inf
    all_levels, loads = with_tail(levels, quantiles)
    zigbee_s = slowest_on_zigbee_s(demands_bytes)
    delays_s = []
    for row in np.floor(blocks * (1 - np.minimum(loads, 1.0)) + 1e-9).astype(int).tolist():
        alone_s = (delay_of_rbs(solved_s, free) for free in chain(row, repeat(row[-1], _SLOTS_AHEAD)))
        delays_s.append(sixg_delay_s(alone_s, first_s, slot_s, zigbee_s))
    return all_levels, delays_s, zigbee_s


def _notes(solution: Solution, sensor_ids: tuple[str, ...]) -> list[str]:
    """What admission and infeasibility have to say, with sensors by name."""
    texts = [text for step in solution.reflexion for text in step.get("because", ())] + list(
        solution.infeasible_because
    )
    return _named(texts, sensor_ids)


def _named(texts: Iterable[str], sensor_ids: Sequence[str]) -> list[str]:
    """Each text once, with sensors by name; the one cell needs none."""
    named = (re.sub(r"device (\d+)", lambda found: sensor_ids[int(found[1])], text) for text in texts)
    return [text.removeprefix("cell 0: ") for text in dict.fromkeys(named)]


def _checked(solution: Solution) -> list[Finding]:
    """The findings on the solution, of the last step of its log."""
    rows = solution.reflexion[-1]["checked"] if solution.feasible else ()
    return [Finding(row["constraint"], row["holds"], row["slack"], "") for row in rows]
