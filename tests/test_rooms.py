"""Imports between rooms go only downwards (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {
    "proto": set(),
    "twin": {"proto"},
    "predictor": {"twin"},
    "optimizer": {"twin"},
    "agents": {"twin"},
    "mininet_topos": {"twin", "proto"},
    "controller": {"mininet_topos", "agents", "optimizer", "predictor", "twin", "proto"},
    "evaluation": {"controller", "mininet_topos", "agents", "optimizer", "predictor", "twin", "proto"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_rooms_below_it(room):
    for path in (ROOT / room).rglob("*.py"):
        above = (set(imported_rooms(path)) & BELOW.keys()) - BELOW[room] - {room}
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_ryu_stays_behind_its_adapter():
    users = {path.name for path in ROOT.glob("[a-z]*/*.py") if "ryu" in set(imported_rooms(path))}
    assert users <= {"ryu_app.py", "openflow.py", "switch.py", "ryu_manager.py", "service_process.py"}
