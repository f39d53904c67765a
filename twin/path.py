"""The two radio paths of a sensor, as a plain enum for the pure rooms (values as in links.v1.Path)."""

from enum import Enum


class Path(Enum):
    """Which way a sensor's data take. ``Path(number)`` and ``path.value`` convert from and to the proto's number."""

    SIXG = 1
    ZIGBEE = 2
