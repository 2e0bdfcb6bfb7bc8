"""SIGTERM: what fits is finished, the rest is another worker's within seconds."""

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.integration.test_queue_retries import depth

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

SOFT = 3
LONG = 60


def test_a_long_job_is_handed_to_another_worker(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a worker in the middle of a job that takes longer than the stop may, and another worker
    first = scripted_worker(SOFT_SHUTDOWN_SECONDS=str(SOFT), VISIBILITY_TIMEOUT_SECONDS="120")
    job = client.send(command("sleep", seconds=LONG))
    journal.wait("begin")
    second = scripted_worker()
    # when the first gets SIGTERM
    began = time.time()
    first.send_signal(signal.SIGTERM)
    # then it has ended in time, regularly
    assert first.wait(SOFT + 5) == 0
    stopped = time.time()
    assert stopped - began >= SOFT
    # and the second has the message within five seconds
    again = journal.wait("begin", count=2, seconds=5)[1]
    assert (again["id"], again["attempt"]) == (job, 2)
    assert again["at"] - stopped < 5
    # and a second signal ends the patience: this one needs not wait for its soft timeout
    second.send_signal(signal.SIGTERM)
    assert second.wait_for_log("stopping: no new messages", seconds=3)
    second.send_signal(signal.SIGINT)
    assert second.wait(5) == 0


def test_a_job_that_fits_is_finished_and_acked(
    scripted_worker: Callable[..., Worker], client: StackClient, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker in the middle of a short job, and a job that waits
    worker = scripted_worker(SOFT_SHUTDOWN_SECONDS="30")
    running = client.send(command("sleep", seconds=3))
    journal.wait("begin")
    client.send(command("succeed"))
    # when it gets SIGTERM
    worker.send_signal(signal.SIGTERM)
    # then it ends with its job, long before the timeout, and has taken no other
    assert worker.wait(12) == 0
    assert [line["id"] for line in journal.lines("end")] == [running]
    assert depth(sqs, stack.input_url) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_an_idle_worker_stops_at_once(scripted_worker: Callable[..., Worker], number: signal.Signals) -> None:
    worker = scripted_worker(POLL_SECONDS="20", SOFT_SHUTDOWN_SECONDS="90")
    worker.send_signal(number)
    assert worker.wait(8) == 0
