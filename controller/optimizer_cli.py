"""The optimiser's commands: ``links solve``, ``make-instance`` and ``convert``.

What they need is imported when they run, so that ``links --help`` stays quick.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.config import load_config

if TYPE_CHECKING:
    from agents import DataPlan
    from optimizer.check import Finding
    from optimizer.instance import Instance, Solution
    from optimizer.solve import Options
    from proto import query_pb2
    from twin.scenario import Scenario

DONE, FAILED = 0, 1
DEFAULT_LOAD = 0.5
# Flags of solve.Options: argparse's destination is the option's name; what isn't given keeps the option's default.
_SOLVER_FLAGS = {
    "--mode": dict(
        dest="mode",
        choices=("literal", "frames"),
        help="literal: RBs held throughout; frames: RBs shared over the slots of a frame (default frames)",
    ),
    "--solver": dict(dest="solver", choices=("auto", "highs", "gurobi", "scip", "heuristic"), help="default auto"),
    "--frame": dict(dest="frame", type=int, metavar="F", help="slots of a frame"),
    "--time-limit": dict(dest="time_limit_s", type=float, metavar="S", help="seconds; the best so far is returned"),
    "--gap": dict(dest="gap", type=float, help="relative gap that is good enough (default 0.01)"),
    "--no-admission": dict(
        dest="admission",
        action="store_false",
        default=None,
        help="don't send devices that can't be served to Zigbee: the instance is infeasible then",
    ),
    "--max-delay": dict(dest="max_delay_s", type=float, metavar="S", help="a largest delay that must be met"),
    "--longest-delay": dict(dest="longest_delay_s", type=float, metavar="S", help="up to which it may be raised"),
    "--longest-frame": dict(dest="longest_frame", type=int, metavar="F", help="slots up to which a frame may grow"),
    "--parallel-cap": dict(dest="parallel_cap", type=int, metavar="K", help="most RBs of a device in a slot"),
    "--spare-rbs": dict(
        dest="spare_rbs",
        type=int,
        metavar="K",
        help="with --no-admission: RBs of a cell that may be taken from conventional users",
    ),
    "--sinr-waiver": dict(
        dest="sinr_waiver_db", type=float, metavar="DB", help="with --no-admission: by how much beta may be waived"
    ),
}


class InputError(Exception):
    """Input that can't be used or output that can't be written; the message names it and says what would be right."""


def add_commands(commands, config: argparse.ArgumentParser) -> None:
    """Add the parsers to ``commands``; ``config`` is the parent parser with --config."""
    flags = argparse.ArgumentParser(add_help=False)
    for flag, settings in _SOLVER_FLAGS.items():
        flags.add_argument(flag, **settings)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print one JSON document and nothing else")

    def add(name: str, run, text: str, *parents) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=parents)
        command.set_defaults(run=run, wrong_use=command.error)
        return command

    solve = add("solve", _solve, "Solve a radio resource problem, or check a solution of it.", flags, output)
    solve.add_argument("instance", type=Path, metavar="INSTANCE.npz")
    solve.add_argument("directory", type=Path, nargs="?", metavar="DIR", help="with --check: where the solution is")
    solve.add_argument("--check", action="store_true", help="verify the solution in DIR; 1 if a constraint is broken")
    solve.add_argument("--out", type=Path, metavar="DIR", help="where solution.npz and solution.json are written")
    make = add("make-instance", _make_instance, "Write a random radio resource problem.")
    make.add_argument("--devices", type=int, required=True, metavar="N")
    make.add_argument("--cells", type=int, required=True, metavar="C")
    make.add_argument("--rbs", type=int, required=True, metavar="M", help="resource blocks of a cell")
    make.add_argument("--load", type=float, required=True, metavar="L", help="share of the RBs that is taken, 0 to 1")
    make.add_argument("--seed", type=int, required=True, metavar="S")
    make.add_argument("--coupled", action="store_true", help="devices of other cells interfere")
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz file to write")
    convert = add(
        "convert",
        _convert,
        "The numbers of the radio resource problem behind a data plan, and with --solve what each sensor gets.",
        config,
        flags,
        output,
    )
    convert.add_argument("--scenario", metavar="NAME|FILE", help="default: the configuration's")
    wanted = convert.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--question", help="the data that a question needs, asked at the scenario's start")
    wanted.add_argument("--plan", type=Path, metavar="FILE.json", help="a plan as `links plan --json` prints it")
    wanted.add_argument("--demand", nargs="+", action="extend", metavar="SENSOR=BYTES")
    convert.add_argument(
        "--load",
        nargs="+",
        action="extend",
        default=[],
        metavar="[CELL=]SHARE",
        help=f"predicted load of a cell, or of all that are not named, share of capacity (default {DEFAULT_LOAD})",
    )
    convert.add_argument("--seed", type=int, metavar="S", help="of the channel (default: the scenario's)")
    convert.add_argument("--solve", action="store_true", help="solve it too, and show each sensor's grant")
    convert.add_argument("--out", type=Path, metavar="INSTANCE.npz", help="write the instance for `links solve`")


# --- solve, make-instance ---------------------------------------------------------------------------------------------


def _solve(arguments: argparse.Namespace) -> int:
    if arguments.check:
        flags = [flag for flag, settings in _SOLVER_FLAGS.items() if getattr(arguments, settings["dest"]) is not None]
        if arguments.directory is None or arguments.out or flags:
            arguments.wrong_use("--check takes INSTANCE.npz, DIR and --json only")
        return _check(arguments)
    if arguments.directory is not None or arguments.out is None:
        arguments.wrong_use("name the directory for the solution: links solve INSTANCE.npz --out DIR")
    from optimizer.check import check
    from optimizer.instance import save_solution, summary

    options = _options(arguments)
    instance = _load_instance(arguments.instance)
    solution = _solved(instance, options)
    try:
        save_solution(solution, arguments.out)
    except OSError as error:
        raise InputError(f"{arguments.out}: can't be written: {error.strerror}") from None
    if arguments.json:
        print(json.dumps(summary(solution), indent=1))
    else:
        from optimizer.actions import solved_instance

        _show_solution(solution, check(solved_instance(instance, solution), solution), Console())
    return DONE if solution.feasible else FAILED


def _check(arguments: argparse.Namespace) -> int:
    from optimizer.check import check
    from optimizer.instance import InstanceError, load_solution

    instance = _load_instance(arguments.instance)
    try:
        findings = check(instance, load_solution(arguments.directory))
    except (InstanceError, OSError) as error:
        raise InputError(_file_error(error)) from None
    holds = all(finding.holds for finding in findings)
    if arguments.json:
        print(json.dumps({"holds": holds, "constraints": [vars(finding) for finding in findings]}, indent=1))
    else:
        for finding in findings:
            word = "holds" if finding.holds else "BROKEN"
            print(f"{finding.constraint:12} {word:7} slack {finding.slack:<12.6g} {finding.detail}")
    return DONE if holds else FAILED


def _make_instance(arguments: argparse.Namespace) -> int:
    from optimizer.instance import save_instance
    from optimizer.make_instance import make_instance

    try:
        instance = make_instance(
            arguments.devices, arguments.cells, arguments.rbs, arguments.load, arguments.seed, arguments.coupled
        )
        save_instance(instance, arguments.out)
    except (ValueError, OSError) as error:
        raise InputError(_file_error(error)) from None
    n, c, m = instance.shape
    print(f"{arguments.out}: {n} devices, {c} cells, {m} RBs, of which {int(instance.free.sum())} in all are free")
    return DONE


def _options(arguments: argparse.Namespace) -> "Options":
    from optimizer.solve import Options

    names = [settings["dest"] for settings in _SOLVER_FLAGS.values()]
    try:
        return Options(**{name: value for name in names if (value := getattr(arguments, name)) is not None})
    except ValueError as error:
        raise InputError(str(error)) from None


def _solved(instance: "Instance", options: "Options") -> "Solution":
    from optimizer.program import SolverError
    from optimizer.solve import solve

    try:
        return solve(instance, options)
    except (ValueError, SolverError) as error:
        raise InputError(str(error)) from None


def _load_instance(path: Path) -> "Instance":
    from optimizer.instance import InstanceError, load_instance

    try:
        return load_instance(path)
    except (InstanceError, OSError) as error:
        raise InputError(_file_error(error)) from None


def _file_error(error: Exception) -> str:
    """The system's word on a file with its name first; other errors as they are."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _show_solution(solution: "Solution", findings: Iterable["Finding"], console: Console) -> None:
    table = Table("", "", show_header=False, box=None)
    table.add_row("status", solution.status)
    table.add_row("largest delay", _seconds(solution.objective_s))
    table.add_row("lower bound", f"{_seconds(solution.lower_bound_s)} ({escape(solution.bound)})")
    table.add_row("gap", "-" if solution.gap is None else f"{solution.gap:.3%}")
    table.add_row("solver", f"{escape(solution.solver)}, {solution.seconds:.3f} s, {solution.iterations} iterations")
    refused = [str(device) for device in solution.to_zigbee.nonzero()[0]]
    table.add_row("to Zigbee", f"{len(refused)} devices: {', '.join(refused)}" if refused else "no device")
    console.print(table)
    constraints = Table("constraint", "", "slack", "")
    for finding in findings:
        word = "holds" if finding.holds else "[red]broken[/]"
        constraints.add_row(finding.constraint, word, f"{finding.slack:.6g}", escape(finding.detail))
    console.print(constraints)
    for number, step in enumerate(solution.reflexion, start=1):
        console.print(f"step {number}: {escape(_step_text(step))}")
        for reason in step.get("because", ()):
            console.print(f"        because {escape(reason)}")
    for reason in solution.infeasible_because:
        console.print(f"infeasible: {escape(reason)}")


