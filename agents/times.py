"""Words of time: which absolute window of data a question asks for, in English and in Italian's common forms.

The rules (with ``now`` given; local time is now's zone): "today" is from 00:00 to now, "yesterday" the whole day
before, "this week" and "this month" from Monday and the 1st to now, "last week" the seven days Monday to Sunday before,
"the past N units" the N units up to now (a month back is a calendar month back on the same day and hour), "last night"
18:00 to 06:00, morning 06-12, afternoon 12-18, evening 18-24. What lies ahead ("tomorrow", "tonight", "in two hours")
needs the history that a forecast rests on: the last 7 days. No time said: the last 7 days. "Now" is the past hour.
Windows are half-open and end at now at the latest; of several times in one question the window covers all.

A question is read in steps: phrases of time are found by rules, earlier rules first; phrases that belong together are
joined (parts of a month to the month, weekdays to a week, hours to a day, two moments to a range); the window is their
hull.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from agents.local_time import EARLIEST_YEAR, at_wall_time, calendar_unit, midnight, months_on, units_back, utc
from agents.time_phrases import RULES, Phrase, whole_days
from agents.time_words import LONG_UNIT, TO, WEEKDAY, WEEKDAYS, WEEKEND, position_of, spelled, unit_of
from twin.words import fold

HISTORY_DAYS = 7  # what a forecast needs, and what is taken when no time is said


@dataclass(frozen=True)
class Window:
    """Half-open [start, end), aware, in now's zone. ``words`` are the words it was read from (folded; empty: none).

    ``kind``: "past" (a time up to now was said), "forecast" (a time ahead was said: the history it needs), "default"
    (no time said).
    """

    start: datetime
    end: datetime
    words: str
    kind: str


def read_time(text: str, now: datetime) -> Window:
    """The window that ``text`` asks for. ``now`` must be aware; its zone is the local time. Never fails on any text."""
    if now.tzinfo is None:
        raise ValueError(f"now {now.isoformat()} has no time zone; give it the scenario's, such as Europe/Rome")
    if not EARLIEST_YEAR + 2 <= now.year <= 9000:
        raise ValueError(f"now {now.isoformat()} is out of range; its year must be {EARLIEST_YEAR + 2} to 9000")
    folded = re.sub(r"[a-z]+|2(?:day|moro|nite)", lambda word: spelled(word[0]), fold(text))
    phrases = _join_parts(_scan(folded, now), folded, now)
    phrases = _join_hours(_join_weekdays(_join_earlier(phrases, now), now), folded, now)
    phrases = _join_ranges(phrases, folded, now)
    return _decide([_since(phrase, phrases[i + 1 :], folded, now) for i, phrase in enumerate(phrases)], folded, now)


# --- From phrases to one window ---------------------------------------------------------------------------------------


def _scan(folded: str, now: datetime) -> list[Phrase]:
    """The phrases of time in the text, in order; no word belongs to two."""
    phrases, left = [], folded
    for pattern, read in RULES:
        for match in pattern.finditer(left):
            phrase = read(match, now)
            if phrase is not None:
                phrases.append(phrase)
                # Taken words become a letter-like filler, so that no later pattern reaches across them.
                left = left[: match.start()] + "\0" * (match.end() - match.start()) + left[match.end() :]
    return sorted(phrases, key=lambda phrase: phrase.at)


def _join_parts(phrases: list[Phrase], folded: str, now: datetime) -> list[Phrase]:
    """The first half of October, the working days of last week, the week of 4 November: one phrase each."""
    joined: list[Phrase] = []
    left = list(phrases)
    while left:
        phrase = left.pop(0)
        if phrase.kind not in ("part", "workdays", "week of"):
            joined.append(phrase)
            continue
        near = [one for one in left[:1] if one.kind in ("day", "days") and _gap(phrase, one) <= _ADJACENT_LETTERS]
        made = _narrowed(phrase, near[0], now) if near else None
        if made is None and phrase.kind == "part":
            made = _narrowed_unit(phrase, folded, now)
            near = []
        if made is not None:
            joined.append(made)
            left = left[len(near) :]
    return joined


def _narrowed(phrase: Phrase, whole: Phrase, now: datetime) -> Phrase | None:
    """The days of ``whole`` that a "part", "workdays" or "week of" beside it means."""
    first, after = whole.start.date(), whole.end.date()
    if phrase.kind == "workdays":
        if after - first != timedelta(days=7):
            return None
        after = first + timedelta(days=5)
    elif phrase.kind == "week of":
        what, how = phrase.of
        if what == "weekend":
            first += timedelta(days=5 - first.weekday())
            after = first + timedelta(days=2)
        else:
            shift = {"of": first.weekday(), "starting": 0, "ending": 6}[how]
            first -= timedelta(days=shift)
            after = first + timedelta(days=7)
    elif (found := _part_days(phrase.of, first, after)) is not None:
        first, after = found
    else:
        return None
    at, to = min(phrase.at, whole.at), max(phrase.to, whole.to)
    return whole_days(at, to, first, after, now)


_OF_UNIT = re.compile(rf" (?:of |di |del |della |dell')(?:the |this |l')?(?P<u>{LONG_UNIT})")


def _narrowed_unit(phrase: Phrase, folded: str, now: datetime) -> Phrase | None:
    """The first six months of the year."""
    match = _OF_UNIT.match(folded, phrase.to)
    found = _part_days(phrase.of, *calendar_unit(now, unit_of(match["u"]), 0)) if match else None
    return found and whole_days(phrase.at, match.end(), *found, now)


def _part_days(part: tuple, first: date, after: date) -> tuple[date, date] | None:
    """First day, and day after the last, of a part of whole days; None if it is longer than they are."""
    days, day = (after - first).days, timedelta(days=1)
    if part[0] == "half":
        half = (
            months_on(first, round(days / 30.4) // 2) if days > 40 else first + (15 if days > 27 else days // 2) * day
        )
        return (first, half) if part[1] == 0 else (half, after)
    if part[0] == "third":
        cuts = [first, first + 10 * day, first + 20 * day, after]
        return cuts[part[1]], cuts[part[1] + 1]
    if part[0] == "weekday":
        found = [first + i * day for i in range(days) if (first + i * day).weekday() == part[2]]
        return (found[part[1]], found[part[1]] + day) if days > 27 and part[1] < len(found) else None
    _, which, count, unit = part
    if unit in ("month", "quarter", "year"):
        months = count * {"month": 1, "quarter": 3, "year": 12}[unit]
        start = months_on(after, -months) if which < 0 else months_on(first, which * months)
        end = months_on(start, months)
    elif unit in ("day", "week", "fortnight"):
        length = count * {"day": 1, "week": 7, "fortnight": 14}[unit] * day
        start = after - length if which < 0 else first + which * length
        end = start + length
    else:
        return None
    return (start, end) if first <= start and end <= after else None


def _join_earlier(phrases: list[Phrase], now: datetime) -> list[Phrase]:
    """The week before, the same day last week: as seen from the time said before it, or after it, or from now."""
    joined = []
    for i, phrase in enumerate(phrases):
        if phrase.kind != "earlier":
            joined.append(phrase)
            continue
        others = [*reversed(phrases[:i]), *phrases[i + 1 :]]
        seen_from = next((one for one in others if _dated_phrase(one) and one.kind != "now"), None)
        first, after = _days_earlier(phrase.of, seen_from, now)
        kind = "day" if after - first == timedelta(days=1) else "days"
        joined.append(replace(phrase, kind=kind, start=midnight(first, now), end=midnight(after, now)))
    return joined


def _days_earlier(what: str, seen_from: Phrase | None, now: datetime) -> tuple[date, date]:
    """First day, and day after the last, of "the ``what`` before" a phrase or now."""
    at = seen_from.start if seen_from else now
    day = timedelta(days=1)
    if what.startswith("same "):
        _, unit, back = what.split()
        found = units_back(at, 1, back)
        return (found.date(), found.date() + day) if unit == "day" else calendar_unit(found, unit, 0)
    if what == "one":
        length = max((seen_from.end.date() - at.date()).days if seen_from else 1, 1)
        step = timedelta(days=-(-length // 7) * 7 if length < 28 else length)
        return at.date() - step, at.date() - step + timedelta(days=length)
    if what in ("day", "giorno"):
        return at.date() - day, at.date()
    if re.fullmatch(WEEKEND, what):
        saturday = at.date() - timedelta(days=at.weekday() + 2)
        return saturday, saturday + 2 * day
    if re.fullmatch(WEEKDAY, what):
        found = at.date() - timedelta(days=(at.weekday() - position_of(what, WEEKDAYS)) % 7 or 7)
        return found, found + day
    return calendar_unit(at, unit_of(what), 1)


_ADJACENT_LETTERS = 8  # such as " of the "


def _join_weekdays(phrases: list[Phrase], now: datetime) -> list[Phrase]:
    """Monday of last week, this week on Tuesday: the day inside that week."""
    weeks = [
        p
        for p in phrases
        if p.kind == "days" and p.end - p.start <= timedelta(days=7, hours=1) and not p.start.weekday()
    ]
    days = [p for p in phrases if p.kind == "day" and p.weekday is not None]
    week = next((w for w in weeks if any(_free_gap(w, day, phrases) <= _ADJACENT_LETTERS for day in days)), None)
    if week is None:
        return phrases
    joined = [p for p in phrases if p not in days and p is not week]
    for day in days:
        at, to = (min(week.at, day.at), max(week.to, day.to)) if len(days) == 1 else (day.at, day.to)
        if _free_gap(week, day, phrases) != _gap(week, day):
            at, to = day.at, day.to  # "Monday evening of last week": the evening stays outside
        start = week.start.date() + timedelta(days=day.weekday)
        end = start + timedelta(days=1)
        joined.append(replace(day, at=at, to=to, start=midnight(start, now), end=midnight(end, now)))
    return sorted(joined, key=lambda p: p.at)


def _join_hours(phrases: list[Phrase], folded: str, now: datetime) -> list[Phrase]:
    """Hours belong to the nearest day named; a clock time without a day to today; "in the evening" alone to no day."""
    days = [p for p in phrases if p.kind == "day" or (p.kind == "course" and len(phrases) > 1)]
    ahead = [p for p in phrases if p.kind == "ahead"]
    joined, used = [], set()
    for phrase in _clock_in_parts(phrases, folded):
        near = min(days, key=lambda day, hours=phrase: _distance(day, hours, folded), default=None)
        if phrase.day is not None:
            made = _hours_of(phrase.day, phrase, now)
        elif near is not None and (not ahead or _gap(near, phrase) <= min(_gap(p, phrase) for p in ahead)):
            used.add(near)
            made = _hours_of(near.start.date(), phrase, now)
            made = replace(made, at=min(near.at, phrase.at), to=max(near.to, phrase.to), weekday=near.weekday)
        elif not phrase.part_of_day and not any(p.kind in ("days", "span", "ahead") for p in phrases):
            made = _hours_of(now.date(), phrase, now)
        else:
            continue
        joined.append(replace(made, end=now) if phrase.open and utc(made.start) < utc(now) else made)
    return sorted([p for p in phrases if p.kind != "hours" and p not in used] + joined, key=lambda p: p.at)


def _hours_of(day: date, phrase: Phrase, now: datetime) -> Phrase:
    """The hours of a phrase on a day."""
    hours = (timedelta(minutes=round(60 * hour)) for hour in phrase.hours)
    start, end = (at_wall_time(datetime.combine(day, time()) + since, now) for since in hours)
    return replace(phrase, kind="span", start=start, end=end)


def _clock_in_parts(phrases: list[Phrase], folded: str) -> list[Phrase]:
    """The phrases of hours. Of "between 8 and 10 yesterday morning" the morning only tells which 8 and 10 are meant;
    bare hours without such a part of the day are none, and without any day no single day's."""
    parts = [p for p in phrases if p.part_of_day]
    joined, used = [], set()
    for phrase in [p for p in phrases if p.kind == "hours" and not p.part_of_day]:
        part = min(parts, key=lambda one, hours=phrase: _gap(one, hours), default=None)
        if part is not None and not _apart(part, phrase, phrases, folded):
            used.add(part)
            hours = _in_part(phrase.hours, part.hours)
            at, to = min(phrase.at, part.at), max(phrase.to, part.to)
            joined.append(replace(phrase, hours=hours, day=part.day, at=at, to=to, part_of_day=phrase.bare))
        elif not phrase.bare:
            joined.append(phrase)
    return joined + [p for p in parts if p not in used]


