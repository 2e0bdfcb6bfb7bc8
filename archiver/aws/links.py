"""The link that the consumer gets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Links:
    """Links to archives in ``bucket``: below ``base_url`` where there is one, else presigned for ``expires`` seconds.

    A presigned link dies with the credentials that signed it, so with the session of the task's role:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html
    """

    client: "S3Client"
    bucket: str
    base_url: str | None
    expires: int

    def url(self, key: str) -> str:
        """The link to the archive under ``key``."""
        if self.base_url is not None:
            return f"{self.base_url.rstrip('/')}/{quote(key)}"
        log.info(
            "the link is presigned: it ends with the role's session, at the latest after its time", seconds=self.expires
        )
        return self.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=self.expires
        )
