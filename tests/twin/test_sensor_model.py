"""Generated readings: form and random access of every type, and the weather and calendar that hold them together."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.generate import make_scenario
from twin.local_time import WORKING, local_time
from twin.milan_districts import character_of
from twin.readings import Readings
from twin.scenario import load_scenario
from twin.sensor_model import fields, readings
from twin.sensor_types import sensor_types
from twin.weather_model import weather

CITY = load_scenario("milan")
NOW_S = int(CITY.start.timestamp())
DAY_S = 86_400
TYPES = sorted(sensor_types())
REGULAR = [t for t in TYPES if sensor_types()[t].interval_s]


def of_type(type_id, city=CITY):
    return [sensor for sensor in city.sensors if sensor.type == type_id]


def values_of(type_id, start_s, end_s, sensors=3):
    """First value of some sensors of a regular type: [sensors, n]."""
    return np.array([readings(CITY, s, start_s, end_s).values[:, 0] for s in of_type(type_id)[:sensors]])


@given(
    type_id=st.sampled_from(TYPES),
    start=st.integers(0, 2 * 10**9),
    length=st.integers(0, 8 * 3600),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(deadline=None)
def test_any_window_equals_the_slice_of_a_larger_one(type_id, start, length, cut):
    sensor = of_type(type_id)[0]
    whole = readings(CITY, sensor, start, start + length)
    first, last = (start + int(part * length) for part in sorted(cut))
    part = readings(CITY, sensor, first, last)
    inside = (whole.t_s >= first) & (whole.t_s < last)
    assert np.array_equal(part.t_s, whole.t_s[inside])
    assert np.array_equal(part.values, whole.values[inside])


@pytest.mark.parametrize("type_id", REGULAR)
def test_regular_readings_stand_on_every_multiple_of_the_interval(type_id):
    interval = sensor_types()[type_id].interval_s
    t_s = readings(CITY, of_type(type_id)[0], NOW_S - 5 * interval - 1, NOW_S).t_s
    assert t_s.tolist() == list(range(NOW_S - 5 * interval, NOW_S, interval))  # NOW_S is a full hour, and left out


@pytest.mark.parametrize("type_id", TYPES)
def test_readings_have_the_fields_of_their_type(type_id):
    columns = fields(type_id)
    assert [f.name for f in columns] == ([""] if len(columns) == 1 else [f.name for f in columns])
    for sensor in of_type(type_id):
        made = readings(CITY, sensor, NOW_S - 14 * DAY_S, NOW_S)
        assert made.values.shape == (len(made.t_s), len(columns)) and len(made) > 0
        for column, field in enumerate(columns):
            values = made.values[:, column]
            assert np.array_equal(values, np.round(values, field.decimals))
            assert not (np.signbit(values) & (values == 0)).any()
            if type_id not in ("outage", "accident"):
                assert values.std() > 0


def test_fields_are_the_two_valued_ones_and_use_registered_units():
    assert {t: [f.name for f in fields(t)] for t in TYPES if len(fields(t)) > 1} == {
        "air_quality": ["pm10", "no2"],
        "ev_charging": ["occupancy", "power"],
    }
    registered = {"Cel", "%RH", "m/s", "deg", "W/m2", "m", "ug/m3", "kW", "A", "Hz", "mA", "/", "count"}
    for type_id in TYPES:
        for field in fields(type_id):
            assert field.unit in registered or field.unit == sensor_types()[type_id].unit
    with pytest.raises(ValueError, match="'sonar'.*temperature"):
        fields("sonar")


def test_an_empty_window_gives_no_readings():
    for type_id in TYPES:
        made = readings(CITY, of_type(type_id)[0], NOW_S, NOW_S)
        assert len(made) == 0 and made.values.shape == (0, len(fields(type_id)))


def test_another_process_makes_the_same_readings():
    code = (
        "from twin.scenario import load_scenario; from twin.sensor_model import readings\n"
        "c = load_scenario('milan')\n"
        f"print([readings(c, s, {NOW_S - 3600}, {NOW_S}).values.tolist() for s in c.sensors[::5]])"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    ).stdout
    assert other.strip() == str([readings(CITY, s, NOW_S - 3600, NOW_S).values.tolist() for s in CITY.sensors[::5]])


def test_seeds_and_sensors_differ():
    a, b = of_type("temperature")[:2]
    day = NOW_S - DAY_S, NOW_S
    assert (readings(CITY, a, *day).values != readings(CITY, b, *day).values).any()
    other = make_scenario(seed=CITY.seed + 1)
    assert (readings(CITY, a, *day).values != readings(other, other.sensor[a.id], *day).values).any()


LIMITS = {
    "temperature": (-15, 40), "humidity": (15, 100), "precipitation": (0, 15), "wind_speed": (0, 30),
    "wind_direction": (0, 359), "solar_radiation": (0, 1150), "water_level": (0.5, 5), "power_consumption": (5, 500),
    "line_current": (10, 700), "leakage_current": (0.1, 80), "solar_generation": (0, 65), "road_traffic": (0, 900),
    "cellular_load": (0, 2200), "parking": (0, 420), "public_transport": (0, 900),
}  # fmt: skip


@pytest.mark.parametrize("type_id", LIMITS)
def test_values_stay_within_what_is_possible(type_id):
    low, high = LIMITS[type_id]
    for season in range(4):
        start = NOW_S + season * 91 * DAY_S
        values = values_of(type_id, start, start + 5 * DAY_S)
        assert values.min() >= low and values.max() <= high


def test_it_rained_in_the_week_before_the_bundled_scenario_starts_and_not_all_of_it():
    rain = values_of("precipitation", NOW_S - 7 * DAY_S, NOW_S, sensors=8)
    assert rain.sum(axis=1).min() > 10
    daily = rain.mean(axis=0).reshape(7, 144).sum(axis=1)
    assert (daily > 2).sum() >= 2 and (daily == 0).sum() >= 2


def hourly(type_id, start_s, end_s):
    """Mean over some sensors and each hour."""
    per_hour = 3600 // sensor_types()[type_id].interval_s
    return values_of(type_id, start_s, end_s).mean(axis=0).reshape(-1, per_hour).mean(axis=1)


def test_rain_shows_in_humidity_sun_and_leakage():
    span = NOW_S - 45 * DAY_S, NOW_S
    wet = hourly("precipitation", *span) > 0.1
    assert 50 < wet.sum() < 0.4 * len(wet)
    noon = np.abs((np.arange(len(wet)) + 11.5) % 24 - 12) < 3
    humidity, sun, leakage = (hourly(t, *span) for t in ("humidity", "solar_radiation", "leakage_current"))
    assert humidity[wet].mean() > humidity[~wet].mean() + 15
    assert sun[wet & noon].mean() < 0.6 * sun[~wet & noon].mean()
    assert leakage[wet].mean() > 2 * leakage[~wet].mean()
    warm = hourly("temperature", *span)
    assert (warm.reshape(-1, 24).max(axis=1) - warm.reshape(-1, 24).min(axis=1)).mean() > 3


def test_leakage_follows_rain_in_the_week_of_question_8():
    week = NOW_S - 7 * DAY_S, NOW_S
    assert np.corrcoef(hourly("precipitation", *week), hourly("leakage_current", *week))[0, 1] > 0.5


def test_water_rises_hours_after_the_rain():
    span = NOW_S - 60 * DAY_S, NOW_S
    rain, level = hourly("precipitation", *span), hourly("water_level", *span)
    correlation = [np.corrcoef(rain[: len(rain) - k], level[k:])[0, 1] for k in range(48)]
    assert 3 <= int(np.argmax(correlation)) <= 12 and max(correlation) > 0.5 and correlation[47] < 0.3


def test_fronts_come_from_the_west():
    t_s = np.arange(NOW_S - 30 * DAY_S, NOW_S, 600)
    west, east = weather(CITY.seed, 9.05, 45.46, t_s).rain_mm, weather(CITY.seed, 9.27, 45.46, t_s).rain_mm
    lags = range(-6, 7)
    correlation = [np.corrcoef(west[6:-6], np.roll(east, -k)[6:-6])[0, 1] for k in lags]
    assert lags[int(np.argmax(correlation))] in (3, 4)  # 17 km at 8 m/s are 36 minutes


def test_the_sun_keeps_to_its_times():
    t_s = np.arange(NOW_S - 365 * DAY_S, NOW_S, 600)
    sky = weather(CITY.seed, 9.19, 45.46, t_s)
    hour = (t_s / 3600 + 9.19 / 15) % 24
    assert (sky.solar_w_m2[(hour < 3.9) | (hour > 20.1)] == 0).all()
    assert 850 < sky.solar_w_m2.max() < 1050
    midsummer = (t_s > 1371772800 - 10 * DAY_S) & (t_s < 1371772800 + 10 * DAY_S)  # 21 June 2013
    midwinter = t_s < 1356998400 + 10 * DAY_S
    daylight = [24 * (sky.solar_w_m2[part] > 0).mean() for part in (midsummer, midwinter)]
    assert daylight[0] == pytest.approx(15.6, abs=0.4) and daylight[1] == pytest.approx(8.7, abs=0.4)  # Milan's


def test_the_climate_is_that_of_milan():
    t_s = np.arange(NOW_S - 8 * 365 * DAY_S, NOW_S, 3600)
    sky = weather(CITY.seed, 9.19, 45.46, t_s)
    assert 600 < 6 * sky.rain_mm.sum() / 8 < 1600  # about 1000 mm a year
    month = ((t_s / DAY_S) % 365.2425) // 30.44
    assert 1 < sky.temperature_c[month == 0].mean() < 6 and 22 < sky.temperature_c[month == 6].mean() < 27


def test_solar_generation_follows_the_sun():
    week = NOW_S - 7 * DAY_S, NOW_S
    assert np.corrcoef(hourly("solar_radiation", *week), hourly("solar_generation", *week))[0, 1] > 0.95


def test_demand_grows_with_cold_and_falls_at_night_and_where_offices_close():
    local = local_time(CITY.zone, np.arange(NOW_S, NOW_S + 182 * DAY_S, 600))
    office = [s for s in of_type("power_consumption") if character_of(s.district) == "office"][:1]
    power = np.mean([readings(CITY, s, NOW_S, NOW_S + 182 * DAY_S).values[:, 0] for s in office], axis=0)
    warmth = values_of("temperature", NOW_S, NOW_S + 182 * DAY_S).mean(axis=0)
    noon = (local.hour > 10) & (local.hour < 15)
    working = local.kind == WORKING
    assert power[noon & working].mean() > 1.5 * power[noon & ~working].mean()
    assert power[working & noon].mean() > 1.8 * power[working & (local.hour < 4)].mean()
    cold, mild = (power[noon & working & part].mean() for part in (warmth < 5, (warmth > 15) & (warmth < 22)))
    assert cold > 1.08 * mild
    assert hourly("line_current", NOW_S - 7 * DAY_S, NOW_S).std() > 0


def test_grid_frequency_is_one_for_the_whole_area():
    values = values_of("grid_frequency", NOW_S - DAY_S, NOW_S)
    assert values.mean() == pytest.approx(50, abs=0.005) and 0.01 < values.std() < 0.04
    assert np.abs(values - values.mean(axis=0)).max() < 0.008
    assert values.min() > 49.8 and values.max() < 50.2


def test_charging_draws_power_for_the_places_taken():
    for sensor in of_type("ev_charging"):
        share, power_kw = readings(CITY, sensor, NOW_S - 7 * DAY_S, NOW_S).values.T
        assert ((share >= 0) & (share <= 1)).all() and (power_kw[share == 0] == 0).all() and (power_kw >= 0).all()
        assert np.corrcoef(share, power_kw)[0, 1] > 0.9


def test_traffic_has_rush_hours_on_working_days():
    local = local_time(CITY.zone, np.arange(NOW_S - 28 * DAY_S, NOW_S, 600))
    traffic = values_of("road_traffic", NOW_S - 28 * DAY_S, NOW_S).mean(axis=0)
    eight, three = ((local.hour >= h) & (local.hour < h + 1) for h in (8, 3))
    working = local.kind == WORKING
    assert traffic[eight & working].mean() > 2 * traffic[eight & ~working].mean()
    assert traffic[eight & working].mean() > 6 * traffic[three & working].mean()


def test_pollution_is_washed_out_by_rain_and_blown_away_by_wind():
    span = NOW_S - 90 * DAY_S, NOW_S
    pm10 = values_of("air_quality", *span).mean(axis=0)
    rain, wind = hourly("precipitation", *span), hourly("wind_speed", *span)
    assert pm10[rain > 0.1].mean() < 0.7 * pm10[rain == 0].mean()
    assert np.corrcoef(pm10, wind)[0, 1] < -0.3


def test_outages_come_with_rain_and_accidents_with_traffic():
    start, end = NOW_S - 250 * DAY_S, NOW_S
    slots = np.arange(start, end, 600)
    wet = weather(CITY.seed, 9.19, 45.46, slots).rain_mm > 0.1
    hour = local_time(CITY.zone, slots).hour // 1

    def rates(type_id, *conditions):
        """Events per day and sensor under each condition."""
        t_s = np.concatenate([readings(CITY, s, start, end).t_s for s in of_type(type_id)])
        counts = np.bincount((t_s - start) // 600, minlength=len(slots)) / len(of_type(type_id))
        return [144 * counts[chosen].mean() for chosen in conditions]

    outages_wet, outages_dry, outages = rates("outage", wet, ~wet, wet | ~wet)
    assert outages_wet > 3 * outages_dry > 0 and 0.05 < outages < 0.5
    rush, night, accidents_wet, accidents_dry, accidents = rates(
        "accident", hour == 18, hour == 3, wet, ~wet, wet | ~wet
    )
    assert rush > 4 * night and accidents_wet > 1.3 * accidents_dry > 0 and 0.1 < accidents < 1


def test_readings_refuse_what_is_not_in_order():
    good = Readings(np.array([1, 2]), np.array([[1.0], [2.0]]))
    assert len(good) == 2
    for t_s, values, part in (
        (np.array([2, 1]), np.zeros((2, 1)), "ascending"),
        (np.array([1, 1]), np.zeros((2, 1)), "ascending"),
        (np.array([1.0, 2.0]), np.zeros((2, 1)), "int64"),
        (np.array([1, 2]), np.zeros(2), r"\[n, k\]"),
        (np.array([1, 2]), np.zeros((3, 1)), r"\[n, k\]"),
        (np.array([1, 2]), np.array([[1.0], [np.nan]]), "finite"),
    ):
        with pytest.raises(ValueError, match=part):
            Readings(t_s, values)
