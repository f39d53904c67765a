"""Worker processes: calls, errors, death."""

import os
import signal

import pytest

from controller.workers import Workers


async def test_calls_run_in_other_processes_and_errors_come_back():
    async with Workers(1) as workers:
        assert await workers.run(os.getpid) != os.getpid()
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)


async def test_a_killed_worker_costs_nothing_but_time():
    async with Workers(1) as workers:
        os.kill(await workers.run(os.getpid), signal.SIGKILL)
        assert await workers.run(pow, 2, 5) == 32
