"""Protocol of forecast evaluation: which slots are the test, what a model may see, each model in its own process."""

import multiprocessing
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from os import dup2
from pathlib import Path
from time import perf_counter
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from evaluation.forecast_measures import Flags, Floats
from predictor import QUANTILES, Forecaster, forecaster
from predictor.grid import grid_positions
from twin.history_file import load_history_file
from twin.local_time import WORKING, local_time

SLOT_S = 600
DAY_SLOTS = 86_400 // SLOT_S
ZONE = ZoneInfo("Europe/Rome")  # whose dates and holidays tell working days

Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done, 0 to 1


class ProtocolError(ValueError):
    """Data or a test start that can't be used; the message says what would be right."""


class ModelError(RuntimeError):
    """A model that can't run on these data, and why."""


@dataclass(frozen=True, eq=False)
class Protocol:
    """The data of one evaluation.

    history [C, T], NaN = missing; epoch_s [T], start of slot, UTC; start: first slot of the test part; origins [O]: the
    first slot of each forecast, ``stride`` slots apart, of ``horizon`` slots each; grid [C, 2]: row and column of each
    cell, or None, and no_grid says why.
    """

    path: Path
    history: Floats
    epoch_s: NDArray[np.int64]
    square_id: NDArray[np.int64]
    start: int
    origins: NDArray[np.int64]
    stride: int
    horizon: int
    grid: NDArray[np.int64] | None
    no_grid: str = ""

    @property
    def slots(self) -> NDArray[np.int64]:
        """[O, H]: the slots that are forecast."""
        return self.origins[:, None] + np.arange(self.horizon)

    @property
    def truth(self) -> Floats:
        """[O, C, H]"""
        return self.history[:, self.slots].transpose(1, 0, 2)

    @property
    def counts(self) -> Flags:
        """[O, C, H]: the true value is known, and so is some value of the cell before the origin. Without that nothing
        can be forecast, by any model."""
        begun = np.logical_or.accumulate(~np.isnan(self.history), axis=1)[:, self.origins - 1]
        return ~np.isnan(self.truth) & begun.T[:, :, None]

    @property
    def weekend(self) -> Flags:
        """[O, H]: Saturdays, Sundays and public holidays by the local date."""
        return local_time(ZONE, self.epoch_s).kind[self.slots] != WORKING


def protocol(path: str | Path, test_start: str, stride: int, horizon: int) -> Protocol:
    """Read a history file and lay out the test. ``test_start``: ISO time; without an offset it is UTC.

    Raises ProtocolError, HistoryFileError, OSError.
    """
    data = load_history_file(path)
    if data.slot_s != SLOT_S:
        fold, left = divmod(SLOT_S, data.slot_s)
        advice = f"add up {fold} slots each" if not left else "bring the data to such slots"
        raise ProtocolError(f"{path}: slots of {data.slot_s} s; they must be {SLOT_S} s (10 minutes): {advice} first")
    start = _slot(data.epoch_s, test_start, path)
    if stride < 1:
        raise ProtocolError(f"stride: {stride} must be 1 slot or more")
    origins = np.arange(start, len(data.epoch_s) - horizon + 1, stride)
    if not origins.size:
        raise ProtocolError(
            f"test start {test_start}: {len(data.epoch_s) - start} slots from there to the file's end; the longest "
            f"horizon takes {horizon}: start at {iso(data.epoch_s[max(1, len(data.epoch_s) - horizon)])} or before"
        )
    grid, no_grid = None, ""
    try:
        grid = grid_positions(data.square_id, data.lon, data.lat)
    except ValueError as error:
        no_grid = str(error)
    history = np.ascontiguousarray(data.traffic.T)
    return Protocol(Path(path), history, data.epoch_s, data.square_id, start, origins, stride, horizon, grid, no_grid)


