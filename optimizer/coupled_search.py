"""Local search over assignments in cells that disturb each other.

A delay slightly out of reach is set as the target, and assignments are sought at which the least powers that meet it
(``coupled_power.least_powers``) come closer to what is allowed: moves that lower the sum of a high power of what the
devices send. Once all is allowed, the target is tightened. The measure has a slope where the largest delay has none,
and it holds for assignments that break beta or leave devices out, so that these are repaired by the same moves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.coupled_power import OUT_OF_REACH, Floats, Network, Owner, balanced, improved, least_powers

_EXPONENT = 16  # of the measure: the sum over devices and slots of power ** exponent
_AMBITION = 1.015  # speed sought over the speed reached
_BATCH = 48  # moves tried at once
_PATIENCE = 8  # batches without a better move that end a descent


@dataclass(frozen=True, eq=False)
class Point:
    """Assignment and powers [C, K], the split of the rates that they came from, and the speed reached, by formula.

    Speed 0: not feasible; ``unmet`` is then the number of devices whose resources can't hold them at any rate.
    """

    owner: Owner
    power: Floats
    split: Floats
    speed: float
    unmet: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        return self.speed, -self.unmet


def placed(network: Network, owner: Owner, split: Floats, guess: float = 0.0, tolerance: float = 1e-4) -> Point:
    """The point of an assignment under the best powers for a split; ``guess`` at its speed."""
    _, power = balanced(network, owner, split, tolerance, guess)
    speed = float(network.speed(owner[None], power[None])[0])
    unmet = 0 if speed else int((_floor_loads(network, owner) > 1).sum())
    return Point(owner, power, split, speed, unmet)


def polish(
    network: Network, point: Point, seconds_left: Callable[[], float], steps: int = 12, tolerance: float = 1e-3
) -> tuple[Point, int]:
    """(the point with its powers at a local optimum, linear programmes solved)"""
    power, solved = improved(network, point.owner, point.power, seconds_left, steps, tolerance)
    speed = float(network.speed(point.owner[None], power[None])[0])
    return Point(point.owner, power, network.nats(point.owner[None], power[None])[0], speed), solved


def finish(network: Network, point: Point, seconds_left: Callable[[], float]) -> Point:
    """The point with its powers as good as they get."""
    point, _ = polish(network, point, seconds_left, steps=60, tolerance=1e-7)
    if seconds_left() <= 0:
        return point
    return max(point, placed(network, point.owner, point.split, point.speed, 1e-12), key=lambda p: p.rank)


def served_alone(network: Network, point: Point) -> NDArray[np.bool_]:
    """[N]: devices that can stay in an assignment that is not feasible, when those that ask too much leave in turn."""
    owner, stays = point.owner.copy(), np.ones(len(network.need_s), bool)
    while (loads := np.where(stays, _floor_loads(network, owner), 0.0)).max() > 1:
        worst = int(loads.argmax())
        stays[worst] = False
        owner[owner == worst] = -1
    return stays


def descend(
    network: Network, start: Point, rng: np.random.Generator, seconds_left: Callable[[], float]
) -> tuple[Point, int]:
    """(the best point on the way down from ``start``, batches of moves tried)"""
    best, failures, batches = start, 0, 0
    owner, split = start.owner, start.split
    power, loads = _aim(network, owner, split, best.speed)
    while failures < _PATIENCE and seconds_left() > 0:
        owners, splits = _moves(network, owner, power, split, loads.max(axis=1), rng)
        powers = least_powers(network, owners, splits, np.full(len(owners), best.speed * _AMBITION))
        every_load = network.loads(owners, powers)
        measures = _measure(every_load)
        batches += 1
        least = int(measures.argmin())
        if measures[least] >= _measure(loads[None])[0] * (1 - 1e-4):
            failures += 1
            continue
        failures = 0
        owner, power, split, loads = owners[least], powers[least], splits[least], every_load[least]
        if loads.max() <= 1:
            reached = placed(network, owner, split, best.speed * _AMBITION)
            best = max(best, reached, key=lambda p: p.rank)
            power, loads = _aim(network, owner, split, best.speed)
    if best.speed == 0 or seconds_left() > 0:
        best = max(best, placed(network, owner, split, best.speed), key=lambda p: p.rank)
    return best, batches


def shaken(network: Network, point: Point, rng: np.random.Generator) -> Point:
    """A point a few random moves away."""
    owner, split, weight = point.owner, point.split, np.ones(len(network.need_s))
    for _ in range(int(rng.integers(2, 7))):
        owners, splits = _moves(network, owner, point.power, split, weight, rng)
        owner, split = owners[0], splits[0]
    return placed(network, owner, split, point.speed)


def _aim(network: Network, owner: Owner, split: Floats, speed: float) -> tuple[Floats, Floats]:
    """(least powers [C, K], loads [N, F]) at the target just beyond ``speed``."""
    power = least_powers(network, owner[None], split[None], np.array([speed * _AMBITION]))
    return power[0], network.loads(owner[None], power)[0]


def _floor_loads(network: Network, owner: Owner) -> Floats:
    """[N]: largest power in a slot at which each device just reaches beta on its resources."""
    power = least_powers(network, owner[None], (owner >= 0)[None] * 1.0, np.zeros(1))
    return network.loads(owner[None], power)[0].max(axis=1)


def _measure(loads: Floats) -> Floats:
    return (np.minimum(loads, OUT_OF_REACH) ** _EXPONENT).sum(axis=(1, 2))


def _moves(network, owner, power, split, weight, rng):
    """(owners, splits) [B, C, K]: one or two random moves each, most of them around devices of large ``weight``."""
    owners, splits = np.repeat(owner[None], _BATCH, axis=0), np.repeat(split[None], _BATCH, axis=0)
    power = np.minimum(power, 1.0)
    disturbance = network.disturbance(owner[None], power[None])[0][0]
    held = np.maximum(network.per_device(owner[None], (owner >= 0)[None] * 1.0)[0], 1.0)
    typical = np.clip(network.per_device(owner[None], power[None])[0] / held, 0.01, 1.0)
    chance = np.minimum(weight / weight.max(), 1.0) ** 6 + 0.02
    pressed = rng.choice(len(weight), _BATCH, p=chance / chance.sum())
    for rows in (np.arange(_BATCH), np.flatnonzero(rng.random(_BATCH) < 0.4)):
        cell, resource, device, swapped = _pick(network, owners[rows], pressed[rows], rng)
        former = owners[rows, cell, resource]
        swap = swapped >= 0
        writes = (slice(None), resource, np.where(swap, owners[rows, cell, swapped], device)), (swap, swapped, former)
        for which, at, new in writes:
            row, c, k = rows[which], cell[which], at[which]
            rb = k % network.shape[2]
            new = np.where(network.free[c, rb] & (network.snr[new[which], c, rb] > 0), new[which], -1)
            owners[row, c, k] = new
            # What a device usually sends on a resource, or far less: how it splits its rate is searched for as well.
            sent = typical[new] * np.where(rng.random(len(row)) < 0.5, 1.0, 10 ** rng.uniform(-3, 0, len(row)))
            splits[row, c, k] = np.log1p(network.snr[new, c, rb] * sent / disturbance[c, k])
    return owners, splits


def _pick(network, owners, pressed, rng):
    """(cell, resource, device or -1, resource to swap with or -1), one move for each row of ``owners`` [B, C, K]."""
    rows, cells = np.arange(len(owners)), network.shape[1]
    home = network.serving[pressed]
    other = (home + rng.integers(1, max(cells, 2), len(rows))) % cells
    own = _any_of(owners[rows, home] == pressed[:, None], rng)
    # The pressed device gains a resource, swaps one, or splits its rate anew; on one of its resources another cell's
    # device is silenced or replaced, or swaps it away; anything in another cell.
    gain, swap, resplit, _, away, elsewhere = range(6)
    kind = rng.choice(6, len(rows), p=[0.2, 0.25, 0.1, 0.2, 0.15, 0.1])
    cell = np.where(kind <= resplit, home, other)
    anywhere = _any_of(network.free_resources()[cell], rng)
    resource = np.where((kind == gain) | (kind == elsewhere), anywhere, own)
    mate = _any_of(network.serving == cell[:, None], rng)
    silent = (rng.random(len(rows)) < 0.3) | (network.serving[mate] != cell)
    device = np.where((kind == gain) | (kind == resplit), pressed, np.where(silent, -1, mate))
    swapped = np.where((kind == swap) | (kind == away), anywhere, -1)
    return cell, resource, device, swapped


def _any_of(mask, rng):
    """[B]: a random column of those set in each row of mask [B, n]; any column where none is."""
    return (rng.random(mask.shape) + mask).argmax(axis=1)
