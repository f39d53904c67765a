"""The console script ``ryu-manager``."""

import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = [sys.executable, "-m", "controller.ryu_manager"]


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_version():
    result = run(*MODULE, "--version")
    assert (result.returncode, result.stdout.strip()) == (0, "ryu-manager 4.34")


def test_the_installed_script_is_ours():
    if not list(distributions(name="links-6g-twin", path=[sysconfig.get_path("purelib")])):
        pytest.skip("links-6g-twin is not installed here (make setup), so ryu-manager is Ryu's own")
    result = run(str(Path(sys.executable).with_name("ryu-manager")), "--version")
    assert (result.returncode, result.stdout.strip()) == (0, "ryu-manager 4.34"), result.stderr


def test_without_us_ryu_does_not_start():
    """The reason for the script. When this fails, Ryu or eventlet has mended it and the script can go."""
    result = run(sys.executable, "-c", "import ryu.cmd.manager")
    assert result.returncode == 1
    assert "ALREADY_HANDLED" in result.stderr


def test_other_ryu_applications_run_too(tmp_path):
    application = tmp_path / "hello.py"
    lines = [
        "import os",
        "from ryu.base import app_manager",
        "class Hello(app_manager.RyuApp):",
        "    def start(self):",
        "        print('hello', flush=True)",
        "        os._exit(7)",
    ]
    application.write_text("\n".join(lines))
    result = run(*MODULE, str(application))
    assert (result.returncode, result.stdout) == (7, "hello\n")


def test_wrong_use_is_reported_by_ryu():
    result = run(*MODULE, "--no-such-option")
    assert result.returncode == 2
    assert "no-such-option" in result.stderr
