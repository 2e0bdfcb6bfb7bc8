"""The way to the server: which certificates are trusted, and which proxy is asked."""

import http.server
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from archiver.aws.handles import HttpSettings
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers

LONG = 60.0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None, handler: type[Handler] = Handler) -> Iterator[int]:
    """A server on loopback that answers with the path it was asked for; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that trusts nobody hangs up
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    pem, key = folder / "pem", folder / "key"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(pem),
    ]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return pem, key


def trusted_by(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A server's context that has this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def fetch(url: str, target: memoryview | None = None, **settings: Any) -> Transfer:
    transfers = Transfers(HttpSettings(connect_seconds=10, silent_seconds=30, **settings), throttle=Throttle(1))
    ended = threading.Event()
    transfer = Transfer("GET", url, [], lambda _: ended.set(), target=target)
    transfers.start([transfer])
    assert ended.wait(LONG)
    transfers.close()
    return transfer


def test_a_certificate_is_trusted_where_the_settings_name_it_and_not_else(certificate: tuple[Path, Path]) -> None:
    with serving(trusted_by(certificate)) as port:
        trusted = fetch(f"https://127.0.0.1:{port}/k", certificates=str(certificate[0]))
        foreign = fetch(f"https://127.0.0.1:{port}/k")
    assert (trusted.error, bytes(trusted.content)) == (None, b"/k")
    assert foreign.error is not None
    assert foreign.status == 0


def test_a_proxy_is_asked_for_the_whole_url() -> None:
    with serving() as port:
        transfer = fetch("http://bucket.example/k", proxies={"http": f"http://127.0.0.1:{port}"})
    assert bytes(transfer.content) == b"http://bucket.example/k"


class Refusing(Handler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"<Error/>")


class Tunnel(socketserver.BaseRequestHandler):
    """A proxy that takes one connection through."""

    def handle(self) -> None:
        with self.request.makefile("rb", buffering=0) as asked:
            host, _, port = asked.readline().split(b" ")[1].decode().rpartition(":")
            while asked.readline().strip():
                pass
        with socket.create_connection((host, int(port))) as server:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pass_on, args=(server, self.request))
            back.start()
            pass_on(self.request, server)
            back.join()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either side may hang up first
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def test_behind_a_proxys_own_answer_a_refusal_is_a_refusal(certificate: tuple[Path, Path]) -> None:
    room = memoryview(bytearray(8))
    with serving(trusted_by(certificate), Refusing) as port, socketserver.TCPServer(("127.0.0.1", 0), Tunnel) as tunnel:
        thread = threading.Thread(target=tunnel.serve_forever, args=(0.01,))
        thread.start()
        proxies = {"https": f"http://127.0.0.1:{tunnel.server_address[1]}"}
        transfer = fetch(f"https://127.0.0.1:{port}/k", room, certificates=str(certificate[0]), proxies=proxies)
        tunnel.shutdown()
        thread.join()
    assert (transfer.status, bytes(transfer.content), bytes(room)) == (403, b"<Error/>", bytes(8))


def test_the_environment_names_no_proxy_behind_the_settings_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving() as port:
        transfer = fetch(f"http://127.0.0.1:{port}/k")
    assert bytes(transfer.content) == b"/k"
