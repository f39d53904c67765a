"""Transcripts: written as things happen, read back whole or not at all; shown as a conversation."""

import json
import subprocess
import sys

import pytest

from agents.transcript import Transcript, TranscriptError, new_file, read

SECRET = "sk-123456789"


def test_what_is_written_is_read(tmp_path):
    file = new_file(tmp_path / "deep", "q/1 ..")
    transcript = Transcript(file, SECRET)
    transcript.add("question", question="Ciao, città?", now="2013-11-18T12:00:00+01:00", model="m")
    transcript.add("turn", step=1, role="planner", text=f"the key is {SECRET}")
    rows = read(file)
    assert [row["kind"] for row in rows] == ["question", "turn"]
    assert rows[0]["question"] == "Ciao, città?" and rows[1]["text"] == "the key is [key]"
    assert file.name.endswith("-q1.jsonl")


def test_a_short_key_is_no_secret_and_nothing_is_written_without_a_file(tmp_path):
    Transcript(None, SECRET).add("question", question="x")
    file = tmp_path / "t.jsonl"
    Transcript(file, "no").add("question", question="no")
    assert read(file)[0]["question"] == "no"


def test_a_file_that_cannot_be_written_is_given_up(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    transcript = Transcript(tmp_path / "file" / "t.jsonl")
    transcript.add("question", question="x")
    transcript.add("question", question="x")
    assert caplog.text.count("no transcript") == 1


def test_a_cut_off_last_line_is_left_out(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"kind": "turn", "step": 1}) + '\n{"kind": "tu')
    assert read(file) == [{"kind": "turn", "step": 1}]


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"kind": "pope"}\n{"kind": "turn"}', "[1]"])
def test_what_is_no_transcript_is_refused_with_its_line(tmp_path, text):
    file = tmp_path / "t.jsonl"
    file.write_text(text)
    with pytest.raises(TranscriptError, match=r"t\.jsonl"):
        read(file)


def test_links_transcript_shows_a_conversation(tmp_path):
    file = tmp_path / "t.jsonl"
    transcript = Transcript(file)
    transcript.add("question", question="Does it [bold]rain[/]?", now="now", model="qwen")
    exchange = {"instructions": "You are the Planner", "prompt": "Give the draft.", "reply": "rain it is"}
    calls = [["geocode", '{"place": "Brera"}', "somewhere"]]
    transcript.add("exchange", role="planner", calls=calls, tokens=12, seconds=1.5, failure="", **exchange)
    transcript.add("turn", step=1, role="planner", text="rain it is")
    transcript.add("turn", step=2, role="reviewer", text="sent back: no")
    transcript.add("next", role="coder", by="rule", why="so")
    transcript.add("person", step=2, go_on=True, advice="hurry")
    transcript.add("plan", plan={"answerable": True})

    def shown(*arguments) -> tuple[int, str]:
        command = [sys.executable, "-m", "controller.cli", "transcript", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout + done.stderr

    code, text = shown(file)
    assert code == 0
    for part in (
        "Does it [bold]rain[/]?",
        "rain it is",
        'calls geocode({"place": "Brera"})',
        "2. reviewer: sent back: no",
        "next: coder (by the rule: so)",
        "a person goes on: hurry",
        '"answerable": true',
        "2 turns, 1 requests to the model, 12 tokens, 1.5 s",
    ):
        assert part in text, text
    assert "Give the draft." not in text and "Give the draft." in shown(file, "--prompts")[1]
    code, text = shown(tmp_path / "none.jsonl")
    assert code == 1 and "none.jsonl" in text and "Traceback" not in text
