"""libcurl's handles: how one transfer after the other is told to libcurl, and takes what comes back."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pycurl

from archiver.archive.streamed_body import StreamedBody
from archiver.aws.transfer import Transfer

#: Most bytes taken from a connection at once. Larger ones save calls into Python; each connection has a buffer of it.
BUFFER = 64 * 1024
#: Most bytes kept of the content of an answer that is no success; S3's own have a few hundred.
MOST_OF_REFUSAL = 64 * 1024
_PAUSE = int(pycurl.WRITEFUNC_PAUSE)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to connect: seconds, the file of trusted certificates, and the proxy of each scheme, where there is one.

    After ``silent_seconds`` without a byte a transfer is given up that has no number of its own.
    """

    connect_seconds: float
    silent_seconds: float
    certificates: str | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    connections: int = 256


class Handle:
    """One easy handle, used for one transfer of a method after the other."""

    def __init__(self, method: str, settings: HttpSettings, go_on: Callable[["Handle"], None]) -> None:
        self._go_on = partial(go_on, self)
        curl = self.curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PATH_AS_IS, 1)  # "a/../b" is a key
        curl.setopt(pycurl.BUFFERSIZE, BUFFER)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(settings.connect_seconds * 1000))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, int(settings.silent_seconds))
        self._silent = self._usual_silence = settings.silent_seconds
        self._lines: list[bytes] = []
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        if settings.certificates:
            curl.setopt(pycurl.CAINFO, settings.certificates)
        # Empty: nothing of curl's own accord, which reads the environment in its own way.
        curl.setopt(pycurl.PROXY, "")
        self._proxy = ""
        self._proxies = settings.proxies
        # Nothing that libcurl would add by itself.
        curl.setopt(pycurl.USERAGENT, "")
        self._unsent = ["Accept:"]
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        self._sends = method not in ("GET", "HEAD")
        if self._sends:
            self._unsent.append("Expect:")
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            curl.setopt(pycurl.UPLOAD_BUFFERSIZE, 256 * 1024)
            curl.setopt(pycurl.READFUNCTION, self._read)
            curl.setopt(pycurl.SEEKFUNCTION, self._seek)
        self.transfer: Transfer | None = None
        #: When the transfer began, for whoever began it.
        self.begun = 0.0
        self._has_sink = False
        #: Why the transfer was ended here.
        self.reason: str | None = None
        self._sent = 0
        self._success: bool | None = None

    def load(self, transfer: Transfer) -> None:
        """Make the handle ready for a transfer."""
        curl = self.curl
        self.transfer = transfer
        self._sent = 0
        self._success = self.reason = None
        curl.setopt(pycurl.URL, transfer.url)
        if self._proxies and (proxy := self._proxies.get(transfer.url.partition(":")[0], "")) != self._proxy:
            curl.setopt(pycurl.PROXY, proxy)
            self._proxy = proxy
        curl.setopt(pycurl.HTTPHEADER, [*transfer.headers, *self._unsent])
        transfer.lines = self._lines
        if (transfer.sink is not None) != self._has_sink:
            self._has_sink = transfer.sink is not None
            curl.setopt(pycurl.WRITEFUNCTION, self._offer if self._has_sink else self._write)
        if self._sends:
            # Else one without a body would wait for the bytes of the one before it.
            curl.setopt(pycurl.INFILESIZE_LARGE, 0 if transfer.body is None else len(transfer.body))
        silent = self._usual_silence if transfer.silent_seconds is None else transfer.silent_seconds
        if silent != self._silent:
            curl.setopt(pycurl.LOW_SPEED_TIME, int(silent))
            self._silent = silent

    def unload(self) -> Transfer:
        """The transfer, which has ended."""
        transfer = self.transfer
        assert transfer is not None
        self.transfer = None
        transfer.lines = self._lines[:]
        self._lines.clear()
        transfer.status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return transfer

    @property
    def is_silent(self) -> bool:
        """Whether nothing of the answer is there."""
        return not self._lines

    def _write(self, chunk: bytes) -> int | None:
        transfer = self.transfer
        assert transfer is not None
        if self._success is None:
            self._success = self._is_success()
        if not self._success:
            transfer.content += chunk[: MOST_OF_REFUSAL - len(transfer.content)]
        elif (target := transfer.target) is not None:
            start = transfer.received
            stop = start + len(chunk)
            if stop > len(target):
                return -1  # more than was asked for: libcurl fails the transfer
            target[start:stop] = chunk
            transfer.received = stop
        else:
            transfer.content += chunk
            if transfer.most is not None and len(transfer.content) > transfer.most:
                transfer.is_cut = True
                return -1
        return None

    def _offer(self, chunk: bytes) -> int | None:
        """For a sink, which is offered some hundred thousand chunks of an archive of gigabytes."""
        if not self._success:
            transfer = self.transfer
            assert transfer is not None
            assert transfer.sink is not None
            if self._success is False or not self._is_success():
                return self._write(chunk)
            self._success = True
            transfer.sink.begins(transfer)
            self._sink = transfer.sink.offer
        return None if self._sink(chunk, self._go_on) else _PAUSE

    def _is_success(self) -> bool:
        """Whether the answer that comes in is one; libcurl tells no status until its end."""
        status = self._lines[0]
        if self._proxy or status[9:10] == b"1":
            # Answers before it: a proxy's to CONNECT, or interim ones.
            status = next(line for line in reversed(self._lines) if line.startswith(b"HTTP/"))
        return status[9:10] == b"2"

    def _read(self, size: int) -> bytes | int:
        transfer = self.transfer
        assert transfer is not None
        if transfer.body is None:
            return b""
        if isinstance(transfer.body, StreamedBody):
            return self._read_on(transfer.body, size)
        chunk = bytes(memoryview(transfer.body)[self._sent : self._sent + size])
        self._sent += len(chunk)
        return chunk

    def _read_on(self, body: StreamedBody, size: int) -> bytes | int:
        try:
            chunk = body.read(size, self._go_on)
        except OSError as error:
            self.reason = f"what it is made of broke off: {error}"
            return int(pycurl.READFUNC_ABORT)
        if chunk is None:
            return int(pycurl.READFUNC_PAUSE)
        self._sent += len(chunk)
        return chunk

    def _seek(self, offset: int, origin: int) -> int:
        """A kept connection was closed by the other side: the body is sent again from its start."""
        transfer = self.transfer
        assert transfer is not None
        if origin != os.SEEK_SET or (isinstance(transfer.body, StreamedBody) and offset != self._sent):
            return int(pycurl.SEEKFUNC_CANTSEEK)
        self._sent = offset
        return int(pycurl.SEEKFUNC_OK)
