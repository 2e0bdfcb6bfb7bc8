"""Waiting for what must happen: for as long as it takes, on a machine however busy."""

from collections.abc import Callable

from devtools.processes import wait_until

#: The most seconds that a test waits for what must happen. They pass only where it fails.
LONG_ENOUGH = 120.0


def eventually(condition: Callable[[], bool], *, interval: float = 0.05) -> bool:
    """Does ``condition`` come to hold? It is looked at every ``interval`` seconds."""
    return wait_until(condition, seconds=LONG_ENOUGH, interval=interval)
