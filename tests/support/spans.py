"""Spans kept in memory, as the SDK made them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from archiver.tracing import OtelTracer

#: A producer's span, as it comes along with a message.
PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@dataclass
class Spans:
    """A tracer, and what it has recorded."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    tracer: OtelTracer = field(init=False)

    def __post_init__(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = OtelTracer(provider.get_tracer("tests"))

    @property
    def ended(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self.exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]

    def named(self, name: str) -> ReadableSpan:
        """The one span of the name."""
        (span,) = [span for span in self.ended if span.name == name]
        return span


def told(span: ReadableSpan) -> Mapping[str, Any]:
    """A span's attributes."""
    return span.attributes or {}


def parent_id(span: ReadableSpan) -> str | None:
    """The span's parent, hexadecimal."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def span_id(span: ReadableSpan) -> str:
    """The span's own id, hexadecimal."""
    return f"{span.context.span_id:016x}"


def trace_id(span: ReadableSpan) -> str:
    """The id of the span's trace, hexadecimal."""
    return f"{span.context.trace_id:032x}"
