"""Words that times are told with, in English and Italian: numbers, units, months, weekdays, hours; as patterns, and
what they mean. All text is folded (``twin.words.fold``)."""

import re
from collections.abc import Iterable

from agents.spelling import Spelling
from twin.gazetteer import places
from twin.words import fold

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
MONTHS = (
    "january|jan|gennaio", "february|feb|febbraio", "march|mar|marzo", "april|apr|aprile", "may|maggio|mag",
    "june|jun|giugno", "july|jul|luglio", "august|aug|agosto", "september|sept|sep|settembre", "october|oct|ottobre",
    "november|nov|novembre", "december|dec|dicembre",
)  # fmt: skip
WEEKDAYS = (
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
SEASONS = {"spring|primavera": 3, "summer|estate": 6, "autumn|autunno": 9, "winter|inverno": 12}
PARTS = {  # hours after the day's midnight
    "morning|mattina|mattino|mattinata": (6, 12),
    "afternoon|pomeriggio": (12, 18),
    "evening|sera|serata": (18, 24),
    "night|notte|nottata": (18, 30),
}


def one_of(patterns: Iterable[str]) -> str:
    return "(?:" + "|".join(patterns) + ")"


_ONES_AFTER_A = [ones for ones in _ONES_IT[:9] if ones not in ("uno", "otto")]
_COMPOUND = (  # "seventy-two", "settantadue", "settantuno"
    rf"{one_of(_TENS)}[- ]{one_of(_ONES[:9])}|{one_of(_TENS_IT)}{one_of(_ONES_AFTER_A)}"
    rf"|{one_of(tens[:-1] for tens in _TENS_IT)}(?:uno|otto)"
)
NUMBER = one_of(
    ["\\d{1,9}", _COMPOUND]
    + sorted((word for word in _NUMBER_WORDS if not re.fullmatch(_COMPOUND, word)), key=len, reverse=True)
)
UNIT = one_of(_UNITS.values())
LONG_UNIT = one_of(_UNITS[u] for u in ("week", "month", "quarter", "year"))
MONTH, WEEKDAY, SEASON, PART = one_of(MONTHS), one_of(WEEKDAYS), one_of(SEASONS), one_of(PARTS)
WEEKEND = "(?:weekend|week-end|fine settimana)"
_NTH = r"(?:st|nd|rd|th|°|º)?"
ORDINAL = one_of(sorted(_ORDINALS, key=len, reverse=True))
DAY_OF_MONTH = rf"(?:[0-3]?\d{_NTH}|{ORDINAL})"
ON_WEEKDAY = rf"(?:{WEEKDAY}\.?,? (?:the |il )?)?"  # "Friday 15 November" is one date
LAST_YEAR = r",? (?P<ly>(?:of )?last year|(?:dell'|l')anno (?:scorso|passato))"
YEAR = rf"(?:,? (?:of |del )?(?P<y>(?:19|20)\d\d)|{LAST_YEAR})?"
HOUR, AMPM = r"(?:[01]?\d|2[0-4])", r"(?:am|pm|a\.m\.?|p\.m\.?|o'?clock)"
_HOUR_WORD = one_of([*_ONES, "una", *_ONES_IT[1:]])
CLOCK = (
    rf"(?:(?:(?:half|a quarter|quarter|ten|twenty|five) (?:past|to) )?(?:{HOUR}(?:[:.h][0-5]\d)?|{_HOUR_WORD})"
    rf"(?: e mezz[ao]| e un quarto| meno un quarto)?(?: ?{AMPM})?|noon|midday|midnight|mezzogiorno|mezzanotte)"
)
TO = r" ?(?:to|and|until|till|through|-|–|—|al|all'|alle|e|e le|fino alle|fino al|a) ?"


OF_LONGER = rf"(?= (?:of|in|di|del|dell'|dell) ?(?:the |this |last |quest)?(?:{MONTH}|{UNIT}|20\d\d|anno))"
NO_STEP = r"(?! (?:interval|step|bin|average|mean|resolution|slot|granular|window|sampl|readings))"
COUNT = rf"(?P<n>{NUMBER})(?:[ -]|(?<=\d))"
FUTURE_TENSE = re.compile(
    r"\b(?:will|won't|shall|'ll|going to|gonna|plan(?:s|ning)? (?:to|on)|forecast|predict\w*|expect\w*|previsioni?"
    r"|preved\w+|sara|saranno|fara|ci sara|vorrei|andro|andremo|piovera|nevichera|potro|conviene|dovrei|should i"
    r"|my (?:flight|train|plane|bus|ferry) (?:leaves|departs|goes))\b"
)


PAST_TENSE = re.compile(
    r"\b(?:was|were|did|had|went|came|fell|rose|\w{2,}[^e\W]ed|era|erano|c'era|c'erano|faceva|pioveva)\b"
    r"|\b(?:e|ha|hanno|ho|abbiamo|sono|siamo) (?:\w+ )?\w+(?:at|ut|it|ess|es|ers|ett|ott|ost|ist)[oaie]\b"
)


def clause_of(match: re.Match[str]) -> str:
    """The text round a match, from one punctuation mark to the next."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    return re.split(r"[,;:.?!]| se ", before)[-1] + match[0] + re.split(r"[,;:.?!]| se ", after)[0]


def spelled(word: str) -> str:
    return _SHORT_WORDS.get(word) or _SPELLING.correct(word)


def number_of(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBER_WORDS[word]


def day_number(word: str) -> int:
    """Day of the month, of "12th" or "twelfth"."""
    return _ORDINALS.get(word) or int(re.match(r"\d+", word)[0])


def position_of(word: str, patterns: Iterable[str]) -> int:
    """Position of the pattern that the word fits."""
    return next(i for i, pattern in enumerate(patterns) if re.fullmatch(pattern, word))


def unit_of(word: str) -> str:
    return list(_UNITS)[position_of(word, _UNITS.values())]
