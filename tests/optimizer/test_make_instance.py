import dataclasses
import math

import numpy as np
import pytest

from optimizer.channel import draw_links
from optimizer.make_instance import CELL_RADIUS_M, drop_m, make_instance, sites_m
from twin.noise import stream


def test_numbers_are_those_of_the_specification():
    instance = make_instance(300, 3, 25, 0.4, seed=1)
    assert instance.shape == (300, 3, 25)
    assert instance.free.sum(axis=1).tolist() == [15, 15, 15]
    assert instance.rb_bandwidth_hz == 180e3 and instance.slot_s == 1e-3 and not instance.coupled
    assert 10 * math.log10(instance.p_max_w * 1000) == pytest.approx(23)
    assert 10 * math.log10(instance.noise_w * 1000) == pytest.approx(-174 + 10 * math.log10(180e3) + 5)
    assert 10 * math.log10(instance.sinr_min) == pytest.approx(-3)
    megabits = make_instance(10_000, 1, 1, 0.4, seed=1).data_bits / 1e6
    np.testing.assert_allclose(np.quantile(megabits, [0, 0.25, 0.5, 0.75, 1]), np.linspace(0.1, 2, 5), atol=0.03)
    assert megabits.min() >= 0.1 and megabits.max() <= 2
    assert make_instance(2, 1, 4, 0.0, seed=1, coupled=True).coupled


def test_free_rbs_are_rounded_down():
    for rbs, load, free in ((273, 0.5, 136), (10, 0.9, 1), (10, 0.91, 0), (7, 0.0, 7), (7, 1.0, 0), (7, 2.5, 0)):
        assert make_instance(1, 2, rbs, load, seed=3).free.sum(axis=1).tolist() == [free, free]


def test_sites_are_a_hexagonal_layout():
    """One in the middle, six around it at sqrt(3) 250 m, twelve more in the second ring."""
    sites = sites_m(19)
    apart = math.sqrt(3) * CELL_RADIUS_M
    rings = np.abs(sites) / apart
    np.testing.assert_allclose(np.sort(rings), [0] + [1] * 6 + [math.sqrt(3)] * 6 + [2] * 6, atol=1e-9)
    between = np.abs(sites[:, None] - sites)
    assert between[between > 1].min() == pytest.approx(apart)
    for cells in (1, 2, 7, 10, 100):
        assert len(set(sites_m(cells).round(3))) == cells
        np.testing.assert_array_equal(sites_m(cells), sites_m(100)[:cells])


def test_devices_are_dropped_uniformly_over_hexagons():
    at = drop_m(np.array([0j, 5000]), 40_000, stream("test"))
    second = at.real > 2500
    assert second.mean() == pytest.approx(0.5, abs=0.01)
    offset = np.where(second, at - 5000, at)
    assert np.abs(offset).min() >= 10 * (1 - 1e-9)
    # Corners to the north and south: three pairs of sides, each at the inradius from the centre.
    inradius = CELL_RADIUS_M * math.sqrt(3) / 2
    for angle in (0, 60, 120):
        across = (offset * np.exp(1j * math.radians(angle))).real / inradius
        assert np.abs(across).max() == pytest.approx(1, abs=0.01) and np.abs(across).max() <= 1 + 1e-9
    # Uniform: mean square distance of a hexagon is 5/12 of its radius squared, and all sixths hold as many.
    assert (np.abs(offset) ** 2).mean() == pytest.approx(5 / 12 * CELL_RADIUS_M**2, rel=0.02)
    sixths = np.bincount((np.angle(offset) % (2 * np.pi) // (np.pi / 3)).astype(int), minlength=6)
    np.testing.assert_allclose(sixths / len(at), 1 / 6, atol=0.01)
    circle = np.abs(offset) < inradius
    assert circle.mean() == pytest.approx(math.pi * inradius**2 / (1.5 * math.sqrt(3) * CELL_RADIUS_M**2), abs=0.01)


def test_devices_belong_to_the_strongest_cell():
    instance = make_instance(400, 7, 200, 0.5, seed=5)
    site = sites_m(7)
    at = drop_m(site, 400, stream(5, "devices"))
    names = [f"device {i}" for i in range(400)], [f"cell {c}" for c in range(7)]
    loss_db = draw_links(*names, at[:, None] - site, np.full(400, 1.5), np.full(7, 25.0), 6e9, 5).loss_db
    np.testing.assert_array_equal(instance.serving, loss_db.argmin(axis=1))
    # The gains themselves agree but where two cells are almost even: fading doesn't average out over 36 MHz.
    loudest = instance.gain.mean(axis=2).argmax(axis=1)
    assert (loudest == instance.serving).mean() > 0.95
    nearest = np.abs(at[:, None] - site).argmin(axis=1)
    assert 0.5 < (instance.serving == nearest).mean() < 1
    assert (make_instance(50, 1, 4, 0.5, seed=5).serving == 0).all()


def test_interference_is_other_cells_users_on_the_rbs_they_hold():
    assert make_instance(5, 1, 50, 0.7, seed=2).interference_w.sum() == 0
    assert make_instance(5, 4, 50, 0.0, seed=2).interference_w.sum() == 0
    full = make_instance(5, 4, 50, 1.0, seed=2).interference_w
    assert (full > 0).all()
    half = make_instance(5, 2, 50, 0.5, seed=2)
    for c in (0, 1):  # exactly the RBs that the other cell's users hold
        np.testing.assert_array_equal(half.interference_w[c] > 0, ~half.free[1 - c])
    # Half the RBs, the same power: each user sends twice as much on its RBs, and on average half of them are heard.
    many = [make_instance(0, 7, 273, load, seed=4).interference_w.sum() for load in (0.5, 1.0)]
    assert many[0] == pytest.approx(many[1], rel=0.15)


def test_same_seed_same_instance_and_the_first_devices_stay():
    first, again, other = (make_instance(12, 3, 20, 0.3, seed) for seed in (1, 1, 2))
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    for name in ("gain", "data_bits", "free", "interference_w"):
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    larger = make_instance(40, 3, 20, 0.3, np.int64(1))
    for name in ("gain", "serving", "data_bits"):
        np.testing.assert_array_equal(getattr(larger, name)[:12], getattr(first, name))
    np.testing.assert_array_equal(larger.free, first.free)
    np.testing.assert_array_equal(larger.interference_w, first.interference_w)


def test_no_devices():
    instance = make_instance(0, 2, 10, 0.5, seed=1)
    assert instance.shape == (0, 2, 10) and instance.serving.size == instance.data_bits.size == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"devices": -1}, "devices: -1 must be a whole number, 0 or more"),
        ({"devices": 2.5}, "devices: 2.5 must be a whole number"),
        ({"cells": 0}, "cells: 0 must be a whole number, 1 or more"),
        ({"rbs": 0}, "rbs: 0 must be a whole number, 1 or more"),
        ({"load": -0.1}, "load: -0.1 must be a finite share"),
        ({"load": math.nan}, "load: nan must be a finite share"),
        ({"load": math.inf}, "load: inf must be a finite share"),
        ({"seed": "x"}, "seed: 'x' must be a whole number"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make_instance(**({"devices": 3, "cells": 1, "rbs": 4, "load": 0.5, "seed": 1} | change))
