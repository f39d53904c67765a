"""Loaders of the published Trentino files: known small files, bad rows with their lines, and the real ones."""

import json

import numpy as np
import pytest

from twin.load_report import FileFormatError
from twin.trentino import (
    load_air_quality,
    load_energy_weather,
    load_line_currents,
    load_lines,
    load_weather,
)

FIRST_S = 1383260400  # 1 November 2013, 00:00 local time


def write(tmp_path, text, encoding="utf-8"):
    (tmp_path / "file").write_bytes(text.encode(encoding))
    return tmp_path / "file"


def bad_lines(report):
    assert report.bad_rows == len(report.bad)
    return [line for line, _ in report.bad]


LINES = "SQUAREID,LINESET,NR_UBICAZIONI\r\n"


def test_lines_load(tmp_path):
    lines, report = load_lines(write(tmp_path, LINES + "155,DG1031221,4\r\n155,DG2,72\r\n38,DG2,0\r\n"))
    assert lines.square_id.tolist() == [155, 155, 38] and lines.line_id == ("DG1031221", "DG2", "DG2")
    assert lines.sites.tolist() == [4, 72, 0] and (report.rows, report.bad_rows) == (3, 0)


def test_bad_lines_are_named(tmp_path):
    text = LINES + "1,A,4\n0,A,4\n11467,A,4\n2,A\n2,,4\n1,A,5\n2,A,-1\n2,A,4.5\n2,A,\n2,A,{}\n3,B,1\n".format(
        "9" * 5000
    )
    lines, report = load_lines(write(tmp_path, text))
    assert lines.sites.tolist() == [4, 1] and report.rows == 11 and bad_lines(report) == list(range(3, 12))


def test_a_byte_order_mark_does_not_matter(tmp_path):
    assert load_lines(write(tmp_path, "\ufeff" + LINES + "1,A,4\n"))[1].rows == 1


@pytest.mark.parametrize("load", [load_lines, load_air_quality, load_energy_weather])
@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n", b"\xff\xfe\x00", b"\n"])
def test_a_file_without_its_header_is_refused(tmp_path, load, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileFormatError, match="header"):
        load(tmp_path / "file")


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_line_currents_load_from_both_separators(tmp_path, delimiter):
    rows = [
        ("DG1", "2013-11-01 00:10", "37.439999"),
        ("DG2", "2013-11-01 00:00", "0"),
        ("DG1", "2013-11-01 00:00:00", "36"),
    ]
    series, report = load_line_currents(write(tmp_path, "".join(delimiter.join(row) + "\n" for row in rows)))
    assert series["DG1"].t_s.tolist() == [FIRST_S, FIRST_S + 600] and series["DG1"].values.tolist() == [36, 37.439999]
    assert series["DG2"].values.tolist() == [0] and (report.rows, report.bad_rows) == (3, 0)


def test_bad_currents_are_named(tmp_path):
    text = (
        "A,2013-11-01 00:00,1\nA,2013-11-01 00:00,2\nA,2013-11-01,2\nA,2013-11-01 00:10,x\n,2013-11-01 00:10,1\nA\t1\n"
    )
    series, report = load_line_currents(write(tmp_path, text))
    assert series["A"].values.tolist() == [1] and report.rows == 6 and bad_lines(report) == [2, 3, 4, 5, 6]


def station(day="2013-11-09", **parts):
    return {
        "station": "T0408",
        "geomPoint.geom": {"type": "Point", "coordinates": [11.1, 46.07]},
        "elevation": 194,
        "date": day,
        "timestamp": 1383951600,
        "minTemperature": 1.5,
        "maxTemperature": 9,
        "precipitation": 0.4,
    } | parts


def write_weather(tmp_path, *features):
    return write(tmp_path, json.dumps({"features": features}))


def test_weather_loads_by_quarter_of_an_hour(tmp_path):
    first = station(
        **{"temperatures.0000": 3.5, "temperatures.0015": None, "temperatures.2345": "4.5", "winds.0000": "1.2@350"}
    )
    second = station("2013-11-10", **{"temperatures.0000": 5, "precipitations.0030": 0.2, "precipitations.0045": ""})
    stations, report = load_weather(write_weather(tmp_path, second, first))
    made, midnight = stations["T0408"], 1383951600
    assert (made.lon, made.lat, made.elevation_m) == (11.1, 46.07, 194)
    assert made.temperature.t_s.tolist() == [midnight, midnight + 85_500, midnight + 86_400]
    assert made.temperature.values.tolist() == [3.5, 4.5, 5]
    assert made.precipitation.t_s.tolist() == [midnight + 86_400 + 1800] and made.precipitation.values.tolist() == [0.2]
    assert made.wind.values.tolist() == [1.2] and made.wind_direction.values.tolist() == [350]
    assert (report.rows, report.bad_rows) == (2, 0)


