"""An OpenFlow 1.3 switch without a data plane, written against the specification and not against Ryu.

``FakeSwitch.handle`` takes the bytes of one message and returns those of the answers. It keeps flow entries as raw
bytes, so that what it reports is byte for byte what it was sent. ``serve`` connects it to a controller over TCP.
"""

import socket
import ssl
import struct
import threading
import time

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 5, 6
FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 14, 18, 19, 20, 21
PORT_STATUS, EXPERIMENTER, GROUP_MOD, METER_MOD = 12, 4, 15, 29
ADD, DELETE_STRICT = 0, 4
GROUP_ADD, GROUP_MODIFY, GROUP_DELETE = 0, 1, 2
METER_ADD, METER_MODIFY, METER_DELETE = 0, 1, 2
MP_FLOW, MP_PORT_STATS, MP_GROUP_DESC, MP_METER_CONFIG, MP_PORT_DESC = 1, 4, 7, 10, 13
ACTION_GROUP, INSTRUCTION_METER = 22, 6
LOCAL = 0xFFFFFFFE
# Errors: type and code.
BAD_REQUEST, BAD_TYPE, BAD_MULTIPART, BAD_EXPERIMENTER = 1, 1, 2, 3
BAD_ACTION, BAD_OUT_GROUP = 2, 9
FLOW_MOD_FAILED, TABLE_FULL, BAD_TABLE_ID = 5, 1, 2
GROUP_MOD_FAILED, GROUP_EXISTS, UNKNOWN_GROUP = 6, 0, 8
METER_MOD_FAILED, METER_EXISTS, UNKNOWN_METER = 12, 1, 3
# Bundles (ONF EXT-230).
ONF, BUNDLE_CONTROL, BUNDLE_ADD = 0x4F4E4600, 2300, 2301
BUNDLE_OPEN, BUNDLE_CLOSE, BUNDLE_COMMIT, BUNDLE_DISCARD = 0, 2, 4, 6
BAD_BUNDLE, BUNDLE_EXISTS, BUNDLE_CLOSED, UNSUPPORTED, BUNDLE_FAILED = 2302, 2303, 2304, 2310, 2313


def messages_of(wire: bytes) -> list[bytes]:
    """The messages in a byte stream."""
    result = []
    while wire:
        length = struct.unpack_from("!H", wire, 2)[0]
        result.append(bytes(wire[:length]))
        wire = wire[length:]
    return result


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body


