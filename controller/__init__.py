"""The control plane: the Ryu application, the links service with its gRPC servers, and the command line.

Public: ``ryu_app`` (for ryu-manager), ``service`` (the process that answers questions), ``cli`` (``links``).
"""

from pathlib import Path


def ryu_app_path() -> Path:
    """The file that ryu-manager loads."""
    return Path(__file__).with_name("ryu_app.py")
