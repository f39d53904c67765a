"""Stage two of a retrieval by function calling (paper, section III-A): forecast and decide, convert, solve, check and
tune until all constraints hold, and leave the rest to Zigbee.

``Management`` is the state of one retrieval with the five tools on it, each with its card for language models. Two
drivers use the same tools: ``in_order`` takes a fixed way, ``controller.network_manager`` lets a model choose. A tool
refuses what is out of order, so that no driver can bring about anything but decisions that are kept, solutions that
were checked and changes that the operator's options allow; and ``in_order`` completes whatever a model left undone.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from agents.apis import ApiError, nearest
from agents.data_api import Api, api_of, call_async
from controller.decisions import CellForecast
from controller.rrm import CellPlan, CellTrial, cell_parameters, try_cell
from controller.workers import Workers
from optimizer.actions import Action
from optimizer.decision import Decision
from optimizer.options import Options
from optimizer.zigbee import zigbee_delays
from twin.path import Path
from twin.scenario import Scenario

ROWS = 12  # most rows of a list in a tool's result
_CHARS = 300  # of a text in a tool's result

Predict = Callable[[], Awaitable[tuple[Mapping[str, CellForecast], Mapping[str, Decision]]]]


@dataclass
class _Cell:
    """How far one cell has come. offered: the actions that check_constraints told after the last solve; by_rule:
    whether the first one was taken every time; zigbee_s: delay by sensor, of those that are routed over Zigbee."""

    demands_bytes: Mapping[str, int]
    trial: CellTrial | None = None
    offered: tuple[Action, ...] = ()
    by_rule: bool = True
    zigbee_s: dict[str, float] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def plan(self) -> CellPlan | None:
        return self.trial.plan if self.trial else None


class Management:
    """The management of one retrieval: bytes by sensor by cell, and what has been found out and chosen so far.

    predict: forecasts and decisions, of these cells and of those whose users disturb them; called once. The public
    coroutines are the tools; they raise ApiError, saying what to do instead, for what is unknown or out of order.
    """

    def __init__(
        self,
        scenario: Scenario,
        demands_bytes: Mapping[str, Mapping[str, int]],
        predict: Predict,
        workers: Workers,
        options: Options,
        mixed: bool = False,
    ):
        self._scenario = scenario
        self._cells = {cell: _Cell(sizes) for cell, sizes in demands_bytes.items()}
        self._predict = predict
        self._workers = workers
        self._options = options
        self._mixed = mixed
        self._predicting = asyncio.Lock()
        self._forecasts: Mapping[str, CellForecast] = {}
        self._loads: dict[str, float] = {}
        self.decisions: Mapping[str, Decision] = {}

    # --- What has come of it ------------------------------------------------------------------------------------------

    @property
    def demands_bytes(self) -> dict[str, Mapping[str, int]]:
        """Bytes by sensor by cell."""
        return {name: cell.demands_bytes for name, cell in self._cells.items()}

    @property
    def plans(self) -> dict[str, CellPlan]:
        """The RRM of the cells on 6G."""
        return {name: cell.plan for name, cell in self._cells.items() if cell.plan}

    @property
    def zigbee_s(self) -> dict[str, float]:
        """Predicted delay in seconds of each sensor that is routed over Zigbee."""
        return {sensor: delay for cell in self._cells.values() for sensor, delay in cell.zigbee_s.items()}

    def undone(self, cells: Iterable[str] | None = None) -> dict[str, str]:
        """Those of the cells (None: of all) in which a demand has no way yet, or a way that isn't known to be good, and
        why."""
        names = self._cells if cells is None else cells
        return {name: why for name in names if (why := self._undone(name, self._cells[name]))}

    def undo_choices(self, unless_holding: bool = False) -> None:
        """Begin anew where another than the first action was taken; unless_holding: and no solution came of it."""
        for name, cell in self._cells.items():
            if not cell.by_rule and not (unless_holding and cell.plan and cell.plan.holds):
                self._cells[name] = _Cell(cell.demands_bytes)

    def _undone(self, name: str, cell: _Cell) -> str:
        if name not in self.decisions:
            return "no decision"
        sixg = self.decisions[name].path is Path.SIXG
        if sixg and cell.plan is None:
            return "no solution of which all constraints hold" if cell.trial else "not solved"
        if sixg and not cell.plan.holds and not cell.by_rule:
            return "no solution of which all constraints hold after the actions chosen"
        granted = cell.plan.grants.keys() if sixg else frozenset()
        without = cell.demands_bytes.keys() - granted - cell.zigbee_s.keys()
        return f"{len(without)} sensors without a way" if without else ""

    # --- The tools ----------------------------------------------------------------------------------------------------

    async def predict_load(self, cells: list[str] | None = None) -> dict:
        """Predict the cells' traffic load over the retrieval and decide for each cell: 6G or Zigbee. Call this first.

        Args:
            cells: ids of cells; None is all cells of the retrieval.

        Returns:
            {"cells": [{"cell", "path": "6G" or "Zigbee", "why", "load_now": and "load": the predicted one, both shares
            of capacity, "sensors": their number, "bytes": to be retrieved}], "left_out": cells not listed}

        Example:
            predict_load(["m10", "m11"])
        """
        names = list(self._cells) if cells is None else list(dict.fromkeys(cells))
        for name in names:
            self._known(name)
        async with self._predicting:
            if not self.decisions:
                forecasts, decisions = await self._predict()
                self._loads = {name: forecast.decision_load for name, forecast in forecasts.items()}
                self._forecasts, self.decisions = forecasts, decisions
        rows = [
            {
                "cell": name,
                "path": _word(self.decisions[name].path),
                "why": _short(self.decisions[name].why),
                "load_now": _number(self._forecasts[name].latest_load),
                "load": _number(self.decisions[name].load),
                "sensors": len(self._cells[name].demands_bytes),
                "bytes": sum(self._cells[name].demands_bytes.values()),
            }
            for name in names[:ROWS]
        ]
        return {"cells": rows, "left_out": len(names) - len(rows)}

    async def convert_parameters(self, cell: str) -> dict:
        """Show the numbers of the RRM problem of a cell that is decided for 6G. solve_rrm does without it.

        Args:
            cell: id of the cell.

        Returns:
            {"cell", "devices": sensors, "free_rbs" of "rbs": resource blocks (RBs), "load": share of capacity,
            "demand_bytes", "distance_m", "loss_db": each [least, median, largest], "noise_dbm": per RB, "p_max_dbm":
            per sensor, "sinr_min_db": beta, "rb_bandwidth_hz", "slot_s"}

        Example:
            convert_parameters("m10")
        """
        sizes = self._on_sixg(cell).demands_bytes
        found = await self._workers.run(cell_parameters, self._scenario, sizes, self._loads)
        return {"cell": cell} | {
            name: [_number(v) for v in value] if isinstance(value, list) else _number(value)
            for name, value in found.items()
        }

    async def solve_rrm(self, cell: str, action: str | None = None) -> dict:
        """Solve the RRM problem of a cell that is decided for 6G: RBs and power for each sensor, with the smallest
        largest delay. Given an action that check_constraints offers, the problem is changed by it first.

        Args:
            cell: id of the cell.
            action: one of the actions that check_constraints(cell) offers; None solves the problem as it is.

        Returns:
            {"cell", "solved": whether a solution was found, "delay_s": its largest delay, "at_least_s": what is proven
            that no solution can be faster than, "granted": sensors with RBs, "refused": sensors without, "next": what
            to call}

        Example:
            solve_rrm("m10", "longer_frame")
        """
        at = self._on_sixg(cell)
        async with at.lock:
            taken = self._action(cell, at, action) if action else None
            if at.trial is None or taken is not None:
                known = (at.trial, taken) if taken is not None else ()
                trial = await self._workers.run(
                    try_cell, self._scenario, at.demands_bytes, self._loads, self._options, self._mixed, *known
                )
                at.by_rule &= taken is None or taken is at.offered[0]
                at.trial, at.offered = trial, ()
        return {"cell": cell, **_solved(at), "next": f"check_constraints({cell!r})"}

    async def check_constraints(self, cell: str) -> dict:
        """Check the last solution of a cell against its constraints, one by one, and say what may be done where they
        can't hold.

        Args:
            cell: id of the cell, after solve_rrm.

        Returns:
            {"cell", "holds": whether all constraints hold, "constraints": [{"constraint", "holds", "slack": in its own
            unit, negative where broken}], empty without a solution, "conflicts": what stands in the way, in words,
            "actions": [{"action": for solve_rrm, and what it changes}], the first is to be preferred, "next": what to
            call}

        Example:
            check_constraints("m10")
        """
        at = self._on_sixg(cell)
        async with at.lock:
            if at.trial is None:
                raise ApiError(f"cell {cell} has no solution to check; call solve_rrm({cell!r}) first")
            at.offered = at.trial.offers
            findings = at.plan.checked if at.plan else at.trial.reflexion.findings
            holds = at.plan is not None and at.plan.holds
            conflicts = at.trial.conflicts if at.plan is None else () if holds else at.plan.notes
            return {
                "cell": cell,
                "holds": holds,
                "constraints": [
                    {"constraint": f.constraint, "holds": f.holds, "slack": _number(f.slack)} for f in findings
                ],
                "conflicts": _texts(conflicts),
                "actions": [self._offer(at, action) for action in at.offered],
                "next": self._next(cell, at),
            }

    async def route_zigbee(self, cell: str, sensors: list[str] | None = None) -> dict:
        """Send demands over Zigbee and predict their delays: all of a cell that is decided for Zigbee, or those that
        6G left out in a cell that is decided for it.

        Args:
            cell: id of the cell.
            sensors: ids of sensors; None is all of the cell that 6G doesn't serve.

        Returns:
            {"cell", "routed": sensors of the cell on Zigbee now, "delay_s": the largest delay of these, which share the
            medium, "slowest": sensors with delays in seconds, "left": sensors of the cell that still have no way}

        Example:
            route_zigbee("m11")
        """
        at = self._decided(cell)
        async with at.lock:
            rest = self._rest(cell, at)
            chosen = rest if sensors is None else set(sensors)
            if unknown := sorted(chosen - at.demands_bytes.keys()):
                like = nearest(unknown[0], at.demands_bytes)
                raise ApiError(f"cell {cell} has no demand of a sensor {_short(unknown[0])!r}{like}")
            if served := sorted(chosen - rest):
                raise ApiError(f"sensor {served[0]} is served by 6G, and its grant holds; leave it out")
            routed = [sensor for sensor in at.demands_bytes if sensor in at.zigbee_s or sensor in chosen]
            sizes = {sensor: at.demands_bytes[sensor] for sensor in routed}
            at.zigbee_s = await asyncio.to_thread(zigbee_delays, sizes)
            slowest = sorted(at.zigbee_s.items(), key=lambda pair: -pair[1])
            return {
                "cell": cell,
                "routed": len(routed),
                "delay_s": _number(slowest[0][1]) if slowest else 0.0,
                "slowest": {sensor: _number(delay) for sensor, delay in slowest[:3]},
                "left": len(rest) - len(routed),
            }

    async def call(self, name: str, arguments: object) -> object:
        """A tool by name, as ``agents.data_api.call_async`` calls functions. Raises ApiError."""
        return await call_async(TOOLS, self, name, arguments)

    # --- What is in order ---------------------------------------------------------------------------------------------

    def _known(self, name: str) -> _Cell:
        if name not in self._cells:
            cells = _listed(list(self._cells))
            raise ApiError(
                f"cell {_short(name)!r} has nothing to retrieve{nearest(name, self._cells)}; the cells are {cells}"
            )
        return self._cells[name]

    def _decided(self, name: str) -> _Cell:
        at = self._known(name)
        if name not in self.decisions:
            raise ApiError(f"nothing is decided for cell {name} yet; call predict_load() first")
        return at

    def _on_sixg(self, name: str) -> _Cell:
        at = self._decided(name)
        if self.decisions[name].path is not Path.SIXG:
            why = self.decisions[name].why
            raise ApiError(f"cell {name} is decided for Zigbee ({why}); call route_zigbee({name!r})")
        return at

    def _action(self, name: str, at: _Cell, kind: str) -> Action:
        """The action of this kind. Raises ApiError unless it has been offered."""
        if at.plan is not None:
            raise ApiError(f"nothing is left to change in cell {name}; {self._next(name, at)}")
        if not at.offered:
            raise ApiError(f"no action is offered for cell {name} yet; call check_constraints({name!r}) first")
        for action in at.offered:
            if action.kind == kind:
                return action
        kinds = ", ".join(action.kind for action in at.offered)
        raise ApiError(f"action {_short(kind)!r} is not offered for cell {name}; offered are {kinds}")

    def _rest(self, name: str, at: _Cell) -> set[str]:
        """The sensors that 6G doesn't serve. Raises ApiError while that isn't known, and where it serves all."""
        if self.decisions[name].path is Path.ZIGBEE:
            return set(at.demands_bytes)
        if at.trial is None:
            raise ApiError(f"cell {name} is decided for 6G; call solve_rrm({name!r})")
        if at.plan is None:
            raise ApiError(f"the constraints of cell {name} don't hold yet; call check_constraints({name!r})")
        rest = at.demands_bytes.keys() - at.plan.grants.keys()
        if not rest:
            raise ApiError(f"6G serves all sensors of cell {name}; nothing is left for Zigbee there")
        return rest

    def _next(self, name: str, at: _Cell) -> str:
        if at.plan is None:
            return f"solve_rrm({name!r}, action) with one of the actions"
        left = at.demands_bytes.keys() - at.plan.grants.keys() - at.zigbee_s.keys()
        return f"route_zigbee({name!r}) for {len(left)} sensors" if left else "nothing; the cell is done"

    def _offer(self, at: _Cell, action: Action) -> dict:
        """An action as a model is told it."""
        values = {name: value for name, value in asdict(action).items() if name != "why"}
        if "to_zigbee" in values:
            values["to_zigbee"] = _listed([at.trial.conversion.sensor_ids[i] for i in values["to_zigbee"]])
        if "rbs" in values:
            values["rbs"] = len(values["rbs"])
        return {"action": action.kind} | {name: _number(value) for name, value in values.items()}


TOOLS: dict[str, Api] = {
    tool.__name__: api_of(tool)
    for tool in (
        Management.predict_load,
        Management.convert_parameters,
        Management.solve_rrm,
        Management.check_constraints,
        Management.route_zigbee,
    )
}


def _word(path: Path) -> str:
    return "6G" if path is Path.SIXG else "Zigbee"


def _number(value: object) -> object:
    """Numbers to four digits, and None for what is none; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _short(text: str) -> str:
    return text if len(text) <= _CHARS else f"{text[:_CHARS]}..."


