"""Synthetic traffic: the prior that the bundled TimesFM checkpoint is trained on. No measured data go into it.

A series is a latent load, exp of a sum (or an inverse Box-Cox transform of it), times observation noise. The sum has a
daily shape by day type (working day, Saturday, Sunday, holiday), single holidays and holiday weeks, day-to-day level,
trends and level shifts, slow and fast coloured noise, and events; single users' sessions come on top. The noise is
multiplicative, partly autocorrelated, Poisson-like and heavy-tailed. Outages, saturation, counting and filled gaps
follow. Some series have no rhythm of days at all. Sizes of all parts are drawn by series over wide ranges, so that a
model has to read them from the history.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

DAY_SLOTS = np.array([144, 24, 48, 72, 96, 288])  # slots of 10 minutes, 1 hour, 30, 20, 15 and 5 minutes
DAY_SLOTS_SHARE = np.array([0.8, 0.02, 0.04, 0.04, 0.05, 0.05])
_HARMONICS = 12
_TYPES = 4  # working day, Saturday, Sunday, holiday
_NO_RHYTHM = 0.06
_SPIKE = 1.5  # mean height of a spike, in means of the load


@dataclass(frozen=True, eq=False)
class Traffic:
    """observed [B, L] and the latent load behind it [B, L]: what the observation is expected to be, but for saturation
    and gaps, by one who knows all that came before it."""

    observed: Floats
    latent: Floats


def synthetic_traffic(rng: np.random.Generator, series: int, slots: int) -> Traffic:
    """``series`` independent series of ``slots`` slots, each with mean 1 or so and never negative."""
    time = np.arange(slots, dtype=np.float64)[None, :]
    day_slots = rng.choice(DAY_SLOTS, p=DAY_SLOTS_SHARE, size=(series, 1))
    rhythm = _rhythm(rng, time, day_slots)
    without = rng.random((series, 1)) < _NO_RHYTHM
    rhythm = np.where(without, _waves(rng, time, series), rhythm)
    log_load = rhythm + _wander(rng, time, day_slots) + _events(rng, time, day_slots)
    latent = _inverse_box_cox(rng, log_load) * (1 + _bursts(rng, series, slots))
    latent /= latent.mean(1, keepdims=True) + 1e-9
    latent += _sessions(rng, latent, day_slots)
    latent /= latent.mean(1, keepdims=True) + 1e-9
    return _faults(rng, *_observe(rng, latent), day_slots)


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> Floats:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def _sometimes(rng: np.random.Generator, share: float, shape: tuple[int, ...]) -> Floats:
    return (rng.random(shape) < share).astype(np.float64)


# --- The rhythm of days ----------------------------------------------------------------------------------------------


def _rhythm(rng: np.random.Generator, time: Floats, day_slots: Floats) -> Floats:
    """Log load by slot of the day and type of the day, with holidays and each day's own level and deviation."""
    series = len(day_slots)
    start = rng.integers(0, 7 * day_slots)  # slot of the week, counted from Monday 4:00, that the series begins with
    slot = (time + start).astype(np.int64)
    day = slot // day_slots  # [B, L], from 0 on
    of_day = (slot % day_slots) / day_slots  # [0, 1)
    days = int(day.max()) + 1
    shapes = _shapes(rng, series)  # [B, types, grid]
    kind = _calendar(rng, series, days)  # [B, days]
    position = of_day * (shapes.shape[2] - 1)
    left = position.astype(np.int64)
    rows = np.arange(series)[:, None]
    kinds = kind[rows, day]
    part = position - left
    log_load = shapes[rows, kinds, left] * (1 - part) + shapes[rows, kinds, left + 1] * part
    # Every day has a level of its own, and a slow deviation from its type's shape that next week's same day shares
    # in part.
    level = rng.standard_t(4, (series, days)) * _log_uniform(rng, 0.005, 0.12, (series, 1))
    depth = _log_uniform(rng, 0.5, 2.0, (series, 1)) ** _sometimes(rng, 0.05, (series, days))
    own = rng.normal(size=(series, days, 4)) * _log_uniform(rng, 0.005, 0.08, (series, 1, 1))
    weekday = rng.normal(size=(series, 7, 4)) * _log_uniform(rng, 0.005, 0.08, (series, 1, 1))
    own = own + weekday[:, np.arange(days) % 7] * (kind < 3)[..., None]
    log_load = log_load * depth[rows, day] + level[rows, day] * np.sin(np.pi * of_day) ** 0.3
    for k in range(2):
        angle = 2 * np.pi * (k + 1) * of_day
        log_load = log_load + own[rows, day, 2 * k] * (np.cos(angle) - 1) + own[rows, day, 2 * k + 1] * np.sin(angle)
    return log_load


