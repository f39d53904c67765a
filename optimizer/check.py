"""The checker: every constraint of a solution, one at a time, from the formulas alone; no code of the solvers."""

from dataclasses import dataclass

import numpy as np

from optimizer.instance import Instance, Solution

TOLERANCE = 1e-6  # relative


@dataclass(frozen=True)
class Finding:
    """One constraint: does it hold, by how much (``slack``, in the constraint's unit; below 0 where broken), where."""

    constraint: str
    holds: bool
    slack: float
    detail: str


def check(instance: Instance, solution: Solution) -> tuple[Finding, ...]:
    """Check a solution. Findings come in a fixed order; after a wrong shape nothing else can be checked."""
    shape = _shapes(instance, solution)
    if not shape.holds:
        return (shape,)
    if solution.status == "infeasible":
        return (shape, _nothing_promised(solution))
    sinr = _sinr(instance, solution)
    return (
        shape,
        _exclusive(instance, solution),
        _free(instance, solution),
        _power(instance, solution),
        _sinr_min(instance, solution, sinr),
        _served(instance, solution),
        _delay(instance, solution, sinr),
        _objective(solution),
        _bound(solution),
    )


def _shapes(instance: Instance, solution: Solution) -> Finding:
    n, c, m = instance.shape
    frames = solution.schedule.shape[1] if solution.schedule.ndim == 3 else 0
    wanted = {"schedule": (c, frames, m), "power_w": (c, frames, m), "delay_s": (n,), "to_zigbee": (n,)}
    wrong = [
        f"{k}: {getattr(solution, k).shape} instead of {v}"
        for k, v in wanted.items()
        if getattr(solution, k).shape != v
    ]
    if frames < 1:
        wrong.append("schedule: no slot")
    return Finding("shape", not wrong, 0.0, "; ".join(wrong) or "all arrays fit")


def _nothing_promised(solution: Solution) -> Finding:
    silent = (solution.schedule == -1).all() and not solution.power_w.any() and bool(solution.infeasible_because)
    return Finding("infeasible", bool(silent), 0.0, "; ".join(solution.infeasible_because) or "no reason is given")


def _used(solution: Solution):
    """[C, F, M]"""
    return solution.schedule >= 0


def _place(mask) -> str:
    cell, slot, rb = np.argwhere(mask)[0]
    return f"cell {cell}, slot {slot}, RB {rb}"


def _exclusive(instance: Instance, solution: Solution) -> Finding:
    """One device at most on an RB of a slot is the schedule's form; each must exist and belong to that cell."""
    n, c, _ = instance.shape
    unknown = (solution.schedule < -1) | (solution.schedule >= n)
    if unknown.any():
        return Finding("exclusive", False, -float(unknown.sum()), f"no such device at {_place(unknown)}")
    padded = np.append(instance.serving, -1)  # index -1: unused
    foreign = _used(solution) & (padded[solution.schedule] != np.arange(c)[:, None, None])
    detail = f"a device of another cell at {_place(foreign)}" if foreign.any() else "at most one device on each RB"
    return Finding("exclusive", not foreign.any(), -float(foreign.sum()), detail)


def _free(instance: Instance, solution: Solution) -> Finding:
    taken = _used(solution) & ~instance.free[:, None, :]
    unused = instance.free.sum() * solution.schedule.shape[1] - _used(solution).sum()
    detail = f"held by a conventional user at {_place(taken)}" if taken.any() else f"{unused} free RBs are left"
    return Finding("free_rbs", not taken.any(), float(-taken.sum() if taken.any() else unused), detail)


def _power(instance: Instance, solution: Solution) -> Finding:
    power = solution.power_w
    bad = ~np.isfinite(power) | (power < 0) | (~_used(solution) & (power != 0)) | (_used(solution) & ~(power > 0))
    if bad.any():
        what = f"negative, not a number, on an unused RB, or none on a used one, at {_place(bad)}"
        return Finding("power", False, -np.inf, what)
    slack = instance.p_max_w
    where = "no device sends"
    for device in range(instance.shape[0]):
        total = np.where(solution.schedule == device, power, 0.0).sum(axis=(0, 2)).max()  # worst slot
        if instance.p_max_w - total < slack:
            slack, where = instance.p_max_w - total, f"device {device} uses {total:.6g} W of {instance.p_max_w:.6g} W"
    return Finding("power", bool(slack >= -TOLERANCE * instance.p_max_w), float(slack), where)


