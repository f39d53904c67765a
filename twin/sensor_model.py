"""Generated readings of all sensor types: simulated, but hanging together through one weather and one calendar.

Rain raises humidity, water levels (hours later), leakage currents, and the odds of outages and accidents;
temperature, hour and weekday drive consumption and line currents; traffic, parking and charging follow the district's
life. Deterministic by (seed, sensor, time): any window equals the slice of a larger one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin.load_model import SLOT_S, daily_rhythm, load_at
from twin.local_time import WORKING, LocalTime, by_hour, local_time
from twin.milan_districts import character_of
from twin.noise import normal, smooth, stream, uniform
from twin.readings import Field, Readings
from twin.scenario import Scenario, Sensor
from twin.sensor_types import sensor_types
from twin.weather_model import Weather, rain_memory, weather

# Units are SenML units where registered (RFC 8428, RFC 8798), else those of sensor_types.json.
_FIELDS = {
    "temperature": (Field("", "Cel", 1),),
    "humidity": (Field("", "%RH", 0),),
    "precipitation": (Field("", "mm/10min", 1),),
    "wind_speed": (Field("", "m/s", 1),),
    "wind_direction": (Field("", "deg", 0),),
    "solar_radiation": (Field("", "W/m2", 0),),
    "water_level": (Field("", "m", 3),),
    "air_quality": (Field("pm10", "ug/m3", 1), Field("no2", "ug/m3", 1)),
    "power_consumption": (Field("", "kW", 2),),
    "line_current": (Field("", "A", 1),),
    "grid_frequency": (Field("", "Hz", 3),),
    "leakage_current": (Field("", "mA", 2),),
    "solar_generation": (Field("", "kW", 2),),
    "ev_charging": (Field("occupancy", "/", 3), Field("power", "kW", 1)),
    "outage": (Field("", "count", 0),),
    "road_traffic": (Field("", "vehicles/10min", 0),),
    "accident": (Field("", "count", 0),),
    "cellular_load": (Field("", "activity units/10min", 2),),
    "parking": (Field("", "free places", 0),),
    "public_transport": (Field("", "passengers/10min", 0),),
}

# Unit responses to 1 mm of rain, by hours since it fell.
_HOURS = np.arange(72) + 0.5
_CANAL = 0.004 * (_HOURS / 6) * np.exp(1 - _HOURS / 6)  # m; highest after 6 hours
_SOAKED = np.exp(-_HOURS[:48] / 9) / 8  # wet insulation dries within a day

# Traffic by hour of the day in percent of the busiest, on working days and on free days.
_RUSH = by_hour("12 7 5 5 8 20 48 86 100 82 70 70 74 74 72 76 86 97 100 82 56 40 32 22")
_STROLL = by_hour("24 18 12 8 7 9 14 22 34 46 56 62 60 54 56 62 68 70 68 60 48 42 38 30")


def fields(type_id: str) -> tuple[Field, ...]:
    """The values of one reading of a sensor type, in the order of the columns of Readings. Raises ValueError."""
    if type_id in _FIELDS:
        return _FIELDS[type_id]
    if type_id not in sensor_types():
        raise ValueError(f"sensor type {type_id!r} does not exist; the types are {', '.join(sensor_types())}")
    kind = sensor_types()[type_id]
    return (Field("", "count" if kind.interval_s is None else kind.unit, kind.decimals),)


def readings(scenario: Scenario, sensor: Sensor, start_s: int, end_s: int) -> Readings:
    """Generated readings of a sensor over [start_s, end_s), UTC epoch seconds: at multiples of the type's interval, or
    where events happen. Amounts and counts at t are those of the interval that ends at t. Raises ValueError."""
    columns = fields(sensor.type)
    interval_s = sensor_types()[sensor.type].interval_s
    if interval_s is None:
        return _events(scenario, sensor, start_s, end_s)
    t_s = np.arange(-(-start_s // interval_s) * interval_s, end_s, interval_s, dtype=np.int64)
    made = _MODELS.get(sensor.type, _own)(_Site(scenario, sensor, t_s))
    values = made if isinstance(made, tuple) else (made,)
    rounded = [np.round(v, f.decimals) + 0.0 for v, f in zip(values, columns, strict=True)]  # + 0.0 turns -0.0 into 0.0
    return Readings(t_s, np.stack(rounded, axis=1))


@dataclass(frozen=True)
class _Site:
    """A sensor over times [n], with what its models are made of."""

    scenario: Scenario
    sensor: Sensor
    t_s: np.ndarray

    @cached_property
    def weather(self) -> Weather:
        return weather(self.scenario.seed, self.sensor.lon, self.sensor.lat, self.t_s)

    @cached_property
    def local(self) -> LocalTime:
        """Days count from 04:00, as daily_rhythm wants it."""
        return local_time(self.scenario.zone, self.t_s, day_starts_at_s=4 * 3600)

    @cached_property
    def rhythm(self) -> np.ndarray:
        return daily_rhythm(character_of(self.sensor.district), self.local)

    @cached_property
    def traffic(self) -> np.ndarray:
        """Share of the busiest traffic: rush hours on working days, strolls on free ones, less of both in rain."""
        day = np.where(self.local.kind == WORKING, _RUSH(self.local.hour), _STROLL(self.local.hour))
        return day * (1 - 0.15 * np.minimum(self.weather.rain_mm, 1))

    def rain_memory(self, kernel: np.ndarray) -> np.ndarray:
        return rain_memory(self.scenario.seed, self.sensor.lon, self.sensor.lat, self.t_s, kernel)

    def constant(self, what: str, low: float, high: float) -> float:
        """A property of the site, fixed for all time."""
        return low + (high - low) * float(uniform(self._stream(what), 0))

    def swing(self, what: str, period_s: float) -> np.ndarray:
        return smooth(self._stream(what), self.t_s, period_s)

    def jitter(self, what: str) -> np.ndarray:
        return normal(self._stream(what), self.t_s)

    def _stream(self, what: str) -> np.uint64:
        return stream(self.scenario.seed, "sensor", self.sensor.id, what)


def _temperature(s: _Site) -> np.ndarray:
    return s.weather.temperature_c + s.constant("bias", -0.6, 0.6) + 0.08 * s.jitter("noise")


def _humidity(s: _Site) -> np.ndarray:
    return np.clip(s.weather.humidity_pct + s.constant("bias", -2, 2) + 0.6 * s.jitter("noise"), 0, 100)


def _precipitation(s: _Site) -> np.ndarray:
    return s.weather.rain_mm * np.exp(0.15 * s.swing("shower", 1800))


def _wind_speed(s: _Site) -> np.ndarray:
    return s.weather.wind_m_s * s.constant("shelter", 0.6, 1.2) * np.exp(0.15 * s.jitter("gust"))


def _wind_direction(s: _Site) -> np.ndarray:
    return np.floor((s.weather.wind_deg + s.constant("street", -25, 25) + 12 * s.jitter("eddy")) % 360)


def _solar_radiation(s: _Site) -> np.ndarray:
    return s.weather.solar_w_m2 * np.exp(0.03 * s.jitter("noise"))


def _water_level(s: _Site) -> np.ndarray:
    rise_m = s.constant("catchment", 0.7, 1.4) * s.rain_memory(_CANAL)
    return s.constant("base", 0.8, 1.8) + rise_m + 0.012 * s.swing("gates", 12 * 3600) + 0.002 * s.jitter("ripple")


def _air_quality(s: _Site) -> tuple[np.ndarray, np.ndarray]:
    washed, calm = s.rain_memory(_SOAKED), 1.3 / (0.6 + s.weather.wind_m_s)
    heating = np.clip((16 - s.weather.temperature_c) / 12, 0, 1.5)
    noise = np.exp(0.10 * s.swing("plume", 3 * 3600) + 0.05 * s.jitter("noise"))
    pm10 = (9 + 11 * calm + 16 * heating * calm + 6 * s.traffic) * np.exp(-0.9 * np.minimum(washed, 1.5)) * noise
    no2 = (12 + 34 * s.traffic * calm + 12 * heating) * np.exp(-0.2 * np.minimum(washed, 1.5)) * noise
    return pm10, no2


def _demand(s: _Site) -> np.ndarray:
    """Electric demand as a share of the site's usual peak."""
    heating, cooling = np.maximum(0, 16 - s.weather.temperature_c), np.maximum(0, s.weather.temperature_c - 23)
    return (0.3 + 0.55 * s.rhythm) * (1 + 0.012 * heating + 0.03 * cooling) * np.exp(0.05 * s.swing("load", 3600))


