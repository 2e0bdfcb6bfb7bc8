"""What a job tells the workers that it invites: invitations, and the blocks of its plan. Pure.

The plan is one object, in which each stretch has a block of its own: whoever builds its chunks reads no more than that.
The invitation names the block by its place and its SHA-256. Both come from where others may write, too, so that they
are read with a ``ValueError`` for whatever is not as it is written here.
"""

import hashlib
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field

from archiver.archive.chunks import Chunk
from archiver.archive.plan import MAX_PART, Part
from archiver.archive.storage import SourceObject
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout

#: The greatest block as it lies in storage, and unpacked, in bytes: whatever they are, their reader needs some hundred
#: MiB at most. A stretch of sixteen thousand entries has a tenth of it.
MAX_BLOCK = 16 * 1024 * 1024
MAX_UNPACKED = 16 * 1024 * 1024
#: The first of zlib's levels: the next take twice the time for a tenth of the bytes.
_LEVEL = 1

_Crc32 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
_Size = Annotated[int, Field(ge=0)]
_Number = Annotated[int, Field(ge=1, le=LAST_NUMBER)]
_Chunk = Annotated[int, Field(ge=0, lt=LAST_NUMBER)]
_Text = Annotated[str, Field(min_length=1, max_length=2048)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Invitation(_Model):
    """One message on the crew's queue: the turn ``number`` of ``turns``, from 0, waits for somebody.

    ``key`` and ``upload_id`` are the archive's; ``folder`` is where plan and records lie; [start, stop) is the
    stretch's block in the plan, ``digest`` its SHA-256; its chunks are those from ``first`` to ``last``, and the turn
    begins with the chunk ``begin``, where nobody has.
    """

    request_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]
    bucket: _Text
    key: _Text
    upload_id: _Text
    folder: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    number: _Chunk
    turns: Annotated[int, Field(ge=1, le=LAST_NUMBER)]
    first: _Chunk
    last: _Chunk
    begin: _Chunk
    start: _Size
    stop: _Size
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Block(_Model):
    """``skip`` bytes of the first entry, of its local header on, lie before the stretch.

    Chunks: number, and parts: number, size, the entry that it is a copy of or -1, and where in it the copy starts.
    Entries: name, size, modified, CRC32, bucket by its index, key, ETag, version.
    """

    zone: _Text
    skip: _Size
    chunks: Annotated[
        list[
            tuple[
                _Chunk,
                Annotated[
                    list[tuple[_Number, Annotated[int, Field(ge=1, le=MAX_PART)], int, _Size]],
                    Field(min_length=1, max_length=LAST_NUMBER),
                    FailFast(),
                ],
            ]
        ],
        Field(min_length=1, max_length=LAST_NUMBER),
        FailFast(),
    ]
    buckets: Annotated[list[_Text], FailFast()]
    entries: Annotated[
        list[tuple[Annotated[str, Field(min_length=1)], _Size, int, _Crc32 | None, _Size, _Text, _Text, str | None]],
        FailFast(),
    ]


@dataclass(frozen=True, slots=True)
class StretchPlan:
    """All that a stretch's bytes follow from: its parts tile a layout of its entries alone, from some offset on.

    ``chunks`` are parts by the chunk's number; ``sources[entry]`` is the object that holds the entry's bytes.
    """

    layout: Layout
    sources: list[SourceObject]
    chunks: dict[int, list[Part]]


def write_block(layout: Layout, sources: Sequence[SourceObject | None], stretch: Sequence[Chunk]) -> bytes | None:
    """The stretch's block; None where it were too large to be read, as of names and keys of the greatest length."""
    first, last = layout.find(stretch[0].start), layout.find(stretch[-1].stop - 1)
    buckets: dict[str, int] = {}
    entries = []
    for index in range(first, last + 1):
        entry, source = layout.entries[index], sources[index]
        if source is None:
            raise AssertionError(f"entry {index} has no stored bytes in S3")
        bucket = buckets.setdefault(source.bucket, len(buckets))
        entries.append(
            (
                entry.name,
                entry.size,
                entry.modified,
                entry.known_crc32,
                bucket,
                source.key,
                source.etag,
                source.version_id,
            )
        )
    block = _Block.model_construct(
        zone=str(layout.zone),
        skip=stretch[0].start - layout.header_offset(first),
        chunks=[
            (
                chunk.number,
                [
                    (part.number, part.size, -1 if part.entry is None else part.entry - first, part.source_start)
                    for part in chunk.parts
                ],
            )
            for chunk in stretch
        ],
        buckets=list(buckets),
        entries=entries,
    )
    unpacked = block.model_dump_json(warnings=False).encode()
    packed = zlib.compress(unpacked, _LEVEL)
    return packed if len(packed) <= MAX_BLOCK and len(unpacked) <= MAX_UNPACKED else None


def read_block(packed: bytes, *, zone: tzinfo) -> StretchPlan:
    """The inverse of ``write_block``. ``zone`` is this worker's, which must be the block's.

    Raises ``ValueError``.
    """
    block = _Block.model_validate_json(_unpacked(packed))
    if block.zone != str(zone):
        raise ValueError(f"the plan is made for TIMEZONE={block.zone}, not {zone}")
    entries, sources = [], []
    for name, size, modified, crc32, bucket, key, etag, version_id in block.entries:
        entries.append(Entry(name, size, modified, crc32))
        # One that has no bytes is never read; it may be the object of a directory, which has some.
        sources.append(SourceObject(_at(block.buckets, bucket), key, size, etag, modified, version_id, crc32))
    layout = Layout(entries, zone=zone)
    chunks: dict[int, list[Part]] = {}
    start = block.skip
    for chunk, parts in block.chunks:
        chunks[chunk] = []
        for number, size, copied, source_start in parts:
            if copied >= len(entries):
                raise ValueError(f"part {number} is a copy of entry {copied} of {len(entries)}")
            part = Part(number, start, start + size, None if copied < 0 else copied, source_start)
            if part.entry is not None and part.start != layout.data_offset(part.entry) + source_start:
                raise ValueError(f"part {number} is no copy of what lies at its place")
            chunks[chunk].append(part)
            start += size
    if start > layout.directory_offset:
        raise ValueError(f"parts up to byte {start} of entries up to {layout.directory_offset}")
    return StretchPlan(layout, sources, chunks)


def digest_of(block: bytes) -> str:
    """The block's SHA-256, in hexadecimal digits."""
    return hashlib.sha256(block).hexdigest()


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(packed, MAX_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"the block can't be unpacked: {error}") from None
    if not unpacking.eof:
        raise ValueError(f"the block is cut short, or has more than {MAX_UNPACKED} bytes")
    return unpacked


def _at(buckets: Sequence[str], index: int) -> str:
    if index >= len(buckets):
        raise ValueError(f"bucket {index} of {len(buckets)}")
    return sys.intern(buckets[index])
