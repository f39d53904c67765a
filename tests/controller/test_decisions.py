"""Forecasts in batches, decisions by the rule of the configuration, and which routes follow them."""

import numpy as np
import pytest

from controller import decisions as module
from controller.config import Config, DecisionConfig, ForecastConfig, ServiceConfig
from controller.decisions import Decisions, forecast_cells, path_changes
from optimizer.decision import decide
from predictor.risk import decision_load
from twin.load_history import LoadHistory
from twin.path import Path

CELL = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
SLOT_S = 600
NOW = 1_000_000 * SLOT_S + 60  # one minute into a slot


class Inline:
    """Workers that run what they are given at once, and keep count."""

    def __init__(self):
        self.cells = []

    async def run(self, function, settings, history, horizon):
        self.cells.append(len(history))
        return function(settings, history, horizon)


def make(cells, model="persistence", workers=2, slots=300, avoided=tuple, **decision):
    config = Config(
        service=ServiceConfig(workers=workers),
        decision=DecisionConfig(**decision),
        forecast=ForecastConfig(model=model, history_slots=slots),
    )
    history, now = LoadHistory(cells, slots=slots), [NOW]
    made = Decisions(config, dict.fromkeys(cells, 100), history, Inline(), lambda: now[0], avoided)
    return made, history, now


