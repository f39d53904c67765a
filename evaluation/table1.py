"""The paper's Table I: accuracy (eq. 8) per query, zero-shot and through the workflow. Writes docs/results/table1.md.

``links eval table1``: the offline planner and every model of ``evaluation/models.toml`` that can be reached; the others
get a row that says why not and which command fills it. table1.json is the measured document.
"""

import argparse
import json
import sys

from evaluation.planning import read_queries
from evaluation.planning_tables import (
    CAVEAT,
    PAPER_TABLE1,
    ModelRow,
    add_arguments,
    by_query,
    cost,
    fill_command,
    present,
    queries_of,
    run,
    with_interval,
)


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="links eval table1", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(argv)
    try:
        document = measure(options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table1.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.out / "table1.md").write_text(page(document), "utf-8")
    print(f"{options.out / 'table1.md'} and table1.json written")
    return 0


def measure(options: argparse.Namespace) -> dict:
    """Documents of all planners and models."""
    models = []
    for row, absent in present(options):
        entry = {"title": row.title, "absent": absent, "fill": fill_command("table1", row)}
        if not absent:
            entry |= _measured(options, row)
        models.append(entry)
    return {
        "queries": [
            {"id": query.id, "q": query.q, "fields": query.fields} for query in read_queries(queries_of(options))[1]
        ],
        "seeds": options.seeds,
        "offline": run(options, "offline", None),
        "models": models,
    }


def _measured(options: argparse.Namespace, row: ModelRow) -> dict:
    naive, ours = (run(options, planner, row) for planner in ("naive", "llm"))
    failed = next((one for one in (naive, ours) if isinstance(one, str)), "")
    return {"absent": failed} if failed else {"naive": naive, "llm": ours}


def page(document: dict) -> str:
    """The table as Markdown."""
    asked = [model for model in document["models"] if not model["absent"]]
    heads = ["query", "fields", "paper: naive", "paper: workflow", "offline"]
    heads += [f"{model['title']}: {name}" for model in asked for name in ("naive", "workflow")]
    columns = [by_query(document["offline"])]
    columns += [by_query(model[key]) for model in asked for key in ("naive", "llm")]
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
    documents = [document["offline"], *(model[key] for model in asked for key in ("naive", "llm"))]
    lines.append("| mean (95% interval) | | " + " | ".join([*papers, *map(with_interval, documents)]) + " |")
    lines += ["", "| planner | mean tokens | mean seconds | planned offline after a failure |", "|---|---|---|---|"]
    lines.append(f"| offline | {cost(document['offline'])} | - |")
    for model in asked:
        lines.append(f"| {model['title']}, naive | {cost(model['naive'])} | - |")
        lines.append(f"| {model['title']}, workflow | {cost(model['llm'])} | {model['llm']['fallbacks']:.0%} |")
    lines += absent_rows(document["models"])
    return "\n".join(lines) + "\n"


def absent_rows(models: list[dict]) -> list[str]:
    """What to say of models that could not be asked."""
    absent = [model for model in models if model["absent"]]
    if not absent:
        return []
    lines = ["", "Not measured here:", "", "| model | why | command |", "|---|---|---|"]
    return lines + [f"| {model['title']} | {model['absent']} | `{model['fill']}` |" for model in absent]


if __name__ == "__main__":
    sys.exit(main())
