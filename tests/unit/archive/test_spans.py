"""The steps of a job, as whoever traces it sees them."""

from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from archiver.archive.pipeline import build_archive, notify_failure
from archiver.errors import MissingSources, QueueUnavailable
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, FakeNotifier, delivery, files, noise, services, text
from tests.support.spans import Spans, parent_id, span_id, told


@pytest.fixture
def spans() -> Spans:
    return Spans()


def build(s3: FakeS3, spans: Spans, payload: Any, *, notifier: FakeNotifier | None = None) -> None:
    with spans.tracer.span("job"):
        build_archive(payload, delivery=delivery(), services=services(s3, notifier=notifier, tracer=spans.tracer))


def test_a_small_archive_is_one_part_that_is_complete_at_once(s3: FakeS3, spans: Spans) -> None:
    s3.put_object(SOURCES, "a.txt", b"content")

    build(s3, spans, files("a.txt"), notifier=FakeNotifier())

    assert spans.names == ["resolve", "plan", "parts", "complete", "notify", "job"]
    assert {parent_id(span) for span in spans.ended[:-1]} == {span_id(spans.named("job"))}
    assert told(spans.named("resolve")) == {"archiver.files": 1, "archiver.missing": 0}
    assert told(spans.named("parts")) == {"archiver.parts": 1, "archiver.copies": 0}
    assert told(spans.named("notify")) == {"archiver.outcome": "succeeded"}


def test_a_large_one_tells_its_parts_copies_and_bytes(s3: FakeS3, spans: Spans) -> None:
    s3.put_object(SOURCES, "a.csv", text(6 * MIB))
    s3.put_object(SOURCES, "b.jpg", noise(20 * MIB))
    s3.put_object(SOURCES, "c.txt", text(7 * MIB))

    build(s3, spans, {**files("a.csv", "b.jpg", "c.txt"), "compression": "auto"})

    assert spans.names == ["resolve", "deflate", "plan", "parts", "complete", "job"]
    plan, parts, complete = (told(spans.named(name)) for name in ("plan", "parts", "complete"))
    assert told(spans.named("deflate"))["archiver.files"] == 2
    assert plan["archiver.parts"] == parts["archiver.parts"] > 1
    assert plan["archiver.copies"] == parts["archiver.copies"] >= 1
    assert complete["archiver.parts"] == parts["archiver.parts"] + told(spans.named("deflate"))["archiver.parts"]
    assert complete["archiver.bytes"] == plan["archiver.bytes"] > 20 * MIB


def test_the_step_that_fails_says_so(s3: FakeS3, spans: Spans) -> None:
    with pytest.raises(MissingSources):
        build(s3, spans, files("gone.txt"))

    assert spans.names == ["resolve", "job"]
    for span in spans.ended:
        assert span.status.status_code is StatusCode.ERROR
        assert told(span)["error.type"] == "missing_sources"


def test_a_failure_is_told_in_a_span_too(s3: FakeS3, spans: Spans) -> None:
    used = services(s3, notifier=FakeNotifier(), notify_failures=True, tracer=spans.tracer)
    notify_failure(files("gone.txt"), MissingSources(["gone.txt"]), delivery=delivery(), services=used)
    away = services(s3, notifier=FakeNotifier(down=True), notify_failures=True, tracer=spans.tracer)
    with pytest.raises(QueueUnavailable):
        notify_failure(files("gone.txt"), MissingSources(["gone.txt"]), delivery=delivery(), services=away)

    sent, unsent = spans.ended
    assert told(sent) == {"archiver.outcome": "failed"}
    assert told(unsent)["error.type"] == "queue_unavailable"
