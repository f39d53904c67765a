"""Data planning as the rest of the system uses it: by the agents where a model is there, else offline."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agents.apis import Context
from agents.model import ModelFailure
from agents.offline import opinion
from agents.plan import DataPlan
from agents.roles import Role
from agents.schema import to_json
from agents.telemetry import span
from agents.transcript import Transcript, new_file
from agents.workflow import AskPerson, Conversation, Human, Stopped, Team, Turn, in_words, without_model
from twin.intervals import Interval
from twin.scenario import Scenario

Held = Callable[[str], tuple[Interval, ...]]


class Planning:
    """Plans questions about a city. ``team`` None: offline. ``transcripts``: the directory for a file per question;
    ``because``: why there is no team though one was asked for, told in every plan's reason."""

    def __init__(
        self,
        scenario: Scenario,
        team: Team | None = None,
        transcripts: Path | None = None,
        because: ModelFailure | None = None,
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

        Raises ValueError for a question that is too long and for ``now`` without a zone, Stopped where a person does
        not let the plan pass. Never raises for anything that a model does.
        """
        with span("plan", question=question):
            found = await asyncio.to_thread(opinion, question, now, self._scenario)
            secret = self.team.model.settings.key if self.team else ""
            transcript = Transcript(new_file(self._transcripts, request_id) if self._transcripts else None, secret)
            name = self.team.model.settings.model if self.team else ""
            transcript.add("question", question=question, now=now.isoformat(), model=name)
            if self.team is None:
                plan = without_model(found.plan, self._because) if self._because else found.plan
                await _approved(plan, human, ask_person)
            else:
                context = Context(self._scenario, now, held)
                conversation = Conversation(self.team, found, context, transcript, human, ask_person, on_turn)
                plan = await conversation.run()
            transcript.add("plan", plan=to_json(plan))
            return plan

    async def close(self) -> None:
        """End the sandbox's processes."""
        if self.team is not None:
            with contextlib.suppress(RuntimeError):
                await self.team.sandbox.close()


async def _approved(plan: DataPlan, human: Human, ask_person: AskPerson | None) -> None:
    if human is not Human.NEVER and ask_person is not None:
        say = await ask_person(Turn(0, Role.END, in_words(plan)))
        if not say.go_on:
            raise Stopped(say.advice or "the plan was not approved")
