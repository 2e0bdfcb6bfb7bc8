"""Reading sources: what they are, what is below a prefix, and their bytes, pinned to the ETag first seen."""

import base64
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from archiver.archive.location import Location
from archiver.archive.storage import SourceMissing, SourceObject
from archiver.archive.traffic import Traffic
from archiver.aws.failures import source_errors, status
from archiver.aws.lean import Answer, LeanRequests
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
#: boto3's parameters for the headers in use.
_PARAMETERS = {"range": "Range", "if-match": "IfMatch", "x-amz-checksum-mode": "ChecksumMode"}


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
        self._lean = lean
        self._sleep = sleep

    def head(self, location: Location) -> SourceObject:
        """Look at one object. Raises ``SourceMissing``, ``SourceAccessDenied`` or ``StorageUnavailable``."""
        try:
            with source_errors(location), self._throttle.slot():
                try:
                    answer = self._ask("HEAD", location, {"x-amz-checksum-mode": "ENABLED"})
                except ClientError as error:
                    if status(error) not in (400, 403):
                        raise
                    # A HEAD's refusal has no body: the same GET says whether it is the object or our credentials.
                    self._client.get_object(Range="bytes=0-0", **_where(location))["Body"].close()
                    raise StorageUnavailable(f"{location} can be read, but not looked at: {error}") from error
        except SourceAccessDenied as error:
            raise _explained(error) from error
        return _seen(location, answer, size=int(answer.headers["content-length"]))

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        """Look at one object and bring its content along where it has at most ``limit`` bytes: one request for both."""
        try:
            with self._throttle.slot():
                answer = self._ask("GET", location, {"range": f"bytes=0-{limit - 1}"})
                # "bytes 0-65535/1048576"; without one it is the whole object.
                of_all = answer.headers.get("content-range", "").rpartition("/")[2]
                size = int(of_all or answer.headers["content-length"])
                with closing(answer.body):
                    body = answer.body.read() if size <= limit else None
        except (ClientError, BotoCoreError, HTTPClientError, OSError):
            # HEAD says what it is; an empty object, for one, has no first byte and answers 416.
            return self.head(location)
        if body is None:
            return self.head(location)
        self._traffic.read(len(body))
        return replace(_seen(location, answer, size=size), crc32=zlib.crc32(body), body=body)

    def below(self, prefix: Location) -> Iterator[SourceObject]:
        """Every object below a prefix, in S3's order. Raises as ``head`` does; nothing there yields nothing."""
        with source_errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
            for page in pages:
                yield from _listed(prefix.bucket, page)

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        """Up to 1,000 objects whose keys come behind one in S3's order and begin with ``prefix``.

        Raises as ``head`` does; without s3:ListBucket that is ``SourceAccessDenied``.
        """
        with source_errors(after), self._throttle.slot():
            answer = self._client.list_objects_v2(Bucket=after.bucket, StartAfter=after.key, Prefix=prefix)
            return list(_listed(after.bucket, answer))

    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None:
        """CRC32 and size in bytes of each part of a COMPOSITE object, in order; None where S3 does not tell.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
        """
        parts: list[tuple[int, int]] = []
        marker = 0
        where: dict[str, Any] = _where(source.location)
        try:
            while True:
                answer = self._client.get_object_attributes(
                    ObjectAttributes=["ETag", "ObjectParts", "ObjectSize"], PartNumberMarker=marker, **where
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
                marker = int(listed["NextPartNumberMarker"])
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
                    body = self._ask("GET", location, pinned).body
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
                except (BotoCoreError, HTTPClientError, OSError):
                    if attempt + 1 >= READ_ATTEMPTS and position == before:
                        raise
            if position < stop:
                attempt = 0 if position > before else attempt + 1
                if attempt >= READ_ATTEMPTS:
                    raise StorageUnavailable(f"reading {source} stopped at byte {position:,} of {stop:,}")
                self._sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))  # noqa: S311 jitter, not a secret

    def _ask(self, method: Literal["GET", "HEAD"], location: Location, headers: Mapping[str, str]) -> Answer:
        if self._lean is None:
            return self._ask_boto(method, location, headers)
        answer = self._lean.send(method, location, headers)
        if answer is None:
            with self._lean.learning(location):
                answer = self._ask_boto(method, location, headers)
        return answer

    def _ask_boto(self, method: str, location: Location, headers: Mapping[str, str]) -> Answer:
        call: Any = self._client.get_object if method == "GET" else self._client.head_object
        answer = call(**_where(location), **{_PARAMETERS[name]: value for name, value in headers.items()})
        return Answer(answer["ResponseMetadata"]["HTTPHeaders"], answer.get("Body"))


@contextmanager
def _vanishing(source: SourceObject) -> Iterator[None]:
    """An object that was there when the job looked and is gone now has changed: the next look says what that means."""
    try:
        yield
    except SourceMissing as error:
        raise SourceChanged(f"{source} vanished while the archive was being built") from error


def decode_crc32(text: str) -> int:
    """S3's form of a CRC32: base64 of four big-endian bytes."""
    return int.from_bytes(base64.b64decode(text), "big")


def encode_crc32(value: int) -> str:
    """The CRC32 in S3's form."""
    return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")


def _where(location: Location) -> dict[str, Any]:
    where = {"Bucket": location.bucket, "Key": location.key}
    return where | {"VersionId": location.version_id} if location.version_id else where


def _listed(bucket: str, page: "ListObjectsV2OutputTypeDef") -> Iterator[SourceObject]:
    for item in page.get("Contents", ()):
        yield SourceObject(
            bucket=bucket,
            key=item["Key"],
            size=item["Size"],
            etag=item["ETag"],
            modified=int(item["LastModified"].timestamp()),
        )


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


def _explained(error: SourceAccessDenied) -> SourceAccessDenied:
    return SourceAccessDenied(f"{error}; without s3:ListBucket, S3 answers so for a missing object, too")
