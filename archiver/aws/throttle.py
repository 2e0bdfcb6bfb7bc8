"""How many requests may be under way at once: fewer for a while after S3 says to slow down.

Additive increase, multiplicative decrease, as TCP does it: https://www.rfc-editor.org/rfc/rfc5681
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from archiver.aws.failures import SLOW_DOWN_STATUSES, Refused

#: Seconds between two decreases: answers to requests sent before the first one say nothing about it.
COOL_DOWN = 1.0


class Throttle:
    """A gate with a moving width, from 1 to ``widest``; a forked child's has all places free."""

    def __init__(self, widest: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._widest = widest
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._under_way = 0
        self._queued = 0
        self._owed = False
        self._width = float(widest)
        self._decreased_at = float("-inf")
        self._own = threading.local()
        forked = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    def _forked(self) -> None:
        # Those under way are the parent's, as is whoever holds the lock.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._under_way = self._queued = 0
        self._own = threading.local()

    @property
    def width(self) -> int:
        """How many may pass at once now."""
        return max(1, int(self._width))

    @property
    def is_narrowed(self) -> bool:
        """Whether S3 has asked for less, and fewer may still pass than at first."""
        return self._width < self._widest

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place, and hold it; a request that ends with an exception widens nothing.

        A thread that holds one needs no other: where there is but one, it would wait for itself.
        """
        own = self._own
        if getattr(own, "holds", False):
            yield
            return
        with self._lock:
            self._queued += 1
            try:
                while self._under_way >= self.width:
                    self._changed.wait()
            finally:
                self._queued -= 1
            self._under_way += 1
            self._owed = False
        went_well = False
        own.holds = True
        try:
            yield
            went_well = True
        finally:
            own.holds = False
            self._leave(widen=went_well)

    def try_enter(self) -> bool:
        """Take a place, if there is one; ``leave`` gives it back.

        Whoever takes the next place as soon as one is given back leaves every second one to those who wait in ``slot``.
        """
        with self._lock:
            if self._under_way + (self._queued if self._owed else 0) >= self.width:
                return False
            self._under_way += 1
            self._owed = True
            return True

    def leave(self, status: int) -> None:
        """Give a place back after an answer of this HTTP status, 0 for none."""
        if status in SLOW_DOWN_STATUSES:
            self.slow_down()
        self._leave(widen=200 <= status < 300)

    def _leave(self, *, widen: bool) -> None:
        with self._lock:
            self._under_way -= 1
            if widen and self._width < self._widest:
                # One more for each full round of them.
                self._width = min(float(self._widest), self._width + 1 / self._width)
            if self._queued:
                self._changed.notify_all()

    def slow_down(self) -> None:
        """S3 asked for less: halve the width, once for all answers of one moment."""
        with self._lock:
            now = self._clock()
            if now - self._decreased_at >= COOL_DOWN:
                self._decreased_at = now
                self._width = max(1.0, self._width / 2)

    def watch(self, client: Any) -> None:
        """Learn from every answer that a boto3 client gets, those that botocore retries included."""
        client.meta.events.register("needs-retry.s3", self._answered)

    def _answered(self, response: Any = None, **_: Any) -> None:
        if response is None:
            return
        answer, parsed = response
        if Refused(answer.status_code, parsed.get("Error", {}).get("Code", "")).slows_down:
            self.slow_down()
