"""One connection through the proxy: heads are read, bodies streamed, requests held back and struck by faults.

Nothing is changed on the way (the Host header, and with it the signature, stay the client's). Connections live on
both sides, each client's having one to the server, so that what is seen is what a program really sends.
"""

import asyncio
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

from devtools import http1
from devtools.faults import Answer, Cut, Delay, Fault, Request, Reset

if TYPE_CHECKING:
    from devtools.proxy_server import ProxyServer

#: Requests for this path are the proxy's own. No bucket's name may have an underscore.
CONTROL = "/_proxy/"


class _Exchange:
    """One request and its response, on their way."""

    def __init__(self, raw: bytes, head: http1.RequestHead) -> None:
        self.raw = raw
        self.head = head
        self.request_body = http1.request_framing(head)
        self.request: Request | None = None  # None: it is for the proxy itself
        self.fault: Fault | None = None
        self.response: http1.ResponseHead | None = None
        self.response_body: http1.Framing | None = None
        self.budget: int | None = None  # bytes of the response's body that a cut still lets pass
        self.forwarded = False
        self.begun = False  # past the latency: the request's body may be read

    @property
    def swallows_response(self) -> bool:
        return isinstance(self.fault, Answer | Reset)


class Link(asyncio.Protocol):
    """A client's connection and the one to the server that belongs to it. One exchange at a time."""

    client: asyncio.Transport

    def __init__(self, proxy: "ProxyServer") -> None:
        self._proxy = proxy
        self._tally = proxy.tally
        self._upstream: asyncio.Transport | None = None
        self._exchange: _Exchange | None = None
        self._from_client = b""  # not yet understood: part of a head, or what came before its time
        self._from_upstream = b""
        self._upstream_full = False
        self._closed = False
        self._connecting: asyncio.Task[None] | None = None

    # The client's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.client = transport
        self._proxy.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end_exchange()
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream is not None:
            self._upstream.abort()
        self._proxy.open.discard(self)

    def pause_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.resume_reading()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.begun and not exchange.request_body.done:
            self._pass_request_body(exchange, data)
            return
        self._from_client += data
        if exchange is None:
            self._next_request()

    def _next_request(self) -> None:
        end = self._from_client.find(http1.END_OF_HEAD)
        if end < 0:
            if len(self._from_client) > http1.MAX_HEAD:
                self.drop()
            return
        end += len(http1.END_OF_HEAD)
        raw, self._from_client = self._from_client[:end], self._from_client[end:]
        try:
            head = http1.parse_request(raw)
            exchange = self._exchange = _Exchange(raw, head)
        except http1.HeadError:
            self.drop()
            return
        if head.path.startswith(CONTROL):
            self._begin(exchange)
            return
        self._tally.in_flight += 1
        self._tally.peak_in_flight = max(self._tally.peak_in_flight, self._tally.in_flight)
        exchange.request, exchange.fault = self._proxy.decide(head)
        delay = self._proxy.latency
        if isinstance(exchange.fault, Delay):
            delay += exchange.fault.milliseconds
        if delay > 0:
            self.client.pause_reading()
            asyncio.get_running_loop().call_later(delay / 1000, self._begin, exchange)
        else:
            self._begin(exchange)

    def _begin(self, exchange: _Exchange) -> None:
        """The latency is over: reset, answer or forward."""
        if self._closed or self._exchange is not exchange:
            return
        fault = exchange.fault
        if isinstance(fault, Reset) and not fault.effect:
            self._reset()
            return
        exchange.forwarded = exchange.request is not None and not (isinstance(fault, Answer) and not fault.effect)
        if not exchange.forwarded and "100-continue" in exchange.head.headers.get("expect", "").lower():
            self._answer(exchange, close=True)  # the client waits for leave to send its body, and will not get it
        elif exchange.forwarded and self._upstream is None:
            self.client.pause_reading()
            self._connecting = asyncio.get_running_loop().create_task(self._connect(exchange))
        else:
            self._open_body(exchange)

    async def _connect(self, exchange: _Exchange) -> None:
        try:
            upstream, _ = await asyncio.get_running_loop().create_connection(
                partial(Upstream, self, self._proxy.open), *self._proxy.upstream
            )
        except OSError:
            self.drop()
            return
        if self._closed:
            upstream.abort()
            return
        self._upstream = upstream
        self._open_body(exchange)

    def _open_body(self, exchange: _Exchange) -> None:
        exchange.begun = True
        if exchange.forwarded:
            assert self._upstream is not None
            self._upstream.write(exchange.raw)
        early, self._from_client = self._from_client, b""
        if not self._upstream_full:
            self.client.resume_reading()
        self._pass_request_body(exchange, early)

    def _pass_request_body(self, exchange: _Exchange, data: bytes) -> None:
        before = exchange.request_body.content
        try:
            taken = exchange.request_body.feed(data)
        except http1.HeadError:
            self.drop()
            return
        if exchange.request is not None:
            self._tally.bytes_up += exchange.request_body.content - before
        self._from_client = data[taken:]
        if exchange.forwarded and taken:
            assert self._upstream is not None
            self._upstream.write(data if taken == len(data) else data[:taken])
        if not exchange.forwarded and exchange.request_body.done:
            self._answer(exchange, close=False)

    # The server's side.

    def upstream_full(self, full: bool) -> None:
        self._upstream_full = full
        if full:
            self.client.pause_reading()
        elif self._exchange is None or self._exchange.begun:
            self.client.resume_reading()

    def upstream_data(self, data: bytes) -> None:
        exchange = self._exchange
        try:
            while data:
                if exchange is None or not exchange.begun:  # a server that speaks unasked is about to close
                    self.drop()
                    return
                if exchange.response_body is not None:
                    self._pass_response_body(exchange, data)
                    return
                data = self._response_head(exchange, data)
        except http1.HeadError:
            self.drop()

    def _response_head(self, exchange: _Exchange, data: bytes) -> bytes:
        """Take a head, where it is complete; returns the bytes after it."""
        data = self._from_upstream + data
        end = data.find(http1.END_OF_HEAD)
        if end < 0:
            if len(data) > http1.MAX_HEAD:
                raise http1.HeadError("endless head")
            self._from_upstream = data
            return b""
        end += len(http1.END_OF_HEAD)
        self._from_upstream = b""
        raw, rest = data[:end], data[end:]
        head = http1.parse_response(raw)
        interim = 100 <= head.status < 200
        if interim:
            self.client.write(raw)
            return rest
        exchange.response = head
        body = exchange.response_body = http1.response_framing(exchange.head.method, head)
        if isinstance(exchange.fault, Cut):
            if body.done:
                self.client.write(raw[: len(raw) // 2])
                self._hang_up()
                return b""
            size = body.size if isinstance(body, http1.Sized) else len(rest)
            exchange.budget = size // 2 if exchange.fault.after is None else exchange.fault.after
        if not exchange.swallows_response:
            self.client.write(raw)
        if body.done:
            self._finish(exchange)
            return b""
        return rest

    def _pass_response_body(self, exchange: _Exchange, data: bytes) -> None:
        body = exchange.response_body
        assert body is not None
        if exchange.budget is not None and len(data) >= exchange.budget:
            self.client.write(data[: exchange.budget])
            self._tally.bytes_down += exchange.budget
            self._hang_up()
            return
        before = body.content
        taken = body.feed(data)
        if not exchange.swallows_response:
            self._tally.bytes_down += body.content - before
            self.client.write(data if taken == len(data) else data[:taken])
        if exchange.budget is not None:
            exchange.budget -= taken
        if body.done:
            self._finish(exchange)

    def upstream_lost(self) -> None:
        exchange = self._exchange
        self._upstream = None
        if exchange is not None and isinstance(exchange.response_body, http1.UntilClose):
            self._finish(exchange)
        self._hang_up()

    # Ends.

    def _finish(self, exchange: _Exchange) -> None:
        """The server has answered in full."""
        if isinstance(exchange.fault, Reset):
            self._reset()
            return
        if isinstance(exchange.fault, Answer):
            self._answer(exchange, close=False)
            return
        assert exchange.response is not None
        # After an answer that came before the request's body, nobody can tell what the next byte means.
        done = exchange.request_body.done
        if not done or http1.wants_close(exchange.response.headers) or http1.wants_close(exchange.head.headers):
            self._hang_up()
            return
        self._end_exchange()
        self._next_request()

    def _answer(self, exchange: _Exchange, *, close: bool) -> None:
        """Send the proxy's own answer, and go on or close."""
        status = 200
        if exchange.request is None:
            body, kind = self._proxy.control(exchange.head), "application/json"
        else:
            assert isinstance(exchange.fault, Answer)
            status = exchange.fault.status
            body, kind = exchange.fault.body(exchange.request)
        if exchange.head.method == "HEAD":
            body = b""
        close = close or not exchange.request_body.done or http1.wants_close(exchange.head.headers)
        head = (
            f"HTTP/1.1 {status} Injected\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"x-amz-request-id: INJECTED\r\nConnection: {'close' if close else 'keep-alive'}\r\n\r\n"
        )
        self.client.write(head.encode() + body)
        if exchange.request is not None:
            self._tally.bytes_down += len(body)
        if close:
            self._hang_up()
            return
        self._end_exchange()
        self._next_request()

    def _end_exchange(self) -> None:
        if self._exchange is not None and self._exchange.request is not None:
            self._tally.in_flight -= 1
        self._exchange = None

    def _hang_up(self) -> None:
        """Send what is written, then close both sides."""
        self._end_exchange()
        self._closed = True
        self.client.close()
        if self._upstream is not None:
            self._upstream.abort()

    def _reset(self) -> None:
        """Close the client's side with a TCP RST: a lingering time of zero drops what is buffered."""
        raw = self.client.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def drop(self) -> None:
        """Close both sides at once."""
        self._closed = True
        self.client.abort()
        if self._upstream is not None:
            self._upstream.abort()


class Upstream(asyncio.Protocol):
    """The connection to the server; its link does the thinking."""

    _transport: asyncio.Transport

    def __init__(self, link: Link, open_ones: "set[Link | Upstream]") -> None:
        self._link = link
        self._open = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        self._link.upstream_data(data)

    def pause_writing(self) -> None:
        self._link.upstream_full(True)

    def resume_writing(self) -> None:
        self._link.upstream_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._open.discard(self)
        self._link.upstream_lost()

    def drop(self) -> None:
        """Close at once."""
        self._transport.abort()
