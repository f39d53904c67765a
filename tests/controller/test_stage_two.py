"""Stage two by its tools: the fixed order against the RRM in one call, and models that follow a script."""

import asyncio
import json
import math
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from loopback_city import running
from pydantic_ai.exceptions import ModelServerError
from pydantic_ai.messages import ModelResponse, RetryPromptPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from agents.apis import ApiError
from agents.model import LanguageModel, Limits, ModelFailure, ModelSettings
from controller import network_manager
from controller.config import Config, DecisionConfig
from controller.decisions import CellForecast
from controller.network_manager import by_model
from controller.question import Answerer
from controller.rrm import plan_cell, plan_mixed
from controller.stage_two import TOOLS, Management, in_order
from optimizer.decision import decide
from optimizer.solve import Options
from optimizer.zigbee import zigbee_delays
from proto import query_pb2, query_pb2_grpc
from twin.generate import make_scenario
from twin.path import Path

SCENARIO = make_scenario(cells=4, sensors=48, seed=3)
CELLS = [cell.id for cell in SCENARIO.cells]
A, B, C, D = CELLS
RBS = SCENARIO.cells[0].resource_blocks
FULL = 1 - 1 / RBS  # load that leaves one RB
CALM = {A: 0.3, B: 0.2, C: 0.9, D: 0.5}  # C: Zigbee
LITERAL = Options(mode="literal")


class Inline:
    """Workers in this process; what goes in and out is pickled, as on the way to another one."""

    def __init__(self):
        self.ran = Counter()

    async def run(self, function, *arguments):
        self.ran[function.__name__] += 1
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        return pickle.loads(pickle.dumps(function(*arguments)))


def demands(size=20_000, scenario=SCENARIO):
    """Bytes by sensor by cell: the same for all, or drawn anew for each by ``size()``."""
    draw = size if callable(size) else lambda: size
    found = {cell.id: {} for cell in scenario.cells}
    for sensor in scenario.sensors:
        found[sensor.cell][sensor.id] = draw()
    return found


def management(loads=None, sizes=None, options=None, mixed=False, tau=0.7, scenario=SCENARIO, workers=None):
    loads = loads or CALM

    async def predict():
        forecasts = {cell: CellForecast(cell, load, (load,), load, 12, "") for cell, load in loads.items()}
        return forecasts, decide(loads, tau)

    sizes = demands(scenario=scenario) if sizes is None else sizes
    return Management(scenario, sizes, predict, workers or Inline(), options or Options(), mixed)


def result(managed):
    """All that comes of a retrieval's management, but for the seconds it took."""
    plans = {cell: replace(plan, seconds=0.0) for cell, plan in managed.plans.items()}
    return plans, managed.zigbee_s


def at_once(loads=None, sizes=None, options=None, mixed=False, tau=0.7):
    """The same without tools."""
    loads, sizes, plans, zigbee_s = loads or CALM, demands() if sizes is None else sizes, {}, {}
    for cell, decision in decide({cell: loads[cell] for cell in sizes}, tau).items():
        if decision.path is Path.SIXG:
            plan = (plan_mixed if mixed else plan_cell)(SCENARIO, sizes[cell], loads, options or Options())
            plans[cell] = replace(plan, seconds=0.0)
        granted = plans[cell].grants if cell in plans else ()
        zigbee_s |= zigbee_delays({sensor: size for sensor, size in sizes[cell].items() if sensor not in granted})
    return plans, zigbee_s


def one_way_each(managed, sizes):
    """Every demand has exactly one way, decisions are kept, and constraints hold."""
    granted = [sensor for plan in managed.plans.values() for sensor in plan.grants]
    assert sorted([*granted, *managed.zigbee_s]) == sorted(sensor for of in sizes.values() for sensor in of)
    assert set(managed.plans) == {c for c in sizes if managed.decisions[c].path is Path.SIXG}
    assert all(plan.holds or not plan.grants for plan in managed.plans.values())


