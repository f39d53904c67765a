"""Random numbers with random access: the n-th number of a stream is a hash of (stream, n).

Any window of a generated series therefore equals the same part of a longer one, at no cost for what lies before it.
The mixing function is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stream(*parts: int | str) -> np.uint64:
    """The stream named by ``parts``; different names give independent streams."""
    return np.uint64(int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little"))


def uniform(name: np.uint64, index: np.ndarray) -> np.ndarray:
    """Uniform numbers in (0, 1), float64, for integer indices of any sign."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        z = name + np.asarray(index, np.int64).astype(np.uint64) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(name: np.uint64, index: np.ndarray) -> np.ndarray:
    """Standard normal numbers (Box-Muller)."""
    index = np.asarray(index, np.int64)
    return np.sqrt(-2 * np.log(uniform(name, 2 * index))) * np.cos(2 * np.pi * uniform(name, 2 * index + 1))


def heavy(name: np.uint64, index: np.ndarray) -> np.ndarray:
    """Heavy-tailed numbers: Student's t with 4 degrees of freedom, scaled to unit variance."""
    index = np.asarray(index, np.int64)
    chi_square = -2 * np.log(uniform(name, 4 * index + 2) * uniform(name, 4 * index + 3))
    return normal(name, 2 * index) * np.sqrt(2 / chi_square)


def smooth(name: np.uint64, t_s: np.ndarray, period_s: float) -> np.ndarray:
    """A smooth standard normal process in time; values more than two periods apart are independent."""
    position = np.asarray(t_s, np.float64) / period_s
    knot = np.floor(position)
    weight = 0.5 - 0.5 * np.cos(np.pi * (position - knot))
    knot = knot.astype(np.int64)
    mixed = (1 - weight) * normal(name, knot) + weight * normal(name, knot + 1)
    return mixed / np.sqrt((1 - weight) ** 2 + weight**2)
