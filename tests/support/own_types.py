"""An operator's sensor types in the running process, and the examples of docs/planning.md."""

import re
from pathlib import Path

from agents import knowledge, schema
from agents.cards import sensor_cards
from twin.sensor_types import VARIABLE, sensor_types

_DOCS = (Path(__file__).parents[2] / "docs/planning.md").read_text("utf-8")
CARD, API = (re.search(rf"```{language}\n(.*?)```", _DOCS, re.S)[1] for language in ("toml", "python"))


def use(directory, monkeypatch) -> None:
    """What is read once per process is read again, with the directory's types. ``forget`` after undoing it."""
    monkeypatch.setenv(VARIABLE, str(directory))
    forget()


def forget() -> None:
    for read_once in (sensor_types, sensor_cards, knowledge.knowledge, schema._validator):
        read_once.cache_clear()