class FakeSwitch:
    """``table``: (table id, priority, match bytes) -> [cookie, instruction bytes, packets, bytes, timeouts and flags];
    ``groups`` and ``meters``: number -> [type or flags, bucket or band bytes].

    ``bundles`` and ``knows_meters`` False: it has none. ``capacity``: of all flow tables together. ``refused_tables``:
    flow-mods to these are errors. ``silent``: kinds of messages that are not answered. ``applied`` is called after each
    message that has changed something, within a bundle only after the last.
    """

    def __init__(self, datapath_id: int, ports: dict[int, str], rows_per_part: int = 7) -> None:
        self.datapath_id, self.ports, self.rows_per_part = datapath_id, ports, rows_per_part
        self.table: dict[tuple[int, int, bytes], list] = {}
        self.groups: dict[int, list] = {}
        self.meters: dict[int, list] = {}
        self.mods: list[tuple[int, int, int]] = []  # (kind, command, table id or number), as carried out
        self.kinds: list[int] = []  # of all messages
        self.bundles = self.knows_meters = True
        self.capacity = 1_000_000
        self.refused_tables: set[int] = set()
        self.silent: set[int] = set()
        self.down: set[int] = set()  # ports without a link
        self.applied = lambda: None
        self._open: dict[int, list[bytes]] = {}
        self._closed: set[int] = set()

    @property
    def flow_mods(self) -> list[tuple[int, int]]:
        """(command, table id) of the flow-mods that were carried out, in order."""
        return [(command, number) for kind, command, number in self.mods if kind == FLOW_MOD]

    def handle(self, wire: bytes) -> list[bytes]:
        _, kind, _, xid = struct.unpack_from("!BBHI", wire)
        self.kinds.append(kind)
        if kind in self.silent:
            return []
        if kind == ECHO_REQUEST:
            return [message(ECHO_REPLY, xid, wire[8:])]
        if kind == FEATURES_REQUEST:
            return [message(FEATURES_REPLY, xid, struct.pack("!QIBBxxII", self.datapath_id, 0, 254, 0, 0x4F, 0))]
        if kind == BARRIER_REQUEST:
            return [message(BARRIER_REPLY, xid)]
        if kind == MULTIPART_REQUEST:
            return self._multipart(wire, xid)
        if kind == EXPERIMENTER:
            return self._experimenter(wire, xid)
        if kind in (FLOW_MOD, GROUP_MOD, METER_MOD):
            errors = self._mod(wire)
            if not errors:
                self.applied()
            return errors
        return []

    def _mod(self, wire: bytes) -> list[bytes]:
        _, kind, _, xid = struct.unpack_from("!BBHI", wire)
        mod = {FLOW_MOD: self._flow_mod, GROUP_MOD: self._group_mod, METER_MOD: self._meter_mod}[kind]
        error = mod(wire)
        return [_error(xid, *error, wire)] if error else []

    def _flow_mod(self, wire: bytes) -> tuple[int, int] | None:
        cookie, mask, table_id, command, idle, hard, priority = struct.unpack_from("!QQBBHHH", wire, 8)
        (flags,) = struct.unpack_from("!H", wire, 44)
        if table_id in self.refused_tables:
            return FLOW_MOD_FAILED, BAD_TABLE_ID
        match, end = _match(wire, 48)
        key = table_id, priority, match
        if command == ADD:
            if key not in self.table and len(self.table) >= self.capacity:
                return FLOW_MOD_FAILED, TABLE_FULL
            instructions = wire[end:]
            if not _numbers(instructions, ACTION_GROUP) <= self.groups.keys():
                return BAD_ACTION, BAD_OUT_GROUP
            if not _meters(instructions) <= self.meters.keys():
                return METER_MOD_FAILED, UNKNOWN_METER
            counters = self.table[key][2:4] if key in self.table else [0, 0]
            self.table[key] = [cookie, instructions, *counters, (idle, hard, flags)]
        elif command == DELETE_STRICT:
            if key in self.table and self.table[key][0] & mask == cookie & mask:
                del self.table[key]
        else:
            raise AssertionError(f"unexpected flow-mod command {command}")
        self.mods.append((FLOW_MOD, command, table_id))
        return None

    def _group_mod(self, wire: bytes) -> tuple[int, int] | None:
        command, kind, number = struct.unpack_from("!HBxI", wire, 8)
        if command == GROUP_ADD and number in self.groups:
            return GROUP_MOD_FAILED, GROUP_EXISTS
        if command == GROUP_MODIFY and number not in self.groups:
            return GROUP_MOD_FAILED, UNKNOWN_GROUP
        if command in (GROUP_ADD, GROUP_MODIFY):
            if not _numbers(wire[16:], ACTION_GROUP) <= self.groups.keys():
                return BAD_ACTION, BAD_OUT_GROUP
            self.groups[number] = [kind, wire[16:]]
        elif command == GROUP_DELETE:
            self.groups.pop(number, None)
            for key in [k for k, row in self.table.items() if number in _numbers(row[1], ACTION_GROUP)]:
                del self.table[key]  # OpenFlow 1.3.5, section 6.4
        else:
            raise AssertionError(f"unexpected group-mod command {command}")
        self.mods.append((GROUP_MOD, command, number))
        return None

    def _meter_mod(self, wire: bytes) -> tuple[int, int] | None:
        command, flags, number = struct.unpack_from("!HHI", wire, 8)
        if not self.knows_meters:
            return BAD_REQUEST, BAD_TYPE
        if command == METER_ADD and number in self.meters:
            return METER_MOD_FAILED, METER_EXISTS
        if command == METER_MODIFY and number not in self.meters:
            return METER_MOD_FAILED, UNKNOWN_METER
        if command in (METER_ADD, METER_MODIFY):
            self.meters[number] = [flags, wire[16:]]
        elif command == METER_DELETE:
            self.meters.pop(number, None)
            for key in [k for k, row in self.table.items() if number in _meters(row[1])]:
                del self.table[key]
        self.mods.append((METER_MOD, command, number))
        return None

    def _experimenter(self, wire: bytes, xid: int) -> list[bytes]:
        experimenter, kind, bundle = struct.unpack_from("!III", wire, 8)
        if not self.bundles or experimenter != ONF or kind not in (BUNDLE_CONTROL, BUNDLE_ADD):
            return [_error(xid, BAD_REQUEST, BAD_EXPERIMENTER, wire)]
        if kind == BUNDLE_ADD:
            if bundle not in self._open or bundle in self._closed:
                return [_onf_error(xid, BUNDLE_CLOSED)]
            inner = wire[24:]
            assert struct.unpack_from("!I", inner, 4)[0] == xid, "inner and outer xid differ (EXT-230, 3.3)"
            if inner[1] == METER_MOD:
                return [_onf_error(xid, UNSUPPORTED)]
            self._open[bundle].append(inner)
            return []
        (control, flags) = struct.unpack_from("!HH", wire, 20)
        reply = [message(EXPERIMENTER, xid, struct.pack("!IIIHH", ONF, BUNDLE_CONTROL, bundle, control + 1, flags))]
        if control == BUNDLE_OPEN:
            if bundle in self._open:
                return [_onf_error(xid, BUNDLE_EXISTS)]
            self._open[bundle] = []
            self._closed.discard(bundle)
        elif bundle not in self._open:
            return [_onf_error(xid, BAD_BUNDLE)]
        elif control == BUNDLE_CLOSE:
            self._closed.add(bundle)
        elif control == BUNDLE_COMMIT:
            errors = self._commit(self._open.pop(bundle))
            return [*errors, _onf_error(xid, BUNDLE_FAILED)] if errors else reply
        elif control == BUNDLE_DISCARD:
            del self._open[bundle]
        return reply

    def _commit(self, messages: list[bytes]) -> list[bytes]:
        """All or nothing."""
        before = {key: list(row) for key, row in self.table.items()}, dict(self.groups), dict(self.meters)
        mods = len(self.mods)
        for wire in messages:
            if errors := self._mod(wire):
                self.table, self.groups, self.meters = before
                del self.mods[mods:]
                return errors
        self.applied()
        return []

    def _multipart(self, wire: bytes, xid: int) -> list[bytes]:
        (kind,) = struct.unpack_from("!H", wire, 8)
        if kind == MP_FLOW:
            cookie, mask = struct.unpack_from("!QQ", wire, 32)
            rows = [_flow_row(key, *entry) for key, entry in self.table.items() if (entry[0] & mask) == (cookie & mask)]
        elif kind == MP_GROUP_DESC:
            rows = [
                struct.pack("!HBxI", 8 + len(buckets), group_type, number) + buckets
                for number, (group_type, buckets) in self.groups.items()
            ]
        elif kind == MP_METER_CONFIG:
            if not self.knows_meters:
                return [_error(xid, BAD_REQUEST, BAD_MULTIPART, wire)]
            rows = [
                struct.pack("!HHI", 8 + len(bands), flags, number) + bands
                for number, (flags, bands) in self.meters.items()
            ]
        elif kind == MP_PORT_DESC:
            rows = [
                struct.pack("!I4x6s2x16s8I", number, bytes(6), name.encode(), 0, number in self.down, *[0] * 6)
                for number, name in [*self.ports.items(), (LOCAL, "local")]
            ]
        elif kind == MP_PORT_STATS:
            rows = [
                struct.pack("!I4x12QII", number, *(100 * number + i for i in range(12)), 9, 0)
                for number in [*self.ports, LOCAL]
            ]
        else:
            raise AssertionError(f"unexpected multipart request {kind}")
        size = self.rows_per_part
        parts = [rows[i : i + size] for i in range(0, len(rows), size)] or [[]]
        return [
            message(MULTIPART_REPLY, xid, struct.pack("!HH4x", kind, part is not parts[-1]) + b"".join(part))
            for part in parts
        ]

    def add_foreign(self, cookie: int, table_id: int = 0, priority: int = 5) -> tuple:
        """Install an entry that nobody asked for: drop everything."""
        key = table_id, priority, struct.pack("!HH4x", 1, 4)
        self.table[key] = [cookie, b"", 0, 0, (0, 0, 0)]
        return key

    def serve(self, port: int, tls: ssl.SSLContext | None = None) -> "Connection":
        """Connect to the controller at 127.0.0.1:port and answer until ``close``."""
        return Connection(self, port, tls)