def _step_text(step: Mapping) -> str:
    """One step of reflexion on a line: what was changed, and what the solution is proven to be after it."""
    apart = ("action", "because", "checked", "before", "after", "solver")
    told = [f"{key} {_brief(value)}" for key, value in step.items() if key not in apart]
    after = step.get("after")
    if after and after["objective_s"] is not None:
        told.append(
            f"{_seconds(after['objective_s'])}, no faster than {_seconds(after['lower_bound_s'])} ({after['bound']})"
        )
    return f"{step['action']}: {', '.join(told)}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g} s"


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


# --- convert ----------------------------------------------------------------------------------------------------------


def _convert(arguments: argparse.Namespace) -> int:
    from optimizer.convertor import conversion_json, convert
    from optimizer.instance import save_instance
    from twin.scenario import ScenarioError, load_scenario

    options = _options(arguments)
    try:
        scenario = load_scenario(arguments.scenario or load_config(arguments.config).scenario.file)
        sizes = _demands(arguments, scenario)
        seed = scenario.seed if arguments.seed is None else arguments.seed
        conversion = convert(scenario, sizes, _loads(arguments.load, scenario), seed)
        if arguments.out:
            save_instance(conversion.instance, arguments.out)
    except (ScenarioError, ValueError, OSError) as error:
        raise InputError(_file_error(error)) from None
    solution = _solved(conversion.instance, options) if arguments.solve else None
    document = conversion_json(conversion, solution)
    if arguments.json:
        print(json.dumps(document, indent=1))
    else:
        _show_conversion(document, Console())
    return DONE if solution is None or solution.feasible else FAILED


