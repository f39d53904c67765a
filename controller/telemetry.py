"""TelemetryService: load samples of base stations into the load history."""

import asyncio
import logging
from collections.abc import Callable

from proto import telemetry_pb2, telemetry_pb2_grpc
from twin.load_history import LoadHistory, SampleError

log = logging.getLogger(__name__)
REJECTIONS_NAMED = 100
# Other calls get their turn after so many samples of one stream.
SAMPLES_PER_TURN = 500


class TelemetryServicer(telemetry_pb2_grpc.TelemetryServiceServicer):
    """``on_sample(cell_id)`` is called for each accepted sample; ``now_s`` is the service's clock."""

    def __init__(self, history: LoadHistory, now_s: Callable[[], float], on_sample: Callable[[str], None]):
        self._history = history
        self._now_s = now_s
        self._on_sample = on_sample

    async def Publish(self, request_iterator, context):
        summary = telemetry_pb2.PublishSummary()
        index = -1
        async for sample in request_iterator:
            index += 1
            try:
                self._add(sample)
                summary.accepted += 1
            except SampleError as error:
                summary.rejected += 1
                if len(summary.rejections) < REJECTIONS_NAMED:
                    summary.rejections.add(index=index, cell_id=sample.cell_id[:64], reason=str(error))
            if index % SAMPLES_PER_TURN == SAMPLES_PER_TURN - 1:
                await asyncio.sleep(0)
        if summary.rejected:
            log.warning(
                "%d of %d load samples rejected; first: %s", summary.rejected, index + 1, summary.rejections[0].reason
            )
        return summary

    def _add(self, sample: telemetry_pb2.LoadSample) -> None:
        if not sample.HasField("time"):
            raise SampleError("time is not set; give the start of what the sample covers")
        if sample.prb_used > sample.prb_total:
            raise SampleError(f"prb_used {sample.prb_used} is above prb_total {sample.prb_total}")
        self._history.add(
            sample.cell_id,
            sample.time.seconds + sample.time.nanos / 1e9,
            sample.offered_bps,
            sample.carried_bps,
            sample.capacity_bps,
            self._now_s(),
        )
        self._on_sample(sample.cell_id)
