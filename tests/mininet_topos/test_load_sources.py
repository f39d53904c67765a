"""Where replayed load comes from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_topos.load_sources import SLOT_S, WEEK_S, GeneratedLoad, MeasuredLoad, SourceError, open_source
from twin.generate import make_scenario
from twin.history_file import History, save_history_file
from twin.load_model import cell_load

SCENARIO = make_scenario(cells=3, sensors=3, seed=5)
OWN = [cell.square_id for cell in SCENARIO.cells]
FIRST_S = 1_383_264_000  # 2013-11-01 00:00 UTC


def history(squares, slots=3 * 1008, first_s=FIRST_S, traffic=None):
    """Traffic that tells slot and column apart: column c at slot k is (c + 1) * (k + 1)."""
    if traffic is None:
        traffic = np.outer(np.arange(1.0, slots + 1), np.arange(1.0, len(squares) + 1))
    epoch_s = first_s + SLOT_S * np.arange(len(traffic), dtype=np.int64)
    return History(traffic, epoch_s, np.array(squares, np.int64))


def activity(source, cell, start_s, slots):
    """Load turned back to activity by the stated rule: activity / 99th percentile x peak load."""
    column = source.history.traffic[:, list(source.history.square_id).index(source_square(source, cell))]
    return source.load(cell, start_s, slots) * np.nanpercentile(column, 99) / source.peak_load


def source_square(source, cell):
    line = next(line for line in source.describe(FIRST_S) if line.startswith(f"cell {cell} "))
    return int(line.split()[4])


def test_generated_load_is_the_scenarios_own():
    wanted = cell_load(SCENARIO, SCENARIO.cells[1].id, FIRST_S, 20)
    np.testing.assert_array_equal(GeneratedLoad(SCENARIO).load(SCENARIO.cells[1].id, FIRST_S, 20), wanted)
    assert "simulated" in GeneratedLoad(SCENARIO).describe(FIRST_S)[0]


def test_cells_replay_their_own_square_and_else_the_others_in_order():
    source = MeasuredLoad(SCENARIO, history([9001, OWN[1], 9002]), "file")
    squares = [source_square(source, cell.id) for cell in SCENARIO.cells]
    assert squares == [9001, OWN[1], 9002]
    lines = source.describe(FIRST_S)
    assert any(f"replays square {OWN[1]} (its own)" in line for line in lines)
    assert any(f"its own, {OWN[0]}, is not there" in line for line in lines)


def test_fewer_squares_than_cells_are_used_again():
    source = MeasuredLoad(SCENARIO, history([9001, 9002]), "file")
    assert [source_square(source, cell.id) for cell in SCENARIO.cells] == [9001, 9002, 9001]


def test_scale_is_the_stated_rule():
    source = MeasuredLoad(SCENARIO, history(OWN, slots=1008), "file", peak_load=0.5)
    load = source.load(SCENARIO.cells[2].id, FIRST_S, 1008)
    assert np.percentile(load, 99) == pytest.approx(0.5)
    assert load[100] / load[200] == pytest.approx(101 / 201)  # proportional to activity


def test_times_inside_the_file_are_replayed_as_they_are():
    source = MeasuredLoad(SCENARIO, history(OWN), "file")
    got = activity(source, SCENARIO.cells[0].id, FIRST_S + 50 * SLOT_S, 4)
    np.testing.assert_allclose(got, [51, 52, 53, 54])


@given(st.integers(-200_000, 200_000))
def test_other_times_are_a_whole_number_of_weeks_off_and_the_fewest(slot):
    slots = 1500  # one and a half weeks
    source = MeasuredLoad(SCENARIO, history(OWN, slots), "file")
    replayed = round(activity(source, SCENARIO.cells[0].id, FIRST_S + slot * SLOT_S, 1)[0]) - 1
    shift = replayed - slot
    assert shift % (WEEK_S // SLOT_S) == 0
    if 0 <= slot < slots:
        assert shift == 0
    elif slot >= slots:
        assert slots - 1008 <= replayed < slots  # from the last week
    else:
        assert 0 <= replayed < 1008  # from the first week
    assert (shift < 0) == (slot >= slots)


def test_it_says_when_the_clock_is_outside():
    source = MeasuredLoad(SCENARIO, history(OWN), "file")
    assert not any("the clock shows" in line for line in source.describe(FIRST_S + WEEK_S))
    assert any("5 weeks earlier" in line for line in source.describe(FIRST_S + 7.5 * WEEK_S))
    assert any("2 weeks later" in line for line in source.describe(FIRST_S - 1.5 * WEEK_S))


def test_less_than_a_week_leaves_the_rest_missing():
    source = MeasuredLoad(SCENARIO, history(OWN, slots=144), "one-day")
    cell = SCENARIO.cells[0].id
    next_week = source.load(cell, FIRST_S + WEEK_S, 288)
    assert not np.isnan(next_week[:144]).any() and np.isnan(next_week[144:]).all()
    assert any("less than a week" in line for line in source.describe(FIRST_S))


def test_missing_values_stay_missing_and_dead_squares_are_not_used():
    traffic = np.outer(np.arange(1.0, 1009), [1.0, 1.0, 1.0])
    traffic[5, 0] = np.nan
    traffic[:, 1] = np.nan
    traffic[:, 2] = 0.0
    source = MeasuredLoad(SCENARIO, history(OWN, traffic=traffic), "file")
    assert {source_square(source, cell.id) for cell in SCENARIO.cells} == {OWN[0]}
    load = source.load(SCENARIO.cells[0].id, FIRST_S, 10)
    assert np.flatnonzero(np.isnan(load)).tolist() == [5]


def test_what_cannot_be_replayed_is_refused():
    with pytest.raises(SourceError, match="no square has any traffic"):
        MeasuredLoad(SCENARIO, history(OWN, traffic=np.zeros((10, 3))), "file")
    hourly = History(np.ones((10, 1)), FIRST_S + 3600 * np.arange(10, dtype=np.int64), np.array([1]))
    with pytest.raises(SourceError, match="3600 s; slots of 600 s"):
        MeasuredLoad(SCENARIO, hourly, "hourly")
    with pytest.raises(SourceError, match="peak load 0"):
        MeasuredLoad(SCENARIO, history(OWN), "file", peak_load=0)
    with pytest.raises(SourceError, match="'x.csv'"):
        open_source(SCENARIO, ["x.csv"])
    with pytest.raises(SourceError, match="'a.npz b.npz'"):
        open_source(SCENARIO, ["a.npz", "b.npz"])
    with pytest.raises(OSError):
        open_source(SCENARIO, ["nowhere.tsv"])


def test_sources_by_name(tmp_path):
    assert isinstance(open_source(SCENARIO, ["generated"]), GeneratedLoad)
    save_history_file(history(OWN), tmp_path / "h.npz")
    np.testing.assert_allclose(activity(open_source(SCENARIO, [str(tmp_path / "h.npz")]), "c01", FIRST_S, 2), [1, 2])


def test_published_milan_files(tmp_path):
    """The original format: activity is summed over country codes, of the scenario's squares only."""
    rows = []
    for slot in range(3):
        for square, value in ((OWN[0], 2.0), (OWN[2], 5.0), (9999, 100.0)):
            for country in (39, 49):
                t_ms = (FIRST_S + slot * SLOT_S) * 1000
                rows.append(f"{square}\t{t_ms}\t{country}\t\t\t\t\t{value * (slot + 1)}")
    path = tmp_path / "sms-call-internet-mi-2013-11-01.txt"
    path.write_text("\n".join(rows) + "\n")
    source = open_source(SCENARIO, [str(path)])
    np.testing.assert_allclose(activity(source, SCENARIO.cells[0].id, FIRST_S, 3), [4, 8, 12])
    np.testing.assert_allclose(activity(source, SCENARIO.cells[2].id, FIRST_S, 3), [10, 20, 30])
    assert source_square(source, SCENARIO.cells[1].id) in (OWN[0], OWN[2])  # 9999 is nobody's


def test_published_files_without_any_of_the_scenarios_squares(tmp_path):
    path = tmp_path / "one.tsv"
    path.write_text("".join(f"9999\t{(FIRST_S + k * SLOT_S) * 1000}\t39\t\t\t\t\t{k + 1}\n" for k in range(3)))
    source = open_source(SCENARIO, [str(path)])
    assert {source_square(source, cell.id) for cell in SCENARIO.cells} == {9999}


def test_the_real_block_of_milan(real_data):
    source = open_source(SCENARIO, [str(real_data("milan/internet_25sq_10min_2013-11-01_24.npz"))])
    load = source.load("c01", FIRST_S, 1008)
    assert not np.isnan(load).any() and 0 < np.median(load) < 0.9
    night, noon = load[3 * 6 :: 144], load[12 * 6 :: 144]  # 04:00 and 13:00 local time
    assert (night < noon).all()
