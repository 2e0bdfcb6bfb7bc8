"""A request to S3, its answer, and what lies between them: the attempts that it takes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.archive.streamed_body import PartBody, StreamedBody
from archiver.aws.failures import Refused
from archiver.aws.transfer import Transfer

#: Attempts at one request that brought nothing, the first included.
ATTEMPTS = 8
PARTIAL = 206


@dataclass(slots=True, eq=False)
class HttpRequest:
    """One request to a bucket. ``headers`` have names in lower case.

    ``first`` and ``last`` are the range of a GET in bytes, inclusive; one that breaks off goes on where it was, so it
    is pinned by ``etag``, which the answer must have. ``target`` takes the content and must be filled by it; without
    one the answer has it, where it is no longer than ``most`` bytes, and must be the XML ``element``, where one is
    named: a success may hold an error in its place. The answer must have the headers that it ``needs``: where no
    content follows, libcurl takes one that broke off within them for an answer like any other. A checksum in
    ``headers`` guards the ``body``; one that is streamed can be sent once. ``silent_seconds`` without a byte are waited
    for, None: as many as usual.
    """

    operation: str
    method: str
    bucket: str
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    etag: str | None = None
    target: memoryview | None = None
    most: int | None = None
    element: str | None = None
    body: PartBody | None = None
    silent_seconds: float | None = None
    needs: Collection[str] = ()


class Answer(NamedTuple):
    """A successful answer: its headers, with names in lower case, and its content where no target took it.

    ``content`` None: it was longer than the request's ``most``, and hung up on. ``failures`` are the attempts before it
    that brought nothing: S3 may have done what it was asked for, and the answer was lost.
    """

    headers: Mapping[str, str]
    content: bytes | None
    failures: int = 0


@dataclass(slots=True, eq=False)
class Exchange:
    """A request between its attempts: bytes done, attempts in a row that brought nothing, corrections of its way.

    ``region`` is what the last attempt was signed for.
    """

    request: HttpRequest
    transfer: Transfer | None = None
    done: int = 0
    failures: int = 0
    corrections: int = 0
    region: str = ""
    reason: Exception | None = None
    outcome: Answer | Exception | None = None

    def failed(self, reason: str | Refused, *, came: int = 0) -> None:
        """An attempt has failed, which brought so many bytes all the same; the last one is the outcome."""
        self.done += came
        self.failures = 1 if came else self.failures + 1
        self.reason = ConnectionError(reason) if isinstance(reason, str) else reason
        if self.failures >= ATTEMPTS:
            self.give_up()

    def is_over(self) -> bool:
        """Whether there is an outcome; what can't be sent again has one after each attempt."""
        if self.outcome is None and isinstance(self.request.body, StreamedBody):
            self.give_up()
        return self.outcome is not None

    def give_up(self) -> None:
        """Let the last failure be the outcome, where there is none."""
        if self.outcome is None:
            self.outcome = self.reason or ConnectionError("another region or clock is to be tried")

    # Of the attempt under way.

    def came(self, transfer: Transfer) -> int:
        """Bytes of the range that it brought, though not all: what came of a pinned one is as good as the rest."""
        request = self.request
        if request.first is None or request.etag is None or transfer.status != PARTIAL:
            return 0
        return transfer.received if self.is_of(transfer.answered_headers()) else 0

    def is_asked_for(self, transfer: Transfer, headers: Mapping[str, str]) -> bool:
        """Whether the answer is the object, or its range, and not a page that something on the way made.

        What S3 has taken has an ETag, or is told of by an element.
        """
        request = self.request
        if request.body is not None and request.element is None and "etag" not in headers:
            return False
        if request.target is not None and transfer.received != len(request.target) - self.done:
            return False
        return self.is_of(headers)

    def is_of(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers are those of the version and the range that were asked for, and all that are needed."""
        request = self.request
        if not all(name in headers for name in request.needs):
            return False
        if request.etag is not None and headers.get("etag", "").strip('"') != request.etag.strip('"'):
            return False
        if request.first is None:
            return True
        return headers.get("content-range", "").startswith(f"bytes {request.first + self.done}-{request.last}/")
