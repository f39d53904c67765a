"""The model behind Fig. 6: retrievals of a generated city, and the delay of each cell on each path (``docs/fig6.md``).

What doesn't depend on tau is computed once here: a cell's delay on each path. Tau and the other policies only choose.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import plan_offline
from agents.areas import sensors_in
from evaluation.planning import read_queries
from optimizer.convertor import convert, free_rbs
from optimizer.decision import decide_by_delay, delay_of_rbs, sixg_delay_s, with_tail
from optimizer.instance import Instance
from optimizer.mixed import by_shares, mixed_split, slowest_on_zigbee_s
from optimizer.solve import Options, solve
from predictor import QUANTILES, forecaster
from twin.generate import make_scenario
from twin.load_model import SLOT_S, cell_load
from twin.path import Path as AccessPath
from twin.retrieval import expected_readings
from twin.scenario import Scenario
from twin.sensor_types import sensor_types

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUERIES = Path(__file__).parent / "queries" / "paper.yaml"
CELLS, SENSORS, ONE_RB = 10, 120, 0.04  # of 25; a cell has one conventional user and one coordinator
HISTORY_SLOTS, WINDOW_SLOTS = 2016, 3  # two weeks of telemetry; a decision looks 30 minutes ahead
WEEK_S, AFTER_SLOTS = 7 * 86_400, 3 * 144  # retrievals begin within a week and may last into the days after it
SOLVER = Options(solver="highs", gap=0.01, time_limit_s=2.0)
RISKS = (None, 0.5, 0.8, 0.9, 0.95, 0.98)  # of policy delay: mean of the predicted delay, or a quantile of it
BASELINES = ("equal", "random", "greedy")

# Random access, 3GPP TR 37.868, table 6.2.2.1.1, and TS 36.321, section 5.1.
PREAMBLES, OPPORTUNITY_S, MOST_ATTEMPTS, BACKOFF_S = 54, 5e-3, 10, 20e-3
GRANTS = 15  # random access responses to one opportunity: 3 uplink grants in each of the window's 5 subframes
NO_ANSWER_S = 8e-3  # until a sender knows that it was not heard: 3 subframes, and the window of 5
# TR 36.913 allows 50 ms from camped to active, data bearer and an undisturbed random access included, core excluded.
SETUP_S = 50e-3
CC_ATTEMPTS_PER_S = 50.0  # of a full cell's conventional users; an assumption of ours


# --- Model ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effects:
    """What the model has: demand as a multiple of the generated load (above about 1.5, busy hours exceed capacity and
    build a backlog), the share of a cell's RBs that sensors may use, and whether they must connect first."""

    demand: float = 1.0
    slice: float = 1.0
    access: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything that the numbers depend on. Raises ValueError."""

    seeds: int = 30
    retrievals: int = 5  # per seed
    taus: tuple[float, ...] = tuple(np.round(np.arange(0, 1.0001, 0.05), 2).tolist())
    forecasters: tuple[str, ...] = ("arima", "persistence")  # the first one is that of the figures
    demand: float = 2.0
    slice: float = 0.24

    def __post_init__(self) -> None:
        for name in ("seeds", "retrievals"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        if wrong := [tau for tau in self.taus if not 0 <= tau <= 1]:
            raise ValueError(f"tau: {wrong[0]} is not a share of capacity; give numbers from 0 to 1")
        if not 0 < self.slice <= 1:
            raise ValueError(f"slice: {self.slice} must be a share of the RBs, above 0 and at most 1")
        if not (self.demand > 0 and math.isfinite(self.demand)):
            raise ValueError(f"demand: {self.demand} must be a finite number above 0")

    def variants(self) -> dict[str, Effects]:
        """The plain model, each effect added alone, and all together."""
        return {
            "plain": Effects(),
            "slice": Effects(slice=self.slice),
            "one RB": Effects(slice=ONE_RB),
            "access": Effects(access=True),
            "congestion": Effects(demand=self.demand),
            "all": Effects(self.demand, self.slice, True),
            "all, one RB": Effects(self.demand, ONE_RB, True),
        }


def with_backlog(offered: Floats) -> Floats:
    """Load [C, T] (share of capacity) with what is left over from the slots before: it may exceed 1, and what exceeds
    it waits for the next slot."""
    load, waiting = np.empty_like(offered), np.zeros(len(offered))
    for t in range(offered.shape[1]):
        load[:, t] = offered[:, t] + waiting
        waiting = np.maximum(load[:, t] - 1, 0.0)
    return load


def usable_rbs(load: Floats | float, blocks: int, share: float) -> Ints:
    """RBs that sensors may use: those that conventional users leave free, at most their slice (1 RB or more)."""
    free = np.floor(blocks * (1 - np.minimum(load, 1.0)) + 1e-9)
    return np.minimum(free, max(1, math.floor(share * blocks + 1e-9))).astype(int)


def access_delays_s(devices: int, cc_per_s: float, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """(delay [devices] until connected, preambles sent [devices]) when all begin at once, conventional users beside.

    A preamble sent by two is lost for both; a lone one is heard with probability 1 - exp(-i) at the i-th attempt (the
    power is ramped), and answered if a grant is left. Who isn't answered backs off and tries again; after MOST_ATTEMPTS
    the procedure begins anew.
    """
    ready, sent, done = np.zeros(devices), np.zeros(devices, int), np.full(devices, np.nan)
    now = rng.uniform(0, OPPORTUNITY_S)
    while np.isnan(done).any():
        trying = np.flatnonzero(np.isnan(done) & (ready <= now))
        picks = rng.integers(PREAMBLES, size=len(trying) + rng.poisson(cc_per_s * OPPORTUNITY_S))
        alone = np.bincount(picks, minlength=PREAMBLES)[picks] == 1
        sent[trying] += 1
        attempt = np.ones(len(picks))
        attempt[: len(trying)] = (sent[trying] - 1) % MOST_ATTEMPTS + 1
        heard = np.flatnonzero(alone & (rng.random(len(picks)) < 1 - np.exp(-attempt)))
        answered = rng.permutation(heard)[:GRANTS]
        answered = answered[answered < len(trying)]
        ready[trying] = now + NO_ANSWER_S + rng.uniform(0, BACKOFF_S, len(trying))
        done[trying[answered]] = now + SETUP_S
        now += OPPORTUNITY_S
    return done, sent


@cache
def mean_access_s(devices: int) -> float:
    """Mean time until the last of so many devices is connected in a half loaded cell."""
    rng = np.random.default_rng(devices)
    return float(np.mean([access_delays_s(devices, CC_ATTEMPTS_PER_S / 2, rng)[0].max() for _ in range(200)]))


def demands_bytes(scenario: Scenario, question: str, moment: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by sensor: (of the question's data plan, of all sensors over the hull of the plan's windows).

    The twin has been kept up to a week ago: windows keep their last week.
    """
    now_s = int(moment.timestamp())
    intervals = defaultdict(list)
    for item in plan_offline(question, moment, scenario).items:
        window = max(int(item.start.timestamp()), now_s - WEEK_S), int(item.end.timestamp())
        for sensor in sensors_in(scenario, item.type, item.area):
            intervals[sensor.id].append(window)
    hull = (
        min((start for spans in intervals.values() for start, _ in spans), default=now_s),
        max((end for spans in intervals.values() for _, end in spans), default=now_s),
    )

    def size(sensor_id: str, spans: list[tuple[int, int]]) -> int:
        kind = sensor_types()[scenario.sensor[sensor_id].type]
        return max(expected_readings(kind, spans) * kind.record_bytes, 1)  # even no reading takes a request

    planned = {sensor_id: size(sensor_id, spans) for sensor_id, spans in intervals.items()}
    return planned, {sensor.id: size(sensor.id, [hull]) for sensor in scenario.sensors}


