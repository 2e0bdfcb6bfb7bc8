"""What the archive begins with, read while the listing that shows it goes on.

Small objects are kept until a part asks for them: as a store, this hands over what it has and passes on all else. So
what was read ahead is compared with S3's CRC32 where everything is that is read, and what could not be read, whatever
the reason, is asked for by the build, which says what is the matter.

What is kept lies in the first ``room`` bytes of the archive, and the first parts free it. As long as it is kept, the
parts do without that much of the job's memory.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import accumulate, pairwise
from typing import NamedTuple

from archiver.archive.location import Location
from archiver.archive.memory import Lent, allocate
from archiver.archive.parallel import JobThreads
from archiver.archive.plan import MIB
from archiver.archive.storage import OnRead, Read, SourceObject, SourceReader
from archiver.archive.streamed_body import Arriving
from archiver.archive.streaming import SHORT
from archiver.logs import get_logger

#: Objects that are read together, and their bytes: their memory is freed once the last of them was handed over.
TOGETHER = 256
TOGETHER_BYTES = 4 * MIB
#: The share of a job's memory that may be read ahead: the first parts need the other one.
AHEAD_SHARE = 2
#: Bytes that an object takes beside its own: what is known of it, its place in memory, and its CRC32.
RECORD = 1024

log = get_logger(__name__)


def room_for(memory: int, *, part_size: int) -> int:
    """How many bytes may be read ahead of a job's ``memory``: two parts always have theirs."""
    return max(0, min(memory // AHEAD_SHARE, memory - 2 * part_size))


@contextmanager
def reading_ahead(store: SourceReader, threads: JobThreads, *, room: int) -> Iterator["ReadAhead"]:
    """A job's reading ahead, by threads of its own; what is still under way at the end is left."""
    ahead = ReadAhead(store, threads, room=room)
    try:
        yield ahead
    finally:
        ahead.close()
        threads.awaited = False


class _Left(Exception):
    """Nobody wants any more what comes."""


class ReadAhead:
    """The sources of ``store``; ``room`` bytes of them at most are read by the executor's threads before a part asks.

    ``lent`` counts what is kept.
    """

    def __init__(self, store: SourceReader, executor: Executor, *, room: int) -> None:
        self.lent = Lent()
        self._store = store
        self._executor = executor
        self._room = room
        self._lock = threading.Lock()
        self._kept: dict[Location, _Kept] = {}
        self._over = self._left = False

    def offer(self, sources: Iterable[SourceObject]) -> bool:
        """Objects that come next in the archive, as they are listed; False where there is no room for more."""
        batch: list[SourceObject] = []
        size = 0
        for source in self._worth(sources):
            if batch and (len(batch) == TOGETHER or size + source.size > TOGETHER_BYTES):
                self._begin(batch)
                batch, size = [], 0
            batch.append(source)
            size += source.size
        if batch:
            self._begin(batch)
        return self._room >= 0

    def end(self) -> None:
        """Begin nothing any more. What is under way goes on; whoever asks for it waits for it."""
        with self._lock:
            if self._over:
                return
            self._over = True
            batches = {id(kept.batch): kept.batch for kept in self._kept.values()}.values()
        for batch in batches:
            batch.future.cancel()
        with self._lock:
            left = [kept for kept in self._kept.values() if kept.batch.future.cancelled()]
            for kept in left:
                del self._kept[kept.source.location]
        for kept in left:
            self._let_go(kept)

    def close(self) -> None:
        """Begin nothing any more, and keep nothing; what is under way is given up at the next answer."""
        self._left = True
        self.end()
        self.forget([kept.source for kept in list(self._kept.values())])

    def forget(self, sources: Iterable[SourceObject]) -> None:
        """Keep these no longer: nobody will ask for them."""
        for source in sources:
            with self._lock:
                kept = self._kept.pop(source.location, None)
            if kept is not None:
                self._let_go(kept)

    def _worth(self, sources: Iterable[SourceObject]) -> Iterator[SourceObject]:
        """Those of the objects that are to be read, as far as there is room."""
        for source in sources:
            self._room -= source.size + RECORD
            if self._room < 0:
                return
            # Longer ones may be streamed, and a look tells whether an archived one can be read.
            if 0 < source.size < SHORT and not source.archived and source.location not in self._kept:
                yield source

    def _begin(self, sources: Sequence[SourceObject]) -> None:
        ends = list(accumulate((source.size for source in sources), initial=0))
        memory = memoryview(allocate(ends[-1]))
        reads = [
            Read(source, 0, memory[start:stop]) for source, (start, stop) in zip(sources, pairwise(ends), strict=True)
        ]
        batch = _Batch(reads)
        with self._lock:
            if self._over:
                return
            self.lent.take(batch.size)
            batch.future = self._executor.submit(self._read, batch)
            for number, source in enumerate(sources):
                self._kept[source.location] = _Kept(source, batch, number)

    def _read(self, batch: "_Batch") -> None:
        def came(number: int, crc32: int | None) -> None:
            if self._left:
                raise _Left
            batch.came(number, crc32)

        try:
            self._store.read_all(batch.reads, came)
        except _Left:
            pass
        except Exception as error:
            # Nobody has asked yet. Whoever does reads it, and says so.
            log.info("not read ahead", reason=str(error))

    def _let_go(self, kept: "_Kept") -> None:
        batch = kept.batch
        with self._lock:
            batch.left -= 1
            if batch.left:
                return
        self.lent.give(batch.size)

    # What a part asks for.

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]:
        """Fill the targets, as ``store.read_all`` does, with what is kept where it is: each is handed over once."""
        self.end()
        if not self._kept:
            return self._store.read_all(reads, on_read)
        found: list[int | None] = [None] * len(reads)

        def came(number: int, crc32: int | None) -> None:
            found[number] = crc32
            if on_read is not None:
                on_read(number, crc32)

        kept = {number: kept for number, read in enumerate(reads) if (kept := self._taken(read)) is not None}
        try:
            self._pass_on(reads, [number for number in range(len(reads)) if number not in kept], came)
            self._pass_on(
                reads, [number for number in kept if not self._handed(reads, number, kept[number], came)], came
            )
        finally:
            for one in kept.values():
                self._let_go(one)
        return found

    def _taken(self, read: Read) -> "_Kept | None":
        """What is kept of an object, which no other asks for from now on."""
        with self._lock:
            kept = self._kept.pop(read.source.location, None)
        if kept is None or (read.is_whole and kept.source.etag == read.source.etag):
            return kept
        self._let_go(kept)
        return None

    def _handed(self, reads: Sequence[Read], number: int, kept: "_Kept", came: OnRead) -> bool:
        """Fill the target of a read with what is kept, once it is there; False where it does not come."""
        with suppress(CancelledError):
            kept.batch.future.result()
        if kept.number not in kept.batch.crc32s:
            return False
        reads[number].target[:] = kept.batch.reads[kept.number].target
        came(number, kept.batch.crc32s[kept.number])
        return True

    def _pass_on(self, reads: Sequence[Read], numbers: Sequence[int], came: OnRead) -> None:
        if numbers:
            self._store.read_all(
                [reads[number] for number in numbers], lambda place, crc32: came(numbers[place], crc32)
            )

    # The rest of the store.

    def tells_crc32(self, bucket: str) -> bool:
        return self._store.tells_crc32(bucket)

    def opened(self, sources: Sequence[SourceObject]) -> AbstractContextManager[Sequence[Arriving]]:
        return self._store.opened(sources)

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        return self._store.crc32(source, start, stop)


class _Batch:
    """Objects that are read together, into memory of their own; ``crc32s`` has what S3 says of those that came."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self.reads = reads
        self.size = sum(read.source.size + RECORD for read in reads)
        self.left = len(reads)
        self.crc32s: dict[int, int | None] = {}
        self.future: Future[None] = Future()

    def came(self, number: int, crc32: int | None) -> None:
        """One of them has come."""
        self.crc32s[number] = crc32


class _Kept(NamedTuple):
    """An object that was read ahead, or will have been: the read ``number`` of a batch."""

    source: SourceObject
    batch: _Batch
    number: int
