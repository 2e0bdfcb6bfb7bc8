"""The wish that a job ends, and how its threads hear of it: before each thing that is asked of a source, and at once
where they wait for one another."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from archiver.archive.location import Location
from archiver.archive.parallel import wait_unless
from archiver.archive.storage import ListedPage, OnRead, Read, SourceObject, SourceStore
from archiver.archive.streamed_body import Arriving
from archiver.errors import Cancelled

T = TypeVar("T")

#: A job that is cancelled waits so many seconds for what is under way, such as copies inside S3, and leaves the rest.
LEAVE_SECONDS = 5.0


class Cancellation:
    """Whether the end of a job is asked for; for all its threads."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def asked(self) -> bool:
        """Whether somebody has asked."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask for the end. Who listens is called, from this thread."""
        with self._lock:
            self._asked.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def check(self) -> None:
        """Raise ``Cancelled`` where somebody has asked."""
        if self._asked.is_set():
            raise Cancelled("The job was cancelled while it ran")

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` as soon as somebody asks, or has asked, until the block ends."""
        with self._lock:
            self._listeners.append(listener)
            asked = self.asked
        try:
            if asked:
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def result(self, future: Future[T]) -> T:
        """What the future comes to. Raises ``Cancelled`` as soon as somebody asks."""
        woken = threading.Event()
        future.add_done_callback(lambda _: woken.set())
        with self.heard_by(woken.set):
            woken.wait()
        self.check()
        return future.result()

    def settled(self, futures: Iterable[Future[Any]]) -> bool:
        """Wait until all of them have ended; where somebody has asked, no longer than ``LEAVE_SECONDS``.

        Whether they have ended.
        """
        pending = set(futures)
        woken = threading.Event()
        with self.heard_by(woken.set):
            wait_unless(pending, woken)
        return not self.asked or not wait(pending, LEAVE_SECONDS).not_done


class CancellableSources:
    """Sources that are looked at and read as long as nobody has asked for the job's end; then ``Cancelled``."""

    def __init__(self, store: SourceStore, cancellation: Cancellation) -> None:
        self._store = store
        self._check = cancellation.check

    def head(self, location: Location) -> SourceObject:
        self._check()
        return self._store.head(location)

    def fetch_small(self, location: Location, *, limit: int) -> SourceObject:
        self._check()
        return self._store.fetch_small(location, limit=limit)

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        self._check()
        for page in self._store.below(prefix, after=after):
            self._check()
            yield page
            self._check()

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        self._check()
        return self._store.page(after, prefix=prefix)

    def part_checksums(self, source: SourceObject) -> list[tuple[int, int]] | None:
        self._check()
        return self._store.part_checksums(source)

    def read_all(self, reads: Sequence[Read], on_read: OnRead | None = None) -> list[int | None]:
        self._check()
        return self._store.read_all(reads, on_read)

    def tells_crc32(self, bucket: str) -> bool:
        return self._store.tells_crc32(bucket)

    def opened(self, sources: Sequence[SourceObject]) -> AbstractContextManager[Sequence[Arriving]]:
        self._check()
        return self._store.opened(sources)

    def crc32(self, source: SourceObject, start: int, stop: int) -> int:
        self._check()
        return self._store.crc32(source, start, stop)