def test_bad_weather_is_named_and_the_rest_kept(tmp_path):
    stations, report = load_weather(
        write_weather(
            tmp_path,
            station(
                **{"temperatures.0000": 3.5, "temperatures.0015": "warm", "temperatures.0030": 99, "winds.0000": "5"}
            ),
            station(
                **{"temperatures.0000": 4.0, "temperatures.2460": 1, "precipitations.0000": -1, "winds.0015": "1@400"}
            ),
            station(station=None),
            station(date="9/11/2013"),
            station(elevation="high"),
            station(**{"geomPoint.geom": None}),
            station(**{"geomPoint.geom": {"coordinates": [200, 46]}}),
            station("2013-11-10", elevation=300),
        )
    )
    assert list(stations) == ["T0408"] and stations["T0408"].temperature.values.tolist() == [3.5]
    assert stations["T0408"].wind.values.tolist() == []
    assert report.rows == 8 and bad_lines(report) == [1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8]
    assert report.bad[0][1].startswith("temperatures.0015: temperature 'warm'") and "moved" in report.bad[-1][1]


AIR = 'Stazione,Inquinante,Data,Ora,Valore,"Unità di misura"\n'


def test_air_quality_loads_from_latin1(tmp_path):
    rows = (
        '"Parco S. Chiara",PM10,2013-11-01,1,23,µg/mc\n"Parco S. Chiara",PM10,2013-11-01,24,25,µg/mc\n'
        "Via,CO,2013-11-02,1,0.7,mg/mc\n"
    )
    text = AIR + rows
    pollutants, report = load_air_quality(write(tmp_path, text, "latin-1"))
    park = pollutants["Parco S. Chiara", "PM10"]
    assert park.unit == "ug/m3" and park.series.t_s.tolist() == [FIRST_S, FIRST_S + 23 * 3600]
    assert pollutants["Via", "CO"].unit == "mg/m3" and pollutants["Via", "CO"].series.t_s.tolist() == [FIRST_S + 86_400]
    assert (report.rows, report.bad_rows) == (3, 0)


def test_bad_air_quality_is_named(tmp_path):
    good = "A,PM10,2013-11-01,1,23,µg/mc\n"
    rows = [
        "A,PM10,2013-11-01,0,1,µg/mc",
        "A,PM10,2013-11-01,25,1,µg/mc",
        "A,PM10,2013-11-01,2,n.d.,µg/mc",
        good.strip(),
        "A,PM10,2013-11-01,2,1,mg/mc",
        "B,PM10,2013-11-01,2,1,ppm",
        "A,PM10,2013-11-01,2,1",
        "A,PM10,2013-13-01,2,1,µg/mc",
        '"A,PM10,2013-11-01,2,1,µg/mc',
    ]
    pollutants, report = load_air_quality(write(tmp_path, AIR + good + "\n".join(rows), "latin-1"))
    assert pollutants["A", "PM10"].series.values.tolist() == [23] and len(pollutants) == 1
    assert report.rows == 10 and bad_lines(report) == list(range(3, 12))


ENERGY = (
    "cellId,day,fascia_giorno,UBIC_CELL,n_linee,energy,temp_min,temp_max,temp_mean,tweet_count,precip_mm,"
    "NOV,DEC,LU,MA,ME,GI,VE,SA,DO,TargetReg\n"
)
FRIDAY = "4030,1,1,10,1,0.34,11.9,17.5,15.6,3,0.6,1,0,0,0,0,0,1,0,0,0.35\n"  # 1 November 2013


