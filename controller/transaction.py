"""Changes of several switches at once: all or nothing.

Every stage (``entries.stages``) is prepared on all switches, and committed once all of them have taken note of it. When
one refuses or is lost, all others go back to what they held, and the outcome tells which item of which switch it was.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import eventlet

from controller.entries import Changes, FlowError, SwitchTable, difference, stages
from controller.pipeline import check
from controller.switch import Prepared, Refused, Switch, SwitchLost

_NAMED = 3  # errors told per switch


@dataclass
class Outcome:
    """Of one switch. ``error`` "": it holds what it should. ``rolled_back`` "": it holds what it held before the
    transaction, or never held anything else; otherwise why it may not."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    seconds: float = 0.0
    error: str = ""
    rolled_back: str = ""


@dataclass
class _Part:
    """One switch's part in a transaction."""

    switch: Switch
    wanted: SwitchTable
    outcome: Outcome = field(default_factory=Outcome)
    before: SwitchTable | None = None
    stages: tuple[Changes, ...] = ()
    prepared: Prepared | None = None
    touched: bool = False

    def plan(self) -> None:
        if self.switch.holds is None:
            self.switch.read()
        self.before = self.switch.holds
        wanted = self.wanted if self.switch.meters else self.wanted.without_meters()
        changes = difference(self.before, wanted)
        check(self.switch.id, self.wanted, None if wanted is not self.wanted else (*changes.add, *changes.modify))
        self.outcome.added, self.outcome.modified, self.outcome.deleted = map(
            len, (changes.add, changes.modify, changes.delete)
        )
        self.stages = stages(changes)

    def prepare(self, stage: int) -> None:
        self.prepared = self.switch.prepare(self.stages[stage]) if self.stages[stage] else None

    def commit(self) -> None:
        if self.prepared is not None:
            self.touched, prepared, self.prepared = True, self.prepared, None
            self.switch.commit(prepared)

    def discard(self) -> None:
        if self.prepared is not None:
            prepared, self.prepared = self.prepared, None
            self.switch.discard(prepared)

    def roll_back(self) -> None:
        """Back to what it held, as far as it was changed. A switch that was lost starts anew when it returns."""
        if not self.touched:
            return
        try:
            if self.switch.holds is None:
                self.switch.read()
            for changes in filter(None, stages(difference(self.switch.holds, self.before))):
                self.switch.commit(self.switch.prepare(changes))
        except (Refused, SwitchLost, FlowError) as error:
            self.outcome.rolled_back = str(error)


def transact(
    switches: Iterable[Switch], table_of: Callable[[Switch], SwitchTable], on_success: Callable[[], None] = lambda: None
) -> dict[int, Outcome]:
    """Have every switch hold its table, or none; the outcome by datapath id. Blocks the calling greenlet.

    ``table_of`` is asked once nobody else changes these switches, and ``on_success`` is called while it is still so:
    what is wanted can't have become old in between.
    """
    switches, started = list(switches), time.monotonic()
    with _changing(sorted(switches, key=lambda switch: switch.id)):
        parts = [_Part(switch, table_of(switch)) for switch in switches]
        if _carry_out(parts):
            on_success()
        else:
            _at_once(_Part.discard, parts)
            _at_once(_Part.roll_back, parts)
    for part in parts:
        part.outcome.seconds = time.monotonic() - started
    return {part.switch.id: part.outcome for part in parts}


def _carry_out(parts: list[_Part]) -> bool:
    """False: something failed, as the outcomes tell."""
    if not _at_once(_Part.plan, parts):
        return False
    for stage in range(3):
        concerned = [part for part in parts if part.stages[stage]]
        if not _at_once(lambda part, stage=stage: part.prepare(stage), concerned):
            return False
        if not _at_once(_Part.commit, concerned):
            return False
    return True


def _at_once(step: Callable[[_Part], None], parts: list[_Part]) -> bool:
    """Take a step on all switches at the same time; False: it failed somewhere."""
    return all([thread.wait() for thread in [eventlet.spawn(_told, step, part) for part in parts]])


def _told(step: Callable[[_Part], None], part: _Part) -> bool:
    try:
        step(part)
    except Refused as refused:
        more = len(refused.errors) - _NAMED
        part.outcome.error = "; ".join(refused.errors[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
    except (SwitchLost, FlowError) as error:
        part.outcome.error = str(error)
    return not part.outcome.error


@contextmanager
def _changing(switches: Iterable[Switch]) -> Iterator[None]:
    """Nobody else changes these switches meanwhile. They come in the order of their numbers, so that two transactions
    never wait for each other."""
    held: list[Switch] = []
    try:
        for switch in switches:
            switch.changing.acquire()
            held.append(switch)
        yield
    finally:
        for switch in held:
            switch.changing.release()
