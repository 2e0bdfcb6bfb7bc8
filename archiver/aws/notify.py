"""The message that tells the consumer."""

import json
import re
from collections.abc import Mapping
from typing import Any

from archiver.aws.queues import Queue, string_attributes

#: What JSON allows in a string and SQS refuses in a body:
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")


class QueueNotifier:
    """Sends notifications to one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def send(self, body: Mapping[str, Any], *, request_id: str, correlation_id: str | None) -> None:
        """Send one notification. Raises ``QueueUnavailable``."""
        self._queue.send(
            _text(body),
            attributes=string_attributes({"Correlation-Id": correlation_id}),
            group_id=request_id,
            deduplication_id=request_id,
        )


def _text(body: Mapping[str, Any]) -> str:
    """The body as compact JSON, since SQS counts its bytes: a message as large as was received can be sent."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return _REFUSED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
