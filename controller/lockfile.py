"""One process at a time: a file that a process holds locked for as long as it lives, with its pid inside."""

import fcntl
import os
from pathlib import Path


def lock(path: Path):
    """Hold ``path`` for this process until it ends; returns the open file. Raises OSError when another has it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise OSError(f"{path}: process {file.read().strip() or '?'} runs here already; stop it first") from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(path: Path) -> int | None:
    """The process that holds ``lock(path)``, or None."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        text = path.read_text().strip()
        return int(text) if text.isdigit() else None
    except FileNotFoundError:
        return None
