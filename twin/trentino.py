"""Loaders for the published files of the Province of Trento, in their original formats (Barlacchi et al., Scientific
Data 2, 150055, 2015; APPA, the province's agency for the environment).

Bad rows are counted and reported with their line, never silently dropped. Every loader raises OSError, and
FileFormatError for a file that is something else altogether. The grid is read by ``twin.milan.load_grid``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from twin.load_report import (
    BadRow,
    FileFormatError,
    LoadReport,
    Series,
    SeriesTable,
    collect,
    columns,
    epoch_s,
    number,
    quoted_columns,
    read_features,
    read_lines,
    whole,
)

TRENTINO_SQUARES = 11_466  # squares of the Trentino grid: 117 x 98
_MOST = 10**9


@dataclass(frozen=True, eq=False)
class LineSites:
    """Which distribution line feeds how many customer sites of which square: arrays [n] of equal length."""

    square_id: np.ndarray
    line_id: tuple[str, ...]
    sites: np.ndarray


def load_lines(path: str | Path) -> tuple[LineSites, LoadReport]:
    """Load SET's lines (``line.csv``: header, then square id, line id, number of customer sites)."""
    report, found = LoadReport(str(path)), {}

    def take(text: str) -> None:
        square, line, sites = columns(text, ",", 3)
        key = whole(square, "square id", 1, TRENTINO_SQUARES), line
        if not line or key in found:
            raise BadRow(f"line {line!r} in square {square} is empty or comes a second time")
        found[key] = whole(sites, "number of customer sites", 0, _MOST)

    collect(report, _below_header(Path(path), "utf-8-sig", "SQUAREID,LINESET,NR_UBICAZIONI"), take)
    squares = np.array([square for square, _ in found], np.int64)
    return LineSites(squares, tuple(line for _, line in found), np.array(list(found.values()), np.int64)), report


def load_line_currents(path: str | Path) -> tuple[dict[str, Series], LoadReport]:
    """Load SET's measurements (``SET-nov-2013.csv``, no header: line id, local time as 2013-11-01 00:00, current in
    ampere; separated by tabs or commas): current by line id."""
    report, table, delimiter = LoadReport(str(path)), SeriesTable(), ""

    def take(text: str) -> None:
        nonlocal delimiter
        delimiter = delimiter or ("\t" if "\t" in text else ",")  # as in the first row
        line, time, current = columns(text, delimiter, 3)
        if not line:
            raise BadRow("line id is empty")
        table.add(line, epoch_s(time, "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"), number(current, "current"))

    collect(report, read_lines(Path(path), "utf-8-sig"), take)
    return table.series(), report


@dataclass(frozen=True, eq=False)
class WeatherStation:
    """A station of Meteotrentino and its quarter-hourly measurements; WGS84 degrees, metres above the sea. ``wind``
    holds speeds in m/s, ``wind_direction`` degrees, ``precipitation`` mm per 15 minutes, ``temperature`` degrees
    Celsius."""

    lon: float
    lat: float
    elevation_m: float
    temperature: Series
    precipitation: Series
    wind: Series
    wind_direction: Series


def load_weather(path: str | Path) -> tuple[dict[str, WeatherStation], LoadReport]:
    """Load Meteotrentino's station data (JSON with a list ``features``, one per station and day: ``station``,
    ``geomPoint.geom``, ``elevation``, ``date``, and for every quarter of an hour HHMM ``temperatures.HHMM``,
    ``precipitations.HHMM`` and ``winds.HHMM`` as speed@direction): stations by name.

    Absent, null and empty values are missing. A bad value is reported and the rest of its feature kept, so that
    ``bad_rows`` counts values here. Daily extremes and totals of the file are not read: they follow from the rest.
    """
    report, table, places = LoadReport(str(path)), SeriesTable(), {}
    for line, feature in read_features(Path(path)):
        report.rows += 1
        try:
            name, day = feature.get("station"), feature.get("date")
            if not isinstance(name, str) or not name or not isinstance(day, str):
                raise BadRow(f"station {name!r} and date {day!r} must be texts")
            place = _place(feature)
            if places.setdefault(name, place) != place:
                raise BadRow(f"station {name} has moved from {places[name]} to {place}")
            epoch_s(day, "%Y-%m-%d")
        except BadRow as error:
            report.refuse(line, str(error))
            continue
        for key, value in feature.items():
            try:
                _take_quarter(table, name, day, key, value)
            except BadRow as error:
                report.refuse(line, f"{key}: {error}")
    series, none = table.series(), Series(np.zeros(0, np.int64), np.zeros(0))
    kinds = ("temperatures", "precipitations", "winds", "directions")
    stations = {
        name: WeatherStation(*place, *(series.get((name, kind), none) for kind in kinds))
        for name, place in places.items()
    }
    return stations, report


