"""Time and memory of TimesFM forecasts for a city: ``links eval forecast-speed`` writes it into ``docs/results``.

Synthetic histories, each measurement in a process of its own that may use ``--threads`` cores. Against cells, context
and parameters (networks with random weights: time does not depend on the weights). ``--runtimes`` runs the same
network on other runtimes too. forecast_speed.json holds every run; times are medians with the smallest and largest.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from evaluation.forecast import finish, origin
from evaluation.forecast_protocol import ModelError
from evaluation.table3 import BLUE, ORANGE, pyplot, save

TARGET = {"cells": 10_000, "slots": 2016, "horizon": 60, "threads": 2, "seconds": 60.0, "memory_mb": 2000.0}
CELLS = (100, 1_000, 10_000)
CONTEXTS = (144, 288, 576, 1_008, 2_016, 4_096)  # slots: one day, two, four, one week, two, four
ARCHITECTURES = ((2, 64, 2), (4, 128, 4), (6, 160, 5), (8, 256, 8), (12, 512, 16))  # layers, width, heads
BATCHES = (16, 32, 64, 128, 256)
RUNTIME_CELLS = 512
AGREEMENT = 1e-4  # largest difference from torch, in units of a series' mean (within a factor of two)
DISTINCT = 64  # synthetic series; cells share them, each with a scale of its own

Values = NDArray[np.float32]
Rows = Callable[[Values, NDArray[np.int64]], Values]  # values [B, N], padding [B] -> [B, H, 10], as predict has them


@dataclass(frozen=True)
class Work:
    """Forecasts of ``cells`` histories of ``slots`` slots. ``checkpoint``: a folder or hub name, "": the bundled one.

    ``context_slots``: how much of the history is used at most; None: TimesFM's own limit.
    """

    cells: int
    slots: int
    horizon: int
    threads: int
    repeats: int
    checkpoint: str = ""
    context_slots: int | None = None


@dataclass(frozen=True)
class Timed:
    """start_s: import of the libraries and loading the checkpoint; then one entry per repeat.

    processor_s is over all threads: on an idle machine it is at most ``threads`` times the seconds; where the seconds
    are far above it, other programs had the cores. peak_memory_mb: all of the process, in 10^6 bytes.
    """

    start_s: float
    seconds: tuple[float, ...]
    processor_s: tuple[float, ...]
    peak_memory_mb: float
    parameters: int


# --- In the worker process --------------------------------------------------------------------------------------------


def histories(cells: int, slots: int, seed: int = 0) -> NDArray[np.float64]:
    """[C, T]: synthetic traffic of very different size; every twentieth cell lacks an hour in the middle."""
    from predictor.synthetic import synthetic_traffic

    rng = np.random.default_rng(seed)
    distinct = synthetic_traffic(rng, DISTINCT, slots).observed
    history = distinct[np.arange(cells) % DISTINCT]
    history *= rng.lognormal(3.0, 1.5, (cells, 1))
    history[::20, slots // 2 : slots // 2 + 6] = np.nan
    return history


def timed_forecasts(work: Work) -> Timed:
    """Run the work in this process. Raises CheckpointError."""
    started = time.perf_counter()
    import torch

    from predictor.timesfm_forecaster import TimesFM

    torch.set_num_threads(work.threads)
    model = TimesFM(checkpoint=work.checkpoint)
    if work.context_slots:
        model = replace(model, context_slots=work.context_slots)
    parameters = model.parameters
    start_s = time.perf_counter() - started
    history = histories(work.cells, work.slots)
    model.forecast(history[:64], work.horizon)  # warm-up: threads and buffers
    seconds, processor_s = [], []
    for _ in range(work.repeats):
        before, processor_before = time.perf_counter(), time.process_time()
        model.forecast(history, work.horizon)
        seconds.append(time.perf_counter() - before)
        processor_s.append(time.process_time() - processor_before)
    return Timed(start_s, tuple(seconds), tuple(processor_s), _peak_memory_mb(), parameters)


def timed_forecasts_of(architecture: tuple[int, int, int], work: Work) -> Timed:
    """The same of a network of that many (layers, width, heads) with random weights."""
    import torch

    from predictor.timesfm_model import Architecture, TimesFMModule, save_checkpoint

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        save_checkpoint(TimesFMModule(Architecture(*architecture, quantile_horizon=128)), Path(directory), {})
        return timed_forecasts(replace(work, checkpoint=directory))


def _peak_memory_mb() -> float:
    # Not getrusage's ru_maxrss: a spawned process inherits its parent's there.
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6


def _enter(threads: int) -> None:
    os.dup2(2, 1)  # whatever libraries print, standard output is the evaluation's
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def in_own_process(threads: int, function: Callable, *arguments):
    """function(*arguments), run in a new process on ``threads`` cores. Raises ModelError."""
    with ProcessPoolExecutor(1, get_context("spawn"), _enter, (threads,)) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except ValueError as error:  # a checkpoint that can't be used
            raise ModelError(str(error)) from None
        except BrokenProcessPool:
            raise ModelError("the process of the forecasts died; out of memory?") from None


# --- Runtimes ---------------------------------------------------------------------------------------------------------


def runtimes(work: Work) -> dict:
    """``predict`` of the same rows and weights by each runtime in turn, ``repeats`` times over, in this process.

    {name: {"difference": ..., "seconds": {batch: [...]}, "processor_s": ...} or {"skipped": why}}
    """
    import torch

    from predictor.timesfm_forecaster import checkpoint

    torch.set_num_threads(work.threads)
    patch = checkpoint(work.checkpoint).p
    values = histories(work.cells, -(-work.slots // patch) * patch)
    values = (values / np.nanmean(values, axis=1, keepdims=True)).astype(np.float32)
    padding = np.zeros(len(values), np.int64)
    padding[::8] = 5 * patch + 3  # some rows are shorter
    values = np.nan_to_num(values, nan=1.0) * (np.arange(values.shape[1]) >= padding[:, None])
    results, ready = {}, {}
    with tempfile.TemporaryDirectory() as directory:
        for name, prepare in RUNTIMES.items():
            try:
                one = prepare(work, values.shape[1], Path(directory))
                outputs = one(values, padding)
            except (ImportError, RuntimeError) as error:
                results[name] = {"skipped": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
                continue
            if not results:
                truth = outputs
            difference = float(np.abs(outputs - truth).max())
            results[name] = {"difference": difference, "seconds": {}, "processor_s": {}}
            ready[name] = one
        for _ in range(work.repeats):
            for batch in BATCHES:
                for name, one in ready.items():
                    _time_batches(results[name], one, values, padding, batch)
    return results


def _time_batches(result: dict, one: Rows, values: Values, padding: NDArray[np.int64], batch: int) -> None:
    before, processor_before = time.perf_counter(), time.process_time()
    for first in range(0, len(values), batch):
        one(values[first : first + batch], padding[first : first + batch])
    result["seconds"].setdefault(str(batch), []).append(time.perf_counter() - before)
    result["processor_s"].setdefault(str(batch), []).append(time.process_time() - processor_before)


def _torch(work: Work, slots: int, directory: Path) -> Rows:
    """As TimesFM.forecast runs it."""
    from predictor.timesfm_forecaster import checkpoint

    return _eager(checkpoint(work.checkpoint), work)


def _eager(module, work: Work) -> Rows:
    import torch

    from predictor.timesfm_model import predict

    def one(values: Values, padding: NDArray[np.int64]) -> Values:
        return predict(module, torch.from_numpy(values), torch.from_numpy(padding), work.horizon).numpy()

    return one


def _plain_attention(work: Work, slots: int, directory: Path) -> Rows:
    """The package's other attention function: two products and a softmax in place of torch's fused kernel."""
    from timesfm.torch.transformer import _dot_product_attention

    module = _fresh(work)
    for layer in module.stacked_xf:
        layer.attn.attention_fn = _dot_product_attention
    return _eager(module, work)


def _threads_of_rows(work: Work, slots: int, directory: Path) -> Rows:
    """Each thread computes its share of a batch alone, in place of all threads sharing each operation."""
    import torch

    one = _torch(work, slots, directory)
    pool = ThreadPoolExecutor(work.threads)

    def in_threads(values: Values, padding: NDArray[np.int64]) -> Values:
        torch.set_num_threads(1)
        try:
            parts = zip(np.array_split(values, work.threads), np.array_split(padding, work.threads), strict=True)
            return np.concatenate(list(pool.map(lambda part: one(*part), [part for part in parts if len(part[0])])))
        finally:
            torch.set_num_threads(work.threads)

    return in_threads


def _compiled(work: Work, slots: int, directory: Path) -> Rows:
    import torch

    module = _fresh(work)
    module.trunk = torch.compile(module.trunk, dynamic=True)
    return _eager(module, work)


def _onnx_runtime(work: Work, slots: int, directory: Path) -> Rows:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = work.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would slow down the next runtime
    session = onnxruntime.InferenceSession(str(export(work, slots, directory)), options, ["CPUExecutionProvider"])
    return lambda values, padding: session.run(None, {"values": values, "padding": padding})[0]


def _openvino(work: Work, slots: int, directory: Path) -> Rows:
    import openvino

    # Without the hint it computes in bfloat16 on processors that can.
    settings = {"INFERENCE_NUM_THREADS": work.threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(export(work, slots, directory)), "CPU", settings)
    return lambda values, padding: compiled({"values": values, "padding": padding})[0]


RUNTIMES = {  # the first is what the others are compared with
    "torch": _torch,
    "torch, plain attention": _plain_attention,
    "torch, a thread per part of a batch": _threads_of_rows,
    "torch.compile": _compiled,
    "ONNX Runtime": _onnx_runtime,
    "OpenVINO": _openvino,
}


def _fresh(work: Work):
    """The checkpoint's module, not the one that others share."""
    from predictor.timesfm_forecaster import checkpoint

    return checkpoint.__wrapped__(work.checkpoint)


