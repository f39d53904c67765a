"""The offline planner: from a question in plain language to a data plan, without language model or network.

It is deterministic and takes milliseconds: places from the gazetteer, times by a small grammar, types from the Sensor
Cards and the knowledge base. Every type chosen says why; a question that no sensor can answer gets a reason instead.
"""

from dataclasses import replace
from datetime import datetime
from time import perf_counter

from agents.areas import Places, describe, inside, read_places, sensors_of_types, widened_to_nearest
from agents.knowledge import Reading, knowledge
from agents.plan import Area, DataPlan, PlanItem, check_question
from agents.times import Window, read_time
from twin.scenario import Scenario, Sensor

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
    reading = _KNOWLEDGE.read(question)
    if not reading.evidence:
        found = _unanswerable(question, reading.reason)
    else:
        places = read_places(reading.asked, scenario)
        if places.outside:
            found = _unanswerable(question, f"it is about {', '.join(places.outside)}, outside {scenario.city}")
        else:
            window = read_time(reading.asked, now.astimezone(scenario.zone))
            found = _planned(question, reading, places, window, scenario)
    return replace(found, seconds=perf_counter() - started)


def _unanswerable(question: str, why: str) -> DataPlan:
    return DataPlan(question, False, f"No sensor can answer this: {why}.", (), (), "offline")


def _planned(question: str, reading: Reading, places: Places, window: Window, scenario: Scenario) -> DataPlan:
    """One item per type and area that has sensors. What differs from the question's words is told in the reason."""
    registered = sensors_of_types(scenario, [evidence.type for evidence in reading.evidence])
    items: list[PlanItem] = []
    notes = list(places.notes)
    sensors: dict[str, None] = {}
    for evidence in reading.evidence:
        for area in places.areas:
            covered, here, note = _with_sensors(area, evidence.type, registered[evidence.type], scenario)
            notes += [note] if note else []
            if here:
                items.append(PlanItem(evidence.type, covered, window.start, window.end, _sentence(evidence.why)))
                sensors.update((sensor.id, None) for sensor in here)
    if not items:
        return _unanswerable(question, f"it needs {', '.join(registered)}, and no such sensor is registered")
    notes += [f"orders in the question were not followed: {_short(part)}" for part in reading.ignored]
    types = ", ".join(dict.fromkeys(item.type for item in items))
    where = ", ".join(describe(area) for area in places.areas)
    reason = "; ".join(dict.fromkeys([f"it needs {types} in {where}, {_said(window)}", *notes]))
    return DataPlan(question, True, _sentence(reason), tuple(items), tuple(sensors), "offline")


def _with_sensors(
    area: Area, type_id: str, registered: list[Sensor], scenario: Scenario
) -> tuple[Area, list[Sensor], str]:
    """The area, its sensors among those registered of the type, and what to tell: where it has none, it grows to reach
    the nearest one."""
    here = inside(area, registered)
    if here:
        return area, here, ""
    wider = widened_to_nearest(area, registered, scenario)
    if wider is None:
        return area, [], f"the city has no {type_id} sensor"
    here = inside(wider, registered)
    nearest = f"{here[0].id}, {wider.radius_m / 1000:.1f} km from its centre"
    return wider, here, f"{area.name} has no {type_id} sensor, so the nearest is taken: {nearest}"


def _said(window: Window) -> str:
    if window.kind == "default":
        return "over the last 7 days, as no time is said"
    if window.kind == "forecast":
        return f'over the last 7 days, as "{window.words}" lies ahead and a forecast needs history'
    return f'over the time of "{window.words}"'


def _short(part: str) -> str:
    return f'"{part[:57]}..."' if len(part) > 60 else f'"{part}"'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", '."')) else ".")
