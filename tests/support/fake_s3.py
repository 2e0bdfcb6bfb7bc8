"""S3 in memory, at the level of the engine's protocols: objects with versions and checksums, and multipart uploads.

It holds S3's limits, also those that no emulator does (a range is copied only of a source larger than 5 MiB), counts
calls, and can be told to fail, or to change under the caller, before any of them::

    s3.before("put_part", kill, skip=3)
    s3.before("read", lambda call: s3.put_object("photos", "a.jpg", b"new"), times=1)

What a test expects never to happen, though the engine would recover from it, is in ``violations``.
"""

import hashlib
import itertools
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Literal

from archiver.archive.location import Location
from archiver.archive.storage import (
    ArchiveExists,
    ArchiveObject,
    Body,
    BucketMissing,
    CopyRefused,
    Read,
    SourceMissing,
    SourceObject,
    StoredArchive,
    UploadedPart,
    UploadGone,
)
from archiver.archive.traffic import Traffic
from archiver.errors import ArchiveRefused, DestinationUnavailable, SourceArchived, SourceChanged

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


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@dataclass(slots=True)
class _Fault:
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
class _Upload:
    bucket: str
    archive: ArchiveObject
    parts: dict[int, tuple[UploadedPart, bytes]] = field(default_factory=dict)


class FakeS3:
    """The server: buckets, uploads, faults and counts. Safe to use from many threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, dict[str, list[StoredObject]]] = {}
        self.versioned: set[str] = set()
        self.uploads: dict[str, _Upload] = {}
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []
        #: Whether CopyPartResult and ListParts tell CRC32s, as S3 does and some servers do not.
        self.tells_part_checksums = True
        self._faults: list[_Fault] = []
        self._numbers = itertools.count(1)
        self._held: dict[int, int] = {}
        self.peak_held = 0

    # ---- what a test arranges

    def create_bucket(self, name: str, *, versioned: bool = False) -> None:
        self.buckets.setdefault(name, {})
        if versioned:
            self.versioned.add(name)

    def put_object(
        self,
        bucket: str,
        key: str,
        content: bytes,
        *,
        checksum: Checksum = "full",
        part_size: int = 8 * MIB,
        modified: int = 1_700_000_000,
        archived: bool = False,
    ) -> StoredObject:
        """Store an object with a FULL_OBJECT CRC32, a COMPOSITE one of parts of ``part_size``, or none.

        An ``archived`` one can be listed and nothing else.
        """
        with self.lock:
            self.create_bucket(bucket)
            sizes = tuple(min(part_size, len(content) - at) for at in range(0, len(content), part_size))
            stored = StoredObject(
                content=content,
                etag=_etag(content),
                modified=modified,
                version_id=self._version(bucket),
                checksum=checksum,
                part_sizes=sizes if checksum == "composite" else (),
                crc32=zlib.crc32(content) if checksum == "full" else None,
                archived=archived,
            )
            self._store(bucket, key, stored)
            return stored

    def delete_object(self, bucket: str, key: str) -> None:
        with self.lock:
            self.buckets[bucket].pop(key, None)

    def content(self, bucket: str, key: str) -> bytes:
        return self.buckets[bucket][key][-1].content

    def unfinished(self) -> list[str]:
        """Ids of the uploads that nobody completed or aborted."""
        return list(self.uploads)

    def before(
        self, operation: str, action: Action, *, skip: int = 0, times: int | None = None, key: str | None = None
    ) -> None:
        """Run ``action``, which may raise, before ``times`` calls of ``operation`` (on one ``key``), after ``skip``."""
        self._faults.append(_Fault(operation, action, skip, times, key))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def objects(self, traffic: Traffic) -> "FakeObjects":
        return FakeObjects(self, traffic)

    def archives(self, bucket: str) -> Callable[[Traffic], "FakeUploads"]:
        self.create_bucket(bucket)
        return lambda traffic: FakeUploads(self, bucket, traffic)

    # ---- what the two sides share

    def called(self, operation: str, bucket: str, key: str, number: int = 0, source: str = "") -> bool:
        """Count a call and let the faults strike; whether one of them flips a bit of what is read."""
        due: list[Action] = []
        with self.lock:
            self.calls[operation] += 1
            for fault in self._faults:
                if fault.operation != operation or fault.key not in (None, key):
                    continue
                if fault.skip:
                    fault.skip -= 1
                elif fault.times is None or fault.times > 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    due.append(fault.action)
        call = Call(operation, bucket, key, number, source)
        for action in due:
            action(call)
        return flip in due

    def find(self, location: Location) -> StoredObject:
        with self.lock:
            if location.bucket not in self.buckets:
                raise BucketMissing(location.bucket)
            versions = self.buckets[location.bucket].get(location.key, ())
            for stored in reversed(versions):
                if location.version_id in (None, stored.version_id):
                    return stored
        raise SourceMissing(str(location))

    def read(self, location: Location) -> StoredObject:
        """The object, if its content can be had."""
        stored = self.find(location)
        if stored.archived:
            raise SourceArchived(f"{location} must be restored first")
        return stored

    def hold(self, body: bytearray | mmap) -> None:
        """A part is being filled in the worker's memory."""
        with self.lock:
            self._held[id(body)] = len(body)
            self.peak_held = max(self.peak_held, sum(self._held.values()))

    def release(self, body: object) -> None:
        with self.lock:
            self._held.pop(id(body), None)

    def store_archive(
        self, bucket: str, archive: ArchiveObject, content: bytes, *, crc32: int, part_sizes: Sequence[int] = ()
    ) -> StoredArchive:
        stored = StoredObject(
            content=content,
            etag=_etag(content) if not part_sizes else f'"{_etag(content)[1:-1]}-{len(part_sizes)}"',
            modified=1_700_000_000,
            version_id=self._version(bucket),
            checksum="full",
            crc32=crc32,
            metadata=archive.metadata,
            content_disposition=archive.content_disposition,
            tags=dict(archive.tags),
            storage_class=archive.storage_class,
        )
        self._store(bucket, archive.key, stored)
        return seen_archive(stored)

    def next_id(self) -> str:
        return f"{next(self._numbers):06}"

    def _version(self, bucket: str) -> str | None:
        return f"v{self.next_id()}" if bucket in self.versioned else None

    def _store(self, bucket: str, key: str, stored: StoredObject) -> None:
        versions = self.buckets[bucket].setdefault(key, [])
        if bucket not in self.versioned:
            versions.clear()
        versions.append(stored)


