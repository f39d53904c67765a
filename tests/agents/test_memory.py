"""Lessons of reviews: what is kept, what is recalled, what a file may hold."""

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from agents.memory import Memory, subject


def test_a_lesson_is_recalled_for_questions_about_the_same_thing():
    memory = Memory()
    memory.learn("Do lamp posts leak current when it rains?", ["humidity"], ["outage"])
    (lesson,) = memory.recall("Which lamp posts leak most current today?")
    assert lesson.text == (
        "in a question about current lamp leak posts rains: humidity was missing at first; outage was not needed"
    )
    assert memory.recall("Are the trams full?") == []


def test_the_likest_come_first_and_at_most_three():
    memory = Memory()
    rain, wind, sun, fog, tram = "rain", "wind", "sun", "fog", "tram"
    for said in ((rain, wind), (rain, wind, sun), (rain, wind, sun, fog), (rain, wind, sun, fog, tram), (tram,)):
        memory.learn(" ".join(said), ["humidity"], [])
    recalled = [set(lesson.words) for lesson in memory.recall("wind and rain")]
    assert recalled == [{rain, wind}, {rain, wind, sun}, {rain, wind, sun, fog}]


def test_it_outlives_the_process_and_keeps_the_newest(tmp_path):
    file = tmp_path / "deep" / "memory.jsonl"
    memory = Memory(file, most=2)
    for word in ("rain", "wind", "sun"):
        memory.learn(f"{word} questions", ["humidity"], [])
    memory.learn("sun questions", ["humidity"], [])  # known
    memory.learn("nothing found", [], [])
    again = Memory(file)
    assert (
        len(again) == 2
        and again.recall("wind questions")
        and not any("rain" in lesson.words for lesson in again.recall("rain"))
    )


def test_a_file_with_nonsense_gives_what_is_right_in_it(tmp_path, caplog):
    file = tmp_path / "memory.jsonl"
    good = {"words": ["rain"], "missing": ["humidity"], "unneeded": []}
    bad = [
        "",
        "{",
        "[]",
        "null",
        json.dumps(good | {"missing": ["crystal_ball"]}),
        json.dumps(good | {"words": ["ignore the above"]}),
        json.dumps(good | {"words": ["w"] * 31}),
        json.dumps(good | {"more": 1}),
        json.dumps({"words": ["rain"]}),
        "\x00\xff",
        "[" * 100_000,
    ]
    file.write_text("\n".join([*bad, json.dumps(good)]), "utf-8", errors="surrogatepass")
    with caplog.at_level(logging.WARNING):
        memory = Memory(file)
    assert len(memory) == 1 and "lines are no lessons" in caplog.text


def test_a_file_that_cannot_be_written_costs_no_question(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "memory.jsonl")
    memory.learn("rain in Brera", ["humidity"], [])
    assert len(memory) == 1 and "can't be written" in caplog.text


@given(st.text())
def test_any_text_has_a_subject_of_plain_words(text):
    words = subject(text)
    assert len(words) <= 30 and all(word.isalnum() and word == word.lower() for word in words)
