"""What the proxy can do to a request, and rules that decide to which.

A rule is any callable from a ``Request`` to a ``Fault`` or None; it runs in the proxy's own thread, once a request,
in the order in which the requests' heads arrive.
"""

import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule sees of a request: header names in lower case; ``number`` counts its operation's from 1."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    operation: str
    number: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with an error in the service's own form, in place of the server.

    A status of 200 makes what S3 calls an error inside a success (CompleteMultipartUpload, UploadPartCopy).
    With ``effect`` the server does carry the request out, and only its answer is replaced.
    """

    status: int
    code: str
    message: str = "Injected."
    effect: bool = False

    def body(self, request: Request) -> tuple[bytes, str]:
        """The body and its media type: XML for S3, JSON for a service that is called by ``X-Amz-Target``."""
        if "x-amz-target" in request.headers:
            service = request.headers["x-amz-target"].partition(".")[0].lower()
            fields = {"__type": f"com.amazonaws.{service}#{self.code}", "message": self.message}
            return json.dumps(fields).encode(), "application/x-amz-json-1.0"
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            f"<Resource>{escape(request.path)}</Resource><RequestId>INJECTED</RequestId></Error>"
        )
        return text.encode(), "application/xml"


@dataclass(frozen=True, slots=True)
class Page:
    """Answer with somebody else's page, as a captive portal or a gateway does; the server is not asked."""

    content: bytes = b"<html><body>Welcome to the network. Please sign in.</body></html>"
    status: int = 200
    media_type: str = "text/html"
    effect = False

    def body(self, _: Request) -> tuple[bytes, str]:
        return self.content, self.media_type


@dataclass(frozen=True, slots=True)
class Cut:
    """Let the server answer, pass ``after`` bytes of the body on (None: half of it), then close.

    A response without a body is cut in the middle of its head.
    """

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """Pass the response on with the lowest bit of one byte of its body flipped: the byte at ``at`` (None: half way)."""

    at: int | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """Pass the response's body on at this rate."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the client's TCP connection; with ``effect`` only after the server has carried the request out."""

    effect: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold the request back for so many milliseconds more, then treat it normally."""

    milliseconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the request back until the event is set, then treat it normally."""

    until: threading.Event


Fault = Answer | Page | Cut | Flip | Slow | Reset | Delay | Hold
Rule = Callable[[Request], Fault | None]

INTERNAL_ERROR = Answer(500, "InternalError", "We encountered an internal error. Please try again.")
SLOW_DOWN = Answer(503, "SlowDown", "Please reduce your request rate.")
ACCESS_DENIED = Answer(403, "AccessDenied", "Access Denied")

#: What goes wrong on a bad day.
USUAL_FAULTS: tuple[Fault, ...] = (INTERNAL_ERROR, SLOW_DOWN, Cut(), Reset())


def no_faults(_: Request) -> None:
    """The rule of a good day."""


def at_random(share: float, *, seed: int, faults: Sequence[Fault] = USUAL_FAULTS, operation: str | None = None) -> Rule:
    """Strike ``share`` (0 to 1) of the requests, or of one operation's, each with one of ``faults``.

    The seed fixes the sequence.
    """
    dice = random.Random(seed)  # noqa: S311  # a repeatable sequence is the point

    def rule(request: Request) -> Fault | None:
        if operation not in (None, request.operation):
            return None
        return dice.choice(faults) if dice.random() < share else None

    return rule


def on(operation: str, fault: Fault, *, skip: int = 0, times: int | None = None) -> Rule:
    """Strike one operation, after its first ``skip`` requests, ``times`` times (None: from then on)."""

    def rule(request: Request) -> Fault | None:
        if request.operation != operation or request.number <= skip:
            return None
        if times is not None and request.number > skip + times:
            return None
        return fault

    return rule


def where(matches: Callable[[Request], bool], fault: Fault, *, times: int | None = None) -> Rule:
    """Strike the requests that match, the first ``times`` of them (None: all)."""
    struck = 0

    def rule(request: Request) -> Fault | None:
        nonlocal struck
        if (times is not None and struck >= times) or not matches(request):
            return None
        struck += 1
        return fault

    return rule


def first_of(*rules: Rule) -> Rule:
    """Ask the rules in turn; the first that names a fault decides. Every rule sees every request until then."""

    def rule(request: Request) -> Fault | None:
        return next((fault for each in rules if (fault := each(request)) is not None), None)

    return rule
