"""Looking into queues without taking anything away: what the commands submit and dlq share."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.letters import Letter
from archiver.aws.queues import Queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Messages of one call.
BATCH = 10
#: How long a message that is being looked at stays hidden, in seconds; renewed at half of it, so that a look that
#: is killed hides nothing for long.
HIDDEN_SECONDS = 30


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
        letters = [Letter.from_message(item, self.url) for item in answer.get("Messages", ())]
        fresh = [letter for letter in letters if letter.message_id not in self._hidden]
        self._hidden.update((letter.message_id, letter.receipt_handle) for letter in letters)
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
        self._hidden.pop(letter.message_id, None)

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
def look_into(queue: Queue) -> Iterator[Look]:
    """A look that ends with the block. Raises ``QueueUnavailable`` where there is no such queue."""
    look = Look(queue.client, queue.url)
    try:
        yield look
    finally:
        look.close()
