"""A queue is polled without end, by one poll at a time, whatever becomes of each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from archiver.errors import QueueUnavailable
from archiver.worker import turns
from archiver.worker.poller import BUSY_SECONDS, MAX_PAUSE_SECONDS, WATCH_SECONDS, Poller
from archiver.worker.polling import Poll
from tests.support.jobs import logged
from tests.unit.worker.conftest import NAME, URL, Loop, message


@dataclass
class FakeChannel:
    """Has room for what it is told; the test ends its polls."""

    hub: Loop = field(default_factory=Loop)
    wait_time_seconds: int = 20
    consumed: bool = True
    slots: int = 2
    error: Exception | None = None
    started: list[tuple[int, Callable[[str, Poll], None]]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    signs_of_life: int = 0
    forgotten: list[str] = field(default_factory=list)

    def is_consumed(self, queue: str) -> bool:
        return queue == NAME and self.consumed

    def room(self, queue: str) -> int:
        assert queue == NAME
        return self.slots

    def start_poll(self, queue: str, count: int, ended: Callable[[str, Poll], None]) -> None:
        assert queue == NAME
        if self.error is not None:
            raise self.error
        self.started.append((count, ended))

    def receive(self, queue: str, url: str, messages: Iterable[dict[str, Any]]) -> None:
        assert (queue, bool(url)) == (NAME, self.error is None)
        self.received += messages

    def alive(self, queue: str) -> None:
        assert queue == NAME
        self.signs_of_life += 1

    def forget(self, queue: str) -> None:
        self.forgotten.append(queue)

    def end(self, *messages: dict[str, Any], number: int = -1, **failure: Any) -> None:
        """Poll ``number`` ends, with messages or with a failure."""
        _, ended = self.started[number]
        ended(URL, Poll(messages, **failure))


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def poller(channel: FakeChannel) -> Poller:
    """One whose first poll is under way."""
    poller = Poller(NAME, channel)
    poller.watch()
    poller.turn()
    return poller


def test_a_poll_asks_for_as_much_as_there_is_room(poller: Poller, channel: FakeChannel) -> None:
    assert [count for count, _ in channel.started] == [2]
    assert poller.is_out


@pytest.mark.usefixtures("poller")
def test_each_end_is_followed_by_a_poll_at_once(channel: FakeChannel) -> None:
    for ends in (1, 2, 3):
        channel.end(message(ends))
        assert channel.hub.due() == [0]
        assert channel.signs_of_life == ends
        channel.hub.turn()
    assert len(channel.started) == 4
    assert channel.received == [message(1), message(2), message(3)]


def test_there_is_one_poll_at_a_time(poller: Poller, channel: FakeChannel) -> None:
    poller.turn()
    assert len(channel.started) == 1
    # and one that is due
    channel.end()
    channel.slots = 0
    poller.turn()
    poller.turn()
    assert channel.hub.due() == [BUSY_SECONDS]


def test_without_room_it_looks_again_soon_and_is_alive(poller: Poller, channel: FakeChannel) -> None:
    channel.end()
    channel.slots, channel.signs_of_life = 0, 0
    channel.hub.turn()
    assert (len(channel.started), channel.signs_of_life) == (1, 1)
    assert not poller.is_out
    assert channel.hub.due() == [BUSY_SECONDS]
    channel.slots = 1
    channel.hub.turn()
    assert [count for count, _ in channel.started] == [2, 1]


@pytest.mark.usefixtures("poller")
def test_pauses_are_longer_after_each_failure_and_no_longer_after_a_success(channel: FakeChannel) -> None:
    pauses = []
    with logged() as lines:
        for _ in range(8):
            channel.end(error="HTTP 500")
            pauses += channel.hub.due()
            channel.hub.turn()
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(pauses[:5]))
    assert all(MAX_PAUSE_SECONDS / 2 <= pause <= MAX_PAUSE_SECONDS for pause in pauses[5:])
    # of an outage one line says it
    assert [(line["event"], line["failures"]) for line in lines] == [("polling failed, going on", 1)]
    assert channel.signs_of_life == 0

    channel.end()
    channel.hub.turn()
    channel.end(error="HTTP 500")
    assert channel.hub.due()[0] <= 1


@pytest.mark.usefixtures("poller")
def test_an_outage_is_told_again_for_another_reason_in_a_while_and_at_its_end(
    channel: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged() as lines:
        for error in ("timed out after 15001 ms", "timed out after 15002 ms", "HTTP 403", "HTTP 403"):
            channel.end(error=error)
            channel.hub.turn()
        monkeypatch.setattr(turns, "REMIND_SECONDS", -1.0)
        channel.end(error="HTTP 403")
        channel.hub.turn()
        channel.end()
        channel.hub.turn()
        channel.end()
    told = [(line["event"], line["failures"]) for line in lines]
    assert told == [
        ("polling failed, going on", 1),
        ("polling failed, going on", 3),
        ("polling failed, going on", 5),
        ("polling works again", 5),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError("no network"), "OSError('no network')"), (QueueUnavailable("no such queue"), "no such queue")],
    ids=["any", "told"],
)
def test_a_poll_that_can_not_even_be_started_is_one_that_failed(
    channel: FakeChannel, error: Exception, reason: str
) -> None:
    channel.error = error
    poller = Poller(NAME, channel)
    with logged() as lines:
        poller.turn()
    assert not poller.is_out
    assert 0.5 <= channel.hub.due()[0] <= 1
    assert [line["error"] for line in lines] == [reason]


@pytest.mark.usefixtures("poller")
def test_a_queue_that_is_gone_is_looked_up_again(channel: FakeChannel) -> None:
    channel.end(error="HTTP 500", code="InternalError")
    assert channel.forgotten == []
    channel.hub.turn()
    channel.end(error="HTTP 400", code="QueueDoesNotExist")
    assert channel.forgotten == [NAME]


def test_it_ends_with_the_consumer(poller: Poller, channel: FakeChannel) -> None:
    (watch,) = channel.hub.repeated
    channel.consumed = False
    poller.unwatch()
    channel.end()
    channel.hub.turn()
    assert len(channel.started) == 1
    assert watch.cancelled


class TestALostPoll:
    @pytest.fixture(autouse=True)
    def _long_ago(self, poller: Poller) -> None:
        """The poll began long ago and has not ended."""
        poller.line.last_turn -= 120

    def test_is_replaced(self, channel: FakeChannel) -> None:
        (watch,) = channel.hub.repeated
        assert watch.seconds == WATCH_SECONDS
        watch.call()
        assert len(channel.started) == 2
        # and the new one has its time
        watch.call()
        assert len(channel.started) == 2

    def test_still_brings_its_messages_and_is_followed_by_none(self, poller: Poller, channel: FakeChannel) -> None:
        channel.hub.repeated[0].call()
        channel.end(message(), number=0)
        assert channel.received == [message()]
        assert poller.is_out
        assert channel.hub.due() == []

    def test_is_nobodys_business_after_the_stop(self, channel: FakeChannel) -> None:
        channel.consumed = False
        with logged() as lines:
            channel.hub.repeated[0].call()
        assert lines == []
        assert len(channel.started) == 1
