"""The port to language models: one typed question to any OpenAI-compatible endpoint, bounded; failures say what went
wrong.

Behind it is pydantic-ai over the ``openai`` SDK; no other module of the room knows either. Replies are parsed against a
schema (a pydantic model), and a reply that does not fit goes back to the model with what was wrong, ``retries`` times.
"""

import asyncio
import inspect
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, Tool, ToolOutput, capture_run_messages
from pydantic_ai import exceptions as failures
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings as Settings
from pydantic_ai.usage import UsageLimits

from agents.data_api import Api, ApiError
from agents.transcript import without_key

Reply = TypeVar("Reply", bound=BaseModel)
OUTPUT_MODES = ("tool", "native", "prompted")
_WAIT_S = 20.0  # the longest that a busy endpoint is waited for, if the budget allows
_ROUNDS = 12  # requests that one question may take: function calls, and corrections of the reply
_SHOWN = 300  # characters of an endpoint's own words in a message


@dataclass(frozen=True)
class ModelSettings:
    """Which model answers, where and how. ``base_url`` and ``api_key``: empty are OPENAI_BASE_URL and OPENAI_API_KEY.

    ``output``: how a reply is made to fit its schema: "tool" (the reply is a function call), "native" (the endpoint
    enforces a JSON schema) or "prompted" (the schema stands in the prompt); small servers differ in what they can.
    ``request_s``: the longest that one request may take. ``retries``: how often an invalid reply may be corrected.
    """

    model: str = "gpt-4o"
    temperature: float = 0.1
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    output: str = "tool"
    request_s: float = 60.0
    reply_tokens: int = 2_000
    retries: int = 2
    seed: int | None = None

    @property
    def key(self) -> str:
        """The API key that is used; empty: none."""
        return self.api_key or os.environ.get("OPENAI_API_KEY", "")


@dataclass(frozen=True)
class Limits:
    """What answering one question may take: agents' turns, tokens in and out, seconds, and US dollars where the model's
    price is known (0: no limit)."""

    steps: int = 15
    tokens: int = 60_000
    seconds: float = 120.0
    cost_usd: float = 0.0


class ModelFailure(Exception):
    """The model gave no usable reply. ``kind``:

    "absent" (no endpoint there), "slow", "cut off", "unauthorised", "unknown model", "busy" (rate limits, overload),
    "quota", "server", "too long" (more than the model's context), "rejected", "protocol" (what came is no chat
    completion), "invalid" (never fitted the schema), "budget" (steps, tokens, seconds or cost used up).
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Exchange:
    """One question to the model and what came, for transcripts. ``calls``: (function, arguments, what it returned).
    ``reply`` is the model's own text; ``failure`` is "" or why there was none that could be used."""

    role: str
    instructions: str
    prompt: str
    reply: str
    calls: tuple[tuple[str, str, str], ...]
    tokens: int
    seconds: float
    failure: str = ""


@dataclass
class Budget:
    """What is left of a question's limits. ``clock`` gives seconds."""

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    steps: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def seconds(self) -> float:
        return self.clock() - self.started

    @property
    def seconds_left(self) -> float:
        return self.limits.seconds - self.seconds

    def pause(self, seconds: float) -> None:
        """These seconds, in which a person was waited for, don't count."""
        self.started += seconds

    def step(self) -> None:
        """Count an agent's turn. Raises ModelFailure where there is none left, or something else is used up."""
        if self.steps >= self.limits.steps:
            raise ModelFailure("budget", f"the limit of {self.limits.steps} steps is used up")
        self.check()
        self.steps += 1

    def check(self) -> None:
        """Raises ModelFailure when tokens, seconds or dollars are used up."""
        limits = self.limits
        for name, used, most in (
            ("tokens", self.tokens, limits.tokens),
            ("seconds", self.seconds, limits.seconds),
            ("US dollars", self.cost_usd, limits.cost_usd or float("inf")),
        ):
            if used >= most:
                raise ModelFailure("budget", f"the limit of {most:g} {name} is used up")


