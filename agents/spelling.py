"""Misspelt words: those of some letters that are one slip of the keyboard away from a word that is looked for."""

from collections.abc import Iterable

LETTERS = 7  # words of at least so many letters are recognised with one letter wrong, missing or too many
SWAP_LETTERS = 4  # and of so many with two neighbours swapped


class Spelling:
    """``known`` words stay as they are, others may become one of the ``targets``; a trailing * is any ending."""

    def __init__(self, known: Iterable[str], targets: Iterable[str]):
        known = set(known)
        self._known = {part.rstrip("*") for part in known}
        self._stems = tuple({part[:-1] for part in known if part.endswith("*")})
        self._by_rest: dict[str, str] = {}
        self._by_swap: dict[str, str] = {}
        for word in sorted({part.rstrip("*") for part in targets}):
            if len(word) >= LETTERS:
                for rest in _rests(word):
                    self._by_rest.setdefault(rest, word)
            if len(word) >= SWAP_LETTERS:
                for i in range(1, len(word) - 1):
                    self._by_swap.setdefault(word[:i] + word[i + 1] + word[i] + word[i + 2 :], word)

    def correct(self, word: str) -> str:
        """The word, or the one that is looked for and has the same first letter."""
        if word in self._known or word.startswith(self._stems):
            return word
        if swapped := self._by_swap.get(word):
            return swapped
        for rest in _rests(word) if len(word) >= LETTERS - 1 else ():
            near = self._by_rest.get(rest)
            if near and near[0] == word[0] and _one_letter_apart(near, word):
                return near
        return word


def _one_letter_apart(a: str, b: str) -> bool:
    """One letter more, less or other."""
    if len(a) != len(b):
        return True  # they share what is left without a letter
    return sum(x != y for x, y in zip(a, b, strict=True)) == 1


def _rests(word: str) -> Iterable[str]:
    yield word
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
