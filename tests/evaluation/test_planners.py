"""The planners that are compared, with a scripted model over real sockets in a thread of its own."""

import asyncio
import json
import threading
from contextlib import contextmanager

import pytest
from fake_llm import calls, endpoint, http

from agents.model import ModelFailure, ModelSettings
from evaluation import fig5, planning_tables, table1, table2
from evaluation.planners import Agents, Asked, Naive, Rival, reachable
from evaluation.planning import evaluate_rival, main
from twin.scenario import load_scenario

pytestmark = pytest.mark.loopback_model
QUERIES = """
now: "2013-11-18T12:00:00+01:00"
queries:
  - {id: rain, q: "How much did it rain yesterday?", required: [precipitation], fields: 1}
  - {id: cost, q: "What does a tram ticket cost?", answerable: false}
"""
DAY = {"start": "2013-11-17T00:00:00+01:00", "end": "2013-11-18T00:00:00+01:00"}
RAIN = "How much did it rain yesterday?"


@contextmanager
def serving(answer):
    """The endpoint in a thread, since the planners have event loops of their own."""
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), []

    async def serve():
        async with endpoint(answer) as fake:
            found.append(fake)
            ready.set()
            await asyncio.Event().wait()

    task = loop.create_task(serve())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()


def draft(*types: str):
    needs = [{"type": one, "why": "so", "place": "", "time": ""} for one in types]
    return calls("reply", {"thought": "So.", "answerable": bool(types), "needs": needs, "compute": "nothing"})


async def answer_all(writer, request):
    """The naive model takes rain and parking for everything; the Planner is right."""
    said = json.dumps(request["messages"])
    if "You are the Planner" in said:
        await draft(*(["precipitation"] if "How much did it rain" in said else []))(writer, request)
    elif "Reply with the word hello" in said:
        await calls("reply", {"word": "hello"})(writer, request)
    else:
        await calls("reply", {"types": ["precipitation", "parking"]} | DAY)(writer, request)


@pytest.fixture
def milan():
    return load_scenario("milan")


@pytest.fixture
def queries(tmp_path):
    path = tmp_path / "queries.yaml"
    path.write_text(QUERIES)
    return path


def asked(fake, **more) -> Asked:
    return Asked(ModelSettings("fake", base_url=fake.base_url, api_key="k"), **more)


def test_naive_is_one_request_with_the_list_of_types(milan):
    with serving(answer_all) as fake, Rival("naive", "fake", asked(fake)).running() as planner:
        plan = planner(RAIN, milan.start, milan)
        assert [item.type for item in plan.items] == ["precipitation", "parking"]
        assert {item.start.isoformat() for item in plan.items} == {DAY["start"]}
        (request,) = fake.requests
        assert "leakage_current" in json.dumps(request["messages"]) and RAIN in json.dumps(request["messages"])
        assert len(plan.sensors) == sum(s.type in ("precipitation", "parking") for s in milan.sensors)


@pytest.mark.parametrize("span", [{"start": "yesterday", "end": ""}, {"start": DAY["end"], "end": DAY["start"]}])
def test_a_time_that_the_naive_model_gets_wrong_is_the_last_week(milan, span):
    with (
        serving(calls("reply", {"types": ["outage"]} | span)) as fake,
        Rival("naive", "fake", asked(fake)).running() as planner,
    ):
        (item,) = planner(RAIN, milan.start, milan).items
    assert (item.start.isoformat(), item.end) == ("2013-11-11T12:00:00+01:00", milan.start)


def test_an_invalid_naive_reply_is_no_plan_and_an_absent_endpoint_ends_the_run(milan):
    with serving(calls("reply", {"types": ["crystal_ball"]})) as fake:
        with Rival("naive", "fake", asked(fake)).running() as planner:
            assert planner(RAIN, milan.start, milan).items == ()
        assert len(fake.requests) == 1  # not asked twice
    gone = Asked(ModelSettings("fake", base_url="http://127.0.0.1:9/v1", api_key="k"))
    with Rival("naive", "fake", gone).running() as planner, pytest.raises(ModelFailure):
        planner(RAIN, milan.start, milan)


def test_replies_are_kept_and_count_again(milan, tmp_path):
    cache = tmp_path / "deep" / "cache.jsonl"
    plans = []
    with serving(answer_all) as fake:
        for kind in (Agents, Agents, Naive, Naive):
            planner = kind(asked(fake, cache=cache))
            plans.append(planner(RAIN, milan.start, milan))
            planner.close()
        assert len(fake.requests) == 2
        other = Asked(ModelSettings("fake", 0.9, fake.base_url, "k"), cache=cache)
        with Rival("naive", "fake", other).running() as planner:
            planner(RAIN, milan.start, milan)
        assert len(fake.requests) == 3  # another temperature is another request
        cache.write_text(cache.read_text() + '{"key": "cut of')
        with Rival("naive", "fake", other).running() as planner:
            planner(RAIN, milan.start, milan)
        assert len(fake.requests) == 3
        for number in (4, 4):  # what is kept after a line that was cut off is found again
            with Rival("naive", "fake", other).running() as planner:
                planner("Any jams?", milan.start, milan)
            assert len(fake.requests) == number
    assert plans[0] == plans[1] and plans[2] == plans[3]
    assert plans[0].tokens == plans[1].tokens == 48 and plans[1].seconds > 0