async def refusal(coroutine):
    with pytest.raises(ApiError) as caught:
        await coroutine
    return str(caught.value)


# --- The fixed order --------------------------------------------------------------------------------------------------


async def test_the_fixed_order_gives_what_one_call_per_cell_gives():
    managed = management()
    await in_order(managed)
    assert result(managed) == at_once()
    assert set(managed.plans) == {A, B, D} and set(managed.zigbee_s) == set(demands()[C])
    assert not managed.undone()


CASES = {
    "no room for all": dict(options=LITERAL, tau=1.0, loads=dict.fromkeys(CELLS, 0.8)),
    "one RB": dict(options=LITERAL, tau=1.0, loads=dict.fromkeys(CELLS, FULL)),
    "no RB": dict(tau=1.0, loads=dict.fromkeys(CELLS, 0.99)),
    "a longer frame": dict(options=Options(frame=2, longest_frame=40), tau=1.0, loads=dict.fromkeys(CELLS, FULL)),
    "a larger delay": dict(options=Options(frame=20, max_delay_s=0.02, parallel_cap=3)),
    "a deadline": dict(options=Options(frame=20, max_delay_s=0.02, longest_delay_s=0.02)),
    "no admission": dict(options=replace(LITERAL, admission=False), tau=1.0, loads=dict.fromkeys(CELLS, FULL)),
    "RBs of others": dict(
        options=replace(LITERAL, admission=False, spare_rbs=12), tau=1.0, loads=dict.fromkeys(CELLS, FULL)
    ),
    "mixed": dict(mixed=True, tau=1.0, loads={A: FULL, B: 0.3, C: 0.9, D: 0.5}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_the_fixed_order_where_something_has_to_give(case):
    rng = np.random.default_rng(5)
    sizes = demands(lambda: int(10 ** rng.uniform(2, 5)))
    managed = management(sizes=sizes, **case)
    await in_order(managed)
    assert result(managed) == at_once(sizes=sizes, **case)
    one_way_each(managed, sizes)


async def test_the_cases_are_what_they_say():
    notes = {}
    for name, case in CASES.items():
        plans, zigbee_s = at_once(**case)
        notes[name] = " ".join(note for plan in plans.values() for note in plan.notes)
        assert bool(zigbee_s) or name in ("a longer frame", "RBs of others"), name
    assert "want an RB" in notes["no room for all"] and "0 are free" in notes["no RB"]
    assert "deadline" in notes["a deadline"] and "hold" not in notes["a deadline"]
    assert "RBs are free, not for the one given" in notes["RBs of others"]
    assert "over Zigbee" in notes["mixed"]


async def test_random_retrievals():
    rng = np.random.default_rng(11)
    for _ in range(12):
        loads = {cell: float(rng.uniform(0, 1.05)) for cell in CELLS}
        chosen = {cell: of for cell, of in demands(lambda: int(10 ** rng.uniform(0, 5))).items() if rng.random() < 0.8}
        sizes = {cell: {s: n for s, n in of.items() if rng.random() < 0.7} for cell, of in chosen.items()}
        sizes = {cell: of for cell, of in sizes.items() if of}
        case = dict(
            loads=loads,
            options=Options(
                mode=str(rng.choice(["frames", "literal"])),
                max_delay_s=float(rng.choice([0.01, 0.1, 10])) if rng.random() < 0.5 else None,
            ),
            mixed=bool(rng.random() < 0.3),
            tau=float(rng.uniform(0.5, 1)),
        )
        managed = management(sizes=sizes, **case)
        await in_order(managed)
        assert result(managed) == at_once(sizes=sizes, **case), (loads, case)
        one_way_each(managed, sizes)


async def test_an_undisturbed_cell_costs_one_call_of_a_worker():
    workers = Inline()
    await in_order(management(workers=workers))
    assert workers.ran == {"try_cell": 3}


async def test_nothing_to_retrieve():
    managed = management(sizes={})
    await in_order(managed)
    assert result(managed) == ({}, {})


async def test_unknown_load_goes_over_zigbee():
    managed = management(loads={A: math.nan, B: 0.2, C: 0.9, D: 0.5})
    told = await managed.predict_load([A])
    assert told["cells"][0]["path"] == "Zigbee" and told["cells"][0]["load"] is None
    assert "unknown" in await refusal(managed.solve_rrm(A))
    await in_order(managed)
    one_way_each(managed, demands())


# --- The tools --------------------------------------------------------------------------------------------------------


def test_every_tool_has_a_card_and_a_schema():
    assert list(TOOLS) == ["predict_load", "convert_parameters", "solve_rrm", "check_constraints", "route_zigbee"]
    solve = TOOLS["solve_rrm"]
    assert solve.signature == "solve_rrm(cell: str, action: str | None = None) -> dict"
    assert solve.schema["required"] == ["cell"] and solve.schema["properties"]["action"]["type"] == ["string", "null"]
    assert len(json.dumps([tool.tool for tool in TOOLS.values()])) < 6_000


async def test_the_tools_one_by_one():
    managed = management()
    told = await managed.call("predict_load", {"cells": [A, C]})
    assert [(row["cell"], row["path"], row["load"]) for row in told["cells"]] == [(A, "6G", 0.3), (C, "Zigbee", 0.9)]
    assert told["cells"][0]["sensors"] == 12 and told["cells"][0]["bytes"] == 12 * 20_000
    numbers = await managed.call("convert_parameters", {"cell": A})
    assert (numbers["devices"], numbers["rbs"], numbers["free_rbs"]) == (12, RBS, math.floor(RBS * 0.7 + 1e-9))
    assert (
        numbers["demand_bytes"] == [20_000.0] * 3 and 35 <= numbers["distance_m"][0] <= numbers["distance_m"][2] < 310
    )
    assert numbers["p_max_dbm"] == pytest.approx(SCENARIO.radio.p_max_dbm)
    assert numbers["sinr_min_db"] == pytest.approx(SCENARIO.radio.sinr_min_db)
    solved = await managed.call("solve_rrm", {"cell": A})
    assert solved["solved"] and (solved["granted"], solved["refused"]) == (12, 0)
    assert solved["delay_s"] == pytest.approx(managed.plans[A].objective_s, rel=1e-3) and solved["next"].startswith(
        "check"
    )
    checked = await managed.call("check_constraints", {"cell": A})
    assert checked["holds"] and not checked["actions"] and not checked["conflicts"]
    names = [row["constraint"] for row in checked["constraints"]]
    assert {"exclusive", "free_rbs", "power", "sinr", "served", "delay"} <= set(names)
    assert all(row["holds"] for row in checked["constraints"]) and "done" in checked["next"]
    routed = await managed.call("route_zigbee", {"cell": C})
    assert (routed["routed"], routed["left"]) == (12, 0)
    assert routed["delay_s"] == pytest.approx(max(managed.zigbee_s.values()), rel=1e-3)


async def test_solving_again_changes_nothing():
    workers = Inline()
    managed = management(workers=workers)
    await managed.predict_load()
    first = await managed.solve_rrm(A)
    assert await managed.solve_rrm(A, "") == first and workers.ran["try_cell"] == 1
    assert "nothing is left to change" in await refusal(managed.solve_rrm(A, "larger_delay"))


async def test_reflexion_by_hand_until_all_constraints_hold():
    """Twelve sensors want one of five RBs: seven have to go."""
    managed = management(options=LITERAL, tau=1.0, loads=dict.fromkeys(CELLS, 0.8))
    await managed.predict_load()
    solved = await managed.solve_rrm(A)
    assert not solved["solved"] and solved["delay_s"] is None
    checked = await managed.check_constraints(A)
    assert not checked["holds"] and "12 devices want an RB and 5 are free" in checked["conflicts"][0]
    (offer,) = checked["actions"]
    assert offer["action"] == "admission" and offer["to_zigbee"].count(",") == 6
    assert "don't hold yet" in await refusal(managed.route_zigbee(A))
    solved = await managed.solve_rrm(A, "admission")
    assert solved["solved"] and (solved["granted"], solved["refused"]) == (5, 7)
    assert (await managed.check_constraints(A))["next"] == f"route_zigbee({A!r}) for 7 sensors"
    assert (await managed.route_zigbee(A))["routed"] == 7
    plans, zigbee_s = at_once(options=LITERAL, tau=1.0, loads=dict.fromkeys(CELLS, 0.8))
    assert result(managed)[0][A] == plans[A]
    assert managed.zigbee_s == {sensor: zigbee_s[sensor] for sensor in managed.zigbee_s}


async def test_sensors_may_be_routed_in_parts_and_share_the_medium():
    managed = management()
    await managed.predict_load()
    first, *others = demands()[C]
    assert (await managed.route_zigbee(C, [first]))["left"] == 11
    alone = managed.zigbee_s[first]
    assert "sensors without a way" in managed.undone()[C]
    await managed.route_zigbee(C, others)
    assert managed.zigbee_s == zigbee_delays(demands()[C]) and managed.zigbee_s[first] > alone


async def test_what_is_out_of_order_is_refused_with_what_to_do():
    managed = management()
    assert "call predict_load() first" in await refusal(managed.solve_rrm(A))
    assert "call predict_load() first" in await refusal(managed.route_zigbee(C))
    assert f"nearest names: {A}" in await refusal(managed.predict_load([A + "x"]))
    await managed.predict_load()
    for call in (managed.solve_rrm, managed.convert_parameters, managed.check_constraints):
        assert f"decided for Zigbee (predicted load 0.900 not below tau 0.700); call route_zigbee({C!r})" in (
            await refusal(call(C))
        )
    assert f"the cells are {A}, {B}, {C}, {D}" in await refusal(managed.solve_rrm("nowhere"))
    assert "call solve_rrm" in await refusal(managed.check_constraints(A))
    assert "is decided for 6G; call solve_rrm" in await refusal(managed.route_zigbee(A))
    await managed.solve_rrm(A)
    assert "6G serves all sensors" in await refusal(managed.route_zigbee(A))
    assert "has no demand of a sensor" in await refusal(managed.route_zigbee(C, list(demands()[A])[:1]))


async def test_actions_are_taken_only_when_offered():
    managed = management(options=Options(frame=20, max_delay_s=0.02, longest_delay_s=0.03))
    await managed.predict_load()
    assert "call check_constraints" in await refusal(managed.solve_rrm(A, "larger_delay"))
    await managed.solve_rrm(A)
    assert "call check_constraints" in await refusal(managed.solve_rrm(A, "larger_delay"))
    offered = [row["action"] for row in (await managed.check_constraints(A))["actions"]]
    assert offered[0] == "larger_delay" and "admission" in offered
    for never in ("waive_sinr", "more_rbs", "drop_all_constraints", "solve"):
        assert f"is not offered for cell {A}; offered are larger_delay" in await refusal(managed.solve_rrm(A, never))
    await managed.solve_rrm(A, "larger_delay")
    assert "call check_constraints" in await refusal(managed.solve_rrm(A, "larger_delay"))
    assert "larger_delay" not in [row["action"] for row in (await managed.check_constraints(A))["actions"]]


async def test_the_problem_itself_is_not_changed_where_admission_is_allowed():
    options = replace(LITERAL, spare_rbs=12, sinr_waiver_db=3.0)
    managed = management(options=options, tau=1.0, loads=dict.fromkeys(CELLS, 0.8))
    await managed.predict_load()
    await managed.solve_rrm(A)
    assert [row["action"] for row in (await managed.check_constraints(A))["actions"]] == ["admission"]


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("solve_rrm", {}, "needs 'cell', text"),
        ("solve_rrm", {"cell": 7}, "cell must be text, not the number 7"),
        ("solve_rrm", {"cells": A}, "did you mean 'cell'"),
        ("solve_rrm", [A], "must be one object"),
        ("predict_load", {"cells": A}, "cells must be a list of texts or null"),
        ("route_zigbee", {"cell": C, "sensors": {"a": 1}}, "sensors must be a list of texts or null"),
        ("route_zigbee", {"cell": "x" * 5_000}, "has nothing to retrieve"),
        ("solve_rmm", {"cell": A}, "did you mean solve_rrm?"),
        ("undone", {}, "there is no function 'undone'"),
    ],
)
async def test_nonsense_arguments_are_refused(name, arguments, says):
    managed = management()
    await managed.predict_load()
    text = await refusal(managed.call(name, arguments))
    assert says in text and len(text) < 1_000


