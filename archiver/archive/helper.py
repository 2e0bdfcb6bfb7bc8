"""One archive, many workers, as a helper sees it: it builds chunks of another worker's job and leaves their records.

Nothing of this may end a job: whatever keeps a helper from a chunk, the builder builds the chunk itself, and meets the
reason where it is a lasting one. Nor may an invitation, which anybody can write who may send to the queue, lead further
than a payload does: the plan lies where no payload reaches, and all that it names is judged anew.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from archiver.archive.checksums import Checksums
from archiver.archive.crew import HELPERS_CLAIM, PLAN, CrewObjects, SharedUpload, chunk_name, clear
from archiver.archive.crew_plan import MAX_BLOCK, Invitation, StretchPlan, digest_of, read_block
from archiver.archive.crew_record import Record, pieces, write_record
from archiver.archive.job import Services
from archiver.archive.parallel import open_threads
from archiver.archive.parts import READING, SHARED_PARTS, Alone, Carry, CopiesRefused, PartBuilder
from archiver.archive.plan import Part
from archiver.archive.storage import ArchiveStore, SourceObject, UploadedPart, UploadGone
from archiver.archive.streamed_body import PartBody
from archiver.archive.traffic import Traffic
from archiver.errors import LimitExceeded
from archiver.logs import get_logger
from archiver.zipformat.entry import Entry

log = get_logger(__name__)


class Needless(Exception):
    """There is nothing to be built, or not by us; the message says why. No fault of anybody's."""


@dataclass(frozen=True, slots=True)
class Help:
    """What a helper did: chunks, parts, their bytes, and seconds."""

    chunks: int
    parts: int
    bytes: int
    seconds: float


def help_build(invitation: Invitation, *, services: Services, redelivered: bool = False) -> Help:
    """Build what nobody has begun of an invitation's stretch, upload the parts and leave a record of each chunk.

    ``redelivered``: an earlier receive of the invitation may have claimed chunks and died. Raises ``Needless``,
    ``LimitExceeded`` where the invitation or the plan asks for what no payload may, and what keeps the chunks from
    being built.
    """
    crew = services.crew
    if crew is None:
        raise Needless("SQS_CREW_QUEUE is not set")
    began = time.monotonic()
    services.destinations.check(invitation.bucket, invitation.key)
    if SharedUpload(invitation.bucket, invitation.key, invitation.upload_id).folder != invitation.folder:
        raise LimitExceeded("the plan is that of another upload")
    # Helpers begin with the last chunk, and the builder comes to it at the end. Most invitations that are received late
    # cost this one look.
    if not redelivered and crew.objects.has(invitation.folder, chunk_name(invitation.last)):
        raise Needless("others have begun it")
    plan = _read_plan(invitation, crew.objects, services)
    traffic, options = Traffic(), services.options
    checksums = _Noted(plan.layout.entries)
    upload = _Joined(services.archives(invitation.bucket, traffic), key=invitation.key, upload_id=invitation.upload_id)
    stretch = _Stretch(plan, invitation, crew.objects, checksums, upload.parts, redelivered=redelivered)
    with open_threads(parts=1, reads=1, copies=options.copy_concurrency) as threads:
        builder = PartBuilder(
            layout=plan.layout,
            sources=plan.sources,
            checksums=checksums,
            store=services.sources(traffic),
            upload=upload,
            threads=threads,
            carry=Carry(0),
            parts_in_flight=min(options.parts_in_flight, SHARED_PARTS),
            memory=options.memory,
            on_part=stretch.on_part,
            reading=threading.Semaphore(READING),
            streams=options.streams,
        )
        try:
            built = builder.follow(stretch)
        except UploadGone:
            stretch.forget()
            raise Needless("the upload is over") from None
        except CopiesRefused as refusal:
            raise Needless(f"S3 refuses copies: {next(iter(refusal.refused.values()))}") from None
    if not built:
        raise Needless("others have begun it")
    return Help(stretch.recorded, len(built), sum(part.size for part in built.values()), time.monotonic() - began)


def _read_plan(invitation: Invitation, objects: CrewObjects, services: Services) -> StretchPlan:
    if not 0 < invitation.stop - invitation.start <= MAX_BLOCK:
        raise LimitExceeded(f"a block of bytes {invitation.start} to {invitation.stop}")
    block = objects.get(invitation.folder, PLAN, invitation.start, invitation.stop)
    if block is None:
        raise Needless("the job is over")
    if digest_of(block) != invitation.digest:
        raise Needless("the plan is another")
    try:
        plan = read_block(block, zone=services.options.zone)
    except ValueError as error:
        raise Needless(f"the plan can't be read: {error}") from None
    access = services.limits.access
    for source in plan.sources:
        if complaint := access.complaint(source.location):
            raise LimitExceeded(f"{source}: {complaint}")
    return plan


