"""Local time and kinds of day."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.local_time import SATURDAY, SUNDAY, WORKING, by_hour, kind_of_day, local_time

ROME = ZoneInfo("Europe/Rome")

HOLIDAYS_2014 = ["01-01", "01-06", "04-20", "04-21", "04-25", "05-01", "06-02", "08-15", "11-01", "12-07", "12-08"]


@pytest.mark.parametrize("day", [*HOLIDAYS_2014, "12-25", "12-26"])
def test_holidays_of_milan_count_as_sundays(day):
    assert kind_of_day(date.fromisoformat(f"2014-{day}")) == SUNDAY


def test_a_year_has_its_known_number_of_each_kind():
    days = [kind_of_day(date.fromordinal(date(2014, 1, 1).toordinal() + i)) for i in range(365)]
    # 52 Sundays, 11 holidays that fall on no Sunday, one of them (1 November) on a Saturday.
    assert days.count(SUNDAY) == 52 + 11 and days.count(SATURDAY) == 52 - 1 and days.count(WORKING) == 251


@given(st.integers(0, 4_000_000_000))
def test_agrees_with_the_datetime_module(t_s):
    there = datetime.fromtimestamp(t_s, ROME)
    local = local_time(ROME, np.array([t_s]))
    assert local.hour[0] == pytest.approx(there.hour + there.minute / 60 + there.second / 3600)
    assert local.day[0] == there.date().toordinal() - date(1970, 1, 1).toordinal()
    assert local.kind[0] == kind_of_day(there.date())


def test_small_hours_can_belong_to_the_day_before():
    # Monday 18 November 2013, 03:59 and 04:00 local.
    t_s = np.array([1384743540, 1384743600])
    assert local_time(ROME, t_s).kind.tolist() == [WORKING, WORKING]
    assert local_time(ROME, t_s, day_starts_at_s=4 * 3600).kind.tolist() == [SUNDAY, WORKING]


def test_daily_rhythms_interpolate_and_wrap():
    rhythm = by_hour("0 100 " + "50 " * 21 + "20")
    assert rhythm(np.array([0, 0.5, 1, 1.5, 12, 23, 23.5, 24])).tolist() == [0, 0.5, 1, 0.75, 0.5, 0.2, 0.1, 0]