def observe(decisions, history, cell, load, ago=0):
    """One sample of the slot ``ago`` slots before the present one."""
    history.add(cell, NOW // SLOT_S * SLOT_S - ago * SLOT_S, load * 1e6, 0.0, 1e6, NOW)
    decisions.on_sample(cell)


def uneven_city(count=40):
    """Cells with much, little, old or no telemetry, some of the present slot, some with gaps."""
    rng = np.random.default_rng(3)
    cells = [f"c{i:02d}" for i in range(count)]
    decisions, history, _ = make(cells, "seasonal-naive-day", window_slots=3, load="0.8")
    for i, cell in enumerate(cells):
        if i % 10 == 9:
            continue
        for ago in range(i % 2 + (2 if i % 7 == 0 else 0), (3, 160, 290)[i % 3]):
            if rng.random() < 0.95:
                observe(decisions, history, cell, float(rng.random()), ago)
    return decisions, cells


def same(one, other):
    for name in ("cell_id", "observed_slots", "note"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("latest_load", "mean", "decision_load"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.quantiles is None) == (other.quantiles is None)
    if one.quantiles is not None:
        np.testing.assert_array_equal(one.quantiles, other.quantiles)


async def test_a_batch_gives_what_each_cell_alone_does():
    together, cells = uneven_city()
    alone, _ = uneven_city()
    forecasts = await together.forecast(cells)
    assert list(forecasts) == cells
    for cell in cells:
        same(forecasts[cell], (await alone.forecast([cell]))[cell])
    notes = [forecast.note for forecast in forecasts.values()]
    assert all(any(part in note for note in notes) for part in ("no telemetry yet", "slots old", "missing", "instead"))
    assert (
        sum(together._workers.cells)
        == sum(alone._workers.cells)
        == sum(f.observed_slots > 0 for f in forecasts.values())
    )
    assert len(together._workers.cells) <= 4, "two batches, each with and without telemetry of the present slot"


async def test_few_calls_for_many_cells_and_none_for_what_is_known(monkeypatch):
    monkeypatch.setattr(module, "BATCH_CELLS", 8)
    cells = [f"c{i}" for i in range(20)]
    decisions, history, now = make(cells, slots=5)
    for cell in cells:
        observe(decisions, history, cell, 0.5)
    await decisions.forecast(cells)
    assert sorted(decisions._workers.cells) == [4, 8, 8]
    await decisions.forecast(cells)
    assert len(decisions._workers.cells) == 3
    observe(decisions, history, "c7", 0.6)
    assert (await decisions.forecast(cells))["c7"].latest_load == pytest.approx(0.55)
    assert decisions._workers.cells[3:] == [1]
    now[0] += SLOT_S
    await decisions.forecast(cells[:3])
    assert decisions._workers.cells[4:] == [2, 1], "both workers get some"


async def test_the_load_in_the_decision_follows_the_rule_and_counts_the_present_slot():
    for rule, window in (("mean", "max"), ("mean", "mean"), ("0.9", "max"), ("0.2", "mean")):
        decisions, history, _ = make("ab", window_slots=4, load=rule, window=window)
        for ago in range(1, 30):
            for cell in "ab":
                observe(decisions, history, cell, 0.4 + 0.1 * (ago % 3), ago)
        observe(decisions, history, "a", 0.95)
        made, decided = await decisions.decide("ab")
        raw = forecast_cells(ForecastConfig(model="persistence"), history.window(["a"], NOW), 4)
        present = np.full((1, 9, 1), 0.95)
        expected = decision_load(
            np.hstack([present[:, 0], raw.mean]), np.concatenate([present, raw.quantiles], axis=2), rule, window
        )
        assert made["a"].decision_load == expected[0] and made["a"].quantiles.shape == (9, 5)
        raw = forecast_cells(ForecastConfig(model="persistence"), history.window(["b"], NOW)[:, :-1], 4)
        assert made["b"].decision_load == decision_load(raw.mean, raw.quantiles, rule, window)[0]
        assert made["b"].quantiles.shape == (9, 4) and len(made["b"].mean) == 4
        assert decided["a"].load == made["a"].decision_load and decided["a"].tau == 0.7
        statistic = "predicted load" if rule == "mean" else f"{float(rule):.0%} quantile of the load"
        assert decided["a"].why.startswith(f"{'largest' if window == 'max' else 'mean'} {statistic} ")


async def test_a_cell_near_tau_does_not_flap_and_it_is_said_why():
    decisions, history, now = make("a", window_slots=1, tau=0.7, hysteresis=0.05)
    paths, reasons = [], []
    for load in (0.69, 0.71, 0.69, 0.66, 0.71, 0.68, 0.64, 0.69):
        now[0] += SLOT_S
        history.add("a", now[0], load * 1e6, 0.0, 1e6, now[0])
        decisions.on_sample("a")
        _, decided = await decisions.decide("a")
        paths.append(decided["a"].path)
        reasons.append(decided["a"].why)
    assert paths == [Path.SIXG] + [Path.ZIGBEE] * 5 + [Path.SIXG] * 2
    assert "comes back to 6G below 0.650" in reasons[2]
    _, again = await decisions.decide("a")
    assert again["a"].path is Path.SIXG and decisions.latest["a"] == again["a"]


async def test_policy_delay_has_no_hysteresis():
    decisions, history, now = make("a", window_slots=1, policy="delay", hysteresis=0.5)
    for load, path in ((1.2, Path.ZIGBEE), (0.98, Path.SIXG)):  # 100 resource blocks: 0.98 leaves two
        now[0] += SLOT_S
        history.add("a", now[0], load * 1e6, 0.0, 1e6, now[0])
        decisions.on_sample("a")
        assert (await decisions.decide("a"))[1]["a"].path is path


async def test_a_model_that_fails_is_named_and_its_cells_go_to_zigbee(monkeypatch):
    def broken(*_):
        raise ValueError("checkpoint x: not a checkpoint")

    decisions, history, _ = make("ab")
    observe(decisions, history, "a", 0.1)
    monkeypatch.setattr(module, "loaded", broken)
    forecasts, decided = await decisions.decide("ab")
    assert forecasts["a"].note == "no forecast: checkpoint x: not a checkpoint" and forecasts["a"].latest_load == 0.1
    assert decided["a"].path is Path.ZIGBEE and "unknown" in decided["a"].why


def test_a_worker_loads_a_model_once_for_each_setting(monkeypatch):
    made = []

    def counted(name, **settings):
        made.append((name, settings))
        return real("persistence")

    real = module.forecaster
    monkeypatch.setattr(module, "forecaster", counted)
    module.loaded.cache_clear()
    settings = ForecastConfig(model="persistence")
    for _ in range(3):
        assert forecast_cells(settings, np.full((2, 5), 0.5), 2).mean.tolist() == [[0.5, 0.5]] * 2
    assert made == [("persistence", {"checkpoint": "", "adapter": ""})]
    forecast_cells(ForecastConfig(model="timesfm", checkpoint="there"), np.full((2, 5), 0.5), 2)
    forecast_cells(ForecastConfig(model="timesfm", checkpoint="there", adapter="here"), np.full((2, 5), 0.5), 2)
    assert made[1:] == [
        ("timesfm", {"checkpoint": "there", "adapter": ""}),
        ("timesfm+lora", {"checkpoint": "there", "adapter": "here"}),
    ]
    module.loaded.cache_clear()


def changes(routes, load, retrieving=()):
    return path_changes(routes, CELL.__getitem__, decide(load, 0.7), lambda cell: cell in retrieving)


def test_only_routes_of_decided_cells_that_differ_change():
    routes = {"a1": Path.SIXG, "b1": Path.SIXG, "c1": Path.ZIGBEE}
    assert changes(routes, {"a": 0.9, "b": 0.1}) == {"a1": Path.ZIGBEE}
    assert changes(routes, {"c": 0.1}) == {"c1": Path.SIXG}
    assert changes(routes, {}) == {}


def test_a_cell_over_tau_is_left_at_once_also_in_a_retrieval():
    assert changes({"a1": Path.SIXG}, {"a": 0.9}, retrieving={"a"}) == {"a1": Path.ZIGBEE}


def test_nobody_comes_to_6g_without_a_grant_in_the_middle_of_a_retrieval():
    """a2 was refused by admission: its cell is on 6G, it is not."""
    routes = {"a1": Path.SIXG, "a2": Path.ZIGBEE, "b1": Path.ZIGBEE}
    assert changes(routes, {"a": 0.1, "b": 0.1}, retrieving={"a"}) == {"b1": Path.SIXG}


async def test_a_cell_whose_6g_path_is_broken_takes_zigbee_while_that_works():
    broken = set()
    decisions, history, _ = make(["a", "b"], avoided=lambda: broken)
    for cell in ("a", "b"):
        observe(decisions, history, cell, 0.2)
    _, before = await decisions.decide(["a", "b"])
    assert {decision.path for decision in before.values()} == {Path.SIXG}
    broken.add(("a", Path.SIXG))
    _, now = await decisions.decide(["a", "b"])
    assert (now["a"].path, now["b"].path) == (Path.ZIGBEE, Path.SIXG)
    assert now["a"].why.startswith("its 6G path is broken") and decisions.latest["a"] is now["a"]
    broken.add(("a", Path.ZIGBEE))
    assert (await decisions.decide(["a"]))[1]["a"].path is Path.SIXG
    broken.clear()
    _, after = await decisions.decide(["a", "b"])
    assert after == before  # no hysteresis of the load: that was never over tau
