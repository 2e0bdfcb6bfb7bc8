"""Notifications: exactly what goes to SQS, and what a failure becomes."""

from collections.abc import Iterator
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber
from opentelemetry.trace import SpanKind

from archiver.archive.notification import Message
from archiver.aws.notify import QueueNotifier
from archiver.aws.queues import Queue
from archiver.aws.topics import TopicNotifier
from archiver.errors import QueueUnavailable
from tests.support.spans import Spans, parent_id, span_id, told, trace_id

NEWS = "0123456789abcdef" * 4
URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/output-queue"


def message(body: str = "{}", *, request_id: str = "r", news: str = NEWS) -> Message:
    return Message(body, status="succeeded", request_id=request_id, news=news)


@pytest.fixture
def client() -> Any:
    return boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def test_a_queue_by_name_is_looked_up_once(client: Any, stub: Stubber) -> None:
    stub.add_response("get_queue_url", {"QueueUrl": URL}, {"QueueName": "output-queue"})
    for _ in range(2):
        stub.add_response("send_message", {"MessageId": "1"}, {"QueueUrl": URL, "MessageBody": '{"a":"ü"}'})
    notifier = QueueNotifier(Queue(client, "output-queue"))

    for _ in range(2):
        notifier.send(message('{"a":"ü"}'), correlation_id=None)


def test_a_queue_by_url_is_not_and_the_correlation_id_travels(client: Any, stub: Stubber) -> None:
    stub.add_response(
        "send_message",
        {"MessageId": "1"},
        {
            "QueueUrl": URL,
            "MessageBody": "{}",
            "MessageAttributes": {"Correlation-Id": {"DataType": "String", "StringValue": "c-1"}},
        },
    )

    QueueNotifier(Queue(client, URL)).send(message(), correlation_id="c-1")


def test_a_fifo_queue_takes_each_news_once(client: Any, stub: Stubber) -> None:
    stub.add_response(
        "send_message",
        {"MessageId": "1"},
        {"QueueUrl": f"{URL}.fifo", "MessageBody": "{}", "MessageGroupId": "r", "MessageDeduplicationId": NEWS},
    )

    QueueNotifier(Queue(client, f"{URL}.fifo")).send(message(), correlation_id=None)


def test_the_consumer_can_go_on_with_the_trace() -> None:
    class Sqs:
        def send_message(self, **sent: Any) -> dict[str, str]:
            self.sent = sent
            return {"MessageId": "m-1"}

    sqs, spans = Sqs(), Spans()

    with spans.tracer.span("notify"):
        QueueNotifier(Queue(cast(Any, sqs), URL), tracer=spans.tracer).send(message(), correlation_id="c-1")

    send = spans.named("send output-queue")
    attributes = {name: value["StringValue"] for name, value in sqs.sent["MessageAttributes"].items()}
    assert attributes["Correlation-Id"] == "c-1"
    assert attributes["traceparent"].startswith(f"00-{trace_id(send)}-{span_id(send)}-")
    assert parent_id(send) == span_id(spans.named("notify"))
    assert send.kind is SpanKind.PRODUCER
    assert told(send) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "output-queue",
        "messaging.message.conversation_id": "c-1",
        "messaging.message.id": "m-1",
    }


def test_a_topics_subscribers_can_too() -> None:
    class Sns:
        def publish(self, **sent: Any) -> dict[str, str]:
            self.sent = sent
            return {"MessageId": "m-1"}

    sns, spans = Sns(), Spans()

    TopicNotifier(cast(Any, sns), "arn:aws:sns:eu-west-1:123456789012:news", tracer=spans.tracer).send(
        message(), correlation_id=None
    )

    send = spans.named("send news")
    attributes = {name: value["StringValue"] for name, value in sns.sent["MessageAttributes"].items()}
    assert set(attributes) == {"status", "traceparent"}
    assert attributes["traceparent"].startswith(f"00-{trace_id(send)}-{span_id(send)}-")
    assert (told(send)["messaging.system"], told(send)["messaging.message.id"]) == ("aws.sns", "m-1")


@pytest.mark.parametrize("operation", ["get_queue_url", "send_message"])
def test_a_refusal_is_transient(client: Any, stub: Stubber, operation: str) -> None:
    if operation == "send_message":
        stub.add_response("get_queue_url", {"QueueUrl": URL})
    stub.add_client_error(operation, "AWS.SimpleQueueService.NonExistentQueue", http_status_code=400)

    with pytest.raises(QueueUnavailable, match="output-queue"):
        QueueNotifier(Queue(client, "output-queue")).send(message(), correlation_id=None)
