"""Benchmark of the optimiser, with the paper's way (one direct MILP through Pyomo) beside it in the same run.

``python -m evaluation.rrm --out DIR`` writes ``rrm.json`` (every number), ``rrm.md`` (tables), ``rrm_time.svg``,
``rrm_gap.svg`` and ``rrm_bounds.svg``. Every solution is checked with ``optimizer.check``; the exit code is 1 where one
fails. Machines are noisy: look at medians, spread and ratios; ``rrm.json`` keeps the load average at the start.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as RichTable
from threadpoolctl import threadpool_limits

from optimizer.check import check
from optimizer.direct import FORMULATIONS, GUROBI_FREE_SIZE, SOLVERS, solve_direct
from optimizer.instance import Instance, Solution
from optimizer.make_instance import make_instance
from optimizer.solve import Options, solve

GROUPS = ("literal", "frames", "city", "small")
LIMITS = ("single-user", "pooled", "fluid", "counting")
BOUNDS = (*LIMITS, "certified")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One size. group: "literal" and "frames" time ``solve``; "city" solves cell by cell in worker processes; "small"
    times making, solving and checking. gap: at which ``solve`` may stop. target_s: seconds (median) it should take."""

    group: str
    mode: str
    devices: int
    cells: int
    rbs: int
    gap: float = 0.01
    target_s: float | None = None
    sizes: str = "full"  # run with --sizes "full", "quick" or in "both"

    @property
    def size(self) -> str:
        return (
            f"{self.devices}x{self.rbs}" if self.cells == 1 else f"{self.devices} over {self.cells} cells x{self.rbs}"
        )

    @property
    def name(self) -> str:
        return f"{self.mode} {self.size}" + (", end to end" if self.group == "small" else "")


CASES = (
    Case("literal", "literal", 10, 1, 25, sizes="both"),
    Case("literal", "literal", 20, 1, 50),
    Case("literal", "literal", 50, 1, 100, target_s=5.0),
    Case("frames", "frames", 10, 1, 25, sizes="both"),
    Case("frames", "frames", 100, 1, 273, sizes="both"),
    Case("frames", "frames", 500, 1, 273, target_s=3.0),
    Case("frames", "frames", 1000, 1, 273, target_s=5.0),
    Case("frames", "frames", 2000, 1, 273, gap=0.005, target_s=8.0),
    Case("city", "frames", 10_000, 10, 273, target_s=30.0),
    Case("city", "frames", 40, 2, 25, sizes="quick"),
    Case("small", "frames", 10, 1, 25, target_s=0.05, sizes="both"),
    Case("small", "literal", 10, 1, 25, target_s=0.05, sizes="both"),
)


@dataclass(frozen=True)
class Run:
    """One instance of a case. seconds: what the case times. failures: the checker's findings that do not hold.

    limits_s: the physical limits, by name; None where the certificate has none. parts_s: of ``seconds``, or beside it.
    """

    case: str
    seed: int
    seconds: float
    status: str
    objective_s: float | None
    lower_bound_s: float | None
    bound: str
    solver: str
    refused: int
    failures: tuple[str, ...]
    limits_s: dict[str, float | None]
    parts_s: dict[str, float] = field(default_factory=dict)

    @property
    def gap(self) -> float | None:
        """(objective - bound) / bound; None without either."""
        return self.objective_s / self.lower_bound_s - 1 if self.objective_s and self.lower_bound_s else None


