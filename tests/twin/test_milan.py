"""Loaders of the published Milan files: known small files, bad rows with their lines, and the real ones."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twin.milan
from twin.history_file import load_history_file, save_history_file
from twin.load_report import KEPT, FileFormatError, LoadReport
from twin.milan import (
    ACTIVITIES,
    activity_history,
    load_activity,
    load_grid,
    load_legend,
    load_measurements,
)
from twin.milan_grid import square_centre
from twin.scenario import distance_m

FIRST_S = 1383260400  # 1 November 2013, 00:00 local time


def row(square=1, slot=0, country=39, values=("", "", "", "", "1")):
    return "\t".join([str(square), str(1000 * (FIRST_S + 600 * slot)), str(country), *map(str, values)])


def write(tmp_path, *rows, name="a.tsv", end="\n"):
    (tmp_path / name).write_bytes(end.join([*rows, ""]).encode())
    return tmp_path / name


def test_activity_is_summed_over_country_codes(tmp_path):
    path = write(
        tmp_path,
        row(1, 0, 0, (0.5, "", "", "", 1.25)),
        row(1, 0, 39, (0.25, 3, "", "", 2)),
        row(1, 2, 39, ("", "", 7, "", "")),
        row(3, 1, 49, ("", "", "", 0, 4)),
    )
    activity, (report,) = load_activity([path], ACTIVITIES, squares=[3, 1, 2])
    nan = math.nan
    assert activity.epoch_s.tolist() == [FIRST_S, FIRST_S + 600, FIRST_S + 1200]
    assert activity.square_id.tolist() == [1, 2, 3] and activity.names == ACTIVITIES
    expected = np.full((3, 3, 5), nan)
    expected[0, 0] = [0.75, 3, nan, nan, 3.25]
    expected[2, 0] = [nan, nan, 7, nan, nan]
    expected[1, 2] = [nan, nan, nan, 0, 4]
    np.testing.assert_array_equal(activity.values, expected)
    assert (report.rows, report.bad_rows) == (4, 0)


def test_files_of_several_days_join_with_gaps_missing(tmp_path):
    first = write(tmp_path, row(5, 143), name="a.tsv")
    third = write(tmp_path, row(5, 288, values=("", "", "", "", 9)), row(5, 143), name="b.tsv")
    activity, reports = load_activity([third, first], squares=[5])
    assert [r.file for r in reports] == [str(third), str(first)]
    assert activity.epoch_s[0] == FIRST_S + 143 * 600 and len(activity.epoch_s) == 146
    values = activity.values[:, 0, 0]
    assert values[0] == 2 and values[-1] == 9 and np.isnan(values[1:-1]).all()


def test_bad_rows_are_counted_and_named_by_line(tmp_path):
    path = write(
        tmp_path,
        row(),
        "hello",
        row(0),
        "",
        row(10_001),
        row("1.5"),
        row(values=("", "", "", "", "-1")),
        row(values=("", "", "", "", "1.2.3")),
        row(values=("", "", "", "", "nan")),
        row(values=("", "", "", "", "1e999")),
        row(values=("", "", "", "")),
        row(values=("", "", "", "", "1", "")),
        row(country=""),
        row(country="-1"),
        row(slot=0.5),
        row(slot=-1),
        row(slot=144 * 62),
        row(values=("", "", "", "", "4_2")),
        row(values=("", "", "", "", "4é")),
        row(slot=144 * 62 - 1),
    )
    activity, (report,) = load_activity([path], squares=[1])
    assert report.rows == 19 and report.bad_rows == 17
    assert [line for line, _ in report.bad] == [2, 3, *range(5, 20)]
    reasons = dict(report.bad)
    assert "1 columns" in reasons[2] and "square id" in reasons[3] and "square id" in reasons[6]
    assert "negative" in reasons[7] and "'1.2.3'" in reasons[8] and "'nan'" in reasons[9] and "'1e999'" in reasons[10]
    assert "7 columns" in reasons[11] and "9 columns" in reasons[12] and "country" in reasons[13]
    assert all("slot start" in reasons[line] for line in (15, 16, 17))
    assert np.nansum(activity.values) == 2
    assert "line 2: 1 columns" in str(report)


def test_only_the_first_bad_rows_are_named_but_all_are_counted(tmp_path):
    path = write(tmp_path, *["x"] * (KEPT + 50), row())
    _, (report,) = load_activity([path], squares=[1])
    assert (report.rows, report.bad_rows, len(report.bad)) == (KEPT + 51, KEPT + 50, KEPT)
    assert "and 50 more" in str(report)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [70, 100, 1000])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, end, block):
    rows = [row(1 + i % 7, i % 11, i % 3, ("", i, "", "", i / 7)) if i % 10 else f"bad {i}" for i in range(100)]
    path = write(tmp_path, *rows, end=end)
    path.write_bytes(path.read_bytes().rstrip())  # a last line without end counts too
    whole, (report,) = load_activity([path], ACTIVITIES, range(1, 8))
    monkeypatch.setattr(twin.milan, "_BLOCK_BYTES", block)
    parts, (again,) = load_activity([path], ACTIVITIES, range(1, 8))
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)
    assert (
        (again.rows, again.bad)
        == (report.rows, report.bad)
        == (100, [(i + 1, "1 columns, 8 are expected") for i in range(0, 100, 10)])
    )


FIELD = st.one_of(
    st.sampled_from(
        ["", "1", "39", "0.5", "1e3", "-1", "+2", "nan", "inf", "1.2.3", "e", ".", "-", "1e", "0x1", " 1", "١"]
    ),
    st.floats(0, 1e6).map(repr),
    st.text("0123456789.eE+-", max_size=6),
)
ROW = st.lists(FIELD, min_size=7, max_size=9).map("\t".join) | st.lists(FIELD, min_size=5, max_size=5).map(
    lambda v: row(values=v)
)


@given(st.lists(ROW, max_size=5))
@settings(deadline=None, max_examples=60)
def test_rows_parsed_together_or_one_by_one_give_the_same(tmp_path_factory, rows):
    """A whole file against its rows in files of their own, which hold nothing else that could sway the parser."""
    folder = tmp_path_factory.mktemp("m")
    squares = range(1, 50)
    together, (report,) = load_activity([write(folder, *rows)], ACTIVITIES, squares)
    total, bad = {}, []
    for number, text in enumerate(rows, 1):
        one, (own,) = load_activity([write(folder, text, name="one.tsv")], ACTIVITIES, squares)
        bad += [(number, reason) for _, reason in own.bad]
        for t, s, k in np.argwhere(~np.isnan(one.values)):
            key = int(one.epoch_s[t]), int(s), int(k)
            total[key] = total.get(key, 0) + one.values[t, s, k]
    assert report.bad == bad and report.rows == len(rows)
    found = {
        (int(together.epoch_s[t]), int(s), int(k)): together.values[t, s, k]
        for t, s, k in np.argwhere(~np.isnan(together.values))
    }
    assert found == pytest.approx(total)


def test_a_file_of_another_kind_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(twin.milan, "_BLOCK_BYTES", 1000)
    (tmp_path / "x").write_bytes(b"x" * 5000)
    with pytest.raises(FileFormatError, match="longer than"):
        load_activity([tmp_path / "x"])
    with pytest.raises(FileNotFoundError):
        load_activity([tmp_path / "none"])


def test_an_empty_file_has_no_activity(tmp_path):
    activity, (report,) = load_activity([write(tmp_path)], squares=[1])
    assert activity.values.shape == (0, 1, 1) and len(activity.epoch_s) == 0 and report.rows == 0


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'fax'"):
        load_activity([], names=["fax"])
    for squares in ([], [0], [10_001]):
        with pytest.raises(ValueError, match="squares"):
            load_activity([], squares=squares)


def test_activity_becomes_a_history_file(tmp_path):
    path = write(tmp_path, row(4142, 0), row(4143, 1, values=("", "", "", "", 2.5)))
    activity, _ = load_activity([path], squares=[4142, 4143])
    save_history_file(activity_history(activity), tmp_path / "h.npz")
    history = load_history_file(tmp_path / "h.npz")
    np.testing.assert_array_equal(history.traffic, [[1, np.nan], [np.nan, 2.5]])
    assert (history.lon[1], history.lat[1]) == square_centre(4143)


def test_the_real_sample_loads_whole(real_data):
    path = real_data("milan/sms-call-internet-mi-2013-11-01.sample.tsv")
    activity, (report,) = load_activity([path], ACTIVITIES)
    assert report.rows == sum(1 for _ in open(path)) and report.bad_rows == 0
    # A second implementation, row by row.
    total = np.zeros(5)
    for line in open(path):
        total += [float(part) if part else 0 for part in line.rstrip("\n").split("\t")[3:]]
    np.testing.assert_allclose(np.nansum(activity.values, axis=(0, 1)), total, rtol=1e-12)


def square_feature(square=1, lon=9.0, lat=45.0, size=0.003, **parts):
    ring = [[lon, lat], [lon + size, lat], [lon + size, lat + size], [lon, lat + size], [lon, lat]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"cellId": square},
    } | parts


def write_grid(tmp_path, *features):
    (tmp_path / "grid.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return tmp_path / "grid.geojson"


def test_grid_polygons_become_centroids(tmp_path):
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [3, 0], [0, 3], [0, 0]]]}
    lopsided = {
        "type": "Polygon",
        "coordinates": [[[0, 0], [1, 0], [2, 0], [2, 2], [0, 2], [0, 0]]],
    }  # a mean of corners errs
    grid, report = load_grid(
        write_grid(
            tmp_path, square_feature(7), square_feature(8, geometry=triangle), square_feature(9, geometry=lopsided)
        )
    )
    assert grid.square_id.tolist() == [7, 8, 9] and report.bad_rows == 0
    np.testing.assert_allclose(grid.lon, [9.0015, 1, 1])
    np.testing.assert_allclose(grid.lat, [45.0015, 1, 1])


def test_a_grid_as_published_is_the_milan_grid(tmp_path):
    size = 0.002
    squares = {i: square_centre(i) for i in (1, 5061, 10_000)}
    features = (square_feature(i, lon - size / 2, lat - size / 2, size) for i, (lon, lat) in squares.items())
    grid, _ = load_grid(write_grid(tmp_path, *features))
    assert grid.square_id.tolist() == list(squares)
    for lon, lat, centre in zip(grid.lon, grid.lat, squares.values(), strict=True):
        assert distance_m(lon, lat, *centre) < 0.1


def test_bad_features_are_counted_and_named(tmp_path):
    open_ring = {"type": "Polygon", "coordinates": [[[0, 0], [3, 0], [0, 3], [1, 1]]]}
    flat = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}
    grid, report = load_grid(
        write_grid(
            tmp_path,
            square_feature(1),
            square_feature("1"),
            square_feature(1),
            square_feature(2, geometry=None),
            square_feature(3, geometry=open_ring),
            square_feature(4, geometry=flat),
            square_feature(5, geometry={"type": "Point", "coordinates": [0, 0]}),
            square_feature(6, geometry={"type": "Polygon", "coordinates": []}),
            square_feature(7, properties=None),
            {},
        )
    )
    assert grid.square_id.tolist() == [1] and (report.rows, report.bad_rows) == (10, 9)
    assert [line for line, _ in report.bad] == list(range(2, 11))
    assert "second time" in report.bad[1][1] and "no area" in report.bad[4][1]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"features": 3}', '{"features": [3]}', "\xff", "[" * 100_000])
def test_a_grid_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "x").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError):
        load_grid(tmp_path / "x")


WEATHER_LEGEND = (
    "5911,Milano - via Brera,45.4716,9.1889,Wind Speed,m/s\n2001,Milano - Lambrate,45.4967,9.2575,Temperature,Cel\n"
)
AIR_LEGEND = '5504,"Milano, via Senato",45.4705,9.1971,Nitrogene Dioxide,\u00b5g/m\u00b3,YYYY/MM/DD HH24:MI\n'


def test_weather_and_air_quality_load_with_their_legends(tmp_path):
    (tmp_path / "legend.csv").write_text(WEATHER_LEGEND, "latin-1")
    (tmp_path / "air.csv").write_text(AIR_LEGEND, "latin-1")
    stations, report = load_legend(tmp_path / "legend.csv")
    assert list(stations) == ["5911", "2001"] and (report.rows, report.bad_rows) == (2, 0)
    assert (stations["2001"].lon, stations["2001"].lat, stations["2001"].kind) == (9.2575, 45.4967, "Temperature")
    air, _ = load_legend(tmp_path / "air.csv")
    assert air["5504"].street == "Milano, via Senato" and air["5504"].unit == "µg/m³"
    (tmp_path / "m.csv").write_text("2001,2013/11/01 01:00,11.5\n2001,2013/11/01 00:00,-2\n")
    (tmp_path / "d.csv").write_text("5504,2013/11/02,44\n")
    series, reports = load_measurements([tmp_path / "m.csv", tmp_path / "d.csv"], stations | air)
    assert series["2001"].t_s.tolist() == [FIRST_S, FIRST_S + 3600] and series["2001"].values.tolist() == [-2, 11.5]
    assert series["5504"].t_s.tolist() == [FIRST_S + 86_400]
    assert [r.rows for r in reports] == [2, 1] and [r.bad_rows for r in reports] == [0, 0]


def test_bad_measurements_and_legends_are_named(tmp_path):
    (tmp_path / "legend.csv").write_text(
        WEATHER_LEGEND + "5911,x,45,9,Wind,m/s\n,x,45,9,a,b\n3,x,91,9,a,b\n4,x\n5,x,a,9,a,b\n" + '6,"x,45,9,a,b\n'
    )
    stations, report = load_legend(tmp_path / "legend.csv")
    assert list(stations) == ["5911", "2001"] and [line for line, _ in report.bad] == [3, 4, 5, 6, 7, 8]
    (tmp_path / "m.csv").write_text(
        "2001,2013/11/01 01:00,1\n2001,2013/11/01 01:00,2\n9,2013/11/01 01:00,1\n2001,2013-11-01 01:00,1\n"
        "2001,2013/11/31 01:00,1\n2001,2013/11/01 02:00,n.d.\n2001,2013/11/01 02:00\n2001,2013/11/01 02:00,inf\n"
    )
    series, (report,) = load_measurements([tmp_path / "m.csv"], stations)
    assert series["2001"].values.tolist() == [1] and report.rows == 8
    assert [line for line, _ in report.bad] == list(range(2, 9))
    assert "second value" in report.bad[0][1] and "legend" in report.bad[1][1] and "time" in report.bad[2][1]


def test_a_report_reads_well():
    report = LoadReport("x.csv", rows=3)
    report.refuse(2, "it is bad")
    assert str(report) == "x.csv: 3 rows, 1 bad\n  line 2: it is bad"
