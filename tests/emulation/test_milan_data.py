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
        # A cell replays its own square where the file has it, the others replay the rest in order.
        squares = traffic.square_id.tolist()
        own = [cell.square_id for cell in system.scenario.cells if cell.square_id in squares]
        rest = iter([square for square in squares if square not in own])
        for cell in system.scenario.cells:
            activity = traffic.traffic[:, squares.index(cell.square_id if cell.square_id in own else next(rest))]
            assert shown[cell.id] == pytest.approx(0.9 * activity[row] / np.nanpercentile(activity, 99), rel=1e-6)
        events = system.ask(QUESTION)
        forecasts = next(event.forecasts for event in events if event.HasField("forecasts"))
        assert all(0 < cell.decision_load < 1.5 for cell in forecasts.cells)
        result = events[-1].result
        assert result.answerable and not result.failed_sensors and result.moved_bytes > 0
    finally:
        system.stack.stop()