def export(work: Work, slots: int, directory: Path) -> Path:
    """``predict`` for ``slots`` slots and any number of rows as an ONNX file. Raises ImportError without onnx."""
    import onnx  # noqa: F401  torch's exporter needs it, and says so less clearly
    import torch

    from predictor.timesfm_model import predict

    path = directory / "predict.onnx"
    if path.exists():
        return path
    module = _fresh(work)

    class Predict(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, values, padding):
            return predict.__wrapped__(self.module, values, padding, work.horizon)  # without inference_mode

    example = (torch.ones(3, slots), torch.zeros(3, dtype=torch.int64))
    rows = {0: torch.export.Dim("rows", min=1, max=65_536)}
    with contextlib.redirect_stdout(sys.stderr):
        torch.onnx.export(
            Predict().eval(),
            example,
            str(path),
            input_names=["values", "padding"],
            output_names=["outputs"],
            dynamic_shapes={"values": rows, "padding": rows},
            external_data=False,
            dynamo=True,
        )
    return path


# --- All measurements -------------------------------------------------------------------------------------------------


def measure(work: Work, growth_cells: int, with_runtimes: bool, told: Callable[[str], None]) -> dict:
    """The document, without its origin. Raises ModelError."""

    def run(what: str, of: Work, *architecture) -> dict:
        told(what)
        function = (timed_forecasts_of, *architecture) if architecture else (timed_forecasts,)
        timed = in_own_process(work.threads, *function, of)
        return {"cells": of.cells, "slots": of.slots, **asdict(timed)}

    whole = run(f"{work.cells:,} cells", work)
    some = replace(work, cells=growth_cells)
    document = {
        "horizon": work.horizon,
        "threads": work.threads,
        "forecast": whole,
        "target": TARGET,
        "met": met(work, whole),
        "growth": {
            "cells": [run(f"{n:,} cells", replace(work, cells=n)) for n in CELLS if n < work.cells] + [whole],
            "context": [
                run(f"{growth_cells:,} cells, {n:,} slots", replace(some, slots=n, context_slots=n)) for n in CONTEXTS
            ],
            "parameters": [
                {"layers": layers, "width": width}
                | run(f"{growth_cells:,} cells, {layers} layers of {width}", some, (layers, width, heads))
                for layers, width, heads in ARCHITECTURES
            ],
        },
    }
    if with_runtimes:
        told("runtimes")
        of = replace(work, cells=min(RUNTIME_CELLS, work.cells))
        document["runtimes"] = {"cells": of.cells, "results": in_own_process(work.threads, runtimes, of)}
    return document


