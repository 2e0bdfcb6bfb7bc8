"""Reading sources: what they are, what is below a prefix, and their bytes, pinned to the ETag first seen."""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from zlib_ng import zlib_ng

from archiver.archive.location import Location, other_writing
from archiver.archive.storage import BucketMissing, ListedPage, OnRead, Read, SourceMissing, SourceObject
from archiver.archive.streamed_body import Arriving
from archiver.archive.traffic import Traffic
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.failures import Refused, Side, archived, source_errors
from archiver.aws.http import S3Http
from archiver.aws.inlet import Inlet
from archiver.aws.listing import ARCHIVED_CLASSES, Page, page_query, pages_below, read_page
from archiver.aws.requests import CHECKSUM, ObjectRequests, request_of, version_query
from archiver.aws.throttle import Throttle
from archiver.aws.told import Told
from archiver.errors import SourceAccessDenied, SourceChanged, StorageUnavailable
from archiver.zipformat.crc import four_bytes_of_crc32

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Bytes of a range that is read without being kept, taken at a time.
_PIECE = 8 * 1024 * 1024
#: Words of a denial that is not about reading the object, or says itself that reading is what is denied.
_NAMES_ANOTHER_RIGHT = re.compile(r"kms:|s3:GetObject|ciphertext", re.IGNORECASE)


class S3Objects:
    """The sources' side of S3; one a job. ``client`` is for the rare calls that ``http`` has no part in.

    ``told`` is what earlier jobs of the process have seen.
    """

    def __init__(
        self, client: "S3Client", http: S3Http, *, traffic: Traffic, throttle: Throttle, told: Told | None = None
    ) -> None:
        self._client = client
        self._http = http
        self._traffic = traffic
        self._throttle = throttle
        self._requests = ObjectRequests(http)
        self._all_told = told or Told()
        # By bucket: whether all objects that this job has read as a whole had CRC32s.
        self._told: dict[str, bool] = {}

    def head(self, location: Location) -> SourceObject:
        """Look at one object.

        Raises ``SourceMissing``, ``BucketMissing``, ``SourceAccessDenied``, ``SourceArchived``, ``SourceUnreadable``
        or ``StorageUnavailable``.
        """
        with self._explaining(location), source_errors(location):
            answer = self._requests.head(location)
        if _is_archived(answer):
            raise archived(location)
        return _seen(location, answer)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        """Look at one object and bring its content along where it has at most ``limit`` bytes: one request for both.

        The content is as it came: whether it is what S3's CRC32 says is for the caller to see. Raises as ``head`` does.
        """
        with self._explaining(location), source_errors(location):
            # Not a range of it, of which S3 tells no checksum: a larger object is hung up on.
            answer = self._requests.get(location, most=limit)
        seen = _seen(location, answer)
        if answer.content is None or len(answer.content) != seen.size or not seen.size:
            return seen
        self._traffic.read(seen.size)
        return seen._replace(body=answer.content)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        """The pages of what lies below a prefix, in S3's order; with ``after`` only of what comes behind that key.

        Each is asked for when it is taken. Raises as ``head`` does.
        """
        with source_errors(prefix, Side.LIST):
            yield from pages_below(prefix, partial(self._page, prefix.bucket), after=after)

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        """Up to 1,000 objects whose keys come behind one in S3's order and begin with ``prefix``.

        Raises as ``head`` does; without s3:ListBucket that is ``SourceAccessDenied``.
        """
        with source_errors(after, Side.LIST):
            return self._page(after.bucket, page_query(prefix=prefix, after=after.key)).objects

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
                        **_where(source.location),
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
        except (ClientError, BotoCoreError, ValueError):
            # An optimisation that its permission may be missing for, or that a server does not know as S3 does: the
            # bytes tell the same.
            return None
        return parts if parts and sum(size for _, size in parts) == source.size else None

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]:
        """Fill the target of each read, many at once, each going on where a connection broke.

        Returns for each the CRC32 that S3 says these bytes have; None where it tells none, as of a range. ``on_read``
        is told the same of each, by its number, while others are under way. Raises ``SourceChanged`` where an object is
        no longer the one first seen, or gone, else as ``head`` does, and what ``on_read`` raises, once all have ended.
        """
        if not reads:
            return []
        crc32s: list[int | None] = [None] * len(reads)
        came = 0

        def take(number: int, outcome: Answer | Exception) -> None:
            nonlocal came
            if isinstance(outcome, Exception):
                return
            read = reads[number]
            came += len(read.target)
            if read.is_whole:
                crc32s[number] = self._told_crc32(read.source, outcome.headers)
            if on_read is not None:
                on_read(number, crc32s[number])

        try:
            # What is raised here, such as for missing keys, is about no read alone.
            with source_errors(reads[0].source):
                outcomes = self._http.send_all([_pinned(read) for read in reads], take)
        finally:
            self._traffic.read(came)
        for read, outcome in zip(reads, outcomes, strict=True):
            if isinstance(outcome, Exception):
                with _vanishing(read.source), source_errors(read.source):
                    raise outcome
        return crc32s

    def tells_crc32(self, bucket: str) -> bool:
        """Whether S3 has told a CRC32 with every whole object of the bucket that this job has read.

        Before the first one, whether it has told those of an earlier job.
        """
        told = self._told.get(bucket)
        return self._all_told.of(bucket) if told is None else told

    @contextmanager
    def opened(self, sources: Sequence[SourceObject]) -> Iterator[Sequence[Arriving]]:
        """Read whole objects as their bytes are taken, in the block: S3 has answered for all of them.

        Each is asked for once; what breaks off ends where it is taken. Raises as ``read_all`` does.
        """
        # One place of the throttle for all of them and for whoever sends them on, or they could wait for each other.
        requests = [request_of(source.location, headers=CHECKSUM, etag=source.etag) for source in sources]
        with self._throttle.slot():
            with source_errors(sources[0]):  # as in read_all
                outcomes = self._http.open_all(requests)
            try:
                yield [self._arriving(source, outcome) for source, outcome in zip(sources, outcomes, strict=True)]
            finally:
                for outcome in outcomes:
                    if isinstance(outcome, Inlet):
                        outcome.close()
                        self._traffic.read(outcome.taken)

    def _arriving(self, source: SourceObject, outcome: Inlet | Exception) -> "_ArrivingObject":
        if isinstance(outcome, Exception):
            with _vanishing(source), source_errors(source):
                raise outcome
        return _ArrivingObject(outcome, self._told_crc32(source, outcome.headers))

    def _told_crc32(self, source: SourceObject, headers: Mapping[str, str]) -> int | None:
        """What S3 says with a whole object, which speaks for its bucket."""
        try:
            crc32 = _checksum(headers)[0]
        except ValueError as error:
            raise _senseless(source, error) from error
        bucket, told = source.bucket, self._told.get(source.bucket)
        tells = crc32 is not None and told is not False
        if tells is not told:  # it seldom is news
            self._told[bucket] = tells
            self._all_told.see(bucket, tells=tells)
        return crc32

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        """The CRC32 of a range, read without being kept."""
        crc = 0
        scratch = memoryview(bytearray(min(_PIECE, stop - start)))
        for at in range(start, stop, _PIECE):
            target = scratch[: min(_PIECE, stop - at)]
            self.read_all([Read(source, at, target)])
            crc = zlib_ng.crc32(target, crc)
        return crc

    def _page(self, bucket: str, query: Mapping[str, str]) -> Page:
        answer = self._http.send(HttpRequest("ListObjectsV2", "GET", bucket, query=query))
        page = read_page(bucket, answer.content or b"")
        self._requests.listed(bucket)
        return page

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
                hint = other_writing(location.key, bucket=location.bucket)
                raise SourceAccessDenied(
                    f"{error}; without s3:ListBucket, S3 answers so for a missing object, too"
                    + (f"; {hint}" if hint else "")
                ) from refused
            raise


