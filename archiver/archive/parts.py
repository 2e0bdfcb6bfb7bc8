"""Runs a plan: copies inside S3 and literal parts through memory, in parallel, in any order that the CRC32s allow.

Memory is bounded by the bytes of the literal parts in flight, but two of them always may be. They start in ascending
order, and only the last local header in a part can wait for bytes of later parts; since a part brings its own pieces
before it waits, some part in flight can always go on, and two in flight are enough. Copies have threads of their own
and wait for nothing.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from mmap import mmap
from threading import Event
from typing import Protocol

from zlib_ng import zlib_ng

from archiver.archive.agenda import Agenda, Alone
from archiver.archive.cancellation import Cancellation
from archiver.archive.carry import Carry
from archiver.archive.checksums import Cancelled, Checksums
from archiver.archive.memory import Buffers, Lent, allocate
from archiver.archive.parallel import ByteBudget, JobThreads, Threads, batched, wait_unless
from archiver.archive.plan import Part
from archiver.archive.reading import READS, read_verified
from archiver.archive.storage import CopyRefused, Read, SourceObject, SourceReader, UploadedPart
from archiver.archive.streamed_body import PartBody
from archiver.archive.streaming import Streaming
from archiver.archive.width import Width
from archiver.errors import Cancelled as JobCancelled
from archiver.errors import StorageUnavailable
from archiver.logs import get_logger
from archiver.zipformat.crc import crc32_combine, crc32_of_middle
from archiver.zipformat.layout import DataBytes, DirectoryBytes, HeaderBytes, Layout, Segment

#: Reads of one part that are handed to the storage at once.
READS_AT_ONCE = 512
#: Parts of a shared plan that are read at once. Where many work on it each has a short time, in which the first parts
#: are to be on their way up soon, and what one has begun the others wait for at the end.
READING = 3
#: One such share of the parts' memory is for those that are read before the upload has begun: they hold it until they
#: are on S3.
EARLY = 3
#: Bytes whose CRC32 is rather combined with others' than computed again, which takes a few ten microseconds.
LONG = 512 * 1024
#: Bytes of the central directory that are made at once.
DIRECTORY_PIECE = 256 * 1024

log = get_logger(__name__)


class CopiesRefused(Exception):
    """S3 won't copy these entries, by index, each with S3's reason: the plan must be made anew without them."""

    def __init__(self, refused: dict[int, str], copied: set[int]) -> None:
        super().__init__(refused)
        self.refused = refused
        self.copied = copied

    def of_sources(self, order: Sequence[int]) -> "CopiesRefused":
        """The same, with the indexes of sources in place of entries: ``order[entry]`` is an entry's source."""
        return CopiesRefused(
            {order[entry]: reason for entry, reason in self.refused.items()}, {order[entry] for entry in self.copied}
        )


class Target(Protocol):
    """Where parts go. ``archiver.archive.upload`` documents each call."""

    @property
    def begun(self) -> bool: ...
    def open(self) -> object: ...
    def uploaded(self, number: int, size: int) -> UploadedPart | None: ...
    def put(self, number: int, body: PartBody, *, crc32: int) -> UploadedPart: ...
    def copy(self, number: int, source: SourceObject, start: int, stop: int) -> UploadedPart: ...