def _shapes(rng: np.random.Generator, series: int, grid: int = 289) -> Floats:
    """[B, types, grid]: log load over the day, from 4:00 to 4:00, of the four types of day."""
    t = np.linspace(0, 1, grid)[None, None, :]
    new = _day_shape(rng, (series, _TYPES), t)
    strength = rng.choice([0.0, 0.3, 0.6, 1.0], p=[0.2, 0.45, 0.25, 0.1], size=(series, 1))
    shapes = [new[:, 0]]
    for day_type in range(1, _TYPES):
        # The further from a working day, the more of a shape of its own, the later its morning and the other its level.
        base = shapes[-1] if day_type > 1 else shapes[0]
        mix = rng.beta(1.0, 1.5, (series, 1)) * strength
        late = np.abs(rng.normal(0, 0.05, (series, 1))) * strength
        moved = _shifted(base, late)
        level = rng.normal(-0.15, 0.4, (series, 1)) * strength
        depth = 1 + (_log_uniform(rng, 0.3, 1.5, (series, 1)) - 1) * strength
        shapes.append(((1 - mix) * moved + mix * new[:, day_type]) * depth + level)
    return np.stack(shapes, 1)


def _shifted(shape: Floats, by: Floats) -> Floats:
    """[B, grid] read ``by`` [B, 1] of a day earlier, held at the ends: the day's load comes later."""
    position = np.clip(np.linspace(0, 1, shape.shape[1])[None, :] - by, 0, 1) * (shape.shape[1] - 1)
    left = np.minimum(position.astype(np.int64), shape.shape[1] - 2)
    rows = np.arange(len(shape))[:, None]
    part = position - left
    return shape[rows, left] * (1 - part) + shape[rows, left + 1] * part


def _day_shape(rng: np.random.Generator, batch: tuple[int, int], t: Floats) -> Floats:
    """[*batch, grid]: awake hours, some bumps (commutes, lunch, evening) and a smooth random part, in the log."""
    size = (*batch, 1)
    hour = 1 / 24
    rise, fall = rng.normal(3.3, 1.2, size) * hour, rng.normal(19.5, 1.8, size) * hour
    awake = expit((t - rise) / (_log_uniform(rng, 0.15, 1.5, size) * hour))
    awake = awake * expit((fall - t) / (_log_uniform(rng, 0.2, 2.5, size) * hour))
    shape = awake * _log_uniform(rng, 0.15, 3.0, size) * np.where(rng.random(size) < 0.93, 1.0, -1.0)
    for _ in range(4):
        centre, width = rng.uniform(0, 1, size), _log_uniform(rng, 0.2, 3.0, size) * hour
        distance = np.abs(t - centre)
        distance = np.minimum(distance, 1 - distance)
        size_of_bump = rng.normal(0, 0.5, size) * _sometimes(rng, 0.55, size)
        shape = shape + size_of_bump * np.exp(-((distance / width) ** 2) / 2)
    k = np.arange(1, _HARMONICS + 1)
    weights = rng.normal(size=(*batch, 2, _HARMONICS)) * k ** -rng.uniform(1.0, 2.5, (*batch, 1, 1))
    waves = np.stack([np.cos(2 * np.pi * k[:, None] * t[0, 0]), np.sin(2 * np.pi * k[:, None] * t[0, 0])])
    smooth = np.einsum("btck,ckg->btg", weights, waves)
    return shape + smooth * _log_uniform(rng, 0.02, 0.6, size)


