"""How likely a question needs each sensor type, learnt from examples: what its words are known to mean, and the words
themselves.

What the knowledge base hears in a question (``agents.knowledge.Heard``) becomes *signs* of each type, whose weights all
types share, so that a type with few examples is judged as well as one with many. The words of the question, in pieces,
bring in what no list of words knows. Both add up to a probability per type given that the question can be answered at
all, and to one that it can. ``links eval classifier`` learns the weights, which lie in ``classifier.npz``.

Where the package of a sentence embedding is installed (``agents.embedding``), it gives a second opinion: log odds from
a vector of the whole question, which are added to those of the words. At run time only numpy is needed besides, and the
same question always gets the same probabilities.
"""

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from agents.cards import SensorCard, sensor_cards
from agents.embedding import Embedding, model_files
from agents.knowledge import CHOSEN, Reading
from twin.gazetteer import find_places
from twin.sensor_types import bundled_types, sensor_types
from twin.words import fold

SLOTS = 1 << 13  # word pieces share so many weights per type
PIECES = (3, 5)  # letters of the shortest and of the longest piece of a word
WORD_SCALE = 3.0  # length of the vector of a question's words, beside signs of 0 or 1
_PLACE = "placename"

# Of a type: what speaks for or against it in a question.
SIGNS = (
    "named",
    "named twice",
    "named by several words",
    "named, but something no sensor tells is named too",
    "named, but some sentence is vetoed",
    "named in a vetoed sentence",
    "hinted at",
    "hinted at twice",
    "hinted at where types are named",
    "of a topic",
    "of a topic where types are named",
    "of a topic in a vetoed sentence",
    "of a weak topic",
    "of a group",
    "usual of a group",
    "of a group where types are named",
    "chosen by words",
    "chosen by more than one word",
    "chosen alone",
    "chosen among two",
    "chosen among three",
    "chosen among more",
    "inferred for a likelihood",
    "inferred for other reasons",
    "cause of what is named",
    "cause of what is named, and causes are asked for",
    "cause of what is named, and a likelihood is asked for",
    "exposure of what is named, and causes are asked for",
    "exposure of what is named, and a likelihood is asked for",
    "effect of what is named",
    "another of its field is named",
    "orders are hidden in the question",
)
# Of the question as a whole.
OVERALL = (
    "chooses nothing by words",
    "names a type",
    "names two types",
    "names three types",
    "has a topic",
    "hints at a type",
    "hints at types twice",
    "has a group",
    "names types and nothing against them",
    "names types and nothing against them, in fewer than seven words",
    "names what no sensor tells",
    "names twice what no sensor tells",
    "names what no sensor tells, and no type",
    "has a vetoed sentence",
    "has only vetoed sentences",
    "hides orders",
    "hides orders and chooses nothing by words",
    "asks for a likelihood",
    "asks for causes",
    "excludes types",
    "has a phrase that only looks like something else",
    "has no words",
    "has fewer than seven words",
    "has more than twenty words",
    "has a question mark",
)
_SIGN = {name: i for i, name in enumerate(SIGNS)}
_OVERALL = {name: i for i, name in enumerate(OVERALL)}


@dataclass(frozen=True)
class Features:
    """What the classifier sees of a question. ``signs``: (types, SIGNS) of 0 and 1; ``overall``: (OVERALL,) of 0 and 1;
    ``slots``: the numbers of its word pieces, each less than SLOTS, without doubles; ``origin``: of each of these, the
    word that it stems from."""

    signs: np.ndarray
    overall: np.ndarray
    slots: np.ndarray
    origin: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """``answerable``: how likely the question can be answered, 0 to 1; ``types``: of each bundled type, how likely an
    answerable question like this needs it; ``words``: of each, the question's words that speak for it most."""

    answerable: float
    types: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]


class Classifier:
    """Learnt weights: ``signs`` (SIGNS,), ``overall`` (2, OVERALL) for types and for answerable, ``bias`` (types + 1,)
    and ``words`` (SLOTS, types + 1), the last column being that of answerable; ``scale`` (2, 2): factor and offset of
    the log odds of types and of answerable, which make them calibrated.

    With an ``embedding`` also ``head`` (its SIZE, types + 1) and ``head_bias`` (types + 1,): the log odds of its
    vectors; and ``scale`` is (2, 3): the factors of both log odds and the offset."""

    def __init__(self, weights: Mapping[str, np.ndarray], embedding: Embedding | None = None):
        self._weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self._embedding = embedding

    def judge(self, reading: Reading) -> Judgement:
        seen, weights = features(reading), self._weights
        of_words = weights["words"][seen.slots] * WORD_SCALE / math.sqrt(max(len(seen.slots), 1))
        z = weights["bias"] + of_words.sum(axis=0)
        z[:-1] += seen.signs @ weights["signs"] + seen.overall @ weights["overall"][0]
        z[-1] += seen.overall @ weights["overall"][1]
        opinions = [z]
        if self._embedding is not None:
            opinions.append(self._embedding(plain_text(reading)) @ weights["head"] + weights["head_bias"])
        p = calibrated(opinions, weights["scale"])
        return Judgement(float(p[-1]), dict(zip(bundled_types(), p[:-1].tolist(), strict=True)), _most(seen, of_words))


