"""The paper's Table III with the paper's figures beside ours: ``links eval table3`` writes it into ``docs/results``.

table3.json is the measured document, from which ``--from`` draws the rest again: table3.md, table3.svg (NRMSE of all
models) and forecasts.svg (forecasts of three cells with their quantile bands against the truth).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from evaluation.forecast import (
    Measured,
    add_arguments,
    document,
    finish,
    measure,
    notes_of,
    origin,
    plain,
    refuse_failed,
    shown,
)
from evaluation.forecast_measures import HORIZONS
from evaluation.forecast_protocol import SLOT_S, ZONE, Protocol, ProtocolError, iso
from predictor import QUANTILES
from twin.local_time import local_time

# Table III of the paper: NRMSE at 1, 10, 30 and 60 steps of 10 minutes, with its +/-; by our names of the models.
PAPER = {
    "mlp": ((0.5269, 0.2257), (0.5794, 0.0929), (0.6604, 0.2001), (0.7080, 0.2424)),
    "arima": ((0.6360, 0.2078), (0.6416, 0.3655), (0.6562, 0.1618), (0.7177, 0.1200)),
    "lstm": ((0.5473, 0.0879), (0.5623, 0.2741), (0.6154, 0.2174), (0.6779, 0.3110)),
    "conv3d": ((0.4617, 0.5033), (0.4783, 0.5006), (0.5290, 0.5884), (0.6560, 0.6983)),
    "convlstm": ((0.4812, 0.0576), (0.5194, 0.1146), (0.5373, 0.2025), (0.5847, 0.2018)),
    "timesfm": ((0.3981, 0.4110), (0.4129, 0.4118), (0.4319, 0.4383), (0.4738, 0.5311)),
    "timesfm+lora": ((0.3035, 0.3290), (0.3184, 0.3364), (0.3373, 0.3571), (0.3541, 0.3909)),
}
CAVEAT = (
    "The paper doesn't publish which cells and days it trained and tested on, nor how it scaled them: its figures and "
    "ours can't be compared one to one."
)
BEST_RULE = (
    "**Bold: best.** A model is called best at a horizon only if its figure is below every other model's by more than "
    "the sum of both standard deviations over the seeds (0 for models without chance and for an adapter that was "
    "loaded). Where a model was trained only once its spread is unknown, and none is called best. The seeds say "
    "nothing of other days and cells."
)
BANDS = ("timesfm+lora", "timesfm")  # whose forecasts are drawn with bands: the first that was measured, else any
MORNING_HOUR = 8.0  # local; the forecasts that are drawn begin near it and reach into the evening


# --- Examples -----------------------------------------------------------------------------------------------------


def examples(data: Protocol, measured: dict[str, Measured]) -> dict:
    """Forecasts to draw: the cells with the smallest, the median and the largest mean before the test, from one origin
    of a working day and one of a weekend."""
    name = next((name for name in (*BANDS, *measured) if name in measured and not measured[name].error), None)
    if name is None:
        return {}
    run, order = measured[name].runs[0], np.argsort(_means(data))
    cells = {"smallest": order[0], "median": order[len(order) // 2], "busiest": order[-1]}
    origins = {"working day": _morning(data, False), "weekend": _morning(data, True)}
    return {
        "model": name,
        "forecasts": [
            {
                "cell": f"{size} cell, square {data.square_id[cell]}",
                "day": day,
                "origin": iso(data.epoch_s[data.origins[at]]),
                "before": data.history[cell, max(0, data.origins[at] - data.horizon) : data.origins[at]].tolist(),
                "truth": data.truth[at, cell].tolist(),
                "mean": run.mean[at, cell].tolist(),
                "quantiles": run.quantiles[at, cell].tolist(),
            }
            for size, cell in cells.items()
            for day, at in origins.items()
            if at is not None
        ],
    }


def _means(data: Protocol) -> np.ndarray:
    """[C]: mean before the test; a cell without any value there counts as the smallest."""
    past = data.history[:, : data.start]
    known = ~np.isnan(past)
    return np.where(known, past, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _morning(data: Protocol, weekend: bool) -> int | None:
    """Of the origins whose slots are all of this kind of day: the first of those nearest to the morning."""
    fit = np.flatnonzero((data.weekend == weekend).all(axis=1))
    if not fit.size:
        return None
    hours = local_time(ZONE, data.epoch_s[data.origins[fit]]).hour
    return int(fit[np.argmin(np.abs(hours - MORNING_HOUR))])


# --- Document -----------------------------------------------------------------------------------------------------


def best(figures: dict, horizon: int, part: str | None = None) -> str | None:
    """The model that may be called best at this horizon by BEST_RULE, or None. part: "working_days" or "weekend"."""
    models = [model for model in figures["models"].values() if "error" not in model]
    if any(model["fit_s"] is not None and "seeds" not in model for model in models):
        return None
    known = {name: _with_spread(model, horizon, part) for name, model in figures["models"].items()}
    ranked = sorted((error, spread, name) for name, (error, spread) in known.items() if error is not None)
    if len(ranked) < 2:
        return None
    (error, spread, name), *others = ranked
    return name if all(other - error > deviation + spread for other, deviation, _ in others) else None


def _with_spread(model: dict, horizon: int, part: str | None) -> tuple[float | None, float]:
    """NRMSE per cell and its standard deviation over the seeds."""
    if "error" in model:
        return None, 0.0
    std = model.get("seeds", {}).get("std", {})
    of, spread = (model[part], std.get(part, {})) if part else (model, std)
    return of[str(horizon)]["per_cell_mean"], spread.get(str(horizon), {}).get("per_cell_mean") or 0.0


def source(figures: dict) -> str:
    """Where the figures come from, in one paragraph of Markdown."""
    data = figures["data"]
    return (
        f"Data: `{data['file']}` (SHA-256 `{data['sha256']}`), {data['cells']} cells, {data['start']} to "
        f"{data['end']}; tested from {figures['test_start']} ({figures['origins']} origins, the last "
        f"{figures['last_origin']}). Commit {figures['commit']}, {figures['machine']}.\n\n    {figures['command']}"
    )


def markdown(figures: dict) -> str:
    """table3.md."""
    models = {name: model for name, model in figures["models"].items() if "error" not in model}
    parts = [
        "# Table III: NRMSE of the forecasters",
        source(figures),
        "NRMSE is the root mean squared error over the mean of the true values; at h steps all steps 1 to h count. "
        "*Per cell*: of each cell over origins and steps, then the mean ± standard deviation over cells. *Pooled*: "
        "eq. (9) of the paper over everything. At each origin a model sees only what precedes it; models that train "
        "see only what precedes the test.",
        BEST_RULE,
        _errors(figures, models),
        "![NRMSE of the models beside the paper's](table3.svg)",
        "## The paper's figures",
        CAVEAT,
        _paper(),
        "## Working days and weekend",
        "By the local date of each true slot; the weekend includes public holidays. NRMSE per cell.",
        _split(figures, models),
        "## Spread over seeds",
        "NRMSE per cell, mean ± standard deviation over fits with different seeds (divided by n - 1).",
        _seeds(models),
        "## Quantiles",
        "Pinball: mean pinball loss over the nine levels / mean of the true values, 60 steps. Coverage: share of true "
        "values at or under each quantile.",
        _quantiles(models),
        "## Scaled error, time and size",
        "MASE: each cell's mean absolute error over 60 steps / that of the daily seasonal naive within the part before "
        "the test (Hyndman and Koehler, 2006), mean over cells. Time: median over origins of a call for all cells and "
        "60 steps. Parameters: the weights that a model carries; ARIMA estimates its own anew at each forecast. "
        "Memory: peak of the model's own process with Python, libraries, data and training.",
        _costs(models),
    ]
    if figures.get("examples"):
        parts += [
            "## Forecasts",
            f"![Forecasts of three cells with quantile bands](forecasts.svg)\n\n{figures['examples']['model']}: mean, "
            "and bands from 0.1 to 0.9, 0.2 to 0.8, 0.3 to 0.7 and 0.4 to 0.6.",
        ]
    if notes := notes_of(figures):
        parts += ["## Notes", "\n".join(f"- {line}" for line in notes)]
    return "\n\n".join(parts) + "\n"


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _steps() -> list[str]:
    return [f"{h} step{'s' * (h > 1)} ({h * SLOT_S // 60} min)" for h in HORIZONS]


def _errors(figures: dict, models: dict) -> str:
    winners = [best(figures, h) for h in HORIZONS]

    def cell(name: str, at: int) -> str:
        error = models[name][str(HORIZONS[at])]
        text = f"{shown(error['per_cell_mean'], '.4f')} ± {shown(error['per_cell_std'], '.4f')}"
        pooled = shown(error["pooled"], ".4f")
        return f"{f'**{text}**' if name == winners[at] else text}; {pooled}"

    rows = [[name, *(cell(name, at) for at in range(len(HORIZONS)))] for name in models]
    rows.append(["*best*", *(winner or "none beyond the spread" for winner in winners)])
    return _grid(["per cell ± over cells; pooled", *_steps()], rows)


def _paper() -> str:
    rows = [[name, *(f"{mean:.4f} ± {std:.4f}" for mean, std in row)] for name, row in PAPER.items()]
    return _grid(["paper, Table III", *_steps()], rows)


def _split(figures: dict, models: dict) -> str:
    names = {"working_days": "working days", "weekend": "weekend"}
    header = ["", *(f"{h}, {name}" for name in names.values() for h in HORIZONS)]
    winners = {(part, h): best(figures, h, part) for part in names for h in HORIZONS}

    def cell(name: str, part: str, h: int) -> str:
        text = shown(models[name][part][str(h)]["per_cell_mean"], ".4f")
        return f"**{text}**" if winners[part, h] == name else text

    return _grid(header, [[name, *(cell(name, part, h) for part in names for h in HORIZONS)] for name in models])


def _seeds(models: dict) -> str:
    rows = [
        [name, str(model["seeds"]["count"]), *(_over_seeds(model, h) for h in HORIZONS)]
        for name, model in models.items()
        if "seeds" in model
    ]
    return _grid(["", "seeds", *_steps()], rows) if rows else "No model was fitted with more than one seed."


def _over_seeds(model: dict, horizon: int) -> str:
    error, spread = _with_spread(model, horizon, None)
    return f"{shown(error, '.4f')} ± {spread:.4f}"


def _quantiles(models: dict) -> str:
    rows = [
        [name, shown(model["pinball"], ".4f"), *(shown(share, ".3f") for share in model["coverage"] or [None] * 9)]
        for name, model in models.items()
    ]
    return _grid(["", "pinball", *(f"{level:g}" for level in QUANTILES)], rows)


def _costs(models: dict) -> str:
    rows = [
        [
            name,
            shown(model["mase"]),
            shown(model["s_per_1000_series"], ".3g"),
            shown(model["fit_s"], ".3g"),
            f"{model['parameters']:,}",
            f"{model['peak_memory_mb']:.0f}",
        ]
        for name, model in models.items()
    ]
    return _grid(["", "MASE", "s per 1,000 series", "training, s", "parameters", "peak memory, MB"], rows)


# --- Figures ------------------------------------------------------------------------------------------------------

BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"  # of Okabe and Ito's colours, told apart by colour-blind readers


def pyplot():
    """Matplotlib, set up for files that are the same each time."""
    import matplotlib  # half a second to import, in every model's process if it stood above

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "links", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    from matplotlib import pyplot

    return pyplot


def caption(figures: dict) -> str:
    """Where a figure's numbers come from, on two lines."""
    data = figures["data"]
    return (
        f"{data['file']} (SHA-256 {data['sha256']}), tested from {figures['test_start']} to {data['end']}; "
        f"commit {figures['commit']}\n{figures['command']}"
    )


