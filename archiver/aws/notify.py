"""The message that tells the consumer."""

from archiver.archive.notification import Message
from archiver.aws.queues import Queue, string_attributes


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
