import dataclasses
import json

import numpy as np
import pytest
import small_rrm as rrm
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import rrm as benchmark
from evaluation.rrm import Case, limits_s, pooled_delay_s, single_user_delays_s, split_cells
from optimizer.make_instance import make_instance
from optimizer.solve import Options, solve

LITERAL = Case("literal", "literal", 3, 1, 6, sizes="both")


def test_single_user_limit_by_hand():
    gains = np.array([[4.0, 1.0], [4.0, 1.0], [0.0, 0.0], [0.0, 3.0]])
    delays = single_user_delays_s(gains, np.array([1e6, 2e6, 1e6, 1e6]), 1.0, 1e6)
    both = np.log2(4.5) + np.log2(1.125)  # water level (1 + 1/4 + 1) / 2 = 1.125
    np.testing.assert_allclose(delays, [1 / both, 2 / both, np.inf, 1 / 2])
    one = single_user_delays_s(gains[:1], np.array([1e6]), 0.5, 1e6)  # too little power for the weaker RB
    np.testing.assert_allclose(one, 1 / np.log2(3))


@given(seed=st.integers(0, 2**32 - 1), rbs=st.integers(1, 8), power_w=st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_no_split_of_the_power_beats_the_single_user_limit(seed, rbs, power_w):
    rng = np.random.default_rng(seed)
    gain = 10 ** rng.uniform(-3, 3, rbs)
    limit = single_user_delays_s(gain[None], np.array([1.0]), power_w, 1.0)[0]
    shares = rng.dirichlet(np.full(rbs, 0.5), 200)
    assert limit <= (1 / np.log2(1 + gain * power_w * shares).sum(axis=1)).min() * (1 + 1e-9)


def test_pooled_limit_by_hand():
    assert pooled_delay_s(np.array([[3.0, 0.0], [1.0, 15.0]]), np.array([1e6, 5e6]), 1.0, 1e6) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_every_limit_is_below_the_true_optimum(seed):
    instance = rrm.random_instance(seed, 3, 6)
    best = rrm.brute_force_s(instance)
    limits = limits_s(instance, solve(instance, Options(mode="literal", gap=1e-4)))
    assert tuple(limits) == benchmark.LIMITS
    assert all(0 < limit <= best * (1 + 1e-9) for limit in limits.values() if limit is not None)
    assert limits["single-user"] and limits["pooled"]


def test_limits_leave_out_who_is_refused():
    instance = rrm.make_instance([[10.0, 9.0], [1e-9, 1e-9]], [1e6, 1e6])
    solution = solve(instance, Options(mode="literal"))
    assert solution.to_zigbee.tolist() == [False, True]
    assert limits_s(instance, solution)["single-user"] <= solution.objective_s


def test_split_cells_keeps_every_device_and_its_radio():
    whole = make_instance(30, 3, 8, 0.2, 1)
    cells = split_cells(whole)
    assert sum(cell.shape[0] for cell in cells) == 30
    assert sum(cell.data_bits.sum() for cell in cells) == pytest.approx(whole.data_bits.sum())
    together = np.concatenate([cell.snr_per_w() for cell in cells])
    order = np.argsort(whole.serving, kind="stable")
    np.testing.assert_array_equal(together, whole.snr_per_w()[order])
    np.testing.assert_array_equal(np.concatenate([cell.free for cell in cells]), whole.free)
    assert len({free.tobytes() for free in whole.free}) > 1  # cells differ, so a mix-up would show


@pytest.fixture(scope="module")
def report():
    cases = (
        LITERAL,
        Case("frames", "literal", 8, 1, 5, target_s=60.0),  # more devices than RBs
        Case("city", "literal", 12, 2, 10),
        Case("small", "literal", 4, 1, 8),
    )
    return benchmark.benchmark(cases, runs=2, time_limit_s=5.0, reference_limit_s=5.0, workers=2)


def test_runs_are_complete_and_ordered(report):
    assert [(run.case, run.seed) for run in report.runs] == [(c.name, seed) for c in report.cases for seed in (1, 2)]
    assert not report.failures
    for run in report.runs:
        limits = [limit for limit in run.limits_s.values() if limit is not None]
        assert run.seconds > 0 and max(limits) <= run.objective_s * (1 + 1e-9)
        assert run.lower_bound_s <= run.objective_s * (1 + 1e-9)
        assert run.gap == pytest.approx(run.objective_s / run.lower_bound_s - 1)
    small = [run for run in report.runs if run.case.endswith("end to end")]
    assert all(run.seconds == pytest.approx(sum(run.parts_s.values())) for run in small)
    assert [run.refused for run in report.runs if "8x5" in run.case] == [3, 3]


def test_the_papers_way_stands_beside(report):
    literal = [r for r in report.references if r.case == LITERAL.name]
    assert {(r.seed, r.solver, r.formulation) for r in literal} == {
        (seed, solver, model) for seed in (1, 2) for solver in benchmark.SOLVERS for model in benchmark.FORMULATIONS
    }
    runs = {run.seed: run for run in report.runs if run.case == LITERAL.name}
    for r in literal:
        assert r.termination == "optimal" and not r.failures
        assert r.gap == pytest.approx(r.objective_s / runs[r.seed].lower_bound_s - 1)
        assert r.time_ratio == pytest.approx((r.build_s + r.solve_s) / runs[r.seed].seconds)
        assert r.objective_s >= runs[r.seed].lower_bound_s * (1 - 1e-6)
    crowded = [r for r in report.references if "8x5" in r.case]
    assert {r.termination for r in crowded} == {"no_literal_solution"} and {r.seed for r in crowded} == {1}
    assert all(r.time_ratio is None and r.objective_s is None for r in crowded)


def test_files(report, tmp_path):
    benchmark.write(report, tmp_path)
    document = json.loads((tmp_path / "rrm.json").read_text())
    assert len(document["runs"]) == 8 and document["failures"] == []
    assert document["runs"][0]["gap"] == pytest.approx(report.runs[0].gap)
    text = (tmp_path / "rrm.md").read_text()
    assert all(case.name in text for case in report.cases)
    assert "no literal solution" in text and "60 s, 1.00%: met" in text and "FAILED" not in text
    for name in ("rrm_time.svg", "rrm_gap.svg", "rrm_bounds.svg"):
        drawing = (tmp_path / name).read_text()
        assert "single-user" in drawing and "pooled" in drawing


def test_a_failed_check_surfaces(monkeypatch, tmp_path, capsys):
    def liar(instance, options):
        honest = solve(instance, options)
        return dataclasses.replace(honest, objective_s=honest.objective_s * 0.5)

    monkeypatch.setattr(benchmark, "solve", liar)
    monkeypatch.setattr(benchmark, "CASES", (LITERAL,))
    assert benchmark.main(["--out", str(tmp_path), "--runs", "1", "--reference-limit", "0"]) == 1
    assert "FAILED" in capsys.readouterr().err
    assert "0 of 1 FAILED" in (tmp_path / "rrm.md").read_text()
    failures = json.loads((tmp_path / "rrm.json").read_text())["failures"]
    assert any(failure.startswith("literal 3x6, seed 1: objective") for failure in failures)


def test_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "CASES", (LITERAL, Case("small", "literal", 3, 1, 6)))
    command = ["--out", str(tmp_path), "--sizes", "quick", "--only", "literal", "--runs", "1", "--reference-limit", "0"]
    assert benchmark.main(command) == 0
    out, err = capsys.readouterr()
    assert "Time and certified gap" in out and "literal 3x6" in out and "paper's way" not in out
    assert "literal 3x6, seed 1" in err and "end to end" not in out
    assert "--sizes quick --only literal" in (tmp_path / "rrm.md").read_text()
    with pytest.raises(SystemExit):
        benchmark.main(["--out", str(tmp_path), "--runs", "0"])