class _Noted(Checksums):
    """Keeps the CRC32 of each piece: by entry, and where in its content the piece starts."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(entries)
        self.pieces: dict[tuple[int, int], int] = {}

    def learn_all(self, pieces: Iterable[tuple[int, int, int, int]]) -> None:
        taken = list(pieces)
        super().learn_all(taken)
        self.pieces |= {(entry, start): crc32 for entry, start, crc32, _ in taken}


class _Joined:
    """Another worker's upload: nothing in it is known to be ours but the ``parts`` that we put."""

    begun = True

    def __init__(self, store: ArchiveStore, *, key: str, upload_id: str) -> None:
        self._store = store
        self._key = key
        self._id = upload_id
        self.parts: dict[int, UploadedPart] = {}

    def uploaded(self, number: int, size: int) -> UploadedPart | None:  # noqa: ARG002 a target's arguments
        return None

    def put(self, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        put = self.parts[number] = self._store.put_part(self._key, self._id, number, body, crc32=crc32)
        return put

    def copy(self, number: int, source: SourceObject, start: int, stop: int) -> UploadedPart:
        copied = self.parts[number] = self._store.copy_part(self._key, self._id, number, source, start, stop)
        return copied


class _Stretch:
    """The agenda of a helper: chunks from the back, since the builder comes from the front, each claimed first."""

    def __init__(
        self,
        plan: StretchPlan,
        invitation: Invitation,
        objects: CrewObjects,
        checksums: _Noted,
        uploaded: Mapping[int, UploadedPart],
        *,
        redelivered: bool,
    ) -> None:
        self._plan = plan
        self._invitation = invitation
        self._objects = objects
        self._checksums = checksums
        self._uploaded = uploaded
        self._redelivered = redelivered
        self._lock = threading.Lock()
        self._there: dict[str, int] | None = None
        self._chunk_of: dict[int, int] = {}
        self._left: dict[int, int] = {}
        #: Chunks that have their record.
        self.recorded = 0
        self.brought: Mapping[int, UploadedPart] = {}

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        if self._redelivered:
            self._look()
        for number, parts in reversed(self._plan.chunks.items()):
            if stopped():
                return
            if not self._claim(number):
                continue
            self._left[number] = len(parts)
            self._chunk_of.update((part.number, number) for part in parts)
            yield from Alone(parts).parts(stopped)

    def on_part(self, part: Part) -> None:
        """A part is there; with the last one of a chunk its record is written."""
        number = self._chunk_of[part.number]
        with self._lock:
            self._left[number] -= 1
            if self._left[number]:
                return
        self._record(number)

    def forget(self) -> None:
        """Delete what was claimed and told here: the job, which is over, may have cleared the folder before."""
        clear(self._objects, self._invitation.folder, [chunk_name(number) for number in self._left])

    def _look(self) -> None:
        self._there = self._objects.sizes(self._invitation.folder)

    def _claim(self, number: int) -> bool:
        """Whether the chunk is ours."""
        name = chunk_name(number)
        if self._there is not None and (size := self._there.get(name)) is not None:
            # What an earlier receive of the invitation claimed and left is ours as well.
            return self._redelivered and size == len(HELPERS_CLAIM)
        if self._objects.put(self._invitation.folder, name, HELPERS_CLAIM, new=True):
            return True
        if self._there is None:
            self._look()  # where one has been begun there are more
        return False

    def _record(self, number: int) -> None:
        parts = self._plan.chunks[number]
        told = list(pieces(self._plan.layout, parts))
        if not self._checksums.refuted().keys().isdisjoint(piece.entry for piece in told):
            log.warning("chunk without a record: bytes are not what S3 says", chunk=number)
            return
        known = self._checksums.pieces
        crc32s = [known[piece.entry, piece.start] for piece in told]
        uploaded = [
            replace(self._uploaded[part.number], crc32=known[part.entry, part.source_start])
            if part.entry is not None
            else self._uploaded[part.number]
            for part in parts
        ]
        record = Record(self._invitation.digest, tuple(uploaded), crc32s)
        self._objects.put(self._invitation.folder, chunk_name(number), write_record(record))
        with self._lock:
            self.recorded += 1
