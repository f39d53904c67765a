"""Loaders for the published Milan files, in their original formats (Barlacchi et al., Scientific Data 2, 150055, 2015).

Bad rows are counted and reported with their line, never silently dropped. Every loader raises OSError, and
FileFormatError for a file that is something else altogether.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from twin.history_file import History
from twin.load_report import (
    BadRow,
    FileFormatError,
    LoadReport,
    Series,
    SeriesTable,
    collect,
    columns,
    epoch_s,
    number,
    quoted_columns,
    read_features,
    read_lines,
)
from twin.milan_grid import SIDE, square_centre

SLOT_S = 600
ACTIVITIES = ("sms_in", "sms_out", "call_in", "call_out", "internet")  # columns 4 to 8 of the file

# Slots of the published files: 1 November 2013 to 1 January 2014, local time.
_FIRST_SLOT, _LAST_SLOT = 1383260400 // SLOT_S, 1388617200 // SLOT_S - 1
_SLOTS_PER_DAY = 86_400 // SLOT_S
_BLOCK_BYTES = 1 << 24
_PLAIN = b"0123456789.eE+-\t\n"


@dataclass(frozen=True, eq=False)
class Activity:
    """Telecommunication activity summed over country codes: ``values`` float64 [T, C, K] in CDR units per 10 minutes,
    NaN where no row has a value; ``epoch_s`` int64 [T], start of slot, UTC, evenly spaced; ``square_id`` int64 [C];
    ``names``: K of ACTIVITIES."""

    epoch_s: np.ndarray
    square_id: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray


def load_activity(
    paths: Iterable[str | Path], names: Sequence[str] = ("internet",), squares: Iterable[int] | None = None
) -> tuple[Activity, tuple[LoadReport, ...]]:
    """Load SMS-call-internet files (tab-separated, no header: square id, slot start in ms UTC, country code, then the
    five ACTIVITIES, empty = absent), with one report per file. Files are streamed in blocks of 16 MiB: memory is
    about twice that of the result, however long the files. ``squares``: which to keep (default: all 10,000). The
    slots run from the first to the last one with a row. Raises ValueError for unknown names or squares."""
    if unknown := [name for name in names if name not in ACTIVITIES]:
        raise ValueError(f"activity {unknown[0]!r} does not exist; there are {', '.join(ACTIVITIES)}")
    wanted = np.arange(1, SIDE * SIDE + 1) if squares is None else np.unique(np.array(list(squares), np.int64))
    if not len(wanted) or wanted[0] < 1 or wanted[-1] > SIDE * SIDE:
        raise ValueError(f"squares must be some of 1 to {SIDE * SIDE}")
    sums = _Sums(wanted, [3 + ACTIVITIES.index(name) for name in names])
    reports = []
    for path in paths:
        report = LoadReport(str(path))
        for line, block in _blocks(Path(path)):
            sums.add(_parse(block, line, report))
        reports.append(report)
    slots, values = sums.result()
    return Activity(slots * SLOT_S, wanted, tuple(names), values), tuple(reports)


def activity_history(activity: Activity, name: str = "internet") -> History:
    """One of the activities as a history (for files, replay, training), with the squares' centres."""
    centres = np.array([square_centre(int(square)) for square in activity.square_id])
    values = activity.values[:, :, activity.names.index(name)]
    return History(values, activity.epoch_s, activity.square_id, centres[:, 0].copy(), centres[:, 1].copy())


