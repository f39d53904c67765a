"""The parameter convertor (the paper's Fig. 3): demands and scenario to an Instance, and a Solution back to grants.

Every random draw has its own generator, made from the seed and the names of what is drawn: a link's gain doesn't depend
on which other sensors or cells are converted with it, so a city can be converted cell by cell with the same result.

Model of the conventional cellular (CC) users: in a cell of load L they hold M - floor(M (1 - L)) RBs, dealt out in turn
among the cell's users; each sends its power evenly over its RBs. On those RBs they disturb the base stations of other
cells within 5 km, where the channel model ends. A cell whose load isn't given or is NaN counts as full, the worst case.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.channel import dbm_to_w, draw_gain, noise_w, w_to_dbm
from optimizer.instance import Instance, Solution
from twin.scenario import Cell, Scenario, distance_m

INTERFERENCE_RANGE_M = 5_000.0  # end of validity of UMa path loss, TR 38.901 Table 7.4.1-1


@dataclass(frozen=True, eq=False)
class Conversion:
    """An Instance and what its indices stand for: device i is sensor_ids[i], cell c is cell_ids[c]."""

    instance: Instance
    sensor_ids: tuple[str, ...]
    cell_ids: tuple[str, ...]


@dataclass(frozen=True)
class Grant:
    """What a sensor gets on 6G: mean rate, predicted delay, RBs (those of any slot of the frame) and total power."""

    rate_bps: float
    delay_s: float
    resource_blocks: tuple[int, ...]
    power_dbm: float


def convert(scenario: Scenario, demands_bytes: Mapping[str, float], load: Mapping[str, float], seed: int) -> Conversion:
    """Numbers of the RRM problem for the sensors in ``demands_bytes`` (bytes D_i by sensor id) and their cells.

    ``load`` is the predicted share of capacity, 0 and up, by cell id; it must be known for the sensors' own cells.
    Devices and cells keep the scenario's order. Demands of 0 bytes are left out. Raises ValueError.
    """
    _check(scenario, demands_bytes, load)
    sensors = [s for s in scenario.sensors if demands_bytes.get(s.id, 0) > 0]
    served = {s.cell for s in sensors}
    cells = [cell for cell in scenario.cells if cell.id in served]
    index = {cell.id: c for c, cell in enumerate(cells)}
    rbs = max((cell.resource_blocks for cell in cells), default=1)
    gain = np.zeros((len(sensors), max(len(cells), 1), rbs))
    for i, sensor in enumerate(sensors):
        for c, cell in enumerate(cells):
            gain[i, c] = _gain(scenario, sensor, cell, rbs, seed)
    free, interference = np.zeros(gain.shape[1:], bool), np.zeros(gain.shape[1:])
    for c, cell in enumerate(cells):
        free[c, : cell.resource_blocks] = free_rbs(cell, load[cell.id], seed)
        interference[c] = _interference_w(scenario, cell, load, rbs, seed)
    radio = scenario.radio
    instance = Instance(
        gain=gain,
        serving=np.array([index[s.cell] for s in sensors], np.int64),
        data_bits=np.array([8.0 * demands_bytes[s.id] for s in sensors]),
        free=free,
        interference_w=interference,
        rb_bandwidth_hz=radio.rb_bandwidth_hz,
        slot_s=radio.slot_s,
        noise_w=noise_w(radio.rb_bandwidth_hz, radio.noise_figure_db),
        p_max_w=dbm_to_w(radio.p_max_dbm),
        sinr_min=10 ** (radio.sinr_min_db / 10),
    )
    return Conversion(instance, tuple(s.id for s in sensors), tuple(cell.id for cell in cells))


def grants(conversion: Conversion, solution: Solution) -> dict[str, Grant]:
    """Grants by sensor id; sensors that admission refused, and all of them where infeasible, have none."""
    instance, frames = conversion.instance, solution.schedule.shape[1]
    result = {}
    for i, sensor in enumerate(conversion.sensor_ids):
        if solution.to_zigbee[i] or not math.isfinite(solution.delay_s[i]):
            continue
        c = instance.serving[i]
        held = solution.schedule[c] == i
        power_w = np.where(held, solution.power_w[c], 0.0).sum() / frames
        result[sensor] = Grant(
            rate_bps=float(instance.data_bits[i] / solution.delay_s[i]),
            delay_s=float(solution.delay_s[i]),
            resource_blocks=tuple(np.flatnonzero(held.any(axis=0)).tolist()),
            power_dbm=w_to_dbm(power_w),
        )
    return result


def free_rbs(cell: Cell, load: float, seed: int) -> NDArray[np.bool_]:
    """[M]: the floor(M (1 - load)) RBs that CC users leave free, drawn by seed; more load takes further RBs only."""
    count = math.floor(cell.resource_blocks * (1 - min(load, 1.0)) + 1e-9)  # 1 - 0.9 must leave 5 of 50 RBs, not 4
    free = np.zeros(cell.resource_blocks, bool)
    free[_rng(seed, "free", cell.id).permutation(cell.resource_blocks)[:count]] = True
    return free


def _check(scenario: Scenario, demands_bytes: Mapping[str, float], load: Mapping[str, float]) -> None:
    for sensor, size in demands_bytes.items():
        if sensor not in scenario.sensor:
            raise ValueError(f"demand of sensor {sensor!r}: the scenario has no such sensor")
        if not (math.isfinite(size) and size >= 0):
            raise ValueError(f"demand of sensor {sensor}: {size} bytes must be finite and 0 or more")
        cell = scenario.sensor[sensor].cell
        if size > 0 and math.isnan(load.get(cell, math.nan)):
            raise ValueError(f"load of cell {cell}: it is unknown, and sensor {sensor} needs its free RBs; use Zigbee")
    for cell, share in load.items():
        if cell not in scenario.cell:
            raise ValueError(f"load of cell {cell!r}: the scenario has no such cell")
        if share < 0 or math.isinf(share):
            raise ValueError(f"load of cell {cell}: {share} must be a finite share of capacity, 0 or more")


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])


def _gain(scenario: Scenario, sender, cell: Cell, rbs: int, seed: int) -> NDArray[np.float64]:
    """[M]: gain of a sensor or CC user to a base station."""
    distance = distance_m(sender.lon, sender.lat, cell.lon, cell.lat)
    rng = _rng(seed, "link", sender.id, cell.id)
    return draw_gain(distance, sender.height_m, cell.height_m, scenario.radio.frequency_hz, rbs, rng)


def _interference_w(
    scenario: Scenario, victim: Cell, load: Mapping[str, float], rbs: int, seed: int
) -> NDArray[np.float64]:
    """[M]: power of other cells' CC users at a base station."""
    users: dict[str, list] = {}
    for user in scenario.ues:
        near = distance_m(user.lon, user.lat, victim.lon, victim.lat) <= INTERFERENCE_RANGE_M
        if user.cell != victim.id and near:
            users.setdefault(user.cell, []).append(user)
    total = np.zeros(rbs)
    for name, owners in users.items():
        share = load.get(name, math.nan)
        held = np.flatnonzero(~free_rbs(scenario.cell[name], 1.0 if math.isnan(share) else share, seed))
        for turn, user in enumerate(owners):
            own = held[turn :: len(owners)]
            heard = own[own < rbs]
            if heard.size:
                gain = _gain(scenario, user, victim, rbs, seed)
                total[heard] += dbm_to_w(user.power_dbm) / own.size * gain[heard]
    return total