class FakeObjects:
    """The sources' side: what ``S3Objects`` is to S3."""

    def __init__(self, s3: FakeS3, traffic: Traffic) -> None:
        self._s3 = s3
        self._traffic = traffic

    def head(self, location: Location) -> SourceObject:
        self._s3.called("head", location.bucket, location.key)
        return _seen(location, self._s3.read(location))

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        flips = self._s3.called("fetch_small", location.bucket, location.key)
        stored = self._s3.read(location)
        if len(stored.content) > limit or not stored.content:
            return _seen(location, stored)
        self._traffic.read(len(stored.content))
        return replace(_seen(location, stored), body=_flipped(stored.content) if flips else stored.content)

    def below(self, prefix: Location) -> Iterator[SourceObject]:
        self._s3.called("below", prefix.bucket, prefix.key)
        yield from self._listed(prefix.bucket, prefix.key)

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        self._s3.called("page", after.bucket, after.key)
        behind = (found for found in self._listed(after.bucket, prefix) if found.key.encode() > after.key.encode())
        return list(itertools.islice(behind, PAGE))

    def _listed(self, name: str, prefix: str) -> list[SourceObject]:
        with self._s3.lock:
            if name not in self._s3.buckets:
                raise BucketMissing(name)
            bucket = self._s3.buckets[name]
            keys = sorted((key for key in bucket if key.startswith(prefix)), key=str.encode)
            found = [(key, bucket[key][-1]) for key in keys]
        return [
            SourceObject(name, key, len(stored.content), stored.etag, stored.modified, archived=stored.archived)
            for key, stored in found
        ]

    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None:
        self._s3.called("part_checksums", source.bucket, source.key)
        try:
            stored = self._s3.find(Location(source.bucket, source.key, source.version_id))
        except (SourceMissing, BucketMissing):
            return None
        if stored.etag != source.etag or stored.checksum != "composite":
            return None
        stops = list(itertools.accumulate(stored.part_sizes))
        return [
            (zlib.crc32(memoryview(stored.content)[stop - size : stop]), size)
            for stop, size in zip(stops, stored.part_sizes, strict=True)
        ]

    def read_all(self, reads: Sequence[Read]) -> list[int | None]:
        return [self._read(read.source, read.start, read.target) for read in reads]

    def _read(self, source: SourceObject, start: int, target: memoryview) -> int | None:
        if isinstance(target.obj, bytearray | mmap):
            self._s3.hold(target.obj)
        target[:] = self._pinned("read", source, start, start + len(target))
        if len(target) < source.size:
            return None
        return _crc32(self._s3.find(source.location))

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        return zlib.crc32(self._pinned("crc32", source, start, stop))

    def _pinned(self, operation: str, source: SourceObject, start: int, stop: int) -> memoryview:
        flips = self._s3.called(operation, source.bucket, source.key)
        try:
            stored = self._s3.read(Location(source.bucket, source.key, source.version_id))
        except (SourceMissing, BucketMissing):
            raise SourceChanged(f"{source} vanished") from None
        if stored.etag != source.etag or stop > len(stored.content):
            raise SourceChanged(f"{source} changed")
        self._traffic.read(stop - start)
        found = memoryview(stored.content)[start:stop]
        return memoryview(_flipped(bytes(found))) if flips else found


