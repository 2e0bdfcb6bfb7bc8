"""The strongest simple form: 16 threads download to disk, zipfile packs what has arrived, upload_file sends it."""

import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import boto3
from botocore.config import Config

from benchmarks.job import ArchiveJob

MIB = 1024 * 1024


def build(job: ArchiveJob, *, number_of_threads: int = 16) -> str:
    s3 = boto3.client("s3", config=Config(max_pool_connections=number_of_threads))
    with tempfile.TemporaryDirectory(prefix="benchmark-threads-") as name:
        folder = Path(name)

        def download(number: int) -> Path:
            path = folder / str(number)
            body = s3.get_object(Bucket=job.source_bucket, Key=job.entries[number].source)["Body"]
            with path.open("wb") as file:
                shutil.copyfileobj(body, file, MIB)
            return path

        packed = folder / "archive.zip"
        with ThreadPoolExecutor(number_of_threads) as pool, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            downloads = {pool.submit(download, number): number for number in range(len(job.entries))}
            for done in as_completed(downloads):
                path = done.result()
                archive.write(path, job.entries[downloads[done]].destination)
                path.unlink()
        s3.upload_file(str(packed), job.destination_bucket, job.key)
    return job.key
