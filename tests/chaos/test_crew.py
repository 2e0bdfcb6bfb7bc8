"""Archives that many workers build while these die, stop and wake up, messages come twice, and a source changes.

As in ``test_kills`` one at work is killed each second, as soon as there are enough others, and replaced; who it is,
builder or helper, is chance. All lie behind a proxy that makes reads slow; for a while it takes rights away, and for
another the crew's queue is not there.
"""

import io
import json
import os
import random
import signal
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from devtools.faults import ACCESS_DENIED, Delay, Fault, Request
from devtools.localstack import LocalStack
from devtools.messages import depth, receive
from devtools.proxy import running_proxy
from devtools.stack import CREW_RETENTION, Stack
from devtools.worker import READY, Worker, running_worker
from tests.chaos.test_kills import Fleet, sweep
from tests.conftest import StackClient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1200)]

JOBS = 30
KILLS = 60
SECONDS = 480
MIB = 1024 * 1024
FILES = {f"{number:02}.jpg": random.Random(number).randbytes(3 * MIB) for number in range(14)}
READ_MILLISECONDS = 300
#: A source that is overwritten all the time, with one of these.
CHANGING = "99.jpg"
CONTENTS = [random.Random(100 + number).randbytes(3 * MIB) for number in range(2)]
SETTINGS = {
    "CREW_MIN_BYTES": str(8 * MIB),
    "MEMORY_MIB": "16",
    "PART_SIZE_MIB": "5",
    "VISIBILITY_TIMEOUT_SECONDS": "5",
    "BACKOFF_BASE_SECONDS": "0",
    "POLL_SECONDS": "1",
    "REBUILDS": "10",
    "WORKER_CONCURRENCY": "2",
    "MAX_ATTEMPTS": str(KILLS * 2),
}
#: A job is sent for so many kills, so that there are always some, and workers that have none.
KILLS_OF_A_JOB = KILLS // JOBS
MOST_JOBS = 3
WORKERS = 5
#: After which kills the crew's queue is not there.
WITHOUT_QUEUE = range(12, 22)
#: After which kill the next requests to send to it are denied, and after which of those to what is shared each second.
QUEUE_DENIED, SENDS_DENIED = 28, 3
FOLDER_DENIED, REQUESTS_DENIED = 40, 40


@dataclass
class Proxied:
    """What the proxy does to the workers' requests: reads take a while, and rights go and come back."""

    kills: int = 0
    sends_denied: int = 0
    shared: int = 0

    def __call__(self, request: Request) -> Fault | None:
        if request.operation == "SendMessageBatch":
            if self.kills >= QUEUE_DENIED and self.sends_denied < SENDS_DENIED:
                self.sends_denied += 1
                return ACCESS_DENIED
        elif "/archiver-crew/" in request.path or request.query.get("prefix", "").startswith("archiver-crew/"):
            self.shared += self.kills >= FOLDER_DENIED
            if self.kills >= FOLDER_DENIED and self.shared % 2 and self.shared < 2 * REQUESTS_DENIED:
                return ACCESS_DENIED
        return Delay(READ_MILLISECONDS) if "/photos/" in request.path else None


@dataclass
class Sleeper:
    """A worker that is stopped in the middle of a chunk, until all is over."""

    worker: Worker
    asleep: bool = False

    def fall_asleep(self) -> None:
        """At the first chunk that it has begun and not ended."""
        if not self.asleep and self._is_helping():
            os.killpg(self.worker.pid, signal.SIGSTOP)
            self.asleep = self._is_helping()
            if not self.asleep:
                self.wake_up()

    def wake_up(self) -> None:
        os.killpg(self.worker.pid, signal.SIGCONT)

    def _is_helping(self) -> bool:
        return under_way(self.worker.output())["chunk"] > 0


@dataclass
class Queue:
    """The crew's queue, whose messages come twice, and which is away for a while."""

    sqs: "SQSClient"
    stack: Stack
    there: bool = True
    repeats: set[str] = field(default_factory=set)

    def disturb(self, kills: int) -> None:
        """Take it away or bring it back; put one that waits on it once more."""
        if (kills in WITHOUT_QUEUE) is self.there:
            self.there = not self.there
            if self.there:
                kept: Any = {"MessageRetentionPeriod": str(CREW_RETENTION)}
                self.sqs.create_queue(QueueName=self.stack.names.crew_queue, Attributes=kept)
            else:
                self.sqs.delete_queue(QueueUrl=self.stack.crew_url)
        if self.there:
            with suppress(ClientError):  # one that has only just come back
                self._repeat()

    def _repeat(self) -> None:
        url = self.stack.crew_url
        for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            # As new ones: one that was received often is dropped.
            again = 1 if message["Body"] in self.repeats else 2
            for _ in range(again):
                self.sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            self.repeats.add(message["Body"])


