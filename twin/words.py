"""Words of a text, and finding known phrases among them: shared by the gazetteer and by the planners' vocabulary.

Case and accents don't count ("Città" is "citta"), small words between the words of a phrase don't either ("piazza del
Duomo" is "piazza duomo").
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

# Articles, possessives and the like, which may stand inside a phrase without changing it.
SMALL_WORDS = frozenset(
    "the a an of my our your their this these those s il lo la l i gli le di d del dello della dell dei degli delle"
    " un uno una al allo alla all ai agli alle".split()
)
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE_END = re.compile(r"[.?!;\n](?=\s|$)|\n")


@dataclass(frozen=True, slots=True)
class Word:
    """A word in folded form, its place in the text [start, end), and the number of its sentence."""

    text: str
    start: int
    end: int
    sentence: int


@dataclass(frozen=True, slots=True)
class Found:
    """Phrase number ``phrase`` of an index, from word ``first`` to word ``last`` (inclusive). ``size`` counts the words
    of the phrase itself."""

    phrase: int
    first: int
    last: int
    size: int


def fold(text: str) -> str:
    """Lower case, no accents, apostrophes made plain; as long as the text (in Unicode's NFC form) itself."""
    if text.isascii():
        return text.lower().replace("`", "'")
    return "".join(_fold_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _fold_letter(letter: str) -> str:
    if letter in "’‘ʼ`´":
        return "'"
    return unicodedata.normalize("NFKD", letter)[0].lower()[0]


def words(text: str) -> list[Word]:
    """The words of a text, in order; offsets count in its NFC form."""
    folded = fold(text)
    ends = [match.start() for match in _SENTENCE_END.finditer(folded)]
    found, sentence = [], 0
    for match in _WORD.finditer(folded):
        while sentence < len(ends) and ends[sentence] < match.start():
            sentence += 1
        found.append(Word(match.group(), match.start(), match.end(), sentence))
    return found


class PhraseIndex:
    """Finds many phrases in a text at once, in time that grows with the text and not with the number of phrases.

    A phrase is words with spaces between. ``flood*`` stands for any word that begins so. A phrase that begins with
    ``=`` tolerates no small words inside. Phrases are known by their position in ``phrases``.
    """

    def __init__(self, phrases: Iterable[str]):
        self._exact: dict[str, list[tuple[int, tuple[str, ...], bool]]] = defaultdict(list)
        self._prefix: dict[str, list[tuple[int, tuple[str, ...], bool]]] = defaultdict(list)
        for number, phrase in enumerate(phrases):
            strict = phrase.startswith("=")
            parts = tuple(re.findall(r"[a-z0-9]+\*?", fold(phrase)))
            if not strict:
                parts = tuple(part for part in parts if part not in SMALL_WORDS) or parts
            if not parts:
                raise ValueError(f"phrase {phrase!r} has no words")
            index = self._prefix if parts[0].endswith("*") else self._exact
            index[parts[0].rstrip("*")].append((number, parts, strict))

    def find(self, text: list[Word]) -> list[Found]:
        """Every place where a phrase stands, overlapping ones too."""
        found = []
        for first, word in enumerate(text):
            candidates = list(self._exact.get(word.text, ()))
            for length in range(1, len(word.text) + 1):
                candidates += self._prefix.get(word.text[:length], ())
            for number, parts, strict in candidates:
                last = _match(parts, strict, text, first)
                if last is not None:
                    found.append(Found(number, first, last, len(parts)))
        return found


def longest(found: Iterable[Found]) -> list[Found]:
    """Of overlapping finds, those with the most words; then the first. Finds over exactly the same words all stay."""
    kept: list[Found] = []
    owner: dict[int, tuple[int, int]] = {}
    for one in sorted(found, key=lambda f: (-f.size, f.first - f.last, f.first)):
        span = (one.first, one.last)
        if all(owner.get(i, span) == span for i in range(one.first, one.last + 1)):
            owner.update((i, span) for i in range(one.first, one.last + 1))
            kept.append(one)
    return sorted(kept, key=lambda f: (f.first, f.phrase))


def _match(parts: tuple[str, ...], strict: bool, text: list[Word], first: int) -> int | None:
    """Index of the last word if the phrase stands at ``first``, all in one sentence; else None."""
    at = first
    for part in parts[1:]:
        at += 1
        if not strict:
            while at < len(text) and text[at].text in SMALL_WORDS and not _same(part, text[at].text):
                at += 1
        if at >= len(text) or text[at].sentence != text[first].sentence or not _same(part, text[at].text):
            return None
    return at


def _same(part: str, word: str) -> bool:
    return word.startswith(part[:-1]) if part.endswith("*") else word == part
