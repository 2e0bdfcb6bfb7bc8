"""Reading sources: what they are, what is below a prefix, and their bytes, pinned to the ETag first seen."""

import base64
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.location import Location
from archiver.archive.storage import BucketMissing, SourceMissing, SourceObject
from archiver.archive.traffic import Traffic
from archiver.aws.failures import NO_ANSWER, Refused, Side, archived, source_errors
from archiver.aws.lean import Answer, LeanRequests
from archiver.aws.listings import going_forward
from archiver.aws.requests import ObjectRequests, where
from archiver.aws.throttle import Throttle
from archiver.errors import SourceAccessDenied, SourceChanged, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

#: Times that the reading of one range starts again where the connection broke, beyond botocore's own retries,
#: which end with the response's headers.
READ_ATTEMPTS = 6
#: Bytes taken from a connection at once, by each of the concurrent reads: with a mebibyte a job took 50 MiB more.
_CHUNK = 256 * 1024
#: Classes whose objects must be restored before they can be read:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/archived-objects.html
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
#: Words of a denial that is not about reading the object, or says itself that reading is what is denied.
_NAMES_ANOTHER_RIGHT = re.compile(r"kms:|s3:GetObject|ciphertext", re.IGNORECASE)


class S3Objects:
    """The sources' side of S3.

    ``client`` is a boto3 S3 client, whose retries are botocore's; ``sleep`` is passed in so that no test waits.
    """

    def __init__(
        self,
        client: "S3Client",
        *,
        traffic: Traffic,
        throttle: Throttle,
        lean: LeanRequests | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._traffic = traffic
        self._throttle = throttle
        self._sleep = sleep
        self._requests = ObjectRequests(client, throttle=throttle, lean=lean, sleep=sleep)

    def head(self, location: Location) -> SourceObject:
        """Look at one object.

        Raises ``SourceMissing``, ``BucketMissing``, ``SourceAccessDenied``, ``SourceArchived``, ``SourceUnreadable``
        or ``StorageUnavailable``.
        """
        with self._explaining(location), source_errors(location), self._throttle.slot():
            answer = self._requests.head(location)
        if _is_archived(answer):
            raise archived(location)
        return _seen(location, answer, size=int(answer.headers["content-length"]))

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        """Look at one object and bring its content along where it has at most ``limit`` bytes: one request for both.

        Raises as ``head`` does.
        """
        with self._explaining(location), source_errors(location), self._throttle.slot():
            try:
                answer = self._requests.get(location, {"range": f"bytes=0-{limit - 1}"})
            except Refused as refused:
                if refused.status != 416:
                    raise
                answer = None  # an empty object has no first byte
            size, body = (0, None) if answer is None else _small(answer, limit)
        if answer is None or body is None:
            return self.head(location)
        self._traffic.read(len(body))
        return replace(_seen(location, answer, size=size), crc32=zlib.crc32(body), body=body)

    def below(self, prefix: Location) -> Iterator[SourceObject]:
        """Every object below a prefix, in S3's order. Raises as ``head`` does; nothing there yields nothing."""
        with source_errors(prefix, Side.LIST):
            paginator = self._client.get_paginator("list_objects_v2")
            pages = going_forward(
                paginator.paginate(Bucket=prefix.bucket, Prefix=prefix.key),
                what=str(prefix),
                items="Contents",
                identity=lambda item: item["Key"],
                markers=("NextContinuationToken",),
            )
            while True:
                with self._throttle.slot():
                    page = next(pages, None)
                if page is None:
                    return
                self._requests.listed(prefix.bucket)
                yield from _listed(prefix.bucket, page)

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        """Up to 1,000 objects whose keys come behind one in S3's order and begin with ``prefix``.

        Raises as ``head`` does; without s3:ListBucket that is ``SourceAccessDenied``.
        """
        with source_errors(after, Side.LIST), self._throttle.slot():
            answer = self._client.list_objects_v2(Bucket=after.bucket, StartAfter=after.key, Prefix=prefix)
            self._requests.listed(after.bucket)
            return list(_listed(after.bucket, answer))

    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None:
        """CRC32 and size in bytes of each part of a COMPOSITE object, in order; None where S3 does not tell.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
        """
        parts: list[tuple[int, int]] = []
        marker = 0
        try:
            while True:
                with self._throttle.slot():
                    answer = self._client.get_object_attributes(
                        ObjectAttributes=["ETag", "ObjectParts", "ObjectSize"],
                        PartNumberMarker=marker,
                        **where(source.location),
                    )
                if answer.get("ETag", "").strip('"') != source.etag.strip('"'):
                    return None
                listed = answer.get("ObjectParts", {})
                for part in listed.get("Parts", ()):
                    if "ChecksumCRC32" not in part:
                        return None
                    parts.append((decode_crc32(part["ChecksumCRC32"]), part["Size"]))
                if not listed.get("IsTruncated"):
                    break
                before, marker = marker, int(listed["NextPartNumberMarker"])
                if marker <= before:
                    return None
        except (ClientError, BotoCoreError):
            # An optimisation that its permission may be missing for: the bytes tell the same.
            return None
        return parts if parts and sum(size for _, size in parts) == source.size else None

    def read_into(self, source: SourceObject, start: int, target: memoryview) -> None:
        """Fill ``target`` with the object's bytes from ``start`` on, going on where a connection broke.

        Raises ``SourceChanged`` where the object is no longer the one first seen, or gone, else as ``head`` does.
        """
        done = 0
        for chunk in self._stream(source, start, start + len(target)):
            target[done : done + len(chunk)] = chunk
            done += len(chunk)

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        """The CRC32 of a range, read without being kept."""
        crc = 0
        for chunk in self._stream(source, start, stop):
            crc = zlib.crc32(chunk, crc)
        return crc

    def _stream(self, source: SourceObject, start: int, stop: int) -> Iterator[bytes]:
        position, attempt = start, 0
        location = source.location
        while position < stop:
            before = position
            with _vanishing(source), source_errors(source), self._throttle.slot():
                try:
                    pinned = {"range": f"bytes={position}-{stop - 1}", "if-match": source.etag}
                    body = self._requests.get(location, pinned).body
                    try:
                        while position < stop:
                            chunk = body.read(min(_CHUNK, stop - position))
                            if not chunk:
                                break
                            self._traffic.read(len(chunk))
                            position += len(chunk)
                            yield chunk
                    finally:
                        body.close()
                except NO_ANSWER:
                    if attempt + 1 >= READ_ATTEMPTS and position == before:
                        raise
            if position < stop:
                attempt = 0 if position > before else attempt + 1
                if attempt >= READ_ATTEMPTS:
                    raise StorageUnavailable(f"reading {source} stopped at byte {position:,} of {stop:,}")
                self._sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))  # noqa: S311 jitter, not a secret

    @contextmanager
    def _explaining(self, location: Location) -> Iterator[None]:
        """Say where a denial may mean that the object is missing: S3 tells that only who may list the bucket."""
        try:
            yield
        except SourceAccessDenied as error:
            refused = error.__cause__
            if (
                isinstance(refused, Refused)
                and refused.code == "AccessDenied"
                and not _NAMES_ANOTHER_RIGHT.search(refused.message)
                and self._requests.denies_what_is_missing(location.bucket)
            ):
                raise SourceAccessDenied(
                    f"{error}; without s3:ListBucket, S3 answers so for a missing object, too"
                ) from refused
            raise


