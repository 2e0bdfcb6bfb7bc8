"""Status objects in the bucket of the archives: written by workers, read by whoever waits, and the wish to cancel."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from archiver.archive.status import JobStatus
from archiver.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOT_FOUND = ("NoSuchKey", "404")


class StatusObjects:
    """The status objects below a prefix of a bucket. Methods raise ``StorageUnavailable``."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def read(self, request_id: str) -> JobStatus | None:
        """What is known of a request; None where no worker has begun it, or its status has expired."""
        key = f"{self._prefix}{request_id}.json"
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return JobStatus.model_validate_json(body)
        except ClientError as error:
            if _code(error) in _NOT_FOUND:
                return None
            raise self._failed("read", key, error) from error
        except BotoCoreError as error:
            raise self._failed("read", key, error) from error
        except ValidationError as error:
            raise self._failed("read", key, "it is no status of a request") from error

    def write(self, request_id: str, status: str) -> None:
        """Put a status object."""
        self._put(f"{self._prefix}{request_id}.json", status)

    def cancel(self, request_id: str) -> JobStatus | None:
        """Ask for the end of a request, and return its status as it was before.

        A request that has ended is left alone. One that no worker has begun ends when one does.
        """
        status = self.read(request_id)
        if status is None or not status.ended:
            self._put(f"{self._prefix}{request_id}.cancel", "{}")
        return status

    def is_cancelled(self, request_id: str) -> bool:
        """Whether somebody has asked for the request's end. Without the right to list, what is not there is denied."""
        key = f"{self._prefix}{request_id}.cancel"
        try:
            self._client.head_object(Bucket=self._bucket, Key=key)
            return True
        except ClientError as error:
            if _code(error) in (*_NOT_FOUND, "403", "AccessDenied"):
                return False
            raise self._failed("looked at", key, error) from error
        except BotoCoreError as error:
            raise self._failed("looked at", key, error) from error

    def _put(self, key: str, body: str) -> None:
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body.encode(),
                ContentType="application/json",
                CacheControl="no-store",
            )
        except (ClientError, BotoCoreError) as error:
            raise self._failed("written", key, error) from error

    def _failed(self, what: str, key: str, error: object) -> StorageUnavailable:
        return StorageUnavailable(f"s3://{self._bucket}/{key} can't be {what}: {error}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))
