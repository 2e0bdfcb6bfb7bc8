"""The polls of one queue, one after another and without end.

Each poll's end, good or bad, schedules the next one, after failures with a pause between; and whatever else goes wrong,
a watch replaces a poll that got lost. What one poll asks SQS is in ``polling``, what polls tell of their queue in
``turns``.
"""

import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from archiver.aws.queues import NO_QUEUE
from archiver.errors import QueueUnavailable
from archiver.logs import get_logger
from archiver.worker.polling import GRACE_SECONDS, Poll
from archiver.worker.turns import Line

log = get_logger(__name__)

#: Between two looks for a free slot while all are busy, in seconds.
BUSY_SECONDS = 0.2
#: Between two looks whether a poll got lost, in seconds.
WATCH_SECONDS = 5.0
#: The longest pause after failed polls, in seconds.
MAX_PAUSE_SECONDS = 30.0


class Polled(Protocol):
    """The channel whose queues are polled."""

    hub: Any  # the event loop; another one after a lost connection

    @property
    def wait_time_seconds(self) -> int:
        """How long a poll waits for a message."""

    def is_consumed(self, queue: str) -> bool:
        """Whether anybody still takes the queue's messages."""

    def room(self, queue: str) -> int:
        """How many messages of the queue may be taken on now."""

    def start_poll(self, queue: str, count: int, ended: Callable[[str, Poll], None]) -> None:
        """Ask for ``count`` messages; ``ended`` gets the queue's URL and the poll. Raises where it can't be asked."""

    def receive(self, queue: str, url: str, messages: Iterable[dict[str, Any]]) -> None:
        """Take messages on that a poll has brought."""

    def alive(self, queue: str) -> None:
        """The queue is polled, or has no room."""

    def forget(self, queue: str) -> None:
        """There is no queue at the URL that is known of it."""


class Poller:
    """Polls one queue of a channel, with one poll at a time."""

    def __init__(self, queue: str, channel: Polled) -> None:
        self._queue = queue
        self._channel = channel
        self._next: Any = None
        self._watching: Any = None
        self.line = Line(time.monotonic())

    @property
    def is_out(self) -> bool:
        """Whether a poll is under way."""
        return self.line.started is not None

    def turn(self) -> None:
        """Poll now, or look again soon while there is no room."""
        self.line.last_turn = time.monotonic()
        if self.is_out or not self._channel.is_consumed(self._queue):
            return
        count = self._channel.room(self._queue)
        if count:
            self._start(count)
        else:
            self._channel.alive(self._queue)
            self._turn_in(BUSY_SECONDS)

    def watch(self) -> None:
        """From now on replace a poll whose end never came, or had no successor."""
        self._watching = self._channel.hub.call_repeatedly(WATCH_SECONDS, self._look)

    def unwatch(self) -> None:
        """The queue's consumer is gone: no poll is missed any more."""
        if self._watching:
            self._watching.cancel()

    def _look(self) -> None:
        most = self._channel.wait_time_seconds + GRACE_SECONDS + MAX_PAUSE_SECONDS
        if self._channel.is_consumed(self._queue) and time.monotonic() - self.line.last_turn > most:
            log.error("a poll got lost, starting another one", queue=self._queue)
            self.line.started = None
            self.turn()

    def _turn_in(self, seconds: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._channel.hub.call_later(seconds, self.turn)

    def _start(self, count: int) -> None:
        ended = partial(self._ended, self.line.start(time.monotonic()))
        try:
            self._channel.start_poll(self._queue, count, ended)
        except Exception as error:
            # No credentials, no such queue yet, no network: for the next poll to find out.
            ended("", Poll(error=error.message if isinstance(error, QueueUnavailable) else repr(error)))

    def _ended(self, number: int, url: str, poll: Poll) -> None:
        self._channel.receive(self._queue, url, poll.messages)
        if number != self.line.number:
            return  # given up by the watch, which has started another one
        failures = self.line.failures
        self.line.end(time.monotonic(), messages=len(poll.messages), failed=poll.error is not None)
        if poll.error is None:
            if failures:
                log.info("polling works again", queue=self._queue, failures=failures)
            self._channel.alive(self._queue)
            self._turn_in(0.0)
        else:
            self._turn_in(self._failed(poll))

    def _failed(self, poll: Poll) -> float:
        """Tell of a failed poll, unless that is no news; how long the pause after it is, in seconds."""
        failures = self.line.failures
        pause = min(MAX_PAUSE_SECONDS, 2.0 ** min(failures - 1, 5)) * (0.5 + random.random() / 2)  # noqa: S311 jitter
        if self.line.is_news(poll.code or poll.error or "", time.monotonic()):
            log.warning(
                "polling failed, going on",
                queue=self._queue,
                error=poll.error,
                failures=failures,
                seconds=round(pause, 1),
            )
        if poll.code in NO_QUEUE:
            self._channel.forget(self._queue)
        return pause
