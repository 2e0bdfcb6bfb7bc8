"""SNS and SQS clients for monitoring: short timeouts and no retries, for nothing here is worth waiting for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from archiver.aws.clients import Timeouts, new_client
from archiver.aws.queues import no_such_queue
from archiver.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Answer = TypeVar("Answer")

#: How long an inbox's receive waits for a message: SQS's most, so that an idle process costs least.
POLL_SECONDS = 20

_QUICK = Timeouts(connect=2, read=4, attempts=1)
_POLLING = Timeouts(connect=2, read=POLL_SECONDS + 10, attempts=1)


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
        return new_client("sns", timeouts=_QUICK, queue=self.source_queue, region=self.region)

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = new_client("sqs", timeouts=_QUICK, queue=self.source_queue, region=self.region)
        return client

    @cached_property
    def polling(self) -> "SQSClient":
        client: SQSClient = new_client("sqs", timeouts=_POLLING, queue=self.source_queue, region=self.region)
        return client

    def topic_arn(self, topic: str) -> str:
        """The ARN of a topic, which is created where it does not exist: CreateTopic is idempotent."""
        if topic not in self._topic_arns:
            self._topic_arns[topic] = self.sns.create_topic(Name=topic)["TopicArn"]
        return self._topic_arns[topic]


def must_be_sent(answer: Mapping[str, Any]) -> None:
    """Look at the answer to a message that was sent. Raises ``QueueUnavailable`` where something else has answered."""
    if not answer.get("MessageId"):
        raise QueueUnavailable("the answer has no MessageId: it is not AWS's")


def unless_gone(call: Callable[..., Answer], **arguments: Any) -> Answer | None:
    """What SQS answers to a call; None where there is no such queue."""
    try:
        return call(**arguments)
    except ClientError as error:
        if not no_such_queue(error):
            raise
        return None
