"""Spans through OpenTelemetry's API, where it is installed. It records nothing until an SDK is set up.

``archiver.trace_export`` sets one up in the worker; a service that runs a job in its own process may have its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from archiver import trace_context
from archiver.archive.spans import UNTRACED, Attributes, Kind, Span, Tracer
from archiver.errors import ArchiverError
from archiver.logs import bound_contextvars
from archiver.text import presentable
from archiver.version import __version__

if TYPE_CHECKING:
    from opentelemetry import trace as otel

#: Longest description of a failed span, in characters.
MAX_REASON = 1_000
SCOPE = "archiver"


def open_tracer() -> Tracer:
    """A tracer on the process's own provider; one that listens to nothing where the API is not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        return UNTRACED
    return OtelTracer(trace.get_tracer(SCOPE, __version__))


class OtelTracer:
    """A ``archiver.archive.spans.Tracer``. The ids of the open span are in each line of the log."""

    def __init__(self, tracer: "otel.Tracer") -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        parent: Mapping[str, str] | None = None,
    ) -> Iterator[Span]:
        """A span for the length of the block, below ``parent`` where there is one, else below the open span."""
        from opentelemetry import trace

        with self._tracer.start_as_current_span(
            name,
            context=_context(parent) if parent else None,
            kind=trace.SpanKind[kind.upper()],
            attributes=_known(attributes or {}),
            # An exception's text may quote what came from outside, and is made presentable below.
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            span = _OtelSpan(opened)
            with _in_log_lines(opened):
                try:
                    yield span
                except BaseException as error:
                    span.ended_by(error)
                    raise


class _OtelSpan:
    def __init__(self, span: "otel.Span") -> None:
        self._span = span
        self._failed = False

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes(_known(attributes))

    def fail(self, code: str, reason: str) -> None:
        from opentelemetry import trace

        self._failed = True
        self._span.set_attribute("error.type", code)
        self._span.set_status(trace.StatusCode.ERROR, presentable(reason, limit=MAX_REASON))

    def ended_by(self, error: BaseException) -> None:
        if not self._failed:
            self.fail(error.code if isinstance(error, ArchiverError) else type(error).__name__, str(error))

    @property
    def context(self) -> Mapping[str, str]:
        from opentelemetry import trace

        return trace_context.current(trace.set_span_in_context(self._span))


def _context(parent: Mapping[str, str]) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(parent)


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {
        name: presentable(value, limit=MAX_REASON) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }


def _in_log_lines(span: "otel.Span") -> AbstractContextManager[Any]:
    from opentelemetry import trace

    context = span.get_span_context()
    if not context.is_valid:
        return nullcontext()
    return bound_contextvars(
        trace_id=trace.format_trace_id(context.trace_id), span_id=trace.format_span_id(context.span_id)
    )
