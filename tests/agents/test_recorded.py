"""The protocol as a real server speaks it: exchanges recorded from llama.cpp with Qwen2.5-Coder-1.5B-Instruct.

One smoke test asks whatever live model is named.

Record anew with a server on 127.0.0.1:8081:  LINKS_RECORD=1 pytest tests/agents/test_recorded.py
The live test:  LINKS_LIVE_MODEL=gpt-4o OPENAI_API_KEY=... pytest tests/agents/test_recorded.py -m live_model
"""

import os
from pathlib import Path

import pytest
import vcr

from agents.data_api import load_apis
from agents.memory import Memory
from agents.model import Budget, LanguageModel, Limits, ModelSettings
from agents.planning import Planning
from agents.roles import Draft
from agents.sandbox import Sandbox
from agents.workflow import Rules, Team

EXCHANGES = Path(__file__).parent / "exchanges"
RECORDING = bool(os.environ.get("LINKS_RECORD"))
KEY = "a-key-that-must-not-be-recorded"
RAIN = "How much did it rain in Brera yesterday?"

recorder = vcr.VCR(
    cassette_library_dir=str(EXCHANGES),
    record_mode="all" if RECORDING else "none",
    # Prompts change with the cards; what is replayed is the server's side.
    match_on=("method", "path"),
    filter_headers=["authorization", "user-agent", "host"],
    before_record_response=lambda response: {
        **response,
        "headers": {k: v for k, v in response["headers"].items() if k.lower() == "content-type"},
    },
    decode_compressed_response=True,
)


def settings(output: str, **changes) -> ModelSettings:
    common = {"base_url": "http://127.0.0.1:8081/v1", "api_key": KEY, "output": output, "request_s": 600.0, "seed": 1}
    return ModelSettings("qwen", **(common | changes))


@pytest.mark.loopback_model
@pytest.mark.timeout(900)
@pytest.mark.parametrize("output", ["native", "prompted"])
async def test_a_question_through_all_agents(milan, now, output):
    apis = load_apis()
    with recorder.use_cassette(f"question-{output}.yaml") as cassette:
        async with Sandbox(apis, workers=1) as sandbox:
            team = Team(LanguageModel(settings(output)), apis, sandbox, Memory(), Rules(Limits(seconds=900.0)))
            plan = await Planning(milan, team).plan(RAIN, now)
        assert cassette.play_count > 0 or RECORDING  # how many replies are asked for is ours to change
    assert (plan.planner, plan.model) == ("llm", "qwen"), plan.reason
    assert {item.type for item in plan.items} == {"precipitation"}
    assert plan.tokens > 500  # as the server counted them


@pytest.mark.loopback_model
@pytest.mark.timeout(900)
async def test_a_draft_enforced_by_the_servers_grammar():
    with recorder.use_cassette("draft-native.yaml"):
        model = LanguageModel(settings("native"))
        prompt = "Which sensors tell whether the trams are full? Reply as JSON."
        draft = await model.ask("planner", "You plan.", prompt, Draft, Budget(Limits(seconds=900.0)))
    assert isinstance(draft, Draft)


def test_no_key_is_in_a_recording():
    files = list(EXCHANGES.glob("*.yaml"))
    assert files
    for file in files:
        text = file.read_text("utf-8").lower()
        assert KEY not in text and "authorization" not in text and "bearer" not in text, file


@pytest.mark.live_model
@pytest.mark.skipif(not os.environ.get("LINKS_LIVE_MODEL"), reason="LINKS_LIVE_MODEL names no model")
async def test_a_live_model(milan, now):
    apis = load_apis()
    live = ModelSettings(os.environ["LINKS_LIVE_MODEL"], output=os.environ.get("LINKS_LIVE_OUTPUT", "tool"))
    async with Sandbox(apis, workers=1) as sandbox:
        plan = await Planning(milan, Team(LanguageModel(live), apis, sandbox, Memory())).plan(RAIN, now)
    assert plan.planner == "llm", plan.reason
    assert {item.type for item in plan.items} == {"precipitation"}
