"""Readings of one sensor over a time window: what generators make, edge storage serves and the twin store keeps."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Field:
    """One value of a reading. ``name`` is "" for types with a single value; ``unit`` is a SenML unit where one is
    registered (RFC 8428, RFC 8798), else the sensor type's own unit; ``decimals`` is how far values are rounded."""

    name: str
    unit: str
    decimals: int


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings in time order: ``t_s`` int64 [n], UTC epoch seconds, strictly ascending; ``values`` float64 [n, k], one
    column per Field of the sensor's type, finite. Raises ValueError otherwise."""

    t_s: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        if self.t_s.dtype != np.int64 or self.values.dtype != np.float64:
            raise ValueError(f"t_s must be int64 and values float64, not {self.t_s.dtype} and {self.values.dtype}")
        if self.t_s.ndim != 1 or self.values.ndim != 2 or len(self.t_s) != len(self.values):
            raise ValueError(f"t_s must be [n] and values [n, k], not {self.t_s.shape} and {self.values.shape}")
        if np.any(np.diff(self.t_s) <= 0):
            raise ValueError("t_s must be strictly ascending")
        if not np.isfinite(self.values).all():
            raise ValueError("values must be finite")

    def __len__(self) -> int:
        return len(self.t_s)

    def between(self, start_s: int, end_s: int) -> "Readings":
        """The readings in [start_s, end_s)."""
        first, last = np.searchsorted(self.t_s, [start_s, end_s])
        return Readings(self.t_s[first:last], self.values[first:last])
