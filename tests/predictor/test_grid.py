import numpy as np
import pytest

from predictor.grid import grid_positions


def block(first, rows, columns):
    return np.array([first + 100 * row + column for row in range(rows) for column in range(columns)])


def test_milan_rule():
    np.testing.assert_array_equal(grid_positions([1]), [[0, 0]])
    np.testing.assert_array_equal(grid_positions([4142, 4143, 4546, 4242]), [[0, 0], [0, 1], [4, 4], [1, 0]])
    whole = grid_positions(np.arange(1, 10001))
    np.testing.assert_array_equal(whole, np.stack(np.divmod(np.arange(10000), 100), axis=1))


def test_coordinates_of_other_cities_with_any_ids():
    rows, columns = np.divmod(np.arange(24), 6)
    noise = np.random.default_rng(0).normal(scale=1e-6, size=(2, 24))
    lon, lat = 11 + 0.004 * columns + noise[0], 46 + 0.002 * rows + noise[1]
    order = np.random.default_rng(1).permutation(24)[:18]  # with holes, in any order
    for square_id in (np.arange(24) + 50_000, np.arange(24) + 1):  # the second would be one long row in Milan
        found = grid_positions(square_id[order], lon[order], lat[order])
        np.testing.assert_array_equal(found, np.stack([rows, columns], axis=1)[order])


def test_one_row_one_column_one_square():
    lon, lat = 9 + 0.003 * np.arange(4), np.full(4, 45.0) + 1e-6 * np.arange(4)
    np.testing.assert_array_equal(grid_positions(np.arange(4) - 9, lon, lat), [[0, 0], [0, 1], [0, 2], [0, 3]])
    np.testing.assert_array_equal(
        grid_positions(np.arange(4) - 9, lat - 36, lon + 36), [[0, 0], [1, 0], [2, 0], [3, 0]]
    )
    np.testing.assert_array_equal(grid_positions([-1], [9.0], [45.0]), [[0, 0]])


def test_ids_where_the_coordinates_are_no_grid():
    rng = np.random.default_rng(0)
    square_id = block(2031, 3, 4)
    found = grid_positions(square_id, rng.uniform(9, 9.1, 12), rng.uniform(45, 45.1, 12))
    np.testing.assert_array_equal(found, grid_positions(square_id))


def test_what_is_no_block():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not all are whole numbers of 1..10000"):
        grid_positions([0, 1, 2])
    with pytest.raises(ValueError, match="do not lie on a regular grid; .*not Milan's"):
        grid_positions(np.arange(20_000, 20_020), rng.uniform(9, 9.1, 20), rng.uniform(45, 45.1, 20))
    with pytest.raises(
        ValueError, match="lon and lat are not given; 3 squares are scattered over a block of 100 by 100"
    ):
        grid_positions([1, 5000, 10000])
    with pytest.raises(ValueError, match="must be 2 finite numbers each"):
        grid_positions([-1, -2], [9.0, np.nan], [45.0, 45.0])
    with pytest.raises(ValueError, match="the same square is given twice"):
        grid_positions([7, 7])
    with pytest.raises(ValueError, match=r"shape \[0\]"):
        grid_positions([])


def test_both_ways_agree_on_milan(real_data):
    with np.load(real_data("milan/grid_centroids.npz")) as file:
        square_id, lon, lat = (file[key] for key in ("square_id", "lon", "lat"))
    by_rule = grid_positions(square_id)
    foreign = square_id + 20_000  # so that only the coordinates can tell
    np.testing.assert_array_equal(grid_positions(foreign, lon, lat), by_rule)
    part = block(4142, 5, 5) - 1
    np.testing.assert_array_equal(grid_positions(foreign[part], lon[part], lat[part]), grid_positions(square_id[part]))
