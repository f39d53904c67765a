"""Words of time: which absolute window of data a question asks for, in English and in Italian's common forms.

The rules (with ``now`` given; local time is now's zone): "today" is from 00:00 to now, "yesterday" the whole day
before, "this week" and "this month" from Monday and the 1st to now, "last week" the seven days Monday to Sunday before,
"the past N units" the N units up to now (a month back is a calendar month back on the same day and hour), "last night"
18:00 to 06:00, morning 06-12, afternoon 12-18, evening 18-24. What lies ahead ("tomorrow", "tonight", "in two hours")
needs the history that a forecast rests on: the last 7 days. No time said: the last 7 days. "Now" is the past hour.
Windows are half-open and end at now at the latest; of several times in one question the window covers all.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from agents.spelling import Spelling
from twin.words import fold

HISTORY_DAYS = 7  # what a forecast needs, and what is taken when no time is said
EARLIEST_YEAR = 1970


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
    folded = re.sub(r"[a-z]+", lambda word: _SPELLING.correct(word[0]), fold(text))
    phrases = _join_weekdays(_join_hours(_scan(folded, now), now), now)
    return _decide([_since(phrase, phrases[i + 1 :], folded, now) for i, phrase in enumerate(phrases)], folded, now)


# --- Calendar ---------------------------------------------------------------------------------------------------------


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


# --- Phrases ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Phrase:
    """A phrase of time at [at, to) of the text.

    ``kind``: "day" (one local day), "days" (several whole days), "span" (start and end to the minute), "now", "hours"
    (``hours`` of a day still to be found, such as "in the evening"), "course" ("throughout the day"), "ahead", "none"
    (words that only look like a time).
    """

    at: int
    to: int
    kind: str
    start: datetime | None = None
    end: datetime | None = None
    hours: tuple[float, float] | None = None
    weekday: int | None = None


_NUMBER_WORDS = {
    **{w: i for i, w in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())},
    "a": 1, "an": 1, "single": 1, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3, "several": 7,
    "fourteen": 14, "fifteen": 15, "twenty": 20, "twenty four": 24, "twenty-four": 24, "thirty": 30, "forty eight": 48,
    "forty-eight": 48, "sixty": 60, "ninety": 90, "un": 1, "uno": 1, "una": 1, "due": 2, "tre": 3, "quattro": 4,
    "cinque": 5, "sei": 6, "sette": 7, "otto": 8, "nove": 9, "dieci": 10, "dodici": 12, "quindici": 15, "venti": 20,
    "ventiquattro": 24, "trenta": 30, "quarantotto": 48, "un paio di": 2, "pochi": 3, "poche": 3,
}  # fmt: skip
_UNITS = {
    "second": "seconds?|secs?|secondi|secondo",
    "minute": "minutes?|mins?|minuti|minuto",
    "hour": "hours?|hrs?|h|ore|ora",
    "day": "days?|d|giorni|giorno|giornate",
    "fortnight": "fortnights?",
    "week": "weeks?|wks?|settimane|settimana",
    "month": "months?|mesi|mese",
    "quarter": "quarters?|trimestri|trimestre",
    "year": "years?|yrs?|anni|anno",
}
_MONTHS = (
    "january|jan|gennaio", "february|feb|febbraio", "march|mar|marzo", "april|apr|aprile", "may|maggio|mag",
    "june|jun|giugno", "july|jul|luglio", "august|aug|agosto", "september|sept|sep|settembre", "october|oct|ottobre",
    "november|nov|novembre", "december|dec|dicembre",
)  # fmt: skip
_WEEKDAYS = (
    "mondays?|mon|lunedi", "tuesdays?|tue|tues|martedi", "wednesdays?|weds?|mercoledi", "thursdays?|thu|thurs?|giovedi",
    "fridays?|fri|venerdi", "saturdays?|sabato", "sundays?|domenica",
)  # fmt: skip
_SPELLING = Spelling(
    "yesterday* tomorrow* tonight* morning* mourning afternoon* evening* weekend* midnight* tuesday* wednesday* "
    "thursday* saturday* january february september october november december settiman* stamattina mattin* pomerigg* "
    "stasera mercoledi giovedi venerdi domenic*".split(),
    "yesterday tomorrow tonight morning afternoon evening weekend midnight tuesday wednesday thursday saturday january "
    "february september october november december settimana stamattina pomeriggio stasera mercoledi giovedi venerdi "
    "domenica".split(),
)
_SEASONS = {"spring|primavera": 3, "summer|estate": 6, "autumn|autunno": 9, "winter|inverno": 12}
_PARTS = {  # hours after the day's midnight
    "morning|mattina|mattino|mattinata": (6, 12),
    "afternoon|pomeriggio": (12, 18),
    "evening|sera|serata": (18, 24),
    "night|notte|nottata": (18, 30),
}


def _any(patterns: Iterable[str]) -> str:
    return "(?:" + "|".join(patterns) + ")"


_N = r"(?:\d{1,9}|" + "|".join(sorted((re.escape(w) for w in _NUMBER_WORDS), key=len, reverse=True)) + ")"
_UNIT = _any(_UNITS.values())
_LONG_UNIT = _any(_UNITS[u] for u in ("week", "month", "quarter", "year"))
_MONTH, _WEEKDAY, _SEASON, _PART = _any(_MONTHS), _any(_WEEKDAYS), _any(_SEASONS), _any(_PARTS)
_NTH = r"(?:st|nd|rd|th|°|º)?"
_HOUR, _AMPM = r"(?:[01]?\d|2[0-4])", r"(?:am|pm|a\.m\.?|p\.m\.?|o'?clock)"
_CLOCK = rf"(?:{_HOUR}(?:[:.h][0-5]\d)?(?: ?{_AMPM})?|noon|midday|midnight|mezzogiorno|mezzanotte)"
_TO = r" ?(?:to|and|until|till|through|-|–|—|al|all'|alle|e|e le|fino alle|fino al|a) ?"


_NO_STEP = r"(?! (?:interval|step|bin|average|mean|resolution|slot|granular|window|sampl|readings))"
_COUNT = rf"(?P<n>{_N})(?:[ -]|(?<=\d))"
_FUTURE_TENSE = re.compile(
    r"\b(?:will|won't|shall|'ll|going to|gonna|plan(?:s|ning)? (?:to|on)|forecast|predict\w*|expect\w*|previsioni?"
    r"|preved\w+|sara|saranno|fara|ci sara|vorrei|andro|andremo|piovera|nevichera|potro|conviene|dovrei|should i)\b"
)


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBER_WORDS[word]


def _which(word: str, patterns: Iterable[str]) -> int:
    """Position of the pattern that the word fits."""
    return next(i for i, pattern in enumerate(patterns) if re.fullmatch(pattern, word))


def _unit(word: str) -> str:
    return list(_UNITS)[_which(word, _UNITS.values())]


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], datetime], "_Phrase | None"]]
_RULES: list[_Rule] = []


def _rule(*patterns: str):
    """Registers a reader of phrases: earlier rules take their words first; None leaves the words to later rules."""

    def register(read: Callable[[re.Match[str], datetime], "_Phrase | None"]):
        for pattern in patterns:
            _RULES.append((re.compile(rf"(?<![\w]){_any([pattern])}(?![\w])"), read))
        return read

    return register


def _days(match: re.Match[str], first: date, after: date, now: datetime) -> _Phrase:
    kind = "day" if after - first == timedelta(days=1) else "days"
    return _Phrase(match.start(), match.end(), kind, midnight(first, now), midnight(after, now))


def _a_day(match: re.Match[str], day: date, now: datetime) -> _Phrase:
    return _days(match, day, day + timedelta(days=1), now)


def _span(match: re.Match[str], start: datetime, end: datetime) -> _Phrase:
    return _Phrase(match.start(), match.end(), "span", start, end)


def _ahead(match: re.Match[str], now: datetime | None = None) -> _Phrase:
    return _Phrase(match.start(), match.end(), "ahead")


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _dated(match: re.Match[str], day: str, now: datetime) -> date | None:
    """The date of a match's month and year; without a year the latest that has begun, or in a question about the future
    the nearest."""
    month = _which(match["m"], _MONTHS) + 1
    if match["y"]:
        return _date(int(match["y"]), month, int(day))
    ahead = bool(_FUTURE_TENSE.search(match.string))
    dates = [_date(year, month, int(day)) for year in range(now.year - 8, now.year + 9)]  # 8 years for 29 February
    known = [found for found in dates if found and (ahead or found <= now.date())]
    return min(known, key=lambda found: abs(found - now.date()), default=None)


# Words that only look like times.


@_rule(
    r"good (?:morning|afternoon|evening|night|day)",
    r"buon(?:giorno|asera|anotte)|buon[ao] (?:giorno|sera|notte|pomeriggio)",
)
def _greeting(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _Phrase(match.start(), match.end(), "none")


# Explicit dates.


@_rule(r"(\d{4})-(\d\d)-(\d\d)[t ](\d\d):(\d\d)(?::\d\d)?(?: ?(z|[+-]\d\d:?\d\d))?")
def _iso_time(match: re.Match[str], now: datetime) -> _Phrase | None:
    year, month, day, hour, minute = (int(match[i]) for i in range(1, 6))
    if not _date(year, month, day) or year < EARLIEST_YEAR or year > 9000 or hour > 23 or minute > 59:
        return None
    wall = datetime(year, month, day, hour, minute)
    if match[6]:
        zone = "+00:00" if match[6] == "z" else match[6]
        try:
            start = datetime.fromisoformat(wall.isoformat() + zone).astimezone(now.tzinfo)
        except ValueError:
            return None
    else:
        start = at_wall_time(wall, now)
    closes = re.search(r"(?:to|until|till|and|al?|-|/|–) ?$", match.string[: match.start()])  # "from A to B" ends at B
    end = start if closes else (start.astimezone(UTC) + timedelta(hours=1)).astimezone(now.tzinfo)
    return _span(match, start, end)


@_rule(r"(?P<y>\d{4})[-/](?P<m>\d\d?)[-/](?P<d>\d\d?)", r"(?P<d>\d\d?)[./-](?P<m>\d\d?)[./-](?P<y>\d{4})")
def _numeric_date(match: re.Match[str], now: datetime) -> _Phrase | None:
    day = _date(int(match["y"]), int(match["m"]), int(match["d"]))
    return _a_day(match, day, now) if day and EARLIEST_YEAR <= day.year <= 9000 else None


@_rule(
    rf"(?:from |between |dal |tra il |fra il )?(?P<a>\d\d?){_NTH}{_TO}(?:the |il )?(?P<b>\d\d?){_NTH} (?:of |di )?"
    rf"(?P<m>{_MONTH})(?:,? (?P<y>(?:19|20)\d\d))?",
    rf"(?P<m>{_MONTH}) (?P<a>\d\d?){_NTH}{_TO}(?:the )?(?P<b>\d\d?){_NTH}(?:,? (?P<y>(?:19|20)\d\d))?(?! ?[:ap]m?\b)",
)
def _date_range(match: re.Match[str], now: datetime) -> _Phrase | None:
    first = _dated(match, match["a"], now)
    last = _date(first.year, first.month, int(match["b"])) if first else None
    return _days(match, first, last + timedelta(days=1), now) if last and first <= last else None


@_rule(
    rf"(?P<d>\d\d?){_NTH} (?:of |di )?(?P<m>{_MONTH})\.?(?:,? (?:del )?(?P<y>(?:19|20)\d\d))?",
    rf"(?P<m>{_MONTH})\.? (?:the )?(?P<d>\d\d?){_NTH}(?!\d|:)(?:,? (?P<y>(?:19|20)\d\d))?",
)
def _written_date(match: re.Match[str], now: datetime) -> _Phrase | None:
    day = _dated(match, match["d"], now)
    return _a_day(match, day, now) if day else None


@_rule(
    rf"(?P<m>{_MONTH}),? (?:of |del )?(?P<y>(?:19|20)\d\d)",
    rf"(?:(?:in|during|of|throughout|since|a|ad|di|da|nel mese di)|(?P<last>last|scorso)) (?P<m>{_MONTH})",
    r"(?P<m>january|february|april|june|july|august|september|october|november|december|gennaio|febbraio|marzo|aprile"
    r"|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre)(?P<last> scorso)?",
)
def _month(match: re.Match[str], now: datetime) -> _Phrase | None:
    month = _which(match["m"], _MONTHS) + 1
    year = int(match["y"]) if "y" in match.re.groupindex else now.year - (month > now.month)
    if match.groupdict().get("last") and month == now.month:
        year -= 1
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    # The preposition stays outside, so that "since November" is still seen to begin with "since".
    return replace(_days(match, first, after, now), at=match.start("m"))


@_rule(r"(?:in|during|of|since|nel|del|dal) (?:the year )?(?P<y>(?:19[7-9]|20\d)\d)")
def _year(match: re.Match[str], now: datetime) -> _Phrase | None:
    year = int(match["y"])
    return replace(_days(match, date(year, 1, 1), date(year + 1, 1, 1), now), at=match.start("y"))


# Times ahead.


@_rule(
    r"(?:the )?day after tomorrow|tomorrow|tonight|this night",
    r"domani|dopodomani|stasera|stanotte|questa sera|questa notte",
    rf"(?:the |le |i |il |la |nei |nelle |nel |nella )?(?:next|coming|following|upcoming|prossim[oaie]) (?:{_N} )?"
    rf"(?:{_UNIT}|{_WEEKDAY}|{_MONTH}|{_SEASON}|{_PART}|weekend|week-end|fine settimana|spring|rush hour)",
    rf"(?:{_LONG_UNIT}|{_WEEKDAY}|weekend|fine settimana) prossim[oa]",
    rf"(?:in|within|entro|tra|fra) {_N}(?: more| further)?[ -]{_UNIT}(?:'s?)?(?: time| from now)?{_NO_STEP}",
    rf"{_N} {_UNIT} (?:ahead|from now|later)|(?:by|entro) {_WEEKDAY}",
    r"later today|later this \w+|later on|(?:the )?rest of (?:the|this) (?:day|week|month|afternoon|evening|year)"
    r"|(?:in |over )?the (?:near |coming )?future|coming days|upcoming|soon|prossimamente|piu tardi",
)
def _coming(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _ahead(match)


# Days and parts of days known by name.


@_rule(r"(?:the )?day before yesterday|(?<=yesterday and )the day before|l'altro ieri|altroieri|avantieri|avant'ieri")
def _before_yesterday(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _a_day(match, now.date() - timedelta(days=2), now)


@_rule(
    r"last night|(?:the )?previous night|overnight|(?:la )?notte scorsa|(?:la )?scorsa notte|ieri notte|yesterday night"
)
def _last_night(match: re.Match[str], now: datetime) -> _Phrase | None:
    evening = datetime.combine(now.date() - timedelta(days=1), time(18))
    return _span(match, at_wall_time(evening, now), at_wall_time(evening + timedelta(hours=12), now))


@_rule(r"stamattina|stamane|stamani|(?:this|questa|questo) (?:morning|mattina|mattino)")
def _this_morning(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _hours_of(now.date(), (6, 12), match.start(), match.end(), now)


@_rule(r"(?:this|questa|questo) (?P<p>afternoon|evening|pomeriggio|sera)")
def _this_part(match: re.Match[str], now: datetime) -> _Phrase | None:
    hours = list(_PARTS.values())[_which(match["p"], _PARTS)]
    return _hours_of(now.date(), hours, match.start(), match.end(), now)


@_rule(r"yesterday|ieri")
def _yesterday(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _a_day(match, now.date() - timedelta(days=1), now)


@_rule(r"today|oggi|odiern[oa]|in giornata")
def _today(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _a_day(match, now.date(), now)


@_rule(
    r"(?:throughout|during|over|across|in|all through|through) (?:the course of )?(?:the|a) (?:whole |entire )?day",
    r"all day(?: long)?|the (?:whole|entire) day|day-?time",
    r"(?:durante|lungo|attraverso) (?:tutta )?(?:il giorno|la giornata)|(?:nel corso|nell'arco) della giornata",
    r"(?:per )?tutto il giorno|tutta la giornata",
)
def _course_of_day(match: re.Match[str], now: datetime) -> _Phrase | None:
    return replace(_a_day(match, now.date(), now), kind="course")


# Spans up to now.


@_rule(
    rf"(?:past|last|previous|preceding|trailing|recent|ultim[ie]|passat[ie]|scors[ie]|precedenti) {_COUNT}"
    rf"(?:full |whole |complete )?(?P<u>{_UNIT})",
    rf"{_COUNT}(?:ultim[ie]|last|past) (?P<u>{_UNIT})",
    rf"(?:over|for|during|per|da) (?:a |the )?{_COUNT}(?P<u>{_UNIT})(?: (?:period|up to now|until now))?{_NO_STEP}",
    rf"{_COUNT}(?P<u>{_UNIT})(?: (?:up to now|until now|to date)| of history)",
)
def _past_units(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _span(match, units_back(now, _number(match["n"]), _unit(match["u"])), now)


@_rule(
    r"(?:past|last|previous) (?P<h>half(?: an)? hour|quarter of an hour|(?:hour|day|week|month|year) and a half)",
    r"ultima (?P<h>mezz'?ora)",
)
def _halves(match: re.Match[str], now: datetime) -> _Phrase | None:
    halves = {
        "hour": (90, "minute"),
        "day": (36, "hour"),
        "week": (252, "hour"),
        "month": (45, "day"),
        "year": (18, "month"),
    }
    if match["h"].endswith("and a half"):
        count, unit = halves[match["h"].split()[0]]
    else:
        count, unit = (15 if match["h"].startswith("quarter") else 30), "minute"
    return _span(match, units_back(now, count, unit), now)


@_rule(
    r"(?:last|previous|past) (?:weekend|week-end)",
    r"(?:weekend|week-end|fine settimana) (?:scorso|passato)|scorso (?:weekend|fine settimana)",
)
def _last_weekend(match: re.Match[str], now: datetime) -> _Phrase | None:
    monday = now.date() - timedelta(days=now.weekday())
    return _days(match, monday - timedelta(days=2), monday, now)


@_rule(
    r"(?P<before>the )(?P<u>week|month|quarter|year) before last",
    r"(?P<the>the )?last (?P<u>week|month|quarter|year)",
    rf"(?:previous|preceding|scors[oa]|precedente) (?P<u>{_LONG_UNIT})",
    r"(?P<u>settimana|mese|trimestre|anno) (?:scors[oa]|passat[oa]|precedente)",
)
def _last_calendar_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    if match.groupdict().get("the"):  # "over the last week" is the week up to now
        return _span(match, units_back(now, 1, _unit(match["u"])), now)
    return _days(match, *calendar_unit(now, _unit(match["u"]), 2 if match.groupdict().get("before") else 1), now)


@_rule(
    rf"(?:past|last|previous|trailing|preceding|ultim[oa]|passat[oa]) (?P<u>{_UNIT})",
)
def _past_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    unit = _unit(match["u"])
    return None if unit in ("second", "minute") else _span(match, units_back(now, 1, unit), now)


@_rule(
    rf"(?:this|current|present|questa|questo|quest'|corrente) ?(?P<u>{_LONG_UNIT})",
    rf"(?:start|beginning|first day|inizio) (?:of |di )?(?:the |this |del |della |dell'|quest[oa'] ?)?"
    rf"(?P<u>{_LONG_UNIT})",
    r"(?P<u>week|month|quarter|year)[ -]to[ -]date|(?:settimana|mese|anno) (?:corrente|in corso)",
)
def _this_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    word = match.groupdict().get("u") or match[0].split()[0]
    return _days(match, *calendar_unit(now, _unit(word), 0), now)


@_rule(r"(?:this|questo) (?:weekend|week-end|fine settimana)")
def _this_weekend(match: re.Match[str], now: datetime) -> _Phrase | None:
    saturday = now.date() - timedelta(days=now.weekday() - 5)
    return _days(match, saturday, saturday + timedelta(days=2), now)


@_rule(r"(?:over|during|at|on|in|nel|durante) (?:the |il )?(?:weekend|week-end|fine settimana)")
def _weekend(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest weekend that has begun."""
    saturday = now.date() - timedelta(days=(now.weekday() - 5) % 7)
    return _days(match, saturday, saturday + timedelta(days=2), now)


