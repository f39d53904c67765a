"""Decisions that stand on forecasts: ``links eval tau`` counts how often each forecaster sends a cell the wrong way.

Loads are shares of a cell's capacity, which is not known of the data: a quantile of the cell's loads before the test
stands for it. At each origin the forecast's load over the retrieval window is compared with tau by the controller's own
rule (``predictor.risk``, ``optimizer.decision``). 6G is right if and only if the same statistic of the true loads is
below tau. Writes tau.json, tau.md and tau.svg.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.config import DecisionConfig
from evaluation.forecast import Measured, about, add_arguments, finish, measure, origin, plain, refuse_failed
from evaluation.forecast_measures import Flags, Floats, over_seeds
from evaluation.forecast_protocol import SLOT_S, Protocol, ProtocolError, Run
from evaluation.table3 import caption, pyplot, save, source
from optimizer.decision import decide
from predictor.risk import RULES, WINDOWS, decision_load
from twin.path import Path as AccessPath

TAUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Truth:
    """What would have been right. capacity [C], NaN where nothing above 0 precedes the test; load [O, C]: share of
    capacity, the window's statistic of the true loads; counts [O, C]: the truth is known and a forecast possible."""

    capacity: Floats
    load: Floats
    counts: Flags


def truth_of(data: Protocol, window: str, capacity_quantile: float) -> Truth:
    """Raises ProtocolError where no cell has traffic before the test or no window is wholly known."""
    past = data.history[:, : data.start]
    begun = ~np.isnan(past).all(axis=1)
    capacity = np.full(len(past), np.nan)
    capacity[begun] = np.nanquantile(past[begun], capacity_quantile, axis=1)
    capacity[~(capacity > 0)] = np.nan
    load = _statistic(data.truth, window) / capacity
    counts = data.counts.all(axis=2) & ~np.isnan(load)
    if not counts.any():
        raise ProtocolError("no cell has a capacity above 0 before the test and a wholly known window in it")
    return Truth(capacity, load, counts)


def _statistic(loads: Floats, window: str) -> Floats:
    """[O, C] of loads [O, C, W]."""
    return loads.max(axis=2) if window == "max" else loads.mean(axis=2)


def loads_of(run: Run, capacity: Floats, rule: str, window: str) -> Floats:
    """[O, C]: the load that decisions rest on, share of capacity."""
    return (
        np.array([decision_load(m, q, rule, window) for m, q in zip(run.mean, run.quantiles, strict=True)]) / capacity
    )


def sixg(loads: Floats, tau: float, hysteresis: float) -> Flags:
    """[O, C]: whether 6G is chosen for loads [O, C], deciding origin after origin as the controller does."""
    chosen, before = [], {}
    for row in loads:
        before = decide(dict(enumerate(row)), tau, hysteresis, before)
        chosen.append([decision.path is AccessPath.SIXG for decision in before.values()])
    return np.array(chosen)


def wrong_ways(chosen: Flags, right: Flags, counts: Flags) -> dict[str, float]:
    """Shares of the decisions that count, and of the steps from one origin to the next where both count: ``flaps`` are
    changes of decision that the truth doesn't make. chosen, right, counts [O, C]; True: 6G."""
    steps = counts[1:] & counts[:-1]
    flaps = (chosen[1:] != chosen[:-1]) & (right[1:] == right[:-1])
    return {
        "wrong": _share(chosen != right, counts),
        "sixg_though_overloaded": _share(chosen & ~right, counts),
        "zigbee_though_free": _share(~chosen & right, counts),
        "flaps": _share(flaps, steps),
    }


def _share(flags: Flags, counts: Flags) -> float:
    return float(flags[counts].mean()) if counts.any() else float("nan")


# --- Document ---------------------------------------------------------------------------------------------------------


def document(
    data: Protocol,
    measured: dict[str, Measured],
    rules: Sequence[str],
    window: str,
    capacity_quantile: float,
    hysteresis: float,
) -> dict:
    """The document of tau.json, without its origin."""
    truth = truth_of(data, window, capacity_quantile)
    right = truth.load[:, :, None] < np.array(TAUS)
    steps = truth.counts[1:] & truth.counts[:-1]

    def entry(one: Measured) -> dict:
        if one.error:
            return {"error": one.error}
        each = [{rule: _of_run(run, truth, rule, window, hysteresis) for rule in rules} for run in one.runs]
        result = over_seeds(each, statistics.fmean)
        if len(each) > 1:
            result["seeds"] = {"count": len(each), "std": over_seeds(each, statistics.stdev)}
        return result

    return {
        **about(data),
        "taus": list(TAUS),
        "rules": list(rules),
        "window_slots": data.horizon,
        "window_load": window,
        "capacity_quantile": capacity_quantile,
        "hysteresis": hysteresis,
        "decisions": int(truth.counts.sum()),
        "cells_without_capacity": int(np.isnan(truth.capacity).sum()),
        "truth": {
            "overloaded": [_share(~right[..., at], truth.counts) for at in range(len(TAUS))],
            "changes": [_share(right[1:, :, at] != right[:-1, :, at], steps) for at in range(len(TAUS))],
        },
        "models": {name: entry(one) for name, one in measured.items()},
    }


