"""The checker: every constraint of a solution, one at a time, from the formulas alone; no code of the solvers.

The bound is checked as well, as far as its certificate goes. *fluid*: with prices mu >= 0 of rate and nu >= 0 of power
a cell can't bring more than sum_j max_i max_q [mu_i r_ij(q) - nu_i q]+ + p_max sum_i nu_i of priced rate, and a delay T
takes sum_i mu_i data_i / T of it. This is proven for cells that don't disturb each other; coupling only makes things
worse. *counting*: the RB-slots without the last of which each device, alone and on its best RBs, would miss the delay
don't fit in the frame.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.instance import Instance, Solution

TOLERANCE = 1e-6  # relative

_STATUSES = ("optimal", "feasible", "infeasible", "time_limit")
_BINS = 1 << 22  # device-slot sums of power held in memory at a time
_LEAST_SNR = 1e-30  # stands for 0 where its inverse is needed; carries nothing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Finding:
    """One constraint: does it hold, by how much (``slack``, finite, in its own unit; below 0 where broken), where."""

    constraint: str
    holds: bool
    slack: float
    detail: str


def check(instance: Instance, solution: Solution) -> tuple[Finding, ...]:
    """Check a solution, however malformed; nothing is raised. Findings come in a fixed order.

    After arrays or figures of a wrong kind nothing else can be checked. Of an infeasible solution it is checked that it
    promises nothing and gives a reason.
    """
    with np.errstate(all="ignore"):  # broken solutions may hold NaN, infinity and anything else
        form = (_shape(instance, solution), _figures(solution))
        if not all(finding.holds for finding in form):
            return form
        if solution.status == "infeasible":
            return (*form, _nothing_promised(solution))
        used = _used(instance, solution)
        sinr = _sinr(instance, solution, used)
        return (
            *form,
            _exclusive(instance, solution),
            _free(instance, solution),
            _power(instance, solution, used),
            _sinr_min(instance, used, sinr),
            _served(instance, solution, used),
            _delay(instance, solution, used, sinr),
            _objective(solution),
            _bound(solution),
            _certificate(instance, solution),
        )


# --- Form -------------------------------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    """A finite number that JSON can hold; Python's whole numbers have no limit of their own."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        return False
    return bool(-sys.float_info.max <= value <= sys.float_info.max)


