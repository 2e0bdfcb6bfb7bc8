"""Status and cancelling, with real workers: before the start, in the middle, in the last second, and unknown."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from archiver.client import ArchiverClient, StatusObjects
from devtools.localstack import LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.integration.test_queue_retries import depth
from tests.support.command import Outcome, run
from tests.support.gate import Gate
from tests.support.jobs import noise
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

MIB = 1024 * 1024


@pytest.fixture
def worker(start_worker: StartWorker, localstack: LocalStack, gate: Gate) -> Iterator[Callable[[], Worker]]:
    """Starts workers that keep statuses, behind the gate."""
    with running_proxy(localstack.url, faults=gate) as proxy:
        yield lambda: start_worker(
            endpoint=proxy.url,
            STATUS_PREFIX="status/",
            NOTIFY_FAILURES="1",
            PART_SIZE_MIB="5",
            BACKOFF_BASE_SECONDS="1",
        )
        gate.opened.set()


@pytest.fixture
def command(localstack: LocalStack, stack: Stack) -> Callable[..., Outcome]:
    environment = localstack.environment | stack.environment | {"STATUS_PREFIX": "status/"}
    return lambda *arguments: run(*arguments, "--json", environment=environment)


@pytest.fixture
def archiver(s3: "S3Client", sqs: "SQSClient", stack: Stack) -> ArchiverClient:
    return ArchiverClient(stack.input_url, sqs=sqs, statuses=StatusObjects(s3, stack.archive_bucket, "status/"))


@pytest.fixture
def submit(client: StackClient, archiver: ArchiverClient) -> Callable[[], str]:
    """A job of three parts or more, of objects that are read."""

    def send() -> str:
        for number in range(16):
            client.put(f"part/{number}.bin", bytes([number]) * MIB)
        return archiver.submit(["part/"], metadata={"order": 7})

    return send


def gone(s3: "S3Client", sqs: "SQSClient", stack: Stack) -> bool:
    """No message, no dead letter, no upload and no archive."""
    uploads = s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", [])
    objects = s3.list_objects_v2(Bucket=stack.archive_bucket).get("Contents", [])
    archives = [found["Key"] for found in objects if not found["Key"].startswith("status/")]
    return not (depth(sqs, stack.input_url) or depth(sqs, stack.input_dlq_url) or uploads or archives)


def test_the_status_of_a_running_job_moves_forward_and_ends_right(
    worker: Callable[[], Worker],
    gate: Gate,
    submit: Callable[[], str],
    archiver: ArchiverClient,
    client: StackClient,
    command: Any,
) -> None:
    # given a job of which nobody knows yet
    request_id = submit()
    assert archiver.status(request_id) is None
    assert command("status", request_id).json == {"request_id": request_id, "state": "unknown"}
    # when its first parts are there and the others are held
    gate.operation, gate.first = "UploadPart", 3
    worker()

    def bytes_done() -> int:
        found = archiver.status(request_id)
        return 0 if found is None or found.progress is None else found.progress.bytes.done

    assert eventually(lambda: bytes_done() > 0), archiver.status(request_id)
    found = archiver.status(request_id)
    assert found is not None
    assert (found.state, found.attempt) == ("running", 1)
    assert bytes_done() < 16 * MIB
    assert found.progress is not None
    assert 0 < found.progress.entries.done < 16
    # then it ends with what the consumer is told
    gate.opened.set()
    told = client.notification(request_id).json
    assert eventually(lambda: bool((end := archiver.status(request_id)) and end.ended))
    outcome = command("status", request_id)
    assert (outcome.exit_code, outcome.json["state"]) == (0, "succeeded")
    assert outcome.json["notification"] == told
    assert outcome.json["progress"]["bytes"] == {"done": 16 * MIB, "total": 16 * MIB}
    # and to cancel it is too late
    late = command("cancel", request_id)
    assert (late.exit_code, late.json["too_late"]) == (1, True)


def test_submit_watches_its_request_and_watch_tells_of_it_later(
    worker: Callable[[], Worker], client: StackClient, command: Any, localstack: LocalStack, stack: Stack
) -> None:
    client.put("a.txt", b"text")
    worker()

    watched = command("submit", "--source", "a.txt", "--metadata", "order=7", "--watch")

    assert watched.exit_code == 0, watched
    submitted, *_, last = (json.loads(line) for line in watched.stdout.splitlines())
    assert submitted["type"] == "submitted"
    assert (last["request_id"], last["state"]) == (submitted["uuid"], "succeeded")
    assert last["notification"]["metadata"] == {"order": "7"}
    # and for a person, afterwards, without --json
    environment = localstack.environment | stack.environment | {"STATUS_PREFIX": "status/"}
    later = run("watch", submitted["uuid"], environment=environment)
    assert (later.exit_code, later.stdout) == (0, f"succeeded: {last['notification']['archive']['url']}\n")


def test_a_job_is_cancelled_before_it_begins(
    worker: Callable[[], Worker],
    submit: Callable[[], str],
    client: StackClient,
    command: Any,
    s3: "S3Client",
    sqs: "SQSClient",
    stack: Stack,
) -> None:
    request_id = submit()
    assert command("cancel", request_id).json == {"request_id": request_id, "state": "unknown", "too_late": False}
    worker()
    told = client.notification(request_id).json
    assert (told["status"], told["error"]["code"], told["metadata"]) == ("cancelled", "cancelled", {"order": 7})
    assert eventually(lambda: gone(s3, sqs, stack))
    assert command("status", request_id).json["state"] == "cancelled"


def test_a_running_job_is_cancelled_with_two_workers_there(
    worker: Callable[[], Worker],
    gate: Gate,
    submit: Callable[[], str],
    archiver: ArchiverClient,
    client: StackClient,
    command: Any,
    s3: "S3Client",
    sqs: "SQSClient",
    stack: Stack,
) -> None:
    # given two workers, one of them in the middle of a job
    gate.operation, gate.first = "UploadPart", 2
    workers = [worker(), worker()]
    request_id = submit()
    assert gate.reached.wait(LONG_ENOUGH)
    # when it is cancelled
    before = archiver.cancel(request_id)
    assert before is not None
    assert before.state == "running"
    assert eventually(lambda: any("the job is to be cancelled" in one.output() for one in workers))
    gate.opened.set()
    outcome = command("cancel", request_id, "--wait", "120")
    # then it ends, without an archive and without a dead letter
    assert (outcome.exit_code, outcome.json["state"], outcome.json["too_late"]) == (0, "cancelled", False)
    assert client.notification(request_id).json["status"] == "cancelled"
    assert eventually(lambda: gone(s3, sqs, stack))
    assert [one.output().count("job cancelled") for one in workers] in ([0, 1], [1, 0])


@pytest.mark.parametrize(("held", "compression"), [("UploadPartCopy", "stored"), ("UploadPart", "auto")])
def test_a_job_that_waits_for_s3_is_cancelled_all_the_same(
    worker: Callable[[], Worker],
    gate: Gate,
    archiver: ArchiverClient,
    client: StackClient,
    command: Any,
    s3: "S3Client",
    sqs: "SQSClient",
    stack: Stack,
    held: str,
    compression: Literal["stored", "auto"],
) -> None:
    # given a job whose copies, or parts of what is deflated, S3 does not answer
    client.put("large.bin", noise(40 * MIB) if held == "UploadPartCopy" else noise(20 * MIB).hex().encode())
    gate.operation, gate.first = held, 2
    running = worker()
    request_id = archiver.submit(["large.bin"], compression=compression)
    assert gate.reached.wait(LONG_ENOUGH)
    # when it is cancelled
    outcome = command("cancel", request_id, "--wait", "120")
    # then it has ended though they are still under way
    assert not gate.opened.is_set()
    assert (outcome.exit_code, outcome.json["state"], outcome.json["too_late"]) == (0, "cancelled", False)
    assert client.notification(request_id).json["status"] == "cancelled"
    # and what they still do leaves nothing; the worker goes on
    gate.opened.set()
    assert eventually(lambda: gone(s3, sqs, stack))
    client.put("small.txt", b"small")
    assert client.notification(archiver.submit(["small.txt"])).json["status"] == "succeeded"
    assert running.alive()


def test_in_the_last_second_it_is_too_late(
    worker: Callable[[], Worker],
    gate: Gate,
    submit: Callable[[], str],
    client: StackClient,
    command: Any,
    archiver: ArchiverClient,
) -> None:
    # given a job of which nothing but the completion is left
    gate.operation = "CompleteMultipartUpload"
    worker()
    request_id = submit()
    assert gate.reached.wait(LONG_ENOUGH)
    # when it is cancelled
    archiver.cancel(request_id)
    gate.opened.set()
    outcome = command("cancel", request_id, "--wait", "120")
    # then the archive is there
    assert (outcome.exit_code, outcome.json["state"], outcome.json["too_late"]) == (1, "succeeded", True)
    assert client.notification(request_id).json["status"] == "succeeded"


def test_without_the_setting_the_command_says_so(localstack: LocalStack, stack: Stack) -> None:
    outcome = run("cancel", "x", environment=localstack.environment | stack.environment)
    assert outcome.exit_code == 2
    assert "STATUS_PREFIX is not set" in outcome.complaint
