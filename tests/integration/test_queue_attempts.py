"""How a job runs out of attempts: by failures and crashes, never by hand-backs, and never without a word."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.support.log_lines import check_metrics, read_lines
from tests.support.waiting import eventually

pytestmark = pytest.mark.localstack

#: Well above MAX_ATTEMPTS, as in the deployment.
MANY = 50


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack(max_receive_count=MANY)


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.chaos)])
def test_handing_back_costs_no_attempt(
    times: int, scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a job that has one attempt, and workers that stop in the middle of it
    job = client.send(command("hold"))
    for time in range(times):
        worker = scripted_worker(SOFT_SHUTDOWN_SECONDS="1", MAX_ATTEMPTS="1")
        assert len(journal.wait("begin", count=time + 1)) == time + 1
        worker.send_signal(signal.SIGQUIT)
        assert worker.wait(10) == 0
    # when one works on
    journal.release()
    scripted_worker(MAX_ATTEMPTS="1")
    # then it does the job, in its first attempt
    (end,) = journal.wait("end")
    assert (end["id"], end["attempt"]) == (job, 1)
    assert client.dead_letters(1, seconds=0.5) == []


def test_the_last_failure_is_told_once_with_its_reason(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    worker = scripted_worker(BACKOFF_BASE_SECONDS="0", METRICS="emf")
    job = client.send(command("fail"))
    (dead,) = client.dead_letters(1)
    assert [line["attempt"] for line in journal.lines("begin")] == [1, 2, 3, 4, 5]
    assert dead.attributes["Error-Code"] == "storage_unavailable"
    assert dead.attributes["Error-Message"] == "S3 is away (attempt 5, the last)"
    assert (dead.attributes["Attempts"], dead.attributes["Request-Id"]) == ("5", job)
    (told,) = journal.wait("failure notified")
    assert (told["id"], told["code"]) == (job, "storage_unavailable")
    assert [line["Outcome"] for line in metrics(worker, count=5)] == ["retried"] * 4 + ["failed"]


def metrics(worker: Worker, *, count: int) -> list[dict[str, Any]]:
    """The lines of metrics in the worker's log, once there are so many; every line is JSON."""

    def found() -> list[dict[str, Any]]:
        return [line for line in read_lines(worker.output()) if "_aws" in line]

    eventually(lambda: len(found()) >= count)
    return found()


def test_a_job_that_kills_its_process_ends(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    worker = scripted_worker(BACKOFF_BASE_SECONDS="0", METRICS="emf")
    job = client.send(command("die", always=True))
    (dead,) = client.dead_letters(1)
    assert [line["attempt"] for line in journal.lines("begin")] == [1, 2, 3, 4, 5]
    assert dead.attributes["Error-Code"] == "process_lost"
    assert "signal 9" in dead.attributes["Error-Message"]
    assert (dead.attributes["Attempts"], dead.attributes["Request-Id"]) == ("5", job)
    assert [line["id"] for line in journal.wait("failure notified")] == [job]
    assert worker.alive()
    # and the log, of lost processes, too, is JSON with a line of metrics for each attempt
    ended = metrics(worker, count=5)
    for line in ended:
        check_metrics(line)
    assert [(line["Outcome"], line["Code"]) for line in ended] == [("retried", "process_lost")] * 4 + [
        ("failed", "process_lost")
    ]


def test_a_job_that_takes_its_worker_along_ends_before_it_begins_again(
    scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal
) -> None:
    # given a worker that dies as a whole in a job's only attempt
    worker = scripted_worker(MAX_ATTEMPTS="1", VISIBILITY_TIMEOUT_SECONDS="5")
    job = client.send(command("hold"))
    journal.wait("begin")
    worker.kill()
    # when the next one gets the message
    scripted_worker(MAX_ATTEMPTS="1")
    # then it does not follow the first
    (dead,) = client.dead_letters(1)
    assert dead.attributes["Error-Code"] == "attempts_exhausted"
    assert [line["id"] for line in journal.wait("failure notified")] == [job]
    assert len(journal.lines("begin")) == 1
