"""Rows and columns of grid squares, for the models that look at a square's neighbours."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from predictor.forecast import Floats

MILAN_SIDE = 100  # squares 1..10000, row by row from the south-west (Barlacchi et al., Scientific Data 2, 150055, 2015)
LARGEST_BLOCK = 16  # squares of the bounding block per given square; a sparser block has hardly any neighbours
LARGEST_MISFIT = 0.15  # root mean square distance from the grid points, in squares; a random scatter has 0.29


def grid_positions(
    square_id: ArrayLike, lon: ArrayLike | None = None, lat: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Row and column [C, 2] of squares in their bounding block: rows go north, columns east, both from 0.

    By the coordinates [C] (degrees) where they are given and lie on a regular grid along the meridians, else by the
    rule of the Milan grid for ids 1..10000. Raises ValueError when neither gives a reasonably filled block.
    """
    square_id = np.asarray(square_id)
    if square_id.ndim != 1 or not square_id.size:
        raise ValueError(f"square_id: shape {list(square_id.shape)} must be [C], one id per cell")
    if np.unique(square_id).size < square_id.size:
        raise ValueError("square_id: the same square is given twice")
    reasons = []
    for positions in (lambda: _by_coordinates(square_id, lon, lat), lambda: _by_milan_rule(square_id)):
        try:
            return _block(positions())
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(f"squares: no rows and columns can be told: {'; '.join(reasons)}")


def _block(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    positions = positions - positions.min(axis=0)
    rows, columns = positions.max(axis=0) + 1
    if rows * columns > LARGEST_BLOCK * len(positions):
        raise ValueError(f"{len(positions)} squares are scattered over a block of {rows} by {columns}")
    return positions


def _by_milan_rule(square_id: NDArray) -> NDArray[np.int64]:
    if not np.issubdtype(square_id.dtype, np.integer) or square_id.min() < 1 or square_id.max() > MILAN_SIDE**2:
        raise ValueError(f"square_id: not all are whole numbers of 1..{MILAN_SIDE**2}, so they are not Milan's")
    return np.stack(np.divmod(square_id.astype(np.int64) - 1, MILAN_SIDE), axis=1)


def _by_coordinates(square_id: NDArray, lon: ArrayLike | None, lat: ArrayLike | None) -> NDArray[np.int64]:
    if lon is None or lat is None:
        raise ValueError("lon and lat are not given")
    points = np.stack([np.asarray(lat, np.float64), np.asarray(lon, np.float64)], axis=1)
    if len(points) != square_id.size or not np.isfinite(points).all():
        raise ValueError(f"lon, lat: must be {square_id.size} finite numbers each, one per cell")
    steps = (points - points.min(axis=0)) / _spacing(points)
    positions = np.rint(steps).astype(np.int64)
    misfit = np.sqrt(np.mean((steps - positions) ** 2))
    if misfit > LARGEST_MISFIT or np.unique(positions, axis=0).shape != positions.shape:
        raise ValueError("lon and lat do not lie on a regular grid")
    return positions


def _spacing(points: Floats) -> Floats:
    """[2]: the distance between next squares in the same column (latitude) and row (longitude)."""
    if len(points) == 1:
        return np.ones(2)
    near = cKDTree(points).query(points, k=min(9, len(points)))[1][:, 1:]
    north, east = np.abs(points[near] - points[:, None]).reshape(-1, 2).T
    column, row = north[north > 5 * east], east[east > 5 * north]
    if not column.size and not row.size:
        raise ValueError("lon and lat have no two squares in one row or column")
    # All squares in one row (column): the other distance doesn't matter.
    return np.array([_smallest(column if column.size else row), _smallest(row if row.size else column)])


def _smallest(distances: Floats) -> float:
    """Of distances of one, two, ... squares: that of one."""
    return float(np.median(distances[distances < 1.5 * distances.min()]))
