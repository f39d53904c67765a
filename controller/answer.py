"""The answer to a question: statistics over the planned data that the twin holds, and the same in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import numpy as np

from agents.plan import PlanItem
from twin.readings import Readings
from twin.sensor_types import sensor_types

HOUR_S = 3600
# Fewer common hours say nothing about a correlation.
HOURS_FOR_CORRELATION = 12


@dataclass(frozen=True)
class Series:
    """The readings of one sensor for one item of the plan; ``area`` is the sensor's district."""

    type: str
    field: str
    unit: str
    area: str
    sensor_id: str
    t_s: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Statistics:
    """Statistics of one type (and field) in one area, in ``unit``."""

    type: str
    unit: str
    area: str
    sensors: int
    readings: int
    mean: float
    minimum: float
    maximum: float
    standard_deviation: float
    total: float


@dataclass(frozen=True)
class Correlation:
    """Pearson correlation of hourly means over all sensors of two types."""

    first: str
    second: str
    coefficient: float
    hours: int


def series(type_id: str, fields: Sequence, area: str, sensor_id: str, readings: Readings) -> list[Series]:
    """One Series per field of the type; ``fields`` are the type's ``twin.readings.Field``s."""
    return [
        Series(type_id, f.name, f.unit, area, sensor_id, readings.t_s, readings.values[:, i])
        for i, f in enumerate(fields)
    ]


def statistics(all_series: Sequence[Series], city: str) -> list[Statistics]:
    """Per type and field: the whole city first, then each district, in the order of the plan."""
    result = []
    for name in dict.fromkeys(_name(s) for s in all_series):
        of_type = [s for s in all_series if _name(s) == name]
        result.append(_summary(name, city, of_type))
        districts = sorted({s.area for s in of_type})
        if len(districts) > 1:
            result += [_summary(name, district, [s for s in of_type if s.area == district]) for district in districts]
    return [row for row in result if row.readings]


def _name(s: Series) -> str:
    return f"{s.type}.{s.field}" if s.field else s.type


def _summary(name: str, area: str, of_type: Sequence[Series]) -> Statistics:
    values = np.concatenate([s.values for s in of_type])
    if not len(values):
        return Statistics(name, of_type[0].unit, area, len(of_type), 0, *[float("nan")] * 5)
    numbers = (values.mean(), values.min(), values.max(), values.std(), values.sum())
    return Statistics(name, of_type[0].unit, area, len(of_type), len(values), *map(float, numbers))


def correlations(all_series: Sequence[Series]) -> list[Correlation]:
    """Every pair of types with enough common hours and some variation, strongest first."""
    hourly = {
        name: _hourly_means([s for s in all_series if _name(s) == name])
        for name in dict.fromkeys(map(_name, all_series))
    }
    result = []
    for (first, a), (second, b) in combinations(hourly.items(), 2):
        hours = sorted(a.keys() & b.keys())
        x, y = np.array([a[h] for h in hours]), np.array([b[h] for h in hours])
        if len(hours) >= HOURS_FOR_CORRELATION and np.ptp(x) > 0 and np.ptp(y) > 0:
            result.append(Correlation(first, second, float(np.corrcoef(x, y)[0, 1]), len(hours)))
    return sorted(result, key=lambda c: -abs(c.coefficient))


def _hourly_means(of_type: Iterable[Series]) -> dict[int, float]:
    t_s = np.concatenate([s.t_s for s in of_type])
    values = np.concatenate([s.values for s in of_type])
    hours, index = np.unique(t_s // HOUR_S, return_inverse=True)
    return dict(zip(hours.tolist(), (np.bincount(index, values) / np.bincount(index)).tolist(), strict=True))


def in_words(items: Sequence[PlanItem], rows: Sequence[Statistics], pairs: Sequence[Correlation], city: str) -> str:
    """A few plain sentences; a language model may say it better, but never says other numbers."""
    if not rows:
        return "The planned sensors hold no readings in that time."
    start, end = min(item.start for item in items), max(item.end for item in items)
    sentences = [f"From {_when(start)} to {_when(end)}:"]
    for row in (row for row in rows if row.area == city):
        title, unit = row.type.replace("_", " ").replace(".", ", "), _unit(row)
        counted = f"{row.readings:,} readings of {row.sensors} sensor{'s' if row.sensors > 1 else ''}"
        kind = sensor_types().get(row.type)
        if kind and kind.additive:
            sentences.append(
                f"{title}: {row.total / row.sensors:,.1f} {unit.partition('/')[0]} per sensor in total,"
                f" largest {row.maximum:,.4g} ({counted})."
            )
        else:
            sentences.append(
                f"{title}: mean {row.mean:,.4g} {unit}, from {row.minimum:,.4g} to {row.maximum:,.4g} ({counted})."
            )
        districts = [other for other in rows if other.type == row.type and other.area != city]
        if districts:
            top = max(districts, key=lambda other: other.mean)
            sentences.append(f"Highest mean in {top.area}: {top.mean:,.4g}.")
    for pair in pairs[:3]:
        sentences.append(
            f"Hour by hour, {pair.first.replace('_', ' ')} and {pair.second.replace('_', ' ')} correlate at"
            f" {pair.coefficient:+.2f} over {pair.hours} hours."
        )
    return " ".join(sentences)


def _unit(row: Statistics) -> str:
    """The unit as the sensor types' table writes it, where the type has a single field."""
    kind = sensor_types().get(row.type)
    return kind.unit if kind else row.unit


def _when(moment: datetime) -> str:
    return f"{moment:%a %d %b %Y %H:%M}"
