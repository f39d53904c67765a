"""Fig. 6 of the paper: latency of retrievals against the threshold tau, with baselines, bounds and other policies.

``links eval fig6 --out DIR`` or ``python -m evaluation.fig6 --out DIR`` writes fig6.json, fig6.md and fig6_*.svg. The
model, its parameters with their sources and what came out are in ``docs/fig6.md``.
"""

import argparse
import json
import math
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import numpy as np

from evaluation.fig6_model import (
    BASELINES,
    CC_ATTEMPTS_PER_S,
    MOST_ATTEMPTS,
    CellOutcome,
    Floats,
    Settings,
    access_delays_s,
    run_seed,
)
from optimizer.decision import decide
from predictor import NAMES
from twin.path import Path as AccessPath

# --- Statistics -----------------------------------------------------------------------------------------------------

Runs = list[list[list[CellOutcome]]]  # by seed, retrieval, cell


def latency_s(runs: Runs, of: Callable[[CellOutcome], float | None]) -> Floats:
    """[seeds, retrievals]: a retrieval's latency is that of its slowest cell; None: the cell takes no part."""
    return np.array([[max(v for v in map(of, cells) if v is not None) for cells in retrievals] for retrievals in runs])


def by_tau(scheme: str, forecast: str, tau: float) -> Callable[[CellOutcome], float | None]:
    """A cell's latency when the predicted load is compared with tau."""

    def of(cell: CellOutcome) -> float | None:
        if scheme not in cell.sixg:
            return None
        chosen = decide({cell.cell: cell.loads[forecast]}, tau)[cell.cell].path
        zigbee_s = cell.chosen["zigbee, all data"] if scheme == "all" else cell.zigbee_s
        return cell.sixg[scheme] if chosen is AccessPath.SIXG else zigbee_s

    return of


def spread(latency: Floats) -> dict[str, object]:
    """Mean and 95% quantile of latency [seeds, retrievals] in seconds, with 95% confidence intervals by bootstrap over
    the seeds."""
    picks = np.random.default_rng(0).integers(len(latency), size=(1000, len(latency)))
    drawn = latency[picks].reshape(len(picks), -1)
    return {
        "mean_s": float(latency.mean()),
        "mean_ci_s": np.quantile(drawn.mean(axis=1), [0.025, 0.975]).tolist(),
        "p95_s": float(np.quantile(latency, 0.95)),
        "p95_ci_s": np.quantile(np.quantile(drawn, 0.95, axis=1), [0.025, 0.975]).tolist(),
    }


def evaluate(settings: Settings, jobs: int = 1, tell: Callable[[str], None] = lambda text: None) -> dict:
    """The document of fig6.json. The same settings give the same document."""
    seeds = range(settings.seeds)
    runs: dict[str, Runs] = {name: [] for name in settings.variants()}

    def take(results: Iterable[dict[str, list[list[CellOutcome]]]]) -> None:
        for seed, result in enumerate(results):
            tell(f"seed {seed + 1} of {settings.seeds}")
            for name, retrievals in result.items():
                runs[name].append(retrievals)

    if jobs == 1:
        take(run_seed(settings, seed) for seed in seeds)
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            take(pool.map(run_seed, repeat(settings), seeds))
    return {
        "settings": asdict(settings),
        "seeds": list(seeds),
        "random_access": [_access_row(devices) for devices in (12, 100, 500, 1000)],
        "variants": {
            name: {"effects": asdict(effects), **_variant(settings, runs[name])}
            for name, effects in settings.variants().items()
        },
    }


def _access_row(devices: int) -> dict[str, float]:
    rng = np.random.default_rng(devices)
    rounds = [access_delays_s(devices, CC_ATTEMPTS_PER_S, rng) for _ in range(20)]
    return {
        "devices": devices,
        "mean_s": float(np.mean([delay.mean() for delay, _ in rounds])),
        "last_s": float(np.mean([delay.max() for delay, _ in rounds])),
        "more_than_ten_attempts": float(np.mean([(sent > MOST_ATTEMPTS).mean() for _, sent in rounds])),
    }