# --- 6G delays of a cell --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solved:
    """Delay in seconds of the sensors that reach beta (inf: none does), the bound that the fluid certificate proves for
    frames of any length, the other sensors (refused), and the RB-slots held by each."""

    delay_s: float
    bound_s: float
    refused: tuple[str, ...]
    rb_slots: Mapping[str, float]


class Uplink:
    """6G delays of one set of sensors of one cell by the number of usable RBs, each solved once."""

    def __init__(self, scenario: Scenario, row: int, demand_of: Mapping[str, int], load: Mapping[str, float]):
        """The cell's index, bytes by sensor, load by cell, by which the other cells' conventional users interfere."""
        self._cell, self._seed, self.row, self.demand_of = scenario.cells[row], scenario.seed, row, demand_of
        conversion = convert(scenario, demand_of, {**load, self._cell.id: 0.0}, scenario.seed)
        self._instance, self._ids = conversion.instance, conversion.sensor_ids
        self._solved: dict[int, Solved] = {}

    def instance(self, rbs: int) -> tuple[Instance, Ints]:
        """The problem with ``rbs`` RBs, and which devices reach beta on one of them; the others go to Zigbee."""
        free = free_rbs(self._cell, 1 - rbs / self._cell.resource_blocks, self._seed)
        whole = replace(self._instance, free=free[None, :])
        best = whole.snr_per_w()[:, free].max(axis=1) * whole.p_max_w
        admitted = np.flatnonzero(best >= whole.sinr_min)
        parts = {name: getattr(whole, name)[admitted] for name in ("gain", "serving", "data_bits")}
        return replace(whole, **parts), admitted

    def solved(self, rbs: int) -> Solved:
        """LINKs' RRM with ``rbs`` RBs (1 or more)."""
        if rbs not in self._solved:
            instance, admitted = self.instance(rbs)
            names = [self._ids[i] for i in admitted]
            refused = [name for name in self._ids if name not in set(names)]
            if not names:
                self._solved[rbs] = Solved(math.inf, math.inf, tuple(refused), {})
            else:
                solution = solve(instance, SOLVER)
                if not solution.feasible:
                    raise RuntimeError(f"cell {self._cell.id}, {rbs} RBs: {'; '.join(solution.infeasible_because)}")
                held = np.bincount(solution.schedule[solution.schedule >= 0], minlength=len(names))
                refused += [name for name, away in zip(names, solution.to_zigbee, strict=True) if away]
                rb_slots = {n: float(h) for n, h in zip(names, held, strict=True) if n not in refused}
                delay_s, bound_s = solution.objective_s, solution.certificate["fluid_bound_s"]
                self._solved[rbs] = Solved(delay_s, bound_s, tuple(refused), rb_slots)
        return self._solved[rbs]

    def delay_s(self, rbs: int) -> float:
        """inf without an RB."""
        return self.solved(rbs).delay_s if rbs else math.inf

    def bound_s(self, rbs: int) -> float:
        return self.solved(rbs).bound_s if rbs else math.inf

    def baseline_s(self, scheme: str, rbs: int) -> float:
        """Delay under one of BASELINES; the same devices are refused as for LINKs."""
        if not rbs:
            return math.inf
        instance, _ = self.instance(rbs)
        return baseline_delay_s(instance, scheme, np.random.default_rng([self._seed, rbs]))


