"""Fan-out of events to watchers with bounded queues: a slow watcher is cut off and never holds up the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager

QUEUE_LENGTH = 1_000


class SlowWatcher(Exception):
    """The watcher did not take its events in time; it has to subscribe anew."""


class Subscriptions:
    """Publish to all subscribers of one kind of event."""

    def __init__(self, queue_length: int = QUEUE_LENGTH):
        self._queues: set[asyncio.Queue] = set()
        self._queue_length = queue_length

    def publish(self, event) -> None:
        """Give ``event`` to every subscriber; one whose queue is full is dropped."""
        for queue in tuple(self._queues):
            if queue.full():
                self._queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(SlowWatcher())
            else:
                queue.put_nowait(event)

    @contextmanager
    def subscribe(self):
        """An async iterator over all events from now on; it raises SlowWatcher when this reader fell behind."""
        queue: asyncio.Queue = asyncio.Queue(self._queue_length)
        self._queues.add(queue)
        try:
            yield self._events(queue)
        finally:
            self._queues.discard(queue)

    async def _events(self, queue: asyncio.Queue) -> AsyncIterator:
        while True:
            event = await queue.get()
            if isinstance(event, SlowWatcher):
                raise event
            yield event