class LanguageModel:
    """A model behind an endpoint; ``model`` replaces what ``settings`` name (a scripted one, in tests)."""

    def __init__(
        self,
        settings: ModelSettings,
        *,
        model: Model | None = None,
        on_exchange: Callable[[Exchange], None] = lambda exchange: None,
    ):
        if settings.output not in OUTPUT_MODES:
            raise ValueError(f"output mode {settings.output!r} is unknown; choose one of {', '.join(OUTPUT_MODES)}")
        self.settings = settings
        self._model = model or _endpoint(settings)
        self._on_exchange = on_exchange

    def told(self, on_exchange: Callable[[Exchange], None]) -> "LanguageModel":
        """The same model, whose exchanges are told to another."""
        other = copy(self)
        other._on_exchange = on_exchange
        return other

    async def close(self) -> None:
        """Hang up. Models that share the endpoint by ``told`` are closed too."""
        client = getattr(self._model, "client", None)
        if client is not None:
            await client.close()

    async def ask(
        self,
        role: str,
        instructions: str,
        prompt: str,
        reply: type[Reply],
        budget: Budget,
        tools: Mapping[str, Api] | None = None,
        call: Callable[[str, dict], object] | None = None,
        calls: int | None = None,
    ) -> Reply:
        """A reply of the type ``reply``. ``tools``, called by ``call(name, arguments)``, are offered to the model.

        ``call`` is a coroutine function, or is called in a thread. calls: given, the model may call functions so often,
        and several at a time; else one at a time, in few requests. A busy endpoint is asked once more after the time
        that it names, if that is short. Raises ModelFailure.
        """
        budget.check()
        agent = Agent(
            self._model,
            output_type=_output(self.settings.output, reply),
            instructions=instructions,
            retries={"output": self.settings.retries, "tools": self.settings.retries},
            tools=[_tool(api, call) for api in (tools or {}).values()],
        )
        try:
            return await self._run(agent, role, instructions, prompt, budget, calls)
        except ModelFailure as failure:
            wait = failure.__cause__.retry_after if isinstance(failure.__cause__, failures.ModelAPIError) else None
            if failure.kind != "busy" or wait is None or wait > min(_WAIT_S, budget.seconds_left / 2):
                raise
            await asyncio.sleep(wait)
            return await self._run(agent, role, instructions, prompt, budget, calls)

    async def _run(self, agent: Agent, role: str, instructions: str, prompt: str, budget: Budget, calls: int | None):
        started, before, problem, result = time.monotonic(), budget.tokens, "", None
        with capture_run_messages() as messages, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydantic_ai")  # unknown prices, settings a server ignores
            try:
                async with asyncio.timeout(max(0.0, budget.seconds_left)):
                    request, limits = self._request(calls is not None), _limits(budget, calls)
                    result = await agent.run(prompt, model_settings=request, usage_limits=limits)
                return result.output
            except Exception as error:
                failure = _failure(error, self.settings)
                failure = ModelFailure(failure.kind, without_key(str(failure), self.settings.key))
                problem = f"{failure.kind}: {failure}"
                raise failure from error
            finally:
                for response in (message for message in messages if isinstance(message, ModelResponse)):
                    budget.tokens += response.usage.input_tokens + response.usage.output_tokens
                    budget.cost_usd += _cost(response)
                self._on_exchange(
                    Exchange(
                        role,
                        instructions,
                        prompt,
                        _said(messages),
                        _calls(messages),
                        budget.tokens - before,
                        time.monotonic() - started,
                        problem,
                    )
                )

    def _request(self, parallel: bool) -> Settings:
        request = Settings(
            temperature=self.settings.temperature,
            max_tokens=self.settings.reply_tokens,
            timeout=self.settings.request_s,
            parallel_tool_calls=parallel,
        )
        if self.settings.seed is not None:
            request["seed"] = self.settings.seed
        return request


def _endpoint(settings: ModelSettings) -> Model:
    """The OpenAI-compatible endpoint of the settings. Raises ModelFailure where no key is known for OpenAI's own."""
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    base_url, key = settings.base_url or os.environ.get("OPENAI_BASE_URL", ""), settings.key
    if not key and not base_url:
        raise ModelFailure("unauthorised", "no API key: set OPENAI_API_KEY, or the endpoint's address OPENAI_BASE_URL")
    # Waiting and trying again is decided here, where the budget is known.
    client = AsyncOpenAI(base_url=base_url or None, api_key=key or "none", max_retries=0, timeout=settings.request_s)
    own = OpenAIProvider(openai_client=client)
    provider = OpenAICompatibleProvider("openai-compatible", openai_client=client) if base_url else own
    # Whether an endpoint enforces schemas is for the configuration to say, not for a guess by the model's name.
    return OpenAIChatModel(settings.model, provider=provider, profile={"supports_json_schema_output": True})


def _output(mode: str, reply: type[BaseModel]):
    if mode == "tool":
        return ToolOutput(reply, name="reply")
    return NativeOutput(reply) if mode == "native" else PromptedOutput(reply)


