"""The emulated city in Mininet: topology, sensor hosts, radio emulator, telemetry replay; ``mn --custom`` works too.

Public: ``City``, ``CityTopo`` (build it), ``RadioEmulator`` (rates), ``Replay`` (load telemetry), ``cleanup`` (remove
what a killed city left), ``capabilities`` (what this machine can emulate), ``CityError``.
"""

import importlib

_HOME = {
    "City": "city",
    "CityTopo": "topology",
    "RadioEmulator": "radio",
    "Replay": "replay",
    "capabilities": "machine",
    "cleanup": "run_directory",
    "CityError": "run_directory",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    # Loaded when asked for: the sensor processes need none of Mininet and gRPC.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
