"""The commands that train forecasters: ``links train lora`` and ``links train timesfm``."""

import argparse
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from controller.optimizer_cli import InputError

DONE = 0
DAY_S = 86_400


def add_commands(commands) -> None:
    """Add ``train`` to the parsers of ``links``."""
    text = "Train a forecaster: an adapter for a site (lora), or the bundled TimesFM from scratch (timesfm)."
    train = commands.add_parser("train", help=text, description=text).add_subparsers(
        dest="what", required=True, metavar="WHAT"
    )
    text = (
        "Fine-tune TimesFM on a site's history with LoRA. The history's last part is held back and decides what is "
        "kept. An interrupted run goes on where it was when it is started again with the same arguments."
    )
    lora = train.add_parser("lora", help=text, description=text)
    lora.set_defaults(run=_lora)
    lora.add_argument("--data", type=Path, required=True, metavar="FILE", help="history file (.npz)")
    lora.add_argument(
        "--until", type=_moment, metavar="T", help="use only what precedes this moment (ISO 8601; UTC without offset)"
    )
    lora.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the adapter is written")
    lora.add_argument("--checkpoint", default="", metavar="DIR", help="base: folder or owner/name (default: bundled)")
    lora.add_argument("--epochs", type=_whole, metavar="N", help="at most (default: 10, as in the paper)")
    lora.add_argument("--seed", type=_seed, default=0, metavar="S")
    lora.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    text = "Train the small TimesFM from scratch on synthetic traffic, as the bundled checkpoint was; takes hours."
    timesfm = train.add_parser("timesfm", help=text, description=text)
    timesfm.set_defaults(run=_timesfm)
    timesfm.add_argument("--out", type=Path, required=True, metavar="DIR", help="where checkpoint and log are written")
    timesfm.add_argument("--steps", type=_whole, metavar="N", help="default: those of the bundled checkpoint")
    timesfm.add_argument("--seed", type=_seed, metavar="S", help="default: the bundled checkpoint's")
    timesfm.add_argument("--no-compile", action="store_true", help="without torch.compile, which needs a C++ compiler")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time, such as 2013-11-18T00:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more and below 2^63")
    return int(text)


def _lora(arguments: argparse.Namespace) -> int:
    from twin.history_file import HistoryFileError, load_history_file

    try:
        history = load_history_file(arguments.data)
    except (HistoryFileError, OSError) as error:
        raise InputError(str(error)) from None
    if DAY_S % history.slot_s:
        raise InputError(f"{arguments.data}: slots of {history.slot_s} s don't divide a day")
    until = arguments.until.timestamp() if arguments.until else float("inf")
    known = history.epoch_s < until
    if not known.any():
        first = datetime.fromtimestamp(int(history.epoch_s[0]), UTC).isoformat()
        raise InputError(f"--until {arguments.until.isoformat()}: nothing precedes it; the history begins at {first}")

    from predictor.adapter import save_adapter
    from predictor.lora import LoraSettings, train_lora

    settings = LoraSettings() if arguments.epochs is None else replace(LoraSettings(), epochs=arguments.epochs)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)  # before the work: it may be impossible
        with _bar() as progress:
            adapter = train_lora(
                arguments.checkpoint,
                history.traffic[known].T,
                day_slots=DAY_S // history.slot_s,
                settings=settings,
                seed=arguments.seed,
                directory=arguments.out,
                progress=progress,
            )
        save_adapter(adapter, arguments.out)
    except ValueError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{arguments.out}: can't be written: {error.strerror}") from None
    if arguments.json:
        print(json.dumps({"adapter": str(arguments.out), "base_sha256": adapter.base, **adapter.about}, indent=1))
        return DONE
    errors = adapter.about["validation_errors"]
    print(
        f"{arguments.out}: adapter of {adapter.parameters:,} parameters; validation error "
        f"{adapter.about['validation_error']:.4f}, of the base alone {errors[0]:.4f} (epoch "
        f"{adapter.about['chosen_epoch']} of {len(errors) - 1}, times {adapter.about['factor']})"
    )
    if not adapter.about["factor"] or not adapter.about["chosen_epoch"]:
        print("Nothing learnt here beats the base on the part held back: the adapter changes nothing.")
    return DONE


def _timesfm(arguments: argparse.Namespace) -> int:
    from predictor.pretrain import Pretraining, about, pretrain
    from predictor.timesfm_model import save_checkpoint

    given = {"steps": arguments.steps, "seed": arguments.seed}
    settings = replace(Pretraining(), **{key: value for key, value in given.items() if value is not None})
    try:
        with _bar() as progress:
            module = pretrain(settings, arguments.out, compiled=not arguments.no_compile, progress=progress)
        save_checkpoint(module, arguments.out, about(settings))
    except ValueError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{arguments.out}: can't be written: {error.strerror}") from None
    print(f"{arguments.out}: checkpoint written; use it with --checkpoint or [forecast] checkpoint")
    return DONE


@contextmanager
def _bar():
    """A progress bar on stderr; yields progress(text, share done)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("loading", total=1.0)
        yield lambda text, share: bar.update(task, description=text, **({} if share is None else {"completed": share}))
