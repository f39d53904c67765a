"""``links eval``: the evaluations by name. Each is a module of ``evaluation`` with a ``main(argv)`` of its own."""

import argparse
import importlib

_EVALUATIONS = {
    "classifier": "how well the offline planner's classifier carries over to other people's questions; trains it",
    "failover": "packets lost by cut links and restarts, on real switches (needs root)",
    "fig5": "accuracy of data planning against the agents' steps (the paper's Fig. 5)",
    "fig6": "latency against tau (the paper's Fig. 6)",
    "forecast": "errors of the load forecasters on a history file (the paper's Table III)",
    "forecast-speed": "time and memory of TimesFM forecasts for a city",
    "planning": "types, windows and abstention of data planning on a query file",
    "rrm": "time and certified gap of the solvers against size",
    "table1": "accuracy of data planning by query and planner (the paper's Table I)",
    "table2": "accuracy of data planning by model and temperature (the paper's Table II)",
    "table3": "the forecasters' errors written up, the paper's figures beside them",
    "tau": "how often each forecaster sends a cell the wrong way",
    "tuning": "the search for the forecasters' settings, on training data only",
    "zigbee": "Zigbee delay, analytic beside simulated",
}


def add_commands(commands) -> None:
    """Add ``eval`` to the parsers of ``links``."""
    which = "; ".join(f"{name}: {text}" for name, text in _EVALUATIONS.items())
    text = f"Run an evaluation. {which}."
    evaluate = commands.add_parser("eval", help="Run an evaluation of a part of the system.", description=text)
    evaluate.set_defaults(run=_eval)
    evaluate.add_argument("what", choices=_EVALUATIONS)
    evaluate.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="the evaluation's own, see `links eval fig6 --help`"
    )


def _eval(arguments: argparse.Namespace) -> int:
    return importlib.import_module(f"evaluation.{arguments.what.replace('-', '_')}").main(arguments.arguments) or 0
