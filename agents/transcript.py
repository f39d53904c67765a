"""Transcripts: what was said while a question was planned, as JSON lines, one file per question.

Each line has ``at`` (wall clock, ISO 8601, UTC) and ``kind``: "question" (question, now, model), "exchange" (role,
instructions, prompt, reply, calls, tokens, seconds, failure), "turn" (step, role, text), "next" (role, by, why),
"person" (step, go_on, advice) and "plan" (the data plan). API keys are never in it.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)
KINDS = ("question", "exchange", "turn", "next", "person", "plan")


_SHORTEST_KEY = 8  # characters


class TranscriptError(ValueError):
    """A file that is no transcript; the message names file and line."""


class Transcript:
    """Writes to ``file`` as things happen, so that a run that is cut off leaves what was said; None writes nothing.
    ``secret`` is kept out, wherever it stands. A file that can't be written is told in the log once and given up."""

    def __init__(self, file: Path | None = None, secret: str = ""):
        self._file, self._secret = file, secret

    def add(self, kind: str, **values: object) -> None:
        """Add a line; the values are JSON data."""
        if self._file is None:
            return
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "kind": kind, **values}
        text = json.dumps(row, ensure_ascii=False)
        text = without_key(text, self._secret)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as out:
                out.write(text + "\n")
        except OSError as error:
            log.warning("no transcript: %s", error)
            self._file = None


def without_key(text: str, key: str) -> str:
    """The text without the API key, which some endpoints say back. Short ones, such as "local", are no secrets."""
    return text.replace(key, "[key]") if len(key) >= _SHORTEST_KEY else text


def new_file(directory: Path, request_id: str) -> Path:
    """The file of a question's transcript in ``directory``; names sort by time."""
    safe = "".join(letter for letter in request_id if letter.isalnum() or letter in "-_")[:64]
    return directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{safe or 'question'}.jsonl"


def read(file: Path) -> list[dict]:
    """The lines of a transcript. A last line that was cut off is left out. Raises TranscriptError, OSError."""
    lines = file.read_text("utf-8", errors="replace").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or row.get("kind") not in KINDS:
                raise ValueError(f"its kind is none of {', '.join(KINDS)}")
        except (ValueError, RecursionError) as error:
            if number == len(lines) and rows:
                break
            raise TranscriptError(f"{file}:{number}: no line of a transcript: {error}") from None
        rows.append(row)
    if not rows:
        raise TranscriptError(f"{file}: empty; a transcript is written while a question is planned")
    return rows