async def test_results_stay_small_however_large_the_cell():
    city = make_scenario(cells=30, sensors=6_000, seed=1)
    names = [cell.id for cell in city.cells]
    loads = dict.fromkeys(names, 0.9)
    managed = management(loads, demands(scenario=city), replace(LITERAL), tau=1.0, scenario=city)
    told = await managed.call("predict_load", {})
    assert len(told["cells"]) == 12 and told["left_out"] == 18
    rows = [told]
    for name, arguments in [
        ("convert_parameters", {"cell": names[0]}),
        ("solve_rrm", {"cell": names[0]}),
        ("check_constraints", {"cell": names[0]}),
        ("solve_rrm", {"cell": names[0], "action": "admission"}),
        ("check_constraints", {"cell": names[0]}),
        ("route_zigbee", {"cell": names[0]}),
    ]:
        rows.append(await managed.call(name, arguments))
    assert max(len(json.dumps(row)) for row in rows) < 4_000
    assert len(managed.zigbee_s) > 100


async def test_calls_for_the_same_cell_at_the_same_time():
    workers = Inline()
    managed = management(workers=workers)
    await asyncio.gather(*(managed.predict_load() for _ in range(3)))
    await asyncio.gather(*(managed.solve_rrm(A) for _ in range(4)))
    assert workers.ran["try_cell"] == 1


