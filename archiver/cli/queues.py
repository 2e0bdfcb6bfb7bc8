"""Looking into queues without taking anything away: what the commands submit, dlq and doctor share."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Messages of one call.
BATCH = 10
#: How long a message that is being looked at stays hidden, in seconds; renewed at half of it, so that a look that
#: is killed hides nothing for long.
HIDDEN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as an operator sees it. ``sent_at`` in seconds since the epoch; ``attributes`` in boto3's shape."""

    id: str
    body: str
    receipt_handle: str
    sent_at: float
    receive_count: int
    attributes: dict[str, Any]
    group_id: str | None

    def attribute(self, name: str) -> str | None:
        """A string attribute's value."""
        value: str | None = self.attributes.get(name, {}).get("StringValue")
        return value

    def reason(self) -> dict[str, str | None]:
        """Why it is a dead letter: the worker notes it; SQS, which moves a message after its last attempt, does not."""
        code = self.attribute("Error-Code")
        if code is None:
            return {"code": "attempts_exhausted", "message": "no attempt succeeded; the worker's log says why"}
        return {"code": code, "message": self.attribute("Error-Message")}

    def json(self) -> Any:
        """The body's JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(slots=True)
class Look:
    """A look into one queue. Each message is received once, hidden while the look lasts and shown again after it."""

    client: "SQSClient"
    url: str
    clock: Callable[[], float] = time.monotonic
    _hidden: dict[str, str] = field(default_factory=dict)
    _renewed_at: float = 0.0

    def __post_init__(self) -> None:
        self._renewed_at = self.clock()

    def receive(self, *, wait_seconds: int = 0, count: int = BATCH) -> list[Letter]:
        """Up to ``count`` messages that this look has not seen."""
        if self.clock() - self._renewed_at > HIDDEN_SECONDS / 2:
            self._hide(HIDDEN_SECONDS)
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(count, BATCH),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        letters = [_letter(item) for item in answer.get("Messages", ())]
        fresh = [letter for letter in letters if letter.id not in self._hidden]
        self._hidden.update((letter.id, letter.receipt_handle) for letter in letters)
        return fresh

    def all(self, *, limit: int | None = None) -> Iterator[Letter]:
        """Every message that can be seen, or the first ``limit``."""
        left = limit
        empty = 0
        while empty < 2 and left != 0:
            letters = self.receive(count=BATCH if left is None else left)
            # One empty answer proves little: SQS asks a sample of its servers.
            empty = 0 if letters else empty + 1
            left = None if left is None else left - len(letters)
            yield from letters

    def delete(self, letter: Letter) -> None:
        """Take a message away for good."""
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=letter.receipt_handle)
        self._hidden.pop(letter.id, None)

    def close(self) -> None:
        """Show every message again that is still hidden."""
        with contextlib.suppress(ClientError, BotoCoreError):  # they come back by themselves
            self._hide(0)
        self._hidden.clear()

    def _hide(self, seconds: int) -> None:
        self._renewed_at = self.clock()
        handles = list(self._hidden.values())
        for start in range(0, len(handles), BATCH):
            self.client.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                    for index, handle in enumerate(handles[start : start + BATCH])
                ],
            )


@contextlib.contextmanager
def look_into(client: "SQSClient", url: str) -> Iterator[Look]:
    """A look that ends with the block."""
    look = Look(client, url)
    try:
        yield look
    finally:
        look.close()


def queue_url(client: "SQSClient", queue: str, *, setting: str) -> str:
    """The URL of a queue given by name or URL. Raises ``QueueUnavailable`` that names the setting."""
    if "://" in queue:
        return queue
    try:
        return client.get_queue_url(QueueName=queue)["QueueUrl"]
    except ClientError as error:
        raise QueueUnavailable(f"{setting}={queue!r}: {error.response['Error'].get('Message', error)}") from error
    except BotoCoreError as error:
        raise QueueUnavailable(f"{setting}={queue!r}: SQS can't be reached: {error}") from error


def attributes_of(client: "SQSClient", url: str, names: Sequence[str]) -> dict[str, str]:
    """Attributes of a queue. Raises ``QueueUnavailable``."""
    wanted: Any = list(names)  # the stubs want literals
    try:
        answer: Any = client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
    except (ClientError, BotoCoreError) as error:
        raise QueueUnavailable(f"the attributes of {url} can't be read: {error}") from error
    return dict(answer.get("Attributes", {}))


def _letter(item: Any) -> Letter:
    system = item.get("Attributes", {})
    return Letter(
        id=item["MessageId"],
        body=item["Body"],
        receipt_handle=item["ReceiptHandle"],
        sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        receive_count=int(system.get("ApproximateReceiveCount", 0)),
        attributes=item.get("MessageAttributes", {}),
        group_id=system.get("MessageGroupId"),
    )
