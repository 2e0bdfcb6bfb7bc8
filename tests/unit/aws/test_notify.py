"""Notifications: exactly what goes to SQS, and what a failure becomes."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from archiver.aws.notify import QueueNotifier
from archiver.aws.queues import Queue
from archiver.errors import QueueUnavailable

URL = "https://sqs.eu-central-1.amazonaws.com/000000000000/output-queue"


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
        notifier.send({"a": "ü"}, request_id="r", correlation_id=None)


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

    QueueNotifier(Queue(client, URL)).send({}, request_id="r", correlation_id="c-1")


def test_a_fifo_queue_takes_each_request_once(client: Any, stub: Stubber) -> None:
    stub.add_response(
        "send_message",
        {"MessageId": "1"},
        {"QueueUrl": f"{URL}.fifo", "MessageBody": "{}", "MessageGroupId": "r", "MessageDeduplicationId": "r"},
    )

    QueueNotifier(Queue(client, f"{URL}.fifo")).send({}, request_id="r", correlation_id=None)


@pytest.mark.parametrize("operation", ["get_queue_url", "send_message"])
def test_a_refusal_is_transient(client: Any, stub: Stubber, operation: str) -> None:
    if operation == "send_message":
        stub.add_response("get_queue_url", {"QueueUrl": URL})
    stub.add_client_error(operation, "AWS.SimpleQueueService.NonExistentQueue", http_status_code=400)

    with pytest.raises(QueueUnavailable, match="output-queue"):
        QueueNotifier(Queue(client, "output-queue")).send({}, request_id="r", correlation_id=None)


def test_what_sqs_refuses_in_a_body_is_escaped(client: Any, stub: Stubber) -> None:
    metadata = {"lone": "\ud800", "noncharacter": "\uffff\ufffe", "emoji": "😀", "nul": "\0", "\udfff": 1}
    sent: dict[str, Any] = {}

    def see(params: dict[str, Any], **_: Any) -> None:
        sent.update(params)

    client.meta.events.register("provide-client-params.sqs.SendMessage", see)
    stub.add_response("send_message", {"MessageId": "1"})

    QueueNotifier(Queue(client, URL)).send(metadata, request_id="r", correlation_id=None)

    assert json.loads(sent["MessageBody"]) == metadata
    assert not set(sent["MessageBody"]) & set("\ud800\udfff\uffff\ufffe\0")
    assert "😀" in sent["MessageBody"]
    sent["MessageBody"].encode()
