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
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from dateutil.easter import easter

from agents.spelling import Spelling
from twin.gazetteer import places
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
    folded = re.sub(r"[a-z]+|2(?:day|moro|nite)", lambda word: _corrected(word[0]), fold(text))
    phrases = _join_parts(_scan(folded, now), folded, now)
    phrases = _join_hours(_join_weekdays(_join_earlier(phrases, now), now), folded, now)
    phrases = _join_ranges(phrases, folded, now)
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
    (``hours`` after midnight of a day still to be found, or of ``day``), "course" ("throughout the day"), "ahead",
    "none" (words that only look like a time); and those that mean something only beside another phrase: "part" (such
    as "the first half of", ``of`` days), "workdays", "week of", "earlier" ("the week before", ``of`` what).

    ``part_of_day``: the hours are a morning, afternoon and so on, and not told by a clock. ``bare``: hours without am
    or pm, which count only beside a part of the day. ``moment``: a single time of the clock. ``open``: since it.
    """

    at: int
    to: int
    kind: str
    start: datetime | None = None
    end: datetime | None = None
    hours: tuple[float, float] | None = None
    weekday: int | None = None
    day: date | None = None
    of: str | tuple = ""
    part_of_day: bool = False
    bare: bool = False
    moment: bool = False
    open: bool = False


_ONES = "one two three four five six seven eight nine ten eleven twelve".split()
_ONES_IT = "uno due tre quattro cinque sei sette otto nove dieci undici dodici".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_TENS_IT = "venti trenta quaranta cinquanta sessanta settanta ottanta novanta".split()
_NUMBER_WORDS = {
    **{word: i for words in (_ONES, _ONES_IT) for i, word in enumerate(words, 1)},
    **{f"{word}teen": i for i, word in enumerate("thir four fif six seven eigh nine".split(), 13)},
    **{word: 10 * i for words in (_TENS, _TENS_IT) for i, word in enumerate(words, 2)},
    **{f"{tens}{dash}{ones}": 10 * i + k
       for i, tens in enumerate(_TENS, 2) for k, ones in enumerate(_ONES[:9], 1) for dash in "- "},
    **{(tens[:-1] if ones in ("uno", "otto") else tens) + ones: 10 * i + k
       for i, tens in enumerate(_TENS_IT, 2) for k, ones in enumerate(_ONES_IT[:9], 1)},
    "zero": 0, "a": 1, "an": 1, "single": 1, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3, "several": 7,
    "a dozen": 12, "half a dozen": 6, "un": 1, "una": 1, "un paio di": 2, "pochi": 3, "poche": 3, "una decina di": 10,
    "una ventina di": 20, "tredici": 13, "quattordici": 14, "quindici": 15, "sedici": 16, "diciassette": 17,
    "diciotto": 18, "diciannove": 19,
}  # fmt: skip
_ORDINALS = {
    **{word: i for i, word in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth eleventh"
       " twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth".split(), 1)},
    **{f"twenty{dash}{word}": 20 + i for dash in "- " for i, word in enumerate(
       "first second third fourth fifth sixth seventh eighth ninth".split(), 1)},
    "thirtieth": 30, "thirty-first": 31, "thirty first": 31, "primo": 1,
    **{word: number for word, number in _NUMBER_WORDS.items()
       if number < 32 and (word in _ONES_IT or re.match("vent|trent|.*(?:dici|otto$|ss?ette$|nove$)", word))},
}  # fmt: skip
_SHORT_WORDS = {
    "ystrday": "yesterday", "yestday": "yesterday", "yday": "yesterday", "yest": "yesterday", "pst": "past",
    "lst": "last", "weks": "weeks", "wek": "week", "tdy": "today", "2day": "today", "tmrw": "tomorrow",
    "tmw": "tomorrow", "2moro": "tomorrow", "tonite": "tonight", "2nite": "tonight", "nite": "night",
    "mornin": "morning", "wknd": "weekend", "hrz": "hours", "mnth": "month", "mnths": "months",
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
    "mondays?|mon|lunedi|lun", "tuesdays?|tue|tues|martedi", "wednesdays?|weds?|mercoledi|mer",
    "thursdays?|thu|thurs?|giovedi|gio", "fridays?|fri|venerdi|ven", "saturdays?|sabat[oi]|sab",
    "sundays?|domenic(?:a|he)|dom",
)  # fmt: skip
_SPELLED = (
    "yesterday tomorrow tonight morning afternoon evening weekend midnight tuesday wednesday thursday saturday january "
    "february september october november december settimana stamattina pomeriggio stasera mercoledi giovedi venerdi "
    "domenica"
).split()
_SPELLING = Spelling(
    "yesterday* tomorrow* tonight* morning* mourning afternoon* evening* weekend* midnight* tuesday* wednesday* "
    "thursday* saturday* january february september october november december settiman* stamattina mattin* pomerigg* "
    "stasera mercoledi giovedi venerdi domenic*".split()
    + [
        word
        for place in places()
        for name in (place.name, *place.other_names)
        for word in re.findall("[a-z]+", fold(name))
    ],
    _SPELLED,
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


_ONES_AFTER_A = [ones for ones in _ONES_IT[:9] if ones not in ("uno", "otto")]
_COMPOUND = (  # "seventy-two", "settantadue", "settantuno"
    rf"{_any(_TENS)}[- ]{_any(_ONES[:9])}|{_any(_TENS_IT)}{_any(_ONES_AFTER_A)}"
    rf"|{_any(tens[:-1] for tens in _TENS_IT)}(?:uno|otto)"
)
_N = _any(
    ["\\d{1,9}", _COMPOUND]
    + sorted((word for word in _NUMBER_WORDS if not re.fullmatch(_COMPOUND, word)), key=len, reverse=True)
)
_UNIT = _any(_UNITS.values())
_LONG_UNIT = _any(_UNITS[u] for u in ("week", "month", "quarter", "year"))
_MONTH, _WEEKDAY, _SEASON, _PART = _any(_MONTHS), _any(_WEEKDAYS), _any(_SEASONS), _any(_PARTS)
_WEEKEND = "(?:weekend|week-end|fine settimana)"
_NTH = r"(?:st|nd|rd|th|°|º)?"
_ORDINAL = _any(sorted(_ORDINALS, key=len, reverse=True))
_DAY_OF_MONTH = rf"(?:[0-3]?\d{_NTH}|{_ORDINAL})"
_ON_WEEKDAY = rf"(?:{_WEEKDAY}\.?,? (?:the |il )?)?"  # "Friday 15 November" is one date
_LAST_YEAR = r",? (?P<ly>(?:of )?last year|(?:dell'|l')anno (?:scorso|passato))"
_YEAR = rf"(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d)|{_LAST_YEAR})?"
_HOUR, _AMPM = r"(?:[01]?\d|2[0-4])", r"(?:am|pm|a\.m\.?|p\.m\.?|o'?clock)"
_HOUR_WORD = _any([*_ONES, "una", *_ONES_IT[1:]])
_CLOCK = (
    rf"(?:(?:(?:half|a quarter|quarter|ten|twenty|five) (?:past|to) )?(?:{_HOUR}(?:[:.h][0-5]\d)?|{_HOUR_WORD})"
    rf"(?: e mezz[ao]| e un quarto| meno un quarto)?(?: ?{_AMPM})?|noon|midday|midnight|mezzogiorno|mezzanotte)"
)
_TO = r" ?(?:to|and|until|till|through|-|–|—|al|all'|alle|e|e le|fino alle|fino al|a) ?"


_OF_LONGER = rf"(?= (?:of|in|di|del|dell'|dell) ?(?:the |this |last |quest)?(?:{_MONTH}|{_UNIT}|20\d\d|anno))"
_NO_STEP = r"(?! (?:interval|step|bin|average|mean|resolution|slot|granular|window|sampl|readings))"
_COUNT = rf"(?P<n>{_N})(?:[ -]|(?<=\d))"
_FUTURE_TENSE = re.compile(
    r"\b(?:will|won't|shall|'ll|going to|gonna|plan(?:s|ning)? (?:to|on)|forecast|predict\w*|expect\w*|previsioni?"
    r"|preved\w+|sara|saranno|fara|ci sara|vorrei|andro|andremo|piovera|nevichera|potro|conviene|dovrei|should i"
    r"|my (?:flight|train|plane|bus|ferry) (?:leaves|departs|goes))\b"
)


_PAST_TENSE = re.compile(
    r"\b(?:was|were|did|had|went|came|fell|rose|\w{2,}[^e\W]ed|era|erano|c'era|c'erano|faceva|pioveva)\b"
    r"|\b(?:e|ha|hanno|ho|abbiamo|sono|siamo) (?:\w+ )?\w+(?:at|ut|it|ess|es|ers|ett|ott|ost|ist)[oaie]\b"
)


def _clause(match: re.Match[str]) -> str:
    """The text round a match, from one punctuation mark to the next."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    return re.split(r"[,;:.?!]| se ", before)[-1] + match[0] + re.split(r"[,;:.?!]| se ", after)[0]