def _variant(settings: Settings, runs: Runs) -> dict:
    first = settings.forecasters[0]
    cells = [cell for retrievals in runs for each in retrievals for cell in each if "links" in cell.sixg]
    lines = {f"LINKs, {name}": ("links", name) for name in (*settings.forecasters, "perfect")}
    if BASELINES[0] in cells[0].sixg:
        lines |= {scheme: (scheme, first) for scheme in (*BASELINES, "all")}
    curves = {
        label: [spread(latency_s(runs, by_tau(scheme, name, tau))) for tau in settings.taus]
        for label, (scheme, name) in lines.items()
    }
    points = {
        "always 6G": lambda cell: cell.sixg.get("waits"),
        "always Zigbee": lambda cell: cell.zigbee_s,
    } | {label: lambda cell, at=label: cell.chosen.get(at) for label in cells[0].chosen}
    fixed = {label: spread(latency_s(runs, of)) for label, of in points.items()}
    links = curves[f"LINKs, {first}"]
    schemes = dict.fromkeys(scheme for cell in cells for scheme in cell.over_bound)
    ratios = {scheme: [cell.over_bound[scheme] for cell in cells if cell.over_bound] for scheme in schemes}
    best = {kind: int(np.argmin([point[kind] for point in links])) for kind in ("mean_s", "p95_s")}
    return {
        "curves": curves,
        "policies": fixed,
        "best_tau": {kind: settings.taus[at] for kind, at in best.items()},
        "at_largest_tau_over_best": {kind: links[-1][kind] / links[at][kind] for kind, at in best.items()},
        "best_over_bound": {kind: links[at][kind] / fixed["bound"][kind] for kind, at in best.items()},
        "delay_over_certified_bound": {
            scheme: {
                "mean": float(np.mean(values)),
                "p95": float(np.quantile(values, 0.95)),
                "max": float(np.max(values)),
            }
            for scheme, values in ratios.items()
        },
        "cells": len(cells),
        "cells_without_rbs": float(np.mean([cell.rbs == 0 for cell in cells])),
        "cells_where_zigbee_is_faster": float(np.mean([cell.zigbee_s < cell.sixg["links"] for cell in cells])),
    }


# --- Output ---------------------------------------------------------------------------------------------------------

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in print too.
STYLES = {
    "LINKs": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "perfect": {"color": "#56B4E9", "linestyle": "-", "marker": "s"},
    "equal": {"color": "#E69F00", "linestyle": "--", "marker": "^"},
    "random": {"color": "#CC79A7", "linestyle": "--", "marker": "v"},
    "greedy": {"color": "#009E73", "linestyle": "--", "marker": "D"},
    "all": {"color": "#D55E00", "linestyle": "-", "marker": "x"},
    "always 6G": {"color": "#D55E00", "linestyle": ":"},
    "always Zigbee": {"color": "#000000", "linestyle": ":"},
    "policy": {"color": "#009E73", "linestyle": "-."},
    "bound": {"color": "#999999", "linestyle": "-"},
}
KINDS = {"mean_s": "mean latency (s)", "p95_s": "95% quantile of latency (s)"}
TITLES = {
    "plain": "plain: RBs left by generated load",
    "slice": "+ slice of {slice} RBs",
    "one RB": "+ slice of 1 RB",
    "access": "+ random access and RRC set-up",
    "congestion": "+ congestion: demand x {demand:g}, backlog",
    "all": "all, slice of {slice} RBs",
    "all, one RB": "all, slice of 1 RB",
}


