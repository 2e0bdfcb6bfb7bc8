"""The archive's upload: begun when a first part needs it, resumed where an earlier attempt left one.

A resumable upload carries a marker: a part with the highest number, whose content is the digest of everything that
determines the archive's parts. Listing the parts shows the marker's checksum, so one call says whether the parts are
ours to use. The completion does not list the marker, and S3 drops parts that a completion does not list.

Under a key that several requests may have chosen, a second marker says whose the upload is: the part before, whose
content is the owner's. No other program leaves two parts of 64 bytes at the end of 10,000: S3 would refuse to complete
them, since only the last part may have less than 5 MiB. So ``archiver.aws.sweep`` knows these uploads, too.
"""

import hashlib
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Protocol

from archiver.archive.plan import MAX_PARTS
from archiver.archive.storage import (
    ArchiveObject,
    ArchiveStore,
    Body,
    SourceObject,
    StoredArchive,
    UploadedPart,
    UploadGone,
    UploadsUnlisted,
)
from archiver.archive.streamed_body import PartBody
from archiver.errors import ArchiveRefused, ArchiverError
from archiver.logs import get_logger

MARKER_NUMBER = MAX_PARTS
OWNER_NUMBER = MAX_PARTS - 1
#: The highest number of a part of the archive itself.
LAST_NUMBER = MAX_PARTS - 2
#: How often a completion is tried that others, who put the same parts again, may be in the way of.
COMPLETIONS = 5
#: Size of either marker in bytes: a SHA-256 in hexadecimal digits.
MARKER_SIZE = 64

#: Builds parts anew, by their numbers.
Rebuild = Callable[[Set[int]], Mapping[int, UploadedPart]]

log = get_logger(__name__)


class SharedUploads(Protocol):
    """Where jobs share their uploads with others. ``archiver.archive.crew`` has the real one."""

    def forget(self, bucket: str, key: str, upload_id: str) -> None:
        """Delete what was shared of an upload that nobody goes on with."""


