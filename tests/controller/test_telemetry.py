"""Streams of load samples: whatever their size, they are as single samples one after the other."""

import asyncio

import numpy as np

from controller.telemetry import BATCH_SAMPLES, REJECTIONS_NAMED, TelemetryServicer
from proto import telemetry_pb2
from twin.load_history import LoadHistory

NOW = 1_000_000 * 600


def sample(cell, ago, offered=5.0):
    message = telemetry_pb2.LoadSample(cell_id=cell, offered_bps=offered, carried_bps=offered, capacity_bps=10.0)
    message.time.FromSeconds(NOW - ago * 600)
    return message


async def stream(samples):
    for message in samples:
        yield message


def servicer(told):
    history = LoadHistory("abc", slots=20)
    return history, TelemetryServicer(history, lambda: NOW, told.append)


async def test_many_samples_good_and_bad_are_all_accounted_for():
    rng = np.random.default_rng(1)
    count = 3 * BATCH_SAMPLES + 7
    samples, bad = [], {}
    for i in range(count):
        samples.append(sample("ab"[i % 2], int(rng.integers(0, 19)), float(rng.integers(0, 10))))
        if rng.random() < 0.3:
            kind = int(rng.integers(3))
            bad[i] = ("cell 'z' is unknown", "time is not set", "prb_used 9")[kind]
            samples[i].cell_id = "z" if kind == 0 else samples[i].cell_id
            if kind == 1:
                samples[i].ClearField("time")
            samples[i].prb_used = 9 if kind == 2 else 0
    told = []
    history, service = servicer(told)
    summary = await service.Publish(stream(samples), None)
    assert (summary.accepted, summary.rejected) == (count - len(bad), len(bad))
    named = {rejection.index: rejection.reason for rejection in summary.rejections}
    assert list(named) == sorted(bad)[:REJECTIONS_NAMED] and len(bad) > REJECTIONS_NAMED
    assert all(named[i].startswith(bad[i]) for i in named)
    alone = LoadHistory("abc", slots=20)
    for i, message in enumerate(samples):
        if i not in bad:
            alone.add(message.cell_id, message.time.seconds, message.offered_bps, 0.0, 10.0, NOW)
    np.testing.assert_allclose(history.window(), alone.window(), rtol=1e-8)
    assert set(told) == {"a", "b"}


async def test_a_sample_counts_while_its_stream_stays_open():
    told, more = [], asyncio.Event()
    history, service = servicer(told)

    async def slow():
        yield sample("c", 0)
        await more.wait()

    publishing = asyncio.create_task(service.Publish(slow(), None))
    async with asyncio.timeout(30):
        while not told:
            await asyncio.sleep(0.001)
    assert history.latest("c") == (NOW, 0.5) and not publishing.done()
    more.set()
    assert (await publishing).accepted == 1


async def test_what_came_before_a_stream_broke_off_counts():
    told = []
    history, service = servicer(told)

    async def broken():
        yield sample("a", 0)
        raise ConnectionError

    try:
        await service.Publish(broken(), None)
    except ConnectionError:
        pass
    assert history.latest("a") == (NOW, 0.5) and told == ["a"]
