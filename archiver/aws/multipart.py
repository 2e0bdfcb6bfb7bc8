"""Writing the archive: a multipart upload whose parts come in any order and from several attempts.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from archiver.archive.storage import (
    ArchiveExists,
    ArchiveObject,
    CopyRefused,
    SourceObject,
    StoredArchive,
    UploadedPart,
    UploadGone,
)
from archiver.archive.traffic import Traffic
from archiver.aws.failures import COPY_REFUSED, destination_errors, error_code, status
from archiver.aws.objects import decode_crc32, encode_crc32
from archiver.aws.throttle import Throttle
from archiver.errors import ArchiveRefused, SourceChanged

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

#: S3's answers to a completion whose parts, size or checksum are not what it has.
_REFUSED = frozenset(
    {"BadDigest", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidRequest", "XAmzContentChecksumMismatch"}
)
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class S3Uploads:
    """The archive's side of S3: one bucket. ``slow_client`` has the patience that copies and completions take."""

    def __init__(
        self, client: "S3Client", slow_client: "S3Client", *, bucket: str, traffic: Traffic, throttle: Throttle
    ) -> None:
        self._client = client
        self._slow = slow_client
        self._traffic = traffic
        self._throttle = throttle
        self.bucket = bucket

    def find_archive(self, key: str) -> StoredArchive | None:
        """The finished archive under this key, if there is one."""
        with self._calling(key):
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if status(error) == 404:
                    return None
                raise
        checksum = answer.get("ChecksumCRC32")
        return StoredArchive(
            etag=answer["ETag"].strip('"'),
            size=answer["ContentLength"],
            version_id=_version(answer),
            crc32=decode_crc32(checksum) if checksum and "-" not in checksum else None,
            metadata=answer["Metadata"],
        )

    def put(self, archive: ArchiveObject, body: bytes | bytearray, *, crc32: int) -> StoredArchive:
        """Write a small archive in one request. Raises ``ArchiveExists``."""
        with self._calling(archive.key):
            try:
                answer = self._client.put_object(
                    Bucket=self.bucket,
                    Key=archive.key,
                    Body=body,  # type: ignore[arg-type]  # a bytearray is fine, the stubs don't know
                    ChecksumCRC32=encode_crc32(crc32),
                    IfNoneMatch="*",
                    **_headers(archive),
                )
            except ClientError as error:
                raise _completion_failure(error, archive.key) from error
        self._traffic.uploaded(len(body))
        return StoredArchive(answer["ETag"].strip('"'), len(body), _version(answer), crc32, archive.metadata)

    def create(self, archive: ArchiveObject) -> str:
        """Begin an upload and return its id. S3 computes a CRC32 for each part, and one for the whole at the end."""
        with self._calling(archive.key):
            answer = self._client.create_multipart_upload(
                Bucket=self.bucket,
                Key=archive.key,
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
                **_headers(archive),
            )
        upload_id = answer["UploadId"]
        if answer["ResponseMetadata"].get("RetryAttempts"):
            # A lost answer: S3 may have begun an upload that nobody knows the id of.
            for other in self.uploads_of(archive.key):
                if other != upload_id:
                    self.abort(archive.key, other)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: bytes | bytearray, *, crc32: int) -> UploadedPart:
        """Upload a part; S3 refuses it where its CRC32 is not the given one. Raises ``UploadGone``."""
        with self._calling(key):
            try:
                answer = self._client.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=body,  # type: ignore[arg-type]  # a bytearray is fine, the stubs don't know
                    ChecksumCRC32=encode_crc32(crc32),
                )
            except ClientError as error:
                raise _gone(error) or error from error
        self._traffic.uploaded(len(body))
        return UploadedPart(number, answer["ETag"], len(body), crc32)

    def copy_part(
        self, key: str, upload_id: str, number: int, source: SourceObject, start: int, stop: int
    ) -> UploadedPart:
        """Copy the source's bytes [start, stop) into a part, inside S3, if it still has the ETag first seen.

        Raises ``CopyRefused``, ``SourceChanged`` or ``UploadGone``.
        """
        # As fields: boto3 percent-encodes the key, also where a text has it encoded already.
        origin: CopySourceTypeDef = {"Bucket": source.bucket, "Key": source.key}
        if source.version_id:
            origin["VersionId"] = source.version_id
        with self._calling(key):
            try:
                answer = self._slow.upload_part_copy(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    CopySource=origin,
                    CopySourceRange=f"bytes={start}-{stop - 1}",
                    CopySourceIfMatch=source.etag,
                )
            except ClientError as error:
                code = error_code(error)
                if gone := _gone(error):
                    raise gone from error
                if code in ("PreconditionFailed", "412", "InvalidRange", "416"):
                    raise SourceChanged(f"{source} changed while the archive was being built ({code})") from error
                if code in COPY_REFUSED:
                    raise CopyRefused(f"{code}: {error.response['Error'].get('Message', '')}") from error
                raise
        self._traffic.copied(stop - start)
        result = answer["CopyPartResult"]
        checksum = result.get("ChecksumCRC32")
        return UploadedPart(number, result["ETag"], stop - start, decode_crc32(checksum) if checksum else None)

    def uploads_of(self, key: str) -> list[str]:
        """Ids of the unfinished uploads under this key, the oldest first."""
        found = []
        with self._calling(key):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=key)
            for page in pages:
                found += [
                    (item["Initiated"], item["UploadId"]) for item in page.get("Uploads", ()) if item["Key"] == key
                ]
        return [upload_id for _, upload_id in sorted(found)]

    def parts_of(self, key: str, upload_id: str) -> dict[int, UploadedPart]:
        """The parts that an unfinished upload has, by number. Raises ``UploadGone``."""
        parts: dict[int, UploadedPart] = {}
        with self._calling(key):
            try:
                pages = self._client.get_paginator("list_parts").paginate(
                    Bucket=self.bucket, Key=key, UploadId=upload_id
                )
                for page in pages:
                    for item in page.get("Parts", ()):
                        checksum = item.get("ChecksumCRC32")
                        number = item["PartNumber"]
                        parts[number] = UploadedPart(
                            number, item["ETag"], item["Size"], decode_crc32(checksum) if checksum else None
                        )
            except ClientError as error:
                raise _gone(error) or error from error
        return parts

    def complete(
        self, archive: ArchiveObject, upload_id: str, parts: list[UploadedPart], *, crc32: int, size: int
    ) -> StoredArchive:
        """Make the archive of its parts, if it is what was planned and nobody was first.

        Raises ``ArchiveRefused`` where S3 finds another size or CRC32, ``ArchiveExists`` or ``UploadGone``.
        """
        listed: list[Any] = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumCRC32": encode_crc32(part.crc32)} if part.crc32 is not None else {})
            for part in parts
        ]
        with self._calling(archive.key):
            try:
                answer = self._slow.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=archive.key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": listed},
                    ChecksumCRC32=encode_crc32(crc32),
                    ChecksumType="FULL_OBJECT",
                    MpuObjectSize=size,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                raise _completion_failure(error, archive.key) from error
        return StoredArchive(answer["ETag"].strip('"'), size, _version(answer), crc32, archive.metadata)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone already is fine."""
        with self._calling(key):
            try:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if not _gone(error):
                    raise

    @contextmanager
    def _calling(self, key: str) -> Iterator[None]:
        with destination_errors(self.bucket, key), self._throttle.slot():
            yield


def _headers(archive: ArchiveObject) -> dict[str, Any]:
    headers: dict[str, Any] = {"ContentType": "application/zip", "Metadata": archive.metadata}
    return headers | ({"ContentDisposition": archive.content_disposition} if archive.content_disposition else {})


def _gone(error: ClientError) -> UploadGone | None:
    return UploadGone() if error_code(error) == "NoSuchUpload" else None


def _completion_failure(error: ClientError, key: str) -> Exception:
    code = error_code(error)
    if code in _TAKEN:
        return ArchiveExists(key)
    if code in _REFUSED:
        return ArchiveRefused(f"S3 refused to complete {key}: {error}")
    return _gone(error) or error


def _version(answer: Any) -> str | None:
    version: str | None = answer.get("VersionId")
    return None if version == "null" else version
