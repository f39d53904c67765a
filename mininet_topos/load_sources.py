"""Where replayed load comes from: generated, or measured traffic of grid squares laid under the cells."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from twin.history_file import History, load_history_file
from twin.load_model import cell_load
from twin.milan import activity_history, load_activity
from twin.scenario import Scenario

log = logging.getLogger(__name__)

SLOT_S = 600
WEEK_S = 7 * 86_400
# A square's 99th percentile becomes this load, so that its busiest slots come near, and now and then over, capacity.
PEAK_LOAD = 0.9


class SourceError(ValueError):
    """A source of load that can't be used; the message names it, what is wrong and the fix."""


class LoadSource(Protocol):
    """Load of cells over slots of SLOT_S."""

    def load(self, cell_id: str, start_s: int, slots: int) -> np.ndarray:
        """Load, share of capacity, float64 [slots], of slots from ``start_s`` (UTC epoch seconds) on; NaN = missing."""

    def describe(self, now_s: float) -> list[str]:
        """What is replayed, in sentences."""


@dataclass(frozen=True)
class GeneratedLoad:
    """The scenario's own load model."""

    scenario: Scenario

    def load(self, cell_id: str, start_s: int, slots: int) -> np.ndarray:
        return cell_load(self.scenario, cell_id, start_s, slots, SLOT_S)

    def describe(self, now_s: float) -> list[str]:
        return [f"load of {len(self.scenario.cells)} cells is generated (simulated, seed {self.scenario.seed})"]


@dataclass(frozen=True, eq=False)
class MeasuredLoad:
    """Traffic of grid squares, each scaled so that its 99th percentile becomes ``peak_load``.

    A cell replays its own square where the history has it, else one of the others in order. Times that the history does
    not cover are taken from it a whole number of weeks earlier or later, the fewest that are enough; where there are
    none such (a history of less than a week) the slot is missing. ``name`` is for messages. Raises SourceError.
    """

    scenario: Scenario
    history: History
    name: str
    peak_load: float = PEAK_LOAD

    def __post_init__(self) -> None:
        if len(self.history.epoch_s) < 2:
            raise SourceError(f"{self.name}: less than two slots hold traffic; nothing to replay")
        if self.history.slot_s != SLOT_S:
            raise SourceError(f"{self.name}: its slots have {self.history.slot_s} s; slots of {SLOT_S} s are needed")
        if not 0 < self.peak_load < float("inf"):
            raise SourceError(f"peak load {self.peak_load}: the share of capacity that busy slots reach, above 0")
        if not len(self._usable):
            raise SourceError(f"{self.name}: no square has any traffic; nothing to replay")

    def load(self, cell_id: str, start_s: int, slots: int) -> np.ndarray:
        t_s = start_s + SLOT_S * np.arange(slots, dtype=np.int64)
        first_s, end_s = self._span_s
        t_s = t_s + WEEK_S * _weeks_to(t_s, first_s, end_s)
        row = np.clip((t_s - first_s) // SLOT_S, 0, len(self.history.epoch_s) - 1)
        column = self._column[cell_id]
        load = self.history.traffic[row, column] / self._scale[column] * self.peak_load
        return np.where((t_s >= first_s) & (t_s < end_s), load, np.nan)

    def describe(self, now_s: float) -> list[str]:
        first_s, end_s = self._span_s
        lines = [
            f"{self.name}: {len(self.history.square_id)} squares, {_date(first_s)} to {_date(end_s)}",
            f"load = activity / the square's 99th percentile x {self.peak_load:g}",
        ]
        weeks = int(_weeks_to(np.array([int(now_s)]), first_s, end_s)[0])
        if weeks:
            way = "later" if weeks > 0 else "earlier"
            lines.append(f"the clock shows {_date(now_s)}: traffic of {abs(weeks)} weeks {way} is replayed")
        if end_s - first_s >= WEEK_S:
            lines.append(f"before {_date(first_s)} its first week repeats, from {_date(end_s)} on its last")
        else:
            lines.append("it covers less than a week: slots at other hours of the week are missing")
        for cell in self.scenario.cells:
            square = int(self.history.square_id[self._column[cell.id]])
            own = (
                "its own" if square == cell.square_id else f"assigned in order: its own, {cell.square_id}, is not there"
            )
            lines.append(f"cell {cell.id} replays square {square} ({own})")
        return lines

    @cached_property
    def _span_s(self) -> tuple[int, int]:
        return int(self.history.epoch_s[0]), int(self.history.epoch_s[-1]) + SLOT_S

    @cached_property
    def _scale(self) -> np.ndarray:
        """99th percentile by column, 0 where there is no traffic at all."""
        traffic = np.where(np.isnan(self.history.traffic).all(axis=0), 0.0, self.history.traffic)
        return np.nanpercentile(traffic, 99, axis=0)

    @cached_property
    def _usable(self) -> np.ndarray:
        return np.flatnonzero(self._scale > 0)

    @cached_property
    def _column(self) -> dict[str, int]:
        """Column of the history by cell id."""
        by_square = {int(self.history.square_id[column]): int(column) for column in self._usable}
        own = {cell.id: by_square[cell.square_id] for cell in self.scenario.cells if cell.square_id in by_square}
        free = [int(column) for column in self._usable if column not in own.values()] or list(map(int, self._usable))
        others = [cell.id for cell in self.scenario.cells if cell.id not in own]
        return own | {cell_id: free[i % len(free)] for i, cell_id in enumerate(others)}


def _weeks_to(t_s: np.ndarray, first_s: int, end_s: int) -> np.ndarray:
    """Whole weeks to add to each time so that it comes into [first_s, end_s), the fewest possible."""
    late = -np.floor_divide(t_s - end_s + WEEK_S, WEEK_S)
    early = -np.floor_divide(t_s - first_s, WEEK_S)
    return np.where(t_s >= end_s, late, np.where(t_s < first_s, early, 0))


def _date(t_s: float) -> str:
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def open_source(scenario: Scenario, names: Sequence[str], peak_load: float = PEAK_LOAD) -> LoadSource:
    """A source by name: "generated", one history file (.npz), or published Milan files (SMS-call-internet TSV).

    Raises SourceError, HistoryFileError, FileFormatError, OSError.
    """
    if list(names) == ["generated"]:
        return GeneratedLoad(scenario)
    paths = [Path(name) for name in names]
    if len(paths) == 1 and paths[0].suffix == ".npz":
        return MeasuredLoad(scenario, load_history_file(paths[0]), paths[0].name, peak_load)
    if not paths or any(path.suffix not in (".tsv", ".txt") for path in paths):
        raise SourceError(
            f"source {' '.join(names)!r}: use generated, one .npz history file, or Milan's .tsv/.txt files"
        )
    name = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    return MeasuredLoad(scenario, _milan_history(scenario, paths), name, peak_load)


def _milan_history(scenario: Scenario, paths: Sequence[Path]) -> History:
    """Internet activity of the scenario's squares; where none of them occurs, of all squares."""
    squares = {cell.square_id for cell in scenario.cells}
    for wanted in (squares, None):
        activity, reports = load_activity(paths, squares=wanted)
        history = activity_history(activity)
        if len(history.epoch_s) and np.nansum(history.traffic) > 0:
            break
    for report in reports:
        log.log(logging.WARNING if report.bad_rows else logging.INFO, "%s", report)
    return history