# --- Models that follow a script --------------------------------------------------------------------------------------


def scripted(script, **settings):
    """A model that calls what the generator ``script`` yields, lists of (tool, arguments), and is sent the results,
    plain data or the text of a refusal; when it ends, the model replies."""

    def answer(messages, info):
        given = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
        results = [p.content if isinstance(p, ToolReturnPart) else str(p.content) for p in given]
        try:
            calls = script.send(results) if given else next(script)
        except StopIteration as end:
            calls = [("reply", end.value or {"done": True, "summary": "All cells are managed."})]
        return ModelResponse(parts=[ToolCallPart(name, arguments) for name, arguments in calls])

    return LanguageModel(ModelSettings("scripted", **settings), model=FunctionModel(answer))


def behaves():
    """Does as it is told, all cells at a time, and takes the first action."""
    (told,) = yield [("predict_load", {})]
    sixg = [row["cell"] for row in told["cells"] if row["path"] == "6G"]
    zigbee = [row["cell"] for row in told["cells"] if row["path"] == "Zigbee"]
    todo = [("solve_rrm", {"cell": cell}) for cell in sixg]
    while todo:
        yield todo
        checked = yield [("check_constraints", {"cell": call[1]["cell"]}) for call in todo]
        zigbee += [row["cell"] for row in checked if "route_zigbee" in row["next"]]
        todo = [
            ("solve_rrm", {"cell": row["cell"], "action": row["actions"][0]["action"]})
            for row in checked
            if row["actions"]
        ]
    if zigbee:
        yield [("route_zigbee", {"cell": cell}) for cell in zigbee]


