"""Which constraints can't hold, and why: named, as plain data, with what would do.

``diagnose`` finds by formula what no schedule can meet; ``judge`` looks at a solution: what the checker found broken,
and what the operator asked for besides (the largest delay, a cap on parallel RBs). ``implausible`` doubts the numbers
of an instance; it never changes them.

Sets of devices named by a conflict are irreducible (an irreducible infeasible set, IIS): without any one of the devices
the others can be served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from optimizer.admission import admit
from optimizer.attempt import Part, parts
from optimizer.cell import NO_SIGNAL
from optimizer.check import Finding
from optimizer.instance import Instance, Solution
from optimizer.parallel import most_parallel

_BOLTZMANN_290K = 1.380649e-23 * 290  # thermal noise, W/Hz
_DAY_S = 86_400
_SAME = 1e-9  # relative


@dataclass(frozen=True)
class OutOfReach:
    """At full power on its best free RB alone the device misses sinr_min by ``short_db`` (None: no gain at all)."""

    kind: ClassVar[str] = "out_of_reach"
    cell: int
    device: int
    best_sinr_db: float | None
    sinr_min_db: float | None
    short_db: float | None

    def texts(self) -> list[str]:
        best = "none" if self.best_sinr_db is None else f"{self.best_sinr_db:.1f} dB"
        least = "some" if self.sinr_min_db is None else f"the {self.sinr_min_db:.1f} dB needed"
        where = f"cell {self.cell}: device {self.device}"
        return [f"{where}: best SINR {best} at full power on one RB, below {least}"]


@dataclass(frozen=True)
class NoRoom:
    """``devices`` and ``rivals`` can use no other RBs than ``rbs``, which have room for the rivals alone.

    Any one of ``devices`` with ``rivals`` is irreducible (a Hall violator). len(devices) is the least number to refuse
    and of RB-slots to add; no frame shorter than ``least_frame`` will do (None: there is no RB).
    """

    kind: ClassVar[str] = "no_room"
    cell: int
    devices: tuple[int, ...]
    rivals: tuple[int, ...]
    rbs: tuple[int, ...]
    free_rbs: int
    frame: int

    @property
    def least_frame(self) -> int | None:
        return -(-(len(self.devices) + len(self.rivals)) // len(self.rbs)) if self.rbs else None

    def texts(self) -> list[str]:
        slots = "" if self.frame == 1 else f" in each of {self.frame} slots"
        why = f"{len(self.rivals) + 1} devices reach the SINR needed on the same {len(self.rbs)} RBs only{slots}"
        if len(self.rbs) == self.free_rbs:
            wanting = len(self.devices) + len(self.rivals)
            why = f"{wanting} devices want an RB and {self.free_rbs} are free{slots}"
        return [f"cell {self.cell}: device {device}: {why}" for device in self.devices]


@dataclass(frozen=True)
class FailedCheck:
    """The checker found a constraint of a solution broken. parallel: most RBs that a device holds at a time."""

    kind: ClassVar[str] = "failed_check"
    constraint: str
    slack: float
    detail: str
    solver: str
    parallel: int

    def texts(self) -> list[str]:
        return [
            f"the solution of {self.solver} failed the check and was discarded",
            f"{self.constraint}: {self.detail}",
        ]


@dataclass(frozen=True)
class OverCap:
    """A device holds more RBs at a time than the operator's cap."""

    kind: ClassVar[str] = "over_cap"
    parallel: int
    cap: int

    def texts(self) -> list[str]:
        return [f"parallel_cap: {self.parallel} RBs at a time are used, {self.cap} are allowed"]


@dataclass(frozen=True)
class CapTooLow:
    """Alone in its cell, on its best ``cap`` RBs of every slot, the device takes ``alone_s``; ``least_cap`` RBs would
    meet the deadline (None: no number would)."""

    kind: ClassVar[str] = "cap_too_low"
    cell: int
    device: int
    cap: int
    least_cap: int | None
    alone_s: float
    deadline_s: float

    def texts(self) -> list[str]:
        enough = "no number" if self.least_cap is None else f"{self.least_cap}"
        return [
            f"cell {self.cell}: device {self.device}: alone and with {self.cap} RBs at a time it takes at least"
            f" {self.alone_s:.4g} s, the deadline is {self.deadline_s:.4g} s; {enough} would meet it"
        ]


