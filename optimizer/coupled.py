"""Cells that disturb each other: devices of other cells interfere on the same RB and slot.

A local search. It starts from the assignment that is good without that interference, and from the part of it in which
the cells take turns on the resources so that nobody disturbs anybody; improves each move by move under powers that are
right for the moves (``coupled_search``, ``coupled_power``); then goes on from random changes of the best. Interference
only hurts: a point of this problem is at least as fast without it. Hence the bound and the certificate of the problem
without it hold here too. They are the only bound given, loose where the cells do disturb each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.coupled_power import Floats, Network
from optimizer.coupled_search import Point, descend, finish, placed, polish, served_alone, shaken
from optimizer.instance import Instance, Solution

_ROUNDS = 300  # starts and random changes of the best point, at most
_ROUNDS_WITHOUT_SUCCESS = 20  # while no feasible point is known
_HOPELESS = 0.97  # of the best speed: a descent that ends below is not polished


@dataclass(frozen=True, eq=False)
class CoupledResult:
    """schedule int32 [C, F, M] (device or -1), power_w [C, F, M] and delay_s [N] (0 without data, NaN if not kept).

    Without a feasible point objective_s is None, nothing is scheduled, ``infeasible_because`` says why, and
    ``left_out`` names devices without which there would have been one (empty where it is not the coupling that forbids
    it). That none was found is no proof that there is none. lower_bound_s, bound and certificate: those of the same
    devices without interference between cells.
    """

    schedule: NDArray[np.int32]
    power_w: Floats
    delay_s: Floats
    objective_s: float | None
    lower_bound_s: float | None
    bound: str
    certificate: dict
    timed_out: bool
    iterations: int
    left_out: tuple[int, ...] = ()
    infeasible_because: tuple[str, ...] = ()


def solve_coupled(
    instance: Instance,
    keep: NDArray[np.bool_],
    solve_uncoupled: Callable[[Instance], Solution],
    gap: float,
    seconds_left: Callable[[], float],
    seed: int = 0,
) -> CoupledResult:
    """Make the largest delay of the devices ``keep`` [N] of a coupled instance small.

    solve_uncoupled is called once, with an instance that is not coupled and in which the others have no data; it must
    refuse nobody and mind the time itself. The length F of its frame becomes that of the result. The search ends within
    the relative gap of the bound, when seconds_left() reaches 0, or after a fixed number of rounds; it is random by
    ``seed``, and time is all that else decides about the result.
    """
    relaxed = solve_uncoupled(replace(instance, coupled=False, data_bits=np.where(keep, instance.data_bits, 0.0)))
    kept = np.flatnonzero(keep & (instance.data_bits > 0))
    if not relaxed.feasible or not kept.size:
        return _result(instance, keep, relaxed)
    network = _network(instance, kept, relaxed.schedule.shape[1])
    enough = 1 / (relaxed.lower_bound_s * (1 + gap)) if relaxed.lower_bound_s else np.inf
    starts = _starts(network, kept, relaxed, instance.p_max_w)
    rng = np.random.default_rng(seed)
    few, spent = _few_slots(network, starts, enough, seconds_left, rng)
    best, iterations, timed_out = _search(network, few + starts, enough, seconds_left, rng)
    iterations += spent
    if best.speed == 0:
        left_out = tuple(kept[~served_alone(network, best)].tolist())
        return _result(instance, keep, relaxed, left_out=left_out, timed_out=timed_out, iterations=iterations)
    best = finish(network, best, seconds_left)
    return _result(instance, keep, relaxed, (network, kept, best), timed_out=timed_out, iterations=iterations)


def _network(instance: Instance, kept: NDArray[np.int64], slots: int) -> Network:
    snr = instance.gain[kept] * instance.p_max_w / (instance.noise_w + instance.interference_w)
    return Network(
        snr=np.concatenate([snr, np.zeros_like(snr[:1])]),
        serving=instance.serving[kept],
        need_s=instance.data_bits[kept] * np.log(2) / instance.rb_bandwidth_hz,
        free=instance.free,
        sinr_min=instance.sinr_min,
        slots=slots,
    )


def _starts(network: Network, kept: NDArray[np.int64], relaxed: Solution, p_max_w: float):
    """[(assignment [C, K], split of the rates [C, K])]"""
    cells = network.shape[1]
    row = np.full(relaxed.delay_s.size + 1, -1)  # the last for the index -1
    row[kept] = np.arange(len(kept))
    owner = row[relaxed.schedule].reshape(cells, -1)
    split = network.nats(owner[None], relaxed.power_w.reshape(1, cells, -1) / p_max_w)[0]
    turn = np.arange(owner.shape[1]) % cells == np.arange(cells)[:, None]
    return [(owner, split), (np.where(turn, owner, -1), np.where(turn, split, 0.0))]


def _few_slots(network: Network, starts, enough: float, seconds_left, rng):
    """([start found in shorter frames, repeated over the slots], iterations); no start where there is none.

    The search is quickest in the fewest slots that can serve all, and goes on from there in four times as many, and so
    on. Each time it gets half of the time that is left.
    """
    _, cells, rbs = network.shape
    devices = np.bincount(network.serving, minlength=cells)
    slots = int(np.ceil(devices / np.maximum(network.free.sum(axis=1), 1)).max())
    found, iterations = [], 0
    while 2 * slots <= network.slots:
        half = seconds_left() / 2
        short = [_spread(start, rbs, slots) for start in found or starts]
        best, steps, _ = _search(
            replace(network, slots=slots), short, enough, lambda half=half: seconds_left() - half, rng
        )
        iterations += steps
        found = [(best.owner, best.split)] if best.speed else []
        slots *= 4
    return [_spread(start, rbs, network.slots) for start in found], iterations


def _spread(start, rbs: int, slots: int):
    """The start cut short to, or repeated over, that many slots."""
    column = np.arange(slots * rbs) % start[0].shape[1]
    return tuple(array[:, column] for array in start)


def _search(network: Network, starts, enough: float, seconds_left, rng) -> tuple[Point, int, bool]:
    """(best point, batches of moves and linear programmes, out of time)"""
    point, iterations = placed(network, *starts[0], tolerance=1e-7), 0
    best = point
    for turn in range(_ROUNDS):
        if seconds_left() <= 0:
            return best, iterations, True
        if best.speed >= enough or (best.speed == 0 and turn >= _ROUNDS_WITHOUT_SUCCESS):
            break
        if 0 < turn < len(starts):
            point = placed(network, *starts[turn], tolerance=1e-7)
        elif turn:
            point = shaken(network, best, rng)
        best = max(best, point, key=lambda p: p.rank)
        while True:
            before = point.speed
            point, batches = descend(network, point, rng, seconds_left)
            iterations += batches
            if point.speed > best.speed * _HOPELESS:
                point, solved = polish(network, point, seconds_left)
                iterations += solved
            best = max(best, point, key=lambda p: p.rank)
            if point.speed <= max(before * 1.002, best.speed * _HOPELESS):
                break
    return best, iterations, False


def _result(instance: Instance, keep, relaxed: Solution, found=None, left_out=(), **other) -> CoupledResult:
    schedule, power = np.full(relaxed.schedule.shape, -1, np.int32), np.zeros(relaxed.schedule.shape)
    delay, because = np.where(keep, 0.0, np.nan), tuple(relaxed.infeasible_because)
    if found:
        network, kept, point = found
        schedule = np.append(kept, -1)[point.owner].astype(np.int32).reshape(schedule.shape)
        power = point.power.reshape(power.shape) * instance.p_max_w
        nats = network.nats(point.owner[None], point.power[None])
        delay[kept] = network.need_s * network.slots / network.per_device(point.owner[None], nats)[0, :-1]
    elif left_out:
        because = tuple(
            f"device {i}: no assignment was found in which it reaches the SINR needed along with the devices of the "
            "other cells"
            for i in left_out
        )
    objective = None if because else float(np.nanmax(delay, initial=0.0))
    bound = {"lower_bound_s": relaxed.lower_bound_s, "bound": relaxed.bound, "certificate": relaxed.certificate}
    other = {"timed_out": False, "iterations": 0, **other}
    if because:
        delay = np.full(delay.shape, np.nan)
    return CoupledResult(
        schedule, power, delay, objective, **bound, left_out=left_out, infeasible_because=because, **other
    )
