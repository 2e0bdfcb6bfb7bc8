"""Running many small jobs on a few threads without queueing them all."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from typing import ParamSpec, TypeVar

from archiver.archive.memory import Lent

#: Threads that wait for what is read ahead; requests under way are as many as the throttle lets.
AHEAD = 8

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class JobThreads(ThreadPoolExecutor):
    """Threads that know whose job they work on: log lines from them carry what the submitter has bound.

    On the way out of their block all have ended, unless they were told that nobody waits for them.
    """

    awaited = True

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        context = copy_context()
        return super().submit(lambda: context.run(function, *args, **kwargs))

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=self.awaited, cancel_futures=not self.awaited)


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of one job."""

    parts: JobThreads
    reads: JobThreads
    copies: JobThreads
    ahead: JobThreads

    def leave(self) -> None:
        """Wait for none of them: what they are about is of no use any more."""
        for threads in (self.parts, self.reads, self.copies, self.ahead):
            threads.awaited = False


@contextmanager
def open_threads(*, parts: int, reads: int, copies: int) -> Iterator[Threads]:
    """The threads of one job, so many of each kind; on the way out all of them have ended, unless they were left."""
    with (
        JobThreads(parts, "part") as part_threads,
        JobThreads(reads, "read") as read_threads,
        JobThreads(copies, "copy") as copy_threads,
        JobThreads(AHEAD, "ahead") as ahead_threads,
    ):
        yield Threads(part_threads, read_threads, copy_threads, ahead_threads)


def wait_unless(futures: Iterable[Future[R]], woken: threading.Event) -> None:
    """Wait until all of them have ended, or somebody sets ``woken``."""
    pending = list(futures)
    left = len(pending)
    lock = threading.Lock()

    def one_ended(_: Future[R]) -> None:
        nonlocal left
        with lock:
            left -= 1
            if not left:
                woken.set()

    for future in pending:
        future.add_done_callback(one_ended)
    if pending:
        woken.wait()


class ByteBudget:
    """Bytes that may be in memory at once, less what is lent. Who asks first is let in first; two are let in whatever
    they weigh."""

    def __init__(self, size: int, lent: Lent | None = None) -> None:
        self._size = size
        self._lent = lent or Lent()
        self._held = 0
        self._holders = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, size: int) -> bool:
        """Wait for so many bytes; False once the budget is closed. One thread asks, in the order that counts."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._holders < 2 or size <= self._left)
            if self._closed:
                return False
            self._held += size
            self._holders += 1
            return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._held -= size
            self._holders -= 1
            self._changed.notify_all()

    def look_again(self) -> None:
        """Less is lent."""
        with self._changed:
            self._changed.notify_all()

    @property
    def _left(self) -> int:
        return self._size - self._lent.size - self._held

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, ``size`` at a time: itertools has it from Python 3.12 on."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _one(_: object) -> int:
    return 1


def ordered_map(
    executor: Executor,
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    window: int,
    weight: Callable[[T], int] = _one,
) -> Iterator[R]:
    """``map`` on an executor: results in the items' order, at most ``window`` of them begun and not yet taken.

    ``weight`` says what an item counts against the window; one that is heavier than all of it goes alone. The first
    exception ends it; what has not begun by then never does.
    """
    pending: deque[tuple[Future[R], int]] = deque()
    load = 0
    try:
        for item in items:
            heavy = weight(item)
            while pending and load + heavy > window:
                future, light = pending.popleft()
                load -= light
                yield future.result()
            pending.append((executor.submit(function, item), heavy))
            load += heavy
        while pending:
            yield pending.popleft()[0].result()
    finally:
        for future, _ in pending:
            future.cancel()
