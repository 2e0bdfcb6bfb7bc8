"""Payloads that are too large for a message, as objects that a pointer leads to."""

import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.location import Location
from archiver.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def store_payload(client: "S3Client", bucket: str, text: str) -> Location:
    """Write a payload to a new object. Raises ``StorageUnavailable``."""
    location = Location(bucket, str(uuid.uuid4()))
    try:
        client.put_object(Bucket=bucket, Key=location.key, Body=text.encode(), ContentType="application/json")
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"writing the payload to s3://{bucket} failed: {error}") from error
    return location
