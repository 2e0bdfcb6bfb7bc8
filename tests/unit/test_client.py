"""Asking for an archive from another Python service."""

import json
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from archiver.aws.queues import MAX_MESSAGE_BYTES
from archiver.client import ArchiverClient
from archiver.errors import InvalidPayload, LimitExceeded, QueueUnavailable


class FakeSqs:
    """SQS, as far as a sender sees it."""

    def __init__(self, *queues: str) -> None:
        self.urls = {queue: f"https://sqs.example/1/{queue}" for queue in queues}
        self.sent: list[dict[str, Any]] = []
        self.lookups = 0
        self.down = False

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803 boto3's names
        self.lookups += 1
        if QueueName not in self.urls:
            raise ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": "no such queue"}}, "GetQueueUrl")
        return {"QueueUrl": self.urls[QueueName]}

    def send_message(self, **message: Any) -> dict[str, str]:
        if self.down:
            raise EndpointConnectionError(endpoint_url="https://sqs.example")
        self.sent.append(message)
        return {"MessageId": f"message-{len(self.sent)}"}


@pytest.fixture
def sqs() -> FakeSqs:
    return FakeSqs("input-queue", "input.fifo")


def client(sqs: FakeSqs, queue: str = "input-queue") -> ArchiverClient:
    return ArchiverClient(queue, sqs=cast(Any, sqs))


def test_the_request_id_is_the_messages_and_the_body_is_the_payload(sqs: FakeSqs) -> None:
    request_id = client(sqs).submit(
        ["photos/2026/", ("reports/june.pdf", "documents/report.pdf"), {"source": "s3://bucket/ü"}],
        metadata={"order": 7},
        compression="auto",
        on_missing="skip",
        filename="order 7.zip",
        correlation_id="abc",
    )

    assert request_id == "message-1"
    (message,) = sqs.sent
    assert json.loads(message["MessageBody"]) == {
        "files": [
            {"source": "photos/2026/"},
            {"source": "reports/june.pdf", "destination": "documents/report.pdf"},
            {"source": "s3://bucket/ü"},
        ],
        "metadata": {"order": 7},
        "compression": "auto",
        "on_missing": "skip",
        "filename": "order 7.zip",
    }
    assert message["MessageAttributes"]["Correlation-Id"]["StringValue"] == "abc"


def test_defaults_are_left_out_of_the_message(sqs: FakeSqs) -> None:
    client(sqs).submit(["a.jpg"])

    assert json.loads(sqs.sent[0]["MessageBody"]) == {"files": [{"source": "a.jpg"}]}
    assert "MessageAttributes" not in sqs.sent[0]


def test_a_name_is_looked_up_once_and_a_url_never(sqs: FakeSqs) -> None:
    named, located = client(sqs), client(sqs, "https://sqs.example/1/other")
    for archiver in (named, named, located):
        archiver.submit(["a.jpg"])

    assert sqs.lookups == 1
    assert [message["QueueUrl"].rpartition("/")[2] for message in sqs.sent] == ["input-queue", "input-queue", "other"]


def test_what_the_worker_would_refuse_is_not_sent(sqs: FakeSqs) -> None:
    with pytest.raises(InvalidPayload, match=r"files\[1\]\.source"):
        client(sqs).submit(["a.jpg", ""])
    with pytest.raises(InvalidPayload, match="files"):
        client(sqs).submit([])
    with pytest.raises(InvalidPayload, match="compression"):
        client(sqs).submit_payload({"files": [{"source": "a"}], "compression": "best"})

    assert sqs.sent == []


def test_a_message_that_sqs_would_refuse_is_not_sent(sqs: FakeSqs) -> None:
    frame = len(json.dumps({"files": [{"source": "a"}], "metadata": {"text": ""}}).encode())
    fits = "ü" * ((MAX_MESSAGE_BYTES - frame) // 2)

    client(sqs).submit(["a"], metadata={"text": fits})
    with pytest.raises(LimitExceeded, match="bytes"):
        client(sqs).submit(["a"], metadata={"text": fits + "ü"})
    with pytest.raises(LimitExceeded, match="bytes"):
        client(sqs).submit(["a"], metadata={"text": fits}, correlation_id="attributes count")


def test_jobs_on_a_fifo_queue_do_not_wait_for_each_other(sqs: FakeSqs) -> None:
    for _ in range(2):
        client(sqs, "input.fifo").submit(["a.jpg"])

    first, second = sqs.sent
    assert first["MessageGroupId"] != second["MessageGroupId"]
    assert first["MessageDeduplicationId"] != second["MessageDeduplicationId"]


def test_an_unknown_queue_and_a_broken_connection_are_one_kind_of_error(sqs: FakeSqs) -> None:
    with pytest.raises(QueueUnavailable, match="no such queue"):
        client(sqs, "output-queue").submit(["a.jpg"])
    sqs.down = True
    with pytest.raises(QueueUnavailable, match=r"sqs\.example"):
        client(sqs).submit(["a.jpg"])
