"""From the words of a question to the sensor types it needs, by the Sensor Cards and ``knowledge.toml``; explainably.

Each type gets a score: 1 for a word that names it or for a phenomenon or purpose that needs it, half for a word that
only hints at it. Types with at least 1 are chosen, and each says why. If none has 1, those hinted at are. If none is
even hinted at, no sensor can answer, and the reason says so.
"""

import re
import tomllib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

from agents.cards import SensorCard, sensor_cards
from agents.spelling import Spelling
from twin.gazetteer import find_places
from twin.sensor_types import sensor_types
from twin.words import SMALL_WORDS, PhraseIndex, Word, fold, words

NEAR_WORDS = 6  # how far apart the two sides of "a ~ b" may stand
EXCLUDED_WORDS = 6  # how far "except" reaches
CHOSEN, HINTED = 1.0, 0.5


@dataclass(frozen=True)
class Evidence:
    """Why a type is chosen. ``score`` adds up what speaks for it; ``inferred``: only as cause or exposure of others."""

    type: str
    score: float
    why: str
    inferred: bool = False


@dataclass(frozen=True)
class Heard:
    """A cue that stands in the question. ``kind``: as of ``_Cue``, a topic that steps back being "weak"; ``types``:
    those that it speaks for; ``usual``: of a group, those meant where it bears on nothing named; ``words``: how many
    its phrase has; ``vetoed``: whether its sentence is about what no sensor tells."""

    kind: str
    types: tuple[str, ...]
    usual: tuple[str, ...]
    words: int
    vetoed: bool


@dataclass(frozen=True)
class Reading:
    """What a question is about: the types it needs, in the order of the sensor types, or the reason why there are none.

    ``asked`` is the question in NFC form with blanks for what was left out: orders to the planner instead of a question
    (listed in ``ignored``), and sentences about what no sensor tells. ``excluded``: types named as not wanted.
    ``honest`` has blanks for orders only, and ``heard`` is what the words of that say. ``understood``: it names types,
    and of every other word it is known too what it does: a place, a time, or one that holds the question together.
    """

    evidence: tuple[Evidence, ...]
    reason: str
    asked: str
    excluded: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    honest: str = ""
    heard: tuple[Heard, ...] = ()
    understood: bool = False


@dataclass(frozen=True)
class _Cue:
    """A phrase and what it means. ``kind``: type, hint, topic, group, veto, outside, blank, likelihood, cause, exclude,
    exclude_before or injection; ``of``: the type, the topic's or group's name, or the reason."""

    kind: str
    of: str
    phrase: str


@dataclass(frozen=True)
class _Hit:
    """A cue found in the question. ``at``: the numbers of its words; ``size``: the more, the surer it is meant."""

    cue: _Cue
    at: tuple[int, ...]
    size: int
    said: str


@dataclass
class _Scores:
    """Scores and reasons by type, while a question is read."""

    score: dict[str, float] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)

    def add(self, type_id: str, score: float, why: str) -> None:
        reasons = self.why.setdefault(type_id, [])
        if why not in reasons:
            reasons.append(why)
            self.score[type_id] = self.score.get(type_id, 0.0) + score

    def chosen(self) -> set[str]:
        return {type_id for type_id, score in self.score.items() if score >= CHOSEN}