def one_by_one(script):
    """The same, one call at a time."""
    calls = next(script)
    while True:
        results = []
        for call in calls:
            results += yield [call]
        try:
            calls = script.send(results)
        except StopIteration:
            return


async def managed_by(script, limits=None, settings=None, **case):
    """(the management after the model's turn and the fixed order, what was told, what was undone after the turn)."""
    managed, told = management(**case), []
    model = script if isinstance(script, LanguageModel) else scripted(script, **(settings or {}))
    await by_model(managed, model, limits or Limits(), told.append)
    undone = managed.undone()
    await in_order(managed)
    one_way_each(managed, case.get("sizes") or demands())
    return managed, told, undone


@pytest.mark.parametrize("case", [{}, *CASES.values()], ids=["calm", *CASES])
@pytest.mark.parametrize("pace", ["at a time", "one by one"])
async def test_a_model_that_behaves_gives_the_same_result(case, pace):
    script = behaves() if pace == "at a time" else one_by_one(behaves())
    managed, told, undone = await managed_by(script, Limits(tokens=10**9), **case)
    assert not undone
    assert result(managed) == at_once(**case)
    assert len(told) == 1 and told[0].startswith("managed by the model scripted: 4 cells")


async def test_a_model_that_does_nothing():
    def script():
        return {"done": True, "summary": "Trust me."}
        yield

    managed, told, undone = await managed_by(script())
    assert set(undone) == set(CELLS) and "left 4 cells to the fixed order" in told[0]
    assert result(managed) == at_once()


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
async def test_a_model_that_stops_half_way(rounds):
    def script():
        whole = behaves()
        calls = next(whole)
        for _ in range(rounds):
            calls = whole.send((yield calls))

    case = CASES["no room for all"]
    managed, told, undone = await managed_by(script(), **case)
    assert undone and "to the fixed order" in told[0]
    assert result(managed) == at_once(**case)


