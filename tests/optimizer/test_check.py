"""The checker against a second one: plain loops over the formulas, brute force where the checker has a closed form."""

import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_rrm import make_instance

import optimizer.solve
from optimizer.check import check
from optimizer.instance import Instance, Solution, summary

CLOSE = 1e-6


# --- The second checker -----------------------------------------------------------------------------------------------


def held(solution):
    """(cell, slot, RB, device) of every RB-slot in use."""
    for place in itertools.product(*map(range, solution.schedule.shape)):
        if solution.schedule[place] != -1:
            yield *place, int(solution.schedule[place])


def true_sinr(instance, solution, c, f, j):
    device = solution.schedule[c, f, j]
    disturbance = instance.noise_w + instance.interference_w[c, j]
    for other in range(instance.shape[1]) if instance.coupled else ():
        rival = solution.schedule[other, f, j]
        if other != c and rival >= 0:
            disturbance += instance.gain[rival, c, j] * solution.power_w[other, f, j]
    return instance.gain[device, c, j] * solution.power_w[c, f, j] / disturbance


def same(told, true):
    return math.isclose(told, true, rel_tol=CLOSE, abs_tol=0)


def reference(instance: Instance, solution: Solution) -> set[str]:
    """Names of the constraints that are broken, for arrays of the right shape and devices that exist."""
    n, _, _ = instance.shape
    slots, broken = solution.schedule.shape[1], set()
    rate, power = np.zeros(n), {}
    for place in itertools.product(*map(range, solution.schedule.shape)):
        watts = solution.power_w[place]
        if not (math.isfinite(watts) and watts >= 0) or (solution.schedule[place] == -1 and watts != 0):
            broken.add("power")
    for c, f, j, device in held(solution):
        if instance.serving[device] != c:
            broken.add("exclusive")
        if not instance.free[c, j]:
            broken.add("free_rbs")
        power[device, f] = power.get((device, f), 0.0) + solution.power_w[c, f, j]
        sinr = true_sinr(instance, solution, c, f, j)
        if not sinr >= instance.sinr_min * (1 - CLOSE):
            broken.add("sinr")
        if sinr > 0:
            rate[device] += instance.rb_bandwidth_hz * math.log2(1 + sinr) / slots
    if any(watts > instance.p_max_w * (1 + CLOSE) for watts in power.values()):
        broken.add("power")
    using = {device for *_, device in held(solution)}
    for i in range(n):
        bits, told = instance.data_bits[i], solution.delay_s[i]
        if (i in using and solution.to_zigbee[i]) or (i not in using and not solution.to_zigbee[i] and bits > 0):
            broken.add("served")
        if solution.to_zigbee[i]:
            right = math.isnan(told)
        elif bits == 0:
            right = told == 0
        else:
            right = rate[i] > 0 and same(told, bits / rate[i])
        if not right:
            broken.add("delay")
    served = [solution.delay_s[i] for i in range(n) if not solution.to_zigbee[i]]
    if solution.objective_s is None or not same(solution.objective_s, float(np.max(served, initial=0.0))):
        broken.add("objective")
    return broken | reference_bound(instance, solution)


def reference_bound(instance, solution) -> set[str]:
    objective, lower, gap = solution.objective_s, solution.lower_bound_s, solution.gap
    broken = set() if evidence_is_true(instance, solution) else {"certificate"}
    if solution.bound == "none":
        return broken | ({"bound"} if lower or gap or (solution.status == "optimal" and objective != 0) else set())
    if None in (objective, lower, gap) or lower > objective * (1 + CLOSE) or not same(1 + gap, objective / lower):
        broken.add("bound")
    fluid = fluid_bound_s(instance, solution.certificate["mu"], solution.certificate["nu"])
    proven = {"fluid": fluid, "counting": solution.certificate["counting_bound_s"]}
    if solution.bound == "milp":
        good = lower >= max(proven.values()) * (1 - CLOSE)
    else:
        good = lower <= proven[solution.bound] * (1 + CLOSE)
    return broken if good else broken | {"certificate"}


