"""Jobs that an operator cancels by Celery's remote control: none is gone without a word."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import StackClient
from tests.integration.conftest import Journal, command
from tests.integration.test_queue_retries import depth
from tests.support.monitors import run
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]


def test_a_running_job_and_a_waiting_one(
    scripted_worker: Callable[..., Worker], client: StackClient, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a monitored worker with a job that takes its only process, and a job that waits
    worker = scripted_worker(MONITORING="1", MONITORING_PREFIX=f"m-{uuid.uuid4().hex[:8]}")

    def control(*arguments: str) -> None:
        done = run("celery", "-A", "archiver", "control", "--timeout=20", *arguments, environment=worker.environment)
        assert done.returncode == 0, done.stdout + done.stderr

    running = client.send(command("hold"), Correlation_Id="c-1")
    assert [line["id"] for line in journal.wait("begin")] == [running]
    waiting = client.send(command("succeed"))
    # when both are cancelled
    control("revoke", waiting)
    assert worker.wait_for_log("Tasks flagged as revoked")
    control("terminate", "TERM", running)
    # then both are dead letters of the first attempt that say so, as they came
    dead = {letter.attributes["Request-Id"]: letter for letter in client.dead_letters(2)}
    assert set(dead) == {running, waiting}
    assert {letter.attributes["Error-Code"] for letter in dead.values()} == {"cancelled"}
    assert "while it ran" in dead[running].attributes["Error-Message"]
    assert "before it began" in dead[waiting].attributes["Error-Message"]
    assert dead[running].attributes["Correlation-Id"] == "c-1"
    assert dead[running].json == command("hold")
    # and the consumer is told of each once
    told = {(line["id"], line["code"]) for line in journal.wait("failure notified", count=2)}
    assert told == {(running, "cancelled"), (waiting, "cancelled")}
    # and the worker goes on; nothing else has run, nothing is left
    client.send(command("succeed"))
    assert len(journal.wait("end")) == 1
    assert len(journal.lines("begin")) == 2
    assert eventually(lambda: depth(sqs, stack.input_url) == 0)
    assert client.dead_letters(1, seconds=1) == []