def _in_part(hours: tuple[float, float], part: tuple[float, float]) -> tuple[float, float]:
    """Hours of the clock in a part of the day: 2 in the afternoon is 14, 2 at night is after midnight."""
    start, end = hours
    told = end if start == 0 else start  # until, or from a time
    night = part[1] > 24
    shift = 24.0 if night and told < 6 else 12.0 if part[0] >= 12 and told < 12 else 0.0
    if start == 0 and end <= 12 and shift < 24:  # until
        return start, end + shift
    if end == 24:  # since, or after
        return start + shift, max(end, start + shift + 1)
    start, end = start % 24 + shift, end % 24 + shift
    return start, end + (0.0 if end > start else 24.0 if night else 12.0)


_BESIDE = re.compile(r"(?:[ ,]|in|on|of|the|at|di|del|della|nel|alla|alle|all'|la|il|\0)*")


def _apart(part: Phrase, clock: Phrase, phrases: list[Phrase], folded: str) -> bool:
    """Whether a part of the day and a time of the clock are told separately."""
    first, last = sorted((part, clock), key=lambda one: one.at)
    between = folded[first.to : last.at]
    for one in phrases:
        if first.to <= one.at and one.to <= last.at:
            between = between.replace(folded[one.at : one.to], "\0")
    return not _BESIDE.fullmatch(between)


