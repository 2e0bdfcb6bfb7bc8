"""The file whose age tells whether the worker still does its work.

A worker that hangs is still a process. So it is not its process that the health check looks at, but the time of
its last poll or ack, or of its last look at a full house: while every slot runs a job, no poll is due.
"""

import os
import time
from pathlib import Path


def touch(path: str | Path) -> None:
    """Say that the worker is alive now. Never raises: a full or read-only disk must not stop the work."""
    try:
        Path(path).touch()
        os.utime(path)
    except OSError:
        pass


def age(path: str | Path) -> float | None:
    """Seconds since the last ``touch``; None where there was none."""
    try:
        return max(0.0, time.time() - Path(path).stat().st_mtime)
    except OSError:
        return None
