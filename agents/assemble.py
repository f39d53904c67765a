"""From wanted types, areas and windows to the items and sensors of a data plan, by the registry of sensors."""

from collections.abc import Iterable
from dataclasses import dataclass

from agents.areas import describe, inside, sensors_of_types, widened_to_nearest
from agents.plan import Area, PlanItem
from agents.times import Window
from twin.retrieval import EVENTS_PER_DAY
from twin.scenario import Scenario, Sensor
from twin.sensor_types import sensor_types


@dataclass(frozen=True)
class Wanted:
    """A sensor type that a question needs, where and when, and why in one sentence."""

    type: str
    why: str
    areas: tuple[Area, ...]
    window: Window


@dataclass(frozen=True)
class Assembled:
    """Items and ids of registered sensors, both without doubles; ``notes`` tell what differs from what was wanted, and
    ``missing`` the types of which no sensor is registered."""

    items: tuple[PlanItem, ...]
    sensors: tuple[str, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def assemble(wanted: Iterable[Wanted], scenario: Scenario) -> Assembled:
    """One item per type and area. An area without a sensor of the type grows to reach the nearest one."""
    wanted = list(wanted)
    registered = sensors_of_types(scenario, [one.type for one in wanted])
    items: dict[PlanItem, None] = {}
    sensors: dict[str, None] = {}
    notes: dict[str, None] = {}
    missing = tuple(type_id for type_id, found in registered.items() if not found)
    notes.update((f"the city has no {type_id} sensor", None) for type_id in missing)
    for one in wanted:
        for area in one.areas if registered[one.type] else ():
            covered, here, note = _with_sensors(area, one.type, registered[one.type], scenario)
            notes.update({note: None} if note else {})
            items[PlanItem(one.type, covered, one.window.start, one.window.end, sentence(one.why))] = None
            sensors.update((sensor.id, None) for sensor in here)
    return Assembled(tuple(items), tuple(sensors), tuple(notes), missing)


def planned_bytes(items: Iterable[PlanItem], sensors: Iterable[str], scenario: Scenario) -> dict[str, float]:
    """Bytes of a plan's readings by type, were the twin to hold none; types that record events are taken to record
    EVENTS_PER_DAY a day per sensor."""
    spans: dict[str, tuple[float, float]] = {}
    for item in items:
        start, end = item.start.timestamp(), item.end.timestamp()
        first, last = spans.get(item.type, (start, end))
        spans[item.type] = min(first, start), max(last, end)
    sizes = dict.fromkeys(spans, 0.0)
    for sensor in (scenario.sensor[sensor_id] for sensor_id in sensors):
        if sensor.type in spans:
            of, (start, end) = sensor_types()[sensor.type], spans[sensor.type]
            sizes[sensor.type] += (end - start) / (of.interval_s or 86_400 / EVENTS_PER_DAY) * of.record_bytes
    return sizes


def summary(items: Iterable[PlanItem], areas: Iterable[Area], when: str, notes: Iterable[str]) -> str:
    """The reason of a plan, in one sentence."""
    types = ", ".join(dict.fromkeys(item.type for item in items))
    where = ", ".join(dict.fromkeys(describe(area) for area in areas))
    return sentence("; ".join(dict.fromkeys([f"it needs {types} in {where}, {when}", *notes])))


def said(window: Window) -> str:
    """A window in the words of a reason."""
    if window.kind == "default":
        return "over the last 7 days, as no time is said"
    if window.kind == "forecast":
        return f'over the last 7 days, as "{window.words}" lies ahead and a forecast needs history'
    return f'over the time of "{window.words}"'


def sentence(text: str) -> str:
    """A text with a capital at its beginning and a full stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", '."')) else ".")


def _with_sensors(
    area: Area, type_id: str, registered: list[Sensor], scenario: Scenario
) -> tuple[Area, list[Sensor], str]:
    """The area, its sensors among those registered of the type, and what to tell."""
    here = inside(area, registered)
    if here:
        return area, here, ""
    wider = widened_to_nearest(area, registered, scenario)
    here = inside(wider, registered)
    nearest = f"{here[0].id}, {wider.radius_m / 1000:.1f} km from its centre"
    return wider, here, f"{area.name} has no {type_id} sensor, so the nearest is taken: {nearest}"
