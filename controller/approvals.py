"""A person's approval of agents' turns over gRPC: an event asks for it, QueryService.Approve brings it."""

import asyncio
import uuid
from collections.abc import Callable

from agents.turns import Say, Stopped, Turn
from controller import messages
from proto import query_pb2

ADVICE_LENGTH = 500


class Approvals:
    """Approvals that are waited for, at most ``seconds`` each."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._waiting: dict[str, asyncio.Future[Say]] = {}

    async def ask(self, turn: Turn, emit: Callable[[query_pb2.AskEvent], None]) -> Say:
        """Ask for a turn's approval by an event. Raises Stopped when no answer comes in time."""
        approval_id = uuid.uuid4().hex  # not to be guessed by others
        self._waiting[approval_id] = asyncio.get_running_loop().create_future()
        emit(messages.approval(approval_id, turn, self._seconds))
        try:
            async with asyncio.timeout(self._seconds):
                return await self._waiting[approval_id]
        except TimeoutError:
            raise Stopped(f"nobody approved the plan within {self._seconds:g} s (agents.human_s)") from None
        finally:
            del self._waiting[approval_id]

    def answer(self, approval_id: str, say: Say) -> bool:
        """Hand in an answer; False when it is not waited for."""
        waiting = self._waiting.get(approval_id)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(say)
        return True
