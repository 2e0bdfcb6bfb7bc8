"""How long something is waited for."""

import time
from collections.abc import Callable

#: Seconds that pass between two looks at most: on a machine that stood still, nothing had its time meanwhile.
MOST_AT_ONCE = 10.0


class Patience:
    """``seconds`` of waiting, each of which whoever is waited for could use."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = seconds
        self._clock = clock
        self._looked = clock()

    def left(self) -> float:
        """Seconds that are left, 0 at the end."""
        now = self._clock()
        self._left -= min(now - self._looked, MOST_AT_ONCE)
        self._looked = now
        return max(0.0, self._left)
