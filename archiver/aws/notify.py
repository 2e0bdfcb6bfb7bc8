"""The message that tells the consumer."""

from archiver.archive.notification import Message
from archiver.archive.pipeline import Notifier
from archiver.aws.queues import Queue, string_attributes


class SuccessesOnly:
    """Passes on what succeeded: consumers who have not asked for failures (NOTIFY_FAILURES) get none."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def send(self, message: Message, *, correlation_id: str | None) -> None:
        """Send a notification of success. Raises ``QueueUnavailable``."""
        if message.status == "succeeded":
            self._notifier.send(message, correlation_id=correlation_id)


class QueueNotifier:
    """Sends notifications to one queue.

    A FIFO queue swallows what has the deduplication id of the last five minutes: it is that of the news, so that the
    same told twice arrives once, and a failure that a redrive turned into a success arrives twice.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def send(self, message: Message, *, correlation_id: str | None) -> None:
        """Send one notification. Raises ``QueueUnavailable``."""
        self._queue.send(
            message.body,
            attributes=string_attributes({"Correlation-Id": correlation_id}),
            group_id=message.request_id,
            deduplication_id=message.news,
        )
