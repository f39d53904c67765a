"""Data planning as the rest of the system uses it: by the agents where a model is there, else offline."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agents.apis import Context
from agents.areas import describe
from agents.assemble import sentence
from agents.offline import opinion
from agents.plan import DataPlan
from agents.schema import to_json
from agents.telemetry import span
from agents.transcript import Transcript, new_file
from agents.turns import AskPerson, Human, Role, Stopped, Turn
from twin.intervals import Interval
from twin.scenario import Scenario

if TYPE_CHECKING:  # imports a model's SDK, which takes seconds and is of no use offline
    from agents.workflow import Team

Held = Callable[[str], tuple[Interval, ...]]


class Planning:
    """Plans questions about a city. ``team`` None: offline. ``transcripts``: the directory for a file per question;
    ``because``: why there is no team though one was asked for, told in every plan's reason."""

    def __init__(
        self, scenario: Scenario, team: "Team | None" = None, transcripts: Path | None = None, because: str = ""
    ):
        self._scenario, self.team, self._transcripts, self._because = scenario, team, transcripts, because

    async def plan(
        self,
        question: str,
        now: datetime,
        *,
        held: Held | None = None,
        request_id: str = "",
        human: Human = Human.NEVER,
        ask_person: AskPerson | None = None,
        on_turn: Callable[[Turn], None] = lambda turn: None,
    ) -> DataPlan:
        """The plan of a question asked at ``now`` (aware). ``held``: what the twin holds of a sensor; ``ask_person`` is
        asked as ``human`` says.

        Raises ValueError for a question that is too long, for ``now`` without a zone and where nobody is there to be
        asked, Stopped where a person does not let the plan pass. Never raises for anything that a model does.
        """
        if human is not Human.NEVER and ask_person is None:
            raise ValueError(f"human {human.value} needs ask_person, or nobody approves the plan")
        with span("plan", question=question):
            found = await asyncio.to_thread(opinion, question, now, self._scenario)
            settings = self.team.model.settings if self.team else None
            file = new_file(self._transcripts, request_id) if self._transcripts else None
            transcript = Transcript(file, settings.key if settings else "")
            transcript.add("question", question=question, now=now.isoformat(), model=settings.model if settings else "")
            if self.team is None:
                plan = without_model(found.plan, self._because) if self._because else found.plan
                await approved(plan, human, ask_person, transcript)
            else:
                from agents.workflow import Conversation

                context = Context(self._scenario, now, held)
                plan = await Conversation(self.team, found, context, transcript, human, ask_person, on_turn).run()
            transcript.add("plan", plan=to_json(plan))
            return plan

    async def close(self) -> None:
        """End the sandbox's processes, and hang up on the model."""
        if self.team is not None:
            await self.team.sandbox.close()
            await self.team.model.close()


def without_model(plan: DataPlan, because: object) -> DataPlan:
    """The offline plan, which says why no model made it."""
    return replace(plan, reason=sentence(f"{plan.reason.rstrip('.')}; planned offline, since {because}"))


async def approved(
    plan: DataPlan, human: Human, ask_person: AskPerson | None, transcript: Transcript, step: int = 0
) -> None:
    """Have a person approve a plan that no agents are there to change. Raises Stopped."""
    if human is Human.NEVER:
        return
    say = await ask_person(Turn(step, Role.END, in_words(plan)))
    transcript.add("person", step=step, go_on=say.go_on, advice=say.advice)
    if not say.go_on:
        raise Stopped(say.advice or "the plan was not approved")


def in_words(plan: DataPlan) -> str:
    """A plan for a person to approve."""
    rows = [f"{i.type} in {describe(i.area)}, {i.start.isoformat()} to {i.end.isoformat()}" for i in plan.items]
    return "\n".join([plan.reason, *rows, f"{len(plan.sensors)} sensors"] if plan.answerable else [plan.reason])