@dataclass(frozen=True)
class Reference:
    """The paper's way on the instance of a Run. own_gap: by the solver's word. gap: its objective, by formula, over
    the Run's certified bound. time_ratio: building and solving over the Run's seconds; None where it was not tried."""

    case: str
    seed: int
    solver: str
    formulation: str
    termination: str
    variables: int
    rows: int
    build_s: float
    solve_s: float
    told_s: float | None
    bound_s: float | None
    objective_s: float | None
    own_gap: float | None
    gap: float | None
    time_ratio: float | None
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything measured. first_solve_s: the first solve of each mode, imports included (not in the runs)."""

    command: str
    machine: dict
    time_limit_s: float
    reference_limit_s: float
    cases: tuple[Case, ...]
    first_solve_s: dict[str, float]
    runs: tuple[Run, ...]
    references: tuple[Reference, ...]

    @property
    def failures(self) -> list[str]:
        """Failed checks, and runs that ended without a solution."""
        failed = [f"{r.case}, seed {r.seed}: {text}" for r in self.runs for text in r.failures]
        failed += [f"{r.case}, seed {r.seed}: no solution, {r.status}" for r in self.runs if r.objective_s is None]
        for r in self.references:
            failed += [f"{r.case}, seed {r.seed}, Pyomo with {r.solver}: {text}" for text in r.failures]
        return failed


# --- Physical limits --------------------------------------------------------------------------------------------------


def single_user_delays_s(
    snr_per_w: NDArray[np.float64], data_bits: NDArray[np.float64], p_max_w: float, rb_bandwidth_hz: float
) -> NDArray[np.float64]:
    """[N]: delay of each device alone on all RBs, power water-filled; inf where it has no gain. snr_per_w [N, M]."""
    snr = -np.sort(-snr_per_w, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / snr
        level = (p_max_w + np.cumsum(inverse, axis=1)) / np.arange(1, snr.shape[1] + 1)
        used = (level > inverse).sum(axis=1)  # the strongest so many RBs lie under the water
        top = np.take_along_axis(level, np.maximum(used - 1, 0)[:, None], axis=1)
        rate = np.where(np.arange(snr.shape[1]) < used[:, None], np.log2(top * snr), 0.0).sum(axis=1)
        return data_bits / (rb_bandwidth_hz * rate)


def pooled_delay_s(
    snr_per_w: NDArray[np.float64], data_bits: NDArray[np.float64], p_max_w: float, rb_bandwidth_hz: float
) -> float:
    """All data over the sum of the RBs' best rates, each at the full power of its best device."""
    best = snr_per_w.max(axis=0, initial=0.0)
    capacity = rb_bandwidth_hz * np.log2(1 + best * p_max_w).sum()
    return float(data_bits.sum() / capacity) if capacity > 0 else math.inf


def limits_s(instance: Instance, solution: Solution) -> dict[str, float | None]:
    """Delays that no schedule of the devices served can beat, for the worst cell: the LIMITS.

    "fluid" and "counting" are what the solution's certificate proves (the checker has checked it).
    """
    snr, served = instance.snr_per_w(), (instance.data_bits > 0) & ~solution.to_zigbee
    single, pooled = 0.0, 0.0
    for c in range(instance.shape[1]):
        own = np.flatnonzero(served & (instance.serving == c))
        cell = (snr[np.ix_(own, np.flatnonzero(instance.free[c]))], instance.data_bits[own])
        if own.size:
            single = max(single, float(single_user_delays_s(*cell, instance.p_max_w, instance.rb_bandwidth_hz).max()))
            pooled = max(pooled, pooled_delay_s(*cell, instance.p_max_w, instance.rb_bandwidth_hz))
    proven = solution.certificate
    return dict(zip(LIMITS, (single, pooled, proven.get("fluid_bound_s"), proven.get("counting_bound_s")), strict=True))


# --- Measuring --------------------------------------------------------------------------------------------------------


def benchmark(
    cases: Sequence[Case],
    runs: int = 5,
    time_limit_s: float = 10.0,
    reference_limit_s: float = 20.0,
    workers: int = 2,
    command: str = "",
    say: Say = lambda text: None,
) -> Report:
    """Measure the cases on instances of seeds 1..runs. reference_limit_s 0 leaves the paper's way out."""
    machine, results, references = _machine(), [], []
    first = {mode: _first_solve_s(mode) for mode in sorted({case.mode for case in cases})}
    direct_sizes = {case.size for case in cases if case.group == "literal"}
    for case in cases:
        options = Options(mode=case.mode, gap=case.gap, time_limit_s=time_limit_s)
        for run, instance in _runs(case, options, range(1, runs + 1), workers):
            results.append(run)
            say(_told(run))
            # The direct model is literal; at the other sizes one instance shows why it cannot be had.
            once = case.group == "frames" and run.seed == 1 and case.size not in direct_sizes
            if reference_limit_s > 0 and (case.group == "literal" or once):
                for reference in _references(case, run, instance, reference_limit_s):
                    references.append(reference)
                    say(_told_reference(reference))
    limits = (time_limit_s, reference_limit_s)
    return Report(command, machine, *limits, tuple(cases), first, tuple(results), tuple(references))


