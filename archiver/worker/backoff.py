"""How long a message stays hidden after a failed attempt."""

import math
from collections.abc import Callable

#: The longest visibility timeout. Source: API_ChangeMessageVisibility, VisibilityTimeout.
MAX_VISIBILITY_SECONDS = 43_200


def backoff_seconds(attempt: int, *, base: int, cap: int, random: Callable[[], float]) -> int:
    """Seconds until the next attempt: ``base`` doubled with each attempt up to ``cap``, with equal jitter.

    Half of it is certain, so that a failing service gets its pause; the other half is random, so that messages
    which failed together don't come back together. ``random`` returns a float in [0, 1).
    """
    doublings = min(max(attempt - 1, 0), 32)  # beyond it every cap is reached
    whole: int = min(cap, base * 2**doublings, MAX_VISIBILITY_SECONDS)
    return math.ceil(whole / 2 + whole / 2 * random())
