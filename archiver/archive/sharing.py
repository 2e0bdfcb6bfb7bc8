"""One archive, many workers, as the builder sees it: it invites others to build chunks, and takes what they bring.

The builder alone answers for the job. It goes through its plan from the front, while others are sent chunks from the
back. At the end it waits for chunks that others have claimed, but not for long: what nobody brings in time it builds
itself. A part's bytes follow from the plan alone, so that a chunk that is built twice is no harm.

What of this fails, the builder does without: nothing here raises for a fault of the storage or of the queue.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from itertools import islice

from archiver.archive.agenda import copies_first
from archiver.archive.blueprint import Blueprint
from archiver.archive.checksums import Checksums
from archiver.archive.chunks import Chunk, Cut
from archiver.archive.crew import AHEAD, BUILDERS_CLAIM, PLAN, Host, SharedUpload, chunk_name, clear, is_record
from archiver.archive.crew_record import check_record, read_record
from archiver.archive.incoming import READERS, Incoming
from archiver.archive.inviting import Inviting, tell_alone
from archiver.archive.parallel import JobThreads
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
#: How long the builder waits for a chunk that another has claimed: so many times what it takes itself, and at least and
#: at most so many seconds.
PATIENCE = 3.0
PATIENCE_SECONDS = 5.0
MOST_PATIENCE_SECONDS = 120.0

log = get_logger(__name__)


class Sharing:
    """One plan's way through the crew. ``upload`` begins the upload, or goes on with one; ``width`` is what the plan is
    built with; ``on_part`` is told of each part that others bring.

    Used by one thread, which waits for nothing while it has something to build: invitations, claims and what others
    bring go by threads of this.
    """

    def __init__(
        self,
        host: Host,
        shared: Cut,
        blueprint: Blueprint,
        upload: Callable[[], SharedUpload],
        *,
        checksums: Checksums,
        width: Width,
        on_part: Callable[[Part], None],
    ) -> None:
        self._crew = host.crew
        self._cut = shared
        self._blueprint = blueprint
        self._upload = cache(upload)
        self._knows_folder = False
        self._checksums = checksums
        self._width = width
        self._on_part = on_part
        # One that another worker with the same message can't take for its own.
        self._own_claim = BUILDERS_CLAIM + secrets.token_hex(3).encode()
        self._waiting: dict[int, Chunk] = {chunk.number: chunk for chunk in shared.chunks}
        self._seen: dict[int, float] = {}  # chunks that another has claimed, since when we know
        self._useless: set[int] = set()  # chunks whose record is none
        self._asked: dict[int, Future[bool]] = {}  # claims that are under way, by the chunk's number
        self._has_met = False  # claims of others, and has not seen yet which others there are
        self._looked_at = host.crew.clock()
        self._began = host.crew.clock()
        self._own_weight = 0
        self._pace = 0.0  # seconds for each byte of weight
        self._stopped = threading.Event()
        self._threads = JobThreads(2 + READERS, "crew")
        # Of their own: the parts wait for them, and for records nobody does.
        self._claiming = JobThreads(1 + AHEAD, "claim")
        self._inviting = Inviting(host, shared, blueprint, is_free=self._is_free, stopped=self._stopped)
        self._incoming = Incoming(self._crew.objects, lambda: self._folder, self._threads)
        self._opened: Future[None] | None = None
        #: The parts that others have brought, by number.
        self.brought: dict[int, UploadedPart] = {}

    def open(self, *, is_resumed: Callable[[], bool]) -> None:
        """Begin to invite others, in threads of its own: what the builder keeps waits for none of it."""
        self._opened = self._threads.submit(self._open, is_resumed)

    def _open(self, is_resumed: Callable[[], bool]) -> None:
        """Take what an earlier attempt left, write the plan, and have others invited."""
        upload = self._upload()
        self._knows_folder = True
        self._inviting.write()
        if is_resumed():
            self._look(wait=True)
            self._take_records(wait=True)
            self._forget_claims()
        self._threads.submit(self._inviting.invite, upload)

    def parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        """What is to be built here, in its order: copies of a run before its literal parts.

        What others bring meanwhile is in ``brought``. Ends early once ``stopped`` says so.
        """
        yield from copies_first(self._cut.kept)
        if self._is_open():
            yield from self._shared_parts(stopped)
        else:
            for chunk in self._cut.chunks:
                yield from self._own(chunk)
        if not stopped():
            yield from copies_first(self._cut.late)

    def _is_open(self) -> bool:
        """Whether the crew is there; where the upload is not, the parts, which need it, say what is wrong with it."""
        assert self._opened is not None
        error = self._opened.exception()
        if error is None:
            return True
        if self._knows_folder or not isinstance(error, Exception):
            raise error
        tell_alone(error)
        return False

    def _shared_parts(self, stopped: Callable[[], bool]) -> Iterator[Part]:
        self._began = self._crew.clock()
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

    def close(self, *, over: bool) -> None:
        """End the invitations; with ``over``, which no attempt goes on with, delete what was shared."""
        self._stopped.set()
        for threads in (self._claiming, self._threads):
            threads.shutdown(wait=True, cancel_futures=True)
        if not over or not self._knows_folder:
            return
        clear(self._crew.objects, self._folder, [PLAN, *(chunk_name(chunk.number) for chunk in self._cut.chunks)])

    @property
    def _folder(self) -> str:
        return self._upload().folder

    def _is_free(self, chunk: Chunk) -> bool:
        """Whether nobody has begun it, nor have we asked for it, as far as we know."""
        number = chunk.number
        return number in self._waiting and number not in self._seen and number not in self._asked

    def _own(self, chunk: Chunk) -> Iterator[Part]:
        del self._waiting[chunk.number]
        yield from copies_first(chunk.parts)

    def _claim(self, chunk: Chunk) -> bool:
        """Whether the chunk is ours; also where that can't be written down."""
        if self._has_met and chunk.number not in self._asked:
            # To try each of theirs would take as long as to see all of them.
            self._drop_refused(wait=True)
            self._look(every=LOOK_SECONDS, wait=True)
            self._has_met = False
        if chunk.number in self._seen:
            return False
        asked = self._asked.pop(chunk.number, None) or self._ask(chunk)
        if self._width.is_wide:
            self._ask_ahead(chunk)
        if asked.result():
            # Where that can't be written down, it may have been brought by now.
            return chunk.number in self._waiting
        self._meet([chunk.number])
        return False

    def _ask(self, chunk: Chunk) -> "Future[bool]":
        return self._claiming.submit(self._put_claim, chunk)

    def _ask_ahead(self, chunk: Chunk) -> None:
        """Claim some of those behind a chunk that is claimed."""
        self._drop_refused()
        if self._has_met:
            return
        free = filter(self._is_free, self._cut.chunks[chunk.number + 1 :])
        for other in islice(free, AHEAD - len(self._asked)):
            self._asked[other.number] = self._ask(other)

    def _drop_refused(self, *, wait: bool = False) -> None:
        """Ask no more for those that are others', as far as that is known by now, or with ``wait`` at all."""
        self._meet([number for number, asked in self._asked.items() if (wait or asked.done()) and not asked.result()])

    def _meet(self, numbers: Sequence[int]) -> None:
        """These are others'. Where one is there may be more: look, unless nothing can be seen."""
        for number in numbers:
            self._asked.pop(number, None)
            self._seen[number] = self._crew.clock()
        if numbers and not self._has_met:
            self._has_met = True
            self._look(every=0.0 if self._incoming.sees else LOOK_SECONDS)

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

    def _look(self, *, every: float = 0.0, wait: bool = False) -> None:
        """Begin to see what is there, if the last look is so many seconds ago, and take what has come; with ``wait``
        once a look that is under way has ended."""
        now = self._crew.clock()
        if now - self._looked_at >= every:
            self._looked_at = now
            self._incoming.look()
        sizes = self._incoming.seen(wait=wait)
        if sizes is not None:
            # What is asked for shows its own claim.
            for chunk in [chunk for chunk in self._waiting.values() if chunk.number not in self._asked]:
                size = sizes.get(chunk_name(chunk.number))
                if size is not None:
                    self._seen.setdefault(chunk.number, now)
                    if is_record(size):
                        self._read(chunk)
        self._take_records()

    def _look_for_the_last(self) -> None:
        """Take what has come while nothing else is left to do.

        Of a few chunks each record is asked for by its name, which takes S3 less time than a list.
        """
        if len(self._waiting) > READERS:
            self._look(wait=True)
        else:
            for chunk in self._waiting.values():
                self._read(chunk)
        self._take_records(wait=True)

    def _read(self, chunk: Chunk) -> None:
        if chunk.number not in self._useless:
            self._incoming.read(chunk.number)

    def _take_records(self, *, wait: bool = False) -> None:
        for number, body in self._incoming.records(wait=wait):
            if number in self._waiting:
                self._take(self._waiting[number], body)

    def _take(self, chunk: Chunk, body: bytes) -> None:
        try:
            record = read_record(body)
            if record.digest != self._inviting.digests.get(chunk.number):
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
