"""The agents' conversation, with models that follow a script over real sockets; the sandbox is the real one."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC

import pytest
from fake_llm import by_role, calls, endpoint, http

from agents import plan_offline
from agents.data_api import load_apis
from agents.memory import Memory
from agents.model import LanguageModel, Limits, ModelSettings
from agents.offline import opinion as offline_opinion
from agents.planning import Planning
from agents.review import SecondOpinion
from agents.sandbox import Sandbox
from agents.transcript import read
from agents.turns import Human, Say, Stopped, Turn
from agents.workflow import Rules, Team

RAIN = "How much did it rain in Brera yesterday?"
pytestmark = pytest.mark.loopback_model
KEY = "sk-secret-1234567890"
RULES = Rules()


def draft(*types: str, answerable: bool = True, compute: str = "nothing", **words: str):
    needs = [{"type": one, "why": f"the question turns on {one}", **words} for one in types]
    return calls("reply", {"thought": "It asks.", "answerable": answerable, "needs": needs, "compute": compute})


def verdict(accept: bool = True, missing=(), unneeded=(), reflection: str = "Mind the words."):
    reply = {"accept": accept, "missing": list(missing), "unneeded": list(unneeded), "reflection": reflection}
    return calls("reply", reply)


def program(code: str):
    return calls("reply", {"thought": "I call the functions.", "code": code})


@pytest.fixture(scope="module")
def apis():
    return load_apis()


@pytest.fixture
def planned(milan, now, apis, tmp_path):
    """A function: plan a question with a model that follows a script; gives (plan, endpoint, turns)."""

    async def run(question: str, answer, *, rules: Rules = RULES, memory: Memory | None = None, **more):
        turns: list[Turn] = []
        async with endpoint(answer) as fake, Sandbox(apis, workers=1) as sandbox:
            settings = ModelSettings("fake", base_url=fake.base_url, api_key=KEY, request_s=5.0)
            team = Team(LanguageModel(settings), apis, sandbox, Memory() if memory is None else memory, rules)
            planning = Planning(milan, team, tmp_path)
            plan = await planning.plan(question, now, on_turn=turns.append, **more)
        return plan, fake, turns

    return run


def spoken(turns: list[Turn]) -> list[str]:
    return [turn.role.value for turn in turns]


def types(plan) -> set[str]:
    return {item.type for item in plan.items}


# --- A conversation that goes well ------------------------------------------------------------------------------------


async def test_a_draft_that_passes_is_the_plan(planned, milan, now):
    plan, fake, turns = await planned(RAIN, by_role(planner=[draft("precipitation", place="Brera", time="yesterday")]))
    assert spoken(turns) == ["planner", "reviewer"]
    assert (plan.planner, plan.model, plan.steps) == ("llm", "fake", 2)
    assert plan.tokens == 48 * len(fake.requests) and plan.seconds > 0
    offline = plan_offline(RAIN, now, milan)
    assert [(i.type, i.area, i.start, i.end) for i in plan.items] == [
        (i.type, i.area, i.start, i.end) for i in offline.items
    ]
    assert plan.sensors == offline.sensors
    assert plan.items[0].why == "The question turns on precipitation."


async def test_words_of_place_and_time_per_type(planned):
    question = "Was it warmer in Brera yesterday than the rain fell in Isola last week?"
    needs = [
        {"type": "temperature", "why": "warmth", "place": "Brera", "time": "yesterday"},
        {"type": "precipitation", "why": "rain", "place": "Isola", "time": "last week"},
    ]
    reply = {"thought": "Two.", "answerable": True, "needs": needs, "compute": "nothing"}
    plan, _, _ = await planned(question, by_role(planner=[calls("reply", reply)]))
    assert {(i.type, i.area.name, i.start.day, i.end.day) for i in plan.items} == {
        ("temperature", "Brera", 17, 18),
        ("precipitation", "Isola", 11, 18),
    }


async def test_the_planner_is_offered_the_data_api_and_gets_what_it_returns(planned):
    answers = [calls("geocode", {"place": "Brera"}), draft("precipitation")]
    plan, fake, _ = await planned(RAIN, by_role(planner=answers))
    assert {tool["function"]["name"] for tool in fake.requests[0]["tools"]} >= {"geocode", "find_sensors", "reply"}
    assert '\\"lon\\"' in json.dumps(fake.requests[1]["messages"][-1])
    assert types(plan) == {"precipitation"}


async def test_a_question_that_no_sensor_answers(planned):
    plan, _, turns = await planned("What does a tram ticket cost?", by_role(planner=[draft(answerable=False)]))
    assert (plan.answerable, plan.planner, plan.items) == (False, "llm", ())
    assert spoken(turns) == ["planner", "reviewer"]


# --- Review -----------------------------------------------------------------------------------------------------------


async def test_what_the_question_names_must_be_there_and_what_nothing_speaks_for_must_go(planned):
    """The review puts it right at once: a Planner asked again would have no choice."""
    memory = Memory()
    plan, fake, turns = await planned(RAIN, by_role(planner=[draft("temperature")]), memory=memory)
    assert types(plan) == {"precipitation"} and plan.planner == "llm"
    assert spoken(turns) == ["planner", "reviewer"] and len(fake.requests) == 1
    assert "the review put right: precipitation is missing" in plan.reason and "temperature must go" in plan.reason
    (lesson,) = memory.recall("How much did it rain in Isola yesterday?")
    assert (lesson.missing, lesson.unneeded) == (("precipitation",), ("temperature",))


@pytest.mark.parametrize(
    ("question", "expected"), [(RAIN, {"precipitation"}), ("What does a tram ticket cost?", set())]
)
async def test_a_draft_that_contradicts_itself_is_put_right(planned, question, expected):
    """It says that no sensor answers, and names types all the same."""
    reply = {"thought": "It asks.", "answerable": False, "compute": "nothing"}
    reply["needs"] = [{"type": t, "why": "it is needed", "place": "", "time": ""} for t in ("precipitation", "parking")]
    plan, _, turns = await planned(question, by_role(planner=[calls("reply", reply)]))
    assert types(plan) == expected and plan.answerable == bool(expected) and plan.planner == "llm"
    assert spoken(turns) == ["planner", "reviewer"]


async def test_a_place_that_is_not_the_questions_is_sent_back(planned):
    answers = by_role(planner=[draft("precipitation", place="Isola"), draft("precipitation", place="Brera")])
    plan, fake, turns = await planned(RAIN, answers)
    assert {item.area.name for item in plan.items} == {"Brera"}
    assert spoken(turns) == ["planner", "reviewer", "planner", "reviewer"]
    assert "is not in the question" in json.dumps(fake.requests[1]["messages"])


async def test_a_lesson_is_told_to_the_next_planner(planned):
    memory = Memory()
    memory.learn("How much rain fell in Isola?", ["precipitation"], [])
    _, fake, _ = await planned("how much rain in Isola today", by_role(planner=[draft("precipitation")]), memory=memory)
    assert "precipitation was missing at first" in json.dumps(fake.requests[0]["messages"])


async def test_two_agents_that_contradict_each_other_for_ever_are_ended_by_the_review(planned):
    """The Planner gives the same draft again and again."""
    plan, _, turns = await planned(RAIN, by_role(planner=[draft("precipitation", place="Isola")]))
    assert spoken(turns) == ["planner", "reviewer"] * 2
    assert types(plan) == {"precipitation"} and plan.planner == "llm"
    assert "the review put right" in plan.reason


async def test_drafts_that_change_for_ever_are_mended_after_the_revisions(planned):
    answers = [draft("precipitation", place=place) for place in ("Isola", "Loreto", "Bovisa", "Lambrate")]
    plan, _, turns = await planned(RAIN, by_role(planner=answers), rules=Rules(revisions=2))
    assert spoken(turns) == ["planner", "reviewer"] * 3
    assert types(plan) == {"precipitation"}


async def test_an_advisory_second_opinion_is_told_once_and_then_the_model_decides(planned):
    rules = Rules(second_opinion=SecondOpinion.ADVISORY)
    answers = by_role(planner=[draft("precipitation", "humidity")], reviewer=[verdict()])
    plan, fake, turns = await planned(RAIN, answers, rules=rules)
    assert types(plan) == {"precipitation", "humidity"}
    assert spoken(turns) == ["planner", "reviewer", "planner", "reviewer"]
    assert "humidity must go" in json.dumps(fake.requests[1]["messages"])


@pytest.fixture
def in_doubt(monkeypatch):
    """The offline planner chooses temperature and precipitation here, and is not sure of the latter."""

    def opinion(question, now, scenario):
        found = offline_opinion(question, now, scenario)
        assert {one.type for one in found.reading.evidence} == {"temperature", "precipitation"}
        return replace(found, support={**found.support, "temperature": 0.9, "precipitation": 0.5})

    monkeypatch.setattr("agents.planning.opinion", opinion)
    return "How did temperature and rainfall go in Brera yesterday?"


async def test_the_planner_alone_does_not_leave_out_what_the_offline_planner_chose(planned, in_doubt):
    answers = by_role(planner=[draft("temperature")], reviewer=[verdict()])
    plan, _, _ = await planned(in_doubt, answers)
    assert types(plan) == {"temperature", "precipitation"} and plan.planner == "llm"
    assert "the review put right: precipitation is missing" in plan.reason


async def test_planner_and_reviewer_together_leave_it_out(planned, in_doubt):
    answers = by_role(
        planner=[draft("temperature", "precipitation"), draft("temperature")],
        reviewer=[verdict(False, unneeded=["precipitation"]), verdict()],
    )
    plan, _, turns = await planned(in_doubt, answers)
    assert types(plan) == {"temperature"}
    assert spoken(turns) == ["planner", "reviewer"] * 2


async def test_what_the_question_excludes_stays_out_whatever_the_model_says(planned):
    question = "All weather data of yesterday except humidity: how did temperature and wind speed go?"
    rules = Rules(second_opinion=SecondOpinion.ADVISORY)
    answers = by_role(planner=[draft("temperature", "wind_speed", "humidity")], reviewer=[verdict()])
    plan, _, _ = await planned(question, answers, rules=rules)
    assert "humidity" not in types(plan)


async def test_the_models_review_sends_a_draft_back_with_its_reflection(planned):
    rules = Rules(second_opinion=SecondOpinion.ADVISORY)
    answers = by_role(
        planner=[draft("precipitation"), draft("precipitation", "water_level")],
        reviewer=[verdict(False, missing=["water_level"], reflection="Floods need levels."), verdict()],
    )
    plan, fake, turns = await planned(RAIN, answers, rules=rules)
    assert "Floods need levels." in json.dumps(fake.requests[2]["messages"])
    assert types(plan) == {"precipitation", "water_level"}
    assert spoken(turns) == ["planner", "reviewer", "planner", "reviewer", "planner", "reviewer"][: len(turns)]


async def test_places_and_times_that_are_not_the_questions_are_sent_back_and_then_read_by_rules(planned):
    plan, fake, _ = await planned(RAIN, by_role(planner=[draft("precipitation", place="Rome", time="in 2031")]))
    assert "Rome" in json.dumps(fake.requests[1]["messages"]) and "2031" in json.dumps(fake.requests[1]["messages"])
    assert [(i.area.name, i.start.isoformat()) for i in plan.items] == [("Brera", "2013-11-17T00:00:00+01:00")]


async def test_a_plan_that_is_too_large_is_refused(planned):
    plan, _, _ = await planned(RAIN, by_role(planner=[draft("precipitation")]), rules=Rules(most_bytes=10.0))
    assert plan.planner == "offline" and "GB may be planned" in plan.reason


# --- Programs ---------------------------------------------------------------------------------------------------------

GOOD = """
area = geocode("Brera")["area"]
when = resolve_time("yesterday")
result = [{"type": "precipitation", "area": area, "start": when["start"], "end": when["end"]}]
"""


async def test_a_program_computes_where_and_when(planned):
    code = """
