"""Payloads that are too large for a message, as objects that a pointer leads to."""

import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive.location import Location
from archiver.archive.storage import BucketMissing, SourceMissing
from archiver.aws.failures import source_errors
from archiver.errors import InvalidPayload, LimitExceeded, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def fetch_payload(client: "S3Client", location: Location, *, most: int) -> str:
    """The text of a payload of at most ``most`` bytes.

    Raises ``InvalidPayload`` where there is none or it is no text, ``LimitExceeded``, ``SourceAccessDenied`` and
    ``StorageUnavailable``.
    """
    try:
        with source_errors(location):
            answer = client.get_object(Bucket=location.bucket, Key=location.key)
            if answer["ContentLength"] > most:
                raise LimitExceeded(
                    f"the payload {location} has {answer['ContentLength']} bytes, more than MAX_PAYLOAD_BYTES={most}"
                )
            return answer["Body"].read().decode("utf-8-sig")
    except (SourceMissing, BucketMissing):
        raise InvalidPayload(f"the payload {location} does not exist") from None
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"the payload {location} is not UTF-8 at byte {error.start}") from None


def store_payload(client: "S3Client", bucket: str, text: str) -> Location:
    """Write a payload to a new object. Raises ``StorageUnavailable``."""
    location = Location(bucket, str(uuid.uuid4()))
    try:
        client.put_object(Bucket=bucket, Key=location.key, Body=text.encode(), ContentType="application/json")
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"writing the payload to s3://{bucket} failed: {error}") from error
    return location
