"""A log line now and then of a step that may take minutes, so that nobody takes it for a job that hangs."""

import threading
import time
from collections.abc import Callable
from typing import Any

from archiver.logs import get_logger

log = get_logger(__name__)

#: Seconds between two log lines of a step.
TOLD_EVERY = 15.0


class Pace:
    """Counts what a step has done, from any of the job's threads, and tells of it as ``event`` now and then."""

    def __init__(self, event: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._lock = threading.Lock()
        self._told_at = clock()
        self._done = 0

    def __call__(self, count: int) -> None:
        """So many more are done."""
        with self._lock:
            self._done += count
            done = self._done
        self.tell(found=done)

    def tell(self, **fields: Any) -> None:
        """Tell how far it is, if it is time."""
        with self._lock:
            now = self._clock()
            if now - self._told_at < TOLD_EVERY:
                return
            self._told_at = now
        log.info(self._event, **fields)
