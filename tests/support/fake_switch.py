"""An OpenFlow 1.3 switch without a data plane, written against the specification and not against Ryu.

``FakeSwitch.handle`` takes the bytes of one message and returns those of the answers. It keeps flow entries as raw
bytes, so that what it reports is byte for byte what it was sent. ``serve`` connects it to a controller over TCP.
"""

import socket
import struct
import threading
import time

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 5, 6
FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 14, 18, 19, 20, 21
PORT_STATUS = 12
ADD, DELETE_STRICT = 0, 4
MP_FLOW, MP_PORT_STATS, MP_PORT_DESC = 1, 4, 13
FLOW_MOD_FAILED, BAD_TABLE_ID = 5, 2
LOCAL = 0xFFFFFFFE


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
    """``table``: (table id, priority, match bytes) -> [cookie, instruction bytes, packets, bytes]."""

    def __init__(self, datapath_id: int, ports: dict[int, str], rows_per_part: int = 7) -> None:
        self.datapath_id, self.ports, self.rows_per_part = datapath_id, ports, rows_per_part
        self.table: dict[tuple[int, int, bytes], list] = {}
        self.flow_mods: list[tuple[int, int]] = []  # (command, table id) in order
        self.kinds: list[int] = []  # of all messages
        self.refused_tables: set[int] = set()
        self.silent: set[int] = set()  # kinds of messages that are not answered

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
        if kind == FLOW_MOD:
            return self._flow_mod(wire, xid)
        if kind == MULTIPART_REQUEST:
            return self._multipart(wire, xid)
        return []

    def _flow_mod(self, wire: bytes, xid: int) -> list[bytes]:
        cookie, mask, table_id, command, _, _, priority = struct.unpack_from("!QQBBHHH", wire, 8)
        self.flow_mods.append((command, table_id))
        if table_id in self.refused_tables:
            return [message(ERROR, xid, struct.pack("!HH", FLOW_MOD_FAILED, BAD_TABLE_ID) + wire[:64])]
        match, end = _match(wire, 48)
        key = table_id, priority, match
        if command == ADD:
            counters = self.table[key][2:] if key in self.table else [0, 0]
            self.table[key] = [cookie, wire[end:], *counters]
        elif command == DELETE_STRICT:
            if key in self.table and self.table[key][0] & mask == cookie & mask:
                del self.table[key]
        else:
            raise AssertionError(f"unexpected flow-mod command {command}")
        return []

    def _multipart(self, wire: bytes, xid: int) -> list[bytes]:
        (kind,) = struct.unpack_from("!H", wire, 8)
        if kind == MP_FLOW:
            cookie, mask = struct.unpack_from("!QQ", wire, 32)
            rows = [_flow_row(key, *entry) for key, entry in self.table.items() if (entry[0] & mask) == (cookie & mask)]
        elif kind == MP_PORT_DESC:
            rows = [
                struct.pack("!I4x6s2x16s8I", number, bytes(6), name.encode(), 0, *[0] * 7)
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
        self.table[key] = [cookie, b"", 0, 0]
        return key

    def serve(self, port: int) -> "Connection":
        """Connect to the controller at 127.0.0.1:port and answer until ``close``."""
        return Connection(self, port)


class Connection:
    def __init__(self, switch: FakeSwitch, port: int) -> None:
        self._switch = switch
        self._socket = _connect(port)
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


def _flow_row(key: tuple[int, int, bytes], cookie: int, instructions: bytes, packets: int, count: int) -> bytes:
    table_id, priority, match = key
    rest = struct.pack("!BxIIHHHH4xQQQ", table_id, 3, 0, priority, 0, 0, 0, cookie, packets, count)
    rest += match + instructions
    return struct.pack("!H", 2 + len(rest)) + rest
