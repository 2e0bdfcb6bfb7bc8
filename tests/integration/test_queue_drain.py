"""SIGTERM: what fits is finished, the rest is another worker's within seconds."""

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from archiver.worker.polling import GRACE_SECONDS
from devtools.faults import Delay, on
from devtools.localstack import LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.integration.test_queue_retries import depth
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

#: Seconds that no test lives to see the end of.
NEVER = "3600"


def test_a_long_job_is_handed_to_another_worker(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a worker in the middle of a job without an end, whose message is hidden for long, and another worker
    first = scripted_worker(SOFT_SHUTDOWN_SECONDS="3", VISIBILITY_TIMEOUT_SECONDS=NEVER)
    job = client.send(command("hold"))
    journal.wait("begin")
    second = scripted_worker(SOFT_SHUTDOWN_SECONDS=NEVER, VISIBILITY_TIMEOUT_SECONDS=NEVER)
    # when the first gets SIGTERM
    began = time.monotonic()
    first.send_signal(signal.SIGTERM)
    # then it has given the job its time and ended regularly
    assert first.wait(LONG_ENOUGH) == 0
    assert time.monotonic() - began >= 3
    # and the second has the message, which shows itself long before its time
    again = journal.wait("begin", count=2)[1]
    assert (again["id"], again["attempt"]) == (job, 1)  # a hand-back costs none
    # and a second signal ends the patience: this one does not wait for its soft timeout
    second.send_signal(signal.SIGTERM)
    assert second.wait_for_log("stopping: no new messages")
    second.send_signal(signal.SIGINT)
    assert second.wait(LONG_ENOUGH) == 0
    assert journal.lines("end") == []


def test_a_job_that_fits_is_finished_and_acked(
    scripted_worker: Callable[..., Worker], client: StackClient, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker in the middle of a job, and a job that waits
    worker = scripted_worker(SOFT_SHUTDOWN_SECONDS=NEVER)
    running = client.send(command("hold"))
    journal.wait("begin")
    client.send(command("succeed"))
    # when it gets SIGTERM, and the job comes to its end
    worker.send_signal(signal.SIGTERM)
    assert worker.wait_for_log("stopping: no new messages")
    journal.release()
    # then it ends with its job, long before the timeout, and has taken no other
    assert worker.wait(LONG_ENOUGH) == 0
    assert [line["id"] for line in journal.lines("end")] == [running]
    assert depth(sqs, stack.input_url) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_an_idle_worker_stops_before_a_poll_that_does_not_end(
    scripted_worker: Callable[..., Worker], localstack: LocalStack, number: signal.Signals
) -> None:
    # given a worker in a poll that nobody answers
    with running_proxy(localstack.url, faults=on("ReceiveMessage", Delay(3_600_000))) as proxy:
        worker = scripted_worker(endpoint=proxy.url, POLL_SECONDS="20", SOFT_SHUTDOWN_SECONDS=NEVER)
        assert eventually(lambda: proxy.counts().requests.get("ReceiveMessage", 0) > 0)
        # when it is told to stop
        worker.send_signal(number)
        # then it does so before the poll gives up
        assert worker.wait(20 + GRACE_SECONDS - 5) == 0