def test_every_archive_is_right_whoever_dies(
    localstack: LocalStack, make_stack: Callable[..., Stack], s3: "S3Client", sqs: "SQSClient"
) -> None:
    # given thirty large jobs, one after the other
    rng = random.Random(2026)
    stack = make_stack(max_receive_count=KILLS * 3)
    client = StackClient(s3, sqs, stack)
    for name, body in {**FILES, CHANGING: CONTENTS[0]}.items():
        client.put(f"photos/{name}", body)
    jobs: set[str] = set()
    proxied, queue = Proxied(), Queue(sqs, stack)

    with running_proxy(localstack.url, faults=proxied) as proxy:

        def start() -> tuple[Worker, ExitStack]:
            exits = ExitStack()
            settings = SETTINGS | stack.crew_environment
            worker = running_worker(localstack, stack, settings=settings, endpoint=proxy.url, wait=False)
            return exits.enter_context(worker), exits

        # when workers die each second, one sleeps until all is over, invitations come twice, rights and the queue go
        # and come back, and a source changes
        notified: dict[str, dict[str, Any]] = {}
        fleet = Fleet(start, rng, WORKERS)
        sleeping, exits = start()
        sleeper = Sleeper(sleeping)
        try:
            fleet.fill()
            deadline = time.monotonic() + SECONDS
            next_kill = time.monotonic() + 1
            while (len(notified) < JOBS or fleet.kills < KILLS) and time.monotonic() < deadline:
                waiting = len(jobs) - len(notified)
                if len(jobs) < min(JOBS, 2 + fleet.kills // KILLS_OF_A_JOB) and waiting < MOST_JOBS:
                    jobs.add(client.send({"files": [{"source": "photos/"}], "metadata": {"number": len(jobs)}}))
                for message in receive(sqs, stack.output_url, count=10, seconds=0):
                    notified.setdefault(message.json["request_id"], message.json)
                if fleet.kills < KILLS and time.monotonic() >= next_kill and ready(fleet) > WORKERS // 2:
                    fleet.kill_one_at_work(lambda said: any(under_way(said).values()))
                    next_kill = time.monotonic() + 1
                    proxied.kills = fleet.kills
                    if fleet.kills % 10 == 1:
                        client.put(f"photos/{CHANGING}", rng.choice(CONTENTS))
                sleeper.fall_asleep()
                queue.disturb(fleet.kills)
            sleeper.wake_up()
            assert sleeping.alive()
            while depth(sqs, stack.input_url) != (0, 0, 0) and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            sleeper.wake_up()
            sleeping.kill()
            fleet.logs.append(sleeping.output())
            exits.close()
            fleet.close()

    # then all of that has happened
    assert fleet.kills == KILLS
    assert sleeper.asleep
    assert proxied.sends_denied == SENDS_DENIED
    assert proxied.shared >= 2 * REQUESTS_DENIED
    assert queue.repeats
    died = sum((under_way(log) for log in fleet.logs), Counter())
    helped = sum(line["message"] == "help done" for line in lines(fleet.logs))
    assert min(died["job"], died["chunk"]) > 0
    assert helped > JOBS // 2
    # and each job is told and right, of the one content or the other
    assert len(jobs) == JOBS
    assert set(notified) == jobs
    for told in notified.values():
        check(s3, stack, told["archive"])
    # and no failure of a helper has become one of a job, or of its own
    assert depth(sqs, stack.input_dlq_url) == (0, 0, 0)
    assert failures(fleet.logs) == []
    # and nothing is left after a sweep
    sweep(localstack, stack)
    assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
    assert s3.list_objects_v2(Bucket=stack.archive_bucket, Prefix="archiver-crew/").get("KeyCount") == 0


def check(s3: "S3Client", stack: Stack, told: dict[str, Any]) -> None:
    """The archive is what the notification says, and holds the sources."""
    body = s3.get_object(Bucket=stack.archive_bucket, Key=told["key"])["Body"].read()
    assert (len(body), f"{zlib.crc32(body):08x}") == (told["size"], told["crc32"])
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found.pop(CHANGING) in CONTENTS
    assert found == FILES


def lines(logs: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What was logged; the last line of who was killed may be half a one."""
    for log in logs:
        for line in log.splitlines():
            with suppress(ValueError):
                if isinstance(told := json.loads(line), dict) and "message" in told:
                    yield told


def under_way(log: str) -> Counter[str]:
    """The jobs and the chunks that a worker has begun and not ended."""
    said = Counter(line["message"] for line in lines([log]))
    jobs = said["job started"] - said["job done"] - said["job failed"]
    return Counter(job=jobs, chunk=said["help started"] - said["help done"] - said["nothing built"])


def ready(fleet: Fleet) -> int:
    """How many take messages."""
    return sum(READY in worker.output() for worker, _ in fleet.workers)


def failures(logs: Iterable[str]) -> list[dict[str, Any]]:
    """What nobody of the crew may come to: an error that is a bug, and a job that has failed for another's fault."""
    return [
        line
        for line in lines(logs)
        if (line["message"] == "nothing built" and line["level"] == "error")
        or (line["message"] == "others can't be invited: the job goes on alone" and line["level"] == "error")
        or (line["message"] == "job failed" and line["code"] not in ("source_changed", "storage_unavailable"))
    ]
