import dataclasses
import json
import pickle

import numpy as np
import pytest
import small_rrm as rrm

from optimizer.instance import InstanceError, Solution, load_instance, load_solution, save_instance, save_solution


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
        ("gain", lambda a: [["x"]], "gain: must be numbers"),
        ("gain", lambda a: a.astype(str), "gain: must be numbers, not <U"),
        ("gain", lambda a: a + 1j, "gain: must be numbers, not complex128"),
        ("gain", lambda a: [[[1.0]], [[1.0, 2.0]]], "gain: must be numbers"),
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


def npz(*arrays):
    def write(path):
        np.savez(path, *arrays)

    return write


def npy(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("gain = 1"),
        lambda path: path.write_bytes(pickle.dumps({"gain": 1})),
        lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
        npz(np.array([{"a": 1}], object)),  # a pickle inside
        npy,
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, write):
    write(tmp_path / "i.npz")
    with pytest.raises(InstanceError, match="i.npz: no .npz file that can be read"):
        load_instance(tmp_path / "i.npz")


def test_damaged_files_are_refused_or_read_as_they_were(tmp_path):
    """Cut anywhere, or with any byte changed."""
    instance = rrm.random_instance(1, 3, 5)
    save_instance(instance, tmp_path / "i.npz")
    whole = (tmp_path / "i.npz").read_bytes()
    rng = np.random.default_rng(1)
    damaged = [whole[:cut] for cut in rng.integers(0, len(whole), 40)]
    for at in rng.integers(0, len(whole), 200):
        damaged.append(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
    refused = 0
    for content in damaged:
        (tmp_path / "d.npz").write_bytes(content)
        try:
            again = load_instance(tmp_path / "d.npz")
        except InstanceError:
            refused += 1
        else:
            np.testing.assert_array_equal(again.gain, instance.gain)
    assert refused > 40


def test_a_missing_file_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_instance(tmp_path / "i.npz")
    with pytest.raises(FileNotFoundError):
        load_solution(tmp_path)


@pytest.fixture
def saved(tmp_path):
    solution = Solution(
        schedule=np.array([[[0, -1]]], np.int32),
        power_w=np.array([[[0.5, 0.0]]]),
        delay_s=np.array([1.0, np.nan]),
        to_zigbee=np.array([False, True]),
        status="feasible",
        objective_s=1.0,
        lower_bound_s=None,
        gap=None,
        bound="none",
        solver="by hand",
        seconds=0.0,
        iterations=1,
        reflexion=({"action": "admission"},),
    )
    save_solution(solution, tmp_path)
    return tmp_path, solution


def test_solutions_come_back_as_they_were(saved):
    directory, solution = saved
    again = load_solution(directory)
    for field in dataclasses.fields(solution):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(solution, field.name))


def test_solutions_of_foreign_writers_may_use_whole_numbers_for_booleans(saved):
    directory, solution = saved
    arrays = {name: getattr(solution, name) for name in ("schedule", "power_w", "delay_s")}
    np.savez(directory / "solution.npz", to_zigbee=solution.to_zigbee.astype(int), **arrays)
    assert load_solution(directory).to_zigbee.tolist() == [False, True]
    np.savez(directory / "solution.npz", to_zigbee=np.array([0, 2]), **arrays)
    with pytest.raises(InstanceError, match="to_zigbee: values must lie in 0 to 1"):
        load_solution(directory)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "solution.json: not JSON"),
        ("[" * 100_000, "solution.json: not JSON"),
        ("[]", "solution.json: keys"),
        ("{}", "solution.json: keys .*'status'"),
        (None, "solution.json: reflexion must be a list"),
    ],
)
def test_bad_summaries_are_named(saved, text, message):
    directory, _ = saved
    path = directory / "solution.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reflexion": None}) if text is None else text)
    with pytest.raises(InstanceError, match=message):
        load_solution(directory)
