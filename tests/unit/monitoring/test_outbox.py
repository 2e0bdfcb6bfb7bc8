"""The outbox: whoever puts never waits, and an outage costs messages, never order or threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from structlog.testing import capture_logs

from archiver.monitoring import outbox
from archiver.monitoring.outbox import Outbox
from tests.unit.monitoring.messaging import PATIENCE, eventually


class Server:
    """Receives numbers; slow while ``open`` is not set, and failing while ``down``."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.down = False
        self.reached = threading.Semaphore(0)

    def send(self, number: int) -> None:
        self.reached.release()
        assert self.open.wait(PATIENCE)
        if self.down:
            raise ConnectionError("down")
        self.received.append(number)


@pytest.fixture
def server() -> Server:
    return Server()


def put(box: Outbox, server: Server, *numbers: int) -> None:
    for number in numbers:
        box.put(partial(server.send, number))


def test_what_is_put_goes_out_in_its_order(server: Server) -> None:
    box = Outbox()

    put(box, server, *range(50))

    assert box.flush(PATIENCE)
    assert server.received == list(range(50))


def test_whoever_puts_does_not_wait_for_what_is_being_sent(server: Server) -> None:
    box = Outbox()
    server.open.clear()

    put(box, server, 1, 2, 3)  # the test would end here

    assert server.received == []
    assert not box.flush(0)
    server.open.set()
    assert box.flush(PATIENCE)
    assert server.received == [1, 2, 3]


def test_the_end_comes_as_soon_as_everything_has_gone(server: Server) -> None:
    box = Outbox()
    server.open.clear()
    put(box, server, 1)
    assert server.reached.acquire(timeout=PATIENCE)

    with ThreadPoolExecutor() as threads:
        flushed = threads.submit(box.flush, PATIENCE * 10)  # the suite's limit for a test would end it
        server.open.set()
        assert flushed.result(PATIENCE)


def test_what_fails_is_lost_and_the_next_waits_a_while(server: Server) -> None:
    pauses: list[float] = []
    box = Outbox(sleep=pauses.append)
    server.down = True

    with capture_logs() as logs:
        put(box, server, 1, 2)
        assert eventually(lambda: len(pauses) == 2)
        server.down = False
        put(box, server, 3, 4)
        assert eventually(lambda: server.received == [3, 4])
        assert box.flush(PATIENCE)

    assert pauses == [outbox.PAUSE_SECONDS] * 2
    assert [line["event"] for line in logs] == [
        "monitoring can't send: events are dropped, jobs go on",
        "monitoring sends again",
    ]


def test_the_end_does_not_wait_for_an_outage(server: Server) -> None:
    paused = threading.Event()
    reached = threading.Event()

    def pause(_: float) -> None:
        reached.set()
        paused.wait(PATIENCE)

    box = Outbox(sleep=pause)
    server.down = True
    put(box, server, 1, 2)
    assert reached.wait(PATIENCE)

    assert not box.flush(PATIENCE * 10)  # the suite's limit for a test would end it

    server.down = False
    paused.set()
    assert eventually(lambda: server.received == [2])


def test_of_too_many_the_oldest_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 3)
    box = Outbox()
    server.open.clear()
    put(box, server, 0)
    assert server.reached.acquire(timeout=PATIENCE)  # it is being sent

    put(box, server, 1, 2, 3, 4)
    server.open.set()

    assert box.flush(PATIENCE)
    assert server.received == [0, 2, 3, 4]
