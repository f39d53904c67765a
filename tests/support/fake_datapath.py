"""What ``controller.switch.Switch`` wants of a Ryu datapath, with a FakeSwitch at its other end."""

from collections.abc import Callable

from fake_switch import FakeSwitch, messages_of
from ryu.ofproto import ofproto_parser, ofproto_protocol

from controller.openflow import OFP_VERSION
from controller.switch import Switch

Wire = Callable[[list[bytes]], list[bytes]]


class FakeDatapath(ofproto_protocol.ProtocolDesc):
    """``upset``: what a bad connection makes of the replies to what was sent in one go."""

    def __init__(self, fake: FakeSwitch, upset: Wire = list) -> None:
        super().__init__(OFP_VERSION)
        self.upset = upset
        self.id, self.fake, self.xid, self.closed = fake.datapath_id, fake, 0xFFFFFFF0, False
        self.owner: Switch | None = None

    def set_xid(self, message) -> None:
        self.xid = (self.xid + 1) & 0xFFFFFFFF  # passes 0 early on
        message.set_xid(self.xid)

    def send(self, wire) -> bool:
        if self.closed:
            return False
        for reply in self.upset([reply for message in messages_of(bytes(wire)) for reply in self.fake.handle(message)]):
            version, kind, length, xid = ofproto_parser.header(reply)
            self.owner.deliver(ofproto_parser.msg(self, version, kind, length, xid, reply))
        return True

    def close(self) -> None:
        self.closed = True


def connect(fake: FakeSwitch, timeout_s: float = 5.0, upset: Wire = list) -> Switch:
    """A conversation that begins."""
    datapath = FakeDatapath(fake, upset)
    datapath.owner = Switch(datapath, timeout_s)
    return datapath.owner
