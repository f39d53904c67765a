"""Local wall-clock time and kinds of day, vectorised over UTC epoch seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from dateutil.easter import easter

WORKING, SATURDAY, SUNDAY = 0, 1, 2  # SUNDAY includes holidays

_EPOCH = date(1970, 1, 1)
# Italian public holidays by (month, day), and 7 December, Milan's patron saint
_HOLIDAYS = frozenset({(1, 1), (1, 6), (4, 25), (5, 1), (6, 2), (8, 15), (11, 1), (12, 7), (12, 8), (12, 25), (12, 26)})


@dataclass(frozen=True)
class LocalTime:
    """Arrays [n]: ``hour`` float 0..24 of the local day, ``day`` int64 local days since 1970-01-01, ``kind`` of day."""

    hour: np.ndarray
    day: np.ndarray
    kind: np.ndarray


def local_time(zone: ZoneInfo, t_s: np.ndarray, day_starts_at_s: int = 0) -> LocalTime:
    """Local time of UTC epoch seconds [n]. With ``day_starts_at_s`` the small hours before it count, for ``day`` and
    ``kind``, to the day before."""
    utc_hours, where = np.unique(np.asarray(t_s, np.int64) // 3600, return_inverse=True)
    offsets = np.array([_offset_s(zone, int(hour)) for hour in utc_hours], np.int64)  # zones change on the full hour
    local_s = np.asarray(t_s, np.int64) + offsets[where]
    day = (local_s - day_starts_at_s) // 86_400
    days, where = np.unique(day, return_inverse=True)
    kinds = np.array([kind_of_day(_EPOCH + timedelta(days=int(d))) for d in days], np.int64)
    return LocalTime((local_s % 86_400) / 3600, day, kinds[where])


@cache
def kind_of_day(day: date) -> int:
    """WORKING, SATURDAY, or SUNDAY (Sundays and the public holidays of Milan)."""
    easter_monday = easter(day.year) + timedelta(days=1)
    if day.weekday() == 6 or (day.month, day.day) in _HOLIDAYS or day == easter_monday:
        return SUNDAY
    return SATURDAY if day.weekday() == 5 else WORKING


@cache
def _offset_s(zone: ZoneInfo, utc_hour: int) -> int:
    return int(datetime.fromtimestamp(utc_hour * 3600, UTC).astimezone(zone).utcoffset().total_seconds())


def by_hour(percent: str) -> Callable[[np.ndarray], np.ndarray]:
    """A daily rhythm from 24 percentages, one per full hour from 00:00: a function of the hour, interpolated."""
    shares = np.array(percent.split(), np.float64) / 100
    wrapped = np.append(shares, shares[0])
    return lambda hour: np.interp(hour, np.arange(25), wrapped)
