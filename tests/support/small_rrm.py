"""Small RRM instances, and a second way to solve them: by trying everything."""

import itertools

import numpy as np

from optimizer.instance import Instance


def make_instance(snr, data_bits, **other) -> Instance:
    """Instance of one cell from the SNRs [N, M] of its devices: gains over a noise of 1 W, with p_max 1 W."""
    snr = np.asarray(snr, float)
    n, m = snr.shape
    values = dict(
        gain=snr[:, None, :],
        serving=np.zeros(n, int),
        data_bits=np.asarray(data_bits, float),
        free=np.ones((1, m), bool),
        interference_w=np.zeros((1, m)),
        rb_bandwidth_hz=180e3,
        slot_s=1e-3,
        noise_w=1.0,
        p_max_w=1.0,
        sinr_min=0.5,
    )
    return Instance(**(values | other))


def random_instance(seed: int, devices: int, rbs: int, **other) -> Instance:
    rng = np.random.default_rng(seed)
    mean = 10 ** rng.uniform(0.5, 4, (devices, 1))
    return make_instance(mean * rng.exponential(1, (devices, rbs)), rng.uniform(1e5, 2e6, devices), **other)


def fastest(snr, sinr_min: float) -> float:
    """Largest sum of log2(1 + snr q) with sum of q at most 1 and SINR >= sinr_min on every RB, by bisection on the
    water level; -inf where not all reach it."""
    if sum(sinr_min / s for s in snr) > 1 + 1e-12:
        return -np.inf

    def powers(level):
        return [max(sinr_min / s, level - 1 / s, 0.0) for s in snr]

    low, high = 0.0, 1 + 1 / min(snr)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(powers(middle)) < 1 else (low, middle)
    return sum(np.log2(1 + s * q) for s, q in zip(snr, powers(low), strict=True))


def delays(instance: Instance, schedule, even: bool = False) -> np.ndarray:
    """Least delay of each device of a one-cell instance under a schedule [F, M] (device or -1), with the best power in
    each slot, or evenly spread power; inf where beta is broken or no RB is held, 0 where there is nothing to send."""
    schedule, result = np.atleast_2d(schedule), []
    for i, bits in enumerate(instance.data_bits):
        rate = sum(_rate(instance, i, np.flatnonzero(slot == i), even) for slot in schedule) / len(schedule)
        result.append(bits / rate if rate > 0 else 0.0 if bits == 0 and not (schedule == i).any() else np.inf)
    return np.array(result)


def brute_force_s(instance: Instance, devices=None, frame: int = 1, even: bool = False) -> float:
    """Least largest delay over all schedules of the free RBs of a one-cell instance for ``devices`` (default all)."""
    devices = list(range(len(instance.data_bits)) if devices is None else devices)
    free = np.flatnonzero(instance.free[0])
    if not len(free):
        return np.inf if devices else 0.0
    alone = np.array(
        [[_rate(instance, i, free[list(_bits(held))], even) for held in range(2 ** len(free))] for i in devices]
    )
    owners = np.array(list(itertools.product(range(-1, len(devices)), repeat=len(free))), int)
    weights = 2 ** np.arange(len(free))
    slots = np.array([alone[d, ((owners == d) * weights).sum(axis=1)] for d in range(len(devices))]).T
    best = np.inf
    for chosen in itertools.combinations_with_replacement(range(len(slots)), frame):  # the order of slots is nothing
        rate = slots[list(chosen)].sum(axis=0) / frame
        if (rate > 0).all():
            best = min(best, (instance.data_bits[devices] / rate).max())
    return best


def _bits(number: int):
    return (bit for bit in range(number.bit_length()) if number >> bit & 1)


def _rate(instance: Instance, device: int, rbs, even: bool) -> float:
    """bit/s of a device on all of ``rbs``; -inf where it can't reach beta on all of them, 0 on none."""
    noise = instance.noise_w + instance.interference_w[0, rbs]
    snr = instance.gain[device, 0, rbs] * instance.p_max_w / noise
    if not len(rbs):
        return 0.0
    if even:
        sinr = snr / len(rbs)
        return np.log2(1 + sinr).sum() * instance.rb_bandwidth_hz if (sinr >= instance.sinr_min).all() else -np.inf
    return fastest(snr, instance.sinr_min) * instance.rb_bandwidth_hz
