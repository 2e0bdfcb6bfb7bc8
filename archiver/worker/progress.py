"""A running job's progress: a log line and an event now and then, however often the engine reports."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from archiver.archive.progress import Progress
from archiver.logs import get_logger

log = get_logger(__name__)

#: Between two reports, in seconds; the first and the last of a build go out in any case.
INTERVAL_SECONDS = 5.0


class ProgressReport:
    """Takes what ``build_archive`` reports, from any thread; ``publish`` gets the fields of what is passed on.

    ``rate`` is in bytes of the archive a second, since the build began.
    """

    def __init__(
        self, publish: Callable[..., None] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._lock = threading.Lock()
        self._began = 0.0
        self._sent_at: float | None = None

    def __call__(self, progress: Progress) -> None:
        """Pass it on, or not. Never raises."""
        fields = self._due(progress)
        if fields is None:
            return
        log.info(
            "progress", **{"bytes_per_second" if name == "rate" else name: value for name, value in fields.items()}
        )
        if self._publish is not None:
            self._publish(**fields)

    def _due(self, progress: Progress) -> dict[str, Any] | None:
        with self._lock:
            now = self._clock()
            if progress.step == "resolved":
                self._began = now  # a build that starts over begins anew
            elif progress.step != "completed" and self._sent_at is not None and now - self._sent_at < INTERVAL_SECONDS:
                return None
            self._sent_at = now
            seconds = now - self._began
        if progress.step == "completed":  # a small archive goes up whole, without a word on its bytes
            progress = replace(progress, bytes_done=progress.bytes_total, parts_done=progress.parts_total)
        return {
            "step": progress.step,
            "entries": progress.entries,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
            "parts_done": progress.parts_done,
            "parts_total": progress.parts_total,
            "rate": round(progress.bytes_done / seconds) if seconds > 0 else 0,
        }
