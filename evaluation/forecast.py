"""The paper's Table III made exact: ``links eval forecast`` measures forecasters on a history file.

Slots of 10 minutes; at each origin a model sees only what precedes it, and models that train are fitted once, on what
precedes the test part. The protocol is in ``forecast_protocol``, the measures are in ``forecast_measures``; ``table3``
writes them up, and ``tau`` evaluates the decisions that stand on forecasts.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from evaluation.forecast_measures import HORIZONS, Floats, measures, naive_mae, over_seeds
from evaluation.forecast_protocol import (
    DAY_SLOTS,
    SLOT_S,
    ModelError,
    Protocol,
    ProtocolError,
    Run,
    Task,
    iso,
    protocol,
    run_in_own_process,
)
from predictor import NAMES, OPTIONAL
from twin.history_file import HistoryFileError

INPUT_ERRORS = (ProtocolError, HistoryFileError, ModelError, OSError)
MOST_NOTES = 3


@dataclass(frozen=True, eq=False)
class Measured:
    """A model's runs, one per seed where it trains, and the peak memory of their process. error: why it can't run."""

    runs: tuple[Run, ...] = ()
    peak_memory_mb: float = 0.0
    error: str = ""


# --- Running ----------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, stride: int, seeds: int, required: bool = True) -> None:
    """What all evaluations of forecasters take. required: whether the data and the test's start must be given."""
    parser.add_argument(
        "--data", type=Path, required=required, metavar="FILE.npz", help="history file, slots of 10 minutes"
    )
    parser.add_argument(
        "--test-start",
        required=required,
        metavar="T",
        help="first slot of the test part, ISO time (UTC unless it has an offset)",
    )
    parser.add_argument("--stride", type=int, default=stride, metavar="N", help="slots between origins (%(default)s)")
    parser.add_argument(
        "--models",
        type=_models,
        metavar="A,B,...",
        help=f"default: all, {', '.join(NAMES)}, and chronos if its weights are given",
    )
    parser.add_argument("--checkpoint", metavar="DIR", help="of TimesFM (default: the bundled one)")
    parser.add_argument("--adapter", metavar="DIR", help="of timesfm+lora (default: it is trained, as the others are)")
    parser.add_argument("--chronos", metavar="DIR", help="weights of Chronos-Bolt, folder or owner/name on the hub")
    parser.add_argument(
        "--seeds", type=_count, default=seeds, metavar="N", help="fits of models that train (%(default)s)"
    )


