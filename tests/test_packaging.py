"""The folder names are generic by wish; nothing that we install may bring a package of the same name."""

from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "controller", "evaluation", "mininet_topos", "optimizer", "predictor", "proto", "twin")


@pytest.mark.parametrize("room", ROOMS)
def test_no_dependency_ships_a_package_of_our_name(room):
    owners = {name.lower() for name in packages_distributions().get(room, [])}
    assert owners <= {"links-6g-twin"}, f"{room} is also a package of {owners}"
    assert Path(__import__(room).__file__).parent == ROOT / room


def test_every_room_says_what_it_is_for():
    for room in ROOMS:
        assert (__import__(room).__doc__ or "").strip(), f"{room}/__init__.py has no docstring"


def test_console_scripts_are_ours():
    scripts = {entry.name: entry.value for entry in distribution("links-6g-twin").entry_points}
    assert scripts == {"links": "controller.cli:main", "ryu-manager": "controller.ryu_manager:main"}
