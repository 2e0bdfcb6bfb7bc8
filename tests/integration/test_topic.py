"""Notifications on an SNS topic: beside the queue, filtered by status, cut to what SNS takes."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from archiver.archive.notification import Message
from archiver.aws.topics import MAX_MESSAGE_BYTES, TopicNotifier
from archiver.errors import TopicUnavailable
from devtools.localstack import LocalStack
from devtools.messages import receive
from devtools.stack import Stack
from tests.conftest import StackClient, StartWorker
from tests.support.command import run

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack


def subscribed(sns: Any, sqs: "SQSClient", name: str, *, status: str) -> tuple[str, str]:
    """A topic and the URL of a queue that it sends what has ``status`` to."""
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=f"{name}-{status}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {"FilterPolicy": json.dumps({"status": [status]}), "RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    return topic, url


def test_a_topic_is_told_beside_the_queue(
    client: StackClient, start_worker: StartWorker, sns: Any, sqs: "SQSClient", stack: Stack
) -> None:
    # given subscribers who want one status each
    name = stack.names.output_queue
    topic, successes = subscribed(sns, sqs, name, status="succeeded")
    _, failures = subscribed(sns, sqs, name, status="failed")
    start_worker(SNS_DESTINATION_TOPIC=topic, NOTIFY_FAILURES="1")
    client.put("a.txt", b"a")
    # when one job succeeds and one fails
    done = client.send({"files": [{"source": "a.txt"}], "metadata": {"price": 1}}, Correlation_Id="c-1")
    queued = client.notification(done)
    failed = client.send({"files": [{"source": "gone.txt"}]})
    # then each hears of its own, the same as the queue
    (success,) = receive(sqs, successes, count=1, seconds=30)
    assert success.json == queued.json
    assert success.attributes == {"status": "succeeded", "Correlation-Id": "c-1"}
    (failure,) = receive(sqs, failures, count=1, seconds=30)
    assert (failure.json["request_id"], failure.json["error"]["code"]) == (failed, "missing_sources")


def test_a_notification_that_sns_does_not_take_is_cut(sns: Any, sqs: "SQSClient", stack: Stack) -> None:
    topic, url = subscribed(sns, sqs, stack.names.output_queue, status="succeeded")
    metadata = json.dumps({"text": "ü" * MAX_MESSAGE_BYTES}, ensure_ascii=False)
    body = f'{{"status":"succeeded","metadata":{metadata},"missing":["a"],"request_id":"r"}}'

    TopicNotifier(sns, topic).send(Message(body, "succeeded", "r", "news"), correlation_id="c" * 256)

    (told,) = receive(sqs, url, count=1, seconds=30)
    expected = {"status": "succeeded", "metadata": None, "missing": ["a"], "request_id": "r", "metadata_omitted": True}
    assert told.json == expected


def test_doctor_looks_for_subscribers(sns: Any, stack: Stack, localstack: LocalStack) -> None:
    topic = sns.create_topic(Name=stack.names.output_queue)["TopicArn"]
    environment = localstack.environment | stack.environment | {"SNS_DESTINATION_TOPIC": topic}

    checks = {check["name"]: check for check in run("doctor", "--json", environment=environment).json["checks"]}
    gone = {"SNS_DESTINATION_TOPIC": f"{topic}-gone"}
    others = run("doctor", "--json", environment=environment | gone).json["checks"]

    assert checks["destination topic"]["state"] == "warning"
    assert {check["name"]: check["state"] for check in others}["destination topic"] == "wrong"


def test_a_topic_that_is_away_is_worth_another_attempt() -> None:
    class Away:
        def publish(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="http://sns")

    client: Any = Away()
    with pytest.raises(TopicUnavailable, match="SNS_DESTINATION_TOPIC="):
        TopicNotifier(client, "arn:aws:sns:eu-west-1:123456789012:t").send(
            Message("{}", "succeeded", "r", "news"), correlation_id=None
        )
