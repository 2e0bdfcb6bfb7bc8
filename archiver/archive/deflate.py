"""Deflates what shrinks: the first stretch of the archive, written as it is compressed.

A deflated entry's size is known only afterwards, so deflated entries come first, one behind the other, and the layout
of the stored ones begins where they end. An object is read in blocks, each deflated on its own (a full flush between
them makes the blocks one stream, RFC 1951), several at a time. The local header of an object of many blocks needs the
sizes that its last block brings: the part that holds the header is kept back until then, and only that part, so memory
is bounded whatever the object's size.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import PurePosixPath

from zlib_ng import zlib_ng

from archiver.archive.parallel import Threads, ordered_map
from archiver.archive.parts import Carry
from archiver.archive.plan import MIN_PART
from archiver.archive.reading import BytesDiffer, mismatch, read_verified
from archiver.archive.storage import Read, SourceObject, SourceStore, UploadedPart
from archiver.archive.upload import Upload
from archiver.zipformat.crc import crc32_combine
from archiver.zipformat.entry import DEFLATED, Entry
from archiver.zipformat.layout import Layout

#: Bytes of an object that are read and deflated as one: all of an object that only a listing has told of, since S3
#: tells the CRC32 of a whole one.
BLOCK = MIN_PART
#: Bytes that tell whether an object shrinks.
TRIAL = 64 * 1024
#: An object is deflated where its trial shrinks to this share or less.
WORTH = 0.9
#: Parts that wait for S3 while the next is being filled.
UPLOADS_UNDER_WAY = 2
#: Objects of fewer bytes stay as they are.
LEAST = 128
#: zlib's default: the next levels cost more time than they save bytes.
LEVEL = 6
#: Up to here an object's local header has no ZIP64 extra, however badly the rest of it deflates.
_ZIP64_ZONE = range(2**32 - 2**24, 2**32)

_COMPRESSED_EXTENSIONS = """
7z aac apk avi avif br bz2 docx ear epub flac flv gif gz heic heif jar jpeg jpg jxl lz lz4 lzma m4a m4v mkv mov mp3 mp4
mpeg mpg odp ods odt oga ogg ogv opus orc parquet png pptx rar tbz2 tgz txz war webm webp whl wma wmv woff woff2 xlsx xz
zip zst
"""
#: What is compressed already; trying would read for nothing.
_COMPRESSED = frozenset(_COMPRESSED_EXTENSIONS.split())


@dataclass(frozen=True, slots=True)
class Deflated:
    """What was deflated: the entries, which sources they are, the parts that S3 has, and the rest in memory."""

    entries: list[Entry] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    parts: list[UploadedPart] = field(default_factory=list)
    carry: Carry = field(default_factory=lambda: Carry(0))

    @property
    def next_number(self) -> int:
        return len(self.parts) + 1


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


def may_shrink(name: str, size: int) -> bool:
    """Whether a try is worth it, by the name's extension and the size in bytes. A directory's object has no content."""
    if name.endswith("/") or size < LEAST or size in _ZIP64_ZONE:
        return False
    return PurePosixPath(name).suffix[1:].lower() not in _COMPRESSED


def deflate(
    names: Sequence[str],
    sources: Sequence[SourceObject],
    *,
    store: SourceStore,
    upload: Upload,
    threads: Threads,
    part_size: int,
    blocks_in_flight: int,
    on_bytes: Callable[[int], None],
    zone: tzinfo = UTC,
) -> Deflated:
    """Deflate what shrinks of the sources into the archive's first parts, each of ``part_size`` bytes or a little more.

    ``blocks_in_flight`` bounds the bytes in memory: as many whole blocks, or more of smaller objects. Raises what
    reading and uploading raise, and ``BytesDiffer`` where an object is not what S3's checksum says.
    """
    writer = _Writer(upload=upload, threads=threads, part_size=part_size, zone=zone)
    candidates = [index for index, name in enumerate(names) if may_shrink(name, sources[index].size)]

    def deflated(block: _Block) -> _Done:
        return _deflate_block(block, sources[block.index], store)

    def shrinks(index: int) -> bool:
        body = sources[index].body
        if body is not None:
            return _shrinks(body)
        head = bytearray(TRIAL)
        read_verified(store, [Read(sources[index], 0, memoryview(head))])
        return _shrinks(head)

    large = (index for index in candidates if sources[index].size > BLOCK)
    blocks = _blocks(candidates, sources, ordered_map(threads.reads, shrinks, large, window=blocks_in_flight))
    window = blocks_in_flight * BLOCK
    try:
        for done in ordered_map(threads.reads, deflated, blocks, window=window, weight=_weight):
            index = done.block.index
            on_bytes(done.block.stop - done.block.start)
            if done.data is None:
                continue
            if done.block.first:
                writer.begin(index, names[index], sources[index])
            writer.add(done.data, crc32=done.crc32, raw_size=done.block.stop - done.block.start, last=done.block.last)
    finally:
        writer.settle()
    return Deflated(
        entries=writer.entries,
        indexes=writer.indexes,
        parts=writer.parts(),
        carry=Carry(writer.start, bytes(writer.buffer)),
    )


class _Writer:
    """Lays deflated entries one behind the other and cuts parts off as they fill."""

    def __init__(self, *, upload: Upload, threads: Threads, part_size: int, zone: tzinfo) -> None:
        self._upload = upload
        self._threads = threads
        self._part_size = part_size
        self._zone = zone
        self.entries: list[Entry] = []
        self.indexes: list[int] = []
        self.start = 0
        self.buffer = bytearray()
        self._number = 1
        self._uploads: dict[int, Future[UploadedPart]] = {}
        self._under_way: deque[Future[UploadedPart]] = deque()
        self._entry: Entry | None = None
        self._crc32 = 0
        self._compressed = 0
        self._header_at = 0
        self._stored_crc32: int | None = None
        self._held: tuple[int, bytearray] | None = None

    def begin(self, index: int, name: str, source: SourceObject) -> None:
        """Leave room for the local header of the next entry."""
        self._entry = Entry(
            name=name, size=source.size, modified=source.modified, method=DEFLATED, compressed_size=source.size
        )
        self.indexes.append(index)
        self._crc32 = self._compressed = 0
        self._stored_crc32 = source.crc32
        self._header_at = len(self.buffer)
        self.buffer += bytes(Layout([self._entry]).data_offset(0))

    def add(self, data: bytes, *, crc32: int, raw_size: int, last: bool) -> None:
        """Append a block of the entry, which is ``crc32`` and ``raw_size`` bytes before it was deflated."""
        self._crc32 = crc32_combine(self._crc32, crc32, raw_size)
        self._compressed += len(data)
        self.buffer += data
        if last:
            self._end()
        if len(self.buffer) < self._part_size:
            return
        if self._entry is not None and self._held is None:
            # The header that is still to come lies in this part.
            self._held = (self._number, self.buffer)
        else:
            self._submit(self._number, self.buffer)
        self._number += 1
        self.start += len(self.buffer)
        self.buffer = bytearray()

    def parts(self) -> list[UploadedPart]:
        """The parts cut off so far, in order, once S3 has them."""
        return [self._uploads[number].result() for number in sorted(self._uploads)]

    def settle(self) -> None:
        """Wait for the uploads under way, so that none outlives the build."""
        while self._under_way:
            self._under_way.popleft().exception()

    def _end(self) -> None:
        predicted = self._entry
        if predicted is None:
            raise AssertionError("no entry has begun")
        if self._stored_crc32 not in (None, self._crc32):
            raise BytesDiffer(mismatch(predicted.name, read=self._crc32, stored=self._stored_crc32))
        entry = replace(predicted, crc32=self._crc32, compressed_size=self._compressed)
        header = Layout([entry], zone=self._zone).local_header(0, crc32=self._crc32)
        if len(header) != Layout([predicted]).data_offset(0):
            raise AssertionError(f"{entry.name}: the deflated entry outgrew its local header")
        holder = self.buffer if self._held is None else self._held[1]
        holder[self._header_at : self._header_at + len(header)] = header
        self.entries.append(entry)
        self._entry = None
        if self._held is not None:
            self._submit(*self._held)
            self._held = None

    def _submit(self, number: int, body: bytearray) -> None:
        while len(self._under_way) >= UPLOADS_UNDER_WAY:
            self._under_way.popleft().result()
        future = self._threads.parts.submit(self._put, number, body)
        self._uploads[number] = future
        self._under_way.append(future)

    def _put(self, number: int, body: bytearray) -> UploadedPart:
        return self._upload.put(number, body, crc32=zlib.crc32(body))


def _blocks(candidates: Sequence[int], sources: Sequence[SourceObject], verdicts: Iterator[bool]) -> Iterator[_Block]:
    for index in candidates:
        size = sources[index].size
        if size > BLOCK and not next(verdicts):
            continue
        for start in range(0, size, BLOCK):
            stop = min(start + BLOCK, size)
            yield _Block(index, start, stop, first=start == 0, last=stop == size)


def _weight(block: _Block) -> int:
    # A read takes a round trip, however small: several small ones go in place of a large one.
    return max(block.stop - block.start, BLOCK // 8)


def _deflate_block(block: _Block, source: SourceObject, store: SourceStore) -> _Done:
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
