"""Generated weather of a city: rain fronts that pass from west to east, and all that hangs on them.

One front raises cloud and humidity, dims the sun, cools the air, turns and strengthens the wind; between fronts the
days follow season and hour. A pure function of (seed, place, time); magnitudes are those of the Po valley.
"""

from dataclasses import dataclass

import numpy as np

from twin.noise import smooth, stream, uniform

_FRONT_SPACING_S = 60 * 3600  # one front at most in each span of this length
_FRONT_SPEED_M_S = 8.0
_DAY_S = 86_400


@dataclass(frozen=True)
class Weather:
    """Arrays [n]. ``rain_mm`` falls per 10 minutes; ``cloud`` is the covered share of the sky; ``wind_deg`` is where
    the wind comes from; ``solar_w_m2`` is the global irradiance on the ground."""

    temperature_c: np.ndarray
    humidity_pct: np.ndarray
    rain_mm: np.ndarray
    cloud: np.ndarray
    wind_m_s: np.ndarray
    wind_deg: np.ndarray
    solar_w_m2: np.ndarray


def weather(seed: int, lon: float, lat: float, t_s: np.ndarray) -> Weather:
    """Weather at a place (WGS84 degrees) at UTC epoch seconds [n]."""
    here_s = _front_time(lon, lat, t_s)
    near, rain_mm = _front(seed, here_s, 1.8), _rain(seed, here_s)
    year = 2 * np.pi * (np.asarray(t_s) / _DAY_S % 365.2425) / 365.2425  # 0 at 1 January, as 1970 began with it
    summer = np.cos(year - 2 * np.pi * 200 / 365)
    solar_hour = (np.asarray(t_s) / 3600 + lon / 15) % 24
    afternoon = np.cos(2 * np.pi * (solar_hour - 15) / 24)

    def swing(name: str, period_s: float) -> np.ndarray:
        return smooth(stream(seed, "weather", name), here_s, period_s)

    cloud = np.clip(0.35 + 0.3 * swing("cloud", 18 * 3600) + 0.1 * swing("clouds", 5400) + 1.2 * near, 0, 1)
    cloud = np.maximum(cloud, 0.95 * np.minimum(1, 5 * rain_mm))  # no rain from a clear sky
    clear = 1 - 0.65 * cloud
    temperature_c = (
        13.5
        + 10.5 * summer
        + 2.2 * swing("air mass", 5 * _DAY_S)
        + (4.0 + 1.8 * summer) * clear * afternoon
        - 2.0 * near
        + 0.15 * swing("air", 1800)
    )
    humidity_pct = np.clip(
        70 - 7 * summer - 14 * clear * afternoon + 24 * near + 6 * (rain_mm > 0) + 4 * swing("humidity", 10 * 3600),
        18,
        100,
    )
    gusts = np.exp(0.45 * swing("wind", 3 * 3600) + 0.2 * swing("gusts", 600))
    turn = 80 * swing("direction", 9 * 3600) + 15 * swing("eddies", 600) + 120 * near
    solar_w_m2 = _clear_sky_w_m2(lat, year, solar_hour) * (1 - 0.75 * cloud**3.4)  # Kasten and Czeplak, 1980
    return Weather(
        temperature_c, humidity_pct, rain_mm, cloud, 1.3 * gusts * (1 + 1.6 * near), (70 + turn) % 360, solar_w_m2
    )


def rain_memory(seed: int, lon: float, lat: float, t_s: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What the rain of the past hours left behind [n]: sum of ``kernel[k]`` times the rain (mm) that fell k to k + 1
    full hours before, interpolated in time. ``kernel`` [hours] is a unit response, such as that of a river."""
    t_s = np.asarray(t_s, np.int64)
    if not len(t_s):
        return np.zeros(0)
    first, last = t_s[0] // 3600, t_s[-1] // 3600 + 1
    hours = np.arange(first - len(kernel), last)
    hourly_mm = sum(_rain(seed, _front_time(lon, lat, 3600 * hours + 600 * k)) for k in range(6))
    marks = np.arange(first, last + 1)
    memory = sum(kernel[k] * hourly_mm[len(kernel) - 1 - k : len(hours) - k] for k in range(len(kernel)))
    return np.interp(t_s, 3600 * marks, memory)


def _front_time(lon: float, lat: float, t_s: np.ndarray) -> np.ndarray:
    """Time as the fronts see it: a place further east has the same weather later."""
    east_m = 111_195 * np.cos(np.radians(lat)) * lon
    return np.asarray(t_s, np.float64) - east_m / _FRONT_SPEED_M_S


def _front(seed: int, here_s: np.ndarray, widened: float) -> np.ndarray:
    """How much a front is overhead, 0..1."""
    name, total = stream(seed, "fronts"), np.zeros(len(here_s))
    span = np.floor(here_s / _FRONT_SPACING_S).astype(np.int64)
    for neighbour in (span - 1, span, span + 1):
        odds, place, length, strength = (uniform(name, 4 * neighbour + k) for k in range(4))
        autumn = np.cos(2 * np.pi * (neighbour * _FRONT_SPACING_S / _DAY_S % 365.2425 - 315) / 365)
        centre_s = (neighbour + 0.25 + 0.5 * place) * _FRONT_SPACING_S
        half_s = widened * (4 + 9 * length) * 3600  # at most 23.4 h: never beyond the neighbouring spans
        shape = np.maximum(0, 1 - ((here_s - centre_s) / half_s) ** 2) ** 2
        total += np.where(odds < 0.4 + 0.15 * autumn, (0.35 + 0.65 * strength) * shape, 0)
    return np.minimum(total, 1)


def _rain(seed: int, here_s: np.ndarray) -> np.ndarray:
    """Rain in mm per 10 minutes: showers under the front, none elsewhere."""
    showers = smooth(stream(seed, "showers"), here_s, 3600) + 0.6 * smooth(stream(seed, "bursts"), here_s, 900)
    return np.maximum(0, _front(seed, here_s, 1.0) * np.exp(0.7 * showers) - 0.3) * 0.7


def _clear_sky_w_m2(lat: float, year: np.ndarray, solar_hour: np.ndarray) -> np.ndarray:
    """Global irradiance under a clear sky (Haurwitz, 1945)."""
    declination = -np.radians(23.44) * np.cos(year + 2 * np.pi * 10 / 365)
    latitude, hour_angle = np.radians(lat), np.pi * (solar_hour - 12) / 12
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    up = np.maximum(sine, 1e-3)
    return np.where(sine > 1e-3, 1098 * up * np.exp(-0.057 / up), 0)
