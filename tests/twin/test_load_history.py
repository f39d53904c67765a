"""The ring of cell loads, against a plain dictionary, and what it refuses."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.load_history import LoadHistory, SampleError

NOW = 1_000_000.0 * 600  # start of slot 1,000,000


def add(history, cell="a", slot=1_000_000, offered=5.0, carried=None, capacity=10.0, now=NOW, offset=0):
    history.add(cell, slot * history.slot_s + offset, offered, offered if carried is None else carried, capacity, now)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.integers(-25, 1), st.floats(0, 1e9), st.floats(1e-3, 1e9), st.integers(0, 599)
        ),
        max_size=60,
    ),
    st.integers(-30, 10),
)
def test_it_does_what_a_dictionary_of_lists_does(samples, end):
    history, kept, newest = LoadHistory("ab", slots=20), {}, None
    now = NOW
    for cell, ago, offered, capacity, offset in samples:
        slot = 1_000_000 + ago
        taken = slot * 600 + offset <= now + 600 and slot * 600 + offset > now - 20 * 600
        taken = taken and (newest is None or slot > newest - 20)
        try:
            add(history, cell, slot, offered, min(offered, capacity), capacity, now, offset)
            assert taken
            newest = slot if newest is None else max(newest, slot)
            kept.setdefault((cell, slot), []).append(offered / capacity)
        except SampleError:
            assert not taken
    end_slot = 1_000_000 + end
    expected = np.full((2, 20), np.nan)
    for (cell, slot), loads in kept.items():
        if newest - 20 < slot and end_slot - 20 <= slot < end_slot:
            expected["ab".index(cell), slot - (end_slot - 20)] = np.mean(loads)
    np.testing.assert_allclose(history.window(end_s=end_slot * 600), expected, rtol=1e-8, atol=1e-30)
    for cell in "ab":
        slots = [slot for name, slot in kept if name == cell and slot > newest - 20]
        assert history.observed_slots(cell) == len(slots)
        if slots:
            time_s, load = history.latest(cell)
            assert time_s // 600 == max(slots) and load == pytest.approx(np.mean(kept[cell, max(slots)]))
        else:
            assert history.latest(cell) is None


cells, values = st.sampled_from("abz"), st.sampled_from([0.0, -0.0, 0.1, 1.0, 7.0, 1e9, -1.0, math.inf, math.nan])
samples = st.tuples(cells, st.floats(-25, 2.5) | st.just(math.nan), values, values, values, st.integers(-3, 3))


@settings(deadline=None)
@given(st.lists(samples, max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_many_at_once_are_as_one_after_the_other(given, cuts):
    """Wherever the list is cut into batches: the same refusals for the same reasons, the same ring."""
    rows = [
        (cell, NOW + ago * 600, offered, carried, capacity, NOW + now * 600)
        for cell, ago, offered, carried, capacity, now in given
    ]
    one, many = LoadHistory("ab", slots=20), LoadHistory("ab", slots=20)
    refused, told = {}, {}
    for i, row in enumerate(rows):
        try:
            one.add(*row)
        except SampleError as error:
            refused[i] = str(error)
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for begin, end in itertools.pairwise(edges):
        columns = list(zip(*rows[begin:end], strict=True)) or [()] * 6
        told |= {begin + i: reason for i, reason in many.add_many(*columns).items()}
    assert told == refused and list(told) == sorted(told)
    np.testing.assert_allclose(many.window(), one.window(), rtol=1e-8, atol=1e-30)
    for cell in "ab":
        assert many.observed_slots(cell) == one.observed_slots(cell)
        expected = one.latest(cell)
        assert many.latest(cell) == (expected and (expected[0], pytest.approx(expected[1], rel=1e-8)))


def test_a_mean_of_very_many_samples_does_not_drift():
    """Half a million at 0.5, then as many at 0.50001; float32 would not move any more."""
    count = 400_000
    one, many = LoadHistory("a", slots=2), LoadHistory("a", slots=2)
    for offered in (5.0, 5.0001):
        for _ in range(count // 10):
            one.add("a", NOW, offered, offered, 10.0, NOW)
        for batch in np.full((100, count // 100), offered):
            many.add_many(["a"] * len(batch), np.full(len(batch), NOW), batch, batch, np.full(len(batch), 10.0), NOW)
    assert one.latest("a")[1] == pytest.approx(0.500005, rel=1e-8)
    assert many.latest("a")[1] == pytest.approx(0.500005, rel=1e-8)


def test_beyond_a_million_samples_a_slot_still_takes_them():
    history = LoadHistory("a", slots=2)
    many = np.full(1 << 20, NOW)
    for offered in (2.0, 4.0):
        history.add_many(["a"] * len(many), many, many * 0 + offered, many * 0, many * 0 + 10.0, NOW)
    add(history, offered=4.0)
    assert history.latest("a")[1] == pytest.approx(0.3, abs=1e-4) and history.observed_slots("a") == 1


def test_the_first_sample_of_a_slot_is_kept_to_the_last_digit_also_an_empty_one():
    history = LoadHistory("ab", slots=2)
    history.add_many("ab", [NOW, NOW], [0.1, -0.0], [0.0, 0.0], [0.7, 1.0], NOW)
    assert history.window()[:, -1].tolist() == [0.1 / 0.7, 0.0]
    for _ in range(3):
        add(history, "b", offered=0.0)
    assert history.latest("b") == (NOW, 0.0) and history.observed_slots("b") == 1


def test_columns_of_unequal_length_are_an_error_and_none_is_taken():
    history = LoadHistory("ab", slots=2)
    for bad in (([NOW], [1.0, 1.0]), (NOW, [1.0, 1.0]), ([[NOW, NOW]], [1.0, 1.0]), ([NOW, NOW], [1.0])):
        with pytest.raises(ValueError, match="one for each cell"):
            history.add_many("ab", *bad, [0.0, 0.0], [1.0, 1.0], NOW)
    assert np.isnan(history.window()).all()


def test_two_weeks_of_ten_thousand_cells_take_less_than_200_mb():
    assert LoadHistory(map(str, range(10_000))).nbytes <= 200e6


def test_an_empty_history_is_missing_everywhere():
    history = LoadHistory(["a", "b"], slots=3)
    assert np.isnan(history.window()).all() and history.window().shape == (2, 3)
    assert history.latest("a") is None and history.observed_slots("a") == 0


def test_the_window_ends_with_the_slot_in_progress_or_at_a_boundary():
    history = LoadHistory(["a", "b"], slots=3)
    add(history, "a", 999_999, 4.0)
    add(history, "a", 1_000_000, 5.0, now=NOW + 1)
    nan = np.nan
    np.testing.assert_array_equal(history.window(["a"], end_s=NOW), [[nan, nan, 0.4]])
    np.testing.assert_array_equal(history.window(["a"], end_s=NOW + 1), [[nan, 0.4, 0.5]])
    np.testing.assert_array_equal(history.window(["b", "a"]), [[nan, nan, nan], [nan, 0.4, 0.5]])
    np.testing.assert_array_equal(history.window(["a"], end_s=NOW + 10 * 600), [[nan, nan, nan]])
    np.testing.assert_array_equal(history.window(["a"], end_s=NOW - 600), [[nan, nan, nan]])


def test_late_samples_count_and_old_slots_fall_out():
    history = LoadHistory(["a"], slots=3)
    for slot, offered in ((1_000_000, 3.0), (999_998, 1.0), (999_999, 2.0), (999_999, 4.0)):
        add(history, slot=slot, offered=offered)
    np.testing.assert_allclose(history.window(), [[0.1, 0.3, 0.3]])
    add(history, slot=1_000_002, offered=9.0, now=NOW + 1200)
    np.testing.assert_allclose(history.window(), [[0.3, np.nan, 0.9]])
    with pytest.raises(SampleError, match="outside the history"):
        add(history, slot=999_999, now=NOW + 1200)
    add(history, slot=1_000_050, offered=1.0, now=NOW + 50 * 600)
    np.testing.assert_allclose(history.window(), [[np.nan, np.nan, 0.1]])
    assert history.latest("a") == (NOW + 50 * 600, 0.1)


def test_a_cell_that_fell_silent_is_forgotten_in_the_end():
    history = LoadHistory(["a", "b"], slots=3)
    add(history, "a")
    add(history, "b", 1_000_005, now=NOW + 5 * 600)
    assert history.latest("a") is None and history.observed_slots("a") == 0


def test_a_slot_behind_the_ring_is_refused_even_when_now_lags():
    history = LoadHistory(["a"], slots=3)
    add(history, slot=1_000_001)  # one slot ahead of now is allowed
    with pytest.raises(SampleError, match="older than the history"):
        add(history, slot=999_998)


@pytest.mark.parametrize(
    "part, reason",
    [
        ({"cell": "z"}, "cell 'z' is unknown"),
        ({"offered": math.nan}, "finite"),
        ({"offered": math.inf}, "finite"),
        ({"offered": -1.0, "carried": 0.0}, "offered_bps -1.0"),
        ({"carried": -1.0}, "carried_bps -1.0"),
        ({"carried": math.nan}, "finite"),
        ({"capacity": 0.0, "carried": 0.0}, "capacity_bps 0.0"),
        ({"capacity": math.inf}, "finite"),
        ({"offered": 5.0, "carried": 5.1}, "must not exceed"),
        ({"offered": 20.0, "carried": 11.0}, "must not exceed"),
        ({"offered": 1e9, "carried": 0.0, "capacity": 1e-9}, "check the units"),
        ({"slot": 1_000_002}, "outside the history"),
        ({"offset": 601}, "outside the history"),
        ({"slot": 1_000_000 - 2016}, "outside the history"),
        ({"slot": math.nan}, "outside the history"),
        ({"slot": -math.inf}, "outside the history"),
        ({"slot": math.inf}, "outside the history"),
    ],
)
def test_a_wrong_sample_is_refused_and_changes_nothing(part, reason):
    history = LoadHistory(["a"])
    add(history, offered=2.0)
    before = history.window().copy()
    with pytest.raises(SampleError, match=reason):
        add(history, **part)
    np.testing.assert_array_equal(history.window(), before)
    assert history.latest("a") == (NOW, 0.2)


def test_rounding_of_carried_load_is_tolerated_and_overload_kept():
    history = LoadHistory(["a"])
    add(history, offered=10.0, carried=10.0 * (1 + 1e-9))
    add(history, slot=999_999, offered=15.0, carried=10.0)
    assert history.window()[0, -2:].tolist() == [1.5, 1.0]


def test_unknown_cells_and_sizes_are_errors():
    history = LoadHistory(["a"])
    for call in (
        lambda: history.window(["z"]),
        lambda: history.latest("z"),
        lambda: history.observed_slots("z"),
    ):
        with pytest.raises(KeyError):
            call()
    for cells, slot_s, slots in ((["a", "a"], 600, 10), (["a"], 0, 10), (["a"], 600, 0)):
        with pytest.raises(ValueError):
            LoadHistory(cells, slot_s, slots)
