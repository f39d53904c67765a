"""Which routes follow a decision."""

from controller.decisions import path_changes
from optimizer.decision import decide
from twin.path import Path

CELL = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}


def changes(routes, load, retrieving=()):
    return path_changes(routes, CELL.__getitem__, decide(load, 0.7), lambda cell: cell in retrieving)


def test_only_routes_of_decided_cells_that_differ_change():
    routes = {"a1": Path.SIXG, "b1": Path.SIXG, "c1": Path.ZIGBEE}
    assert changes(routes, {"a": 0.9, "b": 0.1}) == {"a1": Path.ZIGBEE}
    assert changes(routes, {"c": 0.1}) == {"c1": Path.SIXG}
    assert changes(routes, {}) == {}


def test_a_cell_over_tau_is_left_at_once_also_in_a_retrieval():
    assert changes({"a1": Path.SIXG}, {"a": 0.9}, retrieving={"a"}) == {"a1": Path.ZIGBEE}


def test_nobody_comes_to_6g_without_a_grant_in_the_middle_of_a_retrieval():
    """a2 was refused by admission: its cell is on 6G, it is not."""
    routes = {"a1": Path.SIXG, "a2": Path.ZIGBEE, "b1": Path.ZIGBEE}
    assert changes(routes, {"a": 0.1, "b": 0.1}, retrieving={"a"}) == {"b1": Path.SIXG}
