"""What a switch holds of ours, as plain data: flow entries, fast-failover groups and meters, and their difference.

Names are OpenFlow 1.3's. Nothing here knows a network, a message format or Ryu.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

# The cookie of an entry says that it is ours (high 40 bits, "LINKS" in ASCII) and what it is for (low 24 bits).
COOKIE = int.from_bytes(b"LINKS", "big") << 24
COOKIE_MASK = 0xFFFF_FFFF_FF00_0000
# Groups and meters carry no cookie: ours are those with these high bits. Open vSwitch takes meters up to 262,144.
GROUPS, GROUPS_MASK = 0x4C00_0000, 0xFF00_0000
METERS, METERS_MASK = 0x0003_0000, 0xFFFF_0000


class FlowError(ValueError):
    """Routes or flow entries that cannot be used; the message names the thing, the value and what would be right."""


class Kind(IntEnum):
    """What an entry is for; the low bits of its cookie."""

    DROP = 1  # what no other entry of the table wants; its counters count what was dropped
    ADMIT = 2  # a packet from where it must come from
    ARP = 3  # answers an ARP request
    ROUTE = 4  # the chosen path of a sensor
    DELIVER = 5  # to the sensor or to the twin
    PATH = 6  # on the core: what came from one sensor by one path, its counters are that path's bytes
    RELAY = 7  # base station and coordinator: pass on
    REROUTED = 8  # a packet that was sent back before a dead link: on by the other path, and not back again


@dataclass(frozen=True, slots=True)
class Match:
    """Fields of an OpenFlow 1.3 match under their OXM names; 0 and "" are wildcards.

    ``other`` holds fields that LINKs never writes, as (name, value) pairs in the switch's order, so that an entry that
    carries our cookie but came from elsewhere can still be named and deleted.
    """

    in_port: int = 0
    eth_type: int = 0
    eth_src: str = ""
    eth_dst: str = ""
    ip_dscp: int = 0
    ipv4_src: str = ""
    ipv4_dst: str = ""
    arp_op: int = 0
    arp_spa: str = ""
    arp_tpa: str = ""
    arp_sha: str = ""
    other: tuple[tuple[str, object], ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that are not wildcards."""
        return tuple(name for name in MATCH_FIELDS if getattr(self, name)) + tuple(name for name, _ in self.other)

    def __str__(self) -> str:
        fields = [f"{name}={getattr(self, name)}" for name in MATCH_FIELDS if getattr(self, name)]
        return ",".join(fields + [f"{name}={value}" for name, value in self.other]) or "any"


MATCH_FIELDS = tuple(name for name in Match.__slots__ if name != "other")


@dataclass(frozen=True, slots=True)
class Output:
    """Send out of an OpenFlow port."""

    port: int

    def __str__(self) -> str:
        return f"output {self.port}"


@dataclass(frozen=True, slots=True)
class ArpReply:
    """Turn an ARP request for ``ipv4`` into the reply that names ``mac``, and send it back where it came from."""

    mac: str
    ipv4: str

    def __str__(self) -> str:
        return f"arp reply {self.ipv4} is at {self.mac}"


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand over to a group."""

    group_id: int

    def __str__(self) -> str:
        return f"group {self.group_id:#x}"


@dataclass(frozen=True, slots=True)
class SendBack:
    """Set the packet's DSCP to ``dscp`` and send it back where it came from."""

    dscp: int

    def __str__(self) -> str:
        return f"send back with dscp {self.dscp}"


@dataclass(frozen=True, slots=True)
class Other:
    """Something that a switch reports and LINKs never writes, as text."""

    text: str

    def __str__(self) -> str:
        return self.text


