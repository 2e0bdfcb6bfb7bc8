"""One archive by several real workers, whatever becomes of them."""

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import depth, receive
from tests.integration.crew_site import FILES, Site, go_on, lines
from tests.integration.test_flower import subscriptions
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]


def test_two_workers_build_one_archive(site: Site) -> None:
    builder, job = site.builder()
    other = site.worker()
    assert other.wait_for_log("help done", seconds=LONG_ENOUGH)
    go_on(builder)

    site.check(job)

    helped = lines(other, "help done")
    assert {line["request_id"] for line in helped} == {job}
    assert lines(builder, "job done")[0]["bytes_read"] < sum(map(len, FILES.values()))
    assert lines(other, "job done") == []
    assert eventually(lambda: depth(site.client.sqs, site.crew_url) == (0, 0, 0))


@pytest.mark.chaos
def test_a_helper_that_is_killed_is_not_waited_for(site: Site) -> None:
    builder, job = site.builder()
    other = site.worker(delay=60_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    other.kill()
    go_on(builder)

    site.check(job)
    assert lines(builder, "job done")


def test_a_helper_whose_process_dies_costs_the_job_nothing(site: Site) -> None:
    builder, job = site.builder()
    other = site.worker(delay=5_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)

    for child in other.children():
        os.kill(child, signal.SIGKILL)
    assert other.wait_for_log("a chunk ended without a word", seconds=LONG_ENOUGH)
    go_on(builder)

    site.check(job)
    assert other.alive()


def test_a_builder_that_is_killed_is_followed_by_one_that_finds_what_the_crew_brought(site: Site) -> None:
    builder, job = site.builder(VISIBILITY_TIMEOUT_SECONDS="15")
    other = site.worker()
    assert other.wait_for_log("help done", seconds=LONG_ENOUGH)

    builder.kill()

    site.check(job)
    assert other.wait_for_log("upload resumed")
    assert lines(other, "job done")[-1]["bytes_read"] < sum(map(len, FILES.values()))


@pytest.mark.chaos
def test_a_chunk_that_is_delivered_twice_changes_nothing(site: Site) -> None:
    builder, job = site.builder()
    sqs = site.client.sqs
    for message in receive(sqs, site.crew_url, count=20, seconds=1):
        for _ in range(2):
            sqs.send_message(QueueUrl=site.crew_url, MessageBody=message.body)
    workers = [site.worker(), site.worker()]
    assert eventually(lambda: any(lines(worker, "help done") for worker in workers))
    go_on(builder)

    site.check(job)


@pytest.mark.chaos
def test_a_helper_that_wakes_up_once_all_is_over_forgets(site: Site) -> None:
    # given a helper that is stopped in the middle of a chunk
    builder, job = site.builder()
    other = site.worker(delay=5_000)
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    os.killpg(other.pid, signal.SIGSTOP)
    try:
        go_on(builder)
        key = site.check(job)
    finally:
        # when it wakes up after the completion
        go_on(other)
    # then it finds the job over
    assert other.wait_for_log("nothing built", seconds=LONG_ENOUGH)
    assert lines(other, "help done") == []
    head = site.client.s3.head_object(Bucket=site.client.stack.archive_bucket, Key=key)
    assert head["ContentLength"] > sum(map(len, FILES.values()))


@pytest.mark.chaos
def test_a_source_that_is_overwritten_in_the_middle_starts_the_build_over(site: Site) -> None:
    builder, job = site.builder()

    changed = {name: FILES[name][::-1] for name in ("00.jpg", "09.jpg", "17.jpg")}
    for name, body in changed.items():
        site.client.put(f"photos/{name}", body)
    other = site.worker()
    assert eventually(lambda: "source_changed" in {line.get("code") for line in lines(other, "nothing built")})
    go_on(builder)

    site.check(job, FILES | changed)
    assert lines(builder, "a source changed: building again")


def test_who_watches_a_job_sees_how_many_work_on_it(site: Site, localstack: LocalStack) -> None:
    # given a builder that is stopped, and somebody who watches its job
    monitored: dict[str, Any] = {"MONITORING": "1", "MONITORING_PREFIX": f"m{uuid.uuid4().hex[:10]}"}
    builder, job = site.builder(**monitored)
    prefix = monitored["MONITORING_PREFIX"]
    before = len(subscriptions(localstack, prefix))
    command = [sys.executable, "-m", "archiver", "watch", job, "--json"]
    watching = subprocess.Popen(
        command, env={**os.environ, **builder.environment}, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        # when another comes to help
        assert eventually(lambda: len(subscriptions(localstack, prefix)) > before)
        other = site.worker(**monitored)
        assert other.wait_for_log("help done", seconds=LONG_ENOUGH)
        go_on(builder)
        site.check(job)
        # then its chunks are tasks of the job
        output, _ = watching.communicate(timeout=LONG_ENOUGH)
    finally:
        watching.kill()
    events = [json.loads(line) for line in output.splitlines()]
    chunks = [event for event in events if event.get("name") == "archiver.build_chunk"]
    assert chunks
    assert {(event["root_id"], event["parent_id"]) for event in chunks} == {(job, job)}
    assert events[-1]["type"] == "task-succeeded"
    assert events[-1]["uuid"] == job


@pytest.mark.chaos
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


def test_the_drain_hands_a_chunk_to_others(site: Site) -> None:
    builder, job = site.builder()
    other = site.worker(delay=60_000, SOFT_SHUTDOWN_SECONDS="3600")
    assert other.wait_for_log("help started", seconds=LONG_ENOUGH)
    before = depth(site.client.sqs, site.crew_url)

    other.send_signal(signal.SIGTERM)

    assert other.wait(LONG_ENOUGH) == 0
    assert eventually(lambda: depth(site.client.sqs, site.crew_url)[0] == sum(before))
    go_on(builder)
    site.check(job)
