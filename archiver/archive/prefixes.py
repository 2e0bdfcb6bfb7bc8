"""What lies below prefixes: each is listed once however often it is named, and all of them within the job's limit."""

import threading
from array import array
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.parallel import ordered_map
from archiver.archive.patterns import Selection
from archiver.archive.storage import SourceLookup
from archiver.archive.tables import SourceTable
from archiver.errors import LimitExceeded

#: Objects of a listing after which it is told how many there are: those of a page of S3's.
TOLD_AFTER = 1_000

#: A prefix, and what is taken of what lies below it.
Prefix = tuple[Location, Selection | None]


class Allowance:
    """The objects that a job may still bring, over all its listings."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Raise ``LimitExceeded`` where there are not so many left, in whichever listing."""
        with self._lock:
            self._left -= count
            if self._left < 0:
                raise LimitExceeded(f"the sources are more than MAX_FILES={self._most} objects")


def list_prefixes(
    prefixes: Iterable[Prefix],
    *,
    into: SourceTable,
    sources: SourceLookup,
    executor: Executor,
    window: int,
    most: int,
    access: Access,
    on_listed: Callable[[int], None] = lambda _: None,
) -> dict[Prefix, "array[int]"]:
    """Put what lies below each prefix and is selected ``into`` a table, and return its numbers there.

    ``window`` listings go at a time.

    ``on_listed`` is called from the executor's threads with how many objects more were listed.

    A prefix that is named n times with one selection brings each of its objects n times. An empty folder is its own
    marker, the object whose key is the prefix. What ``access`` or the selection leaves out does not count. Raises
    ``LimitExceeded`` as soon as all together bring more than ``most`` objects, and what ``sources`` raises.
    """
    times: dict[Prefix, int] = {}
    for prefix in prefixes:
        times[prefix] = times.get(prefix, 0) + 1
    listings = ordered_map(
        executor,
        partial(_below, into=into, sources=sources, allowance=Allowance(most), access=access, on_listed=on_listed),
        times.items(),
        window=window,
    )
    return dict(zip(times, listings, strict=True))


def _below(
    named: tuple[Prefix, int],
    *,
    into: SourceTable,
    sources: SourceLookup,
    allowance: Allowance,
    access: Access,
    on_listed: Callable[[int], None],
) -> "array[int]":
    (prefix, selection), times = named
    found = array("I")
    marker = None
    for count, item in enumerate(sources.below(prefix), 1):
        if count % TOLD_AFTER == 0:
            on_listed(TOLD_AFTER)
        if not access.comes_along(item.bucket, item.key):
            continue
        if item.key == prefix.key:
            marker = item if selection is None else None
            continue
        if selection is not None and not selection.takes(item.key[len(prefix.key) :]):
            continue
        allowance.take(times)
        found.append(into.append(item))
    if marker is not None and not found:
        found.append(into.append(marker))
    return found
