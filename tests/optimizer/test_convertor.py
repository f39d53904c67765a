import dataclasses
import math

import numpy as np
import pytest

from optimizer.check import check
from optimizer.convertor import convert, free_rbs, grants
from optimizer.solve import solve
from twin.scenario import load_scenario


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


def test_grants_are_the_solution_by_sensor(city):
    conversion = convert(city, demands(city), loads(city, 0.6), 2)
    solution = solve(conversion.instance)
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


def test_a_full_cell_sends_its_sensors_to_zigbee(city):
    load = loads(city, 0.2) | {city.cells[0].id: 1.2}
    conversion = convert(city, demands(city), load, 2)
    solution = solve(conversion.instance)
    refused = {s for s, no in zip(conversion.sensor_ids, solution.to_zigbee, strict=True) if no}
    assert {s.id for s in city.sensors_of[city.cells[0].id]} <= refused
    assert not refused & set(grants(conversion, solution))


def test_nothing_to_do(city):
    conversion = convert(city, {}, loads(city), 1)
    assert conversion.sensor_ids == () and grants(conversion, solve(conversion.instance)) == {}
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
