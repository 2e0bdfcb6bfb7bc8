"""The way to the server: which certificates are trusted, and which proxy is asked."""

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from archiver.aws.throttle import Throttle
from archiver.aws.transfers import HttpSettings, Transfer, Transfers

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
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on loopback that answers with the path it was asked for; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
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


def fetch(url: str, **settings: Any) -> Transfer:
    transfers = Transfers(HttpSettings(connect_seconds=10, silent_seconds=30, **settings), throttle=Throttle(1))
    ended = threading.Event()
    transfer = Transfer("GET", url, [], lambda _: ended.set())
    transfers.start([transfer])
    assert ended.wait(LONG)
    transfers.close()
    return transfer


def test_a_certificate_is_trusted_where_the_settings_name_it_and_not_else(certificate: tuple[Path, Path]) -> None:
    pem, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with serving(context) as port:
        trusted = fetch(f"https://127.0.0.1:{port}/k", certificates=str(pem))
        foreign = fetch(f"https://127.0.0.1:{port}/k")
    assert (trusted.error, bytes(trusted.content)) == (None, b"/k")
    assert foreign.error is not None
    assert foreign.status == 0


def test_a_proxy_is_asked_for_the_whole_url() -> None:
    with serving() as port:
        transfer = fetch("http://bucket.example/k", proxies={"http": f"http://127.0.0.1:{port}"})
    assert bytes(transfer.content) == b"http://bucket.example/k"


def test_the_environment_names_no_proxy_behind_the_settings_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving() as port:
        transfer = fetch(f"http://127.0.0.1:{port}/k")
    assert bytes(transfer.content) == b"/k"