def _models(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [text]:
        if name not in NAMES + OPTIONAL:
            raise argparse.ArgumentTypeError(f"{name!r} is unknown; choose from {', '.join(NAMES + OPTIONAL)}")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a model twice")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def measure(options: argparse.Namespace, horizon: int, console: Console) -> tuple[Protocol, dict[str, Measured]]:
    """Run the models one after the other, each in its own process; progress goes to ``console``.

    A model that can't run gets an error in place of runs. Raises ModelError if none can.
    """
    data = protocol(options.data, options.test_start, options.stride, horizon)
    task = Task(
        options.data,
        options.test_start,
        options.stride,
        horizon,
        "",
        options.checkpoint,
        options.adapter,
        options.seeds,
        options.chronos,
    )
    measured = {}
    names = options.models or [*NAMES, *(OPTIONAL if options.chronos else ())]
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        for number, name in enumerate(names, start=1):

            def told(text: str, share: float, where: str = f"{number} of {len(names)}: {name}, ") -> None:
                progress.update(bar, description=escape(where + text), completed=share)

            told("starting", 0.0)
            measured[name] = one = _measured(replace(task, model=name), told)
            console.print(f"{name}: {f'left out: {one.error}' if one.error else 'done'}", markup=False)
    if all(one.error for one in measured.values()):
        reasons = "; ".join(f"{name}: {one.error}" for name, one in measured.items())
        raise ModelError(f"none of the models can run: {reasons}")
    return data, measured


def refuse_failed(options: argparse.Namespace, measured: dict[str, Measured]) -> None:
    """After the others' figures are out: ModelError if a model that was named could not run."""
    if failed := [f"{name}: {one.error}" for name, one in measured.items() if one.error and options.models]:
        raise ModelError("; ".join(failed))


def _measured(task: Task, told: Callable[[str, float], None]) -> Measured:
    try:
        runs, peak_memory_mb = run_in_own_process(task, told)
    except ModelError as error:
        return Measured(error=str(error).removeprefix(f"{task.model}: "))
    return Measured(tuple(runs), peak_memory_mb)


# --- Document ---------------------------------------------------------------------------------------------------------


def document(data: Protocol, measured: dict[str, Measured], origin_of_figures: dict) -> dict:
    """The document of ``links eval forecast --json``."""
    scale = naive_mae(data.history[:, : data.start], DAY_SLOTS)
    return {
        **about(data),
        "models": {name: entry(data, one, scale) for name, one in measured.items()},
        **origin_of_figures,
    }


def about(data: Protocol) -> dict:
    """The data and the test part."""
    return {
        "data": {
            "file": data.path.name,
            "sha256": hashlib.sha256(data.path.read_bytes()).hexdigest()[:12],
            "cells": len(data.history),
            "slots": len(data.epoch_s),
            "start": iso(data.epoch_s[0]),
            "end": iso(data.epoch_s[-1] + SLOT_S),
        },
        "test_start": iso(data.epoch_s[data.start]),
        "origins": len(data.origins),
        "stride": data.stride,
        "last_origin": iso(data.epoch_s[data.origins[-1]]),
    }


def entry(data: Protocol, measured: Measured, scale: Floats) -> dict:
    """One model: means over the seeds, and with more than one seed their standard deviations (divided by n - 1)."""
    if measured.error:
        return {"error": measured.error}
    each = [_of_run(data, run, scale) for run in measured.runs]
    result = over_seeds(each, statistics.fmean) | {
        "parameters": measured.runs[0].parameters,
        "peak_memory_mb": measured.peak_memory_mb,
        "notes": _notes(measured.runs),
    }
    if len(each) > 1:
        result["seeds"] = {"count": len(each), "std": over_seeds(each, statistics.stdev)}
    return result


def _of_run(data: Protocol, run: Run, scale: Floats) -> dict:
    def of(counts) -> dict:
        return measures(data.truth, run.mean, run.quantiles, counts, scale)

    cells = data.history.shape[0]
    return of(data.counts) | {
        "s_per_1000_series": float(np.median(run.seconds) / cells * 1000),
        "fit_s": run.fit_s,
        "working_days": of(data.counts & ~data.weekend[:, None, :]),
        "weekend": of(data.counts & data.weekend[:, None, :]),
    }


def _notes(runs: Sequence[Run]) -> dict:
    """How many forecasts had a note (missing slots, a fallback), of how many, and the most frequent notes."""
    total: dict[str, int] = {}
    for run in runs:
        for note, count in run.notes.items():
            total[note] = total.get(note, 0) + count
    most = sorted(total, key=total.get, reverse=True)[:MOST_NOTES]
    forecasts = sum(run.mean.shape[0] * run.mean.shape[1] for run in runs)
    return {"forecasts": forecasts, "with_note": sum(total.values()), "most_frequent": {n: total[n] for n in most}}


def origin(what: str, argv: Sequence[str]) -> dict:
    """Where figures come from: command, commit and machine."""
    return {"command": command(what, argv), "commit": commit(), "machine": machine()}


def command(what: str, argv: Sequence[str]) -> str:
    """The command, with absolute paths shortened to their last part: they say nothing to others."""

    def short(text: str) -> str:
        flag, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
        return f"{flag}{equals}{Path(value).name if value.startswith('/') else value}"

    return shlex.join(["links", "eval", what, *map(short, argv)])


def commit() -> str:
    """The commit of the source tree that runs, with -dirty where files of it are changed; "unknown" outside git."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        try:
            result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return result.stdout.strip() if result.returncode == 0 else ""

    if git("rev-parse", "--show-toplevel") != str(root):  # also when installed into another project's tree
        return "unknown"
    dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + dirty


def machine() -> str:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = model[0].partition(": ")[2] if model else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def plain(value):
    """For JSON: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


# --- Output -----------------------------------------------------------------------------------------------------------


def shown(value: float | None, form: str = ".3f") -> str:
    """A figure, or "-" where there is none."""
    return "-" if value is None else f"{value:{form}}"


def tables(figures: dict) -> list[Table]:
    """NRMSE, and everything else, as tables for the terminal."""
    where = figures["data"]
    errors = Table(
        "model",
        *(f"{h} step{'s' * (h > 1)}" for h in HORIZONS),
        title=f"NRMSE per cell, mean ± deviation over cells (pooled); {where['cells']} cells, {figures['origins']} "
        f"origins from {figures['test_start']}",
    )
    others = Table(
        "model",
        "pinball",
        "coverage of 0.1 .. 0.9",
        "MASE",
        "s / 1000 series",
        "parameters",
        "peak MB",
        "spread of seeds",
    )
    for name, model in figures["models"].items():
        if "error" in model:
            continue
        errors.add_row(escape(name), *(_error_text(model[str(h)]) for h in HORIZONS))
        spread = model.get("seeds", {}).get("std")
        others.add_row(
            escape(name),
            shown(model["pinball"], ".4f"),
            " ".join(f"{share:.2f}" for share in model["coverage"] or ()) or "-",
            shown(model["mase"]),
            shown(model["s_per_1000_series"], ".3g"),
            f"{model['parameters']:,}",
            f"{model['peak_memory_mb']:.0f}",
            " ".join(shown(spread[str(h)]["per_cell_mean"], ".4f") for h in HORIZONS) if spread else "-",
        )
    return [errors, others]


def _error_text(errors: dict) -> str:
    per_cell = f"{shown(errors['per_cell_mean'])} ± {shown(errors['per_cell_std'])}"
    return f"{per_cell} ({shown(errors['pooled'])})"


def notes_of(figures: dict) -> list[str]:
    """A line for each model that was left out or whose forecasts had notes."""
    lines = [f"{name}: left out: {model['error']}" for name, model in figures["models"].items() if "error" in model]
    for name, model in figures["models"].items():
        notes = model.get("notes", {})
        if notes.get("with_note"):
            often = "; ".join(f"{count} x {note}" for note, count in notes["most_frequent"].items())
            lines.append(f"{name}: {notes['with_note']} of {notes['forecasts']} forecasts had a note: {often}")
    return lines


def finish(work: Callable[[Console], None]) -> int:
    """Run a command's work: 0; 1 with a message where input can't be used, a model can't run or output be written."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        work(errors)
    except INPUT_ERRORS as error:
        errors.print(f"links: {error}", markup=False)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="links eval forecast", description="Measure forecasters on a history file.")
    add_arguments(parser, stride=24, seeds=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(argv)

    def work(errors: Console) -> None:
        data, measured = measure(options, max(HORIZONS), errors)
        figures = plain(document(data, measured, origin("forecast", argv)))
        if options.json:
            print(json.dumps(figures, indent=1, allow_nan=False))
            return refuse_failed(options, measured)
        console = Console(width=None if sys.stdout.isatty() else 160)
        for table in tables(figures):
            console.print(table)
        for line in notes_of(figures):
            console.print(line, markup=False)
        refuse_failed(options, measured)

    return finish(work)


if __name__ == "__main__":
    sys.exit(main())
