"""Checkpoints of deflating, as objects in the bucket of the archives."""

import zlib
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from archiver.aws.failures import NO_ANSWER, refused_by
from archiver.aws.objects import encode_crc32
from archiver.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Where they are, in the bucket that the settings name for archives.
PREFIX = "archiver-checkpoints/"


class S3Checkpoints:
    """Those in one bucket. Methods raise ``StorageUnavailable``."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def load(self, name: str) -> bytes | None:
        """The checkpoint's bytes; None where there is none. Without s3:ListBucket, what is not there is denied."""
        from archiver.archive.checkpoint import MOST_BYTES  # loaded by whoever asks

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=PREFIX + name)
            if answer["ContentLength"] > MOST_BYTES:
                raise StorageUnavailable(f"a checkpoint of {answer['ContentLength']} bytes is more than {MOST_BYTES}")
            return answer["Body"].read()
        except ClientError as error:
            if refused_by(error).status in (403, 404):
                return None
            raise self._failed("read", name, error) from error
        except NO_ANSWER as error:
            raise self._failed("read", name, error) from error

    def save(self, name: str, body: bytes) -> None:
        """Write a checkpoint, over the one before."""
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=PREFIX + name, Body=body, ChecksumCRC32=encode_crc32(zlib.crc32(body))
            )
        except (ClientError, *NO_ANSWER) as error:
            raise self._failed("written", name, error) from error

    def _failed(self, what: str, name: str, error: Exception) -> StorageUnavailable:
        return StorageUnavailable(f"s3://{self._bucket}/{PREFIX}{name} can't be {what}: {error}")