def _corrected(word: str) -> str:
    return _SHORT_WORDS.get(word) or _SPELLING.correct(word)


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBER_WORDS[word]


def _day_number(word: str) -> int:
    """Day of the month, of "12th" or "twelfth"."""
    return _ORDINALS.get(word) or int(re.match(r"\d+", word)[0])


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


def _whole_days(at: int, to: int, first: date, after: date, now: datetime) -> _Phrase:
    kind = "day" if after - first == timedelta(days=1) else "days"
    return _Phrase(at, to, kind, midnight(first, now), midnight(after, now))


def _days(match: re.Match[str], first: date, after: date, now: datetime) -> _Phrase:
    return _whole_days(match.start(), match.end(), first, after, now)


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


def _dated(match: re.Match[str], month: int, day: int, now: datetime) -> date | None:
    """The date of a month's day in the match's year; without one the latest that has begun, or in a question about the
    future the nearest."""
    said = match.groupdict()
    if said.get("y") or said.get("ly"):
        return _date(int(said["y"]) if said.get("y") else now.year - 1, month, day)
    ahead = bool(_FUTURE_TENSE.search(match.string))
    dates = [_date(year, month, day) for year in range(now.year - 8, now.year + 9)]  # 8 years for 29 February
    known = [found for found in dates if found and (ahead or found <= now.date())]
    return min(known, key=lambda found: abs(found - now.date()), default=None)


# Words that only look like times.


@_rule(
    r"good (?:morning|afternoon|evening|night|day)",
    r"buon(?:giorno|asera|anotte)|buon[ao] (?:giorno|sera|notte|pomeriggio)",
    r"24 ?/ ?7",
    # squares and streets: "Piazza XXV Aprile", "Via Venti Settembre", "XXII Marzo"
    rf"(?:piazza|piazzale|via|viale|corso|largo|bastioni)(?: dei| del)? (?:[ivx]+|\d+°?|{_N}|primo) {_MONTH}",
    rf"(?=[ivx]+ [a-z])[xiv]{{2,}} {_MONTH}",
    # "batteries last three hours"
    rf"(?:batter(?:y|ies)|suppl(?:y|ies)|charges?|it|they|will|can|can't|could|must|should|to|won't|doesn't|don't) last"
    rf" (?:for )?{_N} {_UNIT}",
)
def _only_like_a_time(match: re.Match[str], now: datetime) -> _Phrase | None:
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


@_rule(
    rf"{_ON_WEEKDAY}(?P<y>\d{{4}})[-/](?P<m>\d\d?)[-/](?P<d>\d\d?)",
    rf"{_ON_WEEKDAY}(?P<d>\d\d?)[./-](?P<m>\d\d?)[./-](?P<y>\d{{4}})",
    r"(?P<y>(?:19[7-9]|20\d)\d)(?P<m>0[1-9]|1[0-2])(?P<d>[0-3]\d)",
)
def _numeric_date(match: re.Match[str], now: datetime) -> _Phrase | None:
    day = _date(int(match["y"]), int(match["m"]), int(match["d"]))
    return _a_day(match, day, now) if day and EARLIEST_YEAR <= day.year <= 9000 else None


@_rule(
    rf"{_ON_WEEKDAY}(?P<d>[0-3]?\d)/(?P<m>0?[1-9]|1[0-2])(?![/\d])",
    rf"{_ON_WEEKDAY}(?P<d>[0-3]?\d)\.(?P<m>0?[1-9]|1[0-2])\.(?=\s|$)",
)
def _day_and_month(match: re.Match[str], now: datetime) -> _Phrase | None:
    """7/11 is 7 November; but one half, two thirds and so on are fractions."""
    if match[0] in ("1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5"):
        return None
    day = _dated(match, int(match["m"]), int(match["d"]), now)
    return _a_day(match, day, now) if day else None