def _tool(api: Api, call: Callable[[str, dict], object]) -> Tool:
    async def function(**arguments: object) -> object:
        try:
            if inspect.iscoroutinefunction(call):
                return await call(api.name, arguments)
            return await asyncio.to_thread(call, api.name, arguments)
        except ApiError as error:
            raise ModelRetry(str(error)) from None

    description = f"{api.description} Returns: {api.returns}"
    return Tool.from_schema(function, api.name, description, api.schema)


def _limits(budget: Budget, calls: int | None) -> UsageLimits:
    tokens = max(1, budget.limits.tokens - budget.tokens)
    return UsageLimits(request_limit=_ROUNDS + (calls or 0), tool_calls_limit=calls, total_tokens_limit=tokens)


def _cost(response: ModelResponse) -> float:
    try:
        return float(response.cost().total_price)
    except (LookupError, AttributeError, AssertionError, ValueError):
        return 0.0  # no price is known of this model


# --- What came --------------------------------------------------------------------------------------------------------


def _parts(messages: Iterable[ModelMessage], kind: type) -> list:
    return [part for message in messages for part in message.parts if isinstance(part, kind)]


def _said(messages: list[ModelMessage]) -> str:
    texts = [part.content for part in _parts(messages, TextPart)]
    replies = [part.args_as_json_str() for part in _parts(messages, ToolCallPart) if part.tool_name == "reply"]
    return "\n".join([*texts, *replies])


def _calls(messages: list[ModelMessage]) -> tuple[tuple[str, str, str], ...]:
    returned = {part.tool_call_id: part.model_response_str() for part in _parts(messages, ToolReturnPart)}
    return tuple(
        (part.tool_name, part.args_as_json_str(), returned.get(part.tool_call_id, ""))
        for part in _parts(messages, ToolCallPart)
        if part.tool_name != "reply"
    )


_KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (failures.ModelAuthenticationError, "unauthorised", "refuses the API key; check OPENAI_API_KEY"),
    (failures.ModelNotFoundError, "unknown model", "knows no such model; check its name and OPENAI_BASE_URL"),
    (failures.ModelContextWindowExceededError, "too long", "takes no prompt of this length"),
    (failures.ModelQuotaExceededError, "quota", "has no credit left for this key"),
    (failures.ModelRateLimitError, "busy", "asks to wait"),
    (failures.ModelUnavailableError, "busy", "is overloaded"),
    (failures.ModelServerError, "server", "failed by a fault of its own"),
    (failures.ModelRequestRejectedError, "rejected", "refuses the request"),
    (failures.ModelTimeoutError, "slow", "did not answer in time"),
    (failures.ModelRequestTimeout, "slow", "did not answer in time"),
    (failures.UsageLimitExceeded, "budget", "was asked too much: the limit of tokens or requests is used up"),
    (failures.ContentFilterError, "rejected", "filtered the question or the answer"),
)


def _failure(error: Exception, settings: ModelSettings) -> ModelFailure:
    where = settings.base_url or os.environ.get("OPENAI_BASE_URL", "") or "the OpenAI API"
    name = f"model {settings.model} at {where}"
    for kind, word, text in _KINDS:
        if isinstance(error, kind):
            return ModelFailure(word, f"{name} {text}{'' if word == 'budget' else _own_words(error)}")
    if isinstance(error, failures.ModelConnectionError):
        if error.phase == "read":
            return ModelFailure("cut off", f"{name} broke off its answer")
        return ModelFailure("absent", f"nothing answers at {where}; is the server running?")
    if isinstance(error, failures.ModelAPIError):
        return ModelFailure("protocol", f"{name} sent something that is no chat completion{_own_words(error)}")
    if isinstance(error, failures.UnexpectedModelBehavior):
        if isinstance(error.__cause__, failures.ToolRetryError) or "retries" in str(error):
            return ModelFailure(
                "invalid", f"{name} gave no valid reply in {settings.retries + 1} tries{_own_words(error)}"
            )
        return ModelFailure("protocol", f"{name} sent something that is no chat completion{_own_words(error)}")
    if isinstance(error, TimeoutError):
        return ModelFailure("budget", "the limit of seconds is used up")
    return ModelFailure("protocol", f"{name}: {type(error).__name__}{_own_words(error)}")


def _own_words(error: Exception) -> str:
    """What the endpoint itself said, shortened."""
    text = " ".join(str(error).split())
    return f" ({text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''})" if text else ""
