"""OpenFlow 1.3 on the wire: flow entries to and from Ryu's messages, and the conversation with one switch.

Only this file and ``ryu_app.py`` know Ryu. os-ken, its maintained fork, has the same modules under ``os_ken``. With 4.2
it takes Ryu's place by import lines, ``OSKenApp`` for ``RyuApp``, OSKEN_HUB_TYPE=eventlet, and a ``main`` of our own.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.flows import (
    COOKIE,
    COOKIE_MASK,
    MATCH_FIELDS,
    Action,
    ArpReply,
    FlowEntry,
    Match,
    Other,
    Output,
    difference,
)

OFP_VERSION = ofproto.OFP_VERSION
# Messages sent in one go before other greenlets get their turn.
_CHUNK = 64
_ARP_REPLY = 2
_MAC_BITS, _IPV4_BITS = 48, 32


class SwitchLost(Exception):
    """The conversation with a switch ended: connection closed, or no answer in time. Its state is unknown."""


# --- Conversion -----------------------------------------------------------------------------------------------------


def flow_mod(datapath, entry: FlowEntry) -> parser.OFPFlowMod:
    """Adds the entry, or takes the place of what is in its slot.

    ADD rather than MODIFY_STRICT: it also works when the slot is empty or holds another cookie, and without
    OFPFF_RESET_COUNTS the counters of the replaced entry go on (OpenFlow 1.3.5, section 6.4).
    """
    return _flow_mod(datapath, entry, ofproto.OFPFC_ADD, cookie=entry.cookie, instructions=_instructions(entry))


def flow_delete(datapath, entry: FlowEntry) -> parser.OFPFlowMod:
    """Deletes exactly this entry, and only while it carries our cookie."""
    return _flow_mod(
        datapath, entry, ofproto.OFPFC_DELETE_STRICT, cookie=COOKIE, cookie_mask=COOKIE_MASK, instructions=[]
    )


def _flow_mod(datapath, entry: FlowEntry, command: int, **fields) -> parser.OFPFlowMod:
    return parser.OFPFlowMod(
        datapath,
        command=command,
        table_id=entry.table_id,
        priority=entry.priority,
        match=_match(entry.match),
        buffer_id=ofproto.OFP_NO_BUFFER,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        **fields,
    )


def _match(match: Match) -> parser.OFPMatch:
    fields = {name: getattr(match, name) for name in MATCH_FIELDS if getattr(match, name)}
    return parser.OFPMatch(**fields, **dict(match.other))


def _instructions(entry: FlowEntry) -> list:
    instructions = []
    if entry.actions:
        actions = [message for action in entry.actions for message in _actions(action)]
        instructions.append(parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions))
    if entry.goto_table:
        instructions.append(parser.OFPInstructionGotoTable(entry.goto_table))
    return instructions


def _actions(action: Action) -> list:
    match action:
        case Output(port):
            return [parser.OFPActionOutput(port)]
        case ArpReply(mac, ipv4):
            return [
                parser.NXActionRegMove("eth_src", "eth_dst", _MAC_BITS),
                parser.OFPActionSetField(eth_src=mac),
                parser.OFPActionSetField(arp_op=_ARP_REPLY),
                parser.NXActionRegMove("arp_sha", "arp_tha", _MAC_BITS),
                parser.NXActionRegMove("arp_spa", "arp_tpa", _IPV4_BITS),
                parser.OFPActionSetField(arp_sha=mac),
                parser.OFPActionSetField(arp_spa=ipv4),
                parser.OFPActionOutput(ofproto.OFPP_IN_PORT),
            ]
    raise TypeError(f"{action!r} is what a switch reported; it cannot be sent")


def entry_of(stats: parser.OFPFlowStats) -> FlowEntry:
    """The entry that a switch reports. What LINKs never writes becomes ``Match.other`` and ``Other``."""
    actions: tuple[Action, ...] = ()
    goto_table = 0
    for instruction in stats.instructions:
        match instruction:
            case parser.OFPInstructionGotoTable():
                goto_table = instruction.table_id
            case parser.OFPInstructionActions(type=ofproto.OFPIT_APPLY_ACTIONS):
                actions += _actions_of(instruction.actions)
            case _:
                actions += (Other(str(instruction)),)
    return FlowEntry(stats.table_id, stats.priority, stats.cookie, _match_of(stats.match), actions, goto_table)


def _match_of(match: parser.OFPMatch) -> Match:
    known, other = {}, []
    for name, value in match.items():
        if name in MATCH_FIELDS and not isinstance(value, tuple):  # a tuple is (value, mask); LINKs writes no masks
            known[name] = value
        else:
            other.append((name, value))
    return Match(**known, other=tuple(other))


def _actions_of(messages: Sequence) -> tuple[Action, ...]:
    reply = _arp_reply_of(messages)
    if reply:
        return (reply,)
    return tuple(
        Output(message.port)
        if isinstance(message, parser.OFPActionOutput) and message.port < ofproto.OFPP_MAX
        else Other(str(message))
        for message in messages
    )


def _arp_reply_of(messages: Sequence) -> ArpReply | None:
    """The reply whose actions these are, if they are those of a reply, every one."""
    fields = {message.key: message.value for message in messages if isinstance(message, parser.OFPActionSetField)}
    if not fields.keys() >= {"arp_sha", "arp_spa"}:
        return None
    reply = ArpReply(fields["arp_sha"], fields["arp_spa"])
    return reply if [*map(_meaning, _actions(reply))] == [*map(_meaning, messages)] else None


def _meaning(message) -> tuple:
    """An action, however the switch writes it: Open vSwitch reports moved fields by their older NXM headers."""
    match message:
        case parser.NXActionRegMove():
            fields = message.src_field.removesuffix("_nxm"), message.dst_field.removesuffix("_nxm")
            return "move", *fields, message.n_bits, message.src_ofs, message.dst_ofs
        case parser.OFPActionSetField():
            return "set", message.key, message.value
        case parser.OFPActionOutput():
            return "output", message.port
    return "other", str(message)


def error_text(message: parser.OFPErrorMsg) -> str:
    """An OpenFlow error by the names of its type and code in the specification."""
    if message.type == ofproto.OFPET_EXPERIMENTER:
        return f"OFPET_EXPERIMENTER {message.experimenter:#x} type {message.exp_type}"
    return f"{ofproto.ofp_error_type_to_str(message.type)} {ofproto.ofp_error_code_to_str(message.type, message.code)}"


# --- Conversation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlowCounters:
    """An entry and what it has counted; bytes are Ethernet frames without FCS."""

    entry: FlowEntry
    packets: int
    bytes: int
    duration_s: int


@dataclass(frozen=True, slots=True)
class PortStatus:
    """A port of the switch; ``up`` means switched on and with a link."""

    port: int
    name: str
    up: bool


@dataclass(frozen=True, slots=True)
class PortCounters:
    port: int
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a table. ``errors`` empty: a barrier reply came after the last flow-mod, the switch holds it."""

    added: int
    modified: int
    deleted: int
    seconds: float
    errors: tuple[str, ...]


