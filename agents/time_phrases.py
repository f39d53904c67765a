"""Phrases of time: rules that find them in a text and say what each means by itself. ``agents.times`` joins them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from dateutil.easter import easter

from agents.local_time import EARLIEST_YEAR, at_wall_time, calendar_unit, midnight, months_on, units_back, utc
from agents.time_words import (
    AMPM,
    CLOCK,
    COUNT,
    DAY_OF_MONTH,
    FUTURE_TENSE,
    HOUR,
    LAST_YEAR,
    LONG_UNIT,
    MONTH,
    MONTHS,
    NO_STEP,
    NUMBER,
    OF_LONGER,
    ON_WEEKDAY,
    ORDINAL,
    PART,
    PARTS,
    PAST_TENSE,
    SEASON,
    SEASONS,
    TO,
    UNIT,
    WEEKDAY,
    WEEKDAYS,
    WEEKEND,
    YEAR,
    clause_of,
    day_number,
    number_of,
    one_of,
    position_of,
    unit_of,
)


@dataclass(frozen=True)
class Phrase:
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


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], datetime], "Phrase | None"]]
RULES: list[_Rule] = []


def _rule(*patterns: str):
    """Registers a reader of phrases: earlier rules take their words first; None leaves the words to later rules."""

    def register(read: Callable[[re.Match[str], datetime], "Phrase | None"]):
        for pattern in patterns:
            RULES.append((re.compile(rf"(?<![\w]){one_of([pattern])}(?![\w])"), read))
        return read

    return register


def whole_days(at: int, to: int, first: date, after: date, now: datetime) -> Phrase:
    kind = "day" if after - first == timedelta(days=1) else "days"
    return Phrase(at, to, kind, midnight(first, now), midnight(after, now))


def _days(match: re.Match[str], first: date, after: date, now: datetime) -> Phrase:
    return whole_days(match.start(), match.end(), first, after, now)


def _a_day(match: re.Match[str], day: date, now: datetime) -> Phrase:
    return _days(match, day, day + timedelta(days=1), now)


def _span(match: re.Match[str], start: datetime, end: datetime) -> Phrase:
    return Phrase(match.start(), match.end(), "span", start, end)


def _ahead(match: re.Match[str], now: datetime | None = None) -> Phrase:
    return Phrase(match.start(), match.end(), "ahead")


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
    ahead = bool(FUTURE_TENSE.search(match.string))
    dates = [_date(year, month, day) for year in range(now.year - 8, now.year + 9)]  # 8 years for 29 February
    known = [found for found in dates if found and (ahead or found <= now.date())]
    return min(known, key=lambda found: abs(found - now.date()), default=None)


# Words that only look like times.


@_rule(
    r"good (?:morning|afternoon|evening|night|day)",
    r"buon(?:giorno|asera|anotte)|buon[ao] (?:giorno|sera|notte|pomeriggio)",
    r"24 ?/ ?7",
    # squares and streets: "Piazza XXV Aprile", "Via Venti Settembre", "XXII Marzo"
    rf"(?:piazza|piazzale|via|viale|corso|largo|bastioni)(?: dei| del)? (?:[ivx]+|\d+°?|{NUMBER}|primo) {MONTH}",
    rf"(?=[ivx]+ [a-z])[xiv]{{2,}} {MONTH}",
    # "batteries last three hours"
    rf"(?:batter(?:y|ies)|suppl(?:y|ies)|charges?|it|they|will|can|can't|could|must|should|to|won't|doesn't|don't) last"
    rf" (?:for )?{NUMBER} {UNIT}",
)
def _only_like_a_time(match: re.Match[str], now: datetime) -> Phrase | None:
    return Phrase(match.start(), match.end(), "none")


# Explicit dates.


@_rule(r"(\d{4})-(\d\d)-(\d\d)[t ](\d\d):(\d\d)(?::\d\d)?(?: ?(z|[+-]\d\d:?\d\d))?")
def _iso_time(match: re.Match[str], now: datetime) -> Phrase | None:
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
    rf"{ON_WEEKDAY}(?P<y>\d{{4}})[-/](?P<m>\d\d?)[-/](?P<d>\d\d?)",
    rf"{ON_WEEKDAY}(?P<d>\d\d?)[./-](?P<m>\d\d?)[./-](?P<y>\d{{4}})",
    r"(?P<y>(?:19[7-9]|20\d)\d)(?P<m>0[1-9]|1[0-2])(?P<d>[0-3]\d)",
)
def _numeric_date(match: re.Match[str], now: datetime) -> Phrase | None:
    day = _date(int(match["y"]), int(match["m"]), int(match["d"]))
    return _a_day(match, day, now) if day and EARLIEST_YEAR <= day.year <= 9000 else None


@_rule(
    rf"{ON_WEEKDAY}(?P<d>[0-3]?\d)/(?P<m>0?[1-9]|1[0-2])(?![/\d])",
    rf"{ON_WEEKDAY}(?P<d>[0-3]?\d)\.(?P<m>0?[1-9]|1[0-2])\.(?=\s|$)",
)
def _day_and_month(match: re.Match[str], now: datetime) -> Phrase | None:
    """7/11 is 7 November; but one half, two thirds and so on are fractions."""
    if match[0] in ("1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5"):
        return None
    day = _dated(match, int(match["m"]), int(match["d"]), now)
    return _a_day(match, day, now) if day else None


@_rule(
    rf"(?:from |between |dal |dall'|tra il |fra il |tra l'|fra l')?(?P<a>{DAY_OF_MONTH})(?:, {DAY_OF_MONTH})*,?{TO}"
    rf"(?:the |il |l')?(?P<b>{DAY_OF_MONTH}) (?:of |di )?(?P<m>{MONTH})\.?{YEAR}",
    rf"(?P<m>{MONTH})\.? (?:the )?(?P<a>{DAY_OF_MONTH}){TO}(?:the )?(?P<b>{DAY_OF_MONTH}){YEAR}(?! ?[:ap]m?\b)",
)
def _date_range(match: re.Match[str], now: datetime) -> Phrase | None:
    first = _dated(match, position_of(match["m"], MONTHS) + 1, day_number(match["a"]), now)
    last = _date(first.year, first.month, day_number(match["b"])) if first else None
    return _days(match, first, last + timedelta(days=1), now) if last and first <= last else None


@_rule(
    rf"{ON_WEEKDAY}(?P<d>{DAY_OF_MONTH}) (?:of |di )?(?P<m>{MONTH})\.?{YEAR}",
    rf"{ON_WEEKDAY}(?P<m>{MONTH})\.? (?:the )?(?P<d>{DAY_OF_MONTH})(?!\d|:){YEAR}",
)
def _written_date(match: re.Match[str], now: datetime) -> Phrase | None:
    day = _dated(match, position_of(match["m"], MONTHS) + 1, day_number(match["d"]), now)
    return _a_day(match, day, now) if day else None


@_rule(
    rf"(?P<w>{WEEKDAY}),? (?:of )?(?:the |il )?(?P<d>[0-3]?\d)(?:st|nd|rd|th|(?![\w:./°]| ?{AMPM}| {UNIT}))",
    r"(?:il )?giorno (?P<d>[0-3]?\d)",
    # "on the 30th, how many" but not "on the 30th floor"
    rf"(?P<at>(?:on|for|since|from|until|between|and|or|to|of|by) the )(?P<d>[0-3]?\d(?:st|nd|rd|th)|{ORDINAL})"
    r"(?=[,.;:?!)]|$| (?:and|to|until|till|at|in|from|how|what|which|was|were|did|do|does|between|than|i|we|there"
    r"|onwards?|or)\b)",
)
def _day_of_month(match: re.Match[str], now: datetime) -> Phrase | None:
    """The latest such day that has begun, or in a question about the future the next one; "Friday the 15th" is the
    nearest 15th that is a Friday."""
    said, day, today = match.groupdict(), day_number(match["d"]), now.date()
    months = (calendar_unit(now, "month", back)[0] for back in range(-6, 7))
    days = [found for month in months if (found := _date(month.year, month.month, day))]
    past = bool(PAST_TENSE.search(match.string)) and not FUTURE_TENSE.search(match.string)
    if said.get("w"):
        weekday = position_of(said["w"], WEEKDAYS)
        days = [found for found in days if found.weekday() == weekday and (found <= today or not past)]
    elif past or (day <= today.day and not FUTURE_TENSE.search(match.string)):
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
def _holiday(match: re.Match[str], now: datetime) -> Phrase | None:
    """The latest that has begun, or in a question about the future the next one."""
    ahead = bool(FUTURE_TENSE.search(match.string))
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
    rf"(?P<f>first|prim[ei]|{_LAST_WORD}) (?:(?P<n>{NUMBER}) )?(?P<u>{UNIT}){OF_LONGER}",
    rf"(?P<f>{_NTH_WORD}) (?P<u>{UNIT}){OF_LONGER}",
    rf"(?P<f>{_NTH_WORD}|{_LAST_WORD}) (?P<d>{WEEKDAY}){OF_LONGER}",
    rf"(?P<e>early|late|mid|middle of|beginning of|start of|end of|inizio|meta|fine)(?=[ -](?:di )?(?:{MONTH}))",
)
def _part(match: re.Match[str], now: datetime) -> Phrase | None:
    """Of days still to be found: ("half", which), ("third", which), ("weekday", which, weekday), or ("units", first
    of them, how many, unit); ``which`` and the first count from 0, or from the end if below."""
    said = match.groupdict()
    which = _WHICH[said["f"][:2]] - 1 if (said.get("f") or "last")[:2] in _WHICH else -1
    if said.get("h"):
        part = ("half", which)
    elif said.get("d"):
        part = ("weekday", which, position_of(said["d"], WEEKDAYS))
    elif said.get("e"):
        words = ("early", "beginning of", "start of", "inizio"), ("mid", "middle of", "meta")
        part = ("third", 0 if said["e"] in words[0] else 1 if said["e"] in words[1] else 2)
    elif not said.get("n") and re.search("s$|giorni", match[0]):  # "the first days of May"
        part = ("third", which % 3)
    else:
        part = ("units", which, min(number_of(said.get("n") or "one"), 100), unit_of(said["u"]))
    return Phrase(match.start(), match.end(), "part", of=part)


@_rule(
    rf"q(?P<q>[1-4])(?:[ /]?(?P<y>(?:19|20)\d\d)|{LAST_YEAR})?",
    rf"(?P<q>{_NTH_WORD}|[1-4](?:st|nd|rd|th|°|º)) (?P<u>quarter|trimestre|semestre|half-year|semester)"
    rf"(?! of an| hour)(?: (?:of |del )?(?:the year |this year |dell'anno )?(?P<y>(?:19|20)\d\d)?|{LAST_YEAR})?",
    r"h(?P<q>[12])[ /]?(?P<y>(?:19|20)\d\d)",
)
def _quarter(match: re.Match[str], now: datetime) -> Phrase | None:
    """The latest such quarter (or half year) that has begun."""
    said = match.groupdict()
    months = 6 if match[0][0] == "h" or (said.get("u") or "").startswith(("sem", "half")) else 3
    first = ((_WHICH.get(match["q"][:2]) or int(match["q"][0])) - 1) * months
    if first >= 12:
        return None
    year = int(match["y"]) if match["y"] else now.year - bool(said.get("ly") or first + 1 > now.month)
    return _days(match, date(year, first + 1, 1), months_on(date(year, first + 1, 1), months), now)


@_rule(
    r"(?:(?:iso |calendar )(?:week|wk)|week (?:number|no\.?|n\.?)|settimana (?:iso|numero|n\.?)|cw|kw) ?(?P<n>[1-5]?\d)"
    r"(?:(?:,? (?:of |del )?|/)(?P<y>(?:19|20)\d\d))?",
    r"(?:^|(?<=in )|(?<=for )|(?<=of )|(?<=and )|(?<=since )|(?<=nella ))(?:week|settimana) (?P<n>[1-5]?\d)"
    r"(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d))?(?=[,.;:?!)]|$| (?:of|and|to|vs|versus|in|was|were)\b)",
)
def _week_number(match: re.Match[str], now: datetime) -> Phrase | None:
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
def _week_of(match: re.Match[str], now: datetime) -> Phrase | None:
    how = "of" if match["how"] in ("of", "del") else "ending" if match["how"] == "ending" else "starting"
    what = "weekend" if match["what"] in ("weekend", "fine settimana") else "week"
    return Phrase(match.start(), match.end(), "week of", of=(what, how))


@_rule(
    rf"(?:{NUMBER} )?(?:working days|workdays|week days|weekdays|business days|giorni (?:feriali|lavorativi))",
)
def _workdays(match: re.Match[str], now: datetime) -> Phrase | None:
    return Phrase(match.start(), match.end(), "workdays")


@_rule(
    rf"(?P<m>{MONTH})(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d)|{LAST_YEAR})",
    rf"(?:(?:in|during|of|throughout|since|a|ad|di|da|nel mese di)|(?P<last>last|scorso)) (?P<m>{MONTH})",
    r"(?P<m>january|february|april|june|july|august|september|october|november|december|gennaio|febbraio|marzo|aprile"
    r"|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre)(?P<last> scorso)?",
)
def _month(match: re.Match[str], now: datetime) -> Phrase | None:
    month, said = position_of(match["m"], MONTHS) + 1, match.groupdict()
    year = int(said["y"]) if said.get("y") else now.year - (1 if said.get("ly") else month > now.month)
    if said.get("last") and month == now.month:
        year -= 1
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    # The preposition stays outside, so that "since November" is still seen to begin with "since".
    return replace(_days(match, first, after, now), at=match.start("m"))


@_rule(r"(?:in|during|of|since|nel|del|dal) (?:the year )?(?P<y>(?:19[7-9]|20\d)\d)")
def _year(match: re.Match[str], now: datetime) -> Phrase | None:
    year = int(match["y"])
    return replace(_days(match, date(year, 1, 1), date(year + 1, 1, 1), now), at=match.start("y"))


# Times ahead.


@_rule(
    r"(?:the )?day after tomorrow|tomorrow|tonight|this night",
    rf"domani|dopodomani|stasera|stanotte|questa sera|questa notte|(?:oggi|domani|{WEEKDAY}) a otto",
    rf"(?:today|tomorrow|{WEEKDAY}) week",
    rf"(?:the |le |i |il |la |nei |nelle |nel |nella )?(?:next|coming|following|upcoming|prossim[oaie]) (?:{NUMBER} )?"
    rf"(?:{UNIT}|{WEEKDAY}|{MONTH}|{SEASON}|{PART}|weekend|week-end|fine settimana|spring|rush hour)",
    rf"(?:{LONG_UNIT}|{WEEKDAY}|weekend|fine settimana) prossim[oa]",
    rf"(?:in|within|entro|tra|fra) {NUMBER}(?: more| further)?[ -]{UNIT}(?:'s?)?(?: time| from now)?{NO_STEP}",
    rf"{NUMBER} {UNIT} (?:ahead|from now|later)|(?:by|entro) {WEEKDAY}",
    r"later today|later this \w+|later on|(?:the )?rest of (?:the|this) (?:day|week|month|afternoon|evening|year)"
    r"|(?:in |over )?the (?:near |coming )?future|coming days|upcoming|soon|prossimamente|piu tardi",
)
def _coming(match: re.Match[str], now: datetime) -> Phrase | None:
    if match[0] == "stanotte" and PAST_TENSE.search(clause_of(match)):  # this night or last night
        return _part_of(match, now.date() - timedelta(days=1), (18, 30))
    return _ahead(match)


# Days and parts of days known by name.


@_rule(
    r"(?:the )?day before yesterday|(?<=yesterday and )the day before",
    r"l'altro ieri|ieri l'altro|ier l'altro|altroieri|avantieri|avant'ieri",
)
def _before_yesterday(match: re.Match[str], now: datetime) -> Phrase | None:
    return _a_day(match, now.date() - timedelta(days=2), now)


@_rule(r"last night|previous night|overnight|notte scorsa|scorsa notte|ieri notte|yesterday night")
def _last_night(match: re.Match[str], now: datetime) -> Phrase | None:
    return _part_of(match, now.date() - timedelta(days=1), (18, 30))


@_rule(
    rf"(?:the )?night (?:between|of|from) (?P<d>{WEEKDAY}) (?:and|to|on|into) {WEEKDAY}",
    rf"notte (?:tra|fra) (?P<d>{WEEKDAY}) e {WEEKDAY}",
)
def _night_between(match: re.Match[str], now: datetime) -> Phrase | None:
    back = (now.weekday() - position_of(match["d"], WEEKDAYS)) % 7 or 7
    return _part_of(match, now.date() - timedelta(days=back), (18, 30))


@_rule(r"stamattina|stamane|stamani|(?:this|questa|questo) (?:morning|mattina|mattino)")
def _this_morning(match: re.Match[str], now: datetime) -> Phrase | None:
    return _part_of(match, now.date(), (6, 12))


@_rule(r"(?:this|questa|questo) (?P<p>afternoon|evening|pomeriggio|sera)")
def _this_part(match: re.Match[str], now: datetime) -> Phrase | None:
    return _part_of(match, now.date(), list(PARTS.values())[position_of(match["p"], PARTS)])


@_rule(rf"(?P<n>{NUMBER}) (?P<p>{PART}|nights|evenings|mornings|afternoons|notti|sere|mattine|pomeriggi) (?:ago|fa)")
def _part_ago(match: re.Match[str], now: datetime) -> Phrase | None:
    first = match["p"][0] + match["p"][1]  # mornings, mattine; afternoons; evenings; nights
    hours = {"mo": 0, "ma": 0, "af": 1, "po": 1, "ev": 2, "se": 2}.get(first, 3)
    day = units_back(now, number_of(match["n"]), "day").date()
    return _part_of(match, day, list(PARTS.values())[hours])


def _part_of(match: re.Match[str], day: date, hours: tuple[float, float]) -> Phrase:
    return Phrase(match.start(), match.end(), "hours", hours=hours, day=day, part_of_day=True)


@_rule(
    rf"(?P<n>{NUMBER}) (?P<u>{UNIT}) (?:ago|fa) (?:today|oggi|to the day|exactly|esatt[aoie])",
    rf"(?:exactly|esattamente|precisely) (?P<n>{NUMBER}) (?P<u>{UNIT}) (?:ago|fa)(?: to the day| today| oggi)?",
)
def _to_the_day(match: re.Match[str], now: datetime) -> Phrase | None:
    """A week ago today is a day, a week ago may be a week."""
    unit = unit_of(match["u"])
    if unit in ("second", "minute", "hour"):
        return None
    return _a_day(match, units_back(now, number_of(match["n"]), unit).date(), now)


@_rule(
    r"(?:this|at this|same|the same) time (?P<t>yesterday|last week|last month|last year)",
    r"(?:a )?quest'ora (?P<t>di ieri|ieri|la settimana scorsa|della settimana scorsa|il mese scorso|l'anno scorso)",
)
def _this_time(match: re.Match[str], now: datetime) -> Phrase | None:
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
def _same_unit(match: re.Match[str], now: datetime) -> Phrase | None:
    what = "day" if match["what"] in ("weekday", "giorno") else unit_of(match["what"])
    return Phrase(match.start(), match.end(), "earlier", of=f"same {what} {unit_of(match['u'])}")


_NO_CLAUSE = r"(?=[,.;:?!)]|$| [-–]| (?:in|at|for|along|around|and|or|near|did|was|were|is|how|what|a|ad|in|e|nel)\b)"


@_rule(
    # "the week before" but not "the week before the derby" or "before last"
    rf"(?:the )?(?P<u>day|week|month|quarter|year|{WEEKDAY}|{WEEKEND}|one) (?:before|prior){_NO_CLAUSE}",
    rf"(?:previous|preceding) (?P<u>day|{WEEKDAY}|{WEEKEND})",
    r"(?:than|and|with|to|against|versus|vs\.?|con|e|che) (?:the |la |il )?(?:previous|preceding|precedente)"
    r" (?P<u>week|month|quarter|year|settimana|mese|anno)",
    rf"(?P<u>giorno|settimana|mese|anno|{WEEKDAY}|{WEEKEND}) (?:precedente|prima)(?! d)",
)
def _earlier(match: re.Match[str], now: datetime) -> Phrase | None:
    return Phrase(match.start(), match.end(), "earlier", of=match["u"])


@_rule(
    rf"(?P<two>(?:the )?(?P<d>{WEEKDAY}|{WEEKEND}) before last|(?:the )?last but one (?P<d2>{WEEKDAY}|{WEEKEND})"
    rf"|(?:il |la )?penultim[oa] (?P<d3>{WEEKDAY}|{WEEKEND}))",
    rf"(?P<n>{NUMBER}) (?P<d>{WEEKDAY}|weekends?|week-ends?|fine settimana) (?:ago|fa)",
)
def _so_many_back(match: re.Match[str], now: datetime) -> Phrase | None:
    """Sunday before last, two Sundays ago, the weekend before last."""
    said = match.groupdict()
    name = said.get("d") or said.get("d2") or said["d3"]
    count = min(2 if said.get("two") else number_of(said["n"]), 52 * (now.year - EARLIEST_YEAR))
    if name.startswith(("week", "fine")):
        saturday = now.date() - timedelta(days=now.weekday() + 2 + 7 * (count - 1))
        return _days(match, saturday, saturday + timedelta(days=2), now)
    back = (now.weekday() - position_of(name, WEEKDAYS)) % 7 or 7
    return _a_day(match, now.date() - timedelta(days=back + 7 * (count - 1)), now)


@_rule(r"yesterday|ieri")
def _yesterday(match: re.Match[str], now: datetime) -> Phrase | None:
    return _a_day(match, now.date() - timedelta(days=1), now)


@_rule(r"today|oggi|odiern[oa]|in giornata")
def _today(match: re.Match[str], now: datetime) -> Phrase | None:
    return _a_day(match, now.date(), now)


@_rule(
    r"(?:throughout|during|over|across|in|all through|through) (?:the course of )?(?:the|a) (?:whole |entire )?day",
    r"all day(?: long)?|the (?:whole|entire) day|day-?time",
    r"(?:durante|lungo|attraverso) (?:tutta )?(?:il giorno|la giornata)|(?:nel corso|nell'arco) della giornata",
    r"(?:per )?tutto il giorno|tutta la giornata",
)
def _course_of_day(match: re.Match[str], now: datetime) -> Phrase | None:
    return replace(_a_day(match, now.date(), now), kind="course")


# Spans up to now.


_HALF_OF = {
    "minute": (30, "second"), "hour": (30, "minute"), "day": (12, "hour"), "week": (84, "hour"), "month": (15, "day"),
    "year": (6, "month"),
}  # fmt: skip


@_rule(
    rf"(?:past|last|previous|ultim[ie]) (?P<n>\d{{1,3}}|{NUMBER})(?:[.,]5| and a half)[ -](?P<u>{UNIT})",
    rf"(?:past|last|ultim[ie]) (?P<n>{NUMBER}) (?P<u>{UNIT}) e mezz[ao]",
)
def _so_many_and_a_half(match: re.Match[str], now: datetime) -> Phrase | None:
    unit = unit_of(match["u"])
    start = units_back(now, number_of(match["n"]), unit)
    return _span(match, units_back(start, *_HALF_OF[unit]), now) if unit in _HALF_OF else None


@_rule(
    rf"(?:past|last|previous|preceding|trailing|recent|ultim[ie]|passat[ie]|scors[ie]|precedenti) {COUNT}"
    rf"(?:full |whole |complete )?(?P<u>{UNIT})",
    rf"{COUNT}(?:ultim[ie]|last|past) (?P<u>{UNIT})",
    rf"(?:over|for|during|per|da) (?:a |the )?{COUNT}(?P<u>{UNIT})(?: (?:period|up to now|until now))?{NO_STEP}",
    rf"{COUNT}(?P<u>{UNIT})(?: (?:up to now|until now|to date)| of history)",
    rf"{COUNT}(?P<u>{UNIT}) (?:of|di) (?:[\w'%-]+ ){{1,6}}?(?:up to|until|till|fino ad?) (?:now|date|oggi|adesso|ora"
    r"|this (?:minute|moment|hour))",
    rf"(?:show|plot|give|list|chart|display|export|draw|fetch)(?: me| us)?(?: the)? {COUNT}"
    rf"(?P<u>{UNIT}) (?:of|worth)",
)
def _past_units(match: re.Match[str], now: datetime) -> Phrase | None:
    return _span(match, units_back(now, number_of(match["n"]), unit_of(match["u"])), now)


_HALVES = {
    "half(?: an)? hour|mezz'?ora": (30, "minute"), "quarter of an hour|quarto d'ora": (15, "minute"),
    "half[ -]year|mezzo anno": (6, "month"), "hour and a half|ora e mezz[ao]": (90, "minute"),
    "day and a half": (36, "hour"), "week and a half": (252, "hour"), "month and a half": (45, "day"),
    "year and a half": (18, "month"),
}  # fmt: skip


@_rule(rf"(?:past|last|previous|ultim[oa]) (?P<h>{one_of(_HALVES)})", rf"(?P<h>{one_of(_HALVES)}) (?P<ago>ago|fa)")
def _halves(match: re.Match[str], now: datetime) -> Phrase | None:
    start = units_back(now, *list(_HALVES.values())[position_of(match["h"], _HALVES)])
    hour_on = (start.astimezone(UTC) + timedelta(hours=1)).astimezone(now.tzinfo)
    return _span(match, start, min(hour_on, now, key=utc) if match.groupdict().get("ago") else now)


@_rule(
    r"(?:last|previous|past) (?:weekend|week-end)",
    rf"{WEEKEND} (?:scorso|passato|appena passato)|(?:scorso|ultimo) {WEEKEND}",
)
def _last_weekend(match: re.Match[str], now: datetime) -> Phrase | None:
    monday = now.date() - timedelta(days=now.weekday())
    return _days(match, monday - timedelta(days=2), monday, now)


@_rule(
    r"(?P<before>(?:the )?)(?P<u>week|month|quarter|year) before last",
    r"(?P<before>(?:the )?last but one |penultim[oa] )(?P<u>week|month|quarter|year|settimana|mese|anno)",
    r"(?P<the>the )?last (?P<u>week|month|quarter|year)",
    rf"(?:previous|preceding|scors[oa]|precedente) (?P<u>{LONG_UNIT})",
    r"(?P<u>settimana|mese|trimestre|anno) (?:scors[oa]|passat[oa]|precedente)",
)
def _last_calendar_unit(match: re.Match[str], now: datetime) -> Phrase | None:
    if match.groupdict().get("the"):  # "over the last week" is the week up to now
        return _span(match, units_back(now, 1, unit_of(match["u"])), now)
    back = 2 if match.groupdict().get("before") is not None else 1
    return _days(match, *calendar_unit(now, unit_of(match["u"]), back), now)


@_rule(
    rf"(?:past|last|previous|trailing|preceding|ultim[oa]|passat[oa]) (?P<u>{UNIT})",
)
def _past_unit(match: re.Match[str], now: datetime) -> Phrase | None:
    unit = unit_of(match["u"])
    return None if unit in ("second", "minute") else _span(match, units_back(now, 1, unit), now)


@_rule(
    rf"(?:this|current|present|questa|questo|quest'|corrente) ?(?:calendar |solare )?(?P<u>{LONG_UNIT})",
    rf"(?:start|beginning|first day|inizio) (?:of |di )?(?:the |this |del |della |dell'|quest[oa'] ?)?"
    rf"(?P<u>{LONG_UNIT})",
    r"(?P<u>week|month|quarter|year)[ -]to[ -]date|(?:settimana|mese|anno) (?:corrente|in corso)|[wmqy]td",
)
def _this_unit(match: re.Match[str], now: datetime) -> Phrase | None:
    short = {"wtd": "week", "mtd": "month", "qtd": "quarter", "ytd": "year"}.get(match[0])
    word = short or match.groupdict().get("u") or match[0].split()[0]
    return _days(match, *calendar_unit(now, unit_of(word), 0), now)


@_rule(r"(?:this|questo) (?:weekend|week-end|fine settimana)")
def _this_weekend(match: re.Match[str], now: datetime) -> Phrase | None:
    saturday = now.date() - timedelta(days=now.weekday() - 5)
    return _days(match, saturday, saturday + timedelta(days=2), now)


@_rule(r"(?:over|during|at|on|in|nel|durante) (?:the |il )?(?:weekend|week-end|fine settimana)")
def _weekend(match: re.Match[str], now: datetime) -> Phrase | None:
    """The latest weekend that has begun."""
    saturday = now.date() - timedelta(days=(now.weekday() - 5) % 7)
    return _days(match, saturday, saturday + timedelta(days=2), now)


@_rule(
    rf"(?P<s>{SEASON}) (?:of |del(?:l'anno)? )?(?P<y>20\d\d)(?:[/-]\d\d)?",
    rf"(?P<w>this|last|past|scors[oa]|quest[oa]|since|over)(?: the)? (?P<s>{SEASON})",
    rf"(?P<s>{SEASON}) (?P<w>scors[oa])",
)
def _season(match: re.Match[str], now: datetime) -> Phrase | None:
    """Meteorological seasons (winter is December to February): "this" of the present year, "last" the latest ended, of
    a year the one that began in it."""
    month = list(SEASONS.values())[position_of(match["s"], SEASONS)]
    if match.groupdict().get("y"):
        first = date(int(match["y"]), month, 1)
        return _days(match, first, months_on(first, 3), now)
    first = date(now.year - (month == 12 and now.month < 3), month, 1)
    begun = match["w"] in ("since", "over")
    if not match["w"].startswith(("this", "quest")):
        while (first if begun else months_on(first, 3)) > now.date():
            first = date(first.year - 1, month, 1)
    return replace(_days(match, first, months_on(first, 3), now), at=match.start("s" if begun else 0))


@_rule(rf"(?P<n>{NUMBER}) (?P<u>{UNIT}) (?:ago|fa|(?:before|back|earlier|prima)(?=[,.;:?!)]|$))")
def _ago(match: re.Match[str], now: datetime) -> Phrase | None:
    """Three days ago is that day, two weeks ago that week, five hours ago the hour that began then."""
    count, unit = number_of(match["n"]), unit_of(match["u"])
    start = units_back(now, count, unit)
    if unit in ("second", "minute", "hour"):
        return _span(match, start, min(now, start.astimezone(UTC) + timedelta(hours=1), key=utc))
    if unit == "day":
        return _a_day(match, start.date(), now)
    return _days(match, *calendar_unit(now, unit, min(count, 12 * (now.year - EARLIEST_YEAR))), now)


@_rule(
    rf"(?P<every>every|each|ogni|an?(?: (?:ordinary|normal|typical|usual))?(?= \w+day)|on|il) (?P<d>{WEEKDAY})",
    rf"(?P<w>last|this past|scors[oa]|ultim[oa]|this|quest[oa]) (?P<d>{WEEKDAY})",
    rf"(?P<d>{WEEKDAY})(?P<w> scors[oa]| passat[oa])?",
)
def _weekday(match: re.Match[str], now: datetime) -> Phrase | None:
    """The latest such day before today; "this Friday" is the one of the present week, "on Friday" in a question about
    the future lies ahead, "every Friday" is no single day."""
    said = match.groupdict()
    if (said.get("every") or "on") not in ("on", "il") or match["d"].endswith(("days", "sabati", "domeniche")):
        return Phrase(match.start(), match.end(), "none")
    weekday = position_of(match["d"], WEEKDAYS)
    back = (now.weekday() - weekday) % 7 or 7
    if (said.get("w") or "").startswith(("this ", "quest")) or said.get("w") == "this":
        back = now.weekday() - weekday
    elif not said.get("w") and FUTURE_TENSE.search(match.string):
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
        rf"(?:(?P<shift>{one_of(_SHIFTS)}) (?P<way>past|to) )?(?P<h>\d{{1,2}}|[a-z]+)(?:[:.h](?P<m>\d\d))?"
        rf"(?: (?P<it>{one_of(_SHIFTS_IT)}))? ?(?P<half>[ap]\.?m\.?|o'?clock)?",
        text.strip(),
    )
    minutes = int(match["m"] or 0) + _SHIFTS_IT.get(match["it"], 0)
    minutes += _SHIFTS.get(match["shift"], 0) * (-1 if match["way"] == "to" else 1)
    hour = number_of(match["h"]) + minutes / 60
    if (match["half"] or "").startswith("p") and hour < 12:
        hour += 12
    elif (match["half"] or "").startswith("a") and 12 <= hour < 13:
        hour -= 12
    return hour


@_rule(
    rf"(?:between|from|dalle|dall'|tra le|fra le) (?:ore )?(?P<a>{CLOCK}){TO}(?:le |ore )?(?P<b>{CLOCK})",
    r"(?P<a>\d\d?(?::[0-5]\d)?) ?(?:-|–|to) ?(?P<b>\d\d?(?::[0-5]\d)? ?(?:am|pm|a\.m\.?|p\.m\.?))",
    r"(?P<a>\d\d?:[0-5]\d) ?(?:-|–|to) ?(?P<b>\d\d?:[0-5]\d)",
)
def _clock_range(match: re.Match[str], now: datetime) -> Phrase | None:
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
    return Phrase(match.start(), match.end(), "hours", hours=(start, end), bare=bare)


@_rule(
    rf"(?:(?P<how>at|around|about|since|after|from|by|before|until|till|to|between|and) )?"
    rf"(?P<c>{HOUR}(?:(?:[:.][0-5]\d)? ?{AMPM}|[:h][0-5]\d))",
    rf"(?P<how>alle|all'|dalle|dopo le|prima delle|entro le|fino alle|verso le|intorno alle|attorno alle) (?:ore )?"
    rf"(?P<c>{HOUR}(?:[:.][0-5]\d)?(?: e mezza| e un quarto| meno un quarto)?)",
    rf"(?P<how>ore) (?P<c>{HOUR}(?:[:.][0-5]\d)?)",
    r"(?P<how>at|around|since|after|before|until|from|between|to|and|through|a|da) (?P<c>noon|midday|midnight"
    r"|mezzogiorno|mezzanotte)",
    rf"(?P<how>at|around|about|since|after|from|by|before|until|till|to|alle|verso le|dalle) (?P<bare>{CLOCK})",
)
def _clock(match: re.Match[str], now: datetime) -> Phrase | None:
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
    return Phrase(at, match.end(), "hours", hours=hours, bare=bool(bare), moment=True, open=how == "since")


@_rule(
    rf"(?:in the |of the |at |during the |di |del |della |nel |alla |la |in )?(?P<p>{PART})",
)
def _part_of_day(match: re.Match[str], now: datetime) -> Phrase | None:
    hours = list(PARTS.values())[position_of(match["p"], PARTS)]
    return Phrase(match.start(), match.end(), "hours", hours=hours, part_of_day=True)


@_rule(
    r"right now|now|at (?:the|this) (?:very )?moment|at present|presently|currently|in real[ -]?time",
    r"live (?:data|readings?|status)|(?:latest|most recent) (?:readings?|values?|measurements?|data)",
    r"adesso|attualmente|in questo momento|in questo istante|in tempo reale|proprio ora",
    # "current" as an adjective, not the electric current
    r"current(?= (?:temperature|humidity|weather|traffic|air|load|state|status|situation|conditions?|levels?|water|wind"
    r"|rain|parking|power|electricity|energy|grid|cell|network|mobile|solar|number|occupancy|demand|pollution|road|ev"
    r"|outages?))",
)
def _right_now(match: re.Match[str], now: datetime) -> Phrase | None:
    return Phrase(match.start(), match.end(), "now", units_back(now, 1, "hour"), now)