def met(work: Work, whole: dict) -> bool | None:
    """Whether the target is met by the median and the peak; None if the work is smaller than the target's."""
    if min(work.cells / TARGET["cells"], work.slots / TARGET["slots"], work.horizon / TARGET["horizon"]) < 1:
        return None
    if work.threads > TARGET["threads"]:
        return None
    return statistics.median(whole["seconds"]) <= TARGET["seconds"] and whole["peak_memory_mb"] <= TARGET["memory_mb"]


# --- Output -----------------------------------------------------------------------------------------------------------


def spread(values: Iterable[float], form: str = ".3g") -> str:
    """Median (smallest to largest)."""
    values = list(values)
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def rate(one: dict) -> float:
    """Series per second."""
    return one["cells"] / statistics.median(one["seconds"])


def summary(document: dict) -> str:
    """The whole work in a line or two."""
    whole = document["forecast"]
    verdict = {True: "met", False: "MISSED", None: "not judged, since the work is smaller or has more cores"}
    return (
        f"{whole['cells']:,} cells, {document['horizon']} steps from {whole['slots']:,} slots, {document['threads']} "
        f"threads: {spread(whole['seconds'])} s (processor {spread(whole['processor_s'])} s), {rate(whole):.0f} "
        f"series/s, peak {whole['peak_memory_mb']:.0f} MB, {whole['parameters']:,} parameters; start "
        f"{whole['start_s']:.1f} s\ntarget ({TARGET['cells']:,} cells, {TARGET['horizon']} steps, "
        f"{TARGET['slots']:,} slots, {TARGET['threads']} cores: {TARGET['seconds']:.0f} s, {TARGET['memory_mb']:.0f} "
        f"MB): {verdict[document['met']]}"
    )


