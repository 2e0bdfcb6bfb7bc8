"""The messages that a worker has received and not yet settled, and what SQS is asked to do with them.

Nothing here raises for what SQS answers: a message that could not be deleted, shown or hidden comes back by its
visibility timeout. To delete, hide or show one takes no more than its receipt handle, so that it works after a lost
connection, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.hand_backs import HandBacks
from archiver.aws.letters import Letter
from archiver.aws.queues import queue_name
from archiver.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = get_logger(__name__)


class Unsettled:
    """Letters of jobs and of chunks, by their tags.

    ``client`` gives a queue's client by its name; ``crew`` is the name of the queue that chunks come by, None where
    there is none.
    """

    def __init__(self, client: Callable[[str], "SQSClient"], *, hand_backs: HandBacks, crew: str | None) -> None:
        self._client = client
        self._hand_backs = hand_backs
        self._crew = crew
        self._letters: dict[str, Letter] = {}

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, letter: Letter) -> None:
        """A message is taken on."""
        self._letters[letter.tag] = letter

    def get(self, tag: str) -> Letter | None:
        """The letter with this tag; None where it is settled, or another channel's."""
        return self._letters.get(tag)

    def pop(self, tag: str) -> Letter | None:
        """The same, to be settled now."""
        return self._letters.pop(tag, None)

    def pop_all(self, *, chunks_only: bool = False) -> list[Letter]:
        """All of them, or all chunks, to be settled now."""
        letters = [letter for letter in self._letters.values() if not chunks_only or self.is_chunk(letter)]
        for letter in letters:
            del self._letters[letter.tag]
        return letters

    def is_chunk(self, letter: Letter) -> bool:
        """Whether it came by the crew's queue."""
        return self._crew is not None and queue_name(letter.queue_url) == self._crew

    @property
    def chunks(self) -> int:
        """How many of them came by the crew's queue."""
        return sum(map(self.is_chunk, self._letters.values()))

    def counted(self, letter: Letter) -> Letter:
        """The letter with its hand-backs; a first receive needs no look for them, and a chunk has no attempts."""
        if letter.receive_count <= 1 or self.is_chunk(letter):
            return letter
        return replace(letter, hand_backs=self._hand_backs.of(letter))

    def delete(self, letter: Letter) -> bool:
        """Take the message off its queue; whether that worked."""
        try:
            self._client(queue_name(letter.queue_url)).delete_message(
                QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle
            )
        except (ClientError, BotoCoreError) as error:
            log.error("ack failed, the message will come back", sqs_message_id=letter.message_id, error=repr(error))
            return False
        return True

    def show(self, letters: Sequence[Letter]) -> None:
        """Hand the messages back: first the records, since each may be received again at once."""
        self._hand_backs.note([letter for letter in letters if not self.is_chunk(letter)])
        for letter in letters:
            self.hide(letter, 0)

    def hide(self, letter: Letter, seconds: int) -> None:
        """Let nobody receive the message for so long."""
        try:
            self._client(queue_name(letter.queue_url)).change_message_visibility(
                QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=seconds
            )
        except (ClientError, BotoCoreError) as error:
            # Already deleted (a dead letter), or not reachable: then its visibility timeout brings it back.
            log.debug("visibility not changed", error=repr(error), seconds=seconds)
