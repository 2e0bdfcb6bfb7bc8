"""HTTP by libcurl: one thread drives all transfers of a process, and the bytes move outside the interpreter's lock.

A transfer is handed over whole and its end is a callback; what it costs in Python is a few calls, whatever its size.
Connections are kept and used again. Source: https://curl.se/libcurl/c/libcurl-multi.html
"""

import os
import select
import socket
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import pycurl

from archiver.archive.streamed_body import PartBody, StreamedBody
from archiver.aws.failures import SLOW_DOWN_STATUSES
from archiver.aws.throttle import Throttle
from archiver.logs import get_logger

log = get_logger(__name__)

#: Most bytes taken from a connection at once. Larger ones save calls into Python; each connection has a buffer of it.
BUFFER = 64 * 1024
#: Most bytes kept of the content of an answer that is no success; S3's own have a few hundred.
MOST_OF_REFUSAL = 64 * 1024
#: Between two looks whether the throttle has a place again, in seconds; only while transfers wait for one.
_LOOK_SECONDS = 0.02
_PAUSE = int(pycurl.WRITEFUNC_PAUSE)


class Sink(Protocol):
    """What takes the content of an answer while it comes in. ``archiver.aws.inlet`` documents each call."""

    def begins(self, transfer: "Transfer") -> None: ...
    def offer(self, chunk: bytes, go_on: Callable[[], None]) -> bool: ...


@dataclass(slots=True, eq=False)
class Transfer:
    """One request; once it has ended, its answer, too.

    ``headers`` are lines. ``body`` is sent with PUT and POST. The content of an answer of status 2xx goes to
    ``target``, where there is one, which it must not outgrow, else to ``content``, and is hung up on where it is
    longer than ``most`` bytes: ``is_cut``. A ``sink`` is offered it piece by piece in place of both. Of any other
    answer ``content`` has the first 64 KiB. ``ended`` is called from the transfers' own thread and must not wait. One
    that is ``led`` takes no place of the throttle: whoever started it holds one.
    """

    method: str
    url: str
    headers: Sequence[str]
    ended: Callable[["Transfer"], None]
    body: PartBody | None = None
    target: memoryview | None = None
    sink: Sink | None = None
    led: bool = False
    most: int | None = None
    is_cut: bool = False
    status: int = 0
    lines: list[bytes] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    received: int = 0
    #: What libcurl says where there is no whole answer.
    error: str | None = None

    def answered_headers(self) -> "Headers":
        """The answer's headers; the last answer's, where an interim one came before it."""
        return Headers(self.lines)


class Headers(Mapping[str, str]):
    """The headers of an answer, names in lower case; sought when they are asked for, since few of them ever are."""

    __slots__ = ("_lower", "_text")

    def __init__(self, lines: Sequence[bytes]) -> None:
        text = b"\n".join([*lines, b""]).decode("latin-1")
        # The status is no header.
        self._text = text[text.find("\n", max(0, text.rfind("\nHTTP/") + 1)) :]
        self._lower = self._text.lower()

    def __getitem__(self, name: str) -> str:
        value: str | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, else ``default``."""
        at = self._lower.rfind(f"\n{name}:")
        if at < 0:
            return default
        start = at + len(name) + 2
        return self._text[start : self._text.index("\n", start)].strip()

    def __contains__(self, name: object) -> bool:
        return f"\n{name}:" in self._lower

    def __iter__(self) -> Iterator[str]:
        return iter({line.partition(":")[0]: None for line in self._lower.split("\n") if ":" in line})

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How to connect: seconds, the file of trusted certificates, and the proxy of each scheme, where there is one."""

    connect_seconds: float
    silent_seconds: float
    certificates: str | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    connections: int = 256


