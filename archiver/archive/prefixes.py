"""What lies below prefixes: each is listed once however often it is named, and all of them within the job's limit.

Where a first page is not all of it, ranges of the keys behind it are listed side by side (``ranges``). An answer that
does not fit its range has a prefix listed once more, page after page, as every server can. Pages are looked at in the
order in which they were asked for, not in that of their arrival: so one bucket always takes the same requests.
"""

import threading
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.patterns import Selection
from archiver.archive.ranges import Range, Ranges, Shown
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import BucketMissing, ListedPage, SourceLookup, SourceMissing, SourceObject
from archiver.errors import ArchiverError, LimitExceeded

#: Pages at a time that guesses lead to: reading more of them at once takes more than one core.
MOST_PAGES = 8

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

    def give(self, count: int) -> None:
        """Take so many for not brought."""
        with self._lock:
            self._left += count


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
    front: "Front | None" = None,
) -> dict[Prefix, "array[int]"]:
    """Put what lies below each prefix and is selected ``into`` a table, and return its numbers there, in S3's order.

    ``window`` pages are under way at a time, of few prefixes at most ``MOST_PAGES``.

    ``on_listed`` is called from the executor's threads with how many objects more were listed, ``front`` is told of the
    first ones while pages are still to come.

    A prefix that is named n times with one selection brings each of its objects n times. An empty folder is its own
    marker, the object whose key is the prefix. What ``access`` or the selection leaves out does not count. Raises
    ``LimitExceeded`` as soon as all together bring more than ``most`` objects, and what ``sources`` raises.
    """
    times: dict[Prefix, int] = {}
    for prefix in prefixes:
        times[prefix] = times.get(prefix, 0) + 1
    job = _Job(into, sources, Allowance(most), access, on_listed)
    found: dict[Prefix, array[int]] = {}
    listings = (_Listing(named, count) for named, count in times.items())
    firsts = (part for listing in (front.watched(listings) if front else listings) for part in listing.begin())
    waiting: deque[_Part] = deque()
    under_way: deque[tuple[Future[Shown], _Part]] = deque()
    try:
        while True:
            while len(under_way) < window:
                part = waiting.popleft() if waiting else next(firsts, None)
                if part is None:
                    break
                under_way.append((executor.submit(_bring, part, job), part))
            if front is not None and under_way:
                front.tell(into)
            if not under_way:
                return {named: found[named] for named in times}
            future, part = under_way.popleft()
            room = min(window, MOST_PAGES) - len(under_way) - len(waiting)
            listing = part.listing
            waiting.extend(listing.came(part, future, allowance=job.allowance, room=room))
            if not listing.under_way:
                found[listing.named] = listing.numbers(into)
    finally:
        for future, _ in under_way:
            future.cancel()


class Ahead(Protocol):
    """Who takes what an archive begins with, piece by piece; ``archiver.archive.read_ahead`` has the real one."""

    def offer(self, sources: Iterable[SourceObject]) -> bool: ...


class Front:
    """Tells ``ahead`` what lies below the first ``count`` prefixes, in the archive's order, as pages come."""

    def __init__(self, ahead: Ahead, count: int) -> None:
        self._ahead = ahead
        self._count = count
        self._listings: deque[_Listing] = deque()

    def watched(self, listings: Iterable["_Listing"]) -> Iterator["_Listing"]:
        """The listings, the first of which are listened to from now on."""
        for number, listing in enumerate(listings):
            if number < self._count:  # which may change
                self._listings.append(listing)
            yield listing

    def tell(self, table: SourceTable) -> None:
        """Tell what has come, as long as it is wanted."""
        while self._listings:
            listing = self._listings[0]
            if not self._ahead.offer(map(table.at, listing.fresh())):
                self._listings.clear()
                self._count = 0
            elif listing.is_told:
                self._listings.popleft()
            else:
                return


@dataclass(frozen=True, slots=True)
class _Job:
    """What all listings of a job share."""

    into: SourceTable
    sources: SourceLookup
    allowance: Allowance
    access: Access
    on_listed: Callable[[int], None]


class _Unfitting(Exception):
    """A page does not fit the range that it was asked for."""