def _of_run(run: Run, truth: Truth, rule: str, window: str, hysteresis: float) -> dict[str, list[dict]]:
    """By tau, without and with hysteresis."""
    loads = loads_of(run, truth.capacity, rule, window)
    return {
        key: [wrong_ways(sixg(loads, tau, held), truth.load < tau, truth.counts) for tau in TAUS]
        for key, held in (("without_hysteresis", 0.0), ("with_hysteresis", hysteresis))
    }


# --- Output -----------------------------------------------------------------------------------------------------------


def markdown(figures: dict) -> str:
    """tau.md."""
    window = f"{'largest' if figures['window_load'] == 'max' else 'mean'} load of {figures['window_slots']} slots"
    capacity = figures["capacity_quantile"]
    assumed = "the largest load" if capacity == 1 else f"the {capacity:g} quantile of the loads"
    parts = [
        "# Decisions: 6G or Zigbee against tau",
        source(figures),
        f"A cell's load is a share of its capacity. The data know no capacity: {assumed} of the cell before the test "
        f"stands for it. At each origin the {window} from there on, by the forecast's mean or one of its quantiles, is "
        "compared with tau by the controller's own rule; 6G is right if the same of the true loads is below tau. "
        f"Figures are percent of {figures['decisions']:,} decisions (origins x cells whose window is wholly known).",
    ]
    if figures["cells_without_capacity"]:
        parts.append(f"{figures['cells_without_capacity']} cells without traffic before the test are left out.")
    parts += [
        "![Wrong decisions against tau](tau.svg)",
        "## Wrong decisions",
        "In brackets: *6G though overloaded* + *Zigbee though free*. The first row is the best that one choice for "
        "all, always 6G or always Zigbee, would do.",
        _wrong(figures),
        "## Flaps",
        f"Changes of decision from one origin to the next, {figures['stride'] * SLOT_S // 60} minutes later, that the "
        "truth doesn't make, percent of such steps, without "
        f"hysteresis > with hysteresis of {figures['hysteresis']:g}. The first row is how often the truth changes.",
        _flaps(figures),
        f"## Wrong decisions with hysteresis of {figures['hysteresis']:g}",
        "What steadiness costs: the truth has none.",
        _wrong(figures, "with_hysteresis"),
    ]
    if left_out := {name: one["error"] for name, one in figures["models"].items() if "error" in one}:
        parts += ["## Left out", "\n".join(f"- {name}: {error}" for name, error in left_out.items())]
    return "\n\n".join(parts) + "\n"


def rows(figures: dict) -> list[tuple[str, str, dict]]:
    """(model, rule, figures by tau) of all models that ran."""
    models = {name: one for name, one in figures["models"].items() if "error" not in one}
    return [(name, rule, one[rule]) for rule in figures["rules"] for name, one in models.items()]


def one_choice(figures: dict) -> list[float]:
    """Wrong decisions by tau if all cells always took the same path, the better one."""
    return [min(share, 1 - share) for share in figures["truth"]["overloaded"]]