def test_energy_weather_loads_and_zero_temperatures_are_missing(tmp_path):
    night = FRIDAY.replace("4030,1,1", "4030,1,0").replace("11.9,17.5,15.6", "0.0,0.0,0.0")
    frost = "4030,1,1,10,1,0.34,-2.0,0.0,-1.0,3,0.6,0,1,0,0,0,0,0,0,1,0.35\n"  # 1 December 2013, a Sunday
    table, report = load_energy_weather(write(tmp_path, ENERGY + FRIDAY + night + frost))
    assert (report.rows, report.bad_rows) == (3, 0)
    assert table.date.astype(str).tolist() == ["2013-11-01", "2013-11-01", "2013-12-01"] and table.part.tolist() == [
        1,
        0,
        1,
    ]
    assert np.isnan(table.temp_min_c).tolist() == np.isnan(table.temp_max_c).tolist() == [False, True, False]
    assert table.temp_mean_c[[0, 2]].tolist() == [15.6, -1.0] and table.temp_max_c[2] == 0
    assert (
        table.square_id.tolist() == [4030] * 3 and table.sites.tolist() == [10] * 3 and table.lines.tolist() == [1] * 3
    )
    assert table.energy[0] == 0.34 and table.target[0] == 0.35
    assert table.tweets.dtype == np.int64 and table.tweets[0] == 3 and table.precipitation_mm[0] == 0.6


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("4030,1,1", "0,1,1", "cellId"),
        ("4030,1,1", "4030,31,1", "day 31 does not exist"),
        ("4030,1,1", "4030,1,2", "fascia_giorno"),
        ("4030,1,1", "4030,2,1", "weekday"),
        ("10,1,0.34", "x,1,0.34", "UBIC_CELL"),
        ("0.34,", "-1,", "energy"),
        ("11.9,17.5", "17.5,11.9", "contradict"),
        ("11.9,17.5", "11.9,", "temperature ''"),
        ("3,0.6", "3.5,0.6", "tweet_count"),
        ("3,0.6", "3,-0.6", "precip_mm"),
        ("0.6,1,0", "0.6,1,1", "flags"),
        ("0.6,1,0", "0.6,0,0", "flags"),
        ("1,0,0,0.35", "1,1,0,0.35", "flags"),
        (",0.35", "", "20 columns"),
        ("0.35", "0.35,9", "22 columns"),
        ("", "", "second time"),
    ],
)
def test_a_bad_row_of_energy_weather_is_named(tmp_path, old, new, reason):
    table, report = load_energy_weather(write(tmp_path, ENERGY + FRIDAY + FRIDAY.replace(old, new, 1)))
    assert len(table.energy) == 1 and report.rows == 2
    assert bad_lines(report) == [3] and reason in report.bad[0][1]


def test_tables_without_rows_are_empty(tmp_path):
    assert len(load_energy_weather(write(tmp_path, ENERGY))[0].energy) == 0
    assert len(load_lines(write(tmp_path, LINES))[0].sites) == 0
    assert load_air_quality(write(tmp_path, AIR, "latin-1"))[0] == {}
    assert load_line_currents(write(tmp_path, ""))[0] == {}
    assert load_weather(write_weather(tmp_path))[0] == {}


def test_the_real_lines_load_whole(real_data):
    lines, report = load_lines(real_data("trentino/line.csv"))
    assert (report.rows, report.bad_rows, len(lines.sites)) == (2575, 0, 2575)
    assert lines.square_id[0] == 155 and lines.line_id[0] == "DG1031221" and lines.sites[1] == 72


def test_the_real_air_quality_loads_but_for_one_value(real_data):
    pollutants, report = load_air_quality(real_data("trentino/APPA_air_quality_2013-11_12.csv"))
    assert report.rows == 23_125 and report.bad == [(10_377, "value 'n.d.' is not a number")]
    assert len(pollutants) == 16 and sum(len(p.series.t_s) for p in pollutants.values()) == 23_124
    assert pollutants["Parco S. Chiara", "PM10"].series.values[:3].tolist() == [23, 25, 23]
    assert pollutants["Via Bolzano", "Ossido di Carbonio"].unit == "mg/m3"


def test_the_real_energy_weather_loads_whole(real_data):
    table, report = load_energy_weather(real_data("trentino/energy_weather_trento_2013-11_12.csv"))
    assert (report.rows, report.bad_rows) == (17_638, 0)
    assert len(set(table.square_id.tolist())) == 147 and str(table.date.max()) == "2013-12-30"
    assert np.isnan(table.temp_mean_c).sum() == 8_819 and (np.isnan(table.temp_mean_c) == (table.part == 0)).all()
    assert table.energy.max() == pytest.approx(241.08, abs=0.01)
