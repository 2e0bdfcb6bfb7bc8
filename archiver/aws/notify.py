"""The message that tells the consumer."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: What JSON allows in a string and SQS refuses in a body:
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")


class Notifier:
    """Sends notifications to one queue, named by its name or its URL."""

    def __init__(self, client: "SQSClient", *, queue: str) -> None:
        self._client = client
        self._queue = queue
        self._url = queue if "://" in queue else None

    def send(self, body: Mapping[str, Any], *, request_id: str, correlation_id: str | None) -> None:
        """Send one notification. Raises ``QueueUnavailable``."""
        extra: dict[str, Any] = {}
        if correlation_id:
            extra["MessageAttributes"] = {"Correlation-Id": {"DataType": "String", "StringValue": correlation_id}}
        if self._queue.endswith(".fifo"):
            extra |= {"MessageGroupId": request_id, "MessageDeduplicationId": request_id}
        try:
            if self._url is None:
                self._url = self._client.get_queue_url(QueueName=self._queue).get("QueueUrl")
            if self._url is None:
                # What boto3 makes of a JSON answer that was cut short.
                raise QueueUnavailable(f"the URL of {self._queue} could not be read")
            self._client.send_message(QueueUrl=self._url, MessageBody=_text(body), **extra)
        except (ClientError, BotoCoreError) as error:
            raise QueueUnavailable(f"notifying {self._queue} failed: {error}") from error


def _text(body: Mapping[str, Any]) -> str:
    """The body as compact JSON, since SQS counts its bytes: a message as large as was received can be sent."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return _REFUSED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