def _power_consumption(s: _Site) -> np.ndarray:
    return s.constant("peak", 40, 260) * _demand(s) * np.exp(0.02 * s.jitter("noise"))


def _line_current(s: _Site) -> np.ndarray:
    return s.constant("peak", 60, 320) * _demand(s) * np.exp(0.02 * s.jitter("noise"))


def _grid_frequency(s: _Site) -> np.ndarray:
    """Common to the whole synchronous area, and strained at full hours, when schedules step."""
    area = stream(s.scenario.seed, "grid")
    after_hour_s = s.t_s % 3600
    step = normal(stream(s.scenario.seed, "schedule"), s.t_s // 3600) * np.exp(-after_hour_s / 300)
    slow = 0.012 * smooth(area, s.t_s, 900) + 0.008 * smooth(stream(s.scenario.seed, "grid fast"), s.t_s, 60)
    return 50 + slow + 0.02 * step + 0.001 * s.jitter("meter")


def _leakage_current(s: _Site) -> np.ndarray:
    damp = np.maximum(0, s.weather.humidity_pct - 65) / 35
    wet = s.rain_memory(_SOAKED) + np.minimum(s.weather.rain_mm, 2)
    growth = 1 + 0.6 * damp**2 + s.constant("insulation", 0.8, 2.2) * wet
    return s.constant("base", 0.4, 1.8) * growth * np.exp(0.05 * s.swing("ageing", 4 * 3600) + 0.03 * s.jitter("noise"))


def _solar_generation(s: _Site) -> np.ndarray:
    derating = 1 - 0.004 * np.maximum(0, s.weather.temperature_c - 20)
    return s.constant("kwp", 4, 60) * 0.82 * s.weather.solar_w_m2 / 1000 * derating * np.exp(0.02 * s.jitter("noise"))


def _ev_charging(s: _Site) -> tuple[np.ndarray, np.ndarray]:
    places = round(s.constant("places", 4, 16))
    wanted = np.clip(0.15 + 0.55 * s.rhythm + 0.18 * s.swing("demand", 5400), 0, 1)
    taken = np.round(places * wanted)
    power_kw = taken * s.constant("plug", 6, 18) * np.exp(0.08 * s.swing("charge", 1800) - 0.1)
    return taken / places, power_kw


def _road_traffic(s: _Site) -> np.ndarray:
    mean = s.constant("lanes", 90, 520) * s.traffic * np.exp(0.06 * s.swing("jam", 3600))
    return np.maximum(0, mean + np.sqrt(mean) * s.jitter("count"))


def _cellular_load(s: _Site) -> np.ndarray:
    """The cell's load in units of the published Milan data, which give no absolute scale."""
    return s.constant("scale", 400, 2200) * load_at(s.scenario, s.sensor.cell, s.t_s - SLOT_S)


def _parking(s: _Site) -> np.ndarray:
    places = round(s.constant("places", 40, 420))
    taken = np.clip(0.2 + 0.65 * s.rhythm + 0.06 * s.swing("demand", 3600) + 0.01 * s.jitter("count"), 0, 1)
    return np.floor(places * (1 - taken))


def _public_transport(s: _Site) -> np.ndarray:
    mean = s.constant("stop", 30, 400) * np.maximum(0, s.traffic - 0.08) * (1 + 0.1 * np.minimum(s.weather.rain_mm, 1))
    mean = mean * np.exp(0.08 * s.swing("crowd", 1800))
    return np.maximum(0, mean + np.sqrt(mean) * s.jitter("count"))


def _own(s: _Site) -> np.ndarray:
    """An operator's type: a mean, a daily swing and noise, as its file tells."""
    how = sensor_types()[s.sensor.type].simulated
    day = how.day_amplitude * np.cos(2 * np.pi * (s.local.hour - how.peak_hour) / 24)
    noise = 0.6 * s.constant("site", -1, 1) + 0.8 * s.swing("slow", 3 * 3600) + 0.5 * s.jitter("noise")
    return np.clip(how.mean + day + how.noise * noise, how.minimum, how.maximum)


_MODELS: dict[str, Callable[[_Site], np.ndarray | tuple[np.ndarray, ...]]] = {
    "temperature": _temperature,
    "humidity": _humidity,
    "precipitation": _precipitation,
    "wind_speed": _wind_speed,
    "wind_direction": _wind_direction,
    "solar_radiation": _solar_radiation,
    "water_level": _water_level,
    "air_quality": _air_quality,
    "power_consumption": _power_consumption,
    "line_current": _line_current,
    "grid_frequency": _grid_frequency,
    "leakage_current": _leakage_current,
    "solar_generation": _solar_generation,
    "ev_charging": _ev_charging,
    "road_traffic": _road_traffic,
    "cellular_load": _cellular_load,
    "parking": _parking,
    "public_transport": _public_transport,
}

_EVENT_SLOT_S = 600  # at most one event in each


def _outage_rate(s: _Site) -> np.ndarray:
    """Outages per day in the sensor's area."""
    storm = 6 * np.minimum(s.weather.rain_mm, 1.5) + 3 * s.rain_memory(_SOAKED) + 0.15 * s.weather.wind_m_s**1.5
    return s.constant("network", 0.04, 0.10) * (1 + storm)


def _accident_rate(s: _Site) -> np.ndarray:
    """Accidents per day in the sensor's area."""
    wet_road = 2.5 * np.minimum(s.weather.rain_mm, 1) + 0.5 * np.minimum(s.rain_memory(_SOAKED), 1)
    ice = 1.5 * (s.weather.temperature_c < 1)
    return s.constant("junction", 0.3, 0.9) * s.traffic * (1 + wet_road + ice)


def _own_rate(s: _Site) -> np.ndarray:
    """Events per day of an operator's type."""
    return np.full(len(s.t_s), sensor_types()[s.sensor.type].simulated.per_day)


_RATES: dict[str, Callable[[_Site], np.ndarray]] = {"outage": _outage_rate, "accident": _accident_rate}


def _events(scenario: Scenario, sensor: Sensor, start_s: int, end_s: int) -> Readings:
    """One reading with value 1 per event, at the second at which it happens."""
    slots = np.arange(start_s // _EVENT_SLOT_S, -(-end_s // _EVENT_SLOT_S), dtype=np.int64)
    rate_per_day = _RATES.get(sensor.type, _own_rate)(_Site(scenario, sensor, slots * _EVENT_SLOT_S))
    name = stream(scenario.seed, "events", sensor.id)
    happens = uniform(name, 2 * slots) < 1 - np.exp(-rate_per_day * _EVENT_SLOT_S / 86_400)
    t_s = slots * _EVENT_SLOT_S + np.floor(_EVENT_SLOT_S * uniform(name, 2 * slots + 1)).astype(np.int64)
    t_s = t_s[happens & (t_s >= start_s) & (t_s < end_s)]
    return Readings(t_s, np.ones((len(t_s), 1)))
