"""What a question looks like on the terminal."""

import io

from rich.console import Console

from controller.progress import Progress
from proto import query_pb2

RUNNING, DONE, FAILED = 1, 2, 3


def shown(events, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=140)
    with Progress(console) as progress:
        for event in events:
            progress.show(event)
    return console.file.getvalue()


def transfer(i, state, error=""):
    row = query_pb2.SensorTransfer(sensor_id=f"s{i:03d}", cell_id="c01", path=1, state=state, error=error)
    return query_pb2.AskEvent(transfer=row)


def test_texts_with_brackets_are_shown_as_they_are():
    events = [
        query_pb2.AskEvent(plan=query_pb2.DataPlan(answerable=True, reason="why [so]", planner="offline")),
        query_pb2.AskEvent(notice=query_pb2.Notice(text="[10, 20) is missing")),
        transfer(1, FAILED, "[red] is no colour here"),
        query_pb2.AskEvent(result=query_pb2.AskResult(moved_bytes=5)),
    ]
    for terminal in (True, False):
        text = shown(events, terminal)
        assert all(part in text for part in ("why [so]", "[10, 20) is missing", "[red] is no colour here"))


def test_many_sensors_are_summed_up_and_the_table_is_printed_once_without_a_terminal():
    events = [transfer(i, state) for state in (RUNNING, DONE) for i in range(40)]
    events.append(query_pb2.AskEvent(result=query_pb2.AskResult(moved_bytes=12_345)))
    text = shown(events, terminal=False)
    assert text.count("retrieval: 40 of 40 sensors") == 1
    assert "and 10 more" in text and "12 kB" in text
    assert "retrieval: 40 of 40 sensors" in shown(events, terminal=True)
