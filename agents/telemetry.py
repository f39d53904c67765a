"""OpenTelemetry spans of planning: one per question, agent's turn and request to a model.

The API is always there and does nothing until ``export`` names where spans go.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

EXPORTERS = ("none", "console", "otlp")


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[trace.Span]:
    """A span of the present trace; exceptions that leave it are recorded."""
    with trace.get_tracer("links.agents").start_as_current_span(name, attributes=attributes) as current:
        yield current


def export(exporter: str) -> None:
    """Send spans to "console" (standard error) or by "otlp" (over HTTP, as the OTEL_EXPORTER_OTLP_* variables say);
    "none" sends nothing. Once per process. Raises ValueError, ImportError saying what to install."""
    if exporter not in EXPORTERS:
        raise ValueError(f"telemetry {exporter!r} is unknown; choose one of {', '.join(EXPORTERS)}")
    if exporter == "none":
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        processor = BatchSpanProcessor(_console() if exporter == "console" else _otlp())
    except ImportError as error:
        raise ImportError(f"spans by {exporter} need more packages: pip install 'links-6g-twin[telemetry]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "links"}))
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)


def with_requests() -> None:
    """Spans of requests to models too, with their tokens; what was said is in transcripts, not in spans."""
    from pydantic_ai import Agent
    from pydantic_ai.models.instrumented import InstrumentationSettings

    Agent.instrument_all(InstrumentationSettings(include_content=False))


def _console():
    import sys

    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter(out=sys.stderr)


def _otlp():
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
