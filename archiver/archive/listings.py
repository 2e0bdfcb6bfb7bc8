"""Objects that are named one by one, seen by the page: a listing tells of a thousand for the price of a few looks.

Sources of one request mostly lie side by side. So where a bucket's are many, a page of its listing is read from one
wanted key on, and where it ends before the last of them, the next pages: as many at once as the first lets expect, each
beginning at a wanted key. That goes on as long as the pages hold enough that is wanted. What no page shows is looked at
on its own, as if there were no listings.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import pairwise
from math import isqrt
from typing import NamedTuple

from archiver.archive.columns import TextColumn
from archiver.archive.location import Location
from archiver.archive.location_table import LocationIndex
from archiver.archive.parallel import batched
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import SourceLookup, SourceMissing, SourceObject
from archiver.errors import ArchiverError

#: Fewer objects of one bucket are looked at one by one.
LEAST = 32
#: Objects that are sought in one listing; more listings go side by side. S3's page has so many.
SHARD = 1_000
#: Pages at a time: what they bring waits for its turn as objects, a thousand a page, and reading more of them at once
#: takes more than one core.
MOST_PAGES = 16
#: Pages at a time that one has let expect.
MOST_AT_ONCE = 8
#: Wanted objects that make a page worth its price: LIST costs as much as 12.5 HEAD (https://aws.amazon.com/s3/pricing/).
WORTH_A_PAGE = 13


class Keys:
    """The keys that are sought, by bucket."""

    def __init__(self, locations: Iterable[Location] = ()) -> None:
        self.of: defaultdict[str, TextColumn] = defaultdict(TextColumn)
        for location in locations:
            self.add(location)

    def add(self, location: Location) -> None:
        """One more, unless it is a prefix or a pinned version: a listing shows an object's latest version alone."""
        if not location.is_prefix and location.version_id is None:
            self.of[location.bucket].append(location.key)


def find_in_listings(
    keys: Keys,
    *,
    into: SourceTable,
    sources: SourceLookup,
    executor: Executor,
    window: int,
    on_listed: Callable[[int], None] = lambda _: None,
) -> LocationIndex:
    """Put the objects of these keys that listings show ``into`` a table, and return an index of them.

    ``window`` pages are under way at a time, at most ``MOST_PAGES``. ``keys`` are used up.
    ``on_listed`` is called with how many of them more were found.
    """
    index = LocationIndex(into.locations)
    firsts = (_Listing(bucket, shard).first() for bucket, shard in _shards(keys.of))
    waiting: deque[_Ask] = deque()
    under_way: dict[Future[list[SourceObject]], _Ask] = {}
    try:
        while True:
            while len(under_way) < min(window, MOST_PAGES):
                ask = waiting.popleft() if waiting else next(firsts, None)
                if ask is None:
                    break
                under_way[executor.submit(_page, sources, ask)] = ask
            if not under_way:
                return index
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                ask = under_way.pop(future)
                page = future.result()
                hits = ask.hits(page)
                for source in hits:
                    index.add(into.append(source), source)
                on_listed(len(hits))
                waiting.extend(ask.rest(page, hits=len(hits)))
    finally:
        for future in under_way:
            future.cancel()


def _shards(keys: dict[str, TextColumn]) -> Iterator[tuple[str, list[str]]]:
    """Keys of a bucket, each once and in S3's order, as many as a listing is asked for. ``keys`` is used up."""
    for bucket in list(keys):
        for number, shard in enumerate(batched(_each_once(keys.pop(bucket)), SHARD)):
            if number or len(shard) >= LEAST:
                yield bucket, shard


def _each_once(column: TextColumn) -> Iterator[str]:
    # Texts are ordered as their UTF-8 is. Only numbers stay: texts that went one by one, in an order that is not that
    # of memory, would leave holes until the last of them is gone.
    order = array("I", sorted(range(len(column)), key=column.at))
    last = None
    for number in order:
        key = column.at(number)
        if key != last:
            yield key
        last = key


class _Listing:
    """Keys that are sought side by side, in S3's order; how many pages were asked for, and what they have shown."""

    def __init__(self, bucket: str, keys: list[str]) -> None:
        self.bucket = bucket
        self.keys = keys
        self.wanted = frozenset(keys)
        self.asked = 1
        self.found = 0

    def first(self) -> "_Ask":
        """The page that begins with the first of the keys."""
        return _Ask(self, 0, len(self.keys))


class _Ask(NamedTuple):
    """A page that is to show the keys from number ``start`` to before ``stop``, or the first of them."""

    listing: _Listing
    start: int
    stop: int

    def hits(self, page: list[SourceObject]) -> list[SourceObject]:
        """What of the page is sought here: other pages may show the same beyond it."""
        keys, wanted = self.listing.keys, self.listing.wanted
        first, last = keys[self.start], keys[self.stop - 1]
        return [source for source in page if first <= source.key <= last and source.key in wanted]

    def rest(self, page: list[SourceObject], *, hits: int) -> list["_Ask"]:
        """The pages to ask for next, where this one was worth it; all pages together cost no more than looks would."""
        listing = self.listing
        listing.found += hits
        if hits < WORTH_A_PAGE:
            return []
        seen = bisect_right(listing.keys, page[-1].key, self.start, self.stop)
        span, left = seen - self.start, self.stop - seen
        if span <= 0 or left < WORTH_A_PAGE:
            # It did not begin where it should have, or few are left: these are looked at.
            return []
        paid = listing.found // WORTH_A_PAGE + 1 - listing.asked
        count = min(max(1, round(left / span)), MOST_AT_ONCE, paid)
        if count < 1:
            return []
        listing.asked += count
        # Closer than this page reached: those that end a little sooner leave nothing between them.
        step = max(1, min(left // count, span - isqrt(span)))
        starts = [seen + number * step for number in range(count)]
        return [_Ask(listing, start, stop) for start, stop in pairwise([*starts, self.stop])]


def _page(sources: SourceLookup, ask: _Ask) -> list[SourceObject]:
    first, last = ask.listing.keys[ask.start], ask.listing.keys[ask.stop - 1]
    try:
        return sources.page(Location(ask.listing.bucket, _before(first)), prefix=_shared_start(first, last))
    except (ArchiverError, SourceMissing):
        # s3:ListBucket may be missing; whatever else it is, a look will tell.
        return []


def _before(key: str) -> str:
    """What comes so shortly before a key that no other is likely to lie between: a page shows what comes behind it.

    The key itself where its last character has no neighbour that every server takes; then a look will find it.
    """
    last = ord(key[-1])
    return f"{key[:-1]}{chr(last - 1)}~~~~" if ord(" ") < last <= ord("~") else key


def _shared_start(first: str, last: str) -> str:
    """What all keys from the first to the last, in order, begin with."""
    length = next(
        (index for index, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    return first[:length]
