"""One archive by several real workers, whatever becomes of them."""

import json
import os
import random
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.faults import Delay, on
from devtools.localstack import LocalStack
from devtools.messages import depth, receive
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient, StartWorker
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]

MIB = 1024 * 1024
FILES = {f"{number:02}.jpg": random.Random(number).randbytes(3 * MIB + number) for number in range(18)}


@dataclass(frozen=True)
class Site:
    """A stack with the crew's queue, and sources for one large job."""

    client: StackClient
    crew_url: str
    start: Callable[..., Worker]
    folder: Path

    def worker(self, *, delay: int = 0, **settings: str) -> Worker:
        """A worker of one slot, whose every read of an object takes so many milliseconds more."""
        options = {
            "SQS_CREW_QUEUE": self.crew_url,
            "CREW_MIN_BYTES": str(20 * MIB),
            "PART_SIZE_MIB": "5",
            "MEMORY_MIB": "16",
            "POLL_SECONDS": "1",
            "VISIBILITY_TIMEOUT_SECONDS": "4",
        }
        return self.start(delay, **options | settings)

    def slow_builder(self) -> tuple[Worker, str]:
        """A worker that has begun a job and invited others; it alone would need half a minute."""
        worker = self.worker(delay=2_500)
        job = self.client.send({"files": [{"source": "photos/"}]})
        assert worker.wait_for_log("others are invited", seconds=LONG_ENOUGH)
        return worker, job

    def check(self, request_id: str, files: dict[str, bytes] = FILES) -> str:
        """The archive of a request is right, told once, and what was shared is gone; returns its key."""
        told = self.client.notification(request_id)
        with zipfile.ZipFile(self.client.download(told, self.folder)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == files
        stack, s3 = self.client.stack, self.client.s3
        assert eventually(lambda: self.shared() == [])
        assert s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", []) == []
        assert depth(self.client.sqs, stack.input_dlq_url) == (0, 0, 0)
        return str(told.json["archive"]["key"])

    def shared(self) -> list[str]:
        """Keys of what a job has shared."""
        found = self.client.s3.list_objects_v2(Bucket=self.client.stack.archive_bucket, Prefix="archiver-crew/")
        return [item["Key"] for item in found.get("Contents", [])]


@pytest.fixture
def site(
    client: StackClient, stack: Stack, localstack: LocalStack, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Site]:
    for name, body in FILES.items():
        client.put(f"photos/{name}", body)
    with ExitStack() as proxies:

        def start(delay: int, **settings: Any) -> Worker:
            proxy = proxies.enter_context(running_proxy(localstack.url, faults=on("GetObject", Delay(delay))))
            return start_worker(endpoint=proxy.url if delay else None, **settings)

        yield Site(client, stack.crew_url, start, tmp_path)


def lines(worker: Worker, message: str) -> list[dict[str, Any]]:
    """The lines of a worker's log with this message."""
    parsed = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in parsed if line.get("message") == message]


def test_two_workers_build_one_archive(site: Site) -> None:
    builder, job = site.slow_builder()
    other = site.worker()

    site.check(job)

    helped = lines(other, "help done")
    assert helped
    assert {line["request_id"] for line in helped} == {job}
    assert lines(builder, "job done")[0]["bytes_read"] < sum(map(len, FILES.values()))
    assert lines(other, "job done") == []
    assert eventually(lambda: depth(site.client.sqs, site.crew_url) == (0, 0, 0))