def evidence_is_true(instance, solution) -> bool:
    certificate = solution.certificate
    mu, nu = certificate["mu"], certificate["nu"]
    return (
        min(mu) >= 0
        and min(nu) >= 0
        and not any(price > 0 for price, refused in zip(mu, solution.to_zigbee, strict=True) if refused)
        and same(math.fsum(price * bits for price, bits in zip(mu, instance.data_bits, strict=True)), 1.0)
        and certificate["fluid_bound_s"] <= fluid_bound_s(instance, mu, nu) * (1 + CLOSE)
        and counts_prove(instance, solution, certificate["rbs_needed"], certificate["counting_bound_s"])
    )


def snr_per_w(instance, i, j):
    c = instance.serving[i]
    return instance.gain[i, c, j] / (instance.noise_w + instance.interference_w[c, j])


def fluid_bound_s(instance, mu, nu):
    """The certificate's formula; the best power found by ternary search, as the priced rate is concave in it."""
    best = 0.0
    for c in range(instance.shape[1]):
        own = [i for i in range(instance.shape[0]) if instance.serving[i] == c]
        worth = sum(mu[i] * instance.data_bits[i] for i in own)
        value = instance.p_max_w * sum(nu[i] for i in own)
        for j in range(instance.shape[2]):
            if instance.free[c, j]:
                value += max([0.0, *(best_priced_rate(instance, i, j, mu[i], nu[i]) for i in own)])
        if worth > 0:
            best = max(best, worth / value if value > 0 else math.inf)
    return best


def best_priced_rate(instance, i, j, mu, nu):
    def value(watts):
        return mu * instance.rb_bandwidth_hz * math.log2(1 + snr_per_w(instance, i, j) * watts) - nu * watts

    low, high = 0.0, instance.p_max_w
    for _ in range(60):
        third = (high - low) / 3
        low, high = (low + third, high) if value(low + third) < value(high - third) else (low, high - third)
    return max(value(low), value(high), value(0.0), value(instance.p_max_w))


def filled(instance, i, rbs):
    """Best rate of device i on all of ``rbs`` in one slot with SINR >= beta on each, None if impossible; bisection."""
    gains, beta = [snr_per_w(instance, i, j) * instance.p_max_w for j in rbs], instance.sinr_min
    if min(gains) <= 0 or sum(beta / g for g in gains) > 1 + 1e-9:
        return None

    def shares(level):
        return [max(beta / g, level - 1 / g) for g in gains]

    low, high = 0.0, 1 + max(1 / g for g in gains)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(shares(middle)) > 1 else (middle, high)
    return instance.rb_bandwidth_hz * sum(math.log2(1 + g * q) for g, q in zip(gains, shares(low), strict=True))


@functools.lru_cache(maxsize=1000)  # of instances as they are, compared by identity
def alone(instance, i, slots):
    """[F M + 1]: highest mean rate of device i alone on at most 0, 1, ... RB-slots, over all sets of RBs and slots."""
    free = np.flatnonzero(instance.free[instance.serving[i]])
    one_slot = [0.0]
    for k in range(1, len(free) + 1):
        rates = [filled(instance, i, rbs) for rbs in itertools.combinations(free, k)]
        one_slot.append(max([one_slot[-1], *(rate for rate in rates if rate is not None)]))
    frame = [0.0] * (slots * instance.shape[2] + 1)
    for split in itertools.product(range(len(free) + 1), repeat=slots):
        rate = sum(one_slot[k] for k in split) / slots
        frame[sum(split)] = max(frame[sum(split)], rate)
    return list(itertools.accumulate(frame, max))


def counts_prove(instance, solution, needed, delay_s):
    slots, sums = solution.schedule.shape[1], np.zeros(instance.shape[1], int)
    if max(needed) > slots * instance.shape[2] + 1:
        return False
    for i in range(instance.shape[0]):
        if not solution.to_zigbee[i] and instance.data_bits[i] > 0 and needed[i] > 0:
            rate = alone(instance, i, slots)[needed[i] - 1]
            if rate > 0 and instance.data_bits[i] / rate < delay_s * (1 - CLOSE):
                return False
            sums[instance.serving[i]] += needed[i]
    return bool((sums > slots * instance.free.sum(axis=1)).any())


# --- Solutions to be checked ------------------------------------------------------------------------------------------


