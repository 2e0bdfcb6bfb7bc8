"""The engine's two ports on the in-memory S3: what ``S3Objects`` and ``S3Uploads`` are to S3."""

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING

from archiver.archive.location import Location
from archiver.archive.storage import (
    ArchiveExists,
    ArchiveObject,
    Body,
    BucketMissing,
    CopyRefused,
    ListedPage,
    OnRead,
    Read,
    SourceMissing,
    SourceObject,
    StoredArchive,
    UploadedPart,
    UploadGone,
)
from archiver.archive.streamed_body import Arriving, PartBody, StreamedBody
from archiver.archive.traffic import Traffic
from archiver.errors import ArchiveRefused, DestinationUnavailable, SourceChanged
from tests.support.fake_model import (
    MAX_METADATA,
    MAX_NUMBER,
    MAX_PART,
    MIN_PART,
    OpenUpload,
    crc32_of,
    etag_of,
    flipped,
    seen_archive,
    seen_source,
)

if TYPE_CHECKING:
    from tests.support.fake_s3 import FakeS3


@dataclass
class FakeArriving:
    """Content that comes in pieces, each after a call of ``arrive``. Every second look is too early."""

    crc32: int | None
    content: bytes
    arrive: Callable[[], object]
    _early: bool = True

    lane = 0

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None:
        self._early = not self._early
        if self._early:
            wake()
            return None
        self.arrive()
        chunk, self.content = self.content[: min(most, 300_000)], self.content[min(most, 300_000) :]
        return chunk


def drained(body: StreamedBody) -> bytes:
    """All bytes of a body that goes out while it comes in. Raises ``DestinationUnavailable`` where it breaks off."""
    found = bytearray()
    try:
        while (chunk := body.read(512 * 1024, lambda: None)) != b"":
            found += chunk or b""
    except ConnectionError as error:
        raise DestinationUnavailable(str(error)) from error
    return bytes(found)


class FakeObjects:
    """The sources' side: what ``S3Objects`` is to S3."""

    def __init__(self, s3: "FakeS3", traffic: Traffic) -> None:
        self._s3 = s3
        self._traffic = traffic
        self._told: dict[str, bool] = {}

    def head(self, location: Location) -> SourceObject:
        self._s3.called("head", location.bucket, location.key)
        return seen_source(location, self._s3.read(location))

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        flips = self._s3.called("fetch_small", location.bucket, location.key)
        stored = self._s3.read(location)
        if len(stored.content) > limit or not stored.content:
            return seen_source(location, stored)
        self._traffic.read(len(stored.content))
        return seen_source(location, stored)._replace(body=flipped(stored.content) if flips else stored.content)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        more = True
        while more:
            self._s3.called("below", prefix.bucket, prefix.key)
            behind = self._behind(prefix.bucket, prefix.key, after)
            page = behind[: self._s3.page]
            more = len(behind) > len(page)
            yield ListedPage(page, more)
            after = page[-1].key if page else after

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        self._s3.called("page", after.bucket, after.key)
        return self._behind(after.bucket, prefix, after.key)[: self._s3.page]

    def _behind(self, name: str, prefix: str, after: str | None) -> list[SourceObject]:
        with self._s3.lock:
            if name not in self._s3.buckets:
                raise BucketMissing(name)
            bucket = self._s3.buckets[name]
            keys = sorted((key for key in bucket if key.startswith(prefix)), key=str.encode)
            if after is not None:
                keys = [key for key in keys if key.encode() > after.encode()]
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

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]:
        crc32s = []
        for number, read in enumerate(reads):
            crc32s.append(self._read(read.source, read.start, read.target))
            if on_read is not None:
                on_read(number, crc32s[number])
        return crc32s

    def tells_crc32(self, bucket: str) -> bool:
        return self._told.get(bucket, False)

    @contextmanager
    def opened(self, sources: Sequence[SourceObject]) -> Iterator[Sequence[Arriving]]:
        yield [self._arriving(source) for source in sources]

    def _arriving(self, source: SourceObject) -> "FakeArriving":
        content = bytes(self._pinned("read", source, 0, source.size))
        crc32 = self._told_crc32(source)
        arrive = partial(self._s3.called, "arrive", source.bucket, source.key)
        return FakeArriving(crc32, content, arrive)

    def _told_crc32(self, source: SourceObject) -> int | None:
        crc32 = crc32_of(self._s3.find(source.location))
        self._told[source.bucket] = crc32 is not None and self._told.get(source.bucket, True)
        return crc32

    def _read(self, source: SourceObject, start: int, target: memoryview) -> int | None:
        if isinstance(target.obj, bytearray | mmap):
            self._s3.hold(target.obj)
        target[:] = self._pinned("read", source, start, start + len(target))
        if len(target) < source.size:
            return None
        return self._told_crc32(source)

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
        return memoryview(flipped(bytes(found))) if flips else found


class FakeUploads:
    """The archive's side: what ``S3Uploads`` is to S3."""

    def __init__(self, s3: "FakeS3", bucket: str, traffic: Traffic) -> None:
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
            self._s3.uploads[upload_id] = OpenUpload(self.bucket, archive)
            return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        self._s3.called("put_part", self.bucket, key, number)
        if isinstance(body, StreamedBody):
            body = drained(body)
            if zlib.crc32(body) != crc32:
                raise DestinationUnavailable("BadDigest")
        self._check_body(body, crc32)
        if not 1 <= number <= MAX_NUMBER or len(body) > MAX_PART:
            raise self._violated(f"part {number} of {len(body)} bytes", DestinationUnavailable)
        part = UploadedPart(number, etag_of(body), len(body), crc32)
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
            body = flipped(stored.content[start:stop]) if flips else stored.content[start:stop]
            crc32 = zlib.crc32(body) if self._s3.tells_part_checksums else None
            part = UploadedPart(number, etag_of(body), len(body), crc32)
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

    def _upload(self, key: str, upload_id: str) -> OpenUpload:
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
