"""The port to language models against an endpoint that misbehaves in every known way, over real sockets."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Literal

import pytest
from fake_llm import calls, chat, cut_off, endpoint, http, says, silent
from pydantic import BaseModel, Field

from agents.data_api import Api, ApiError, Parameter
from agents.model import Budget, Exchange, LanguageModel, Limits, ModelFailure, ModelSettings

pytestmark = pytest.mark.loopback_model
KEY = "sk-secret-1234567890"


class Choice(BaseModel):
    """Which agent comes next."""

    agent: Literal["planner", "reviewer"]
    why: str = Field(max_length=200)


GOOD = {"agent": "reviewer", "why": "the plan is there"}


def settings(base_url: str, **changes) -> ModelSettings:
    return ModelSettings("fake", base_url=base_url, api_key=KEY, **({"request_s": 5.0} | changes))


async def asked(
    base_url: str, budget: Budget | None = None, tools=None, call=None, log=None, calls=None, **changes
) -> Choice:
    """Ask for a Choice; exchanges are appended to ``log``."""
    model = LanguageModel(settings(base_url, **changes), on_exchange=(log if log is not None else []).append)
    return await model.ask("manager", "Choose.", "Who is next?", Choice, budget or Budget(Limits()), tools, call, calls)


# --- What works -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["tool", "native", "prompted"])
async def test_a_typed_reply_in_every_output_mode(mode):
    answer = calls("reply", GOOD) if mode == "tool" else says(json.dumps(GOOD))
    log: list[Exchange] = []
    async with endpoint(answer) as fake:
        assert await asked(fake.base_url, output=mode, log=log) == Choice(**GOOD)
    (request,) = fake.requests
    assert request["model"] == "fake" and request["temperature"] == 0.1
    if mode == "tool":
        assert request["tools"][0]["function"]["parameters"]["properties"]["agent"]["enum"] == ["planner", "reviewer"]
    elif mode == "native":
        assert request["response_format"]["type"] == "json_schema"
    else:
        assert "json_schema" not in json.dumps(request.get("response_format", {}))
        assert "reviewer" in json.dumps(request["messages"])  # the schema is in the prompt
    (exchange,) = log
    assert (exchange.role, exchange.prompt, exchange.tokens, exchange.failure) == ("manager", "Who is next?", 48, "")
    assert json.loads(exchange.reply) == GOOD


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2-7B-Instruct", "mistral"])
async def test_any_model_may_be_asked_by_schema(name):
    async with endpoint(says(json.dumps(GOOD))) as fake:
        model = LanguageModel(replace(settings(fake.base_url, output="native"), model=name))
        assert await model.ask("manager", "Choose.", "Who?", Choice, Budget(Limits())) == Choice(**GOOD)
    assert fake.requests[0]["response_format"]["type"] == "json_schema"


async def test_an_invalid_reply_is_corrected_and_every_token_counted():
    budget = Budget(Limits())
    async with endpoint(calls("reply", {"agent": "pope", "why": ""}), calls("reply", GOOD)) as fake:
        assert (await asked(fake.base_url, budget)).agent == "reviewer"
    assert "planner" in json.dumps(fake.requests[1]["messages"][-1])  # told what would be right
    assert budget.tokens == 96


def api(function) -> dict[str, Api]:
    parameter = Parameter("place", "str", "name of a place", True)
    return {
        "geocode": Api("geocode", "Find a place.", (parameter,), "dict", "where it is", "geocode('Duomo')", function)
    }


async def test_functions_are_offered_called_and_recorded():
    log: list[Exchange] = []
    async with endpoint(calls("geocode", {"place": "Duomo"}), calls("reply", GOOD)) as fake:
        found = await asked(
            fake.base_url, tools=api(None), call=lambda name, given: {"name": given["place"], "lon": 9.19}, log=log
        )
    assert found.agent == "reviewer"
    assert log[0].calls == (("geocode", '{"place":"Duomo"}', '{"name":"Duomo","lon":9.19}'),)
    assert "9.19" in json.dumps(fake.requests[1]["messages"])


async def test_functions_may_be_coroutine_functions():
    log: list[Exchange] = []
    loops = []

    async def find(name, given):
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        if given["place"] == "nowhere":
            raise ApiError("no such place")
        return {"lon": 9.19}

    answers = (calls("geocode", {"place": "nowhere"}), calls("geocode", {"place": "Duomo"}), calls("reply", GOOD))
    async with endpoint(*answers) as fake:
        assert (await asked(fake.base_url, tools=api(None), call=find, log=log)).agent == "reviewer"
    assert loops == [asyncio.get_running_loop()] * 2
    assert "no such place" in json.dumps(fake.requests[1]["messages"])
    assert log[0].calls[1] == ("geocode", '{"place":"Duomo"}', '{"lon":9.19}')


async def test_function_calls_are_one_at_a_time_unless_their_number_is_given():
    async with endpoint(calls("geocode", {"place": "Duomo"})) as fake:
        with pytest.raises(ModelFailure, match="limit of tokens or requests") as failure:
            await asked(fake.base_url, Budget(Limits(tokens=10**6)), api(None), lambda name, given: {}, calls=20)
        with pytest.raises(ModelFailure):
            await asked(fake.base_url, tools=api(None), call=lambda name, given: {})
    assert failure.value.kind == "budget" and len(fake.requests) == 21 + 12
    assert [fake.requests[n]["parallel_tool_calls"] for n in (0, 20, 21, 32)] == [True, True, False, False]


async def test_a_refused_call_tells_the_model_why():
    def refuse(name, arguments):
        raise ApiError("no place called 'Duomo' is known")

    async with endpoint(calls("geocode", {"place": "Duomo"}), calls("reply", GOOD)) as fake:
        await asked(fake.base_url, tools=api(None), call=refuse)
    assert "no place called" in json.dumps(fake.requests[1]["messages"])


async def test_a_busy_endpoint_is_asked_again_after_the_time_it_names():
    busy = http(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, Retry_After="1")
    started = time.monotonic()
    async with endpoint(busy, calls("reply", GOOD)) as fake:
        assert (await asked(fake.base_url)).agent == "reviewer"
    assert time.monotonic() - started >= 1
    assert len(fake.requests) == 2


# --- What fails, and how it is told -----------------------------------------------------------------------------------

ERROR = {"error": {"message": "the reason", "type": "x", "code": None}}
LONG = {"error": {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}}
QUOTA = {"error": {"message": "no money", "code": "insufficient_quota", "type": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("answer", "kind", "requests", "words"),
    [
        (http(401, ERROR), "unauthorised", 1, "refuses the API key; check OPENAI_API_KEY"),
        (http(403, ERROR), "unauthorised", 1, "refuses the API key"),
        (http(404, ERROR), "unknown model", 1, "knows no such model"),
        (http(429, ERROR), "busy", 1, "asks to wait"),
        (http(429, ERROR, Retry_After="3600"), "busy", 1, "asks to wait"),
        (http(429, ERROR, Retry_After="1"), "busy", 2, "asks to wait"),
        (http(429, QUOTA), "quota", 1, "has no credit left"),
        (http(500, ERROR), "server", 1, "failed by a fault of its own"),
        (http(502, "<html>bad gateway</html>", "text/html"), "server", 1, "failed by a fault of its own"),
        (http(503, ERROR), "busy", 1, "is overloaded"),
        (http(400, ERROR), "rejected", 1, "refuses the request"),
        (http(400, LONG), "too long", 1, "takes no prompt of this length"),
        (http(200, "<html>hello</html>", "text/html"), "protocol", 1, "no chat completion"),
        (http(200, "not json"), "protocol", 1, "no chat completion"),
        (http(200, {"choices": []}), "protocol", 1, "no chat completion"),
        (http(200, {}), "protocol", 1, "no chat completion"),
        (http(200, [1, 2]), "protocol", 1, "no chat completion"),
        (cut_off(), "cut off", 1, "broke off its answer"),
        (calls("reply", "{not json"), "invalid", 3, "no valid reply in 3 tries"),
        (calls("reply", {"agent": "pope"}), "invalid", 3, "no valid reply in 3 tries"),
        (calls("launch_rockets", {}), "invalid", 3, "no valid reply in 3 tries"),
        (says("I would rather talk about the weather."), "invalid", 3, "no valid reply in 3 tries"),
        (says(""), "invalid", 3, "no valid reply in 3 tries"),
        (chat({"content": "no", "refusal": "I can't help with that"}, "content_filter"), "rejected", 1, "filtered"),
        (calls("geocode", {"place": "Duomo"}), "budget", 12, "limit of tokens or requests"),
    ],
    ids=lambda value: None if callable(value) else str(value)[:24],
)
async def test_every_failure_has_its_kind_and_words(answer, kind, requests, words):
    log: list[Exchange] = []
    async with endpoint(answer) as fake:
        with pytest.raises(ModelFailure, match=words) as failure:
            await asked(fake.base_url, tools=api(None), call=lambda name, arguments: {}, log=log)
    assert failure.value.kind == kind
    assert len(fake.requests) == requests
    assert log and log[-1].failure.startswith(f"{kind}: ")
    assert KEY not in str(failure.value) + repr(log) + repr(settings(fake.base_url))
    assert any(KEY in head for head in fake.heads)  # it was sent, and only there


async def test_a_silent_endpoint_is_given_up_after_the_time_of_a_request():
    async with endpoint(silent(30)) as fake:
        with pytest.raises(ModelFailure, match="did not answer in time") as failure:
            await asked(fake.base_url, request_s=0.5)
    assert failure.value.kind == "slow"


async def test_the_budget_of_seconds_ends_a_request():
    async with endpoint(silent(30)) as fake:
        started = time.monotonic()
        with pytest.raises(ModelFailure, match="limit of seconds") as failure:
            await asked(fake.base_url, Budget(Limits(seconds=0.5)))
    assert failure.value.kind == "budget" and time.monotonic() - started < 15


async def test_nothing_is_asked_when_the_budget_is_used_up():
    async with endpoint(calls("reply", GOOD)) as fake:
        with pytest.raises(ModelFailure, match="60000 tokens is used up"):
            await asked(fake.base_url, Budget(Limits(), tokens=60_000))
        ticks = iter([0.0, 500.0, 500.0, 500.0, 500.0])
        with pytest.raises(ModelFailure, match="120 seconds is used up"):
            await asked(fake.base_url, Budget(Limits(), clock=lambda: next(ticks)))
    assert fake.requests == []


def test_steps_are_counted_up_to_their_limit():
    budget = Budget(Limits(steps=2))
    budget.step()
    budget.step()
    with pytest.raises(ModelFailure, match="limit of 2 steps is used up") as failure:
        budget.step()
    assert (failure.value.kind, budget.steps) == ("budget", 2)


async def test_an_endpoint_that_is_absent():
    async with endpoint(says("")) as fake:
        pass
    with pytest.raises(ModelFailure, match=f"nothing answers at {fake.base_url}") as failure:
        await asked(fake.base_url)
    assert failure.value.kind == "absent"


def test_no_key_for_openais_own_endpoint():
    with pytest.raises(ModelFailure, match="no API key: set OPENAI_API_KEY") as failure:
        LanguageModel(ModelSettings())
    assert failure.value.kind == "unauthorised"


def test_settings_are_checked():
    with pytest.raises(ValueError, match="output mode 'telepathy' is unknown; choose one of tool, native, prompted"):
        LanguageModel(replace(settings("http://127.0.0.1:1/v1"), output="telepathy"))


async def test_cancelling_the_question_cancels_the_request():
    async with endpoint(silent(30)) as fake:
        task = asyncio.create_task(asked(fake.base_url, request_s=30.0))
        while not fake.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
