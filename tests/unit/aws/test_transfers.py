"""Transfers: what goes out and comes back whole, kept connections, ends of every kind; nobody waits for ever."""

import http.server
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from archiver.aws.handles import HttpSettings
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers

SETTINGS = HttpSettings(connect_seconds=5, silent_seconds=30)
#: Only a failure waits for it.
LONG = 60.0
#: So many of those that wait are dropped.
DROPPED = 200


T = TypeVar("T", bound=http.server.HTTPServer)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append((self.command, self.path, dict(self.headers), b""))
            self.server.connections.add(self.client_address)
        status, body = self.server.answers.get(self.path, (200, b"content of " + self.path.encode()))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Test", "Value: with colon")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 the standard library's name

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked.append((self.command, self.path, dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(server: T) -> Iterator[T]:
    """A server that answers, in a thread of its own, until the end of the block."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


@pytest.fixture
def transfers() -> Iterator[Transfers]:
    transfers = Transfers(SETTINGS, throttle=Throttle(8))
    yield transfers
    transfers.close()


def run(transfers: Transfers, *urls: str, method: str = "GET", **options: Any) -> list[Transfer]:
    """Transfers that have ended."""
    ended = threading.Semaphore(0)
    started = [Transfer(method, url, [], lambda _: ended.release(), **options) for url in urls]
    transfers.start(started)
    for _ in started:
        assert ended.acquire(timeout=LONG)
    return started


def test_content_and_headers_come_back(server: Server, transfers: Transfers) -> None:
    (transfer,) = run(transfers, f"{server.url}/a")
    assert (transfer.status, bytes(transfer.content), transfer.error) == (200, b"content of /a", None)
    assert transfer.answered_headers()["x-test"] == "Value: with colon"


def test_systems_without_epoll_have_poll(server: Server, transfers: Transfers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    ended = run(transfers, *[f"{server.url}/{number}" for number in range(20)])
    assert [bytes(transfer.content) for transfer in ended] == [f"content of /{number}".encode() for number in range(20)]


@pytest.mark.parametrize("body", [b"part", None], ids=["upload", "copy"])
def test_what_writes_goes_first(body: bytes | None, server: Server) -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(1))
    ended: list[str] = []
    over = threading.Event()

    def end(transfer: Transfer) -> None:
        ended.append(transfer.method)
        if len(ended) == 3:
            over.set()

    gets = [Transfer("GET", f"{server.url}/{number}", [], end) for number in range(2)]
    transfers.start([*gets, Transfer("PUT", f"{server.url}/part", [], end, body=body)])
    assert over.wait(LONG)
    transfers.close()
    assert ended == ["PUT", "GET", "GET"]


def test_what_is_early_goes_before_other_reads(server: Server) -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(1))
    ended: list[str] = []
    over = threading.Event()

    def end(transfer: Transfer) -> None:
        ended.append(transfer.url.rpartition("/")[2])
        if len(ended) == 3:
            over.set()

    gets = [Transfer("GET", f"{server.url}/{number}", [], end, early=number == 2) for number in range(3)]
    transfers.start(gets)
    assert over.wait(LONG)
    transfers.close()
    assert ended == ["2", "0", "1"]


def test_headers_are_a_mapping(server: Server, transfers: Transfers) -> None:
    (transfer,) = run(transfers, f"{server.url}/a")
    headers = transfer.answered_headers()
    assert {"x-test", "content-length"} <= headers.keys()
    assert dict(headers)["content-length"] == "13"
    assert len(headers) == len(list(headers))
    assert "content" not in headers
    assert headers.get("x-missing") is None


def test_a_target_takes_the_content_of_a_success_alone(server: Server, transfers: Transfers) -> None:
    server.answers["/gone"] = (404, b"<Error/>")
    room = memoryview(bytearray(13))
    (found,) = run(transfers, f"{server.url}/a", target=room)
    assert (bytes(room), found.received, bytes(found.content)) == (b"content of /a", 13, b"")
    (missing,) = run(transfers, f"{server.url}/gone", target=room)
    assert (missing.status, bytes(missing.content), missing.received) == (404, b"<Error/>", 0)
    assert bytes(room) == b"content of /a"


def test_more_than_the_target_holds_is_an_error(server: Server, transfers: Transfers) -> None:
    (transfer,) = run(transfers, f"{server.url}/a", target=memoryview(bytearray(5)))
    assert transfer.error is not None


def test_content_is_cut_where_it_is_longer_than_wanted(server: Server, transfers: Transfers) -> None:
    server.answers["/large"] = (200, bytes(1_000_000))
    (transfer,) = run(transfers, f"{server.url}/large", most=100)
    assert transfer.is_cut
    assert transfer.answered_headers()["content-length"] == "1000000"


def test_a_body_is_sent_as_it_is(server: Server, transfers: Transfers) -> None:
    body = bytearray(range(256)) * 10_000
    (transfer,) = run(transfers, f"{server.url}/k?partNumber=1", method="PUT", body=memoryview(body))
    assert transfer.status == 200
    method, path, headers, received = server.asked[-1]
    assert (method, path, received) == ("PUT", "/k?partNumber=1", bytes(body))
    assert headers.keys() == {"Host", "Content-Length"}


def test_a_put_without_a_body_says_so_behind_one_that_has_one(server: Server, transfers: Transfers) -> None:
    for body in (b"part", None, b"another"):
        run(transfers, f"{server.url}/k", method="PUT", body=body)
    assert [received for *_, received in server.asked] == [b"part", b"", b"another"]
    _, _, headers, _ = server.asked[1]
    assert headers == {"Host": server.url.removeprefix("http://"), "Content-Length": "0"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_header_is_sent_but_those_that_were_given(server: Server, transfers: Transfers, method: str) -> None:
    run(transfers, f"{server.url}/a", method=method)
    assert server.asked[-1][2].keys() == {"Host"}


def test_a_transfers_headers_are_its_own(server: Server, transfers: Transfers) -> None:
    server.answers["/gone"] = (404, b"<Error/>")
    first, second = (run(transfers, f"{server.url}/{name}")[0] for name in ("a", "gone"))
    assert [first.lines[0][9:12], second.lines[0][9:12]] == [b"200", b"404"]
    assert first.answered_headers()["content-length"] == "13"


def test_paths_are_not_tidied(server: Server, transfers: Transfers) -> None:
    run(transfers, f"{server.url}/a/./b/../c//d")
    assert server.asked[-1][1] == "/a/./b/../c//d"


def test_head_brings_no_content(server: Server, transfers: Transfers) -> None:
    (transfer,) = run(transfers, f"{server.url}/a", method="HEAD")
    assert transfer.answered_headers()["content-length"] == "13"
    assert not transfer.content


def test_connections_are_kept(server: Server, transfers: Transfers) -> None:
    for _ in range(20):
        run(transfers, f"{server.url}/a")
    assert len(server.connections) == 1


def test_many_at_once_are_no_more_than_the_throttle_lets_through(server: Server) -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(3))
    done = run(transfers, *[f"{server.url}/{number}" for number in range(200)])
    transfers.close()
    assert [bytes(transfer.content) for transfer in done] == [f"content of /{n}".encode() for n in range(200)]
    assert len(server.connections) <= 3


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says this to whoever comes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_answer_that_breaks_off_says_how_much_came(transfers: Transfers) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345") as url:
        (transfer,) = run(transfers, url, target=memoryview(bytearray(10)))
    assert transfer.error is not None
    assert transfer.received == 5


def test_an_interim_answer_is_no_answer(transfers: Transfers) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    with answering(interim) as url:
        (transfer,) = run(transfers, url, target=memoryview(bytearray(10)))
    assert (transfer.status, bytes(transfer.content)) == (404, b"no")
    assert transfer.answered_headers() == {"content-length": "2"}


def test_nobody_there_is_an_error(transfers: Transfers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (transfer,) = run(transfers, f"http://127.0.0.1:{port}/a")
    assert transfer.error is not None
    assert transfer.status == 0


def test_whoever_waits_at_the_close_gets_an_error() -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Semaphore(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        waiting = [Transfer("GET", url, [], lambda _: ended.release()) for _ in range(3)]
        transfers.start(waiting)
        transfers.close()
        for _ in waiting:
            assert ended.acquire(timeout=LONG)
    assert all(transfer.error == "closed" for transfer in waiting)


def test_a_fault_of_ours_ends_those_who_wait_and_the_next_goes_on(server: Server, transfers: Transfers) -> None:
    (broken,) = run(transfers, "http://127.0.0.1:1/\x00")  # which pycurl does not take
    assert broken.error is not None
    (good,) = run(transfers, f"{server.url}/a")
    assert good.status == 200


def test_each_lane_has_a_thread_of_its_own_until_the_close(server: Server) -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(8), lanes=2)
    lanes = [transfers.lane() for _ in range(4)]
    threads: list[threading.Thread] = []
    for lane in lanes:
        over = threading.Event()

        def end(_: Transfer, over: threading.Event = over) -> None:
            threads.append(threading.current_thread())
            over.set()

        transfers.start([Transfer("GET", f"{server.url}/a", [], end, lane=lane)])
        assert over.wait(LONG)

    assert lanes == [0, 1, 0, 1]
    assert threads[0] is threads[2] is not threads[1] is threads[3]
    transfers.close()
    assert not any(thread.is_alive() for thread in threads)


def test_a_transfer_is_dropped_in_its_lane() -> None:
    transfers = Transfers(SETTINGS, throttle=Throttle(8), lanes=2)
    ended = threading.Semaphore(0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        hanging = [Transfer("GET", url, [], lambda _: ended.release(), lane=lane) for lane in (0, 1)]
        for transfer in hanging:
            transfers.start([transfer])
        transfers.drop(hanging[1])
        assert ended.acquire(timeout=LONG)
        assert [transfer.error for transfer in hanging] == [None, "dropped"]
        transfers.close()
    assert hanging[0].error == "closed"


def test_nothing_is_opened_before_the_first_transfer() -> None:
    before = threading.active_count()
    Transfers(SETTINGS, throttle=Throttle(1)).close()
    assert threading.active_count() == before


def test_to_drop_one_of_many_that_wait_while_more_come_ends_no_other() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    transfers = Transfers(SETTINGS, throttle=Throttle(1))
    enough = threading.Event()
    ended: list[str | None] = []

    def end(transfer: Transfer) -> None:
        ended.append(transfer.error)
        if len(ended) == DROPPED:
            enough.set()

    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            waiting = [Transfer("GET", url, [], end) for _ in range(2_000)]
            transfers.start(waiting)

            def add() -> None:
                while not enough.is_set():
                    transfers.start([Transfer("GET", url, [], lambda _: None)])

            adding = threading.Thread(target=add, daemon=True)
            adding.start()
            for transfer in waiting[-DROPPED:]:
                transfers.drop(transfer)
            assert enough.wait(LONG)
            adding.join()
            assert set(ended) == {"dropped"}
            transfers.close()
    finally:
        enough.set()
        sys.setswitchinterval(before)