@_rule(rf"(?P<w>this|last|past|scors[oa]|quest[oa]|the past) (?P<s>{_SEASON})", rf"(?P<s>{_SEASON}) (?P<w>scors[oa])")
def _season(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Meteorological seasons (winter is December to February): "this" of the present year, "last" the latest ended."""
    month = list(_SEASONS.values())[_which(match["s"], _SEASONS)]
    first = date(now.year - (month == 12 and now.month < 3), month, 1)
    if not match["w"].startswith(("this", "quest")):
        while _three_months_on(first) > now.date():
            first = date(first.year - 1, month, 1)
    return _days(match, first, _three_months_on(first), now)


def _three_months_on(first: date) -> date:
    return date(first.year + (first.month + 2) // 12, (first.month + 2) % 12 + 1, 1)


@_rule(rf"(?P<n>{_N}) (?P<u>{_UNIT}) (?:ago|before|back|earlier|fa|prima)")
def _ago(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Three days ago is that day, two weeks ago that week, five hours ago the hour that began then."""
    count, unit = _number(match["n"]), _unit(match["u"])
    start = units_back(now, count, unit)
    if unit in ("second", "minute", "hour"):
        return _span(match, start, min(now, start.astimezone(UTC) + timedelta(hours=1), key=_utc))
    if unit == "day":
        return _a_day(match, start.date(), now)
    return _days(match, *calendar_unit(now, unit, min(count, 12 * (now.year - EARLIEST_YEAR))), now)


@_rule(
    rf"(?P<every>every|each|ogni|on|il) (?P<d>{_WEEKDAY})",
    rf"(?P<w>last|this past|scors[oa]|this|quest[oa]) (?P<d>{_WEEKDAY})",
    rf"(?P<d>{_WEEKDAY})(?P<w> scors[oa]| passat[oa])?",
)
def _weekday(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest such day before today; "this Friday" is the one of the present week, "on Friday" in a question about
    the future lies ahead, "every Friday" is no single day."""
    said = match.groupdict()
    if said.get("every") in ("every", "each", "ogni") or match["d"].endswith("days"):
        return _Phrase(match.start(), match.end(), "none")
    weekday = _which(match["d"], _WEEKDAYS)
    back = (now.weekday() - weekday) % 7 or 7
    if (said.get("w") or "").startswith(("this ", "quest")) or said.get("w") == "this":
        back = now.weekday() - weekday
    elif not said.get("w") and _FUTURE_TENSE.search(match.string):
        back -= 7
    day = _a_day(match, now.date() - timedelta(days=back), now)
    return replace(day, weekday=weekday)


# Hours of a day, and now.


def _clock_hours(word: str) -> float:
    word = word.strip()
    if word in ("noon", "midday", "mezzogiorno"):
        return 12
    if word in ("midnight", "mezzanotte"):
        return 0
    match = re.fullmatch(r"(\d{1,2})(?:[:.h](\d\d))? ?(.*)", word)
    hour = int(match[1]) + int(match[2] or 0) / 60
    if match[3].startswith("p") and hour < 12:
        hour += 12
    elif match[3].startswith("a") and 12 <= hour < 13:
        hour -= 12
    return hour


@_rule(
    rf"(?:between|from|dalle|dall'|tra le|fra le) (?:ore )?(?P<a>{_CLOCK}){_TO}(?:le |ore )?(?P<b>{_CLOCK})",
    r"(?P<a>\d\d?(?::[0-5]\d)?) ?(?:-|–|to) ?(?P<b>\d\d?(?::[0-5]\d)? ?(?:am|pm|a\.m\.?|p\.m\.?))",
    r"(?P<a>\d\d?:[0-5]\d) ?(?:-|–|to) ?(?P<b>\d\d?:[0-5]\d)",
)
def _clock_range(match: re.Match[str], now: datetime) -> _Phrase | None:
    first, last = match["a"], match["b"]
    if match[0].startswith(("between", "from")) and not re.search(r"[:.hapn]", first + last):
        return None  # "between 10 and 20 degrees"
    start, end = _clock_hours(first), _clock_hours(last)
    if re.search(r"[ap]\.?m", last) and first.isdigit() and start <= 12:
        start = _clock_hours(first + last[re.search(r"[ap]\.?m", last).start() :])
        if start >= end:
            start = _clock_hours(first)
    if end <= start:
        end += 24
    return _Phrase(match.start(), match.end(), "hours", hours=(start, end))


@_rule(
    rf"(?:(?P<how>at|around|about|since|after|from|by|before|until) )?"
    rf"(?P<c>{_HOUR}(?:(?:[:.][0-5]\d)? ?{_AMPM}|:[0-5]\d))",
    rf"(?P<how>alle|all'|dalle|dopo le|prima delle|entro le) (?:ore )?(?P<c>{_HOUR}(?:[:.][0-5]\d)?)",
    rf"(?P<how>ore) (?P<c>{_HOUR}(?:[:.][0-5]\d)?)",
    r"(?P<how>at|around|since|after|before|until|a) (?P<c>noon|midday|midnight|mezzogiorno|mezzanotte)",
)
def _clock(match: re.Match[str], now: datetime) -> _Phrase | None:
    """At 5 pm is the hour that begins then, after 5 pm the rest of the day, before 5 pm the day until then."""
    hour, how = _clock_hours(match["c"]), match["how"] or "at"
    if how in ("since", "after", "from", "dalle", "dopo le"):
        hours = (hour, 24.0)
    elif how in ("before", "until", "by", "prima delle", "entro le"):
        hours = (0.0, hour or 24.0)
    else:
        hours = (hour, hour + 1)
    return _Phrase(match.start(), match.end(), "hours", hours=hours)


@_rule(rf"(?:in the |of the |at |during the |di |del |della |nel |alla |la |in )?(?P<p>{_PART})")
def _part_of_day(match: re.Match[str], now: datetime) -> _Phrase | None:
    hours = list(_PARTS.values())[_which(match["p"], _PARTS)]
    return _Phrase(match.start(), match.end(), "hours", hours=hours)


@_rule(
    r"right now|now|at (?:the|this) (?:very )?moment|at present|presently|currently|in real[ -]?time",
    r"live (?:data|readings?|status)|(?:latest|most recent) (?:readings?|values?|measurements?|data)",
    r"adesso|attualmente|in questo momento|in questo istante|in tempo reale|proprio ora",
    # "current" as an adjective, not the electric current
    r"current(?= (?:temperature|humidity|weather|traffic|air|load|state|status|situation|conditions?|levels?|water|wind"
    r"|rain|parking|power|electricity|energy|grid|cell|network|mobile|solar|number|occupancy|demand|pollution|road|ev"
    r"|outages?))",
)
def _right_now(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _Phrase(match.start(), match.end(), "now", units_back(now, 1, "hour"), now)


# --- From phrases to one window ---------------------------------------------------------------------------------------


def _scan(folded: str, now: datetime) -> list[_Phrase]:
    """The phrases of time in the text, in order; no word belongs to two."""
    phrases, left = [], folded
    for pattern, read in _RULES:
        for match in pattern.finditer(left):
            phrase = read(match, now)
            if phrase is not None:
                phrases.append(phrase)
                # Taken words become a letter-like filler, so that no later pattern reaches across them.
                left = left[: match.start()] + "\0" * (match.end() - match.start()) + left[match.end() :]
    return sorted(phrases, key=lambda phrase: phrase.at)


def _hours_of(day: date, hours: tuple[float, float], at: int, to: int, now: datetime) -> _Phrase:
    start, end = (
        at_wall_time(datetime.combine(day, time()) + timedelta(minutes=round(60 * hour)), now) for hour in hours
    )
    return _Phrase(at, to, "span", start, end)


def _join_hours(phrases: list[_Phrase], now: datetime) -> list[_Phrase]:
    """Hours belong to the nearest day named; a clock time without a day to today; "in the evening" alone to no day."""
    days = [p for p in phrases if p.kind == "day" or (p.kind == "course" and len(phrases) > 1)]
    joined, used = [], set()
    for phrase in phrases:
        if phrase.kind != "hours":
            continue
        ahead = [p for p in phrases if p.kind == "ahead"]
        near = min(days, key=lambda day: _gap(day, phrase), default=None)
        if near is not None and (not ahead or _gap(near, phrase) <= min(_gap(p, phrase) for p in ahead)):
            used.add(near)
            at, to = min(near.at, phrase.at), max(near.to, phrase.to)
            joined.append(_hours_of(near.start.date(), phrase.hours, at, to, now))
        elif phrase.hours not in _PARTS.values() and not any(p.kind in ("days", "span", "ahead") for p in phrases):
            joined.append(_hours_of(now.date(), phrase.hours, phrase.at, phrase.to, now))
    return sorted([p for p in phrases if p.kind != "hours" and p not in used] + joined, key=lambda p: p.at)


_ADJACENT_LETTERS = 8  # such as " of the "


def _join_weekdays(phrases: list[_Phrase], now: datetime) -> list[_Phrase]:
    """Monday of last week, this week on Tuesday: the day inside that week."""
    weeks = [
        p
        for p in phrases
        if p.kind == "days" and p.end - p.start <= timedelta(days=7, hours=1) and not p.start.weekday()
    ]
    days = [p for p in phrases if p.kind == "day" and p.weekday is not None]
    week = next((w for w in weeks if any(_gap(w, day) <= _ADJACENT_LETTERS for day in days)), None)
    if week is None:
        return phrases
    joined = [p for p in phrases if p not in days and p is not week]
    for day in days:
        at, to = (min(week.at, day.at), max(week.to, day.to)) if len(days) == 1 else (day.at, day.to)
        start = week.start.date() + timedelta(days=day.weekday)
        end = start + timedelta(days=1)
        joined.append(replace(day, at=at, to=to, start=midnight(start, now), end=midnight(end, now)))
    return sorted(joined, key=lambda p: p.at)


_SINCE = re.compile(
    r"(?<!\w)(?:since|starting|starting from|beginning|as of|a partire dal?|da|dal|dalla|dalle|dall'|dallo) ?"
    r"(?:the |on |last |il |la )?$"
)
_FROM = re.compile(r"(?<!\w)from (?:the )?$")
_ON = re.compile(r" (?:on|onwards?|(?:up )?to now|until now|till now|to the present)(?!\w)")
_UP_TO = re.compile(rf"{_TO}(?:the |il |la |l')?")


def _since(phrase: _Phrase, later: list[_Phrase], folded: str, now: datetime) -> _Phrase:
    """Since A, from A on: from A's start up to now; but "dal A" that goes on "al B" is no more than A."""
    before = folded[: phrase.at]
    opened = _SINCE.search(before) or (_FROM.search(before) and _ON.match(folded[phrase.to :]))
    closed = later and _UP_TO.fullmatch(folded[phrase.to : later[0].at])
    if phrase.start is None or not opened or closed or _utc(phrase.start) >= _utc(now):
        return phrase
    return replace(phrase, kind="span", end=now)


def _gap(a: _Phrase, b: _Phrase) -> int:
    """Letters between two phrases."""
    return max(a.at, b.at) - min(a.to, b.to)


def _dated_phrase(phrase: _Phrase) -> bool:
    return phrase.kind in ("day", "days", "span", "now") and phrase.start is not None


def _utc(moment: datetime) -> datetime:
    # Two times of the same zone compare by their wall clocks in Python, which errs when clocks are changed.
    return moment.astimezone(UTC)


def _decide(phrases: list[_Phrase], folded: str, now: datetime) -> Window:
    history = units_back(now, HISTORY_DAYS, "day")
    phrases = [phrase for phrase in phrases if phrase.kind != "none"]
    said = " ... ".join(dict.fromkeys(folded[p.at : p.to].strip() for p in phrases))
    begun = [p for p in phrases if _dated_phrase(p) and _utc(p.start) < _utc(now)]
    ahead = [p for p in phrases if p.kind == "ahead" or (_dated_phrase(p) and p not in begun)]
    if not begun and not ahead:
        begun = [p for p in phrases if p.kind == "course" and _utc(p.start) < _utc(now)]
    if begun:
        start = min((p.start for p in begun), key=_utc)
        end = min(max((p.end for p in begun), key=_utc), now, key=_utc)
        if _utc(start) >= _utc(end):  # "until A"
            start = units_back(end, HISTORY_DAYS, "day")
        # "Will tomorrow be warmer than yesterday?" needs yesterday and the history; a longer span said is the history.
        if ahead and all(p.kind in ("day", "now") for p in begun):
            return Window(min(start, history, key=_utc), now, said, "forecast")
        return Window(start.astimezone(now.tzinfo), end.astimezone(now.tzinfo), said, "past")
    return Window(history, now, said if ahead else "", "forecast" if ahead else "default")