@_rule(
    rf"(?:from |between |dal |dall'|tra il |fra il |tra l'|fra l')?(?P<a>{_DAY_OF_MONTH})(?:, {_DAY_OF_MONTH})*,?{_TO}"
    rf"(?:the |il |l')?(?P<b>{_DAY_OF_MONTH}) (?:of |di )?(?P<m>{_MONTH})\.?{_YEAR}",
    rf"(?P<m>{_MONTH})\.? (?:the )?(?P<a>{_DAY_OF_MONTH}){_TO}(?:the )?(?P<b>{_DAY_OF_MONTH}){_YEAR}(?! ?[:ap]m?\b)",
)
def _date_range(match: re.Match[str], now: datetime) -> _Phrase | None:
    first = _dated(match, _which(match["m"], _MONTHS) + 1, _day_number(match["a"]), now)
    last = _date(first.year, first.month, _day_number(match["b"])) if first else None
    return _days(match, first, last + timedelta(days=1), now) if last and first <= last else None


@_rule(
    rf"{_ON_WEEKDAY}(?P<d>{_DAY_OF_MONTH}) (?:of |di )?(?P<m>{_MONTH})\.?{_YEAR}",
    rf"{_ON_WEEKDAY}(?P<m>{_MONTH})\.? (?:the )?(?P<d>{_DAY_OF_MONTH})(?!\d|:){_YEAR}",
)
def _written_date(match: re.Match[str], now: datetime) -> _Phrase | None:
    day = _dated(match, _which(match["m"], _MONTHS) + 1, _day_number(match["d"]), now)
    return _a_day(match, day, now) if day else None