def baseline_delay_s(instance: Instance, scheme: str, rng: np.random.Generator) -> float:
    """Largest delay in seconds of a one-cell instance whose RB-slots are dealt out by rule; power is spread evenly.

    equal: in turn, so that every device has each RB equally often. random: each RB-slot to a random device. greedy: the
    device that is worst off takes the RB-slot in which it gains the highest rate, until none is left.
    """
    snr = instance.snr_per_w()[:, instance.free[0]] * instance.p_max_w
    devices, rbs = snr.shape
    if not devices:
        return math.inf
    if scheme == "equal":
        schedule = (np.arange(devices)[:, None] + np.arange(rbs)) % devices
    elif scheme == "random":
        schedule = rng.integers(devices, size=(10 * devices, rbs))
    elif scheme == "greedy":
        schedule = _greedy(snr, instance.data_bits, instance.sinr_min, 4 * devices)
    else:
        raise ValueError(f"scheme: {scheme!r} is unknown; choose one of {', '.join(BASELINES)}")
    rate = instance.rb_bandwidth_hz * even_power_rates(schedule, snr, instance.sinr_min)
    with np.errstate(divide="ignore"):
        return float((instance.data_bits / rate).max())


def even_power_rates(schedule: Ints, snr: Floats, sinr_min: float) -> Floats:
    """Mean spectral efficiency [N] in bit/s/Hz of a schedule [F, M] (device or -1); snr [N, M] at full power.

    A device spreads its power evenly over its RBs of a slot. Where one of them would stay below beta, it leaves out its
    weakest, and so on.
    """
    frames, rbs = schedule.shape
    slot, rb = np.nonzero(schedule >= 0)
    device = schedule[slot, rb]
    own, owner = snr[device, rb], slot * len(snr) + device
    while True:
        count = np.bincount(owner, minlength=frames * len(snr))
        sinr = own / count[owner]
        weakest = np.full(frames * len(snr), np.inf)
        np.minimum.at(weakest, owner, own)
        stays = (own > weakest[owner]) | (sinr >= sinr_min)
        if stays.all():
            return np.bincount(device, np.log2(1 + sinr), minlength=len(snr)) / frames
        device, own, owner = device[stays], own[stays], owner[stays]


