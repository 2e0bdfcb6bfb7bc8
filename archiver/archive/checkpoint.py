"""A checkpoint of deflating: what an attempt must know of deflated parts that S3 has, to go on behind them unread.

The bytes of a part can't be read back, and how long a deflated entry is nobody knows but who has deflated it. So a
checkpoint tells the sizes and CRC32s of the entries that have ended, and for each part where it was cut off: which
block came next, and what there was by then of the entry that the cut goes through. A part counts where S3 has it with
the very CRC32. One part may be missing: that with the local header of an entry that had not ended, which waits in
memory for the entry's end. It is deflated anew from its own blocks, and must come out the same.

Pure: the bytes of a checkpoint are zlib's (RFC 1950), whose own checksum tells one that is torn.
"""

import json
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from archiver.archive.columns import from_little_endian, little_endian

#: Changes with the form of a checkpoint.
FORM = 1
#: The largest checkpoint in bytes, as it is stored: of some millions of entries.
MOST_BYTES = 64 * 1024 * 1024
_MOST_OPENED = 4 * MOST_BYTES

#: A cut's fields in their order, and the CRC32 of the part that it ends.
_CUT = struct.Struct("<QQQQQQQQ")
_UNKNOWN = 2**64 - 1


class BadCheckpoint(ValueError):
    """The bytes are no checkpoint of this form."""


def _column() -> "array[int]":
    return array("Q")


@dataclass(slots=True)
class EndedEntries:
    """Entries whose last byte was deflated: of which sources, ascending, to how many bytes, and their CRC32s.

    One thread appends while others copy.
    """

    indexes: "array[int]" = field(default_factory=_column)
    sizes: "array[int]" = field(default_factory=_column)
    crc32s: "array[int]" = field(default_factory=_column)

    def __len__(self) -> int:
        return len(self.crc32s)

    def append(self, index: int, *, compressed_size: int, crc32: int) -> None:
        """Add the next one."""
        self.indexes.append(index)
        self.sizes.append(compressed_size)
        self.crc32s.append(crc32)

    def first(self, count: int) -> "EndedEntries":
        """A copy of the first ``count``."""
        return EndedEntries(self.indexes[:count], self.sizes[:count], self.crc32s[:count])

    def find(self, index: int) -> int | None:
        """Which of them is that of source ``index``."""
        at = bisect_left(self.indexes, index)
        return at if at < len(self) and self.indexes[at] == index else None


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a part was cut off, and how things stood there.

    ``size`` is the part's, in bytes; ``entries`` had ended by then; the next block began at byte ``offset`` of source
    ``index`` or of a later one. Where the cut goes through an entry, its first ``offset`` bytes have the CRC32
    ``crc32`` and came to ``compressed`` bytes, and part ``header`` holds its local header; else that is 0.
    """

    size: int
    entries: int
    index: int
    offset: int
    crc32: int = 0
    compressed: int = 0
    header: int = 0


#: Before the first part.
BEGIN = Cut(size=0, entries=0, index=0, offset=0)


@dataclass(frozen=True, slots=True)
class Point:
    """Where to go on: behind ``parts`` parts. ``missing`` is the one among them to be deflated anew, 0: none is."""

    parts: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The deflated parts of an upload so far. ``crc32s[i]`` is that of part i + 1; None: it was not uploaded yet.

    ``digest`` is that of the plan whose upload it is. ``entries`` may be more than the last cut knows of.
    """

    digest: str
    entries: EndedEntries
    cuts: Sequence[Cut]
    crc32s: Sequence[int | None]

    def cut(self, part: int) -> Cut:
        """That at the end of a part; of part 0 the beginning."""
        return self.cuts[part - 1] if part else BEGIN

    def point(self, has: Callable[[int, int, int], bool]) -> Point:
        """The farthest point to go on from; ``has(number, size, crc32)`` tells whether S3 has that part."""
        missing = (
            number
            for number, (cut, crc32) in enumerate(zip(self.cuts, self.crc32s, strict=True), 1)
            if crc32 is None or not has(number, cut.size, crc32)
        )
        behind = len(self.cuts) + 1
        first, second = next(missing, behind), next(missing, behind)
        for parts in range(second - 1, first, -1):
            if self.cut(parts).header == first:
                return Point(parts, missing=first)
        return Point(first - 1)

    def encode(self) -> bytes:
        """Its bytes."""
        head = {"form": FORM, "digest": self.digest, "entries": len(self.entries), "cuts": len(self.cuts)}
        columns = (self.entries.indexes, self.entries.sizes, self.entries.crc32s)
        cuts = [
            _CUT.pack(
                cut.size,
                cut.entries,
                cut.index,
                cut.offset,
                cut.crc32,
                cut.compressed,
                cut.header,
                _UNKNOWN if crc32 is None else crc32,
            )
            for cut, crc32 in zip(self.cuts, self.crc32s, strict=True)
        ]
        return zlib.compress(b"".join([json.dumps(head).encode(), b"\n", *map(little_endian, columns), *cuts]), 1)


def decode(body: bytes) -> Checkpoint:
    """The checkpoint that these bytes are. Raises ``BadCheckpoint``."""
    try:
        opener = zlib.decompressobj()
        text, _, rest = opener.decompress(body, _MOST_OPENED).partition(b"\n")
        if not opener.eof:
            raise BadCheckpoint("it is torn, or too large")
        head = json.loads(text)
        if head["form"] != FORM:
            raise BadCheckpoint(f"its form is {head['form']!r}")
        width = int(head["entries"]) * 8
        columns = [from_little_endian("Q", rest[at : at + width]) for at in (0, width, 2 * width)]
        packed = list(_CUT.iter_unpack(rest[3 * width :]))
        found = Checkpoint(
            digest=str(head["digest"]),
            entries=EndedEntries(*columns),
            cuts=[Cut(*fields[:-1]) for fields in packed],
            crc32s=[None if fields[-1] == _UNKNOWN else fields[-1] for fields in packed],
        )
        whole = len(columns[2]) == head["entries"] and len(packed) == head["cuts"] and _goes_forward(found)
    except BadCheckpoint:
        raise
    except (zlib.error, struct.error, ValueError, LookupError, TypeError) as error:
        raise BadCheckpoint(f"it can't be read ({error})") from error
    if not whole:
        raise BadCheckpoint("it contradicts itself")
    return found


def _goes_forward(found: Checkpoint) -> bool:
    """Whether cuts and entries follow one another, each cut within what is there."""
    for number, (before, cut) in enumerate(pairwise([BEGIN, *found.cuts]), 1):
        follows = cut.entries >= before.entries and (cut.index, cut.offset) > (before.index, before.offset)
        if not follows or cut.size <= 0 or cut.entries > len(found.entries) or cut.header > number:
            return False
    return all(one < other for one, other in pairwise(found.entries.indexes))
