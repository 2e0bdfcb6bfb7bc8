"""One archive, many workers, as the builder sees it: it invites others to build chunks, and takes what they bring.

The builder alone answers for the job. It goes through its plan from the front, while others are sent chunks from the
back. At the end it waits for chunks that others have claimed, but not for long: what nobody brings in time it builds
itself. A part's bytes follow from the plan alone, so that a chunk that is built twice is no harm.

What of this fails, the builder does without: nothing here raises for a fault of the storage or of the queue.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import accumulate

from archiver.archive.agenda import copies_first
from archiver.archive.blueprint import Blueprint
from archiver.archive.checksums import Checksums
from archiver.archive.chunks import Chunk, Cut, Turn, turns
from archiver.archive.crew import AHEAD, BATCH, BUILDERS_CLAIM, PLAN, Host, SharedUpload, chunk_name, clear, is_record
from archiver.archive.crew_plan import Invitation, digest_of, write_block
from archiver.archive.crew_record import check_record, read_record
from archiver.archive.parallel import JobThreads, batched
from archiver.archive.plan import Part
from archiver.archive.storage import UploadedPart
from archiver.archive.width import Width
from archiver.errors import ArchiverError
from archiver.logs import get_logger

#: Between two looks at what has come, in seconds: while there is other work, and, at first and at last, while there is
#: none.
LOOK_SECONDS = 2.0
WAIT_SECONDS = 0.05
MOST_WAIT_SECONDS = 0.5
#: Records that are read at once. While no more chunks are missing each is asked for by its name, which takes S3 less
#: time than a list.
READERS = 8
#: How long the builder waits for a chunk that another has claimed: so many times what it takes itself, and at least and
#: at most so many seconds.
PATIENCE = 3.0
PATIENCE_SECONDS = 5.0
MOST_PATIENCE_SECONDS = 120.0

log = get_logger(__name__)


class Sharing:
    """One plan's way through the crew. ``width`` is what it is built with; ``on_part`` is told of each part that others
    bring.

    Used by one thread, besides its own, which send the invitations and read records.
    """

    def __init__(
        self,
        host: Host,
        shared: Cut,
        blueprint: Blueprint,
        upload: SharedUpload,
        *,
        checksums: Checksums,
        width: Width,
        on_part: Callable[[Part], None],
    ) -> None:
        self._host = host
        self._crew = host.crew
        self._cut = shared
        self._blueprint = blueprint
        self._upload = upload
        self._checksums = checksums
        self._width = width
        self._on_part = on_part
        self._folder = upload.folder
        # One that another worker with the same message can't take for its own.
        self._own_claim = BUILDERS_CLAIM + secrets.token_hex(3).encode()
        self._turns = turns(shared.stretches)
        self._digests: dict[int, str | None] = {}  # of the block of each chunk's stretch
        self._waiting: dict[int, Chunk] = {chunk.number: chunk for chunk in shared.chunks}
        self._seen: dict[int, float] = {}  # chunks that another has claimed, since when we know
        self._useless: set[int] = set()  # chunks whose record is none
        self._asked: dict[int, Future[bool]] = {}  # claims that are under way, by the chunk's number
        self._looked_at = host.crew.clock()
        self._sees = True  # whether the last look has shown something
        self._began = host.crew.clock()
        self._own_weight = 0
        self._pace = 0.0  # seconds for each byte of weight
        self._stopped = threading.Event()
        self._threads = JobThreads(1 + READERS, "crew")
        #: The parts that others have brought, by number.
        self.brought: dict[int, UploadedPart] = {}

    def open(self, *, resumed: bool) -> None:
        """Take what an earlier attempt left, write the plan and invite, the latter in a thread of its own."""
        log.info("others are invited", chunks=len(self._cut.chunks), turns=len(self._turns))
        blocks: list[bytes | None] = []
        for stretch in self._cut.stretches:
            block = write_block(self._blueprint.layout, self._blueprint.sources, stretch)
            blocks.append(block)
            digest = None if block is None else digest_of(block)
            self._digests.update((chunk.number, digest) for chunk in stretch)
        if resumed:
            self._look()
            self._forget_claims()
        self._threads.submit(self._invite, blocks)

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        """What is to be built here, in its order: copies of a run before its literal parts.

        What others bring meanwhile is in ``brought``. Ends early once ``stopped`` says so.
        """
        yield from copies_first(self._cut.kept)
        for chunk in self._cut.chunks:
            self._look(every=LOOK_SECONDS)
            if stopped():
                return
            if chunk.number in self._waiting and self._claim(chunk):
                yield from self._own(chunk)
                # Not later: while it waits its patience would grow as fast as the time that it waits.
                self._own_weight += chunk.weight
                self._pace = (self._crew.clock() - self._began) / self._own_weight
        began = self._crew.clock()
        while self._waiting and not stopped():
            self._look_for_the_last()
            for chunk in list(self._waiting.values()):
                if self._is_overdue(chunk):
                    log.info("a chunk is not brought in time: built here", chunk=chunk.number)
                    yield from self._own(chunk)
                    break
            else:
                if self._waiting:
                    # The longer it takes, the less a moment matters.
                    waited = self._crew.clock() - began
                    self._crew.wait(self._stopped, min(MOST_WAIT_SECONDS, max(WAIT_SECONDS, waited / 20)))
        yield from copies_first(self._cut.late)

    def close(self, *, over: bool) -> None:
        """End the invitations; with ``over``, which no attempt goes on with, delete what was shared."""
        self._stopped.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        if not over:
            return
        clear(self._crew.objects, self._folder, [PLAN, *(chunk_name(chunk.number) for chunk in self._cut.chunks)])

    def _invite(self, blocks: Sequence[bytes | None]) -> None:
        try:
            self._crew.objects.put(self._folder, PLAN, b"".join(block for block in blocks if block is not None))
            self._send(blocks)
        except ArchiverError as error:
            log.warning("others can't be invited: the job goes on alone", reason=str(error))
        except Exception:
            log.exception("others can't be invited: the job goes on alone")

    def _send(self, blocks: Sequence[bytes | None]) -> None:
        """Invite to all stretches of which something is left, as far as we know."""
        starts = [0, *accumulate(0 if block is None else len(block) for block in blocks)]
        due = [turn for turn in self._turns if blocks[turn.stretch] is not None and self._is_left(turn.stretch)]
        for batch in batched(enumerate(due), BATCH):
            if self._stopped.is_set():
                return
            self._crew.queue.send(
                [self._invitation(turn, number, len(due), starts) for number, turn in batch],
                correlation_id=self._host.correlation_id,
            )

    def _is_left(self, stretch: int) -> bool:
        """Whether there is a chunk of the stretch that nobody has begun."""
        return any(map(self._is_free, self._cut.stretches[stretch]))

    def _is_free(self, chunk: Chunk) -> bool:
        """Whether nobody has begun it, nor have we asked for it, as far as we know."""
        number = chunk.number
        return number in self._waiting and number not in self._seen and number not in self._asked

    def _invitation(self, turn: Turn, number: int, count: int, starts: Sequence[int]) -> Invitation:
        upload, stretch = self._upload, self._cut.stretches[turn.stretch]
        digest = self._digests[turn.begin]
        assert digest is not None
        return Invitation(
            request_id=self._host.request_id,
            bucket=upload.bucket,
            key=upload.key,
            upload_id=upload.upload_id,
            folder=self._folder,
            number=number,
            turns=count,
            first=stretch[0].number,
            last=stretch[-1].number,
            begin=turn.begin,
            start=starts[turn.stretch],
            stop=starts[turn.stretch + 1],
            digest=digest,
        )

    def _own(self, chunk: Chunk) -> Iterator[Part]:
        del self._waiting[chunk.number]
        yield from copies_first(chunk.parts)

    def _claim(self, chunk: Chunk) -> bool:
        """Whether the chunk is ours; also where that can't be written down."""
        if chunk.number in self._seen:
            return False
        asked = self._asked.pop(chunk.number, None) or self._ask(chunk)
        if self._width.is_wide:
            self._ask_ahead(chunk)
        if asked.result():
            return True
        self._seen[chunk.number] = self._crew.clock()
        # Where somebody else is, there may be more by now: to try each of them takes as long as to look at all.
        self._look(every=0.0 if self._sees else LOOK_SECONDS)
        return False

    def _ask(self, chunk: Chunk) -> "Future[bool]":
        return self._threads.submit(self._put_claim, chunk)

    def _ask_ahead(self, chunk: Chunk) -> None:
        """Claim some of those behind a chunk that is claimed."""
        for other in self._cut.chunks[chunk.number + 1 : chunk.number + 1 + AHEAD]:
            if self._is_free(other):
                self._asked[other.number] = self._ask(other)

    def _put_claim(self, chunk: Chunk) -> bool:
        try:
            return self._crew.objects.put(self._folder, chunk_name(chunk.number), self._own_claim, new=True)
        except ArchiverError as error:
            log.debug("a chunk is not claimed", chunk=chunk.number, reason=str(error))
            return True

    def _forget_claims(self) -> None:
        """Those of an earlier attempt are mostly those of a builder that is no more; so are records of no use."""
        try:
            self._crew.objects.delete(
                self._folder, [chunk_name(number) for number in self._seen if number in self._waiting]
            )
        except ArchiverError as error:
            log.debug("claims of an earlier attempt stay", reason=str(error))
        self._seen.clear()
        self._useless.clear()

    def _is_overdue(self, chunk: Chunk) -> bool:
        if chunk.number in self._useless:
            return True
        patience = min(MOST_PATIENCE_SECONDS, max(PATIENCE_SECONDS, PATIENCE * self._pace * chunk.weight))
        return self._crew.clock() - self._seen.get(chunk.number, self._began) > patience

    def _look(self, *, every: float = 0.0) -> None:
        """Take what has come, if the last look is so many seconds ago."""
        now = self._crew.clock()
        if now - self._looked_at < every:
            return
        self._looked_at = now
        self._sees = False
        try:
            sizes = self._crew.objects.sizes(self._folder)
        except ArchiverError as error:
            log.debug("what others have brought can't be seen", reason=str(error))
            return
        self._sees = True
        # What is asked for shows its own claim.
        others = [chunk for chunk in self._waiting.values() if chunk.number not in self._asked]
        there = [chunk for chunk in others if chunk_name(chunk.number) in sizes]
        for chunk in there:
            self._seen.setdefault(chunk.number, now)
        self._take_all([chunk for chunk in there if is_record(sizes[chunk_name(chunk.number)])])

    def _look_for_the_last(self) -> None:
        """Take what has come while nothing else is left to do."""
        if len(self._waiting) > READERS:
            self._look()
        else:
            self._take_all(self._waiting.values())

    def _take_all(self, chunks: Iterable[Chunk]) -> None:
        """Take the records that these chunks have; a few are read at once."""
        for batch in batched([chunk for chunk in chunks if chunk.number not in self._useless], READERS):
            for chunk, body in zip(batch, self._threads.map(self._record, batch), strict=True):
                if body is not None:
                    self._take(chunk, body)

    def _record(self, chunk: Chunk) -> bytes | None:
        """The chunk's record; None where there is none, as far as we know."""
        try:
            body = self._crew.objects.get(self._folder, chunk_name(chunk.number))
        except ArchiverError as error:
            # That says nothing of the record, nor whether there is one.
            log.debug("what others have brought can't be seen", reason=str(error))
            return None
        return body if body is not None and is_record(len(body)) else None

    def _take(self, chunk: Chunk, body: bytes) -> None:
        try:
            record = read_record(body)
            if record.digest != self._digests.get(chunk.number):
                raise ValueError("it is the record of another chunk")
            for piece, crc32 in check_record(record, self._blueprint.layout, chunk.parts):
                self._checksums.learn(piece.entry, piece.start, crc32, piece.stop - piece.start)
        except (ArchiverError, ValueError) as error:
            log.warning("a record is of no use: its chunk is built here", chunk=chunk.number, reason=str(error))
            self._useless.add(chunk.number)
            return
        del self._waiting[chunk.number]
        self.brought |= {part.number: part for part in record.parts}
        for part in chunk.parts:
            self._on_part(part)
