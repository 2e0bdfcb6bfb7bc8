"""What a job shares with other workers: objects below a prefix beside the archives, and invitations on a queue."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zlib_ng import zlib_ng

from archiver.archive.crew_plan import MAX_BLOCK, Invitation
from archiver.archive.location import Location
from archiver.archive.storage import ArchiveExists, Body
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.failures import Refused, destination_errors
from archiver.aws.http import S3Http
from archiver.aws.listing import Page, objects_below, read_page
from archiver.aws.objects import crc32_headers
from archiver.aws.queues import Queue, string_attributes
from archiver.errors import DestinationUnavailable, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Tries to create an object, where each is refused and then there is none.
_PUTS = 3
#: Keys of one DeleteObjects. Source: API_DeleteObjects.
_KEYS = 1000


class SharedObjects:
    """``archiver.archive.crew.CrewObjects`` in S3: ``{prefix}{folder}/{name}`` in a bucket.

    ``client`` is for what is asked once a job.
    """

    def __init__(self, client: "S3Client", http: S3Http, *, bucket: str, prefix: str) -> None:
        self._client = client
        self._http = http
        self._bucket = bucket
        self._prefix = prefix

    def put(self, folder: str, name: str, body: Body, *, new: bool = False) -> bool:
        """Write an object; with ``new`` only where there is none, or one of the same bytes: whether it is there."""
        key = self._key(folder, name)
        headers = crc32_headers(zlib_ng.crc32(body))
        if new:
            headers["if-none-match"] = "*"
        for _ in range(_PUTS):
            try:
                with destination_errors(self._bucket, key):
                    self._http.send(HttpRequest("PutObject", "PUT", self._bucket, key, headers=headers, body=body))
            except ArchiveExists:
                # libcurl and we send again what had no answer, and then S3 may have taken it the first time. Where two
                # came at once S3 may have taken neither.
                there = self.get(folder, name)
                if there is not None:
                    return there == body
            else:
                return True
        return False

    def get(self, folder: str, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """An object's bytes [start, stop), up to ``MAX_BLOCK``; None where there is no such object."""
        key = self._key(folder, name)
        request = HttpRequest("GetObject", "GET", self._bucket, key, most=MAX_BLOCK)
        if stop is not None:
            request.first, request.last = start, stop - 1
        answer = self._answer(request)
        if answer is not None and answer.content is None:
            raise StorageUnavailable(f"s3://{self._bucket}/{key} has more than {MAX_BLOCK} bytes")
        return None if answer is None else answer.content

    def has(self, folder: str, name: str) -> bool:
        """Whether there is an object of this name."""
        return self._answer(HttpRequest("HeadObject", "HEAD", self._bucket, self._key(folder, name))) is not None

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects of a folder, with their sizes in bytes."""
        prefix = self._key(folder, "")
        with destination_errors(self._bucket, prefix):
            found = objects_below(Location(self._bucket, prefix), self._page)
            return {item.key.removeprefix(prefix): item.size for item in found}

    def delete(self, folder: str, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are fine."""
        with destination_errors(self._bucket, self._key(folder, "")):
            for at in range(0, len(names), _KEYS):
                keys: list[Any] = [{"Key": self._key(folder, name)} for name in names[at : at + _KEYS]]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})
                if errors := answer.get("Errors"):
                    raise StorageUnavailable(f"{len(errors)} objects are not deleted: {errors[0].get('Message')}")

    def _answer(self, request: HttpRequest) -> Answer | None:
        """What S3 says of an object; None where there is none, or not so many bytes."""
        try:
            with destination_errors(request.bucket, request.key):
                return self._http.send(request)
        except DestinationUnavailable as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.status in (404, 416):
                return None
            raise

    def _page(self, query: Mapping[str, str]) -> Page:
        answer = self._http.send(HttpRequest("ListObjectsV2", "GET", self._bucket, query=query))
        return read_page(self._bucket, answer.content or b"")

    def _key(self, folder: str, name: str) -> str:
        return f"{self._prefix}{folder}/{name}"


class InvitationQueue:
    """``archiver.archive.crew.CrewQueue`` on SQS."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def send(self, invitations: Sequence[Invitation], *, correlation_id: str | None) -> None:
        """Send a batch of invitations. Raises ``QueueUnavailable``."""
        self._queue.send_batch(
            [invitation.model_dump_json() for invitation in invitations],
            attributes=string_attributes({"Correlation-Id": correlation_id}),
        )
