"""Fixtures of the emulation tests: a small city without controller. Helpers are in tests/support/small_city.py."""

import os
import shutil

import pytest
from small_city import route

from twin.generate import make_scenario


def lacking() -> str:
    """Why emulation tests can't run here; empty when they can."""
    if os.geteuid() != 0:
        return "emulation needs root (network namespaces); run: sudo make test"
    for tool, package in (("ovs-vsctl", "openvswitch-switch"), ("mnexec", "mininet"), ("ip", "iproute2")):
        if not shutil.which(tool):
            return f"{tool} is missing; run: apt-get install {package}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def emulation():
    """Skips loudly where nothing can be emulated; where emulation is promised (CI, LINKS_REQUIRE_EMULATION), fails."""
    reason = lacking()
    if reason and (os.environ.get("CI") or os.environ.get("LINKS_REQUIRE_EMULATION")):
        pytest.fail(f"emulation tests must run here, but {reason}")
    if reason:
        pytest.skip(f"EMULATION TESTS NOT RUN: {reason}")


@pytest.fixture(scope="session")
def small_scenario():
    """Two cells, three sensors each."""
    return make_scenario(cells=2, sensors=6, seed=11)


@pytest.fixture(scope="module")
def small_city(small_scenario):
    """A running city of two cells and six sensors without controller; every sensor's route is 6G."""
    from mininet_topos import City

    with City(small_scenario, name="links-test") as city:
        route(city, "sixg")
        yield city