def draw_errors(figures: dict):
    """NRMSE per cell of each model at each horizon, with the spread over seeds, and the paper's."""
    plt = pyplot()
    models = [name for name, model in figures["models"].items() if "error" not in model]
    figure, panels = plt.subplots(
        1, len(HORIZONS), figsize=(13, 1.6 + 0.32 * len(models)), sharey=True, sharex=True, layout="constrained"
    )
    for axes, horizon, title, at in zip(panels, HORIZONS, _steps(), range(len(HORIZONS)), strict=True):
        for row, name in enumerate(models):
            error, spread = _with_spread(figures["models"][name], horizon, None)
            if error is not None:
                axes.errorbar([error], [row], xerr=[spread], fmt="o", color=BLUE, capsize=2, markersize=5)
                axes.annotate(f"{error:.3f}", (error, row), xytext=(6, 3), textcoords="offset points", fontsize=7)
            if name in PAPER:
                axes.plot([PAPER[name][at][0]], [row], "D", color=ORANGE, fillstyle="none", markersize=5)
        axes.set(title=title, xlabel="NRMSE per cell")
    panels[0].set_yticks(range(len(models)), models)
    panels[0].set_ylim(len(models) - 0.5, -0.7)  # the first model on top, with room for its figure
    panels[0].set_xlim(left=0)
    panels[-1].plot([], [], "o", color=BLUE, label="here, ± over seeds")
    panels[-1].plot([], [], "D", color=ORANGE, fillstyle="none", label="paper (other days, not published which)")
    figure.legend(loc="outside upper center", ncols=2)
    figure.supxlabel(caption(figures), fontsize=7)
    return figure