def _runs(case: Case, options: Options, seeds: Iterable[int], workers: int) -> Iterator[tuple[Run, Instance]]:
    if case.group == "city":
        yield from _city_runs(case, options, seeds, workers)
        return
    for seed in seeds:
        began = time.perf_counter()
        instance = make_instance(case.devices, case.cells, case.rbs, 0.0, seed)
        made = time.perf_counter()
        solution = solve(instance, options)
        solved = time.perf_counter()
        failures = _failures(instance, solution)
        checked = time.perf_counter()
        parts = {"make": made - began, "solve": solved - made, "check": checked - solved}
        seconds = checked - began if case.group == "small" else parts["solve"]
        yield _run(case, seed, seconds, instance, [solution], failures, limits_s(instance, solution), parts), instance


def _city_runs(case: Case, options: Options, seeds: Iterable[int], workers: int) -> Iterator[tuple[Run, Instance]]:
    """Seconds: from the instance at hand to the last solution back, pickling both ways included."""
    began = time.perf_counter()
    with _pool(workers, options.mode) as pool:
        start_s = time.perf_counter() - began
        for seed in seeds:
            instance = make_instance(case.devices, case.cells, case.rbs, 0.0, seed)
            began = time.perf_counter()
            cells = split_cells(instance)
            solutions = list(pool.map(solve, cells, [options] * len(cells)))
            seconds = time.perf_counter() - began
            failures, limits = [], {}
            for cell, solution in zip(cells, solutions, strict=True):
                failures += _failures(cell, solution)
                for name, value in limits_s(cell, solution).items():
                    limits[name] = max((x for x in (limits.get(name), value) if x is not None), default=None)
            yield _run(case, seed, seconds, instance, solutions, failures, limits, {"process start": start_s}), instance


def split_cells(instance: Instance) -> list[Instance]:
    """One Instance for each cell that serves devices; only for cells that do not disturb each other."""
    cells = []
    for c in np.unique(instance.serving):
        own = instance.serving == c
        cells.append(
            replace(
                instance,
                gain=instance.gain[own, c : c + 1],
                serving=np.zeros(own.sum(), np.int64),
                data_bits=instance.data_bits[own],
                free=instance.free[c : c + 1],
                interference_w=instance.interference_w[c : c + 1],
            )
        )
    return cells


@contextmanager
def _pool(workers: int, mode: str) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, each of which has already solved once."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(ready, mode)) as pool:
        for _ in range(workers):
            pool.submit(os.getpid)  # a process starts with its first call
        ready.wait(timeout=300)
        yield pool


def _start_worker(ready, mode: str) -> None:
    threadpool_limits(1)  # numpy's, as OMP_NUM_THREADS=1 would: the cores are the other workers'
    _first_solve_s(mode)
    ready.wait(timeout=300)


def _first_solve_s(mode: str) -> float:
    began = time.perf_counter()
    solve(make_instance(4, 1, 10, 0.0, 0), Options(mode=mode, gap=1e-4))
    return time.perf_counter() - began


def _run(
    case: Case,
    seed: int,
    seconds: float,
    instance: Instance,
    solutions: list[Solution],
    failures: list[str],
    limits: dict[str, float | None],
    parts: dict[str, float],
) -> Run:
    """The largest objective and the largest bound of the cells' solutions are those of the whole."""
    return Run(
        case=case.name,
        seed=seed,
        seconds=seconds,
        status=_joined(s.status for s in solutions),
        objective_s=_largest([s.objective_s for s in solutions]),
        lower_bound_s=_largest([s.lower_bound_s for s in solutions]),
        bound=_joined(s.bound for s in solutions),
        solver=_joined(s.solver for s in solutions),
        refused=int(sum(s.to_zigbee.sum() for s in solutions)),
        failures=tuple(failures),
        limits_s=limits,
        parts_s=parts,
    )


