"""What a solve is asked for, and what the operator lets reflexion change."""

import math
from dataclasses import dataclass

from optimizer import program
from optimizer.frames import LONGEST

MODES = ("frames", "literal")


@dataclass(frozen=True)
class Options:
    """mode: "frames" (RBs are shared over the slots of a frame) or "literal" (each RB is one device's throughout).

    solver: "auto" and "highs" are HiGHS; "gurobi" and "scip" go through Pyomo (SCIP's bound of frames mode is HiGHS's);
    "heuristic" solves no program. frame: slots of the frame; None: as long as rounding needs. gap: relative, at which
    to stop.

    What the answer must meet besides the instance: max_delay_s, the largest delay allowed; parallel_cap, the most RBs
    that a device may use in a slot.

    What may be changed where something can't hold, in the order in which it is tried: longest_delay_s, up to which
    max_delay_s may be raised; longest_frame, slots up to which the frame may be lengthened in frames mode (None:
    ``frame`` where that is given, else 2,000); admission: devices that can't be served go to Zigbee; and, used only
    without admission, which always helps: spare_rbs, RBs of a cell held by its conventional users that it may take
    from them; sinr_waiver_db, by how much sinr_min may be waived. Where RBs are taken or sinr_min is waived the
    solution holds for the changed instance (``actions.solved_instance``), and its log says so.
    """

    mode: str = "frames"
    solver: str = "auto"
    frame: int | None = None
    gap: float = 0.01
    time_limit_s: float = 10.0
    admission: bool = True
    max_delay_s: float | None = None
    parallel_cap: int | None = None
    longest_delay_s: float = math.inf
    longest_frame: int | None = None
    spare_rbs: int = 0
    sinr_waiver_db: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode: {self.mode!r} is unknown; choose {' or '.join(MODES)}")
        if self.solver not in (*program.SOLVERS, "heuristic"):
            raise ValueError(f"solver: {self.solver!r} is unknown; choose {', '.join(program.SOLVERS)} or heuristic")
        _whole("frame", self.frame, 1, "slots")
        _whole("longest_frame", self.longest_frame, self.frame or 1, "slots")
        _whole("parallel_cap", self.parallel_cap, 1, "RBs")
        _whole("spare_rbs", self.spare_rbs, 0, "RBs")
        for name in ("frame", "longest_frame"):
            if self.mode == "literal" and getattr(self, name) not in (None, 1):
                raise ValueError(f"{name}: {getattr(self, name)} slots are for mode 'frames'; mode 'literal' has one")
        if not (self.gap > 0 and math.isfinite(self.gap)):
            raise ValueError(f"gap: {self.gap} must be above 0")
        if not self.time_limit_s > 0:
            raise ValueError(f"time_limit_s: {self.time_limit_s} must be above 0")
        if self.max_delay_s is not None and not (self.max_delay_s > 0 and math.isfinite(self.max_delay_s)):
            raise ValueError(f"max_delay_s: {self.max_delay_s} must be above 0 and finite")
        if not self.longest_delay_s >= (self.max_delay_s or 0):
            raise ValueError(f"longest_delay_s: {self.longest_delay_s} must be max_delay_s or more")
        if not (self.sinr_waiver_db >= 0 and math.isfinite(self.sinr_waiver_db)):
            raise ValueError(f"sinr_waiver_db: {self.sinr_waiver_db} must be 0 or more")

    @property
    def frame_limit(self) -> int:
        """Slots of the longest frame allowed."""
        return 1 if self.mode == "literal" else self.longest_frame or self.frame or LONGEST

    @property
    def working_s(self) -> float:
        """Seconds in which further steps may begin: the time limit but for the last step, which can't be cut short."""
        return 0.95 * self.time_limit_s


def _whole(name: str, value: int | None, least: int, unit: str) -> None:
    if value is not None and not (isinstance(value, int) and value >= least):
        raise ValueError(f"{name}: {value} must be a whole number of {unit}, {least} or more")