def _demands(arguments: argparse.Namespace, scenario: "Scenario") -> dict[str, float]:
    """Bytes by sensor. Of a plan: what a twin that holds nothing has to fetch, at least a byte per sensor."""
    if arguments.demand:
        return {sensor: _value(text, size) for text, sensor, size in _pairs(arguments.demand, "SENSOR=BYTES")}
    from agents import plan_offline
    from controller.question import wanted_intervals
    from twin.retrieval import demands
    from twin.store import TwinStore

    if arguments.plan:
        plan = _plan_of(arguments.plan)
    else:
        plan = plan_offline(arguments.question, scenario.start, scenario)
    if not plan.answerable:
        raise InputError(f"there are no data to plan for: {plan.reason}")
    with tempfile.TemporaryDirectory() as directory, TwinStore(Path(directory) / "empty.sqlite") as store:
        needed, _, _ = demands(scenario, store, wanted_intervals(plan, scenario))
    return {demand.sensor_id: max(demand.bytes, 1) for demand in needed}


def _plan_of(path: Path) -> "DataPlan":
    """A plan from the JSON form of its gRPC message, checked by the data plan's schema."""
    from google.protobuf.json_format import ParseDict, ParseError

    from agents import from_json
    from proto import query_pb2

    try:
        message = ParseDict(json.loads(path.read_text("utf-8")), query_pb2.DataPlan())
    except (ValueError, RecursionError, ParseError) as error:
        raise InputError(f"{path}: no plan as `links plan --json` prints it: {error}") from None
    items = [
        {
            "type": item.type,
            "area": _area_of(item.area),
            "start": item.window.start.ToDatetime(UTC).isoformat(),
            "end": item.window.end.ToDatetime(UTC).isoformat(),
            "why": item.why,
        }
        for item in message.items
    ]
    names = ("query", "answerable", "reason", "planner", "model", "steps", "tokens", "seconds")
    scalars = {name: getattr(message, name) for name in names}
    try:
        return from_json(scalars | {"items": items, "sensors": list(message.sensors)})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _area_of(area: "query_pb2.Area") -> dict:
    document: dict = {"kind": area.kind, "name": area.name}
    if area.kind == "circle":
        document |= {"lon": area.lon, "lat": area.lat, "radius_m": area.radius_m}
    elif area.kind == "polygon":
        document["ring"] = [[point.lon, point.lat] for point in area.ring]
    return document