@dataclass(frozen=True, slots=True)
class PartBuilder:
    """Builds the parts of one plan. ``sources[i]`` holds the stored bytes of entry i.

    Literal parts of ``memory`` bytes, less what is ``lent``, are held at once, as many as ``width`` says, at least two.
    ``reading`` is entered by each part while its bytes are read: it may hold some back. ``streams``: parts may go out
    meanwhile.
    """

    layout: Layout
    sources: Sequence[SourceObject | None]
    checksums: Checksums
    store: SourceReader
    upload: Target
    threads: Threads
    carry: Carry
    width: Width
    memory: int
    on_part: Callable[[Part], None]
    cancellation: Cancellation = field(default_factory=Cancellation)
    reading: AbstractContextManager[object] = field(default_factory=nullcontext)
    lent: Lent = field(default_factory=Lent)
    streams: bool = False

    def run(self, plan: Sequence[Part], agenda: Agenda | None = None) -> list[UploadedPart]:
        """Build all parts of the plan, but for those that others bring, and return them in its order.

        Parts that hold bytes of which S3 says otherwise are built again, a few times. Raises ``CopiesRefused``,
        ``StorageUnavailable`` where they never come right, or the first error of any part, once no part is under way
        any more; a job that is cancelled leaves what does not end within seconds.
        """
        agenda = agenda or Alone(plan)
        parts = self.follow(agenda)
        for _ in range(READS - 1):
            refuted = self.checksums.refuted()
            if not refuted:
                break
            log.warning("parts built again: bytes are not what S3 says", entries=len(refuted), reason=_first(refuted))
            parts |= self.build([part for part in plan if self._holds(part, refuted)])
        self.confirm()
        return [parts[part.number] for part in plan]

    def follow(self, agenda: Agenda) -> dict[int, UploadedPart]:
        """The parts of an agenda, once. Raises as ``run`` does, but for bytes that are not what S3 says."""
        return self._run(agenda, reuse=True)

    def build(self, parts: Sequence[Part]) -> dict[int, UploadedPart]:
        """Build parts, whatever S3 has already. Raises as ``run`` does."""
        return self._run(Alone(parts), reuse=False)

    def confirm(self) -> None:
        """Raise ``StorageUnavailable`` where the bytes of an entry are not what S3 says."""
        if refuted := self.checksums.refuted():
            raise StorageUnavailable(_first(refuted))

    def _run(self, agenda: Agenda, *, reuse: bool) -> dict[int, UploadedPart]:
        """The agenda's parts; with ``reuse``, those of an earlier attempt count where their CRC32s are right."""
        refused: dict[int, str] = {}
        copied: set[int] = set()
        failures: list[BaseException] = []
        budget = ByteBudget(self.memory, self.lent)
        buffers = Buffers(self.memory, self.lent)
        futures: dict[Future[UploadedPart], Part] = {}
        streaming = self._streaming() if reuse and self.streams else None
        woken = Event()

        def stop() -> None:
            self.checksums.cancel()
            budget.close()

        def give_up() -> None:
            failures.append(JobCancelled("The job was cancelled while it ran"))
            literals.awaited = False
            stop()
            woken.set()

        def run(part: Part, weight: int = 0, streaming: Streaming | None = None) -> UploadedPart:
            if failures or refused:
                raise Cancelled
            try:
                if part.entry is None:
                    uploaded = self._literal(part, buffers, reuse=reuse, streaming=streaming)
                else:
                    uploaded = self._copy(part, part.entry, reuse=reuse)
                    copied.add(part.entry)
                if reuse:
                    # Who follows the build may end it.
                    self.on_part(part)
            except CopyRefused as error:
                assert part.entry is not None
                refused[part.entry] = str(error)
                stop()
                raise
            except Cancelled:
                raise
            except BaseException as error:
                failures.append(error)
                stop()
                raise
            finally:
                if part.entry is None:
                    budget.give(weight)
            return uploaded

        try:
            with (
                JobThreads(self.width.most, "literal") as literals,
                self.cancellation.heard_by(give_up),
                self.lent.heard_by(budget.look_again),
            ):
                for part in agenda.parts(lambda: bool(failures or refused)):
                    if part.entry is not None:
                        futures[self.threads.copies.submit(run, part)] = part
                        continue
                    window = None if streaming is None else streaming.weight(part)
                    # No more are taken on than are under way at once: what waits here nobody else may begin.
                    weight = max(part.size if window is None else window, self.memory // self.width.now)
                    if budget.take(weight):
                        futures[literals.submit(run, part, weight, streaming if window else None)] = part
                wait_unless(futures, woken)
        finally:
            # Whatever ends the wait, no thread may touch the upload once this returns.
            stop()
            for future in futures:
                future.cancel()
            if not self.cancellation.settled(futures):
                self.threads.leave()
        if refused:
            raise CopiesRefused(refused, copied)
        if failures:
            raise failures[0]
        return {**agenda.brought, **{part.number: future.result() for future, part in futures.items()}}

    def literal_body(self, part: Part) -> tuple[mmap, int]:
        """The bytes of a literal part and their CRC32."""
        body = allocate(part.size)
        return body, self._fill(part, memoryview(body))

    def _fill(self, part: Part, view: memoryview) -> int:
        """Put the bytes of a literal part into ``view``, all of which they take, and return their CRC32."""
        long: list[tuple[int, int, int]] = []
        for batch in batched(self._to_read(part, view), READS_AT_ONCE):
            # A part may hold a hundred thousand tiny entries: of each batch nothing is kept but the bytes.
            with self.reading:
                crc32s = read_verified(self.store, [read for _, _, read in batch])
            self.checksums.learn_all(
                (entry, read.start, crc32, len(read.target))
                for (_, entry, read), crc32 in zip(batch, crc32s, strict=True)
            )
            for (offset, _, read), crc32 in zip(batch, crc32s, strict=True):
                if len(read.target) >= LONG:
                    long.append((offset, offset + len(read.target), crc32))
        # Only now: the part's own pieces may be what others wait for.
        for at, record in self.layout.records(part.start, part.stop):
            if self._is_carried(at):
                continue
            offset = at - part.start
            for piece in self._rendered(record):
                view[offset : offset + len(piece)] = piece
                offset += len(piece)
        return _crc32_around(view, long)

    def _located(self, part: Part) -> Iterator[tuple[int, Segment]]:
        """What the part consists of, each with its offset in the part."""
        offset = 0
        for segment in self.layout.segments(part.start, part.stop):
            yield offset, segment
            offset += segment.stop - segment.start

    def _to_read(self, part: Part, view: memoryview) -> Iterator[tuple[int, int, Read]]:
        """The reads that the part needs, each with its offset in the part and its entry.

        What is in memory already is put into ``view`` on the way: to look at each source once is much of the work.
        """
        for offset, segment in self._located(part):
            target = view[offset : offset + segment.stop - segment.start]
            if self._is_carried(part.start + offset):
                target[:] = self.carry.at(part.start + offset, len(target))
            elif isinstance(segment, DataBytes):
                source = self._source(segment.entry)
                if source.body is None:
                    yield offset, segment.entry, Read(source, segment.start, target)
                else:
                    target[:] = source.body[segment.start : segment.stop]
                    self.checksums.learn(segment.entry, segment.start, zlib_ng.crc32(target), len(target))

    def _is_carried(self, position: int) -> bool:
        return position < self.carry.start + len(self.carry.data)

    def _streaming(self) -> Streaming:
        begin = self.carry.start + len(self.carry.data)
        early = self.memory // EARLY
        return Streaming(self.layout, self.sources, self.checksums, self.store, self.upload, begin=begin, early=early)

    def _literal(self, part: Part, buffers: Buffers, *, reuse: bool, streaming: Streaming | None) -> UploadedPart:
        uploaded = self.upload.uploaded(part.number, part.size) if reuse else None
        if uploaded is not None and self._agrees(part, uploaded):
            return uploaded
        began = time.monotonic()
        built = self._built(part, buffers, streaming)
        if uploaded is None:  # else nothing was sent, which takes no time
            self.width.took(time.monotonic() - began)
        return built

    def _built(self, part: Part, buffers: Buffers, streaming: Streaming | None) -> UploadedPart:
        if streaming is None:
            return self._in_memory(part, buffers)
        buffers.trim()
        uploaded = streaming.put(part)
        if uploaded is not None:
            return uploaded
        with streaming.spilling:
            return self._in_memory(part, buffers)

    def _in_memory(self, part: Part, buffers: Buffers) -> UploadedPart:
        buffer = buffers.take(part.size)
        body = memoryview(buffer)[: part.size]
        uploaded = self.upload.put(part.number, body, crc32=self._fill(part, body))
        buffers.give(buffer)
        return uploaded

    def _copy(self, part: Part, entry: int, *, reuse: bool) -> UploadedPart:
        source = self._source(entry)
        start, stop = part.source_start, part.source_stop
        uploaded = self.upload.uploaded(part.number, part.size) if reuse else None
        if uploaded is None:
            uploaded = self.upload.copy(part.number, source, start, stop)
        crc32 = uploaded.crc32
        if crc32 is None:
            # A server that tells no checksum of a copied part: only the bytes can.
            crc32 = self.store.crc32(source, start, stop)
            uploaded = UploadedPart(uploaded.number, uploaded.etag, uploaded.size, crc32)
        self.checksums.learn(entry, start, crc32, stop - start)
        return uploaded

    def _agrees(self, part: Part, uploaded: UploadedPart) -> bool:
        """Whether a part that S3 has is the one to be built, as its CRC32 shows; False where that can't be told.

        A piece of an entry that lies in several parts has a CRC32 that nobody knows. That of one such piece follows
        from the part's, and counts like one that was read: together the pieces must come to the entry's CRC32.
        """
        piece: DataBytes | None = None
        before = after = after_length = 0
        for offset, segment in self._located(part):
            crc32 = self._expected(part, offset, segment)
            if crc32 is not None:
                length = segment.stop - segment.start
                after, after_length = crc32_combine(after, crc32, length), after_length + length
            elif piece is None and isinstance(segment, DataBytes) and self.checksums.stored(segment.entry) is not None:
                piece, before, after, after_length = segment, after, 0, 0
            else:
                return False
        if piece is None or uploaded.crc32 is None:
            return after == uploaded.crc32
        length = piece.stop - piece.start
        crc32 = crc32_of_middle(uploaded.crc32, before=before, length=length, after=after, after_length=after_length)
        self.checksums.learn(piece.entry, piece.start, crc32, length)
        return True

    def _expected(self, part: Part, offset: int, segment: Segment) -> int | None:
        """The CRC32 of a segment of the part, where it is known without reading."""
        length = segment.stop - segment.start
        if self._is_carried(part.start + offset):
            return zlib_ng.crc32(self.carry.at(part.start + offset, length))
        if isinstance(segment, DataBytes):
            return self.checksums.stored(segment.entry) if length == self.layout.entries[segment.entry].size else None
        if isinstance(segment, HeaderBytes) and not self.checksums.known(segment.entry):
            return None
        crc32 = 0
        for piece in self._rendered(segment):
            crc32 = zlib_ng.crc32(piece, crc32)
        return crc32

    def _holds(self, part: Part, entries: Container[int]) -> bool:
        """Whether bytes of one of these entries lie in the part."""
        if part.entry is not None:
            return part.entry in entries
        return any(isinstance(segment, DataBytes) and segment.entry in entries for _, segment in self._located(part))

    def _rendered(self, segment: HeaderBytes | DirectoryBytes) -> Iterable[bytes]:
        """The segment's bytes, piece by piece: a directory of a million entries has a hundred megabytes."""
        if isinstance(segment, HeaderBytes):
            header = self.layout.local_header(segment.entry, crc32=self.checksums.wait(segment.entry))
            return (header[segment.start : segment.stop],)
        return self._directory(segment, self.checksums.wait_for_all())

    def _directory(self, segment: DirectoryBytes, crc32s: Sequence[int]) -> Iterator[bytes]:
        for start in range(segment.start, segment.stop, DIRECTORY_PIECE):
            yield self.layout.directory(start, min(start + DIRECTORY_PIECE, segment.stop), crc32s=crc32s)

    def _source(self, entry: int) -> SourceObject:
        source = self.sources[entry]
        if source is None:
            raise AssertionError(f"entry {entry} has no stored bytes in S3")
        return source


def _crc32_around(view: memoryview, known: Iterable[tuple[int, int, int]]) -> int:
    """The CRC32 of all bytes, of which some ranges [start, stop), in ascending order, have known ones.

    As these are those that were compared with S3's, S3 finds out whatever has happened to the bytes since.
    """
    whole = end = 0
    for start, stop, crc32 in known:
        whole = crc32_combine(zlib_ng.crc32(view[end:start], whole), crc32, stop - start)
        end = stop
    return zlib_ng.crc32(view[end:], whole)


def _first(refuted: Mapping[int, str]) -> str:
    first = next(iter(refuted.values()))
    return first if len(refuted) == 1 else f"{first}, and {len(refuted) - 1} more"
