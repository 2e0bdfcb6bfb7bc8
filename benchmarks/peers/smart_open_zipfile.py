"""smart_open's how-to for zip files: zipfile writes into the stream of a multipart upload."""

import shutil
import zipfile

import boto3
import smart_open

from benchmarks.job import ArchiveJob

MIB = 1024 * 1024


def build(job: ArchiveJob) -> str:
    s3 = {"client": boto3.client("s3")}
    with (
        smart_open.open(f"s3://{job.destination_bucket}/{job.key}", "wb", transport_params=s3) as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
    ):
        for entry in job.entries:
            with (
                smart_open.open(
                    f"s3://{job.source_bucket}/{entry.source}", "rb", transport_params=s3, compression="disable"
                ) as source,
                archive.open(entry.destination, "w") as member,
            ):
                shutil.copyfileobj(source, member, MIB)
    return job.key
