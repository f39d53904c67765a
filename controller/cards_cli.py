"""``links check-card``: an operator's sensor cards and Data API files, checked before they are used."""

import argparse
import sys
from pathlib import Path

from controller.optimizer_cli import InputError

DONE, FAILED = 0, 1


def add_commands(commands) -> None:
    """Add ``check-card`` to the parsers of ``links``."""
    text = (
        "Check files of your own: sensor cards (.toml) and functions of the Data API (.py, which is imported, and so "
        "run, if nothing is wrong with its text). Says of each what is wrong and what would be right."
    )
    check = commands.add_parser("check-card", help=text, description=text)
    check.set_defaults(run=_check_card)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="such as noise_level.toml, parking_fee.py")


def _check_card(arguments: argparse.Namespace) -> int:
    for path in arguments.files:
        if path.suffix not in (".toml", ".py"):
            raise InputError(f"{path}: neither a sensor card (.toml) nor a function of the Data API (.py)")
        if not path.is_file():
            raise InputError(f"{path}: no such file")
    from agents.cards import check_card_file
    from agents.data_api import check_api_file

    code = DONE
    for path in arguments.files:
        problems = check_card_file(path) if path.suffix == ".toml" else check_api_file(path)
        for problem in problems:
            print(f"links: {problem}", file=sys.stderr)
        if problems:
            code = FAILED
        else:
            print(f"good: {path}")
    return code
