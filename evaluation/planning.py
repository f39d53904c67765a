"""Scores of data planning (paper, eq. (8) and Table I) over a query file.

A query file is YAML: ``now`` and ``queries``, each with ``id``, ``q``, ``required`` and ``optional`` sensor types,
``window`` [start, end) or null, ``answerable`` (default true), optionally ``fields`` (1 to 3) and ``area``.

``links eval planning --queries FILE --planner offline|llm|naive --json`` prints the scores as one JSON document.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import yaml

from agents import DataPlan, PlanItem, plan_offline
from agents.assemble import planned_bytes
from agents.model import OUTPUT_MODES, ModelFailure, ModelSettings
from agents.review import SecondOpinion
from evaluation.planners import NAMES, Asked, Planner, Rival
from twin.scenario import Scenario, load_scenario
from twin.sensor_types import sensor_types

EXACT_IOU = 0.99

Span = tuple[datetime, datetime]


class QueryFileError(ValueError):
    """A query file that cannot be used; the message names file, query, value and what would be right."""


@dataclass(frozen=True)
class Query:
    """One query with what an expert would plan (its gold)."""

    id: str
    q: str
    required: frozenset[str]
    optional: frozenset[str]
    window: Span | None
    answerable: bool
    fields: int | None
    area: str | None


# --- Scores -----------------------------------------------------------------------------------------------------------


def f1_score(chosen: Iterable[str], required: Iterable[str], optional: Iterable[str] = ()) -> float:
    """F1 of the types chosen against those required (eq. (8)); optional types neither help nor hurt."""
    required = set(required)
    chosen = set(chosen) - (set(optional) - required)
    if not chosen and not required:
        return 1.0
    return 2 * len(chosen & required) / (len(chosen) + len(required))


def window_iou(a: Span, b: Span) -> float:
    """Intersection over union of two half-open windows of aware times; 0 where both are empty."""
    (a0, a1), (b0, b1) = ((start.timestamp(), end.timestamp()) for start, end in (a, b))
    intersection = max(0.0, min(a1, b1) - max(a0, b0))
    union = max(0.0, a1 - a0) + max(0.0, b1 - b0) - intersection
    return intersection / union if union else 0.0


def hull(items: Iterable[PlanItem]) -> Span | None:
    """The smallest window that holds the windows of all items; None without items."""
    items = list(items)
    if not items:
        return None
    start = min((item.start for item in items), key=datetime.timestamp)
    return start, max((item.end for item in items), key=datetime.timestamp)


def abstention_score(chosen: Iterable[str]) -> float:
    """Score of an unanswerable query: 1 when nothing is chosen, else 0."""
    return 0.0 if set(chosen) else 1.0


def over_selected_bytes(
    bytes_by_type: dict[str, float], required: Iterable[str], optional: Iterable[str]
) -> float | None:
    """Bytes of types outside required and optional, per byte of the required ones; None where those have none."""
    required, wanted = set(required), set(required) | set(optional)
    needed = sum(size for type_id, size in bytes_by_type.items() if type_id in required)
    over = sum(size for type_id, size in bytes_by_type.items() if type_id not in wanted)
    return over / needed if needed else None


# --- Evaluation -------------------------------------------------------------------------------------------------------


def evaluate(
    queries_path: str | Path,
    planner: str | Planner = "offline",
    scenario: Scenario | None = None,
    on_query: Callable[[int, int], None] = lambda done, of: None,
) -> dict:
    """Run a planner, "offline" or a function, over a query file and score it; the document of ``links eval planning``.

    ``scenario`` defaults to the bundled Milan; ``on_query`` is told how many queries are done, of how many. Shares over
    no query at all are None. Raises QueryFileError, ValueError, and ModelFailure where a model can't be asked.
    """
    now, queries = read_queries(queries_path)
    scenario = scenario or load_scenario("milan")
    if isinstance(planner, str) and planner != "offline":
        raise ValueError(f"planner {planner!r} is not available by name; give offline or a function")
    run = plan_offline if isinstance(planner, str) else planner
    plans = _plans(run, [query.q for query in queries], now, scenario, on_query)
    rows = [_score(query, plan, scenario) for query, plan in zip(queries, plans, strict=True)]
    return {
        "planner": planner if isinstance(planner, str) else plans[0].planner if plans else "",
        "model": next((plan.model for plan in plans if plan.model), ""),
        "queries": rows,
        **summary(queries, rows),
    }


def _plans(
    run: Planner, questions: list[str], now: datetime, scenario: Scenario, on_query: Callable[[int, int], None]
) -> list[DataPlan]:
    done = itertools.count(1)
    if hasattr(run, "many"):
        return run.many(questions, now, scenario, lambda: on_query(next(done), len(questions)))
    plans = []
    for question in questions:
        plans.append(run(question, now, scenario))
        on_query(next(done), len(questions))
    return plans


def summary(queries: list[Query], rows: list[dict]) -> dict:
    """Means of the scores of these queries."""
    pairs = list(zip(queries, rows, strict=True))
    answerable = [(query, row) for query, row in pairs if query.answerable]
    by_fields = {n: [row["f1"] for query, row in answerable if query.fields == n] for n in (1, 2, 3)}
    known = ("window_iou", "over_selected_bytes")
    means = {key: _mean(row[key] for _, row in answerable if row[key] is not None) for key in known}
    return {
        "f1": _mean(row["f1"] for _, row in answerable),
        "f1_by_fields": {str(n): _mean(scores) for n, scores in by_fields.items()},
        "abstention": _mean(row["f1"] for query, row in pairs if not query.answerable),
        "window_iou": means["window_iou"],
        "exact": _mean(float(row["exact"]) for _, row in answerable),
        "over_selected_bytes": means["over_selected_bytes"],
        "tokens": _mean(row["tokens"] for _, row in pairs),
        "seconds": _mean(row["seconds"] for _, row in pairs),
        "fallbacks": _mean(float(row["planner"] == "offline") for _, row in pairs),
    }


def evaluate_rival(
    queries_path: str | Path,
    rival: Rival,
    seeds: int = 1,
    on_query: Callable[[int, int], None] = lambda done, of: None,
) -> dict:
    """``evaluate`` for a rival, once for each of ``seeds`` seeds 1, 2, ...; of several, ``queries`` are those of all
    runs one after the other, with their ``seed``, the scores are means over all, and ``runs`` has those of each seed.
    """
    documents = []
    for seed in range(1, seeds + 1):
        asked = rival.asked and replace(rival.asked, settings=replace(rival.asked.settings, seed=seed))
        with replace(rival, asked=asked).running() as planner:
            documents.append(evaluate(queries_path, planner, None, on_query))
    queries = read_queries(queries_path)[1]
    rows = [{**row, "seed": s} for s, document in enumerate(documents, 1) for row in document["queries"]]
    document = {"planner": rival.planner, "model": rival.model, "queries": rows, **summary(queries * seeds, rows)}
    if rival.asked:
        document["temperature"] = rival.asked.settings.temperature
        document["max_steps"] = rival.asked.max_steps
    if seeds > 1:
        document["runs"] = [{key: one[key] for key in one if key != "queries"} for one in documents]
    return document


def _score(query: Query, plan: DataPlan, scenario: Scenario) -> dict:
    types = list(dict.fromkeys(item.type for item in plan.items))
    span = hull(plan.items)
    row = {
        "id": query.id,
        "types": types,
        "start": span[0].isoformat() if span else None,
        "end": span[1].isoformat() if span else None,
        "answerable": plan.answerable,
        "planner": plan.planner,
    }
    if query.answerable:
        f1 = f1_score(types, query.required, query.optional)
        iou = None if query.window is None else window_iou(span, query.window) if span else 0.0
        exact = f1 == 1.0 and (iou is None or iou >= EXACT_IOU)
        over = over_selected_bytes(planned_bytes(plan.items, plan.sensors, scenario), query.required, query.optional)
    else:
        f1, iou, over = abstention_score(types), None, None
        exact = f1 == 1.0
    cost = {"steps": plan.steps, "tokens": plan.tokens, "seconds": plan.seconds}
    return {**row, "f1": f1, "window_iou": iou, "exact": exact, "over_selected_bytes": over, **cost}


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


# --- Query files ------------------------------------------------------------------------------------------------------


def read_queries(path: str | Path) -> tuple[datetime, list[Query]]:
    """``now`` and the queries of a file. Raises QueryFileError, OSError."""
    try:
        document = yaml.safe_load(Path(path).read_text("utf-8"))
    except yaml.YAMLError as error:
        raise QueryFileError(f"{path}: not YAML: {error}") from None
    if not isinstance(document, dict) or document.keys() != {"now", "queries"}:
        raise QueryFileError(f"{path}: the file must have the two keys now and queries")
    now = _moment(document["now"], f"{path}: now")
    queries = [_query(row, f"{path}: queries[{i}]") for i, row in enumerate(document["queries"] or ())]
    ids = [query.id for query in queries]
    doubled = next((one for one in ids if ids.count(one) > 1), None)
    if doubled:
        raise QueryFileError(f"{path}: id {doubled!r} is used twice")
    return now, queries


def _query(row: object, where: str) -> Query:
    if not isinstance(row, dict) or "id" not in row or "q" not in row:
        raise QueryFileError(f"{where}: a query needs at least id and q")
    where = f"{where} ({row['id']})"
    unknown = row.keys() - {"id", "q", "required", "optional", "window", "answerable", "fields", "area"}
    if unknown:
        raise QueryFileError(f"{where}: unknown key {sorted(unknown)[0]!r}")
    required, optional = (frozenset(row.get(key) or ()) for key in ("required", "optional"))
    for type_id in sorted(required | optional):
        if type_id not in sensor_types():
            raise QueryFileError(f"{where}: {type_id!r} is no sensor type")
    answerable = row.get("answerable", True)
    if not isinstance(answerable, bool):
        raise QueryFileError(f"{where}: answerable {answerable!r} must be true or false")
    if answerable != bool(required):
        raise QueryFileError(f"{where}: an answerable query needs required types, an unanswerable one has none")
    window = row.get("window")
    if window is not None:
        if not isinstance(window, list) or len(window) != 2:
            raise QueryFileError(f"{where}: window {window!r} must be [start, end]")
        window = (_moment(window[0], f"{where}: window"), _moment(window[1], f"{where}: window"))
        if window[0].timestamp() >= window[1].timestamp():
            raise QueryFileError(f"{where}: the window must end after its start")
    fields = row.get("fields")
    if fields not in (None, 1, 2, 3):
        raise QueryFileError(f"{where}: fields {fields!r} must be 1, 2 or 3")
    return Query(str(row["id"]), str(row["q"]), required, optional, window, answerable, fields, row.get("area"))


def _moment(value: object, where: str) -> datetime:
    """An aware time from YAML: a string, or what YAML itself reads as a time."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise QueryFileError(f"{where}: {value!r} is no ISO 8601 time such as 2013-11-18T12:00:00+01:00") from None
    if moment.tzinfo is None:
        raise QueryFileError(f"{where}: {value!r} has no offset; write it as 2013-11-18T12:00:00+01:00")
    return moment


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="links eval planning", description="Scores of data planning.")
    parser.add_argument("--queries", required=True, metavar="FILE")
    parser.add_argument("--planner", default="offline", choices=NAMES, help="naive: one zero-shot request to the model")
    add_model_arguments(parser)
    parser.add_argument("--temperature", type=float, default=0.1, metavar="T")
    parser.add_argument("--max-steps", type=int, default=15, metavar="N", help="agents' turns (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="runs, seeds 1 to K (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document and nothing else")
    options = parser.parse_args(argv)
    if min(options.seeds, options.max_steps, options.parallel) < 1:
        parser.error("--seeds, --max-steps and --parallel must be at least 1")
    try:
        asked = None if options.planner == "offline" else asked_of(options, options.temperature, options.max_steps)
        rival = Rival(options.planner, options.model if asked else "", asked)
        document = evaluate_rival(options.queries, rival, options.seeds, progress(options.planner))
    except (OSError, ValueError, ModelFailure) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(document, indent=2) if options.json else _table(document))
    return 0


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model is asked, and how."""
    parser.add_argument("--model", default="gpt-4o", metavar="M", help="as its endpoint calls it (default %(default)s)")
    parser.add_argument("--base-url", default="", metavar="URL", help="of the endpoint (default: $OPENAI_BASE_URL)")
    parser.add_argument("--output", default="tool", choices=OUTPUT_MODES, help="as agents.output of the configuration")
    parser.add_argument(
        "--second-opinion", default="binding", choices=[*SecondOpinion], help="as agents.second_opinion"
    )
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the model's replies here, and use those there")
    parser.add_argument(
        "--parallel", type=int, default=1, metavar="N", help="questions at a time (default %(default)s)"
    )


def asked_of(options: argparse.Namespace, temperature: float, max_steps: int) -> Asked:
    """What the arguments say of the model."""
    settings = ModelSettings(
        options.model, temperature, options.base_url, output=options.output, request_s=1_800.0, seed=1
    )
    return Asked(settings, max_steps, SecondOpinion(options.second_opinion), options.cache, options.parallel)


def progress(name: str) -> Callable[[int, int], None]:
    """Tells on standard error how many queries are done, where a person looks on."""

    def told(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    return told


def _table(document: dict) -> str:
    lines = [f"{'id':12} {'F1':>5} {'IoU':>5}  types"]
    for row in document["queries"]:
        iou = "" if row["window_iou"] is None else f"{row['window_iou']:.2f}"
        lines.append(f"{row['id']:12} {row['f1']:5.2f} {iou:>5}  {', '.join(row['types']) or '(none)'}")
    for key in ("f1", "abstention", "window_iou", "exact", "tokens", "seconds"):
        lines.append(f"{key}: {'-' if document[key] is None else format(document[key], '.3f')}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
