"""Spans of OpenTelemetry's: what they tell, how they fail, and where they lie."""

import sys

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from archiver.archive.parallel import JobThreads
from archiver.archive.spans import UNTRACED
from archiver.errors import MissingSources, StorageUnavailable
from archiver.tracing import OtelTracer, open_tracer
from tests.support.jobs import logged
from tests.support.spans import PARENT, Spans, parent_id, span_id, told, trace_id

log = structlog.get_logger()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def test_a_span_lies_below_the_open_one_and_the_first_below_its_sender(spans: Spans) -> None:
    with spans.tracer.span("job", {"a": 1, "none": None}, kind="consumer", parent=PARENT) as job:
        job.tell({"b": "x\n\x1b[31m" + "y" * 2_000, "none": None})
        with spans.tracer.span("resolve"):
            pass

    job_span, resolve = spans.named("job"), spans.named("resolve")
    assert f"00-{trace_id(job_span)}-{parent_id(job_span)}-01" == PARENT["traceparent"]
    assert (trace_id(resolve), parent_id(resolve)) == (trace_id(job_span), span_id(job_span))
    assert (job_span.kind, resolve.kind) == (SpanKind.CONSUMER, SpanKind.INTERNAL)
    assert set(told(job_span)) == {"a", "b"}
    assert "\x1b" not in told(job_span)["b"]
    assert len(told(job_span)["b"]) <= 1_001
    assert job_span.status.status_code is StatusCode.UNSET


def test_threads_of_a_job_open_their_spans_below_it(spans: Spans) -> None:
    def work() -> None:
        with spans.tracer.span("below"):
            pass

    with spans.tracer.span("job"), JobThreads(1) as threads:
        threads.submit(work).result()

    assert parent_id(spans.named("below")) == span_id(spans.named("job"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingSources(["a?X-Amz-Signature=secret"]), "missing_sources"),
        (StorageUnavailable("S3 is away"), "storage_unavailable"),
        (KeyError("k"), "KeyError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=["permanent", "transient", "unexpected", "interrupted"],
)
def test_an_exception_fails_its_span_with_its_code(spans: Spans, error: BaseException, code: str) -> None:
    with pytest.raises(type(error)), spans.tracer.span("job"):
        raise error

    span = spans.named("job")
    assert told(span)["error.type"] == code
    assert span.status.status_code is StatusCode.ERROR
    assert "secret" not in str(span.status.description)
    assert span.events == ()


def test_what_was_told_counts_more_than_the_exception(spans: Spans) -> None:
    def failing() -> None:
        with spans.tracer.span("job") as job:
            job.fail("unexpected_error", "why")
            raise KeyError("k")

    with pytest.raises(KeyError):
        failing()

    assert told(spans.named("job"))["error.type"] == "unexpected_error"
    assert spans.named("job").status.description == "why"


def test_the_context_of_a_span_is_its_own(spans: Spans) -> None:
    with spans.tracer.span("notify") as outer, spans.tracer.span("send") as inner:
        contexts = outer.context, inner.context

    for context, name in zip(contexts, ("notify", "send"), strict=True):
        assert set(context) == {"traceparent"}
        assert context["traceparent"].startswith(f"00-{trace_id(spans.named(name))}-{span_id(spans.named(name))}-")


def test_log_lines_have_the_ids_of_the_open_span(spans: Spans) -> None:
    with logged() as lines:
        with spans.tracer.span("job"):
            log.info("inside")
        log.info("outside")

    inside, outside = lines
    job = spans.named("job")
    assert (inside["trace_id"], inside["span_id"]) == (trace_id(job), span_id(job))
    assert not {"trace_id", "span_id"} & set(outside)


def test_without_an_sdk_the_senders_trace_goes_on_and_nothing_else() -> None:
    tracer = OtelTracer(trace.NoOpTracerProvider().get_tracer("tests"))

    with logged() as lines, tracer.span("job", {"a": 1}) as job:
        job.tell({"b": 2})
        job.fail("code", "why")
        log.info("inside")
        assert job.context == {}
    with tracer.span("job", parent=PARENT), tracer.span("notify") as notify:
        assert notify.context == PARENT

    assert "trace_id" not in lines[0]


def test_without_the_api_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_tracer(), OtelTracer)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    tracer = open_tracer()

    assert tracer is UNTRACED
    with tracer.span("job", {"a": 1}, kind="consumer", parent=PARENT) as span:
        span.tell({"b": 2})
        span.fail("code", "why")
        assert span.context == {}