def _shape(instance: Instance, solution: Solution) -> Finding:
    n, c, m = instance.shape
    slots = np.shape(solution.schedule)[1] if getattr(solution.schedule, "ndim", 0) == 3 else 0
    wanted = {
        "schedule": ("iu", "whole numbers", (c, slots, m)),
        "power_w": ("fiu", "numbers", (c, slots, m)),
        "delay_s": ("fiu", "numbers", (n,)),
        "to_zigbee": ("b", "booleans", (n,)),
    }
    wrong = []
    for name, (kinds, words, shape) in wanted.items():
        array = getattr(solution, name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            wrong.append(f"{name}: must be an array of {words}")
        elif array.shape != shape:
            wrong.append(f"{name}: shape {list(array.shape)} instead of {list(shape)}")
    if slots < 1:
        wrong.append("schedule: must be [C, F, M] with at least one slot")
    return Finding("shape", not wrong, float(-len(wrong)), "; ".join(wrong) or "all arrays fit")


def _figures(solution: Solution) -> Finding:
    """The summary's figures and words are of their kinds."""
    wrong = []
    if not (isinstance(solution.status, str) and solution.status in _STATUSES):
        wrong.append(f"status: {solution.status!r:.50} is not one of {', '.join(_STATUSES)}")
    for name in ("objective_s", "lower_bound_s", "gap"):
        value = getattr(solution, name)
        if not (value is None or _is_number(value)):
            wrong.append(f"{name}: {value!r:.50} is not a finite number")
    for name in ("seconds", "iterations"):
        value = getattr(solution, name)
        if not (_is_number(value) and value >= 0):
            wrong.append(f"{name}: {value!r:.50} is not a finite number of 0 or more")
    for name in ("bound", "solver"):
        if not isinstance(getattr(solution, name), str):
            wrong.append(f"{name}: {getattr(solution, name)!r:.50} is not a text")
    for name, kind in (("reflexion", dict), ("infeasible_because", str)):
        value = getattr(solution, name)
        if not (isinstance(value, tuple | list) and all(isinstance(row, kind) for row in value)):
            wrong.append(f"{name}: must be a list of {kind.__name__}")
    if not isinstance(solution.certificate, dict):
        wrong.append("certificate: must be an object")
    return Finding("figures", not wrong, float(-len(wrong)), "; ".join(wrong) or "all figures are of their kinds")


def _nothing_promised(solution: Solution) -> Finding:
    wrong = []
    if (solution.schedule != -1).any() or solution.power_w.any() or not np.isnan(solution.delay_s).all():
        wrong.append("yet there is a schedule, a power or a delay")
    if (solution.objective_s, solution.lower_bound_s, solution.gap, solution.bound) != (None, None, None, "none"):
        wrong.append("yet there is an objective, a bound or a gap")
    if not solution.infeasible_because:
        wrong.append("no reason is given")
    detail = "; ".join(wrong) or "; ".join(solution.infeasible_because)
    return Finding("infeasible", not wrong, float(-len(wrong)), detail)


# --- Constraints ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Used:
    """The E RB-slots that an existing device holds: place, device and power of each."""

    cell: Ints
    slot: Ints
    rb: Ints
    device: Ints
    power_w: Floats

    def place(self, entry: int) -> str:
        return f"device {self.device[entry]} in {_place((self.cell[entry], self.slot[entry], self.rb[entry]))}"


def _used(instance: Instance, solution: Solution) -> _Used:
    schedule = solution.schedule
    at = np.nonzero((schedule >= 0) & (schedule < instance.shape[0]))
    return _Used(*at, schedule[at].astype(np.int64), solution.power_w[at].astype(np.float64))


def _place(index) -> str:
    return "cell {}, slot {}, RB {}".format(*index)


def _first(mask: NDArray[np.bool_]) -> str:
    return _place(np.unravel_index(np.argmax(mask), mask.shape))


def _exclusive(instance: Instance, solution: Solution) -> Finding:
    """One device at most on an RB of a slot is the schedule's form; each must exist and belong to that cell."""
    n, c, _ = instance.shape
    schedule = solution.schedule
    unknown = (schedule < -1) | (schedule >= n)
    if unknown.any():
        return Finding("exclusive", False, float(-unknown.sum()), f"no such device in {_first(unknown)}")
    cell_of = np.append(instance.serving, -1)  # index -1: unused
    foreign = (schedule >= 0) & (cell_of[schedule] != np.arange(c)[:, None, None])
    detail = f"a device of another cell in {_first(foreign)}" if foreign.any() else "at most one device on each RB"
    return Finding("exclusive", not foreign.any(), float(-foreign.sum()), detail)


def _free(instance: Instance, solution: Solution) -> Finding:
    used = solution.schedule >= 0
    taken = used & ~instance.free[:, None, :]
    if taken.any():
        return Finding("free_rbs", False, float(-taken.sum()), f"held by a conventional user: {_first(taken)}")
    left = int(instance.free.sum()) * used.shape[1] - int(used.sum())
    return Finding("free_rbs", True, float(left), f"{left} free RB-slots are left")


def _power(instance: Instance, solution: Solution, used: _Used) -> Finding:
    """Per device and slot; the sum is over all cells, should a device be used in several."""
    power, limit = solution.power_w, instance.p_max_w
    bad = ~np.isfinite(power) | (power < 0) | ((solution.schedule < 0) & (power != 0))
    if bad.any():
        what = f"negative, not finite, or on an unused RB: {_first(bad)}"
        return Finding("power", False, float(-bad.sum()), what)
    n, slots = max(instance.shape[0], 1), solution.schedule.shape[1]
    worst, where, block = 0.0, "no device sends", max(1, _BINS // n)
    order = np.argsort(used.slot, kind="stable") if instance.shape[1] > 1 else slice(None)  # one cell's are in order
    slot, device, power = used.slot[order], used.device[order], used.power_w[order]
    for begin in range(0, slots, block):
        part = slice(*np.searchsorted(slot, [begin, begin + block]))
        total = np.bincount(device[part] + n * (slot[part] - begin), power[part], 1)
        if total.max() > worst:
            at, who = divmod(int(total.argmax()), n)
            worst = float(total.max())
            where = f"device {who} in slot {begin + at} uses {worst:.6g} W of {limit:.6g} W"
    return Finding("power", bool(worst <= limit * (1 + TOLERANCE)), limit - worst, where)


def _sinr(instance: Instance, solution: Solution, used: _Used) -> Floats:
    """True SINR [E], with the interference of other cells' devices when coupled."""
    disturbance = (instance.noise_w + instance.interference_w)[used.cell, used.rb]
    if instance.coupled:
        heard = np.zeros(solution.schedule.shape)
        for c in range(instance.shape[1]):
            own = used.cell == c
            device, slot, rb = used.device[own], used.slot[own], used.rb[own]
            at_bases = (instance.gain[device, :, rb] * used.power_w[own, None]).T  # [C, devices of this cell]
            at_bases[c] = 0.0
            heard[:, slot, rb] += at_bases
        disturbance = disturbance + heard[used.cell, used.slot, used.rb]
    return instance.gain[used.device, used.cell, used.rb] * used.power_w / disturbance


def _sinr_min(instance: Instance, used: _Used, sinr: Floats) -> Finding:
    if not sinr.size:
        return Finding("sinr", True, 0.0, "no RB is used")
    if np.isnan(sinr).any():
        return Finding("sinr", False, -instance.sinr_min, f"not a number: {used.place(int(np.isnan(sinr).argmax()))}")
    worst, beta = float(sinr.min()), instance.sinr_min
    detail = f"least SINR {worst:.6g}, beta {beta:.6g} (linear): {used.place(int(sinr.argmin()))}"
    slack = min(max(worst - beta, -sys.float_info.max), sys.float_info.max)
    return Finding("sinr", bool(worst >= beta * (1 - TOLERANCE)), slack, detail)


def _served(instance: Instance, solution: Solution, used: _Used) -> Finding:
    holds = np.bincount(used.device, minlength=instance.shape[0]) > 0
    both = np.flatnonzero(holds & solution.to_zigbee)
    neither = np.flatnonzero(~holds & ~solution.to_zigbee & (instance.data_bits > 0))
    wrong = [f"device {i} is refused and holds an RB" for i in both[:5]]
    wrong += [f"device {i} is neither refused nor given an RB" for i in neither[:5]]
    detail = "; ".join(wrong[:5]) or "every device has RBs or is refused"
    return Finding("served", not wrong, float(-len(both) - len(neither)), detail)


def _unlike(told: Floats, true: Floats) -> Floats:
    """Relative difference, 0 (equal, infinity included) to 1 (nothing in common, or NaN)."""
    larger = np.maximum(np.abs(told), np.abs(true))
    error = np.where(told == true, 0.0, np.abs(told - true) / larger)
    return np.where(np.isfinite(error), np.minimum(error, 1.0), 1.0)


def _delay(instance: Instance, solution: Solution, used: _Used, sinr: Floats) -> Finding:
    n, told = instance.shape[0], solution.delay_s.astype(np.float64)
    if not n:
        return Finding("delay", True, TOLERANCE, "no device")
    bits_per_hz = np.log1p(np.maximum(np.nan_to_num(sinr), 0.0)) / math.log(2)
    mean_rate = instance.rb_bandwidth_hz * np.bincount(used.device, bits_per_hz, n) / solution.schedule.shape[1]
    true = np.where(instance.data_bits == 0, 0.0, instance.data_bits / mean_rate)
    error = np.where(solution.to_zigbee, ~np.isnan(told), _unlike(told, true))
    error[~solution.to_zigbee & np.isinf(true)] = 1.0  # never: no delay to promise
    worst = int(error.argmax())
    detail = f"device {worst}: {told[worst]:.6g} s told, {true[worst]:.6g} s at {mean_rate[worst]:.6g} bit/s"
    if solution.to_zigbee[worst] and error[worst]:
        detail = f"device {worst}: {told[worst]:.6g} s told of a refused device"
    return Finding("delay", bool(error[worst] <= TOLERANCE), TOLERANCE - float(error[worst]), detail)


def _objective(solution: Solution) -> Finding:
    true = float(solution.delay_s[~solution.to_zigbee].max(initial=0.0))
    if solution.objective_s is None:
        return Finding("objective", False, -1.0, f"none is told, {true:.6g} s is true")
    told = float(solution.objective_s)
    error = float(_unlike(np.float64(told), np.float64(true)))
    return Finding("objective", error <= TOLERANCE, TOLERANCE - error, f"{told:.6g} s told, {true:.6g} s true")


def _bound(solution: Solution) -> Finding:
    """The bound is not above the objective, the gap is theirs, and the word "optimal" goes with both."""
    objective, lower, gap = solution.objective_s, solution.lower_bound_s, solution.gap
    if solution.bound == "none":
        holds = not lower and not gap and (solution.status != "optimal" or objective == 0)
        detail = "no bound is claimed" if holds else "no bound is named, but one is used"
        return Finding("bound", holds, 0.0 if holds else -1.0, detail)
    if objective is None or lower is None or lower < 0:
        return Finding("bound", False, -1.0, "a bound is named, but objective or bound is missing or negative")
    slack = float(objective) - float(lower)
    true_gap = slack / float(lower) if lower > 0 else 0.0 if objective == 0 else None
    same = gap is true_gap if None in (gap, true_gap) else abs(gap - true_gap) <= TOLERANCE * (1 + abs(true_gap))
    detail = f"lower bound {lower:.6g} s, gap {gap} told, {true_gap} true"
    return Finding("bound", bool(slack >= -TOLERANCE * objective and same), slack, detail)


# --- Certificate ------------------------------------------------------------------------------------------------------


class _Broken(Exception):
    """A certificate that does not prove what it says; the message says why."""


def _certificate(instance: Instance, solution: Solution) -> Finding:
    """Whatever the certificate says must be proven by it; the lower bound must not be above what its kind proves."""
    told, bound = solution.certificate, solution.bound
    try:
        if bad := _not_finite(told):
            raise _Broken(bad)
        if bound != "none" and told.get("kind", bound) != bound:
            raise _Broken(f"kind: {told['kind']!r:.50}, but the bound is {bound!r}")
        proven = {}
        if told.keys() & {"mu", "nu", "fluid_bound_s"} or bound == "fluid":
            proven["fluid"] = _fluid_bound_s(instance, solution)
        if told.keys() & {"counting_bound_s", "rbs_needed"} or bound == "counting":
            proven["counting"] = _counting_bound_s(instance, solution)
        return _compare(solution, proven)
    except _Broken as reason:
        return Finding("certificate", False, -1.0, str(reason))


def _compare(solution: Solution, proven: dict[str, float]) -> Finding:
    lower = solution.lower_bound_s
    said = ", ".join(f"{kind} {value:.6g} s" for kind, value in proven.items()) or "nothing"
    if solution.bound == "none" or lower is None:
        return Finding("certificate", True, 0.0, f"no bound is claimed; proven: {said}")
    if solution.bound == "milp":
        slack = lower - max(proven.values(), default=0.0)
        detail = f"lower bound {lower:.6g} s of a MILP, not checkable by formula; proven of it: {said}"
        return Finding("certificate", bool(slack >= -TOLERANCE * lower), float(slack), detail)
    if solution.bound not in proven:
        raise _Broken(f"bound: {solution.bound!r} is not known; 'fluid', 'counting', 'milp' and 'none' are")
    slack = min(proven[solution.bound], sys.float_info.max) - lower
    detail = f"lower bound {lower:.6g} s; proven: {said}"
    return Finding("certificate", bool(slack >= -TOLERANCE * lower), float(slack), detail)


def _not_finite(certificate: dict) -> str:
    """The first value in it that is neither plain JSON nor finite, with its place; empty if there is none."""
    todo: list[tuple[str, object]] = [("certificate", certificate)]
    while todo:
        place, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{place}.{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            todo += [(place, inner) for inner in value]
        elif not (value is None or isinstance(value, str | bool) or _is_number(value)):
            return f"{place}: {value!r:.50} is not a finite number"
    return ""


def _number(certificate: dict, name: str) -> float:
    value = certificate.get(name)
    if not (_is_number(value) and value >= 0):
        raise _Broken(f"{name}: {value!r:.50} must be a number of 0 or more")
    return float(value)


def _vector(certificate: dict, name: str, length: int) -> list:
    values = certificate.get(name)
    if not (isinstance(values, list | tuple) and len(values) == length):
        raise _Broken(f"{name}: must be a list of {length} numbers")
    if not all(_is_number(value) and value >= 0 for value in values):
        raise _Broken(f"{name}: all values must be numbers of 0 or more")
    return values


def _snr(instance: Instance, cell: int, devices: Ints) -> Floats:
    """[devices, free RBs]: SINR of p_max on one RB, other devices silent."""
    free = np.flatnonzero(instance.free[cell])
    disturbance = instance.noise_w + instance.interference_w[cell, free]
    return instance.gain[devices, cell][:, free] * (instance.p_max_w / disturbance)


def _fluid_bound_s(instance: Instance, solution: Solution) -> float:
    """The bound that mu and nu prove, in the cell in which it is largest; it must not be below what is told."""
    n = instance.shape[0]
    mu = np.array(_vector(solution.certificate, "mu", n), np.float64)
    nu = np.array(_vector(solution.certificate, "nu", n), np.float64)
    if (mu[solution.to_zigbee] > 0).any():
        raise _Broken(f"mu: device {np.flatnonzero(solution.to_zigbee & (mu > 0))[0]} is refused and has a price")
    total = float(mu @ instance.data_bits)
    if not abs(total - 1) <= TOLERANCE:
        raise _Broken(f"mu: sum(data_bits mu) is {total:.9g}, not 1")
    proven = 0.0
    for cell in range(instance.shape[1]):
        own = instance.serving == cell
        priced = np.flatnonzero(own & (mu > 0))
        value = _priced_rate(_snr(instance, cell, priced), mu[priced] * instance.rb_bandwidth_hz, nu[priced], instance)
        value += instance.p_max_w * float(nu[own].sum())
        worth = float(mu[priced] @ instance.data_bits[priced])
        if worth > 0 and value >= 0:  # not NaN
            proven = max(proven, worth / value if value > 0 else math.inf)
    told = _number(solution.certificate, "fluid_bound_s") if "fluid_bound_s" in solution.certificate else proven
    if told > proven * (1 + TOLERANCE):
        raise _Broken(f"fluid_bound_s: {told:.9g} s told, but mu and nu prove {proven:.9g} s")
    return proven


def _priced_rate(snr: Floats, price: Floats, nu: Floats, instance: Instance) -> float:
    """Sum over RBs of the best device's best price x rate - nu x power; snr [N, M], price [N] per bit/s/Hz."""
    snr, price, cost = np.maximum(snr, 1e-300), price[:, None], nu[:, None] * instance.p_max_w
    share = np.clip(price / (cost * math.log(2)) - 1 / snr, 0.0, 1.0)  # of p_max; 1 where power costs nothing
    value = price * np.log1p(snr * share) / math.log(2) - cost * share
    return float(value.max(axis=0, initial=0.0).sum())


def _counting_bound_s(instance: Instance, solution: Solution) -> float:
    """counting_bound_s, if with one RB-slot less than ``rbs_needed`` every device misses it, and they don't fit."""
    n, _, m = instance.shape
    frame = solution.schedule.shape[1]
    told = _number(solution.certificate, "counting_bound_s")
    needed = _vector(solution.certificate, "rbs_needed", n)
    if not all(isinstance(count, int) and count <= frame * m + 1 for count in needed):
        raise _Broken(f"rbs_needed: all values must be whole numbers of at most F M + 1 = {frame * m + 1}")
    needed = np.array(needed, np.int64)
    counted = ~solution.to_zigbee & (instance.data_bits > 0) & (needed > 0)
    fits = True
    for cell in range(instance.shape[1]):
        devices = np.flatnonzero(counted & (instance.serving == cell))
        if not devices.size:
            continue
        rate = instance.rb_bandwidth_hz * _largest_rates(instance, cell, devices, needed[devices] - 1, frame)
        delay = instance.data_bits[devices] / rate
        if (early := delay < told * (1 - TOLERANCE)).any():
            i = devices[early.argmax()]
            raise _Broken(
                f"rbs_needed: device {i} needs fewer than {needed[i]}, with one less its delay is"
                f" {delay[early.argmax()]:.9g} s and counting_bound_s {told:.9g} s"
            )
        fits &= bool(needed[devices].sum() <= frame * instance.free[cell].sum())
    if fits:
        raise _Broken("rbs_needed: they fit in the frame of every cell")
    return told


def _largest_rates(instance: Instance, cell: int, devices: Ints, slots: Ints, frame: int) -> Floats:
    """[devices]: mean bit/s/Hz of a device alone in its cell on so many RB-slots of the frame, the most there can be.

    The rate on the k best RBs is concave in k, the SINR floor included: spreading RB-slots evenly over slots is best.
    """
    full, more = np.divmod(slots, frame)
    rate = _water_filled(_snr(instance, cell, devices), instance.sinr_min, int(full.max()) + 1)
    last, rows = rate.shape[1] - 1, np.arange(len(devices))
    even, one_more = rate[rows, np.minimum(full, last)], rate[rows, np.minimum(full + 1, last)]
    return ((frame - more) * even + more * one_more) / frame


def _water_filled(snr: Floats, sinr_min: float, most: int) -> Floats:
    """[N, K + 1]: bit/s/Hz of a device on at most 0..K = min(M, most) of its RBs in one slot; snr [N, M] at p_max.

    With k RBs the power is q_j = max(sinr_min / snr_j, w - 1 / snr_j), its sum 1: the strongest m are at water level w,
    the other ones at the floor. m is the largest for which the m-th would be above the floor.
    """
    devices, rbs = snr.shape
    snr = np.maximum(-np.sort(-snr, axis=1)[:, :most], _LEAST_SNR)
    inverse, log = 1 / snr, np.cumsum(np.log2(snr), axis=1)
    total = np.cumsum(inverse, axis=1)
    lead = np.arange(1, snr.shape[1] + 1) * inverse - total  # power for the first m to stand out above the m-th
    rate, rows = np.zeros((devices, snr.shape[1] + 1)), np.arange(devices)
    for k in range(1, snr.shape[1] + 1):
        left = 1 - sinr_min * total[:, k - 1]  # when all k are at the floor
        m = np.maximum((lead[:, :k] <= left[:, None] / (1 + sinr_min)).sum(axis=1), 1)
        filled = total[rows, m - 1]
        level = (1 - sinr_min * (total[:, k - 1] - filled) + filled) / m
        bits = m * np.log2(level) + log[rows, m - 1] + (k - m) * np.log2(1 + sinr_min)
        rate[:, k] = np.maximum(rate[:, k - 1], np.where(left >= -1e-9, bits, 0.0))
    return rate
