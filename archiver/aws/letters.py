"""A letter: one SQS message as it was received."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from archiver import trace_context
from archiver.text import presentable

#: Longest correlation id, in characters; it is in each line of the job's log and on its notification.
MAX_CORRELATION_ID = 256


@dataclass(frozen=True, slots=True)
class Letter:
    """One receive of one SQS message.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Message.html
    """

    message_id: str  # MessageId
    queue_url: str
    receipt_handle: str
    receive_count: int  # ApproximateReceiveCount
    sent_at: float  # epoch seconds, from SentTimestamp
    body: str  # exactly as received
    correlation_id: str | None = None  # message attribute Correlation-Id, made presentable
    group_id: str | None = None  # MessageGroupId: on a standard queue the tenant
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # message attributes, in boto3's shape
    hand_backs: int | None = 0  # earlier receives that were handed back; None where their record can't be read
    trace: Mapping[str, str] = field(default_factory=dict)  # traceparent and tracestate, where they are good ones

    @classmethod
    def from_message(cls, message: Mapping[str, Any], queue_url: str) -> "Letter":
        """The letter that an element of ReceiveMessage's ``Messages`` is, whatever is missing of it."""
        system = message.get("Attributes") or {}
        attributes = message.get("MessageAttributes") or {}
        return cls(
            message_id=str(message.get("MessageId", "")),
            queue_url=queue_url,
            receipt_handle=str(message.get("ReceiptHandle", "")),
            receive_count=_number(system.get("ApproximateReceiveCount"), default=1),
            sent_at=_number(system.get("SentTimestamp"), default=0) / 1000,
            body=str(message.get("Body") or ""),
            correlation_id=as_correlation_id((attributes.get("Correlation-Id") or {}).get("StringValue")),
            group_id=system.get("MessageGroupId"),
            attributes=attributes,
            trace=trace_context.checked_from(
                {name: (attributes.get(name) or {}).get("StringValue") for name in trace_context.NAMES}
            ),
        )

    @property
    def attempt(self) -> int:
        """Which attempt this receive is, from 1: those that were handed back count for nothing."""
        return max(1, self.receive_count - (self.hand_backs or 0))

    @property
    def tag(self) -> str:
        """What this receive is known by inside the process: its receipt handle, without giving it away."""
        return hashlib.sha256(self.receipt_handle.encode(errors="surrogatepass")).hexdigest()[:32]

    def as_dict(self) -> dict[str, Any]:
        """The letter as plain values, to travel inside a message header."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Letter":
        """The inverse of ``as_dict``."""
        return cls(**values)

    def attribute(self, name: str) -> str | None:
        """A string attribute's value."""
        value: str | None = self.attributes.get(name, {}).get("StringValue")
        return value

    def json(self) -> Any:
        """The body's JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def sendable_attributes(self) -> dict[str, Any]:
        """The message attributes as SendMessage takes them."""
        return {
            name: {key: value[key] for key in ("DataType", "StringValue", "BinaryValue") if key in value}
            for name, value in self.attributes.items()
        }


def as_correlation_id(value: object) -> str | None:
    """A correlation id from outside, fit for log lines and attributes; None where there is none.

    A bad one is cut and its control characters are replaced: the archive does not depend on it.
    """
    if not isinstance(value, str):
        return None
    return presentable(value, limit=MAX_CORRELATION_ID).strip() or None


def _number(value: object, *, default: int) -> int:
    try:
        return int(str(value))
    except ValueError:
        return default
