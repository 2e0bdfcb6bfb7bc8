"""Keeps a running job's message hidden: ChangeMessageVisibility every third of the timeout, in a thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from archiver.aws.letters import Letter
from archiver.logs import get_logger
from archiver.worker.backoff import MAX_VISIBILITY_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = get_logger(__name__)

#: What a stopping heartbeat leaves a call that is under way, in seconds.
STOP_SECONDS = 5.0

#: Hides the message for so many seconds from now; raises where SQS refuses.
Hide = Callable[[int], object]


def hiding(client: "SQSClient", letter: Letter) -> Hide:
    """What hides this message."""
    call = partial(client.change_message_visibility, QueueUrl=letter.queue_url, ReceiptHandle=letter.receipt_handle)
    return lambda seconds: call(VisibilityTimeout=seconds)


class Heartbeat:
    """The life of one message's invisibility, without its thread: ``beat`` is called in good time by ``run``.

    SQS counts its 12 hours from the receive, whatever is asked later; then the heartbeat ends, and the message
    comes back while the job may still run. Source: SQS Developer Guide, visibility timeout.
    """

    def __init__(self, hide: Hide, *, timeout: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._hide = hide
        self._timeout = timeout
        self._clock = clock
        self._end = clock() + MAX_VISIBILITY_SECONDS
        self._stopped = threading.Event()

    @property
    def interval(self) -> float:
        """Seconds between two beats: two may fail before the message shows itself."""
        return self._timeout / 3

    def beat(self) -> bool:
        """Hide the message once more; False at the end of SQS's 12 hours. A failing call is for the next beat."""
        left = int(self._end - self._clock())
        if left <= 0:
            log.error("heartbeat ended: SQS hides a message for 12 hours at most, it may be delivered again now")
            return False
        try:
            self._hide(min(self._timeout, left))
        except Exception as error:
            log.warning("heartbeat failed, tried again in time", error=repr(error), seconds=round(self.interval, 1))
        return True

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stopped.wait(self.interval):
            if not self.beat():
                return

    def stop(self) -> None:
        """No beat begins after this."""
        self._stopped.set()


@contextmanager
def kept_hidden(hide: Hide | None, *, timeout: int) -> Iterator[None]:
    """Keep the message hidden while the block runs; ``None`` where there is no message to keep."""
    if hide is None:
        yield
        return
    heartbeat = Heartbeat(hide, timeout=timeout)
    thread = threading.Thread(target=heartbeat.run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        heartbeat.stop()
        thread.join(STOP_SECONDS)