def _distance(day: Phrase, hours: Phrase, folded: str) -> int:
    """How far apart a day and hours stand; a word that joins two times parts them."""
    first, last = sorted((day, hours), key=lambda one: one.at)
    between = folded[first.to : last.at]
    if first is hours and re.fullmatch(r" (?:on|of|di|del|dell') ?", between):
        return 0
    return _gap(day, hours) + (30 if re.fullmatch(TO, between) else 0)


def _join_ranges(phrases: list[Phrase], folded: str, now: datetime) -> list[Phrase]:
    """From Friday 6 pm to Monday 6 am: it ends at the second moment, on the Monday after the Friday."""
    joined: list[Phrase] = []
    for phrase in phrases:
        before = joined[-1] if joined else None
        if before and _dated_phrase(before) and _dated_phrase(phrase) and _is_range(before, phrase, folded):
            if phrase.weekday is not None and utc(phrase.start) < utc(before.start):
                start, end = (at_wall_time(t.replace(tzinfo=None) + _WEEK, now) for t in (phrase.start, phrase.end))
                phrase = replace(phrase, start=start, end=end) if utc(start) <= utc(now) else phrase
            if phrase.moment and utc(phrase.start) > utc(before.start):
                until = utc(phrase.end) - utc(phrase.start) > timedelta(hours=1)  # "until 9 am" is all before
                end = phrase.end if until else phrase.start
                joined[-1] = replace(before, kind="span", to=phrase.to, end=end, moment=False)
                continue
        joined.append(phrase)
    return joined