def drawn_instance(seed, sinr_min=0.3, coupled=False) -> Instance:
    """Two cells of 4 RBs, one of them taken, 5 devices, of which device 4 has no way; gains of 1e-13 and such."""
    rng = np.random.default_rng(seed)
    gain = 1e-13 * 10 ** rng.uniform(-1, 1.5, (5, 2, 1)) * rng.exponential(1, (5, 2, 4))
    gain[[0, 1, 2, 3], [1, 1, 0, 0]] *= 0.1
    gain[4] = 0.0
    free = np.ones((2, 4), bool)
    free[1, 2] = False
    return Instance(
        gain=gain,
        serving=np.array([0, 0, 1, 1, 1]),
        data_bits=rng.uniform(1e5, 2e6, 5),
        free=free,
        interference_w=rng.uniform(0, 1e-15, (2, 4)),
        rb_bandwidth_hz=180e3,
        slot_s=1e-3,
        noise_w=1e-15,
        p_max_w=0.2,
        sinr_min=sinr_min,
        coupled=coupled,
    )


def truth(instance, solution) -> Solution:
    """The solution with the delays, the objective and the gap that its schedule and powers have."""
    rate = np.zeros(instance.shape[0])
    for c, f, j, device in held(solution):
        sinr = true_sinr(instance, solution, c, f, j)
        rate[device] += instance.rb_bandwidth_hz * math.log2(1 + sinr) / solution.schedule.shape[1]
    with np.errstate(divide="ignore"):
        delay = np.where(solution.to_zigbee, np.nan, instance.data_bits / rate)
    objective = float(np.nanmax(delay))
    gap = objective / solution.lower_bound_s - 1 if solution.bound != "none" else None
    return dataclasses.replace(solution, delay_s=delay, objective_s=objective, gap=gap)


def certificate_of(instance, slots, rng) -> dict:
    """Random prices with what they prove, and the counting bound by bisection over brute force."""
    mu = rng.uniform(0.5, 1.5, 5) / instance.data_bits * [1, 1, 0.2, 0.2, 0]
    mu /= mu @ instance.data_bits
    nu = mu * rng.uniform(0, 2e6, 5)
    rates = [alone(instance, i, slots) for i in range(4)]

    def needed(delay_s):
        wants = [bits / (delay_s * (1 - 1e-9)) for bits in instance.data_bits[:4]]
        counts = [int(np.sum(np.array(rates[i]) < want)) for i, want in enumerate(wants)]
        return [min(count, slots * 4 + 1) for count in counts]

    low, high = 1e-6, 1e6
    while high / low > 1 + 1e-12:
        counts = np.array(needed(middle := math.sqrt(low * high)))
        over = counts[:2].sum() > 4 * slots or counts[2:].sum() > 3 * slots
        low, high = (middle, high) if over else (low, middle)
    return {
        "kind": "fluid",
        "mu": mu.tolist(),
        "nu": nu.tolist(),
        "fluid_bound_s": fluid_bound_s(instance, mu, nu),
        "counting_bound_s": low,
        "rbs_needed": [*needed(low), 0],
    }


def solution_of(instance, slots=1, bound="fluid", seed=0) -> Solution:
    """A valid solution: RBs dealt at random, even power, RBs without enough SINR given back; device 4 refused."""
    rng = np.random.default_rng(seed)
    schedule = np.full((2, slots, 4), -1, np.int32)
    schedule[0], schedule[1] = rng.integers(0, 2, (slots, 4)), rng.integers(2, 4, (slots, 4))
    schedule[:, 0, 0], schedule[:, 0, 1] = [0, 2], [1, 3]
    schedule[:, :, 2][1] = -1
    certificate = certificate_of(instance, slots, rng)
    lower = {"fluid": certificate["fluid_bound_s"], "counting": certificate["counting_bound_s"]}
    solution = Solution(
        schedule=schedule,
        power_w=np.zeros(schedule.shape),
        delay_s=np.zeros(5),
        to_zigbee=np.arange(5) == 4,
        status="feasible",
        objective_s=1.0,
        lower_bound_s=lower.get(bound, max(lower.values())),
        gap=None,
        bound=bound,
        solver="by hand",
        seconds=0.0,
        iterations=0,
        certificate=certificate | {"kind": bound},
    )
    for _, f, _, device in held(solution):
        mine = schedule[:, f] == device
        solution.power_w[:, f][mine] = instance.p_max_w / mine.sum()
    return truth(instance, solution)


