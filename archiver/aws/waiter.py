"""Waiting for transfers that end in another thread."""

import threading
from collections import deque
from collections.abc import Iterator

from archiver.aws.transfer import Transfer

#: Transfers that have ended before the waiting thread looks at them.
AT_ONCE = 256


class Waiter:
    """Waits for transfers, and brings those that have ended while others are under way, many at a time.

    To wake up for each would take more than it saves: it takes the interpreter's lock from whoever moves the bytes.
    """

    def __init__(self) -> None:
        self._expected = self._taken = 0
        # Touched by the transfers' thread alone.
        self._count = 0
        self._ended: deque[Transfer] = deque()
        self._woken = threading.Event()

    def expect(self, count: int) -> None:
        """So many more have begun; of them some may have ended."""
        self._expected += count
        if self._count == self._expected:
            self._woken.set()

    def one_ended(self, transfer: Transfer) -> None:
        # Called from one thread alone.
        self._ended.append(transfer)
        self._count += 1
        if (self._count == self._expected or len(self._ended) >= AT_ONCE) and not self._woken.is_set():
            self._woken.set()

    def ended(self) -> Iterator[Transfer]:
        """All that are expected, as they end."""
        while self._taken < self._expected:
            self._woken.wait()
            self._woken.clear()
            while self._ended:
                self._taken += 1
                yield self._ended.popleft()

    def wait(self) -> None:
        """Until all have ended."""
        for _ in self.ended():
            pass
