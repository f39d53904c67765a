"""Clocks: where every process of a city reads the time from.

All processes of one emulated city build an EmulatedClock from the same three numbers and so agree without talking.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now_s(self) -> float:
        """UTC epoch seconds."""


@dataclass(frozen=True)
class SystemClock:
    """This machine's clock, for real networks."""

    def now_s(self) -> float:
        return time.time()


@dataclass(frozen=True)
class EmulatedClock:
    """Shows ``start_epoch_s`` at wall-clock second ``wall_start`` and runs ``speed`` times as fast as the wall clock.

    ``wall`` is the wall clock, in epoch seconds. Raises ValueError when ``speed`` is not above 0.
    """

    start_epoch_s: float
    speed: float
    wall_start: float
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not 0 < self.speed < float("inf"):
            raise ValueError(f"speed {self.speed}: emulated seconds per second must be above 0, such as 1 or 60")

    def now_s(self) -> float:
        return self.start_epoch_s + (self.wall() - self.wall_start) * self.speed

    def wall_until_s(self, epoch_s: float) -> float:
        """Wall seconds from now until the clock shows ``epoch_s``; 0 when it has."""
        return max(0.0, (epoch_s - self.now_s()) / self.speed)
