"""Long polls that outlive their callers.

SQS and its emulators answer a poll whether or not its caller is still there, and hide what they gave away. A worker
that is killed leaves such a poll behind, up to its wait: who sends a message meanwhile may send it to nobody.
"""

import time

#: When the last poll on a queue ends that a worker has left behind, by the queue's name, on the monotonic clock.
_ends: dict[str, float] = {}


def left_behind(queue: str, *, seconds: float) -> None:
    """Somebody who polls the queue, by its name or URL, for so many seconds at a time is gone without a word."""
    _ends[_name(queue)] = time.monotonic() + seconds


def await_the_last(queue: str) -> None:
    """Wait until no poll is left behind on the queue."""
    end = _ends.pop(_name(queue), 0.0)
    if (seconds := end - time.monotonic()) > 0:
        time.sleep(seconds)


def _name(queue: str) -> str:
    return queue.rpartition("/")[2]
