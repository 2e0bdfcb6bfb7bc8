"""The span of an attempt: what it tells of its message, and whose trace it belongs to."""

from opentelemetry.trace import SpanKind

from archiver.archive.pipeline import Delivery
from archiver.aws.letters import Letter
from archiver.worker.job_span import job_span
from tests.support.spans import PARENT, Spans, parent_id, told

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/input-queue"


def test_it_tells_of_the_message_and_lies_below_the_senders() -> None:
    spans = Spans()
    letter = Letter("m-1", URL, "handle", 4, 1.0, "Grüße", "c-1", trace=PARENT)
    delivery = Delivery("r-1", sent_at=1.0, correlation_id="c-1", message_id="m-1", attempt=3, hand_backs=1)

    with job_span(spans.tracer, delivery, letter):
        pass

    job = spans.named("job")
    assert job.kind is SpanKind.CONSUMER
    assert parent_id(job) == "b7ad6b7169203331"
    assert told(job) == {
        "archiver.request_id": "r-1",
        "archiver.attempt": 3,
        "archiver.hand_backs": 1,
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "input-queue",
        "messaging.message.id": "m-1",
        "messaging.message.conversation_id": "c-1",
        "messaging.message.body.size": 7,
        "aws.sqs.queue.url": URL,
    }


def test_a_job_without_a_message_has_no_sender() -> None:
    spans = Spans()

    with job_span(spans.tracer, Delivery("r-1", sent_at=1.0), None):
        pass

    job = spans.named("job")
    assert (job.kind, job.parent) == (SpanKind.INTERNAL, None)
    assert set(told(job)) == {"archiver.request_id", "archiver.attempt", "archiver.hand_backs"}
