"""The paper's Fig. 5: accuracy of the workflow against its limit of steps. Writes docs/results/fig5.md and .svg.

``links eval fig5``; the limit is 5 to 25 turns of agents, at temperature 0.1. What is planned when the steps run out is
what a user gets: a draft that passed every check, else the offline plan, whose share is told.
"""

import argparse
import sys

import numpy as np

from evaluation.planning_tables import (
    CAVEAT,
    STEPS,
    absent_rows,
    by_query,
    command,
    cost,
    measured,
    run,
    with_interval,
)


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS), metavar="N", help="(%(default)s)")

    return command("fig5", __doc__, argv, measure, page, draw, more)


def measure(options: argparse.Namespace) -> dict:
    """Documents by model and limit of steps."""
    models = measured("fig5", options, lambda row: {str(n): run(options, "llm", row, steps=n) for n in options.steps})
    return {"seeds": options.seeds, "steps": options.steps, "models": models}


def page(document: dict) -> str:
    """The figures as Markdown."""
    lines = ["# Fig. 5: accuracy against the limit of steps", "", CAVEAT, ""]
    lines += [
        f"Mean F1 over the queries and {document['seeds']} seeds at temperature 0.1, with 95% bootstrap intervals."
    ]
    lines += ["`links eval fig5` measures this anew.", "", "![accuracy against steps](fig5.svg)", ""]
    lines += [
        "| model | limit | accuracy | steps taken | offline | tokens | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in document["models"]:
        for steps in document["steps"]:
            cells = [model["title"], str(steps)]
            if model["absent"]:
                cells += ["", "", "", "", ""]
            else:
                one = model["measured"][str(steps)]
                taken = np.mean([row["steps"] for row in one["queries"]])
                cells += [with_interval(one), f"{taken:.1f}", f"{one['fallbacks']:.0%}", cost(one)]
            lines.append("| " + " | ".join(cells) + " |")
    lines += absent_rows(document["models"])
    return "\n".join(lines) + "\n"


def draw(document: dict, path) -> None:
    """Accuracy of each query, and their mean, against the limit."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    asked = [model for model in document["models"] if not model["absent"]]
    figure, panels = plt.subplots(
        1, max(1, len(asked)), figsize=(6 * max(1, len(asked)), 4.2), squeeze=False, layout="constrained"
    )
    for axes, model in zip(panels[0], asked, strict=False):
        scores = [by_query(model["measured"][str(steps)]) for steps in document["steps"]]
        for name in scores[0]:
            axes.plot(document["steps"], [np.mean(one[name]) for one in scores], linewidth=1, alpha=0.6, label=name)
        mean = [np.mean([np.mean(values) for values in one.values()]) for one in scores]
        axes.plot(document["steps"], mean, "k-o", linewidth=2, label="mean")
        axes.set(title=model["title"], xlabel="limit of steps", ylabel="accuracy (F1 of types)", ylim=(0, 1.05))
        axes.legend(fontsize=7, ncols=3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