def _calendar(rng: np.random.Generator, series: int, days: int) -> NDArray[np.int64]:
    """[B, days]: 0 working day, 1 Saturday, 2 Sunday, 3 holiday; day 0 is a Monday."""
    plain = np.array([0, 0, 0, 0, 0, 1, 2])[np.arange(days) % 7]
    kind = np.tile(plain, (series, 1))
    index = np.arange(days)[None, :]
    for _ in range(3):
        length = rng.choice([1, 2, 4, 7, 12], p=[0.5, 0.15, 0.12, 0.11, 0.12], size=(series, 1))
        first = rng.integers(-3, days, (series, 1))
        there = (rng.random((series, 1)) < 0.22) & (index >= first) & (index < first + length)
        kind = np.where(there, rng.choice([2, 3], size=(series, 1)), kind)
    return kind


def _waves(rng: np.random.Generator, time: Floats, series: int) -> Floats:
    """Sums of sinusoids of any period: series that have no day."""
    total = 0.0
    size = (series, 1)
    for _ in range(3):
        period, phase = _log_uniform(rng, 8, 1500, size), rng.uniform(0, 2 * np.pi, size)
        total = total + rng.normal(0, 0.4, size) * np.sin(2 * np.pi * time / period + phase)
    return total


# --- Deviations -------------------------------------------------------------------------------------------------------


def _wander(rng: np.random.Generator, time: Floats, day_slots: Floats) -> Floats:
    """Trend, level shifts, and coloured noise of hours and of days."""
    series, slots = len(day_slots), time.shape[1]
    relative = time / (14 * day_slots)
    total = rng.normal(0, 0.15, (series, 1)) * relative
    for _ in range(2):
        size = rng.normal(0, 0.5, (series, 1)) * _sometimes(rng, 0.1, (series, 1))
        width = _log_uniform(rng, 0.2, 300, (series, 1))
        total = total + size * expit((time - rng.uniform(0, slots, (series, 1))) / width)
    hours = day_slots / 24
    slow = _coloured(rng, slots, _log_uniform(rng, 8, 150, (series, 1)) * hours, rng.uniform(1, 2, (series, 1)))
    fast = _coloured(rng, slots, _log_uniform(rng, 0.3, 6, (series, 1)) * hours, rng.uniform(0.6, 1.6, (series, 1)))
    return (
        total
        + slow * _log_uniform(rng, 0.01, 0.2, (series, 1))
        + fast * _log_uniform(rng, 0.005, 0.15, (series, 1)) * (1 + 2 * _sometimes(rng, 0.05, (series, 1)))
    )


def _coloured(rng: np.random.Generator, slots: int, timescale: Floats, slope: Floats) -> Floats:
    """[B, slots] Gaussian noise of unit variance, flat below 1 / (2 pi timescale) and falling as f^(-2 slope) above."""
    length = 1 << (2 * slots - 1).bit_length()  # twice as long as needed, since it is periodic
    frequency = np.fft.rfftfreq(length)[None, :]
    spectrum = (1 + (2 * np.pi * frequency * timescale) ** 2) ** (-slope / 2)
    spectrum /= np.sqrt((spectrum**2).mean(1, keepdims=True))
    white = rng.normal(size=(len(timescale), length)).astype(np.float32)
    return np.fft.irfft(np.fft.rfft(white) * spectrum, n=length)[:, :slots]


def _events(rng: np.random.Generator, time: Floats, day_slots: Floats) -> Floats:
    """Crowds: a rise, a plateau and a decay within hours; a few times negative (a closed road)."""
    series, slots = len(day_slots), time.shape[1]
    total = np.zeros((series, slots))
    prone = rng.random((series, 1)) < 0.45
    for _ in range(4):
        centre = rng.uniform(0, slots, (series, 1))
        width = _log_uniform(rng, 0.15, 5, (series, 1)) * day_slots / 24
        scale = rng.choice([0.6, 1.2], p=[0.75, 0.25], size=(series, 1))
        size = rng.exponential(scale) * rng.choice([1, -1], p=[0.85, 0.15], size=(series, 1))
        size = size * prone * _sometimes(rng, 0.6, (series, 1))
        steep = rng.choice([2, 4, 8], size=(series, 1))
        total += size * np.exp(-(np.minimum(np.abs(time - centre) / width, 4.0) ** steep))
    return total


