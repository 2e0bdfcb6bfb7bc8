"""Jobs that end for good in their last attempt: told with their reason, and nothing of theirs is left."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from archiver.client import ArchiverClient, StatusObjects
from devtools.faults import ACCESS_DENIED, on
from devtools.localstack import LocalStack
from devtools.proxy import Proxy, running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.integration.test_queue_retries import depth
from tests.support.gate import Gate
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

MIB = 1024 * 1024


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack(max_receive_count=50)


@pytest.fixture
def proxy(localstack: LocalStack) -> Iterator[Proxy]:
    with running_proxy(localstack.url) as proxy:
        yield proxy


@pytest.fixture
def worker(start_worker: StartWorker, proxy: Proxy) -> Callable[[int], Worker]:
    """Starts a worker that makes so many attempts."""
    return lambda attempts: start_worker(
        endpoint=proxy.url,
        STATUS_PREFIX="status/",
        NOTIFY_FAILURES="1",
        PART_SIZE_MIB="5",
        MAX_ATTEMPTS=str(attempts),
        BACKOFF_BASE_SECONDS="0",
        VISIBILITY_TIMEOUT_SECONDS="5",
    )


@pytest.fixture
def archiver(s3: "S3Client", sqs: "SQSClient", stack: Stack) -> ArchiverClient:
    return ArchiverClient(stack.input_url, sqs=sqs, statuses=StatusObjects(s3, stack.archive_bucket, "status/"))


def submit(client: StackClient, archiver: ArchiverClient) -> str:
    for number in range(12):
        client.put(f"part/{number}.bin", bytes([number]) * MIB)
    return archiver.submit(["part/"])


def uploads(s3: "S3Client", stack: Stack) -> int:
    return len(s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []))


def check_end(request_id: str, code: str, client: StackClient, archiver: ArchiverClient) -> None:
    """Dead letter, notification and status say the same."""
    (dead,) = client.dead_letters(1)
    assert (dead.attributes["Error-Code"], dead.attributes["Request-Id"]) == (code, request_id)
    told = client.notification(request_id).json
    assert (told["status"], told["error"]["code"]) == ("failed", code)
    # The consumer is told first.
    assert eventually(lambda: bool((found := archiver.status(request_id)) and found.ended))
    status = archiver.status(request_id)
    assert status is not None
    assert (status.state, status.notification) == ("failed", told)


def test_after_the_last_failure(
    worker: Callable[[int], Worker],
    proxy: Proxy,
    archiver: ArchiverClient,
    client: StackClient,
    s3: "S3Client",
    sqs: "SQSClient",
    stack: Stack,
) -> None:
    # given a bucket that takes all parts and lets nobody complete
    proxy.set_faults(on("CompleteMultipartUpload", ACCESS_DENIED))
    worker(2)
    request_id = submit(client, archiver)
    # then the second of two attempts is the job's end, with its upload
    check_end(request_id, "destination_unavailable", client, archiver)
    assert eventually(lambda: depth(sqs, stack.input_url) == 0)
    assert uploads(s3, stack) == 0
    assert proxy.counts().requests["CreateMultipartUpload"] == 1


def test_after_the_last_crash(
    worker: Callable[[int], Worker],
    gate: Gate,
    proxy: Proxy,
    archiver: ArchiverClient,
    client: StackClient,
    s3: "S3Client",
    sqs: "SQSClient",
    stack: Stack,
) -> None:
    # given a job whose worker is killed as a whole in its only attempt
    gate.operation, gate.first = "UploadPart", 3
    proxy.set_faults(gate)
    first = worker(1)
    request_id = submit(client, archiver)
    assert gate.reached.wait(LONG_ENOUGH)
    first.kill()
    gate.opened.set()
    assert uploads(s3, stack) == 1
    # when another one finds its attempts used up
    worker(1)
    # then it ends, with its upload
    check_end(request_id, "attempts_exhausted", client, archiver)
    assert eventually(lambda: depth(sqs, stack.input_url) == 0)
    assert uploads(s3, stack) == 0