Action = Output | ArpReply | ToGroup | SendBack | Other


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One flow entry. No actions and no goto: drop. ``goto_table`` 0 and ``meter_id`` 0: none; times in seconds, 0:
    never. LINKs writes neither times nor flags, but an entry that has them is not the one that is wanted."""

    table_id: int
    priority: int
    cookie: int
    match: Match
    actions: tuple[Action, ...] = ()
    goto_table: int = 0
    meter_id: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0

    @property
    def slot(self) -> tuple:
        """A switch holds at most one entry of the same slot."""
        return "flow", self.table_id, self.priority, self.match

    @property
    def kind(self) -> int:
        """A ``Kind``, unless the entry is not ours."""
        return self.cookie & ~COOKIE_MASK

    @property
    def is_ours(self) -> bool:
        return self.cookie & COOKIE_MASK == COOKIE

    def __str__(self) -> str:
        does = [f"meter {self.meter_id:#x}"] if self.meter_id else []
        does += [str(action) for action in self.actions] + ([f"goto {self.goto_table}"] if self.goto_table else [])
        extras = {name: getattr(self, name) for name in ("idle_timeout", "hard_timeout", "flags")}
        told = "".join(f" {name} {value}" for name, value in extras.items() if value)
        return f"table {self.table_id} priority {self.priority}{told} {self.match} -> {', '.join(does) or 'drop'}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """One way out of a fast-failover group, alive as long as ``watch_port`` is."""

    watch_port: int
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of type fast failover (OpenFlow 1.3.5, section 5.6.1): its first live bucket counts. ``other``: what a
    switch reports and LINKs never writes, such as another type."""

    group_id: int
    buckets: tuple[Bucket, ...]
    other: str = ""

    @property
    def slot(self) -> tuple:
        return "group", self.group_id

    @property
    def is_ours(self) -> bool:
        return self.group_id & GROUPS_MASK == GROUPS

    @property
    def next_groups(self) -> set[int]:
        """The groups that it hands over to."""
        return {one.group_id for bucket in self.buckets for one in bucket.actions if isinstance(one, ToGroup)}

    def __str__(self) -> str:
        ways = [f"port {one.watch_port} up: {', '.join(map(str, one.actions)) or 'drop'}" for one in self.buckets]
        return f"group {self.group_id:#x}{self.other and ' ' + self.other} {'; '.join(ways) or 'empty'}"


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter with one band that drops what exceeds ``rate_kbps``, kbit/s, beyond ``burst_kbits``, kbit."""

    meter_id: int
    rate_kbps: int
    burst_kbits: int
    other: str = ""

    @property
    def slot(self) -> tuple:
        return "meter", self.meter_id

    @property
    def is_ours(self) -> bool:
        return self.meter_id & METERS_MASK == METERS

    def __str__(self) -> str:
        return f"meter {self.meter_id:#x}{self.other and ' ' + self.other} {self.rate_kbps} kbit/s"


Item = FlowEntry | Group | Meter


@dataclass(frozen=True, slots=True)
class SwitchTable:
    """Everything of ours that one switch holds, or should."""

    entries: tuple[FlowEntry, ...] = ()
    groups: tuple[Group, ...] = ()
    meters: tuple[Meter, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """All, in an order in which nothing stands before what it needs."""
        return *self.meters, *_needed_first(self.groups), *self.entries

    @classmethod
    def of(cls, items: Iterable[Item]) -> "SwitchTable":
        """The table with these items."""
        kinds: dict[type, list] = {FlowEntry: [], Group: [], Meter: []}
        for item in items:
            kinds[type(item)].append(item)
        return cls(*map(tuple, kinds.values()))

    def without_meters(self) -> "SwitchTable":
        """For a switch that has none."""
        return SwitchTable(tuple(replace(entry, meter_id=0) for entry in self.entries), self.groups)

    def __len__(self) -> int:
        return len(self.entries) + len(self.groups) + len(self.meters)


def _needed_first(groups: Sequence[Group]) -> Iterable[Group]:
    """The groups, those that hand over to none of the others first."""
    left = {group.group_id: group for group in groups}
    while left:
        ready = [group for group in left.values() if not group.next_groups & left.keys()]
        if not ready:
            raise FlowError(
                f"groups {', '.join(f'{number:#x}' for number in left)} hand over to each other in a circle"
            )
        for group in ready:
            del left[group.group_id]
        yield from ready


def cookie(kind: Kind) -> int:
    """The cookie of our entries of that kind."""
    return COOKIE | kind


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes the present items the wanted ones, to be carried out add, modify, delete, each in its order.
    ``modify`` holds the new items of slots already taken by us."""

    add: tuple[Item, ...]
    modify: tuple[Item, ...]
    delete: tuple[Item, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.modify or self.delete)


def difference(present: SwitchTable, wanted: SwitchTable) -> Changes:
    """The smallest change from ``present`` to ``wanted``.

    Everything about an item is compared. Items in ``present`` that are not ours are left alone. Raises FlowError when
    ``wanted`` holds an item that is not ours, two of one slot, or groups in a circle.
    """
    target: dict[tuple, Item] = {}
    for item in wanted.items:
        if not item.is_ours:
            raise FlowError(f"{item}: not ours by its {_mark(item)}")
        if target.setdefault(item.slot, item) is not item:
            raise FlowError(f"{item}: a second one with the same {_mark_of_slot(item)}")
    mine = {item.slot: item for item in present.items if item.is_ours}
    return Changes(
        tuple(item for slot, item in target.items() if slot not in mine),
        tuple(item for slot, item in target.items() if slot in mine and mine[slot] != item),
        tuple(item for slot, item in reversed(mine.items()) if slot not in target),
    )


def _mark(item: Item) -> str:
    match item:
        case FlowEntry():
            return f"cookie {item.cookie:#x}, which must start with {COOKIE >> 24:#x}"
        case Group():
            return f"number, which must be {GROUPS:#x} to {GROUPS | ~GROUPS_MASK & 0xFFFF_FFFF:#x}"
    return f"number, which must be {METERS:#x} to {METERS | ~METERS_MASK & 0xFFFF_FFFF:#x}"


def _mark_of_slot(item: Item) -> str:
    return "table, priority and match" if isinstance(item, FlowEntry) else "number"


def stages(changes: Changes) -> tuple[Changes, Changes, Changes]:
    """The changes in the order in which all switches of a city carry them out, one stage after the other, so that no
    packet is ever without a way: make the new ways, turn the routes to them, take the old ways down."""

    def is_route(item: Item) -> bool:
        return isinstance(item, FlowEntry) and item.kind == Kind.ROUTE

    def pick(items: Iterable[Item], routes: bool) -> tuple[Item, ...]:
        return tuple(item for item in items if is_route(item) is routes)

    return (
        Changes(pick(changes.add, False), pick(changes.modify, False), ()),
        Changes(pick(changes.add, True), pick(changes.modify, True), pick(changes.delete, True)),
        Changes((), (), pick(changes.delete, False)),
    )
