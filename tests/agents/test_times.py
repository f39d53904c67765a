"""Words of time against a calendar: known answers, and pandas and dateutil as independent second opinions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from dateutil.easter import easter
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from agents.times import Window, read_time
from evaluation.planning import read_queries, window_iou

ROME = ZoneInfo("Europe/Rome")
WHEN_AND_WHERE = Path(__file__).parent / "when_and_where.yaml"
NOON = datetime(2013, 11, 18, 12, tzinfo=ROME)  # a Monday
WEEK_UP_TO_NOON = ("11-11 12:00", "11-18 12:00")


def read(text: str, now: datetime = NOON) -> tuple[str, str]:
    window = read_time(text, now)
    return tuple(moment.strftime("%m-%d %H:%M") for moment in (window.start, window.end))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        # the rules one by one
        ("today", "11-18 00:00", "11-18 12:00"),
        ("yesterday", "11-17 00:00", "11-18 00:00"),
        ("this week", "11-18 00:00", "11-18 12:00"),
        ("this month", "11-01 00:00", "11-18 12:00"),
        ("last week", "11-11 00:00", "11-18 00:00"),
        ("last month", "10-01 00:00", "11-01 00:00"),
        ("the past two months", "09-18 12:00", "11-18 12:00"),
        ("over the last three days", "11-15 12:00", "11-18 12:00"),
        ("the past 36 hours", "11-17 00:00", "11-18 12:00"),
        ("in the last half hour", "11-18 11:30", "11-18 12:00"),
        ("over the past week", "11-11 12:00", "11-18 12:00"),
        ("over the last week", "11-11 12:00", "11-18 12:00"),
        ("the past couple of weeks", "11-04 12:00", "11-18 12:00"),
        ("last 24h", "11-17 12:00", "11-18 12:00"),
        ("last night", "11-17 18:00", "11-18 06:00"),
        ("this morning", "11-18 06:00", "11-18 12:00"),
        ("yesterday morning", "11-17 06:00", "11-17 12:00"),
        ("yesterday afternoon", "11-17 12:00", "11-17 18:00"),
        ("yesterday evening", "11-17 18:00", "11-18 00:00"),
        ("throughout the day", "11-18 00:00", "11-18 12:00"),
        # dates
        ("on 12 November 2013", "11-12 00:00", "11-13 00:00"),
        ("on November 12th", "11-12 00:00", "11-13 00:00"),
        ("2013-11-12", "11-12 00:00", "11-13 00:00"),
        ("on 12/11/2013", "11-12 00:00", "11-13 00:00"),
        ("from 5 to 10 November", "11-05 00:00", "11-11 00:00"),
        ("November 5-10", "11-05 00:00", "11-11 00:00"),
        ("from 2013-11-10 to 2013-11-12", "11-10 00:00", "11-13 00:00"),
        ("from 2013-11-10T06:00 to 2013-11-12T18:00", "11-10 06:00", "11-12 18:00"),
        ("2013-11-12T10:00Z", "11-12 11:00", "11-12 12:00"),
        ("in October", "10-01 00:00", "11-01 00:00"),
        ("in November", "11-01 00:00", "11-18 12:00"),
        ("on the evening of 12 November", "11-12 18:00", "11-13 00:00"),
        ("yesterday between 8 and 10 am", "11-17 08:00", "11-17 10:00"),
        ("yesterday at 5 pm", "11-17 17:00", "11-17 18:00"),
        ("yesterday after 8 pm", "11-17 20:00", "11-18 00:00"),
        ("between midnight and 6 am", "11-18 00:00", "11-18 06:00"),
        ("on Friday", "11-15 00:00", "11-16 00:00"),
        ("Monday of last week", "11-11 00:00", "11-12 00:00"),
        ("between Tuesday and Thursday last week", "11-12 00:00", "11-15 00:00"),
        ("Saturday night", "11-16 18:00", "11-17 06:00"),
        ("over the weekend", "11-16 00:00", "11-18 00:00"),
        ("two days ago", "11-16 00:00", "11-17 00:00"),
        ("3 hours ago", "11-18 09:00", "11-18 10:00"),
        ("the day before yesterday", "11-16 00:00", "11-17 00:00"),
        ("since Thursday", "11-14 00:00", "11-18 12:00"),
        ("since 9 am", "11-18 09:00", "11-18 12:00"),
        ("since the beginning of the month", "11-01 00:00", "11-18 12:00"),
        ("last summer", "06-01 00:00", "09-01 00:00"),
        ("right now", "11-18 11:00", "11-18 12:00"),
        # several at once
        ("compare yesterday with last week", "11-11 00:00", "11-18 00:00"),
        ("today and the day before yesterday", "11-16 00:00", "11-18 12:00"),
        ("given the past two weeks, what will tomorrow bring", "11-04 12:00", "11-18 12:00"),
        # Italian
        ("oggi", "11-18 00:00", "11-18 12:00"),
        ("ieri sera", "11-17 18:00", "11-18 00:00"),
        ("la settimana scorsa", "11-11 00:00", "11-18 00:00"),
        ("nell'ultima settimana", "11-11 12:00", "11-18 12:00"),
        ("negli ultimi due mesi", "09-18 12:00", "11-18 12:00"),
        ("questa settimana", "11-18 00:00", "11-18 12:00"),
        ("la notte scorsa", "11-17 18:00", "11-18 06:00"),
        ("dal 5 al 10 novembre", "11-05 00:00", "11-11 00:00"),
        ("ieri dalle 8 alle 10", "11-17 08:00", "11-17 10:00"),
        ("tre giorni fa", "11-15 00:00", "11-16 00:00"),
        ("da lunedì a mercoledì della settimana scorsa", "11-11 00:00", "11-14 00:00"),
        # numbers, halves, short words
        ("seventy-two hours of ozone up to now", "11-15 12:00", "11-18 12:00"),
        ("negli ultimi quarantacinque minuti", "11-18 11:15", "11-18 12:00"),
        ("the past two and a half hours", "11-18 09:30", "11-18 12:00"),
        ("nelle ultime due ore e mezza", "11-18 09:30", "11-18 12:00"),
        ("the last half year", "05-18 12:00", "11-18 12:00"),
        ("pst 2 weks", "11-04 12:00", "11-18 12:00"),
        ("ystrday aftrnoon", "11-17 12:00", "11-17 18:00"),
        # so many back
        ("the weekend before last", "11-09 00:00", "11-11 00:00"),
        ("due weekend fa", "11-09 00:00", "11-11 00:00"),
        ("Sunday before last", "11-10 00:00", "11-11 00:00"),
        ("three Fridays ago", "11-01 00:00", "11-02 00:00"),
        ("week before last", "11-04 00:00", "11-11 00:00"),
        ("three nights ago", "11-15 18:00", "11-16 06:00"),
        ("half an hour ago", "11-18 11:30", "11-18 12:00"),
        ("a week ago today", "11-11 00:00", "11-12 00:00"),
        ("exactly two weeks ago", "11-04 00:00", "11-05 00:00"),
        ("two weeks ago", "11-04 00:00", "11-11 00:00"),
        ("this time yesterday", "11-17 12:00", "11-17 13:00"),
        ("on Friday the 8th", "11-08 00:00", "11-09 00:00"),
        ("on the twelfth, how humid was it", "11-12 00:00", "11-13 00:00"),
        ("on the 30th, how many trams were late", "10-30 00:00", "10-31 00:00"),
        # before another time
        ("last week against the week before", "11-04 00:00", "11-18 00:00"),
        ("last weekend and the one before", "11-09 00:00", "11-18 00:00"),
        ("yesterday versus the same day last week", "11-10 00:00", "11-18 00:00"),
        ("on 8 November and the day before", "11-07 00:00", "11-09 00:00"),
        ("confronta ieri con la domenica precedente", "11-10 00:00", "11-18 00:00"),
        ("the previous day", "11-17 00:00", "11-18 00:00"),
        # parts of weeks, months and years
        ("the working days of last week", "11-11 00:00", "11-16 00:00"),
        ("lun-ven della settimana scorsa", "11-11 00:00", "11-16 00:00"),
        ("the week of 6 November", "11-04 00:00", "11-11 00:00"),
        ("the week starting Monday 21 October", "10-21 00:00", "10-28 00:00"),
        ("the weekend of 9 November", "11-09 00:00", "11-11 00:00"),
        ("ISO week 44", "10-28 00:00", "11-04 00:00"),
        ("first half of October", "10-01 00:00", "10-16 00:00"),
        ("la seconda metà di ottobre", "10-16 00:00", "11-01 00:00"),
        ("first week of November", "11-01 00:00", "11-08 00:00"),
        ("the last ten days of October", "10-22 00:00", "11-01 00:00"),
        ("the third week of October", "10-15 00:00", "10-22 00:00"),
        ("the last Sunday of October", "10-27 00:00", "10-28 00:00"),
        ("since spring", "03-01 00:00", "11-18 12:00"),
        ("mid-October", "10-11 00:00", "10-21 00:00"),
        ("the first six months of the year", "01-01 00:00", "07-01 00:00"),
        ("Q3", "07-01 00:00", "10-01 00:00"),
        ("nel primo semestre", "01-01 00:00", "07-01 00:00"),
        ("last quarter", "07-01 00:00", "10-01 00:00"),
        ("YTD", "01-01 00:00", "11-18 12:00"),
        # more dates
        ("7/11", "11-07 00:00", "11-08 00:00"),
        ("3.11. please", "11-03 00:00", "11-04 00:00"),
        ("20131104", "11-04 00:00", "11-05 00:00"),
        ("on November the first", "11-01 00:00", "11-02 00:00"),
        ("the fifth of November", "11-05 00:00", "11-06 00:00"),
        ("14, 15 and 16 November", "11-14 00:00", "11-17 00:00"),
        ("dal primo al dieci ottobre", "10-01 00:00", "10-11 00:00"),
        ("on Ferragosto", "08-15 00:00", "08-16 00:00"),
        ("a Pasqua", "03-31 00:00", "04-01 00:00"),
        # hours beside parts of the day, and from one moment to another
        ("between 8 and 10 this morning", "11-18 08:00", "11-18 10:00"),
        ("from midnight to five this morning", "11-18 00:00", "11-18 05:00"),
        ("yesterday between two and half past four in the afternoon", "11-17 14:00", "11-17 16:30"),
        ("last night between 2 and 4", "11-18 02:00", "11-18 04:00"),
        ("alle 5 di ieri pomeriggio", "11-17 17:00", "11-17 18:00"),
        ("since 9 this morning", "11-18 09:00", "11-18 12:00"),
        ("since noon yesterday", "11-17 12:00", "11-18 12:00"),
        ("from Friday 6 pm to Monday 6 am", "11-15 18:00", "11-18 06:00"),
        ("dalle 22 di sabato alle 6 di domenica", "11-16 22:00", "11-17 06:00"),
        ("from 8 pm yesterday to 6 this morning", "11-17 20:00", "11-18 06:00"),
        ("from Friday to Monday", "11-15 00:00", "11-18 12:00"),
        ("the night between Saturday and Sunday", "11-16 18:00", "11-17 06:00"),
        ("Monday evening of last week", "11-11 18:00", "11-12 00:00"),
        ("stanotte si è gelato tutto", "11-17 18:00", "11-18 06:00"),
        ("it went in on the 4th, has it been better since?", "11-04 00:00", "11-18 12:00"),
    ],
)
def test_known_answers(text, start, end):
    assert read(text) == (start, end)
    assert read_time(text, NOON).kind == "past"


@pytest.mark.parametrize(
    "text",
    ["tomorrow", "tonight", "tomorrow evening", "next week", "in two hours", "in one day", "over the coming days",
     "this weekend", "this afternoon", "will it rain on Friday", "domani", "stasera", "la prossima settimana",
     "oggi a otto", "at nine tonight", "will it snow at Christmas", "a party on the 30th", "stanotte c'è il rischio"],
)  # fmt: skip
def test_what_lies_ahead_needs_the_history_of_a_forecast(text):
    assert read(text) == WEEK_UP_TO_NOON
    assert read_time(text, NOON).kind == "forecast"


@pytest.mark.parametrize(
    "text",
    ["", "how hot is it", "this may cause floods", "between 10 and 20 degrees", "every Monday", "31/02/2013", "99:99",
     "recently", "the march of time", "Good morning", "at a frequency of 50 per second", "in Piazza XXV Aprile",
     "corso XXII Marzo", "Stadera", "our batteries last three hours", "open 24/7", "2/3 of the sensors",
     "a normal Monday", "on the second floor", "from one to ten sensors", "about six buses", "on weekdays",
     "the week before the derby", "sensors 3 to 5", "are there seats around seven in the morning",
     "the first quarter of an hour"],
)  # fmt: skip
def test_no_time_said(text):
    assert read(text) == WEEK_UP_TO_NOON
    assert read_time(text, NOON).kind == "default"


def test_greetings_and_steps_are_no_times():
    assert read("Good evening! How humid was it yesterday?") == ("11-17 00:00", "11-18 00:00")
    assert read("yesterday in 10 minute steps") == ("11-17 00:00", "11-18 00:00")


def test_a_future_day_and_a_past_one():
    assert read("will tomorrow be warmer than yesterday") == WEEK_UP_TO_NOON
    assert read("will tomorrow be warmer than on 2 November") == ("11-02 00:00", "11-18 12:00")
    assert read("was 2 November warmer than today") == ("11-02 00:00", "11-18 12:00")


def test_a_date_without_a_year():
    assert read("will it snow on 25 December") == WEEK_UP_TO_NOON
    window = read_time("did it snow on 25 December", NOON)
    assert window.start.isoformat() == "2012-12-25T00:00:00+01:00"
    window = read_time("what happened on 29 February", NOON)
    assert window.start.isoformat() == "2012-02-29T00:00:00+01:00"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("November last year", "2012-11-01T00:00:00+01:00"),
        ("on 18 November last year", "2012-11-18T00:00:00+01:00"),
        ("un anno fa oggi", "2012-11-18T00:00:00+01:00"),
        ("Q4 last year", "2012-10-01T00:00:00+02:00"),
        ("summer 2012", "2012-06-01T00:00:00+02:00"),
        ("last Christmas Day", "2012-12-25T00:00:00+01:00"),
        ("the same week last year", "2012-11-12T00:00:00+01:00"),
    ],
)
def test_the_year_before(text, start):
    assert read_time(text, NOON).start.isoformat() == start


def test_days_on_which_clocks_change_have_25_and_23_hours():
    for now, hours in ((datetime(2013, 10, 28, 9, tzinfo=ROME), 25), (datetime(2013, 4, 1, 9, tzinfo=ROME), 23)):
        window = read_time("yesterday", now)
        assert window.end.timestamp() - window.start.timestamp() == hours * 3600
    window = read_time("the past 24 hours", datetime(2013, 10, 27, 12, tzinfo=ROME))
    assert window.start.isoformat() == "2013-10-26T13:00:00+02:00"


def test_a_month_back_is_the_same_day_and_hour_or_the_last_day_of_a_shorter_month():
    assert read("the past month", datetime(2013, 3, 31, 15, 30, tzinfo=ROME))[0] == "02-28 15:30"
    assert read_time("the past two months", NOON).start.isoformat() == "2013-09-18T12:00:00+02:00"


def test_now_needs_a_zone_and_a_sensible_year():
    with pytest.raises(ValueError, match="no time zone"):
        read_time("today", datetime(2013, 11, 18))
    with pytest.raises(ValueError, match="1972"):
        read_time("today", datetime(1900, 1, 1, tzinfo=ROME))


def test_windows_of_many_questions():
    now, queries = read_queries(WHEN_AND_WHERE)
    ious = {}
    for query in queries:
        window = read_time(query.q, now.astimezone(ROME))
        ious[query.id] = window_iou((window.start, window.end), query.window)
    assert len(ious) > 120
    assert sum(ious.values()) / len(ious) >= 0.99
    assert [name for name, iou in ious.items() if iou < 0.5] == []


# --- Against a calendar -----------------------------------------------------------------------------------------------

nows = st.datetimes(datetime(1999, 1, 1), datetime(2037, 12, 31)).map(
    lambda wall: wall.replace(tzinfo=UTC, microsecond=0).astimezone(ROME)
)


def local(wall: datetime | pd.Timestamp) -> pd.Timestamp:
    """Wall-clock time in Rome by pandas: the first of two, an hour on where it is skipped."""
    return pd.Timestamp(wall).tz_localize("Europe/Rome", ambiguous=True, nonexistent=pd.Timedelta(hours=1))


def same(window: Window, start: pd.Timestamp, end: pd.Timestamp) -> bool:
    return (window.start.timestamp(), window.end.timestamp()) == (start.timestamp(), end.timestamp())


def wall(now: datetime) -> datetime:
    return now.replace(tzinfo=None, fold=0)


@given(nows)
def test_calendar_units_against_pandas(now):
    today = pd.Timestamp(wall(now)).normalize()
    upto = pd.Timestamp(now)
    week, month = today.to_period("W-SUN"), today.to_period("M")
    expected = {
        "yesterday": (today - pd.Timedelta(days=1), today),
        "last week": ((week - 1).start_time, week.start_time),
        "last month": ((month - 1).start_time, month.start_time),
        "last year": ((today.to_period("Y") - 1).start_time, today.to_period("Y").start_time),
        "the day before yesterday": (today - pd.Timedelta(days=2), today - pd.Timedelta(days=1)),
        "5 days ago": (today - pd.Timedelta(days=5), today - pd.Timedelta(days=4)),
    }
    for text, (start, end) in expected.items():
        assert same(read_time(text, now), local(start), local(end)), text
    for text, start in {"this week": week, "this month": month, "this year": today.to_period("Y")}.items():
        if local(start.start_time).timestamp() < now.timestamp():
            assert same(read_time(text, now), local(start.start_time), upto), text
    if local(today).timestamp() < now.timestamp():
        assert same(read_time("today", now), local(today), upto)


@given(nows, st.integers(1, 60))
def test_past_units_against_dateutil(now, count):
    end = pd.Timestamp(now)
    for unit in ("days", "weeks", "months", "years"):
        if unit == "years" and count > 20:
            continue
        start = local(wall(now) - relativedelta(**{unit: count}))
        assert same(read_time(f"over the past {count} {unit}", now), start, end), unit
    for unit in ("minutes", "hours"):
        assert same(read_time(f"the last {count} {unit}", now), end - pd.Timedelta(**{unit: count}), end), unit


@given(nows, st.integers(1, 700), st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%d %B %Y", "%B %d, %Y", "%d.%m.%Y"]))
def test_written_dates_against_pandas(now, days_back, form):
    day = pd.Timestamp(wall(now)).normalize() - pd.Timedelta(days=days_back)
    window = read_time(f"traffic on {day.strftime(form)}", now)
    assert same(window, local(day), local(day + pd.Timedelta(days=1)))


@given(nows, st.sampled_from(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]))
def test_weekdays_against_pandas(now, weekday):
    day = pd.Timestamp(wall(now)).normalize() - pd.Timedelta(days=1)
    while day.day_name() != weekday:
        day -= pd.Timedelta(days=1)
    assert same(read_time(f"on {weekday}", now), local(day), local(day + pd.Timedelta(days=1)))
    hours = [local(day + pd.Timedelta(hours=hour)) for hour in (18, 24)]
    assert same(read_time(f"last {weekday} evening", now), *hours)


@given(nows, st.integers(2, 60))
def test_so_many_weekends_and_weekdays_ago_against_pandas(now, count):
    today = pd.Timestamp(wall(now)).normalize()
    saturday = today - pd.Timedelta(days=today.dayofweek + 2 + 7 * (count - 1))
    window = read_time(f"{count} weekends ago", now)
    assert same(window, local(saturday), local(saturday + pd.Timedelta(days=2)))
    sundays = pd.date_range(end=today - pd.Timedelta(days=1), periods=count, freq="W-SUN")
    window = read_time(f"{count} Sundays ago", now)
    assert same(window, local(sundays[0]), local(sundays[0] + pd.Timedelta(days=1)))


@given(nows)
def test_units_before_another_against_pandas(now):
    today = pd.Timestamp(wall(now)).normalize()
    for text, period, back in (("week", "W-SUN", 2), ("month", "M", 2), ("year", "Y", 2)):
        last = today.to_period(period)
        window = read_time(f"last {text} against the {text} before", now)
        assert same(window, local((last - back).start_time), local(last.start_time)), text
        window = read_time(f"the {text} before last", now)
        assert same(window, local((last - 2).start_time), local((last - 1).start_time)), text


@given(nows, st.integers(0, 30))
def test_parts_of_months_and_quarters_against_pandas(now, back):
    month = pd.Timestamp(wall(now)).to_period("M") - 1 - back
    first, after = month.start_time, (month + 1).start_time
    name, day = month.strftime("%B %Y"), pd.Timedelta(days=1)
    expected = {
        f"first half of {name}": (first, first + 15 * day),
        f"second half of {name}": (first + 15 * day, after),
        f"first week of {name}": (first, first + 7 * day),
        f"the last ten days of {name}": (after - 10 * day, after),
        f"mid-{name}": (first + 10 * day, first + 20 * day),
    }
    quarter = month.asfreq("Q") - 1
    expected[f"Q{quarter.quarter} {quarter.year}"] = (quarter.start_time, (quarter + 1).start_time)
    for text, (start, end) in expected.items():
        assert same(read_time(text, now), local(start), local(end)), text


@given(nows, st.integers(8, 700))
def test_weeks_by_number_and_date_against_pandas(now, days_back):
    day = pd.Timestamp(wall(now)).normalize() - pd.Timedelta(days=days_back)
    monday = day - pd.Timedelta(days=day.dayofweek)
    year, number, _ = day.isocalendar()
    for text in (f"ISO week {number} of {year}", f"the week of {day:%d %B %Y}"):
        assert same(
            read_time(text, now), local(monday), local(min(monday + pd.Timedelta(days=7), pd.Timestamp(wall(now))))
        )
    window = read_time(f"week starting {day:%A} {day:%d %B %Y}", now)
    assert same(window, local(day), local(min(day + pd.Timedelta(days=7), pd.Timestamp(wall(now)))))


@given(nows, st.integers(1, 25))
def test_days_of_the_month_against_pandas(now, days_back):
    day = pd.Timestamp(wall(now)).normalize() - pd.Timedelta(days=days_back)
    for text in (f"was it wet on {day:%A} the {day.day}th", f"did it rain on {day:%A} {day.day}", f"il {day:%d/%m}"):
        assert same(read_time(text, now), local(day), local(day + pd.Timedelta(days=1))), text


@given(nows, st.integers(1, 20), st.integers(0, 23), st.integers(1, 40), st.integers(0, 23))
def test_from_one_moment_to_another_against_pandas(now, days_back, hour, days, later_hour):
    first = pd.Timestamp(wall(now)).normalize() - pd.Timedelta(days=days_back + days)
    start, end = first + pd.Timedelta(hours=hour), first + pd.Timedelta(days=days, hours=later_hour)
    text = f"from {hour}:00 on {start:%d/%m/%Y} to {later_hour}:00 on {end:%d/%m/%Y}"
    assert same(read_time(text, now), local(start), local(end)), text


@given(nows)
def test_holidays_against_dateutil(now):
    today = pd.Timestamp(wall(now)).normalize()
    day = max(found for year in (now.year - 1, now.year) if (found := pd.Timestamp(easter(year))) <= today)
    monday = max(
        found
        for year in (now.year - 1, now.year)
        if (found := pd.Timestamp(easter(year)) + pd.Timedelta(days=1)) <= today
    )
    for text, start in {"at Easter": day, "il giorno di Pasquetta": monday}.items():
        if start < today:
            assert same(read_time(text, now), local(start), local(start + pd.Timedelta(days=1))), text


@given(nows)
def test_last_night_against_pandas(now):
    today = pd.Timestamp(wall(now)).normalize()
    start, end = local(today - pd.Timedelta(hours=6)), local(today + pd.Timedelta(hours=6))
    assert same(read_time("what happened last night", now), start, min(end, pd.Timestamp(now)))


# --- Any text ---------------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    "last past this next week month days day 3 12 2013 november monday since from to until between and at am pm 8:00 "
    "yesterday today tomorrow morning night evening in of the a two ago hours - / 31 30/02/2013 2013-11-12 T10:00 fa "
    "ultimi ieri dalle alle 99 weekend summer now beginning half before after rest year may . , first second 999999999 "
    "q3 third quarter working same prima precedente metà week 44 christmas pasqua noon past to night stanotte 3/11 "
    "twelfth monday, 20th one five pm between and e mezza XXV sabato domenica ago fa units hours".split()
)


@given(st.one_of(st.text(max_size=200), st.lists(pieces, max_size=25).map(" ".join)), nows)
def test_any_text_gives_a_window_up_to_now(text, now):
    window = read_time(text, now)
    assert window.start.timestamp() < window.end.timestamp() <= now.timestamp()
    assert window.start.utcoffset() == window.start.astimezone(ROME).utcoffset()
    assert window.kind in ("past", "forecast", "default")
    assert timedelta(0) <= window.end.utcoffset() <= timedelta(hours=2)
