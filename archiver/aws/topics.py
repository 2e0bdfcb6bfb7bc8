"""Notifications on an SNS topic: for e-mail, webhooks, Lambda and EventBridge behind it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.excerpt import within
from archiver.archive.pipeline import Notifier
from archiver.archive.spans import UNTRACED, Tracer
from archiver.aws.notify import destination_attributes
from archiver.aws.queues import fifo_id, string_attributes
from archiver.errors import TopicUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from archiver.archive.notification import Message

#: Most bytes of a message, its attributes included. Source: SNS's API_Publish, Message.
MAX_MESSAGE_BYTES = 256 * 1024
#: Kept free for the attributes, in bytes.
ATTRIBUTES_ROOM = 4 * 1024


def topic_region(arn: str) -> str:
    """The region in a topic's ARN: a topic lives nowhere else."""
    return arn.split(":")[3]


class TopicNotifier:
    """Publishes notifications to one topic, each with its ``status`` as an attribute to filter subscriptions by."""

    def __init__(self, client: "SNSClient", arn: str, *, tracer: Tracer = UNTRACED) -> None:
        self._client = client
        self._arn = arn
        self._tracer = tracer

    def send(self, message: "Message", *, correlation_id: str | None) -> None:
        """Publish one notification, with the trace, cut to what SNS takes. Raises ``TopicUnavailable``."""
        name = self._arn.rpartition(":")[2]
        destination = destination_attributes("aws.sns", name, conversation_id=correlation_id)
        with self._tracer.span(f"send {name}", destination, kind="producer") as span:
            attributes = {"status": message.status, "Correlation-Id": correlation_id, **span.context}
            span.tell({"messaging.message.id": self._publish(message, attributes)})

    def _publish(self, message: "Message", attributes: Mapping[str, str | None]) -> str:
        extra: dict[str, Any] = {}
        if self._arn.endswith(".fifo"):
            extra = {"MessageGroupId": fifo_id(message.request_id), "MessageDeduplicationId": message.news}
        try:
            message_id = self._client.publish(
                TopicArn=self._arn,
                Message=within(message.body, MAX_MESSAGE_BYTES - ATTRIBUTES_ROOM),
                MessageAttributes=string_attributes(attributes),
                **extra,
            ).get("MessageId")
        except (ClientError, BotoCoreError) as error:
            raise TopicUnavailable(f"publishing to SNS_DESTINATION_TOPIC={self._arn!r} failed: {error}") from error
        if not message_id:
            raise TopicUnavailable(
                f"publishing to SNS_DESTINATION_TOPIC={self._arn!r} failed: the answer has no MessageId"
            )
        return message_id


class Notifiers:
    """Several ways to tell the same, one after the other: where one fails, a later attempt tells all again."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self._notifiers = notifiers

    def send(self, message: "Message", *, correlation_id: str | None) -> None:
        """Send on every way. Raises the last failure, once all have been tried."""
        failure: Exception | None = None
        for notifier in self._notifiers:
            try:
                notifier.send(message, correlation_id=correlation_id)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure
