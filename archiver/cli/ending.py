"""What became of a request that is over: from its status object, or else from the dead-letter queue."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.status import JobStatus
from archiver.aws.clients import BRIEF
from archiver.aws.dead_letters import reason_of
from archiver.aws.letters import Letter
from archiver.aws.queues import open_queue
from archiver.aws.status import StatusObjects
from archiver.cli.look import look_into
from archiver.cli.session import brief_client
from archiver.errors import QueueUnavailable
from archiver.settings import Settings
from archiver.text import presentable
from archiver.worker.decode import call_id

#: Dead letters that are looked through for a request, the first that SQS gives.
MOST_LETTERS = 1_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended: ``state`` as a status has it; ``notification`` is what consumers are told, or the like."""

    state: str
    notification: dict[str, Any]

    def described(self) -> str:
        """The ending for a person. A link keeps its signature, or it would be none."""
        told = self.notification
        if "archive" in told:
            return f"{self.state}: {told['archive']['url']}"
        error = told.get("error") or {}
        return presentable(f"{self.state}: {error['message']} ({error['code']})") if error else self.state


def request_id_of(letter: Letter) -> str:
    """The id of the request that a dead letter was: what logs, notifications and Flower call it."""
    return (
        letter.attribute("Request-Id")
        or call_id(letter)
        or letter.attribute("Original-Message-Id")
        or letter.message_id
    )


def known_as(letter: Letter) -> frozenset[str | None]:
    """Every id that a dead letter is known by."""
    return frozenset((letter.message_id, letter.attribute("Original-Message-Id"), request_id_of(letter)))


def status_objects(settings: Settings) -> StatusObjects | None:
    """Where the settings keep the status of requests; None where they keep none."""
    if settings.status_prefix is None or not settings.s3_destination_bucket:
        return None
    return StatusObjects(brief_client("s3", settings), settings.s3_destination_bucket, settings.status_prefix)


def of_status(status: JobStatus | None) -> Ending | None:
    """The ending that a status tells; None of a job that runs, or is not known."""
    if status is None or not status.ended:
        return None
    return Ending(status.state, status.notification or {"status": status.state, "request_id": status.request_id})


def dead_letter(settings: Settings, request_id: str) -> Ending | None:
    """The ending that the dead-letter queue tells; None without one, without such a letter, or where it can't be read.

    A look: nothing is taken away.
    """
    try:
        return _dead_letter(settings, request_id)
    except (QueueUnavailable, ClientError, BotoCoreError):  # who may watch need not have a right on it
        return None


def _dead_letter(settings: Settings, request_id: str) -> Ending | None:
    source = open_queue(
        settings.sqs_source_queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_SOURCE_QUEUE"
    )
    dead = source.dead_letter_queue()
    if dead is None:
        return None
    with look_into(dead) as look:
        for letter in look.all(limit=MOST_LETTERS):
            if request_id in known_as(letter):
                told = {"status": "failed", "error": reason_of(letter), "request_id": request_id_of(letter)}
                return Ending("failed", told)
    return None
