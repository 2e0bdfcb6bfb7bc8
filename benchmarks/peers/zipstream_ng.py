"""zipstream-ng, its chunks written with writelines, as its documentation does to a file, into smart_open's upload."""

from collections.abc import Iterator
from typing import Any

import boto3
import smart_open
from zipstream import ZIP_STORED, ZipStream

from benchmarks.job import ArchiveJob

MIB = 1024 * 1024


def chunks(s3: Any, bucket: str, key: str) -> Iterator[bytes]:
    """The object's body, requested when the stream comes to it."""
    yield from s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(MIB)


def build(job: ArchiveJob) -> str:
    s3 = boto3.client("s3")
    archive = ZipStream(compress_type=ZIP_STORED)
    for entry in job.entries:
        archive.add(chunks(s3, job.source_bucket, entry.source), entry.destination)
    with smart_open.open(f"s3://{job.destination_bucket}/{job.key}", "wb", transport_params={"client": s3}) as target:
        target.writelines(archive)
    return job.key