def markdown(document: dict) -> str:
    """forecast_speed.md."""
    growth = document["growth"]
    parts = [
        "# Speed of TimesFM forecasts",
        f"Synthetic histories. Commit {document['commit']}, {document['machine']}.\n\n    {document['command']}",
        summary(document).replace("\n", "\n\n"),
        "Each row is a process of its own: medians of the repeats (smallest to largest). Processor time is over all "
        "threads; where the seconds are far above it, other programs had the cores. Memory is the peak of the whole "
        "process with Python, libraries and the history. Start: import of torch, loading the checkpoint.",
        "![Time against cells, context and parameters](forecast_speed.svg)",
        "## Cells",
        _table("cells", growth["cells"], lambda one: f"{one['cells']:,}"),
        "## Context",
        f"{growth['context'][0]['cells']:,} cells.",
        _table("slots of history", growth["context"], lambda one: f"{one['slots']:,}"),
        "## Parameters",
        f"{growth['parameters'][0]['cells']:,} cells, random weights.",
        _table(
            "layers x width, parameters",
            growth["parameters"],
            lambda one: f"{one['layers']} x {one['width']}, {one['parameters']:,}",
        ),
    ]
    if "runtimes" in document:
        parts += ["## Runtimes", _runtimes_text(document), _runtimes_table(document["runtimes"])]
    return "\n\n".join(parts) + "\n"


def _grid(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])


def _table(what: str, each: list[dict], name: Callable[[dict], str]) -> str:
    return _grid(
        [what, "s", "processor s", "series/s", "peak MB"],
        [
            [name(one), spread(one["seconds"]), spread(one["processor_s"]), f"{rate(one):.0f}"]
            + [f"{one['peak_memory_mb']:.0f}"]
            for one in each
        ],
    )


def _runtimes_text(document: dict) -> str:
    return (
        f"The network alone, without preparing the histories: {document['runtimes']['cells']} rows of "
        f"{document['forecast']['slots']:,} slots in batches, the runtimes in turn. ms per series by batch size, "
        f"median (smallest to largest). Difference: the largest from torch, in units of a series' mean; above "
        f"{AGREEMENT:g} it counts as wrong."
    )


