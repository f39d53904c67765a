from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agents.knowledge import knowledge
from agents.spelling import Spelling
from agents.times import read_time

NOW = datetime(2013, 11, 18, 12, tzinfo=ZoneInfo("Europe/Rome"))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("traffik", "traffic"),
        ("trafic", "traffic"),
        ("ttraffic", "traffic"),
        ("trfafic", "traffic"),
        ("rian", "rain"),
        ("rain", "rain"),
        ("train", "train"),  # known, though one letter from rain
        ("brain", "brain"),
        ("arin", "arin"),  # the first letter is taken as it is
        ("tarffics", "tarffics"),  # two slips
        ("rein", "rein"),  # too short for a wrong letter
        ("humidities", "humidities"),  # an ending of a known stem
        ("", ""),
    ],
)
def test_one_slip_of_the_keyboard(written, read):
    spelling = Spelling({"traffic", "rain", "train", "humid*"}, {"traffic", "rain", "humid*"})
    assert spelling.correct(written) == read


def test_questions_with_slips_are_read():
    found = {evidence.type for evidence in knowledge().read("did it rian, and how was the trafic?").evidence}
    assert found == {"precipitation", "road_traffic"}


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("yestrday", "yesterday"),
        ("tomorow at 8 am", "tomorrow at 8 am"),
        ("tommorrow", "tomorrow"),
        ("on wensday", "on wensday"),  # two slips: no time
        ("wednesdya evenning", "wednesday evening"),
        ("stasrea", "stasera"),
    ],
)
def test_times_with_slips_are_those_without(written, right):
    one, other = read_time(written, NOW), read_time(right, NOW)
    assert (one.start, one.end, one.kind) == (other.start, other.end, other.kind)
