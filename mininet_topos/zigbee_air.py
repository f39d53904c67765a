"""Rate of a Zigbee coordinator's emulated air: how many bit/s of Ethernet frames the half-duplex medium carries.

Both directions and all sensors of a coordinator pass one queue of this rate, so they share the medium as they would the
air. An IP packet goes over the air in frames of 82 bytes payload (MAC, network, security and application headers of
Zigbee taken off 127), each with its mean backoff, turnaround, acknowledgement and interframe space, as accounted for in
``twin.ieee802154``. The IPv4 and UDP headers are carried whole.

Not emulated: contention (collisions, longer backoffs as more nodes wait), retries and several hops. The queue serves
whoever waits in turn, so the total is that of one sender that always has a frame to send: an upper bound, which
``optimizer.zigbee`` puts figures to.
"""

from twin.ieee802154 import ZIGBEE_PAYLOAD_BYTES, exchange_time_s

ETHERNET_HEADER_BYTES = 14
# A CoAP block of 1,024 bytes with about 12 bytes of CoAP header and options, UDP (8) and IPv4 (20).
REFERENCE_PACKET_BYTES = 1024 + 12 + 8 + 20


def packet_air_time_s(packet_bytes: int) -> float:
    """Mean time that one IP packet keeps the air busy, seconds. Raises ValueError."""
    if packet_bytes < 1:
        raise ValueError(f"packet_bytes {packet_bytes}: an IP packet has at least 1 byte")
    frames, rest = divmod(packet_bytes, ZIGBEE_PAYLOAD_BYTES)
    return frames * exchange_time_s(ZIGBEE_PAYLOAD_BYTES) + (exchange_time_s(rest) if rest else 0.0)


def air_rate_bps(packet_bytes: int = REFERENCE_PACKET_BYTES) -> float:
    """Bit/s of Ethernet frames at which back-to-back IP packets of ``packet_bytes`` fill the air exactly."""
    return 8 * (ETHERNET_HEADER_BYTES + packet_bytes) / packet_air_time_s(packet_bytes)