def _sinr(instance: Instance, solution: Solution):
    """True SINR [C, F, M] where an RB is used, else NaN, with the interference of other cells' devices when coupled."""
    result = np.full(solution.schedule.shape, np.nan)
    for c, f, j in np.argwhere(_used(solution)):
        device = solution.schedule[c, f, j]
        if device >= instance.shape[0]:
            continue
        disturbance = instance.noise_w + instance.interference_w[c, j]
        if instance.coupled:
            for other in range(instance.shape[1]):
                rival = solution.schedule[other, f, j]
                if other != c and 0 <= rival < instance.shape[0]:
                    disturbance += instance.gain[rival, c, j] * solution.power_w[other, f, j]
        result[c, f, j] = instance.gain[device, c, j] * solution.power_w[c, f, j] / disturbance
    return result


def _sinr_min(instance: Instance, solution: Solution, sinr) -> Finding:
    used = sinr[_used(solution)]
    if not used.size:
        return Finding("sinr", True, np.inf, "no RB is used")
    worst = float(np.nanmin(used)) if not np.isnan(used).all() else np.nan
    slack = worst - instance.sinr_min
    holds = bool(not np.isnan(used).any() and slack >= -TOLERANCE * instance.sinr_min)
    return Finding("sinr", holds, slack, f"least SINR {worst:.6g}, beta {instance.sinr_min:.6g} (linear)")


def _served(instance: Instance, solution: Solution) -> Finding:
    holds = np.isin(np.arange(instance.shape[0]), solution.schedule)
    both = holds & solution.to_zigbee
    neither = ~holds & ~solution.to_zigbee & (instance.data_bits > 0)
    wrong = [f"device {i} is refused and holds an RB" for i in np.flatnonzero(both)]
    wrong += [f"device {i} is neither refused nor given an RB" for i in np.flatnonzero(neither)]
    return Finding(
        "served", not wrong, -float(len(wrong)), "; ".join(wrong[:5]) or "every device has RBs or is refused"
    )


def _delay(instance: Instance, solution: Solution, sinr) -> Finding:
    frames, worst, where = solution.schedule.shape[1], 0.0, "delays as the formula gives them"
    rate = instance.rb_bandwidth_hz * np.log2(1 + np.maximum(np.nan_to_num(sinr), 0.0))
    for device in range(instance.shape[0]):
        told = solution.delay_s[device]
        mean_rate = np.where(solution.schedule == device, rate, 0.0).sum() / frames
        if solution.to_zigbee[device]:
            error = 0.0 if np.isnan(told) else np.inf
        elif instance.data_bits[device] == 0:
            error = abs(told)
        else:
            true = instance.data_bits[device] / mean_rate if mean_rate > 0 else np.inf
            error = abs(told / true - 1) if np.isfinite(true) else np.inf
        error = np.inf if np.isnan(error) else float(error)
        if error > worst:
            worst, where = error, f"device {device}: {told:.6g} s told, rate {mean_rate:.6g} bit/s"
    return Finding("delay", bool(worst <= TOLERANCE), TOLERANCE - worst, where)


def _objective(solution: Solution) -> Finding:
    served = solution.delay_s[~solution.to_zigbee]
    true = float(served.max()) if served.size else 0.0
    told = np.nan if solution.objective_s is None else solution.objective_s
    error = abs(told - true) / true if true > 0 else abs(told)
    return Finding(
        "objective", bool(error <= TOLERANCE), TOLERANCE - float(error), f"{told:.6g} s told, {true:.6g} s true"
    )


def _bound(solution: Solution) -> Finding:
    """The bound is not above the objective, the gap is theirs, and the word "optimal" goes with both."""
    objective, lower, gap = solution.objective_s, solution.lower_bound_s, solution.gap
    if solution.bound == "none":
        return Finding("bound", solution.status != "optimal" or not objective, 0.0, "no bound is claimed")
    if objective is None or lower is None or gap is None:
        return Finding("bound", False, -np.inf, "a bound is named, but objective, bound or gap is missing")
    slack = objective - lower
    true_gap = slack / lower if lower > 0 else 0.0
    holds = slack >= -TOLERANCE * objective and abs(true_gap - gap) <= TOLERANCE
    return Finding(
        "bound", bool(holds), float(slack), f"lower bound {lower:.6g} s, gap {gap:.3g} told, {true_gap:.3g} true"
    )
