"""Load of every cell over the recent past, as base stations report it: a ring of slots per cell."""

import math
from collections.abc import Iterable

import numpy as np

_ROUNDING = 1 + 1e-6  # carried may exceed offered or capacity by this much, as rates are rounded on the way


class SampleError(ValueError):
    """A sample that was refused; the message says what was wrong and what would be right."""


class LoadHistory:
    """Mean load (offered / capacity) per cell and slot. Slots are multiples of ``slot_s`` in UTC epoch seconds.

    The ring holds the newest slot that any sample reached and the ``slots`` - 1 before it. Samples may come late and
    out of order within that span; several samples of one slot are averaged. Raises ValueError for doubled cells or
    sizes below 1.
    """

    def __init__(self, cell_ids: Iterable[str], slot_s: int = 600, slots: int = 2016) -> None:
        self.cell_ids = tuple(cell_ids)
        self.slot_s = slot_s
        self.slots = slots
        self._row = {cell_id: row for row, cell_id in enumerate(self.cell_ids)}
        if len(self._row) != len(self.cell_ids) or slot_s < 1 or slots < 1:
            raise ValueError("cell ids must differ, slot_s and slots must be at least 1")
        self._load = np.full((len(self.cell_ids), slots), np.nan)
        self._count = np.zeros((len(self.cell_ids), slots), np.int64)
        self._newest: int | None = None  # slot number, time // slot_s
        self._latest_s = [-math.inf] * len(self.cell_ids)  # time of the newest sample per cell

    def add(
        self, cell_id: str, time_s: float, offered_bps: float, carried_bps: float, capacity_bps: float, now_s: float
    ) -> None:
        """Take a sample that starts at ``time_s`` (UTC epoch seconds). Raises SampleError, and then changes nothing."""
        row = self._row.get(cell_id)
        if row is None:
            raise SampleError(f"cell {cell_id!r} is unknown; use a cell id of the scenario")
        # Comparisons are written so that NaN fails them.
        if not (0 <= offered_bps < math.inf and 0 <= carried_bps < math.inf and 0 < capacity_bps < math.inf):
            raise SampleError(
                f"cell {cell_id}: offered_bps {offered_bps}, carried_bps {carried_bps}, capacity_bps {capacity_bps}: "
                "all must be finite, loads 0 or more and capacity above 0"
            )
        if carried_bps > capacity_bps * _ROUNDING or carried_bps > offered_bps * _ROUNDING:
            raise SampleError(
                f"cell {cell_id}: carried_bps {carried_bps} must not exceed offered_bps {offered_bps} or capacity_bps "
                f"{capacity_bps}"
            )
        if not now_s - self.slots * self.slot_s < time_s <= now_s + self.slot_s:
            raise SampleError(
                f"cell {cell_id}: time {time_s} is outside the history, which spans {self.slots * self.slot_s} s up to "
                f"one slot after now, {now_s}; check the clock"
            )
        slot = int(time_s // self.slot_s)
        self._reach(slot, cell_id)
        column = slot % self.slots
        count = self._count[row, column] + 1
        load = offered_bps / capacity_bps
        self._load[row, column] = load if count == 1 else self._load[row, column] * (1 - 1 / count) + load / count
        self._count[row, column] = count
        if time_s > self._latest_s[row]:
            self._latest_s[row] = time_s

    def window(self, cell_ids: Iterable[str] | None = None, end_s: float | None = None) -> np.ndarray:
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
        return np.where(held, self._load[np.ix_(rows, slots % self.slots)], np.nan)

    def latest(self, cell_id: str) -> tuple[float, float] | None:
        """Time of a cell's newest sample and the mean load of its slot, or None. Raises KeyError for an unknown
        cell."""
        row = self._row[cell_id]
        time_s = self._latest_s[row]
        if self._newest is None or time_s == -math.inf or time_s // self.slot_s <= self._newest - self.slots:
            return None
        return time_s, float(self._load[row, int(time_s // self.slot_s) % self.slots])

    def observed_slots(self, cell_id: str) -> int:
        """How many slots of the ring hold a sample of the cell. Raises KeyError for an unknown cell."""
        return int(np.count_nonzero(self._count[self._row[cell_id]]))

    def _reach(self, slot: int, cell_id: str) -> None:
        """Turn the ring on so that it holds ``slot``, forgetting the slots that fall out."""
        if self._newest is None:
            self._newest = slot
        elif slot > self._newest:
            gone = np.arange(max(self._newest + 1, slot - self.slots + 1), slot + 1) % self.slots
            self._load[:, gone] = np.nan
            self._count[:, gone] = 0
            self._newest = slot
        elif slot <= self._newest - self.slots:
            oldest_s = (self._newest - self.slots + 1) * self.slot_s
            raise SampleError(
                f"cell {cell_id}: time {slot * self.slot_s} is older than the history, which begins at {oldest_s}"
            )