def test_scores_over_seeds(queries):
    with serving(answer_all) as fake:
        naive = evaluate_rival(queries, Rival("naive", "fake", asked(fake)), seeds=2)
        ours = evaluate_rival(queries, Rival("llm", "fake", asked(fake)))
        seeds = {request["seed"] for request in fake.requests}
    assert (naive["f1"], naive["abstention"]) == (pytest.approx(2 / 3), 0.0)
    assert [row["seed"] for row in naive["queries"]] == [1, 1, 2, 2] and len(naive["runs"]) == 2
    assert (ours["f1"], ours["abstention"], ours["fallbacks"]) == (1.0, 1.0, 0.0)
    assert seeds == {1, 2}


def test_the_command_prints_one_document(queries, capsys):
    with serving(answer_all) as fake:
        options = ["--queries", str(queries), "--planner", "naive", "--model", "fake", "--base-url", fake.base_url]
        assert main([*options, "--temperature", "0.5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["planner"], document["model"], document["temperature"]) == ("naive", "fake", 0.5)
    assert set(document) >= {"queries", "f1", "f1_by_fields", "abstention", "window_iou", "exact"}
    keys = {"id", "types", "start", "end", "answerable", "f1", "window_iou", "steps", "tokens", "seconds"}
    assert set(document["queries"][0]) >= keys


def test_a_model_that_is_not_there_is_a_clear_error(queries, capsys):
    options = ["--queries", str(queries), "--planner", "naive", "--model", "fake"]
    assert main([*options, "--base-url", "http://127.0.0.1:9/v1"]) == 1
    assert "nothing answers at http://127.0.0.1:9/v1" in capsys.readouterr().err


def test_reachable():
    with serving(answer_all) as fake:
        assert reachable(asked(fake).settings) == ""
    with serving(http(401, {"error": {"message": "no"}})) as fake:
        assert "refuses the API key" in reachable(asked(fake).settings)


@pytest.mark.parametrize("module", [table1, table2, fig5])
def test_tables_have_a_row_for_every_model_also_for_those_that_are_absent(module, queries, tmp_path, capsys):
    with serving(answer_all) as fake:
        models = tmp_path / "models.toml"
        models.write_text(
            f'[[model]]\ntitle = "Fake"\nname = "fake"\nbase_url = "{fake.base_url}"\nkey = ""\noutput = "tool"\n'
            '[[model]]\ntitle = "GPT"\nname = "gpt"\nbase_url = ""\nkey = "NO_SUCH_KEY"\noutput = "tool"\n'
        )
        name = module.__name__.rpartition(".")[2]
        options = ["--queries", str(queries), "--models", str(models), "--seeds", "2", "--out", str(tmp_path)]
        assert module.main(options) == 0
    text = (tmp_path / f"{name}.md").read_text()
    assert "no key: set NO_SUCH_KEY" in text and f"links eval {name} --only gpt" in text
    assert "Fake" in text and json.loads((tmp_path / f"{name}.json").read_text())["seeds"] == 2
    if module is table1:
        assert "| rain: How much did it rain yesterday? | 1 |  |  | 1.00 | 0.67 | 1.00 |" in text
    else:
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")


def test_a_faulty_models_file_is_named(tmp_path, capsys):
    models = tmp_path / "models.toml"
    models.write_text('[[model]]\ntitle = "x"\n')
    assert table1.main(["--models", str(models), "--out", str(tmp_path)]) == 1
    assert "models.toml: each [[model]] needs" in capsys.readouterr().err
    assert table1.main(["--only", "pope", "--out", str(tmp_path)]) == 1


def test_the_papers_table_and_its_mean():
    naive, ours = zip(*planning_tables.PAPER_TABLE1.values(), strict=True)
    assert (sum(naive) / 10, sum(ours) / 10) == (pytest.approx(0.705), pytest.approx(0.949))


def test_intervals_hold_the_mean_and_shrink_to_it():
    low, high = planning_tables.interval([[1.0, 0.0], [0.5], [0.0, 1.0]])
    assert low == high == 0.5
    low, high = planning_tables.interval([[1.0]] * 5 + [[0.0]] * 5)
    assert 0.1 <= low < 0.5 < high <= 0.9
