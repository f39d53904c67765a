"""Flow entries as pure data: what every switch should hold for given routes, and how to get there from what it holds.

Pipeline (OpenFlow 1.3; `twin.wiring` has the ports). A packet that no entry wants meets the drop entry of its table.

    gateway       0 admission: port, MAC and IPv4 of the sensor must belong together   1 uplink choice   2 to the sensor
    core          0 admission: one entry per sensor and path, so that its counters tell the bytes of each path
                  1 downlink choice   2 to the twin
    base station  0 gateway <-> core
    coordinator   0 gateway <-> air <-> core

Choosing a route is one entry on the gateway (by ipv4_src) and one on the core (by ipv4_dst). Everything else is static
and takes both paths, so a change of route is make-before-break in whatever order the switches carry it out. ARP is
answered by the switch itself. No entry floods and none sends packets to the controller.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from proto import control_pb2
from twin.path import Path
from twin.scenario import Sensor
from twin.wiring import (
    AIR_RX,
    AIR_TX,
    CORE_TO_TWIN,
    GATEWAY_TO_BASE_STATION,
    GATEWAY_TO_COORDINATOR,
    TO_CORE,
    TO_GATEWAY,
    CellWiring,
    Wiring,
)

ETH_IPV4, ETH_ARP = 0x0800, 0x0806
ARP_REQUEST = 1
DROP_PRIORITY, PRIORITY = 0, 100

# The cookie of an entry says that it is ours (high 40 bits, "LINKS" in ASCII) and what it is for (low 24 bits).
COOKIE = int.from_bytes(b"LINKS", "big") << 24
COOKIE_MASK = 0xFFFF_FFFF_FF00_0000

# The gateway's ports, by path.
_UPLINKS = {Path.SIXG: GATEWAY_TO_BASE_STATION, Path.ZIGBEE: GATEWAY_TO_COORDINATOR}

# Port numbers from here on are OpenFlow's reserved ports (OFPP_MAX; FLOOD and CONTROLLER are among them).
RESERVED_PORTS = 0xFFFF_FF00
_LAST_TABLE = 254


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
    ipv4_src: str = ""
    ipv4_dst: str = ""
    arp_op: int = 0
    arp_spa: str = ""
    arp_tpa: str = ""
    arp_sha: str = ""
    other: tuple[tuple[str, object], ...] = ()


MATCH_FIELDS = tuple(name for name in Match.__slots__ if name != "other")


@dataclass(frozen=True, slots=True)
class Output:
    """Send out of an OpenFlow port."""

    port: int


@dataclass(frozen=True, slots=True)
class ArpReply:
    """Turn an ARP request for ``ipv4`` into the reply that names ``mac``, and send it back where it came from."""

    mac: str
    ipv4: str


@dataclass(frozen=True, slots=True)
class Other:
    """Something that a switch reports and LINKs never writes, as text."""

    text: str


Action = Output | ArpReply | Other


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One flow entry. No actions and no goto: drop. ``goto_table`` 0: none."""

    table_id: int
    priority: int
    cookie: int
    match: Match
    actions: tuple[Action, ...] = ()
    goto_table: int = 0

    @property
    def slot(self) -> tuple[int, int, Match]:
        """A switch holds at most one entry of the same slot."""
        return self.table_id, self.priority, self.match

    def __str__(self) -> str:
        fields = [f"{name}={getattr(self.match, name)}" for name in MATCH_FIELDS if getattr(self.match, name)]
        fields += [f"{name}={value}" for name, value in self.match.other]
        does = [str(action) for action in self.actions] + ([f"goto {self.goto_table}"] if self.goto_table else [])
        matches = ",".join(fields) or "any"
        return f"table {self.table_id} priority {self.priority} {matches} -> {', '.join(does) or 'drop'}"


def cookie(kind: Kind) -> int:
    """The cookie of our entries of that kind."""
    return COOKIE | kind


def is_ours(value: int) -> bool:
    """Whether a cookie marks an entry as ours."""
    return value & COOKIE_MASK == COOKIE


# --- Desired state --------------------------------------------------------------------------------------------------


def desired_flows(wiring: Wiring, routes: Mapping[str, Path]) -> dict[int, tuple[FlowEntry, ...]]:
    """The complete flow table of every switch, by datapath id, for routes by sensor id.

    A sensor without a route is admitted but its packets are dropped at the choice of path. Raises FlowError.
    """
    _check_routes(wiring, routes)
    tables = {wiring.core.datapath_id: core_flows(wiring, routes)}
    for cell in wiring.cells.values():
        tables[cell.gateway.datapath_id] = gateway_flows(wiring, cell, routes)
        tables[cell.base_station.datapath_id] = base_station_flows(wiring)
        tables[cell.coordinator.datapath_id] = coordinator_flows(wiring)
    return tables


