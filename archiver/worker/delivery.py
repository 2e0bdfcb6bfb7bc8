"""Where a job's message came from: what the task needs to know to keep it, to hand it back or to dead-letter it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: The Celery message header that carries a delivery, as a plain dict, from the worker's process into its pool.
HEADER = "archiver_delivery"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One receive of one SQS message."""

    message_id: str  # SQS MessageId
    queue_url: str
    receipt_handle: str
    receive_count: int  # ApproximateReceiveCount
    sent_at: float  # epoch seconds, from SentTimestamp
    correlation_id: str | None  # message attribute Correlation-Id
    body: str  # the SQS body exactly as received
    group_id: str | None = None  # MessageGroupId, on a FIFO queue
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # message attributes, in boto3's shape

    def as_header(self) -> dict[str, Any]:
        """The value of ``HEADER``."""
        return asdict(self)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> "Delivery":
        """The inverse of ``as_header``."""
        return cls(**header)
