"""What the consumer is told, on real queues: all of it, each news once, and nothing that SQS refuses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from archiver.archive.notification import MAX_MISSING, Archive, Failed, Message, Substitutions, Succeeded, as_message
from archiver.archive.notification import Error as Reason
from archiver.archive.request import MAX_METADATA_BYTES
from archiver.aws.notify import QueueNotifier
from archiver.aws.queues import Queue
from devtools.localstack import LocalStack
from devtools.messages import receive
from devtools.stack import Stack
from tests.conftest import StackClient, StartWorker
from tests.support.command import run
from tests.support.waiting import LONG_ENOUGH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack


def success(
    request_id: str, *, etag: str = "e", missing: list[str] | None = None, metadata: str | None = None
) -> Message:
    archive = Archive(url="https://a/k", bucket="b", key="k", size=1, files=1, crc32="00000000", etag=etag)
    return as_message(
        Succeeded(
            status="succeeded",
            metadata=None,
            substitutions=Substitutions(archiver_URL="https://a/k"),
            archive=archive,
            missing=missing or [],
            request_id=request_id,
        ),
        metadata=metadata,
    )


def failure(request_id: str) -> Message:
    error = Reason(code="missing_sources", message="1 missing source(s): a")
    return as_message(
        Failed(status="failed", metadata=None, error=error, request_id=request_id),
        metadata=None,
    )


@contextmanager
def fifo_queue(sqs: "SQSClient", name: str) -> Iterator[str]:
    url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    try:
        yield url
    finally:
        sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize("request_id", ["request-1", "x" * 255])
def test_a_success_after_a_failure_is_told_and_the_same_only_once(
    sqs: "SQSClient", stack: Stack, request_id: str
) -> None:
    with fifo_queue(sqs, stack.names.output_queue) as url:
        notifier = QueueNotifier(Queue(sqs, url))
        news = (failure(request_id), success(request_id), success(request_id), success(request_id, etag="last"))
        for message in news:
            notifier.send(message, correlation_id="c")

        told = [message.json for message in receive(sqs, url, count=3, seconds=60)]

    assert [body["status"] for body in told] == ["failed", "succeeded", "succeeded"]
    assert told[2]["archive"]["etag"] == "last", "the second of the same was swallowed"


def test_the_largest_notification_is_one_that_sqs_takes(sqs: "SQSClient", stack: Stack) -> None:
    metadata = json.dumps({"text": "ü" * ((MAX_METADATA_BYTES - len('{"text": ""}')) // 2)}, ensure_ascii=False)
    names = ["\x01" * 1024] * (MAX_MISSING + 1)

    QueueNotifier(Queue(sqs, stack.output_url)).send(
        success("r" * 255, metadata=metadata, missing=names), correlation_id="c" * 8_000
    )

    (message,) = receive(sqs, stack.output_url, count=1, seconds=LONG_ENOUGH)
    assert message.json["metadata"] == json.loads(metadata)
    assert message.json["missing_total"] == len(names)


def test_doctor_warns_of_a_queue_that_takes_less(sqs: "SQSClient", stack: Stack, localstack: LocalStack) -> None:
    sqs.set_queue_attributes(QueueUrl=stack.output_url, Attributes={"MaximumMessageSize": "262144"})

    outcome = run("doctor", "--json", environment=localstack.environment | stack.environment)

    (check,) = [check for check in outcome.json["checks"] if check["name"] == "destination queue"]
    assert check["state"] == "warning"
    assert "262144" in check["detail"]
    assert "MaximumMessageSize" in check["mend"]


def test_a_worker_hands_metadata_on_as_it_came_and_refuses_what_it_could_not_tell(
    client: StackClient, start_worker: StartWorker, sqs: "SQSClient", stack: Stack
) -> None:
    start_worker(NOTIFY_FAILURES="1")
    client.put("a.txt", b"a")
    # Written anew, this would be 2.7 MB.
    metadata = f'{{"price": 0.1000000000000000055, "totals": [{",".join(["1e15"] * 150_000)}]}}'
    payload = f'{{"files": [{{"source": "a.txt"}}], "metadata": {metadata}}}'
    too_large = {"files": [{"source": "a.txt"}], "metadata": {"text": "x" * MAX_METADATA_BYTES}}
    others = {"files": [{"source": f"s3://{stack.archive_bucket}/"}], "metadata": {"n": 1}}

    told = client.notification(client.send(payload))
    client.send(too_large)
    refused = client.notification().json
    client.send(others)
    guarded = client.notification().json

    assert metadata in told.body
    assert (refused["error"]["code"], refused["metadata"]) == ("limit_exceeded", None)
    assert (guarded["error"]["code"], guarded["metadata"]) == ("limit_exceeded", {"n": 1})
    assert stack.archive_bucket in guarded["error"]["message"]
    assert len(client.dead_letters(2)) == 2
