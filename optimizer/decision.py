"""The tau decision, cell by cell: predicted load below the threshold, then 6G, else Zigbee (paper, section II.A)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from twin.path import Path


@dataclass(frozen=True)
class Decision:
    """The path of a cell's sensors, the predicted load (share of capacity) it rests on, and the reason in words."""

    path: Path
    load: float
    tau: float
    why: str


def decide(load: Mapping[str, float], tau: float) -> dict[str, Decision]:
    """Decide for each cell id of ``load`` (predicted share of capacity; NaN = unknown).

    Without knowledge of the load no spectrum can be promised, so an unknown load means Zigbee. Raises ValueError for
    tau outside 0 to 1, and for a negative or infinite load.
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau: {tau} is not a share of capacity; give a number from 0 to 1")
    return {cell: _decide(cell, float(value), tau) for cell, value in load.items()}


def _decide(cell: str, load: float, tau: float) -> Decision:
    if math.isnan(load):
        return Decision(Path.ZIGBEE, load, tau, "predicted load unknown: no spectrum can be promised")
    if load < 0 or math.isinf(load):
        raise ValueError(f"load of cell {cell}: {load} is not a share of capacity; give a finite number of 0 or more")
    if load < tau:
        return Decision(Path.SIXG, load, tau, f"predicted load {load:.3f} below tau {tau:.3f}")
    return Decision(Path.ZIGBEE, load, tau, f"predicted load {load:.3f} not below tau {tau:.3f}")
