"""What goes out: a thread sends it, so that nobody else waits for SNS."""

import threading
import time
from collections import deque
from collections.abc import Callable

from archiver.logs import get_logger

log = get_logger(__name__)

#: Messages kept while they can't be sent; beyond it the oldest goes.
LIMIT = 1_000
#: The pause after a failure, in seconds.
PAUSE_SECONDS = 10.0


class Outbox:
    """Calls that send one message each, made in their order. One that raises is lost, and the next waits a while."""

    def __init__(self, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self._sleep = sleep
        self._waiting: deque[Callable[[], object]] = deque(maxlen=LIMIT)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failing = False

    def put(self, send: Callable[[], object]) -> None:
        """Make a call soon, or never. Returns at once and never raises."""
        with self._changed:
            self._waiting.append(send)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="monitoring-outbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything has gone, but not after a failure and not longer than ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._failing or not self._waiting, timeout=seconds)
            return not self._waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                send = self._waiting[0]
            error = _failure(send)
            if error and not self._failing:  # one line for an outage, not one for every event
                log.warning("monitoring can't send: events are dropped, jobs go on", error=repr(error))
            if self._failing and not error:
                log.info("monitoring sends again")
            with self._changed:
                self._failing = error is not None
                if self._waiting[0] is send:  # unless so many came meanwhile that it fell out
                    self._waiting.popleft()
                self._changed.notify_all()
            if error:
                self._sleep(PAUSE_SECONDS)


def _failure(send: Callable[[], object]) -> Exception | None:
    try:
        send()
    except Exception as error:
        return error
    return None
