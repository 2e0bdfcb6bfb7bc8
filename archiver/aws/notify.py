"""The message that tells the consumer."""

from typing import TYPE_CHECKING

from archiver.archive.pipeline import Notifier
from archiver.archive.spans import UNTRACED, Attributes, Tracer
from archiver.aws.queues import Queue, string_attributes

if TYPE_CHECKING:
    from archiver.archive.notification import Message


def destination_attributes(system: str, name: str, *, conversation_id: str | None) -> Attributes:
    """What a span that sends tells of where to. Source: OpenTelemetry semantic conventions, messaging spans."""
    return {
        "messaging.system": system,
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": name,
        "messaging.message.conversation_id": conversation_id,
    }


class SuccessesOnly:
    """Passes on what succeeded: consumers who have not asked for failures (NOTIFY_FAILURES) get none."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def send(self, message: "Message", *, correlation_id: str | None) -> None:
        """Send a notification of success. Raises ``QueueUnavailable``."""
        if message.status == "succeeded":
            self._notifier.send(message, correlation_id=correlation_id)


class QueueNotifier:
    """Sends notifications to one queue.

    A FIFO queue swallows what has the deduplication id of the last five minutes: it is that of the news, so that the
    same told twice arrives once, and a failure that a redrive turned into a success arrives twice.
    """

    def __init__(self, queue: Queue, *, tracer: Tracer = UNTRACED) -> None:
        self._queue = queue
        self._tracer = tracer

    def send(self, message: "Message", *, correlation_id: str | None) -> None:
        """Send one notification, with the trace. Raises ``QueueUnavailable``."""
        destination = destination_attributes("aws_sqs", self._queue.name, conversation_id=correlation_id)
        with self._tracer.span(f"send {self._queue.name}", destination, kind="producer") as span:
            message_id = self._queue.send(
                message.body,
                attributes=string_attributes({"Correlation-Id": correlation_id, **span.context}),
                group_id=message.request_id,
                deduplication_id=message.news,
            )
            span.tell({"messaging.message.id": message_id})
