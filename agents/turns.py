"""What people see of the agents' conversation: turns, and the answers that they may give."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who speaks. The Executor is no model: it runs the Coder's program in the sandbox."""

    MANAGER = "manager"
    PLANNER = "planner"
    REVIEWER = "reviewer"
    CODER = "coder"
    EXECUTOR = "executor"
    END = "end"


class Human(StrEnum):
    """When a person is asked (paper, section IV): never, once the plan is made, or after every agent's turn."""

    NEVER = "NEVER"
    TERMINATE = "TERMINATE"
    ALWAYS = "ALWAYS"


@dataclass(frozen=True)
class Turn:
    """What an agent did, in words for people. ``step`` counts turns from 1; role END tells the finished plan."""

    step: int
    role: Role
    text: str


@dataclass(frozen=True)
class Say:
    """A person's answer to a turn: whether to go on, and advice for the agents (empty: none)."""

    go_on: bool = True
    advice: str = ""


class Stopped(Exception):
    """A person did not let the plan pass; the message says why."""


AskPerson = Callable[[Turn], Awaitable[Say]]
