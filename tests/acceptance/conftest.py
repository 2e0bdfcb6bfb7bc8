"""One stack and one worker for all stories of a module: a story brings its own objects and knows its own request."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.localstack import LocalStack
from devtools.messages import Message
from devtools.processes import tail
from devtools.stack import Names, Stack, create_stack
from devtools.worker import Worker, running_worker
from tests.conftest import StackClient
from tests.support.oracles import Readers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: Checks that the request's archive, and its notification, are there: ``delivered(request_id, {name: body})``.
Delivered = Callable[..., Message]


@pytest.fixture(scope="module")
def stack(localstack: LocalStack) -> Stack:
    return create_stack(localstack, names=Names.unique())


@pytest.fixture(scope="module")
def client(s3: "S3Client", sqs: "SQSClient", stack: Stack) -> StackClient:
    return StackClient(s3, sqs, stack)


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, stack: Stack) -> Iterator[Worker]:
    """A worker that also tells of failures, so that a job that should succeed and does not fails its test at once."""
    with running_worker(localstack, stack, settings={"NOTIFY_FAILURES": "1"}) as running:
        yield running
        running.kill()  # which takes no time: a test of how one stops stops it


@pytest.fixture(autouse=True)
def _log_of_a_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shows the end of the module's worker's log under a failed test."""
    yield
    if "worker" in request.fixturenames:
        print(tail(request.getfixturevalue("worker").log))  # noqa: T201  # pytest shows it where the test failed


def peak_memory(worker: Worker) -> int:
    """The most resident memory that the pool's only process ever had, in bytes (proc(5), VmHWM)."""
    [child] = worker.children()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


@pytest.fixture
def delivered(client: StackClient, readers: Readers, tmp_path: Path) -> Delivered:
    """Waits for a request's notification, downloads the archive once and has every reader read it."""

    def check(request_id: str, expected: dict[str, bytes | str]) -> Message:
        notification = client.notification(request_id)
        assert notification.json["status"] == "succeeded", notification.body
        assert notification.json["archive"]["files"] == len(expected)
        readers.check(client.download(notification, tmp_path), expected)
        return notification

    return check