_WEEK = timedelta(days=7)
_OPENS = re.compile(r"(?<!\w)(?:from|between|dal|dalla|dalle|dall'|da|tra|fra|tra le|fra le) ?(?:the |il |le )?$")


def _is_range(first: Phrase, last: Phrase, folded: str) -> bool:
    """Whether the text says from the first to the last."""
    between = folded[first.to : last.at]
    return bool(_UP_TO.fullmatch(between) and (first.moment or _OPENS.search(folded[: first.at])))


_SINCE_THEN = re.compile(r"\bsince(?: then)?\s*(?:[?.!,;:]|$)|\bda allora\b")
_SINCE = re.compile(
    r"(?<!\w)(?:since|starting|starting from|beginning|as of|a partire dal?|da|dal|dalla|dalle|dall'|dallo) ?"
    r"(?:the |on |last |il |la )?$"
)
_FROM = re.compile(r"(?<!\w)from (?:the )?$")
_ON = re.compile(r" (?:on|onwards?|(?:up )?to now|until now|till now|to the present)(?!\w)")
_UP_TO = re.compile(rf"{TO}(?:the |il |la |l')?")


def _since(phrase: Phrase, later: list[Phrase], folded: str, now: datetime) -> Phrase:
    """Since A, from A on: from A's start up to now; but "dal A" that goes on "al B" is no more than A."""
    before = folded[: phrase.at]
    opened = _SINCE.search(before) or (_FROM.search(before) and _ON.match(folded[phrase.to :]))
    closed = later and _UP_TO.fullmatch(folded[phrase.to : later[0].at])
    if phrase.start is None or not opened or closed or utc(phrase.start) >= utc(now):
        return phrase
    return replace(phrase, kind="span", end=now)