def _check_routes(wiring: Wiring, routes: Mapping[str, Path]) -> None:
    """Raises FlowError on a sensor that is not in the scenario and on a path that is none."""
    for sensor, path in routes.items():
        if sensor not in wiring.scenario.sensor:
            raise FlowError(f"route of sensor {sensor!r}: no such sensor in the scenario")
        if not isinstance(path, Path):
            raise FlowError(f"route of sensor {sensor!r}: path {path!r} must be Path.SIXG or Path.ZIGBEE")


def gateway_flows(wiring: Wiring, cell: CellWiring, routes: Mapping[str, Path]) -> tuple[FlowEntry, ...]:
    """The table of one cell's gateway; it depends on the routes of the cell's own sensors only."""
    twin_ipv4, twin_mac = wiring.scenario.twin_ipv4, wiring.scenario.twin_mac
    entries = [_drop(0), _drop(1), _drop(2)]
    for sensor in wiring.scenario.sensors_of[cell.cell]:
        entries += [
            _admit(1, Match(sensor.port, ETH_IPV4, eth_src=sensor.mac, ipv4_src=sensor.ipv4, ipv4_dst=twin_ipv4)),
            _answer_arp(sensor.port, sensor.mac, sensor.ipv4, twin_mac, twin_ipv4),
            *(_admit(2, Match(port, ETH_IPV4, ipv4_src=twin_ipv4, ipv4_dst=sensor.ipv4)) for port in _UPLINKS.values()),
            _send(2, Kind.DELIVER, Match(eth_type=ETH_IPV4, ipv4_dst=sensor.ipv4), sensor.port),
        ]
        if sensor.id in routes:
            entries.append(_route_up(sensor, routes[sensor.id]))
    return tuple(entries)


def core_flows(wiring: Wiring, routes: Mapping[str, Path]) -> tuple[FlowEntry, ...]:
    """The table of the core; it depends on all routes."""
    twin_ipv4, twin_mac = wiring.scenario.twin_ipv4, wiring.scenario.twin_mac
    entries = [
        *(_drop(0), _drop(1), _drop(2)),
        _admit(1, Match(CORE_TO_TWIN, ETH_IPV4, eth_src=twin_mac, ipv4_src=twin_ipv4)),
        _send(2, Kind.DELIVER, Match(eth_type=ETH_IPV4, ipv4_dst=twin_ipv4), CORE_TO_TWIN),
    ]
    for cell in wiring.cells.values():
        for sensor in wiring.scenario.sensors_of[cell.cell]:
            for port in _core_ports(cell).values():
                match = Match(port, ETH_IPV4, ipv4_src=sensor.ipv4, ipv4_dst=twin_ipv4)
                entries.append(FlowEntry(0, PRIORITY, cookie(Kind.PATH), match, goto_table=2))
            entries.append(_answer_arp(CORE_TO_TWIN, twin_mac, twin_ipv4, sensor.mac, sensor.ipv4))
            if sensor.id in routes:
                entries.append(_route_down(cell, sensor, routes[sensor.id]))
    return tuple(entries)


def base_station_flows(wiring: Wiring) -> tuple[FlowEntry, ...]:
    """The static table of every base station: to the twin goes to the core, from the twin goes to the gateway."""
    return (
        _drop(0),
        _send(0, Kind.RELAY, _to_twin(wiring, TO_GATEWAY), TO_CORE),
        _send(0, Kind.RELAY, _from_twin(wiring, TO_CORE), TO_GATEWAY),
    )


def coordinator_flows(wiring: Wiring) -> tuple[FlowEntry, ...]:
    """The static table of every coordinator: both directions pass its air loop."""
    return (
        _drop(0),
        _send(0, Kind.RELAY, _to_twin(wiring, TO_GATEWAY), AIR_TX),
        _send(0, Kind.RELAY, _from_twin(wiring, TO_CORE), AIR_TX),
        _send(0, Kind.RELAY, _to_twin(wiring, AIR_RX), TO_CORE),
        _send(0, Kind.RELAY, _from_twin(wiring, AIR_RX), TO_GATEWAY),
    )


def _core_ports(cell: CellWiring) -> dict[Path, int]:
    return {Path.SIXG: cell.core_to_base_station, Path.ZIGBEE: cell.core_to_coordinator}