async def test_a_model_that_skips_the_check():
    def script():
        (told,) = yield [("predict_load", {})]
        sixg = [row["cell"] for row in told["cells"] if row["path"] == "6G"]
        yield [("solve_rrm", {"cell": cell}) for cell in sixg]
        yield [("route_zigbee", {"cell": C})]

    managed, told, undone = await managed_by(script())
    assert not undone and result(managed) == at_once()
    overload = CASES["no room for all"]
    managed, told, undone = await managed_by(script(), **overload)
    assert set(undone) == set(CELLS) and "no solution of which all constraints hold" in told[0]
    assert result(managed) == at_once(**overload)


async def test_a_model_that_asks_for_what_is_not_there_and_then_behaves():
    seen = []

    def script():
        for call in [
            ("solve_rrm", {"cell": "m99"}),
            ("route_zigbee", {"cell": A}),
            ("predict_load", {"cells": ["m99", "m98"]}),
            ("solve_rrm", {"cell": A, "action": "waive_sinr"}),
            ("launch_rockets", {}),
        ]:
            seen.extend((yield [call]))
        yield from behaves()

    case = CASES["no room for all"]
    managed, told, undone = await managed_by(script(), **case)
    assert not undone and result(managed) == at_once(**case)
    assert len(seen) == 5 and "has nothing to retrieve" in seen[0] and "predict_load() first" in seen[1]


async def test_a_model_that_never_learns():
    def script():
        while True:
            yield [("solve_rrm", {"cell": "m99"})]

    managed, told, undone = await managed_by(script())
    assert len(undone) == 4 and "(invalid)" in told[0] and "fixed order" in told[0]
    assert result(managed) == at_once()


async def test_a_model_that_asks_for_actions_that_are_not_offered():
    def script():
        yield [("predict_load", {})]
        yield [("solve_rrm", {"cell": A})]
        yield [("check_constraints", {"cell": A})]
        for action in ("waive_sinr", "more_rbs", "ignore"):
            yield [("solve_rrm", {"cell": A, "action": action})]

    case = CASES["no room for all"]
    managed, told, undone = await managed_by(script(), **case)
    assert "(invalid)" in told[0] and result(managed) == at_once(**case)


