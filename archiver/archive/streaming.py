"""Parts whose bytes go out while they come in: what is in memory of them is a window, not the part.

S3 tells an object's CRC32 with its first bytes. So once all objects of a part have begun to come in, its local headers
are known, and its own CRC32, which S3 compares with the bytes that it gets; here those of each object are compared as
they pass. What does not end well, whatever the reason, is nothing lost: the part is built in memory then, by the rules
of everything that is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from zlib_ng import zlib_ng

from archiver.archive.checksums import Checksums
from archiver.archive.plan import MIB, Part
from archiver.archive.reading import read_verified
from archiver.archive.storage import Read, SourceObject, SourceReader, UploadedPart
from archiver.archive.streamed_body import WINDOW, PartBody, Stream, StreamedBody
from archiver.errors import DestinationUnavailable, StorageUnavailable
from archiver.logs import get_logger
from archiver.zipformat.crc import crc32_combine
from archiver.zipformat.layout import DataBytes, HeaderBytes, Layout, Segment

#: Objects of fewer bytes are read before the part goes out: a connection of their own is not worth it.
SHORT = MIB
#: Streams of one part, at most, and the entries that such a part may hold.
MOST_STREAMS = 8
MOST_ENTRIES = 64
#: Bytes of a part that are on their way out of this process.
SENDING = 512 * 1024
#: Parts in a row that did not end well as streams, after which so many are built in memory before it is tried again.
MOST_FAILURES = 3
PASSED_OVER = 64

log = get_logger(__name__)


class Target(Protocol):
    """Where parts go. ``archiver.archive.upload`` documents each call."""

    @property
    def begun(self) -> bool: ...
    def open(self) -> object: ...
    def put(self, number: int, body: PartBody, *, crc32: int) -> UploadedPart: ...


@dataclass(frozen=True, slots=True)
class _Course:
    """What a part that can be streamed consists of: all of it, the entries in streams, those that are read before."""

    segments: Sequence[Segment]
    streamed: Sequence[DataBytes]
    short: Sequence[DataBytes]

    @property
    def weight(self) -> int:
        """Bytes of it that are in memory at once."""
        return SENDING + WINDOW * len(self.streamed) + sum(data.stop for data in self.short)


class Streaming:
    """Streams parts of one plan. ``sources[i]`` holds the stored bytes of entry i; ``begin`` is where those begin that
    are read at all. Parts of ``early`` bytes are rather read than wait for the upload to begin."""

    def __init__(
        self,
        layout: Layout,
        sources: Sequence[SourceObject | None],
        checksums: Checksums,
        store: SourceReader,
        target: Target,
        *,
        begin: int,
        early: int,
    ) -> None:
        self._layout = layout
        self._sources = sources
        self._checksums = checksums
        self._store = store
        self._target = target
        self._begin = begin
        self._early = early
        self._failures = 0
        self._passed_over = 0
        #: Held by who builds a part in memory after all: it has not been weighed for that, so there is one at a time.
        self.spilling = Lock()

    def weight(self, part: Part) -> int | None:
        """Bytes that a part takes in memory as a stream; None where it is to be built there."""
        if self._failures >= MOST_FAILURES:
            self._passed_over += 1
            if self._passed_over <= PASSED_OVER:
                return None
            self._passed_over = self._failures = 0
        course = self._course(part)
        if course is None:
            return None
        if part.size <= self._early and not self._target.begun:
            self._early -= part.size
            return None
        return course.weight

    def put(self, part: Part) -> UploadedPart | None:
        """Upload a part that has a weight. None where that did not end well.

        Raises ``SourceChanged`` and ``UploadGone``.
        """
        course = self._course(part)
        if course is None:
            return None
        try:
            uploaded = self._sent(part, course)
        except (StorageUnavailable, DestinationUnavailable) as error:
            self._failures += 1
            log.info("part not streamed: built in memory", part=part.number, reason=str(error))
            return None
        self._failures = 0
        return uploaded

    def _course(self, part: Part) -> _Course | None:
        layout = self._layout
        if part.entry is not None or part.start < self._begin:
            return None
        if part.stop > layout.directory_offset or layout.find(part.stop - 1) - layout.find(part.start) >= MOST_ENTRIES:
            return None
        segments = list(layout.segments(part.start, part.stop))
        data = [segment for segment in segments if isinstance(segment, DataBytes)]
        if not all(map(self._is_told, data)):
            return None
        own = {one.entry for one in data}
        headers = (segment.entry for segment in segments if isinstance(segment, HeaderBytes))
        if not all(entry in own or self._checksums.known(entry) for entry in headers):
            return None
        streamed = [one for one in data if one.stop >= SHORT]
        course = _Course(segments, streamed, [one for one in data if one.stop < SHORT])
        return course if 0 < len(streamed) <= MOST_STREAMS and course.weight < part.size else None

    def _is_told(self, data: DataBytes) -> bool:
        """Whether these are the bytes of a whole object that S3 will tell the CRC32 of."""
        source = self._sources[data.entry]
        if source is None or source.body is not None or data.start or data.stop != source.size:
            return False
        # An object that is opened for nothing is paid for twice.
        return source.crc32 is not None or self._store.tells_crc32(source.bucket)

    def _source(self, data: DataBytes) -> SourceObject:
        source = self._sources[data.entry]
        assert source is not None
        return source

    def _sent(self, part: Part, course: _Course) -> UploadedPart:
        self._target.open()  # before anything comes in that would wait for it
        found = self._read(course.short)
        with self._store.opened([self._source(data) for data in course.streamed]) as arriving:
            crc32s = {}
            for data, content in zip(course.streamed, arriving, strict=True):
                # Of an object that came in parts S3 tells theirs, as a look may have found out.
                crc32 = self._source(data).crc32 if content.crc32 is None else content.crc32
                if crc32 is None:
                    raise StorageUnavailable(f"S3 tells no CRC32 of {self._source(data)}")
                # Before they have passed: a part with the header alone may wait for it.
                self._checksums.learn(data.entry, 0, crc32, data.stop)
                crc32s[data.entry] = crc32
            streams = iter(arriving)
            crc32 = 0
            pieces: list[bytes | Stream] = []
            for segment in course.segments:
                if isinstance(segment, DataBytes) and segment.entry in crc32s:
                    crc32 = crc32_combine(crc32, crc32s[segment.entry], segment.stop)
                    pieces.append(Stream(next(streams), segment.stop))
                else:
                    piece = found[segment.entry] if isinstance(segment, DataBytes) else self._header(segment)
                    crc32 = zlib_ng.crc32(piece, crc32)
                    pieces.append(piece)
            return self._target.put(part.number, StreamedBody(pieces, part.size), crc32=crc32)

    def _read(self, short: Sequence[DataBytes]) -> dict[int, bytes]:
        """Entries that are read as a whole, by number."""
        contents = [bytearray(data.stop) for data in short]
        reads = [
            Read(self._source(data), 0, memoryview(content)) for data, content in zip(short, contents, strict=True)
        ]
        found = {}
        for data, content, crc32 in zip(short, contents, read_verified(self._store, reads), strict=True):
            self._checksums.learn(data.entry, 0, crc32, data.stop)
            found[data.entry] = bytes(content)
        return found

    def _header(self, segment: Segment) -> bytes:
        assert isinstance(segment, HeaderBytes)
        header = self._layout.local_header(segment.entry, crc32=self._checksums.wait(segment.entry))
        return header[segment.start : segment.stop]