def _route_up(sensor: Sensor, path: Path) -> FlowEntry:
    """On the gateway."""
    return _send(1, Kind.ROUTE, Match(eth_type=ETH_IPV4, ipv4_src=sensor.ipv4), _UPLINKS[path])


def _route_down(cell: CellWiring, sensor: Sensor, path: Path) -> FlowEntry:
    """On the core."""
    return _send(1, Kind.ROUTE, Match(eth_type=ETH_IPV4, ipv4_dst=sensor.ipv4), _core_ports(cell)[path])


def _to_twin(wiring: Wiring, in_port: int) -> Match:
    return Match(in_port, ETH_IPV4, ipv4_dst=wiring.scenario.twin_ipv4)


def _from_twin(wiring: Wiring, in_port: int) -> Match:
    return Match(in_port, ETH_IPV4, ipv4_src=wiring.scenario.twin_ipv4)


def _drop(table: int) -> FlowEntry:
    return FlowEntry(table, DROP_PRIORITY, cookie(Kind.DROP), Match())


def _admit(goto: int, match: Match) -> FlowEntry:
    return FlowEntry(0, PRIORITY, cookie(Kind.ADMIT), match, goto_table=goto)


def _send(table: int, kind: Kind, match: Match, port: int) -> FlowEntry:
    return FlowEntry(table, PRIORITY, cookie(kind), match, (Output(port),))


def _answer_arp(port: int, mac: str, ipv4: str, target_mac: str, target_ipv4: str) -> FlowEntry:
    """Answers the host (mac, ipv4) behind ``port`` when it asks for the target (RFC 826)."""
    match = Match(port, ETH_ARP, eth_src=mac, arp_op=ARP_REQUEST, arp_spa=ipv4, arp_sha=mac, arp_tpa=target_ipv4)
    return FlowEntry(0, PRIORITY, cookie(Kind.ARP), match, (ArpReply(target_mac, target_ipv4),))


# --- Difference -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes the present entries the wanted ones. ``modify`` holds the new entries of slots already taken by us."""

    add: tuple[FlowEntry, ...]
    modify: tuple[FlowEntry, ...]
    delete: tuple[FlowEntry, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.modify or self.delete)


def difference(present: Iterable[FlowEntry], wanted: Iterable[FlowEntry]) -> Changes:
    """The smallest change from ``present`` to ``wanted``, to be carried out add, modify, delete in this order.

    Everything about an entry is compared. Entries in ``present`` without our cookie are left alone. Raises FlowError
    when ``wanted`` holds an entry without our cookie or two entries of one slot.
    """
    target: dict[tuple, FlowEntry] = {}
    for entry in wanted:
        if not is_ours(entry.cookie):
            raise FlowError(f"{entry}: cookie {entry.cookie:#x} is not ours; it must start with {COOKIE >> 24:#x}")
        if target.setdefault(entry.slot, entry) is not entry:
            raise FlowError(f"{entry}: a second entry with the same table, priority and match")
    mine = {entry.slot: entry for entry in present if is_ours(entry.cookie)}
    return Changes(
        tuple(entry for slot, entry in target.items() if slot not in mine),
        tuple(entry for slot, entry in target.items() if slot in mine and mine[slot] != entry),
        tuple(entry for slot, entry in mine.items() if slot not in target),
    )


# --- What switches report -------------------------------------------------------------------------------------------


def installed_routes(wiring: Wiring, entries: Iterable[tuple[int, FlowEntry]]) -> dict[str, Path]:
    """The routes that entries, given as (datapath id, entry), carry out: how a new service learns what an old one left.

    Where a gateway and the core differ (a program was cut short), the gateway's choice counts, since data go up.
    """
    present, core = set(entries), wiring.core.datapath_id
    routes: dict[str, Path] = {}
    for cell in wiring.cells.values():
        for sensor in wiring.scenario.sensors_of[cell.cell]:
            up = [path for path in Path if (cell.gateway.datapath_id, _route_up(sensor, path)) in present]
            down = [path for path in Path if (core, _route_down(cell, sensor, path)) in present]
            if up or down:
                routes[sensor.id] = (up or down)[0]
    return routes


def bytes_by_path(wiring: Wiring, statistics: Iterable[control_pb2.FlowStatistics]) -> dict[str, dict[Path, int]]:
    """Bytes (Ethernet frames) that reached the core from each sensor by each path, since the entries were installed.

    Reads the core's PATH entries of the scenario's sensors out of ``statistics``, which may hold other entries too.
    """
    sources: dict[tuple[int, str], tuple[Sensor, Path]] = {}
    for cell in wiring.cells.values():
        for path, port in _core_ports(cell).items():
            for sensor in wiring.scenario.sensors_of[cell.cell]:
                sources[port, sensor.ipv4] = sensor, path
    found: dict[str, dict[Path, int]] = {}
    for row in statistics:
        source = row.entry.match.in_port, row.entry.match.ipv4_src
        if row.datapath_id == wiring.core.datapath_id and row.entry.cookie == cookie(Kind.PATH) and source in sources:
            sensor, path = sources[source]
            found.setdefault(sensor.id, {})[path] = row.bytes
    return found


