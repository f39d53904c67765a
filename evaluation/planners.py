"""The planners that are compared: offline, the agents ("llm"), and the paper's rival, one zero-shot request ("naive").

A planner is called with (question, now, scenario) and gives a DataPlan. Requests to a model can be kept in a file: one
that was made before, with the same model, temperature, seed and words, is not made again, and the tokens and seconds
that it took count again. So a run that was cut off goes on where it stopped, and what two runs share is paid once.
"""

import asyncio
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import monotonic

from pydantic import BaseModel, ConfigDict, Field

from agents import DataPlan, PlanItem, plan_offline
from agents.areas import sensors_in
from agents.data_api import load_apis
from agents.local_time import units_back
from agents.memory import Memory
from agents.model import Budget, LanguageModel, Limits, ModelFailure, ModelSettings
from agents.offline import load
from agents.plan import Area
from agents.planning import Planning
from agents.review import SecondOpinion
from agents.roles import TypeId
from agents.sandbox import Sandbox
from agents.times import HISTORY_DAYS
from agents.workflow import Rules, Team
from twin.scenario import Scenario
from twin.sensor_types import sensor_types

Planner = Callable[[str, datetime, Scenario], DataPlan]  # or one of the classes below, which also plan many at a time
NAMES = ("offline", "llm", "naive")
NO_LIMITS = Limits(tokens=1_000_000, seconds=3_600.0)  # a slow machine is no fault of the planner


@dataclass(frozen=True)
class Asked:
    """Which model is asked, and how. ``cache``: the file of requests that were made; None: every request is made.
    ``parallel``: questions at a time; servers that batch do more so, but each question's seconds grow."""

    settings: ModelSettings
    max_steps: int = 15
    second_opinion: SecondOpinion = SecondOpinion.BINDING
    cache: Path | None = None
    parallel: int = 1


class Recorded(LanguageModel):
    """A model whose replies are kept in a file. Failures are not kept."""

    def __init__(self, settings: ModelSettings, file: Path):
        super().__init__(settings)
        self._file = file
        self._known: dict[str, dict] = {}
        if file.exists():
            rows = filter(None, map(_row, file.read_text("utf-8").splitlines()))
            self._known = {row["key"]: row for row in rows}

    async def ask(self, role, instructions, prompt, reply, budget, tools=None, call=None, **more):
        settings = self.settings
        said = [settings.model, settings.base_url, settings.temperature, settings.seed, settings.output]
        said += [role, instructions, prompt, json.dumps(reply.model_json_schema()), sorted(tools or ())]
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        if key in self._known:
            budget.check()
            row = self._known[key]
            budget.tokens += row["tokens"]
            budget.pause(-row["seconds"])
            return reply.model_validate(row["reply"])
        before, started = budget.tokens, monotonic()
        answer = await super().ask(role, instructions, prompt, reply, budget, tools, call, **more)
        row = {"key": key, "reply": answer.model_dump(mode="json"), "tokens": budget.tokens - before}
        row["seconds"] = monotonic() - started
        self._known[key] = row
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as out:
            # On a line of its own, also after one that was cut off.
            out.write("\n" + json.dumps(row) + "\n")
        return answer


def _row(line: str) -> dict | None:
    """A kept reply; None for a blank line and for one that was cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and row.keys() == {"key", "reply", "tokens", "seconds"} else None


class _Running(ABC):
    """A planner that needs an event loop of its own; ``close`` it."""

    def __init__(self, asked: Asked):
        self._asked = asked
        self._runner = asyncio.Runner()

    def __call__(self, question: str, now: datetime, scenario: Scenario) -> DataPlan:
        return self.many([question], now, scenario)[0]

    def many(
        self,
        questions: list[str],
        now: datetime,
        scenario: Scenario,
        on_plan: Callable[[], None] = lambda: None,
    ) -> list[DataPlan]:
        """The plans of questions, ``asked.parallel`` at a time. Raises ModelFailure."""
        turns = asyncio.Semaphore(self._asked.parallel)

        async def one(question: str) -> DataPlan:
            async with turns:
                plan = await self._plan(question, now, scenario)
            on_plan()
            return plan

        async def all_of_them() -> list[DataPlan]:
            tasks = [asyncio.ensure_future(one(question)) for question in questions]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()

        return self._runner.run(all_of_them())

    @abstractmethod
    async def _plan(self, question: str, now: datetime, scenario: Scenario) -> DataPlan:
        """The plan of one question."""

    def _model(self) -> LanguageModel:
        settings, cache = self._asked.settings, self._asked.cache
        return Recorded(settings, cache) if cache else LanguageModel(settings)

    def close(self) -> None:
        self._runner.close()


class Agents(_Running):
    """The agents' workflow. Each question starts from an empty memory, so that no question teaches another."""

    def __init__(self, asked: Asked):
        super().__init__(asked)
        self._team: Team | None = None

    async def _plan(self, question: str, now: datetime, scenario: Scenario) -> DataPlan:
        if self._team is None:
            apis = load_apis()
            rules = Rules(replace(NO_LIMITS, steps=self._asked.max_steps), self._asked.second_opinion)
            self._team = Team(self._model(), apis, Sandbox(apis, workers=1), Memory(), rules)
        return await Planning(scenario, replace(self._team, memory=Memory())).plan(question, now)

    def close(self) -> None:
        if self._team is not None:
            self._runner.run(self._team.sandbox.close())
            self._runner.run(self._team.model.close())
        super().close()


