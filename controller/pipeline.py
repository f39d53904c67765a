"""The pipeline: which tables a switch of each role has, and what each may match, do and go to.

Every table that is sent to a switch is checked against this first (``check``); what is not declared here is never sent.
``links pipeline`` prints it.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.entries import (
    Action,
    ArpReply,
    FlowEntry,
    FlowError,
    Group,
    Item,
    Kind,
    Match,
    Meter,
    Other,
    Output,
    SendBack,
    SwitchTable,
    ToGroup,
)
from twin.wiring import role_of

ETH_IPV4, ETH_ARP = 0x0800, 0x0806
DROP_PRIORITY, PRIORITY, REROUTED_PRIORITY = 0, 100, 200
# Marks a packet that was sent back before a dead link, so that it is not sent back twice. Of the code points for local
# use (RFC 2474, section 6, pool 2).
REROUTED_DSCP = 0b000011

# Port numbers from here on are OpenFlow's reserved ports (OFPP_MAX; FLOOD and CONTROLLER are among them).
RESERVED_PORTS = 0xFFFF_FF00

_IP, _ARP = frozenset({"eth_type"}), frozenset({"eth_type", "arp_op", "arp_spa", "arp_sha", "arp_tpa"})


@dataclass(frozen=True)
class Rule:
    """Entries of one kind in one table: exactly these match fields, exactly these kinds of action in this order."""

    kind: Kind
    match: frozenset[str]
    does: tuple[type, ...] = ()
    goto: int = 0
    priority: int = PRIORITY
    metered: bool = False

    def __str__(self) -> str:
        does = ["meter"] * self.metered + [one.__name__ for one in self.does] + [f"goto {self.goto}"] * bool(self.goto)
        matches = ", ".join(sorted(self.match)) or "any"
        return f"{self.kind.name:<8} priority {self.priority:<3} {matches} -> {', '.join(does) or 'drop'}"


@dataclass(frozen=True)
class Table:
    """One table of a pipeline."""

    name: str
    rules: tuple[Rule, ...]


def _ip(*fields: str) -> frozenset[str]:
    return _IP | set(fields)


_DROP = Rule(Kind.DROP, frozenset(), priority=DROP_PRIORITY)
_ANSWER_ARP = Rule(Kind.ARP, _ARP | {"in_port", "eth_src"}, (ArpReply,))
_TO_TWIN, _FROM_TWIN = _ip("in_port", "ipv4_dst"), _ip("in_port", "ipv4_src")

_RELAYS = (
    _DROP,
    Rule(Kind.RELAY, _TO_TWIN, (ToGroup,)),
    Rule(Kind.RELAY, _FROM_TWIN, (ToGroup,)),
    Rule(Kind.REROUTED, _TO_TWIN | {"ip_dscp"}, (Output,), priority=REROUTED_PRIORITY),
    Rule(Kind.REROUTED, _FROM_TWIN | {"ip_dscp"}, (Output,), priority=REROUTED_PRIORITY),
)

PIPELINE: dict[str, tuple[Table, ...]] = {
    "gateway": (
        Table(
            "admission",
            (
                _DROP,
                Rule(Kind.ADMIT, _ip("in_port", "eth_src", "ipv4_src", "ipv4_dst"), goto=1, metered=True),  # a sensor's
                Rule(Kind.ADMIT, _ip("in_port", "ipv4_src", "ipv4_dst"), goto=2),  # the twin's
                Rule(Kind.REROUTED, _TO_TWIN | {"ip_dscp"}, (Output,)),
                _ANSWER_ARP,
            ),
        ),
        Table("routing", (_DROP, Rule(Kind.ROUTE, _ip("ipv4_src"), (ToGroup,)))),
        Table("output", (_DROP, Rule(Kind.DELIVER, _ip("ipv4_dst"), (Output,)))),
    ),
    "core": (
        Table(
            "admission",
            (
                _DROP,
                Rule(Kind.ADMIT, _ip("in_port", "eth_src", "ipv4_src"), goto=1),  # the twin's
                Rule(Kind.PATH, _ip("in_port", "ipv4_src", "ipv4_dst"), goto=2),  # a sensor's
                Rule(Kind.REROUTED, _FROM_TWIN | {"ip_dscp"}, (Output,)),
                _ANSWER_ARP,
            ),
        ),
        Table("routing", (_DROP, Rule(Kind.ROUTE, _ip("ipv4_dst"), (ToGroup,)))),
        Table("output", (_DROP, Rule(Kind.DELIVER, _ip("ipv4_dst"), (Output,)))),
    ),
    "base_station": (Table("relay", _RELAYS),),
    "coordinator": (
        Table(
            "relay",
            (
                *_RELAYS,
                Rule(Kind.RELAY, _TO_TWIN, (Output,)),  # from the air
                Rule(Kind.RELAY, _FROM_TWIN, (Output,)),
            ),
        ),
    ),
}
# What a bucket of a group may do, by role.
BUCKETS: dict[str, frozenset[type]] = {
    "gateway": frozenset({Output}),
    "core": frozenset({Output}),
    "base_station": frozenset({Output, SendBack}),
    "coordinator": frozenset({Output, SendBack, ToGroup}),
}


def check(datapath_id: int, table: SwitchTable, items: Iterable[Item] | None = None) -> None:
    """Raises FlowError with the first thing in a switch's table that the pipeline of its role does not allow, or that
    no switch could carry out. ``items``: those of the table that are to be looked at, all if None."""
    role = role_of(datapath_id)
    if role is None:
        raise FlowError(f"switch {datapath_id:#x}: its number says no role; it must be one of {', '.join(PIPELINE)}")
    groups, meters = {one.group_id for one in table.groups}, {one.meter_id for one in table.meters}
    for item in table.items if items is None else items:
        for problem in _problems(item, role, groups, meters):
            raise FlowError(f"{item}: {problem}")


def _problems(item: FlowEntry | Group | Meter, role: str, groups: set[int], meters: set[int]) -> Iterable[str]:
    """What is wrong with an item, one sentence each."""
    if not item.is_ours:
        yield "it is not marked as ours"
    match item:
        case FlowEntry():
            yield from _entry_problems(item, role)
            if item.meter_id and item.meter_id not in meters:
                yield f"meter {item.meter_id:#x} is not part of the table"
            yield from _action_problems(item.actions, groups)
        case Group():
            yield from _group_problems(item, role, groups)
        case Meter():
            if not (0 < item.rate_kbps < 1 << 32 and 0 < item.burst_kbits < 1 << 32) or item.other:
                yield f"rate {item.rate_kbps} and burst {item.burst_kbits} must be 1 to {(1 << 32) - 1}, and no more"


def _entry_problems(entry: FlowEntry, role: str) -> Iterable[str]:
    tables = PIPELINE[role]
    if entry.table_id >= len(tables):
        yield f"a {role} has no table {entry.table_id}; it must be 0 to {len(tables) - 1}"
        return
    if not any(_allows(rule, entry) for rule in tables[entry.table_id].rules):
        yield _not_allowed(entry, role)
    yield from _match_problems(entry.match)


def _allows(rule: Rule, entry: FlowEntry) -> bool:
    return (
        (rule.kind, rule.priority, rule.goto) == (entry.kind, entry.priority, entry.goto_table)
        and rule.match == set(entry.match.fields)
        and rule.does == tuple(map(type, entry.actions))
        and rule.metered == bool(entry.meter_id)
        and not (entry.idle_timeout or entry.hard_timeout or entry.flags)
    )


def _not_allowed(entry: FlowEntry, role: str) -> str:
    table = PIPELINE[role][entry.table_id]
    same = [str(rule) for rule in table.rules if rule.kind == entry.kind]
    allowed = (
        f"of its kind may be {' or '.join(same)}" if same else f"may be {', '.join(r.kind.name for r in table.rules)}"
    )
    return f"the pipeline does not allow it; in table {table.name} of a {role}, entries {allowed}"


def _match_problems(match: Match) -> Iterable[str]:
    if match.eth_type not in (0, ETH_IPV4, ETH_ARP):
        yield f"eth_type {match.eth_type:#x} must be IPv4 or ARP"
    if match.ip_dscp not in (0, REROUTED_DSCP):
        yield f"ip_dscp {match.ip_dscp} must be {REROUTED_DSCP}"
    if match.arp_op not in (0, 1):
        yield f"arp_op {match.arp_op} must be 1, a request"
    if match.in_port:
        yield from _port_problems("in_port", match.in_port)
    for name in ("eth_src", "eth_dst", "arp_sha"):
        yield from _mac_problems(name, getattr(match, name))
    for name in ("ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa"):
        yield from _ipv4_problems(name, getattr(match, name))


def _group_problems(group: Group, role: str, groups: set[int]) -> Iterable[str]:
    if group.other:
        yield f"{group.other}: it must be of type fast failover"
    if not group.buckets:
        yield "it has no bucket"
    for bucket in group.buckets:
        yield from _port_problems("watch_port", bucket.watch_port)
        if len(bucket.actions) != 1 or type(bucket.actions[0]) not in BUCKETS[role]:
            names = " or ".join(sorted(one.__name__ for one in BUCKETS[role]))
            yield f"a bucket of a {role} must do one thing, {names}"
        yield from _action_problems(bucket.actions, groups)


def _action_problems(actions: Sequence[Action], groups: set[int]) -> Iterable[str]:
    for action in actions:
        match action:
            case Output(port):
                yield from _port_problems("output", port)
            case ArpReply(mac, ipv4):
                yield from _mac_problems("arp_reply mac", mac or "none")
                yield from _ipv4_problems("arp_reply ipv4", ipv4 or "none")
            case ToGroup(number) if number not in groups:
                yield f"group {number:#x} is not part of the table"
            case SendBack(dscp) if dscp != REROUTED_DSCP:
                yield f"dscp {dscp} must be {REROUTED_DSCP}"
            case Other(text):
                yield text


def _port_problems(name: str, port: int) -> Iterable[str]:
    if not 1 <= port < RESERVED_PORTS:
        yield f"{name} {port} must be a port of the switch, 1 to {RESERVED_PORTS - 1}"


def _mac_problems(name: str, mac: str) -> Iterable[str]:
    if mac and not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
        yield f"{name} {mac!r} must be six lower-case hex pairs with ':'"


def _ipv4_problems(name: str, ipv4: str) -> Iterable[str]:
    try:
        ipaddress.IPv4Address(ipv4 or "0.0.0.0")
    except ValueError:
        yield f"{name} {ipv4!r} must be an IPv4 address"


def described() -> str:
    """The pipeline for people to read."""
    lines = []
    for role, tables in PIPELINE.items():
        lines.append(f"{role}")
        for number, table in enumerate(tables):
            lines.append(f"  table {number} {table.name}")
            lines += [f"    {rule}" for rule in table.rules]
        lines.append(f"  buckets of groups: {', '.join(sorted(one.__name__ for one in BUCKETS[role]))}")
    return "\n".join(lines)
