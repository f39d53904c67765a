import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.association import associate
from optimizer.check import check
from optimizer.convertor import cc_power_w, conversion_json, convert, free_rbs, grants, offset_m, scenario_links
from optimizer.instance import Solution
from optimizer.solve import Options, solve
from twin.scenario import distance_m, load_scenario

LITERAL = Options(mode="literal")


@pytest.fixture(scope="module")
def city():
    return load_scenario("milan")


def demands(city, cells=None, size=5000):
    return {s.id: size + 10 * n for n, s in enumerate(city.sensors) if cells is None or s.cell in cells}


def loads(city, value=0.5):
    return {cell.id: value for cell in city.cells}


def test_numbers_come_from_the_scenario(city):
    wanted = demands(city)
    conversion = convert(city, wanted, loads(city), seed=3)
    instance = conversion.instance
    assert conversion.sensor_ids == tuple(s.id for s in city.sensors)
    assert conversion.cell_ids == tuple(c.id for c in city.cells)
    assert instance.shape == (len(city.sensors), len(city.cells), max(c.resource_blocks for c in city.cells))
    np.testing.assert_array_equal(instance.data_bits, [8 * wanted[s] for s in conversion.sensor_ids])
    assert [conversion.cell_ids[c] for c in instance.serving] == [s.cell for s in city.sensors]
    assert instance.p_max_w == pytest.approx(10 ** (city.radio.p_max_dbm / 10) / 1000)
    assert instance.sinr_min == pytest.approx(10 ** (city.radio.sinr_min_db / 10))
    for c, cell in enumerate(city.cells):
        assert instance.free[c].sum() == math.floor(cell.resource_blocks * 0.5)
    assert (instance.interference_w > 0).any()
    assert conversion.load == (0.5,) * len(city.cells)
    fading = instance.gain * 10 ** (conversion.links.loss_db[..., None] / 10)
    assert fading.mean() == pytest.approx(1, abs=0.05)
    assert (fading > 1).mean() == pytest.approx(math.exp(-1), abs=0.03)
    for i, sensor in enumerate(city.sensors):
        for c, cell in enumerate(city.cells):
            distance = distance_m(sensor.lon, sensor.lat, cell.lon, cell.lat)
            assert conversion.links.distance_m[i, c] == pytest.approx(distance, rel=1e-6)


def test_deterministic_by_seed(city):
    first, again, other = (convert(city, demands(city), loads(city), seed).instance for seed in (1, 1, 2))
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.gain, other.gain)
    assert not np.array_equal(first.free, other.free)


def test_cell_by_cell_gives_the_same_numbers_as_all_at_once(city):
    whole = convert(city, demands(city), loads(city), 5)
    for c, cell in enumerate(city.cells[:3]):
        wanted = {s: d for s, d in demands(city).items() if city.sensor[s].cell == cell.id}
        part = convert(city, dict(reversed(wanted.items())), loads(city), 5)
        rows = [whole.sensor_ids.index(s) for s in part.sensor_ids]
        np.testing.assert_array_equal(part.instance.gain[:, 0], whole.instance.gain[rows, c])
        np.testing.assert_array_equal(part.instance.free[0], whole.instance.free[c])
        np.testing.assert_array_equal(part.instance.interference_w[0], whole.instance.interference_w[c])


def test_cells_of_unlike_size_don_t_change_each_other(city):
    """A cell with 40 RBs beside one with 25: the gains on its neighbour's RBs are as without it."""
    bigger = dataclasses.replace(city, cells=(dataclasses.replace(city.cells[0], resource_blocks=40), *city.cells[1:]))
    wanted = demands(city, {city.cells[0].id, city.cells[1].id})
    whole = convert(bigger, wanted, loads(city), 5)
    part = convert(bigger, {s: d for s, d in wanted.items() if city.sensor[s].cell == city.cells[1].id}, loads(city), 5)
    rows = [whole.sensor_ids.index(s) for s in part.sensor_ids]
    np.testing.assert_array_equal(part.instance.gain[:, 0], whole.instance.gain[rows, 1, :25])
    np.testing.assert_array_equal(part.instance.interference_w[0], whole.instance.interference_w[1, :25])
    assert not whole.instance.free[1, 25:].any()


