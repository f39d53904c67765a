"""The flow tables of a small city, line by line, so that a change of them is seen and meant.

``UPDATE_GOLDEN=1 pytest tests/controller/test_golden.py`` writes them anew; look at the difference before you commit.
"""

import os
from pathlib import Path as File

import pytest

from controller.flows import desired_tables
from controller.pipeline import described
from twin.generate import make_scenario
from twin.path import Path
from twin.wiring import Wiring

WIRING = Wiring(make_scenario(cells=2, sensors=4, seed=5))
ROUTES = {sensor.id: list(Path)[i % 2] for i, sensor in enumerate(WIRING.scenario.sensors[:3])}
GOLDEN = File(__file__).parent / "golden"
DOCS = File(__file__).parents[2] / "docs/sdn.md"


def snapshot() -> dict[str, str]:
    """The tables by the switch's name."""
    tables = desired_tables(WIRING, ROUTES)
    return {node.name: "".join(f"{item}\n" for item in tables[node.datapath_id].items) for node in WIRING.switches}


@pytest.mark.parametrize("name", [node.name for node in WIRING.switches])
def test_the_tables_are_what_they_were(name):
    file, now = GOLDEN / f"{name}.txt", snapshot()[name]
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(now)
    assert now == file.read_text(), "see the docstring of this file"


def test_the_documentation_has_the_pipeline_as_it_is():
    assert f"```\n{described()}\n```" in DOCS.read_text(), "put the output of `links pipeline` into docs/sdn.md"
