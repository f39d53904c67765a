import numpy as np
import pytest
from scipy.optimize import linprog

from optimizer.cell import Cell
from optimizer.fluid import solve_fluid


def random_cell(seed, devices, rbs):
    rng = np.random.default_rng(seed)
    snr = 10 ** rng.uniform(-0.5, 3, (devices, 1)) * rng.exponential(1, (devices, rbs))
    return Cell(snr, rng.uniform(1, 10, devices), 0.5)


def solve(cell, known_bound_s=0.0, solver="auto", seconds=60.0):
    return solve_fluid(cell, known_bound_s, solver, lambda: seconds)


def on_a_grid_s(cell, powers):
    """The relaxation with a fixed set of powers, by another solver call: never faster than the true one."""
    devices, rbs = cell.shape
    columns = [(i, j, q) for i in range(devices) for j in range(rbs) for q in powers]
    a = np.zeros((2 * devices + rbs, len(columns) + 1))
    for at, (i, j, q) in enumerate(columns):
        a[i, at] = -np.log2(1 + cell.snr[i, j] * q)
        a[devices + j, at] = 1
        a[devices + rbs + i, at] = q
    a[:devices, -1] = cell.work
    limits = np.concatenate([np.zeros(devices), np.ones(rbs + devices)])
    return 1 / linprog([0.0] * len(columns) + [-1.0], A_ub=a, b_ub=limits).x[-1]


@pytest.mark.parametrize(("devices", "rbs"), [(1, 4), (2, 5), (5, 4), (8, 3), (3, 12)])
def test_equals_the_relaxation_on_a_fine_grid_of_powers(devices, rbs):
    for seed in range(3):
        cell = random_cell(seed, devices, rbs)
        grid = on_a_grid_s(cell, np.linspace(0.01, 1, 100))
        found = solve(cell)
        assert found.bound_s <= grid * (1 + 1e-9)
        assert found.bound_s >= grid * (1 - 3e-3)  # the grid's own coarseness, and the tolerance
        assert found.bound_s == pytest.approx(cell.fluid_bound_s(found.mu, found.nu))
        assert (found.mu >= 0).all() and (found.nu >= 0).all()


def test_devices_alike():
    cell = Cell(np.full((6, 4), 100.0), np.full(6, 5.0), 0.5)
    assert solve(cell).bound_s == pytest.approx(5 / (np.log2(101) * 4 / 6), rel=1e-3)


def test_without_time_or_program_the_slowest_device_alone_is_the_bound():
    cell = random_cell(1, 4, 6)
    free = Cell(cell.snr, cell.work, 0.0)
    alone = (free.work / free.best_rates[:, -1]).max()
    for found in (solve(cell, seconds=0.0), solve(cell, solver="heuristic")):
        assert found.bound_s == pytest.approx(alone) and found.shares is None
    assert solve(cell, seconds=0.0).timed_out


def test_stops_where_the_known_bound_is_out_of_reach():
    cell = random_cell(2, 10, 25)
    assert solve(cell, known_bound_s=1e9).rounds == 1