def plain_text(reading: Reading) -> str:
    """The question as the embedding reads it: without orders to the planner."""
    return " ".join(reading.honest.split())


def calibrated(log_odds: Sequence[np.ndarray], scale: np.ndarray) -> np.ndarray:
    """Probabilities from one or more log odds (..., types + 1), with ``scale`` as of ``Classifier``."""
    of_types, of_answerable = (
        sum(factor * z[..., columns] for factor, z in zip(row[:-1], log_odds, strict=True)) + row[-1]
        for row, columns in zip(scale, (slice(None, -1), slice(-1, None)), strict=True)
    )
    return 1 / (1 + np.exp(-np.clip(np.concatenate([of_types, of_answerable], axis=-1), -50, 50)))


@cache
def classifier(with_embedding: bool | None = None) -> Classifier:
    """The bundled one, by default with the embedding where its package is installed."""
    if with_embedding is None:
        with_embedding = model_files() is not None
    with files("agents").joinpath("classifier.npz").open("rb") as file, np.load(file) as stored:
        return unpacked(stored, with_embedding)


def unpacked(stored: Mapping[str, np.ndarray], with_embedding: bool) -> Classifier:
    """The classifier in the arrays of a file as ``evaluation.classifier`` writes it."""
    weights = {name: stored[name] for name in ("signs", "overall", "bias", "head", "head_bias")}
    weights |= {"words": stored["words"] * stored["step"]}
    if not with_embedding:
        return Classifier(weights | {"scale": stored["scale"]})
    changed = [name.removesuffix(".down") for name in stored if name.endswith(".down")]
    changes = {name: tuple(stored[f"{name}.{side}"].astype(np.float32) for side in ("down", "up")) for name in changed}
    return Classifier(weights | {"scale": stored["scale_with_embedding"]}, Embedding(changes))


def learnt_from() -> str:
    """Hash of the examples that the bundled weights were learnt from: ``evaluation.classifier.fingerprint`` of then."""
    with files("agents").joinpath("classifier.npz").open("rb") as file, np.load(file) as stored:
        return str(stored["fingerprint"])


