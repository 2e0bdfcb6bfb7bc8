"""Workers die all the time: each message still ends as a right archive with a notification.

Each second a worker's whole process group gets SIGKILL, as when its machine goes; the supervisor that ECS is starts
another one. What is killed was at work: a worker that is only starting has nothing to lose.
"""

import io
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import depth, receive
from devtools.stack import Stack
from devtools.worker import READY, Worker, running_worker
from tests.conftest import StackClient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]

WORKERS = 3
MIB = 1024 * 1024
SOURCES = {
    "small/a.txt": b"a line of text\n" * 200,
    "small/b.bin": random.Random(1).randbytes(30_000),
    "small/empty": b"",
    "big/photo.raw": random.Random(2).randbytes(12 * MIB),
    "big/film.raw": random.Random(3).randbytes(11 * MIB),
}
SETTINGS = {
    "VISIBILITY_TIMEOUT_SECONDS": "3",
    "BACKOFF_BASE_SECONDS": "0",
    "POLL_SECONDS": "1",
    "PART_SIZE_MIB": "5",
    "WORKER_CONCURRENCY": "1",
    # A crash counts as an attempt, and on a busy machine one job may have many: the kills are what this is about.
    "MAX_ATTEMPTS": "50",
}


@dataclass
class Fleet:
    """Workers that are replaced as they die."""

    start: Callable[[], tuple[Worker, ExitStack]]
    rng: random.Random
    size: int = WORKERS
    workers: list[tuple[Worker, ExitStack]] = field(default_factory=list)
    kills: int = 0
    #: What those that are no more have logged.
    logs: list[str] = field(default_factory=list)

    def fill(self) -> None:
        while len(self.workers) < self.size:
            self.workers.append(self.start())

    def kill_one_at_work(self, is_at_work: Callable[[str], bool] = lambda said: READY in said) -> None:
        """SIGKILL to the process group of a worker that takes messages, and a new one in its place."""
        at_work = [pair for pair in self.workers if is_at_work(pair[0].output())]
        if not at_work:
            return
        worker, stack = pair = self.rng.choice(at_work)
        worker.kill()
        self.logs.append(worker.output())
        stack.close()
        self.workers.remove(pair)
        self.kills += 1
        self.fill()

    def close(self) -> None:
        for worker, stack in self.workers:
            worker.kill()
            self.logs.append(worker.output())
            stack.close()


@contextmanager
def fleet(localstack: LocalStack, stack: Stack) -> Iterator[Fleet]:
    def start() -> tuple[Worker, ExitStack]:
        exits = ExitStack()
        return exits.enter_context(running_worker(localstack, stack, settings=SETTINGS, wait=False)), exits

    running = Fleet(start, random.Random(2026))
    running.fill()
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize(
    ("count", "kills", "seconds"),
    [pytest.param(100, 5, 240, id="short"), pytest.param(200, 50, 900, id="long", marks=pytest.mark.chaos)],
)
def test_every_message_ends_as_a_right_archive(
    count: int,
    kills: int,
    seconds: int,
    localstack: LocalStack,
    make_stack: Callable[..., Stack],
    s3: "S3Client",
    sqs: "SQSClient",
) -> None:
    # given jobs, some of many parts, and a queue that has more patience than we have kills
    stack = make_stack(max_receive_count=kills + 60)
    client = StackClient(s3, sqs, stack)
    for key, body in SOURCES.items():
        client.put(key, body)
    jobs = {client.send(payload(number)): number for number in range(count)}

    # when workers are killed each second, until there were enough kills
    notified: dict[str, list[Any]] = {}
    with fleet(localstack, stack) as workers:
        deadline = time.monotonic() + seconds
        next_kill = time.monotonic() + 1
        while (len(notified) < count or workers.kills < kills) and time.monotonic() < deadline:
            for message in receive(sqs, stack.output_url, count=10, seconds=1):
                notified.setdefault(message.json["request_id"], []).append(message.json)
            if workers.kills < kills and time.monotonic() >= next_kill:
                workers.kill_one_at_work()
                next_kill = time.monotonic() + 1
        killed = workers.kills
        # what was built again after its notification is acked, too
        while depth(sqs, stack.input_url) != (0, 0, 0) and time.monotonic() < deadline:
            time.sleep(0.2)

    # then each was notified, with one key however often, and what lies there is right
    assert set(notified) == set(jobs)
    assert killed == kills
    for request_id, number in jobs.items():
        (key,) = {notification["archive"]["key"] for notification in notified[request_id]}
        body = s3.get_object(Bucket=stack.archive_bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == expected(number)
    # and no message is left anywhere
    assert depth(sqs, stack.input_url) == (0, 0, 0)
    assert depth(sqs, stack.input_dlq_url) == (0, 0, 0)
    # and after a sweep no upload is
    sweep(localstack, stack)
    assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []


def payload(number: int) -> dict[str, Any]:
    files = [{"source": "small/", "destination": f"job {number}"}]
    if number % 8 == 0:
        files.append({"source": "big/", "destination": "large"})
    return {"files": files, "metadata": {"number": number}}


def expected(number: int) -> dict[str, bytes]:
    names = {f"job {number}/{key.removeprefix('small/')}": key for key in SOURCES if key.startswith("small/")}
    if number % 8 == 0:
        names |= {f"large/{key.removeprefix('big/')}": key for key in SOURCES if key.startswith("big/")}
    return {name: SOURCES[key] for name, key in names.items()}


def sweep(localstack: LocalStack, stack: Stack) -> None:
    """As an operator does it."""
    environment = {**os.environ, **localstack.environment, **stack.environment}
    program = [sys.executable, "-m", "archiver", "sweep", "--older-than", "0h", "--json"]
    subprocess.run(program, env=environment, cwd=CHECKOUT, check=True, capture_output=True)
