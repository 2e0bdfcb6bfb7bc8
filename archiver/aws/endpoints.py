"""Where a bucket is: asked of boto3, which knows every rule of it, and corrected by what S3 answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: A key that no encoding changes.
_KEY = "k"
#: Ports that an HTTP client leaves out of the header Host: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``base`` is the URL and ``path`` its path, up to the key; ``region`` is what signatures name.

    ``host`` is the header Host as it is sent: no user, no password, no default port. ``base`` has none of them either.
    """

    base: str
    host: str
    path: str
    region: str


class Endpoints:
    """The endpoints of buckets.

    ``usual`` is the S3 client of all else; ``make`` makes that of a region, None for the configured one.
    """

    def __init__(self, usual: "S3Client", make: Callable[[str | None, Config], "S3Client"]) -> None:
        self._usual = usual
        self._make = make
        self._lock = threading.Lock()
        self._clients: dict[tuple[str | None, str | None], S3Client] = {}
        self._known: dict[str, Endpoint] = {}

    def of(self, bucket: str) -> Endpoint:
        """A bucket's endpoint; makes no request. Raises what boto3 raises for a name that can be no bucket's."""
        with self._lock:
            if bucket not in self._known:
                self._known[bucket] = _endpoint(self._client(bucket, None), bucket)
            return self._known[bucket]

    def moved(self, bucket: str, region: str) -> bool:
        """S3 says that the bucket is in this region; False where that is known already."""
        with self._lock:
            known = self._known.get(bucket)
            if known is not None and known.region == region:
                return False
            self._known[bucket] = _endpoint(self._client(bucket, region), bucket)
            return True

    def presigning_client(self, bucket: str) -> "S3Client":
        """A client whose presigned URLs for the bucket need no redirect, which would be to a host that is not signed.

        boto3 presigns for S3's global endpoint unless an addressing style is given. A bucket's dots don't fit S3's
        certificate, so such a bucket goes into the path.
        """
        with self._lock:
            return self._client(bucket, None)

    def _client(self, bucket: str, region: str | None) -> "S3Client":
        style = self._style(bucket)
        if region is None and style is None:
            return self._usual
        key = region, style
        if key not in self._clients:
            self._clients[key] = self._make(region, Config(s3={"addressing_style": style} if style else None))
        return self._clients[key]

    def _style(self, bucket: str) -> Literal["path", "virtual"] | None:
        """How a bucket is addressed; None at another server, which knows no hosts of buckets, whatever the region."""
        if ".amazonaws.com" not in self._usual.meta.endpoint_url:
            return None
        return "path" if "." in bucket and not bucket.startswith("arn:") else "virtual"


def _endpoint(client: "S3Client", bucket: str) -> Endpoint:
    # Presigning goes all the way that a request goes, but for sending it.
    url = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _KEY}))
    scope = parse_qs(url.query).get("X-Amz-Credential", [""])[0].split("/")
    path = url.path.removesuffix(_KEY)
    region = scope[2] if len(scope) > 2 else client.meta.region_name
    host = url.netloc.rpartition("@")[2].removesuffix(":")
    if url.port is not None and url.port == _DEFAULT_PORTS.get(url.scheme):
        host = host.rpartition(":")[0]
    return Endpoint(f"{url.scheme}://{host}{path}", host, path, region)
