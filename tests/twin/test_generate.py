"""Generated scenarios of any size, the bundled one, and the Milan grid they stand on."""

from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.generate import make_scenario, type_counts
from twin.milan_districts import PLACES
from twin.milan_grid import SQUARE_M, square_at, square_centre
from twin.scenario import distance_m, load_scenario, scenario_from_json, scenario_to_json
from twin.sensor_types import sensor_types


def test_the_bundled_scenario_is_what_the_generator_makes():
    bundled = files("twin").joinpath("scenarios", "milan.json").read_text("utf-8")
    assert bundled == scenario_to_json(make_scenario())


def test_the_bundled_scenario_is_the_city_of_the_paper():
    s = load_scenario("milan")
    assert (len(s.cells), len(s.coordinators), len(s.ues), len(s.sensors)) == (10, 10, 10, 120)
    assert len({cell.district for cell in s.cells}) == 10 and {"Duomo", "Navigli", "San Siro"} <= set(s.district)
    assert s.start.strftime("%A %Y-%m-%d %H:%M %z") == "Monday 2013-11-18 12:00 +0100"
    counts = Counter(sensor.type for sensor in s.sensors)
    assert set(counts) == set(sensor_types()) and min(counts.values()) >= 3
    assert all(len(rows) == 12 for rows in s.sensors_of.values())
    for type_id in ("leakage_current", "precipitation", "humidity", "temperature"):
        assert len({x.cell for x in s.sensors if x.type == type_id}) >= 8
    wet = {place.name for place in PLACES if place.water}
    assert {x.district for x in s.sensors if x.type == "water_level"} == wet & set(s.district) and len(wet) >= 2
    assert [x.id for x in s.sensors[:2]] == ["s001", "s002"] and s.sensors[12].ipv4 == "10.66.2.1"
    assert all(x.mac.startswith("02:66:") for x in s.sensors)


def check(s):
    for cell in s.cells:
        assert cell.height_m == 25
        assert square_at(cell.lon, cell.lat) == cell.square_id
    assert len({cell.square_id for cell in s.cells}) == len(s.cells)
    for row in (*s.sensors, *s.ues):
        cell = s.cell[row.cell]
        assert 35 <= distance_m(row.lon, row.lat, cell.lon, cell.lat) <= 300
        assert 1.5 <= row.height_m <= 22.5  # TR 38.901 UMa
    for sensor in s.sensors:
        district = s.district[sensor.district]
        assert distance_m(sensor.lon, sensor.lat, district.lon, district.lat) <= district.radius_m
    sizes = [len(rows) for rows in s.sensors_of.values()]
    assert max(sizes) - min(sizes) <= 1


@given(cells=st.integers(1, 300), sensors=st.integers(0, 700), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_scenarios_of_any_size_are_sound(cells, sensors, seed):
    scenario = make_scenario(cells, sensors, seed)
    assert (len(scenario.cells), len(scenario.sensors)) == (cells, sensors)
    scenario_from_json(scenario_to_json(scenario), "made")  # raises on any doubled id, address or dangling reference
    check(scenario)


def test_the_largest_scenario_is_sound():
    scenario = make_scenario(10_000, 100_000, 3)
    assert {cell.square_id for cell in scenario.cells} == set(range(1, 10_001))
    assert len({x.ipv4 for x in scenario.sensors}) == len({x.mac for x in scenario.sensors}) == 100_000
    assert scenario.subnet == "10.0.0.0/8" and {x.ipv4.split(".")[0] for x in scenario.sensors} == {"10"}
    assert not {x.ipv4.split(".")[3] for x in scenario.sensors} & {"0", "255"}


def test_many_sensors_on_few_cells_are_sound():
    scenario = make_scenario(2, 2_000, 3)
    scenario_from_json(scenario_to_json(scenario), "made")
    check(scenario)


def test_the_seed_decides_all_and_only_the_seed():
    assert make_scenario(20, 200, 7) == make_scenario(20, 200, 7)
    a, b = make_scenario(20, 200, 7), make_scenario(20, 200, 8)
    assert all(x.lon != y.lon for x, y in zip(a.sensors, b.sensors, strict=True))


@pytest.mark.parametrize("cells, sensors", [(0, 10), (10_001, 10), (-1, 0), (10, -1), (10, 100_001), (1, 70_000)])
def test_impossible_sizes_are_refused(cells, sensors):
    with pytest.raises(ValueError, match=str(sensors if 1 <= cells <= 10_000 else cells)):
        make_scenario(cells, sensors)


@given(st.integers(0, 100_000))
def test_types_are_dealt_in_proportion(sensors):
    counts = type_counts(sensors)
    assert sum(counts.values()) == sensors and list(counts) == list(sensor_types())
    assert min(counts.values()) >= (3 if sensors >= 60 else sensors // 20)
    assert sensors < 120 or counts["leakage_current"] > counts["grid_frequency"]


def test_sensors_spread_evenly_over_the_area_around_their_base_station():
    # In a ring from r1 to r2 half of the points lie beyond sqrt((r1^2 + r2^2) / 2).
    s = make_scenario(10, 5_000, 1)
    far = [distance_m(x.lon, x.lat, s.cell[x.cell].lon, s.cell[x.cell].lat) > 213.0 for x in s.sensors]
    assert np.mean(far) == pytest.approx(0.5, abs=0.03)


def test_square_centres_agree_with_the_published_centroids(real_data):
    with np.load(real_data("milan/grid_centroids.npz")) as published:
        rows = list(zip(published["square_id"].tolist(), published["lon"], published["lat"], strict=True))
    assert len(rows) == 10_000
    assert max(distance_m(*square_centre(i), float(lon), float(lat)) for i, lon, lat in rows) < 8
    assert all(square_at(float(lon), float(lat)) == i for i, lon, lat in rows)


@given(st.integers(1, 10_000), st.floats(-0.49, 0.49), st.floats(-0.49, 0.49))
def test_a_point_in_a_square_finds_it(square, east, north):
    lon, lat = square_centre(square)
    right, up = square_centre(5051), square_centre(5151)  # one column and one row beside 5050 and 5051
    left = square_centre(5050)
    assert distance_m(*left, *right) == pytest.approx(SQUARE_M, abs=1)
    assert distance_m(*right, *up) == pytest.approx(SQUARE_M, abs=1)
    lon += east * (right[0] - left[0])
    lat += north * (up[1] - right[1])
    assert square_at(lon, lat) == square


@pytest.mark.parametrize(
    "lon, lat", [(9.0, 45.46), (9.4, 45.46), (9.19, 45.3), (9.19, 45.6), (0, 0), (float("nan"), 45)]
)
def test_a_point_outside_the_grid_is_in_no_square(lon, lat):
    assert square_at(lon, lat) is None


@pytest.mark.parametrize("square", [0, -5, 10_001])
def test_a_square_outside_the_grid_is_refused(square):
    with pytest.raises(ValueError, match=str(square)):
        square_centre(square)


def test_corners_of_the_grid():
    south_west, south_east, north_west = square_centre(1), square_centre(100), square_centre(9901)
    assert south_west[0] < south_east[0] and south_west[1] < north_west[1]
    assert distance_m(*south_west, *south_east) == pytest.approx(99 * SQUARE_M, rel=0.005)
    assert distance_m(*south_west, *north_west) == pytest.approx(99 * SQUARE_M, rel=0.005)
