"""Random numbers with random access: known answers of SplitMix64, distributions, independence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.noise import heavy, normal, smooth, stream, uniform

MANY = np.arange(200_000)


def test_the_mixing_is_splitmix64():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]  # seed 1234567
    expected = [((value >> 11) + 0.5) / 2**53 for value in published]
    assert uniform(np.uint64(1234567), np.arange(1, 5)).tolist() == expected


@given(st.integers(-(2**62), 2**62), st.integers(0, 50), st.integers(0, 50))
def test_any_part_equals_the_same_part_of_more(start, skip, length):
    name, index = stream(1, "x"), np.arange(start, start + 100)
    for draw in (uniform, normal, heavy):
        assert np.array_equal(draw(name, index)[skip : skip + length], draw(name, index[skip : skip + length]))


def test_streams_differ_by_every_part_of_their_name():
    names = {int(stream(*parts)) for parts in ((1, "a"), (2, "a"), (1, "b"), (1, "a", "b"), ("1", "a"), (1, "ab"))}
    assert len(names) == 6
    assert abs(np.corrcoef(normal(stream(1, "a"), MANY), normal(stream(1, "b"), MANY))[0, 1]) < 0.01


def test_uniform_fills_the_open_interval_evenly():
    values = uniform(stream(3, "u"), MANY)
    assert 0 < values.min() and values.max() < 1
    counts = np.histogram(values, 20, (0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 44  # chi-square of 19 degrees of freedom, 0.1% level


@pytest.mark.parametrize("draw", [normal, heavy])
def test_moments(draw):
    values = draw(stream(4, "n"), MANY)
    assert values.mean() == pytest.approx(0, abs=0.02) and values.var() == pytest.approx(1, abs=0.05)
    tail = np.mean(np.abs(values) > 4)
    assert (tail > 0.002) if draw is heavy else (tail < 0.0003)  # t4: 0.0048, normal: 0.00006
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02


def test_smooth_has_unit_variance_everywhere_and_the_period_asked_for():
    t = np.arange(0, 3_600_000, 60)
    values = smooth(stream(5, "s"), t, 3600)
    for phase in (0, 15, 30, 45):  # on the knots and between them
        assert values[phase::60].var() == pytest.approx(1, abs=0.15)
    assert np.corrcoef(values[:-5], values[5:])[0, 1] > 0.97
    assert abs(np.corrcoef(values[:-150], values[150:])[0, 1]) < 0.12
