"""Radio resource management of one cell as one call for a worker process: convert, solve, read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.convertor import Grant, convert, grants
from optimizer.instance import Solution
from optimizer.solve import Options, solve
from twin.scenario import Scenario


@dataclass(frozen=True)
class CellPlan:
    """Grants by sensor id, and how they were found. Sensors without a grant go to Zigbee; ``notes`` says why."""

    status: str
    objective_s: float
    lower_bound_s: float
    solver: str
    seconds: float
    grants: dict[str, Grant]
    notes: tuple[str, ...]


def plan_cell(
    scenario: Scenario, demands_bytes: Mapping[str, int], load: Mapping[str, float], options: Options
) -> CellPlan:
    """RRM for the sensors of one cell. ``load``: share of capacity by cell, the other cells' for interference.

    A pure function of its arguments, but for the time limit; the channel is drawn by the scenario's seed.
    """
    conversion = convert(scenario, demands_bytes, load, scenario.seed)
    solution = solve(conversion.instance, options)
    return CellPlan(
        solution.status,
        solution.objective_s or 0.0,
        solution.lower_bound_s or 0.0,
        solution.solver,
        solution.seconds,
        grants(conversion, solution) if solution.feasible else {},
        tuple(_notes(solution, conversion.sensor_ids)),
    )


def _notes(solution: Solution, sensor_ids: tuple[str, ...]) -> list[str]:
    """What admission and infeasibility have to say, with sensors by name."""
    texts = [text for step in solution.reflexion for text in step.get("because", ())] + list(
        solution.infeasible_because
    )
    named = (re.sub(r"device (\d+)", lambda found: sensor_ids[int(found[1])], text) for text in texts)
    return [text.removeprefix("cell 0: ") for text in dict.fromkeys(named)]