def _slot(epoch_s: NDArray[np.int64], test_start: str, path: str | Path) -> int:
    """The slot that starts at ``test_start`` and has others before it."""
    try:
        time = datetime.fromisoformat(test_start)
    except ValueError:
        raise ProtocolError(f"test start {test_start!r}: must be an ISO time as 2013-11-18T00:00+01:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    moment = time.timestamp()
    if not epoch_s[0] < moment <= epoch_s[-1]:
        raise ProtocolError(
            f"test start {iso(moment)} must be a slot of {path} after the first: {iso(epoch_s[1])} to "
            f"{iso(epoch_s[-1])}"
        )
    slot = int(np.searchsorted(epoch_s, moment))
    if epoch_s[slot] != moment:
        near = f"{iso(epoch_s[slot - 1])} or {iso(epoch_s[slot])}"
        raise ProtocolError(f"test start {iso(moment)} is not the start of a slot; the nearest are {near}")
    return slot


def iso(epoch_s: float) -> str:
    """UTC as 2013-11-17T23:00:00Z."""
    return datetime.fromtimestamp(float(epoch_s), UTC).isoformat().replace("+00:00", "Z")


# --- Models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Run:
    """One model's forecasts of all origins, fitted with one seed where it trains.

    mean [O, C, H]; quantiles [O, C, 9, H]; seconds [O]: the time of each call; fit_s: None without training;
    parameters: the weights that the model carries; notes: how many forecasts had each note.
    """

    mean: Floats
    quantiles: Floats
    seconds: Floats
    fit_s: float | None
    parameters: int
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a model's own process needs to know. seeds: how many times a model that trains is fitted."""

    data: Path
    test_start: str
    stride: int
    horizon: int
    model: str
    checkpoint: str | None = None
    adapter: str | None = None
    seeds: int = 1
    chronos: str | None = None


def run(data: Protocol, task: Task, progress: Progress) -> list[Run]:
    """Forecast every origin, in this process: a run for each seed of a model that trains, else one.

    Raises ModelError, and whatever the model raises.
    """
    checkpoint = task.chronos if task.model == "chronos" else task.checkpoint
    model = forecaster(task.model, DAY_SLOTS, checkpoint=checkpoint, adapter=task.adapter)
    ready_made = task.model == "timesfm+lora" and task.adapter is not None
    if ready_made or not hasattr(model, "fit"):
        return [_forecast(data, model, None, progress)]
    runs = []
    for seed in range(task.seeds):
        told = _named(progress, f"seed {seed + 1} of {task.seeds}: " if task.seeds > 1 else "")
        begun = perf_counter()
        past = data.history[:, : data.start].copy()
        try:
            fitted = model.fit(past, grid=data.grid, seed=seed, progress=_named(told, "training: "))
        except ValueError as error:
            why = f" ({data.no_grid})" if data.no_grid and "grid" in str(error) else ""
            raise ModelError(f"{error}{why}") from None
        runs.append(_forecast(data, fitted, perf_counter() - begun, told))
    return runs


def _named(progress: Progress, prefix: str) -> Progress:
    return lambda text, share: progress(prefix + text, share)


def _forecast(data: Protocol, model: Forecaster, fit_s: float | None, progress: Progress) -> Run:
    means, tables, seconds, notes = [], [], [], {}
    for number, origin in enumerate(data.origins):
        begun = perf_counter()
        forecast = model.forecast(data.history[:, :origin].copy(), data.horizon)
        seconds.append(perf_counter() - begun)
        means.append(forecast.mean)
        tables.append(forecast.quantiles)
        for note in filter(None, forecast.notes):
            notes[note] = notes.get(note, 0) + 1
        progress("forecasting", (number + 1) / len(data.origins))
    mean, quantiles = np.array(means, np.float64), np.array(tables, np.float64)
    _check(data, mean, quantiles)
    return Run(mean, quantiles, np.array(seconds), fit_s, int(getattr(model, "parameters", 0)), notes)


def _check(data: Protocol, mean: Floats, quantiles: Floats) -> None:
    """Every point that counts has a forecast, so that no model is measured on fewer points than another."""
    origins, cells, steps = shape = data.truth.shape
    if mean.shape != shape or quantiles.shape != (origins, cells, len(QUANTILES), steps):
        raise ModelError(
            f"its forecasts have shapes {mean.shape[1:]}, {quantiles.shape[1:]}, not {shape[1:]}, [C, 9, H]"
        )
    bad = ~np.isfinite(mean)
    if not np.isnan(quantiles).all():
        bad |= ~np.isfinite(quantiles).all(axis=2)
    if (bad := np.argwhere(bad & data.counts)).size:
        origin, cell, step = bad[0]
        raise ModelError(
            f"{len(bad)} forecasts are no numbers, the first of square {data.square_id[cell]} at "
            f"{iso(data.epoch_s[data.origins[origin]])}, step {step + 1}"
        )


# --- Processes --------------------------------------------------------------------------------------------------------


def run_in_own_process(task: Task, progress: Progress) -> tuple[list[Run], float]:
    """The runs of ``run`` in a process of its own, and that process's peak resident memory in MB (10^6 bytes): all of
    it, with Python, the libraries, the data and the training. Raises ModelError."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(task, sender))
    process.start()
    sender.close()
    try:
        while True:
            kind, content = receiver.recv()
            if kind == "progress":
                progress(*content)
            elif kind == "error":
                raise ModelError(content)
            else:
                return content
    except EOFError:
        process.join()
        hint = "; out of memory?" if process.exitcode == -9 else ""
        raise ModelError(f"its process ended with exit code {process.exitcode}{hint}") from None
    finally:
        process.terminate()
        process.join()


def _child(task: Task, sender: Connection) -> None:
    dup2(2, 1)  # whatever libraries print, standard output is the evaluation's
    try:
        data = protocol(task.data, task.test_start, task.stride, task.horizon)
        runs = run(data, task, lambda text, share: sender.send(("progress", (text, share))))
        sender.send(("result", (runs, _peak_memory_mb())))
    except (ValueError, OSError, ImportError, ModelError) as error:
        sender.send(("error", str(error)))
    except Exception as error:  # a fault of the model: the others still run
        traceback.print_exc()
        sender.send(("error", f"{type(error).__name__}: {error}"))


def _peak_memory_mb() -> float:
    # Not getrusage's ru_maxrss: a spawned process inherits its parent's there.
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6
