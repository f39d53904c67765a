"""The parameter convertor (the paper's Fig. 3): demands and scenario to an Instance, and a Solution back to grants.

Every random draw is a hash of the seed and the names of what is drawn: a link's gain doesn't depend on which other
sensors or cells are converted with it, so a city can be converted cell by cell with the same result.

Model of the conventional cellular (CC) users: in a cell of load L they hold M - floor(M (1 - L)) RBs, dealt out in turn
among the cell's users; each sends its power evenly over its RBs. On those RBs they disturb the base stations of other
cells within 5 km, where the channel model ends. A cell whose load isn't given or is NaN counts as full, the worst case.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optimizer.channel import Links, dbm_to_w, draw_links, noise_w, w_to_dbm
from optimizer.instance import Instance, Solution
from twin.noise import stream, uniform
from twin.scenario import EARTH_RADIUS_M, Cell, Scenario, Sensor, UserEquipment

INTERFERENCE_RANGE_M = 5_000.0  # end of validity of UMa path loss, TR 38.901 Table 7.4.1-1


@dataclass(frozen=True, eq=False)
class Conversion:
    """An Instance and what its indices stand for: device i is sensor_ids[i], cell c is cell_ids[c].

    links: the devices' links [N, C] to the cells. load: predicted share of capacity of each cell.
    """

    instance: Instance
    sensor_ids: tuple[str, ...]
    cell_ids: tuple[str, ...]
    links: Links
    load: tuple[float, ...]


@dataclass(frozen=True)
class Grant:
    """What a sensor gets on 6G.

    rate_bps: mean over the frame. delay_s: predicted. resource_blocks: those of any slot. power_dbm: total over its
    RBs, mean over the slots in which it sends, which are the share ``duty`` of the frame (1 in literal mode).
    """

    rate_bps: float
    delay_s: float
    resource_blocks: tuple[int, ...]
    power_dbm: float
    duty: float


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
    radio = scenario.radio
    links = scenario_links(scenario, sensors, cells, seed)
    free = np.zeros((max(len(cells), 1), rbs), bool)
    for c, cell in enumerate(cells):
        free[c, : cell.resource_blocks] = free_rbs(cell, load[cell.id], seed)
    instance = Instance(
        gain=links.gain(rbs, radio.rb_bandwidth_hz) if cells else np.zeros((0, 1, 1)),
        serving=np.array([index[s.cell] for s in sensors], np.int64),
        data_bits=np.array([8.0 * demands_bytes[s.id] for s in sensors]),
        free=free,
        interference_w=_interference_w(scenario, cells, load, rbs, seed),
        rb_bandwidth_hz=radio.rb_bandwidth_hz,
        slot_s=radio.slot_s,
        noise_w=noise_w(radio.rb_bandwidth_hz, radio.noise_figure_db),
        p_max_w=dbm_to_w(radio.p_max_dbm),
        sinr_min=10 ** (radio.sinr_min_db / 10),
    )
    ids = tuple(cell.id for cell in cells)
    return Conversion(instance, tuple(s.id for s in sensors), ids, links, tuple(float(load[cell]) for cell in ids))


def grants(conversion: Conversion, solution: Solution) -> dict[str, Grant]:
    """Grants by sensor id; sensors that admission refused, and all of them where infeasible, have none."""
    frames = solution.schedule.shape[1]
    cell, slot, rb = np.nonzero(solution.schedule >= 0)
    device, power_w = solution.schedule[cell, slot, rb], solution.power_w[cell, slot, rb]
    order = np.argsort(device, kind="stable")
    first = np.searchsorted(device[order], np.arange(len(conversion.sensor_ids) + 1))
    result = {}
    for i, sensor in enumerate(conversion.sensor_ids):
        if solution.to_zigbee[i] or not math.isfinite(solution.delay_s[i]):
            continue
        held = order[first[i] : first[i + 1]]
        slots = np.unique(slot[held]).size
        result[sensor] = Grant(
            rate_bps=float(conversion.instance.data_bits[i] / solution.delay_s[i]),
            delay_s=float(solution.delay_s[i]),
            resource_blocks=tuple(np.unique(rb[held]).tolist()),
            power_dbm=w_to_dbm(power_w[held].sum() / slots),
            duty=slots / frames,
        )
    return result


def conversion_json(conversion: Conversion, solution: Solution | None = None) -> dict:
    """The conversion, and the solution if there is one, as plain data for ``json.dumps``; ``links convert`` prints it.

    Keys: the Instance's scalars; ``devices``, one object each (sensor, cell, distance_m, los, path_loss_db,
    shadowing_db, data_bits); ``cells``, one object each (cell, load, free_rbs: indices, interference_w: one per RB).
    With a solution also ``solution``: status, objective_s, lower_bound_s, gap; ``grants`` by sensor, as in Grant;
    ``refused``, the sensors without a grant; ``rb_map`` by cell: for each slot of the frame {sensor: [its RBs]}.
    """
    instance, links, ids = conversion.instance, conversion.links, conversion.sensor_ids
    scalars = ("rb_bandwidth_hz", "slot_s", "noise_w", "p_max_w", "sinr_min", "coupled")
    numbers = ("distance_m", "los", "path_loss_db", "shadowing_db")
    document = {name: getattr(instance, name) for name in scalars}
    document["devices"] = [
        {"sensor": sensor, "cell": conversion.cell_ids[c]}
        | {name: getattr(links, name)[i, c].item() for name in numbers}
        | {"data_bits": float(instance.data_bits[i])}
        for i, (sensor, c) in enumerate(zip(ids, instance.serving, strict=True))
    ]
    document["cells"] = [
        {
            "cell": cell,
            "load": conversion.load[c],
            "free_rbs": np.flatnonzero(instance.free[c]).tolist(),
            "interference_w": instance.interference_w[c].tolist(),
        }
        for c, cell in enumerate(conversion.cell_ids)
    ]
    if solution is not None:
        granted = grants(conversion, solution)
        document["solution"] = {
            **{name: getattr(solution, name) for name in ("status", "objective_s", "lower_bound_s", "gap")},
            "grants": {
                sensor: vars(grant) | {"resource_blocks": list(grant.resource_blocks)}
                for sensor, grant in granted.items()
            },
            "refused": [sensor for sensor in ids if sensor not in granted],
            "rb_map": {
                cell: [_by_sensor(slot, ids) for slot in solution.schedule[c]]
                for c, cell in enumerate(conversion.cell_ids)
            },
        }
    return document


def scenario_links(
    scenario: Scenario, senders: Sequence[Sensor | UserEquipment], cells: Sequence[Cell], seed: int
) -> Links:
    """Links of sensors or CC users to base stations."""
    heights = ([x.height_m for x in rows] for rows in (senders, cells))
    names = ([x.id for x in rows] for rows in (senders, cells))
    return draw_links(*names, offset_m(senders, cells), *heights, scenario.radio.frequency_hz, seed)


def offset_m(senders: Sequence[Sensor | UserEquipment], cells: Sequence[Cell]) -> NDArray[np.complex128]:
    """Position of each sender as seen from each base station [N, C], east + 1j north, in metres.

    Degrees are taken as a plane at the mean latitude of the two; within 10 km that errs by less than 0.01 m.
    """
    a, b = (np.radians([(x.lon, x.lat) for x in rows]).reshape(-1, 2) for rows in (senders, cells))
    east = (a[:, None, 0] - b[:, 0] + np.pi) % (2 * np.pi) - np.pi  # across the date line, if need be
    north = a[:, None, 1] - b[:, 1]
    return EARTH_RADIUS_M * (east * np.cos((a[:, None, 1] + b[:, 1]) / 2) + 1j * north)


def free_rbs(cell: Cell, load: float, seed: int) -> NDArray[np.bool_]:
    """[M]: the floor(M (1 - load)) RBs that CC users leave free, drawn by seed; more load takes further RBs only."""
    return draw_free_rbs(cell.resource_blocks, load, cell.id, seed)


def draw_free_rbs(rbs: int, load: float, cell: str, seed: int) -> NDArray[np.bool_]:
    """``free_rbs`` for a cell of ``rbs`` RBs, by name."""
    count = math.floor(rbs * (1 - min(load, 1.0)) + 1e-9)  # 1 - 0.9 must leave 5 of 50 RBs, not 4
    free = np.zeros(rbs, bool)
    free[np.argsort(uniform(stream(int(seed), "free", cell), np.arange(rbs)))[:count]] = True
    return free


def cc_power_w(held: NDArray[np.bool_], power_w: ArrayLike) -> NDArray[np.float64]:
    """[U, M]: what each of a cell's CC users sends on each RB when they share the RBs ``held`` [M] in turn."""
    power = np.asarray(power_w, float)[:, None]
    own = held & ((np.cumsum(held) - 1) % max(len(power), 1) == np.arange(len(power))[:, None])
    return power * own / np.maximum(own.sum(axis=1, keepdims=True), 1)


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


