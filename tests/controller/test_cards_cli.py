"""``links check-card``, and an operator's sensor types in the configuration."""

from dataclasses import replace

import pytest
from loopback_city import loopback_scenario, running
from own_types import API, CARD, forget, use

from controller import cli
from controller.config import ConfigError, load_config
from proto import query_pb2, query_pb2_grpc
from twin.sensor_types import VARIABLE


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "noise_level.toml"
    path.write_text(CARD, "utf-8")
    return path


@pytest.fixture
def api(tmp_path):
    path = tmp_path / "nearest_sensors.py"
    path.write_text(API, "utf-8")
    return path


def run(capsys, *arguments):
    code = cli.main(["check-card", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_good_files(capsys, card, api):
    assert run(capsys, card, api) == (0, [f"good: {card}", f"good: {api}"], [])


def test_problems_are_1_and_all_are_told(capsys, card, api, tmp_path):
    card.write_text(CARD.replace("bytes = 32", "byte = 32"), "utf-8")
    other = tmp_path / "farthest_sensors.py"
    other.write_text(API, "utf-8")
    code, out, err = run(capsys, card, api, other)
    assert (code, out) == (1, [f"good: {api}"])
    assert err == [
        f"links: {card}: storage.byte: this key is unknown; the nearest is storage.bytes.",
        f"links: {card}: storage.bytes: this key is missing; it must be the size of one stored reading, 1 to 4096.",
        f"links: {other}: its function is nearest_sensors; it must be called as the file, farthest_sensors.",
    ]


def test_wrong_use_is_2(capsys, card, tmp_path):
    for wrong in (tmp_path, tmp_path / "missing.toml", card.with_suffix(".yaml")):
        code, out, err = run(capsys, card, wrong)
        assert (code, out) == (2, []) and str(wrong) in err[0]
    with pytest.raises(SystemExit) as stop:
        cli.main(["check-card"])
    assert stop.value.code == 2


def test_the_configuration_tells_this_process_and_its_children(card, tmp_path):
    file = tmp_path / "links.toml"
    directory = tmp_path / "types"
    directory.mkdir()
    card.rename(directory / card.name)
    file.write_text(f'[scenario]\nsensor_types = "{directory}"\n')
    environment = {}
    assert load_config(file, environment).scenario.sensor_types == str(directory)
    assert environment == {VARIABLE: str(directory)}
    environment = {VARIABLE: str(directory)}
    assert load_config(None, environment).scenario.sensor_types == str(directory)
    load_config(None, empty := {})
    assert empty == {}


def test_types_that_cannot_be_used_are_a_fault_of_the_configuration(card, tmp_path):
    card.write_text(CARD.replace('"noisy"', '"n*isy"'), "utf-8")
    with pytest.raises(ConfigError, match=r"scenario.sensor_types: .*noise_level.toml: en: entry 2, 'n\*isy': '\*'"):
        load_config(None, {VARIABLE: str(tmp_path)})
    with pytest.raises(ConfigError, match="scenario.sensor_types: .*nowhere: no such directory"):
        load_config(None, {VARIABLE: str(tmp_path / "nowhere")})


async def test_a_question_about_an_operators_type_is_answered(card, monkeypatch):
    """Over the real service and real edge storage."""
    use(card.parent, monkeypatch)
    try:
        city = loopback_scenario()
        sensors = [replace(s, type="noise_level") if s.type == "humidity" else s for s in city.sensors]
        async with running(card.parent, replace(city, sensors=tuple(sensors))) as city:
            stub = query_pb2_grpc.QueryServiceStub(city.channel)
            events = [event async for event in stub.Ask(query_pb2.AskRequest(question="How loud was it yesterday?"))]
        result = events[-1].result
        assert "noise level: mean 5" in result.text and not result.failed_sensors
        assert result.statistics[0].type == "noise_level" and result.statistics[0].unit == "dB"
    finally:
        monkeypatch.undo()
        forget()
