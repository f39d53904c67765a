"""Radio resource management of one cell as one call for a worker process: convert, solve, read back."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np

from optimizer.convertor import Grant, convert, grants
from optimizer.decision import delay_of_rbs, sixg_delay_s, with_tail
from optimizer.instance import Solution
from optimizer.mixed import by_shares, mixed_split, slowest_on_zigbee_s
from optimizer.solve import Options, solve
from twin.scenario import Scenario

_SLOTS_AHEAD = 144  # beyond the forecast, as in its last slot


@dataclass(frozen=True)
class CellPlan:
    """Grants by sensor id with the RB-slots of a frame that each holds, and how they were found.

    Sensors without a grant go to Zigbee; ``notes`` says why.
    """

    status: str
    objective_s: float
    lower_bound_s: float
    solver: str
    seconds: float
    grants: dict[str, Grant]
    rb_slots: dict[str, float]
    notes: tuple[str, ...]


def plan_cell(
    scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float], options: Options
) -> CellPlan:
    """RRM for the sensors of one cell. ``load``: share of capacity by cell, the other cells' for interference.

    A pure function of its arguments, but for the time limit; the channel is drawn by the scenario's seed.
    """
    conversion = convert(scenario, demands_bytes, load, scenario.seed)
    solution = solve(conversion.instance, options)
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
    )


def plan_mixed(
    scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float], options: Options
) -> CellPlan:
    """As ``plan_cell``, but with some sensors left to Zigbee where that lowers the largest delay of the cell."""
    whole = plan_cell(scenario, demands_bytes, load, options)
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
    named = (re.sub(r"device (\d+)", lambda found: sensor_ids[int(found[1])], text) for text in texts)
    return [text.removeprefix("cell 0: ") for text in dict.fromkeys(named)]
