"""The data plan: which sensor types, where and when a question needs (the output of data planning)."""

from dataclasses import dataclass, field
from datetime import datetime

MAX_QUESTION_CHARS = 2000


@dataclass(frozen=True)
class Area:
    """Where. ``kind`` is "city", "district", "circle" (lon, lat, radius_m) or "polygon" (ring of lon, lat)."""

    kind: str
    name: str = ""
    lon: float | None = None
    lat: float | None = None
    radius_m: float | None = None
    ring: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class PlanItem:
    """One sensor type in one area over one half-open, absolute window, with the reason in one sentence."""

    type: str
    area: Area
    start: datetime
    end: datetime
    why: str


@dataclass(frozen=True)
class DataPlan:
    """The plan. ``answerable`` False goes with a reason and no items.

    ``seconds``, the time that planning took, does not count when plans are compared.
    """

    query: str
    answerable: bool
    reason: str
    items: tuple[PlanItem, ...]
    sensors: tuple[str, ...]
    planner: str
    model: str = ""
    steps: int = 0
    tokens: int = 0
    seconds: float = field(default=0.0, compare=False)


def check_question(question: str) -> None:
    """Raises ValueError for a question that is longer than any planner takes."""
    if len(question) > MAX_QUESTION_CHARS:
        raise ValueError(
            f"the question has {len(question)} characters; the limit is {MAX_QUESTION_CHARS}: ask it in fewer words"
        )