def draw_forecasts(figures: dict):
    """Each example: the truth, what preceded it, the mean and bands between the quantiles."""
    plt = pyplot()
    drawn = figures["examples"]["forecasts"]
    cells, days = (list(dict.fromkeys(one[key] for one in drawn)) for key in ("cell", "day"))
    figure, grid = plt.subplots(
        len(cells), len(days), figsize=(5.5 * len(days), 2.4 * len(cells) + 1), squeeze=False, layout="constrained"
    )
    for one in drawn:
        axes = grid[cells.index(one["cell"]), days.index(one["day"])]
        series = {key: _floats(one[key]) for key in ("before", "truth", "mean", "quantiles")}
        ahead = np.arange(1, len(series["mean"]) + 1) * SLOT_S / 3600
        past = np.arange(1 - len(series["before"]), 1) * SLOT_S / 3600
        for low in range(len(QUANTILES) // 2):
            axes.fill_between(
                ahead, series["quantiles"][low], series["quantiles"][-1 - low], color=BLUE, alpha=0.15, linewidth=0
            )
        axes.plot(np.append(past, ahead), np.append(series["before"], series["truth"]), color=BLACK, label="truth")
        axes.plot(ahead, series["mean"], color=BLUE, label=f"{figures['examples']['model']}, mean and 0.1 to 0.9")
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.set_title(f"{one['cell']}, {one['day']}, {one['origin']}", fontsize=8)
        axes.set_ylim(bottom=0)
    for axes in grid[-1]:
        axes.set_xlabel("hours from the origin")
    for axes in grid[:, 0]:
        axes.set_ylabel("traffic per slot")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.supxlabel(caption(figures), fontsize=7)
    return figure


def _floats(values: list) -> np.ndarray:
    return np.array(values, np.float64)  # None becomes NaN


# --- Files --------------------------------------------------------------------------------------------------------


def write(figures: dict, directory: Path) -> list[str]:
    """table3.json, table3.md and the figures; their names."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table3.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")
    (directory / "table3.md").write_text(markdown(figures), "utf-8")
    drawings = {"table3.svg": draw_errors} | ({"forecasts.svg": draw_forecasts} if figures.get("examples") else {})
    for name, draw in drawings.items():
        save(draw(figures), directory / name)
    return ["table3.json", "table3.md", *drawings]


def save(figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    pyplot().close(figure)


def read(path: Path) -> dict:
    """A measured document. Raises ProtocolError, OSError."""
    try:
        figures = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ProtocolError(f"{path}: not JSON: {error}") from None
    if not isinstance(figures, dict) or not {"data", "models", "command", "commit"} <= figures.keys():
        raise ProtocolError(f"{path}: not a table3.json as `links eval table3` writes it")
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="links eval table3",
        description="The paper's Table III: table3.md, table3.json, table3.svg, forecasts.svg.",
    )
    add_arguments(parser, stride=24, seeds=5, required=False)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--from", type=Path, dest="measured", metavar="table3.json", help="draw again, measure nothing")
    options = parser.parse_args(argv)
    if options.measured is None and (options.data is None or options.test_start is None):
        parser.error("name the data and where the test starts (--data, --test-start), or a measured document (--from)")

    def work(errors: Console) -> None:
        if options.measured is not None:
            figures = read(options.measured)
        else:
            options.out.mkdir(parents=True, exist_ok=True)  # before the work, whose results would be lost
            data, measured = measure(options, max(HORIZONS), errors)
            examples_drawn = {"examples": examples(data, measured)}
            figures = plain(document(data, measured, origin("table3", argv)) | examples_drawn)
        print(f"{options.out}: {', '.join(write(figures, options.out))}")
        if options.measured is None:
            refuse_failed(options, measured)

    return finish(work)


if __name__ == "__main__":
    sys.exit(main())
