"""The search for the forecasters' settings, on the training part of a history: ``links eval tuning``.

Writes ``tuning.json``, model by model, and ``tuning.md`` from it: every setting that was tried and its error on the
last days before ``--test-start``. Nothing from that moment on is looked at. The defaults in ``predictor`` are what this
search chose. The naive models have no settings, zero-shot TimesFM sees no data, and the constants of arima were chosen
one by one (predictor/arima.py says how).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from evaluation.forecast import about, finish, origin, plain
from evaluation.forecast_measures import HORIZONS
from evaluation.forecast_protocol import Protocol, ProtocolError, protocol
from predictor.dlinear import DLinear
from predictor.profile import PLAIN, tune_profile
from predictor.tuning import HELD_BACK_DAYS, LORA, LORA_START, SEEDS, SPACE, search, search_lora

Rows = list[dict]  # settings tried in order, each with errors (by horizon) or one error, and whether it was chosen
MODELS = ("profile", "dlinear", *(model.name for model in SPACE), "timesfm+lora")
JUDGED = {
    "profile": "Forecasts from every 6th slot of the training part from its 11th day on; coordinate search.",
    "dlinear": "All pairs; mean squared error of normalised windows on the last fifth.",
    "timesfm+lora": "Validation error of `links train lora` (mean of the per-cell NRMSE at the four horizons on the "
    "part held back), that of the base beside it; coordinate search. With peek it was trained on the part held "
    "back, too: no adapter for use, but a bound of what there is to gain.",
}
NEURAL = (
    f"Trained on all but the last {HELD_BACK_DAYS} days, measured on these, mean of {SEEDS} seeds; coordinate search."
)


def searched(name: str, data: Protocol, told: Callable[[str, float], None]) -> Rows:
    """The search for one model on what precedes the test part."""
    array = data.history[:, : data.start]
    if name == "profile":
        return _profile(tune_profile(array))
    if name == "dlinear":
        tried = DLinear().fit(array).tried
        least = min(error for *_, error in tried)
        return [
            {"settings": {"lookback": days, "ridge": ridge}, "error": error, "chosen": error == least}
            for days, ridge, error in tried
        ]
    if name == "timesfm+lora":
        start = {setting: getattr(LORA_START, setting) for setting in LORA}
        trials = search_lora(array, LORA, told)
        return [asdict(trial) | {"settings": dict(trial.settings) or start} for trial in trials]
    if data.grid is None:
        raise ProtocolError(data.no_grid)
    (model,) = (model for model in SPACE if model.name == name)
    trials = search(array, data.grid, space={model: SPACE[model]}, progress=told)
    return [
        {
            "settings": dict(trial.settings) or {setting: getattr(model, setting) for setting in SPACE[model]},
            "errors": [trial.nrmse[horizon] for horizon in HORIZONS],
            "parameters": trial.parameters,
            "chosen": trial.chosen,
        }
        for trial in trials
    ]


def _profile(tried: list) -> Rows:
    """Of a long search: where it began and each improvement on the way."""
    rows, least = [], float("inf")
    for settings, errors in tried:
        if sum(errors) < least:
            least = sum(errors)
            changed = {key: value for key, value in asdict(settings).items() if value != getattr(PLAIN, key)}
            rows.append({"settings": changed or asdict(settings), "errors": list(errors), "chosen": False})
    rows[-1] |= {"chosen": True, "of": len(tried)}
    return rows


def report(document: dict) -> str:
    """tuning.md."""
    data = document["data"]
    lines = [
        "# The search for the forecasters' settings",
        "",
        f"Data: `{data['file']}` (SHA-256 {data['sha256']}…), {data['cells']} cells, from {data['start']} to the last "
        f"slot before {document['test_start']}; nothing later was looked at. Errors are per-cell NRMSE at 1 / 10 / 30 "
        "/ 60 steps unless something else is said. The chosen settings, bold, are the defaults of `predictor`.",
    ]
    for name in (name for name in MODELS if name in document["models"]):
        model = document["models"][name]
        lines += [
            "",
            f"## {name}",
            "",
            f"{JUDGED.get(name, NEURAL)} `{model['command']}`, {model['seconds']:.0f} s on {model['machine']}; commit "
            f"{model['commit']}.",
            "",
        ]
        lines += ["| settings | error |", "|---|---|"]
        for row in model["tried"]:
            settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
            errors = row.get("errors") or [row["error"]]
            text = " / ".join(f"{error:.4f}" for error in errors)
            if "base" in row:
                text += f" (base {row['base']:.4f})"
            if "of" in row:
                settings += f" (best of {row['of']} tried; only improvements are listed)"
            lines.append(f"| **{settings}** | **{text}** |" if row["chosen"] else f"| {settings} | {text} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Exit code 0 done, 1 failed, 2 wrong use."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="links eval tuning", description="Search for the forecasters' settings.")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="history file, 10-minute slots")
    parser.add_argument(
        "--test-start", required=True, metavar="T", help="ISO time (UTC without offset); only what precedes it is used"
    )
    parser.add_argument(
        "--models", type=_models, default=list(MODELS), metavar="A,B,...", help=f"default: {', '.join(MODELS)}"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="DIR", help="default %(default)s")
    options = parser.parse_args(argv)

    def work(errors: Console) -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        data = protocol(options.data, options.test_start, 24, max(HORIZONS))
        source = origin("tuning", argv)
        document = {"models": {}} | about(data)
        document["models"] = _earlier(options.out / "tuning.json", document)
        with Progress(console=errors, disable=not errors.is_terminal, transient=True) as progress:
            bar = progress.add_task("", total=1.0)
            for name in options.models:
                started = time.monotonic()

                def told(text: str, share: float, name: str = name) -> None:
                    progress.update(bar, description=escape(f"{name}: {text}"), completed=share)

                told("starting", 0.0)
                tried = searched(name, data, told)
                document["models"][name] = {
                    "seconds": time.monotonic() - started,
                    **source,
                    "tried": tried,
                }
                (options.out / "tuning.json").write_text(json.dumps(plain(document), indent=1) + "\n")
                (options.out / "tuning.md").write_text(report(document))
                errors.print(f"{name}: {len(tried)} settings, {time.monotonic() - started:.0f} s", markup=False)
        print(f"{options.out}: tuning.md, tuning.json")

    return finish(work)


def _earlier(path: Path, document: dict) -> dict:
    """What an earlier run found for other models on the same data. Raises ProtocolError for a file that is damaged."""
    if not path.exists():
        return {}
    try:
        earlier = json.loads(path.read_text())
        same = earlier["data"] == document["data"] and earlier["test_start"] == document["test_start"]
        return dict(earlier["models"]) if same else {}
    except (ValueError, KeyError, TypeError):
        raise ProtocolError(
            f"{path}: not a tuning.json as this command writes it; move it or name another --out"
        ) from None


def _models(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [text]:
        if name not in MODELS:
            raise argparse.ArgumentTypeError(f"{name!r} has no search; choose from {', '.join(MODELS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
