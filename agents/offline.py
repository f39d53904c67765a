"""The offline planner: from a question in plain language to a data plan, without language model or network.

It is deterministic and takes milliseconds: places from the gazetteer, times by a small grammar, types by a classifier
that weighs what the Sensor Cards and the knowledge base say of the question's words and what it learnt from examples.
Every type chosen says why; a question that no sensor can answer gets a reason instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from agents.areas import Places, read_places
from agents.assemble import Wanted, assemble, said, summary
from agents.classifier import Classifier, Judgement, best_set, classifier
from agents.knowledge import CHOSEN, Evidence, Reading, knowledge
from agents.plan import DataPlan, check_question
from agents.times import Window, read_time
from twin.scenario import Scenario
from twin.sensor_types import bundled_types, sensor_types

# From how likely a question can be answered it is planned, if there is a type that it needs at least so likely. Below
# one half, since a plan too many costs an operator less than a question turned away.
ANSWERABLE, LEAST = 0.35, 0.15
# A question of which every word is known has the benefit of the doubt: from the first it counts as if the second.
_DOUBT, _UNDERSTOOD = 0.1, 0.95
_INSISTED = 0.8  # types as likely as this are chosen in any case
# How sure words alone make a type: one that is named or that a phenomenon needs, one only hinted at, and others.
_SURE, _HINTED, _UNHEARD = 0.95, 0.5, 0.02
_UNLIKE = "it is like questions about things that no sensor of the city measures"


@dataclass(frozen=True)
class Opinion:
    """What the offline planner makes of a question. ``reading.evidence``: the types chosen; ``support``: of every
    sensor type, how likely the question needs it, 0 to 1. ``places`` and ``window`` are read whether or not the
    question can be answered."""

    plan: DataPlan
    reading: Reading
    places: Places
    window: Window
    support: Mapping[str, float]


def load() -> None:
    """Read knowledge base, classifier and, where it is installed, embedding; else the first question waits for it."""
    judged(knowledge().read("Is it raining?"))


def plan(question: str, now: datetime, scenario: Scenario) -> DataPlan:
    """The data plan of a question asked at ``now`` (aware). Answers any text of at most MAX_QUESTION_CHARS characters.

    Raises ValueError for a longer question and for ``now`` without a zone.
    """
    return opinion(question, now, scenario).plan


def opinion(question: str, now: datetime, scenario: Scenario) -> Opinion:
    """The plan with what it rests on. Raises as ``plan`` does."""
    started = perf_counter()
    check_question(question)
    if now.tzinfo is None:
        raise ValueError(f"now {now.isoformat()} has no offset; write it as 2013-11-18T12:00:00+01:00")
    reading, support = judged(knowledge().read(question))
    places = read_places(reading.asked, scenario)
    window = read_time(reading.asked, now.astimezone(scenario.zone))
    if places.outside:
        support = dict.fromkeys(support, 0.0)
    if places.outside and reading.reason in ("", _UNLIKE):
        found = unanswerable(question, f"it is about {', '.join(places.outside)}, outside {scenario.city}")
    elif not reading.evidence:
        found = unanswerable(question, reading.reason)
    else:
        found = _planned(question, reading, places, window, scenario)
    found = replace(found, seconds=perf_counter() - started)
    return Opinion(found, reading, places, window, support)


def judged(reading: Reading, by: Classifier | None = None) -> tuple[Reading, dict[str, float]]:
    """The reading with the types that a classifier (the bundled one) chooses as its evidence, or none and a reason; and
    the support of every type. Of an operator's own types it knows nothing: where words choose one, they alone decide.
    """
    by_words = _support_by_words(reading)
    if any(one.type not in bundled_types() for one in reading.evidence):
        return reading, by_words
    judgement = (by or classifier()).judge(reading)
    if reading.understood and judgement.answerable >= _DOUBT:
        judgement = replace(judgement, answerable=max(judgement.answerable, _UNDERSTOOD))
    inferred = [one.type for one in reading.evidence if one.inferred]
    needed = {t: 0.0 if t in reading.excluded else min(p, judgement.answerable) for t, p in judgement.types.items()}
    support = by_words | needed | {type_id: max(needed[type_id], _HINTED) for type_id in inferred}
    if not any(letter.isalnum() for letter in reading.honest):
        return replace(reading, evidence=(), reason=reading.reason or _UNLIKE), dict.fromkeys(support, 0.0)
    if judgement.answerable < ANSWERABLE or max(needed.values()) < LEAST:
        support = {type_id: min(sure, judgement.answerable) for type_id, sure in support.items()}
        return replace(reading, evidence=(), reason=reading.reason or _UNLIKE), support
    chosen = {*best_set(needed), *inferred, *(type_id for type_id, p in needed.items() if p >= _INSISTED)}
    evidence = tuple(_evidence(type_id, reading, judgement) for type_id in bundled_types() if type_id in chosen)
    # A question all of whose sentences were taken to be about something else is read as it stands.
    asked = reading.asked if reading.asked.strip() else reading.honest
    return replace(reading, evidence=evidence, reason="", asked=asked), support


def _evidence(type_id: str, reading: Reading, judgement: Judgement) -> Evidence:
    """Why a type is chosen: by what its words are known to mean, else by those that weighed most."""
    for one in reading.evidence:
        if one.type == type_id:
            return one
    words = " and ".join(f'"{word}"' for word in judgement.words[type_id])
    why = f"questions with words like {words} need it" if words else "questions like this one need it"
    return Evidence(type_id, CHOSEN, why)


def unanswerable(question: str, why: str) -> DataPlan:
    """The plan of a question that no sensor can answer."""
    return DataPlan(question, False, f"No sensor can answer this: {why}.", (), (), "offline")


def _planned(question: str, reading: Reading, places: Places, window: Window, scenario: Scenario) -> DataPlan:
    """One item per type and area that has sensors. What differs from the question's words is told in the reason."""
    made = assemble((Wanted(one.type, one.why, places.areas, window) for one in reading.evidence), scenario)
    if not made.items:
        return unanswerable(question, f"it needs {', '.join(made.missing)}, and no such sensor is registered")
    orders = [f"orders in the question were not followed: {_short(part)}" for part in reading.ignored]
    reason = summary(made.items, places.areas, said(window), [*places.notes, *made.notes, *orders])
    return DataPlan(question, True, reason, made.items, made.sensors, "offline")


def _support_by_words(reading: Reading) -> dict[str, float]:
    chosen = {one.type: _SURE if one.score >= CHOSEN else _HINTED for one in reading.evidence}
    return {type_id: chosen.get(type_id, _UNHEARD) for type_id in sensor_types()}


def _short(part: str) -> str:
    return f'"{part[:57]}..."' if len(part) > 60 else f'"{part}"'
