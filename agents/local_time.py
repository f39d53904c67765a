"""Days, weeks and months of local time, back from a moment; none is before EARLIEST_YEAR."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

EARLIEST_YEAR = 1970


def midnight(day: date, now: datetime) -> datetime:
    return at_wall_time(datetime.combine(day, time()), now)


def at_wall_time(wall: datetime, now: datetime) -> datetime:
    """Wall-clock time in now's zone; one that the switch to summer time skips is moved on by the hour skipped."""
    aware = wall.replace(tzinfo=now.tzinfo)
    return aware.astimezone(UTC).astimezone(now.tzinfo)


def months_back(now: datetime, months: int) -> datetime:
    """The same day and wall-clock time ``months`` calendar months before, or the last day of a shorter month."""
    index = now.year * 12 + now.month - 1 - months
    year, month = max(index // 12, EARLIEST_YEAR), index % 12 + 1
    day = min(now.day, monthrange(year, month)[1])
    return at_wall_time(now.replace(year=year, month=month, day=day, tzinfo=None, fold=0), now)


def units_back(now: datetime, count: int, unit: str) -> datetime:
    """``count`` units before now: minutes and hours are elapsed time, days and longer keep the wall-clock time."""
    years = now.year - EARLIEST_YEAR
    if unit in ("second", "minute", "hour"):
        seconds = min(count * {"second": 1, "minute": 60, "hour": 3600}[unit], years * 365 * 86_400)
        return (now.astimezone(UTC) - timedelta(seconds=seconds)).astimezone(now.tzinfo)
    if unit in ("day", "week", "fortnight"):
        days = min(count * {"day": 1, "week": 7, "fortnight": 14}[unit], years * 365)
        return at_wall_time(now.replace(tzinfo=None) - timedelta(days=days), now)
    return months_back(now, min(count * {"month": 1, "quarter": 3, "year": 12}[unit], years * 12))


def calendar_unit(now: datetime, unit: str, back: int) -> tuple[date, date]:
    """First day, and day after the last, of the week, month, quarter or year that is ``back`` before now's."""
    if unit in ("week", "fortnight"):
        weeks = min(back * (2 if unit == "fortnight" else 1), 52 * (now.year - EARLIEST_YEAR))
        monday = now.date() - timedelta(days=now.weekday() + 7 * weeks)
        return monday, monday + timedelta(days=7)
    size = {"month": 1, "quarter": 3, "year": 12}[unit]
    first = max((now.year * 12 + now.month - 1) // size * size - size * back, EARLIEST_YEAR * 12)
    return date(first // 12, first % 12 + 1, 1), date((first + size) // 12, (first + size) % 12 + 1, 1)


def months_on(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def utc(moment: datetime) -> datetime:
    # Two times of the same zone compare by their wall clocks in Python, which errs when clocks are changed.
    return moment.astimezone(UTC)
