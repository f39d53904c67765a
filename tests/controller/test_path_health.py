"""Hysteresis of broken paths, beside a model that looks at the whole history each time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.flows import path_ports
from controller.path_health import PathHealth
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import Wiring

WIRING = Wiring(make_scenario(cells=2, sensors=2, seed=1))
PATHS = {(cell.cell, path): p for cell in WIRING.cells.values() for path, p in path_ports(cell, WIRING).items()}
PORTS = sorted({port for ports in PATHS.values() for port in ports})
RETURN_AFTER_S = 5.0
STEPS = st.lists(st.tuples(st.floats(0.0, 4.0), st.sampled_from(PORTS)), max_size=30)


def test_every_port_is_of_one_path_and_both_ends_of_every_link_count():
    assert sum(map(len, PATHS.values())) == len(PORTS)
    names = {node.datapath_id: node.name for node in WIRING.switches}
    watched = {(names[dpid], port) for dpid, port in PORTS}
    links = [link for link in WIRING.links if link.b_port]
    assert watched == {end for link in links for end in ((link.a, link.a_port), (link.b, link.b_port))}


@settings(max_examples=60, deadline=None)
@given(STEPS, st.floats(0.0, 12.0))
def test_a_path_is_avoided_while_it_is_broken_and_for_some_time_after(steps, wait_s):
    health, now_s = PathHealth(WIRING, RETURN_AFTER_S), 100.0
    down: set = set()
    history: list[tuple[float, frozenset]] = [(0.0, frozenset())]  # from when on, what was down
    for pause_s, port in steps:
        now_s += pause_s
        down ^= {port}
        history.append((now_s, frozenset(down)))
        switch = port[0]
        health.report(switch, {p for dpid, p in PORTS if dpid == switch and (dpid, p) not in down}, now_s)
        assert health.avoided(now_s) == expected(history, now_s)
    now_s += wait_s
    due_s = health.next_return_s()
    avoided = health.avoided(now_s)
    assert avoided == expected(history, now_s)
    assert avoided >= health.broken
    if due_s is not None and due_s > now_s:  # nothing changes by itself before
        assert health.avoided((now_s + due_s) / 2) == avoided != health.avoided(due_s)


def expected(history, now_s: float) -> set[tuple[str, Path]]:
    """Paths of which a port was down at some moment of the last RETURN_AFTER_S, the present one included."""
    found = set()
    ends = [*(start for start, _ in history[1:]), now_s]
    for (_, down), end in zip(history, ends, strict=True):
        if end + RETURN_AFTER_S > now_s or down == history[-1][1] and end == now_s:
            found |= {path for path, ports in PATHS.items() if down & set(ports)}
    return found
