"""Zigbee, analytic model against event simulation: ``links eval zigbee --out DIR``.

Writes ``zigbee.svg`` (goodput and mean delay against contenders) and ``zigbee.json`` (all figures behind it), and
prints them as tables: goodput, delay, and the stack times that published measurements of modules ask for.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar

from optimizer.zigbee import ZigbeeLink, shared_goodput_bps, transfer_delay_s, zigbee_delays
from optimizer.zigbee_simulation import simulate_transfers, simulated_goodput_bps

HOPS = (1, 2, 3)
GOODPUT_CONTENDERS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 50)
DELAY_CONTENDERS = (1, 2, 3, 5, 8, 12, 20)
DEMAND_BYTES = 8200  # 100 full fragments

# Digi, "XBee/XBee-PRO ZigBee RF Modules User Guide", data throughput, router to router: (security, hops, kbit/s).
MEASURED_KBPS = ((False, 1, 35.0), (False, 4, 10.0), (True, 1, 19.0), (True, 4, 5.0))
# The guide's example of a payload without security is 84 bytes; network security takes 18 of them.
MODULE_LINKS = {
    False: ZigbeeLink(security_bytes=0, fragment_bytes=84),
    True: ZigbeeLink(security_bytes=18, fragment_bytes=66),
}


@dataclass(frozen=True)
class Point:
    """One quantity by both models; the simulated values are one per seed."""

    quantity: str  # goodput_bps, mean_delay_s or largest_delay_s
    hops: int
    contenders: int
    analytic: float
    simulated: list[float]

    @property
    def simulated_mean(self) -> float:
        return statistics.fmean(self.simulated)

    @property
    def error(self) -> float:
        """Of the analytic value, relative to the simulation's mean; infinite if nothing arrived there."""
        return self.analytic / self.simulated_mean - 1 if self.simulated_mean else math.inf


def compare(seeds: int, seconds: float) -> list[Point]:
    """All points of the figure, with ``seeds`` runs each; goodput over ``seconds`` of simulated time."""
    demands = {n: {f"s{i}": DEMAND_BYTES for i in range(n)} for n in DELAY_CONTENDERS}
    points = []
    with ProcessPoolExecutor() as pool:
        runs = {
            (hops, n): [pool.submit(simulated_goodput_bps, n, ZigbeeLink(hops), seconds, seed) for seed in range(seeds)]
            for hops in HOPS
            for n in GOODPUT_CONTENDERS
        }
        transfers = {
            (hops, n): [pool.submit(simulate_transfers, demands[n], ZigbeeLink(hops), seed) for seed in range(seeds)]
            for hops in HOPS
            for n in DELAY_CONTENDERS
        }
        for (hops, n), futures in runs.items():
            simulated = [future.result() for future in futures]
            points.append(Point("goodput_bps", hops, n, shared_goodput_bps(n, ZigbeeLink(hops)), simulated))
        for (hops, n), futures in transfers.items():
            delays_s = [future.result().delay_s for future in futures]
            analytic_s = list(zigbee_delays(demands[n], hops=hops).values())
            means, largest = [statistics.fmean(each) for each in delays_s], [max(each) for each in delays_s]
            points.append(Point("mean_delay_s", hops, n, statistics.fmean(analytic_s), means))
            points.append(Point("largest_delay_s", hops, n, max(analytic_s), largest))
    return points


@dataclass(frozen=True)
class StackFit:
    """The stack time with which the model comes closest to measured throughput (least squares, relative)."""

    security: bool
    stack_s: float
    measured_kbps: dict[int, float]  # by hops
    model_kbps: dict[int, float]


def fit_stacks() -> list[StackFit]:
    """One fit for the modules without and one with security."""
    fits = []
    for security, link in MODULE_LINKS.items():
        measured = {hops: kbps for secure, hops, kbps in MEASURED_KBPS if secure == security}
        modelled = _module_model(link, list(measured))
        best = minimize_scalar(
            lambda stack_s, modelled=modelled, measured=measured: sum(
                (modelled(stack_s)[hops] / kbps - 1) ** 2 for hops, kbps in measured.items()
            ),
            bounds=(0, 0.1),
            method="bounded",
        )
        fits.append(StackFit(security, best.x, measured, modelled(best.x)))
    return fits


def _module_model(link: ZigbeeLink, hops: list[int]) -> Callable[[float], dict[int, float]]:
    def kbps(stack_s: float) -> dict[int, float]:
        slow = replace(link, stack_s=stack_s)
        return {h: 8 * link.payload_bytes / transfer_delay_s(link.payload_bytes, hops=h, link=slow) / 1e3 for h in hops}

    return kbps