def _texts(texts: Sequence[str]) -> list[str]:
    more = [f"and {len(texts) - ROWS} more"] if len(texts) > ROWS else []
    return [_short(text) for text in texts[:ROWS]] + more


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - ROWS} more" if len(names) > ROWS else ""
    return f"{', '.join(names[:ROWS])}{more}"


def _solved(at: _Cell) -> dict:
    """The solution in figures, of a cell that was tried."""
    if at.plan is not None:
        delay_s, least_s, granted = at.plan.objective_s, at.plan.lower_bound_s, len(at.plan.grants)
        solved = bool(at.plan.checked)
    else:
        tried, solved = at.trial.reflexion.trial, bool(at.trial.reflexion.findings)
        solution = tried.solution if solved else None
        delay_s, least_s = (solution.objective_s, solution.lower_bound_s) if solved else (None, None)
        granted = int((~solution.to_zigbee).sum()) if solved else 0
    return {
        "solved": solved,
        "delay_s": _number(delay_s) if solved else None,
        "at_least_s": _number(least_s) if solved else None,
        "granted": granted,
        "refused": len(at.demands_bytes) - granted,
    }


# --- The fixed order --------------------------------------------------------------------------------------------------


async def in_order(management: Management) -> None:
    """Do what is undone, always the same way: forecasts and decisions, then all cells at a time: solve, check and take
    the first action offered until all constraints hold or nothing is left to try, then Zigbee for the rest."""
    await management.predict_load()
    await asyncio.gather(*(_cell_in_order(management, cell) for cell in management.undone()))


async def _cell_in_order(management: Management, cell: str) -> None:
    if management.decisions[cell].path is Path.SIXG:
        await management.solve_rrm(cell)
        while actions := (await management.check_constraints(cell))["actions"]:
            await management.solve_rrm(cell, actions[0]["action"])
    if management.undone([cell]):
        await management.route_zigbee(cell)
