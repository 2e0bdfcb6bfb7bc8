"""What goes out: a thread sends it, so that nobody else waits for SNS."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

#: Letters kept while they can't be sent; beyond it the oldest goes.
LIMIT = 1_000
#: A letter older than this says nothing of use, in seconds.
STALE_SECONDS = 120.0
#: The longest pause after a failure, in seconds.
MAX_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to a topic, or to the inbox of one process: exactly one of the two is named."""

    body: str
    topic: str | None = None
    inbox: str | None = None


class Outbox:
    """Letters on their way. ``send`` raises where it fails; then the letter is lost, and the next waits a while."""

    def __init__(self, send: Callable[[Letter], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._letters: deque[tuple[float, Letter]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = False
        self._failures = 0
        self._dropped = 0

    def put(self, letter: Letter) -> None:
        """Send a letter soon, or never. Returns at once and never raises."""
        with self._changed:
            if len(self._letters) >= LIMIT:
                self._letters.popleft()
                self._dropped += 1
            self._letters.append((self._clock(), letter))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="monitoring-outbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything has gone, but not after a failure and not longer than ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._failures or not (self._letters or self._sending), timeout=seconds)
            return not (self._letters or self._sending)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._letters))
                written_at, letter = self._letters.popleft()
                self._sending = True
            pause = self._deliver(letter, age=self._clock() - written_at)
            with self._changed:
                self._sending = False
                self._changed.notify_all()
            if pause:
                time.sleep(pause)

    def _deliver(self, letter: Letter, *, age: float) -> float:
        """Send a letter; returns the seconds to wait before the next one."""
        if age > STALE_SECONDS:
            self._dropped += 1
            return 0
        try:
            self._send(letter)
        except Exception as error:
            if not self._failures:  # one line for an outage, not one for every event
                log.warning("monitoring can't send: events are dropped, jobs go on", error=repr(error))
            self._failures += 1
            self._dropped += 1
            return min(MAX_PAUSE_SECONDS, 2.0 ** min(self._failures - 1, 5))
        if self._failures:
            log.info("monitoring sends again", dropped=self._dropped)
            self._failures = self._dropped = 0
        return 0
