"""The offline planner: from a question in plain language to a data plan, without language model or network.

It is deterministic and takes milliseconds: places from the gazetteer, times by a small grammar, types from the Sensor
Cards and the knowledge base. Every type chosen says why; a question that no sensor can answer gets a reason instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from agents.areas import Places, read_places
from agents.assemble import Wanted, assemble, said, summary
from agents.knowledge import Reading, knowledge
from agents.plan import DataPlan, check_question
from agents.times import Window, read_time
from twin.scenario import Scenario
from twin.sensor_types import sensor_types

# How sure words make a type: one that is named or that a phenomenon needs, one that is only hinted at, and others.
_SURE, _HINTED, _UNHEARD = 0.95, 0.5, 0.02


@dataclass(frozen=True)
class Opinion:
    """What the offline planner makes of a question. ``support``: of every sensor type, how sure the question needs it,
    0 to 1. ``places`` and ``window`` are read whether or not the question can be answered."""

    plan: DataPlan
    reading: Reading
    places: Places
    window: Window
    support: Mapping[str, float]


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
    reading = knowledge().read(question)
    places = read_places(reading.asked, scenario)
    window = read_time(reading.asked, now.astimezone(scenario.zone))
    if not reading.evidence:
        found = unanswerable(question, reading.reason)
    elif places.outside:
        found = unanswerable(question, f"it is about {', '.join(places.outside)}, outside {scenario.city}")
    else:
        found = _planned(question, reading, places, window, scenario)
    found = replace(found, seconds=perf_counter() - started)
    return Opinion(found, reading, places, window, _support(reading))


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


def _support(reading: Reading) -> dict[str, float]:
    chosen = {one.type: _SURE if one.score >= 1 else _HINTED for one in reading.evidence}
    return {type_id: chosen.get(type_id, _UNHEARD) for type_id in sensor_types()}


def _short(part: str) -> str:
    return f'"{part[:57]}..."' if len(part) > 60 else f'"{part}"'