def _gap(a: Phrase, b: Phrase) -> int:
    """Letters between two phrases."""
    return max(a.at, b.at) - min(a.to, b.to)


def _free_gap(a: Phrase, b: Phrase, phrases: Iterable[Phrase]) -> int:
    """Letters between two phrases that belong to no other."""
    first, last = sorted((a, b), key=lambda one: one.at)
    return _gap(a, b) - sum(one.to - one.at for one in phrases if first.to <= one.at and one.to <= last.at)


def _dated_phrase(phrase: Phrase) -> bool:
    return phrase.kind in ("day", "days", "span", "now") and phrase.start is not None


def _decide(phrases: list[Phrase], folded: str, now: datetime) -> Window:
    history = units_back(now, HISTORY_DAYS, "day")
    phrases = [phrase for phrase in phrases if phrase.kind not in ("none", "hours")]
    said = " ... ".join(dict.fromkeys(folded[p.at : p.to].strip() for p in phrases))
    begun = [p for p in phrases if _dated_phrase(p) and utc(p.start) < utc(now)]
    ahead = [p for p in phrases if p.kind == "ahead" or (_dated_phrase(p) and p not in begun)]
    if not begun and not ahead:
        begun = [p for p in phrases if p.kind == "course" and utc(p.start) < utc(now)]
    if begun:
        start = min((p.start for p in begun), key=utc)
        end = min(max((p.end for p in begun), key=utc), now, key=utc)
        if _SINCE_THEN.search(folded):
            end = now
        if utc(start) >= utc(end):  # "until A"
            start = units_back(end, HISTORY_DAYS, "day")
        # "Will tomorrow be warmer than yesterday?" needs yesterday and the history; a longer span said is the history.
        if ahead and all(p.kind in ("day", "now") for p in begun):
            return Window(min(start, history, key=utc), now, said, "forecast")
        return Window(start.astimezone(now.tzinfo), end.astimezone(now.tzinfo), said, "past")
    return Window(history, now, said if ahead else "", "forecast" if ahead else "default")
