"""The Milan grid: 100 x 100 squares of 235 m, numbered row by row from the south-west corner (id 1) to the north-east.

Published by Telecom Italia (doi:10.7910/DVN/QJWLFU; Barlacchi et al., Scientific Data 2, 150055, 2015). The squares are
computed from a bilinear fit to the published centroids, which holds to 8 m, so that no data file is needed.
"""

SIDE = 100
SQUARE_M = 235.0

# degrees = offset + by_row * row + by_column * column + by_both * row * column, row and column from 0
_LON = (9.012991412399481, 4.868600439609499e-07, 0.0030003533935952036, 1.1240687853807232e-07)
_LAT = (45.35780778454312, 0.0021152872004132454, -4.241701939901192e-06, -3.564794453549125e-10)


def square_centre(square_id: int) -> tuple[float, float]:
    """Centre (lon, lat) of a square in WGS84 degrees, within 8 m. Raises ValueError outside 1..10000."""
    if not 1 <= square_id <= SIDE * SIDE:
        raise ValueError(f"square id {square_id} is outside the Milan grid, 1 to {SIDE * SIDE}")
    row, column = divmod(square_id - 1, SIDE)
    return _degrees(_LON, row, column), _degrees(_LAT, row, column)


def square_at(lon: float, lat: float) -> int | None:
    """Id of the square that contains a point (WGS84 degrees), or None outside the grid."""
    row = column = SIDE / 2
    for _ in range(4):  # the two equations are nearly independent: each round gains about three digits
        row = (lat - _LAT[0] - _LAT[2] * column) / (_LAT[1] + _LAT[3] * column)
        column = (lon - _LON[0] - _LON[1] * row) / (_LON[2] + _LON[3] * row)
    if not (-0.5 <= row < SIDE - 0.5 and -0.5 <= column < SIDE - 0.5):  # also refuses NaN
        return None
    return int(row + 0.5) * SIDE + int(column + 0.5) + 1


def _degrees(fit: tuple[float, float, float, float], row: float, column: float) -> float:
    return fit[0] + fit[1] * row + fit[2] * column + fit[3] * row * column
