"""What may arrive on the queue, and what becomes of it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.stack import Stack
from devtools.worker import Worker
from tests.conftest import Desk
from tests.integration.conftest import Journal, command

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

MALFORMED = (
    "not JSON",
    "[1, 2]",
    '"text"',
    "{",
    '{"files": NaN}',
    '{"files": 1e999}',
    '{"files": "\\ud800"}',
    "[" * 5000,
    '{"a":' * 5000,
    '{"n": ' + "9" * 5000 + "}",
    base64.b64encode(b"\x80\x03}q\x00.").decode(),
    base64.b64encode(b'{"body": "x", "properties": {}, "headers": {}}').decode(),
    json.dumps(
        {"body": "e30=", "properties": {"body_encoding": "base64"}, "content-type": "application/x-python-serialize"}
    ),
    json.dumps({"body": "%%%", "properties": {"body_encoding": "base64"}, "content-type": "application/json"}),
    json.dumps(
        {"body": "[[], {}, {}]", "properties": {}, "content-type": "application/json", "headers": {"task": "rm"}}
    ),
    '{"Type": "Notification", "Message": "hello"}',
    '{"no": "files"}',
    " ",
    "null",
    "0",
)


def send_from_python(program: str, localstack: LocalStack, **environment: str) -> None:
    """Run a producer as another service would: a process of its own."""
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=60,
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **localstack.environment, **environment},
    )


def test_forty_malformed_messages_do_not_stop_the_worker(
    obedient: Callable[..., Worker], desk: Desk, journal: Journal
) -> None:
    # given a worker and forty messages of which none is a job
    worker = obedient(WORKER_CONCURRENCY="2")
    sent = {desk.send(body): body for body in MALFORMED * 2}
    # when a good one follows them
    good = desk.send(command("succeed"), Correlation_Id="after the flood")
    # then it is done, by the same worker
    done = journal.wait("end")
    assert [line["id"] for line in done] == [good]
    assert worker.alive()
    # and forty are in the dead-letter queue, unchanged, each with its reason
    dead = desk.dead_letters(len(sent), seconds=30)
    assert sorted(message.body for message in dead) == sorted(sent.values())
    assert {message.attributes["Original-Message-Id"] for message in dead} == set(sent)
    assert all(message.attributes["Error-Code"] and message.attributes["Error-Message"] for message in dead)
    assert all(message.attributes["Receive-Count"] == "1" for message in dead)


def test_a_call_from_another_services_own_celery_app(
    obedient: Callable[..., Worker], localstack: LocalStack, stack: Stack, journal: Journal
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
    send_from_python(program, localstack, QUEUE=stack.names.input_queue)
    # when a worker runs
    obedient()
    # then both calls are jobs under their own ids, and the payload has arrived as it was
    assert {line["id"] for line in journal.wait("end", count=2)} == {"from-args", "from-kwargs"}
    metadata = journal.lines("begin")[0]["payload"]["metadata"]
    assert metadata == {"do": "succeed", "__type__": "uuid", "__value__": {"hex": "0"}}


def test_a_call_with_our_own_app(
    obedient: Callable[..., Worker], localstack: LocalStack, stack: Stack, journal: Journal
) -> None:
    program = f"from tasks.archive import build_archive; build_archive.delay({command('succeed')!r})"
    send_from_python(program, localstack, **stack.environment)
    obedient()
    assert len(journal.wait("end")) == 1


def test_a_payload_inside_an_sns_notification(
    obedient: Callable[..., Worker], sns: Any, sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a topic that the queue has subscribed to
    arn = sqs.get_queue_attributes(QueueUrl=stack.input_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=stack.names.input_queue)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    # when a payload is published
    correlation = {"Correlation-Id": {"DataType": "String", "StringValue": "by way of SNS"}}
    sns.publish(TopicArn=topic, Message=json.dumps(command("succeed")), MessageAttributes=correlation)
    # then it is a job, with its correlation id
    obedient()
    journal.wait("end")
    assert [line["correlation"] for line in journal.lines("begin")] == ["by way of SNS"]


def test_a_queue_by_its_url_that_comes_into_being_after_the_worker(
    obedient: Callable[..., Worker], sqs: "SQSClient", stack: Stack, journal: Journal
) -> None:
    # given a worker on a queue that is not there yet
    name = f"{stack.names.input_queue}-late"
    worker = obedient(SQS_SOURCE_QUEUE=f"{stack.input_url}-late")
    assert worker.wait_for_log("polling failed, going on")
    # when the queue is created and gets a job
    sqs.send_message(QueueUrl=sqs.create_queue(QueueName=name)["QueueUrl"], MessageBody=json.dumps(command("succeed")))
    # then the worker, the same as before, does it
    assert len(journal.wait("end", seconds=30)) == 1
    assert worker.alive()
