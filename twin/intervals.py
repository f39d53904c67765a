"""Half-open intervals [start_s, end_s) of whole seconds, pure functions.

Every result is normal: sorted, not empty, neither overlapping nor touching.
"""

from collections.abc import Iterable

Interval = tuple[int, int]


def normalise(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same seconds as a normal set; empty intervals vanish. Raises ValueError for a reversed one."""
    result: list[Interval] = []
    for start, end in sorted(intervals):
        if start > end:
            raise ValueError(f"interval [{start}, {end}) is reversed; the start comes first")
        if start == end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return tuple(result)


def union(a: Iterable[Interval], b: Iterable[Interval]) -> tuple[Interval, ...]:
    """Seconds in either."""
    return normalise((*a, *b))


def subtract(a: Iterable[Interval], b: Iterable[Interval]) -> tuple[Interval, ...]:
    """Seconds in ``a`` and not in ``b``."""
    holes, result, first = normalise(b), [], 0
    for start, end in normalise(a):
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        at = first
        while at < len(holes) and holes[at][0] < end:
            if start < holes[at][0]:
                result.append((start, holes[at][0]))
            start = min(end, holes[at][1])
            at += 1
        if start < end:
            result.append((start, end))
    return tuple(result)


def intersect(a: Iterable[Interval], b: Iterable[Interval]) -> tuple[Interval, ...]:
    """Seconds in both."""
    a = normalise(a)
    return subtract(a, subtract(a, b))


def length_s(intervals: Iterable[Interval]) -> int:
    """Seconds covered, each counted once."""
    return sum(end - start for start, end in normalise(intervals))