def test_a_helper_that_is_killed_is_not_waited_for(site: Site) -> None:
    builder, job = site.slow_builder()
    other = site.worker(delay=4_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    other.kill()

    site.check(job)
    assert lines(builder, "job done")


def test_a_helper_whose_process_dies_costs_the_job_nothing(site: Site) -> None:
    _, job = site.slow_builder()
    other = site.worker(delay=4_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    for child in other.children():
        os.kill(child, signal.SIGKILL)

    site.check(job)
    assert other.alive()
    assert lines(other, "a chunk ended without a word")


def test_a_builder_that_is_killed_is_followed_by_one_that_finds_what_the_crew_brought(site: Site) -> None:
    builder, job = site.slow_builder()
    other = site.worker()
    assert other.wait_for_log("help done", seconds=LONG_ENOUGH)

    builder.kill()

    site.check(job)
    assert other.wait_for_log("upload resumed")
    brought = sum(line["bytes"] for line in lines(other, "help done"))
    read = sum(map(len, FILES.values()))
    assert brought > 0
    assert lines(other, "job done")[-1]["bytes_read"] < read


def test_a_chunk_that_is_delivered_twice_changes_nothing(site: Site) -> None:
    _, job = site.slow_builder()
    sqs = site.client.sqs
    assert eventually(lambda: depth(sqs, site.crew_url)[0] > 1)
    for message in receive(sqs, site.crew_url, count=20, seconds=1):
        for _ in range(2):
            sqs.send_message(QueueUrl=site.crew_url, MessageBody=message.body)
    workers = [site.worker(), site.worker()]

    site.check(job)

    assert any(lines(worker, "help done") for worker in workers)


def test_a_helper_that_wakes_up_once_all_is_over_forgets(site: Site) -> None:
    # given a helper that is stopped in the middle of a chunk
    _, job = site.slow_builder()
    other = site.worker(delay=4_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    os.killpg(other.pid, signal.SIGSTOP)
    try:
        key = site.check(job)
    finally:
        # when it wakes up after the completion
        os.killpg(other.pid, signal.SIGCONT)
    # then it finds the upload gone
    assert other.wait_for_log("nothing built", seconds=LONG_ENOUGH)
    assert lines(other, "help done") == []
    head = site.client.s3.head_object(Bucket=site.client.stack.archive_bucket, Key=key)
    assert head["ContentLength"] > sum(map(len, FILES.values()))


def test_a_source_that_is_overwritten_in_the_middle_starts_the_build_over(site: Site) -> None:
    builder, job = site.slow_builder()
    other = site.worker()
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    changed = {name: body[::-1] for name, body in FILES.items() if name in ("00.jpg", "09.jpg", "17.jpg")}
    for name, body in changed.items():
        site.client.put(f"photos/{name}", body)

    site.check(job, FILES | changed)
    assert lines(builder, "a source changed: building again")


def test_without_the_crews_queue_a_job_goes_on_alone(site: Site) -> None:
    worker = site.worker(SQS_CREW_QUEUE="no-such-queue")
    job = site.client.send({"files": [{"source": "photos/"}]})

    site.check(job)

    (warning,) = lines(worker, "others can't be invited: the job goes on alone")
    assert "SQS_CREW_QUEUE='no-such-queue'" in warning["reason"]


def test_hostile_messages_on_the_crews_queue_stop_nobody(site: Site, sqs: "SQSClient", s3: "S3Client") -> None:
    # given anything at all on the crew's queue
    rng = random.Random(7)
    bodies = ["{}", "[" * 5_000, '{"files": [{"source": "photos/"}]}', '{"request_id": "x", "number": 1e999}']
    bodies += ["".join(chr(rng.randrange(32, 0xD7FF)) for _ in range(200)) for _ in range(20)]
    for body in bodies:
        sqs.send_message(QueueUrl=site.crew_url, MessageBody=body)
    worker = site.worker()
    # then it is taken off, and jobs are done
    assert eventually(lambda: depth(sqs, site.crew_url) == (0, 0, 0))
    site.check(site.client.send({"files": [{"source": "photos/"}]}))
    assert worker.alive()
    assert len(lines(worker, "an invitation is dropped")) == len(bodies)


def test_the_drain_hands_a_chunk_to_others(site: Site, stack: Stack) -> None:
    builder, job = site.slow_builder()
    other = site.worker(delay=60_000, SOFT_SHUTDOWN_SECONDS="3600")
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    other.send_signal(signal.SIGTERM)

    assert other.wait(LONG_ENOUGH) == 0
    site.check(job)
    assert lines(builder, "job done")
    assert depth(site.client.sqs, stack.input_url) == (0, 0, 0)
