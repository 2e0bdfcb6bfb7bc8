"""What is asked of objects, one by one: a refusal that has no reason is explained by one that has.

A missing or denied object costs one request. What a HEAD's refusal means, which has no body, a GET asks once for all
objects of a bucket.
"""

from typing import Any

from archiver.archive.location import Location
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.failures import Refused
from archiver.aws.http import S3Http

#: Asks S3 to tell the checksum of a whole object.
CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}
#: What S3 says of each object that it shows.
SEEN = ("content-length", "etag", "last-modified")
#: Codes that say the same of every object of a bucket that is refused with the same status.
_COMMON = frozenset({"AccessDenied", "NoSuchKey", "NoSuchVersion"})


class ObjectRequests:
    """Asks for objects; one a job."""

    def __init__(self, http: S3Http) -> None:
        self._http = http
        # What a status without a code means in a bucket, as far as another answer has told.
        self._reasons: dict[tuple[str, int], str] = {}

    def get(self, location: Location, *, most: int) -> Answer:
        """The object with its checksum, and its content where it has at most ``most`` bytes.

        Raises ``Refused``, and ``OSError`` where there was no answer.
        """
        return self._sent(request_of(location, headers=CHECKSUM, most=most, needs=SEEN))

    def head(self, location: Location) -> Answer:
        """The object's headers, with its checksum. Raises as ``get`` does."""
        look = request_of(location, method="HEAD", headers=CHECKSUM, needs=SEEN)
        try:
            return self._sent(look)
        except Refused as refused:
            if not _lacks_reason(refused):
                raise
            if reason := self._reason(location, refused):
                raise reason from refused
        try:
            # It can be read: what was in the way may be gone, such as a wrong clock, which the GET has mended.
            return self._sent(look)
        except Refused as refused:
            if not _lacks_reason(refused):
                raise
            told = "the object can be read, but not looked at"
            raise Refused(refused.status, f"HEAD: {refused.status}", told) from refused

    def denies_what_is_missing(self, bucket: str) -> bool:
        """Whether a missing object of the bucket may be one of those that S3 said are denied."""
        return (bucket, 404) not in self._reasons

    def listed(self, bucket: str) -> None:
        """Take note that the bucket can be listed."""
        self._reasons.setdefault((bucket, 404), "NoSuchKey")

    def _reason(self, location: Location, refused: Refused) -> Refused | None:
        """The refusal with its reason; None where the object can be read."""
        if code := self._reasons.get((location.bucket, refused.status)):
            return Refused(refused.status, code)
        try:
            self._sent(request_of(location, first=0, last=0, most=1))
        except Refused as reason:
            if reason.status != 416:  # an empty object has no first byte
                return reason
        return None

    def _sent(self, request: HttpRequest) -> Answer:
        try:
            return self._http.send(request)
        except Refused as refused:
            if refused.code in _COMMON:
                self._reasons[request.bucket, refused.status] = refused.code
            raise


def _lacks_reason(refused: Refused) -> bool:
    return not refused.code and refused.status in (400, 403, 404)


def request_of(location: Location, *, method: str = "GET", **more: Any) -> HttpRequest:
    """A request for an object; ``more`` are fields of ``HttpRequest``."""
    return HttpRequest(
        "HeadObject" if method == "HEAD" else "GetObject",
        method,
        location.bucket,
        location.key,
        query=version_query(location.version_id),
        **more,
    )


def version_query(version_id: str | None) -> dict[str, str]:
    """What asks for this version of an object; None for the latest."""
    return {"versionId": version_id} if version_id else {}