class _Sums:
    """Sums per slot, square and activity, NaN where there was nothing to sum; one array per day."""

    def __init__(self, squares: np.ndarray, picked: list[int]) -> None:
        self._picked = picked
        self._place = np.full(SIDE * SIDE + 1, -1)
        self._place[squares] = np.arange(len(squares))
        self._cells = len(squares)
        self._days: dict[int, np.ndarray] = {}
        self._first, self._last = _LAST_SLOT, _FIRST_SLOT

    def add(self, rows: np.ndarray) -> None:
        """Add good rows [n, 8], columns as in the file, absent values NaN."""
        place = self._place[rows[:, 0].astype(np.int64)]
        rows, place = rows[place >= 0], place[place >= 0]
        if not len(rows):
            return
        slot = rows[:, 1].astype(np.int64) // (1000 * SLOT_S)
        self._first, self._last = min(self._first, slot.min()), max(self._last, slot.max())
        cell = slot % _SLOTS_PER_DAY * self._cells + place
        for day in np.unique(slot // _SLOTS_PER_DAY).tolist():
            total = self._days.setdefault(day, np.full((_SLOTS_PER_DAY * self._cells, len(self._picked)), np.nan))
            for k, column in enumerate(self._picked):
                there = (slot // _SLOTS_PER_DAY == day) & ~np.isnan(rows[:, column])
                counts = np.bincount(cell[there], minlength=len(total)) > 0
                added = np.bincount(cell[there], rows[there, column], len(total))
                total[counts, k] = np.nan_to_num(total[counts, k]) + added[counts]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Slot numbers [T] and sums [T, C, K]."""
        slots = np.arange(self._first, self._last + 1, dtype=np.int64)
        values = np.full((len(slots), self._cells, len(self._picked)), np.nan)
        for day, total in self._days.items():
            start = day * _SLOTS_PER_DAY - self._first
            low, high = max(start, 0), min(start + _SLOTS_PER_DAY, len(slots))
            values[low:high] = total.reshape(_SLOTS_PER_DAY, self._cells, -1)[low - start : high - start]
        return slots, values


def _blocks(path: Path) -> Iterable[tuple[int, bytes]]:
    """(number of the first line, whole lines) all through a file."""
    line, rest = 1, b""
    with open(path, "rb") as file:
        while chunk := file.read(_BLOCK_BYTES):
            head, newline, tail = chunk.rpartition(b"\n")
            if newline:
                block = rest + head + newline
                yield line, block
                line, rest = line + block.count(b"\n"), tail
            elif len(rest := rest + tail) > _BLOCK_BYTES:
                raise FileFormatError(
                    f"{path}: line {line} is longer than {_BLOCK_BYTES} bytes; no SMS-call-internet file"
                )
        if rest:
            yield line, rest + b"\n"


def _parse(block: bytes, first_line: int, report: LoadReport) -> np.ndarray:
    """The good rows [n, 8] of a block. Lines that look like rows are parsed together; whatever is odd is looked at one
    by one, and goes to the report when it is bad."""
    block = block.replace(b"\r\n", b"\n")
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    odd = np.add.reduceat(text == ord("\t"), starts, dtype=np.int32) != 7
    if block.translate(None, _PLAIN):
        odd[np.searchsorted(ends, np.flatnonzero(~np.isin(text, list(_PLAIN))))] = True
    regular = np.flatnonzero(~odd)
    kept = block if not odd.any() else b"".join(block[starts[i] : ends[i] + 1] for i in regular)
    try:
        rows = _parse_regular(kept)
        broken = _reasons(rows)
        odd[regular[list(broken)]] = True
        rows = np.delete(rows, list(broken), axis=0)
    except ValueError:  # some field is made of the right characters and is no number, such as 1.2.3
        odd[:] = True
        rows = np.zeros((0, 8))
    report.rows += len(rows)
    lines = [(first_line + int(i), block[starts[i] : ends[i]].decode("utf-8", "replace")) for i in np.flatnonzero(odd)]
    return np.concatenate([rows, _parse_odd([(line, text) for line, text in lines if text], report)])


def _parse_regular(block: bytes) -> np.ndarray:
    """Rows [n, 8] of lines with 8 columns of digits; absent values NaN. Raises ValueError."""
    if not block:
        return np.zeros((0, 8))
    table = pd.read_csv(
        io.BytesIO(block),
        sep="\t",
        header=None,
        names=range(8),
        index_col=False,
        dtype=np.float64,
        na_values=[""],
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        float_precision="high",
    )
    return table.to_numpy()


def _parse_odd(lines: list[tuple[int, str]], report: LoadReport) -> np.ndarray:
    """The good ones [n, 8] of (line number, text); bad ones go to the report."""
    rows, numbers, refused = [], [], {}
    for line, text in lines:
        try:
            rows.append([number(part, "value") if part else np.nan for part in columns(text, "\t", 8)])
            numbers.append(line)
        except BadRow as error:
            refused[line] = str(error)
    table = np.array(rows, np.float64).reshape(len(rows), 8)
    broken = _reasons(table)
    refused |= {numbers[i]: reason for i, reason in broken.items()}
    report.rows += len(lines)
    for line in sorted(refused):
        report.refuse(line, refused[line])
    return np.delete(table, list(broken), axis=0)


def _reasons(rows: np.ndarray) -> dict[int, str]:
    """Why rows [n, 8] are bad, by index. Comparisons are written so that NaN (absent) fails the first three columns."""
    square, start_ms, country, activity = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:]
    slot = start_ms / (1000 * SLOT_S)
    tests = (
        (
            ~((square >= 1) & (square <= SIDE * SIDE) & (square % 1 == 0)),
            f"square id is not a whole number from 1 to {SIDE * SIDE}",
        ),
        (
            ~((slot >= _FIRST_SLOT) & (slot <= _LAST_SLOT) & (start_ms % (1000 * SLOT_S) == 0)),
            "slot start is not a multiple of 10 minutes, in ms, from 1 November 2013 to 1 January 2014",
        ),
        (~((country >= 0) & (country % 1 == 0)), "country code is not a whole number, 0 or more"),
        (((activity < 0) | np.isinf(activity)).any(axis=1), "an activity is negative or not finite"),
    )
    return {int(i): reason for broken, reason in reversed(tests) for i in np.flatnonzero(broken)}


@dataclass(frozen=True, eq=False)
class Grid:
    """Centroids of grid squares: ``square_id`` int64 [C], ``lon``, ``lat`` float64 [C], WGS84 degrees."""

    square_id: np.ndarray
    lon: np.ndarray
    lat: np.ndarray


def load_grid(path: str | Path) -> tuple[Grid, LoadReport]:
    """Load a grid (GeoJSON: one polygon per feature, property ``cellId``), Milan's or Trentino's."""
    report = LoadReport(str(path))
    centroids: dict[int, tuple[float, float]] = {}
    for line, feature in read_features(Path(path)):
        report.rows += 1
        try:
            square, centroid = _square(feature)
            if square in centroids:
                raise BadRow(f"cellId {square} comes a second time")
            centroids[square] = centroid
        except BadRow as error:
            report.refuse(line, str(error))
    places = np.array(list(centroids.values()), np.float64).reshape(-1, 2)
    return Grid(np.array(list(centroids), np.int64), places[:, 0].copy(), places[:, 1].copy()), report


def _square(feature: dict) -> tuple[int, tuple[float, float]]:
    properties, geometry = feature.get("properties"), feature.get("geometry")
    square = properties.get("cellId") if isinstance(properties, dict) else None
    if type(square) is not int or square < 1:
        raise BadRow(f"property cellId is {square!r}; a whole number above 0 is expected")
    if not isinstance(geometry, dict) or geometry.get("type") != "Polygon":
        raise BadRow(f"cellId {square}: the geometry is not a Polygon")
    try:
        ring = np.array([point[:2] for point in geometry["coordinates"][0]], np.float64)
        usable = ring.ndim == 2 and len(ring) >= 4 and (ring[0] == ring[-1]).all() and np.isfinite(ring).all()
    except (KeyError, IndexError, TypeError, ValueError):
        usable = False
    if not usable:
        raise BadRow(f"cellId {square}: its outer ring is not a closed list of at least 4 [lon, lat] points")
    # Area centroid (shoelace), about the first corner: the terms cancel badly at a distance from the origin.
    x, y = (ring - ring[0]).T
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    if abs(cross.sum()) < 1e-15:
        raise BadRow(f"cellId {square}: its polygon has no area")
    lon, lat = (float(((axis[:-1] + axis[1:]) * cross).sum() / (3 * cross.sum())) for axis in (x, y))
    return square, (float(ring[0, 0]) + lon, float(ring[0, 1]) + lat)


@dataclass(frozen=True)
class Station:
    """A measuring sensor of ARPA: ``kind`` is what it measures, in ``unit``; WGS84 degrees."""

    id: str
    street: str
    lon: float
    lat: float
    kind: str
    unit: str


def load_legend(path: str | Path) -> tuple[dict[str, Station], LoadReport]:
    """Load the legend of the weather or air-quality files (CSV, Latin-1, no header: sensor id, street, latitude,
    longitude, kind, unit; air quality has a seventh column, the form of its times): stations by id."""
    report, stations = LoadReport(str(path)), {}

    def take(text: str) -> None:
        parts = [part.strip() for part in quoted_columns(text, (6, 7))]
        name, street, lat, lon, kind, unit = parts[:6]
        if not name or name in stations:
            raise BadRow(f"sensor id {name!r} is empty or comes a second time")
        stations[name] = Station(
            name, street, number(lon, "longitude", -180, 180), number(lat, "latitude", -90, 90), kind, unit
        )

    collect(report, read_lines(Path(path), "latin-1"), take)
    return stations, report


def load_measurements(
    paths: Iterable[str | Path], legend: Mapping[str, Station]
) -> tuple[dict[str, Series], tuple[LoadReport, ...]]:
    """Load weather or air-quality files (CSV, no header: sensor id, time as 2013/11/01 01:00 or, for daily means,
    2013/11/01, measurement): measurements by sensor id, with one report per file. Times are ARPA's, UTC+1 all
    year."""
    table, reports = SeriesTable(), []

    def take(text: str) -> None:
        name, time, value = columns(text, ",", 3)
        if name not in legend:
            raise BadRow(f"sensor id {name!r} is not in the legend")
        table.add(name, epoch_s(time, "%Y/%m/%d %H:%M", "%Y/%m/%d"), number(value, "measurement"))

    for path in paths:
        report = LoadReport(str(path))
        collect(report, read_lines(Path(path), "latin-1"), take)
        reports.append(report)
    return table.series(), tuple(reports)
