"""The coordinators' emulated air."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mininet_topos.zigbee_air import REFERENCE_PACKET_BYTES, air_rate_bps, packet_air_time_s
from twin.ieee802154 import MAC_BYTES_NO_ADDRESS, goodput_bps


def test_the_frame_times_it_rests_on_have_the_known_answer():
    """Latre et al. 2006: one sender, no addresses, no acknowledgement, 122 bytes of payload: 162 kbit/s."""
    assert goodput_bps(122, MAC_BYTES_NO_ADDRESS, ack=False) == pytest.approx(162_234, rel=1e-4)


def test_air_time_of_one_full_frame_by_hand():
    """Mean backoff 3.5 x 320 us, 133 bytes at 32 us, turnaround 192 us, ACK of 11 bytes, interframe space 640 us."""
    assert packet_air_time_s(82) == pytest.approx((1120 + 133 * 32 + 192 + 11 * 32 + 640) * 1e-6)


def test_the_reference_packet_takes_twelve_full_frames_and_a_rest_of_80_bytes():
    assert REFERENCE_PACKET_BYTES == 12 * 82 + 80
    rest_s = (1120 + 131 * 32 + 192 + 11 * 32 + 640) * 1e-6
    assert packet_air_time_s(REFERENCE_PACKET_BYTES) == pytest.approx(12 * packet_air_time_s(82) + rest_s)


def test_rate_in_ethernet_frames_carries_the_goodput():
    """What is left without the Ethernet header is at most the payload goodput of full frames: 100 kbit/s."""
    payload_bps = air_rate_bps() * REFERENCE_PACKET_BYTES / (REFERENCE_PACKET_BYTES + 14)
    assert 0.95 * goodput_bps() < payload_bps <= goodput_bps()


@given(st.integers(1, 1500))
def test_bigger_packets_take_longer_and_never_beat_the_goodput(packet_bytes):
    assert packet_air_time_s(packet_bytes + 1) > packet_air_time_s(packet_bytes)
    assert 8 * packet_bytes / packet_air_time_s(packet_bytes) <= goodput_bps() * (1 + 1e-12)


def test_no_packet_is_refused():
    with pytest.raises(ValueError, match="packet_bytes 0"):
        packet_air_time_s(0)