def broken(instance, solution) -> set[str]:
    return {finding.constraint for finding in check(instance, solution) if not finding.holds}


def changed(solution, name, change) -> Solution:
    array = getattr(solution, name).copy()
    change(array)
    return dataclasses.replace(solution, **{name: array})


def certified(solution, **entries) -> Solution:
    return dataclasses.replace(solution, certificate=solution.certificate | entries)


@pytest.fixture(scope="module", params=[(1, "counting"), (2, "fluid")], ids=["one slot", "two slots"])
def good(request):
    """An instance that keeps no SINR floor, so that any powers will do, and a valid solution with admission."""
    instance = drawn_instance(4, sinr_min=1e-6)
    return instance, solution_of(instance, *request.param)


# --- Both checkers ----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.05, 1.0, 30.0]),
    st.booleans(),
    st.integers(1, 2),
    st.sampled_from(["fluid", "counting", "milp"]),
)
def test_both_checkers_find_the_same_in_random_solutions(seed, sinr_min, coupled, slots, bound):
    """With high floors and coupling some of them are broken; their certificates hold throughout."""
    instance = drawn_instance(seed, sinr_min, coupled)
    solution = solution_of(instance, slots, bound, seed)
    findings = broken(instance, solution)
    assert findings == reference(instance, solution)
    assert findings <= {"sinr", "bound"}  # "bound": no claim on powers below the floor
    if not sinr_min and not coupled:
        assert findings == set()


def scale(name, index, factor):
    return lambda s: changed(s, name, lambda a: a.reshape(-1)[index % a.size : index % a.size + 1].__imul__(factor))


def put(name, index, value):
    return lambda s: changed(s, name, lambda a: a.reshape(-1).__setitem__(index % a.size, value))


def figure(name, factor):
    return lambda s: dataclasses.replace(s, **{name: getattr(s, name) * factor})


def evidence(name, index, factor):
    def change(s):
        value = s.certificate[name]
        if isinstance(value, list):
            value = list(value)
            value[index % 5] = type(value[0])(value[index % 5] * factor)
        else:
            value *= factor
        return certified(s, **{name: value})

    return change


FACTORS = st.sampled_from([0.0, 0.5, 0.999, 1.0, 1.001, 2.0, 3.0])
MUTATIONS = st.one_of(
    st.builds(put, st.just("schedule"), st.integers(0, 31), st.integers(-1, 4)),
    st.builds(scale, st.just("power_w"), st.integers(0, 31), st.one_of(FACTORS, st.just(-1.0))),
    st.builds(put, st.just("power_w"), st.integers(0, 31), st.sampled_from([0.0, 0.01, np.nan, np.inf])),
    st.builds(scale, st.just("delay_s"), st.integers(0, 4), FACTORS),
    st.builds(put, st.just("delay_s"), st.integers(0, 4), st.sampled_from([0.0, np.nan, np.inf, -1.0])),
    st.builds(put, st.just("to_zigbee"), st.integers(0, 4), st.booleans()),
    st.builds(figure, st.sampled_from(["objective_s", "lower_bound_s", "gap"]), FACTORS.filter(bool)),
    st.builds(evidence, st.sampled_from(["mu", "nu", "rbs_needed"]), st.integers(0, 4), FACTORS),
    st.builds(evidence, st.sampled_from(["fluid_bound_s", "counting_bound_s"]), st.just(0), FACTORS),
    st.just(lambda s: dataclasses.replace(s, bound="none")),
    st.just(lambda s: dataclasses.replace(s, status="optimal")),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(MUTATIONS, min_size=1, max_size=2))