def _place(feature: dict) -> tuple[float, float, float]:
    try:
        lon, lat = feature["geomPoint.geom"]["coordinates"][:2]
        place = float(lon), float(lat), float(feature["elevation"])
    except (KeyError, TypeError, ValueError):
        raise BadRow("geomPoint.geom with coordinates [lon, lat] and elevation are expected") from None
    if not (abs(place[0]) <= 180 and abs(place[1]) <= 90 and abs(place[2]) < 9000):
        raise BadRow(f"lon, lat, elevation {place} is no place on Earth")
    return place


def _take_quarter(table: SeriesTable, name: str, day: str, key: str, value: object) -> None:
    kind, _, quarter = key.partition(".")
    if kind not in ("temperatures", "precipitations", "winds") or value in (None, "") or value != value:
        return
    t_s = epoch_s(f"{day} {quarter}", "%Y-%m-%d %H%M")
    if kind == "temperatures":
        table.add((name, kind), t_s, number(str(value), "temperature", -60, 60))
    elif kind == "precipitations":
        table.add((name, kind), t_s, number(str(value), "precipitation", 0, 200))
    else:
        speed, direction = columns(str(value), "@", 2)
        speed, direction = number(speed, "wind speed", 0, 150), number(direction, "wind direction", 0, 360)
        table.add((name, "winds"), t_s, speed)
        table.add((name, "directions"), t_s, direction)


_UNITS = {"µg/mc": "ug/m3", "mg/mc": "mg/m3"}


@dataclass(frozen=True, eq=False)
class Pollutant:
    """Hourly concentrations of one pollutant at one station, in ``unit``; t_s is the start of the hour."""

    unit: str
    series: Series


def load_air_quality(path: str | Path) -> tuple[dict[tuple[str, str], Pollutant], LoadReport]:
    """Load APPA's hourly air quality (CSV, Latin-1, header: station, pollutant, date, hour 1 to 24 of local time,
    value, unit): concentrations by (station, pollutant). Hour h is the one that ends at h o'clock; "n.d." (not
    available) is a bad row."""
    report, table, units = LoadReport(str(path)), SeriesTable(), {}

    def take(text: str) -> None:
        station, pollutant, day, hour, value, unit = quoted_columns(text, (6,))
        if unit not in _UNITS or units.setdefault((station, pollutant), _UNITS[unit]) != _UNITS[unit]:
            raise BadRow(f"unit {unit!r} is unknown or differs from the rows before; known: {', '.join(_UNITS)}")
        start_s = epoch_s(day, "%Y-%m-%d") + 3600 * (whole(hour, "hour", 1, 24) - 1)
        table.add((station, pollutant), start_s, number(value, "value"))

    header = 'Stazione,Inquinante,Data,Ora,Valore,"Unità di misura"'
    collect(report, _below_header(Path(path), "latin-1", header), take)
    return {key: Pollutant(units[key], series) for key, series in table.series().items()}, report


_ENERGY_HEADER = (
    "cellId,day,fascia_giorno,UBIC_CELL,n_linee,energy,temp_min,temp_max,temp_mean,tweet_count,precip_mm,"
    "NOV,DEC,LU,MA,ME,GI,VE,SA,DO,TargetReg"
)


