"""Long-term memory: lessons of past reviews, which guide later questions.

A lesson says for the words of one question which types were missing from a draft and which were not needed. It is kept
when the draft that took it in was accepted. Lessons go into prompts, so that they hold nothing free: words that a
question shares with them select a lesson, and types are ids. The file is JSON lines; what doesn't read as a lesson is
left out and counted, and only the newest ``most`` are kept.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from twin.sensor_types import sensor_types
from twin.words import SMALL_WORDS, words

log = logging.getLogger(__name__)
MOST = 500
_MOST_WORDS = 30
_LEAST_ALIKE = 0.2  # share of words in common with a lesson that is about the same thing
# Words that say nothing of what a question is about.
_COMMON = SMALL_WORDS | frozenset(
    "is are was were be been has have had do does did will would can could should may might what which where when who"
    " how why in on at to for from with by and or not no i me we us it they there any some all as so than then if"
    " over under into out up down about last past this next today yesterday tomorrow week month day hour che e per"
    " con in come dove quando quale quali perche ieri oggi domani".split()
)


@dataclass(frozen=True)
class Lesson:
    """What a review found in the draft for a question with these ``words`` (folded, sorted, no small ones)."""

    words: tuple[str, ...]
    missing: tuple[str, ...]
    unneeded: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lesson for a prompt; only type ids and words of letters and digits."""
        parts = [f"{', '.join(self.missing)} was missing at first"] if self.missing else []
        parts += [f"{', '.join(self.unneeded)} was not needed"] if self.unneeded else []
        return f"in a question about {' '.join(self.words)}: {'; '.join(parts)}"


class Memory:
    """Lessons in ``file``; None keeps them in this process only. Not for use by several processes at once."""

    def __init__(self, file: Path | None = None, most: int = MOST):
        self._file, self._most = file, most
        self._lessons: list[Lesson] = list(_read(file))[-most:] if file and file.exists() else []

    def __len__(self) -> int:
        return len(self._lessons)

    def learn(self, question: str, missing: Iterable[str], unneeded: Iterable[str]) -> None:
        """Keep what a review found, unless it found nothing or the same lesson is known."""
        lesson = Lesson(subject(question), tuple(sorted(missing)), tuple(sorted(unneeded)))
        if not lesson.words or not (lesson.missing or lesson.unneeded) or lesson in self._lessons:
            return
        self._lessons = [*self._lessons, lesson][-self._most :]
        if self._file:
            try:
                _write(self._file, self._lessons)
            except OSError as error:
                log.warning("the agents' memory %s can't be written: %s", self._file, error)

    def recall(self, question: str, most: int = 3) -> list[Lesson]:
        """The lessons of the questions that share most words with this one, the likest first."""
        asked = set(subject(question))
        likeness = Counter({lesson: _likeness(asked, set(lesson.words)) for lesson in self._lessons})
        return [lesson for lesson, alike in likeness.most_common(most) if alike >= _LEAST_ALIKE]


def subject(question: str) -> tuple[str, ...]:
    """The words of a question that say what it is about."""
    return tuple(sorted({word.text for word in words(question)} - _COMMON))[:_MOST_WORDS]


def _likeness(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def _read(file: Path) -> Iterable[Lesson]:
    types, bad = sensor_types().keys(), 0
    for line in file.read_text("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            lesson = Lesson(*(tuple(map(str, row[key])) for key in ("words", "missing", "unneeded")))
            if row.keys() != {"words", "missing", "unneeded"} or len(lesson.words) > _MOST_WORDS:
                raise ValueError
            if not types >= {*lesson.missing, *lesson.unneeded} or any(not w.isalnum() for w in lesson.words):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            bad += 1
        else:
            yield lesson
    if bad:
        log.warning("%s: %d lines are no lessons and are left out", file, bad)


def _write(file: Path, lessons: Iterable[Lesson]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text("".join(json.dumps(asdict(lesson)) + "\n" for lesson in lessons), "utf-8")
    os.replace(part, file)
