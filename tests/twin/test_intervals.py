"""Interval arithmetic against sets of seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.intervals import intersect, length_s, normalise, subtract, union

intervals = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(0, 15)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=8
)


def seconds(parts) -> set[int]:
    return {second for start, end in parts for second in range(start, end)}


def assert_normal(parts) -> None:
    assert all(start < end for start, end in parts)
    assert all(a[1] < b[0] for a, b in zip(parts, parts[1:], strict=False))


@given(intervals, intervals)
def test_agrees_with_sets(a, b):
    for function, expected in (
        (union, seconds(a) | seconds(b)),
        (subtract, seconds(a) - seconds(b)),
        (intersect, seconds(a) & seconds(b)),
    ):
        assert_normal(function(a, b))
        assert seconds(function(a, b)) == expected
    assert_normal(normalise(a))
    assert seconds(normalise(a)) == seconds(a)
    assert length_s(a) == len(seconds(a))


@given(intervals)
def test_equal_sets_have_one_form(a):
    split = [(s, s + 1) for s in seconds(a)]
    assert normalise(split) == normalise(a) == normalise(reversed(a))


def test_known_answers():
    assert normalise([(5, 7), (1, 3), (3, 5), (9, 9)]) == ((1, 7),)
    assert subtract([(0, 10)], [(2, 4), (6, 20)]) == ((0, 2), (4, 6))
    assert intersect([(0, 10), (20, 30)], [(5, 25)]) == ((5, 10), (20, 25))


def test_a_reversed_interval_is_refused():
    with pytest.raises(ValueError, match=r"\[7, 3\) is reversed"):
        normalise([(7, 3)])