def _loads(texts: Iterable[str], scenario: "Scenario") -> dict[str, float]:
    """Load by cell: of the cells named, and a bare share for all others."""
    bare = [_value(text, text) for text in texts if "=" not in text]
    if len(bare) > 1:
        raise InputError(f"--load: {len(bare)} shares without a cell; give one, and others as CELL=SHARE")
    others = bare[0] if bare else None if texts else DEFAULT_LOAD
    loads = {} if others is None else {cell.id: others for cell in scenario.cells}
    named = _pairs([text for text in texts if "=" in text], "CELL=SHARE")
    return loads | {cell: _value(text, share) for text, cell, share in named}


def _pairs(texts: Iterable[str], form: str) -> list[tuple[str, str, str]]:
    """(text, name, value) of each NAME=VALUE; a name twice is an error."""
    result = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"{text!r} must be {form}")
        if name in (known for _, known, _ in result):
            raise InputError(f"{text!r}: {name} is given twice")
        result.append((text, name, value))
    return result


def _value(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{text!r}: {number!r} must be a number of 0 or more")
    return value


def _show_conversion(document: Mapping, console: Console) -> None:
    cells = Table("cell", "load", "free RBs")
    for cell in document["cells"]:
        cells.add_row(escape(cell["cell"]), f"{cell['load']:.2f}", str(len(cell["free_rbs"])))
    console.print(cells)
    solution = document.get("solution")
    if solution:
        delay, bound = _seconds(solution["objective_s"]), _seconds(solution["lower_bound_s"])
        console.print(f"{solution['status']}: largest delay {delay}, lower bound {bound}")
    names = ["sensor", "cell", "m", "", "dB", "kbit", *(["kbit/s", "ms", "dBm", "RBs"] if solution else [])]
    devices = Table(*names)
    for device in document["devices"]:
        row = [
            escape(device["sensor"]),
            escape(device["cell"]),
            f"{device['distance_m']:.0f}",
            "LOS" if device["los"] else "NLOS",
            f"{device['path_loss_db']:.1f}",
            f"{device['data_bits'] / 1e3:.1f}",
        ]
        if solution:
            row += _grant_row(solution["grants"].get(device["sensor"]))
        devices.add_row(*row)
    console.print(devices)


def _grant_row(grant: Mapping | None) -> list[str]:
    if grant is None:
        return ["to Zigbee", "-", "-", "-"]
    return [
        f"{grant['rate_bps'] / 1e3:.1f}",
        f"{grant['delay_s'] * 1e3:.2f}",
        f"{grant['power_dbm']:.1f}",
        str(len(grant["resource_blocks"])),
    ]