async def test_a_model_that_loops_for_ever():
    calls = 0

    def script():
        nonlocal calls
        while True:
            calls += 1
            yield [("predict_load", {})]

    managed, told, undone = await managed_by(script(), Limits(tokens=10**9))
    assert "(budget)" in told[0] and calls <= network_manager.CALLS_PER_CELL * 5 + 1
    assert result(managed) == at_once()


async def test_tokens_are_limited():
    managed, told, _ = await managed_by(one_by_one(behaves()), Limits(tokens=300))
    assert "(budget)" in told[0] and result(managed) == at_once()


async def test_seconds_are_limited():
    async def slow(messages, info):
        await asyncio.sleep(30)

    model = LanguageModel(ModelSettings("slow"), model=FunctionModel(slow))
    managed, told, _ = await managed_by(model, Limits(seconds=0.2))
    assert "(budget)" in told[0] and result(managed) == at_once()


@pytest.mark.parametrize(
    "script",
    [
        [("solve_rrm", {"cell": 7})],
        [("predict_load", {"cells": "all", "now": True})],
        [("predict_load", "{not json")],
        [("reply", {"done": "perhaps", "summary": 1})],
        [("reply", "{")],
        [],
    ],
    ids=str,
)
async def test_a_model_that_talks_nonsense(script):
    def forever():
        while True:
            yield script

    managed, told, _ = await managed_by(forever())
    assert "fixed order" in told[0] and result(managed) == at_once()


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_model_that_fails(after):
    def script():
        whole = behaves()
        calls = next(whole)
        for _ in range(after):
            calls = whole.send((yield calls))
        raise ModelServerError("scripted", "out of order")

    case = CASES["no room for all"]
    managed, told, _ = await managed_by(script(), **case)
    assert len(told) == 1 and "(server)" in told[0] and "fixed order" in told[0]
    assert result(managed) == at_once(**case)


def chooses(kind, then=None):
    """Takes the action of this kind in cell A where it is offered, else the first."""
    yield [("predict_load", {})]
    yield [("solve_rrm", {"cell": A})]
    while True:
        (checked,) = yield [("check_constraints", {"cell": A})]
        offered = [row["action"] for row in checked["actions"]]
        if not offered:
            break
        yield [("solve_rrm", {"cell": A, "action": kind if kind in offered else offered[0]})]
    if then is not None:
        raise then


DEADLINE = dict(options=Options(frame=20, max_delay_s=0.02, longest_delay_s=10.0))


async def test_a_choice_among_the_actions_offered_is_kept():
    first = at_once(**DEADLINE)[0][A]
    managed, told, undone = await managed_by(chooses("admission"), **DEADLINE)
    plan = managed.plans[A]
    assert plan.holds and plan.objective_s <= 0.02 < first.objective_s
    assert 0 < len(plan.grants) < len(first.grants) == 12
    others = {cell: plan for cell, plan in result(managed)[0].items() if cell != A}
    assert others == {cell: plan for cell, plan in at_once(**DEADLINE)[0].items() if cell != A}


async def test_choices_of_a_model_that_fails_afterwards_are_undone():
    script = chooses("admission", ModelServerError("scripted", "out of order"))
    managed, told, _ = await managed_by(script, **DEADLINE)
    assert "(server)" in told[0] and result(managed) == at_once(**DEADLINE)


async def test_choices_that_lead_nowhere_are_undone():
    """Without admission: another's RBs don't keep the deadline, a larger delay does."""
    options = Options(frame=20, max_delay_s=0.002, longest_delay_s=10.0, admission=False, spare_rbs=3)
    case = dict(options=options)

    def script():
        yield [("predict_load", {})]
        yield [("solve_rrm", {"cell": A})]
        (checked,) = yield [("check_constraints", {"cell": A})]
        assert [row["action"] for row in checked["actions"]][-1] == "more_rbs"
        yield [("solve_rrm", {"cell": A, "action": "more_rbs"})]

    managed, told, undone = await managed_by(script(), **case)
    assert A in undone and result(managed) == at_once(**case)


