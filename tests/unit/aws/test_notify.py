"""Notifications: exactly what goes to SQS, and what a failure becomes."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from archiver.archive.notification import Message
from archiver.aws.notify import QueueNotifier
from archiver.aws.queues import Queue
from archiver.errors import QueueUnavailable

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


@pytest.mark.parametrize("operation", ["get_queue_url", "send_message"])
def test_a_refusal_is_transient(client: Any, stub: Stubber, operation: str) -> None:
    if operation == "send_message":
        stub.add_response("get_queue_url", {"QueueUrl": URL})
    stub.add_client_error(operation, "AWS.SimpleQueueService.NonExistentQueue", http_status_code=400)

    with pytest.raises(QueueUnavailable, match="output-queue"):
        QueueNotifier(Queue(client, "output-queue")).send(message(), correlation_id=None)
