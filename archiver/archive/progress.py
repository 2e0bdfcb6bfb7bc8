"""How far a build is: counted by many threads, reported at each step."""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: ``step`` is resolved, deflating, uploading or completed; bytes are the archive's.

    Of entries are done those all of whose bytes are in S3.
    """

    step: str
    entries: int
    bytes_total: int
    entries_done: int = 0
    bytes_done: int = 0
    parts_total: int = 0
    parts_done: int = 0


#: Who follows a build; called from any of its threads.
OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Nobody follows."""


class ProgressCounter:
    """The counters of one build. Bytes are those of the sources, of which no more are done than there are."""

    def __init__(self, report: OnProgress, *, entries: int, bytes_total: int) -> None:
        self._report = report
        self._entries = entries
        self._bytes_total = bytes_total
        self._entries_done = self._bytes_done = self._parts_done = self._parts_total = 0
        self._lock = threading.Lock()

    def planned(self, parts: int) -> None:
        """How many parts the archive has."""
        with self._lock:
            self._parts_total = parts

    def deflated(self, size: int) -> None:
        """So many bytes of a source were read to be deflated."""
        with self._lock:
            self._bytes_done += size
            self._send("deflating")

    def built(self, size: int, *, entries: int) -> None:
        """A part of so many bytes is there, with which so many entries are complete."""
        with self._lock:
            self._entries_done += entries
            self._parts_done += 1
            self._bytes_done += size
            self._send("uploading")

    def entries_done(self, count: int) -> None:
        """S3 has all bytes of so many entries; what is told late counts for nothing."""
        with self._lock:
            self._entries_done = max(self._entries_done, count)

    def step(self, name: str) -> None:
        """A step of the build has come."""
        with self._lock:
            self._send(name)

    def _send(self, step: str) -> None:
        self._report(
            Progress(
                step=step,
                entries=self._entries,
                bytes_total=self._bytes_total,
                entries_done=min(self._entries_done, self._entries),
                bytes_done=min(self._bytes_done, self._bytes_total),
                parts_total=self._parts_total,
                parts_done=self._parts_done,
            )
        )
