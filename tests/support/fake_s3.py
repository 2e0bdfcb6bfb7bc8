"""S3 in memory, at the level of the engine's protocols: objects with versions and checksums, and multipart uploads.

It holds S3's limits, also those that no emulator does (a range is copied only of a source larger than 5 MiB), counts
calls, and can be told to fail, or to change under the caller, before any of them::

    s3.before("put_part", kill, skip=3)
    s3.before("read", lambda call: s3.put_object("photos", "a.jpg", b"new"), times=1)

What a test expects never to happen, though the engine would recover from it, is in ``violations``.
"""

import itertools
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from mmap import mmap

from archiver.archive.location import Location
from archiver.archive.storage import (
    ArchiveObject,
    BucketMissing,
    SourceMissing,
    StoredArchive,
)
from archiver.archive.traffic import Traffic
from archiver.errors import SourceArchived
from tests.support.fake_model import (
    MIB,
    PAGE,
    Action,
    Call,
    Checksum,
    Fault,
    OpenUpload,
    StoredObject,
    etag_of,
    flip,
    seen_archive,
)
from tests.support.fake_stores import FakeObjects, FakeUploads

__all__ = ["MIB", "Action", "Call", "Checksum", "FakeS3", "FakeUploads", "flip"]


class FakeS3:
    """The server: buckets, uploads, faults and counts. Safe to use from many threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, dict[str, list[StoredObject]]] = {}
        self.versioned: set[str] = set()
        self.uploads: dict[str, OpenUpload] = {}
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []
        #: Whether CopyPartResult and ListParts tell CRC32s, as S3 does and some servers do not.
        self.tells_part_checksums = True
        #: Objects of one page of a listing.
        self.page = PAGE
        self._faults: list[Fault] = []
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
            etag = etag_of(content)
            stored = StoredObject(
                content=content,
                etag=f'"{etag[1:-1]}-{len(sizes)}"' if checksum == "composite" else etag,
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
        self._faults.append(Fault(operation, action, skip, times, key))

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
            etag=etag_of(content) if not part_sizes else f'"{etag_of(content)[1:-1]}-{len(part_sizes)}"',
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
