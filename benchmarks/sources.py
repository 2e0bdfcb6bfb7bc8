"""Uploads a workload's objects: ``python -m benchmarks.sources BUCKET WORKLOAD CHECKSUMS SCALE``.

Runs in the peers' environment, which has what CRC64NVME needs, and prints each key's CRC32 as its last line.
"""

import io
import json
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from benchmarks.workloads import Source, Workload, workload_named

#: How the sources' checksums are stored: as boto3 does by default, as an older SDK does, as the AWS CLI v2 does.
CHECKSUMS = ("default", "none", "crc64nvme")


def upload(bucket: str, workload: Workload, *, checksums: str) -> dict[str, int]:
    """Store every object, large ones in parts as ``upload_fileobj`` does; returns each key's CRC32."""
    config = Config(request_checksum_calculation="when_required" if checksums == "none" else "when_supported")
    s3 = boto3.client("s3", config=config)
    extra = {"ChecksumAlgorithm": "CRC64NVME"} if checksums == "crc64nvme" else {}

    def store(source: Source) -> tuple[str, int]:
        body = source.contents()
        s3.upload_fileobj(io.BytesIO(body), bucket, source.key, ExtraArgs=extra)
        return source.key, zlib.crc32(body)

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(store, workload.sources))


def main() -> None:
    bucket, name, checksums, scale = sys.argv[1:]
    print(json.dumps(upload(bucket, workload_named(name, scale=int(scale)), checksums=checksums)))


if __name__ == "__main__":
    main()