class Connection:
    def __init__(self, switch: FakeSwitch, port: int, tls: ssl.SSLContext | None) -> None:
        self._switch = switch
        self._socket = _connect(port)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._socket.sendall(message(HELLO, 1))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, wire: bytes) -> None:
        self._socket.sendall(wire)

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed before, or by the other end
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        received = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            received += data
            while len(received) >= 8 and len(received) >= (length := struct.unpack_from("!H", received, 2)[0]):
                for answer in self._switch.handle(received[:length]):
                    self._socket.sendall(answer)
                received = received[length:]


def _connect(port: int) -> socket.socket:
    """A switch tries again until its controller listens."""
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _match(wire: bytes, start: int) -> tuple[bytes, int]:
    """A match with its padding, and where it ends."""
    length = struct.unpack_from("!H", wire, start + 2)[0]
    end = start + (length + 7) // 8 * 8
    return bytes(wire[start:end]), end


def _flow_row(key: tuple[int, int, bytes], cookie: int, instructions: bytes, packets: int, count: int, more) -> bytes:
    table_id, priority, match = key
    rest = struct.pack("!BxIIHHHH4xQQQ", table_id, 3, 0, priority, *more, cookie, packets, count)
    rest += match + instructions
    return struct.pack("!H", 2 + len(rest)) + rest


def _error(xid: int, kind: int, code: int, wire: bytes) -> bytes:
    return message(ERROR, xid, struct.pack("!HH", kind, code) + wire[:64])


def _onf_error(xid: int, kind: int) -> bytes:
    return message(ERROR, xid, struct.pack("!HHI", 0xFFFF, kind, ONF))


def _numbers(body: bytes, action: int) -> set[int]:
    """Numbers of the groups in actions: after type 22, length 8. Everything in the body is aligned to 8 bytes."""
    head = struct.pack("!HH", action, 8)
    return {struct.unpack_from("!I", body, i + 4)[0] for i in range(0, len(body), 8) if body[i : i + 4] == head}


def _meters(instructions: bytes) -> set[int]:
    return _numbers(instructions, INSTRUCTION_METER)
