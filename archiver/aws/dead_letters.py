"""Dead letters: a message goes to its queue's dead-letter queue with the reason, and only later off its queue."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver import trace_context
from archiver.aws.letters import Letter
from archiver.aws.queues import Queue, RedrivePolicy
from archiver.errors import PermanentError, QueueUnavailable
from archiver.logs import get_logger
from archiver.text import presentable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = get_logger(__name__)

#: A dead-letter queue added to a live queue is noticed within this many seconds.
POLICY_TTL_SECONDS = 300.0
#: Most message attributes of a message. Source: SQS Developer Guide, message metadata.
MAX_ATTRIBUTES = 10
#: Longest Error-Message, in characters.
MAX_REASON_CHARACTERS = 1_000
#: The same of a letter whose body leaves less room.
SHORT_REASON_CHARACTERS = 200
#: What is added to a dead letter; a redriven message starts without it.
REASONS = frozenset({"Attempts", "Error-Code", "Error-Message", "Original-Message-Id", "Receive-Count", "Request-Id"})

#: Of the original's attributes these are kept before others: a redriven message goes on with its trace.
FIRST = ("Correlation-Id", *trace_context.NAMES)

#: What stands for the code of a dead letter without one.
NO_REASON = "no_reason"
MOVED_BY_SQS = (
    "SQS itself moved it after the queue's maxReceiveCount, the worker had no say; its log may say more: "
    "maxReceiveCount is to be well above MAX_ATTEMPTS"
)
NO_POLICY = (
    "the source queue has no redrive policy: a message that fails stays on it and is tried again until it expires; "
    "give the queue a dead-letter queue"
)
SMALL_DEAD_LETTERS = (
    "the dead-letter queue takes smaller messages than the source queue: a large one that fails stays on the queue and "
    "is tried again; raise its MaximumMessageSize"
)


@dataclass(slots=True)
class DeadLetters:
    """The dead-letter queues of this process's source queues, each policy read once in ``POLICY_TTL_SECONDS``."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[RedrivePolicy | None, float]] = field(default_factory=dict)

    def policy(self, client: "SQSClient", queue_url: str) -> RedrivePolicy | None:
        """The queue's redrive policy; None where it has none. Raises ``QueueUnavailable``."""
        known = self._known.get(queue_url)
        if known is not None and self.clock() - known[1] < POLICY_TTL_SECONDS:
            return known[0]
        policy = Queue(client, queue_url).redrive_policy()
        self._known[queue_url] = (policy, self.clock())
        return policy


def send_dead_letter(dlq: Queue, letter: Letter, error: PermanentError, *, request_id: str) -> None:
    """Put the message on its dead-letter queue with the reason; the original is for the caller to delete, then.

    The body is unchanged. Where body and attributes are over the queue's size limit, the attributes give way: the
    original's first, then most of the reason's text, then all. Raises ``QueueUnavailable``.
    """
    send = partial(
        dlq.send,
        letter.body,
        group_id=letter.group_id or letter.message_id,
        deduplication_id=letter.message_id,
        tenant=letter.group_id,
    )
    for less in (
        reasons(letter, error, request_id=request_id),
        reasons(letter, error, request_id=request_id, originals=False),
        reasons(letter, error, request_id=request_id, originals=False, longest=SHORT_REASON_CHARACTERS),
    ):
        try:
            send(attributes=less)
            return
        except QueueUnavailable as failure:
            if not _is_refusal(failure.__cause__):
                raise
            log.warning("SQS refuses body and attributes together: a dead letter with less", error=str(failure))
    send()


def delete(client: "SQSClient", letter: Letter) -> None:
    """Take a message off its queue. Never raises: where SQS refuses it comes back, and ends in the same way."""
    try:
        client.delete_message(QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle)
    except (ClientError, BotoCoreError) as lasting:
        log.error("a message that has ended could not be deleted, it will come back", error=str(lasting))


def reasons(
    letter: Letter,
    error: PermanentError,
    *,
    request_id: str,
    originals: bool = True,
    longest: int = MAX_REASON_CHARACTERS,
) -> dict[str, Any]:
    """The message attributes of a dead letter: why, which and how often; then the original's, as many as fit.

    ``request_id`` is what the log and the notifications know the job by: for a Celery call the task's id. ``originals``
    may be left out; ``longest`` is that of the reason's text, in characters.
    """
    ours = {
        "Error-Code": error.code,
        "Error-Message": presentable(error.message, limit=longest),
        "Original-Message-Id": letter.message_id,
        "Request-Id": request_id,
        "Receive-Count": str(letter.receive_count),
        "Attempts": str(letter.attempt),
    }
    attributes: dict[str, Any] = {
        name: {"DataType": "String", "StringValue": value or "-"} for name, value in ours.items()
    }
    theirs = letter.sendable_attributes() if originals else {}
    if originals and letter.correlation_id and "Correlation-Id" not in theirs:  # from inside an SNS notification
        theirs = {"Correlation-Id": {"DataType": "String", "StringValue": letter.correlation_id}} | theirs
    for name in sorted(theirs, key=lambda name: name not in FIRST):
        if len(attributes) < MAX_ATTRIBUTES and name not in attributes:
            attributes[name] = theirs[name]
    return attributes


def reason_of(letter: Letter) -> dict[str, str | None]:
    """Why a message is a dead letter: the worker notes it; SQS, which moves it after its last receive, does not."""
    code = letter.attribute("Error-Code")
    if code is None:
        return {"code": NO_REASON, "message": MOVED_BY_SQS}
    return {"code": code, "message": letter.attribute("Error-Message")}


def _is_refusal(error: BaseException | None) -> bool:
    codes = ("InvalidParameterValue", "InvalidMessageContents")
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in codes
