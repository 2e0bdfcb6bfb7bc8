"""GET and HEAD of an object for less than half of the CPU that boto3 takes for them.

An archive of many small objects is bound by the cost of a request, and most of that is boto3's: validating, resolving
the endpoint, running its hooks, parsing. This sends the same request with botocore's own signer and HTTP session, to
the URL that boto3 itself was seen to use for the bucket. It tells what S3 refuses, and leaves to boto3 what is to be
asked again, with its retries and its redirects.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from urllib3.exceptions import HTTPError

from archiver.archive.location import Location
from archiver.aws.failures import refusal

_SUCCESS = (200, 206)
#: Bytes of a refusal that are read for S3's reason.
_REASON = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: its headers, with names in lower case, and to a GET its content."""

    headers: Mapping[str, str]
    body: StreamingBody


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where boto3 finds a bucket: the URL up to the key, and the region that signatures name."""

    base: str
    region: str


class LeanRequests:
    """Sends plain requests to the buckets whose endpoints it has learned from ``client``."""

    def __init__(self, client: Any, *, credentials: Credentials, session: URLLib3Session) -> None:
        self._credentials = credentials
        self._session = session
        self._endpoints: dict[str, _Endpoint] = {}
        self._asked = threading.local()
        client.meta.events.register("before-sign.s3", self._observe)

    @contextmanager
    def learning(self, location: Location) -> Iterator[None]:
        """What boto3 signs in here for ``location`` shows the endpoint of its bucket."""
        self._asked.location = location
        try:
            yield
        finally:
            self._asked.location = None

    def send(self, method: str, location: Location, headers: Mapping[str, str]) -> Answer | None:
        """The answer; None where the endpoint is not known, or no answer came. Raises ``Refused``."""
        endpoint = self._endpoints.get(location.bucket)
        if endpoint is None:
            return None
        request = AWSRequest(
            method, _url(endpoint.base, location), headers=dict(headers), stream_output=method == "GET"
        )
        try:
            S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", endpoint.region).add_auth(request)
            response = self._session.send(request.prepare())
        except (BotoCoreError, HTTPClientError):
            return None
        answered = {name.lower(): value for name, value in response.headers.items()}
        if response.status_code not in _SUCCESS:
            try:
                reason = b"" if method == "HEAD" else response.raw.read(_REASON)
            except (HTTPError, OSError):
                reason = b""
            response.raw.close()
            raise refusal(response.status_code, reason)
        if "content-length" not in answered:
            response.raw.close()
            return None
        return Answer(answered, StreamingBody(response.raw, int(answered["content-length"])))

    def _observe(
        self, request: Any = None, signing_name: str = "", region_name: str = "", signature_version: str = "", **_: Any
    ) -> None:
        location: Location | None = getattr(self._asked, "location", None)
        if location is None or signing_name != "s3" or signature_version != "s3v4":
            return
        url = request.url.partition("?")[0]
        key = quote(location.key, safe="/~")
        if url.endswith(f"/{key}"):
            self._endpoints[location.bucket] = _Endpoint(url.removesuffix(key), region_name)


def _url(base: str, location: Location) -> str:
    version = f"?versionId={quote(location.version_id, safe='')}" if location.version_id else ""
    return f"{base}{quote(location.key, safe='/~')}{version}"