def _interference_w(
    scenario: Scenario, victims: Sequence[Cell], load: Mapping[str, float], rbs: int, seed: int
) -> NDArray[np.float64]:
    """[C, M]: power of other cells' CC users at base stations."""
    users: dict[str, list[UserEquipment]] = {}
    for user in scenario.ues:
        users.setdefault(user.cell, []).append(user)
    sent: dict[str, dict[str, NDArray]] = {}  # [M] by cell and user; only what is near enough
    total = np.zeros((max(len(victims), 1), rbs))
    for c, victim in enumerate(victims):
        near = np.abs(offset_m(scenario.ues, [victim])[:, 0]) <= INTERFERENCE_RANGE_M
        heard = [u for u, yes in zip(scenario.ues, near, strict=True) if yes and u.cell != victim.id]
        for name in {u.cell for u in heard} - sent.keys():
            sent[name] = _sent_w(scenario.cell[name], users[name], load.get(name, math.nan), rbs, seed)
        power_w = np.reshape([sent[u.cell][u.id] for u in heard], (-1, rbs))
        gain = scenario_links(scenario, heard, [victim], seed).gain(rbs, scenario.radio.rb_bandwidth_hz)[:, 0]
        total[c] = (power_w * gain).sum(axis=0)
    return total


def _sent_w(cell: Cell, users: Sequence[UserEquipment], load: float, rbs: int, seed: int) -> dict[str, NDArray]:
    """What each CC user of a cell sends on each of the first ``rbs`` RBs [M], zero where its cell has none."""
    held = ~free_rbs(cell, 1.0 if math.isnan(load) else load, seed)
    power_w = cc_power_w(held, [dbm_to_w(user.power_dbm) for user in users])[:, :rbs]
    padded = np.pad(power_w, ((0, 0), (0, rbs - power_w.shape[1])))
    return {user.id: row for user, row in zip(users, padded, strict=True)}


def _by_sensor(slot: NDArray[np.int32], sensor_ids: Sequence[str]) -> dict[str, list[int]]:
    used = np.flatnonzero(slot >= 0)
    return {sensor_ids[i]: used[slot[used] == i].tolist() for i in np.unique(slot[used])}