@dataclass(frozen=True)
class Late:
    """A cell misses the deadline: its slowest device takes ``reached_s``, and none of the cell's schedules can be
    faster than ``proven_s``, the least deadline that may hold, by the bound named ("fluid", "counting" or "milp").
    A frame of other length has the same fluid bound, but not the same counting bound.

    devices: an irreducible set that needs more RB-slots than there are; empty where counting doesn't show it.
    costliest: the devices that need the most RB-slots, as few as counting says have to go.
    """

    kind: ClassVar[str] = "deadline"
    cell: int
    deadline_s: float
    proven_s: float
    bound: str
    reached_s: float
    devices: tuple[int, ...]
    costliest: tuple[int, ...]
    rb_slots: int

    @property
    def proven(self) -> bool:
        return self.proven_s > self.deadline_s * (1 + _SAME)

    def texts(self) -> list[str]:
        where = f"cell {self.cell}: deadline {self.deadline_s:.4g} s: {self.reached_s:.4g} s is reached"
        proof = "can't be met" if self.proven else "not shown to be out of reach"
        texts = [f"{where}, at least {self.proven_s:.4g} s is proven by {self.bound}: {proof}"]
        if self.devices:
            named = ", ".join(f"device {device}" for device in self.devices[:5])
            more = f" and {len(self.devices) - 5} more" if len(self.devices) > 5 else ""
            need = "needs" if len(self.devices) == 1 else "need"
            texts.append(f"cell {self.cell}: {named}{more} alone {need} more RB-slots than the {self.rb_slots} free")
        return texts


@dataclass(frozen=True)
class TimeOut:
    """The time limit ended before an answer was found that meets all that was asked."""

    kind: ClassVar[str] = "time_limit"
    limit_s: float

    def texts(self) -> list[str]:
        return [f"time limit: {self.limit_s:.4g} s have passed and not all could be tried"]


@dataclass(frozen=True)
class Disturbed:
    """Coupled cells: no way was found, which is no proof, to serve all devices; without ``devices`` there is one."""

    kind: ClassVar[str] = "disturbed"
    devices: tuple[int, ...]
    because: tuple[str, ...]

    def texts(self) -> list[str]:
        return list(self.because)


Conflict = OutOfReach | NoRoom | FailedCheck | OverCap | CapTooLow | Late | Disturbed | TimeOut


# --- Before a solve ---------------------------------------------------------------------------------------------------


def reachable(instance: Instance) -> NDArray[np.bool_]:
    """[N]: the device reaches sinr_min on some free RB of its cell."""
    snr = np.where(instance.free[instance.serving], instance.snr_per_w() * instance.p_max_w, 0.0)
    return ((snr >= instance.sinr_min) & (snr > NO_SIGNAL)).any(axis=1)


def diagnose(instance: Instance, served: NDArray[np.bool_], frame: int) -> tuple[Conflict, ...]:
    """What keeps the devices ``served`` [N] from holding an RB each in a frame of so many slots; empty: nothing."""
    return tuple(conflict for part in parts(instance, served) for conflict in _structural(part, frame))


def _structural(part: Part, frame: int) -> Iterator[Conflict]:
    cell = part.cell
    usable = cell.usable
    best = cell.snr.max(axis=1, initial=0.0)
    here = usable.any(axis=1) | (cell.shape[1] == 0)
    for device in np.flatnonzero(~here):
        best_db, least_db = _db(best[device] * (best[device] > NO_SIGNAL)), _db(cell.sinr_min)
        short = None if best_db is None or least_db is None else least_db - best_db
        yield OutOfReach(part.index, int(part.devices[device]), best_db, least_db, short)
    here = np.flatnonzero(here)
    with np.errstate(divide="ignore"):
        cost = cell.work[here] / np.log2(1 + best[here])  # delay on the best RB alone
    groups: dict[tuple, list[int]] = {}
    for refusal in admit(usable[here], cost, frame):
        groups.setdefault((refusal.rivals, refusal.rbs), []).append(refusal.device)
    for (rivals, rbs), devices in groups.items():
        names = (tuple(part.devices[here[list(group)]].tolist()) for group in (devices, rivals))
        yield NoRoom(part.index, *names, tuple(part.rbs[list(rbs)].tolist()), len(part.rbs), frame)


def _db(ratio: float) -> float | None:
    return float(10 * np.log10(ratio)) if ratio > 0 else None


# --- After a solve ----------------------------------------------------------------------------------------------------


def requirements(solution: Solution, max_delay_s: float | None, parallel_cap: int | None) -> tuple[Finding, ...]:
    """What the operator asks for besides the instance's constraints, checked one at a time."""
    findings = []
    if max_delay_s is not None:
        reached = solution.objective_s
        holds = reached <= max_delay_s * (1 + _SAME)
        detail = f"{reached:.6g} s of {max_delay_s:.6g} s"
        findings.append(Finding("max_delay", bool(holds), max_delay_s - reached, detail))
    if parallel_cap is not None:
        held = most_parallel(solution)
        detail = f"{held} RBs at a time of {parallel_cap}"
        findings.append(Finding("parallel_cap", held <= parallel_cap, float(parallel_cap - held), detail))
    return tuple(findings)


