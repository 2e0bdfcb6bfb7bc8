"""What an archive will be before a byte of it moves: its layout, its parts, and whose bytes each entry holds. Pure."""

import itertools
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TypeVar

from archiver.archive.deflate import Deflated
from archiver.archive.plan import Part, plan_parts
from archiver.archive.storage import SourceObject
from archiver.archive.tables import Made
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout

T = TypeVar("T")
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The layout and the parts still to be made.

    ``order[entry]`` is the index of an entry's source; ``sources[entry]`` the object that holds the entry's stored
    bytes, None for a deflated entry, whose bytes lie nowhere.
    """

    layout: Layout
    order: Sequence[int]
    sources: Sequence[SourceObject | None]
    parts: list[Part]


def make_blueprint(
    names: Sequence[str],
    sources: Sequence[SourceObject],
    *,
    part_size: int,
    write_worth: int = 0,
    deflated: Deflated | None = None,
    uncopyable: Set[int] = frozenset(),
    zone: tzinfo = UTC,
) -> Blueprint:
    """Lay out the deflated entries first, then the stored ones, and plan the parts from where the deflated ones end.

    ``part_size`` and ``write_worth`` as ``plan_parts`` has them; ``uncopyable`` are the indexes of the sources that S3
    won't copy; ``zone`` as in ``Layout``.
    Raises ``archiver.archive.plan.PlanError`` where S3's limits can't be kept.
    """
    deflated = deflated or Deflated()
    order: Sequence[int] = range(len(sources))
    if deflated.indexes:
        done = set(deflated.indexes)
        order = array("I", itertools.chain(deflated.indexes, (index for index in order if index not in done)))
    layout = Layout(_entries(names, sources, order, deflated.entries), zone=zone)
    first = len(deflated.entries)
    parts = plan_parts(
        layout,
        part_size=part_size,
        write_worth=write_worth,
        copyable=lambda entry: entry >= first and order[entry] not in uncopyable and sources[order[entry]].body is None,
        start=deflated.carry.start,
        first_number=deflated.next_number,
        last_number=LAST_NUMBER,
    )
    return Blueprint(layout, order, _holders(sources, order, first), parts)


class _Computed(Made[T]):
    """A sequence whose items are made as they are asked for: a million of them would take hundreds of megabytes."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def at(self, number: int) -> T:
        return self._make(number)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, range(self._count))


def _entries(
    names: Sequence[str], sources: Sequence[SourceObject], order: Sequence[int], deflated: Sequence[Entry]
) -> Sequence[Entry]:
    # In columns: each entry is made several times, and looking at the sources takes longer than to make it.
    sizes, modified, crc32s = array("Q"), array("q"), array("q")
    for source in sources:
        crc32 = _crc32(source)
        sizes.append(source.size)
        modified.append(source.modified)
        crc32s.append(_UNKNOWN if crc32 is None else crc32)

    def entry(number: int) -> Entry:
        if number < len(deflated):
            return deflated[number]
        index = order[number]
        name, crc32 = names[index], crc32s[index]
        if name.endswith("/"):
            return Entry(name, 0, modified[index])
        return Entry(name, sizes[index], modified[index], None if crc32 == _UNKNOWN else crc32)

    return _Computed(len(order), entry)


def _holders(sources: Sequence[SourceObject], order: Sequence[int], first: int) -> Sequence[SourceObject | None]:
    return _Computed(len(order), lambda number: None if number < first else sources[order[number]])


def _crc32(source: SourceObject) -> int | None:
    if source.crc32 is not None or source.body is None:
        # What came along was compared with it.
        return source.crc32
    return zlib.crc32(source.body)
