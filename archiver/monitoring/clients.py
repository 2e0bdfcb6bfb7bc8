"""SNS and SQS clients for monitoring: short timeouts and no retries, for nothing here is worth waiting for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from archiver.aws.clients import queue_region
from archiver.aws.queues import NO_QUEUE

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Answer = TypeVar("Answer")

#: How long an inbox's receive waits for a message: SQS's most, so that an idle process costs least.
POLL_SECONDS = 20
_TIMEOUT_SECONDS = 4


@dataclass
class Clients:
    """Made when first used: a pool process, which only sends events, needs one of the three.

    They live where the source queue lives: its URL's region wins, ``region`` is the last resort.
    """

    source_queue: str
    region: str | None
    _topic_arns: dict[str, str] = field(default_factory=dict)

    @cached_property
    def sns(self) -> Any:  # no stubs of SNS are installed
        return self._new("sns", read_timeout=_TIMEOUT_SECONDS)

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self._new("sqs", read_timeout=_TIMEOUT_SECONDS)
        return client

    @cached_property
    def polling(self) -> "SQSClient":
        client: SQSClient = self._new("sqs", read_timeout=POLL_SECONDS + 10)
        return client

    def topic_arn(self, topic: str) -> str:
        """The ARN of a topic, which is created where it does not exist: CreateTopic is idempotent."""
        if topic not in self._topic_arns:
            self._topic_arns[topic] = self.sns.create_topic(Name=topic)["TopicArn"]
        return self._topic_arns[topic]

    def _new(self, service: str, *, read_timeout: float) -> Any:
        session = boto3.Session()
        retries: Any = {"mode": "standard", "total_max_attempts": 1}
        make: Any = session.client  # its overloads want a literal name
        return make(
            service,
            region_name=queue_region(self.source_queue) or session.region_name or self.region,
            config=Config(connect_timeout=2, read_timeout=read_timeout, retries=retries),
        )


def no_such_queue(error: Exception) -> bool:
    """Whether SQS says that there is no such queue. An answer that is none of AWS's own has no code at all."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in NO_QUEUE


def unless_gone(call: Callable[..., Answer], **arguments: Any) -> Answer | None:
    """What SQS answers to a call; None where there is no such queue."""
    try:
        return call(**arguments)
    except ClientError as error:
        if not no_such_queue(error):
            raise
        return None