def test_both_checkers_find_the_same_in_mutated_solutions(good, mutations):
    instance, solution = good
    with np.errstate(invalid="ignore"):  # infinity times 0
        for mutate in mutations:
            solution = mutate(solution)
    assert broken(instance, solution) == reference(instance, solution)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([math.nan, math.inf, -1, 0, 10**400, 1e308, "", "fluid", b"x", 1j, np.float64("nan"), object()]),
    st.lists(st.one_of(st.floats(), st.none(), st.text(max_size=2), st.just(10**400)), max_size=6),
    st.dictionaries(st.sampled_from(["mu", "nu", "kind", "rbs_needed", "x"]), st.floats(), max_size=3),
    st.sampled_from(
        [
            np.array(1.0),
            np.zeros((2, 0, 4), np.int32),
            np.zeros((2, 1, 4)),
            np.full((2, 1, 4), 2**63, np.uint64),
            np.full((2, 1, 4), -(2**31), np.int32),
            np.full((2, 1, 4), np.inf),
            np.full((2, 1, 4), -3.0),
            np.array([{}] * 5),
            np.array(["a"] * 5),
            np.full(5, -np.inf),
            np.zeros(5, bool),
            np.zeros(5, int),
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Solution)]), JUNK, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["mu", "nu", "fluid_bound_s", "counting_bound_s", "rbs_needed", "kind"]), JUNK),
)
def test_nothing_makes_the_checker_raise(good, fields, entries):
    instance, solution = good
    findings = check(instance, dataclasses.replace(certified(solution, **entries), **fields))
    assert all(math.isfinite(finding.slack) for finding in findings)
    assert all(isinstance(finding.holds, bool) for finding in findings)
    json.dumps([vars(finding) for finding in findings], allow_nan=False)
    arrays = {"schedule", "power_w", "delay_s", "to_zigbee"} & fields.keys()
    if any(not isinstance(fields[name], np.ndarray) for name in arrays):
        assert "shape" in {finding.constraint for finding in findings if not finding.holds}


# --- What each constraint catches -------------------------------------------------------------------------------------


def test_a_true_solution_passes_with_slacks(good):
    findings = {finding.constraint: finding for finding in check(*good)}
    assert all(finding.holds for finding in findings.values())
    assert findings["sinr"].slack >= 0
    assert findings["power"].slack == pytest.approx(0, abs=1e-9)
    assert findings["certificate"].slack == pytest.approx(0, abs=1e-6 * good[1].lower_bound_s)
    assert "fluid" in findings["certificate"].detail and "counting" in findings["certificate"].detail


