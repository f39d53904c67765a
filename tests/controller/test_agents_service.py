"""Questions planned by agents through the whole service: turns as events, approval over gRPC and at the terminal."""

import asyncio
import json
import sys
from dataclasses import replace

import grpc
import pytest
from fake_llm import by_role, calls, endpoint, http
from loopback_city import running

from controller.config import AgentsConfig, Config, ConfigError
from controller.planning_setup import make_planning
from proto import query_pb2, query_pb2_grpc
from twin.scenario import Scenario, load_scenario

pytestmark = pytest.mark.loopback_model
HUMIDITY = "How does the humidity level vary across different districts of the city today?"


@pytest.fixture(scope="module")
def milan() -> Scenario:
    return load_scenario("milan")


DRAFT = {
    "thought": "It compares humidity.",
    "answerable": True,
    "needs": [{"type": "humidity", "why": "it is compared", "place": "", "time": "today"}],
    "compute": "nothing",
}
PLANNER = by_role(planner=[calls("reply", DRAFT)])


def config(base_url: str = "http://127.0.0.1:9/v1", **changes) -> Config:
    settings = {"planner": "llm", "base_url": base_url, "api_key": "k", "model": "fake", "memory": False}
    return replace(Config(), agents=AgentsConfig(**(settings | changes)))


async def asked(city, approve=None, **request) -> list[query_pb2.AskEvent]:
    """All events of a question; ``approve(event)`` gives the arguments of each approval."""
    stub, events = query_pb2_grpc.QueryServiceStub(city.channel), []
    async for event in stub.Ask(query_pb2.AskRequest(question=HUMIDITY, **request)):
        events.append(event)
        if event.WhichOneof("event") == "approval":
            await stub.Approve(
                query_pb2.ApproveRequest(approval_id=event.approval.approval_id, **approve(event.approval))
            )
    return events


def of(events, kind: str) -> list:
    return [getattr(event, kind) for event in events if event.WhichOneof("event") == kind]


async def test_turns_are_told_and_the_plan_is_the_agents(tmp_path):
    async with endpoint(PLANNER) as fake, running(tmp_path, config=config(fake.base_url)) as city:
        events = await asked(city)
        assert [(turn.step, turn.agent) for turn in of(events, "turn")] == [(1, "planner"), (2, "reviewer")]
        (plan,) = of(events, "plan")
        assert (plan.planner, plan.model, plan.steps, plan.tokens) == ("llm", "fake", 2, 48)
        assert events[-1].result.statistics[0].type == "humidity"


async def test_an_endpoint_that_fails_costs_the_question_nothing(tmp_path):
    broken = http(500, {"error": {"message": "boom"}})
    async with endpoint(broken) as fake, running(tmp_path, config=config(fake.base_url)) as city:
        events = await asked(city)
        (plan,) = of(events, "plan")
        assert plan.planner == "offline" and "failed by a fault of its own" in plan.reason
        assert events[-1].result.statistics[0].type == "humidity"


async def test_a_model_manages_the_retrieval_and_what_it_leaves_is_done_in_order(tmp_path):
    """This one replies at once that all is done, which it is not."""
    answers = by_role(
        planner=[calls("reply", DRAFT)], **{"network manager": [calls("reply", {"done": True, "summary": "All done."})]}
    )
    settings = {"stage_two": "llm", "transcripts": str(tmp_path / "talk")}
    async with endpoint(answers) as fake, running(tmp_path, config=config(fake.base_url, **settings)) as city:
        events = await asked(city)
        assert "left 2 cells to the fixed order" in of(events, "notice")[0].text
        assert len(of(events, "solution")) == 2 and events[-1].result.statistics[0].type == "humidity"
    assert {file.name.rpartition("-")[2] for file in (tmp_path / "talk").iterdir()} >= {"network.jsonl"}


