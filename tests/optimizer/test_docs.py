"""The certificate check printed in docs/optimizer.md works as it stands."""

import re
from pathlib import Path

import pytest

from optimizer.instance import save_instance, save_solution
from optimizer.make_instance import make_instance
from optimizer.solve import Options, solve

DOCS = Path(__file__).parents[2] / "docs" / "optimizer.md"


@pytest.mark.parametrize("mode", ["frames", "literal"])
def test_certificate_snippet(tmp_path, monkeypatch, capsys, mode):
    instance = make_instance(24, 2, 20, 0.2, 3)
    solution = solve(instance, Options(mode=mode))
    save_instance(instance, tmp_path / "big.npz")
    save_solution(solution, tmp_path / "solution")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    exec(compile(code, str(DOCS), "exec"), {})
    told = float(re.search(r"than ([0-9.e-]+) s", capsys.readouterr().out)[1])
    assert told == pytest.approx(solution.certificate["fluid_bound_s"], rel=1e-9)
    assert told <= solution.objective_s