def _greedy(snr: Floats, data_bits: Floats, sinr_min: float, frames: int) -> Ints:
    devices, rbs = snr.shape
    schedule, held, rate = np.full((frames, rbs), -1), np.zeros((frames, devices)), np.zeros(devices)
    active = np.ones(devices, bool)
    while active.any():
        with np.errstate(divide="ignore"):
            device = int(np.argmax(np.where(active, data_bits / rate, -1.0)))
        sinr = snr[device] / (held[:, device, None] + 1)
        sinr = np.where((schedule < 0) & (sinr >= sinr_min), sinr, 0.0)
        slot, rb = np.unravel_index(np.argmax(sinr), sinr.shape)
        if sinr[slot, rb] <= 0:
            active[device] = False
            continue
        schedule[slot, rb] = device
        held[slot, device] += 1
        rate[device] += np.log2(1 + sinr[slot, rb])
    return schedule


# --- One seed -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellOutcome:
    """One cell in one retrieval, seconds. sixg: by scheme, if the cell's retrieval begins on 6G ("waits": and never
    leaves it). loads: what is compared with tau, by forecaster. chosen: outcome under the policies that need no tau.
    """

    cell: str
    rbs: int
    zigbee_s: float
    sixg: dict[str, float]
    loads: dict[str, float]
    chosen: dict[str, float]
    over_bound: dict[str, float]


@dataclass(frozen=True)
class Moment:
    """A retrieval's start: slot in the load series, seconds left of it, question and number (for random draws)."""

    slot: int
    first_s: float
    question: str
    number: int


def run_seed(settings: Settings, seed: int) -> dict[str, list[list[CellOutcome]]]:
    """Outcomes of the cells of each retrieval, by variant."""
    scenario = make_scenario(CELLS, SENSORS, seed)
    begin_s = int(scenario.start.timestamp()) - HISTORY_SLOTS * SLOT_S
    slots = HISTORY_SLOTS + WEEK_S // SLOT_S + AFTER_SLOTS
    generated = np.array([cell_load(scenario, cell.id, begin_s, slots) for cell in scenario.cells])
    variants = settings.variants()
    loads = {demand: with_backlog(demand * generated) for demand in {e.demand for e in variants.values()}}
    outcomes: dict[str, list[list[CellOutcome]]] = {name: [] for name in variants}
    for moment in _moments(settings, seed):
        now = datetime.fromtimestamp(begin_s + (moment.slot + 1) * SLOT_S - moment.first_s, scenario.zone)
        planned, everything = demands_bytes(scenario, moment.question, now)
        views = {demand: _View(settings, scenario, load, moment) for demand, load in loads.items()}
        for name, effects in variants.items():
            retrieval = _Retrieval(effects, views[effects.demand], full=name.startswith("all"))
            outcomes[name].append(retrieval.outcomes(planned, everything))
    return outcomes


def _moments(settings: Settings, seed: int) -> Iterator[Moment]:
    """Spread over the week: one in each part of it; the paper's questions in turn over all seeds."""
    _, queries = read_queries(QUERIES)
    rng = np.random.default_rng([seed, 6])
    for k in range(settings.retrievals):
        at = (k + rng.random()) / settings.retrievals * WEEK_S / SLOT_S
        number = seed * settings.retrievals + k
        yield Moment(HISTORY_SLOTS + int(at), SLOT_S * (1 - at % 1), queries[number % len(queries)].q, number)


class _View:
    """What variants of the model with the same demand share at one moment: loads, forecasts, solved problems."""

    def __init__(self, settings: Settings, scenario: Scenario, load: Floats, moment: Moment):
        self.scenario, self.load, self.moment = scenario, load, moment
        past = load[:, moment.slot - HISTORY_SLOTS : moment.slot]  # the slot in progress isn't known yet
        self.forecasts = {name: forecaster(name).forecast(past, WINDOW_SLOTS) for name in settings.forecasters}
        self._uplinks: dict[tuple[int, frozenset], Uplink] = {}

    def uplink(self, row: int, demand_of: Mapping[str, int]) -> Uplink:
        key = row, frozenset(demand_of.items())
        if key not in self._uplinks:
            now = np.minimum(self.load[:, self.moment.slot], 1.0)
            load = dict(zip(self.scenario.cell, now.tolist(), strict=True))
            self._uplinks[key] = Uplink(self.scenario, row, demand_of, load)
        return self._uplinks[key]


