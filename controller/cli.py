"""The ``links`` command. Exit codes: 0 done, 1 failed, 2 wrong use."""

import argparse
import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from controller import cards_cli, eval_cli, optimizer_cli, train_cli, transcript_cli
from controller.config import Config, ConfigError, load_config, reference

DONE, FAILED, WRONG_USE = 0, 1, 2
log = logging.getLogger(__name__)


class CommandError(Exception):
    """A command that failed; the message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except (ConfigError, optimizer_cli.InputError) as error:
        print(f"links: {error}", file=sys.stderr)
        return WRONG_USE
    except CommandError as error:
        print(f"links: {error}", file=sys.stderr)
        return FAILED
    except grpc.RpcError as error:
        print(f"links: {_rpc_text(error, options)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _rpc_text(error: grpc.RpcError, options: argparse.Namespace) -> str:
    address = getattr(options, "service", None) or load_config(options.config).service.listen
    if error.code() is grpc.StatusCode.UNAVAILABLE and "connect" in (error.details() or "").lower():
        return f"no service answers at {address}; start one with `links up`, or name another: --service HOST:PORT"
    return f"{error.code().name}: {error.details()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="links", description="Ask a city's digital twin; the network brings the data."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", metavar="FILE", help="configuration file (default: $LINKS_CONFIG, else the defaults)"
    )
    client = argparse.ArgumentParser(add_help=False, parents=[common])
    client.add_argument("--service", metavar="HOST:PORT", help="the links service (default: service.listen)")
    client.add_argument("--json", action="store_true", help="print one JSON document and nothing else")

    def add(name: str, run, text: str, parents) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=parents)
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "Emulated city, control plane and telemetry, in the foreground; Ctrl-C stops all.", [common])
    up.add_argument(
        "--telemetry",
        nargs="+",
        metavar="FILE",
        default=[],
        help="replay a history file (.npz) or published Milan files (.tsv, .txt) instead of generated load",
    )
    up.add_argument("--state", metavar="DIR", help="where the twin's store and logs live")
    ask = add("ask", _ask, "Ask a question and watch it being answered.", [client])
    plan = add("plan", _plan, "Only the data plan of a question.", [client])
    for command in (ask, plan):
        command.add_argument("question", help="in plain language")
        command.add_argument("--now", metavar="TIME", type=_moment, help="ask as of this moment (ISO 8601 with offset)")
    ask.add_argument("--timeout", metavar="S", type=float, help="give up after so many seconds")
    ask.add_argument(
        "--human",
        choices=("never", "terminate", "always"),
        help="when you are asked: never, to approve the plan, or after every agent's turn (default: agents.human)",
    )
    add("status", _status, "Switches, cells, routes and data as they are now.", [client])
    load = add("push-load", _push_load, "Report a cell's load, as its base station would.", [client])
    load.add_argument("cell", help="cell id")
    load.add_argument("load", type=float, help="offered load, share of capacity")
    check = add("check-config", _check_config, "Check a configuration and its scenario; nothing is started.", [common])
    check.add_argument("file", nargs="?", help="configuration file")
    check.add_argument("--reference", action="store_true", help="print the configuration reference as Markdown")
    make = add("make-scenario", _make_scenario, "Write a generated scenario of any size.", [])
    make.add_argument("--cells", type=int, default=10, help="1 to 10,000 (default %(default)s)")
    make.add_argument("--sensors", type=int, default=120, help="0 to 100,000 (default %(default)s)")
    make.add_argument("--seed", type=int, default=14, help="another seed, another city (default %(default)s)")
    make.add_argument("--out", metavar="FILE", type=Path, required=True, help="JSON file to write")
    add("pipeline", _pipeline, "Print the OpenFlow tables of every kind of switch: what each may match and do.", [])
    optimizer_cli.add_commands(commands, common)
    train_cli.add_commands(commands)
    eval_cli.add_commands(commands)
    cards_cli.add_commands(commands)
    transcript_cli.add_commands(commands)
    doctor = add("doctor", _doctor, "What this machine has and lacks, and what to do about it.", [common])
    doctor.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    demo = add("demo", _demo, "Question 8 of the paper on the Milan scenario, with proof of what happened.", [common])
    demo.add_argument("--keep", action="store_true", help="keep the state directory")
    serve = add("serve", _serve, "Only the links service (ryu-manager starts it by itself).", [common])
    serve.set_defaults(run=_serve)
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no offset; write it as 2013-11-18T12:00:00+01:00")
    return moment


def _connection(options: argparse.Namespace):
    from controller.stack import connection
    from proto.connection import Connection

    found = connection(load_config(options.config))
    return Connection(options.service, found.tls_ca, found.token) if options.service else found


def _request(kind, options: argparse.Namespace):
    request = kind(question=options.question)
    if options.now:
        request.now.FromDatetime(options.now)
    return request


def _as_dict(message) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _pipeline(_: argparse.Namespace) -> int:
    from controller.pipeline import described

    print(described())
    return DONE


def _up(options: argparse.Namespace) -> int:
    from controller.stack import Stack, StackError

    config = load_config(options.config)
    console = Console(stderr=True)
    city_options = ["--source", *map(os.path.abspath, options.telemetry)] if options.telemetry else []
    stack = Stack(Path(options.state) if options.state else config.state_directory, options.config, city_options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        stack.start()
        stack.wait_ready(lambda text: console.print(f"{time.monotonic() - started:6.1f} s  {text}"))
        console.print(
            f'{time.monotonic() - started:6.1f} s  ready: ask it with  links ask "..."  (logs in {stack.directory})'
        )
        while True:
            stack.supervise()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping")
        return DONE
    except StackError as error:
        raise CommandError(str(error)) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.stop()


def _ask(options: argparse.Namespace) -> int:
    from controller.progress import Progress
    from proto import query_pb2, query_pb2_grpc

    link = _connection(options)
    request = _request(query_pb2.AskRequest, options)
    request.request_id = uuid.uuid4().hex[:12]
    if options.human:
        request.human = query_pb2.Human.Value(f"HUMAN_{options.human.upper()}")
    document: dict = {}
    with link.channel() as channel, Progress(Console(stderr=True, quiet=options.json)) as progress:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        for event in stub.Ask(request, timeout=options.timeout, metadata=link.metadata):
            kind = event.WhichOneof("event")
            progress.show(event)
            if kind == "approval":
                if options.json:  # which keeps the progress quiet
                    print(event.approval.turn.text, file=sys.stderr)
                stub.Approve(_approve(event.approval), metadata=link.metadata)
                continue
            _collect(document, kind, _as_dict(getattr(event, kind)))
    result = event.result
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        print(result.text)
    return FAILED if result.failed_sensors else DONE


def _approve(approval):
    """Ask the person at the terminal. Without one nothing is approved."""
    from proto import query_pb2

    print(
        f"Enter to go on, text to advise the agents, 'stop' to end (within {approval.seconds:.0f} s): ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    line = sys.stdin.readline()
    if not line or line.strip().lower() == "stop":
        why = "stopped at the terminal" if line else "there is no terminal to ask at"
        return query_pb2.ApproveRequest(approval_id=approval.approval_id, go_on=False, advice=why)
    return query_pb2.ApproveRequest(approval_id=approval.approval_id, go_on=True, advice=line.strip()[:500])


def _collect(document: dict, kind: str, value: dict) -> None:
    """Add one event to the JSON document of ``links ask``; the final transfers are part of the result."""
    match kind:
        case "solution" | "notice":
            document.setdefault(f"{kind}s", []).append(value)
        case "transfer" | "approval":
            pass
        case "turn":
            document.setdefault("turns", []).append(value)
        case _:
            document[kind] = value


def _plan(options: argparse.Namespace) -> int:
    from controller.progress import Progress
    from proto import query_pb2, query_pb2_grpc

    link = _connection(options)
    with link.channel() as channel:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        plan = stub.Plan(_request(query_pb2.PlanRequest, options), timeout=60, metadata=link.metadata)
    if options.json:
        print(json.dumps(_as_dict(plan), indent=1))
    else:
        with Progress(Console()) as progress:
            progress.show(query_pb2.AskEvent(plan=plan))
    return DONE


def _status(options: argparse.Namespace) -> int:
    from controller import status

    link = _connection(options)
    with link.channel() as channel:
        now = status.read(channel, link.metadata)
    if options.json:
        print(json.dumps({name: _as_dict(message) for name, message in now.items()}, indent=1))
    else:
        status.show(now, Console())
    return DONE


def _push_load(options: argparse.Namespace) -> int:
    from controller import status

    link = _connection(options)
    with link.channel() as channel:
        summary = status.push_load(channel, link.metadata, load_config(options.config), options.cell, options.load)
    if options.json:
        print(json.dumps(_as_dict(summary), indent=1))
    elif summary.accepted:
        print(f"{options.cell}: load {options.load:.2f} reported")
    if summary.rejected:
        raise CommandError(summary.rejections[0].reason)
    return DONE


def _check_config(options: argparse.Namespace) -> int:
    if options.reference:
        print(reference(), end="")
        return DONE
    from twin.scenario import ScenarioError, load_scenario

    config: Config = load_config(options.file or options.config)
    try:
        scenario = load_scenario(config.scenario.file)
    except (ScenarioError, OSError) as error:
        raise ConfigError(str(error)) from None
    print(f"good: {scenario.city}, {len(scenario.cells)} cells, {len(scenario.sensors)} sensors")
    return DONE


def _make_scenario(options: argparse.Namespace) -> int:
    from twin.generate import make_scenario
    from twin.scenario import save_scenario

    try:
        scenario = make_scenario(options.cells, options.sensors, options.seed)
        save_scenario(scenario, options.out)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from None
    print(f"{options.out}: {len(scenario.cells)} cells, {len(scenario.sensors)} sensors")
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from controller import doctor

    findings = doctor.examine(load_config(options.config))
    if options.json:
        print(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        doctor.show(findings, Console())
    return DONE if all(finding.good or not finding.needed for finding in findings) else FAILED


def _demo(options: argparse.Namespace) -> int:
    from controller import demo

    return demo.run(options.config, options.keep)


def _serve(options: argparse.Namespace) -> int:
    from controller import service

    return service.main(["--config", options.config] if options.config else [])


if __name__ == "__main__":
    sys.exit(main())
