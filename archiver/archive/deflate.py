"""Deflates what shrinks: the first stretch of the archive, written as it is compressed.

A deflated entry's size is known only afterwards, so deflated entries come first, one behind the other, and the layout
of the stored ones begins where they end. An object is read in blocks, each deflated on its own (a full flush between
them makes the blocks one stream, RFC 1951), several at a time. The local header of an object of many blocks needs the
sizes that its last block brings: the part that holds the header is kept back until then, and only that part, so memory
is bounded whatever the object's size. A later attempt goes on where a checkpoint says that the parts in S3 end.
"""

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from zlib_ng import zlib_ng

from archiver.archive.cancellation import Cancellation
from archiver.archive.carry import Carry
from archiver.archive.checkpoint import BEGIN, Checkpoint, Cut, Point
from archiver.archive.checkpoints import Checkpoints
from archiver.archive.deflate_writer import DeflateWriter
from archiver.archive.deflated import Deflated, may_shrink
from archiver.archive.parallel import Threads, ordered_map
from archiver.archive.plan import MIN_PART
from archiver.archive.reading import read_verified
from archiver.archive.storage import Read, SourceObject, SourceReader
from archiver.archive.upload import Upload
from archiver.logs import get_logger

#: Bytes of an object that are read and deflated as one: all of an object that only a listing has told of, since S3
#: tells the CRC32 of a whole one.
BLOCK = MIN_PART
#: Bytes that tell whether an object shrinks.
TRIAL = 64 * 1024
#: An object is deflated where its trial shrinks to this share or less.
WORTH = 0.9
#: zlib's default: the next levels cost more time than they save bytes.
LEVEL = 6

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Block:
    index: int
    start: int
    stop: int
    first: bool
    last: bool


@dataclass(frozen=True, slots=True)
class _Done:
    block: _Block
    crc32: int
    data: bytes | None


def deflate(
    names: Sequence[str],
    sources: Sequence[SourceObject],
    *,
    store: SourceReader,
    upload: Upload,
    threads: Threads,
    part_size: int,
    blocks_in_flight: int,
    on_bytes: Callable[[int], None],
    on_entries: Callable[[int], None],
    cancellation: Cancellation,
    least_part: int = MIN_PART,
    zone: tzinfo = UTC,
    checkpoints: Checkpoints | None = None,
    checkpoint: Checkpoint | None = None,
) -> Deflated:
    """Deflate what shrinks of the sources into the archive's first parts, each of ``part_size`` bytes or a little more.

    ``blocks_in_flight`` bounds the bytes in memory: as many whole blocks, or more of smaller objects. ``checkpoint``
    is where to go on, as far as S3 has what it tells of; ``checkpoints`` takes new ones. Raises what reading and
    uploading raise, and ``BytesDiffer`` where an object is not what S3's checksum says, or what the checkpoint says.
    """
    writer = DeflateWriter(
        names,
        sources,
        upload=upload,
        threads=threads,
        part_size=part_size,
        least=least_part,
        zone=zone,
        checkpoints=checkpoints,
        on_entries=on_entries,
        cancellation=cancellation,
    )
    deflating = _Deflating(
        sources=sources,
        candidates=[index for index, name in enumerate(names) if may_shrink(name, sources[index].size)],
        store=store,
        threads=threads,
        blocks_in_flight=blocks_in_flight,
        writer=writer,
    )
    try:
        since = BEGIN if checkpoint is None else deflating.resume(checkpoint, upload, on_bytes=on_bytes)
        deflating.run(since, on_bytes=on_bytes)
        if checkpoints is not None and len(writer.entries) < len(sources):
            # What follows may take long.
            checkpoints.close(writer.checkpoint, writer.parts())
    finally:
        writer.settle()
    return Deflated(
        entries=writer.entries,
        indexes=writer.indexes,
        parts=writer.parts(),
        carry=Carry(writer.start, bytes(writer.buffer)),
    )


