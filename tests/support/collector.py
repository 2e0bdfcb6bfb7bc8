"""A collector on loopback, as far as OTLP over HTTP goes: it keeps the spans that come."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as a collector reads it; ids hexadecimal, ``status`` and ``kind`` OTLP's names."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    status: str
    attributes: dict[str, Any]
    service: str


class Collector(ThreadingHTTPServer):
    """Takes what is posted to /v1/traces; ``answer`` is the HTTP status that it answers, None: never any."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answer: int | None = 200
        self.ended = threading.Event()
        self.refused = 0
        self.headers: list[dict[str, str]] = []
        self._spans: list[ReceivedSpan] = []
        self._lock = threading.Lock()

    def take(self, request: ExportTraceServiceRequest) -> None:
        with self._lock:
            self._spans.extend(_read(request))

    def spans(self, trace_id: str) -> list[ReceivedSpan]:
        """Those of one trace, so far."""
        with self._lock:
            return [span for span in self._spans if span.trace_id == trace_id]

    def named(self, trace_id: str, name: str) -> ReceivedSpan:
        """The one span of a name in a trace."""
        (span,) = [span for span in self.spans(trace_id) if span.name == name]
        return span


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector for the length of the block."""
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.ended.set()
        collector.shutdown()
        collector.server_close()
        thread.join()


def _read(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    attributes=_attributes(span.attributes),
                    service=service,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        status = self.server.answer if self.path == "/v1/traces" else 404
        if status is None:
            self.server.refused += 1
            self.server.ended.wait()
            return
        if status == 200:
            self.server.headers.append(dict(self.headers))
            self.server.take(ExportTraceServiceRequest.FromString(body))
        else:
            self.server.refused += 1
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())
