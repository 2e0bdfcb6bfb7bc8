"""The dead-letter queue: found by the source queue's redrive policy, written to with the reason."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from archiver.errors import PermanentError
from archiver.worker.delivery import Delivery

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = structlog.get_logger(__name__)

#: A dead-letter queue added to a live queue is noticed within this many seconds.
POLICY_TTL_SECONDS = 300.0
#: Most message attributes of a message. Source: SQS Developer Guide, message metadata.
MAX_ATTRIBUTES = 10
#: Longest Error-Message, in characters.
MAX_REASON_CHARACTERS = 1_000

# What SQS takes in a string; it refuses the whole message otherwise. Source: API_SendMessage, MessageBody.
_UNSAFE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

NO_POLICY = (
    "the source queue has no redrive policy: a message that fails stays on it and is tried again until it expires; "
    "give the queue a dead-letter queue"
)


@dataclass(slots=True)
class DeadLetters:
    """The dead-letter queues of this process's source queues, each policy read once in ``POLICY_TTL_SECONDS``."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[str | None, float]] = field(default_factory=dict)

    def url(self, client: "SQSClient", queue_url: str) -> str | None:
        """The URL of the queue's dead-letter queue; None where it has no redrive policy.

        Raises what boto3 raises where the queue can't be asked.
        """
        known = self._known.get(queue_url)
        if known is not None and self.clock() - known[1] < POLICY_TTL_SECONDS:
            return known[0]
        answer = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"])
        url = dead_letter_url(queue_url, answer.get("Attributes", {}).get("RedrivePolicy"))
        self._known[queue_url] = (url, self.clock())
        return url


def dead_letter_url(queue_url: str, policy: str | None) -> str | None:
    """The URL that ``policy`` (the attribute RedrivePolicy, JSON) points at.

    A dead-letter queue lives in the account and the region of its source, so that its URL is the source's with
    another name. Source: SQS Developer Guide, dead-letter queues.
    """
    if not policy:
        return None
    name = str(json.loads(policy)["deadLetterTargetArn"]).rsplit(":", 1)[-1]
    return f"{queue_url.rsplit('/', 1)[0]}/{name}"


def dead_letter(client: "SQSClient", dlq_url: str, delivery: Delivery, error: PermanentError) -> None:
    """Put the message on its dead-letter queue with the reason, then delete the original: in that order.

    The body is unchanged. Where body and attributes are over the queue's size limit, the attributes give way.
    Raises what boto3 raises where SQS is not to be reached; the original is then still on its queue.
    """
    attributes = reasons(delivery, error)
    fifo = fifo_arguments(delivery, dlq_url)
    try:
        client.send_message(QueueUrl=dlq_url, MessageBody=delivery.body, MessageAttributes=attributes, **fifo)
    except ClientError as refusal:
        if refusal.response["Error"]["Code"] not in ("InvalidParameterValue", "InvalidMessageContents"):
            raise
        log.warning("dead letter without its reason: SQS refuses body and attributes together", error=str(refusal))
        client.send_message(QueueUrl=dlq_url, MessageBody=delivery.body, **fifo)
    try:
        client.delete_message(QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt_handle)
    except (ClientError, BotoCoreError) as failure:
        log.error("a dead-lettered message could not be deleted, it will come back", error=repr(failure))


def reasons(delivery: Delivery, error: PermanentError) -> dict[str, Any]:
    """The message attributes of a dead letter: why, which and how often; then the original's, as many as fit."""
    ours = {
        "Error-Code": error.code,
        "Error-Message": safe_text(error.message),
        "Original-Message-Id": delivery.message_id,
        "Receive-Count": str(delivery.receive_count),
    }
    if delivery.correlation_id:
        ours["Correlation-Id"] = delivery.correlation_id
    attributes: dict[str, Any] = {
        name: {"DataType": "String", "StringValue": value or "-"} for name, value in ours.items()
    }
    for name, value in delivery.attributes.items():
        if len(attributes) < MAX_ATTRIBUTES and name not in attributes:
            attributes[name] = _sendable(value)
    return attributes


def safe_text(text: str) -> str:
    """``text`` as SQS takes it, cut to ``MAX_REASON_CHARACTERS``."""
    return _UNSAFE.sub("\ufffd", text)[:MAX_REASON_CHARACTERS]


def fifo_arguments(delivery: Delivery, queue_url: str) -> dict[str, Any]:
    """What a FIFO queue wants besides the message."""
    if not queue_url.endswith(".fifo"):
        return {}
    return {
        "MessageGroupId": delivery.group_id or delivery.message_id,
        "MessageDeduplicationId": delivery.message_id,
    }


def _sendable(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("DataType", "StringValue", "BinaryValue") if key in value}
