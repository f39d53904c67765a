"""OpenTelemetry spans of planning, as a process exports them."""

import subprocess
import sys

import pytest

from agents.telemetry import export

SCRIPT = """
import asyncio
from agents.planning import Planning
from agents.telemetry import export
from twin.scenario import load_scenario

export("console")
milan = load_scenario("milan")
asyncio.run(Planning(milan).plan("How much did it rain?", milan.start))
"""

AGENTS = """
import asyncio, sys
sys.path.insert(0, "tests/support")
from fake_llm import calls, endpoint
from agents.memory import Memory
from agents.model import LanguageModel, ModelSettings
from agents.planning import Planning
from agents.sandbox import Sandbox
from agents.telemetry import export, with_requests
from agents.workflow import Team
from twin.scenario import load_scenario

need = {"type": "precipitation", "why": "rain", "place": "", "time": ""}
draft = {"thought": "Rain.", "answerable": True, "needs": [need], "compute": "nothing"}

async def main():
    milan = load_scenario("milan")
    async with endpoint(calls("reply", draft)) as fake, Sandbox({}) as sandbox:
        model = LanguageModel(ModelSettings("fake", base_url=fake.base_url, api_key="sk-secret-1234567890"))
        await Planning(milan, Team(model, {}, sandbox, Memory())).plan("How much did it rain?", milan.start)

export("console")
with_requests()
asyncio.run(main())
"""


def spans(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_question_is_a_span():
    told = spans(SCRIPT)
    assert '"name": "plan"' in told and "How much did it rain?" in told and '"service.name": "links"' in told


def test_turns_and_requests_are_spans_without_what_was_said():
    told = spans(AGENTS)
    for name in ("plan", "agent planner", "agent reviewer", "chat fake"):
        assert f'"name": "{name}"' in told
    assert "gen_ai.usage.input_tokens" in told
    assert "sk-secret" not in told and "You are the Planner" not in told


def test_unknown_exporters_are_refused():
    with pytest.raises(ValueError, match="'fax' is unknown; choose one of none, console, otlp"):
        export("fax")
    export("none")