def _bursts(rng: np.random.Generator, series: int, slots: int) -> Floats:
    """[B, slots], relative to the load: a few users' downloads, that begin at once and die away within slots."""
    rate = _log_uniform(rng, 3e-4, 3e-2, (series, 1)) * _sometimes(rng, 0.35, (series, 1))
    size = _log_uniform(rng, 0.1, 1.2, (series, 1)) * np.exp(rng.normal(0, 1.0, (series, slots)))
    starts = (rng.random((series, slots)) < rate) * size
    decay = np.exp(-1 / _log_uniform(rng, 0.3, 8, (series, 1)))
    total = starts.copy()
    for lag in range(1, 16):
        total[:, lag:] += starts[:, :-lag] * decay**lag
    return total


def _sessions(rng: np.random.Generator, load: Floats, day_slots: Floats) -> Floats:
    """[B, slots], in means of the load: transfers that begin at once, last for minutes to hours, and end at once.

    What a few users move does not shrink with the others' load at night, unlike a burst that is a share of the load.
    """
    series, slots = load.shape
    size = (series, 1)
    hour = day_slots / 24
    per_slot = _log_uniform(rng, 3e-4, 0.1, size) * _sometimes(rng, 0.6, size)
    length = _log_uniform(rng, 0.08, 1.5, size) * hour
    # Where sessions are many or long they are small, so that together they stay a part of the load.
    height = np.minimum(_log_uniform(rng, 0.1, 1.2, size), 0.4 / (per_slot * length + 1e-9))
    spread, of_size = rng.uniform(0.3, 1.1, size), rng.uniform(0.5, 1.2, size)
    follows = rng.uniform(0, 1, size)  # 0: as many at night as by day; 1: as many as the load says
    here = rng.random(load.shape) < per_slot * np.minimum(load, 4.0) ** follows
    row, first = np.nonzero(here)
    count = len(row)
    long = length[row, 0] * np.exp(spread[row, 0] * rng.normal(size=count))
    high = height[row, 0] * np.exp(of_size[row, 0] * np.minimum(rng.normal(size=count), 3.0))
    begin = first + rng.random(count)
    total = _boxes(row, begin, np.minimum(begin + long, slots - 1e-6), high, load.shape)
    return total * np.exp(rng.normal(size=load.shape) * rng.uniform(0.05, 0.4, size))


def _boxes(row: NDArray[np.int64], begin: Floats, end: Floats, height: Floats, shape: tuple[int, int]) -> Floats:
    """[B, slots]: the mean over each slot of the sum of boxes from ``begin`` to ``end``, in slots."""
    steps = np.zeros((shape[0], shape[1] + 2))
    for edge, sign in ((begin, 1.0), (end, -1.0)):
        slot = edge.astype(np.int64)
        part = slot + 1 - edge  # of its slot that lies behind an edge
        np.add.at(steps, (row, slot), sign * height * part)
        np.add.at(steps, (row, slot + 1), sign * height * (1 - part))
    return np.maximum(np.cumsum(steps, axis=1)[:, : shape[1]], 0.0)


def _inverse_box_cox(rng: np.random.Generator, log_load: Floats) -> Floats:
    """exp for most series; for some a power between it and a straight line; for some on top of a constant load."""
    series = len(log_load)
    centred = np.clip(log_load - log_load.mean(1, keepdims=True), -8, 4)
    power = np.where(rng.random((series, 1)) < 0.65, 1e-3, rng.uniform(0.05, 0.8, (series, 1)))
    load = np.maximum(1 + power * centred, 0.0) ** (1 / power)
    floor = load.mean(1, keepdims=True) * rng.exponential(0.4, (series, 1)) * _sometimes(rng, 0.25, (series, 1))
    return load + floor