# --- Messages -------------------------------------------------------------------------------------------------------


def program_to_proto(epoch: int, sequence: int, tables: Mapping[int, Iterable[FlowEntry]]) -> control_pb2.FlowProgram:
    """A flow program of complete tables by datapath id."""
    rows = [
        control_pb2.SwitchTable(datapath_id=datapath_id, entries=map(entry_to_proto, entries))
        for datapath_id, entries in tables.items()
    ]
    return control_pb2.FlowProgram(epoch=epoch, sequence=sequence, tables=rows)


def entry_to_proto(entry: FlowEntry) -> control_pb2.FlowEntry:
    """The entry as a message. What LINKs never writes (``other``, ``Other``) has no place in it and is left out."""
    return control_pb2.FlowEntry(
        table_id=entry.table_id,
        priority=entry.priority,
        cookie=entry.cookie,
        match=control_pb2.FlowMatch(**{name: getattr(entry.match, name) for name in MATCH_FIELDS}),
        actions=[_action_to_proto(action) for action in entry.actions if not isinstance(action, Other)],
        goto_table=entry.goto_table,
    )


def entry_from_proto(message: control_pb2.FlowEntry) -> FlowEntry:
    """The entry of a message, checked: everything in range, ours, no reserved port. Raises FlowError."""
    entry = FlowEntry(
        message.table_id,
        message.priority,
        message.cookie,
        Match(**{name: getattr(message.match, name) for name in MATCH_FIELDS}),
        tuple(_action_from_proto(action) for action in message.actions),
        message.goto_table,
    )
    for problem in _problems(entry):
        raise FlowError(f"{entry}: {problem}")
    return entry


def _action_to_proto(action: Output | ArpReply) -> control_pb2.FlowAction:
    if isinstance(action, Output):
        return control_pb2.FlowAction(output=action.port)
    return control_pb2.FlowAction(arp_reply=control_pb2.ArpReply(mac=action.mac, ipv4=action.ipv4))


def _action_from_proto(message: control_pb2.FlowAction) -> Action:
    match message.WhichOneof("action"):
        case "output":
            return Output(message.output)
        case "arp_reply":
            return ArpReply(message.arp_reply.mac, message.arp_reply.ipv4)
    return Other("no action set")


def _problems(entry: FlowEntry) -> Iterable[str]:
    """What makes an entry unusable, one sentence each."""
    fields = entry.match
    if not is_ours(entry.cookie):
        yield f"cookie {entry.cookie:#x} is not ours; it must start with {COOKIE >> 24:#x}"
    if entry.table_id > _LAST_TABLE:
        yield f"table {entry.table_id} must be 0 to {_LAST_TABLE}"
    if entry.goto_table and not entry.table_id < entry.goto_table <= _LAST_TABLE:
        yield f"goto {entry.goto_table} must be a later table, up to {_LAST_TABLE}"
    for name, value in (("priority", entry.priority), ("eth_type", fields.eth_type), ("arp_op", fields.arp_op)):
        if value > 0xFFFF:
            yield f"{name} {value} must be 0 to 65535"
    macs = [("eth_src", fields.eth_src), ("eth_dst", fields.eth_dst), ("arp_sha", fields.arp_sha)]
    ipv4s = [(name, getattr(fields, name)) for name in ("ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa")]
    ports = [("in_port", fields.in_port)] if fields.in_port else []
    for action in entry.actions:
        match action:
            case Output(port):
                ports.append(("output", port))
            case ArpReply(mac, ipv4):
                macs.append(("arp_reply mac", mac or "none"))
                ipv4s.append(("arp_reply ipv4", ipv4 or "none"))
            case Other(text):
                yield text
    for name, port in ports:
        if not 1 <= port < RESERVED_PORTS:
            yield f"{name} {port} must be a port of the switch, 1 to {RESERVED_PORTS - 1}"
    for name, mac in macs:
        if mac and not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
            yield f"{name} {mac!r} must be six lower-case hex pairs with ':'"
    for name, ipv4 in ipv4s:
        if ipv4 and not _is_ipv4(ipv4):
            yield f"{name} {ipv4!r} must be an IPv4 address"


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