@dataclass(frozen=True, slots=True)
class _Deflating:
    """The way of blocks from the store to the writer. ``candidates`` are the sources that may shrink, ascending."""

    sources: Sequence[SourceObject]
    candidates: Sequence[int]
    store: SourceReader
    threads: Threads
    blocks_in_flight: int
    writer: DeflateWriter

    def resume(self, checkpoint: Checkpoint, upload: Upload, *, on_bytes: Callable[[int], None]) -> Cut:
        """Bring the writer to where the parts that S3 has end, and return where that is."""

        def has(number: int, size: int, crc32: int) -> bool:
            part = upload.uploaded(number, size)
            return part is not None and part.crc32 == crc32

        point = checkpoint.point(has) if self._fits(checkpoint) else Point(0)
        if not point.parts:
            return BEGIN
        cut = checkpoint.cut(point.parts)
        log.info("deflating goes on", parts=point.parts, entries=cut.entries, again=int(point.missing > 0))
        if point.missing:
            since, until = checkpoint.cut(point.missing - 1), checkpoint.cut(point.missing)
            self.writer.restore(checkpoint, point.missing - 1)
            self.run(since, until, known=lambda index: index == cut.index or checkpoint.entries.find(index) is not None)
            self.writer.rejoin(checkpoint, point)
        else:
            self.writer.restore(checkpoint, point.parts)
        done = sum(self.sources[index].size for index in self.candidates[: bisect_left(self.candidates, cut.index)])
        on_bytes(done + (cut.offset if cut.header else 0))
        return cut

    def _fits(self, checkpoint: Checkpoint) -> bool:
        """Whether it speaks of these sources, as the digest says; else nothing that it says can be right."""
        entries, count = checkpoint.entries.indexes, len(self.sources)
        return not (entries and entries[-1] >= count) and all(
            cut.offset < self.sources[cut.index].size if cut.index < count else not cut.header
            for cut in checkpoint.cuts
        )

    def run(
        self,
        since: Cut,
        until: Cut | None = None,
        *,
        known: Callable[[int], bool] | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Deflate the blocks from one cut on up to another, of ``known`` sources alone where that is given."""
        first = bisect_left(self.candidates, since.index)
        behind = len(self.candidates) if until is None else bisect_left(self.candidates, until.index + 1)
        wanted = [index for index in self.candidates[first:behind] if known is None or known(index)]
        # Through which of them a cut goes is known already.
        cut_through = since.index if since.header else None
        verdicts = self._verdicts(index for index in wanted if known is None and index != cut_through)
        blocks = self._blocks(wanted, since, until, lambda index: known is not None or index == cut_through, verdicts)
        window = self.blocks_in_flight * BLOCK
        for done in ordered_map(self.threads.reads, self._deflated, blocks, window=window, weight=_weight):
            block = done.block
            if on_bytes is not None:
                on_bytes(block.stop - block.start)
            if done.data is None:
                continue
            if block.first:
                self.writer.begin(block.index)
            self.writer.add(
                done.data, crc32=done.crc32, raw_size=block.stop - block.start, stop=block.stop, last=block.last
            )

    def _verdicts(self, indexes: Iterator[int]) -> Iterator[bool]:
        """Whether the large ones shrink, in their order."""
        large = (index for index in indexes if self.sources[index].size > BLOCK)
        return ordered_map(self.threads.reads, self._shrinks, large, window=self.blocks_in_flight)

    def _shrinks(self, index: int) -> bool:
        body = self.sources[index].body
        if body is not None:
            return _shrinks(body)
        head = bytearray(TRIAL)
        read_verified(self.store, [Read(self.sources[index], 0, memoryview(head))])
        return _shrinks(head)

    def _blocks(
        self,
        indexes: Sequence[int],
        since: Cut,
        until: Cut | None,
        is_known: Callable[[int], bool],
        verdicts: Iterator[bool],
    ) -> Iterator[_Block]:
        for index in indexes:
            size = self.sources[index].size
            if size > BLOCK and not is_known(index) and not next(verdicts):
                continue
            begin = since.offset if index == since.index else 0
            end = until.offset if until is not None and index == until.index else size
            for start in range(begin, end, BLOCK):
                stop = min(start + BLOCK, size)
                yield _Block(index, start, stop, first=start == 0, last=stop == size)

    def _deflated(self, block: _Block) -> _Done:
        return _deflate_block(block, self.sources[block.index], self.store)


def _weight(block: _Block) -> int:
    # A read takes a round trip, however small: several small ones go in place of a large one.
    return max(block.stop - block.start, BLOCK // 8)


def _deflate_block(block: _Block, source: SourceObject, store: SourceReader) -> _Done:
    if source.body is not None:
        raw: bytes | bytearray = source.body[block.start : block.stop]
    else:
        raw = bytearray(block.stop - block.start)
        read_verified(store, [Read(source, block.start, memoryview(raw))])
    crc32 = zlib.crc32(raw)
    whole = block.first and block.last
    if whole and not _shrinks(raw):
        return _Done(block, crc32, None)
    compressor = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, -15)
    data = compressor.compress(raw) + compressor.flush(zlib_ng.Z_FINISH if block.last else zlib_ng.Z_FULL_FLUSH)
    if whole and len(data) >= len(raw):
        return _Done(block, crc32, None)
    return _Done(block, crc32, data)


def _shrinks(head: bytes | bytearray) -> bool:
    head = head[:TRIAL]
    return len(zlib_ng.compress(head, 1)) <= WORTH * len(head)
