"""How a client of the links service behaves when the service is away."""

import asyncio
import logging

import grpc

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# Away, restarting, or too slow. Anything else (UNAUTHENTICATED, UNIMPLEMENTED, ...) stays wrong when tried again.
RETRIED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
}


class Pause:
    """Pauses between attempts, each twice as long as the one before, until something worked."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def check(self, error: grpc.aio.AioRpcError) -> None:
        """Raise the error again unless trying again may help; said once per outage."""
        if error.code() not in RETRIED:
            raise error
        if self._next_s == FIRST_PAUSE_S:
            log.warning("links service not reachable (%s: %s); trying until it is", error.code().name, error.details())

    def reset(self) -> None:
        """Something worked."""
        self._next_s = FIRST_PAUSE_S

    async def wait(self) -> None:
        await asyncio.sleep(self._next_s)
        self._next_s = min(2 * self._next_s, LONGEST_PAUSE_S)
