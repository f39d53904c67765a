"""Solve an Instance: cell by cell, checked, and with what reflexion changes where constraints can't hold."""

import time
from dataclasses import replace

from optimizer.check import check
from optimizer.instance import Instance, Solution
from optimizer.options import MODES, Options
from optimizer.reflexion import reflect

__all__ = ["DEFAULT", "MODES", "Options", "solve"]

DEFAULT = Options()


def solve(instance: Instance, options: Options = DEFAULT, warm: Solution | None = None) -> Solution:
    """The least largest delay, with what proves how good it is (``Solution.certificate``).

    A pure function of plain data but for the time limit. Devices without data hold no RB and have delay 0. ``warm``:
    the solution of an instance that was much the same, with the same devices, cells and RBs; it saves time where it
    still reaches the gap. What was changed on the way is in ``Solution.reflexion``; where that includes RBs taken from
    conventional users or a waiver of sinr_min, which only the options can allow, the solution holds for
    ``actions.solved_instance``. Raises SolverError.
    """
    began = time.monotonic()

    def seconds_left() -> float:
        return options.working_s - (time.monotonic() - began)

    solution = reflect(instance, options, seconds_left, warm, check)
    return replace(solution, seconds=time.monotonic() - began)
