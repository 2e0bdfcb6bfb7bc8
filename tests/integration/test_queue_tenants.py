"""A tenant's name stays with a message wherever it goes: SQS keeps one tenant's jobs from delaying another's by it."""

from typing import TYPE_CHECKING, Any

import pytest

from archiver.client import ArchiverClient
from devtools.localstack import LocalStack
from devtools.messages import depth
from devtools.processes import wait_until
from devtools.stack import Stack
from tests.support.command import run

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from devtools.worker import Worker

pytestmark = pytest.mark.localstack


def take(sqs: "SQSClient", url: str) -> list[Any]:
    """What lies on a queue, taken off it."""
    found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"])
    for message in found.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found.get("Messages", [])


def tenants(messages: list[Any]) -> list[str | None]:
    return [message["Attributes"].get("MessageGroupId") for message in messages]


def test_the_client_and_the_command_say_whose_job_it_is(sqs: "SQSClient", localstack: LocalStack, stack: Stack) -> None:
    environment = localstack.environment | stack.environment

    ArchiverClient(stack.input_url, tenant="acme", sqs=sqs).submit(["a.jpg"])
    assert tenants(take(sqs, stack.input_url)) == ["acme"]

    run("submit", "--source", "a.jpg", "--tenant", "globex", environment=environment)
    assert tenants(take(sqs, stack.input_url)) == ["globex"]

    run("submit", "--source", "a.jpg", environment=environment)
    assert tenants(take(sqs, stack.input_url)) == [None]

    refused = run("submit", "--source", "a.jpg", "--tenant", "two words", environment=environment)
    assert refused.exit_code != 0
    assert "tenant" in refused.complaint
    assert "two words" in refused.complaint


def test_a_dead_letter_is_the_tenants_still(sqs: "SQSClient", stack: Stack, worker: "Worker") -> None:
    ArchiverClient(stack.input_url, tenant="acme", sqs=sqs).submit(["not-there.jpg"])

    assert wait_until(lambda: depth(sqs, stack.input_dlq_url)[0] == 1, seconds=60)
    assert tenants(take(sqs, stack.input_dlq_url)) == ["acme"]


@pytest.mark.parametrize("every", [False, True], ids=["one", "all"])
def test_what_is_redriven_is_the_tenants_still(
    every: bool, sqs: "SQSClient", localstack: LocalStack, stack: Stack
) -> None:
    letter = sqs.send_message(QueueUrl=stack.input_dlq_url, MessageBody="{}", MessageGroupId="acme")["MessageId"]

    redriven = run(
        "dlq", "redrive", "--all" if every else letter, environment=localstack.environment | stack.environment
    )

    assert redriven.exit_code == 0
    assert wait_until(lambda: depth(sqs, stack.input_url)[0] == 1, seconds=60)
    assert tenants(take(sqs, stack.input_url)) == ["acme"]
