"""The command line as a user runs it: output, exit codes, and the client in the README."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from loopback_city import running

ROOT = Path(__file__).parents[2]
HUMIDITY = "How does the humidity level vary across different districts of the city today?"


async def execute(*command, **environment):
    """Run a command; (exit code, standard output, standard error)."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
        cwd=ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode, out.decode(), err.decode()


async def links(*arguments, **environment):
    return await execute(sys.executable, "-m", "controller.cli", *arguments, **environment)


async def test_ask_shows_progress_and_answers(tmp_path):
    async with running(tmp_path) as city:
        code, out, err = await links("ask", HUMIDITY, "--service", city.address)
        assert code == 0, err
        assert "humidity: mean" in out
        for step in ("plan", "loading", "forecast by timesfm", "decision", "RRM", "routes", "retrieval", "moved"):
            assert step in err, err


async def test_ask_as_json_is_one_document_and_nothing_else(tmp_path):
    async with running(tmp_path) as city:
        code, out, err = await links("ask", HUMIDITY, "--service", city.address, "--json")
        document = json.loads(out)
        assert (code, err) == (0, "")
        assert {"plan", "loading", "forecasts", "decisions", "solutions", "routes", "result"} <= document.keys()
        assert document["result"]["statistics"][0]["type"] == "humidity"
        code, out, _ = await links("ask", HUMIDITY, "--service", city.address, "--json")
        assert json.loads(out)["result"]["moved_bytes"] == "0"


async def test_a_missing_sensor_is_a_failure(tmp_path):
    async with running(tmp_path) as city:
        gone = next(sensor for sensor in city.scenario.sensors if sensor.type == "humidity")
        await city.stop_sensor(gone.id)
        code, out, _ = await links("ask", HUMIDITY, "--service", city.address)
        assert code == 1
        assert "Without 1 sensor" in out


async def test_plan_status_and_push_load(tmp_path):
    async with running(tmp_path) as city:
        code, out, _ = await links("plan", HUMIDITY, "--service", city.address, "--json")
        assert (code, [item["type"] for item in json.loads(out)["items"]]) == (0, ["humidity"])
        code, out, _ = await links(
            "plan", "--now", "2013-11-20T12:00:00+01:00", "Is it raining?", "--service", city.address
        )
        assert code == 0 and "precipitation" in out
        code, out, _ = await links("status", "--service", city.address)
        assert code == 0 and "10 of 10 connected" in out
        code, out, _ = await links("status", "--service", city.address, "--json")
        assert json.loads(out)["connections"]["controllers"] == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("fly",), ("ask",), ("ask", "x", "--now", "yesterday"), ("ask", "x", "--now", "2013-11-20T12:00:00")],
)
async def test_wrong_use_is_2(arguments):
    code, out, err = await links(*arguments)
    assert (code, out) == (2, "")
    assert "usage: links" in err


async def test_no_service_is_1_and_says_what_to_do():
    code, out, err = await links("ask", "Is it raining?", "--service", "127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "links up" in err


async def test_check_config(tmp_path):
    code, out, _ = await links("check-config")
    assert code == 0 and "10 cells, 120 sensors" in out
    path = tmp_path / "links.toml"
    path.write_text("[decision]\ntao = 1\n")
    code, _, err = await links("check-config", path)
    assert code == 2 and "unknown key 'tao'" in err
    path.write_text('[scenario]\nfile = "nowhere.json"\n')
    code, _, err = await links("check-config", path)
    assert code == 2 and "nowhere.json" in err


async def test_make_scenario_writes_what_check_config_accepts(tmp_path):
    path = tmp_path / "city.json"
    code, out, _ = await links("make-scenario", "--cells", "4", "--sensors", "40", "--out", path)
    assert code == 0 and "4 cells, 40 sensors" in out
    code, out, _ = await links("check-config", LINKS_SCENARIO_FILE=str(path))
    assert code == 0 and "4 cells, 40 sensors" in out
    code, _, err = await links("make-scenario", "--cells", "0", "--out", path)
    assert code == 1 and "cells" in err


async def test_doctor_has_a_line_for_everything():
    code, out, err = await links("doctor", "--json")
    findings = {row["subject"]: row for row in json.loads(out)}
    assert err == ""
    assert code == (0 if all(row["good"] or not row["needed"] for row in findings.values()) else 1)
    subjects = (
        "Python",
        "root",
        "Open vSwitch",
        "OVS datapath",
        "mnexec",
        "Gurobi",
        "HiGHS",
        "language model",
        "TimesFM",
    )
    for subject in subjects:
        assert findings[subject]["found"]
        assert findings[subject]["good"] or findings[subject]["advice"]
    _, text, _ = await links("doctor")
    assert all(subject in text for subject in findings)


async def test_the_client_of_the_readme_works_as_it_stands(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    assert len(blocks[0].splitlines()) <= 32
    client = tmp_path / "client.py"
    client.write_text(blocks[0])
    async with running(tmp_path) as city:
        code, out, err = await execute(sys.executable, client, HUMIDITY, city.address)
        assert code == 0, err
        assert "plan: humidity" in out and "humidity: mean" in out
