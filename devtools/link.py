"""One client's connection through the proxy: its requests are counted, held back, passed on, answered or broken.

h11 reads and writes the heads and knows where bodies end; nothing is changed on the way but what a fault changes, and
small objects go to the server whole or not at all. Each link has one connection to the server, and both live on, so
that what is counted is what the client really does.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

import h11

from devtools.faults import Answer, Cut, Delay, Fault, Flip, Hold, Page, Request, Reset, Rule, Slow
from devtools.operations import operation_of

#: Bytes that are read at once.
CHUNK = 256 * 1024
#: Objects of up to so many bytes are passed on once they are there as a whole.
SMALL = 1024 * 1024
#: A head over this size is an error; AWS's own limit on S3 request headers is 8 KB.
MAX_HEAD = 64 * 1024


class HangUpError(Exception):
    """A link ends here."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What passed since the start or the last reset; bytes are those of bodies, without what frames them.

    A request counts when its head arrives; one that met a fault counts as well, and its fault by its kind.
    """

    requests: Mapping[str, int]
    bytes_up: int
    bytes_down: int
    faults: Mapping[str, int]
    peak_in_flight: int

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    @property
    def bytes_both(self) -> int:
        return self.bytes_up + self.bytes_down


@dataclass(slots=True)
class Traffic:
    """What all links of a proxy share; touched by the proxy's thread alone."""

    upstream: tuple[str, int]
    latency: float  # milliseconds
    rule: Rule
    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    bytes_up: int = 0
    bytes_down: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    #: The first exception that a rule, or the proxy itself, raised; a test must not pass over it.
    broken: BaseException | None = None

    def counts(self, *, reset: bool) -> Counts:
        """The counts until now; from zero again after a reset."""
        counts = Counts(
            requests=dict(self.requests),
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            faults=dict(self.faults),
            peak_in_flight=self.peak_in_flight,
        )
        if reset:
            self.requests.clear()
            self.faults.clear()
            self.bytes_up = self.bytes_down = 0
            self.peak_in_flight = self.in_flight
        return counts

    def decide(self, head: h11.Request) -> tuple[Request, Fault | None]:
        """Count a request, which is in flight from now on, and ask the rule about it."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        path, _, query_string = head.target.decode().partition("?")
        method, path, query = head.method.decode(), unquote(path), dict(parse_qsl(query_string, keep_blank_values=True))
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        operation = operation_of(method, path, query=query, headers=headers)
        self.requests[operation] += 1
        request = Request(method, path, query, headers, operation, number=self.requests[operation])
        try:
            fault = self.rule(request)
        except Exception as error:  # whatever a test's rule raises is kept for running_proxy to raise again
            self.broken = self.broken or error
            fault = Reset()
        if fault is not None:
            self.faults[type(fault).__name__] += 1
        return request, fault


class Side:
    """One side of a link: its streams and what h11 knows of them."""

    def __init__(
        self, role: type[h11.CLIENT | h11.SERVER], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        self.reader = reader
        self.writer = writer

    async def receive(self) -> h11.Event:
        """The next event from the other end; raises ``HangUpError`` where there is none to come."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(CHUNK))
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise HangUpError
        return event

    async def send(self, event: h11.Event) -> None:
        """Send an event, and wait where the other end is too slow to take it."""
        self.writer.write(self.http.send(event) or b"")
        await self.writer.drain()

    async def listen(self) -> None:
        """Take in what comes before its time, until the other end is gone: then ``HangUpError``."""
        while data := await self.reader.read(CHUNK):
            self.http.receive_data(data)
        raise HangUpError

    def ready(self) -> bool:
        """Is the connection ready for another exchange?"""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        return self.http.our_state is h11.IDLE and self.http.their_state is h11.IDLE

    def abort(self) -> None:
        # asyncio's transport raises this where it has closed by itself, once what was left in its buffer was written.
        with contextlib.suppress(AttributeError):
            self.writer.transport.abort()


