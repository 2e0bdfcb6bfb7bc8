"""One archive, many workers, as a helper sees it: it builds chunks of another worker's job and leaves their records.

Nothing of this may end a job: whatever keeps a helper from a chunk, the builder builds the chunk itself, and meets the
reason where it is a lasting one. Nor may an invitation, which anybody can write who may send to the queue, lead further
than a payload does: the plan lies where no payload reaches, and all that it names is judged anew.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache

from archiver.archive.agenda import Alone
from archiver.archive.carry import Carry
from archiver.archive.checksums import Checksums
from archiver.archive.chunks import COPY_WEIGHT, TURN, TURN_SECONDS, next_chunk, weight_of
from archiver.archive.crew import (
    AHEAD,
    PLAN,
    CrewObjects,
    SharedUpload,
    chunk_name,
    clear,
    helpers_claim,
)
from archiver.archive.crew_plan import MAX_BLOCK, Invitation, StretchPlan, digest_of, read_block
from archiver.archive.crew_record import Record, pieces, write_record
from archiver.archive.parallel import JobThreads, open_threads
from archiver.archive.parts import READING, CopiesRefused, PartBuilder
from archiver.archive.plan import Part
from archiver.archive.services import Services
from archiver.archive.storage import ArchiveStore, SourceObject, UploadedPart, UploadGone
from archiver.archive.streamed_body import PartBody
from archiver.archive.traffic import Traffic
from archiver.archive.width import Width
from archiver.errors import ArchiverError, LimitExceeded
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
    """Build what nobody has begun of an invitation's stretch, a turn of it at most, and leave a record of each chunk.

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
    with JobThreads(1 + AHEAD, "crew") as threads, closing(_Claims(crew.objects, invitation, threads)) as claims:
        # The plan comes in meanwhile: most invitations that are received late cost these looks.
        reading = threads.submit(_read_plan, invitation, crew.objects, services)
        if redelivered:
            claims.find_own()
        elif crew.objects.has(invitation.folder, chunk_name(invitation.begin)):
            claims.look()
        if not claims.are_left:
            raise Needless("others have begun it")
        return _built(reading.result(), claims, services=services, began=began)


