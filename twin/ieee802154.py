"""Frame times and goodput of unslotted IEEE 802.15.4 at 2.4 GHz, one sender on a free channel.

Accounting of Latre et al., "Throughput and Delay Analysis of Unslotted IEEE 802.15.4", Journal of Networks 1(1), 2006:
mean initial backoff, frame, turnaround and acknowledgement if asked for, interframe space. One sender without addresses
and without acknowledgement then carries 162.2 kbit/s of its 250 (64.9%), which is the paper's figure. The clear channel
assessment (8 symbols) counts as part of the backoff, as it does there. Contention is in ``optimizer.zigbee``.
"""

BIT_RATE_BPS = 250_000.0
SYMBOL_S = 16e-6
UNIT_BACKOFF_S = 20 * SYMBOL_S  # aUnitBackoffPeriod, 320 us
CCA_S = 8 * SYMBOL_S  # clear channel assessment, 128 us
TURNAROUND_S = 12 * SYMBOL_S  # aTurnaroundTime, 192 us
ACK_WAIT_S = 54 * SYMBOL_S  # macAckWaitDuration, 864 us
SIFS_S, LIFS_S = 12 * SYMBOL_S, 40 * SYMBOL_S  # macSIFSPeriod after frames of at most 18 bytes, else macLIFSPeriod
MAX_SIFS_FRAME_BYTES = 18
MIN_BE, MAX_BE, MAX_BACKOFFS, MAX_RETRIES = 3, 5, 4, 3  # macMinBE, macMaxBE, macMaxCSMABackoffs, macMaxFrameRetries

PHY_BYTES = 6  # preamble 4, start of frame 1, length 1
MAX_FRAME_BYTES = 127  # aMaxPHYPacketSize: MAC header, payload and check sequence
ACK_BYTES = 5
MAC_BYTES_NO_ADDRESS = 5  # frame control 2, sequence number 1, check sequence 2
# Zigbee unicast: MAC with short addresses 11, network header 8, security header 14 and MIC 4, application support 8.
ZIGBEE_OVERHEAD_BYTES = 11 + 8 + 18 + 8
ZIGBEE_PAYLOAD_BYTES = MAX_FRAME_BYTES - ZIGBEE_OVERHEAD_BYTES  # 82


def air_time_s(frame_bytes: int) -> float:
    """Time on air of a frame of ``frame_bytes`` (MAC header to check sequence) with its PHY header."""
    return 8 * (PHY_BYTES + frame_bytes) / BIT_RATE_BPS


def mean_backoff_s(be: int = MIN_BE) -> float:
    """Mean of a backoff drawn uniformly from 0 .. 2^be - 1 unit backoff periods."""
    return (2**be - 1) / 2 * UNIT_BACKOFF_S


def exchange_time_s(payload_bytes: int, overhead_bytes: int = ZIGBEE_OVERHEAD_BYTES, ack: bool = True) -> float:
    """Mean time in seconds of one frame on a free channel, from its backoff to its interframe space.

    ``overhead_bytes``: all headers and trailers inside the frame of at most 127 bytes. Raises ValueError.
    """
    frame_bytes = payload_bytes + overhead_bytes
    if payload_bytes < 1 or overhead_bytes < MAC_BYTES_NO_ADDRESS or frame_bytes > MAX_FRAME_BYTES:
        raise ValueError(
            f"payload_bytes {payload_bytes} with overhead_bytes {overhead_bytes}: payload must be at least 1, overhead "
            f"at least {MAC_BYTES_NO_ADDRESS}, and their sum at most {MAX_FRAME_BYTES}"
        )
    answer = TURNAROUND_S + air_time_s(ACK_BYTES) if ack else 0.0
    space = SIFS_S if frame_bytes <= MAX_SIFS_FRAME_BYTES else LIFS_S
    return mean_backoff_s() + air_time_s(frame_bytes) + answer + space


def goodput_bps(
    payload_bytes: int = ZIGBEE_PAYLOAD_BYTES, overhead_bytes: int = ZIGBEE_OVERHEAD_BYTES, ack: bool = True
) -> float:
    """Payload bit/s of one sender that always has a frame of ``payload_bytes`` to send, nothing lost.

    Known answer (Latre 2006): ``goodput_bps(122, MAC_BYTES_NO_ADDRESS, ack=False)`` is 162.2 kbit/s.
    """
    return 8 * payload_bytes / exchange_time_s(payload_bytes, overhead_bytes, ack)
