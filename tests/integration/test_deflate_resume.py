"""Deflated archives of workers that are killed: the next one goes on with what S3 has, by the bytes that it reads."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from archiver.archive.checkpoint import decode
from archiver.aws.checkpoints import PREFIX
from devtools.localstack import LocalStack
from devtools.messages import Message
from devtools.proxy import Proxy, running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.support.gate import Gate
from tests.support.jobs import noise, text
from tests.support.oracles import Readers
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.localstack

MIB = 1024 * 1024
#: What a resumed job reads of what a whole one does, killed at half of its parts; to that comes one part, whose
#: checkpoint may not have been due.
MOST = 0.6


@pytest.fixture
def proxy(localstack: LocalStack, gate: Gate) -> Iterator[Proxy]:
    with running_proxy(localstack.url, faults=gate) as proxy:
        yield proxy
        gate.opened.set()


def digits(size: int) -> bytes:
    """Deflates to half: few bytes fill a part."""
    return noise(size // 2 + 1).hex().encode()[:size]


def bytes_read(worker: Worker) -> list[int]:
    """Of the jobs that the worker has done."""
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line["bytes_read"] for line in lines if line["message"] == "job done"]


def checkpoints(s3: "S3Client", stack: Stack) -> set[str]:
    """The keys of all that are there."""
    listed = s3.list_objects_v2(Bucket=stack.archive_bucket, Prefix=PREFIX)
    return {one["Key"] for one in listed.get("Contents", ())}


def parts_known(s3: "S3Client", stack: Stack, *, but: set[str]) -> int:
    """How many parts the new checkpoint tells of; those whose growth makes none due yet are not among them."""
    bodies = [
        s3.get_object(Bucket=stack.archive_bucket, Key=key)["Body"].read() for key in checkpoints(s3, stack) - but
    ]
    return sum(len(decode(body).cuts) for body in bodies)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "mib", "make"),
    [
        pytest.param(8, 10, digits, id="8 of 10 MiB"),
        pytest.param(1, 80, digits, id="1 of 80 MiB", marks=pytest.mark.chaos),
        pytest.param(64, 8, text, id="64 of 8 MiB", marks=pytest.mark.chaos),
        pytest.param(8, 64, text, id="8 of 64 MiB", marks=pytest.mark.chaos),
        pytest.param(1, 512, text, id="1 of 512 MiB", marks=pytest.mark.chaos),
    ],
)
def test_a_worker_that_is_killed_at_half_leaves_half(
    count: int,
    mib: int,
    make: Callable[[int], bytes],
    start_worker: StartWorker,
    client: StackClient,
    stack: Stack,
    proxy: Proxy,
    gate: Gate,
    readers: Readers,
    tmp_path: "Path",
    s3: "S3Client",
) -> None:
    contents = {f"{n}.csv": make(mib * MIB + n)[n:] for n in range(count)}
    for key, content in contents.items():
        client.put(f"text/{key}", content)
    payload = {"files": [{"source": "text/"}], "compression": "auto"}
    start: Callable[[], Worker] = lambda: start_worker(  # noqa: E731 three workers of one kind
        endpoint=proxy.url, VISIBILITY_TIMEOUT_SECONDS="5", WORKER_CONCURRENCY="1"
    )

    # given what a whole job reads, and how many parts it uploads
    first = start()
    client.notification(client.send(payload))
    assert eventually(lambda: len(bytes_read(first)) == 1)
    (whole,) = bytes_read(first)
    parts = proxy.counts().requests["UploadPart"] - 1  # the marker

    # when a worker is killed once half of the parts of another are there
    earlier = checkpoints(s3, stack)
    proxy.reset()
    gate.operation, gate.first = "UploadPart", 1 + parts // 2 + 1
    request_id = client.send(payload)
    assert gate.reached.wait(LONG_ENOUGH)
    assert eventually(lambda: parts_known(s3, stack, but=earlier) >= 0.9 * (parts // 2) - 1)
    first.kill()
    gate.opened.set()
    second = start()
    notification: Message = client.notification(request_id)

    # then the next one reads the other half
    assert notification.json["status"] == "succeeded"
    assert eventually(lambda: len(bytes_read(second)) == 1)
    (again,) = bytes_read(second)
    print(f"{count} x {mib} MiB: {parts} parts, {again / MIB:.1f} of {whole / MIB:.1f} MiB: {again / whole:.3f}")  # noqa: T201 a measurement
    second.kill()  # before the proxy that it is connected to
    assert again <= (MOST + 1 / parts) * whole
    readers.check(client.download(notification, tmp_path), contents)