result = []
for district in ("Brera", "Isola"):
    area = geocode(district)["area"]
    if find_sensors("precipitation", area)["count"] > 0:
        when = resolve_time("yesterday morning")
        result.append({"type": "precipitation", "area": area, "start": when["start"], "end": when["end"]})
"""
    answers = by_role(
        planner=[draft("precipitation", compute="places")],
        manager=[calls("reply", {"next": "coder", "why": "places must be computed"})],
        coder=[program(code)],
    )
    question = "How much did it rain yesterday morning in Brera and in Isola, where there are gauges?"
    plan, _, turns = await planned(question, answers)
    assert spoken(turns) == ["planner", "reviewer", "coder", "executor", "reviewer"]
    assert {(i.area.name, i.start.hour, i.end.hour) for i in plan.items} <= {("Brera", 6, 12), ("Isola", 6, 12)}
    assert plan.items and "as a program found them" in plan.reason


async def test_inner_loop_errors_of_the_program_go_back_to_the_coder(planned):
    answers = by_role(
        planner=[draft("precipitation", compute="places")],
        manager=[calls("reply", {"next": "coder", "why": "so"})],
        coder=[program("result = geocode('Nowhere at all')"), program("result = open('/etc/passwd')"), program(GOOD)],
    )
    plan, fake, turns = await planned(RAIN, answers)
    assert spoken(turns)[2:] == ["coder", "executor"] * 3 + ["reviewer"]
    told = [json.dumps(request["messages"]) for request in fake.requests]
    assert any("no place called" in text for text in told) and any("refused" in text for text in told)
    assert [(i.type, i.area.name) for i in plan.items] == [("precipitation", "Brera")]


async def test_outer_loop_a_wrong_result_goes_back_and_the_manager_chooses(planned):
    wrong = (
        'result = [{"type": "outage", "area": None, "start": "2031-01-01T00:00:00Z", "end": "2031-01-02T00:00:00Z"}]'
    )
    choose = [calls("reply", {"next": "coder", "why": "so"})]
    answers = by_role(
        planner=[draft("precipitation", compute="places and times")],
        manager=choose,
        coder=[program(wrong), program(GOOD)],
    )
    plan, _, turns = await planned(RAIN, answers)
    assert spoken(turns)[2:] == ["coder", "executor", "reviewer"] * 2
    assert types(plan) == {"precipitation"} and plan.planner == "llm"


async def test_a_coder_that_never_gets_it_right_leaves_the_drafts_own_words(planned):
    answers = by_role(
        planner=[draft("precipitation", compute="places and times")],
        manager=[calls("reply", {"next": "coder", "why": "so"})],
        coder=[program("result = 1 / 0")],
    )
    plan, _, turns = await planned(RAIN, answers, rules=Rules(corrections=1))
    assert spoken(turns).count("coder") == 2
    assert [(i.type, i.area.name) for i in plan.items] == [("precipitation", "Brera")]
    assert "the draft's own words count" in plan.reason


async def test_a_manager_that_fails_is_replaced_by_the_rule(planned, tmp_path):
    answers = by_role(
        planner=[draft("precipitation", compute="places and times")],
        manager=[calls("reply", {"next": "pope", "why": "so"})],
        coder=[program(GOOD)],
    )
    plan, _, turns = await planned(RAIN, answers)
    assert spoken(turns) == ["planner", "reviewer", "coder", "executor", "reviewer"]
    (file,) = tmp_path.glob("*.jsonl")
    assert {row["by"] for row in read(file) if row["kind"] == "next"} == {"rule"}
    assert plan.planner == "llm"


# --- Limits, people, transcripts --------------------------------------------------------------------------------------


async def test_the_limit_of_steps_ends_the_talk_with_the_offline_plan(planned, milan, now):
    answers = by_role(planner=[draft("precipitation", place=place) for place in ("Isola", "Loreto", "Bovisa")])
    plan, _, turns = await planned(RAIN, answers, rules=Rules(Limits(steps=3), revisions=9))
    assert len(turns) == 3 and (plan.planner, plan.steps, plan.model) == ("offline", 3, "")
    assert plan.items == plan_offline(RAIN, now, milan).items
    assert "planned offline, since the limit of 3 steps is used up" in plan.reason


async def test_a_draft_that_passed_every_check_outlives_a_model_that_fails_later(planned):
    answers = by_role(
        planner=[draft("precipitation", compute="places and times")],
        manager=[calls("reply", {"next": "coder", "why": "so"})],
        coder=[http(500, {"error": {"message": "boom"}})],
    )
    plan, _, _ = await planned(RAIN, answers)
    assert plan.planner == "llm" and types(plan) == {"precipitation"}
    assert "the agents stopped early" in plan.reason


async def test_a_person_is_asked_at_the_end_and_advice_goes_back_to_the_planner(planned):
    asked: list[Turn] = []

    async def person(turn: Turn) -> Say:
        asked.append(turn)
        return Say(advice="look at Isola too") if len(asked) == 1 else Say()

    answers = by_role(planner=[draft("precipitation")])
    plan, fake, turns = await planned(RAIN, answers, human=Human.TERMINATE, ask_person=person)
    assert [turn.role.value for turn in asked] == ["end", "end"] and "Brera" in asked[0].text
    assert "look at Isola too" in json.dumps(fake.requests[-1]["messages"])
    assert spoken(turns) == ["planner", "reviewer"] * 2 and plan.planner == "llm"


async def test_a_persons_advice_counts_for_more_than_the_second_opinion(planned):
    said = iter([Say(advice="take humidity too"), Say(), Say(), Say()])

    async def person(turn: Turn) -> Say:
        return next(said)

    both = draft("precipitation", "humidity")
    answers = by_role(planner=[draft("precipitation"), both], reviewer=[verdict()])
    plan, _, _ = await planned(RAIN, answers, human=Human.TERMINATE, ask_person=person)
    assert types(plan) == {"precipitation", "humidity"}


async def test_a_person_is_asked_after_every_turn(planned):
    asked: list[str] = []

    async def person(turn: Turn) -> Say:
        asked.append(turn.role.value)
        return Say()

    await planned(RAIN, by_role(planner=[draft("precipitation")]), human=Human.ALWAYS, ask_person=person)
    assert asked == ["planner", "reviewer"]


@pytest.mark.parametrize("human", [Human.TERMINATE, Human.ALWAYS])
async def test_a_person_stops_the_plan(planned, human):
    async def person(turn: Turn) -> Say:
        return Say(False, "too dear")

    with pytest.raises(Stopped, match="too dear"):
        await planned(RAIN, by_role(planner=[draft("precipitation")]), human=human, ask_person=person)


async def test_a_person_lets_an_offline_plan_pass_or_not(milan, now):
    async def person(turn: Turn) -> Say:
        return Say(False)

    with pytest.raises(Stopped):
        await Planning(milan).plan(RAIN, now, human=Human.TERMINATE, ask_person=person)
    with pytest.raises(ValueError, match="TERMINATE needs ask_person"):
        await Planning(milan).plan(RAIN, now, human=Human.TERMINATE)
    assert (await Planning(milan).plan(RAIN, now)).planner == "offline"


async def test_waiting_for_a_person_is_not_the_agents_time(planned):
    async def person(turn: Turn) -> Say:
        await asyncio.sleep(2.0)
        return Say()

    rules = Rules(Limits(seconds=1.5))
    answers = by_role(planner=[draft("precipitation")])
    plan, _, _ = await planned(RAIN, answers, rules=rules, human=Human.ALWAYS, ask_person=person)
    assert plan.planner == "llm" and plan.seconds < 1.5


async def test_the_transcript_tells_all_and_hides_the_key(planned, tmp_path):
    answers = by_role(planner=[http(401, {"error": {"message": f"bad key {KEY}"}})])
    plan, _, _ = await planned(RAIN, answers, request_id="../../x y")
    (file,) = tmp_path.glob("*.jsonl")
    rows = read(file)
    assert [row["kind"] for row in rows] == ["question", "exchange", "plan"]
    assert "unauthorised" in rows[1]["failure"] and rows[2]["plan"]["planner"] == "offline"
    assert KEY not in file.read_text() and "xy" in file.name
    assert KEY not in plan.reason


async def test_many_questions_at_once_do_not_mix(milan, now, apis):
    questions = {"Rain in Brera today?": "precipitation", "Blackouts in Isola last week?": "outage"}

    async def answer(writer, request):
        said = json.dumps(request["messages"])
        await draft("precipitation" if "Brera today" in said else "outage")(writer, request)

    async with endpoint(answer) as fake, Sandbox(apis, workers=1) as sandbox:
        settings = ModelSettings("fake", base_url=fake.base_url, api_key=KEY)
        planning = Planning(milan, Team(LanguageModel(settings), apis, sandbox, Memory()))
        asked = [question for question in questions for _ in range(10)]
        plans = await asyncio.gather(*(planning.plan(question, now.astimezone(UTC)) for question in asked))
    assert [types(plan) for plan in plans] == [{questions[question]} for question in asked]
    assert all(plan.planner == "llm" and plan.steps == 2 for plan in plans)
