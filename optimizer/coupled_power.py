"""Powers in cells that disturb each other, for given assignments of devices to resources.

With a target SINR on every used resource, the least powers are the fixed point of a standard interference function
(Yates, IEEE JSAC 13(7), 1995). It is linear, and resources don't disturb each other, so one small linear system per
resource gives it, and bisection gives the least largest delay when every device splits its rate over its resources in
given proportions (``balanced``). The best proportions are another matter: the least-power split, inverse water-filling,
sends less on one resource as another gets better, hence is not monotone and no standard function. Sequential linear
programming (``improved``) ends in a local optimum over powers and proportions together; where every device holds one
resource there is nothing to split, and ``balanced`` alone is globally optimal.

Arrays of many assignments at once have a leading axis [B]. A resource k of 0..K-1, K = F M, is RB k % M of slot k // M.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

Floats = NDArray[np.float64]
Owner = NDArray[np.int64]  # [B, C, K]: device that sends to cell c on resource k, or -1

OUT_OF_REACH = 1e3  # stands for a power (in units of p_max) where no power will do


@dataclass(frozen=True, eq=False)
class Network:
    """N devices with data in C cells over F slots of M RBs, in units of the order of one: power in p_max, rate in nats.

    snr [N + 1, C, M]: power received at each base station over its noise, at full power; 0 in row N, which the owner -1
    selects. serving [N]. need_s [N]: data in nats over the RB bandwidth, so that delay = need_s F / (nats of all slots
    together). free [C, M].
    """

    snr: Floats
    serving: NDArray[np.int64]
    need_s: Floats
    free: NDArray[np.bool_]
    sinr_min: float
    slots: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, C, M)"""
        return len(self.need_s), *self.free.shape

    def free_resources(self) -> NDArray[np.bool_]:
        """[C, K]"""
        return np.tile(self.free, self.slots)

    def received(self, owner: Owner) -> Floats:
        """[B, K, C, C]: SNR at full power of the device of each cell (axis 2) at each base station (axis 3)."""
        _, cells, rbs = self.shape
        rb = np.arange(owner.shape[2]) % rbs
        return self.snr[owner.swapaxes(1, 2)[..., None], np.arange(cells), rb[:, None, None]]

    def disturbance(self, owner: Owner, power: Floats) -> tuple[Floats, Floats]:
        """(noise and interference over noise, power received over noise), both [B, C, K]."""
        arrives = self.received(owner) * power.swapaxes(1, 2)[..., None]
        own = np.einsum("bkcc->bck", arrives)
        return 1 + arrives.sum(axis=2).swapaxes(1, 2) - own, own

    def nats(self, owner: Owner, power: Floats) -> Floats:
        """[B, C, K]"""
        disturbance, own = self.disturbance(owner, power)
        return np.log1p(own / disturbance)

    def per_device(self, owner: Owner, values: Floats) -> Floats:
        """[B, N + 1]: sums of values [B, C, K] over the resources of each device; unused ones are column N."""
        return self._sums(owner, values, 1)[..., 0]

    def slot_sums(self, owner: Owner, values: Floats) -> Floats:
        """[B, N, F]: the same slot by slot."""
        return self._sums(owner, values, self.slots)[:, :-1]

    def _sums(self, owner: Owner, values: Floats, slots: int) -> Floats:
        devices, batch = len(self.need_s) + 1, len(owner)
        slot = np.arange(owner.shape[2]) * slots // owner.shape[2]
        at = ((owner % devices) + devices * np.arange(batch)[:, None, None]) * slots + slot
        return np.bincount(at.ravel(), values.ravel(), batch * devices * slots).reshape(batch, devices, slots)

    def loads(self, owner: Owner, power: Floats) -> Floats:
        """[B, N, F]: power of each device in each slot, allowed up to 1; ``OUT_OF_REACH`` if it holds nothing."""
        held = self.per_device(owner, (owner >= 0).astype(float))[:, :-1]
        return np.where(held[..., None] > 0, self.slot_sums(owner, power), OUT_OF_REACH)

    def speed(self, owner: Owner, power: Floats) -> Floats:
        """[B]: 1 / (largest delay in seconds) by formula; 0 where a constraint is broken or a device left out."""
        used, (disturbance, own) = owner >= 0, self.disturbance(owner, power)
        sinr = own / disturbance
        weak = used & ((sinr < self.sinr_min * (1 - 1e-9)) | (power <= 0))
        allowed = ~weak.any(axis=(1, 2)) & (self.loads(owner, power).max(axis=(1, 2)) <= 1 + 1e-9)
        rate = self.per_device(owner, np.log1p(sinr))[:, :-1]
        return np.where(allowed, (rate / self.need_s).min(axis=1) / self.slots, 0.0)


