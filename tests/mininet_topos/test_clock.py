"""Clocks (twin.clock)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.clock import EmulatedClock, SystemClock

SPEEDS = st.floats(1e-3, 1e5)


class Wall:
    def __init__(self, now_s):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


def test_starts_at_its_start_and_runs_at_its_speed():
    wall = Wall(1000.0)
    clock = EmulatedClock(5_000_000.0, 60.0, 1000.0, wall)
    assert clock.now_s() == 5_000_000.0
    wall.now_s = 1010.0
    assert clock.now_s() == 5_000_600.0
    wall.now_s = 990.0  # before the start: the past, at the same speed
    assert clock.now_s() == 4_999_400.0


@given(SPEEDS, st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_waiting_as_long_as_it_says_reaches_the_moment(speed, elapsed_s, ahead_s):
    wall = Wall(elapsed_s)
    clock = EmulatedClock(0.0, speed, 0.0, wall)
    target_s = clock.now_s() + ahead_s
    wall.now_s += clock.wall_until_s(target_s)
    assert clock.now_s() == pytest.approx(target_s, abs=1e-3 * max(1.0, speed))


def test_the_past_needs_no_waiting():
    assert EmulatedClock(0.0, 1.0, 0.0, Wall(100.0)).wall_until_s(50.0) == 0.0


def test_two_processes_with_the_same_numbers_agree():
    wall = Wall(1234.5)
    assert EmulatedClock(7.0, 3.0, 1000.0, wall).now_s() == EmulatedClock(7.0, 3.0, 1000.0, wall).now_s() == 710.5


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_speed_must_be_above_0(speed):
    with pytest.raises(ValueError, match="speed"):
        EmulatedClock(0.0, speed, 0.0)


def test_system_clock_is_this_machines():
    before = time.time()
    assert before <= SystemClock().now_s() <= time.time()
