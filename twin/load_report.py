"""What became of the rows of a data file that was loaded, and what loaders share."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

import numpy as np

KEPT = 100  # bad rows named in a report; all are counted

# The published files hold November and December 2013 in local time, and ARPA's solar time all year: both UTC+1.
_CET = timezone(timedelta(hours=1))


@dataclass
class LoadReport:
    """``rows`` counts the data rows of the file (no header, no empty lines), good or bad; ``bad_rows`` those refused;
    ``bad`` names the first KEPT of them as (line, reason). Lines count from 1; in JSON files they count features."""

    file: str
    rows: int = 0
    bad_rows: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        self.bad_rows += 1
        if len(self.bad) < KEPT:
            self.bad.append((line, reason))

    def __str__(self) -> str:
        named = "".join(f"\n  line {line}: {reason}" for line, reason in self.bad)
        more = f"\n  and {self.bad_rows - len(self.bad)} more" if self.bad_rows > len(self.bad) else ""
        return f"{self.file}: {self.rows} rows, {self.bad_rows} bad{named}{more}"


class FileFormatError(ValueError):
    """A file that is not of the format expected at all; the message names the file and what would be right."""


class BadRow(ValueError):
    """A row that cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Series:
    """Measurements in time order: ``t_s`` int64 [n], UTC epoch seconds, strictly ascending; ``values`` float64 [n]."""

    t_s: np.ndarray
    values: np.ndarray


def read_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """(line number, text without line end) of every line that is not empty; undecodable bytes become U+FFFD."""
    with open(path, encoding=encoding, errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if text := line.rstrip("\r\n"):
                yield number, text


def read_features(path: Path) -> Iterator[tuple[int, dict]]:
    """(number from 1, feature) of a JSON document with a list ``features``. Raises FileFormatError."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # bad JSON or bad UTF-8
        raise FileFormatError(f"{path}: not JSON: {error}") from None
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise FileFormatError(f"{path}: an object with a list 'features' of objects is expected")
    return enumerate(features, 1)


def collect(report: LoadReport, rows: Iterator[tuple[int, str]], take: Callable[[str], None]) -> None:
    """Give every row to ``take``, counting; rows for which it raises BadRow are refused."""
    for line, text in rows:
        report.rows += 1
        try:
            take(text)
        except BadRow as error:
            report.refuse(line, str(error))


class SeriesTable:
    """Collects (key, time, value) rows into a Series per key; a second value for the same key and time is a bad row."""

    def __init__(self) -> None:
        self._values: dict[object, dict[int, float]] = {}

    def add(self, key: object, t_s: int, value: float) -> None:
        series = self._values.setdefault(key, {})
        if t_s in series:
            raise BadRow(f"second value for {key} at {datetime.fromtimestamp(t_s, UTC):%Y-%m-%d %H:%M} UTC")
        series[t_s] = value

    def series(self) -> dict:
        """Series by key, in the order in which keys first came."""
        made = {}
        for key, values in self._values.items():
            t_s = np.fromiter(values, np.int64, len(values))
            order = np.argsort(t_s)
            made[key] = Series(t_s[order], np.fromiter(values.values(), np.float64, len(values))[order])
        return made


def columns(text: str, delimiter: str, count: int) -> list[str]:
    """Split a row without quotes into exactly ``count`` columns."""
    parts = text.split(delimiter)
    if len(parts) != count:
        raise BadRow(f"{len(parts)} columns, {count} are expected")
    return parts


def quoted_columns(text: str, counts: tuple[int, ...]) -> list[str]:
    """Split a comma-separated row in which columns may be quoted; the number of columns must be one of ``counts``."""
    try:
        parts = next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadRow(f"not comma-separated: {error}") from None
    if len(parts) not in counts:
        raise BadRow(f"{len(parts)} columns, {' or '.join(map(str, counts))} are expected")
    return parts


def number(text: str, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite decimal number within [low, high]."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high) or "_" in text:
        span = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
        raise BadRow(f"{what} {text!r} is not a number{span}")
    return value


def whole(text: str, what: str, low: int, high: int) -> int:
    """A whole number within [low, high], digits only."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise BadRow(f"{what} {text!r} is not a whole number from {low} to {high}")
    return int(text)


@lru_cache(maxsize=100_000)
def epoch_s(text: str, *formats: str) -> int:
    """UTC epoch seconds of a time written in one of ``formats`` in UTC+1."""
    for form in formats:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=_CET).timestamp())
        except ValueError:
            pass
    raise BadRow(f"time {text!r} is not of the form {' or '.join(formats)}")
