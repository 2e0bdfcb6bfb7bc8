"""One GET or HEAD of an object: the lean way where it is known, else boto3's; a refusal is told with S3's reason.

A missing or denied object costs one request. What a HEAD's refusal means, which has no body, a GET asks once for all
objects of a bucket.
"""

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from archiver.archive.location import Location
from archiver.aws.failures import Refused, Side, Verdict, refused_by
from archiver.aws.lean import Answer, LeanRequests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from archiver.aws.throttle import Throttle

#: Seconds, at most and at least, before a request that S3 slowed down or failed is sent again. From then on boto3
#: backs off, exponentially.
BACK_OFF = (0.2, 1.0)
#: boto3's parameters for the headers in use.
_PARAMETERS = {"range": "Range", "if-match": "IfMatch", "x-amz-checksum-mode": "ChecksumMode"}
#: Codes that say the same of every object of a bucket that is refused with the same status.
_COMMON = frozenset({"AccessDenied", "NoSuchKey", "NoSuchVersion"})


class ObjectRequests:
    """Asks for objects; one a job. ``sleep`` takes seconds."""

    def __init__(
        self,
        client: "S3Client",
        *,
        throttle: "Throttle",
        lean: LeanRequests | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._throttle = throttle
        self._lean = lean
        self._sleep = sleep
        # What a status without a code means in a bucket, as far as another answer has told.
        self._reasons: dict[tuple[str, int], str] = {}

    def get(self, location: Location, headers: Mapping[str, str]) -> Answer:
        """The object, or its range. Raises ``Refused``, and boto3's errors where there was no answer."""
        return self._sent("GET", location, headers)

    def head(self, location: Location) -> Answer:
        """The object's headers, with its checksum. Raises as ``get`` does."""
        try:
            return self._sent("HEAD", location, {"x-amz-checksum-mode": "ENABLED"})
        except Refused as refused:
            if refused.code or refused.status not in (400, 403, 404):
                raise
            raise self._explained(location, refused) from refused

    def denies_what_is_missing(self, bucket: str) -> bool:
        """Whether a missing object of the bucket may be one of those that S3 said are denied."""
        return (bucket, 404) not in self._reasons

    def listed(self, bucket: str) -> None:
        """Take note that the bucket can be listed."""
        self._reasons.setdefault((bucket, 404), "NoSuchKey")

    def _explained(self, location: Location, refused: Refused) -> Refused:
        if code := self._reasons.get((location.bucket, refused.status)):
            return Refused(refused.status, code)
        try:
            self._sent("GET", location, {"range": "bytes=0-0"}).body.close()
        except Refused as reason:
            if reason.status != 416:  # an empty object has no first byte
                return reason
        return Refused(refused.status, f"HEAD: {refused.status}", "the object can be read, but not looked at")

    def _sent(self, method: Literal["GET", "HEAD"], location: Location, headers: Mapping[str, str]) -> Answer:
        try:
            return self._asked(method, location, headers)
        except Refused as refused:
            if refused.code in _COMMON:
                self._reasons[location.bucket, refused.status] = refused.code
            raise

    def _asked(self, method: Literal["GET", "HEAD"], location: Location, headers: Mapping[str, str]) -> Answer:
        if self._lean is None:
            return self._asked_boto(method, location, headers)
        try:
            answer = self._lean.send(method, location, headers)
        except Refused as refused:
            if _is_final(refused):
                raise
            if refused.slows_down:
                self._throttle.slow_down()
            if refused.slows_down or refused.status >= 500:
                self._sleep(random.uniform(*BACK_OFF))  # noqa: S311 jitter, not a secret
            answer = None
        if answer is None:
            with self._lean.learning(location):
                answer = self._asked_boto(method, location, headers)
        return answer

    def _asked_boto(self, method: str, location: Location, headers: Mapping[str, str]) -> Answer:
        call: Any = self._client.get_object if method == "GET" else self._client.head_object
        try:
            answer = call(**where(location), **{_PARAMETERS[name]: value for name, value in headers.items()})
        except ClientError as error:
            raise refused_by(error) from error
        return Answer(answer["ResponseMetadata"]["HTTPHeaders"], answer.get("Body"))


def where(location: Location) -> dict[str, Any]:
    """boto3's parameters for an object."""
    parameters = {"Bucket": location.bucket, "Key": location.key}
    return parameters | {"VersionId": location.version_id} if location.version_id else parameters


def _is_final(refused: Refused) -> bool:
    """Whether boto3 would only be told the same: it knows redirects, regions and what is worth another try."""
    return refused.verdict(Side.READ) is not Verdict.LATER or refused.status in (401, 403)