@pytest.mark.parametrize(
    ("constraint", "name", "change"),
    [
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), 99)),
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), -2)),
        ("exclusive", "schedule", lambda a: a.__setitem__((0, 0, 0), 3)),  # a device of cell 1
        ("free_rbs", "schedule", lambda a: a.__setitem__((1, 0, 2), 2)),
        ("power", "power_w", lambda a: a.__imul__(1.01)),
        ("power", "power_w", lambda a: a.__imul__(-1)),
        ("power", "power_w", lambda a: a.__setitem__((1, 0, 2), 0.1)),  # on an unused RB
        ("power", "power_w", lambda a: a.fill(np.nan)),
        ("sinr", "power_w", lambda a: a.__imul__(1e-9)),
        ("sinr", "power_w", lambda a: a.fill(0.0)),
        ("delay", "power_w", lambda a: a.__imul__(0.9)),
        ("delay", "delay_s", lambda a: a.__imul__(0.999)),
        ("delay", "delay_s", lambda a: a.__setitem__(0, np.nan)),
        ("delay", "delay_s", lambda a: a.__setitem__(4, 0.1)),  # a refused device has none
        ("objective", "delay_s", lambda a: a.__imul__(0.999)),
        ("served", "to_zigbee", lambda a: a.fill(True)),
        ("served", "to_zigbee", lambda a: a.fill(False)),
        ("served", "schedule", lambda a: a.fill(-1)),
    ],
)
def test_tampering_with_arrays_is_caught(good, constraint, name, change):
    instance, solution = good
    assert constraint in broken(instance, changed(solution, name, change))


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("objective", lambda s: dict(objective_s=s.objective_s * 0.99)),
        ("objective", lambda s: dict(objective_s=None)),
        ("bound", lambda s: dict(lower_bound_s=s.objective_s * 1.01)),
        ("bound", lambda s: dict(gap=s.gap + 0.1)),
        ("bound", lambda s: dict(gap=None)),
        ("bound", lambda s: dict(lower_bound_s=None)),
        ("bound", lambda s: dict(lower_bound_s=0.0)),  # no gap can be told from it
        ("bound", lambda s: dict(bound="none", status="optimal", lower_bound_s=None, gap=None)),
        ("bound", lambda s: dict(bound="none")),  # and yet one is told
        ("certificate", lambda s: dict(certificate={})),
        ("certificate", lambda s: dict(bound="oracle", certificate=s.certificate | {"kind": "oracle"})),
        ("certificate", lambda s: dict(certificate=s.certificate | {"kind": "oracle"})),
        ("shape", lambda s: dict(power_w=s.power_w[:, :, :-1])),
        ("shape", lambda s: dict(delay_s=s.delay_s[:-1])),
        ("shape", lambda s: dict(schedule=s.schedule[:, :0], power_w=s.power_w[:, :0])),
        ("shape", lambda s: dict(schedule=s.schedule.astype(float))),
        ("shape", lambda s: dict(to_zigbee=s.to_zigbee.astype(int))),
        ("figures", lambda s: dict(objective_s=math.nan)),
        ("figures", lambda s: dict(gap=math.inf)),
        ("figures", lambda s: dict(seconds=-1.0)),
        ("figures", lambda s: dict(status="excellent")),
        ("infeasible", lambda s: dict(status="infeasible")),  # but a schedule, and no reason
    ],
)
def test_tampering_with_figures_is_caught(good, constraint, change):
    instance, solution = good
    assert constraint in broken(instance, dataclasses.replace(solution, **change(solution)))


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("mu", lambda v: v[:-1]),
        ("mu", lambda v: [math.nan, *v[1:]]),
        ("mu", lambda v: [-v[0], *v[1:]]),
        ("mu", lambda v: [2 * x for x in v]),
        ("mu", lambda v: [*v[:4], 1e-12]),  # a price of a refused device
        ("mu", lambda v: "much"),
        ("nu", lambda v: [*v[:4], math.inf]),
        ("nu", lambda v: None),
        ("fluid_bound_s", lambda v: v * (1 + 1e-5)),
        ("fluid_bound_s", lambda v: math.nan),
        ("counting_bound_s", lambda v: v * 1.05),
        ("counting_bound_s", lambda v: -v),
        ("rbs_needed", lambda v: [v[0] + 1, *v[1:]]),
        ("rbs_needed", lambda v: [0, 0, 0, 0, 0]),  # they fit
        ("rbs_needed", lambda v: [float(x) for x in v]),
        ("rbs_needed", lambda v: [10**30, *v[1:]]),
        ("extra", lambda v: {"deep": [1.0, [math.nan]]}),
    ],
)
def test_tampering_with_the_certificate_is_caught(good, entry, change):
    instance, solution = good
    assert broken(instance, certified(solution, **{entry: change(solution.certificate.get(entry))})) == {"certificate"}


def test_a_bound_above_what_its_certificate_proves_is_caught(good):
    instance, solution = good
    lower = solution.lower_bound_s * 1.001
    more = dataclasses.replace(solution, lower_bound_s=lower, gap=solution.objective_s / lower - 1)
    assert broken(instance, more) == {"certificate"}
    milp = dataclasses.replace(certified(more, kind="milp"), bound="milp")
    best = max(solution.certificate["fluid_bound_s"], solution.certificate["counting_bound_s"])
    assert broken(instance, milp) == (set() if lower >= best else {"certificate"})
    finding = check(instance, milp)[-1]
    assert "not checkable by formula" in finding.detail
    less = dataclasses.replace(milp, lower_bound_s=best / 2, gap=solution.objective_s / best * 2 - 1)
    assert broken(instance, less) == {"certificate"}


def test_a_certificate_of_prices_alone_will_do(good):
    """The spec's own form has mu and nu only."""
    instance, solution = good
    prices = {name: solution.certificate[name] for name in ("mu", "nu")}
    lower = solution.certificate["fluid_bound_s"]
    bare = dataclasses.replace(
        solution, bound="fluid", certificate=prices, lower_bound_s=lower, gap=solution.objective_s / lower - 1
    )
    assert broken(instance, bare) == set()


def test_no_bound_needs_no_certificate(good):
    instance, solution = good
    none = dataclasses.replace(solution, bound="none", certificate={}, lower_bound_s=None, gap=None)
    assert broken(instance, none) == set()