def _most(seen: Features, of_words: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Of each type, at most two words that speak for it, the one that weighs most first. ``of_words``: (slots, types +
    1), what each slot adds to the log odds."""
    words = list(dict.fromkeys(word for word in seen.origin if word))
    number = {word: i for i, word in enumerate(words)}
    weight = np.zeros((len(words), of_words.shape[1]))
    for row, word in zip(of_words, seen.origin, strict=True):
        if word:
            weight[number[word]] += row
    most = {}
    for column, type_id in enumerate(bundled_types()):
        order = np.argsort(-weight[:, column], kind="stable")[:2]
        most[type_id] = tuple(words[i] for i in order if weight[i, column] > 0)
    return most


# --- From a question to numbers ---------------------------------------------------------------------------------------


def features(reading: Reading) -> Features:
    """What the classifier sees of a question as the knowledge base read it."""
    slots: dict[int, str] = {}
    for piece, word in _pieces(reading.honest):
        slots.setdefault(zlib.crc32(piece.encode()) % SLOTS, word)
    return Features(
        _signs(reading, sensor_cards()),
        _overall(reading),
        np.array(list(slots), np.int64),
        tuple(slots.values()),
    )


def _signs(reading: Reading, cards: Mapping[str, SensorCard]) -> np.ndarray:
    live = [one for one in reading.heard if not one.vetoed]
    kinds = {one.kind for one in live}
    named = {type_id for one in live if one.kind == "type" for type_id in one.types}
    chosen = {one.type: one.score for one in reading.evidence}
    inferred = {one.type for one in reading.evidence if one.inferred}
    among = ("alone", "among two", "among three", "among more")[min(len(chosen), 4) - 1]
    signs = np.zeros((len(bundled_types()), len(SIGNS)))
    for row, type_id in zip(signs, bundled_types(), strict=True):
        said = {kind: [one for one in live if one.kind == kind and type_id in one.types] for kind in kinds}
        mine, hints, group = said.get("type", ()), said.get("hint", ()), said.get("group", ())
        vetoed = {one.kind for one in reading.heard if one.vetoed and type_id in one.types}
        causes = any(type_id in cards[other].causes for other in named)
        exposure = any(type_id in cards[other].exposure for other in named)
        here = {
            "named": mine,
            "named twice": len(mine) > 1,
            "named by several words": any(one.words > 1 for one in mine),
            "named, but something no sensor tells is named too": mine and "outside" in kinds,
            "named, but some sentence is vetoed": mine and any(one.vetoed for one in reading.heard),
            "named in a vetoed sentence": "type" in vetoed,
            "hinted at": hints,
            "hinted at twice": len(hints) > 1,
            "hinted at where types are named": hints and named,
            "of a topic": said.get("topic"),
            "of a topic where types are named": said.get("topic") and named,
            "of a topic in a vetoed sentence": "topic" in vetoed,
            "of a weak topic": said.get("weak"),
            "of a group": group,
            "usual of a group": any(type_id in one.usual for one in group),
            "of a group where types are named": group and named,
            "chosen by words": type_id in chosen,
            "chosen by more than one word": chosen.get(type_id, 0.0) > CHOSEN,
            f"chosen {among}": type_id in chosen,
            "inferred for a likelihood": type_id in inferred and "likelihood" in kinds,
            "inferred for other reasons": type_id in inferred and "likelihood" not in kinds,
            "cause of what is named": causes,
            "cause of what is named, and causes are asked for": causes and "cause" in kinds,
            "cause of what is named, and a likelihood is asked for": causes and "likelihood" in kinds,
            "exposure of what is named, and causes are asked for": exposure and "cause" in kinds,
            "exposure of what is named, and a likelihood is asked for": exposure and "likelihood" in kinds,
            "effect of what is named": any(other in named for other in cards[type_id].causes),
            "another of its field is named": any(
                sensor_types()[other].field == sensor_types()[type_id].field for other in named - {type_id}
            ),
            "orders are hidden in the question": bool(reading.ignored),
        }
        for name, true in here.items():
            row[_SIGN[name]] = bool(true)
    return signs


def _overall(reading: Reading) -> np.ndarray:
    live = [one for one in reading.heard if not one.vetoed]
    count = {kind: sum(one.kind == kind for one in live) for kind in {one.kind for one in live}}
    named = {type_id for one in live if one.kind == "type" for type_id in one.types}
    vetoed = any(one.vetoed for one in reading.heard)
    outside, words = count.get("outside", 0), len(reading.honest.split())
    fair = named and not (outside or vetoed or reading.ignored or reading.excluded)
    here = {
        "chooses nothing by words": not reading.evidence,
        "names a type": named,
        "names two types": len(named) > 1,
        "names three types": len(named) > 2,
        "has a topic": count.get("topic"),
        "hints at a type": count.get("hint"),
        "hints at types twice": count.get("hint", 0) > 1,
        "has a group": count.get("group"),
        "names types and nothing against them": fair,
        "names types and nothing against them, in fewer than seven words": fair and words < 7,
        "names what no sensor tells": outside,
        "names twice what no sensor tells": outside > 1,
        "names what no sensor tells, and no type": outside and not named,
        "has a vetoed sentence": vetoed,
        "has only vetoed sentences": vetoed and not live,
        "hides orders": reading.ignored,
        "hides orders and chooses nothing by words": reading.ignored and not reading.evidence,
        "asks for a likelihood": count.get("likelihood"),
        "asks for causes": count.get("cause"),
        "excludes types": reading.excluded,
        "has a phrase that only looks like something else": count.get("blank"),
        "has no words": not words,
        "has fewer than seven words": words < 7,
        "has more than twenty words": words > 20,
        "has a question mark": "?" in reading.honest,
    }
    return np.array([float(bool(here[name])) for name in OVERALL])


def _pieces(text: str) -> Iterable[tuple[str, str]]:
    """The words of a text, pairs of neighbours, and pieces of words, each with the word that it stems from ("" where
    that says nothing). Names of places and numbers all look alike."""
    folded = fold(text)
    for place in sorted(find_places(text), key=lambda place: -place.start):
        folded = f"{folded[: place.start]} {_PLACE} {folded[place.end :]}"
    words = ["#" if word.isdigit() else word for word in re.findall(r"[a-z0-9]+|\?", folded)]
    telling = {word: word if word.isalpha() and word != _PLACE else "" for word in words}
    for word in dict.fromkeys(words):
        yield f"w:{word}", telling[word]
    for a, b in zip(words, words[1:], strict=False):
        yield f"b:{a} {b}", telling[b] or telling[a]
    for word in dict.fromkeys(words):
        if word != _PLACE:
            whole = f"<{word}>"
            for size in range(PIECES[0], PIECES[1] + 1):
                for i in range(len(whole) - size + 1):
                    yield f"c:{whole[i : i + size]}", telling[word]


# --- Choosing ---------------------------------------------------------------------------------------------------------

MOST_TYPES = 6


def best_set(probability: Mapping[str, float]) -> list[str]:
    """The types whose set has the greatest expected F1, were each needed independently with its probability; the most
    probable first, and never none."""
    order = sorted(probability, key=lambda type_id: -probability[type_id])
    p = [probability[type_id] for type_id in order]
    best, size, hits = -1.0, 1, np.ones(1)
    for k in range(1, min(MOST_TYPES, len(p)) + 1):
        hits = _one_more(hits, p[k - 1])  # (k + 1,): how likely so many of the k are needed
        missed = np.ones(1)
        for one in p[k:]:
            if one > 1e-3:
                missed = _one_more(missed, one)
        n = np.arange(len(hits))
        f1 = 2 * n[:, None] / (k + n[:, None] + np.arange(len(missed)))
        expected = float(hits @ f1 @ missed)
        if expected > best + 1e-12:
            best, size = expected, k
    return order[:size]


def _one_more(counts: np.ndarray, p: float) -> np.ndarray:
    return np.convolve(counts, [1 - p, p])