class _Listing:
    """What lies below one prefix: parts of it, and how many of them a page is awaited of."""

    def __init__(self, named: Prefix, times: int) -> None:
        self.named = named
        self.times = times
        self.ranges = Ranges(named[0].key)
        self.divides = True
        self.marker: SourceObject | None = None
        self.under_way = 0
        self._parts: dict[Range, _Part] = {}
        self._unfitting = False
        self._told = (self.ranges.head, 0)

    def begin(self) -> list["_Part"]:
        """The part to begin with, which is all of it."""
        return self._asked([self.ranges.head])

    def came(self, part: "_Part", page: "Future[Shown]", *, allowance: Allowance, room: int) -> list["_Part"]:
        """The parts to ask a page of next, at most ``room`` unless they go on, now that one has come."""
        self.under_way -= 1
        try:
            shown = page.result()
        except _Unfitting:
            self._unfitting = True
        if not self._unfitting:
            parts = self._asked(self.ranges.shown(part.range, shown, room=room))
            part.come, part.over = len(part.numbers), part not in parts
            if self.under_way or self.ranges.is_whole():
                return parts
        if self.under_way:
            return []
        # Whatever has come is listed anew.
        allowance.give(self.times * sum(len(part.numbers) for part in self._parts.values()))
        self.ranges, self._parts, self.marker = Ranges(self.named[0].key), {}, None
        self.divides = self._unfitting = False
        self._told = (self.ranges.head, 0)
        return self.begin()

    def _asked(self, ranges: Sequence[Range]) -> list["_Part"]:
        self.under_way += len(ranges)
        return [self._parts.setdefault(at, _Part(self, at)) for at in ranges]

    def fresh(self) -> Iterator[int]:
        """The numbers that have come and were not told yet, as far as none is to come before them."""
        while True:
            at, told = self._told
            part = self._parts[at]
            for number in part.numbers[told : part.come]:
                told += 1
                yield number
            self._told = (at, told)
            if not part.over or at.behind is None:
                return
            self._told = (at.behind, 0)

    @property
    def is_told(self) -> bool:
        """Whether all numbers were told."""
        at, told = self._told
        part = self._parts[at]
        return part.over and at.behind is None and told == part.come

    def numbers(self, table: SourceTable) -> "array[int]":
        """The numbers of all objects, once every part is listed."""
        found = array("I")
        for at in self.ranges:
            found.extend(self._parts[at].numbers)
        if self.marker is not None and not found:
            found.append(table.append(self.marker))
        return found


@dataclass(slots=True, eq=False)
class _Part:
    """A range of a listing, the pages of it that are still to come, and the numbers of its objects in the table.

    ``come`` of these are of pages that were looked at; ``over``: no page is to come.
    """

    listing: _Listing
    range: Range
    pages: Iterator[ListedPage] | None = None
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    come: int = 0
    over: bool = False

    def page(self, sources: SourceLookup) -> ListedPage:
        """The next page. Raises what ``sources`` raises, or ``_Unfitting`` where it was asked for behind a guess."""
        after = self.range.after or None
        try:
            if self.pages is None:
                self.pages = sources.below(self.listing.named[0], after=after)
            return next(self.pages, ListedPage((), more=False))
        except (ArchiverError, SourceMissing, BucketMissing) as error:
            if after is None:
                raise
            raise _Unfitting from error


def _bring(part: _Part, job: _Job) -> Shown:
    """Put the next page's objects into the table, those that lie in the part's range."""
    listing, at = part.listing, part.range
    page = part.page(job.sources)
    keys = [item.key for item in page.objects]
    fits = _fits(keys, prefix=listing.named[0].key, behind=at.after if at.last is None else at.last)
    if listing.ranges.learnt:
        if not fits:
            raise _Unfitting
    elif listing.divides and at.last is None and page.more and keys:
        listing.divides = fits
        if fits:
            listing.ranges.learn(keys)
    kept = len(keys) if at.upto is None else bisect_right(keys, at.upto)
    chosen = _chosen(listing, page.objects[:kept], job.access)
    job.allowance.take(listing.times * len(chosen))
    part.numbers.extend(map(job.into.append, chosen))
    if kept:
        job.on_listed(kept)
    # A folder's marker says nothing of where keys differ.
    first = 1 if kept > 1 and keys[0] == listing.named[0].key else 0
    return Shown(
        first=keys[first] if kept else None,
        last=keys[kept - 1] if kept else None,
        beyond=keys[kept] if kept < len(keys) else None,
        kept=kept,
        listed=len(keys),
        more=page.more,
    )


def _fits(keys: Sequence[str], *, prefix: str, behind: str) -> bool:
    """Whether these are keys below a prefix and behind a key, in S3's order: texts are ordered as their UTF-8 is."""
    if not keys:
        return True
    ordered = keys[0] > behind and all(one < other for one, other in pairwise(keys))
    return ordered and keys[0].startswith(prefix) and keys[-1].startswith(prefix)


def _chosen(listing: _Listing, items: Sequence[SourceObject], access: Access) -> list[SourceObject]:
    """What of a page is taken; a marker is put aside."""
    (prefix, selection), chosen = listing.named, []
    for item in items:
        if not access.comes_along(item.bucket, item.key):
            continue
        if item.key == prefix.key:
            listing.marker = item if selection is None else None
        elif selection is None or selection.takes(item.key[len(prefix.key) :]):
            chosen.append(item)
    return chosen
