"""A Celery call with all its edges, and a queue that is late; tests/acceptance has what else may arrive."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.stack import Stack
from devtools.worker import Worker
from tests.integration.conftest import Journal, command

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack


def test_a_call_from_another_services_own_celery_app(
    scripted_worker: Callable[..., Worker], localstack: LocalStack, stack: Stack, journal: Journal
) -> None:
    # given a service with nothing of ours but the task's and the queue's names
    program = """
import os
from celery import Celery

app = Celery(broker="sqs://")
app.conf.task_default_queue = os.environ["QUEUE"]
payload = {"files": [{"source": "a.txt"}], "metadata": {"do": "succeed", "__type__": "uuid", "__value__": {"hex": "0"}}}
app.send_task("archiver.build_archive", args=[payload], task_id="from-args")
app.send_task("archiver.build_archive", kwargs={"payload": payload}, task_id="from-kwargs", countdown=0)
"""
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=60,
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **localstack.environment, "QUEUE": stack.names.input_queue},
    )
    # when a worker runs
    scripted_worker()
    # then both calls are jobs under their own ids, and the payload has arrived as it was
    assert {line["id"] for line in journal.wait("end", count=2)} == {"from-args", "from-kwargs"}
    metadata = journal.lines("begin")[0]["payload"]["metadata"]
    assert metadata == {"do": "succeed", "__type__": "uuid", "__value__": {"hex": "0"}}


def test_a_queue_by_its_url_that_comes_into_being_after_the_worker(
    scripted_worker: Callable[..., Worker], sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker on a queue that is not there yet
    name = f"{stack.names.input_queue}-late"
    worker = scripted_worker(SQS_SOURCE_QUEUE=f"{stack.input_url}-late", wait=False)
    assert worker.wait_for_log("polling failed, going on")
    # when the queue is created and gets a job
    sqs.send_message(QueueUrl=sqs.create_queue(QueueName=name)["QueueUrl"], MessageBody=json.dumps(command("succeed")))
    # then the worker, the same as before, does it
    assert len(journal.wait("end")) == 1
    assert worker.alive()
