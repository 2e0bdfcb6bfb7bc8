"""Transfers that can't even begin, and ends that go wrong: nobody else notices, and no place is lost."""

import os
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials

from archiver.archive.location import Location
from archiver.aws.endpoints import Endpoint
from archiver.aws.handles import MOST_OF_REFUSAL, HttpSettings
from archiver.aws.http import S3Http
from archiver.aws.requests import ObjectRequests
from archiver.aws.throttle import Throttle
from archiver.aws.transfer import Transfer
from archiver.aws.transfers import Transfers
from tests.unit.aws.test_transfers import LONG, SETTINGS, Server, run, server

__all__ = ["server"]


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(4)


@pytest.fixture
def transfers(throttle: Throttle) -> Iterator[Transfers]:
    transfers = Transfers(SETTINGS, throttle=throttle)
    yield transfers
    transfers.close()


def free_places(throttle: Throttle) -> int:
    free = 0
    while throttle.try_enter():
        free += 1
    return free


@pytest.mark.parametrize(
    "bad", [{"headers": ['if-match: "é"']}, {"url": "http://127.0.0.1:1/é"}, {"url": "http://127.0.0.1:1/\x00"}]
)
def test_a_transfer_that_cannot_begin_gives_its_place_back(
    throttle: Throttle, transfers: Transfers, bad: dict[str, Any]
) -> None:
    ended = threading.Semaphore(0)
    fields: dict[str, Any] = {"method": "GET", "url": "http://127.0.0.1:1/", "headers": []} | bad
    transfer = Transfer(**fields, ended=lambda _: ended.release())

    transfers.start([transfer])

    assert ended.acquire(timeout=LONG)
    assert transfer.error is not None
    assert free_places(throttle) == 4


def test_a_transfer_that_cannot_begin_fails_alone(server: Server, transfers: Transfers) -> None:
    bad, *good = run(transfers, "http://127.0.0.1:1/é", *[f"{server.url}/{number}" for number in range(3)])

    assert bad.error is not None
    assert [transfer.error for transfer in good] == [None, None, None]


def test_a_proxy_that_libcurl_does_not_take_is_an_error_each_time(throttle: Throttle) -> None:
    proxied = HttpSettings(connect_seconds=5, silent_seconds=30, proxies={"http": "http://user:pässword@127.0.0.1:1"})
    transfers = Transfers(proxied, throttle=throttle)
    for _ in range(2):
        (transfer,) = run(transfers, "http://127.0.0.1:1/")
        assert transfer.error is not None
        assert "ssword" not in transfer.error, "and tells no password"
    transfers.close()
    assert free_places(throttle) == 4


def test_an_end_that_raises_keeps_no_other_from_its_end(
    server: Server, throttle: Throttle, transfers: Transfers
) -> None:
    ended = threading.Semaphore(0)

    def end(_: Transfer) -> None:
        ended.release()
        raise RuntimeError("a callback's own fault")

    transfers.start([Transfer("GET", f"{server.url}/{number}", [], end) for number in range(4)])

    for _ in range(4):
        assert ended.acquire(timeout=LONG)
    assert free_places(throttle) == 4


def test_of_a_refusal_so_much_is_kept_and_the_rest_fails_nothing(server: Server, transfers: Transfers) -> None:
    server.answers["/page"] = (503, b"<html>" * 100_000)
    (page,) = run(transfers, f"{server.url}/page", most=10)
    assert (page.status, page.error, page.is_cut) == (503, None, False)
    assert len(page.content) == MOST_OF_REFUSAL


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_begins_anew(server: Server, throttle: Throttle, transfers: Transfers) -> None:
    # given a process with transfers behind it, and one that holds all places
    run(transfers, f"{server.url}/before")
    while throttle.try_enter():
        pass

    # when it forks
    child = os.fork()
    if not child:
        try:
            (transfer,) = run(transfers, f"{server.url}/child")
            os._exit(0 if transfer.content == b"content of /child" and free_places(throttle) == 4 else 1)
        finally:
            os._exit(2)

    # then the child's transfers end, and the parent's go on
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    for _ in range(4):
        throttle.leave(200)
    (after,) = run(transfers, f"{server.url}/after")
    assert after.content == b"content of /after"


def test_a_look_whose_answer_breaks_off_in_its_headers_is_asked_for_again(transfers: Transfers) -> None:
    # given a server that hangs up in the middle of its first answer's headers, which is no error to libcurl
    whole = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\nLast-Modified: Mon, 21 Sep 2026 08:00:00 GMT\r\n\r\n'

    def serve(listener: socket.socket) -> None:
        for answer in (whole[:40], whole):
            connection, _ = listener.accept()
            with connection:
                connection.recv(64 * 1024)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONG)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        http = S3Http(
            transfers,
            endpoints=SimpleNamespace(of=lambda _: Endpoint(f"http://{host}/", host, "/", "eu-west-1")),  # type: ignore[arg-type]
            credentials=lambda: Credentials("AKID", "secret"),
            sleep=lambda _: None,
        )
        found = ObjectRequests(http).head(Location("bucket", "a.jpg"))
        thread.join(LONG)

    assert (found.headers["etag"], found.failures) == ('"e"', 1)