class Knowledge:
    """The knowledge base, ready to be asked; ``table`` is ``knowledge.toml``. Raises ValueError for unknown types."""

    def __init__(self, cards: dict[str, SensorCard], table: dict):
        _check(cards, table)
        self.cards = cards
        self.topics = {topic["name"]: topic for topic in table["topic"]}
        self.groups = {group["name"]: group for group in table["group"]}
        self._cues = tuple(_cues(cards, table))
        for cue in self._cues:
            if cue.phrase.count("~") > 1:
                raise ValueError(f"{cue.kind} {cue.of!r}: {cue.phrase!r} has more than one '~'")
        # Both sides of "a ~ b" are looked for by themselves, and then whether they stand near each other.
        sides = [(number, side) for number, cue in enumerate(self._cues) for side in cue.phrase.split("~")]
        self._cue_of_side = [number for number, _ in sides]
        self._index = PhraseIndex(side for _, side in sides)
        things = [cue.phrase for cue in self._cues if cue.kind in ("type", "hint", "topic", "group")]
        self._plain = SMALL_WORDS | frozenset(re.findall("[a-z]+", fold(table["plain"]["words"])))
        self._spelling = Spelling(_parts(cue.phrase for cue in self._cues), _parts(things))

    def read(self, question: str) -> Reading:
        """The types that the question needs. Never fails on any text."""
        text = unicodedata.normalize("NFC", question)
        every_word = [replace(word, text=self._spelling.correct(word.text)) for word in words(text)]
        hits = self._hits(every_word)
        kept, ignored = _without_orders(text, every_word, hits)
        if ignored:
            orders = {i for hit in hits if hit.cue.kind == "injection" for i in hit.at}
            hits = self._hits(kept)
            if not any(hit.cue.kind in ("type", "topic", "group") for hit in hits):
                # Nothing is asked beside the order: read what it says besides "ignore the above".
                kept = [word for i, word in enumerate(every_word) if i not in orders]
                hits = self._hits(kept)
        vetoes = {kept[hit.at[0]].sentence: hit.cue.of for hit in hits if hit.cue.kind == "veto"}
        heard = tuple(self._heard(hit, kept[hit.at[0]].sentence in vetoes) for hit in hits)
        hits = [hit for hit in hits if kept[hit.at[0]].sentence not in vetoes]
        hits, excluded = _without_excluded(hits, kept, text)
        evidence = self._evidence(hits, set(excluded))
        asked = _only(text, [word for word in kept if word.sentence not in vetoes])
        reason = "" if evidence else _why_nothing(every_word, vetoes, hits, excluded, ignored)
        understood = bool(evidence) and not ignored and self._understood(text, kept, hits)
        return Reading(evidence, reason, asked, excluded, ignored, _only(text, kept), heard, understood)

    def _understood(self, text: str, kept: list[Word], hits: list[_Hit]) -> bool:
        """Whether types are named, nothing speaks against them, and no word is left whose meaning isn't known."""
        kinds = {hit.cue.kind for hit in hits}
        if "type" not in kinds or kinds - {"type", "hint", "topic", "group"}:
            return False
        of_cues = {i for hit in hits for i in hit.at}
        places = find_places(text)
        return all(
            i in of_cues
            or word.text in self._plain
            or word.text.isdigit()
            or any(place.start <= word.start < place.end for place in places)
            for i, word in enumerate(kept)
        )

    def _heard(self, hit: _Hit, vetoed: bool) -> Heard:
        kind, types, usual = hit.cue.kind, (), ()
        if kind in ("type", "hint"):
            types = (hit.cue.of,)
        elif kind == "topic":
            types = tuple(self.topics[hit.cue.of]["needs"])
            kind = "weak" if self.topics[hit.cue.of].get("weak", False) else "topic"
        elif kind == "group":
            types, usual = (tuple(self.groups[hit.cue.of][key]) for key in ("members", "usual"))
        return Heard(kind, types, usual, (hit.size + 1) // 2, vetoed)

    def _hits(self, text: list[Word]) -> list[_Hit]:
        """The cues in the text, in order; where they overlap, the one with the most words, "a b" before "a ~ b" before
        a hint."""
        sides: dict[int, dict[int, list[tuple[int, int, int]]]] = {}
        for found in self._index.find(text):
            cue = self._cue_of_side[found.phrase]
            sides.setdefault(cue, {}).setdefault(found.phrase, []).append((found.first, found.last, found.size))
        hits = []
        for number, found_sides in sides.items():
            cue = self._cues[number]
            if "~" not in cue.phrase:
                places = [
                    (range(first, last + 1), 2 * size) for (first, last, size) in next(iter(found_sides.values()))
                ]
            elif len(found_sides) == 2:
                places = _near(*found_sides.values(), text)
            else:
                continue
            less = 2 if cue.kind == "hint" else 0
            hits += [_Hit(cue, tuple(at), size - less, " ".join(text[i].text for i in at)) for at, size in places]
        taken: dict[int, tuple[int, ...]] = {}
        kept = []
        for hit in sorted(hits, key=lambda hit: (-hit.size, -len(hit.at), hit.at)):
            if all(taken.get(i, hit.at) == hit.at for i in hit.at):
                taken.update((i, hit.at) for i in hit.at)
                kept.append(hit)
        return sorted(kept, key=lambda hit: hit.at)

    def _evidence(self, hits: list[_Hit], excluded: set[str]) -> tuple[Evidence, ...]:
        scores = _Scores()
        for hit in hits:
            if hit.cue.kind in ("type", "hint"):
                verb, score = ("names", CHOSEN) if hit.cue.kind == "type" else ("hints at it with", HINTED)
                scores.add(hit.cue.of, score, f'the question {verb} "{hit.said}"')
        self._add_topics(scores, hits)
        self._add_groups(scores, hits)
        said = scores.chosen()
        self._add_exposure_and_causes(scores, {hit.cue.kind for hit in hits})
        inferred = scores.chosen() - said
        outside = any(hit.cue.kind == "outside" for hit in hits)  # then hints alone say nothing
        chosen = scores.chosen() or (set() if outside else set(scores.score))
        return tuple(
            Evidence(type_id, scores.score[type_id], "; ".join(scores.why[type_id]), type_id in inferred)
            for type_id in self.cards
            if type_id in chosen and type_id not in excluded
        )

    def _add_topics(self, scores: _Scores, hits: list[_Hit]) -> None:
        """Phenomena and purposes. Those with ``unless_field`` step back where the question names a type of that field
        itself, those with ``weak`` where it names any."""
        fields_named = {sensor_types()[type_id].field for type_id in scores.chosen()}
        topics = [(self.topics[hit.cue.of], hit) for hit in hits if hit.cue.kind == "topic"]
        for weak in (False, True):
            if weak and scores.chosen():
                return
            for topic, hit in topics:
                if topic.get("weak", False) == weak and topic.get("unless_field") not in fields_named:
                    for type_id in topic["needs"]:
                        scores.add(type_id, CHOSEN, f'"{hit.said}" is about {topic["name"]}: {topic["why"]}')

    def _add_groups(self, scores: _Scores, hits: list[_Hit]) -> None:
        for hit in hits:
            if hit.cue.kind != "group":
                continue
            group = self.groups[hit.cue.of]
            chosen = scores.chosen()
            if chosen & set(group["members"]):
                continue
            bearing = {
                cause: effect for effect in chosen for cause in self.cards[effect].causes if cause in group["members"]
            }
            for type_id in group["members"]:
                if type_id in bearing:
                    effect = self.cards[bearing[type_id]].title
                    scores.add(type_id, CHOSEN, f'of what "{hit.said}" stands for, it bears on {effect}')
                elif not bearing and type_id in group["usual"]:
                    scores.add(type_id, CHOSEN, f'it is part of what "{hit.said}" stands for')

    def _add_exposure_and_causes(self, scores: _Scores, kinds: set[str]) -> None:
        """How likely a hazard is depends on its exposure, and on its causes; "why" asks for causes. Causes are added
        only where the question names none itself."""
        named = sorted(scores.chosen(), key=list(self.cards).index)
        hazards = [type_id for type_id in named if self.cards[type_id].hazard]
        exposure = {other for type_id in hazards for other in self.cards[type_id].exposure}
        others = set(named) - set(hazards) - exposure
        if "cause" in kinds and (len(named) == 1 or not others):
            effects, wants = named, "asks for causes"
        elif "likelihood" in kinds:
            effects, wants = hazards, "asks how likely that is"
        else:
            return
        for effect in effects:
            title = self.cards[effect].title
            for other in self.cards[effect].exposure:
                scores.add(other, CHOSEN, f"{title} strikes there, and the question {wants}")
            for other in self.cards[effect].causes if len(named) == 1 or not others else ():
                scores.add(other, CHOSEN, f"it is a cause of {title}, and the question {wants}")


@cache
def knowledge() -> Knowledge:
    """The bundled knowledge base, made when it is first asked for: by then the configuration is read, which tells of an
    operator's sensor types."""
    return Knowledge(sensor_cards(), tomllib.loads(files("agents").joinpath("knowledge.toml").read_text("utf-8")))


def _check(cards: dict[str, SensorCard], table: dict) -> None:
    for section, keys in (("topic", ("needs",)), ("group", ("members", "usual"))):
        for row in table[section]:
            for type_id in (type_id for key in keys for type_id in row[key]):
                if type_id not in cards:
                    raise ValueError(f"knowledge.toml: {section} {row['name']!r}: {type_id!r} is no sensor type")


def _cues(cards: dict[str, SensorCard], table: dict) -> Iterable[_Cue]:
    """All cues. What is outside of what the bundled types measure names an operator's type that has a word of it, as
    "noise pollution" does that with the word "noise*"; a veto only where the word is all of it."""
    own = [card for card in cards.values() if sensor_types()[card.type].file]
    named = [(card.type, phrase) for card in own for phrase in card.en + card.it if "~" not in phrase]
    index = PhraseIndex(phrase for _, phrase in named)
    for card in cards.values():
        yield from (_Cue("type", card.type, phrase) for phrase in dict.fromkeys(card.en + card.it))
        yield from (_Cue("hint", card.type, phrase) for phrase in card.hints)
    for topic in table["topic"]:
        yield from (_Cue("topic", topic["name"], phrase) for phrase in topic["words"])
    for group in table["group"]:
        yield from (_Cue("group", group["name"], phrase) for phrase in group["words"])
    for outside in table["outside"]:
        kind = "veto" if outside.get("veto", False) else "outside"
        for phrase in outside["words"]:
            said = words(phrase)
            found = [one for one in index.find(said) if kind == "outside" or one.size == len(said)]
            types = {named[one.phrase][0] for one in found}
            yield from (_Cue("type", type_id, phrase) for type_id in sorted(types))
            if not types:
                yield _Cue(kind, outside["reason"], phrase)
    for kind in ("likelihood", "cause", "exclude", "exclude_before"):
        yield from (_Cue(kind, kind, phrase) for phrase in table["intent"][kind])
    for kind in ("blank", "injection"):
        yield from (_Cue(kind, kind, phrase) for phrase in table[kind]["words"])


def _near(a: list[tuple], b: list[tuple], text: list[Word]) -> Iterable[tuple[list[int], int]]:
    """For each find of ``a``, its words with those of the nearest find of ``b`` in the same sentence."""
    longest = max(last - first for first, last, _ in b)
    for first, last, size in a:
        around = b[
            bisect_left(b, (first - NEAR_WORDS - longest,)) : bisect_left(b, (last + NEAR_WORDS + 1,))
        ]  # finds are in the order of the text
        gaps = [
            (max(first, other_first) - min(last, other_last) - 1, other_first, other_last, other_size)
            for other_first, other_last, other_size in around
            if text[other_first].sentence == text[first].sentence
        ]
        gap, other_first, other_last, other_size = min(
            (gap for gap in gaps if gap[0] >= 0), default=(NEAR_WORDS, 0, 0, 0)
        )
        if gap < NEAR_WORDS:
            at = sorted([*range(first, last + 1), *range(other_first, other_last + 1)])
            yield at, 2 * (size + other_size) - 1


def _without_orders(text: str, every_word: list[Word], hits: list[_Hit]) -> tuple[list[Word], tuple[str, ...]]:
    """Leaves out what follows an order to the planner, until a sentence that asks something; and what was left out."""
    ends = [word.start for word in every_word[1:]] + [len(text)]
    asking = {word.sentence for word, end in zip(every_word, ends, strict=False) if "?" in text[word.end : end]}
    dropped: set[int] = set()
    for hit in hits:
        if hit.cue.kind == "injection":
            first, sentence = hit.at[0], every_word[hit.at[0]].sentence
            for i in range(first, len(every_word)):
                if every_word[i].sentence != sentence and every_word[i].sentence in asking:
                    break
                dropped.add(i)
    starts = [i for i in sorted(dropped) if i - 1 not in dropped]
    stops = [i for i in sorted(dropped) if i + 1 not in dropped]
    ignored = tuple(text[every_word[a].start : every_word[b].end] for a, b in zip(starts, stops, strict=True))
    return [word for i, word in enumerate(every_word) if i not in dropped], ignored


def _without_excluded(hits: list[_Hit], kept: list[Word], text: str) -> tuple[list[_Hit], tuple[str, ...]]:
    """Takes out the types named right after "except" and the like, or right before "does not matter" and the like, up
    to a comma or "but"."""
    excluded: set[str] = set()
    for exclude in (hit for hit in hits if hit.cue.kind in ("exclude", "exclude_before")):
        for hit in (hit for hit in hits if hit.cue.kind == "type"):
            first, last = (exclude, hit) if exclude.cue.kind == "exclude" else (hit, exclude)
            if 0 < last.at[0] - first.at[-1] <= EXCLUDED_WORDS:
                between = fold(text)[kept[first.at[-1]].end : kept[last.at[0]].start]
                if not any(stop in between for stop in (",", ".", "?", "!", ";", ":", " but ", " ma ")):
                    excluded.add(hit.cue.of)
    return [hit for hit in hits if hit.cue.of not in excluded], tuple(sorted(excluded))


def _only(text: str, kept: list[Word]) -> str:
    """The text with blanks for all but the kept words; what stands between neighbouring kept words stays."""
    characters, end = [" "] * len(text), 0
    for word in kept:
        start = end if not any(letter.isalnum() for letter in text[end : word.start]) else word.start
        characters[start : word.end] = text[start : word.end]
        end = word.end
    return "".join(characters)


def _why_nothing(
    every_word: list[Word],
    vetoes: dict[int, str],
    hits: list[_Hit],
    excluded: tuple[str, ...],
    ignored: tuple[str, ...],
) -> str:
    if not every_word:
        return "the question has no words"
    reasons = [*vetoes.values(), *(hit.cue.of for hit in hits if hit.cue.kind == "outside")]
    if reasons:
        return reasons[0]
    if excluded:
        return f"it names only types that it does not want: {', '.join(excluded)}"
    if ignored:
        return "it gives orders to the planner instead of asking about the city"
    return "none of its words bears on anything that a sensor of the city measures"


def _parts(phrases: Iterable[str]) -> set[str]:
    return {part for phrase in phrases for part in re.findall(r"[a-z0-9]+\*?", fold(phrase))}