class Upload:
    """One archive's upload. ``digest`` is called once, when a marker is written or looked for."""

    def __init__(self, store: ArchiveStore, archive: ArchiveObject, *, digest: Callable[[], str], resume: bool) -> None:
        self._store = store
        self._archive = archive
        self._digest = digest
        self._resume = resume
        self._lock = threading.RLock()
        self._looked = self._aborted = self._beginning = False
        self._id: str | None = None
        self._done: dict[int, UploadedPart] = {}
        self._gone_on = False

    @property
    def begun(self) -> bool:
        """Whether S3 knows of it, markers and all: whoever waits for it holds up nobody."""
        return self._id is not None and not self._beginning

    @property
    def resumed(self) -> bool:
        """Whether an earlier attempt began it."""
        return self._gone_on

    def open(self) -> str:
        """The upload's id; the first call resumes or creates it. Raises ``UploadGone`` once it is aborted."""
        with self._lock:
            if self._aborted:
                raise UploadGone
            if self._id is None and not self.find():
                self._beginning = True
                try:
                    self._begin()
                finally:
                    self._beginning = False
            assert self._id is not None
            return self._id

    def _begin(self) -> None:
        self._id = self._store.create(self._archive)
        if self._archive.owner is not None:
            self._mark(self._id, OWNER_NUMBER, self._archive.owner.encode())
        self._mark(self._id, MARKER_NUMBER, self._digest().encode())

    def find(self) -> bool:
        """Whether there is one to go on with. S3 is asked once."""
        with self._lock:
            if self._id is None and self._resume and not self._looked:
                self._looked = True
                self._id = self._resumed(self._digest().encode())
                self._gone_on = self._id is not None
            return self._id is not None

    def _mark(self, upload_id: str, number: int, content: bytes) -> None:
        self._store.put_part(self._archive.key, upload_id, number, content, crc32=zlib.crc32(content))

    def uploaded(self, number: int, size: int) -> UploadedPart | None:
        """The part that S3 has, mostly from an earlier attempt, where it has this size and a CRC32.

        Nothing says that its bytes are the right ones: the worker that sent them may have died before it knew.
        """
        if self._id is None and not self._resume:
            return None  # nor need anybody wait for an upload that is only beginning
        self.open()
        part = self._done.get(number)
        return part if part is not None and part.size == size and part.crc32 is not None else None

    def put(self, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        """Upload a part, unless S3 has the same bytes already."""
        done = self.uploaded(number, len(body))
        if done is not None and done.crc32 == crc32:
            return done
        upload_id = self.open()
        return self._took(upload_id, self._store.put_part(self._archive.key, upload_id, number, body, crc32=crc32))

    def copy(self, number: int, source: SourceObject, start: int, stop: int) -> UploadedPart:
        """Copy a range of a source into a part."""
        upload_id = self.open()
        return self._took(upload_id, self._store.copy_part(self._archive.key, upload_id, number, source, start, stop))

    def _took(self, upload_id: str, part: UploadedPart) -> UploadedPart:
        with self._lock:
            self._done[part.number] = part
            aborted = self._aborted
        if aborted:
            # S3 may keep a part that was under way when its upload was aborted:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
            _abort(self._store, self._archive.key, upload_id)
        return part

    def put_whole(self, body: Body, *, crc32: int) -> StoredArchive:
        """Write an archive that is one part in one request."""
        return self._store.put(self._archive, body, crc32=crc32)

    def _listed(self, parts: Sequence[UploadedPart]) -> list[UploadedPart]:
        """Parts that somebody else has put, with the ETags that they have now; those that differ are left out.

        Where the parts are not ours to list, all of them as they are told.
        """
        try:
            listed = self._store.parts_of(self._archive.key, self.open())
        except UploadsUnlisted as error:
            log.warning("what others have uploaded is not ours to list", reason=str(error))
            return list(parts)
        found = []
        for part in parts:
            there = listed.get(part.number)
            if there is not None and _is_same(there, part):
                found.append(replace(part, etag=there.etag))
            else:
                self._done.pop(part.number, None)
        return found

    def complete(
        self, parts: list[UploadedPart], *, crc32: int, size: int, rebuild: Rebuild | None = None
    ) -> StoredArchive:
        """Make the archive of its parts. ``rebuild`` puts those again that somebody else has put other bytes over."""
        upload_id = self.open()
        for _ in range(COMPLETIONS - 1):
            try:
                return self._store.complete(self._archive, upload_id, parts, crc32=crc32, size=size)
            except ArchiveRefused:
                # Somebody else at work on the same upload has put the same bytes again, and S3 may have given them
                # another ETag: it does where a KMS key encrypts.
                there = {part.number: part for part in self._listed(parts)}
                lost = {part.number for part in parts} - there.keys()
                if lost and rebuild is not None:
                    log.warning("parts that others have put over ours are built again", parts=len(lost))
                    there |= rebuild(lost)
                again = [there[part.number] for part in parts if part.number in there]
                if (again == parts and not lost) or len(again) != len(parts):
                    raise
                parts = again
        return self._store.complete(self._archive, upload_id, parts, crc32=crc32, size=size)

    def abort(self) -> None:
        """Drop the upload with its parts, as far as S3 lets us: the bucket's lifecycle rule does the rest."""
        with self._lock:
            upload_id, self._id, self._done, self._aborted = self._id, None, {}, True
        if upload_id is not None:
            _abort(self._store, self._archive.key, upload_id)

    def _resumed(self, marker: bytes) -> str | None:
        """The upload that an earlier attempt at the same plan left, the fullest of several.

        Others under the key stay: another attempt may be at work on one, or this one come to their plan when S3
        refuses to copy. Whoever completes the archive aborts them.
        """
        resumed: str | None = None
        try:
            left = self._store.uploads_of(self._archive.key)
        except UploadsUnlisted as error:
            log.warning("nothing resumed: unfinished uploads are not ours to list", reason=str(error))
            return None
        for upload_id in left:
            try:
                parts = self._store.parts_of(self._archive.key, upload_id)
            except UploadGone:
                continue
            except UploadsUnlisted as error:
                log.warning("upload not resumed: its parts are not ours to list", reason=str(error))
                continue
            mark, _ = parts.pop(MARKER_NUMBER, None), parts.pop(OWNER_NUMBER, None)
            if mark is None or not _is_marker(mark, marker):
                log.info("upload not resumed: its plan is another", parts=len(parts))
            elif resumed is None or len(parts) > len(self._done):
                resumed, self._done = upload_id, parts
        if resumed is not None:
            log.info("upload resumed", parts=len(self._done), bytes=sum(part.size for part in self._done.values()))
        return resumed


def abort_uploads(
    store: ArchiveStore, key: str, *, owner: str | None = None, shared: SharedUploads | None = None
) -> None:
    """Drop all unfinished uploads under a key, or those of their ``owner``, as far as S3 lets us.

    What jobs have ``shared`` of them goes with them. The bucket's lifecycle rule does the rest.
    """
    try:
        left = [
            upload_id for upload_id in store.uploads_of(key) if owner is None or _is_of(store, key, upload_id, owner)
        ]
    except ArchiverError as error:
        log.warning("unfinished uploads not found: the lifecycle rule will abort them", reason=str(error))
        return
    for upload_id in left:
        _abort(store, key, upload_id)
        if shared is not None:
            shared.forget(store.bucket, key, upload_id)


def _is_of(store: ArchiveStore, key: str, upload_id: str, owner: str) -> bool:
    try:
        mark = store.parts_of(key, upload_id, after=OWNER_NUMBER - 1).get(OWNER_NUMBER)
    except (UploadGone, UploadsUnlisted):
        return False
    return mark is not None and _is_marker(mark, owner.encode())


def _abort(store: ArchiveStore, key: str, upload_id: str) -> None:
    # What the job has come to matters more than what it leaves.
    try:
        store.abort(key, upload_id)
    except ArchiverError as error:
        log.warning("upload not aborted: the lifecycle rule will", reason=str(error))


def _is_same(listed: UploadedPart, part: UploadedPart) -> bool:
    # Where a list tells no CRC32s, the completion compares that of the whole.
    return listed.size == part.size and listed.crc32 in (None, part.crc32)


def _is_marker(part: UploadedPart, marker: bytes) -> bool:
    etag = part.etag.strip('"')
    # The ETag is no MD5 where the bucket encrypts with a KMS key; then the CRC32 has to do.
    same = etag == hashlib.md5(marker, usedforsecurity=False).hexdigest() or part.crc32 == zlib.crc32(marker)
    return part.size == len(marker) and same
