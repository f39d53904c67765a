"""The agents' conversation about one question (paper, section III-A): who may speak after whom, and what each does.

    start -> Planner -> Reviewer -> Planner | Coder | end        Coder -> Executor -> Coder | Reviewer

Where what happened leaves one way, it is taken; where it leaves several, the Manager's model picks among them, and a
fixed choice stands in for it. Whatever the models say is data: types are ids, places and times are words of the
question, programs run in the sandbox, and the Reviewer's first look (``agents.review``) needs no model.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from time import monotonic

from pydantic import BaseModel

from agents import review as checks
from agents.apis import Context
from agents.areas import describe
from agents.assemble import Assembled, Wanted, assemble, said, sentence, summary
from agents.data_api import Api, call
from agents.memory import Memory
from agents.model import Budget, LanguageModel, Limits, ModelFailure
from agents.offline import Opinion, unanswerable
from agents.plan import DataPlan, PlanItem
from agents.planning import approved, in_words, without_model
from agents.review import SURE, UNLIKELY, Finding, Reviewed, SecondOpinion
from agents.roles import (
    MANAGER,
    REVIEWER,
    Draft,
    Program,
    Verdict,
    choice,
    coder_instructions,
    planner_instructions,
)
from agents.sandbox import Outcome, Sandbox
from agents.telemetry import span
from agents.times import Window
from agents.transcript import Transcript
from agents.turns import AskPerson, Human, Role, Stopped, Turn
from twin.sensor_types import sensor_types

_SHOWN_CHARS = 3_000  # of a program's result or of a draft, in a prompt


@dataclass(frozen=True)
class Rules:
    """How the conversation is led. ``revisions``: how often the Reviewer may send a draft back before it mends it;
    ``corrections``: how often a program may be sent back before the draft's own words count; ``most_bytes``: of a plan.
    """

    limits: Limits = Limits()
    second_opinion: SecondOpinion = SecondOpinion.BINDING
    revisions: int = 2
    corrections: int = 3
    most_bytes: float = 20e9


@dataclass(frozen=True)
class Team:
    """What the agents of a city share. ``apis`` are the Data API that the Planner's tools and the sandbox offer."""

    model: LanguageModel
    apis: Mapping[str, Api]
    sandbox: Sandbox
    memory: Memory
    rules: Rules = Rules()