# --- Observation ------------------------------------------------------------------------------------------------------


def _observe(rng: np.random.Generator, latent: Floats) -> tuple[Floats, Floats]:
    """Noise of mean 0: multiplicative, partly heavy-tailed and partly correlated; Poisson-like; and rare spikes.

    Returns the observation and the latent load with all of its noise that earlier slots tell of.
    """
    series, slots = latent.shape
    size = (series, 1)
    sigma = _log_uniform(rng, 0.004, 0.35, size)
    white = rng.normal(size=latent.shape)
    tail = rng.random(size) < 0.35
    # Student's t from the same normal: a common chi-square of 4 to 8 degrees of freedom a slot.
    freedom = rng.integers(4, 9, size)
    noise, heavy = white, np.flatnonzero(tail)
    chi_square = 2 * rng.standard_gamma(np.broadcast_to(freedom[heavy] / 2, (len(heavy), slots)))
    noise[heavy] *= np.sqrt((freedom[heavy] - 2) / chi_square)
    # Relative noise grows with the load in some series; an autoregression of the first order in many.
    noise = noise * sigma * np.clip(latent, 0.05, 8.0) ** (rng.uniform(0, 0.5, size) * _sometimes(rng, 0.5, size))
    memory = rng.uniform(-0.1, 0.6, size) * _sometimes(rng, 0.6, size)
    told = sum(memory**lag * np.pad(noise, ((0, 0), (lag, 0)))[:, :slots] for lag in range(1, 7))
    latent = latent * _unbiased_exp(told)
    observed = latent * _unbiased_exp(noise)
    observed = observed + np.sqrt(latent) * rng.normal(size=latent.shape) * _log_uniform(rng, 0.002, 0.25, size)
    rate = _log_uniform(rng, 3e-4, 6e-3, size) * _sometimes(rng, 0.2, size)
    spikes = (rng.random(latent.shape) < rate) * rng.exponential(_SPIKE, latent.shape)
    mean = latent.mean(1, keepdims=True)
    return np.maximum(observed + spikes * mean, 0.0), latent + rate * _SPIKE * mean


def _unbiased_exp(exponent: Floats) -> Floats:
    """exp, over its mean over the series."""
    factor = np.exp(np.clip(exponent, -4.0, 2.0))
    return factor / factor.mean(1, keepdims=True)


def _faults(rng: np.random.Generator, observed: Floats, latent: Floats, day_slots: Floats) -> Traffic:
    """Counting in whole numbers, saturation at the capacity, outages, and gaps filled with straight lines."""
    series, slots = observed.shape
    observed, latent = observed.copy(), latent.copy()
    for row in np.flatnonzero(rng.random(series) < 0.05):  # few units a slot
        unit = 1 / _log_uniform(rng, 2, 60, (1,))
        observed[row] = np.round(observed[row] / unit) * unit
    for row in np.flatnonzero(rng.random(series) < 0.05):
        capacity = np.quantile(observed[row], rng.uniform(0.8, 0.99))
        observed[row], latent[row] = np.minimum(observed[row], capacity), np.minimum(latent[row], capacity)
    for row in np.flatnonzero(rng.random(series) < 0.05):
        first = rng.integers(0, slots)
        part = slice(first, first + int(_log_uniform(rng, 1, 100, (1,))[0]))
        left = rng.choice([0.0, rng.uniform(0, 0.7)])
        observed[row, part] *= left
        latent[row, part] *= left
    for row in np.flatnonzero(rng.random(series) < 0.05):
        first = rng.integers(0, slots - 1)
        last = min(first + int(_log_uniform(rng, 2, 100, (1,))[0]), slots - 1)
        line = np.linspace(observed[row, first], observed[row, last], last - first + 1)
        observed[row, first : last + 1] = latent[row, first : last + 1] = line
    return Traffic(observed, latent)
