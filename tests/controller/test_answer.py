"""Statistics and correlations of known data."""

from datetime import UTC, datetime

import numpy as np
import pytest

from agents.plan import Area, PlanItem
from controller import answer
from twin.readings import Field, Readings

ONE_FIELD = (Field("", "mm", 1),)


def make(type_id, area, sensor_id, values, step_s=600, fields=ONE_FIELD):
    t_s = np.arange(len(values), dtype=np.int64) * step_s
    readings = Readings(t_s, np.asarray(values, float).reshape(len(values), len(fields)))
    return answer.series(type_id, fields, area, sensor_id, readings)


def test_statistics_of_city_and_districts():
    series = make("humidity", "Brera", "a", [10, 20]) + make("humidity", "Duomo", "b", [30, 60])
    city, brera, duomo = answer.statistics(series, "Milano")
    assert (city.area, city.sensors, city.readings, city.mean, city.minimum, city.maximum) == (
        "Milano",
        2,
        4,
        30,
        10,
        60,
    )
    assert city.standard_deviation == pytest.approx(np.std([10, 20, 30, 60]))
    assert (brera.area, brera.mean, brera.total) == ("Brera", 15, 30)
    assert (duomo.area, duomo.mean, duomo.total) == ("Duomo", 45, 90)


def test_one_district_is_not_told_twice_and_no_readings_are_left_out():
    assert len(answer.statistics(make("humidity", "Brera", "a", [1.0]), "Milano")) == 1
    assert answer.statistics(make("humidity", "Brera", "a", []), "Milano") == []


def test_fields_are_told_apart():
    fields = (Field("share", "/", 2), Field("power", "kW", 1))
    rows = answer.statistics(make("ev_charging", "Brera", "a", [[0.5, 11], [1.0, 22]], fields=fields), "Milano")
    assert [(row.type, row.mean) for row in rows] == [("ev_charging.share", 0.75), ("ev_charging.power", 16.5)]


def test_correlation_of_hourly_means_against_numpy():
    rng = np.random.default_rng(5)
    x = rng.normal(size=24 * 6)
    y = 2 * x + rng.normal(size=x.size)
    series = make("precipitation", "Brera", "a", x) + make("leakage_current", "Duomo", "b", y)
    (pair,) = answer.correlations(series)
    expected = np.corrcoef(x.reshape(24, 6).mean(1), y.reshape(24, 6).mean(1))[0, 1]
    assert pair.hours == 24
    assert pair.coefficient == pytest.approx(expected)


def test_no_correlation_without_variation_or_with_few_hours():
    constant = make("precipitation", "Brera", "a", np.ones(24 * 6)) + make("humidity", "Brera", "b", np.arange(24 * 6))
    short = make("precipitation", "Brera", "a", np.arange(12)) + make("humidity", "Brera", "b", np.arange(12))
    assert answer.correlations(constant) == answer.correlations(short) == []


def test_words_carry_the_numbers():
    series = make("precipitation", "Brera", "a", [1.5, 2.5]) + make("humidity", "Duomo", "b", [40, 80])
    moment = datetime(2013, 11, 18, tzinfo=UTC)
    items = [PlanItem("precipitation", Area("city"), moment, moment, "because")]
    text = answer.in_words(items, answer.statistics(series, "Milano"), answer.correlations(series), "Milano")
    assert "precipitation: 4.0 mm per sensor in total, largest 2.5 (2 readings of 1 sensor)" in text
    assert "humidity: mean 60 %, from 40 to 80" in text
    assert "no readings" in answer.in_words(items, [], [], "Milano")
