"""A plain HTTP server that stores what is PUT and returns it to GET, and how to ask it."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class ObjectServer(ThreadingHTTPServer):
    """Remembers each request that reached it: method, target and Host header."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, str]] = []
        self.stored: dict[str, bytes] = {}
        self.connections = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, object]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the proxy drops is what the tests want."""


class Handler(BaseHTTPRequestHandler):
    server: ObjectServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_PUT(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers["Host"]))
        if self.command in ("PUT", "POST"):
            self.server.stored[self.path] = self._read()
        body = b"" if self.command in ("PUT", "POST") else self.server.stored.get(self.path.partition("?")[0], b"")
        self.send_response(200)
        if self.path.endswith("?chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (1000, body[:1000], len(body) - 1000, body[1000:])
        elif self.path.endswith("?until-close"):
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT  # noqa: N815  # the standard library's names


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)


def connect_raw(url: str) -> socket.socket:
    return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=30)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    connection.request(method, path, body, encode_chunked=isinstance(body, Iterator))
    response = connection.getresponse()
    return response.status, response.read()


def ask_once(url: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    with closing(connect(url)) as connection:
        return ask(connection, method, path, body)
