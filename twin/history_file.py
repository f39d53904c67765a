"""History files (.npz): past traffic of a set of grid squares, for training, evaluation and replay."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class HistoryFileError(ValueError):
    """A file that is not a usable history; the message names the file, the array and what would be right."""


@dataclass(frozen=True, eq=False)
class History:
    """``traffic`` float64 [T, C], activity or load per slot, >= 0, NaN = missing; ``epoch_s`` int64 [T], start of
    each slot, UTC, evenly spaced; ``square_id`` int64 [C]; ``lon``, ``lat`` float64 [C], WGS84 degrees, or None."""

    traffic: np.ndarray
    epoch_s: np.ndarray
    square_id: np.ndarray
    lon: np.ndarray | None = None
    lat: np.ndarray | None = None

    @property
    def slot_s(self) -> int:
        return int(self.epoch_s[1] - self.epoch_s[0])


def load_history_file(path: str | Path) -> History:
    """Read and check a history file. Raises HistoryFileError, OSError."""
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array without a name")
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:  # not .npz, or arrays of Python objects
        raise HistoryFileError(f"{path}: not a .npz file of plain arrays: {error}") from None
    known = {"traffic", "epoch_s", "square_id", "lon", "lat"}
    for key in ("traffic", "epoch_s", "square_id"):
        if key not in arrays:
            raise HistoryFileError(f"{path}: array {key!r} is missing")
    if unknown := sorted(arrays.keys() - known):
        raise HistoryFileError(f"{path}: array {unknown[0]!r} is unknown; the arrays are {', '.join(sorted(known))}")
    for key, kinds in (("traffic", "fiu"), ("epoch_s", "iu"), ("square_id", "iu"), ("lon", "f"), ("lat", "f")):
        if key in arrays and arrays[key].dtype.kind not in kinds:
            raise HistoryFileError(
                f"{path}: {key} has type {arrays[key].dtype}; {'integers' if kinds == 'iu' else 'floats'}"
            )
    history = History(
        arrays["traffic"].astype(np.float64),
        arrays["epoch_s"].astype(np.int64),
        arrays["square_id"].astype(np.int64),
        *(arrays[key].astype(np.float64) if key in arrays else None for key in ("lon", "lat")),
    )
    _check(history, str(path))
    return history


def save_history_file(history: History, path: str | Path) -> None:
    """Write a history file that load_history_file reads back. Raises HistoryFileError for an unusable history."""
    _check(history, str(path))
    arrays = {key: value for key, value in vars(history).items() if value is not None}
    with open(path, "wb") as file:  # np.savez given a name would append .npz to it
        np.savez_compressed(file, **arrays)


def _check(h: History, name: str) -> None:
    if h.traffic.ndim != 2 or h.epoch_s.ndim != 1 or h.square_id.ndim != 1:
        raise HistoryFileError(
            f"{name}: traffic must be [T, C], epoch_s [T], square_id [C], not {h.traffic.shape}, {h.epoch_s.shape}, "
            f"{h.square_id.shape}"
        )
    slots, cells = h.traffic.shape
    if slots < 2 or cells < 1:
        raise HistoryFileError(f"{name}: traffic is {h.traffic.shape}; at least 2 slots and 1 cell are needed")
    if len(h.epoch_s) != slots:
        raise HistoryFileError(f"{name}: traffic has {slots} slots but epoch_s {len(h.epoch_s)}")
    if len(h.square_id) != cells:
        raise HistoryFileError(f"{name}: traffic has {cells} cells but square_id {len(h.square_id)}")
    steps = np.diff(h.epoch_s)
    uneven = np.flatnonzero((steps != steps[0]) | (steps <= 0))
    if len(uneven):
        at = int(uneven[0])
        raise HistoryFileError(
            f"{name}: epoch_s is not evenly spaced and rising: {h.epoch_s[at]} is followed by {h.epoch_s[at + 1]}, but "
            f"the first step is {steps[0]} s; insert missing slots with traffic NaN"
        )
    if len(np.unique(h.square_id)) != cells:
        raise HistoryFileError(f"{name}: square_id holds a square twice")
    wrong = np.argwhere((h.traffic < 0) | np.isinf(h.traffic))
    if len(wrong):
        slot, cell = wrong[0]
        raise HistoryFileError(
            f"{name}: traffic of square {h.square_id[cell]} at {h.epoch_s[slot]} is {h.traffic[slot, cell]}; "
            "0 or more, or NaN where it is missing"
        )
    if (h.lon is None) != (h.lat is None):
        raise HistoryFileError(f"{name}: lon and lat go together; one is missing")
    for key, values, limit in (("lon", h.lon, 180), ("lat", h.lat, 90)):
        if values is not None and (values.shape != (cells,) or not (np.abs(values) <= limit).all()):
            raise HistoryFileError(f"{name}: {key} must be {cells} degrees, -{limit} to {limit}")
