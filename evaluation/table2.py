"""The paper's Table II: accuracy of the workflow by model and temperature. Writes docs/results/table2.md and .svg.

``links eval table2``; models that can't be reached get a row that says so and the command that fills it.
"""

import argparse
import sys

import numpy as np

from evaluation.planning_tables import (
    CAVEAT,
    TEMPERATURES,
    ModelRow,
    absent_rows,
    by_query,
    command,
    cost,
    interval,
    measured,
    run,
    with_interval,
)


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    return command("table2", __doc__, argv, measure, page, draw)


def measure(options: argparse.Namespace) -> dict:
    """Documents by model and temperature."""

    def of_model(row: ModelRow) -> dict:
        pairs = [(planner, temperature) for temperature in TEMPERATURES for planner in ("llm", "naive")]
        return {f"{planner} {temperature}": run(options, planner, row, temperature) for planner, temperature in pairs}

    models = measured("table2", options, of_model)
    return {"seeds": options.seeds, "offline": run(options, "offline", None), "models": models}


def page(document: dict) -> str:
    """The table as Markdown."""
    lines = ["# Table II: models and temperatures", "", CAVEAT, ""]
    lines += [
        f"Mean F1 over the queries and {document['seeds']} seeds, 15 steps, with 95% bootstrap intervals over queries."
    ]
    lines += ["`links eval table2` measures this anew.", ""]
    lines += ["| model | temperature | paper | workflow | naive | tokens | seconds |", "|---|---|---|---|---|---|---|"]
    lines.append(
        f"| offline planner | - | - | {with_interval(document['offline'])} | - | {cost(document['offline'])} |"
    )
    for model in document["models"]:
        for i, temperature in enumerate(TEMPERATURES):
            paper = f"{model['paper'][i]:.2f}" if model["paper"] else "-"
            cells = [model["title"], str(temperature), paper]
            if model["absent"]:
                cells += ["", "", "", ""]
            else:
                ours, naive = (model["measured"][f"{planner} {temperature}"] for planner in ("llm", "naive"))
                cells += [with_interval(ours), with_interval(naive), cost(ours)]
            lines.append("| " + " | ".join(cells) + " |")
    lines += absent_rows(document["models"])
    return "\n".join(lines) + "\n\n![accuracy by temperature](table2.svg)\n"


def draw(document: dict, path) -> None:
    """Accuracy against temperature, the paper's figures dashed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    offline = np.mean([row["f1"] for row in document["offline"]["queries"]])
    axes.axhline(offline, color="black", linewidth=1, label="offline planner")
    for model, colour in zip(document["models"], plt.colormaps["tab10"].colors, strict=False):
        if model["paper"]:
            axes.plot(TEMPERATURES, model["paper"], "--", color=colour, label=f"{model['title']} (paper)")
        if model["absent"]:
            continue
        for planner, style in (("llm", "o-"), ("naive", "x:")):
            documents = [model["measured"][f"{planner} {temperature}"] for temperature in TEMPERATURES]
            mean = [np.mean([row["f1"] for row in one["queries"]]) for one in documents]
            low, high = zip(*(interval(by_query(one).values()) for one in documents), strict=True)
            name = "workflow" if planner == "llm" else "naive"
            axes.plot(TEMPERATURES, mean, style, color=colour, label=f"{model['title']}, {name}")
            axes.fill_between(TEMPERATURES, low, high, color=colour, alpha=0.1)
    axes.set(xlabel="temperature", ylabel="accuracy (F1 of types)", ylim=(0, 1.05), xticks=TEMPERATURES)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
