import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.decision import decide
from proto import common_pb2
from twin.path import Path


def test_below_tau_is_6g_else_zigbee_and_the_reason_is_said():
    made = decide({"a": 0.2, "b": 0.5, "c": 0.9}, 0.5)
    assert {cell: d.path for cell, d in made.items()} == {"a": Path.SIXG, "b": Path.ZIGBEE, "c": Path.ZIGBEE}
    assert made["a"].why == "predicted load 0.200 below tau 0.500"
    assert made["b"].why == "predicted load 0.500 not below tau 0.500"
    assert made["c"].load == 0.9 and made["c"].tau == 0.5


def test_unknown_load_means_zigbee():
    made = decide({"a": math.nan}, 1.0)
    assert made["a"].path is Path.ZIGBEE and "unknown" in made["a"].why


@given(st.dictionaries(st.text(), st.floats(0, 2)), st.floats(0, 1))
def test_every_cell_is_decided_and_higher_tau_never_takes_6g_away(load, tau):
    made = decide(load, tau)
    assert list(made) == list(load)
    for cell, decision in decide(load, 1.0).items():
        assert made[cell].path is Path.ZIGBEE or decision.path is Path.SIXG


@pytest.mark.parametrize("tau", [-0.1, 1.1, math.nan])
def test_tau_must_be_a_share(tau):
    with pytest.raises(ValueError, match="tau"):
        decide({"a": 0.1}, tau)


@pytest.mark.parametrize("load", [-0.1, math.inf])
def test_impossible_loads_are_named(load):
    with pytest.raises(ValueError, match="load of cell a"):
        decide({"a": load}, 0.5)


def test_paths_have_the_numbers_of_the_proto():
    assert Path(common_pb2.PATH_SIXG) is Path.SIXG and Path.SIXG.value == common_pb2.PATH_SIXG
    assert Path(common_pb2.PATH_ZIGBEE) is Path.ZIGBEE and Path.ZIGBEE.value == common_pb2.PATH_ZIGBEE