def _largest(values: list[float | None]) -> float | None:
    return None if None in values else max(values, default=0.0)


def _joined(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _failures(instance: Instance, solution: Solution) -> list[str]:
    return [f"{f.constraint}: {f.detail}" for f in check(instance, solution) if not f.holds]


def _references(case: Case, run: Run, instance: Instance, limit_s: float) -> Iterator[Reference]:
    for solver in SOLVERS:
        for formulation in FORMULATIONS:
            found = solve_direct(instance, solver, formulation, limit_s, case.gap)
            objective = found.solution.objective_s if found.solution else None
            yield Reference(
                case=case.name,
                seed=run.seed,
                solver=solver,
                formulation=formulation,
                termination=found.termination,
                variables=found.variables,
                rows=found.rows,
                build_s=found.build_s,
                solve_s=found.solve_s,
                told_s=found.told_s,
                bound_s=found.bound_s,
                objective_s=objective,
                own_gap=found.own_gap,
                gap=objective / run.lower_bound_s - 1 if objective and run.lower_bound_s else None,
                time_ratio=(found.build_s + found.solve_s) / run.seconds if found.tried else None,
                failures=tuple(_failures(instance, found.solution)) if found.solution else (),
            )


def _machine() -> dict:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    packages = ("numpy", "scipy", "pyomo", "highspy", "gurobipy", "pyscipopt")
    return {
        "processor": model[0].partition(": ")[2] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    } | {name: version(name) for name in packages}


def _told(run: Run) -> str:
    checked = "FAILED the check" if run.failures else "checked"
    return f"{run.case}, seed {run.seed}: {run.seconds:.3g} s, gap {_one(run.gap, '%')}, {run.status}, {checked}"


def _told_reference(r: Reference) -> str:
    if r.time_ratio is None:
        return f"  Pyomo with {r.solver}, {r.formulation}: {r.termination}, {r.variables:,} variables, {r.rows:,} rows"
    seconds = f"{r.build_s:.2g} + {r.solve_s:.3g} s"
    return (
        f"  Pyomo with {r.solver}, {r.formulation}: {r.termination}, {seconds}, gap {_one(r.own_gap, '%')} by its word,"
        f" {_one(r.gap, '%')} over the certified bound"
    )


# --- Tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        text = "\n".join(f"| {' | '.join(row)} |" for row in lines)
        return f"### {self.title}\n\n{text}\n\n{self.note}\n"

    def rich(self) -> RichTable:
        table = RichTable(*self.header, title=self.title, caption=self.note, title_justify="left")
        for row in self.rows:
            table.add_row(*row)
        return table


def tables(report: Report) -> list[Table]:
    """What a reader wants to see of a report; times and gaps as median (smallest to largest)."""
    made = [_time_table(report), _limit_table(report)]
    return made + ([_reference_table(report)] if report.references else [])


def _of(report: Report, case: Case) -> list[Run]:
    return [run for run in report.runs if run.case == case.name]


def _time_table(report: Report) -> Table:
    rows = []
    for case in report.cases:
        runs = _of(report, case)
        passed = sum(not r.failures and r.objective_s is not None for r in runs)
        rows.append(
            (
                case.name,
                _spread([r.seconds for r in runs], "s"),
                _spread([r.gap for r in runs], "%"),
                _joined(r.bound for r in runs),
                _spread([r.objective_s for r in runs], "s"),
                _target(case, runs),
                f"{passed} of {len(runs)}" + ("" if passed == len(runs) else " FAILED"),
                str(sum(r.refused for r in runs)),
            )
        )
    header = ("case", "time", "certified gap", "bound", "largest delay", "target", "passed the check", "sent to Zigbee")
    return Table("Time and certified gap", header, tuple(rows), _parts(report))


def _parts(report: Report) -> str:
    """What the times of the city and of the small instances are made of."""
    notes = ["Time is that of `solve`, its own check included."]
    for case in report.cases:
        runs = _of(report, case)
        if case.group in ("city", "small"):
            parts = [
                f"{name} {_one(statistics.median(r.parts_s[name] for r in runs), 's')}" for name in runs[0].parts_s
            ]
            notes.append(f"{case.name}: {', '.join(parts)}" + (" (not in the time)." if case.group == "city" else "."))
    return " ".join(notes)


def _target(case: Case, runs: list[Run]) -> str:
    if case.target_s is None:
        return "none"
    met = statistics.median(r.seconds for r in runs) <= case.target_s
    wanted = _one(case.target_s, "s")
    if case.group in ("literal", "frames"):
        met &= statistics.median(math.inf if r.gap is None else r.gap for r in runs) <= case.gap
        wanted += f", {_one(case.gap, '%')}"
    return f"{wanted}: {'met' if met else 'missed'}"


def _limit_table(report: Report) -> Table:
    rows = []
    for case in report.cases:
        ratios = [_ratios(run) for run in _of(report, case)]
        rows.append((case.name, *(_spread([r[name] for r in ratios], "") for name in BOUNDS)))
    note = (
        "Single-user: the worst device alone on all RBs, its power water-filled. Pooled: all data at the sum of the "
        "RBs' best rates. Fluid, counting: of the certificate; the largest of what is proven is the certified bound."
    )
    return Table("Physical limits, as shares of the largest delay achieved", ("case", *BOUNDS), tuple(rows), note)


def _ratios(run: Run) -> dict[str, float | None]:
    values = run.limits_s | {"certified": run.lower_bound_s}
    return {k: v / run.objective_s if v is not None and run.objective_s else None for k, v in values.items()}


def _reference_table(report: Report) -> Table:
    groups: dict[tuple[str, str, str], list[Reference]] = {}
    for r in report.references:  # what was not tried is one line for all solvers
        of = r.termination if r.time_ratio is None else r.solver
        groups.setdefault((r.case, r.formulation, of), []).append(r)
    rows = []
    for (case, formulation, _), found in groups.items():
        counts = Counter(r.termination.replace("_", " ") for r in found)
        failed = sum(bool(r.failures) for r in found)
        at_least = "at least " if any(r.termination == "time_limit" for r in found) else ""
        tried = [r for r in found if r.time_ratio is not None]
        rows.append(
            (
                case,
                f"{', '.join(sorted({r.solver for r in found}))}, {formulation}",
                f"{max(r.variables for r in found):,} / {max(r.rows for r in found):,}",
                ", ".join(f"{word} {n}x" if tried else word for word, n in sorted(counts.items()))
                + (f", {failed} FAILED the check" if failed else ""),
                _spread([r.build_s + r.solve_s for r in tried], "s"),
                at_least + _spread([r.time_ratio for r in tried], "x"),
                _spread([r.own_gap for r in found], "%"),
                _spread([r.gap for r in found], "%"),
            )
        )
    header = (
        "case",
        "solver, model",
        "variables / rows",
        "ended",
        "time",
        "time over ours",
        "its own gap",
        "gap over our bound",
    )
    note = (
        f"Time limit {report.reference_limit_s:g} s. Literal mode with even power; models as in `optimizer.direct`. "
        f"Over licence: more than {GUROBI_FREE_SIZE:,} variables or rows, which Gurobi's free licence does not take. "
        "Too large: not built, Pyomo would take minutes. No literal solution: more devices than RBs, while "
        "literal mode gives each one of its own: there is no direct model at all."
    )
    return Table("The paper's way: one direct MILP through Pyomo", header, tuple(rows), note)


def _spread(values: Sequence[float | None], unit: str) -> str:
    """Median (smallest to largest) of the values there are, in "s", "%", "x" or shares of one ("")."""
    there = _there(values)
    if not there:
        return "none"
    middle = statistics.median(there)
    scale, form, unit = _form(middle, unit)
    text = f"{middle * scale:{form}}"
    if len(there) > 1:
        text += f" ({min(there) * scale:{form}} to {max(there) * scale:{form}})"
    return text + unit + (f", {len(there)} of {len(values)}" if len(there) < len(values) else "")


def _one(value: float | None, unit: str) -> str:
    return _spread([value], unit)


def _form(size: float, unit: str) -> tuple[float, str, str]:
    """Factor, number format and unit to write a value of this size."""
    if unit == "s":
        return (1000, ".3g", " ms") if size < 1 else (1, ".3g", " s")
    times = ",.0f" if size >= 100 else ".3g"
    return {"%": (100, ".2f", "%"), "x": (1, times, "x"), "": (1, ".4f", "")}[unit]


# --- Files ------------------------------------------------------------------------------------------------------------


def write(report: Report, directory: Path) -> None:
    """rrm.json, rrm.md and the three plots."""
    directory.mkdir(parents=True, exist_ok=True)
    document = asdict(report) | {"failures": report.failures}
    for run, row in zip(report.runs, document["runs"], strict=True):
        row["gap"] = run.gap
    (directory / "rrm.json").write_text(json.dumps(_finite(document), indent=1, allow_nan=False) + "\n", "utf-8")
    (directory / "rrm.md").write_text(markdown(report), "utf-8")
    plot(report, directory)


def _finite(value):
    """JSON has no infinity: None takes its place."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    first = ", ".join(f"{mode} {_one(value, 's')}" for mode, value in report.first_solve_s.items())
    seeds = max((run.seed for run in report.runs), default=0)
    parts = [
        f"`{report.command}`\n" if report.command else "",
        f"Seeds 1 to {seeds}; medians, with the smallest and largest in brackets. {machine}.",
        f"The first solve in a process, imports included, is not counted: {first}.\n",
        *(table.markdown() for table in tables(report)),
    ]
    if report.failures:
        parts.append("### FAILED\n\n" + "\n".join(f"- {text}" for text in report.failures) + "\n")
    return "\n".join(filter(None, parts))


def plot(report: Report, directory: Path) -> None:
    """rrm_time.svg, rrm_gap.svg, rrm_bounds.svg; the physical limits are in each."""
    import matplotlib  # half a second to import, in every worker process if it stood above

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "links", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    width = max(6.0, 1.3 * len(report.cases) + 2.5)
    figure, (above, below) = plt.subplots(2, 1, figsize=(width, 7.5), sharex=True, layout="constrained")
    _draw_times(above, report)
    _draw_limits(below, report)
    _save(plt, figure, report, below, directory / "rrm_time.svg")

    figure, axes = plt.subplots(figsize=(width, 5), layout="constrained")
    _draw_gaps(axes, report)
    _save(plt, figure, report, axes, directory / "rrm_gap.svg")

    figure, axes = plt.subplots(figsize=(width, 4.5), layout="constrained")
    _draw_limits(axes, report)
    _save(plt, figure, report, axes, directory / "rrm_bounds.svg")


def _save(plt, figure, report: Report, lowest, path: Path) -> None:
    labels = ["\n".join(textwrap.wrap(case.name, 14)) for case in report.cases]
    lowest.set_xticks(range(len(labels)), labels, fontsize=8)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


_MARKS = {"single-user": "v", "pooled": "s", "fluid": "D", "counting": "^", "certified": "o"}


def _draw_times(axes, report: Report) -> None:
    for at, case in enumerate(report.cases):
        _bar(axes, at, [r.seconds for r in _of(report, case)], "o", "C0", None if at else "this optimiser")
    targets = [(at, case.target_s) for at, case in enumerate(report.cases) if case.target_s is not None]
    if targets:
        axes.plot(*zip(*targets, strict=True), "k_", markersize=18, label="target")
    _draw_references(axes, report, "", lambda r: r.build_s + r.solve_s if r.time_ratio is not None else None)
    if report.references:
        axes.axhline(report.reference_limit_s, color="0.5", linestyle=":", label="time limit of Pyomo's solvers")
    axes.set_yscale("log")
    axes.set_ylabel("seconds")


def _draw_gaps(axes, report: Report) -> None:
    for name in LIMITS:
        _draw_bound(axes, report, name, lambda ratio: 100 * (1 / ratio - 1), f"over the {name} limit")
    for at, case in enumerate(report.cases):
        if gaps := _there(r.gap for r in _of(report, case)):
            _bar(axes, at, [100 * gap for gap in gaps], "o", "C0", None if at else "over the certified bound")
    _draw_references(axes, report, ": over the certified bound", lambda r: None if r.gap is None else 100 * r.gap)
    _draw_references(
        axes, report, ": its own gap", lambda r: None if r.own_gap is None else 100 * r.own_gap, mark="1", shift=0.05
    )
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylim(bottom=-0.002)
    axes.set_ylabel("largest delay above the bound, %")


def _draw_limits(axes, report: Report) -> None:
    axes.axhline(1, color="C0", label="achieved")
    for name in BOUNDS:
        _draw_bound(axes, report, name, lambda ratio: ratio, name)
    axes.set_ylim(0, 1.08)
    axes.set_ylabel("limit / largest delay achieved")


def _draw_bound(axes, report: Report, name: str, of_ratio: Callable[[float], float], label: str) -> None:
    """One of BOUNDS at each case, its median, as a function of bound / achieved."""
    ratios = [_there(_ratios(run)[name] for run in _of(report, case)) for case in report.cases]
    points = [(at, of_ratio(statistics.median(there))) for at, there in enumerate(ratios) if there]
    if points:
        color = "C0" if name == "certified" else "0.5"
        axes.plot(*zip(*points, strict=True), _MARKS[name], color=color, label=label)


def _draw_references(
    axes, report: Report, what: str, value: Callable[[Reference], float | None], mark: str = "x", shift: float = 0.0
) -> None:
    """Of each solver the formulation with more values, then the smaller median; a little to the right of its case."""
    for number, solver in enumerate(SOLVERS):
        label = f"Pyomo, {solver}{what}"
        for at, case in enumerate(report.cases):
            by_model = [
                _there(value(r) for r in report.references if (r.case, r.solver, r.formulation) == key)
                for key in ((case.name, solver, f) for f in FORMULATIONS)
            ]
            if found := [values for values in by_model if values]:
                best = min(found, key=lambda values: (-len(values), statistics.median(values)))
                _bar(axes, at + 0.15 * (number + 1) + shift, best, mark, f"C{number + 1}", label)
                label = None


def _bar(axes, at: float, values: list[float], mark: str, color: str, label: str | None) -> None:
    middle = statistics.median(values)
    spread = [[middle - min(values)], [max(values) - middle]]
    axes.errorbar([at], [middle], yerr=spread, fmt=mark, color=color, capsize=3, label=label)


def _there(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


# --- Command ----------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="links eval rrm", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for rrm.json, rrm.md and the plots")
    parser.add_argument("--sizes", choices=("quick", "full"), default="full")
    parser.add_argument("--only", choices=GROUPS, action="append", help="may be given more than once")
    parser.add_argument("--runs", type=int, default=5, help="instances of each size (seeds 1, 2, ...)")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds, of each solve")
    parser.add_argument(
        "--reference-limit", type=float, default=20.0, help="seconds, of each solver run the paper's way; 0: leave it"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes for the city")
    argv = list(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(argv)
    if options.runs < 1 or options.workers < 1:
        parser.error(f"--runs {options.runs}, --workers {options.workers}: both must be 1 or more")
    cases = [c for c in CASES if c.group in (options.only or GROUPS) and c.sizes in (options.sizes, "both")]
    errors = Console(stderr=True, highlight=False)
    report = benchmark(
        cases,
        options.runs,
        options.time_limit,
        options.reference_limit,
        options.workers,
        " ".join(["links eval rrm", *argv]),
        lambda text: errors.print(text, markup=False),
    )
    write(report, options.out)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables(report):
        console.print(table.rich())
    for text in report.failures:
        errors.print(f"FAILED: {text}", style="bold red", markup=False)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