def _built(plan: StretchPlan, claims: "_Claims", *, services: Services, began: float) -> Help:
    invitation = claims.invitation
    if list(plan.chunks) != list(range(invitation.first, invitation.last + 1)):
        raise LimitExceeded(f"the plan has other chunks than {invitation.first} to {invitation.last}")
    traffic, options = Traffic(), services.options
    checksums = _Noted(plan.layout.entries)
    upload = _Joined(services.archives(invitation.bucket, traffic), key=invitation.key, upload_id=invitation.upload_id)
    width = options.width(shared=True)
    turn = _Turn(plan, claims, checksums, upload.parts, width, until=began + TURN_SECONDS)
    with open_threads(parts=1, reads=1, copies=options.copy_concurrency) as threads:
        builder = PartBuilder(
            layout=plan.layout,
            sources=plan.sources,
            checksums=checksums,
            store=services.sources(traffic),
            upload=upload,
            threads=threads,
            carry=Carry(0),
            width=width,
            memory=options.memory,
            on_part=turn.on_part,
            reading=threading.Semaphore(READING),
            streams=options.streams,
        )
        try:
            built = builder.follow(turn)
        except UploadGone:
            turn.forget()
            raise Needless("the upload is over") from None
        except Needless:
            turn.forget()
            raise
        except CopiesRefused as refusal:
            # The builder meets the same, and may have cleared the folder before some of these.
            claims.let_go(turn.unfinished)
            raise Needless(f"S3 refuses copies: {next(iter(refusal.refused.values()))}") from None
    if not built:
        raise Needless("others have begun it")
    return Help(turn.recorded, len(built), sum(part.size for part in built.values()), time.monotonic() - began)


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

    def open(self) -> str:
        return self._id

    def uploaded(self, number: int, size: int) -> UploadedPart | None:  # noqa: ARG002 a target's arguments
        return None

    def put(self, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        put = self.parts[number] = self._store.put_part(self._key, self._id, number, body, crc32=crc32)
        return put

    def copy(self, number: int, source: SourceObject, start: int, stop: int) -> UploadedPart:
        copied = self.parts[number] = self._store.copy_part(self._key, self._id, number, source, start, stop)
        return copied


class _Claims:
    """Which chunks of an invitation's stretch are ours to build. Used by one thread, which asks for them in others."""

    def __init__(self, objects: CrewObjects, invitation: Invitation, threads: JobThreads) -> None:
        self.invitation = invitation
        self.objects = objects
        self._threads = threads
        self._asked: deque[tuple[int, Future[bool]]] = deque()
        # As far as we know.
        self._left = list(range(invitation.first, invitation.last + 1))
        self._own: list[int] = []
        self._claim = helpers_claim(invitation.number, secrets.token_hex(3))
        self._looking: Future[dict[str, int]] | None = None
        self._after: int | None = invitation.begin + 1

    @property
    def are_left(self) -> bool:
        """Whether there may be something to build."""
        return bool(self._left or self._own)

    def look(self) -> dict[str, int]:
        """See what others have begun; returns all that is there, with sizes in bytes.

        Raises ``Needless`` once the job is over: what it cleared anybody could claim.
        """
        return self._take(self.objects.sizes(self.invitation.folder))

    def _take(self, there: dict[str, int]) -> dict[str, int]:
        if PLAN not in there:
            raise Needless("the job is over")
        self._left = [number for number in self._left if chunk_name(number) not in there]
        return there

    def find_own(self) -> None:
        """Look, and take what an earlier receive of the invitation has claimed and left."""
        there = self.look()
        claim = helpers_claim(self.invitation.number)
        chunks = range(self.invitation.first, self.invitation.last + 1)
        # Others' are mostly of another length: those of the builder, and of other turns.
        alike = [number for number in chunks if there.get(chunk_name(number)) == len(self._claim)]
        bodies = self._threads.map(lambda number: self.objects.get(self.invitation.folder, chunk_name(number)), alike)
        self._own += [number for number, body in zip(alike, bodies, strict=True) if body and body.startswith(claim)]

    @property
    def asked(self) -> list[int]:
        """Chunks that were asked for, and are nobody's yet as far as we know."""
        return [number for number, _ in self._asked]

    def ask(self) -> bool:
        """Claim one more, to be taken later; False where none is left, or what is left is only being looked for."""
        if self._looking is not None:
            if self._asked and not self._looking.done():
                return False
            looking, self._looking = self._looking, None
            self._take(looking.result())
            self._after = None
        number = next_chunk(self._left, last=self.invitation.last, after=self._after)
        if number is None:
            return False
        self._after = number
        self._left.remove(number)
        name = chunk_name(number)
        put = self._threads.submit(self.objects.put, self.invitation.folder, name, self._claim, new=True)
        self._asked.append((number, put))
        return True

    def next(self) -> int | None:
        """A chunk that is ours; None where none is left."""
        if self._own:
            return self._own.pop()
        while self._asked or self.ask():
            number, put = self._asked.popleft()
            if put.result():
                return number
            # Where somebody else is, there may be more by now. What was asked for goes on meanwhile.
            if self._looking is None:
                self._looking = self._threads.submit(self.objects.sizes, self.invitation.folder)
        return None

    def close(self) -> None:
        """Let go of what was asked for and not taken."""
        asked, self._asked = self._asked, deque()
        for _, put in asked:
            put.cancel()
        self.let_go([number for number, put in asked if not put.cancelled() and _is_granted(put)])

    def let_go(self, numbers: Sequence[int]) -> None:
        """Delete our claims of these chunks."""
        names = [chunk_name(number) for number in numbers if self._is_still_ours(number)]
        if names:
            clear(self.objects, self.invitation.folder, names)

    def _is_still_ours(self, number: int) -> bool:
        """Whether it is our claim that is there: another receive of the message may have made a record of it."""
        try:
            return self.objects.get(self.invitation.folder, chunk_name(number)) == self._claim
        except ArchiverError:
            return False


def _is_granted(put: "Future[bool]") -> bool:
    try:
        return put.result()
    except ArchiverError:
        return False


class _Turn:
    """The agenda of a helper: chunks until it has built enough of them, each claimed first.

    Until the clock says ``until``, only copies that are under way count.
    """

    def __init__(
        self,
        plan: StretchPlan,
        claims: _Claims,
        checksums: _Noted,
        uploaded: Mapping[int, UploadedPart],
        width: Width,
        *,
        until: float,
    ) -> None:
        self._plan = plan
        self._width = width
        self._until = until
        self._claims = claims
        self._checksums = checksums
        self._uploaded = uploaded
        self._lock = threading.Lock()
        self._chunk_of: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._weight_of = cache(lambda number: weight_of(plan.layout, plan.chunks[number]))
        self._copies = 0  # that are begun, and not there
        #: Chunks that have their record.
        self.recorded = 0
        self.brought: Mapping[int, UploadedPart] = {}

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        weight = 0
        while (self._claims.asked or self._has_room(weight)) and not stopped():
            ahead = AHEAD if self._width.is_wide else 0
            while len(self._claims.asked) <= ahead and self._has_room(weight) and self._claims.ask():
                pass
            number = self._claims.next()
            if number is None:
                return
            parts = self._plan.chunks[number]
            weight += self._weight_of(number)
            with self._lock:
                self._left[number] = len(parts)
                self._copies += sum(part.entry is not None for part in parts)
            self._chunk_of.update((part.number, number) for part in parts)
            yield from Alone(parts).parts(stopped)

    def _has_room(self, weight: int) -> bool:
        """Whether the turn has room for one more chunk beside what was asked for, after so much."""
        if time.monotonic() < self._until:
            # Literal parts wait for memory, and copies for nothing: all of a stretch could be taken on at once.
            weight = COPY_WEIGHT * self._copies
        return weight + sum(map(self._weight_of, self._claims.asked)) < TURN

    @property
    def unfinished(self) -> list[int]:
        """The chunks that it has begun, and of which a part is missing."""
        with self._lock:
            return [number for number, left in self._left.items() if left]

    def on_part(self, part: Part) -> None:
        """A part is there; with the last one of a chunk its record is written."""
        number = self._chunk_of[part.number]
        with self._lock:
            self._copies -= part.entry is not None
            self._left[number] -= 1
            if self._left[number]:
                return
        self._record(number)

    def forget(self) -> None:
        """Delete what was claimed and told here: the job, which is over, may have cleared the folder before."""
        clear(self._claims.objects, self._claims.invitation.folder, [chunk_name(number) for number in self._left])

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
        invitation = self._claims.invitation
        record = Record(invitation.digest, tuple(uploaded), crc32s)
        self._claims.objects.put(invitation.folder, chunk_name(number), write_record(record))
        with self._lock:
            self.recorded += 1
