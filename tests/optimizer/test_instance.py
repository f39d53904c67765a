import dataclasses
import pickle

import numpy as np
import pytest
import small_rrm as rrm

from optimizer.instance import InstanceError, load_instance, save_instance


def test_file_round_trip_has_the_arrays_of_the_spec(tmp_path):
    instance = rrm.random_instance(1, 3, 5)
    save_instance(instance, tmp_path / "i.npz")
    with np.load(tmp_path / "i.npz") as file:
        assert file["gain"].shape == (3, 1, 5) and file["gain"].dtype == np.float64
        assert file["free"].dtype == bool and file["serving"].dtype.kind == "i"
        assert set(file.files) == {
            *("gain", "serving", "data_bits", "free", "interference_w", "rb_bandwidth_hz", "slot_s"),
            *("noise_w", "p_max_w", "sinr_min", "coupled"),
        }
    again = load_instance(tmp_path / "i.npz")
    for field in dataclasses.fields(instance):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(instance, field.name))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(instance)).gain, instance.gain)


def test_foreign_writers_may_use_whole_numbers_for_booleans(tmp_path):
    instance = rrm.random_instance(1, 2, 3)
    arrays = {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}
    np.savez(tmp_path / "i.npz", **(arrays | {"free": instance.free.astype(int), "coupled": 1}))
    again = load_instance(tmp_path / "i.npz")
    assert again.free.dtype == bool and again.coupled is True


def at(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gain", lambda a: at(a, (1, 0, 2), np.nan), r"gain\[1, 0, 2\]: nan is not finite"),
        ("gain", lambda a: at(a, (0, 0, 0), -1.0), r"gain\[0, 0, 0\]: -1.0 is negative"),
        ("gain", lambda a: a[0], "gain: shape"),
        ("gain", lambda a: a.astype(str).tolist() and [["x"]], "gain: must be numbers"),
        ("data_bits", lambda a: at(a, 1, -8.0), r"data_bits\[1\]: -8.0 is negative"),
        ("data_bits", lambda a: at(a, 1, np.inf), r"data_bits\[1\]: inf is not finite"),
        ("data_bits", lambda a: a[:1], r"data_bits: shape \[1\] does not fit; expected \[2\]"),
        ("serving", lambda a: at(a, 0, 1), "serving: values must lie in 0 to 0"),
        ("serving", lambda a: a.astype(float), "serving: must be whole numbers"),
        ("free", lambda a: a[:, 1:], r"free: shape \[1, 2\] does not fit; expected \[1, 3\]"),
        ("free", lambda a: a.astype(int) * 2, "free: values must lie in 0 to 1"),
        ("interference_w", lambda a: at(a, (0, 1), np.nan), r"interference_w\[0, 1\]: nan"),
        ("noise_w", lambda a: 0.0, "noise_w: 0.0 must be above 0"),
        ("p_max_w", lambda a: -1.0, "p_max_w: -1.0 is negative"),
        ("rb_bandwidth_hz", lambda a: np.nan, "rb_bandwidth_hz: nan is not finite"),
        ("coupled", lambda a: 2, "coupled: values must lie in 0 to 1"),
    ],
)
def test_bad_values_are_named(name, change, message):
    instance = rrm.random_instance(1, 2, 3)
    with pytest.raises(InstanceError, match=message):
        dataclasses.replace(instance, **{name: change(getattr(instance, name))})


def test_missing_and_unknown_arrays_are_named(tmp_path):
    instance = rrm.random_instance(1, 2, 3)
    arrays = {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}
    np.savez(tmp_path / "i.npz", **({k: v for k, v in arrays.items() if k != "free"} | {"frequency": 1}))
    with pytest.raises(InstanceError, match=r"\['free', 'frequency'\] are missing or unknown"):
        load_instance(tmp_path / "i.npz")


def test_an_instance_can_not_be_changed_behind_its_back():
    gain = np.ones((1, 2))
    instance = rrm.make_instance(gain, [1.0])
    gain[0, 0] = np.nan
    assert instance.gain[0, 0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        instance.gain[0, 0, 0] = 2.0
