"""The paper's Table I: accuracy (eq. 8) per query, zero-shot and through the workflow. Writes docs/results/table1.md.

``links eval table1``: the offline planner and every model of ``evaluation/models.toml`` that can be reached; the others
get a row that says why not and which command fills it. table1.json is the measured document.
"""

import argparse
import sys

from evaluation.planning import read_queries
from evaluation.planning_tables import (
    CAVEAT,
    PAPER_TABLE1,
    absent_rows,
    by_query,
    command,
    cost,
    measured,
    queries_of,
    run,
    with_interval,
)


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    return command("table1", __doc__, argv, measure, page)


def measure(options: argparse.Namespace) -> dict:
    """Documents of all planners and models."""
    queries = read_queries(queries_of(options))[1]
    return {
        "queries": [{"id": query.id, "q": query.q, "fields": query.fields} for query in queries],
        "seeds": options.seeds,
        "offline": run(options, "offline", None),
        "models": measured(
            "table1", options, lambda row: {planner: run(options, planner, row) for planner in ("naive", "llm")}
        ),
    }


def page(document: dict) -> str:
    """The table as Markdown."""
    asked = [model for model in document["models"] if not model["absent"]]
    heads = ["query", "fields", "paper: naive", "paper: workflow", "offline"]
    heads += [f"{model['title']}: {name}" for model in asked for name in ("naive", "workflow")]
    columns = [by_query(document["offline"])]
    columns += [by_query(model["measured"][key]) for model in asked for key in ("naive", "llm")]
    lines = ["# Table I: accuracy of data planning", "", CAVEAT, ""]
    lines += [
        f"Accuracy is F1 of the types (eq. 8); models at temperature 0.1, 15 steps, mean of {document['seeds']} seeds."
    ]
    lines += ["`offline` is the planner without a model. `links eval table1` measures this anew.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for query in document["queries"]:
        paper = PAPER_TABLE1.get(query["id"])
        cells = [f"{query['id']}: {query['q']}", str(query["fields"] or "")]
        cells += [f"{value:.2f}" for value in paper] if paper else ["", ""]
        cells += [f"{sum(column[query['id']]) / len(column[query['id']]):.2f}" for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    known = [PAPER_TABLE1[query["id"]] for query in document["queries"] if query["id"] in PAPER_TABLE1]
    papers = [f"{sum(column) / len(known):.2f}" for column in zip(*known, strict=True)] if known else ["", ""]
    documents = [document["offline"], *(model["measured"][key] for model in asked for key in ("naive", "llm"))]
    lines.append("| mean (95% interval) | | " + " | ".join([*papers, *map(with_interval, documents)]) + " |")
    lines += ["", "| planner | mean tokens | mean seconds | planned offline after a failure |", "|---|---|---|---|"]
    lines.append(f"| offline | {cost(document['offline'])} | - |")
    for model in asked:
        naive, ours = (model["measured"][key] for key in ("naive", "llm"))
        lines.append(f"| {model['title']}, naive | {cost(naive)} | - |")
        lines.append(f"| {model['title']}, workflow | {cost(ours)} | {ours['fallbacks']:.0%} |")
    lines += absent_rows(document["models"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
