"""The one way to a queue: found by its name or URL, asked, and sent to."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.clients import Timeouts, new_client
from archiver.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Most bytes of a message, its attributes included: SQS Developer Guide, message quotas.
MAX_MESSAGE_BYTES = 1024 * 1024
#: What SQS takes as a message's group and deduplication id: API_SendMessage, MessageGroupId.
_FIFO_ID = re.compile(r"[\x21-\x7e]{1,128}")
#: A tenant's name: on a standard queue it travels as the message's group.
TENANT = _FIFO_ID
#: How SQS says that there is no such queue, in its JSON and in its query protocol.
NO_QUEUE = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")


def queue_name(name_or_url: str) -> str:
    """The name in a queue's name or URL; Celery and its callers know the queue by it."""
    return name_or_url.rstrip("/").rsplit("/", 1)[-1]


def no_such_queue(error: Exception) -> bool:
    """Whether SQS says that there is no such queue. An answer that is none of AWS's own has no code at all."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in NO_QUEUE


def string_attributes(values: Mapping[str, str | None]) -> dict[str, Any]:
    """Message attributes of type String in boto3's shape; those without a value are left out."""
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value}


class Queue:
    """A queue by its name or URL. ``setting`` is what errors call it: where its name comes from.

    Safe to share between threads, as boto3's clients are.
    """

    def __init__(self, client: "SQSClient", name_or_url: str, *, setting: str | None = None) -> None:
        self.client = client
        self._given = name_or_url.rstrip("/")
        self._label = f"{setting}={name_or_url!r}" if setting else name_or_url
        self._url = self._given if "://" in name_or_url else None

    @property
    def name(self) -> str:
        """The queue's name."""
        return queue_name(self._given)

    @property
    def is_fifo(self) -> bool:
        """Whether messages have groups and an order: the name says it."""
        return self._given.endswith(".fifo")

    @property
    def url(self) -> str:
        """The URL, looked up at the first call where a name was given. Raises ``QueueUnavailable``."""
        if self._url is None:
            try:
                url = self.client.get_queue_url(QueueName=self._given).get("QueueUrl")
            except ClientError as error:
                reason = error.response.get("Error", {}).get("Message") or error
                raise QueueUnavailable(f"{self._label}: {reason}") from error
            except BotoCoreError as error:
                raise QueueUnavailable(f"{self._label}: SQS can't be reached: {error}") from error
            if not url:
                # What boto3 makes of a JSON answer that was cut short.
                raise QueueUnavailable(f"{self._label}: SQS's answer names no URL")
            self._url = url
        return self._url

    def send(
        self,
        body: str,
        *,
        attributes: Mapping[str, Any] | None = None,
        group_id: str,
        deduplication_id: str,
        tenant: str | None = None,
    ) -> str:
        """Send a message and return its id.

        The two ids are for a FIFO queue, whose rules they are made to fit; another queue ignores them. ``tenant`` (as
        ``TENANT`` says) is for a standard queue, which then keeps one tenant's many messages from delaying another's;
        a FIFO queue ignores it. Source: SQS Developer Guide, fair queues.
        Raises ``QueueUnavailable``; an answer without a message's id is a failure, too: only SQS gives one.
        """
        extra: dict[str, Any] = {"MessageAttributes": attributes} if attributes else {}
        if self.is_fifo:
            extra |= {"MessageGroupId": fifo_id(group_id), "MessageDeduplicationId": fifo_id(deduplication_id)}
        elif tenant:
            extra["MessageGroupId"] = tenant
        url = self.url
        try:
            message_id = self.client.send_message(QueueUrl=url, MessageBody=body, **extra).get("MessageId")
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(f"sending to {self._label} failed: {error}") from error
        if not message_id:
            raise QueueUnavailable(f"sending to {self._label} failed: the answer has no MessageId")
        return message_id

    def send_batch(self, bodies: Sequence[str], *, attributes: Mapping[str, Any] | None = None) -> None:
        """Send up to ten messages to a standard queue, in one request. Raises ``QueueUnavailable``."""
        extra: dict[str, Any] = {"MessageAttributes": attributes} if attributes else {}
        entries: list[Any] = [{"Id": str(number), "MessageBody": body, **extra} for number, body in enumerate(bodies)]
        url = self.url
        try:
            answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(f"sending to {self._label} failed: {error}") from error
        sent = len(answer.get("Successful", ()))
        if sent < len(bodies):
            reason = next((failed.get("Message") for failed in answer.get("Failed", ())), None)
            raise QueueUnavailable(
                f"{len(bodies) - sent} of {len(bodies)} messages not sent to {self._label}: {reason}"
            )

    def attributes(self, names: Sequence[str]) -> dict[str, str]:
        """The queue's attributes. Raises ``QueueUnavailable``."""
        wanted: Any = list(names)  # the stubs want literals
        url = self.url
        try:
            answer: Any = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(f"the attributes of {self._label} can't be read: {error}") from error
        return dict(answer.get("Attributes", {}))

    def redrive_policy(self) -> "RedrivePolicy | None":
        """The queue's redrive policy; None where it has none. Raises ``QueueUnavailable``."""
        text = self.attributes(["RedrivePolicy"]).get("RedrivePolicy")
        url = dead_letter_url(self.url, text)
        if text is None or url is None:
            return None
        return RedrivePolicy(Queue(self.client, url), int(json.loads(text)["maxReceiveCount"]))

    def dead_letter_queue(self) -> "Queue | None":
        """Where the redrive policy sends messages; None without a policy. Raises ``QueueUnavailable``."""
        policy = self.redrive_policy()
        return None if policy is None else policy.dead_letters


def fifo_id(text: str) -> str:
    """``text``, or where SQS would refuse it as an id its SHA-256: ids are compared, nobody reads them."""
    return text if _FIFO_ID.fullmatch(text) else hashlib.sha256(text.encode(errors="replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class RedrivePolicy:
    """Where SQS moves a message after how many receives. Source: SQS Developer Guide, dead-letter queues."""

    dead_letters: Queue
    max_receive_count: int


def dead_letter_url(queue_url: str, policy: str | None) -> str | None:
    """The URL that ``policy`` (the attribute RedrivePolicy, JSON) points at.

    A dead-letter queue lives in the account and the region of its source, so that its URL is the source's with
    another name. Source: SQS Developer Guide, dead-letter queues.
    """
    if not policy:
        return None
    name = str(json.loads(policy)["deadLetterTargetArn"]).rsplit(":", 1)[-1]
    return f"{queue_url.rstrip('/').rsplit('/', 1)[0]}/{name}"


def open_queue(name_or_url: str, *, timeouts: Timeouts, region: str | None = None, setting: str | None = None) -> Queue:
    """A queue with a client of its own, in the queue's own region. Makes no request."""
    return Queue(new_client("sqs", timeouts=timeouts, queue=name_or_url, region=region), name_or_url, setting=setting)
