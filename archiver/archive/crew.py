"""One archive, many workers: whom a job invites, by what, and the names of what they share.

Who begins a chunk claims it first, by an object of the chunk's name that only one can create; its record takes the
claim's place once the chunk is built. The builder's way through it is ``archiver.archive.sharing``, a helper's
``archiver.archive.helper``.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archiver.archive.blueprint import Blueprint
from archiver.archive.chunks import Cut, chunk_weight, cut, weight_of
from archiver.archive.crew_plan import Invitation
from archiver.archive.storage import Body
from archiver.errors import ArchiverError
from archiver.logs import get_logger

#: Chunks that are claimed before their turn where parts are quick: what moves the bytes would run dry while S3 answers.
#: Elsewhere nobody takes what others could begin sooner.
AHEAD = 3
#: Messages of one batch. Source: API_SendMessageBatch.
BATCH = 10
PLAN = "plan"
#: What the builder's claims begin with; no claim is longer than ``MOST_CLAIM`` bytes, and each record is.
BUILDERS_CLAIM = b"b"
MOST_CLAIM = 16
#: What is said where a folder can't be cleared.
LEFT_BEHIND = "what was shared is not deleted: the lifecycle rule will"

log = get_logger(__name__)


class CrewObjects(Protocol):
    """What the crew's members share, by names in a folder. ``archiver.aws.crew`` has the real one.

    All raise ``StorageUnavailable`` or ``DestinationUnavailable``.
    """

    def put(self, folder: str, name: str, body: Body, *, new: bool = False) -> bool:
        """Write an object; with ``new`` only where there is none, or one of the same bytes.

        Whether it is there: it may have been written by a request whose answer was lost, and that was sent again.
        """

    def get(self, folder: str, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """An object's bytes [start, stop); None where there is no such object."""

    def has(self, folder: str, name: str) -> bool:
        """Whether there is an object of this name."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects of a folder, with their sizes in bytes."""

    def delete(self, folder: str, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are fine."""


class CrewQueue(Protocol):
    """Where invitations are sent. ``archiver.aws.crew`` has the real one."""

    def send(self, invitations: Sequence[Invitation], *, correlation_id: str | None) -> None:
        """Send up to ``BATCH`` invitations. Raises ``QueueUnavailable``."""


@dataclass(frozen=True, slots=True)
class Crew:
    """How a job invites others, from ``min_weight`` bytes on that it would have to move itself.

    ``clock`` is in seconds; ``wait`` waits so many seconds or until it is told to stop, and says whether it was.
    """

    objects: CrewObjects
    queue: CrewQueue
    min_weight: int
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], bool] = field(default=threading.Event.wait)

    def cut(self, blueprint: Blueprint) -> Cut | None:
        """How a plan is shared out; None where it is not worth it."""
        layout, parts = blueprint.layout, blueprint.parts
        weight = weight_of(layout, parts)
        if weight < self.min_weight:
            return None
        shared = cut(layout, blueprint.sources, parts, most=chunk_weight(weight, least_job=self.min_weight))
        return shared if shared.chunks else None

    def forget(self, bucket: str, key: str, upload_id: str) -> None:
        """Delete what was shared of an upload that nobody goes on with: by a list, for late helpers may have added."""
        clear(self.objects, SharedUpload(bucket, key, upload_id).folder)


@dataclass(frozen=True, slots=True)
class Host:
    """Who invites the crew: a job, by its request."""

    crew: Crew
    request_id: str
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class SharedUpload:
    """The upload that a job shares."""

    bucket: str
    key: str
    upload_id: str

    @property
    def folder(self) -> str:
        """Where its plan and records are: the same for each attempt that goes on with it, and nobody's guess."""
        return hashlib.sha256(f"{self.bucket}\n{self.key}\n{self.upload_id}".encode()).hexdigest()


def clear(objects: CrewObjects, folder: str, names: Sequence[str] | None = None) -> None:
    """Delete these objects of a folder, None: all that a list shows, as far as the storage lets us."""
    try:
        if names is None:
            names = list(objects.sizes(folder))
        if names:
            objects.delete(folder, names)
    except ArchiverError as error:
        log.warning(LEFT_BEHIND, reason=str(error))


def is_record(size: int) -> bool:
    """Whether an object of a chunk's name, of so many bytes, is no claim any more."""
    return size > MOST_CLAIM


def helpers_claim(turn: int, receive: str = "") -> bytes:
    """What the claims of a turn hold: if its message comes again, those that begin so are its own.

    ``receive``, of six characters, tells two of its receives apart, which may be at work at once.
    """
    return f"turn {turn} {receive}".encode()


def chunk_name(number: int) -> str:
    """What the claim and the record of a chunk are called."""
    return f"{number:05}"
