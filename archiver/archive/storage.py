"""Where sources are read and archives written: the two ports of the engine, their values, and what can go wrong there.

``archiver.aws`` has the real implementations, ``S3Objects`` and ``S3Uploads``; the tests have one in memory. Both pass
the same contract suite.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, NamedTuple, Protocol

from archiver.archive.location import Location
from archiver.errors import DestinationUnavailable

if TYPE_CHECKING:
    # It counts CRC32s, which needs more than the client's package brings along.
    from archiver.archive.streamed_body import Arriving, PartBody

#: The bytes of a part or of a small archive.
Body = bytes | bytearray | mmap | memoryview


class SourceMissing(Exception):
    """The object or version does not exist; the caller decides whether that ends the job."""


class BucketMissing(Exception):
    """There is no such bucket; the caller knows who named it."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.bucket = bucket


class CopyRefused(Exception):
    """The storage won't copy this object; the caller reads it instead."""


class UploadGone(Exception):
    """The upload was completed or aborted by somebody else."""


class ArchiveUnseen(DestinationUnavailable):
    """Whether the archive exists is not ours to see."""


class UploadsUnlisted(DestinationUnavailable):
    """The unfinished uploads, or their parts, are not ours to see."""


class ArchiveExists(Exception):
    """Another delivery of the message has completed the archive first."""


class SourceObject(NamedTuple):
    """One object as it was when the job looked: every later read and copy is pinned to its ETag.

    ``size`` is in bytes, ``modified`` in seconds since the epoch; ``crc32`` is what S3 says of the whole content,
    never what somebody else computed; ``composite`` says that S3 has CRC32s of its parts; ``body`` is the whole
    content where the look brought it along; ``archived`` says that a listing shows it in a class that is read only
    once it is restored. A named tuple, as ``Location`` is.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: int
    version_id: str | None = None
    crc32: int | None = None
    composite: bool = False
    body: bytes | None = None
    archived: bool = False

    @property
    def location(self) -> Location:
        """Where it lies, with its version."""
        return Location(self.bucket, self.key, self.version_id)

    def __str__(self) -> str:
        return str(self.location)


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Objects that a page of a listing shows, in S3's order, and whether more pages follow."""

    objects: Sequence[SourceObject]
    more: bool


class Read(NamedTuple):
    """Bytes of an object that are wanted: from ``start`` on, as many as ``target`` has room for."""

    source: SourceObject
    start: int
    target: memoryview

    @property
    def is_whole(self) -> bool:
        """Whether these are all bytes of the object."""
        return self.start == 0 and len(self.target) == self.source.size


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part that the storage has: ``size`` in bytes; ``crc32`` is None where the server keeps none."""

    number: int
    etag: str
    size: int
    crc32: int | None


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """What the finished object says of itself.

    ``owner`` identifies the request where others may write under the same key: then the unfinished uploads of others
    are left alone, and carry marks of their own. ``overwrite``: whatever has the key is replaced.
    """

    key: str
    metadata: dict[str, str]
    content_disposition: str | None
    tags: tuple[tuple[str, str], ...] = ()
    storage_class: str | None = None
    overwrite: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """The archive as the storage has it: ``size`` in bytes, ``metadata`` as it was given when the upload began."""

    etag: str
    size: int
    version_id: str | None
    crc32: int | None
    metadata: dict[str, str]


#: Told of each read that is done: its number, and the CRC32 that the storage says its bytes have, where it says one.
OnRead = Callable[[int, int | None], None]


class SourceLookup(Protocol):
    """Where sources are looked at. ``archiver.aws.objects`` documents each call."""

    def head(self, location: Location) -> SourceObject: ...
    def fetch_small(self, location: Location, *, limit: int) -> SourceObject: ...
    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]: ...
    def page(self, after: Location, *, prefix: str) -> list[SourceObject]: ...
    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None: ...


class SourceReader(Protocol):
    """Where sources are read. ``archiver.aws.objects`` documents each call."""

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]: ...
    def tells_crc32(self, bucket: str) -> bool: ...
    def opened(self, sources: Sequence[SourceObject]) -> "AbstractContextManager[Sequence[Arriving]]": ...
    def crc32(self, source: SourceObject, start: int, stop: int) -> int: ...


class SourceStore(SourceLookup, SourceReader, Protocol):
    """Where sources are looked at and read."""


class ArchiveStore(Protocol):
    """Where one bucket's archives are written. ``archiver.aws.multipart`` documents each call."""

    @property
    def bucket(self) -> str: ...
    def find_archive(self, key: str) -> StoredArchive | None: ...
    def put(self, archive: ArchiveObject, body: Body, *, crc32: int) -> StoredArchive: ...
    def create(self, archive: ArchiveObject) -> str: ...
    def put_part(self, key: str, upload_id: str, number: int, body: "PartBody", *, crc32: int) -> UploadedPart: ...
    def copy_part(
        self, key: str, upload_id: str, number: int, source: SourceObject, start: int, stop: int
    ) -> UploadedPart: ...
    def uploads_of(self, key: str) -> list[str]: ...
    def parts_of(self, key: str, upload_id: str, *, after: int = 0) -> dict[int, UploadedPart]: ...
    def complete(
        self, archive: ArchiveObject, upload_id: str, parts: list[UploadedPart], *, crc32: int, size: int
    ) -> StoredArchive: ...
    def abort(self, key: str, upload_id: str) -> None: ...
