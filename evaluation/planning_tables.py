"""What Tables I and II and Fig. 5 of the paper share: models, the paper's figures, runs over seeds and intervals."""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from agents.model import ModelFailure, ModelSettings
from evaluation.planners import Asked, Rival, reachable
from evaluation.planning import evaluate_rival, progress

SEEDS = 3
TEMPERATURES = (0.1, 0.5, 0.9)
STEPS = (5, 10, 15, 20, 25)
PAPER_QUERIES = "queries/paper.yaml"
# The paper's Table I: accuracy of a zero-shot gpt-4o and of its workflow, per query.
PAPER_TABLE1 = {
    "Q1": (0.96, 1.0),
    "Q2": (0.92, 1.0),
    "Q3": (0.76, 1.0),
    "Q4": (0.73, 1.0),
    "Q5": (0.74, 1.0),
    "Q6": (0.64, 0.94),
    "Q7": (0.63, 0.9),
    "Q8": (0.59, 1.0),
    "Q9": (0.60, 0.86),
    "Q10": (0.48, 0.79),
}
CAVEAT = (
    "The paper publishes the ten questions and the number of their fields, not the types that it counted as right nor "
    "its prompts: the gold here is ours, argued query by query in `evaluation/queries/paper.yaml`, and its figures and "
    "ours can't be compared one to one."
)
_BOOTSTRAPS = 2_000


@dataclass(frozen=True)
class ModelRow:
    """A model of ``models.toml``; what its keys mean stands there."""

    title: str
    name: str
    base_url: str
    key: str
    output: str
    paper: tuple[float, ...] = ()

    def settings(self, temperature: float) -> ModelSettings:
        """For a request; the key comes from the environment."""
        key = os.environ.get(self.key, "") if self.key else "none"
        return ModelSettings(
            self.name, temperature, self.base_url, key, self.output, request_s=1_800.0, reply_tokens=1_200, seed=1
        )

    @property
    def absent(self) -> str:
        """Why the model can't be asked here; empty: it can."""
        if self.key and not os.environ.get(self.key):
            return f"no key: set {self.key}"
        return reachable(self.settings(0.1))


def read_models(file: Path | None) -> list[ModelRow]:
    """The models of a file like ``models.toml``; None: that file. Raises ValueError, OSError."""
    text = (file or files("evaluation").joinpath("models.toml")).read_text("utf-8")
    where = file or "models.toml"
    try:
        rows = tomllib.loads(text)["model"]
        return [ModelRow(**{**row, "paper": tuple(row.get("paper", ()))}) for row in rows]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: each [[model]] needs title, name, base_url, key and output: {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of table1, table2 and fig5."""
    parser.add_argument("--queries", metavar="FILE", help="query file (default: the paper's ten)")
    parser.add_argument("--models", type=Path, metavar="FILE", help="the models, as evaluation/models.toml")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="ask only these models, by name")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="K", help="runs per figure (default %(default)s)")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the models' replies here, and use those there")
    parser.add_argument(
        "--parallel", type=int, default=1, metavar="N", help="questions at a time (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="(default %(default)s)")


def command(
    name: str,
    about: str,
    argv: list[str] | None,
    measure: Callable[[argparse.Namespace], dict],
    page: Callable[[dict], str],
    draw: Callable[[dict, Path], None] | None = None,
    more: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """The command line of a table or figure: measure, then write NAME.json, NAME.md and, where it draws, NAME.svg.

    Exit code 0 done, 1 failed, 2 wrong use. ``more`` adds arguments.
    """
    parser = argparse.ArgumentParser(prog=f"links eval {name}", description=about)
    add_arguments(parser)
    more(parser)
    options = parser.parse_args(argv)
    try:
        document = measure(options)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        (options.out / f"{name}.md").write_text(page(document), "utf-8")
        if draw:
            draw(document, options.out / f"{name}.svg")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"written: {', '.join(sorted(str(path) for path in options.out.glob(f'{name}.*')))}")
    return 0


def measured(
    name: str, options: argparse.Namespace, measure: Callable[[ModelRow], dict[str, dict | str]]
) -> list[dict]:
    """An entry for every model: its documents by key, or why it is absent, and the command that fills it."""
    models = []
    for row, absent in present(options):
        documents = {} if absent else measure(row)
        failed = next((one for one in documents.values() if isinstance(one, str)), "")
        entry = {"title": row.title, "paper": row.paper, "absent": absent or failed, "fill": fill_command(name, row)}
        models.append(entry if entry["absent"] else entry | {"measured": documents})
    return models


def absent_rows(models: list[dict]) -> list[str]:
    """What to say of models that could not be asked."""
    absent = [model for model in models if model["absent"]]
    if not absent:
        return []
    lines = ["", "Not measured here:", "", "| model | why | command |", "|---|---|---|"]
    return lines + [f"| {model['title']} | {model['absent']} | `{model['fill']}` |" for model in absent]


def queries_of(options: argparse.Namespace) -> str:
    """The query file of the arguments."""
    return options.queries or str(files("evaluation").joinpath(PAPER_QUERIES))


def present(options: argparse.Namespace) -> list[tuple[ModelRow, str]]:
    """The models with why each can't be asked here; empty: it can."""
    rows = read_models(options.models)
    unknown = set(options.only) - {row.name for row in rows}
    if unknown:
        raise ValueError(f"--only: {sorted(unknown)[0]!r} is not among {', '.join(row.name for row in rows)}")
    return [(row, row.absent if not options.only or row.name in options.only else "not asked for") for row in rows]


def run(
    options: argparse.Namespace, planner: str, model: ModelRow | None, temperature: float = 0.1, steps: int = 15
) -> dict | str:
    """The document of one planner over all seeds; or why the model failed."""
    asked = Asked(model.settings(temperature), steps, cache=options.cache, parallel=options.parallel) if model else None
    rival = Rival(planner, model.name if model else "", asked)
    label = planner if model is None else f"{planner} {model.name} T={temperature} steps={steps}"
    try:
        return evaluate_rival(queries_of(options), rival, options.seeds if model else 1, progress(label))
    except ModelFailure as failure:
        print(f"{label}: {failure}", file=sys.stderr)
        return str(failure)


def by_query(document: dict) -> dict[str, list[float]]:
    """F1 of each query over the seeds."""
    scores: dict[str, list[float]] = {}
    for row in document["queries"]:
        scores.setdefault(row["id"], []).append(row["f1"])
    return scores


def interval(scores: Iterable[Sequence[float]]) -> tuple[float, float]:
    """95% bootstrap interval of the mean over queries, of each query's mean over its seeds."""
    means = np.array([np.mean(one) for one in scores])
    draws = np.random.default_rng(0).choice(means, (_BOOTSTRAPS, len(means))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def with_interval(document: dict) -> str:
    """Mean F1 with its interval, for a table."""
    low, high = interval(by_query(document).values())
    return f"{np.mean([row['f1'] for row in document['queries']]):.2f} ({low:.2f} to {high:.2f})"


def cost(document: dict) -> str:
    """Mean tokens and seconds of a query, for a table."""
    return f"{document['tokens']:.0f} | {document['seconds']:.1f}"


def fill_command(name: str, row: ModelRow) -> str:
    """The command that fills a model's row."""
    return f"links eval {name} --only {row.name}"