def _table(figures: dict, first: tuple[str, Sequence[str]], text) -> str:
    header = ["", "load", *(f"{tau:g}" for tau in figures["taus"])]
    lines = [header, ["---"] * len(header), [first[0], "", *first[1]]]
    lines += [[name, rule, *text(by_tau)] for name, rule, by_tau in rows(figures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _wrong(figures: dict, key: str = "without_hysteresis") -> str:
    def text(by_tau: dict) -> list[str]:
        return [
            f"{_percent(p['wrong'])} ({_percent(p['sixg_though_overloaded'])} + {_percent(p['zigbee_though_free'])})"
            for p in by_tau[key]
        ]

    return _table(figures, ("*one choice for all*", [_percent(share) for share in one_choice(figures)]), text)


def _flaps(figures: dict) -> str:
    def text(by_tau: dict) -> list[str]:
        pairs = zip(by_tau["without_hysteresis"], by_tau["with_hysteresis"], strict=True)
        return [f"{_percent(without['flaps'])} > {_percent(held['flaps'])}" for without, held in pairs]

    return _table(figures, ("*truth*", [_percent(share) for share in figures["truth"]["changes"]]), text)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def tables(figures: dict) -> list[Table]:
    """Wrong decisions in percent, for the terminal."""
    taus = [f"{tau:g}" for tau in figures["taus"]]
    title = f"wrong decisions against tau, percent of {figures['decisions']:,}, without hysteresis"
    table = Table("model", "load", *taus, title=title)
    table.add_row("one choice for all", "", *map(_percent, one_choice(figures)))
    for name, rule, by_tau in rows(figures):
        table.add_row(escape(name), rule, *(_percent(point["wrong"]) for point in by_tau["without_hysteresis"]))
    return [table]


def draw(figures: dict):
    """Wrong decisions against tau, a panel for each rule; below, those that send a cell to 6G though it is full."""
    plt = pyplot()
    rules, ran = figures["rules"], list(dict.fromkeys(name for name, *_ in rows(figures)))
    colours = plt.get_cmap("tab20")
    figure, grid = plt.subplots(
        2,
        len(rules),
        figsize=(4.2 * len(rules) + 2, 6.5),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for name, rule, by_tau in rows(figures):
        style = {"color": colours(ran.index(name)), "marker": "osD^vx"[ran.index(name) % 6], "markersize": 3.5}
        for axes, key in zip(grid[:, rules.index(rule)], ("wrong", "sixg_though_overloaded"), strict=True):
            shares = [100 * point[key] for point in by_tau["without_hysteresis"]]
            axes.plot(figures["taus"], shares, label=name, linewidth=1.2, **style)
    for axes, rule in zip(grid[0], rules, strict=True):
        shares = [100 * share for share in one_choice(figures)]
        axes.plot(figures["taus"], shares, color="0.6", linestyle=":", label="one choice for all")
        axes.set_title("mean of the load" if rule == "mean" else f"{rule} quantile of the load")
    grid[0, 0].set_ylabel("wrong decisions, %")
    grid[1, 0].set_ylabel("6G though overloaded, %")
    for axes in grid[1]:
        axes.set_xlabel("tau (share of capacity)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center")
    figure.supxlabel(caption(figures), fontsize=7)
    return figure


def write(figures: dict, directory: Path) -> None:
    """tau.json, tau.md, tau.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tau.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")
    (directory / "tau.md").write_text(markdown(figures), "utf-8")
    save(draw(figures), directory / "tau.svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    argv, default = list(sys.argv[1:] if argv is None else argv), DecisionConfig()
    parser = argparse.ArgumentParser(
        prog="links eval tau", description="How often each forecaster sends a cell the wrong way, for tau 0.1 to 0.9."
    )
    add_arguments(parser, stride=6, seeds=1)
    parser.add_argument(
        "--window-slots", type=int, default=default.window_slots, metavar="W", help="slots of a retrieval (%(default)s)"
    )
    parser.add_argument("--window-load", choices=WINDOWS, default=default.window, help="default %(default)s")
    parser.add_argument(
        "--quantile", nargs="+", choices=RULES, default=["mean", "0.5", "0.8"], metavar="Q", help="mean, or 0.1 to 0.9"
    )
    parser.add_argument(
        "--capacity-quantile",
        type=_share_of_one,
        default=1.0,
        metavar="Q",
        help="of a cell's loads before the test, taken for its capacity (default 1: the largest)",
    )
    parser.add_argument("--hysteresis", type=_share_of_one, default=default.hysteresis, help="default %(default)s")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="default %(default)s")
    options = parser.parse_args(argv)
    if options.window_slots < 1:
        parser.error(f"--window-slots {options.window_slots}: must be 1 or more")

    def work(errors: Console) -> None:
        options.out.mkdir(parents=True, exist_ok=True)  # before the work, whose results would be lost
        data, measured = measure(options, options.window_slots, errors)
        rules = list(dict.fromkeys(options.quantile))
        settings = (options.window_load, options.capacity_quantile, options.hysteresis)
        figures = plain(document(data, measured, rules, *settings) | origin("tau", argv))
        write(figures, options.out)
        console = Console(width=None if sys.stdout.isatty() else 160)
        for table in tables(figures):
            console.print(table)
        print(f"{options.out}: tau.json, tau.md, tau.svg")
        refuse_failed(options, measured)

    return finish(work)


def _share_of_one(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
