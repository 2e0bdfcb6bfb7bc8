"""When a queue is polled, and for how many messages: jobs first (pure).

A worker polls for jobs whenever it has a free slot. For chunks of other workers' jobs it polls only while no job waits,
as the poll for jobs shows that is out without an answer, and never with its last slot, unless it has but one. So a job
that comes finds a slot free of chunks on each worker of two or more, and waits for the end of one chunk at most where
there are only workers of one.
"""

import re
from dataclasses import dataclass

#: A long poll that is out for so many seconds has found nothing: SQS answers at once where there is a message.
SETTLED_SECONDS = 0.2
#: For so many seconds after an empty answer no job is taken to wait.
FRESH_SECONDS = 1.0
#: Between two lines on polls that keep failing for the same reason, in seconds.
REMIND_SECONDS = 300.0


@dataclass(slots=True)
class Line:
    """What the polls of one queue tell of it. Times in seconds of a monotonic clock."""

    last_turn: float
    started: float | None = None
    number: int = 0
    failures: int = 0
    emptied: float = float("-inf")
    told: tuple[str, float] | None = None

    def start(self, now: float) -> int:
        """A poll begins; its number."""
        self.started = now
        self.number += 1
        return self.number

    def end(self, now: float, *, messages: int, failed: bool) -> None:
        """The poll under way has ended."""
        self.started = None
        self.failures = self.failures + 1 if failed else 0
        self.told = self.told if failed else None
        self.emptied = now if not (failed or messages) else float("-inf")

    def is_news(self, reason: str, now: float) -> bool:
        """Whether a failed poll is worth a line: the first is, each other reason, and now and then one that lasts."""
        reason = re.sub(r"\d+", "", reason)  # figures, such as milliseconds, make no other reason
        if self.told is not None and self.told[0] == reason and now - self.told[1] < REMIND_SECONDS:
            return False
        self.told = reason, now
        return True

    def is_empty(self, now: float) -> bool:
        """Whether nothing waits on the queue, as far as can be told."""
        if self.started is not None and now - self.started >= SETTLED_SECONDS:
            return True
        return now - self.emptied < FRESH_SECONDS


def chunks_wanted(jobs: Line, *, now: float, slots: int, free: int, held: int) -> int:
    """How many chunks may be taken on: of so many ``slots``, ``free`` ones, and with so many chunks ``held``."""
    return max(0, min(free, max(1, slots - 1) - held)) if jobs.is_empty(now) else 0
