"""The bundled city and the moment its questions are asked."""

from datetime import datetime

import pytest

from twin.scenario import Scenario, load_scenario


@pytest.fixture(scope="session")
def milan() -> Scenario:
    return load_scenario("milan")


@pytest.fixture(scope="session")
def now(milan) -> datetime:
    return milan.start
