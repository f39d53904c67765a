"""The main job on the real Milan traffic, where it is there."""

import numpy as np
import pytest
from running_stack import start

from proto import network_pb2
from twin.history_file import load_history_file

pytestmark = pytest.mark.emulation
QUESTION = "How does the humidity level vary across different districts of the city today?"
FILE = "milan/internet_25sq_10min_2013-11-01_24.npz"


def test_a_question_on_the_milan_block(real_data, tmp_path):
    """Ten cells replay ten real squares; forecasts, decisions and the answer stand on them."""
    system = start(tmp_path / "state", "milan", ["--source", str(real_data(FILE))])
    try:
        load = system.network("GetTrafficLoad", network_pb2.GetTrafficLoadRequest())
        assert min(cell.observed_slots for cell in load.cells) > 1_500
        newest = load.cells[0].time.seconds
        traffic = load_history_file(real_data(FILE))
        row = int(np.flatnonzero(traffic.epoch_s == newest)[0])
        shown = {cell.cell_id: cell.load for cell in load.cells}
        # Whatever the scale, one cell follows one square: ratios between slots are the file's.
        factors = [shown[cell.id] / traffic.traffic[row, i] for i, cell in enumerate(system.scenario.cells)]
        peaks = [np.nanpercentile(traffic.traffic[:, i], 99) for i in range(len(factors))]
        assert np.ptp([factor * peak for factor, peak in zip(factors, peaks, strict=True)]) < 0.05
        events = system.ask(QUESTION)
        forecasts = next(event.forecasts for event in events if event.HasField("forecasts"))
        assert all(0 < cell.decision_load < 1.5 for cell in forecasts.cells)
        result = events[-1].result
        assert result.answerable and not result.failed_sensors and result.moved_bytes > 0
    finally:
        system.stack.stop()
