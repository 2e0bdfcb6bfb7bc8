"""What may lie on the queue: every accepted form of a message becomes an archive, and no other one stops the worker."""

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import CHECKOUT, LocalStack
from devtools.messages import depth
from devtools.stack import Stack
from devtools.worker import Worker
from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack]

#: A service that knows Celery, the name of a queue and that of a task, and nothing of this project's code.
FOREIGN_SERVICE = """
import json, sys
from celery import Celery

queue, payload = sys.argv[1], json.loads(sys.argv[2])
app = Celery(broker="sqs://")
print(app.send_task("archiver.build_archive", args=[payload], queue=queue).id)
"""

#: A service that has this project installed.
OWN_SERVICE = """
import json, sys
from tasks.archive import build_archive

print(build_archive.delay(json.loads(sys.argv[2])).id)
"""


@pytest.mark.parametrize("program", [FOREIGN_SERVICE, OWN_SERVICE], ids=["a foreign app", "our own app"])
def test_a_celery_call(
    program: str, worker: Worker, client: StackClient, localstack: LocalStack, stack: Stack, delivered: Delivered
) -> None:
    # given an object
    client.put("called.txt", b"by Celery")
    payload = {"files": [{"source": "called.txt", "destination": "档案"}], "metadata": {"from": "Celery"}}
    # when another service calls the task
    environment = {"PATH": "/usr/bin:/bin", **localstack.environment, **stack.environment}
    service = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, stack.names.input_queue, json.dumps(payload)],
        env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert service.returncode == 0, service.stderr
    # then the archive is announced under the call's id
    notification = delivered(service.stdout.strip(), {"档案/called.txt": b"by Celery"})
    assert notification.json["metadata"] == {"from": "Celery"}


def test_a_payload_inside_an_sns_notification(
    worker: Worker, client: StackClient, sns: Any, sqs: "SQSClient", stack: Stack, delivered: Delivered
) -> None:
    # given a topic to which the queue has subscribed
    client.put("published.txt", b"by SNS")
    arn = sqs.get_queue_attributes(QueueUrl=stack.input_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=stack.names.input_queue)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    # when a payload is published
    sns.publish(
        TopicArn=topic,
        Message=json.dumps({"files": [{"source": "published.txt"}], "metadata": {"n": 1}}),
        MessageAttributes={"Correlation-Id": {"DataType": "String", "StringValue": "by way of SNS"}},
    )
    # then its archive is announced, with the correlation id that the publisher gave
    notification = client.notification()
    assert notification.attributes == {"Correlation-Id": "by way of SNS"}
    assert notification.json["status"] == "succeeded", notification.body
    assert notification.json["metadata"] == {"n": 1}
    sqs.send_message(QueueUrl=stack.output_url, MessageBody=notification.body)
    delivered(notification.json["request_id"], {"published.txt": b"by SNS"})


def celery_message(body: str = "W10=", *, task: str = "archiver.build_archive", kind: str = "application/json") -> str:
    """What kombu puts on a queue, without its outer base64."""
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": kind,
            "headers": {"lang": "py", "task": task, "id": "0b5f7a6e-9a1a-4b0e-8b0e-1f2d3c4b5a69"},
            "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}},
        }
    )


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


#: Forty bodies of which none is a job, and the code of the reason that each must be given.
MALFORMED: dict[str, str] = {
    # not JSON
    " ": "unreadable_message",
    "not JSON": "unreadable_message",
    "{": "unreadable_message",
    '{"files": [}': "unreadable_message",
    "{'files': []}": "unreadable_message",
    "<files/>": "unreadable_message",
    '{"files": NaN}': "unreadable_message",
    '{"files": [{"source": "a"}]} {}': "unreadable_message",
    "[" * 5000: "unreadable_message",
    '{"a":' * 5000: "unreadable_message",
    "漢字 😀 ملفات": "unreadable_message",
    # JSON, and no object
    "null": "unreadable_message",
    "0": "unreadable_message",
    "true": "unreadable_message",
    '"text"': "unreadable_message",
    "[1, 2]": "unreadable_message",
    '[{"files": [{"source": "a.txt"}]}]': "unreadable_message",
    # base64 of nothing good
    encoded(b"\x80\x03}q\x00."): "unreadable_message",
    encoded("\0\1\2\3" * 20): "unreadable_message",
    encoded("[]"): "unreadable_message",
    # no payload
    "{}": "invalid_payload",
    '{"no": "files"}': "invalid_payload",
    '{"files": null}': "invalid_payload",
    '{"files": []}': "invalid_payload",
    '{"files": "a.txt"}': "invalid_payload",
    '{"files": ["a.txt"]}': "invalid_payload",
    '{"files": [{}]}': "invalid_payload",
    '{"files": [{"source": ""}]}': "invalid_payload",
    '{"files": [{"source": 7}]}': "invalid_payload",
    '{"files": [{"source": "s3://"}]}': "invalid_payload",
    '{"files": [{"source": "s3://bucket-without-a-key"}]}': "invalid_payload",
    '{"files": [{"source": "there.txt", "destination": 1}]}': "invalid_payload",
    '{"files": [{"source": "there.txt"}], "compression": "best"}': "invalid_payload",
    '{"files": [{"source": "there.txt"}], "metadata": "text"}': "invalid_payload",
    '{"files": [{"source": "there.txt"}], "filename": "../x.zip"}': "invalid_payload",
    # a payload that can't be had
    json.dumps({"files": [{"source": "there.txt", "destination": "deep/" * 700}]}): "unsafe_name",
    # Celery messages of another kind
    encoded(celery_message(encoded("[[], {}, {}]"), task="os.system")): "unknown_task",
    encoded(celery_message(kind="application/x-python-serialize")): "unsupported_call",
    celery_message("%%%"): "unreadable_message",
    # no payload inside an envelope
    '{"Type": "Notification", "Message": "hello", "TopicArn": "arn:aws:sns:us-east-1:000000000000:t"}': (
        "unreadable_message"
    ),
}


def test_forty_malformed_messages_and_then_a_good_one(
    worker: Worker, client: StackClient, sqs: "SQSClient", stack: Stack, delivered: Delivered
) -> None:
    # given a worker that has nothing to do
    assert len(MALFORMED) == 40
    client.put("there.txt", b"here I am")
    children = worker.children()

    # when forty messages arrive of which none is a job, and then one that is
    sent = {client.send(body): body for body in MALFORMED}
    good = client.send({"files": [{"source": "there.txt"}]})

    # then the good one is archived
    delivered(good, {"there.txt": b"here I am"})

    # and forty are in the dead-letter queue, as they came, each with its reason
    dead = {letter.attributes["Original-Message-Id"]: letter for letter in client.dead_letters(40)}
    assert {request_id: letter.body for request_id, letter in dead.items()} == sent
    codes = {letter.body: letter.attributes["Error-Code"] for letter in dead.values()}
    assert codes == MALFORMED
    for letter in dead.values():
        assert len(letter.attributes["Error-Message"]) > 10
        assert letter.attributes["Receive-Count"] == "1"

    # and nothing else is anywhere, and the worker is the same processes as before
    assert depth(sqs, stack.input_url) == (0, 0, 0)
    assert depth(sqs, stack.input_dlq_url) == (0, 0, 0)
    assert worker.alive()
    assert worker.children() == children
