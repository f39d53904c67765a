"""``links transcript``: a transcript of the agents as a readable conversation."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

_COLOURS = {"planner": "cyan", "reviewer": "magenta", "coder": "green", "executor": "yellow", "manager": "blue"}


def add_commands(commands) -> None:
    """Add ``transcript`` to the parsers of ``links``."""
    text = "Show a transcript of the agents (agents.transcripts) as a conversation."
    command = commands.add_parser("transcript", help=text, description=text)
    command.add_argument("file", type=Path, help="JSON lines, one file per question")
    command.add_argument("--prompts", action="store_true", help="also show what each agent was told")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from agents.transcript import TranscriptError, read

    console = Console()
    try:
        rows = read(arguments.file)
    except (TranscriptError, OSError) as error:
        Console(stderr=True).print(f"links: {error}", markup=False)
        return 1
    for row in rows:
        for part in _shown(row, arguments.prompts):
            console.print(part)
    console.print(_totals(rows))
    return 0


def _shown(row: Mapping, prompts: bool) -> Iterable[RenderableType]:
    match row["kind"]:
        case "question":
            by = f"by {row['model']}" if row.get("model") else "offline"
            yield Panel(Text(str(row.get("question", ""))), title=f"question, {row.get('now', '')}, planned {by}")
        case "exchange":
            yield _exchange(row, prompts)
        case "turn" if row.get("role") in ("reviewer", "executor"):  # the others' turns are their exchanges
            text = Text(f"{row.get('step')}. {row.get('role')}: ", style=f"bold {_COLOURS.get(row.get('role'), '')}")
            yield text + Text(str(row.get("text", "")), style="not bold default")
        case "turn":
            return
        case "next":
            yield Text(f"   next: {row.get('role')} (by the {row.get('by')}: {row.get('why')})", style="dim")
        case "person":
            word = "goes on" if row.get("go_on") else "stops"
            yield Text(f"   a person {word}" + (f": {row['advice']}" if row.get("advice") else ""), style="bold")
        case "plan":
            text = json.dumps(row.get("plan"), indent=1, ensure_ascii=False)
            yield Panel(Syntax(text, "json", word_wrap=True), title="plan")


def _exchange(row: Mapping, prompts: bool) -> RenderableType:
    parts: list[RenderableType] = []
    if prompts:
        parts += [Text(str(row.get("instructions", "")), style="dim"), Text(str(row.get("prompt", "")), style="dim")]
    for name, arguments, returned in row.get("calls", ()):
        parts.append(Text(f"calls {name}({arguments})\n  -> {returned[:500]}", style="italic"))
    parts.append(Text(str(row.get("reply", ""))))
    if row.get("failure"):
        parts.append(Text(f"failed: {row['failure']}", style="bold red"))
    title = f"{row.get('role')}, {row.get('tokens', 0)} tokens, {row.get('seconds', 0.0):.1f} s"
    return Panel(Group(*parts), title=title, border_style=_COLOURS.get(row.get("role"), "white"))


def _totals(rows: list[dict]) -> Text:
    exchanges = [row for row in rows if row["kind"] == "exchange"]
    turns = sum(row["kind"] == "turn" for row in rows)
    tokens = sum(row.get("tokens", 0) for row in exchanges)
    seconds = sum(row.get("seconds", 0.0) for row in exchanges)
    return Text(
        f"{turns} turns, {len(exchanges)} requests to the model, {tokens} tokens, {seconds:.1f} s", style="bold"
    )
