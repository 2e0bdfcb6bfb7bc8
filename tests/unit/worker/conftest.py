"""The source queue's channel on an event loop, an SQS and polls that the test moves by hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kombu.asynchronous import get_event_loop, set_event_loop
from kombu.connection import Connection

from archiver.worker.channel import Channel
from archiver.worker.polling import Poll
from archiver.worker.transport import Transport

NAME = "input-queue"
URL = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{NAME}"
CREW = "crew"
CREW_URL = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{CREW}"


@dataclass
class Timer:
    """A call that is due in ``seconds``."""

    seconds: float
    call: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """An event loop in which nothing happens by itself."""

    timers: list[Timer] = field(default_factory=list)
    repeated: list[Timer] = field(default_factory=list)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        self.timers.append(Timer(seconds, lambda: callback(*args)))
        return self.timers[-1]

    def call_soon(self, callback: Callable[..., object], *args: object) -> Timer:
        return self.call_later(0, callback, *args)

    def call_repeatedly(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        self.repeated.append(Timer(seconds, lambda: callback(*args)))
        return self.repeated[-1]

    def due(self) -> list[float]:
        """In how many seconds what is scheduled comes."""
        return [timer.seconds for timer in self.timers if not timer.cancelled]

    def turn(self) -> None:
        """Let everything happen that is scheduled now."""
        timers, self.timers = self.timers, []
        for timer in timers:
            if not timer.cancelled:
                timer.call()


@dataclass
class Sqs:
    """Notes what it is asked; fails while it has an error."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: Exception | None = None

    def _take(self, operation: str, arguments: dict[str, Any]) -> None:
        self.calls.append((operation, arguments))
        if self.error is not None:
            raise self.error

    def get_queue_url(self, **arguments: Any) -> dict[str, str]:
        self._take("url", arguments)
        return {"QueueUrl": URL}

    def delete_message(self, **arguments: Any) -> None:
        self._take("delete", arguments)

    def change_message_visibility(self, **arguments: Any) -> None:
        self._take("hide", arguments)

    @property
    def hidden(self) -> dict[str, int]:
        """For how many seconds each receipt handle was hidden last."""
        return {each["ReceiptHandle"]: each["VisibilityTimeout"] for name, each in self.calls if name == "hide"}


@dataclass
class Polls:
    """The polls that were started; the test ends them."""

    started: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def receive(self, url: str, **arguments: Any) -> None:
        if self.error is not None:
            raise self.error
        self.started.append({"url": url, **arguments})

    def end(self, *messages: dict[str, Any], number: int = -1, **failure: Any) -> None:
        """Poll ``number`` ends, with messages or with a failure."""
        self.started[number]["callback"](Poll(messages, **failure))


def message(number: int = 1, *, receives: int = 1) -> dict[str, Any]:
    return {
        "MessageId": f"m-{number}",
        "ReceiptHandle": f"handle-{number}",
        "Body": '{"files": [{"source": "a.txt"}]}',
        "Attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": "1790000000000"},
    }


@dataclass
class Consumer:
    """One consumer of the source queue, as a worker with two processes is."""

    channel: Channel
    loop: Loop
    sqs: Sqs
    polls: Polls
    chunk_polls: Polls
    liveness: Path
    taken: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def take(self, delivered: Any) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(delivered)

    def receive(self, *messages: dict[str, Any]) -> None:
        """A poll that brings these."""
        self.loop.turn()
        self.polls.end(*messages)


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Consumer]]:
    """``connect(url="name")``: a consumer of the queue, with two slots; ``connect(crew=True)``: of the crew's, too."""
    before = get_event_loop()
    connections: list[Connection] = []

    def make(url: str = URL, *, crew: bool = False, slots: int = 2, **options: Any) -> Consumer:
        loop, sqs, polls, chunk_polls = Loop(), Sqs(), Polls(), Polls()
        set_event_loop(loop)  # type: ignore[arg-type]  # the part of a hub that a channel asks
        liveness = tmp_path / "alive"
        connection = Connection(
            "sqs://",
            transport=Transport,
            transport_options={
                "predefined_queues": {NAME: {"url": url}, **({CREW: {"url": CREW_URL}} if crew else {})},
                "crew_queue": CREW if crew else None,
                "visibility_timeout": 120,
                "wait_time_seconds": 20,
                "backoff_base_seconds": 8,
                "backoff_cap_seconds": 60,
                "liveness_file": str(liveness),
                "region": "eu-west-1",
                **options,
            },
        )
        connections.append(connection)
        channel: Any = connection.channel()
        channel._clients[NAME] = sqs
        channel._predefined_queue_async_clients[NAME] = polls
        channel._clients[CREW] = sqs
        channel._predefined_queue_async_clients[CREW] = chunk_polls
        consumer = Consumer(channel, loop, sqs, polls, chunk_polls, liveness)
        channel.basic_qos(0, slots, False)
        channel.basic_consume(NAME, False, consumer.take, "tag")
        if crew:
            channel.basic_consume(CREW, False, consumer.take, "crew-tag")
        return consumer

    yield make
    for connection in connections:
        connection.release()
    set_event_loop(before)
