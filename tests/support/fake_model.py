"""What the in-memory S3 keeps: objects with versions and checksums, unfinished uploads, and faults to inject."""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from archiver.archive.location import Location
from archiver.archive.storage import (
    ArchiveObject,
    Body,
    SourceObject,
    StoredArchive,
    UploadedPart,
)

MIB = 1024 * 1024
MIN_PART = 5 * MIB
MAX_PART = 5 * 1024 * MIB
MAX_NUMBER = 10_000
#: Objects of one answer of ListObjectsV2.
PAGE = 1_000
MAX_METADATA = 2048

Checksum = Literal["full", "composite", "none"]


@dataclass(frozen=True, slots=True)
class Call:
    """What a fault sees of a call; ``number`` is that of the part, ``source`` the key that a part is copied from."""

    operation: str
    bucket: str
    key: str
    number: int = 0
    source: str = ""


Action = Callable[[Call], object]


def flip(_: Call) -> None:
    """As an action: flip a bit of what the call reads or copies."""


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@dataclass(slots=True)
class Fault:
    operation: str
    action: Action
    skip: int
    times: int | None
    key: str | None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of an object."""

    content: bytes
    etag: str
    modified: int
    version_id: str | None
    checksum: Checksum
    part_sizes: tuple[int, ...] = ()
    crc32: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    content_disposition: str | None = None
    archived: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    storage_class: str | None = None


@dataclass(slots=True)
class OpenUpload:
    bucket: str
    archive: ArchiveObject
    parts: dict[int, tuple[UploadedPart, bytes]] = field(default_factory=dict)


def seen_archive(stored: StoredObject) -> StoredArchive:
    """What a HEAD of a finished archive tells."""
    return StoredArchive(
        stored.etag.strip('"'), len(stored.content), stored.version_id, stored.crc32, dict(stored.metadata)
    )


def seen_source(location: Location, stored: StoredObject) -> SourceObject:
    return SourceObject(
        bucket=location.bucket,
        key=location.key,
        size=len(stored.content),
        etag=stored.etag,
        modified=stored.modified,
        version_id=location.version_id,
        crc32=crc32_of(stored),
        composite=stored.checksum == "composite",
    )


def crc32_of(stored: StoredObject) -> int | None:
    """What S3 tells of the whole: also where the object is a single part, since that part's checksum tells it."""
    return zlib.crc32(stored.content) if len(stored.part_sizes) == 1 else stored.crc32


def etag_of(content: Body) -> str:
    """Equal for equal contents, as S3's is; made from cheaper hashes, since tests store many mebibytes."""
    return f'"{hashlib.md5(b"%d %d %d" % (len(content), zlib.crc32(content), zlib.adler32(content))).hexdigest()}"'