def by_hand(schedule, power_w, delay_s, **other) -> Solution:
    delay_s = np.array(delay_s, float)
    values = dict(
        schedule=np.array(schedule, np.int32),
        power_w=np.array(power_w, float),
        delay_s=delay_s,
        to_zigbee=np.zeros(len(delay_s), bool),
        status="feasible",
        objective_s=float(delay_s.max(initial=0.0)),
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="by hand",
        seconds=0.0,
        iterations=0,
    )
    return Solution(**(values | other))


def test_interference_of_other_cells_devices_counts_when_coupled():
    """Two cells, one RB, by hand: SINR = g p / (noise + g' p')."""
    instance = make_instance(
        np.ones((2, 1)),
        [1e5, 1e5],
        gain=np.array([[[40.0], [2.0]], [[4.0], [30.0]]]),
        serving=np.array([0, 1]),
        free=np.ones((2, 1), bool),
        interference_w=np.zeros((2, 1)),
        coupled=True,
    )
    delay = 1e5 / (180e3 * np.log2(1 + np.array([40 / (1 + 4), 30 / (1 + 2)])))
    solution = by_hand([[[0]], [[1]]], np.ones((2, 1, 1)), delay)
    assert broken(instance, solution) == set()
    assert broken(dataclasses.replace(instance, coupled=False), solution) == {"delay"}
    assert broken(dataclasses.replace(instance, sinr_min=9.0), solution) == {"sinr"}


def test_rates_are_means_over_the_frame_and_power_counts_by_slot():
    """One device, one of two slots: half the rate; full power in each of two slots is allowed."""
    instance, rate = make_instance([[7.0]], [1e5]), 180e3 * 3
    assert broken(instance, by_hand([[[0], [-1]]], [[[1.0], [0.0]]], [2e5 / rate])) == set()
    assert broken(instance, by_hand([[[0], [0]]], [[[1.0], [1.0]]], [1e5 / rate])) == set()


def test_the_optimum_of_one_device_is_proven_by_hand():
    """Two equal RBs of SNR 6, power 1/2 on each: rate 2 B log2(4). nu makes 1/2 the best power: mu B 6 / (4 ln 2)."""
    instance, delay = make_instance([[6.0, 6.0]], [720e3]), 1.0
    nu = 180e3 / 720e3 * 6 / (4 * math.log(2))
    fluid = {"mu": [1 / 720e3], "nu": [nu], "fluid_bound_s": 1.0}
    proven = dict(status="optimal", lower_bound_s=1.0, gap=0.0)
    solution = by_hand([[[0, 0]]], [[[0.5, 0.5]]], [delay], bound="fluid", certificate=fluid, **proven)
    assert broken(instance, solution) == set()
    # One RB alone takes 720 / (180 log2(7)) = 1.42 s, both together 1 s: 3 RBs would be needed for less.
    counting = {"counting_bound_s": 1.0, "rbs_needed": [3]}
    solution = dataclasses.replace(solution, bound="counting", certificate=counting)
    assert broken(instance, solution) == set()
    # With beta 4, two RBs at power 1/2 are out: their SINR is 3.
    strict = dataclasses.replace(instance, sinr_min=4.0)
    one_rb = 720e3 / (180e3 * math.log2(7))
    alone = by_hand([[[0, -1]]], [[[1.0, 0.0]]], [one_rb], bound="counting", certificate=counting)
    alone = dataclasses.replace(alone, lower_bound_s=one_rb, gap=0.0)
    alone = certified(alone, counting_bound_s=one_rb)
    assert broken(strict, alone) == set()
    assert "certificate" in broken(instance, alone)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 1.0, 10.0]), st.integers(1, 3))
