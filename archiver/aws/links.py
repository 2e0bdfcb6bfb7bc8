"""The link that the consumer gets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

from archiver.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Links:
    """Links to archives: presigned for ``expires`` seconds, but those in ``bucket`` below ``base_url`` if that is set.

    A presigned link dies with the credentials that signed it, so with the session of the task's role:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
    """

    client: Callable[[str], "S3Client"]  # that signs for a bucket
    bucket: str
    base_url: str | None
    expires: int

    def url(self, bucket: str, key: str, expires: int | None = None) -> str:
        """The link to the archive under ``key``; ``expires`` shortens a presigned one."""
        if self.base_url is not None and bucket == self.bucket:
            return f"{self.base_url.rstrip('/')}/{quote(key)}"
        seconds = min(self.expires, expires or self.expires)
        log.info(
            "the link is presigned: it ends with the role's session, after its time at the latest", seconds=seconds
        )
        return self.client(bucket).generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
        )
