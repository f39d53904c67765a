"""TelemetryService: load samples of base stations into the load history."""

import asyncio
import logging
from collections.abc import Callable

from proto import telemetry_pb2, telemetry_pb2_grpc
from twin.load_history import LoadHistory

log = logging.getLogger(__name__)
REJECTIONS_NAMED = 100
# Samples of a stream go into the history so many at a time, or after so long.
BATCH_SAMPLES = 200
BATCH_S = 0.02


class TelemetryServicer(telemetry_pb2_grpc.TelemetryServiceServicer):
    """``on_sample(cell_id)`` is called once for each cell of a batch of accepted samples; ``now_s`` is the service's
    clock."""

    def __init__(self, history: LoadHistory, now_s: Callable[[], float], on_sample: Callable[[str], None]):
        self._history = history
        self._now_s = now_s
        self._on_sample = on_sample

    async def Publish(self, request_iterator, context):
        summary = telemetry_pb2.PublishSummary()
        batch: list[tuple[telemetry_pb2.LoadSample, float]] = []  # with the time at which each came

        def flush() -> None:
            self._take(batch, summary)
            batch.clear()

        try:
            async for sample in request_iterator:
                if not batch:
                    asyncio.get_running_loop().call_later(BATCH_S, flush)
                batch.append((sample, self._now_s()))
                if len(batch) == BATCH_SAMPLES:
                    flush()
                    await asyncio.sleep(0)  # other calls get their turn
        finally:
            flush()  # what came before a stream broke off counts
        if summary.rejected:
            total, reason = summary.accepted + summary.rejected, summary.rejections[0].reason
            log.warning("%d of %d load samples rejected; first: %s", summary.rejected, total, reason)
        return summary

    def _take(self, batch: list[tuple[telemetry_pb2.LoadSample, float]], summary: telemetry_pb2.PublishSummary) -> None:
        """Put samples into the history and what became of them into the summary."""
        refused = {i: reason for i, (sample, _) in enumerate(batch) if (reason := _malformed(sample))}
        sound = [i for i in range(len(batch)) if i not in refused]
        samples = [batch[i][0] for i in sound]
        unfit = self._history.add_many(
            [sample.cell_id for sample in samples],
            [sample.time.seconds + sample.time.nanos / 1e9 for sample in samples],
            [sample.offered_bps for sample in samples],
            [sample.carried_bps for sample in samples],
            [sample.capacity_bps for sample in samples],
            [batch[i][1] for i in sound],
        )
        refused |= {sound[i]: reason for i, reason in unfit.items()}
        begin = summary.accepted + summary.rejected  # the batch's place in the stream
        for i, reason in sorted(refused.items())[: REJECTIONS_NAMED - len(summary.rejections)]:
            summary.rejections.add(index=begin + i, cell_id=batch[i][0].cell_id[:64], reason=reason)
        summary.rejected += len(refused)
        summary.accepted += len(batch) - len(refused)
        for cell_id in dict.fromkeys(sample.cell_id for i, (sample, _) in enumerate(batch) if i not in refused):
            self._on_sample(cell_id)


def _malformed(sample: telemetry_pb2.LoadSample) -> str:
    """What is wrong with a sample by itself, "" if nothing."""
    if not sample.HasField("time"):
        return "time is not set; give the start of what the sample covers"
    if sample.prb_used > sample.prb_total:
        return f"prb_used {sample.prb_used} is above prb_total {sample.prb_total}"
    return ""
