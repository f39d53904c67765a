"""Load of every cell over the recent past, as base stations report it: a ring of slots per cell."""

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_LOAD = 1e15  # share of capacity; beyond it units were mixed up
_ROUNDING = 1 + 1e-6  # carried may exceed offered or capacity by this much, as rates are rounded on the way
_COUNT = 2**20 - 1  # the bits of a ring's entry that hold a number of samples
# Of the bits that a mean gives up, times its number of samples, is added before they go: spread evenly over them, this
# rounds up as often as the mean asks for, so that the errors of many samples cancel out and don't add up.
_DITHER = 648_055  # 2^20 by the golden ratio
_FLOAT, _BITS = struct.Struct("d"), struct.Struct("Q")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class SampleError(ValueError):
    """A sample that was refused; the message says what was wrong and what would be right."""


class LoadHistory:
    """Mean load (offered / capacity) per cell and slot. Slots are multiples of ``slot_s`` in UTC epoch seconds.

    The ring holds the newest slot that any sample reached and the ``slots`` - 1 before it. Samples may come late and
    out of order within that span; several samples of one slot are averaged, to eight digits (from a million on,
    older ones fade). Raises ValueError for doubled cells or sizes below 1.
    """

    def __init__(self, cell_ids: Iterable[str], slot_s: int = 600, slots: int = 2016) -> None:
        self.cell_ids = tuple(cell_ids)
        self.slot_s = slot_s
        self.slots = slots
        self._row = {cell_id: row for row, cell_id in enumerate(self.cell_ids)}
        if len(self._row) != len(self.cell_ids) or slot_s < 1 or slots < 1:
            raise ValueError("cell ids must differ, slot_s and slots must be at least 1")
        # NaN: no sample. 0 or more: the load of one. Below 0: minus the mean of several, whose last 20 bits give way to
        # their number. Eight bytes for both, so that two weeks of 10,000 cells take 161 MB.
        self._ring = np.full((len(self.cell_ids), slots), np.nan)
        self._newest: int | None = None  # slot number, time // slot_s
        self._latest_s = np.full(len(self.cell_ids), -math.inf)  # time of the newest sample per cell

    @property
    def nbytes(self) -> int:
        """Memory of the ring in bytes."""
        return self._ring.nbytes + self._latest_s.nbytes

    def add(
        self, cell_id: str, time_s: float, offered_bps: float, carried_bps: float, capacity_bps: float, now_s: float
    ) -> None:
        """Take a sample that starts at ``time_s`` (UTC epoch seconds). Raises SampleError, and then changes nothing."""
        row = self._row.get(cell_id, -1)
        passed = self._passed(row, time_s, offered_bps, carried_bps, capacity_bps, now_s)
        if not all(passed):
            kind = passed.index(False)
            raise SampleError(self._reason(kind, cell_id, time_s, offered_bps, carried_bps, capacity_bps, now_s))
        slot = int(time_s // self.slot_s)
        if self._newest is not None and slot <= self._newest - self.slots:
            raise SampleError(self._too_old(cell_id, time_s, self._newest))
        self._reach(slot)
        at = row, slot % self.slots
        self._ring[at] = _with_one(float(self._ring[at]), offered_bps / capacity_bps)
        self._latest_s[row] = max(time_s, self._latest_s[row])

    def add_many(
        self,
        cell_ids: Sequence[str],
        time_s: ArrayLike,
        offered_bps: ArrayLike,
        carried_bps: ArrayLike,
        capacity_bps: ArrayLike,
        now_s: ArrayLike,
    ) -> dict[int, str]:
        """Take samples [N] as ``add`` would one after the other, but faster from a dozen on. ``now_s``: [N] or one.

        Returns, by index, why samples were refused; these change nothing. Raises ValueError for other shapes.
        """
        values = [np.asarray(value, np.float64) for value in (time_s, offered_bps, carried_bps, capacity_bps)]
        if any(value.shape != (len(cell_ids),) for value in values):
            raise ValueError(
                f"samples: shapes {[v.shape for v in values]} must be ({len(cell_ids)},), one for each cell"
            )
        values.append(np.broadcast_to(np.asarray(now_s, np.float64), (len(cell_ids),)))
        time, offered, _, capacity, _ = values
        rows = np.array([self._row.get(cell_id, -1) for cell_id in cell_ids], np.int64)
        with np.errstate(over="ignore"):  # a limit that is infinite is none
            passed = np.array(self._passed(rows, *values))
        sound = passed.all(axis=0)
        slot = np.full(len(rows), -math.inf)
        slot[sound] = time[sound] // self.slot_s
        reached = -math.inf if self._newest is None else self._newest
        newest = np.maximum.accumulate(np.append(reached, slot))[:-1]  # before each sample
        taken = sound & (slot > newest - self.slots)
        if taken.any():
            self._take(rows[taken], slot[taken].astype(np.int64), time[taken], offered[taken] / capacity[taken])
        refused = {}
        for i in np.flatnonzero(~taken).tolist():
            sample = (cell_ids[i], *(float(value[i]) for value in values))
            refused[i] = (
                self._too_old(*sample[:2], newest[i]) if sound[i] else self._reason(passed[:, i].argmin(), *sample)
            )
        return refused

    def window(self, cell_ids: Iterable[str] | None = None, end_s: float | None = None) -> Floats:
        """Load [C, T] of the ``slots`` slots up to the one that ``end_s`` falls in or that ends at it; NaN where no
        sample is. The last column is therefore the slot in progress, when there is one. Without ``end_s``: up to the
        newest slot. Raises KeyError for an unknown cell."""
        rows = (
            np.arange(len(self.cell_ids)) if cell_ids is None else np.array([self._row[c] for c in cell_ids], np.int64)
        )
        newest = self._newest
        if newest is None:
            return np.full((len(rows), self.slots), np.nan)
        end = newest + 1 if end_s is None else math.ceil(end_s / self.slot_s)
        slots = np.arange(end - self.slots, end)
        held = (slots > newest - self.slots) & (slots <= newest)
        mean, _ = _read(self._ring[np.ix_(rows, slots % self.slots)])
        return np.where(held, mean, np.nan)

    def latest(self, cell_id: str) -> tuple[float, float] | None:
        """Time of a cell's newest sample and the mean load of its slot, or None. Raises KeyError for an unknown
        cell."""
        row = self._row[cell_id]
        time_s = float(self._latest_s[row])
        if self._newest is None or time_s == -math.inf or time_s // self.slot_s <= self._newest - self.slots:
            return None
        return time_s, _read_one(float(self._ring[row, int(time_s // self.slot_s) % self.slots]))[0]

    def observed_slots(self, cell_id: str) -> int:
        """How many slots of the ring hold a sample of the cell. Raises KeyError for an unknown cell."""
        return int(np.count_nonzero(~np.isnan(self._ring[self._row[cell_id]])))

    def _passed(self, row, time_s, offered_bps, carried_bps, capacity_bps, now_s) -> tuple:
        """Which checks a sample passes, in the order of ``_reason``; of numbers or, alike, of arrays."""
        # Comparisons are written so that NaN fails them.
        return (
            row >= 0,
            (0 <= offered_bps)
            & (offered_bps < math.inf)
            & (0 <= carried_bps)
            & (carried_bps < math.inf)
            & (0 < capacity_bps)
            & (capacity_bps < math.inf),
            (carried_bps <= offered_bps * _ROUNDING) & (carried_bps <= capacity_bps * _ROUNDING),
            offered_bps <= capacity_bps * LARGEST_LOAD,
            (now_s - self.slots * self.slot_s < time_s) & (time_s <= now_s + self.slot_s),
        )

    def _reason(self, check, cell_id, time_s, offered_bps, carried_bps, capacity_bps, now_s) -> str:
        """Why a sample that fails a check of ``_passed`` is refused."""
        return (
            f"cell {cell_id!r} is unknown; use a cell id of the scenario",
            f"cell {cell_id}: offered_bps {offered_bps}, carried_bps {carried_bps}, capacity_bps {capacity_bps}: "
            "all must be finite, loads 0 or more and capacity above 0",
            f"cell {cell_id}: carried_bps {carried_bps} must not exceed offered_bps {offered_bps} or capacity_bps "
            f"{capacity_bps}",
            f"cell {cell_id}: offered_bps {offered_bps} is more than {LARGEST_LOAD:.0e} times capacity_bps "
            f"{capacity_bps}; check the units",
            f"cell {cell_id}: time {time_s} is outside the history, which spans {self.slots * self.slot_s} s up to one "
            f"slot after now, {now_s}; check the clock",
        )[check]

    def _too_old(self, cell_id: str, time_s: float, newest: float) -> str:
        oldest_s = int(newest - self.slots + 1) * self.slot_s
        return f"cell {cell_id}: time {time_s} is older than the history, which begins at {oldest_s}"

    def _take(self, rows: Integers, slot: Integers, time_s: Floats, load: Floats) -> None:
        """Put checked samples into the ring; those whose slot a later one of them pushes out are forgotten again."""
        self._reach(int(slot.max()))
        np.maximum.at(self._latest_s, rows, time_s)
        held = slot > self._newest - self.slots
        at, group, added = np.unique(
            (rows * self.slots + slot % self.slots)[held], return_inverse=True, return_counts=True
        )
        ring = self._ring.reshape(-1)
        mean, count = _read(ring[at])
        total = count + added
        before = np.where(count, mean, 0.0) * (count / total)
        ring[at] = _entry(before + np.bincount(group, load[held] / total[group], len(at)), total)

    def _reach(self, slot: int) -> None:
        """Turn the ring on so that it holds ``slot``, forgetting the slots that fall out."""
        if self._newest is None:
            self._newest = slot
        elif slot > self._newest:
            gone = np.arange(max(self._newest + 1, slot - self.slots + 1), slot + 1) % self.slots
            self._ring[:, gone] = np.nan
            self._newest = slot


def _read(entries: Floats) -> tuple[Floats, Integers]:
    """Means, NaN where no sample is, and numbers of samples."""
    several = np.signbit(entries)
    bits = np.abs(entries).view(np.uint64)
    mean = np.where(several, (bits & ~np.uint64(_COUNT)).view(np.float64), entries)
    return mean, np.where(several, bits & np.uint64(_COUNT), ~np.isnan(entries)).astype(np.int64)


def _entry(mean: Floats, count: Integers) -> Floats:
    """What the ring holds for these means of ``count`` samples each, 1 or more."""
    number = np.minimum(count, _COUNT).astype(np.uint64)
    bits = mean.view(np.uint64) + (count * _DITHER & _COUNT).astype(np.uint64) & ~np.uint64(_COUNT) | number
    return np.where(count > 1, -bits.view(np.float64), mean)


def _read_one(entry: float) -> tuple[float, int]:
    """As ``_read``, for one."""
    if math.copysign(1, entry) > 0:
        return entry, 1
    (bits,) = _BITS.unpack(_FLOAT.pack(-entry))
    return _FLOAT.unpack(_BITS.pack(bits & ~_COUNT))[0], bits & _COUNT


def _with_one(entry: float, load: float) -> float:
    """The ring's entry with one sample more."""
    if math.isnan(entry):
        return load + 0.0  # not -0.0, which would be read as several
    mean, count = _read_one(entry)
    total = count + 1
    (bits,) = _BITS.unpack(_FLOAT.pack(mean * (count / total) + load / total))
    bits = bits + (total * _DITHER & _COUNT) & ~_COUNT | min(total, _COUNT)
    return -_FLOAT.unpack(_BITS.pack(bits))[0]
