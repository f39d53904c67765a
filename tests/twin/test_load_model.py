"""Generated cell load: random access, level, rhythm, holidays, events, and likeness to the real city."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.generate import make_scenario
from twin.load_model import cell_load, load_at
from twin.local_time import WORKING, local_time
from twin.milan_districts import CHARACTERS, character_of
from twin.scenario import load_scenario

CITY = load_scenario("milan")
NOW_S = int(CITY.start.timestamp())
WEEK_S = 7 * 86_400


def cells_of(character):
    return [cell.id for cell in CITY.cells if character_of(cell.district) == character]


@given(
    cell=st.sampled_from(sorted(CITY.cell)),
    start=st.integers(-(10**9), 3 * 10**9),
    slot_s=st.sampled_from([10, 60, 600, 3600]),
    skip=st.integers(0, 60),
    length=st.integers(0, 60),
)
@settings(deadline=None)
def test_any_window_equals_the_same_part_of_a_longer_one(cell, start, slot_s, skip, length):
    longer = cell_load(CITY, cell, start, 120, slot_s)
    assert np.array_equal(longer[skip : skip + length], cell_load(CITY, cell, start + skip * slot_s, length, slot_s))
    assert longer.dtype == np.float64 and ((longer >= 0) & (longer <= 1)).all()


def test_seed_and_cell_decide():
    a, b = make_scenario(seed=1), make_scenario(seed=2)
    assert np.array_equal(cell_load(a, "c01", NOW_S, 50), cell_load(make_scenario(seed=1), "c01", NOW_S, 50))
    assert (cell_load(a, "c01", NOW_S, 50) != cell_load(b, "c01", NOW_S, 50)).any()
    assert (cell_load(a, "c04", NOW_S, 50) != cell_load(a, "c05", NOW_S, 50)).any()


@pytest.mark.parametrize("cell", sorted(CITY.cell))
def test_levels_are_those_of_a_working_city(cell):
    load = cell_load(CITY, cell, NOW_S - 4 * WEEK_S, 4 * 1008)
    hour = local_time(CITY.zone, NOW_S - 4 * WEEK_S + 600 * np.arange(len(load))).hour
    assert 0.05 <= np.median(load[(hour >= 3) & (hour < 5)]) <= 0.15
    assert 0.45 <= np.quantile(load, 0.99) <= 0.8
    assert cell_load(CITY, cell, NOW_S, 7).max() < 0.65  # the bundled scenario starts with free cells, Monday at noon


def test_every_character_occurs_in_the_bundled_city():
    assert all(cells_of(character) for character in CHARACTERS)


def test_offices_empty_at_weekends_and_homes_do_not():
    t_s = NOW_S - 8 * WEEK_S + 600 * np.arange(8 * 1008)
    local = local_time(CITY.zone, t_s)
    day, working = (local.hour > 9) & (local.hour < 19), local.kind == WORKING
    for character, low, high in (("office", 0.2, 0.65), ("residential", 0.85, 1.3)):
        load = np.mean([load_at(CITY, cell, t_s) for cell in cells_of(character)], axis=0)
        assert low < load[day & ~working].mean() / load[day & working].mean() < high


WORKDAY_HOLIDAYS = (
    "2013-11-01 2014-01-01 2014-01-06 2014-04-21 2014-04-25 2014-05-01 2014-06-02 2014-08-15 2014-12-08 2014-12-25 "
    "2014-12-26 2015-12-07"
)


@pytest.mark.parametrize("day", WORKDAY_HOLIDAYS.split())
def test_holidays_empty_the_offices(day):
    holiday = datetime.fromisoformat(day).replace(hour=9, tzinfo=CITY.zone)
    week_after = holiday + timedelta(days=14)
    cell = cells_of("office")[0]
    there, then = (cell_load(CITY, cell, int(t.timestamp()), 48).mean() for t in (holiday, week_after))
    assert there < 0.6 * then


def test_the_rhythm_follows_the_local_clock_through_summer_time():
    # Offices fill between 06:00 and 09:00 local time, in January (UTC+1) and in July (UTC+2).
    cell = cells_of("office")[0]
    for month in (1, 7):
        days = [datetime(2014, month, d, tzinfo=CITY.zone) for d in (14, 15, 16, 17)]
        six, nine = (
            np.mean([load_at(CITY, cell, np.array([int(d.replace(hour=h).timestamp())])) for d in days]) for h in (6, 9)
        )
        assert nine > 3 * six


def test_weeks_are_alike_and_hours_are_not():
    load = cell_load(CITY, "c05", NOW_S - 8 * WEEK_S, 8 * 1008)
    week_later, half_a_day_later = (np.corrcoef(load[:-k], load[k:])[0, 1] for k in (1008, 72))
    assert week_later > 0.85 and half_a_day_later < 0.2


def test_matches_fill_the_stadium_on_some_evenings_only():
    cell = cells_of("stadium")[0]
    evenings = [CITY.start.replace(hour=21) + timedelta(days=i) for i in range(-364, 0)]
    load = np.array([float(load_at(CITY, cell, np.array([int(t.timestamp())]))[0]) for t in evenings])
    crowded = load > 1.3 * np.median(load)
    assert 0.1 < crowded.mean() < 0.4
    sundays = np.array([t.weekday() == 6 for t in evenings])
    assert crowded[sundays].mean() > 2 * crowded[~sundays].mean()


def test_noise_has_heavy_tails():
    load = cell_load(CITY, "c05", NOW_S - 52 * WEEK_S, 52 * 1008)
    steps = np.diff(np.log(load))
    assert np.mean((steps / steps.std()) ** 4) > 4  # 3 for a normal distribution


def test_the_mean_day_resembles_the_published_one(real_data):
    with np.load(real_data("milan/internet_25sq_10min_2013-11-01_24.npz")) as published:
        t_s, traffic = published["epoch_s"], published["traffic"].astype(float)
    local = local_time(CITY.zone, t_s)
    real = (traffic / traffic.mean(axis=0)).mean(axis=1)
    made = np.mean([load_at(CITY, cell, t_s) for cell in CITY.cell], axis=0)
    for kind in range(3):
        chosen = local.kind == kind
        hours = [(local.hour[chosen] // 1 == h) for h in range(24)]
        days = [np.array([series[chosen][hour].mean() for hour in hours]) for series in (real, made)]
        assert np.corrcoef(*days)[0, 1] > 0.9


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="'c99'.*c01"):
        cell_load(CITY, "c99", NOW_S, 1)
    with pytest.raises(ValueError, match="slots"):
        cell_load(CITY, "c01", NOW_S, -1)
    with pytest.raises(ValueError, match="slot_s"):
        cell_load(CITY, "c01", NOW_S, 1, 0)
