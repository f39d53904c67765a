"""One cell's radio resource management as the worker processes do it."""

import math

import numpy as np
import pytest

from controller.rrm import plan_cell, plan_mixed, predict_delays
from optimizer.mixed import slowest_on_zigbee_s
from optimizer.solve import Options
from predictor import QUANTILES
from twin.generate import make_scenario

SCENARIO = make_scenario(cells=2, sensors=24, seed=3)
CELL = SCENARIO.cells[0].id
SENSORS = [sensor.id for sensor in SCENARIO.sensors if sensor.cell == CELL]


def loads(share):
    return {cell.id: share for cell in SCENARIO.cells}


def flat(share, slots=3):
    return np.full((len(QUANTILES), slots), share)


def delays(demands, quantiles, first_s=300.0):
    return predict_delays(SCENARIO, CELL, demands, loads(0.3), quantiles, QUANTILES, Options(), first_s, 600.0)


def test_plan_cell_counts_the_rb_slots_of_each_grant():
    plan = plan_cell(SCENARIO, {name: 10_000 for name in SENSORS}, loads(0.3), Options(frame=50))
    assert set(plan.grants) == set(plan.rb_slots) == set(SENSORS)
    free = 25 - math.ceil(25 * 0.3)
    assert 0 < sum(plan.rb_slots.values()) <= 50 * free
    assert plan.objective_s == pytest.approx(max(grant.delay_s for grant in plan.grants.values()))


def test_predicted_delays_of_a_sure_load_are_those_of_the_solve():
    demands = {name: 20_000 for name in SENSORS}
    levels, sixg_s, zigbee_s = delays(demands, flat(0.0))
    alone = plan_cell(SCENARIO, demands, {**loads(0.3), CELL: 0.0}, Options())
    np.testing.assert_allclose(sixg_s, alone.objective_s)
    assert len(levels) == len(sixg_s) and zigbee_s == slowest_on_zigbee_s(demands)


def test_more_load_is_never_faster_and_a_full_cell_waits_for_zigbee():
    demands = {name: 20_000 for name in SENSORS}
    _, rising, zigbee_s = delays(demands, np.linspace(0.1, 0.9, 9)[:, None].repeat(3, axis=1))
    assert all(a <= b * (1 + 1e-9) for a, b in zip(rising, rising[1:], strict=False))
    _, full, _ = delays(demands, flat(1.2), first_s=300.0)
    assert full == pytest.approx([300.0 + zigbee_s] * len(full))


def test_mixed_is_never_slower_and_says_who_goes():
    demands = {name: 200 if i % 2 else 400_000 for i, name in enumerate(SENSORS)}
    for share in (0.3, 0.96):  # at 0.96 one RB is left
        whole = plan_cell(SCENARIO, demands, loads(share), Options())
        mixed = plan_mixed(SCENARIO, demands, loads(share), Options())
        over_zigbee = {name: demands[name] for name in demands if name not in mixed.grants}
        refused = {name: demands[name] for name in demands if name not in whole.grants}
        slowest = max(mixed.objective_s, slowest_on_zigbee_s(over_zigbee))
        assert slowest <= max(whole.objective_s, slowest_on_zigbee_s(refused)) * (1 + 1e-9)
        if over_zigbee != refused:
            assert any("over Zigbee" in note for note in mixed.notes)
    assert over_zigbee  # with one RB, small demands are better off on Zigbee


def test_all_out_of_room_goes_to_zigbee():
    plan = plan_mixed(SCENARIO, {name: 1000 for name in SENSORS}, loads(1.0), Options())
    assert not plan.grants and plan.notes
