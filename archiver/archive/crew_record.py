"""What came of a chunk: the record that a worker writes when it has built one. Pure.

It has the CRC32 of each piece of content in the chunk, in the chunk's order: the archive's directory takes them, and
from them follow the CRC32s of the parts, so that a record that is not of these parts, or of other bytes, shows itself.
"""

from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field
from zlib_ng import zlib_ng

from archiver.archive.columns import from_little_endian, little_endian
from archiver.archive.plan import Part
from archiver.archive.storage import UploadedPart
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.crc import crc32_combine, crc32_of_parts
from archiver.zipformat.layout import DataBytes, HeaderBytes, Layout, Segment

#: The greatest record, in bytes: of all parts that an archive has, or of half a million pieces.
MAX_RECORD = 4 * 1024 * 1024

_Crc32 = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
# The completion says them to S3 as they are, in XML, which can't say every character.
_ETag = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=128)]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [start, stop) of the content of entry number ``entry``, in a part."""

    entry: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Record:
    """``crc32s`` are those of the chunk's ``pieces``, in their order; ``digest`` is that of its stretch's block."""

    digest: str
    parts: tuple[UploadedPart, ...]
    crc32s: Sequence[int]


class _Model(BaseModel):
    """``crc32s``: base64 of four little-endian bytes each. Parts: number, ETag, size, CRC32."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    digest: str
    parts: Annotated[list[tuple[int, _ETag, int, _Crc32]], Field(max_length=LAST_NUMBER), FailFast()]
    crc32s: str


def pieces(layout: Layout, parts: Sequence[Part]) -> Iterator[Piece]:
    """Each piece of content in the parts: what is copied, and what lies in literal parts."""
    for part in parts:
        if part.entry is not None:
            yield Piece(part.entry, part.source_start, part.source_stop)
            continue
        for segment in layout.segments(part.start, part.stop):
            if isinstance(segment, DataBytes):
                yield Piece(segment.entry, segment.start, segment.stop)


def write_record(record: Record) -> bytes:
    """The record as it is stored."""
    model = _Model(
        digest=record.digest,
        parts=[(part.number, part.etag, part.size, part.crc32 or 0) for part in record.parts],
        crc32s=b64encode(little_endian(array("I", record.crc32s))).decode(),
    )
    return model.model_dump_json().encode()


def read_record(body: bytes) -> Record:
    """The inverse of ``write_record``. Raises ``ValueError``."""
    if len(body) > MAX_RECORD:
        raise ValueError(f"a record of {len(body)} bytes, more than {MAX_RECORD}")
    model = _Model.model_validate_json(body)
    crc32s = from_little_endian("I", b64decode(model.crc32s, validate=True))
    parts = (UploadedPart(number, etag, size, crc32) for number, etag, size, crc32 in model.parts)
    return Record(model.digest, tuple(parts), crc32s)


def check_record(record: Record, layout: Layout, parts: Sequence[Part]) -> list[tuple[Piece, int]]:
    """The pieces that a record of these parts tells of, each with its CRC32.

    Raises ``ValueError`` where the CRC32s of the parts do not follow from those of the pieces.
    """
    told = list(pieces(layout, parts))
    if len(told) != len(record.crc32s) or len(parts) != len(record.parts):
        raise ValueError(f"{len(record.crc32s)} pieces in {len(record.parts)} parts, not {len(told)} in {len(parts)}")
    found = list(zip(told, record.crc32s, strict=True))
    known = _Known(layout, found)
    for part, uploaded in zip(parts, record.parts, strict=True):
        if part.number != uploaded.number or part.size != uploaded.size:
            raise ValueError(f"part {uploaded.number} of {uploaded.size} bytes is none of the chunk's")
        if known.crc32_of(part) != uploaded.crc32:
            raise ValueError(f"the CRC32 of part {part.number} is not that of its pieces")
    return found


class _Known:
    """What follows from the CRC32s of a chunk's pieces."""

    def __init__(self, layout: Layout, found: Sequence[tuple[Piece, int]]) -> None:
        self._layout = layout
        self._pieces = {(piece.entry, piece.start): crc32 for piece, crc32 in found}
        self._whole: dict[int, tuple[int, int]] = {}
        for piece, crc32 in found:
            before, length = self._whole.get(piece.entry, (0, 0))
            more = piece.stop - piece.start
            self._whole[piece.entry] = (crc32_combine(before, crc32, more), length + more)

    def crc32_of(self, part: Part) -> int:
        """The CRC32 that the part must have. Raises ``ValueError`` where that does not follow."""
        if part.entry is not None:
            return self._pieces[part.entry, part.source_start]
        segments = self._layout.segments(part.start, part.stop)
        return crc32_of_parts((self._segment(segment), segment.stop - segment.start) for segment in segments)

    def _segment(self, segment: Segment) -> int:
        if isinstance(segment, DataBytes):
            return self._pieces[segment.entry, segment.start]
        if not isinstance(segment, HeaderBytes):
            raise ValueError("a chunk has no directory")
        entry = self._layout.entries[segment.entry]
        whole, length = self._whole.get(segment.entry, (0, 0))
        if entry.known_crc32 is None and length != entry.size:
            raise ValueError(f"{length} of {entry.size} bytes of entry {segment.entry} do not tell its CRC32")
        crc32 = whole if entry.known_crc32 is None else entry.known_crc32
        return zlib_ng.crc32(self._layout.local_header(segment.entry, crc32=crc32)[segment.start : segment.stop])
