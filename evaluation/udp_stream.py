"""A stream of numbered datagrams from a sensor's namespace to the twin and back, to find what a change loses and for
how long nothing arrives.

``udp_stream.py ADDRESS PORT PER_SECOND SECONDS`` sends; ``Echo`` answers in the test process; ``start`` ties the two.
"""

import json
import select
import socket
import subprocess
import sys
import threading
import time


class Echo:
    """Sends every datagram back to where it came from; ``received`` are their numbers, ``times_s`` when they came, on
    the monotonic clock."""

    def __init__(self, address: str) -> None:
        self.received: list[int] = []
        self.times_s: list[float] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self.address = self._socket.getsockname()
        self._closing = False
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._closing:
            try:
                data, source = self._socket.recvfrom(64)
            except TimeoutError:
                continue
            self.times_s.append(time.monotonic())
            self.received.append(int(data))
            self._socket.sendto(data, source)


def start(namespace_pid: int, echo: Echo, per_second: int, seconds: float) -> subprocess.Popen:
    """Start the stream in a namespace. ``finish`` waits for its end."""
    host, port = echo.address
    arguments = [host, str(port), str(per_second), str(seconds)]
    command = ["mnexec", "-a", str(namespace_pid), sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(stream: subprocess.Popen, echo: Echo) -> tuple[int, list[int], list[int]]:
    """The number of datagrams sent, the numbers lost on the way up, and those lost on the way there and back."""
    output, _ = stream.communicate(timeout=60)
    result = json.loads(output)
    lost = sorted(set(range(result["sent"])) - set(echo.received))
    return result["sent"], lost, result["missing"]


def main(host: str, port: int, per_second: int, seconds: float) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((host, port))
    count, missing = int(per_second * seconds), set()
    begin = time.monotonic()
    for number in range(count):
        missing.add(number)
        udp.send(b"%d" % number)
        _collect(udp, missing, until=begin + (number + 1) / per_second)
    end = time.monotonic() + 2.0
    while missing and time.monotonic() < end:
        _collect(udp, missing, until=time.monotonic() + 0.1)
    print(json.dumps({"sent": count, "missing": sorted(missing)}))


def _collect(udp: socket.socket, missing: set[int], until: float) -> None:
    """Take in what comes back until then."""
    while (left := until - time.monotonic()) > 0:
        if select.select([udp], [], [], left)[0]:
            missing.discard(int(udp.recv(64)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
