"""Receivers of traces (OTLP): over gRPC, as kube-apiserver sends them, and over HTTP, as Sliceplane does."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from e2e.cluster.process import free_port

_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_PATH: Final = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Context:
    """Which span of which trace, in hexadecimal digits."""

    trace: str
    span: str


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it was exported. `service` is the exporter's `service.name`; `parent` is "" for a root."""

    service: str
    name: str
    context: Context
    parent: str
    links: tuple[Context, ...]
    attributes: dict[str, str]
    failed: bool


class Receiver(ABC):
    """What is common to both: it keeps every span. A context manager that serves on 127.0.0.1 while it is entered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[ReceivedSpan] = []
        self._port = free_port()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """All that has come so far, in the order in which it came."""
        with self._lock:
            return list(self._spans)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @abstractmethod
    def _start(self) -> None:
        """Begins to serve."""

    @abstractmethod
    def _stop(self) -> None:
        """Serves no more."""

    def _take(self, request: ExportTraceServiceRequest) -> bytes:
        """Keeps the spans of a request; returns the answer."""
        found = [
            _received(span, _attributes(each.resource.attributes).get("service.name", ""))
            for each in request.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += found
        answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return answer


class GrpcReceiver(Receiver):
    """OTLP over gRPC, without TLS."""

    @property
    def endpoint(self) -> str:
        """As kube-apiserver's TracingConfiguration wants it: HOST:PORT."""
        return f"127.0.0.1:{self._port}"

    def _start(self) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, _: self._take(request),
            request_deserializer=ExportTraceServiceRequest.FromString,
            response_serializer=bytes,
        )
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
        # Raises RuntimeError when somebody else has taken the port.
        self._server.add_insecure_port(self.endpoint)
        self._server.start()

    def _stop(self) -> None:
        self._server.stop(grace=0).wait()


class HttpReceiver(Receiver):
    """OTLP over HTTP, in protobuf, without compression."""

    def __init__(self, *, answers: bool = True) -> None:
        """One that does not answer takes every connection and every request, and is silent then."""
        super().__init__()
        self._answers = answers
        self._closing = threading.Event()

    @property
    def endpoint(self) -> str:
        """As `--tracing-endpoint` wants it."""
        return f"http://127.0.0.1:{self._port}{_PATH}"

    def _start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="otlp", daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A connection that the exporter keeps open must not keep us from ending.
            timeout = 5.0

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver._answers:
                    receiver._closing.wait()
                    self.close_connection = True
                    return
                answer = receiver._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Nobody wants to read of every request."""

        return Handler


def _received(span: trace_pb2.Span, service: str) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        context=_context(span),
        parent=span.parent_span_id.hex(),
        links=tuple(_context(link) for link in span.links),
        attributes=_attributes(span.attributes),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _context(found: trace_pb2.Span | trace_pb2.Span.Link) -> Context:
    return Context(found.trace_id.hex(), found.span_id.hex())


def _attributes(found: Iterable[KeyValue]) -> dict[str, str]:
    """Those whose values are text or whole numbers; no others are looked at."""
    return {
        each.key: each.value.string_value or str(each.value.int_value)
        for each in found
        if each.value.WhichOneof("value") in ("string_value", "int_value")
    }
