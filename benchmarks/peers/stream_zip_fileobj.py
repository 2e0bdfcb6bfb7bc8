"""stream-zip, its chunks made a file object by its author's to-file-like-obj and uploaded by upload_fileobj.

NO_COMPRESSION_64 without a size and a CRC32 holds one member at a time in memory, as its documentation says.
"""

from collections.abc import Iterator
from datetime import datetime
from stat import S_IFREG
from typing import Any

import boto3
import stream_zip
from to_file_like_obj import to_file_like_obj

from benchmarks.job import ArchiveJob

MIB = 1024 * 1024
Member = tuple[str, datetime, int, stream_zip.Method, Iterator[bytes]]


def members(s3: Any, job: ArchiveJob) -> Iterator[Member]:
    """Open one object after the other, as stream-zip asks for it."""
    for entry in job.entries:
        got = s3.get_object(Bucket=job.source_bucket, Key=entry.source)
        chunks = got["Body"].iter_chunks(MIB)
        yield entry.destination, got["LastModified"], S_IFREG | 0o644, stream_zip.NO_COMPRESSION_64, chunks


def build(job: ArchiveJob) -> str:
    s3 = boto3.client("s3")
    archive = to_file_like_obj(stream_zip.stream_zip(members(s3, job), chunk_size=MIB))
    s3.upload_fileobj(archive, job.destination_bucket, job.key)
    return job.key
