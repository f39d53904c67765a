"""The conversation with one switch: what it holds, and changes of it as bundles or ordered messages."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser

from controller.entries import COOKIE, COOKIE_MASK, Changes, FlowEntry, Item, Meter, SwitchTable
from controller.openflow import entry_of, error_text, group_of, meter_of, put, remove

# Messages sent in one go before other greenlets get their turn.
_CHUNK = 64
_BUNDLE_FLAGS = ofproto.ONF_BF_ATOMIC | ofproto.ONF_BF_ORDERED
_NO_METERS = ofproto.OFPET_BAD_REQUEST  # a switch without meters does not know the question


class SwitchLost(Exception):
    """The conversation with a switch ended: connection closed, or no answer in time. Its state is unknown."""


class Refused(Exception):
    """A switch refused a change; ``errors`` has a line per item with its OpenFlow error."""

    def __init__(self, errors: Iterable[str]):
        self.errors = tuple(errors)
        super().__init__("; ".join(self.errors))


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
class Prepared:
    """Changes that a switch has taken note of, to be committed or discarded. ``bundle_id`` 0: it has no bundles and
    knows nothing of them yet. ``item_of`` tells of a message in the bundle, by xid, which item it is."""

    changes: Changes
    bundle_id: int = 0
    item_of: dict[int, Item] = field(default_factory=dict)


class Switch:
    """The conversation with one connected switch: one exchange at a time, for as long as the connection lasts.

    Methods block the calling greenlet and raise SwitchLost when the connection ends or an answer takes longer than
    ``timeout_s``; the connection is then closed, for a new one starts from what the switch really holds.
    """

    def __init__(self, datapath, timeout_s: float = 5.0) -> None:
        self.datapath = datapath
        self.port_status: tuple[PortStatus, ...] = ()
        self.holds: SwitchTable | None = None  # ours, as last read or confirmed; None: not known
        self.changing = hub.Semaphore(1)  # held by who changes the table, over several exchanges
        self.bundles, self.meters = True, True  # until it says otherwise
        self._timeout_s = timeout_s
        self._turn = hub.Semaphore(1)
        self._inbox = hub.Queue()
        self._waiting_for: set[int] = set()
        self._bundle_ids = itertools.count(1)
        self._lost = ""

    @property
    def id(self) -> int:
        return self.datapath.id

    @property
    def lost(self) -> str:
        """Why the conversation has ended; "": it has not."""
        return self._lost

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

    # --- Reading

    def read(self) -> SwitchTable:
        """Everything of ours, as the switch holds it; also kept in ``holds``."""
        with self._turn:
            entries = tuple(row.entry for row in self._read_flows())
            groups = tuple(map(group_of, self._collect(parser.OFPGroupDescStatsRequest(self.datapath, 0))))
            meters = tuple(map(meter_of, self._read_meters()))
        self.holds = SwitchTable(
            entries, tuple(one for one in groups if one.is_ours), tuple(one for one in meters if one.is_ours)
        )
        return self.holds

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

    def ping(self) -> None:
        """Returns once the switch has answered an echo request."""
        with self._turn:
            self._exchange([parser.OFPEchoRequest(self.datapath, b"LINKs")])

    def _read_flows(self) -> tuple[FlowCounters, ...]:
        request = parser.OFPFlowStatsRequest(self.datapath, cookie=COOKIE, cookie_mask=COOKIE_MASK)
        return tuple(
            FlowCounters(entry_of(stats), stats.packet_count, stats.byte_count, stats.duration_sec)
            for stats in self._collect(request)
        )

    def _read_meters(self) -> list:
        if not self.meters:
            return []
        parts, errors = self._exchange([parser.OFPMeterConfigStatsRequest(self.datapath, 0, ofproto.OFPM_ALL)])
        self.meters = not errors
        return [row for part in parts for row in part.body]

    def _collect(self, request) -> list:
        """The rows of a statistics reply, from all its parts."""
        parts, errors = self._exchange([request])
        if errors:
            self._give_up(f"{type(request).__name__}: {error_text(errors[request.xid])}")
        return [row for part in parts for row in part.body]

    # --- Changing

    def prepare(self, changes: Changes) -> Prepared:
        """Have the switch take note of changes without carrying them out, as far as it can. Raises Refused."""
        if not self.bundles:
            return Prepared(changes)
        bundle_id = next(self._bundle_ids)
        items = [(item, present) for item, present in _puts(changes) if not isinstance(item, Meter)]
        messages = [(item, put(self.datapath, item, present)) for item, present in items]
        messages += [(item, remove(self.datapath, item)) for item in changes.delete if not isinstance(item, Meter)]
        if not messages:
            return Prepared(changes)
        adds = [parser.ONFBundleAddMsg(self.datapath, bundle_id, _BUNDLE_FLAGS, message, []) for _, message in messages]
        opening = self._control(bundle_id, ofproto.ONF_BCT_OPEN_REQUEST)
        closing = self._control(bundle_id, ofproto.ONF_BCT_CLOSE_REQUEST)
        with self._turn:
            _, errors = self._exchange([opening, *adds, closing])
        if opening.xid in errors and errors[opening.xid].type == ofproto.OFPET_BAD_REQUEST:
            self.bundles = False
            return Prepared(changes)
        item_of = {add.xid: item for add, (item, _) in zip(adds, messages, strict=True)}
        prepared = Prepared(changes, bundle_id, item_of)
        if errors:
            self.discard(prepared)
            raise Refused(_named(errors, item_of, "bundle"))
        return prepared

    def commit(self, prepared: Prepared) -> None:
        """Carry prepared changes out; returns when the switch has confirmed. A bundle is carried out all or not at all;
        without one additions and modifications come first, and deletions once those are confirmed. Raises Refused."""
        changes, holds = prepared.changes, self.holds
        self.holds = None  # until it is known that all went well
        puts = [
            (item, present) for item, present in _puts(changes) if isinstance(item, Meter) or not prepared.bundle_id
        ]
        deletes = [item for item in changes.delete if isinstance(item, Meter) or not prepared.bundle_id]
        try:
            self._send_and_confirm([(item, put(self.datapath, item, present)) for item, present in puts])
            if prepared.bundle_id:
                self._commit_bundle(prepared)
        except Refused:
            self.discard(prepared)
            raise
        self._send_and_confirm([(item, remove(self.datapath, item)) for item in deletes])
        self.holds = _changed(holds, changes) if holds is not None else None

    def discard(self, prepared: Prepared) -> None:
        """Have the switch forget a bundle. It may have done so already, when it refused it."""
        if prepared.bundle_id:
            with self._turn:
                self._exchange([self._control(prepared.bundle_id, ofproto.ONF_BCT_DISCARD_REQUEST)])

    def _commit_bundle(self, prepared: Prepared) -> None:
        with self._turn:
            request = self._control(prepared.bundle_id, ofproto.ONF_BCT_COMMIT_REQUEST)
            _, errors = self._exchange([request], also=prepared.item_of)
        if errors:
            raise Refused(_named(errors, prepared.item_of, "bundle"))

    def _send_and_confirm(self, messages: Sequence[tuple[Item, parser.MsgBase]]) -> None:
        """Send messages and a barrier. Raises Refused."""
        if not messages:
            return
        barrier = parser.OFPBarrierRequest(self.datapath)
        with self._turn:
            _, errors = self._exchange([*(message for _, message in messages), barrier])
        if barrier.xid in errors:
            self._give_up(f"barrier: {error_text(errors[barrier.xid])}")
        if errors:
            raise Refused(_named(errors, {message.xid: item for item, message in messages}, ""))

    def _control(self, bundle_id: int, kind: int) -> parser.ONFBundleCtrlMsg:
        return parser.ONFBundleCtrlMsg(self.datapath, bundle_id, kind, _BUNDLE_FLAGS, [])

    # --- Exchanges

    def _exchange(self, messages: Sequence, also: Iterable[int] = ()) -> tuple[list, dict[int, parser.OFPErrorMsg]]:
        """Send messages, the last of which is answered; returns the parts of its answer, and errors by xid. ``also``:
        xids of earlier messages to which errors may still come."""
        if self._lost:
            raise SwitchLost(self._lost)
        for message in messages:
            self.datapath.set_xid(message)
        self._waiting_for = {message.xid for message in messages} | set(also)
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
            if message.xid not in self._waiting_for:
                continue  # a second answer to an earlier exchange
            if isinstance(message, parser.OFPErrorMsg):
                errors[message.xid] = message
                if message.xid == last_xid:
                    return parts, errors
            elif message.xid == last_xid:
                parts.append(message)
                if not _more_to_come(message):
                    return parts, errors

    def _give_up(self, reason: str) -> None:
        self.lose(reason)
        self.datapath.close()
        raise SwitchLost(self._lost)


def _more_to_come(message) -> bool:
    return isinstance(message, parser.OFPMultipartReply) and bool(message.flags & ofproto.OFPMPF_REPLY_MORE)


def _puts(changes: Changes) -> list[tuple[Item, bool]]:
    """What is put, with whether something is in its slot."""
    return [(item, False) for item in changes.add] + [(item, True) for item in changes.modify]


def _changed(table: SwitchTable, changes: Changes) -> SwitchTable:
    """The table after the changes."""
    items = {item.slot: item for item in table.items}
    items |= {item.slot: item for item, _ in _puts(changes)}
    for item in changes.delete:
        items.pop(item.slot, None)
    return SwitchTable.of(items.values())


def _named(errors: dict[int, parser.OFPErrorMsg], item_of: dict[int, Item], otherwise: str) -> list[str]:
    """Errors with the items that caused them, those that name an item first; where one does, what follows from it is
    left out."""
    named = [f"{item_of[xid]}: {error_text(error)}" for xid, error in errors.items() if xid in item_of]
    return named or [f"{otherwise}: {error_text(error)}" for error in errors.values()]