def least_powers(network: Network, owner: Owner, split: Floats, speed: Floats) -> Floats:
    """Least powers [B, C, K] at which no delay exceeds 1 / speed [B] and no SINR is below beta.

    split [B, C, K]: rates to whose proportions each device keeps. Where a resource cannot hold its devices whatever
    their powers, these are ``OUT_OF_REACH``.
    """
    used, cells = owner >= 0, np.arange(owner.shape[1])
    total = np.take_along_axis(network.per_device(owner, split), owner.reshape(len(owner), -1), axis=1)
    share = split / np.where(used, np.maximum(total.reshape(owner.shape), 1e-300), 1.0)
    nats = share * np.append(network.need_s, 0.0)[owner] * network.slots * speed[:, None, None]
    target = np.where(used, np.maximum(np.expm1(np.minimum(nats, 50.0)), network.sinr_min), 0.0).swapaxes(1, 2)
    received = network.received(owner)
    own = np.einsum("bkcc->bkc", received)
    scale = np.minimum(target / np.maximum(own, 1e-12), 1e6)  # power needed if nobody else sent
    system = -received.swapaxes(2, 3) * scale[..., None]
    system[..., cells, cells] = 1.0
    try:
        power = np.linalg.solve(system, scale[..., None])[..., 0]
    except np.linalg.LinAlgError:  # one of them exactly on the edge of what is feasible: beyond it
        system[..., cells, cells] = 1.0 - 1e-9
        power = np.linalg.solve(system, scale[..., None])[..., 0]
    # The fixed point exists (spectral radius below 1) if and only if the solution is not negative.
    power = np.where((power < 0).any(axis=2, keepdims=True), OUT_OF_REACH, np.minimum(power, OUT_OF_REACH))
    return np.where(used, power.swapaxes(1, 2), 0.0)


def balanced(
    network: Network, owner: Owner, split: Floats, tolerance: float = 1e-4, guess: float = 0.0
) -> tuple[float, Floats]:
    """(speed, powers [C, K]) of the least largest delay of an assignment [C, K] under a split; 0 if infeasible.

    guess: a speed to begin at; 0 if none is known.
    """
    owner, split = owner[None], split[None]
    best = least_powers(network, owner, split, np.zeros(1))
    if network.loads(owner, best).max() > 1:
        return 0.0, np.zeros(owner.shape[1:])  # beta is out of reach at any rate
    alone = np.log1p(network.snr[np.arange(len(network.need_s)), network.serving]).sum(axis=1) * network.slots
    limit = float((alone / network.need_s).min() / network.slots)  # all resources at full power each
    low, high, factor, middle = 0.0, np.inf, 1.02, min(guess, limit) or limit * 1e-2
    while min(high, limit) - low > tolerance * low and high > 1e-30:
        power = least_powers(network, owner, split, np.array([middle]))
        if network.loads(owner, power).max() <= 1:
            low, best = middle, power
        else:
            high = middle
        factor *= factor
        if low > 0 and high < np.inf:
            middle = (low + high) / 2 if high < 4 * low else (low * high) ** 0.5
        else:
            middle = high / factor if low == 0 else min(low * factor, limit)
    return low, best[0]


