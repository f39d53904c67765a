"""The offline planner: from a question in plain language to a data plan, without language model or network.

It is deterministic and takes milliseconds: places from the gazetteer, times by a small grammar, types from the Sensor
Cards and the knowledge base. Every type chosen says why; a question that no sensor can answer gets a reason instead.
"""

from datetime import datetime
from time import perf_counter

from agents.areas import describe, read_places, sensors_in, widened_to_nearest
from agents.knowledge import knowledge
from agents.plan import Area, DataPlan, PlanItem, check_question
from agents.times import Window, read_time
from twin.scenario import Scenario

# Loaded with the module, so that no question waits for it.
_KNOWLEDGE = knowledge()


def plan(question: str, now: datetime, scenario: Scenario) -> DataPlan:
    """The data plan of a question asked at ``now`` (aware). Answers any text of at most MAX_QUESTION_CHARS characters.

    Raises ValueError for a longer question and for ``now`` without a zone.
    """
    started = perf_counter()
    check_question(question)
    if now.tzinfo is None:
        raise ValueError(f"now {now.isoformat()} has no offset; write it as 2013-11-18T12:00:00+01:00")

    def result(
        answerable: bool, reason: str, items: tuple[PlanItem, ...] = (), sensors: tuple[str, ...] = ()
    ) -> DataPlan:
        return DataPlan(question, answerable, reason, items, sensors, "offline", seconds=perf_counter() - started)

    reading = _KNOWLEDGE.read(question)
    if not reading.evidence:
        return result(False, f"No sensor can answer this: {reading.reason}.")
    places = read_places(reading.asked, scenario)
    if places.outside:
        return result(
            False, f"No sensor can answer this: it is about {', '.join(places.outside)}, outside {scenario.city}."
        )
    window = read_time(reading.asked, now.astimezone(scenario.zone))
    items, notes, sensors = [], list(places.notes), {}
    for evidence in reading.evidence:
        for area in places.areas:
            covered, here, note = _with_sensors(scenario, evidence.type, area)
            notes += [note] if note else []
            if here:
                items.append(PlanItem(evidence.type, covered, window.start, window.end, _sentence(evidence.why)))
                sensors.update(dict.fromkeys(here))
    if not items:
        types = ", ".join(evidence.type for evidence in reading.evidence)
        return result(False, f"No sensor can answer this: it needs {types}, and no such sensor is registered.")
    notes += [f"orders in the question were not followed: {_short(part)}" for part in reading.ignored]
    where = ", ".join(describe(area) for area in places.areas)
    reason = f"{_count(len(reading.evidence), 'sensor type')} in {where}, {_said(window)}"
    return result(True, _sentence("; ".join([reason, *dict.fromkeys(notes)])), tuple(items), tuple(sensors))


def _with_sensors(scenario: Scenario, type_id: str, area: Area) -> tuple[Area, list[str], str]:
    """The area, its sensors of the type, and what to tell: where it has none, it grows to reach the nearest one."""
    here = sensors_in(scenario, type_id, area)
    if here:
        return area, [sensor.id for sensor in here], ""
    wider = widened_to_nearest(scenario, type_id, area)
    if wider is None:
        return area, [], f"the city has no {type_id} sensor"
    here = sensors_in(scenario, type_id, wider)
    nearest = f"{here[0].id}, {wider.radius_m / 1000:.1f} km from its centre"
    note = f"{area.name} has no {type_id} sensor, so the nearest is taken: {nearest}"
    return wider, [sensor.id for sensor in here], note


def _said(window: Window) -> str:
    if window.kind == "default":
        return "no time said: the last 7 days"
    if window.kind == "forecast":
        return f'"{window.words}" lies ahead: the history that a forecast needs'
    return f'time from "{window.words}"'


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" + ("" if n == 1 else "s")


def _short(part: str) -> str:
    return f'"{part[:57]}..."' if len(part) > 60 else f'"{part}"'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", '."')) else ".")
