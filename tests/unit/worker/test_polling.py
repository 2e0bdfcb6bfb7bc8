"""A poll always ends, and its end is always a value."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from kombu.asynchronous import Hub, set_event_loop

from archiver.aws.clients import PROMPT, new_client
from archiver.worker import polling
from archiver.worker.polling import Poll, PollConnection
from tests.support.waiting import LONG_ENOUGH

# kombu's client uses deprecated calls of libcurl; it is pinned, and works.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated; use:DeprecationWarning")

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """An SQS endpoint that does to a request what the test wants."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Answer = lambda request: None
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(json.loads(body))
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(None)


@pytest.fixture
def poll(server: Server, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Poll]:
    """One poll of the server, which may take a second beyond its long poll."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(polling, "GRACE_SECONDS", 1)
    connection = PollConnection(new_client("sqs", timeouts=PROMPT), message_attribute_names=["All"])

    def run() -> Poll:
        ends: list[Poll] = []
        url = f"{server.url}/1/q"
        connection.receive(url, count=3, hide_seconds=60, wait_seconds=0, callback=ends.append)
        deadline = time.monotonic() + LONG_ENOUGH
        while not ends and time.monotonic() < deadline:
            hub.run_once()
        (end,) = ends
        return end

    return run


def answer(status: int, body: bytes) -> Answer:
    def write(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/x-amz-json-1.0")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return write


def test_messages_come_in_boto3s_shape_and_stay_hidden_for_our_time(server: Server, poll: Callable[[], Poll]) -> None:
    server.answer = answer(
        200, b'{"Messages": [{"MessageId": "m", "Body": "b", "Attributes": {"SentTimestamp": "1"}}]}'
    )
    assert poll() == Poll(({"MessageId": "m", "Body": "b", "Attributes": {"SentTimestamp": "1"}},))
    (request,) = server.requests
    assert request["VisibilityTimeout"] == 60
    assert request["MaxNumberOfMessages"] == 3
    assert request["WaitTimeSeconds"] == 0
    assert request["MessageAttributeNames"] == ["All"]


def test_no_messages_are_no_error(server: Server, poll: Callable[[], Poll]) -> None:
    server.answer = answer(200, b"{}")
    assert poll() == Poll()


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_a_refusal_says_why(server: Server, poll: Callable[[], Poll], status: int) -> None:
    server.answer = answer(status, b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}')
    assert poll() == Poll(error=f"HTTP {status} QueueDoesNotExist: no such queue", code="QueueDoesNotExist")


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b"[1]", b"\xff"])
@pytest.mark.parametrize("status", [200, 302, 404, 502])
def test_an_answer_that_is_none_is_an_error(server: Server, poll: Callable[[], Poll], status: int, body: bytes) -> None:
    server.answer = answer(status, body)
    end = poll()
    assert end.messages == ()
    assert end.error


def test_a_server_that_hangs_up_is_an_error(server: Server, poll: Callable[[], Poll]) -> None:
    server.answer = lambda request: request.connection.close()
    assert poll().error


def test_a_server_that_never_answers_is_an_error_in_time(server: Server, poll: Callable[[], Poll]) -> None:

    def silence(_: BaseHTTPRequestHandler) -> None:
        server.over.wait()

    server.answer = silence
    assert "599" in (poll().error or "")
    server.over.set()
