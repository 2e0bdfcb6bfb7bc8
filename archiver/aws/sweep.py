"""Aborting unfinished uploads that nobody will finish: leftovers of jobs that were killed and never came back.

A lifecycle rule on the bucket does the same after days; this does it when it is asked, and says what it did. So it is
with the small objects that the service keeps for jobs that come back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.key import archive_key_pattern
from archiver.archive.upload import MARKER_NUMBER, MARKER_SIZE, OWNER_NUMBER
from archiver.aws.failures import Side, Verdict, refused_by
from archiver.aws.multipart import upload_pages
from archiver.errors import DestinationUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Leftover:
    """An unfinished upload of ours."""

    key: str
    upload_id: str
    initiated: datetime


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was aborted (or would be), how many younger uploads of ours stay, and how many are not ours."""

    aborted: tuple[Leftover, ...]
    young: int
    foreign: int


def sweep(
    client: "S3Client", *, bucket: str, prefix: str, older_than: timedelta, now: datetime, dry_run: bool = False
) -> Sweep:
    """Abort the uploads of archives that began before ``now - older_than``.

    Those of generated keys are known by their form, ``{64 hex}/{prefix}-{date}.zip`` with any prefix of a payload's
    before it; those of keys that payloads chose by their two markers, which takes a request for each other upload in
    the bucket. A job that still runs by then starts over. Raises ``DestinationUnavailable``.
    """
    ours = archive_key_pattern(prefix)
    aborted: list[Leftover] = []
    young = foreign = 0
    try:
        for leftover in _unfinished(client, bucket):
            if not (ours.fullmatch(leftover.key) or _is_marked(client, bucket, leftover)):
                foreign += 1
            elif now - leftover.initiated < older_than:
                young += 1
            else:
                if not dry_run:
                    _abort(client, bucket, leftover)
                aborted.append(leftover)
    except (ClientError, BotoCoreError) as error:
        raise DestinationUnavailable(f"sweeping s3://{bucket} failed: {error}") from error
    return Sweep(tuple(aborted), young, foreign)


def clear(
    client: "S3Client", *, bucket: str, prefix: str, older_than: timedelta, now: datetime, dry_run: bool = False
) -> int:
    """Delete the objects below a prefix of ours that were written before ``now - older_than``; how many they are.

    Raises ``DestinationUnavailable``.
    """
    cleared = 0
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            old = [found["Key"] for found in page.get("Contents", ()) if now - found["LastModified"] >= older_than]
            cleared += len(old)
            for key in () if dry_run else old:
                client.delete_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError) as error:
        raise DestinationUnavailable(f"sweeping s3://{bucket}/{prefix} failed: {error}") from error
    return cleared


def _unfinished(client: "S3Client", bucket: str) -> Iterator[Leftover]:
    for page in upload_pages(client, bucket):
        for item in page.get("Uploads", ()):
            yield Leftover(item["Key"], item["UploadId"], item["Initiated"])


def _is_marked(client: "S3Client", bucket: str, leftover: Leftover) -> bool:
    """Whether the upload ends in the two markers that ``archiver.archive.upload`` explains."""
    try:
        answer = client.list_parts(
            Bucket=bucket,
            Key=leftover.key,
            UploadId=leftover.upload_id,
            PartNumberMarker=OWNER_NUMBER - 1,
        )
    except ClientError as error:
        if refused_by(error).verdict(Side.WRITE) in (Verdict.GONE, Verdict.DENIED):
            return False
        raise
    sizes = {part["PartNumber"]: part["Size"] for part in answer.get("Parts", ())}
    return sizes == {OWNER_NUMBER: MARKER_SIZE, MARKER_NUMBER: MARKER_SIZE}


def _abort(client: "S3Client", bucket: str, leftover: Leftover) -> None:
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=leftover.key, UploadId=leftover.upload_id)
    except ClientError as error:
        if refused_by(error).verdict(Side.WRITE) is not Verdict.GONE:  # finished or aborted since it was listed
            raise
