import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.schedule import schedule_slots


@given(seed=st.integers(0, 2**32 - 1), devices=st.integers(1, 9), rbs=st.integers(1, 7), frame=st.integers(1, 25))
@settings(deadline=None)
def test_every_slot_count_is_kept_and_devices_are_even_over_time(seed, devices, rbs, frame):
    rng = np.random.default_rng(seed)
    wanted = np.zeros((devices, rbs), int)
    for rb in range(rbs):
        cuts = np.sort(rng.integers(0, frame + 1, devices))
        wanted[:, rb] = np.diff(np.concatenate([[0], cuts]))  # sums to the frame at most
    schedule = schedule_slots(sp.csr_array(wanted), frame)
    assert schedule.shape == (frame, rbs)
    for device in range(devices):
        held = schedule == device
        assert (held.sum(axis=0) == wanted[device]).all()
        total = wanted[device].sum()
        assert set(held.sum(axis=1)) <= {total // frame, -(-total // frame)}


def test_nothing_to_schedule():
    assert (schedule_slots(sp.csr_array((3, 4)), 5) == -1).all()
