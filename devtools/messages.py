"""Messages in and out of queues, as a producer, a consumer and an operator handle them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devtools import polls
from devtools.patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Most messages of one receive, and the longest poll used here, in seconds.
BATCH = 10
POLL_SECONDS = 2


class NoMessage(Exception):
    """The message that was waited for did not come; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; its string attributes by name."""

    id: str
    body: str
    attributes: Mapping[str, str]
    receive_count: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(
    sqs: "SQSClient", url: str, body: str | Mapping[str, Any], *, attributes: Mapping[str, str] | None = None
) -> str:
    """Send raw text, or an object as JSON; answers the message's id."""
    polls.await_the_last(url)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    typed: Any = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    return sqs.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=typed)["MessageId"]


def receive(
    sqs: "SQSClient", url: str, *, count: int, seconds: float, tick: Callable[[], None] = lambda: None
) -> list[Message]:
    """Take and delete messages until there are ``count`` or ``seconds`` are over; may answer fewer, never more.

    ``tick`` is called before each poll, so that a caller can give up early by raising.
    """
    patience = Patience(seconds)
    messages: list[Message] = []
    while len(messages) < count:
        tick()
        remaining = patience.left()
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(BATCH, count - len(messages)),
            WaitTimeSeconds=min(POLL_SECONDS, int(remaining)),
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        for item in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=item["ReceiptHandle"])
            messages.append(_message(item))
        if not remaining:
            break
    return messages


def wait_for(
    sqs: "SQSClient",
    url: str,
    *,
    seconds: float = 60,
    matching: Callable[[Message], bool] = lambda _: True,
    tick: Callable[[], None] = lambda: None,
) -> Message:
    """Take and delete messages until one matches, which is answered. Raises ``NoMessage`` after ``seconds``."""
    patience = Patience(seconds)
    others: list[str] = []
    while remaining := patience.left():
        for message in receive(sqs, url, count=1, seconds=min(POLL_SECONDS, remaining), tick=tick):
            if matching(message):
                return message
            others.append(message.body)
    raise NoMessage(f"no such message on {url} within {seconds:.0f} s; others: {others or 'none'}")


def depth(sqs: "SQSClient", url: str) -> tuple[int, int, int]:
    """How many messages are visible, in flight and delayed. Exact on an emulator, approximate on SQS."""
    names: Any = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    attributes: Mapping[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[assignment]  # the stub's keys are literals
    visible, in_flight, delayed = (int(attributes[name]) for name in names)
    return visible, in_flight, delayed


def _message(item: Any) -> Message:
    return Message(
        id=item["MessageId"],
        body=item["Body"],
        attributes={name: value.get("StringValue", "") for name, value in item.get("MessageAttributes", {}).items()},
        receive_count=int(item.get("Attributes", {}).get("ApproximateReceiveCount", "0")),
    )