def test_the_rates_that_counting_is_based_on_are_those_of_brute_force(seed, sinr_min, slots):
    """Needing n RB-slots proves the delay that the best n - 1 give. Device 1, without gain, makes the sum too large."""
    drawn = drawn_instance(seed, sinr_min)
    gain = np.where(np.arange(5)[:, None, None] == 1, 0.0, drawn.gain)
    instance = dataclasses.replace(drawn, gain=gain, data_bits=np.array([drawn.data_bits[0], 1.0, 0, 0, 0]))
    idle = by_hand(np.full((2, slots, 4), -1), np.zeros((2, slots, 4)), np.zeros(5))
    for n, rate in enumerate(alone(instance, 0, slots)[:-1], start=1):
        if rate > 0:
            delay = instance.data_bits[0] / rate
            entries = {"counting_bound_s": delay, "rbs_needed": [n, 4 * slots + 1, 0, 0, 0]}
            told = dataclasses.replace(idle, bound="counting", lower_bound_s=delay, certificate=entries)
            assert "certificate" not in broken(instance, told)
            assert "certificate" in broken(instance, certified(told, counting_bound_s=delay * (1 + 1e-5)))


def test_neither_units_nor_order_matter(good):
    """The same problem in gains of 1, in milliwatts, and with devices and RBs in another order."""
    instance, solution = good
    scaled = dataclasses.replace(
        instance,
        gain=instance.gain * 1e15 / 1e3,
        noise_w=instance.noise_w * 1e15,
        interference_w=instance.interference_w * 1e15,
        p_max_w=instance.p_max_w * 1e3,
    )
    milliwatts = dataclasses.replace(solution, power_w=solution.power_w * 1e3)
    milliwatts = certified(milliwatts, nu=[price / 1e3 for price in solution.certificate["nu"]])
    assert broken(scaled, milliwatts) == set()
    devices, rbs = np.array([3, 0, 4, 2, 1]), np.array([2, 0, 3, 1])
    shuffled = dataclasses.replace(
        instance,
        gain=instance.gain[devices][:, :, rbs],
        serving=instance.serving[devices],
        data_bits=instance.data_bits[devices],
        free=instance.free[:, rbs],
        interference_w=instance.interference_w[:, rbs],
    )
    index = np.append(np.argsort(devices), -1)
    again = dataclasses.replace(
        solution,
        schedule=index[solution.schedule[:, :, rbs]].astype(np.int32),
        power_w=solution.power_w[:, :, rbs],
        delay_s=solution.delay_s[devices],
        to_zigbee=solution.to_zigbee[devices],
    )
    vectors = {name: [solution.certificate[name][i] for i in devices] for name in ("mu", "nu", "rbs_needed")}
    assert broken(shuffled, certified(again, **vectors)) == set()


def test_an_infeasible_solution_promises_nothing_and_says_why():
    instance = make_instance([[1.0]], [1.0])
    nothing = by_hand([[[-1]]], [[[0.0]]], [np.nan], status="infeasible", infeasible_because=("no RB is free",))
    nothing = dataclasses.replace(nothing, objective_s=None)
    assert broken(instance, nothing) == set()
    assert broken(instance, dataclasses.replace(nothing, infeasible_because=())) == {"infeasible"}
    assert broken(instance, dataclasses.replace(nothing, objective_s=1.0)) == {"infeasible"}


def test_no_devices_is_a_solution():
    instance = make_instance(np.ones((0, 2)), [])
    nothing = by_hand([[[-1, -1]]], [[[0.0, 0.0]]], [], status="optimal", lower_bound_s=0.0, gap=0.0)
    assert broken(instance, nothing) == set()


def test_findings_of_a_summary_are_plain_json(good):
    """Slacks are finite, so that a log of findings is JSON."""
    json.dumps([vars(finding) for finding in check(*good)], allow_nan=False)
    json.dumps(summary(good[1]), allow_nan=False)


def test_a_solution_that_fails_the_check_never_leaves_solve(monkeypatch):
    """A checker that finds something turns whatever was found into a plain failure."""

    def strict(instance, solution):
        findings = check(instance, solution)
        if solution.status != "infeasible":
            findings = (dataclasses.replace(findings[0], holds=False, detail="told so"), *findings[1:])
        return findings

    monkeypatch.setattr(optimizer.solve, "check", strict)
    instance = make_instance([[7.0, 3.0]], [1e5])
    solution = optimizer.solve.solve(instance, optimizer.solve.Options(mode="literal"))
    assert solution.status == "infeasible"
    assert any("told so" in reason for reason in solution.infeasible_because)
    assert (solution.schedule == -1).all()
