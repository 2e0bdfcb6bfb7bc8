"""What an archive will be before a byte of it moves: its layout, its parts, and whose bytes each entry holds. Pure."""

import zlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, tzinfo

from archiver.archive.deflate import Deflated
from archiver.archive.plan import Part, plan_parts
from archiver.archive.storage import SourceObject
from archiver.archive.upload import LAST_NUMBER
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The layout and the parts still to be made.

    ``order[entry]`` is the index of an entry's source; ``sources[entry]`` the object that holds the entry's stored
    bytes, None for a deflated entry, whose bytes lie nowhere.
    """

    layout: Layout
    order: list[int]
    sources: list[SourceObject | None]
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
    done = set(deflated.indexes)
    rest = [index for index in range(len(sources)) if index not in done]
    stored = [sources[index] for index in rest]
    order = deflated.indexes + rest
    entries = deflated.entries + [
        Entry(
            name=names[index],
            size=0 if names[index].endswith("/") else source.size,
            modified=source.modified,
            crc32=None if names[index].endswith("/") else _crc32(source),
        )
        for index, source in zip(rest, stored, strict=True)
    ]
    layout = Layout(entries, zone=zone)
    first = len(deflated.entries)
    parts = plan_parts(
        layout,
        part_size=part_size,
        write_worth=write_worth,
        copyable=lambda entry: entry >= first and order[entry] not in uncopyable and stored[entry - first].body is None,
        start=deflated.carry.start,
        first_number=deflated.next_number,
        last_number=LAST_NUMBER,
    )
    return Blueprint(layout, order, [*([None] * first), *stored], parts)


def _crc32(source: SourceObject) -> int | None:
    return source.crc32 if source.body is None else zlib.crc32(source.body)