@_rule(
    rf"(?P<w>{_WEEKDAY}),? (?:of )?(?:the |il )?(?P<d>[0-3]?\d)(?:st|nd|rd|th|(?![\w:./°]| ?{_AMPM}| {_UNIT}))",
    r"(?:il )?giorno (?P<d>[0-3]?\d)",
    # "on the 30th, how many" but not "on the 30th floor"
    rf"(?P<at>(?:on|for|since|from|until|between|and|or|to|of|by) the )(?P<d>[0-3]?\d(?:st|nd|rd|th)|{_ORDINAL})"
    r"(?=[,.;:?!)]|$| (?:and|to|until|till|at|in|from|how|what|which|was|were|did|do|does|between|than|i|we|there"
    r"|onwards?|or)\b)",
)
def _day_of_month(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest such day that has begun, or in a question about the future the next one; "Friday the 15th" is the
    nearest 15th that is a Friday."""
    said, day, today = match.groupdict(), _day_number(match["d"]), now.date()
    months = (calendar_unit(now, "month", back)[0] for back in range(-6, 7))
    days = [found for month in months if (found := _date(month.year, month.month, day))]
    past = bool(_PAST_TENSE.search(match.string)) and not _FUTURE_TENSE.search(match.string)
    if said.get("w"):
        weekday = _which(said["w"], _WEEKDAYS)
        days = [found for found in days if found.weekday() == weekday and (found <= today or not past)]
    elif past or (day <= today.day and not _FUTURE_TENSE.search(match.string)):
        days = [found for found in days if found <= today]
    else:
        days = [found for found in days if found >= today]
    if not days:
        return None
    found = min(days, key=lambda found: abs(found - today))
    return replace(_a_day(match, found, now), at=match.end("at") if said.get("at") else match.start())


@_rule(
    r"(?:at|on|over|during|last|this|since|from|a|il giorno di|lo scorso|scorso) (?P<h>christmas(?: day| eve)?"
    r"|new year's(?: day| eve)?|boxing day|easter(?: sunday| monday)?|good friday|halloween|valentine's day|may day"
    r"|all saints'?(?: day)?"
    r"|natale|santo stefano|capodanno|pasqua|pasquetta|ferragosto|ognissanti|vigilia di natale|epifania)",
    r"(?P<h>ferragosto|ognissanti|all saints'? day|pasquetta|vigilia di natale|christmas (?:day|eve)|boxing day"
    r"|new year's (?:day|eve)|easter (?:sunday|monday)|capodanno|liberation day|festa della liberazione|festa della"
    r" repubblica|immacolata|epifania|epiphany)",
)
def _holiday(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest that has begun, or in a question about the future the next one."""
    ahead = bool(_FUTURE_TENSE.search(match.string))
    days = [_holiday_in(year, match["h"]) for year in range(now.year - 1, now.year + 2)]
    known = [day for day in days if (day >= now.date() if ahead else day <= now.date())]
    return replace(_a_day(match, known[0] if ahead else known[-1], now), at=match.start("h"))


_HOLIDAYS = {
    "christmas eve|vigilia di natale": (12, 24), "christmas(?: day)?|natale": (12, 25),
    "boxing day|santo stefano": (12, 26), "new year's eve": (12, 31), "new year's(?: day)?|capodanno": (1, 1),
    "epiphany|epifania": (1, 6), "valentine's day": (2, 14), "liberation day|festa della liberazione": (4, 25),
    "may day": (5, 1), "festa della repubblica": (6, 2), "ferragosto": (8, 15), "halloween": (10, 31),
    "all saints'?(?: day)?|ognissanti": (11, 1), "immacolata": (12, 8),
}  # fmt: skip


def _holiday_in(year: int, name: str) -> date:
    for pattern, (month, day) in _HOLIDAYS.items():
        if re.fullmatch(pattern, name):
            return date(year, month, day)
    return easter(year) + timedelta(days={"good friday": -2, "easter monday": 1, "pasquetta": 1}.get(name, 0))


# Parts of a month, quarter or year, and weeks by their number or date.


_WHICH = {"fi": 1, "pr": 1, "se": 2, "th": 3, "te": 3, "fo": 4, "qu": 4}  # by the first letters, English and Italian
_NTH_WORD = r"(?:first|second|third|fourth|prim[oa]|second[oa]|terz[oa]|quart[oa])"
_LAST_WORD = r"(?:last|final|ultim[oaei])"


@_rule(
    rf"(?P<f>first|{_LAST_WORD}|second|prima|seconda) (?P<h>half|meta)(?= (?:of|di|del|dell)\b)",
    rf"(?P<f>first|prim[ei]|{_LAST_WORD}) (?:(?P<n>{_N}) )?(?P<u>{_UNIT}){_OF_LONGER}",
    rf"(?P<f>{_NTH_WORD}) (?P<u>{_UNIT}){_OF_LONGER}",
    rf"(?P<f>{_NTH_WORD}|{_LAST_WORD}) (?P<d>{_WEEKDAY}){_OF_LONGER}",
    rf"(?P<e>early|late|mid|middle of|beginning of|start of|end of|inizio|meta|fine)(?=[ -](?:di )?(?:{_MONTH}))",
)
def _part(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Of days still to be found: ("half", which), ("third", which), ("weekday", which, weekday), or ("units", first
    of them, how many, unit); ``which`` and the first count from 0, or from the end if below."""
    said = match.groupdict()
    which = _WHICH[said["f"][:2]] - 1 if (said.get("f") or "last")[:2] in _WHICH else -1
    if said.get("h"):
        part = ("half", which)
    elif said.get("d"):
        part = ("weekday", which, _which(said["d"], _WEEKDAYS))
    elif said.get("e"):
        words = ("early", "beginning of", "start of", "inizio"), ("mid", "middle of", "meta")
        part = ("third", 0 if said["e"] in words[0] else 1 if said["e"] in words[1] else 2)
    elif not said.get("n") and re.search("s$|giorni", match[0]):  # "the first days of May"
        part = ("third", which % 3)
    else:
        part = ("units", which, min(_number(said.get("n") or "one"), 100), _unit(said["u"]))
    return _Phrase(match.start(), match.end(), "part", of=part)


@_rule(
    rf"q(?P<q>[1-4])(?:[ /]?(?P<y>(?:19|20)\d\d)|{_LAST_YEAR})?",
    rf"(?P<q>{_NTH_WORD}|[1-4](?:st|nd|rd|th|°|º)) (?P<u>quarter|trimestre|semestre|half-year|semester)"
    rf"(?! of an| hour)(?: (?:of |del )?(?:the year |this year |dell'anno )?(?P<y>(?:19|20)\d\d)?|{_LAST_YEAR})?",
    r"h(?P<q>[12])[ /]?(?P<y>(?:19|20)\d\d)",
)
def _quarter(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest such quarter (or half year) that has begun."""
    said = match.groupdict()
    months = 6 if match[0][0] == "h" or (said.get("u") or "").startswith(("sem", "half")) else 3
    first = ((_WHICH.get(match["q"][:2]) or int(match["q"][0])) - 1) * months
    if first >= 12:
        return None
    year = int(match["y"]) if match["y"] else now.year - bool(said.get("ly") or first + 1 > now.month)
    return _days(match, date(year, first + 1, 1), _months_on(date(year, first + 1, 1), months), now)


@_rule(
    r"(?:(?:iso |calendar )(?:week|wk)|week (?:number|no\.?|n\.?)|settimana (?:iso|numero|n\.?)|cw|kw) ?(?P<n>[1-5]?\d)"
    r"(?:(?:,? (?:of |del )?|/)(?P<y>(?:19|20)\d\d))?",
    r"(?:^|(?<=in )|(?<=for )|(?<=of )|(?<=and )|(?<=since )|(?<=nella ))(?:week|settimana) (?P<n>[1-5]?\d)"
    r"(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d))?(?=[,.;:?!)]|$| (?:of|and|to|vs|versus|in|was|were)\b)",
)
def _week_number(match: re.Match[str], now: datetime) -> _Phrase | None:
    """A week of ISO 8601, of this year or, where it lies ahead, of the last."""
    years = [int(match["y"])] if match["y"] else [now.year, now.year - 1]
    for year in years:
        try:
            monday = date.fromisocalendar(year, int(match["n"]), 1)
        except ValueError:
            continue
        if match["y"] or monday <= now.date():
            return _days(match, monday, monday + timedelta(days=7), now)
    return None


@_rule(
    r"(?P<what>week|settimana|weekend|fine settimana) (?P<how>of|starting|beginning|commencing|from|ending|del|dal|che"
    r" inizia|che iniziava|che comincia)(?= (?:on |the |on the |il |con )?(?:\0|\d))",
    r"(?P<what>settimana|fine settimana) (?P<how>del|dal)l'(?=\0)|(?P<wc>w/c)(?= \0)",
)
def _week_of(match: re.Match[str], now: datetime) -> _Phrase | None:
    how = "of" if match["how"] in ("of", "del") else "ending" if match["how"] == "ending" else "starting"
    what = "weekend" if match["what"] in ("weekend", "fine settimana") else "week"
    return _Phrase(match.start(), match.end(), "week of", of=(what, how))


@_rule(
    rf"(?:{_N} )?(?:working days|workdays|week days|weekdays|business days|giorni (?:feriali|lavorativi))",
)
def _workdays(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _Phrase(match.start(), match.end(), "workdays")


@_rule(
    rf"(?P<m>{_MONTH})(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d)|{_LAST_YEAR})",
    rf"(?:(?:in|during|of|throughout|since|a|ad|di|da|nel mese di)|(?P<last>last|scorso)) (?P<m>{_MONTH})",
    r"(?P<m>january|february|april|june|july|august|september|october|november|december|gennaio|febbraio|marzo|aprile"
    r"|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre)(?P<last> scorso)?",
)
def _month(match: re.Match[str], now: datetime) -> _Phrase | None:
    month, said = _which(match["m"], _MONTHS) + 1, match.groupdict()
    year = int(said["y"]) if said.get("y") else now.year - (1 if said.get("ly") else month > now.month)
    if said.get("last") and month == now.month:
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
    rf"domani|dopodomani|stasera|stanotte|questa sera|questa notte|(?:oggi|domani|{_WEEKDAY}) a otto",
    rf"(?:today|tomorrow|{_WEEKDAY}) week",
    rf"(?:the |le |i |il |la |nei |nelle |nel |nella )?(?:next|coming|following|upcoming|prossim[oaie]) (?:{_N} )?"
    rf"(?:{_UNIT}|{_WEEKDAY}|{_MONTH}|{_SEASON}|{_PART}|weekend|week-end|fine settimana|spring|rush hour)",
    rf"(?:{_LONG_UNIT}|{_WEEKDAY}|weekend|fine settimana) prossim[oa]",
    rf"(?:in|within|entro|tra|fra) {_N}(?: more| further)?[ -]{_UNIT}(?:'s?)?(?: time| from now)?{_NO_STEP}",
    rf"{_N} {_UNIT} (?:ahead|from now|later)|(?:by|entro) {_WEEKDAY}",
    r"later today|later this \w+|later on|(?:the )?rest of (?:the|this) (?:day|week|month|afternoon|evening|year)"
    r"|(?:in |over )?the (?:near |coming )?future|coming days|upcoming|soon|prossimamente|piu tardi",
)
def _coming(match: re.Match[str], now: datetime) -> _Phrase | None:
    if match[0] == "stanotte" and _PAST_TENSE.search(_clause(match)):  # this night or last night
        return _part_of(match, now.date() - timedelta(days=1), (18, 30))
    return _ahead(match)


# Days and parts of days known by name.


@_rule(
    r"(?:the )?day before yesterday|(?<=yesterday and )the day before",
    r"l'altro ieri|ieri l'altro|ier l'altro|altroieri|avantieri|avant'ieri",
)
def _before_yesterday(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _a_day(match, now.date() - timedelta(days=2), now)


@_rule(r"last night|previous night|overnight|notte scorsa|scorsa notte|ieri notte|yesterday night")
def _last_night(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _part_of(match, now.date() - timedelta(days=1), (18, 30))


@_rule(
    rf"(?:the )?night (?:between|of|from) (?P<d>{_WEEKDAY}) (?:and|to|on|into) {_WEEKDAY}",
    rf"notte (?:tra|fra) (?P<d>{_WEEKDAY}) e {_WEEKDAY}",
)
def _night_between(match: re.Match[str], now: datetime) -> _Phrase | None:
    back = (now.weekday() - _which(match["d"], _WEEKDAYS)) % 7 or 7
    return _part_of(match, now.date() - timedelta(days=back), (18, 30))


@_rule(r"stamattina|stamane|stamani|(?:this|questa|questo) (?:morning|mattina|mattino)")
def _this_morning(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _part_of(match, now.date(), (6, 12))


@_rule(r"(?:this|questa|questo) (?P<p>afternoon|evening|pomeriggio|sera)")
def _this_part(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _part_of(match, now.date(), list(_PARTS.values())[_which(match["p"], _PARTS)])


@_rule(rf"(?P<n>{_N}) (?P<p>{_PART}|nights|evenings|mornings|afternoons|notti|sere|mattine|pomeriggi) (?:ago|fa)")
def _part_ago(match: re.Match[str], now: datetime) -> _Phrase | None:
    first = match["p"][0] + match["p"][1]  # mornings, mattine; afternoons; evenings; nights
    hours = {"mo": 0, "ma": 0, "af": 1, "po": 1, "ev": 2, "se": 2}.get(first, 3)
    day = units_back(now, _number(match["n"]), "day").date()
    return _part_of(match, day, list(_PARTS.values())[hours])


def _part_of(match: re.Match[str], day: date, hours: tuple[float, float]) -> _Phrase:
    return _Phrase(match.start(), match.end(), "hours", hours=hours, day=day, part_of_day=True)


@_rule(
    rf"(?P<n>{_N}) (?P<u>{_UNIT}) (?:ago|fa) (?:today|oggi|to the day|exactly|esatt[aoie])",
    rf"(?:exactly|esattamente|precisely) (?P<n>{_N}) (?P<u>{_UNIT}) (?:ago|fa)(?: to the day| today| oggi)?",
)
def _to_the_day(match: re.Match[str], now: datetime) -> _Phrase | None:
    """A week ago today is a day, a week ago may be a week."""
    unit = _unit(match["u"])
    if unit in ("second", "minute", "hour"):
        return None
    return _a_day(match, units_back(now, _number(match["n"]), unit).date(), now)


@_rule(
    r"(?:this|at this|same|the same) time (?P<t>yesterday|last week|last month|last year)",
    r"(?:a )?quest'ora (?P<t>di ieri|ieri|la settimana scorsa|della settimana scorsa|il mese scorso|l'anno scorso)",
)
def _this_time(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The hour that began then."""
    units = {"yesterday": "day", "ieri": "day", "week": "week", "settimana": "week", "mese": "month", "month": "month"}
    unit = next((unit for word, unit in units.items() if word in match["t"]), "year")
    start = units_back(now, 1, unit)
    return _span(match, start, (start.astimezone(UTC) + timedelta(hours=1)).astimezone(now.tzinfo))


@_rule(
    r"same (?P<what>day|week|month|weekday) (?:of )?(?:the )?(?:last|previous|a) (?P<u>week|month|year)",
    r"same (?P<what>day|week|month|weekday) (?:of |a )?(?:the )?(?P<u>week|month|year) (?:before|earlier|ago)",
    r"stess[oa] (?P<what>giorno|settimana|mese) (?:del|della|dell'|la|il|l'|un|una)? ?"
    r"(?P<u>settimana|mese|anno) (?:scors[oa]|prima|precedente|fa)",
)
def _same_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    what = "day" if match["what"] in ("weekday", "giorno") else _unit(match["what"])
    return _Phrase(match.start(), match.end(), "earlier", of=f"same {what} {_unit(match['u'])}")


_NO_CLAUSE = r"(?=[,.;:?!)]|$| [-–]| (?:in|at|for|along|around|and|or|near|did|was|were|is|how|what|a|ad|in|e|nel)\b)"


@_rule(
    # "the week before" but not "the week before the derby" or "before last"
    rf"(?:the )?(?P<u>day|week|month|quarter|year|{_WEEKDAY}|{_WEEKEND}|one) (?:before|prior){_NO_CLAUSE}",
    rf"(?:previous|preceding) (?P<u>day|{_WEEKDAY}|{_WEEKEND})",
    r"(?:than|and|with|to|against|versus|vs\.?|con|e|che) (?:the |la |il )?(?:previous|preceding|precedente)"
    r" (?P<u>week|month|quarter|year|settimana|mese|anno)",
    rf"(?P<u>giorno|settimana|mese|anno|{_WEEKDAY}|{_WEEKEND}) (?:precedente|prima)(?! d)",
)
def _earlier(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _Phrase(match.start(), match.end(), "earlier", of=match["u"])


@_rule(
    rf"(?P<two>(?:the )?(?P<d>{_WEEKDAY}|{_WEEKEND}) before last|(?:the )?last but one (?P<d2>{_WEEKDAY}|{_WEEKEND})"
    rf"|(?:il |la )?penultim[oa] (?P<d3>{_WEEKDAY}|{_WEEKEND}))",
    rf"(?P<n>{_N}) (?P<d>{_WEEKDAY}|weekends?|week-ends?|fine settimana) (?:ago|fa)",
)
def _so_many_back(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Sunday before last, two Sundays ago, the weekend before last."""
    said = match.groupdict()
    name = said.get("d") or said.get("d2") or said["d3"]
    count = min(2 if said.get("two") else _number(said["n"]), 52 * (now.year - EARLIEST_YEAR))
    if name.startswith(("week", "fine")):
        saturday = now.date() - timedelta(days=now.weekday() + 2 + 7 * (count - 1))
        return _days(match, saturday, saturday + timedelta(days=2), now)
    back = (now.weekday() - _which(name, _WEEKDAYS)) % 7 or 7
    return _a_day(match, now.date() - timedelta(days=back + 7 * (count - 1)), now)


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


_HALF_OF = {
    "minute": (30, "second"), "hour": (30, "minute"), "day": (12, "hour"), "week": (84, "hour"), "month": (15, "day"),
    "year": (6, "month"),
}  # fmt: skip


@_rule(
    rf"(?:past|last|previous|ultim[ie]) (?P<n>\d{{1,3}}|{_N})(?:[.,]5| and a half)[ -](?P<u>{_UNIT})",
    rf"(?:past|last|ultim[ie]) (?P<n>{_N}) (?P<u>{_UNIT}) e mezz[ao]",
)
def _so_many_and_a_half(match: re.Match[str], now: datetime) -> _Phrase | None:
    unit = _unit(match["u"])
    start = units_back(now, _number(match["n"]), unit)
    return _span(match, units_back(start, *_HALF_OF[unit]), now) if unit in _HALF_OF else None


@_rule(
    rf"(?:past|last|previous|preceding|trailing|recent|ultim[ie]|passat[ie]|scors[ie]|precedenti) {_COUNT}"
    rf"(?:full |whole |complete )?(?P<u>{_UNIT})",
    rf"{_COUNT}(?:ultim[ie]|last|past) (?P<u>{_UNIT})",
    rf"(?:over|for|during|per|da) (?:a |the )?{_COUNT}(?P<u>{_UNIT})(?: (?:period|up to now|until now))?{_NO_STEP}",
    rf"{_COUNT}(?P<u>{_UNIT})(?: (?:up to now|until now|to date)| of history)",
    rf"{_COUNT}(?P<u>{_UNIT}) (?:of|di) (?:[\w'%-]+ ){{1,6}}?(?:up to|until|till|fino ad?) (?:now|date|oggi|adesso|ora"
    r"|this (?:minute|moment|hour))",
    rf"(?:show|plot|give|list|chart|display|export|draw|fetch)(?: me| us)?(?: the)? {_COUNT}"
    rf"(?P<u>{_UNIT}) (?:of|worth)",
)
def _past_units(match: re.Match[str], now: datetime) -> _Phrase | None:
    return _span(match, units_back(now, _number(match["n"]), _unit(match["u"])), now)


_HALVES = {
    "half(?: an)? hour|mezz'?ora": (30, "minute"), "quarter of an hour|quarto d'ora": (15, "minute"),
    "half[ -]year|mezzo anno": (6, "month"), "hour and a half|ora e mezz[ao]": (90, "minute"),
    "day and a half": (36, "hour"), "week and a half": (252, "hour"), "month and a half": (45, "day"),
    "year and a half": (18, "month"),
}  # fmt: skip


@_rule(rf"(?:past|last|previous|ultim[oa]) (?P<h>{_any(_HALVES)})", rf"(?P<h>{_any(_HALVES)}) (?P<ago>ago|fa)")
def _halves(match: re.Match[str], now: datetime) -> _Phrase | None:
    start = units_back(now, *list(_HALVES.values())[_which(match["h"], _HALVES)])
    hour_on = (start.astimezone(UTC) + timedelta(hours=1)).astimezone(now.tzinfo)
    return _span(match, start, min(hour_on, now, key=_utc) if match.groupdict().get("ago") else now)


@_rule(
    r"(?:last|previous|past) (?:weekend|week-end)",
    rf"{_WEEKEND} (?:scorso|passato|appena passato)|(?:scorso|ultimo) {_WEEKEND}",
)
def _last_weekend(match: re.Match[str], now: datetime) -> _Phrase | None:
    monday = now.date() - timedelta(days=now.weekday())
    return _days(match, monday - timedelta(days=2), monday, now)


@_rule(
    r"(?P<before>(?:the )?)(?P<u>week|month|quarter|year) before last",
    r"(?P<before>(?:the )?last but one |penultim[oa] )(?P<u>week|month|quarter|year|settimana|mese|anno)",
    r"(?P<the>the )?last (?P<u>week|month|quarter|year)",
    rf"(?:previous|preceding|scors[oa]|precedente) (?P<u>{_LONG_UNIT})",
    r"(?P<u>settimana|mese|trimestre|anno) (?:scors[oa]|passat[oa]|precedente)",
)
def _last_calendar_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    if match.groupdict().get("the"):  # "over the last week" is the week up to now
        return _span(match, units_back(now, 1, _unit(match["u"])), now)
    back = 2 if match.groupdict().get("before") is not None else 1
    return _days(match, *calendar_unit(now, _unit(match["u"]), back), now)


@_rule(
    rf"(?:past|last|previous|trailing|preceding|ultim[oa]|passat[oa]) (?P<u>{_UNIT})",
)
def _past_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    unit = _unit(match["u"])
    return None if unit in ("second", "minute") else _span(match, units_back(now, 1, unit), now)


@_rule(
    rf"(?:this|current|present|questa|questo|quest'|corrente) ?(?:calendar |solare )?(?P<u>{_LONG_UNIT})",
    rf"(?:start|beginning|first day|inizio) (?:of |di )?(?:the |this |del |della |dell'|quest[oa'] ?)?"
    rf"(?P<u>{_LONG_UNIT})",
    r"(?P<u>week|month|quarter|year)[ -]to[ -]date|(?:settimana|mese|anno) (?:corrente|in corso)|[wmqy]td",
)
def _this_unit(match: re.Match[str], now: datetime) -> _Phrase | None:
    short = {"wtd": "week", "mtd": "month", "qtd": "quarter", "ytd": "year"}.get(match[0])
    word = short or match.groupdict().get("u") or match[0].split()[0]
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


@_rule(
    rf"(?P<s>{_SEASON}) (?:of |del(?:l'anno)? )?(?P<y>20\d\d)(?:[/-]\d\d)?",
    rf"(?P<w>this|last|past|scors[oa]|quest[oa]|since|over)(?: the)? (?P<s>{_SEASON})",
    rf"(?P<s>{_SEASON}) (?P<w>scors[oa])",
)
def _season(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Meteorological seasons (winter is December to February): "this" of the present year, "last" the latest ended, of
    a year the one that began in it."""
    month = list(_SEASONS.values())[_which(match["s"], _SEASONS)]
    if match.groupdict().get("y"):
        first = date(int(match["y"]), month, 1)
        return _days(match, first, _months_on(first, 3), now)
    first = date(now.year - (month == 12 and now.month < 3), month, 1)
    begun = match["w"] in ("since", "over")
    if not match["w"].startswith(("this", "quest")):
        while (first if begun else _months_on(first, 3)) > now.date():
            first = date(first.year - 1, month, 1)
    return replace(_days(match, first, _months_on(first, 3), now), at=match.start("s" if begun else 0))


@_rule(rf"(?P<n>{_N}) (?P<u>{_UNIT}) (?:ago|fa|(?:before|back|earlier|prima)(?=[,.;:?!)]|$))")
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
    rf"(?P<every>every|each|ogni|an?(?: (?:ordinary|normal|typical|usual))?(?= \w+day)|on|il) (?P<d>{_WEEKDAY})",
    rf"(?P<w>last|this past|scors[oa]|ultim[oa]|this|quest[oa]) (?P<d>{_WEEKDAY})",
    rf"(?P<d>{_WEEKDAY})(?P<w> scors[oa]| passat[oa])?",
)
def _weekday(match: re.Match[str], now: datetime) -> _Phrase | None:
    """The latest such day before today; "this Friday" is the one of the present week, "on Friday" in a question about
    the future lies ahead, "every Friday" is no single day."""
    said = match.groupdict()
    if (said.get("every") or "on") not in ("on", "il") or match["d"].endswith(("days", "sabati", "domeniche")):
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


_SHIFTS = {"half": 30, "a quarter": 15, "quarter": 15, "ten": 10, "twenty": 20, "five": 5}
_SHIFTS_IT = {"e mezza": 30, "e mezzo": 30, "e un quarto": 15, "meno un quarto": -15}


def _clock_hours(text: str) -> float:
    """Hours after midnight of a time of the clock."""
    if text in ("noon", "midday", "mezzogiorno"):
        return 12
    if text in ("midnight", "mezzanotte"):
        return 0
    match = re.fullmatch(
        rf"(?:(?P<shift>{_any(_SHIFTS)}) (?P<way>past|to) )?(?P<h>\d{{1,2}}|[a-z]+)(?:[:.h](?P<m>\d\d))?"
        rf"(?: (?P<it>{_any(_SHIFTS_IT)}))? ?(?P<half>[ap]\.?m\.?|o'?clock)?",
        text.strip(),
    )
    minutes = int(match["m"] or 0) + _SHIFTS_IT.get(match["it"], 0)
    minutes += _SHIFTS.get(match["shift"], 0) * (-1 if match["way"] == "to" else 1)
    hour = _number(match["h"]) + minutes / 60
    if (match["half"] or "").startswith("p") and hour < 12:
        hour += 12
    elif (match["half"] or "").startswith("a") and 12 <= hour < 13:
        hour -= 12
    return hour


@_rule(
    rf"(?:between|from|dalle|dall'|tra le|fra le) (?:ore )?(?P<a>{_CLOCK}){_TO}(?:le |ore )?(?P<b>{_CLOCK})",
    r"(?P<a>\d\d?(?::[0-5]\d)?) ?(?:-|–|to) ?(?P<b>\d\d?(?::[0-5]\d)? ?(?:am|pm|a\.m\.?|p\.m\.?))",
    r"(?P<a>\d\d?:[0-5]\d) ?(?:-|–|to) ?(?P<b>\d\d?:[0-5]\d)",
)
def _clock_range(match: re.Match[str], now: datetime) -> _Phrase | None:
    """Without am or pm it counts only beside a part of the day: "between 10 and 20 degrees" is no time."""
    first, last = match["a"], match["b"]
    plain = not re.search(r"[:.]|\dh|[ap]\.?m|noon|midd?ay|midnight|mezz|clock", first + " " + last)
    start, end = _clock_hours(first), _clock_hours(last)
    if re.search(r"[ap]\.?m", last) and first.isdigit() and start <= 12:
        start = _clock_hours(first + last[re.search(r"[ap]\.?m", last).start() :])
        if start >= end:
            start = _clock_hours(first)
    if end <= start:
        end += 24
    bare = plain and match[0].startswith(("between", "from"))
    if bare and max(start, end) > 24.5:
        return None
    return _Phrase(match.start(), match.end(), "hours", hours=(start, end), bare=bare)


@_rule(
    rf"(?:(?P<how>at|around|about|since|after|from|by|before|until|till|to|between|and) )?"
    rf"(?P<c>{_HOUR}(?:(?:[:.][0-5]\d)? ?{_AMPM}|[:h][0-5]\d))",
    rf"(?P<how>alle|all'|dalle|dopo le|prima delle|entro le|fino alle|verso le|intorno alle|attorno alle) (?:ore )?"
    rf"(?P<c>{_HOUR}(?:[:.][0-5]\d)?(?: e mezza| e un quarto| meno un quarto)?)",
    rf"(?P<how>ore) (?P<c>{_HOUR}(?:[:.][0-5]\d)?)",
    r"(?P<how>at|around|since|after|before|until|from|between|to|and|through|a|da) (?P<c>noon|midday|midnight"
    r"|mezzogiorno|mezzanotte)",
    rf"(?P<how>at|around|about|since|after|from|by|before|until|till|to|alle|verso le|dalle) (?P<bare>{_CLOCK})",
)
def _clock(match: re.Match[str], now: datetime) -> _Phrase | None:
    """At 5 pm is the hour that begins then, after 5 pm the rest of the day, before 5 pm the day until then."""
    bare = match.groupdict().get("bare")
    hour, how = _clock_hours(bare or match["c"]), match["how"] or "at"
    if how in ("since", "after", "from", "dalle", "dopo le", "da"):
        hours = (hour, 24.0)
    elif how in ("before", "until", "till", "by", "prima delle", "entro le", "fino alle"):
        hours = (0.0, hour or 24.0)
    else:
        hours = (hour, hour + 1)
    # A word between two times stays outside, so that ranges are seen.
    joins = ("from", "to", "until", "till", "between", "and", "through", "alle", "all'", "fino alle")
    at = match.start("bare" if bare else "c") if how in joins else match.start()
    return _Phrase(at, match.end(), "hours", hours=hours, bare=bool(bare), moment=True, open=how == "since")


@_rule(
    rf"(?:in the |of the |at |during the |di |del |della |nel |alla |la |in )?(?P<p>{_PART})",
)
def _part_of_day(match: re.Match[str], now: datetime) -> _Phrase | None:
    hours = list(_PARTS.values())[_which(match["p"], _PARTS)]
    return _Phrase(match.start(), match.end(), "hours", hours=hours, part_of_day=True)


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


def _join_parts(phrases: list[_Phrase], folded: str, now: datetime) -> list[_Phrase]:
    """The first half of October, the working days of last week, the week of 4 November: one phrase each."""
    joined: list[_Phrase] = []
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


def _narrowed(phrase: _Phrase, whole: _Phrase, now: datetime) -> _Phrase | None:
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
    return _whole_days(at, to, first, after, now)


_OF_UNIT = re.compile(rf" (?:of |di |del |della |dell')(?:the |this |l')?(?P<u>{_LONG_UNIT})")


def _narrowed_unit(phrase: _Phrase, folded: str, now: datetime) -> _Phrase | None:
    """The first six months of the year."""
    match = _OF_UNIT.match(folded, phrase.to)
    found = _part_days(phrase.of, *calendar_unit(now, _unit(match["u"]), 0)) if match else None
    return found and _whole_days(phrase.at, match.end(), *found, now)


def _part_days(part: tuple, first: date, after: date) -> tuple[date, date] | None:
    """First day, and day after the last, of a part of whole days; None if it is longer than they are."""
    days, day = (after - first).days, timedelta(days=1)
    if part[0] == "half":
        half = (
            _months_on(first, round(days / 30.4) // 2) if days > 40 else first + (15 if days > 27 else days // 2) * day
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
        start = _months_on(after, -months) if which < 0 else _months_on(first, which * months)
        end = _months_on(start, months)
    elif unit in ("day", "week", "fortnight"):
        length = count * {"day": 1, "week": 7, "fortnight": 14}[unit] * day
        start = after - length if which < 0 else first + which * length
        end = start + length
    else:
        return None
    return (start, end) if first <= start and end <= after else None


def _months_on(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _join_earlier(phrases: list[_Phrase], now: datetime) -> list[_Phrase]:
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


def _days_earlier(what: str, seen_from: _Phrase | None, now: datetime) -> tuple[date, date]:
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
    if re.fullmatch(_WEEKEND, what):
        saturday = at.date() - timedelta(days=at.weekday() + 2)
        return saturday, saturday + 2 * day
    if re.fullmatch(_WEEKDAY, what):
        found = at.date() - timedelta(days=(at.weekday() - _which(what, _WEEKDAYS)) % 7 or 7)
        return found, found + day
    return calendar_unit(at, _unit(what), 1)


_ADJACENT_LETTERS = 8  # such as " of the "


def _join_weekdays(phrases: list[_Phrase], now: datetime) -> list[_Phrase]:
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


def _join_hours(phrases: list[_Phrase], folded: str, now: datetime) -> list[_Phrase]:
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
        joined.append(replace(made, end=now) if phrase.open and _utc(made.start) < _utc(now) else made)
    return sorted([p for p in phrases if p.kind != "hours" and p not in used] + joined, key=lambda p: p.at)


def _hours_of(day: date, phrase: _Phrase, now: datetime) -> _Phrase:
    """The hours of a phrase on a day."""
    hours = (timedelta(minutes=round(60 * hour)) for hour in phrase.hours)
    start, end = (at_wall_time(datetime.combine(day, time()) + since, now) for since in hours)
    return replace(phrase, kind="span", start=start, end=end)


def _clock_in_parts(phrases: list[_Phrase], folded: str) -> list[_Phrase]:
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


def _apart(part: _Phrase, clock: _Phrase, phrases: list[_Phrase], folded: str) -> bool:
    """Whether a part of the day and a time of the clock are told separately."""
    first, last = sorted((part, clock), key=lambda one: one.at)
    between = folded[first.to : last.at]
    for one in phrases:
        if first.to <= one.at and one.to <= last.at:
            between = between.replace(folded[one.at : one.to], "\0")
    return not _BESIDE.fullmatch(between)


def _distance(day: _Phrase, hours: _Phrase, folded: str) -> int:
    """How far apart a day and hours stand; a word that joins two times parts them."""
    first, last = sorted((day, hours), key=lambda one: one.at)
    between = folded[first.to : last.at]
    if first is hours and re.fullmatch(r" (?:on|of|di|del|dell') ?", between):
        return 0
    return _gap(day, hours) + (30 if re.fullmatch(_TO, between) else 0)


def _join_ranges(phrases: list[_Phrase], folded: str, now: datetime) -> list[_Phrase]:
    """From Friday 6 pm to Monday 6 am: it ends at the second moment, on the Monday after the Friday."""
    joined: list[_Phrase] = []
    for phrase in phrases:
        before = joined[-1] if joined else None
        if before and _dated_phrase(before) and _dated_phrase(phrase) and _is_range(before, phrase, folded):
            if phrase.weekday is not None and _utc(phrase.start) < _utc(before.start):
                start, end = (at_wall_time(t.replace(tzinfo=None) + _WEEK, now) for t in (phrase.start, phrase.end))
                phrase = replace(phrase, start=start, end=end) if _utc(start) <= _utc(now) else phrase
            if phrase.moment and _utc(phrase.start) > _utc(before.start):
                until = _utc(phrase.end) - _utc(phrase.start) > timedelta(hours=1)  # "until 9 am" is all before
                end = phrase.end if until else phrase.start
                joined[-1] = replace(before, kind="span", to=phrase.to, end=end, moment=False)
                continue
        joined.append(phrase)
    return joined


_WEEK = timedelta(days=7)
_OPENS = re.compile(r"(?<!\w)(?:from|between|dal|dalla|dalle|dall'|da|tra|fra|tra le|fra le) ?(?:the |il |le )?$")


def _is_range(first: _Phrase, last: _Phrase, folded: str) -> bool:
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


def _free_gap(a: _Phrase, b: _Phrase, phrases: Iterable[_Phrase]) -> int:
    """Letters between two phrases that belong to no other."""
    first, last = sorted((a, b), key=lambda one: one.at)
    return _gap(a, b) - sum(one.to - one.at for one in phrases if first.to <= one.at and one.to <= last.at)


def _dated_phrase(phrase: _Phrase) -> bool:
    return phrase.kind in ("day", "days", "span", "now") and phrase.start is not None


def _utc(moment: datetime) -> datetime:
    # Two times of the same zone compare by their wall clocks in Python, which errs when clocks are changed.
    return moment.astimezone(UTC)


def _decide(phrases: list[_Phrase], folded: str, now: datetime) -> Window:
    history = units_back(now, HISTORY_DAYS, "day")
    phrases = [phrase for phrase in phrases if phrase.kind not in ("none", "hours")]
    said = " ... ".join(dict.fromkeys(folded[p.at : p.to].strip() for p in phrases))
    begun = [p for p in phrases if _dated_phrase(p) and _utc(p.start) < _utc(now)]
    ahead = [p for p in phrases if p.kind == "ahead" or (_dated_phrase(p) and p not in begun)]
    if not begun and not ahead:
        begun = [p for p in phrases if p.kind == "course" and _utc(p.start) < _utc(now)]
    if begun:
        start = min((p.start for p in begun), key=_utc)
        end = min(max((p.end for p in begun), key=_utc), now, key=_utc)
        if _SINCE_THEN.search(folded):
            end = now
        if _utc(start) >= _utc(end):  # "until A"
            start = units_back(end, HISTORY_DAYS, "day")
        # "Will tomorrow be warmer than yesterday?" needs yesterday and the history; a longer span said is the history.
        if ahead and all(p.kind in ("day", "now") for p in begun):
            return Window(min(start, history, key=_utc), now, said, "forecast")
        return Window(start.astimezone(now.tzinfo), end.astimezone(now.tzinfo), said, "past")
    return Window(history, now, said if ahead else "", "forecast" if ahead else "default")
