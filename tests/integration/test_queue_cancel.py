"""Jobs that an operator cancels by Celery's remote control: none is gone without a word."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from devtools.processes import wait_until
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import Desk
from tests.integration.conftest import Journal, command
from tests.integration.test_queue_retries import depth
from tests.support.monitors import run

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.localstack, pytest.mark.slow]


def test_a_running_job_and_a_waiting_one(
    obedient: Callable[..., Worker], desk: Desk, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a monitored worker with a job that takes its only process, and a job that waits
    worker = obedient(MONITORING="1", MONITORING_PREFIX=f"m-{uuid.uuid4().hex[:8]}")

    def control(*arguments: str) -> None:
        done = run("celery", "-A", "archiver", "control", "--timeout=20", *arguments, environment=worker.environment)
        assert done.returncode == 0, done.stdout + done.stderr

    running = desk.send(command("sleep", seconds=600), Correlation_Id="c-1")
    assert [line["id"] for line in journal.wait("begin", seconds=60)] == [running]
    waiting = desk.send(command("succeed"))
    # when both are cancelled
    control("revoke", waiting)
    assert worker.wait_for_log("Tasks flagged as revoked", seconds=60)
    control("terminate", "TERM", running)
    # then both are dead letters of the first attempt that say so, as they came
    dead = {letter.attributes["Request-Id"]: letter for letter in desk.dead_letters(2, seconds=90)}
    assert set(dead) == {running, waiting}
    assert {letter.attributes["Error-Code"] for letter in dead.values()} == {"cancelled"}
    assert "while it ran" in dead[running].attributes["Error-Message"]
    assert "before it began" in dead[waiting].attributes["Error-Message"]
    assert dead[running].attributes["Correlation-Id"] == "c-1"
    assert dead[running].json == command("sleep", seconds=600)
    # and the consumer is told of each once
    told = {(line["id"], line["code"]) for line in journal.wait("failure notified", count=2, seconds=60)}
    assert told == {(running, "cancelled"), (waiting, "cancelled")}
    # and the worker goes on; nothing else has run, nothing is left
    desk.send(command("succeed"))
    assert len(journal.wait("end", seconds=60)) == 1
    assert len(journal.lines("begin")) == 2
    assert wait_until(lambda: depth(sqs, stack.input_url) == 0, seconds=20)
    assert desk.dead_letters(1, seconds=1) == []
