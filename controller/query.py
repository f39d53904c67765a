"""QueryService: questions in, a stream of progress events and the result out."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import grpc

from agents.turns import Human, Say, Stopped
from controller import messages
from controller.approvals import ADVICE_LENGTH
from controller.control_plane import ControlPlaneError
from controller.question import Answerer
from proto import query_pb2, query_pb2_grpc

log = logging.getLogger(__name__)
QUESTION_LENGTH = 2_000
# Readings before this or after this are no data of a city's twin, and dates near the ends break calendars.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


_HUMAN = {
    query_pb2.HUMAN_NEVER: Human.NEVER,
    query_pb2.HUMAN_TERMINATE: Human.TERMINATE,
    query_pb2.HUMAN_ALWAYS: Human.ALWAYS,
}


class QueryServicer(query_pb2_grpc.QueryServiceServicer):
    """``moment()`` is now, in the city's time zone."""

    def __init__(self, answerer: Answerer, moment: Callable[[], datetime], max_questions: int):
        self._answerer = answerer
        self._moment = moment
        self._free = max_questions
        self._max_questions = max_questions

    async def Plan(self, request, context):
        now = await self._checked(request, context)
        return messages.plan(await self._answerer.plan(request.question, now), now)

    async def Approve(self, request, context):
        if len(request.advice) > ADVICE_LENGTH:
            text = f"advice has {len(request.advice)} characters; at most {ADVICE_LENGTH} are read"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if not self._answerer.approvals.answer(request.approval_id, Say(request.go_on, request.advice)):
            text = f"no approval {request.approval_id[:64]!r} is waited for; it was answered, or its time is over"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        return query_pb2.ApproveReply()

    async def Ask(self, request, context):
        now = await self._checked(request, context)
        if request.human and request.human not in _HUMAN:
            names = ", ".join(query_pb2.Human.keys())
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"human {request.human} is none of {names}")
        if self._free == 0:
            text = (
                f"{self._max_questions} questions are being answered already (service.max_questions); ask again later"
            )
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._free -= 1
        try:
            async for event in self._events(request, now, context):
                yield event
        finally:
            self._free += 1

    async def _events(self, request, now: datetime, context):
        """Run the question as a task that puts its events on a queue; ending this generator ends the task."""
        request_id = request.request_id[:64] or uuid.uuid4().hex[:12]
        events: asyncio.Queue[query_pb2.AskEvent | None] = asyncio.Queue()

        async def work() -> query_pb2.AskResult:
            try:
                human = _HUMAN.get(request.human)
                return await self._answerer.ask(request.question, now, request_id, events.put_nowait, human)
            finally:
                events.put_nowait(None)

        task = asyncio.create_task(work())
        sequence = 0
        try:
            while (event := await events.get()) is not None:
                sequence += 1
                yield _stamped(event, sequence)
            result = await task
            yield _stamped(query_pb2.AskEvent(result=result), sequence + 1)
        except Stopped as stopped:
            await context.abort(grpc.StatusCode.ABORTED, f"not approved: {stopped}")
        except ControlPlaneError as error:
            log.warning("[%s] %s", request_id, error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except Exception as error:  # the boundary: whatever failed becomes a status, and the service lives
            log.exception("[%s] failed", request_id)
            text = f"the service failed on this question ({type(error).__name__}: {error}); its log has {request_id}"
            await context.abort(grpc.StatusCode.INTERNAL, text)
        finally:
            if not task.done():
                log.info("[%s] cancelled by the client or its deadline", request_id)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _checked(self, request, context) -> datetime:
        """The moment that the question is asked as of; INVALID_ARGUMENT for what no question can be."""
        if not request.question.strip():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "question is empty; ask in plain language")
        if len(request.question) > QUESTION_LENGTH:
            text = f"question has {len(request.question)} characters; at most {QUESTION_LENGTH} are read"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if not request.HasField("now"):
            return self._moment()
        try:
            now = request.now.ToDatetime(tzinfo=UTC)
            if not EARLIEST <= now < LATEST:
                raise ValueError("out of range")
        except (ValueError, OverflowError):
            text = f"now must lie between {EARLIEST:%Y} and {LATEST:%Y}, not at {request.now.seconds} s after 1970"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        return now.replace(microsecond=0).astimezone(self._moment().tzinfo)


def _stamped(event: query_pb2.AskEvent, sequence: int) -> query_pb2.AskEvent:
    event.sequence = sequence
    event.time.GetCurrentTime()
    return event
