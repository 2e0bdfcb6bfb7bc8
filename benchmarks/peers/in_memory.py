"""The usual function of a few lines: everything through one buffer in memory, one object after the other."""

import io
import zipfile

import boto3

from benchmarks.job import ArchiveJob


def build(job: ArchiveJob) -> str:
    s3 = boto3.client("s3")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for entry in job.entries:
            body = s3.get_object(Bucket=job.source_bucket, Key=entry.source)["Body"].read()
            archive.writestr(entry.destination, body)
    buffer.seek(0)
    s3.upload_fileobj(buffer, job.destination_bucket, job.key)
    return job.key
