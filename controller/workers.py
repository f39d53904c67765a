"""Worker processes for CPU-heavy pure functions, so that the service's event loop is never held up.

A call is a picklable function with plain data; nothing else is assumed of the executor, so that a distributed engine
can take the same calls later.
"""

import asyncio
import ctypes
import importlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1


class Workers:
    """A pool of ``count`` processes. Use as an async context manager. ``preload`` names modules that their work needs:
    they are imported while nobody waits yet."""

    def __init__(self, count: int, preload: Sequence[str] = ()):
        self._count = count
        self._preload = tuple(preload)
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # "spawn", because forking a process with gRPC threads deadlocks.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._count, context, initializer=_prepare, initargs=(os.getpid(), self._preload))

    async def run(self, function, *arguments):
        """``function(*arguments)`` in a worker. A worker that dies (killed, out of memory) costs one retry in a new
        pool; dying again raises BrokenProcessPool."""
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
        except BrokenProcessPool:
            log.error("a worker process died in %s; starting new ones and trying once more", function.__name__)
            if self._pool is pool:
                self._pool = self._start()
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def __aenter__(self) -> "Workers":
        for _ in range(self._count):
            self._pool.submit(os.getpid)  # a process starts with its first call
        return self

    async def __aexit__(self, *_) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _prepare(parent: int, preload: Sequence[str]) -> None:
    """A worker ends with its service, also when that is killed, and leaves Ctrl-C to it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(1)
    # As many workers as cores already: threads of a worker's own would only be in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for module in preload:
        importlib.import_module(module)