class Transfers:
    """All transfers of one process; a forked child begins anew. Nothing is opened before the first one."""

    def __init__(self, settings: HttpSettings, *, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self._inherited: _Loop | None = None
        forked = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def _forked(self) -> None:
        # The loop's thread is the parent's, and so are its connections: to let go of them would say goodbye on them.
        self._inherited, self._loop = self._loop or self._inherited, None
        self._lock = threading.Lock()

    def start(self, transfers: Sequence[Transfer]) -> None:
        """Begin transfers as soon as the throttle lets them, in their order, uploads first."""
        with self._lock:
            if self._loop is None or not self._loop.take(transfers):
                self._loop = _Loop(self._settings, self._throttle)
                self._loop.take(transfers)

    def drop(self, transfer: Transfer) -> None:
        """Hang up on a transfer, which then ends with an error, unless it has ended."""
        with self._lock:
            if self._loop is not None:
                self._loop.drop(transfer)

    def slow_down(self) -> None:
        """An answer asked for less in a way that its status does not tell."""
        self._throttle.slow_down()

    def close(self) -> None:
        """End what is under way, with an error."""
        with self._lock:
            if self._loop is not None:
                self._loop.close()
                self._loop = None


class _Loop:
    """The thread, and all that it alone touches."""

    def __init__(self, settings: HttpSettings, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._lock = threading.Lock()
        self._waiting: deque[Transfer] = deque()
        # Uploads go before what waits: they are few, and give back memory that reads need.
        self._uploads: deque[Transfer] = deque()
        self._woken = self._closing = self._over = False
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        # Not selectors: libcurl has each transfer's socket watched and let go of, and those take longer than it does.
        # macOS has no epoll; poll counts in milliseconds.
        has_epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if has_epoll else select.poll()
        self._second = 1 if has_epoll else 1000
        self._poll.register(self._alarm, select.POLLIN)
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, settings.connections)
        self._deadline: float | None = None
        # By their easy handles: what these can carry of ours is found more slowly.
        self._running: dict[pycurl.Curl, _Handle] = {}
        self._idle: defaultdict[str, list[_Handle]] = defaultdict(list)
        # Paused ones that may go on, and those to be hung up on.
        self._resumed: list[_Handle] = []
        self._dropped: list[Transfer] = []
        self._thread = threading.Thread(target=self._run, name="transfers", daemon=True)
        self._thread.start()

    def take(self, transfers: Sequence[Transfer]) -> bool:
        """Take transfers on; False where the loop has ended."""
        with self._lock:
            if self._over:
                return False
            for transfer in transfers:
                (self._waiting if transfer.body is None else self._uploads).append(transfer)
            self._ring()
            return True

    def drop(self, transfer: Transfer) -> None:
        """Hang up on a transfer."""
        with self._lock:
            if not self._over:
                self._dropped.append(transfer)
                self._ring()

    def _ring(self) -> None:
        if not self._woken:
            self._woken = True
            self._bell.send(b"\0")

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            if not self._over:
                self._closing = True
                self._bell.send(b"\0")
        self._thread.join()

    # In the thread.

    def _run(self) -> None:
        reason = "closed"
        try:
            while not self._closing:
                self._turn()
                self._resume()
                self._collect()
                self._begin()
        except Exception as error:
            # Nobody may wait for ever; the next transfer gets a new loop.
            log.exception("transfers ended")
            reason = repr(error)
        finally:
            with self._lock:
                self._over = True
            for handle in list(self._running.values()):
                self._end(handle, reason)
            for transfer in (*self._uploads, *self._waiting):
                _tell_end(transfer, reason)
            self._multi.close()
            if hasattr(self._poll, "close"):
                self._poll.close()
            self._alarm.close()
            self._bell.close()

    def _turn(self) -> None:
        alarm = self._alarm.fileno()
        patience = self._patience()
        for descriptor, events in self._poll.poll(None if patience is None else patience * self._second):
            if descriptor == alarm:
                with self._lock:
                    self._alarm.recv(64)
                    self._woken = False
                continue
            # An error or a hang-up is for libcurl to find, be it reading or writing.
            mask = (pycurl.CSELECT_IN if events & ~select.POLLOUT else 0) | (
                pycurl.CSELECT_OUT if events & ~select.POLLIN else 0
            )
            self._multi.socket_action(descriptor, mask)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _patience(self) -> float | None:
        """Seconds until something is due; None: until something happens."""
        due = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if self._uploads or self._waiting:
            return _LOOK_SECONDS if due is None else min(due, _LOOK_SECONDS)
        return due

    def may_go_on(self, handle: "_Handle") -> None:
        """A paused transfer has something to do again; from a callback, in which libcurl can't be told."""
        self._resumed.append(handle)

    def _resume(self) -> None:
        while self._resumed:
            # Going on may bring more of them.
            handles, self._resumed = self._resumed, []
            for handle in handles:
                if handle.curl in self._running:
                    handle.curl.pause(pycurl.PAUSE_CONT)
        if self._dropped:
            self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for handle in [handle for handle in self._running.values() if handle.transfer in dropped]:
            self._end(handle, "dropped")
        for queue in (self._uploads, self._waiting):
            for transfer in [transfer for transfer in queue if transfer in dropped]:
                queue.remove(transfer)
                _tell_end(transfer, "dropped")

    def _collect(self) -> None:
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            for curl in good:
                self._end(self._running[curl], None)
            for curl, code, text in bad:
                self._end(self._running[curl], f"{text or 'failed'} (curl {code})")

    def _begin(self) -> None:
        while queue := self._uploads or self._waiting:
            if not queue[0].led and not self._throttle.try_enter():
                break
            transfer = queue.popleft()
            try:
                idle = self._idle[transfer.method]
                handle = idle.pop() if idle else _Handle(transfer.method, self._settings, self.may_go_on)
                handle.load(transfer)
                self._multi.add_handle(handle.curl)
            except Exception as error:
                # Something of it that libcurl does not take, which is nobody else's fault. Not repr(error), which may
                # have it all, such as a proxy's password.
                if not transfer.led:
                    self._throttle.leave(0)
                _tell_end(transfer, f"cannot begin: {type(error).__name__}: {error}")
            else:
                self._running[handle.curl] = handle

    def _end(self, handle: "_Handle", error: str | None) -> None:
        self._multi.remove_handle(handle.curl)
        del self._running[handle.curl]
        transfer = handle.unload()
        error = error and (handle.reason or error)
        self._idle[transfer.method].append(handle)
        status = 0 if error else transfer.status
        if not transfer.led:
            self._throttle.leave(status)
        elif status in SLOW_DOWN_STATUSES:
            self._throttle.slow_down()
        _tell_end(transfer, error)

    def _watch(self, what: int, descriptor: int, *_: object) -> None:
        """libcurl wants to know when a socket is ready."""
        known = descriptor in self._watched
        if what == pycurl.POLL_REMOVE:
            if known:
                self._watched.discard(descriptor)
                self._poll.unregister(descriptor)
            return
        events = (select.POLLIN if what & pycurl.POLL_IN else 0) | (select.POLLOUT if what & pycurl.POLL_OUT else 0)
        if known:
            self._poll.modify(descriptor, events)
        else:
            self._watched.add(descriptor)
            self._poll.register(descriptor, events)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl wants to be called by then."""
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _tell_end(transfer: Transfer, error: str | None) -> None:
    transfer.error = error
    try:
        transfer.ended(transfer)
    except Exception:
        # The others' ends are still to be told.
        log.exception("the end of a transfer was not taken")


class _Handle:
    """One easy handle, used for one transfer of a method after the other."""

    def __init__(self, method: str, settings: HttpSettings, go_on: Callable[["_Handle"], None]) -> None:
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
        elif method != "GET":
            self._unsent.append("Expect:")
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            curl.setopt(pycurl.UPLOAD_BUFFERSIZE, 512 * 1024)
            curl.setopt(pycurl.READFUNCTION, self._read)
            curl.setopt(pycurl.SEEKFUNCTION, self._seek)
        self.transfer: Transfer | None = None
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
        if transfer.body is not None:
            curl.setopt(pycurl.INFILESIZE_LARGE, len(transfer.body))

    def unload(self) -> Transfer:
        """The transfer, which has ended."""
        transfer = self.transfer
        assert transfer is not None
        self.transfer = None
        transfer.lines = self._lines[:]
        self._lines.clear()
        transfer.status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return transfer

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
        assert transfer.body is not None
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
