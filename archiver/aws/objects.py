"""Reading sources: what they are, what is below a prefix, and their bytes, pinned to the ETag first seen."""

import base64
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
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
from archiver.zipformat.crc import four_bytes_of_crc32

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
        return _seen(location, answer)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        """Look at one object and bring its content along where it has at most ``limit`` bytes: one request for both.

        Raises as ``head`` does. The content is as it came: whether it is what S3's CRC32 says is for the caller to see.
        """
        with self._explaining(location), source_errors(location), self._throttle.slot():
            # Not a range of it, of which S3 tells no checksum: a larger object is hung up on after its headers.
            answer = self._requests.get(location, {"x-amz-checksum-mode": "ENABLED"})
            with closing(answer.body):
                seen = _seen(location, answer)
                body = _small(answer) if 0 < seen.size <= limit else None
        if body is None:
            return seen
        self._traffic.read(len(body))
        return replace(seen, body=body)

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

    def read_into(self, source: SourceObject, start: int, target: memoryview) -> int | None:
        """Fill ``target`` with the object's bytes from ``start`` on, going on where a connection broke.

        Returns the CRC32 that S3 says these bytes have; None where it tells none, as of a range. Raises
        ``SourceChanged`` where the object is no longer the one first seen, or gone, else as ``head`` does.
        """
        done = 0
        told: dict[str, str] = {}
        for chunk in self._stream(source, start, start + len(target), told=told):
            target[done : done + len(chunk)] = chunk
            done += len(chunk)
        return _checksum(told)[0]

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        """The CRC32 of a range, read without being kept."""
        crc = 0
        for chunk in self._stream(source, start, stop, told={}):
            crc = zlib.crc32(chunk, crc)
        return crc

    def _stream(self, source: SourceObject, start: int, stop: int, *, told: dict[str, str]) -> Iterator[bytes]:
        """The bytes [start, stop); ``told`` takes the headers of the whole object, where all of it is read."""
        position, attempt = start, 0
        location = source.location
        while position < stop:
            before = position
            with _vanishing(source), source_errors(source), self._throttle.slot():
                try:
                    whole = position == 0 and stop == source.size
                    part = {"x-amz-checksum-mode": "ENABLED"} if whole else {"range": f"bytes={position}-{stop - 1}"}
                    answer = self._requests.get(location, {"if-match": source.etag} | part)
                    body = answer.body
                    ours = _is_asked_for(answer, source, position, stop)
                    if ours and whole:
                        told.update(answer.headers)
                    try:
                        while ours and position < stop:
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


def _small(answer: Answer) -> bytes | None:
    """The object's content; None where the connection broke: reading it later goes on where it did."""
    try:
        return answer.body.read()
    except NO_ANSWER:
        return None


def _is_archived(answer: Answer) -> bool:
    """Whether nobody can read the object now: it is archived, and no restored copy is there.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if "x-amz-archive-status" in answer.headers:  # of Intelligent-Tiering
        return True
    restored = 'ongoing-request="false"' in answer.headers.get("x-amz-restore", "")
    return answer.headers.get("x-amz-storage-class") in _ARCHIVED and not restored


def _is_asked_for(answer: Answer, source: SourceObject, position: int, stop: int) -> bool:
    """Whether these are the bytes [position, stop) of the source, and not a page that something on the way made."""
    headers = answer.headers
    there = headers.get("content-range", f"bytes 0-{source.size - 1}/{source.size}")
    return (
        headers.get("etag", "").strip('"') == source.etag.strip('"')
        and there.startswith(f"bytes {position}-{stop - 1}/")
        and int(headers.get("content-length", stop - position)) == stop - position
    )


def _checksum(headers: Mapping[str, str]) -> tuple[int | None, bool]:
    """The CRC32 that S3 says the object has, where that can be told, and whether it has CRC32s of parts instead.

    A COMPOSITE checksum is that of the parts' CRC32s, four bytes each, with their number behind a dash; that of one
    part tells the part's. https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    text, kind = headers.get("x-amz-checksum-crc32"), headers.get("x-amz-checksum-type")
    if text is None:
        return None, False
    value, _, parts = text.partition("-")
    if kind != "COMPOSITE" and not parts:
        return decode_crc32(value), False
    return int.from_bytes(four_bytes_of_crc32(decode_crc32(value)), "big") if parts == "1" else None, True


def _seen(location: Location, answer: Answer) -> SourceObject:
    headers = answer.headers
    if not {"content-length", "etag", "last-modified"} <= headers.keys():
        raise StorageUnavailable(f"looking at {location} failed: the answer is not S3's")
    crc32, composite = _checksum(headers)
    return SourceObject(
        bucket=location.bucket,
        key=location.key,
        version_id=location.version_id,
        size=int(headers["content-length"]),
        etag=headers["etag"],
        modified=int(parsedate_to_datetime(headers["last-modified"]).timestamp()),
        crc32=crc32,
        composite=composite,
    )