class NaiveReply(BaseModel):
    """What a zero-shot request gives."""

    model_config = ConfigDict(extra="forbid")
    types: list[TypeId] = Field(max_length=20, description="the sensor types that are needed; empty if none tells it")
    start: str = Field(description="begin of the time, ISO 8601 with offset")
    end: str = Field(description="end of the time, ISO 8601 with offset")


class Naive(_Running):
    """One zero-shot request to the model, with the list of types (the paper's rival). An invalid reply is no plan; a
    time that can't be read is the last HISTORY_DAYS days."""

    def __init__(self, asked: Asked):
        super().__init__(replace(asked, settings=replace(asked.settings, retries=0)))
        self._asking: LanguageModel | None = None

    async def _plan(self, question: str, now: datetime, scenario: Scenario) -> DataPlan:
        self._asking = self._asking or self._model()
        budget, local = Budget(NO_LIMITS), now.astimezone(scenario.zone)
        prompt = (
            f"Sensor types of the city {scenario.city}: {', '.join(sensor_types())}.\n"
            f"It is {local:%A} {local.isoformat()}.\nQuestion: {question}\n"
            "Which sensor types are needed to answer it, and of which time?"
        )
        try:
            reply = await self._asking.ask("naive", "", prompt, NaiveReply, budget)
            types, failure = list(dict.fromkeys(reply.types)), ""
            window = _window(reply, local)
        except ModelFailure as error:
            if error.kind not in ("invalid", "protocol"):
                raise
            types, failure, window = [], str(error), None
        area = Area("city", scenario.city)
        items = tuple(PlanItem(one, area, *window, "Zero-shot.") for one in types)
        sensors = tuple(s.id for one in types for s in sensors_in(scenario, one, area))
        reason = failure or ("Zero-shot." if types else "The model names no type.")
        name = self._asked.settings.model
        return DataPlan(question, bool(types), reason, items, sensors, "llm", name, 1, budget.tokens, budget.seconds)

    def close(self) -> None:
        if self._asking is not None:
            self._runner.run(self._asking.close())
        super().close()


def _window(reply: NaiveReply, now: datetime) -> tuple[datetime, datetime]:
    try:
        start, end = (datetime.fromisoformat(text) for text in (reply.start, reply.end))
        start, end = (time if time.tzinfo else time.replace(tzinfo=now.tzinfo) for time in (start, end))
        if start.timestamp() < end.timestamp():
            return start, end
    except (ValueError, OverflowError):
        pass
    return units_back(now, HISTORY_DAYS, "day"), now


@dataclass(frozen=True)
class Rival:
    """A planner by name, and for those that need a model which one is asked, and how."""

    planner: str
    model: str = ""
    asked: Asked | None = None

    @contextmanager
    def running(self) -> Iterator[Planner]:
        """The planner, closed at the end."""
        if self.planner == "offline":
            load()  # so that the first question's seconds are its own
            yield plan_offline
            return
        planner = (Agents if self.planner == "llm" else Naive)(self.asked)
        try:
            yield planner
        finally:
            planner.close()


def reachable(settings: ModelSettings) -> str:
    """ "" if the model answers a small request, else why not, in words."""

    class Hello(BaseModel):
        word: str

    async def ask() -> None:
        limits = Limits(tokens=5_000, seconds=60.0)
        model = LanguageModel(settings)
        try:
            await model.ask("naive", "", "Reply with the word hello.", Hello, Budget(limits))
        finally:
            await model.close()

    try:
        asyncio.run(ask())
    except ModelFailure as failure:
        return "" if failure.kind == "invalid" else str(failure)
    return ""