class _Retrieval:
    """One retrieval under one variant of the model; ``full``: with baselines, all data and the other policies."""

    def __init__(self, effects: Effects, view: _View, full: bool):
        self._effects, self._view, self._moment, self._full = effects, view, view.moment, full

    def outcomes(self, planned: Mapping[str, int], everything: Mapping[str, int]) -> list[CellOutcome]:
        result = []
        for row, cell in enumerate(self._view.scenario.cells):
            here = {s.id: planned[s.id] for s in self._view.scenario.sensors_of[cell.id] if s.id in planned}
            everyone = {s.id: everything[s.id] for s in self._view.scenario.sensors_of[cell.id]}
            if here or self._full:
                result.append(self._outcome(row, cell.id, here, everyone))
        return result

    def _outcome(self, row: int, cell: str, here: Mapping[str, int], everyone: Mapping[str, int]) -> CellOutcome:
        slot = self._moment.slot
        rbs = self._usable(self._view.load[row, slot:])
        perfect = float(self._view.load[row, slot : slot + WINDOW_SLOTS].max())
        loads = {name: float(f.mean[row].max()) for name, f in self._view.forecasts.items()} | {"perfect": perfect}
        zigbee_s, sixg, chosen, ratios = slowest_on_zigbee_s(here), {}, {}, {}
        if here:
            uplink = self._view.uplink(row, here)
            sixg = {
                "links": self._on_6g(uplink, uplink.delay_s, rbs),
                "waits": self._on_6g(uplink, uplink.delay_s, rbs, waits=True),
                "bound": self._bound_s(uplink, rbs),
            }
            if rbs[0] and (solved := uplink.solved(rbs[0])).rb_slots:
                ratios["LINKs"] = solved.delay_s / solved.bound_s
            chosen = {"oracle": min(sixg["links"], zigbee_s), "bound": min(sixg["bound"], zigbee_s)}
        if here and self._full:
            for scheme in BASELINES:
                sixg[scheme] = self._on_6g(uplink, lambda n, s=scheme: uplink.baseline_s(s, n), rbs)
                if ratios:
                    ratios[scheme] = uplink.baseline_s(scheme, int(rbs[0])) / solved.bound_s
            for name in self._view.forecasts:
                chosen |= self._by_delay(name, uplink, rbs, sixg["links"], zigbee_s)
        if self._full:
            whole = self._view.uplink(row, everyone)
            sixg["all"] = self._on_6g(whole, whole.delay_s, rbs)
            chosen["zigbee, all data"] = slowest_on_zigbee_s(everyone)
        return CellOutcome(cell, int(rbs[0]), zigbee_s, sixg, loads, chosen, ratios)

    def _usable(self, load: Floats) -> Ints:
        return usable_rbs(load, self._view.scenario.cells[0].resource_blocks, self._effects.slice)

    def _on_6g(self, uplink: Uplink, delay_s: Callable[[int], float], rbs: Ints, waits: bool = False) -> float:
        """Latency of a cell that begins on 6G: connection set-up, then the transfer, with refused sensors on Zigbee."""
        refused = self._refused(uplink, rbs)
        rest = {sensor: size for sensor, size in uplink.demand_of.items() if sensor not in refused}
        if not rest:
            return slowest_on_zigbee_s(refused)
        leave_s = None if waits else slowest_on_zigbee_s(rest)
        transfer_s = sixg_delay_s(map(delay_s, rbs.tolist()), self._moment.first_s, SLOT_S, leave_s)
        return max(transfer_s + self._access_s(uplink), slowest_on_zigbee_s(refused))

    def _refused(self, uplink: Uplink, rbs: Ints) -> dict[str, int]:
        """Bytes of the sensors that reach beta on none of the first RBs that are free: they take Zigbee."""
        names = uplink.solved(int(rbs[rbs > 0][0])).refused if rbs.any() else ()
        return {sensor: uplink.demand_of[sensor] for sensor in names}

    def _access_s(self, uplink: Uplink) -> float:
        """Until the last device is connected; drawn by retrieval and cell."""
        if not self._effects.access:
            return 0.0
        rng = np.random.default_rng([self._moment.number, uplink.row])
        load = min(self._view.load[uplink.row, self._moment.slot], 1.0)
        return float(access_delays_s(len(uplink.demand_of), CC_ATTEMPTS_PER_S * load, rng)[0].max())

    def _bound_s(self, uplink: Uplink, rbs: Ints) -> float:
        """No RRM can bring the 6G delay below this. The bound of the most RBs of any slot that LINKs needs holds for
        all of them, as fewer RBs are a part of more; slots without RBs carry nothing. Refused sensors are on Zigbee."""
        end_s = sixg_delay_s(map(uplink.delay_s, rbs.tolist()), self._moment.first_s, SLOT_S)
        used = 1 + max(0, math.ceil((end_s - self._moment.first_s) / SLOT_S)) if math.isfinite(end_s) else len(rbs)
        most = int(rbs[:used].max())
        alone_s = (uplink.bound_s(most) if n else math.inf for n in rbs.tolist())
        transfer_s = sixg_delay_s(alone_s, self._moment.first_s, SLOT_S)
        return max(transfer_s + self._access_s(uplink), slowest_on_zigbee_s(self._refused(uplink, rbs)))

    def _by_delay(self, name: str, uplink: Uplink, rbs: Ints, sixg_s: float, zigbee_s: float) -> dict[str, float]:
        """Outcomes of policy "delay" at each risk, and of mixed cells, with this forecaster.

        Cells are mixed where the mean delay speaks for 6G, for the median load: what may go wrong on 6G with a small
        chance is no reason to give Zigbee more than it carries while all goes well.
        """
        levels, loads = with_tail(QUANTILES, self._view.forecasts[name].quantiles[uplink.row])
        predicted_rbs = self._usable(loads)
        most = int(self._usable(np.zeros(1))[0])
        solved_s = {n: uplink.delay_s(n) for n in {1, (most + 1) // 2, most}}
        access_s = mean_access_s(len(uplink.demand_of)) if self._effects.access else 0.0

        def predicted_s(share: float) -> list[float]:
            """At each quantile of the load, for sensors that need this share of the RB-slots of all."""
            paths = [(share * delay_of_rbs(solved_s, n) for n in _held_on(level)) for level in predicted_rbs.tolist()]
            first_s = self._moment.first_s
            return [access_s + sixg_delay_s(alone_s, first_s, SLOT_S, share * zigbee_s) for alone_s in paths]

        result, whole_s = {}, predicted_s(1.0)
        for risk in RISKS:
            made = decide_by_delay({"": 0.0}, {"": whole_s}, {"": zigbee_s}, levels, risk)[""]
            result[f"delay, {risk_name(risk)}, {name}"] = sixg_s if made.path is AccessPath.SIXG else zigbee_s
        result[f"mixed, {name}"] = zigbee_s
        if decide_by_delay({"": 0.0}, {"": whole_s}, {"": zigbee_s}, levels)[""].path is AccessPath.SIXG:
            solved, median = uplink.solved(most), levels.index(0.5)
            share = by_shares(1.0, solved.rb_slots)
            demand_of = {sensor: uplink.demand_of[sensor] for sensor in solved.rb_slots}
            split = mixed_split(demand_of, solved.rb_slots, lambda sensors: predicted_s(share(sensors))[median])
            result[f"mixed, {name}"] = self._mixed_s(split.sixg, uplink, rbs, sixg_s, zigbee_s)
        return result

    def _mixed_s(self, stay: Sequence[str], uplink: Uplink, rbs: Ints, sixg_s: float, zigbee_s: float) -> float:
        """True latency of a split: its 6G part is solved for itself."""
        away = {sensor: size for sensor, size in uplink.demand_of.items() if sensor not in stay}
        if not away:
            return sixg_s
        if not stay:
            return zigbee_s
        part = self._view.uplink(uplink.row, {sensor: uplink.demand_of[sensor] for sensor in stay})
        return max(self._on_6g(part, part.delay_s, rbs), slowest_on_zigbee_s(away))


def _held_on(rbs: Sequence[int]) -> Iterable[int]:
    """The forecast, and its last slot held for a day."""
    return chain(rbs, repeat(rbs[-1], 144))


def risk_name(risk: float | None) -> str:
    return "mean" if risk is None else f"{risk:.0%}"
