"""Objects that are named one by one, seen by the page: a listing tells of a thousand for the price of a few looks.

Sources of one request mostly lie side by side. So where a bucket's are many, its listing is read from one wanted key
on, each page beginning at the next one that was not seen yet, as long as the pages hold enough that is wanted. What no
page shows is looked at on its own, as if there were no listings.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial

from archiver.archive.columns import TextColumn
from archiver.archive.location import Location
from archiver.archive.parallel import batched, ordered_map
from archiver.archive.storage import SourceLookup, SourceMissing, SourceObject
from archiver.archive.tables import LocationIndex, SourceTable
from archiver.errors import ArchiverError

#: Fewer objects of one bucket are looked at one by one.
LEAST = 32
#: Objects that one after the other are sought in one listing; more listings go side by side. S3's page has so many.
SHARD = 1_000
#: Listings at a time: what they bring waits for its turn as objects, a thousand a page, and reading more pages at once
#: than these takes more than one core.
MOST_LISTINGS = 16
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

    ``window`` listings go at a time, at most ``MOST_LISTINGS``. ``keys`` are used up.
    ``on_listed`` is called from the executor's threads with how many of them more were found.
    """
    index = LocationIndex(into.locations)
    for found in ordered_map(
        executor, partial(_in_pages, sources, on_listed), _shards(keys.of), window=min(window, MOST_LISTINGS)
    ):
        for source in found:
            index.add(into.append(source), source)
    return index


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


def _in_pages(
    sources: SourceLookup, on_listed: Callable[[int], None], shard: tuple[str, list[str]]
) -> list[SourceObject]:
    bucket, keys = shard
    wanted = set(keys)
    found: list[SourceObject] = []
    at = 0
    while len(keys) - at >= WORTH_A_PAGE:
        try:
            page = sources.page(Location(bucket, _before(keys[at])), prefix=_shared_start(keys[at], keys[-1]))
        except (ArchiverError, SourceMissing):
            # s3:ListBucket may be missing; whatever else it is, a look will tell.
            break
        hits = [source for source in page if source.key in wanted]
        found += hits
        on_listed(len(hits))
        if len(hits) < WORTH_A_PAGE:
            break
        before, at = at, bisect_right(keys, page[-1].key.encode(), key=str.encode)
        if at <= before:
            # It did not begin where it should have: the rest is looked at.
            break
    return found


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
