"""A message that comes twice: the same key, be it generated or chosen, one archive, and the consumer is told.

The archive bucket keeps versions, so that an archive that was built twice could not hide.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from devtools.faults import INTERNAL_ERROR, Fault, Request, first_of, on
from devtools.localstack import LocalStack
from devtools.messages import depth
from devtools.proxy import running_proxy
from devtools.stack import Names, Stack, create_stack
from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient, StartWorker
from tests.support.gate import Gate
from tests.support.jobs import noise
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack]

#: Large enough for an upload of several parts, some of them copied.
SIZE = 24 * 1024 * 1024

#: A key that the service generates, and one that the payload chooses: the beginning of it.
each_kind_of_key = pytest.mark.parametrize("chosen", [None, "chosen/ü "], ids=["generated", "chosen"])


def wanted(source: str, key: str | None) -> dict[str, Any]:
    return {"files": [{"source": source}], "archive": {"key": key}}


@pytest.fixture(scope="module")
def stack(localstack: LocalStack, s3: "S3Client") -> Stack:
    stack = create_stack(localstack, names=Names.unique(), max_receive_count=20)
    s3.put_bucket_versioning(Bucket=stack.archive_bucket, VersioningConfiguration={"Status": "Enabled"})
    return stack


@pytest.fixture
def versions(s3: "S3Client", stack: Stack) -> Callable[[], list[tuple[str, str]]]:
    """Every version of every archive: key and version id."""

    def listed() -> list[tuple[str, str]]:
        answer: Any = s3.list_object_versions(Bucket=stack.archive_bucket)
        return [(version["Key"], version["VersionId"]) for version in answer.get("Versions", [])]

    return listed


@pytest.fixture
def settled(
    client: StackClient, sqs: "SQSClient", stack: Stack, delivered: Delivered
) -> Callable[[str, dict[str, bytes]], None]:
    """Checks that no message is left, and that the archive that a notification speaks of is right."""

    def check(notification: str, expected: dict[str, bytes]) -> None:
        assert eventually(lambda: depth(sqs, stack.input_url) == (0, 0, 0))
        assert depth(sqs, stack.input_dlq_url) == (0, 0, 0)
        while depth(sqs, stack.output_url)[0]:
            client.notification()
        sqs.send_message(QueueUrl=stack.output_url, MessageBody=notification)
        delivered(json.loads(notification)["request_id"], expected)

    return check


def test_the_notification_fails_at_first(
    start_worker: StartWorker,
    client: StackClient,
    sqs: "SQSClient",
    stack: Stack,
    versions: Callable[[], list[tuple[str, str]]],
    settled: Callable[[str, dict[str, bytes]], None],
) -> None:
    # given a consumer's queue that is not there
    body = noise(SIZE, seed=1)
    client.put("unheard.bin", body)
    late = f"{stack.names.output_queue}-late"
    worker = start_worker(SQS_DESTINATION_QUEUE=late)

    # when a job's archive is built, and nobody can be told
    before = set(versions())
    request_id = client.send({"files": [{"source": "unheard.bin"}]}, Correlation_Id="unheard")
    assert worker.wait_for_log("job failed")
    built = set(versions()) - before
    assert len(built) == 1

    # then, once the queue is there, the next delivery tells of that same archive
    url = sqs.create_queue(QueueName=late)["QueueUrl"]
    client = StackClient(
        client.s3, sqs, Stack(stack.names, stack.input_url, stack.input_dlq_url, url, stack.output_dlq_url)
    )
    notification = client.notification(request_id)
    archive = notification.json["archive"]
    assert {(archive["key"], archive["version_id"])} == built
    assert notification.attributes == {"Correlation-Id": "unheard"}

    # and it was not built again, is right, and the message is gone
    assert set(versions()) - before == built
    assert "archive found: an earlier attempt completed it" in worker.output()
    settled(notification.body, {"unheard.bin": body})


@each_kind_of_key
def test_the_message_comes_again_after_its_job_was_done(
    chosen: str | None,
    start_worker: StartWorker,
    localstack: LocalStack,
    client: StackClient,
    stack: Stack,
    versions: Callable[[], list[tuple[str, str]]],
    settled: Callable[[str, dict[str, bytes]], None],
) -> None:
    # given an SQS that will not delete messages, for now
    body = noise(SIZE, seed=2)
    client.put("twice.bin", body)
    before = set(versions())
    refusing = [True]

    def no_deletion(request: Request) -> Fault | None:
        return INTERNAL_ERROR if refusing[0] and request.operation.startswith("DeleteMessage") else None

    with running_proxy(localstack.url, faults=no_deletion) as proxy:
        worker = start_worker(endpoint=proxy.url, VISIBILITY_TIMEOUT_SECONDS="3")

        # when a job is done, and its message comes back since it could not be acknowledged
        request_id = client.send(wanted("twice.bin", chosen and f"{chosen}twice.zip"))
        first = client.notification(request_id)
        built = set(versions()) - before
        second = client.notification(request_id)
        refusing[0] = False

        # then the consumer was told the same twice, but for the signature of the link
        contents = [{**notice.json["archive"], "url": None} for notice in (first, second)]
        assert contents[0] == contents[1]
        assert {(contents[0]["key"], contents[0]["version_id"])} == built
        assert contents[0]["key"].startswith(chosen or "")

        # and there is one archive, which is right, and no message any more
        assert set(versions()) - before == built
        settled(first.body, {"twice.bin": body})
        assert worker.alive()
        assert "job failed" not in worker.output()


@each_kind_of_key
@pytest.mark.parametrize("slow", ["UploadPartCopy", "CompleteMultipartUpload"])
def test_two_workers_have_the_message_at_once(
    slow: str,
    chosen: str | None,
    gate: Gate,
    start_worker: StartWorker,
    localstack: LocalStack,
    client: StackClient,
    stack: Stack,
    versions: Callable[[], list[tuple[str, str]]],
    settled: Callable[[str, dict[str, bytes]], None],
) -> None:
    # given a worker whose heartbeat fails, so that the message of its slow job shows itself again, and another worker
    body = noise(SIZE, seed=3)
    client.put("raced.bin", body)
    before = set(versions())
    gate.operation = slow

    with running_proxy(localstack.url, faults=first_of(gate, on("ChangeMessageVisibility", INTERNAL_ERROR))) as proxy:
        first = start_worker(endpoint=proxy.url, VISIBILITY_TIMEOUT_SECONDS="3")
        request_id = client.send(wanted("raced.bin", chosen and f"{chosen}{slow}.zip"))
        assert gate.reached.wait(LONG_ENOUGH)
        second = start_worker(VISIBILITY_TIMEOUT_SECONDS="60")

        # when both build the archive, the second one faster
        notices = [client.notification(request_id).json]
        gate.opened.set()
        notices.append(client.notification(request_id).json)

        # then there is one archive, which both have told of
        assert [{**notice["archive"], "url": None} for notice in notices] == [
            {**notices[0]["archive"], "url": None}
        ] * 2
        assert set(versions()) - before == {(notices[0]["archive"]["key"], notices[0]["archive"]["version_id"])}
        assert notices[0]["archive"]["key"].startswith(chosen or "")
        assert "upload resumed" in second.output()
        assert "archive found: an earlier attempt completed it" in first.output()
        assert "job failed" not in first.output() + second.output()

        # and the loser has left nothing, neither on the queue nor in the bucket
        settled(json.dumps(notices[0]), {"raced.bin": body})
        assert client.s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
