"""Traces: from the change that asked for a sync, through queue and plan, to each write, and on into the API server.

Whether a sync is traced is decided before anything is made for it, so the others cost a random number. Spans are
exported by a thread of the SDK's own from a queue that drops what it cannot hold: an exporter that is down or slow
costs spans, never time.
"""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from controllers import __version__

if TYPE_CHECKING:
    # The SDK is imported only by those who trace: it takes time and memory.
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as SdkSpan
    from opentelemetry.trace import Tracer

Value = str | int | float | tuple[str, ...]

# What the requests under way are to be part of: the value of the `traceparent` header (W3C Trace Context), or "".
OUTGOING: Final[ContextVar[str]] = ContextVar("outgoing", default="")
# At the end of the process, spans that cannot be exported in this time are lost.
FLUSH_SECONDS: Final = 2.0


class Span:
    """A part of a trace that is under way."""

    def __init__(self, tracer: "Tracer", span: "SdkSpan") -> None:
        self._tracer, self._span = tracer, span

    @property
    def traceparent(self) -> str:
        """How a request says that it is part of this (W3C Trace Context)."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    @contextmanager
    def child(self, name: str, /, **attributes: Value) -> Iterator["Span"]:
        """A part of this part, until the block ends; an exception marks it as failed and goes on."""
        made = self._child(name, attributes)
        try:
            yield made
        except BaseException as error:
            made.fail(str(error) or type(error).__name__)
            raise
        finally:
            made.end()

    def past(self, name: str, seconds_ago: float) -> None:
        """A part that began so long ago and has ended just now."""
        self._child(name, {}, _wall(seconds_ago)).end()

    def set(self, **attributes: Value) -> None:
        """Says more about it."""
        self._span.set_attributes({f"sliceplane.{key}": value for key, value in attributes.items()})

    def fail(self, text: str) -> None:
        """It has failed."""
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR, text)

    def end(self) -> None:
        """It has ended just now."""
        self._span.end()

    def _child(self, name: str, attributes: Mapping[str, Value], start: int | None = None) -> "Span":
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(name, set_span_in_context(self._span), start_time=start)
        made = Span(self._tracer, span)
        made.set(**attributes)
        return made


class Tracing:
    """Traces so many syncs of a million, and exports them by OTLP over HTTP (or to `exporter`)."""

    def __init__(self, endpoint: str, per_million: int, exporter: "SpanExporter | None" = None) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=endpoint)
        self._share = per_million / 1e6
        resource = Resource.create({"service.name": "sliceplane", "service.version": __version__})
        # What is begun is exported: the choice was made before.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sliceplane")

    def begin(self, name: str, seconds_ago: float = 0.0) -> Span | None:
        """A new trace that began so long ago; None for most."""
        if random.random() >= self._share:
            return None
        return Span(self._tracer, self._tracer.start_span(name, start_time=_wall(seconds_ago)))

    def close(self) -> None:
        """Exports what is left, but not for long."""
        # A thread that nobody waits for: the SDK's own patience is 30 s.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)


def _wall(seconds_ago: float) -> int:
    """Nanoseconds since 1970."""
    return time.time_ns() - int(seconds_ago * 1e9)