def draw(points: list[Point], path: Path) -> None:
    """Analytic lines and simulated points with the spread over seeds, as SVG."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2)
    _panel(left, points, "goodput_bps", 1e3, "total goodput at the coordinator, kbit/s", max(GOODPUT_CONTENDERS))
    label = f"mean delay of {DEMAND_BYTES:,} bytes from each sensor, s"
    _panel(right, points, "mean_delay_s", 1, label, max(DELAY_CONTENDERS))
    left.set_ylim(bottom=0)
    right.set_yscale("log")
    left.set_title("Sensors that always have data")
    right.set_title("Sensors that start together")
    left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, points: list[Point], quantity: str, unit: float, label: str, last: int) -> None:
    for number, hops in enumerate(HOPS):
        chosen = [p for p in points if p.quantity == quantity and p.hops == hops]
        lows = [(p.simulated_mean - min(p.simulated)) / unit for p in chosen]
        highs = [(max(p.simulated) - p.simulated_mean) / unit for p in chosen]
        axes.errorbar(
            [p.contenders for p in chosen],
            [p.simulated_mean / unit for p in chosen],
            [lows, highs],
            fmt="os^"[number],
            color=f"C{number}",
            markersize=5,
            capsize=3,
            label=f"{hops} hop{'s' * (hops > 1)}, simulation",
        )
        axes.plot(
            *_line(quantity, hops, last, unit), color=f"C{number}", label=f"{hops} hop{'s' * (hops > 1)}, analytic"
        )
    axes.set_xlabel("contenders (sensors)")
    axes.set_ylabel(label)
    axes.set_xlim(0, last + 1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def _line(quantity: str, hops: int, last: int, unit: float) -> tuple[range, list[float]]:
    contenders = range(1, last + 1)
    if quantity == "goodput_bps":
        return contenders, [shared_goodput_bps(n, ZigbeeLink(hops)) / unit for n in contenders]
    return contenders, [transfer_delay_s(DEMAND_BYTES, n, hops) / unit for n in contenders]


def report(points: list[Point], fits: list[StackFit]) -> str:
    """Markdown tables."""
    lines = [
        "| contenders | "
        + " | ".join(f"{h} hop{'s' * (h > 1)}: analytic, simulated (spread), error" for h in HOPS)
        + " |"
    ]
    lines.append("|---" * (len(HOPS) + 1) + "|")
    for quantity, unit, form in (
        ("goodput_bps", 1e3, ".2f"),
        ("mean_delay_s", 1, ".2f"),
        ("largest_delay_s", 1, ".2f"),
    ):
        lines.append(
            f"| **{quantity.replace('_bps', ', kbit/s').replace('_s', ', s').replace('_', ' ')}** |" + " |" * 3
        )
        for n in sorted({p.contenders for p in points if p.quantity == quantity}):
            row = [p for h in HOPS for p in points if (p.quantity, p.hops, p.contenders) == (quantity, h, n)]
            cells = [
                f"{p.analytic / unit:{form}}, {p.simulated_mean / unit:{form}} "
                f"({min(p.simulated) / unit:{form}} to {max(p.simulated) / unit:{form}}), {p.error:+.1%}"
                for p in row
            ]
            lines.append(f"| {n} | " + " | ".join(cells) + " |")
    lines += ["", "| module | stack time | hops | measured, kbit/s | model, kbit/s |", "|---|---|---|---|---|"]
    for fit in fits:
        for hops, kbps in fit.measured_kbps.items():
            name = "security on" if fit.security else "security off"
            lines.append(f"| {name} | {fit.stack_s * 1e3:.1f} ms | {hops} | {kbps:g} | {fit.model_kbps[hops]:.1f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="links eval zigbee", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for zigbee.svg and zigbee.json")
    parser.add_argument("--seeds", type=int, default=5, help="simulation runs of each point")
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated seconds of each goodput run")
    options = parser.parse_args(argv)
    points, fits = compare(options.seeds, options.seconds), fit_stacks()
    options.out.mkdir(parents=True, exist_ok=True)
    draw(points, options.out / "zigbee.svg")
    record = {"points": [asdict(point) for point in points], "stack_fits": [asdict(fit) for fit in fits]}
    (options.out / "zigbee.json").write_text(json.dumps(record, indent=1) + "\n")
    print(report(points, fits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