@given(st.floats(-179, 179), st.floats(-60, 60), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
def test_offsets_are_distances_to_the_north_and_east(lon, lat, east, north):
    @dataclasses.dataclass
    class Place:
        lon: float
        lat: float

    here, there = Place(lon, lat), Place(lon + east, lat + north)
    (((offset,),),) = (offset_m([there], [here]),)
    assert abs(offset) == pytest.approx(distance_m(here.lon, here.lat, there.lon, there.lat), abs=0.02)
    assert math.copysign(1, offset.real) == math.copysign(1, east) or abs(offset.real) < 1e-6
    assert offset.imag == pytest.approx(north * 111_195, abs=0.01)
    over_the_date_line = offset_m([Place(-179.99, lat)], [Place(179.99, lat)])[0, 0]
    assert over_the_date_line == pytest.approx(0.02 * 111_195 * math.cos(math.radians(lat)), rel=1e-4)


def test_free_rbs_fall_with_load_and_only_fall(city):
    cell = dataclasses.replace(city.cells[0], resource_blocks=50)
    counts = {0.0: 50, 0.5: 25, 0.89: 5, 0.9: 5, 0.901: 4, 0.99: 0, 1.0: 0, 3.0: 0}
    before = np.ones(50, bool)
    for load, count in counts.items():
        free = free_rbs(cell, load, 7)
        assert free.sum() == count
        assert not (free & ~before).any()
        before = free


def test_interference_comes_from_the_rbs_that_other_cells_users_hold(city):
    """One user in another cell: p_max over its RBs, times its gain, exactly on those RBs."""
    here, there = city.cells[0], city.cells[1]
    user = next(u for u in city.ues if u.cell == there.id)
    small = dataclasses.replace(city, ues=(user,))
    wanted = demands(city, {here.id})
    load = loads(city, 0.0) | {there.id: 0.3}
    got = convert(small, wanted, load, 9).instance.interference_w[0]
    held = ~free_rbs(there, 0.3, 9)
    np.testing.assert_array_equal(got > 0, held)
    full = convert(small, wanted, load | {there.id: 1.0}, 9).instance.interference_w[0]
    # The same power over more RBs: less on each, by the ratio of their numbers; the gains are the same.
    np.testing.assert_allclose(full[held] * there.resource_blocks, got[held] * held.sum())
    assert convert(small, wanted, loads(city, 0.0), 9).instance.interference_w.sum() == 0
    unknown = convert(small, wanted, {here.id: 0.0}, 9).instance.interference_w[0]
    np.testing.assert_array_equal(unknown, full)  # the worst case
    at_home = dataclasses.replace(city, ues=(dataclasses.replace(user, cell=here.id),))
    assert convert(at_home, wanted, loads(city, 1.0), 9).instance.interference_w.sum() == 0


def test_users_share_the_held_rbs_in_turn():
    held = np.array([0, 1, 1, 0, 1, 1, 1], bool)
    third = 1 / 3
    wanted = [[0, third, 0, 0, third, 0, third], [0, 0, 1, 0, 0, 1, 0]]
    np.testing.assert_allclose(cc_power_w(held, [1.0, 2.0]), wanted)
    few = cc_power_w(np.array([0, 1], bool), [1.0, 1.0, 1.0])  # two of the three users have no RB
    np.testing.assert_array_equal(few, [[0, 1], [0, 0], [0, 0]])
    assert cc_power_w(held, []).shape == (0, 7)


def test_users_out_of_range_hold_rbs_but_are_not_heard(city):
    """Of two users of a cell, one 40 km away: the other keeps its half of the cell's RBs, and is heard there alone."""
    here, there = city.cells[0], city.cells[1]
    near = next(u for u in city.ues if u.cell == there.id)
    far = dataclasses.replace(near, id="far", lat=near.lat + 0.36)
    both = convert(dataclasses.replace(city, ues=(far, near)), demands(city, {here.id}), loads(city, 1.0), 9)
    alone = convert(dataclasses.replace(city, ues=(near,)), demands(city, {here.id}), loads(city, 1.0), 9)
    heard, every = both.instance.interference_w[0], alone.instance.interference_w[0]
    np.testing.assert_array_equal(np.flatnonzero(heard), np.arange(1, 25, 2))  # 12 RBs instead of 25
    np.testing.assert_allclose(heard[1::2], every[1::2] * 25 / 12)


def test_grants_are_the_solution_by_sensor(city):
    conversion = convert(city, demands(city), loads(city, 0.6), 2)
    solution = solve(conversion.instance, LITERAL)
    assert all(f.holds for f in check(conversion.instance, solution))
    given = grants(conversion, solution)
    assert set(given) == {
        s for s, refused in zip(conversion.sensor_ids, solution.to_zigbee, strict=True) if not refused
    }
    taken = set()
    for i, sensor in enumerate(conversion.sensor_ids):
        if sensor not in given:
            continue
        grant, cell = given[sensor], city.sensor[sensor].cell
        assert grant.rate_bps * grant.delay_s == pytest.approx(conversion.instance.data_bits[i])
        assert grant.power_dbm == pytest.approx(city.radio.p_max_dbm)
        assert grant.resource_blocks
        free = free_rbs(city.cell[cell], 0.6, 2)
        for rb in grant.resource_blocks:
            assert free[rb] and (cell, rb) not in taken
            taken.add((cell, rb))


@pytest.fixture(scope="module")
def framed(city):
    """Three sensors of one cell and a made-up solution of four slots: the last sensor is refused."""
    cell = city.cells[0]
    sensors = [s.id for s in city.sensors_of[cell.id][:3]]
    conversion = convert(city, dict.fromkeys(sensors, 1000), {cell.id: 0.0}, 2)
    schedule, power = np.full((1, 4, 25), -1, np.int32), np.zeros((1, 4, 25))
    for slot, rb, device, power_w in (
        (0, 3, 0, 0.1), (0, 7, 0, 0.05), (2, 3, 0, 0.05),  # 150 mW, then 50 mW: 100 mW when it sends
        (0, 4, 1, 0.1), (1, 3, 1, 0.1), (2, 24, 1, 0.1), (3, 0, 1, 0.1),
    ):  # fmt: skip
        schedule[0, slot, rb], power[0, slot, rb] = device, power_w
    solution = Solution(
        schedule=schedule, power_w=power, delay_s=np.array([0.01, 0.02, np.nan]), to_zigbee=np.array([0, 0, 1], bool),
        status="feasible", objective_s=0.02, lower_bound_s=0.01, gap=1.0, bound="fluid",
        solver="by hand", seconds=0.0, iterations=0,
    )  # fmt: skip
    return sensors, conversion, solution


def test_grants_of_a_frame(framed):
    (first, second, _), conversion, solution = framed
    given = grants(conversion, solution)
    assert list(given) == [first, second]
    assert given[first].rate_bps == pytest.approx(8000 / 0.01) and given[first].delay_s == 0.01
    assert given[first].resource_blocks == (3, 7) and given[second].resource_blocks == (0, 3, 4, 24)
    assert given[first].power_dbm == pytest.approx(20) and given[first].duty == 0.5
    assert given[second].power_dbm == pytest.approx(20) and given[second].duty == 1.0


def test_json_of_a_conversion_and_its_solution(framed, city):
    (first, second, third), conversion, solution = framed
    document = json.loads(json.dumps(conversion_json(conversion), allow_nan=False))
    instance, cell = conversion.instance, city.cells[0]
    assert [d["sensor"] for d in document["devices"]] == [first, second, third]
    place = city.sensor[second]
    assert document["devices"][1] == {
        "sensor": second,
        "cell": cell.id,
        "distance_m": pytest.approx(distance_m(place.lon, place.lat, cell.lon, cell.lat), rel=1e-6),
        "los": bool(conversion.links.los[1, 0]),
        "path_loss_db": conversion.links.path_loss_db[1, 0],
        "shadowing_db": conversion.links.shadowing_db[1, 0],
        "data_bits": 8000.0,
    }
    assert document["cells"] == [
        {"cell": cell.id, "load": 0.0, "free_rbs": list(range(25)), "interference_w": list(instance.interference_w[0])}
    ]
    assert document["noise_w"] == instance.noise_w and document["coupled"] is False
    assert "solution" not in document
    solved = json.loads(json.dumps(conversion_json(conversion, solution), allow_nan=False))
    answer = solved.pop("solution")
    assert solved == document
    assert answer["refused"] == [third] and answer["grants"].keys() == {first, second}
    assert answer["grants"][first] == {
        "rate_bps": pytest.approx(800e3),
        "delay_s": 0.01,
        "resource_blocks": [3, 7],
        "power_dbm": pytest.approx(20),
        "duty": 0.5,
    }
    slots = [{first: [3, 7], second: [4]}, {second: [3]}, {first: [3], second: [24]}, {second: [0]}]
    assert answer["rb_map"] == {cell.id: slots}
    assert (answer["status"], answer["objective_s"], answer["gap"]) == ("feasible", 0.02, 1.0)


def test_json_is_the_same_for_the_same_seed(city):
    texts = [json.dumps(conversion_json(convert(city, demands(city), loads(city), seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_association_is_by_the_strongest_mean_gain(city):
    best = associate(city, city.sensors, 14)
    loss = scenario_links(city, city.sensors, city.cells, 14).loss_db
    for sensor, row in zip(city.sensors, loss, strict=True):
        assert row[[cell.id for cell in city.cells].index(best[sensor.id])] == row.min()
    some = city.sensors[5:9]
    assert associate(city, some, 14) == {s.id: best[s.id] for s in some}
    assert associate(city, city.ues, 14).keys() == {u.id for u in city.ues}
    # The scenario's sensors stand within 300 m of their own base station, and most hear it best.
    assert sum(best[s.id] == s.cell for s in city.sensors) > 0.9 * len(city.sensors)


def test_a_full_cell_sends_its_sensors_to_zigbee(city):
    load = loads(city, 0.2) | {city.cells[0].id: 1.2}
    conversion = convert(city, demands(city), load, 2)
    solution = solve(conversion.instance, LITERAL)
    refused = {s for s, no in zip(conversion.sensor_ids, solution.to_zigbee, strict=True) if no}
    assert {s.id for s in city.sensors_of[city.cells[0].id]} <= refused
    assert not refused & set(grants(conversion, solution))


def test_nothing_to_do(city):
    conversion = convert(city, {}, loads(city), 1)
    assert conversion.sensor_ids == () and grants(conversion, solve(conversion.instance, LITERAL)) == {}
    nothing = convert(city, {city.sensors[0].id: 0}, loads(city), 1)
    assert nothing.sensor_ids == ()


def test_bad_input_is_named(city):
    sensor = city.sensors[0]
    with pytest.raises(ValueError, match="'nobody': the scenario has no such sensor"):
        convert(city, {"nobody": 5}, loads(city), 1)
    with pytest.raises(ValueError, match=f"demand of sensor {sensor.id}: -5 bytes"):
        convert(city, {sensor.id: -5}, loads(city), 1)
    with pytest.raises(ValueError, match=f"demand of sensor {sensor.id}: nan bytes"):
        convert(city, {sensor.id: math.nan}, loads(city), 1)
    for load in ({}, {sensor.cell: math.nan}):
        with pytest.raises(ValueError, match=f"load of cell {sensor.cell}: it is unknown"):
            convert(city, {sensor.id: 5}, load, 1)
    with pytest.raises(ValueError, match="load of cell 'c999': the scenario has no such cell"):
        convert(city, {}, {"c999": 0.5}, 1)
    with pytest.raises(ValueError, match=f"load of cell {sensor.cell}: -0.1"):
        convert(city, {}, {sensor.cell: -0.1}, 1)
