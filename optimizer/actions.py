"""What may be done where constraints can't hold: typed actions in a fixed order, as plain data.

``Setting`` is all that an action may change; transmit power, noise and data are not in it. ``applicable`` offers the
actions that help against given conflicts and that the operator allows, the first to be taken first:

1. CheckData       doubts data and units; only reports
2. LargerDelay     a larger deadline
3. LongerFrame     more slots to share the RBs over
4. CapParallel     fewer RBs of a device at a time, its power spread over them anew
5. Admit           the devices that cost most go to Zigbee
6. MoreRbs         RBs that conventional users hold, those with the least interference first
7. WaiveSinr       a lower sinr_min, only with a waiver

Whoever chooses among them (``reflexion.reflect``, which takes the first, or a language model by way of tools) goes by
``reflexion.Reflexion``, which needs four calls, all pure: ``find_conflicts``, ``applicable``, ``apply`` and
``reflexion.try_setting``. ``as_json`` makes conflicts and actions plain JSON.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from optimizer.attempt import choose_frame, parts
from optimizer.diagnosis import (
    CapTooLow,
    Conflict,
    Disturbed,
    FailedCheck,
    Late,
    NoRoom,
    OutOfReach,
    OverCap,
    diagnose,
    implausible,
    reachable,
)
from optimizer.instance import Instance, Solution
from optimizer.options import Options

_WAIVER_STEP_DB = 0.01  # the waiver is the least to this


@dataclass(frozen=True)
class Setting:
    """How an instance is solved at the moment. frame: slots, None: as long as rounding needs. max_delay_s: deadline.

    refused: devices sent to Zigbee. opened: (cell, RB) taken from conventional users. sinr_min: linear.
    """

    frame: int | None
    max_delay_s: float | None
    sinr_min: float
    parallel_cap: int | None = None
    refused: tuple[int, ...] = ()
    opened: tuple[tuple[int, int], ...] = ()
    data_checked: bool = False


@dataclass(frozen=True)
class CheckData:
    kind: ClassVar[str] = "data_and_units"
    why: tuple[str, ...]


@dataclass(frozen=True)
class LargerDelay:
    kind: ClassVar[str] = "larger_delay"
    max_delay_s: float
    why: tuple[str, ...]


@dataclass(frozen=True)
class LongerFrame:
    kind: ClassVar[str] = "longer_frame"
    frame: int
    why: tuple[str, ...]


@dataclass(frozen=True)
class CapParallel:
    kind: ClassVar[str] = "cap_parallel"
    parallel_cap: int
    why: tuple[str, ...]


@dataclass(frozen=True)
class Admit:
    kind: ClassVar[str] = "admission"
    to_zigbee: tuple[int, ...]
    why: tuple[str, ...]


@dataclass(frozen=True)
class MoreRbs:
    """rbs: (cell, RB). The solution holds for an instance in which these are free."""

    kind: ClassVar[str] = "more_rbs"
    rbs: tuple[tuple[int, int], ...]
    why: tuple[str, ...]


@dataclass(frozen=True)
class WaiveSinr:
    """The solution holds for an instance with this sinr_min (linear), ``waived_db`` below the one asked for."""

    kind: ClassVar[str] = "waive_sinr"
    sinr_min: float
    waived_db: float
    why: tuple[str, ...]


Action = CheckData | LargerDelay | LongerFrame | CapParallel | Admit | MoreRbs | WaiveSinr


def first_setting(instance: Instance, options: Options) -> Setting:
    """Nothing changed yet."""
    frame = 1 if options.mode == "literal" else options.frame
    return Setting(frame=frame, max_delay_s=options.max_delay_s, sinr_min=instance.sinr_min)


def served(instance: Instance, setting: Setting) -> NDArray[np.bool_]:
    """[N]: not refused."""
    mask = np.ones(instance.shape[0], bool)
    mask[list(setting.refused)] = False
    return mask


def changed_instance(instance: Instance, setting: Setting) -> Instance:
    """The instance with the RBs opened and the sinr_min of the setting; itself where both are as they were."""
    if not setting.opened and setting.sinr_min == instance.sinr_min:
        return instance
    free = instance.free.copy()
    for cell, rb in setting.opened:
        free[cell, rb] = True
    return replace(instance, free=free, sinr_min=setting.sinr_min)


def solved_instance(instance: Instance, solution: Solution) -> Instance:
    """The instance that the solution holds for by its log: changed where RBs were taken or sinr_min was waived."""
    opened = [tuple(rb) for step in solution.reflexion if step["action"] == MoreRbs.kind for rb in step["rbs"]]
    waived = [step["sinr_min"] for step in solution.reflexion if step["action"] == WaiveSinr.kind]
    sinr_min = waived[-1] if waived else instance.sinr_min
    return changed_instance(instance, Setting(frame=None, max_delay_s=None, sinr_min=sinr_min, opened=tuple(opened)))


def frame_of(problem: Instance, setting: Setting, options: Options) -> int:
    """Slots of the frame; ``problem`` is the changed instance."""
    if setting.frame is not None:
        return setting.frame
    return min(choose_frame(problem, served(problem, setting) & reachable(problem)), options.frame_limit)


def find_conflicts(instance: Instance, setting: Setting, options: Options) -> tuple[Conflict, ...]:
    """What formulas alone show to be impossible in this setting; ``reflexion.try_setting`` finds the rest."""
    problem = changed_instance(instance, setting)
    return diagnose(problem, served(problem, setting), frame_of(problem, setting, options))


def applicable(
    instance: Instance, setting: Setting, conflicts: Sequence[Conflict], options: Options
) -> tuple[Action, ...]:
    """The actions that help against the conflicts and are allowed, in the order in which they are to be taken."""
    offers = (_check_data, _larger_delay, _longer_frame, _cap_parallel, _admit, _more_rbs, _waive_sinr)
    found = (offer(instance, setting, conflicts, options) for offer in offers)
    return tuple(action for action in found if action is not None)


def apply(action: Action, setting: Setting) -> Setting:
    """The setting after the action."""
    match action:
        case CheckData():
            return replace(setting, data_checked=True)
        case LargerDelay(max_delay_s=delay):
            return replace(setting, max_delay_s=delay)
        case LongerFrame(frame=frame):
            return replace(setting, frame=frame)
        case CapParallel(parallel_cap=cap):
            return replace(setting, parallel_cap=cap)
        case Admit(to_zigbee=devices):
            return replace(setting, refused=tuple(sorted({*setting.refused, *devices})))
        case MoreRbs(rbs=rbs):
            return replace(setting, opened=tuple(sorted({*setting.opened, *rbs})))
        case WaiveSinr(sinr_min=sinr_min):
            return replace(setting, sinr_min=sinr_min)


def as_json(thing: Action | Conflict) -> dict:
    """Its kind and its fields, as plain JSON data."""
    return json.loads(json.dumps({"kind": thing.kind, **dataclasses.asdict(thing)}, allow_nan=False))


# --- What helps, and is allowed ---------------------------------------------------------------------------------------


def _of(conflicts: Iterable[Conflict], *kinds: type) -> list:
    return [conflict for conflict in conflicts if isinstance(conflict, kinds)]


def _texts(conflicts: Iterable[Conflict]) -> tuple[str, ...]:
    return tuple(text for conflict in conflicts for text in conflict.texts())


def _check_data(instance, setting, conflicts, options) -> CheckData | None:
    if not conflicts or setting.data_checked:
        return None
    doubts = implausible(instance)
    return CheckData(doubts) if doubts else None


def _larger_delay(instance, setting, conflicts, options) -> LargerDelay | None:
    late = _of(conflicts, Late)
    if not late or setting.max_delay_s >= options.longest_delay_s:
        return None
    reached = max(conflict.reached_s for conflict in late)
    return LargerDelay(min(reached, options.longest_delay_s), _texts(late))


def _longer_frame(instance, setting, conflicts, options) -> LongerFrame | None:
    """Room for all; or, against a deadline, rounding to slots that costs less, where counting says that it may."""
    helped = [conflict for conflict in _of(conflicts, NoRoom) if conflict.least_frame]
    wanted = [conflict.least_frame for conflict in helped]
    problem = changed_instance(instance, setting)
    frame = frame_of(problem, setting, options)
    cells = {part.index: part.cell for part in parts(problem, served(problem, setting) & reachable(problem))}
    for conflict in _of(conflicts, Late):
        most = min(options.frame_limit, int(conflict.deadline_s / instance.slot_s))  # no longer than the deadline
        longer = (min(frame * 2**doubled, most) for doubled in range(1, 12))
        enough = (f for f in longer if cells[conflict.cell].counting_bound_s(f) <= conflict.deadline_s)
        if not (conflict.proven and conflict.bound == "fluid") and (slots := next(enough, 0)):
            helped.append(conflict)
            wanted.append(slots)
    slots = min(max(wanted, default=0), options.frame_limit)
    return LongerFrame(slots, _texts(helped)) if slots > frame else None


def _cap_parallel(instance, setting, conflicts, options) -> CapParallel | None:
    if over := _of(conflicts, OverCap):
        return CapParallel(over[0].cap, _texts(over))
    broken = [conflict for conflict in _of(conflicts, FailedCheck) if conflict.constraint in ("sinr", "power")]
    if not broken or broken[0].parallel <= 1:
        return None
    return CapParallel(broken[0].parallel // 2, _texts(broken))


def _admit(instance, setting, conflicts, options) -> Admit | None:
    if not options.admission:
        return None
    # Devices that can't be served for sure come before those that only cost much.
    sure = _of(conflicts, OutOfReach, NoRoom, CapTooLow, Disturbed)
    late = [] if sure else _of(conflicts, Late)
    devices = {device for conflict in late for device in conflict.costliest}
    for conflict in sure:
        devices.update(conflict.devices if isinstance(conflict, NoRoom | Disturbed) else [conflict.device])
    why = _texts(sure) + tuple(
        f"cell {conflict.cell}: device {device}: among those that need the most RB-slots for the deadline of"
        f" {conflict.deadline_s:.4g} s, {conflict.reached_s:.4g} s being reached"
        for conflict in late
        for device in conflict.costliest
    )
    return Admit(tuple(sorted(devices)), why) if devices else None


def _more_rbs(instance, setting, conflicts, options) -> MoreRbs | None:
    troubles = _of(conflicts, OutOfReach, NoRoom, Late)
    opened = {cell: _opened(instance, setting, options, cell) for cell in sorted({c.cell for c in troubles})}
    rbs = tuple(rb for chosen in opened.values() for rb in chosen)
    note = "the solution holds for the instance in which these RBs are free, not for the one given"
    return MoreRbs(rbs, (*_texts(c for c in troubles if opened[c.cell]), note)) if rbs else None


def _opened(instance: Instance, setting: Setting, options: Options, cell: int) -> list[tuple[int, int]]:
    """As few more RBs of the cell as leave the fewest of its devices without one."""
    already = {rb for other, rb in setting.opened if other == cell}
    taken = [rb for rb in np.flatnonzero(~instance.free[cell]).tolist() if rb not in already]
    taken.sort(key=lambda rb: instance.interference_w[cell, rb])
    offered = [(cell, rb) for rb in taken[: options.spare_rbs - len(already)]]
    left = [
        _troubled(instance, replace(setting, opened=(*setting.opened, *offered[:count])), options, {cell})
        for count in range(len(offered) + 1)
    ]
    # A deadline that formulas don't exclude and that is missed all the same: whatever there is may help.
    return offered[: left.index(min(left))] if left[0] else offered


def _waive_sinr(instance, setting, conflicts, options) -> WaiveSinr | None:
    """The least waiver that removes the conflicts, if one does."""
    troubles = _of(conflicts, OutOfReach, NoRoom, Late)
    cells = {conflict.cell for conflict in troubles}

    def waived(steps: int) -> Setting:
        return replace(setting, sinr_min=instance.sinr_min * 10 ** (-steps * _WAIVER_STEP_DB / 10))

    def enough(steps: int) -> bool:
        return not _troubled(instance, waived(steps), options, cells)

    most = int(options.sinr_waiver_db / _WAIVER_STEP_DB + 1e-9)
    if not troubles or waived(most).sinr_min >= setting.sinr_min or not enough(most):
        return None
    if not _troubled(instance, setting, options, cells):  # missed though formulas don't exclude it
        steps = most
    else:
        low, steps = 0, most
        while steps - low > 1:
            middle = (low + steps) // 2
            low, steps = (low, middle) if enough(middle) else (middle, steps)
    decibel = steps * _WAIVER_STEP_DB
    note = (
        f"WAIVER: sinr_min is {decibel:.2f} dB lower than asked for; the solution holds for the instance with that"
        " sinr_min, not for the one given"
    )
    return WaiveSinr(waived(steps).sinr_min, round(decibel, 6), (*_texts(troubles), note))


def _troubled(instance: Instance, setting: Setting, options: Options, cells: set[int]) -> int:
    """How many devices of the cells can't have an RB, plus the cells in which counting excludes the deadline."""
    problem = changed_instance(instance, setting)
    those = served(problem, setting) & np.isin(problem.serving, list(cells))
    frame = frame_of(problem, setting, options)
    found = diagnose(problem, those, frame)
    devices = sum(len(conflict.devices) if isinstance(conflict, NoRoom) else 1 for conflict in found)
    if devices or setting.max_delay_s is None:
        return devices
    return sum(part.cell.counting_bound_s(frame) > setting.max_delay_s for part in parts(problem, those))