async def test_more_cells_than_a_model_is_given():
    city = make_scenario(cells=15, sensors=60, seed=2)
    sizes = demands(scenario=city)
    loads = dict.fromkeys(sizes, 0.3)
    case = dict(loads=loads, sizes=sizes, scenario=city)
    managed, told, undone = await managed_by(behaves(), **case)
    assert told[0] == "the model manages 12 of 15 cells; the others are managed in the fixed order"
    assert "managed by the model scripted: 12 cells" in told[1] and list(undone) == list(sizes)[12:]
    fixed = management(**case)
    await in_order(fixed)
    assert result(managed) == result(fixed)


async def test_the_model_is_told_the_rules_the_cells_and_the_tools():
    asked = []

    def answer(messages, info):
        asked.append((messages, info))
        return ModelResponse(parts=[ToolCallPart("reply", {"done": False, "summary": ""})])

    model = LanguageModel(ModelSettings("scripted"), model=FunctionModel(answer))
    await by_model(management(), model, Limits(), lambda text: None)
    ((messages, info),) = asked
    assert f"{A}: 12 sensors, 240000 bytes" in str(messages)
    assert [tool.name for tool in info.function_tools] == list(TOOLS)
    assert info.model_settings["parallel_tool_calls"] is True


# --- In the service ---------------------------------------------------------------------------------------------------


async def events_of(city):
    stub = query_pb2_grpc.QueryServiceStub(city.channel)
    question = "How does the humidity level vary across different districts of the city today?"
    return [event async for event in stub.Ask(query_pb2.AskRequest(question=question))]


def with_model(monkeypatch, hook):
    build = Answerer.__init__

    def patched(self, *args, **kwargs):
        build(self, *args, **kwargs)
        self._stage_two_model = hook

    monkeypatch.setattr(Answerer, "__init__", patched)


def essence(events):
    """What forecasts, decisions and solutions say, without seconds."""
    found = []
    for event in events:
        kind = event.WhichOneof("event")
        if kind in ("forecasts", "decisions", "solution"):
            message = getattr(event, kind)
            if kind == "solution":
                message.seconds = 0.0
            found.append((kind, message.SerializeToString(deterministic=True)))
    return found


def notices(events):
    return [event.notice.text for event in events if event.HasField("notice")]


@pytest.mark.parametrize("policy", ["tau", "delay"])
async def test_a_question_by_a_model_and_without(tmp_path, monkeypatch, policy):
    config = replace(Config(), decision=DecisionConfig(policy=policy, mixed=policy == "delay"))
    (tmp_path / "fixed").mkdir()
    (tmp_path / "model").mkdir()
    async with running(tmp_path / "fixed", config=config) as city:
        await city.publish(1.4, [city.scenario.cells[0].id])
        fixed = await events_of(city)
    with_model(monkeypatch, lambda: (scripted(behaves()), Limits()))
    async with running(tmp_path / "model", config=config) as city:
        await city.publish(1.4, [city.scenario.cells[0].id])
        managed = await events_of(city)
    assert essence(managed) == essence(fixed) and len(essence(fixed)) > 2
    assert any("managed by the model scripted" in text for text in notices(managed)), notices(managed)
    assert not managed[-1].result.failed_sensors
    assert [stage.stage for stage in managed[-1].result.stages if "model" in stage.stage]


async def test_a_question_whose_model_is_not_there(tmp_path, monkeypatch):
    def absent():
        raise ModelFailure("unauthorised", "no API key: set OPENAI_API_KEY")

    with_model(monkeypatch, absent)
    async with running(tmp_path) as city:
        events = await events_of(city)
    assert any("(unauthorised): no API key" in text and "fixed order" in text for text in notices(events))
    assert len(essence(events)) > 2 and not events[-1].result.failed_sensors