@dataclass(frozen=True, eq=False)
class EnergyWeather:
    """Energy and weather per square, day and part of the day: arrays [n] of equal length. ``date`` is datetime64[D],
    ``part`` is 1 (day) or 0 (night); temperatures are degrees Celsius, NaN = missing; ``energy`` and ``target`` have
    the units of the file; ``sites`` and ``lines`` count customer sites and distribution lines of the square."""

    square_id: np.ndarray
    date: np.ndarray
    part: np.ndarray
    sites: np.ndarray
    lines: np.ndarray
    energy: np.ndarray
    temp_min_c: np.ndarray
    temp_max_c: np.ndarray
    temp_mean_c: np.ndarray
    tweets: np.ndarray
    precipitation_mm: np.ndarray
    target: np.ndarray


def load_energy_weather(path: str | Path) -> tuple[EnergyWeather, LoadReport]:
    """Load the table of energy and weather of November and December 2013 (CSV with header). Rows whose three
    temperatures are all 0.0 have missing temperatures; they are good rows with NaN."""
    report, found = LoadReport(str(path)), {}

    def take(text: str) -> None:
        cell, day, part, sites, lines, *rest = columns(text, ",", 21)
        energy, low, high, mean, tweets, rain = rest[:6]
        key = (
            whole(cell, "cellId", 1, TRENTINO_SQUARES),
            _date(whole(day, "day", 1, 31), rest[6:8], rest[8:15]),
            whole(part, "fascia_giorno", 0, 1),
        )
        temperatures = [number(text, "temperature", -60, 60) for text in (low, high, mean)]
        if temperatures == [0, 0, 0]:
            temperatures = [np.nan] * 3
        elif not temperatures[0] <= temperatures[2] <= temperatures[1]:
            raise BadRow(f"temperatures min {low}, max {high}, mean {mean} contradict each other")
        values = (
            *(whole(sites, "UBIC_CELL", 0, _MOST), whole(lines, "n_linee", 0, _MOST), number(energy, "energy", 0)),
            *temperatures,
            *(whole(tweets, "tweet_count", 0, _MOST), number(rain, "precip_mm", 0), number(rest[15], "TargetReg", 0)),
        )
        if key in found:
            raise BadRow(f"square {key[0]}, {key[1]}, part {key[2]} comes a second time")
        found[key] = values

    collect(report, _below_header(Path(path), "utf-8-sig", _ENERGY_HEADER), take)
    squares, dates, parts = zip(*found, strict=True) if found else ((), (), ())
    values = np.array(list(found.values()), np.float64).reshape(len(found), 9).T
    counts = (0, 1, 6)
    return EnergyWeather(
        np.array(squares, np.int64),
        np.array(dates, "datetime64[D]"),
        np.array(parts, np.int64),
        *(row.astype(np.int64) if i in counts else row.copy() for i, row in enumerate(values)),
    ), report


def _date(day: int, months: list[str], weekdays: list[str]) -> date:
    """The date that the one-hot columns NOV, DEC and LU to DO (Monday to Sunday) say, if they agree."""
    for flags in (months, weekdays):
        if sorted(flags) != ["0"] * (len(flags) - 1) + ["1"]:
            raise BadRow(f"exactly one of {len(flags)} flags must be 1 and the others 0, not {','.join(flags)}")
    try:
        found = date(2013, 11 + months.index("1"), day)
    except ValueError:
        raise BadRow(f"day {day} does not exist in November 2013") from None
    if found.weekday() != weekdays.index("1"):
        raise BadRow(f"{found} is not the weekday that LU to DO say")
    return found


def _below_header(path: Path, encoding: str, header: str) -> Iterator[tuple[int, str]]:
    """The lines below a header, which must be there. Raises FileFormatError."""
    rows = read_lines(path, encoding)
    if next(rows, (0, ""))[1] != header:
        raise FileFormatError(f"{path}: the first line must be the header {header}")
    return rows