class FakeUploads:
    """The archive's side: what ``S3Uploads`` is to S3."""

    def __init__(self, s3: FakeS3, bucket: str, traffic: Traffic) -> None:
        self._s3 = s3
        self._traffic = traffic
        self.bucket = bucket

    def find_archive(self, key: str) -> StoredArchive | None:
        self._s3.called("find_archive", self.bucket, key)
        try:
            return seen_archive(self._s3.find(Location(self.bucket, key)))
        except SourceMissing:
            return None

    def put(self, archive: ArchiveObject, body: Body, *, crc32: int) -> StoredArchive:
        self._s3.called("put", self.bucket, archive.key)
        self._check_body(body, crc32)
        with self._s3.lock:
            self._check_free(archive)
            self._traffic.uploaded(len(body))
            return self._s3.store_archive(self.bucket, archive, bytes(body), crc32=crc32)

    def create(self, archive: ArchiveObject) -> str:
        self._s3.called("create", self.bucket, archive.key)
        size = sum(len(name) + len(value) for name, value in archive.metadata.items())
        if size > MAX_METADATA or not all(value.isascii() for value in archive.metadata.values()):
            raise DestinationUnavailable(f"MetadataTooLarge: {size} bytes")
        with self._s3.lock:
            upload_id = self._s3.next_id()
            self._s3.uploads[upload_id] = _Upload(self.bucket, archive)
            return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, crc32: int) -> UploadedPart:
        self._s3.called("put_part", self.bucket, key, number)
        self._check_body(body, crc32)
        if not 1 <= number <= MAX_NUMBER or len(body) > MAX_PART:
            raise self._violated(f"part {number} of {len(body)} bytes", DestinationUnavailable)
        part = UploadedPart(number, _etag(body), len(body), crc32)
        with self._s3.lock:
            self._upload(key, upload_id).parts[number] = (part, bytes(body))
        self._traffic.uploaded(len(body))
        return part

    def copy_part(
        self, key: str, upload_id: str, number: int, source: SourceObject, start: int, stop: int
    ) -> UploadedPart:
        flips = self._s3.called("copy_part", self.bucket, key, number, source.key)
        with self._s3.lock:
            upload = self._upload(key, upload_id)
            try:
                stored = self._s3.read(Location(source.bucket, source.key, source.version_id))
            except (SourceMissing, BucketMissing):
                raise CopyRefused("NoSuchKey") from None
            if stored.etag != source.etag:
                raise SourceChanged(f"{source} changed")
            if len(stored.content) <= MIN_PART:
                raise self._violated(f"range of {source}, which is not larger than 5 MiB", CopyRefused)
            if not 1 <= number <= MAX_NUMBER or not 0 <= start < stop <= start + MAX_PART:
                raise self._violated(f"part {number}, bytes {start} to {stop} of {source}", CopyRefused)
            if stop > len(stored.content):
                raise SourceChanged(f"{source} changed (InvalidRange)")
            body = _flipped(stored.content[start:stop]) if flips else stored.content[start:stop]
            crc32 = zlib.crc32(body) if self._s3.tells_part_checksums else None
            part = UploadedPart(number, _etag(body), len(body), crc32)
            upload.parts[number] = (part, body)
        self._traffic.copied(len(body))
        return part

    def uploads_of(self, key: str) -> list[str]:
        self._s3.called("uploads_of", self.bucket, key)
        with self._s3.lock:
            return [upload_id for upload_id, upload in self._s3.uploads.items() if upload.archive.key == key]

    def parts_of(self, key: str, upload_id: str, *, after: int = 0) -> dict[int, UploadedPart]:
        self._s3.called("parts_of", self.bucket, key)
        with self._s3.lock:
            listed = sorted(self._upload(key, upload_id).parts.items())
            return {number: part for number, (part, _) in listed if number > after}

    def complete(
        self, archive: ArchiveObject, upload_id: str, parts: list[UploadedPart], *, crc32: int, size: int
    ) -> StoredArchive:
        self._s3.called("complete", self.bucket, archive.key)
        with self._s3.lock:
            upload = self._upload(archive.key, upload_id)
            self._check_free(archive)
            numbers = [part.number for part in parts]
            if numbers != sorted(set(numbers)) or not numbers:
                raise ArchiveRefused(f"InvalidPartOrder: {numbers}")
            bodies = []
            for part in parts:
                stored, body = upload.parts.get(part.number, (None, b""))
                if stored is None or stored.etag != part.etag or part.crc32 not in (None, zlib.crc32(body)):
                    raise ArchiveRefused(f"InvalidPart: {part.number}")
                bodies.append(body)
            if any(len(body) < MIN_PART for body in bodies[:-1]):
                raise ArchiveRefused(f"EntityTooSmall: {[len(body) for body in bodies]}")
            content = b"".join(bodies)
            if len(content) != size:
                raise ArchiveRefused(f"InvalidRequest: {len(content)} bytes, not {size}")
            if zlib.crc32(content) != crc32:
                raise ArchiveRefused("BadDigest")
            del self._s3.uploads[upload_id]
            sizes = [len(body) for body in bodies]
            return self._s3.store_archive(self.bucket, upload.archive, content, crc32=crc32, part_sizes=sizes)

    def abort(self, key: str, upload_id: str) -> None:
        self._s3.called("abort", self.bucket, key)
        with self._s3.lock:
            self._s3.uploads.pop(upload_id, None)

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self._s3.uploads.get(upload_id)
        if upload is None or upload.archive.key != key:
            raise UploadGone
        return upload

    def _check_free(self, archive: ArchiveObject) -> None:
        if archive.key in self._s3.buckets[self.bucket] and not archive.overwrite:
            raise ArchiveExists(archive.key)

    def _check_body(self, body: Body, crc32: int) -> None:
        self._s3.release(body)
        if zlib.crc32(body) != crc32:
            raise self._violated("a body that is not what its CRC32 says", DestinationUnavailable)

    def _violated(self, what: str, error: type[Exception]) -> Exception:
        self._s3.violations.append(what)
        return error(what)


def seen_archive(stored: StoredObject) -> StoredArchive:
    """What a HEAD of a finished archive tells."""
    return StoredArchive(
        stored.etag.strip('"'), len(stored.content), stored.version_id, stored.crc32, dict(stored.metadata)
    )


def _seen(location: Location, stored: StoredObject) -> SourceObject:
    return SourceObject(
        bucket=location.bucket,
        key=location.key,
        size=len(stored.content),
        etag=stored.etag,
        modified=stored.modified,
        version_id=location.version_id,
        crc32=_crc32(stored),
        composite=stored.checksum == "composite",
    )


def _crc32(stored: StoredObject) -> int | None:
    """What S3 tells of the whole: also where the object is a single part, since that part's checksum tells it."""
    return zlib.crc32(stored.content) if len(stored.part_sizes) == 1 else stored.crc32


def _etag(content: Body) -> str:
    """Equal for equal contents, as S3's is; made from cheaper hashes, since tests store many mebibytes."""
    return f'"{hashlib.md5(b"%d %d %d" % (len(content), zlib.crc32(content), zlib.adler32(content))).hexdigest()}"'