@dataclass(frozen=True, slots=True)
class _ArrivingObject:
    """An object that has begun to come in, with what S3 says of it."""

    inlet: Inlet
    crc32: int | None

    @property
    def lane(self) -> int:
        return self.inlet.lane

    def take(self, most: int, wake: Callable[[], None]) -> bytes | None:
        return self.inlet.take(most, wake)


@contextmanager
def _vanishing(source: SourceObject) -> Iterator[None]:
    """An object that was there when the job looked and is gone now has changed: the next look says what that means."""
    try:
        yield
    except (SourceMissing, BucketMissing) as error:
        raise SourceChanged(f"{source} vanished while the archive was being built") from error


def _senseless(source: Location | SourceObject, error: Exception) -> StorageUnavailable:
    """Headers that make no sense, such as a date that is none, come from something between S3 and us."""
    return StorageUnavailable(f"reading {source} failed: the answer is not S3's ({error})")


def decode_crc32(text: str) -> int:
    """S3's form of a CRC32: base64 of four big-endian bytes. Raises ``ValueError`` for anything else."""
    value = a2b_base64(text, strict_mode=True)
    if len(value) != 4:
        raise ValueError(f"{text!r} has {len(value)} bytes, and a CRC32 four")
    return int.from_bytes(value, "big")


def encode_crc32(value: int) -> str:
    """The CRC32 in S3's form."""
    return b2a_base64(value.to_bytes(4, "big"), newline=False).decode("ascii")


def crc32_headers(value: int) -> dict[str, str]:
    """What guards a body by its CRC32."""
    return {"x-amz-checksum-crc32": encode_crc32(value), "x-amz-sdk-checksum-algorithm": "CRC32"}


def _pinned(read: Read) -> HttpRequest:
    source, whole = read.source, read.is_whole
    return HttpRequest(
        "GetObject",
        "GET",
        source.bucket,
        source.key,
        version_query(source.version_id),
        # Of the whole object S3 tells the checksum, of a range it does not.
        CHECKSUM if whole else {},
        None if whole else read.start,
        None if whole else read.start + len(read.target) - 1,
        source.etag,
        read.target,
    )


def _where(location: Location) -> dict[str, Any]:
    where = {"Bucket": location.bucket, "Key": location.key}
    return where | {"VersionId": location.version_id} if location.version_id else where


def _is_archived(answer: Answer) -> bool:
    """Whether nobody can read the object now: it is archived, and no restored copy is there.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if "x-amz-archive-status" in answer.headers:  # of Intelligent-Tiering
        return True
    restored = 'ongoing-request="false"' in answer.headers.get("x-amz-restore", "")
    return answer.headers.get("x-amz-storage-class") in ARCHIVED_CLASSES and not restored


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
    try:
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
    except (ValueError, OverflowError) as error:
        raise _senseless(location, error) from error
