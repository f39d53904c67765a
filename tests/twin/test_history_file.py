"""History files: round trip, strict loading, and the real one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from twin.history_file import History, HistoryFileError, load_history_file, save_history_file

GOOD = History(
    np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 4.0]]),
    np.array([0, 600, 1200]),
    np.array([7, 8]),
    np.array([9.1, 9.2]),
    np.array([45.1, 45.2]),
)


def arrays(**parts):
    """The arrays of GOOD, some changed; None leaves one out."""
    return {key: value for key, value in (vars(GOOD) | parts).items() if value is not None}


@given(
    traffic=npst.arrays(
        np.float64, st.tuples(st.integers(2, 20), st.integers(1, 5)), elements=st.floats(0, 1e12) | st.just(np.nan)
    ),
    start=st.integers(-(2**40), 2**40),
    slot_s=st.integers(1, 10**6),
)
@settings(deadline=None, max_examples=40)
def test_what_is_written_reads_back_equal(tmp_path_factory, traffic, start, slot_s):
    path = tmp_path_factory.mktemp("h") / "no-suffix"
    epoch_s = start + slot_s * np.arange(len(traffic))
    save_history_file(History(traffic, epoch_s, np.arange(traffic.shape[1])), path)
    back = load_history_file(path)
    np.testing.assert_array_equal(back.traffic, traffic)
    np.testing.assert_array_equal(back.epoch_s, epoch_s)
    assert back.slot_s == slot_s and back.lon is None and back.lat is None


def test_places_are_kept(tmp_path):
    save_history_file(GOOD, tmp_path / "x.npz")
    back = load_history_file(tmp_path / "x.npz")
    assert back.lon.tolist() == [9.1, 9.2] and back.lat.tolist() == [45.1, 45.2] and back.square_id.tolist() == [7, 8]


def test_other_number_types_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", **arrays(traffic=np.ones((3, 2), np.float32), square_id=np.array([7, 8], np.uint16)))
    back = load_history_file(tmp_path / "x.npz")
    assert back.traffic.dtype == np.float64 and back.square_id.dtype == back.epoch_s.dtype == np.int64


BAD = {
    "no traffic": (arrays(traffic=None), "'traffic' is missing"),
    "no times": (arrays(epoch_s=None), "'epoch_s' is missing"),
    "no squares": (arrays(square_id=None), "'square_id' is missing"),
    "unknown array": (arrays(colour=np.zeros(1)), "'colour' is unknown"),
    "objects": (arrays(traffic=np.array([[{}]], object)), "plain arrays"),
    "texts": (arrays(traffic=np.array([["a"]])), "traffic has type"),
    "float times": (arrays(epoch_s=np.array([0.0, 600, 1200])), "epoch_s has type"),
    "one axis": (arrays(traffic=np.zeros(3)), r"traffic must be \[T, C\]"),
    "frames": (arrays(traffic=np.zeros((3, 2, 2))), r"traffic must be \[T, C\]"),
    "too many times": (arrays(epoch_s=np.array([0, 600, 1200, 1800])), "3 slots but epoch_s 4"),
    "too many squares": (arrays(square_id=np.array([7, 8, 9])), "2 cells but square_id 3"),
    "one slot": (arrays(traffic=np.ones((1, 2)), epoch_s=np.array([0])), "at least 2 slots"),
    "gap": (arrays(epoch_s=np.array([0, 600, 1800])), "600 is followed by 1800"),
    "falling": (arrays(epoch_s=np.array([1200, 600, 0])), "not evenly spaced and rising"),
    "standing": (arrays(epoch_s=np.array([0, 0, 0])), "not evenly spaced and rising"),
    "square twice": (arrays(square_id=np.array([7, 7])), "twice"),
    "negative": (arrays(traffic=np.array([[1, 2], [3, 4], [5, -6.0]])), "square 8 at 1200 is -6.0"),
    "infinite": (arrays(traffic=np.array([[1, 2], [3, np.inf], [5, 6]])), "square 8 at 600 is inf"),
    "lon alone": (arrays(lat=None), "lon and lat go together"),
    "lon out of range": (arrays(lon=np.array([9.1, 181])), "lon must be 2 degrees"),
    "lat of wrong length": (arrays(lat=np.array([45.0])), "lat must be 2 degrees"),
    "lon missing": (arrays(lon=np.array([9.1, np.nan])), "lon must be 2 degrees"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(tmp_path, name):
    content, reason = BAD[name]
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(HistoryFileError, match=reason) as caught:
        load_history_file(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(HistoryFileError, match="x.npz"):
        load_history_file(tmp_path / "x.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(HistoryFileError, match="single.npy"):
        load_history_file(tmp_path / "single.npy")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_history_file(tmp_path / "none.npz")


def test_an_unusable_history_is_not_written(tmp_path):
    with pytest.raises(HistoryFileError, match="-1"):
        save_history_file(dataclasses.replace(GOOD, traffic=GOOD.traffic - 1), tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_the_real_block_of_milan_loads(real_data):
    history = load_history_file(real_data("milan/internet_25sq_10min_2013-11-01_24.npz"))
    assert history.traffic.shape == (3456, 25) and history.slot_s == 600
    assert history.square_id[0] == 4142 and not np.isnan(history.traffic).any()


def test_the_real_frames_of_the_whole_city_are_no_history(real_data):
    with pytest.raises(HistoryFileError, match="square_id|traffic"):
        load_history_file(real_data("milan/internet_fullgrid_10min_frames_2013-11-03_17_18.npz"))
