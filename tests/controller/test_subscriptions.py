"""Fan-out to watchers."""

import pytest

from controller.subscriptions import SlowWatcher, Subscriptions


async def test_every_watcher_gets_every_event_in_order():
    events = Subscriptions()
    with events.subscribe() as a, events.subscribe() as b:
        for i in range(3):
            events.publish(i)
        assert [await anext(a) for _ in range(3)] == [await anext(b) for _ in range(3)] == [0, 1, 2]


async def test_a_slow_watcher_is_cut_off_and_the_others_go_on():
    events = Subscriptions(queue_length=3)
    with events.subscribe() as slow, events.subscribe() as quick:
        for i in range(5):
            events.publish(i)
            assert await anext(quick) == i
        assert [await anext(slow) for _ in range(2)] == [1, 2]
        with pytest.raises(SlowWatcher):
            await anext(slow)
        events.publish(5)
        assert await anext(quick) == 5


async def test_nothing_is_kept_for_those_who_left():
    events = Subscriptions()
    with events.subscribe():
        pass
    events.publish(1)
    assert not events._queues