@dataclass
class Conversation:
    """One question's conversation. ``run`` gives its plan."""

    team: Team
    opinion: Opinion
    context: Context
    transcript: Transcript = field(default_factory=Transcript)
    human: Human = Human.NEVER
    ask_person: AskPerson | None = None
    on_turn: Callable[[Turn], None] = lambda turn: None

    def __post_init__(self) -> None:
        self.budget = Budget(self.team.rules.limits)
        self._model = self.team.model.told(lambda e: self.transcript.add("exchange", **asdict(e)))
        self._draft: Draft | None = None
        self._reviewed: Reviewed | None = None
        self._objections: tuple[str, ...] = ()  # to the draft, or to the program
        self._rejected: list[str] = []  # drafts that were sent back
        self._told: set[Finding] = set()  # advice that was given once
        self._released: set[str] = set()  # types that the Reviewer's model called unneeded
        self._accepted: Reviewed | None = None
        self._program: Program | None = None
        self._outcome: Outcome | None = None
        self._sent_back = 0  # programs
        self._items: tuple[PlanItem, ...] = ()  # of the program
        self._notes: list[str] = []
        self._advice: list[str] = []  # of a person
        self._lessons: list[tuple[frozenset[str], frozenset[str]]] = []

    async def run(self) -> DataPlan:
        """The plan: the agents' or, where a model fails or the limits are reached first, the offline planner's, which
        its reason tells. Raises Stopped."""
        try:
            await self._talk()
            plan = self._plan()
        except ModelFailure as failure:
            plan = self._without(failure)
            await approved(plan, self.human, self.ask_person, self.transcript, self.budget.steps)
        return replace(plan, steps=self.budget.steps, tokens=self.budget.tokens, seconds=self.budget.seconds)

    # --- Who comes next -----------------------------------------------------------------------------------------------

    async def _talk(self) -> None:
        turns = {
            Role.PLANNER: self._planner,
            Role.REVIEWER: self._reviewer,
            Role.CODER: self._coder,
            Role.EXECUTOR: self._executor,
        }
        role = Role.PLANNER
        while role is not Role.END:
            self.budget.step()
            with span(f"agent {role}", step=self.budget.steps):
                text = await turns[role]()
            turn = Turn(self.budget.steps, role, text)
            self.transcript.add("turn", **asdict(turn))
            self.on_turn(turn)
            if self.human is Human.ALWAYS and await self._person(turn):
                role = self._start_again(Role.CODER if role in (Role.CODER, Role.EXECUTOR) else Role.PLANNER)
                continue
            role = await self._next(role)
            if role is Role.END and self.human is Human.TERMINATE:
                last = Turn(self.budget.steps, Role.END, in_words(self._plan()))
                if await self._person(last):
                    role = self._start_again(Role.PLANNER)

    def _start_again(self, role: Role) -> Role:
        """The role, with what was decided after it undone."""
        if role is Role.PLANNER:
            self._accepted, self._program, self._outcome = None, None, None
        self._items = ()
        return role

    def _allowed(self, last: Role) -> tuple[Role, ...]:
        """Who may come after ``last``, as things stand; the first is the one to take without a Manager."""
        if last is Role.PLANNER:
            return (Role.REVIEWER,)
        if last is Role.CODER:
            return (Role.EXECUTOR,)
        if last is Role.EXECUTOR:
            failed = self._outcome.error is not None and self._sent_back <= self.team.rules.corrections
            return (Role.CODER,) if failed else (Role.REVIEWER,)
        if self._accepted is None:
            return (Role.PLANNER,)
        if self._program is None:
            return (Role.CODER, Role.END) if self._draft.compute != "nothing" else (Role.END,)
        if self._items or self._sent_back > self.team.rules.corrections:
            return (Role.END,)
        return (Role.CODER, Role.PLANNER) if self._revisions_left() else (Role.CODER,)

    async def _next(self, last: Role) -> Role:
        allowed = self._allowed(last)
        if len(allowed) == 1:
            return allowed[0]
        prompt = (
            f"{self._question()}\nThe draft, accepted: {_short(self._draft.model_dump_json())}\n"
            f"Last: {last.value}. {' '.join(self._objections)}\n"
            f"Who comes next: {' or '.join(role.value for role in allowed)}?"
        )
        try:
            picked = await self._ask(Role.MANAGER, MANAGER, prompt, choice(allowed))
            role, by, why = Role(picked.next), "model", picked.why
        except ModelFailure as failure:
            if failure.kind == "budget":
                raise
            role, by, why = allowed[0], "rule", str(failure)
        self.transcript.add("next", role=role.value, by=by, why=why)
        return self._start_again(role)

    async def _person(self, turn: Turn) -> bool:
        """Ask a person; True if advice came. The time that it takes is not the agents'."""
        started = monotonic()
        say = await self.ask_person(turn)
        self.budget.pause(monotonic() - started)
        self.transcript.add("person", step=turn.step, go_on=say.go_on, advice=say.advice)
        if not say.go_on:
            raise Stopped(say.advice or "the plan was not approved")
        if not say.advice.strip():
            return False
        self._advice.append(" ".join(say.advice.split())[:500])
        return True

    # --- Turns --------------------------------------------------------------------------------------------------------

    async def _planner(self) -> str:
        prompt = [self._question(), self._read_by_rules()]
        lessons = self.team.memory.recall(self.opinion.plan.query)
        prompt += ["Lessons of earlier reviews:", *(f"- {lesson.text}" for lesson in lessons)] if lessons else []
        if self._draft is not None and self._objections:
            prompt += [f"Your last draft: {_short(self._draft.model_dump_json())}", "The Reviewer objects:"]
            prompt += [f"- {text}" for text in self._objections]
        prompt += [f"A person in charge says: {advice}" for advice in self._advice]
        prompt += ["Give the draft."]
        offered = self.team.apis if self.team.model.settings.output == "tool" else {}
        self._draft = await self._ask(
            Role.PLANNER, planner_instructions(), "\n".join(prompt), Draft, offered, self._call_api
        )
        self._objections = ()
        return _draft_in_words(self._draft)

    async def _reviewer(self) -> str:
        if self._accepted is not None:
            return self._review_result()
        self._reviewed = self._check()
        findings = [one for one in self._reviewed.findings if not (one.advice and one in self._told)]
        self._told.update(one for one in findings if one.advice)
        if findings and all(one.settled for one in findings):
            # A Planner that is asked again could only answer this.
            findings = self._mend(findings)
        if findings:
            return self._reject(findings)
        verdict = await self._verdict()
        if verdict is None:
            return self._accept("every check holds")
        missing, unneeded = (self._open(types) for types in (verdict.missing, verdict.unneeded))
        have = {need.type for need in self._draft.needs}
        missing, unneeded = missing - have, unneeded & have
        self._released |= unneeded
        if verdict.accept or not (missing or unneeded) or not self._revisions_left():
            return self._accept(
                "every check holds, and the model accepts it" if verdict.accept else "every check holds"
            )
        objections = [Finding("missing", f"{type_id} may be missing", type_id, True) for type_id in sorted(missing)]
        objections += [
            Finding("unneeded", f"{type_id} may not be needed", type_id, True) for type_id in sorted(unneeded)
        ]
        return self._reject(objections, verdict.reflection)

    def _check(self) -> Reviewed:
        # A person's advice counts for more than the offline planner's opinion.
        second = SecondOpinion.ADVISORY if self._advice else self.team.rules.second_opinion
        most_bytes = self.team.rules.most_bytes
        return checks.review(self._draft, self.opinion, self.context, second, most_bytes, self._released)

    def _reject(self, findings: list[Finding], reflection: str = "") -> str:
        """Send the draft back; or mend it, when it was sent back often enough or is the same as before."""
        same = self._draft.model_dump_json(include={"answerable", "needs"})
        if self._revisions_left() and same not in self._rejected:
            self._learn_from(findings)
            self._rejected.append(same)
            self._objections = tuple(one.text for one in findings) + ((reflection,) if reflection else ())
            return f"sent back: {'; '.join(self._objections)}"
        left = self._mend(findings)
        if left:
            raise ModelFailure("invalid", f"its drafts don't pass the review ({left[0].text})")
        mended = "; ".join(one.text for one in findings if not one.advice)
        return self._accept(f"mended: {mended or 'advice was heard'}")

    def _mend(self, findings: list[Finding]) -> list[Finding]:
        """Put the draft right as the second opinion would have it; what is wrong with it then."""
        self._learn_from(findings)
        mended = [one for one in findings if not one.advice]
        if not mended:
            return []
        self._draft = checks.repaired(self._draft, mended, self.opinion)
        self._reviewed = self._check()
        self._notes.append(f"the review put right: {'; '.join(one.text for one in mended)}")
        return [one for one in self._reviewed.findings if not one.advice]

    def _learn_from(self, findings: list[Finding]) -> None:
        missing, unneeded = (
            frozenset(one.type for one in findings if one.kind == kind) for kind in ("missing", "unneeded")
        )
        self._lessons.append((missing, unneeded))

    def _accept(self, how: str) -> str:
        self._accepted = self._reviewed
        have = {need.type for need in self._draft.needs}
        for missing, unneeded in self._lessons:
            self.team.memory.learn(self.opinion.reading.asked, missing & have, unneeded - have)
        self._lessons = []
        return f"accepted: {how}"

    def _revisions_left(self) -> bool:
        return len(self._rejected) < self.team.rules.revisions

    def _open(self, types: list[str]) -> set[str]:
        """Those of the types on which the model may decide."""
        excluded = set(self.opinion.reading.excluded)
        if self.team.rules.second_opinion is SecondOpinion.ADVISORY:
            return set(types) - excluded
        chosen = {one.type for one in self.opinion.reading.evidence}
        support = self.opinion.support
        return {t for t in types if support[t] < SURE and (support[t] > UNLIKELY or t in chosen)} - excluded

    async def _verdict(self) -> Verdict | None:
        """The model's verdict; None where it has nothing to decide on, or gives none."""
        if not self._open(list(sensor_types())) or not self._draft.needs:
            return None
        draft = _short(self._draft.model_dump_json(exclude={"thought"}))
        prompt = f"{self._question()}\n{self._read_by_rules()}\nThe draft: {draft}\nGive the verdict."
        try:
            return await self._ask(Role.REVIEWER, REVIEWER, prompt, Verdict)
        except ModelFailure as failure:
            self._notes.append(f"the model's review failed: {failure}")
            return None

    async def _coder(self) -> str:
        prompt = [self._question(), f"The accepted draft: {_short(self._draft.model_dump_json())}"]
        prompt += [f"To look up by the program: {self._draft.compute}."]
        if self._program is not None and self._objections:
            prompt += [f"Your last program:\n{self._program.code}", "What was wrong:"]
            prompt += [f"- {text}" for text in self._objections]
        prompt += [f"A person in charge says: {advice}" for advice in self._advice]
        instructions = coder_instructions(self.team.apis)
        last = self._program
        self._program = await self._ask(Role.CODER, instructions, "\n".join(prompt), Program)
        self._objections = ()
        if last is not None and last.code == self._program.code:  # it has no other idea
            self._sent_back = self.team.rules.corrections
        return self._program.code

    async def _executor(self) -> str:
        self._outcome = await self.team.sandbox.run(self._program.code, self.context)
        error = self._outcome.error
        if error is None:
            return (
                f"ran in {self._outcome.seconds:.2f} s: {_short(json.dumps(self._outcome.value, ensure_ascii=False))}"
            )
        self._sent_back += 1
        line = f"line {error.line}: " if error.line else ""
        self._objections = (f"{error.kind} error, {line}{error.message}",)
        return self._objections[0]

    def _review_result(self) -> str:
        if self._outcome.error is None:
            items, findings = checks.read_result(self._outcome.value, self._draft, self._accepted, self.context)
            if not findings:
                self._items = tuple(dict.fromkeys(items))
                return f"accepted: the program gives {len(self._items)} rows"
            self._sent_back += 1
            self._objections = tuple(one.text for one in findings[:5])
        if self._sent_back > self.team.rules.corrections:
            self._notes.append("no program gave a right result, so the draft's own words count")
        return f"sent back: {'; '.join(self._objections)}"

    # --- What models are told -----------------------------------------------------------------------------------------

    async def _ask(self, role: Role, instructions: str, prompt: str, reply: type[BaseModel], tools=None, call=None):
        return await self._model.ask(role.value, instructions, prompt, reply, self.budget, tools, call)

    def _call_api(self, name: str, arguments: dict) -> object:
        return call(self.team.apis, self.context, name, arguments)

    def _question(self) -> str:
        reading = self.opinion.reading
        asked = reading.asked if reading.ignored else self.opinion.plan.query
        asked = re.sub(r"</?\s*question\s*>", " ", asked, flags=re.IGNORECASE)
        now = self.context.local_now
        return f"<question>{' '.join(asked.split())}</question>\nIt is {now:%A} {now:%Y-%m-%d %H:%M} in {self._city}."

    @property
    def _city(self) -> str:
        return self.context.scenario.city

    def _read_by_rules(self) -> str:
        """The offline planner's reading, for a model to start from."""
        opinion = self.opinion
        why = {one.type: one.why for one in opinion.reading.evidence}
        lines = ["Read by rules, which may err:"]
        lines += [f"- place: {', '.join(map(describe, opinion.places.areas)) or 'none in this city'}"]
        start, end = (f"{at:%Y-%m-%d %H:%M}" for at in (opinion.window.start, opinion.window.end))
        words = f'"{opinion.window.words}"' if opinion.window.words else "none is said"
        lines += [f"- time: {words}; the data needed are from {start} to {end}"]
        for type_id, sure in sorted(opinion.support.items(), key=lambda pair: -pair[1]):
            if sure > UNLIKELY or type_id in why:
                word = "needed" if sure >= SURE else "perhaps"
                lines.append(f"- {word}: {type_id}" + (f" ({why[type_id]})" if type_id in why else ""))
        if opinion.reading.excluded:
            lines.append(f"- excluded by the question: {', '.join(opinion.reading.excluded)}")
        if not opinion.plan.answerable:
            lines.append(f"- {opinion.plan.reason}")
        return "\n".join(lines)

    # --- The plan -----------------------------------------------------------------------------------------------------

    def _plan(self) -> DataPlan:
        """The plan of the accepted draft."""
        opinion, model = self.opinion, self.team.model.settings.model
        if not self._draft.needs:
            why = opinion.plan.reason if not opinion.plan.answerable else _clean(self._draft.thought)
            plan = unanswerable(opinion.plan.query, "none of the types tells it")
            return replace(plan, reason=sentence(why or plan.reason), planner="llm", model=model)
        made: Assembled = self._accepted.made
        if self._items:
            made = _assemble_items(self._items, self.context)
        when = " and ".join(dict.fromkeys(said(one.window) for one in self._accepted.wanted))
        if self._items and self._draft.compute != "nothing":
            when = f"with {self._draft.compute} as a program found them"
        areas = [item.area for item in made.items]
        reason = summary(made.items, areas, when, [*opinion.places.notes, *made.notes, *self._notes])
        return DataPlan(opinion.plan.query, True, reason, made.items, made.sensors, "llm", model)

    def _without(self, failure: ModelFailure) -> DataPlan:
        """The plan when a model failed: of a draft that was accepted or passed every check, else the offline one."""
        if self._accepted is None and self._draft is not None:
            reviewed = self._check()
            if not reviewed.findings and self._draft.needs:
                self._accepted = reviewed
                self._notes.append("the draft passed every check but the model's review")
        if self._accepted is not None:
            self._notes.append(f"the agents stopped early: {failure}")
            return self._plan()
        return without_model(self.opinion.plan, failure)


def _assemble_items(items: tuple[PlanItem, ...], context: Context) -> Assembled:
    """The registered sensors of a program's items."""
    wanted = (Wanted(i.type, i.why, (i.area,), Window(i.start, i.end, "", "past")) for i in items)
    return assemble(wanted, context.scenario)


def _draft_in_words(draft: Draft) -> str:
    if not draft.answerable:
        return f"not answerable: {_clean(draft.thought)}"
    needs = "; ".join(f"{need.type} ({_clean(need.why)})" for need in draft.needs)
    look_up = f" To look up: {draft.compute}." if draft.compute != "nothing" else ""
    return f"{_clean(draft.thought)} Needed: {needs or 'nothing'}.{look_up}"


def _clean(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
