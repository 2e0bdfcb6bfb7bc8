"""SQS out of reach, refusing or failing: the worker neither dies nor hangs nor stops polling."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.worker.liveness import age
from devtools.faults import Answer, Fault, Request
from devtools.localstack import LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import SCRIPTED, Journal, command
from tests.integration.test_queue_retries import depth
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack


def test_polling_survives_refusals_and_server_errors(
    scripted_worker: Callable[..., Worker], localstack: LocalStack, client: StackClient, journal: Journal
) -> None:
    # given a worker with an expired credential, then with a server that fails
    refusals = [Answer(403, "ExpiredToken"), Answer(500, "InternalFailure"), Answer(503, "ServiceUnavailable")]

    def rule(request: Request) -> Fault | None:
        return refusals.pop(0) if refusals and request.operation == "ReceiveMessage" else None

    with running_proxy(localstack.url, faults=rule) as proxy:
        worker = scripted_worker(endpoint=proxy.url)
        # when a job is sent meanwhile
        client.send(command("succeed"))
        # then it is done once the trouble is over, by the same worker
        assert len(journal.wait("end")) == 1
        assert refusals == []
        assert worker.alive()
        assert worker.output().count("polling failed, going on") == 3


def test_polling_survives_a_server_that_goes_away_and_comes_back(
    scripted_worker: Callable[..., Worker], localstack: LocalStack, client: StackClient, journal: Journal
) -> None:
    with running_proxy(localstack.url) as proxy:
        # given a worker that starts while SQS is out of reach
        proxy.shut()
        worker = scripted_worker(endpoint=proxy.url, wait=False)
        assert worker.wait_for_log("polling failed, going on")
        alive = Path(worker.environment["LIVENESS_FILE"])
        assert age(alive) is None
        # when SQS is there
        proxy.open()
        client.send(command("succeed"))
        assert len(journal.wait("end")) == 1
        # and goes away in the middle of a poll
        failures = worker.output().count("polling failed, going on")
        proxy.shut()
        assert eventually(lambda: worker.output().count("polling failed, going on") > failures)
        # then the health check's file grows old
        assert eventually(lambda: (age(alive) or 0) > 3)
        # and the worker goes on where it was
        proxy.open()
        client.send(command("succeed"))
        assert len(journal.wait("end", count=2)) == 2
        assert worker.alive()
        assert eventually(lambda: (age(alive) or 0) < 3)


def test_a_busy_worker_is_alive(scripted_worker: Callable[..., Worker], client: StackClient, journal: Journal) -> None:
    # given a worker whose only slot runs a job, so that no poll is due
    worker = scripted_worker()
    client.send(command("hold"))
    journal.wait("begin")
    alive = Path(worker.environment["LIVENESS_FILE"])
    # then its file is touched again and again for as long as the job runs
    for _ in range(3):
        touched = alive.stat().st_mtime_ns
        assert eventually(lambda: alive.stat().st_mtime_ns > touched)  # noqa: B023  # asked within the round
    journal.release()
    assert journal.wait("end")


def test_a_lost_connection_loses_neither_the_running_job_nor_the_next_one(
    scripted_worker: Callable[..., Worker], client: StackClient, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker whose event loop meets with an error two seconds after its start, in the middle of a job
    running = client.send(command("hold"))
    worker = scripted_worker(arguments=("--include", f"{SCRIPTED[1]},tests.integration.lost_connection"))
    assert worker.wait_for_log("Connection to broker lost")
    # when another job is sent
    following = client.send(command("succeed"))
    journal.release()
    # then both are done, once, and acked
    assert [line["id"] for line in journal.wait("end", count=2)] == [running, following]
    assert len(journal.lines("begin")) == 2
    assert eventually(lambda: depth(sqs, stack.input_url) == 0)
    assert worker.alive()