def judge(
    instance: Instance,
    solution: Solution,
    findings: Sequence[Finding],
    max_delay_s: float | None,
    parallel_cap: int | None,
) -> tuple[Conflict, ...]:
    """The conflicts of a solution with the checker's findings and the operator's requirements. A solution that fails
    the check is not looked at further."""
    if broken := [finding for finding in findings if not finding.holds]:
        held = most_parallel(solution)
        return tuple(FailedCheck(f.constraint, f.slack, f.detail, solution.solver, held) for f in broken)
    held = most_parallel(solution) if parallel_cap is not None else 0
    if held > (parallel_cap or held):
        return (OverCap(held, parallel_cap),)
    if max_delay_s is None or solution.objective_s <= max_delay_s * (1 + _SAME):
        return ()
    return tuple(_lateness(instance, solution, max_delay_s, parallel_cap))


def _lateness(instance: Instance, solution: Solution, deadline_s: float, cap: int | None) -> Iterator[Conflict]:
    frame, lower = solution.schedule.shape[1], solution.lower_bound_s or 0.0
    cells = [(part, float(solution.delay_s[part.devices].max())) for part in parts(instance, ~solution.to_zigbee)]
    candidates = sum(reached >= lower for _, reached in cells)  # for the cell that the bound belongs to
    for part, reached in cells:
        if reached <= deadline_s * (1 + _SAME):
            continue
        if cap is not None:
            yield from _capped_too_low(part, cap, deadline_s)
        counting = part.cell.counting_bound_s(frame)
        proven = (counting, "counting")
        if candidates == 1 and reached >= lower > counting:
            proven = (lower, solution.bound)
        yield _late(part, frame, deadline_s, *proven, reached, counting)


def _capped_too_low(part: Part, cap: int, deadline_s: float) -> Iterator[CapTooLow]:
    rates, need = part.cell.best_rates, part.cell.work / deadline_s
    for device in np.flatnonzero(rates[:, min(cap, rates.shape[1] - 1)] < need * (1 - _SAME)):
        enough = np.flatnonzero(rates[device] >= need[device])
        yield CapTooLow(
            part.index,
            int(part.devices[device]),
            cap,
            int(enough[0]) if enough.size else None,
            float(part.cell.work[device] / rates[device, min(cap, rates.shape[1] - 1)]),
            deadline_s,
        )


def _late(
    part: Part, frame: int, deadline_s: float, proven_s: float, bound: str, reached_s: float, counting_s: float
) -> Late:
    cell, slots = part.cell, frame * part.cell.shape[1]
    counts = cell.counts(deadline_s, frame)
    order = np.argsort(-counts, kind="stable")
    # The largest needs first, until they exceed what is there: without any one of them, the others fit.
    too_many = int(np.searchsorted(np.cumsum(counts[order]), slots, side="right")) + 1
    # Counting may be too hopeful by so much; what it says of a deadline that is shorter by that is nearer the truth.
    hopeful = counting_s / (proven_s if proven_s > deadline_s else reached_s)
    needed = cell.counts(deadline_s * hopeful * (1 - _SAME), frame)
    costliest = np.argsort(-needed, kind="stable")
    left = needed.sum() - np.cumsum(needed[costliest])
    refused = costliest[: int(np.argmax(left <= slots)) + 1]
    return Late(
        part.index,
        deadline_s,
        proven_s,
        bound,
        reached_s,
        tuple(part.devices[order[:too_many]].tolist()) if counts.sum() > slots else (),
        tuple(sorted(part.devices[refused].tolist())),
        slots,
    )


# --- The numbers themselves -------------------------------------------------------------------------------------------


def implausible(instance: Instance) -> tuple[str, ...]:
    """Numbers of an instance that look like a wrong unit. To be looked into by who made it."""
    texts = []
    thermal = _BOLTZMANN_290K * instance.rb_bandwidth_hz
    if instance.gain.max(initial=0.0) > 1:
        texts.append(f"gain: up to {instance.gain.max():.3g}; a path loss gives less than 1 (linear, not dB)")
    if not 0.1 * thermal <= instance.noise_w <= 1e4 * thermal:
        texts.append(
            f"noise_w: {instance.noise_w:.3g} W per RB; thermal noise over {instance.rb_bandwidth_hz:.6g} Hz is"
            f" {thermal:.3g} W, and a noise figure adds to it (watts, not dBm)"
        )
    if instance.p_max_w > 10:
        texts.append(f"p_max_w: {instance.p_max_w:.4g} W; devices have 0.2 W or so (watts, not dBm)")
    if instance.sinr_min > 1e3:
        texts.append(f"sinr_min: {instance.sinr_min:.4g}, {10 * np.log10(instance.sinr_min):.1f} dB (linear, not dB)")
    for part in parts(instance, reachable(instance)):
        least = part.cell.work / (len(part.rbs) * np.log2(1 + part.cell.snr.max(axis=1)))  # alone, all RBs the best
        if (slow := least > _DAY_S).any():
            worst = part.devices[least.argmax()]
            texts.append(
                f"data_bits: {int(slow.sum())} devices of cell {part.index} need more than a day, alone on all RBs;"
                f" device {worst} has {instance.data_bits[worst]:.4g} bit"
            )
    return tuple(texts)
