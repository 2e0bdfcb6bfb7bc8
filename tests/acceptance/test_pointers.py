"""Payloads that no message holds, with a real worker on a real server."""

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from archiver.archive.pointer import CLASSES
from archiver.client import ArchiverClient
from devtools.localstack import LocalStack
from devtools.stack import Stack
from devtools.worker import Worker, running_worker
from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]


@pytest.fixture(scope="module")
def payloads(s3: "S3Client") -> str:
    bucket = f"payloads-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, stack: Stack, payloads: str) -> Iterator[Worker]:
    with running_worker(localstack, stack, settings={"NOTIFY_FAILURES": "1", "PAYLOAD_BUCKETS": payloads}) as running:
        yield running


def pointer(bucket: str, key: str, name: str = CLASSES[0]) -> str:
    return json.dumps([name, {"s3BucketName": bucket, "s3Key": key}])


def test_what_is_too_large_goes_by_a_pointer(
    client: StackClient, s3: "S3Client", payloads: str, delivered: Delivered
) -> None:
    # given a client that has a bucket for large payloads
    client.put("pointed.txt", b"here")
    archiver = ArchiverClient(client.stack.input_url, sqs=client.sqs, payload_bucket=payloads, s3=s3)

    # when its payload is larger than a message
    files = [("pointed.txt", f"{n}/{'x' * 200}.txt") for n in range(5_000)]
    request_id = archiver.submit(files, metadata={"order": 7}, correlation_id="c-7")

    # then it is as any other
    expected: dict[str, bytes | str] = {destination: b"here" for _, destination in files}
    told = delivered(request_id, expected)
    assert told.json["metadata"] == {"order": 7}
    assert told.attributes["Correlation-Id"] == "c-7"


def test_the_older_name_of_the_pointer(
    client: StackClient, s3: "S3Client", payloads: str, delivered: Delivered
) -> None:
    client.put("older.txt", b"older")
    s3.put_object(Bucket=payloads, Key="older", Body=b'{"files": [{"source": "older.txt"}]}')

    delivered(client.send(pointer(payloads, "older", CLASSES[1])), {"older.txt": b"older"})


def test_a_pointer_that_leads_nowhere_is_a_dead_letter(client: StackClient, s3: "S3Client", payloads: str) -> None:
    s3.put_object(Bucket=payloads, Key="bad", Body=b'{"files": [{"source": 7}], "metadata": {"order": 8}}')

    for body, code, metadata in (
        (pointer(client.stack.source_bucket, "x"), "limit_exceeded", None),
        (pointer(payloads, "gone"), "invalid_payload", None),
        (pointer(payloads, "bad"), "invalid_payload", {"order": 8}),
    ):
        request_id = client.send(body)

        told = client.notification(request_id).json
        assert (told["error"]["code"], told["metadata"]) == (code, metadata)
        (dead,) = client.dead_letters(1)
        assert (dead.body, dead.attributes["Error-Code"]) == (body, code)
