"""The little of HTTP/1.1 that a forwarding proxy must understand: heads, and where a body ends.

Bytes in, values out; no I/O. Framing follows RFC 9112, section 6: bodies are never held, only measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote

#: What ends a head.
END_OF_HEAD = b"\r\n\r\n"
#: A head over this size is an error; AWS's own limit on S3 request headers is 8 KB.
MAX_HEAD = 64 * 1024


class HeadError(Exception):
    """The bytes are not an HTTP/1.1 head."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response without its body; header names are in lower case."""

    status: int
    headers: Mapping[str, str]


def parse_request(head: bytes) -> RequestHead:
    """Read a request's head, up to and with the empty line; raises ``HeadError``."""
    first, headers = _split(head)
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise HeadError(first) from None
    if not version.startswith("HTTP/1."):
        raise HeadError(first)
    return RequestHead(method=method, target=target, headers=headers)


def parse_response(head: bytes) -> ResponseHead:
    """Read a response's head, up to and with the empty line; raises ``HeadError``."""
    first, headers = _split(head)
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise HeadError(first)
    return ResponseHead(status=int(rest[:3]), headers=headers)


def _split(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head[: -len(END_OF_HEAD)].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise HeadError(line)
        headers[name.lower()] = value.strip()
    return first, headers


def wants_close(headers: Mapping[str, str]) -> bool:
    """Whether the sender of these headers ends the connection after this message."""
    return "close" in headers.get("connection", "").lower()


# ---------------------------------------------------------------------------------------------------------------
# Where a body ends


class Framing(Protocol):
    """Measures one body as its bytes pass by."""

    #: Bytes of content that passed, without the framing's own.
    content: int

    @property
    def done(self) -> bool: ...

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the connection; returns how many of them belong to this body."""


class Sized:
    """A body of a known length (none: 0)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = 0

    @property
    def done(self) -> bool:
        return self.content >= self.size

    def feed(self, data: bytes) -> int:
        taken = min(len(data), self.size - self.content)
        self.content += taken
        return taken


class UntilClose:
    """A response's body that ends with the connection."""

    done = False

    def __init__(self) -> None:
        self.content = 0

    def feed(self, data: bytes) -> int:
        self.content += len(data)
        return len(data)


class Chunked:
    """A chunked body (RFC 9112, section 7.1), whose chunks may be cut anywhere by the network."""

    def __init__(self) -> None:
        self.content = 0
        self.done = False
        self._line = b""
        self._left = 0  # bytes of the current chunk still to come, its final CRLF included
        self._trailer = False

    def feed(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                taken = min(self._left, len(data) - at)
                self.content += max(0, min(taken, self._left - 2))
                self._left -= taken
                at += taken
                continue
            newline = data.find(b"\n", at)
            if newline < 0:
                self._line += data[at:]
                if len(self._line) > MAX_HEAD:
                    raise HeadError("endless chunk size line")
                return len(data)
            line = (self._line + data[at:newline]).strip()
            self._line = b""
            at = newline + 1
            self._on_line(line)
        return at

    def _on_line(self, line: bytes) -> None:
        if self._trailer:
            self.done = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise HeadError(repr(line)) from None
        if size:
            self._left = size + 2
        else:
            self._trailer = True


def request_framing(head: RequestHead) -> Framing:
    """How the body of this request is delimited; raises ``HeadError``."""
    return _framing(head.headers) or Sized(0)


def response_framing(method: str, head: ResponseHead) -> Framing:
    """How the body of the final response to a request of this method is delimited; raises ``HeadError``."""
    if method == "HEAD" or head.status in (204, 304):
        return Sized(0)
    return _framing(head.headers) or UntilClose()


def _framing(headers: Mapping[str, str]) -> Framing | None:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return Chunked()
    length = headers.get("content-length")
    if length is None:
        return None
    if not length.isdigit():
        raise HeadError(f"content-length: {length}")
    return Sized(int(length))