@contextmanager
def _vanishing(source: SourceObject) -> Iterator[None]:
    """An object that was there when the job looked and is gone now has changed: the next look says what that means."""
    try:
        yield
    except (SourceMissing, BucketMissing) as error:
        raise SourceChanged(f"{source} vanished while the archive was being built") from error


def decode_crc32(text: str) -> int:
    """S3's form of a CRC32: base64 of four big-endian bytes."""
    return int.from_bytes(base64.b64decode(text), "big")


def encode_crc32(value: int) -> str:
    """The CRC32 in S3's form."""
    return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")


def _listed(bucket: str, page: "ListObjectsV2OutputTypeDef") -> Iterator[SourceObject]:
    for item in page.get("Contents", ()):
        yield SourceObject(
            bucket=bucket,
            key=item["Key"],
            size=item["Size"],
            etag=item["ETag"],
            modified=int(item["LastModified"].timestamp()),
            archived=item.get("StorageClass") in _ARCHIVED,
        )


def _small(answer: Answer, limit: int) -> tuple[int, bytes | None]:
    """The object's size, and its content where that came whole."""
    # "bytes 0-65535/1048576"; without one it is the whole object.
    of_all = answer.headers.get("content-range", "").rpartition("/")[2]
    size = int(of_all or answer.headers["content-length"])
    with closing(answer.body):
        try:
            return size, answer.body.read() if size <= limit else None
        except NO_ANSWER:
            # The connection broke: reading it later goes on where it did.
            return size, None


def _is_archived(answer: Answer) -> bool:
    """Whether nobody can read the object now: it is archived, and no restored copy is there.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if "x-amz-archive-status" in answer.headers:  # of Intelligent-Tiering
        return True
    restored = 'ongoing-request="false"' in answer.headers.get("x-amz-restore", "")
    return answer.headers.get("x-amz-storage-class") in _ARCHIVED and not restored


def _seen(location: Location, answer: Answer, *, size: int) -> SourceObject:
    checksum, kind = answer.headers.get("x-amz-checksum-crc32"), answer.headers.get("x-amz-checksum-type")
    # A COMPOSITE checksum is that of the parts' checksums, with their number behind a dash.
    composite = checksum is not None and (kind == "COMPOSITE" or "-" in checksum)
    return SourceObject(
        bucket=location.bucket,
        key=location.key,
        version_id=location.version_id,
        size=size,
        etag=answer.headers["etag"],
        modified=int(parsedate_to_datetime(answer.headers["last-modified"]).timestamp()),
        crc32=None if checksum is None or composite else decode_crc32(checksum),
        composite=composite,
    )
