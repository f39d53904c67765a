"""Sensor Cards as data: what each sensor type monitors, in which unit, what it bears on and which words name it.

``cards/<field>/<type>.toml`` is the card of one bundled type; an operator's types bring theirs in their own files (see
``twin.sensor_types``). The keys of a card:

- monitors, unit: what the sensor is designed to monitor, and in words the unit in which it is stored;
- bears_on: phenomena its data say something about;
- silent_on: what it is often taken to tell and does not;
- en, it: words that name it: the type is chosen when one stands in the question;
- hints: words that only suggest it: two of them, or one and nothing better in the question;
- hazard: true where the type records or gives away a danger, so that a question for its likelihood needs its exposure
  (the state of what is endangered) and, where the question names no cause, its causes;
- exposure, causes: other types, as above; the causes also answer "why?".

Words: small words inside a phrase don't count ("frequency of the grid" is "frequency grid"), "flood*" stands for any
ending, "a ~ b" for both within six words of each other, and "=" at the beginning for exactly these words in a row.

Public: ``SensorCard``, ``sensor_cards``, ``check_card_file``, ``CardError``.
"""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from twin.sensor_types import TABLES, VARIABLE, SensorTypeError, bundled_types, own_type, sensor_types, type_files
from twin.tables import Key, problems_of, read_table, text, texts
from twin.words import SMALL_WORDS, fold

_BUNDLED = Path(__file__).with_name("cards")


class CardError(ValueError):
    """Card files that can't be used; the message says of each all that is wrong with it."""


@dataclass(frozen=True)
class SensorCard:
    """The card of one sensor type; what each part means is told above."""

    type: str
    monitors: str
    unit: str
    bears_on: tuple[str, ...]
    silent_on: str
    en: tuple[str, ...]
    it: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    exposure: tuple[str, ...] = ()
    hazard: bool = False

    @property
    def title(self) -> str:
        return self.type.replace("_", " ")

    @property
    def text(self) -> str:
        """The card in words, for people and for prompts (paper, section III-A)."""
        return (
            f"{self.title.capitalize()}: it is designed to monitor {self.monitors}, stored in {self.unit}. "
            f"Bears on: {', '.join(self.bears_on)}. Does not tell: {self.silent_on}."
        )


@cache
def sensor_cards() -> dict[str, SensorCard]:
    """All cards by type, in the order of the sensor types. Raises CardError, SensorTypeError."""
    types, cards, problems = sensor_types(), {}, []
    for kind in types.values():
        path = kind.file or _BUNDLED / kind.field / f"{kind.id}.toml"
        cards[kind.id], wrong = _read(path, types)
        problems += wrong
    if problems:
        raise CardError("\n".join(problems))
    return cards


def check_card_file(path: Path) -> list[str]:
    """All that is wrong with a card file, a bundled one or an operator's, one sentence each; empty when it can be used.

    Known as causes and exposure are the bundled types, those of the other files beside it, and those in use.
    """
    path = Path(path)
    in_use = Path(os.environ.get(VARIABLE) or path.parent)
    own = [] if _is_bundled(path) else [*path.parent.glob("*.toml"), *in_use.glob("*.toml")]
    problems = _read(path, bundled_types().keys() | {file.stem for file in own})[1]
    twice = [file for file in own if file.stem == path.stem and file.resolve() != path.resolve()]
    return problems + [f"{path}: the id {path.stem} is that of {file} already; choose another." for file in twice]


def check_card_directory(directory: Path) -> list[str]:
    """All that is wrong with the card files in an operator's directory."""
    try:
        return [problem for path in type_files(directory) for problem in check_card_file(path)]
    except SensorTypeError as error:
        return [str(error)]


# --- What is wrong with a card ----------------------------------------------------------------------------------------


def _is_bundled(path: Path) -> bool:
    return path.resolve().is_relative_to(_BUNDLED.resolve())


def _read(path: Path, known: Collection[str]) -> tuple[SensorCard | None, list[str]]:
    """The card of a file, or what is wrong with it. ``known``: ids of types."""
    table, problems = read_table(path)
    keys = _keys(path.stem, known)
    if not problems and _is_bundled(path):
        problems = problems_of(table, keys)
        kind = bundled_types().get(path.stem)
        if kind is None or path.parent.name != kind.field:
            problems.append("it is not the file of a type of twin/sensor_types.json in the folder of its field")
    elif not problems:
        problems = list(dict.fromkeys(problems_of(table, keys | TABLES) + own_type(path, table)[1]))
    if problems:
        return None, [f"{path}: {problem}." for problem in problems]
    parts = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in keys}
    return SensorCard(path.stem, **parts), []


def _keys(type_id: str, known: Collection[str]) -> dict[str, Key]:
    """What the keys of a card must be."""

    def wrong_type(other: str) -> Iterable[str]:
        if other == type_id:
            yield "it is the card's own type"
        elif other not in known:
            near = get_close_matches(other, known, n=1)
            yield f"there is no such type{f'; the nearest is {near[0]}' if near else ''}"

    types = texts(0, 20, wrong_type)
    return {
        "monitors": Key(str, "what the sensor is designed to monitor, 1 to 200 characters in one line", text(200)),
        "unit": Key(str, "the unit in words, 1 to 80 characters in one line, such as degrees Celsius", text(80)),
        "bears_on": Key(list, "1 to 10 phenomena of 1 to 80 characters", texts(1, 10, text(80))),
        "silent_on": Key(str, "what the data do not tell, 1 to 200 characters in one line", text(200)),
        "en": Key(list, _PHRASES.format("1 to 200 English phrases that name the type"), texts(1, 200, _wrong_phrase)),
        "it": Key(list, _PHRASES.format("at most 200 Italian phrases"), texts(0, 200, _wrong_phrase), False),
        "hints": Key(list, _PHRASES.format("at most 200 phrases that hint at it"), texts(0, 200, _wrong_phrase), False),
        "causes": Key(list, "a list of ids of other types", types, False),
        "exposure": Key(list, "a list of ids of other types", types, False),
        "hazard": Key(bool, "true or false", required=False),
    }


_PHRASES = '{} such as "flood*", "level ~ river" or "=and dry"'


def _wrong_phrase(phrase: str) -> Iterable[str]:
    """What is wrong with a phrase, by the notation of words told above."""
    yield from text(60)(phrase)
    strange = sorted(set(re.findall(r"[^a-z0-9 '~*=-]", fold(phrase))))
    if strange:
        yield f"{' '.join(strange)!r} can't stand in it: only letters, digits, blanks, ', -, ~, * and ="
    if "=" in phrase[1:]:
        yield "'=' stands only at its beginning"
    if re.search(r"(?<![a-z0-9])\*|\*(?![ ~]|$)", fold(phrase)):
        yield "'*' stands only at the end of a word"
    if phrase.count("~") > 1:
        yield "it has more than one '~'"
    for side in phrase.split("~"):
        said = re.findall(r"[a-z0-9]+\*?", fold(side))
        if not said:
            yield "it has no words" if phrase == side else "it has no words on one side of '~'"
        elif all(word in SMALL_WORDS for word in said):
            yield "it has only small words"
        elif "*" in side and sum(len(word.rstrip("*")) for word in said) < 3:
            yield "it has fewer than three letters before '*', which would stand for far too much"