def improved(
    network: Network, owner: Owner, power: Floats, seconds_left: Callable[[], float], steps: int, tolerance: float
) -> tuple[Floats, int]:
    """(powers, linear programmes solved): from feasible powers [C, K] on to a local optimum of the largest delay."""
    speed, radius, solved = network.speed(owner[None], power[None])[0], 1.0, 0
    while solved < steps and seconds_left() > 0 and radius > 1e-4:
        moved = _step(network, owner, power, speed, radius, seconds_left())
        solved += 1
        if moved is None:
            break
        found = network.speed(owner[None], moved[None])[0]
        if found <= speed:
            radius /= 4
            continue
        gain, power, speed = found / speed - 1, moved, found
        if gain < tolerance:
            break
        radius = min(radius * 1.5, 8.0)
    return power, solved


def _step(
    network: Network, owner: Owner, power: Floats, speed: float, radius: float, time_limit_s: float
) -> Floats | None:
    """One linear programme in d, the powers becoming (1 + d) times as large; all but the rates' slopes is exact.

    None where time ran out.
    """
    cells, resources = np.nonzero(owner >= 0)
    at = np.full(owner.shape, -1)
    at[cells, resources] = np.arange(len(cells))
    devices, size, rows = owner[cells, resources], len(cells), network.shape[0]
    arrives = network.received(owner[None])[0] * power.T[:, :, None]
    disturbance, own = (a[0] for a in network.disturbance(owner[None], power[None]))
    sinr = (own / disturbance)[cells, resources]
    # Every pair of a victim and a device that disturbs it: on the same resource, in another cell.
    victim, other = np.nonzero((at[:, resources].T >= 0) & (np.arange(len(owner)) != cells[:, None]))
    sender, spoiled = at[other, resources[victim]], resources[victim]
    hurt = arrives[spoiled, other, cells[victim]] / disturbance[cells[victim], spoiled]
    wanted = network.need_s * speed * network.slots
    slope = sinr / (1 + sinr) / wanted[devices]
    entries = (
        np.concatenate([-slope, slope[victim] * hurt, np.ones(rows)]),
        (
            np.concatenate([devices, devices[victim], np.arange(rows)]),
            np.concatenate([np.arange(size), sender, np.full(rows, size)]),
        ),
    )
    rate = np.bincount(devices, np.log1p(sinr), rows) / wanted
    slot = devices * network.slots + resources // network.shape[2]
    blocks = [
        csr_array(entries, (rows, size + 1)),
        csr_array((power[cells, resources], (slot, np.arange(size))), (rows * network.slots, size + 1)),
    ]
    limits = [rate, np.maximum(1 - network.loads(owner[None], power[None]).ravel(), 0.0)]
    if network.sinr_min > 0:
        ratio = network.sinr_min / sinr
        entries = (
            np.concatenate([-np.ones(size), ratio[victim] * hurt]),
            (np.concatenate([np.arange(size), victim]), np.concatenate([np.arange(size), sender])),
        )
        blocks.append(csr_array(entries, (size, size + 1)))
        limits.append(np.maximum(1 - ratio, 0.0))
    bounds = np.tile([-radius / (1 + radius), radius], (size + 1, 1))
    bounds[-1] = 0.0, np.inf  # the factor by which the speed grows
    cost = np.append(np.zeros(size), -1.0)
    options = {"time_limit": max(time_limit_s, 0.01)}
    answer = linprog(cost, vstack(blocks).tocsr(), np.concatenate(limits), bounds=bounds, options=options)
    if answer.status == 1:
        return None
    if answer.x is None:
        raise RuntimeError(f"power step: HiGHS ended without an answer: {answer.message}")
    result = power.copy()
    result[cells, resources] *= 1 + answer.x[:-1]
    return result