def _runtimes_table(measured: dict) -> str:
    rows = []
    for name, result in measured["results"].items():
        if "skipped" in result:
            rows.append([name, *["-"] * len(BATCHES), f"skipped: {result['skipped']}"])
            continue
        times = [spread(1000 * s / measured["cells"] for s in each) for each in result["seconds"].values()]
        wrong = ", wrong" if result["difference"] > AGREEMENT else ""
        rows.append([name, *times, f"{result['difference']:.1e}{wrong}"])
    return _grid(["runtime", *map(str, BATCHES), "difference"], rows)


def draw(document: dict):
    """Seconds against cells, and series per second against context and parameters."""
    plt = pyplot()
    growth = document["growth"]
    figure, (cells, context, parameters) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    _line(cells, growth["cells"], "cells", lambda one, s: s)
    cells.set(xlabel="cells", ylabel="seconds")
    cells.plot([TARGET["cells"]], [TARGET["seconds"]], "D", color=ORANGE, fillstyle="none", label="target, at most")
    cells.legend()
    _line(context, growth["context"], "slots", lambda one, s: one["cells"] / s)
    context.set(xlabel="slots of history", ylabel="series/s")
    _line(parameters, growth["parameters"], "parameters", lambda one, s: one["cells"] / s)
    parameters.set(xlabel="parameters", ylabel="series/s")
    for axes in (cells, context, parameters):
        axes.set(xscale="log", yscale="log")
    figure.supxlabel(
        f"{document['horizon']} steps, {document['threads']} threads; commit {document['commit']}\n"
        f"{document['command']}",
        fontsize=7,
    )
    return figure


def _line(axes, each: list[dict], key: str, value: Callable[[dict, float], float]) -> None:
    middle = [value(one, statistics.median(one["seconds"])) for one in each]
    ends = [sorted(value(one, s) for s in (min(one["seconds"]), max(one["seconds"]))) for one in each]
    errors = [
        [m - low for m, (low, _) in zip(middle, ends, strict=True)],
        [high - m for m, (_, high) in zip(middle, ends, strict=True)],
    ]
    axes.errorbar([one[key] for one in each], middle, errors, fmt="o-", color=BLUE, capsize=2, markersize=4)


def write(document: dict, directory: Path) -> None:
    """forecast_speed.json, forecast_speed.md, forecast_speed.svg."""
    (directory / "forecast_speed.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    (directory / "forecast_speed.md").write_text(markdown(document), "utf-8")
    save(draw(document), directory / "forecast_speed.svg")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use; a missed target is said, not a failure."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="links eval forecast-speed", description="Time and memory of TimesFM forecasts, and how they grow."
    )
    for flag, default, text in (
        ("--cells", TARGET["cells"], "series to forecast"),
        ("--slots", TARGET["slots"], "slots of history"),
        ("--horizon", TARGET["horizon"], "steps to forecast"),
        ("--threads", TARGET["threads"], "threads, on as many cores"),
        ("--repeats", 3, "runs of each measurement"),
        ("--growth-cells", 1_000, "cells of the measurements against context and parameters"),
    ):
        parser.add_argument(flag, type=_count, default=default, metavar="N", help=f"{text} (%(default)s)")
    parser.add_argument("--checkpoint", default="", metavar="DIR", help="default: the bundled one")
    parser.add_argument("--runtimes", action="store_true", help="compare torch with torch.compile, ONNX Runtime, ...")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(argv)
    if options.threads > (cores := len(os.sched_getaffinity(0))):
        parser.error(f"--threads {options.threads}: there are {cores} cores")

    def work(errors: Console) -> None:
        options.out.mkdir(parents=True, exist_ok=True)  # before the work, whose results would be lost
        whole = Work(
            options.cells, options.slots, options.horizon, options.threads, options.repeats, options.checkpoint
        )
        measured = measure(
            whole, options.growth_cells, options.runtimes, lambda text: errors.print(f"{text} ...", markup=False)
        )
        document = measured | origin("forecast-speed", argv)
        write(document, options.out)
        if options.json:
            print(json.dumps(document, indent=1, allow_nan=False))
        else:
            print(f"{summary(document)}\n{options.out}: forecast_speed.json, forecast_speed.md, forecast_speed.svg")

    return finish(work)


if __name__ == "__main__":
    sys.exit(main())
