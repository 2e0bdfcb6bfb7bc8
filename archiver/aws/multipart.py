"""Writing the archive: a multipart upload whose parts come in any order and from several attempts.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from archiver.archive.storage import (
    ArchiveObject,
    Body,
    SourceObject,
    StoredArchive,
    UploadedPart,
    UploadGone,
    UploadsUnlisted,
)
from archiver.archive.streamed_body import PartBody, StreamedBody
from archiver.archive.traffic import Traffic
from archiver.aws.completion import COMPLETED, completion_body, completion_headers, read_completion
from archiver.aws.copies import COPIED, copy_headers, read_copy
from archiver.aws.creation import CREATED, creation_headers, put_headers, read_creation
from archiver.aws.exchange import HttpRequest
from archiver.aws.failures import (
    Side,
    copy_errors,
    destination_errors,
    refused_by,
    unlisted_uploads,
    unseen_archive,
)
from archiver.aws.http import S3Http
from archiver.aws.listings import going_forward
from archiver.aws.objects import crc32_headers, decode_crc32
from archiver.aws.throttle import Throttle

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Copying a part and completing an upload take S3 a while without a byte of an answer.
SILENT_SECONDS = 900.0


class S3Uploads:
    """The archive's side of S3: one bucket."""

    def __init__(
        self,
        client: "S3Client",
        http: S3Http,
        *,
        bucket: str,
        traffic: Traffic,
        throttle: Throttle,
    ) -> None:
        self._client = client
        self._http = http
        self._traffic = traffic
        self._throttle = throttle
        self.bucket = bucket

    def find_archive(self, key: str) -> StoredArchive | None:
        """The finished archive under this key, if there is one. Raises ``ArchiveUnseen``."""
        with self._calling(key), unseen_archive(self.bucket, key):
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if refused_by(error).status == 404:
                    return None
                raise
        return StoredArchive(
            etag=answer["ETag"].strip('"'),
            size=answer["ContentLength"],
            version_id=_version(answer.get("VersionId")),
            crc32=_told_crc32(answer),
            metadata=answer["Metadata"],
        )

    def put(self, archive: ArchiveObject, body: Body, *, crc32: int) -> StoredArchive:
        """Write a small archive in one request. Raises ``ArchiveExists``."""
        headers = put_headers(archive, crc32=crc32)
        request = HttpRequest("PutObject", "PUT", self.bucket, archive.key, headers=headers, body=body)
        with destination_errors(self.bucket, archive.key, Side.COMPLETE):
            answer = self._http.send(request)
        self._traffic.uploaded(len(body))
        etag, version_id = answer.headers["etag"].strip('"'), _version(answer.headers.get("x-amz-version-id"))
        return StoredArchive(etag, len(body), version_id, crc32, archive.metadata)

    def create(self, archive: ArchiveObject) -> str:
        """Begin an upload and return its id. S3 computes a CRC32 for each part, and one for the whole at the end."""
        request = HttpRequest(
            "CreateMultipartUpload",
            "POST",
            self.bucket,
            archive.key,
            query={"uploads": ""},
            headers=creation_headers(archive),
            element=CREATED,
        )
        with destination_errors(self.bucket, archive.key):
            answer = self._http.send(request)
            upload_id = read_creation(answer.content or b"")
        if answer.failures and archive.owner is None:
            # A lost answer: S3 may have begun an upload that nobody knows the id of.
            with suppress(UploadsUnlisted):  # then the lifecycle rule finds it
                for other in self.uploads_of(archive.key):
                    if other != upload_id:
                        self.abort(archive.key, other)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        """Upload a part; S3 refuses it where its CRC32 is not the given one. Raises ``UploadGone``.

        One that is streamed is sent once, and is not there where other bytes have passed, whatever S3 says.
        """
        # Through boto3 the body would be copied, and cost some milliseconds more.
        request = HttpRequest(
            "UploadPart",
            "PUT",
            self.bucket,
            key,
            query=_part_query(upload_id, number),
            headers=crc32_headers(crc32),
            body=body,
        )
        with destination_errors(self.bucket, key):
            answer = self._http.send(request)
            if isinstance(body, StreamedBody) and body.crc32 != crc32:
                raise ConnectionError(f"the bytes sent have CRC32 {body.crc32:08x}, not {crc32:08x}")
        self._traffic.uploaded(len(body))
        return UploadedPart(number, answer.headers["etag"], len(body), crc32)

    def copy_part(
        self, key: str, upload_id: str, number: int, source: SourceObject, start: int, stop: int
    ) -> UploadedPart:
        """Copy the source's bytes [start, stop) into a part, inside S3, if it still has the ETag first seen.

        Raises ``CopyRefused``, ``SourceChanged``, ``SourceArchived`` or ``UploadGone``.
        """
        # Through boto3 most of a copy's CPU would be botocore's, as of an upload's.
        request = HttpRequest(
            "UploadPartCopy",
            "PUT",
            self.bucket,
            key,
            query=_part_query(upload_id, number),
            headers=copy_headers(source, start, stop),
            element=COPIED,
            silent_seconds=SILENT_SECONDS,
        )
        with copy_errors(source, self.bucket, key):
            etag, crc32 = read_copy(self._http.send(request).content or b"")
        self._traffic.copied(stop - start)
        return UploadedPart(number, etag, stop - start, crc32)

    def uploads_of(self, key: str) -> list[str]:
        """Ids of the unfinished uploads under this key, the oldest first. Raises ``UploadsUnlisted``."""
        found = []
        with self._calling(key), unlisted_uploads(self.bucket):
            for page in upload_pages(self._client, self.bucket, prefix=key):
                found += [
                    (item["Initiated"], item["UploadId"]) for item in page.get("Uploads", ()) if item["Key"] == key
                ]
        return [upload_id for _, upload_id in sorted(found)]

    def parts_of(self, key: str, upload_id: str, *, after: int = 0) -> dict[int, UploadedPart]:
        """The parts that an unfinished upload has, by number, those behind ``after``.

        Raises ``UploadGone`` or ``UploadsUnlisted``.
        """
        parts: dict[int, UploadedPart] = {}
        begin: Any = {"PartNumberMarker": after} if after else {}
        with self._calling(key), unlisted_uploads(self.bucket):
            pages = going_forward(
                self._client.get_paginator("list_parts").paginate(
                    Bucket=self.bucket, Key=key, UploadId=upload_id, **begin
                ),
                what=f"the parts of s3://{self.bucket}/{key}",
                items="Parts",
                identity=lambda item: item["PartNumber"],
                markers=("NextPartNumberMarker",),
            )
            for page in pages:
                for item in page.get("Parts", ()):
                    number = item["PartNumber"]
                    parts[number] = UploadedPart(number, item["ETag"], item["Size"], _told_crc32(item))
        return parts

    def complete(
        self, archive: ArchiveObject, upload_id: str, parts: list[UploadedPart], *, crc32: int, size: int
    ) -> StoredArchive:
        """Make the archive of its parts, if it is what was planned and nobody was first.

        Raises ``ArchiveRefused`` where S3 finds another size or CRC32, ``ArchiveExists`` or ``UploadGone``.
        """
        request = HttpRequest(
            "CompleteMultipartUpload",
            "POST",
            self.bucket,
            archive.key,
            query={"uploadId": upload_id},
            headers=completion_headers(crc32=crc32, size=size, overwrite=archive.overwrite),
            body=completion_body(parts),
            element=COMPLETED,
            silent_seconds=SILENT_SECONDS,
        )
        with destination_errors(self.bucket, archive.key, Side.COMPLETE):
            answer = self._http.send(request)
            etag = read_completion(answer.content or b"")
        version_id = _version(answer.headers.get("x-amz-version-id"))
        return StoredArchive(etag, size, version_id, crc32, archive.metadata)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone already is fine."""
        with suppress(UploadGone), self._calling(key):
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    @contextmanager
    def _calling(self, key: str, side: Side = Side.WRITE) -> Iterator[None]:
        with destination_errors(self.bucket, key, side), self._throttle.slot():
            yield


def upload_pages(client: "S3Client", bucket: str, *, prefix: str = "") -> Iterator[Any]:
    """The pages of the unfinished uploads of a bucket. Raises what boto3 raises, and ``StorageUnavailable``."""
    return going_forward(
        client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix),
        what=f"the uploads in s3://{bucket}/{prefix}",
        items="Uploads",
        identity=lambda item: (item["Key"], item["UploadId"]),
        markers=("NextKeyMarker", "NextUploadIdMarker"),
    )


def _part_query(upload_id: str, number: int) -> dict[str, str]:
    return {"partNumber": str(number), "uploadId": upload_id}


def _told_crc32(answer: Mapping[str, Any]) -> int | None:
    """The CRC32 of a whole archive or part. None where the server tells none, but that of its parts, or nonsense."""
    checksum = answer.get("ChecksumCRC32")
    try:
        return decode_crc32(checksum) if checksum and "-" not in checksum else None
    except ValueError:
        return None


def _version(version: str | None) -> str | None:
    return None if version == "null" else version