class Link:
    """A client's side and the server's side that belongs to it. One exchange at a time."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._client: Side
        self._server: Side | None = None

    async def serve(self, accepted: socket.socket) -> None:
        """Carry out what the client asks for, until one of the three ends it."""
        self._client = Side(h11.SERVER, *await asyncio.open_connection(sock=accepted, limit=CHUNK))
        try:
            with contextlib.suppress(h11.ProtocolError, HangUpError, OSError):
                while self._client.ready() and (self._server is None or self._server.ready()):
                    await self._exchange()
            with contextlib.suppress(OSError):
                self._client.writer.close()
                await self._client.writer.wait_closed()
        finally:
            self._client.abort()
            if self._server is not None:
                self._server.abort()

    async def _exchange(self) -> None:
        """One request, from its head to the end of its answer."""
        head = await self._client.receive()
        assert isinstance(head, h11.Request)
        request, fault = self._traffic.decide(head)
        try:
            await self._pause(self._traffic.latency + (fault.milliseconds if isinstance(fault, Delay) else 0))
            while isinstance(fault, Hold) and not fault.until.is_set():
                await self._pause(10)
            if isinstance(fault, Reset | Answer | Page) and not fault.effect:
                # A client that waits for leave to send its body does not get it; any other may send it to the end.
                if isinstance(fault, Answer | Page) and not self._client.http.they_are_waiting_for_100_continue:
                    await self._pass_request(None, self._body())
            else:
                await self._forward(head, request, fault)
            if isinstance(fault, Reset):
                self._reset()
            if isinstance(fault, Answer | Page):
                await self._answer(request, fault)
        finally:
            self._traffic.in_flight -= 1

    async def _pause(self, milliseconds: float) -> None:
        """Wait; a client that goes meanwhile ends it."""
        if milliseconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(milliseconds / 1000):
                    await self._client.listen()

    async def _forward(self, head: h11.Request, request: Request, fault: Fault | None) -> None:
        """Let the server carry the request out; its answer passes on, unless a fault replaces it."""
        body, is_here = self._body(), _is_small_object(request)
        if is_here:
            body = await self._whole(body)
        if self._server is None or self._server.reader.at_eof():
            if self._server is not None:
                self._server.abort()
            self._server = Side(h11.CLIENT, *await asyncio.open_connection(*self._traffic.upstream, limit=CHUNK))
        await self._server.send(head)
        up = asyncio.ensure_future(self._pass_request(self._server, body, then_listen=True))
        down = asyncio.ensure_future(self._pass_response(self._server, head, fault, body_is_here=is_here))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            await (down if down.done() else up)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _whole(self, body: AsyncIterator[h11.Event]) -> AsyncIterator[h11.Event]:
        """The same events, once all of them are here."""
        if self._client.http.they_are_waiting_for_100_continue:
            await self._client.send(h11.InformationalResponse(status_code=100, headers=[]))
        return _again([event async for event in body])

    async def _body(self) -> AsyncIterator[h11.Event]:
        """The events of a request's body, to its end, as they come."""
        event: h11.Event | None = None
        while not isinstance(event, h11.EndOfMessage):
            event = await self._client.receive()
            if isinstance(event, h11.Data):
                self._traffic.bytes_up += len(event.data)
            yield event

    async def _pass_request(
        self, server: Side | None, body: AsyncIterator[h11.Event], *, then_listen: bool = False
    ) -> None:
        """The request's body, to the server or to nobody."""
        async for event in body:
            if server is not None:
                await server.send(event)
        if then_listen:
            await self._client.listen()

    async def _pass_response(self, server: Side, head: h11.Request, fault: Fault | None, *, body_is_here: bool) -> None:
        """Heads and body of the server's answer, changed, slowed down, cut or swallowed as the fault says.

        Interim answers do not pass where the body is here already: the client has had its leave to send it.
        """
        swallowed = isinstance(fault, Answer | Page | Reset)
        passed, middle = 0, None
        event: h11.Event | None = None
        while not isinstance(event, h11.EndOfMessage):
            event = await server.receive()
            if isinstance(event, h11.Data) and not swallowed:
                data = bytes(event.data)
                middle = len(data) // 2 if middle is None else middle  # of a body whose size nobody told: of its start
                await self._pass_data(data, passed, middle, fault)
                passed += len(data)
                continue
            if isinstance(event, h11.Response):
                size = dict(event.headers).get(b"content-length")
                middle = None if size is None else int(size) // 2
                bodiless = head.method == b"HEAD" or size == b"0" or event.status_code in (204, 304)
                if isinstance(fault, Cut) and bodiless:
                    raw = self._client.http.send(event) or b""
                    self._client.writer.write(raw[: len(raw) // 2])
                    raise HangUpError
            if not (body_is_here if isinstance(event, h11.InformationalResponse) else swallowed):
                await self._client.send(event)

    async def _pass_data(self, data: bytes, start: int, middle: int, fault: Fault | None) -> None:
        """A piece of the answer's body, which begins at ``start`` of it."""
        pieces, seconds = [data], 0.0
        if isinstance(fault, Cut):
            end = middle if fault.after is None else fault.after
            pieces = [data[: max(0, end - start)]]
        elif isinstance(fault, Flip):
            at = (middle if fault.at is None else fault.at) - start
            if 0 <= at < len(data):
                pieces = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]]
        elif isinstance(fault, Slow):
            size, seconds = max(1, fault.bytes_per_second // 20), 0.05
            pieces = [data[n : n + size] for n in range(0, len(data), size)]
        for piece in pieces:
            await asyncio.sleep(seconds)
            self._traffic.bytes_down += len(piece)
            await self._client.send(h11.Data(data=piece))
        if isinstance(fault, Cut) and start + len(data) > end:
            raise HangUpError

    async def _answer(self, request: Request, fault: Answer | Page) -> None:
        """The proxy's own answer."""
        body, media_type = fault.body(request)
        if request.method == "HEAD":
            body = b""
        done = self._client.http.their_state is h11.DONE
        headers = {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "x-amz-request-id": "INJECTED",
            "Connection": "keep-alive" if done else "close",
        }
        await self._client.send(
            h11.Response(status_code=fault.status, headers=list(headers.items()), reason="Injected")
        )
        await self._client.send(h11.Data(data=body))
        await self._client.send(h11.EndOfMessage())
        self._traffic.bytes_down += len(body)

    def _reset(self) -> None:
        """Close the client's side with a TCP RST: a lingering time of zero drops what is buffered."""
        raw = self._client.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.abort()
        raise HangUpError


def _is_small_object(request: Request) -> bool:
    """Whether the server must not begin with it before the client is through.

    S3 keeps the object that was there where a client dies in the middle of its PUT; LocalStack has emptied it by then.
    """
    return request.operation == "PutObject" and 0 < int(request.headers.get("content-length", 0)) <= SMALL


async def _again(events: Sequence[h11.Event]) -> AsyncIterator[h11.Event]:
    for event in events:
        yield event
