"""What an archive will be before a byte of it moves: its layout, its parts, and whose bytes each entry holds. Pure."""

import itertools
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, tzinfo

from archiver.archive.columns import Made
from archiver.archive.deflated import Deflated
from archiver.archive.plan import Part, plan_parts
from archiver.archive.source_table import UNKNOWN, as_picked
from archiver.archive.storage import SourceObject
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.entry import STORED, Entry
from archiver.zipformat.layout import Layout


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

    def sources_of(self, part: Part) -> Iterator[SourceObject]:
        """The objects whose entries a part has bytes of."""
        first, last = self.layout.find(part.start), self.layout.find(part.stop - 1)
        for source in self.sources[first : last + 1]:
            if source is not None:
                yield source


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
    layout = Layout(_Entries(names, sources, order, deflated.entries), zone=zone)
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
    return Blueprint(layout, order, _Holders(sources, order, first) if first else sources, parts)


class _Entries(Made[Entry]):
    """The entries, the deflated ones first, each made as it is asked for: a million would take hundreds of megabytes.

    Of the sources there are columns, since looking at an object takes longer than to make the entry.
    """

    def __init__(
        self, names: Sequence[str], sources: Sequence[SourceObject], order: Sequence[int], deflated: Sequence[Entry]
    ) -> None:
        self._names = names
        self._columns = as_picked(sources).columns()
        self._order = order
        self._deflated = deflated

    def __len__(self) -> int:
        return len(self._order)

    def at(self, number: int) -> Entry:
        if number < len(self._deflated):
            return self._deflated[number]
        columns, index = self._columns, self._order[number]
        # Each was asked for its faults when all of them were laid out.
        return Entry._make(
            _fields(self._names[index], columns.sizes[index], columns.modified[index], columns.crc32s[index])
        )

    def __iter__(self) -> Iterator[Entry]:
        if self._deflated:
            return (Entry(*entry) for entry in super().__iter__())
        columns = self._columns
        return itertools.starmap(Entry, map(_fields, self._names, columns.sizes, columns.modified, columns.crc32s))


def _fields(name: str, size: int, modified: int, crc32: int) -> tuple[str, int, int, int | None, int, int | None]:
    if name[-1] == "/":
        return name, 0, modified, None, STORED, None
    return name, size, modified, None if crc32 == UNKNOWN else crc32, STORED, None


class _Holders(Made[SourceObject | None]):
    """The sources in the order of the entries, None for the ``first`` ones, which are deflated."""

    def __init__(self, sources: Sequence[SourceObject], order: Sequence[int], first: int) -> None:
        self._sources = sources
        self._order = order
        self._first = first

    def __len__(self) -> int:
        return len(self._order)

    def at(self, number: int) -> SourceObject | None:
        return None if number < self._first else self._sources[self._order[number]]
