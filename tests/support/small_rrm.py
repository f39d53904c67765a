"""Small RRM instances, and a second way to solve them: by trying everything."""

import itertools

import numpy as np

from optimizer.instance import Instance


def make_instance(gain, data_bits, **other) -> Instance:
    """Instance of one cell from gain [N, M] over a noise of 1 W, p_max 1 W: gains are SNRs."""
    gain = np.asarray(gain, float)
    n, m = gain.shape
    values = dict(
        gain=gain[:, None, :],
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


def delays(instance: Instance, owner) -> np.ndarray:
    """Delay of each device of a one-cell instance with even power; inf where beta is broken or no RB is held."""
    result = []
    for i, bits in enumerate(instance.data_bits):
        held = [j for j, o in enumerate(owner) if o == i]
        power = instance.p_max_w / max(len(held), 1)
        noise = [instance.noise_w + instance.interference_w[0, j] for j in held]
        sinr = [instance.gain[i, 0, j] * power / n for j, n in zip(held, noise, strict=True)]
        rate = sum(instance.rb_bandwidth_hz * np.log2(1 + s) for s in sinr)
        ok = held and min(sinr) >= instance.sinr_min and rate > 0
        result.append(bits / rate if ok else 0.0 if bits == 0 and not held else np.inf)
    return np.array(result)


def brute_force_s(instance: Instance, devices=None) -> float:
    """Least largest delay over all assignments of the free RBs of a one-cell instance to ``devices`` (default all)."""
    devices = range(len(instance.data_bits)) if devices is None else devices
    choices = [(-1, *devices) if free else (-1,) for free in instance.free[0]]
    return min(delays(instance, owner)[list(devices)].max() for owner in itertools.product(*choices))