async def test_approval_over_grpc_with_advice_and_then_consent(tmp_path):
    texts = []

    def approve(approval):
        texts.append((approval.turn.agent, approval.turn.text))
        return {"go_on": True, "advice": "think again" if len(texts) == 1 else ""}

    async with endpoint(PLANNER) as fake, running(tmp_path, config=config(fake.base_url)) as city:
        events = await asked(city, approve, human=query_pb2.HUMAN_TERMINATE)
        assert [agent for agent, _ in texts] == ["end", "end"] and "humidity in" in texts[0][1]
        assert "think again" in json.dumps(fake.requests[-1]["messages"])
        assert events[-1].HasField("result")


@pytest.mark.parametrize("planner", ["llm", "offline"])
async def test_a_plan_that_is_not_approved_moves_nothing(tmp_path, planner):
    async with endpoint(PLANNER) as fake, running(tmp_path, config=config(fake.base_url, planner=planner)) as city:
        with pytest.raises(grpc.aio.AioRpcError, match="not approved: too dear") as error:
            await asked(city, lambda _: {"go_on": False, "advice": "too dear"}, human=query_pb2.HUMAN_TERMINATE)
        assert error.value.code() is grpc.StatusCode.ABORTED
        assert city.store.totals().readings == 0


async def test_nobody_answers_in_time(tmp_path):
    settings = config(planner="offline", human="TERMINATE", human_s=0.3)
    async with running(tmp_path, config=settings) as city:
        stub = query_pb2_grpc.QueryServiceStub(city.channel)
        with pytest.raises(grpc.aio.AioRpcError, match="nobody approved the plan within 0.3 s") as error:
            [event async for event in stub.Ask(query_pb2.AskRequest(question=HUMIDITY))]
        assert error.value.code() is grpc.StatusCode.ABORTED
        with pytest.raises(grpc.aio.AioRpcError, match="no approval 'x' is waited for") as error:
            await stub.Approve(query_pb2.ApproveRequest(approval_id="x", go_on=True))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError, match="advice has 501 characters"):
            await stub.Approve(query_pb2.ApproveRequest(approval_id="x", advice="a" * 501))
        with pytest.raises(grpc.aio.AioRpcError, match="human 9 is none of"):
            [event async for event in stub.Ask(query_pb2.AskRequest(question=HUMIDITY, human=9))]
        plan = await stub.Plan(query_pb2.PlanRequest(question=HUMIDITY))  # asks nobody
        assert plan.answerable


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [("\n", 0, "humidity: mean"), ("stop\n", 1, "not approved: stopped"), ("", 1, "no terminal")],
)
async def test_a_person_at_the_terminal(tmp_path, typed, code, said):
    async with running(tmp_path, config=config(planner="offline")) as city:
        command = ("ask", HUMIDITY, "--service", city.address, "--human", "terminate")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controller.cli", *command, stdin=-1, stdout=-1, stderr=-1
        )
        out, err = await process.communicate(typed.encode())
        assert process.returncode == code
        assert said in (out + err).decode() and "approve?" in err.decode()


# --- Setting up -------------------------------------------------------------------------------------------------------


async def test_without_a_key_every_plan_says_why_it_is_offline(milan, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    planning = make_planning(config(base_url="", api_key=""), milan)
    plan = await planning.plan(HUMIDITY, milan.start)
    assert plan.planner == "offline" and "no API key: set OPENAI_API_KEY" in plan.reason


async def test_memory_and_transcripts_are_where_the_configuration_says(milan, tmp_path):
    temperature_first = by_role(planner=[calls("reply", DRAFT | {"needs": []}), calls("reply", DRAFT)])
    async with endpoint(temperature_first) as fake:
        settings = config(fake.base_url, memory=True, transcripts=str(tmp_path / "talk"))
        settings = replace(settings, service=replace(settings.service, state_directory=str(tmp_path)))
        planning = make_planning(settings, milan)
        await planning.plan(HUMIDITY, milan.start, request_id="q1")
        await planning.close()
    (file,) = (tmp_path / "talk").iterdir()
    assert file.name.endswith("-q1.jsonl")


def test_an_operators_faulty_api_is_a_configuration_error(milan, tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match=r"agents\.apis: .*bad\.py"):
        make_planning(config(apis=str(tmp_path)), milan)
