"""Listings of S3, page by page: each page must come behind those before it, or the listing would never end."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from archiver.errors import StorageUnavailable, shown

#: Pages without an item that may follow each other before the listing counts as one that never ends.
MOST_EMPTY_PAGES = 1_000


def going_forward(
    pages: Iterable[Mapping[str, Any]],
    *,
    what: str,
    items: str,
    identity: Callable[[Any], object],
    markers: tuple[str, ...],
) -> Iterator[Any]:
    """The pages, as long as each is another: ``identity`` tells one of the page's ``items`` from all others.

    ``markers`` are the fields that say where the next page begins. Raises ``StorageUnavailable``, which names
    ``what`` is listed, where a page or its marker comes a second time, where a page ends early without a marker, and
    where there is page after page with nothing on it.
    """
    begun: set[object] = set()
    marked: set[object] = set()
    empty = 0
    for page in pages:
        listed = page.get(items) or ()
        if listed:
            first = identity(listed[0])
            if first in begun:
                raise StorageUnavailable(f"the listing of {what} does not go forward: {shown(first)} comes twice")
            begun.add(first)
        empty = 0 if listed else empty + 1
        yield page
        if not page.get("IsTruncated"):
            return
        marker = tuple(page.get(name) for name in markers)
        if not any(marker):
            raise StorageUnavailable(
                f"the listing of {what} ends early: a page tells neither its end nor where to go on"
            )
        if marker in marked or empty > MOST_EMPTY_PAGES:
            raise StorageUnavailable(f"the listing of {what} does not go forward: it goes on at {shown(marker)} again")
        marked.add(marker)
