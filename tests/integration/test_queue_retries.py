"""A job that fails, a job that takes long, a process that dies: each message ends once, or comes back."""

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from devtools import messages
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

#: Seconds. A heartbeat comes each third of it, and may be late by the other two.
VISIBILITY = 6


def depth(sqs: "SQSClient", url: str) -> int:
    """Messages of the queue, hidden ones included."""
    visible, in_flight, _ = messages.depth(sqs, url)
    return visible + in_flight


def test_a_transient_failure_comes_back_after_a_back_off_until_the_queue_allows_no_more(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a job that fails as long as it is tried, on a queue that allows fewer receives than MAX_ATTEMPTS
    worker = scripted_worker(BACKOFF_BASE_SECONDS="4", BACKOFF_CAP_SECONDS="4", VISIBILITY_TIMEOUT_SECONDS="3600")
    client.send(command("fail"), Correlation_Id="c-1")
    # when both are over
    first, second = journal.wait("begin", count=2)
    # then half of the back-off was certain, and nothing was republished
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["id"] == second["id"]
    assert second["at"] - first["at"] >= 2
    # and the message is a dead letter, before SQS could have moved it without a reason
    (dead,) = client.dead_letters(1)
    assert dead.json == command("fail")
    assert (dead.attributes["Correlation-Id"], dead.attributes["Attempts"]) == ("c-1", "2")
    assert dead.attributes["Error-Code"] == "storage_unavailable"
    assert dead.attributes["Error-Message"] == "S3 is away (attempt 2, the last)"
    assert len(journal.lines("begin")) == 2
    assert worker.alive()


def test_without_a_dead_letter_queue_a_bad_message_stays_and_the_worker_says_so(
    scripted_worker: Callable[..., Worker], sqs: "SQSClient", stack: Stack
) -> None:
    # given a queue without a redrive policy
    url = sqs.create_queue(QueueName=f"{stack.names.input_queue}-bare")["QueueUrl"]
    worker = scripted_worker(SQS_SOURCE_QUEUE=url, BACKOFF_BASE_SECONDS="1", BACKOFF_CAP_SECONDS="1")
    assert worker.output().count("has no redrive policy") == 1
    # when a bad message has been refused twice
    sqs.send_message(QueueUrl=url, MessageBody="no job")
    assert eventually(lambda: worker.output().count("has no redrive policy") >= 3)
    # then it is still there
    assert depth(sqs, url) == 1


def test_a_job_longer_than_the_visibility_timeout_runs_once(
    scripted_worker: Callable[..., Worker], client: StackClient, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker with a process to spare, which would take the message if it showed itself
    scripted_worker(WORKER_CONCURRENCY="2", VISIBILITY_TIMEOUT_SECONDS=str(VISIBILITY))
    # when a job takes twice as long
    client.send(command("hold"))
    (begin,) = journal.wait("begin")
    assert eventually(lambda: time.time() > begin["at"] + 2 * VISIBILITY)
    journal.release()
    # then it runs once, and its message is gone
    assert len(journal.wait("end")) == 1
    assert len(journal.lines("begin")) == 1
    assert eventually(lambda: depth(sqs, stack.input_url) == 0)


def test_a_job_without_memory_is_tried_again_and_does_not_take_the_worker_along(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    worker = scripted_worker()
    client.send(command("memory"))
    assert [line["attempt"] for line in journal.wait("begin", count=2)] == [1, 2]
    client.send(command("succeed"))
    assert journal.wait("end")
    assert worker.alive()


def test_a_killed_pool_process_gives_its_message_back_and_the_worker_goes_on(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a job whose first attempt ends like one that the kernel's OOM killer has met
    worker = scripted_worker()
    job = client.send(command("die"))
    # then another process of the same worker does it
    (end,) = journal.wait("end")
    assert (end["id"], end["attempt"]) == (job, 2)
    assert worker.alive()


def test_a_killed_worker_gives_its_message_back_after_the_visibility_timeout(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a worker in the middle of a job
    worker = scripted_worker(VISIBILITY_TIMEOUT_SECONDS="3")
    client.send(command("hold"))
    (begin,) = journal.wait("begin")
    # when its whole process group is killed
    os.killpg(worker.pid, signal.SIGKILL)
    # then another worker does the job
    journal.release()
    scripted_worker()
    (end,) = journal.wait("end")
    assert (end["id"], end["attempt"]) == (begin["id"], 2)
