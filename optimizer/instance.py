"""The numbers of the RRM problem and of its answer, with their files (``.npz``, and a JSON summary beside it)."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SCALARS = ("rb_bandwidth_hz", "slot_s", "noise_w", "p_max_w", "sinr_min")


class InstanceError(ValueError):
    """An instance that cannot be used; the message names the array, the place, the value and what would be right."""


@dataclass(frozen=True, eq=False)
class Instance:
    """N devices, C cells, M resource blocks (RBs). Checked and converted when built; raises InstanceError.

    gain [N, C, M]: linear power gain of a device to base station c on RB j. serving [N]: cell of a device.
    data_bits [N]. free [C, M]: RBs not held by the cell's own conventional users. interference_w [C, M]: power from
    conventional users of other cells. noise_w: per RB, noise figure included. p_max_w: per device, over all its RBs of
    a slot. sinr_min: linear (beta). coupled: devices of other cells interfere on the same RB and slot.
    """

    gain: Floats
    serving: NDArray[np.int64]
    data_bits: Floats
    free: NDArray[np.bool_]
    interference_w: Floats
    rb_bandwidth_hz: float
    slot_s: float
    noise_w: float
    p_max_w: float
    sinr_min: float
    coupled: bool = False

    def __post_init__(self) -> None:
        gain = _floats("gain", self.gain, 3)
        n, c, m = gain.shape
        if c < 1 or m < 1:
            raise InstanceError(f"gain: shape {gain.shape} must be [N, C, M] with at least one cell and one RB")
        values = {
            "gain": gain,
            "serving": _whole("serving", self.serving, (n,), 0, c - 1),
            "data_bits": _floats("data_bits", self.data_bits, 1, (n,)),
            "free": _whole("free", self.free, (c, m), 0, 1).astype(bool),
            "interference_w": _floats("interference_w", self.interference_w, 2, (c, m)),
            "coupled": bool(_whole("coupled", self.coupled, (), 0, 1)),
        }
        for name in _SCALARS:
            value = _floats(name, getattr(self, name), 0)
            if value <= 0 and not (name == "sinr_min" and value == 0):
                raise InstanceError(f"{name}: {value} must be above 0")
            values[name] = float(value)
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, C, M)"""
        return self.gain.shape

    def snr_per_w(self) -> Floats:
        """SINR per watt [N, M] of each device at its own base station, other devices silent."""
        own = self.gain[np.arange(len(self.serving)), self.serving]
        return own / (self.noise_w + self.interference_w[self.serving])


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer to an Instance, F slots to a frame (1 in literal mode).

    schedule int32 [C, F, M]: device index or -1. power_w [C, F, M]. delay_s [N]: NaN for devices in to_zigbee and,
    where infeasible, for all. to_zigbee bool [N]: refused by admission. status: "optimal" (gap within the options'
    gap), "feasible", "time_limit" (best found when time ran out) or "infeasible". objective_s: the largest delay.
    gap = (objective - bound) / bound. bound: how lower_bound_s was proven and for which problem, "none" if there is
    none. reflexion: one dict per step.
    """

    schedule: NDArray[np.int32]
    power_w: Floats
    delay_s: Floats
    to_zigbee: NDArray[np.bool_]
    status: str
    objective_s: float | None
    lower_bound_s: float | None
    gap: float | None
    bound: str
    solver: str
    seconds: float
    iterations: int
    certificate: dict = field(default_factory=dict)
    reflexion: tuple[dict, ...] = ()
    infeasible_because: tuple[str, ...] = ()

    @property
    def feasible(self) -> bool:
        return self.status != "infeasible"


_ARRAYS = ("schedule", "power_w", "delay_s", "to_zigbee")


def save_instance(instance: Instance, path: Path) -> None:
    """Write the spec's ``.npz``, under just this name."""
    with path.open("wb") as file:  # given a name, numpy would add .npz to it
        np.savez_compressed(file, **{f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)})


def load_instance(path: Path) -> Instance:
    """Read the spec's ``.npz``, strictly. Raises InstanceError, OSError."""
    names = [f.name for f in dataclasses.fields(Instance)]
    arrays = _read(path, names)
    return Instance(**arrays)


def save_solution(solution: Solution, directory: Path) -> None:
    """Write ``solution.npz`` and ``solution.json`` into ``directory``, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(directory / "solution.npz", **{name: getattr(solution, name) for name in _ARRAYS})
    (directory / "solution.json").write_text(json.dumps(summary(solution), indent=2) + "\n", "utf-8")


def load_solution(directory: Path) -> Solution:
    """Read what save_solution wrote; what it says is left to ``check``. Raises InstanceError, OSError."""
    path = directory / "solution.json"
    try:
        text = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InstanceError(f"{path}: not JSON: {error}") from None
    names = {f.name for f in dataclasses.fields(Solution)} - set(_ARRAYS)
    if not isinstance(text, dict) or set(text) != names:
        unlike = sorted(set(text) ^ names) if isinstance(text, dict) else sorted(names)
        raise InstanceError(f"{path}: keys {unlike} are missing or unknown")
    for name in ("reflexion", "infeasible_because"):
        if not isinstance(text[name], list):
            raise InstanceError(f"{path}: {name} must be a list")
        text[name] = tuple(text[name])
    arrays = _read(directory / "solution.npz", _ARRAYS)
    refused = arrays["to_zigbee"]
    arrays["to_zigbee"] = _whole("to_zigbee", refused, refused.shape, 0, 1).astype(bool)
    return Solution(**arrays, **text)


def summary(solution: Solution) -> dict:
    """The spec's JSON summary: everything but the arrays."""
    return {
        f.name: list(value) if isinstance(value := getattr(solution, f.name), tuple) else value
        for f in dataclasses.fields(solution)
        if f.name not in _ARRAYS
    }


def _read(path: Path, names) -> dict:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # numpy and zipfile have many ways to fail on a file that is damaged or of another kind
        raise InstanceError(f"{path}: no .npz file that can be read: {error}") from None
    if unlike := set(arrays) ^ set(names):
        raise InstanceError(f"{path}: arrays {sorted(unlike)} are missing or unknown; expected {', '.join(names)}")
    return arrays


def _floats(name: str, value, ndim: int, shape: tuple[int, ...] | None = None) -> Floats:
    try:
        array = np.array(value)
    except ValueError:  # rows of unequal length
        raise InstanceError(f"{name}: must be numbers") from None
    if array.dtype.kind not in "fiu":
        raise InstanceError(f"{name}: must be numbers, not {array.dtype}")
    array = array.astype(np.float64)
    _check_shape(name, array, ndim, shape)
    for bad, what in ((~np.isfinite(array), "is not finite"), (array < 0, "is negative")):
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            where = f"{name}{list(place)}" if place else name
            raise InstanceError(f"{where}: {array[place]} {what}; finite values of 0 or more are expected")
    return array


def _whole(name: str, value, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int64]:
    array = np.array(value)
    _check_shape(name, array, len(shape), shape)
    if array.size and not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InstanceError(f"{name}: must be whole numbers or booleans, not {array.dtype}")
    array = array.astype(np.int64)
    if ((array < low) | (array > high)).any():
        raise InstanceError(f"{name}: values must lie in {low} to {high}; found {array.min()} to {array.max()}")
    return array


def _check_shape(name: str, array: np.ndarray, ndim: int, shape: tuple[int, ...] | None) -> None:
    if array.ndim != ndim or (shape is not None and array.shape != shape):
        raise InstanceError(
            f"{name}: shape {list(array.shape)} does not fit; expected {list(shape or ['N', 'C', 'M'])}"
        )
