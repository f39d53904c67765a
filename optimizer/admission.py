"""Admission: which devices of a cell can hold an RB each, and which must go to Zigbee."""

import numpy as np
from numpy.typing import NDArray


def admit(
    one_rb_delay_s: NDArray[np.float64], sinr: NDArray[np.float64], sinr_min: float
) -> tuple[list[int], list[str]]:
    """Refuse as few devices as possible, and of those the costliest; returns (refused rows, reasons).

    one_rb_delay_s [N, M]: delay of a device on one RB at full power, inf where it can't be served; sinr [N, M]: for the
    reasons. Sets of devices that can be matched to RBs form a matroid, so taking devices from the cheapest on, each if
    the matching can still grow, keeps the largest number, and the cheapest of that number. A device's cost is its delay
    on its best RB.
    """
    usable = np.isfinite(one_rb_delay_s)
    cost = one_rb_delay_s.min(axis=1, initial=np.inf)
    holder: dict[int, int] = {}

    def place(device: int, seen: set[int]) -> bool:
        for rb in np.flatnonzero(usable[device]).tolist():
            if rb not in seen:
                seen.add(rb)
                if rb not in holder or place(holder[rb], seen):
                    holder[rb] = device
                    return True
        return False

    refused = [device for device in np.argsort(cost, kind="stable").tolist() if not place(device, set())]
    return sorted(refused), [_why(device, usable, sinr, sinr_min) for device in sorted(refused)]


def _why(device: int, usable: NDArray[np.bool_], sinr: NDArray[np.float64], sinr_min: float) -> str:
    devices, rbs = usable.shape
    if rbs and not usable[device].any():
        best = 10 * np.log10(max(sinr[device].max(), 1e-30))
        least = 10 * np.log10(sinr_min) if sinr_min > 0 else -np.inf
        return f"device {device}: best SINR {best:.1f} dB at full power on one RB, below the {least:.1f} dB needed"
    if rbs < devices:
        return f"device {device}: {devices} devices want an RB and {rbs} are free"
    return f"device {device}: every RB on which it reaches the SINR needed is wanted by a cheaper device"