class Switch:
    """The conversation with one connected switch: one exchange at a time, for as long as the connection lasts.

    Methods block the calling greenlet and raise SwitchLost when the connection ends or an answer takes longer than
    ``timeout_s``; the connection is then closed, for a new one starts from what the switch really holds.
    """

    def __init__(self, datapath, timeout_s: float = 5.0) -> None:
        self.datapath = datapath
        self.port_status: tuple[PortStatus, ...] = ()
        self._timeout_s = timeout_s
        self._entries: tuple[FlowEntry, ...] | None = None  # ours, as last read or confirmed; None: not known
        self._turn = hub.Semaphore(1)
        self._inbox = hub.Queue()
        self._waiting_for: set[int] = set()
        self._lost = ""

    @property
    def id(self) -> int:
        return self.datapath.id

    def deliver(self, message) -> bool:
        """Hand in a reply or error from the switch; False: nobody waits for it."""
        wanted = message.xid in self._waiting_for
        if wanted:
            self._inbox.put(message)
        return wanted

    def lose(self, reason: str) -> None:
        """End the conversation: whoever waits, and whoever asks from now on, gets SwitchLost."""
        self._lost = self._lost or reason
        self._inbox.put(None)

    def read_flows(self) -> tuple[FlowCounters, ...]:
        """Our entries and their counters, as the switch holds them."""
        with self._turn:
            return self._read_flows()

    def read_ports(self) -> tuple[PortStatus, ...]:
        """The switch's ports, the local one left out; also kept in ``port_status``."""
        with self._turn:
            ports = self._collect(parser.OFPPortDescStatsRequest(self.datapath, 0))
        down = ofproto.OFPPS_LINK_DOWN, ofproto.OFPPC_PORT_DOWN
        self.port_status = tuple(
            PortStatus(port.port_no, port.name.decode(), not (port.state & down[0] or port.config & down[1]))
            for port in sorted(ports, key=lambda port: port.port_no)
            if port.port_no < ofproto.OFPP_MAX
        )
        return self.port_status

    def read_port_counters(self) -> tuple[PortCounters, ...]:
        """Counters of the switch's ports, the local one left out."""
        with self._turn:
            ports = self._collect(parser.OFPPortStatsRequest(self.datapath, 0, ofproto.OFPP_ANY))
        names = PortCounters.__slots__[1:]
        return tuple(
            PortCounters(port.port_no, *(getattr(port, name) for name in names))
            for port in sorted(ports, key=lambda port: port.port_no)
            if port.port_no < ofproto.OFPP_MAX
        )

    def apply(self, wanted: Iterable[FlowEntry]) -> Applied:
        """Make the switch hold exactly ``wanted`` of ours, by the smallest change, confirmed by barrier.

        Additions and modifications come first; deletions follow once those are confirmed, and only then. Refused
        entries are reported, and what the switch holds is then read again. Raises SwitchLost, FlowError.
        """
        wanted = tuple(wanted)
        with self._turn:
            if self._entries is None:
                self._read_flows()
            changes = difference(self._entries, wanted)
            started = time.monotonic()
            put = [*changes.add, *changes.modify]
            errors = self._confirm(put, [flow_mod(self.datapath, entry) for entry in put])
            if changes.delete and not errors:
                errors = self._confirm(changes.delete, [flow_delete(self.datapath, entry) for entry in changes.delete])
            seconds = time.monotonic() - started
            if errors:
                self._read_flows()
            else:
                self._entries = wanted
        counts = len(changes.add), len(changes.modify), len(changes.delete)
        return Applied(*counts, seconds, tuple(errors))

    def _read_flows(self) -> tuple[FlowCounters, ...]:
        request = parser.OFPFlowStatsRequest(self.datapath, cookie=COOKIE, cookie_mask=COOKIE_MASK)
        rows = tuple(
            FlowCounters(entry_of(stats), stats.packet_count, stats.byte_count, stats.duration_sec)
            for stats in self._collect(request)
        )
        self._entries = tuple(row.entry for row in rows)
        return rows

    def _collect(self, request) -> list:
        """The rows of a statistics reply, from all its parts."""
        parts, errors = self._exchange([request])
        if errors:
            self._give_up(f"{type(request).__name__}: {error_text(errors[request.xid])}")
        return [row for part in parts for row in part.body]

    def _confirm(self, entries: Sequence[FlowEntry], messages: list) -> list[str]:
        """Send flow-mods and a barrier; what the switch refused, entry by entry."""
        barrier = parser.OFPBarrierRequest(self.datapath)
        _, errors = self._exchange([*messages, barrier])
        if barrier.xid in errors:
            self._give_up(f"barrier: {error_text(errors[barrier.xid])}")
        entry_of_xid = {message.xid: entry for message, entry in zip(messages, entries, strict=True)}
        return [f"{entry_of_xid[xid]}: {error_text(error)}" for xid, error in errors.items()]

    def _exchange(self, messages: Sequence) -> tuple[list, dict[int, parser.OFPErrorMsg]]:
        """Send messages, the last of which is answered; returns the parts of its answer, and errors by xid."""
        if self._lost:
            raise SwitchLost(self._lost)
        for message in messages:
            self.datapath.set_xid(message)
        self._waiting_for = {message.xid for message in messages}
        try:
            for start in range(0, len(messages), _CHUNK):
                self._send(messages[start : start + _CHUNK])
            return self._receive(messages[-1].xid, self._timeout_s + len(messages) / 1000)
        finally:
            self._waiting_for = set()

    def _send(self, messages: Sequence) -> None:
        wire = bytearray()
        for message in messages:
            message.serialize()
            wire += message.buf
        if not self.datapath.send(wire):
            self._give_up("the connection is closing")
        hub.sleep(0)

    def _receive(self, last_xid: int, timeout_s: float) -> tuple[list, dict[int, parser.OFPErrorMsg]]:
        parts, errors = [], {}
        while True:
            try:
                message = self._inbox.get(timeout=timeout_s)
            except hub.QueueEmpty:
                self._give_up(f"no answer within {timeout_s:g} s")
            if message is None:
                raise SwitchLost(self._lost)
            if isinstance(message, parser.OFPErrorMsg):
                errors[message.xid] = message
                if message.xid == last_xid:
                    return parts, errors
            else:
                parts.append(message)
                if not getattr(message, "flags", 0) & ofproto.OFPMPF_REPLY_MORE:
                    return parts, errors

    def _give_up(self, reason: str) -> None:
        self.lose(reason)
        self.datapath.close()
        raise SwitchLost(self._lost)