def write(document: dict, directory: Path) -> None:
    """fig6.json, fig6.md and the figures."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "fig6.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (directory / "fig6.md").write_text(table(document), "utf-8")
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "links", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    for name, draw in (("latency", _draw_latency), ("effects", _draw_effects), ("policies", _draw_policies)):
        figure = draw(document)
        figure.savefig(directory / f"fig6_{name}.svg", bbox_inches="tight", metadata={"Date": None})


def _curve(axes, document: dict, points: list[dict], kind: str, label: str, band: bool = True, **style) -> None:
    taus = document["settings"]["taus"]
    axes.plot(taus, [point[kind] for point in points], label=label, markersize=3.5, linewidth=1.4, **style)
    if band:
        ci = np.array([point[kind.replace("_s", "_ci_s")] for point in points])
        axes.fill_between(taus, ci[:, 0], ci[:, 1], color=style["color"], alpha=0.15, linewidth=0)


def _level(axes, point: dict, kind: str, label: str, **style) -> None:
    axes.axhline(point[kind], label=label, linewidth=1.4, **style)


def _draw_latency(document: dict):
    from matplotlib import pyplot

    variant, first = document["variants"]["all"], document["settings"]["forecasters"][0]
    figure, (*both, rrm) = pyplot.subplots(1, 3, figsize=(14, 4.4), layout="constrained", width_ratios=(5, 5, 3))
    both[1].sharey(both[0])
    for axes, (kind, title) in zip(both, KINDS.items(), strict=True):
        for label, curve, style in (
            ("all data instead of planned", "all", "all"),
            ("equal RB shares", "equal", "equal"),
            ("random RBs", "random", "random"),
            ("greedy RBs", "greedy", "greedy"),
            ("LINKs, perfect forecast", "LINKs, perfect", "perfect"),
            ("LINKs", f"LINKs, {first}", "LINKs"),
        ):
            _curve(axes, document, variant["curves"][curve], kind, label, style in ("all", "LINKs"), **STYLES[style])
        for label, policy, style in (
            ("always 6G", "always 6G", "always 6G"),
            ("always Zigbee", "always Zigbee", "always Zigbee"),
            ("policy delay (mean)", f"delay, mean, {first}", "policy"),
            ("perfect choice (oracle)", "oracle", "perfect"),
            ("certified bound", "bound", "bound"),
        ):
            _level(axes, variant["policies"][policy], kind, label, **(STYLES[style] | {"marker": ""}))
        axes.set(xlabel="threshold tau (share of capacity)", yscale="log", title=title.replace(" (s)", ""))
    both[0].set_ylabel("latency of a retrieval (s)")
    for at, (scheme, ratio) in enumerate(variant["delay_over_certified_bound"].items()):
        style = STYLES[scheme] | {"linestyle": ""}
        rrm.plot([at], [ratio["mean"]], **style)
        rrm.plot([at], [ratio["p95"]], **style, fillstyle="none")
        rrm.annotate(f"{ratio['mean']:.3f}", (at, ratio["mean"]), xytext=(6, 3), textcoords="offset points")
    rrm.set_xticks(range(len(variant["delay_over_certified_bound"])), variant["delay_over_certified_bound"])
    rrm.set(ylabel="delay / certified bound", title="6G transfers: mean, 95% (open)")
    rrm.margins(x=0.25)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _draw_effects(document: dict):
    from matplotlib import pyplot

    settings, variants = document["settings"], document["variants"]
    label = f"LINKs, {settings['forecasters'][0]}"
    figure, grid = pyplot.subplots(2, 4, figsize=(14, 6.2), sharex=True, sharey=True)
    slice_rbs = max(1, math.floor(settings["slice"] * 25 + 1e-9))
    for axes, (name, variant) in zip(grid.flat, variants.items(), strict=False):
        for kind, line in (("mean_s", "-"), ("p95_s", "--")):
            word = {"mean_s": "mean", "p95_s": "95%"}[kind]
            _curve(axes, document, variant["curves"][label], kind, f"LINKs, {word}", color="#0072B2", linestyle=line)
            for policy, colour in (("always 6G", "#D55E00"), ("always Zigbee", "#000000")):
                _level(axes, variant["policies"][policy], kind, f"{policy}, {word}", color=colour, linestyle=line)
        axes.set(yscale="log", title=TITLES[name].format(slice=slice_rbs, demand=settings["demand"]))
    for axes in grid.flat[len(variants) :]:
        axes.axis("off")
    for axes in (*grid[1, :3], grid[0, 3]):
        axes.set_xlabel("threshold tau (share of capacity)")
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("latency of a retrieval (s)")
    figure.tight_layout()
    grid[1, 3].legend(*grid[0, 0].get_legend_handles_labels(), loc="center")
    return figure


def _draw_policies(document: dict):
    from matplotlib import pyplot

    settings, names = document["settings"], ("all", "all, one RB")
    figure, both = pyplot.subplots(1, 2, figsize=(12, 6), sharey=True, layout="constrained")
    for axes, name in zip(both, names, strict=True):
        rows = _policy_rows(document, name)
        for kind, colour, marker, offset in (("mean_s", "#0072B2", "o", 0.12), ("p95_s", "#D55E00", "s", -0.12)):
            centre = np.array([point[kind] for _, point in rows])
            ci = np.array([point[kind.replace("_s", "_ci_s")] for _, point in rows])
            axes.errorbar(
                centre,
                np.arange(len(rows))[::-1] + offset,
                xerr=np.abs(ci.T - centre),
                fmt=marker,
                color=colour,
                capsize=2,
                markersize=4,
                label=KINDS[kind].replace(" (s)", ""),
            )
        slice_rbs = max(1, math.floor(settings["slice"] * 25 + 1e-9))
        axes.set(xscale="log", xlabel="latency of a retrieval (s)", title=TITLES[name].format(slice=slice_rbs))
        axes.set_yticks(np.arange(len(rows))[::-1], [label for label, _ in rows])
    both[0].legend()
    return figure


def _policy_rows(document: dict, name: str) -> list[tuple[str, dict]]:
    """What a choice of policy gives, under one variant of the model."""
    variant, settings = document["variants"][name], document["settings"]
    taus, rows = settings["taus"], []
    for forecast in (*settings["forecasters"], "perfect"):
        curve = variant["curves"][f"LINKs, {forecast}"]
        rows.append((f"best tau for the mean, {forecast}", curve[_best(curve)]))
        if 0.7 in taus:
            rows.append((f"tau = 0.7, {forecast}", curve[taus.index(0.7)]))
    policies = variant["policies"]
    rows += [(label, policies[label]) for label in policies if label.startswith(("delay", "mixed"))]
    return rows + [(label, policies[label]) for label in ("always 6G", "always Zigbee", "oracle", "bound")]


def _best(curve: list[dict]) -> int:
    return int(np.argmin([point["mean_s"] for point in curve]))


def table(document: dict) -> str:
    """The numbers in Markdown."""
    settings, variants = document["settings"], document["variants"]
    lines = [
        "# Fig. 6: latency of retrievals",
        "",
        f"{settings['seeds']} seeds with {settings['retrievals']} retrievals each; latency in seconds, "
        "[95% confidence interval].",
        "",
        "| model | best tau for the mean | for the 95% quantile | LINKs at the largest tau over the best, mean "
        "| always 6G, mean | always Zigbee, mean | cells without RBs | cells where Zigbee is faster "
        "| objective / certified bound, mean (95%) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, variant in variants.items():
        ratio, policies = variant["delay_over_certified_bound"]["LINKs"], variant["policies"]
        lines.append(
            f"| {name} | {variant['best_tau']['mean_s']:g} | {variant['best_tau']['p95_s']:g} "
            f"| {variant['at_largest_tau_over_best']['mean_s']:.2f} | {policies['always 6G']['mean_s']:.3g} "
            f"| {policies['always Zigbee']['mean_s']:.3g} | {variant['cells_without_rbs']:.1%} "
            f"| {variant['cells_where_zigbee_is_faster']:.1%} | {ratio['mean']:.4f} ({ratio['p95']:.4f}) |"
        )
    for name in ("all", "all, one RB"):
        lines += ["", f"## {name}: policies", "", "| policy | mean | 95% quantile |", "|---|---|---|"]
        lines += [
            f"| {label} | {_cell(p, 'mean_s')} | {_cell(p, 'p95_s')} |" for label, p in _policy_rows(document, name)
        ]
        lines += [
            "",
            f"## {name}: 6G delay over its certified bound",
            "",
            "| RRM | mean | 95% | max |",
            "|---|---|---|---|",
        ]
        for scheme, ratio in variants[name]["delay_over_certified_bound"].items():
            lines.append(f"| {scheme} | {ratio['mean']:.4f} | {ratio['p95']:.4f} | {ratio['max']:.4f} |")
        curves = variants[name]["curves"]
        for kind, title in KINDS.items():
            lines += ["", f"## {name}: {title} against tau", "", f"| tau | {' | '.join(curves)} |"]
            lines.append("|---" * (len(curves) + 1) + "|")
            for at, tau in enumerate(settings["taus"]):
                lines.append(f"| {tau:g} | {' | '.join(_cell(points[at], kind) for points in curves.values())} |")
    return "\n".join(lines) + "\n"


def _cell(point: dict, kind: str) -> str:
    low, high = point[kind.replace("_s", "_ci_s")]
    return f"{point[kind]:.3g} [{low:.3g}, {high:.3g}]"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="links eval fig6", description="Latency against tau, as in the paper's Fig. 6."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=default.seeds, help="default %(default)s")
    parser.add_argument("--retrievals", type=int, default=default.retrievals, help="per seed (default %(default)s)")
    parser.add_argument(
        "--tau", type=float, nargs="+", default=default.taus, metavar="T", help="default 0 to 1 by 0.05"
    )
    parser.add_argument("--slice", type=float, default=default.slice, help="share of RBs for sensors (%(default)s)")
    parser.add_argument("--demand", type=float, default=default.demand, help="times generated load (%(default)s)")
    parser.add_argument("--forecasters", nargs="+", choices=NAMES, default=default.forecasters, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="3 seeds with 2 retrievals each")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    options = parser.parse_args(argv)
    seeds, retrievals = (3, 2) if options.quick else (options.seeds, options.retrievals)
    taus, forecasters = tuple(options.tau), tuple(options.forecasters)
    try:
        settings = Settings(seeds, retrievals, taus, forecasters, options.demand, options.slice)
        if options.jobs < 1:
            raise ValueError(f"jobs: {options.jobs} must be 1 or more")
    except ValueError as error:
        print(f"links: {error}", file=sys.stderr)
        return 2
    document = evaluate(settings, options.jobs, lambda text: print(text, file=sys.stderr, flush=True))
    try:
        write(document, options.out)
    except OSError as error:
        print(f"links: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: fig6.json, fig6.md, fig6_latency.svg, fig6_effects.svg, fig6_policies.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
