"""Worker processes for CPU-heavy pure functions, so that the service's event loop is never held up.

A call is a picklable function with plain data; nothing else is assumed of the executor, so that a distributed engine
can take the same calls later.
"""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1


class Workers:
    """A pool of ``count`` processes, started when first needed. Use as an async context manager."""

    def __init__(self, count: int):
        self._count = count
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # "spawn", because forking a process with gRPC threads deadlocks.
        return ProcessPoolExecutor(
            self._count, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(os.getpid(),)
        )

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
        return self

    async def __aexit__(self, *_) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _prepare(parent: int) -> None:
    """A worker ends with its service, also when that is killed, and leaves Ctrl-C to it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(1)
