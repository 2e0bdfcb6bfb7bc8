"""Many objects in little memory, as ``location_table`` has their locations, and those that are picked of them."""

import threading
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archiver.archive.columns import Made, TextColumn, framed, little_endian
from archiver.archive.location_table import LocationTable
from archiver.archive.plan import MIN_PART
from archiver.archive.storage import SourceObject

#: In a column of CRC32s: there is none.
UNKNOWN = -1

_COMPOSITE, _ARCHIVED = 1, 2
#: Objects whose identities are put together at once.
_AT_ONCE = 1_000


class SourceTable(Made[SourceObject]):
    """Objects, each with a number. Many threads may append."""

    __slots__ = ("_bodies", "_crc32s", "_etags", "_flags", "_lock", "_modified", "_sizes", "locations")

    def __init__(self, sources: Iterable[SourceObject] = ()) -> None:
        #: Where they lie.
        self.locations = LocationTable()
        self._etags = TextColumn()
        self._sizes = array("Q")
        self._modified = array("q")
        self._crc32s = array("q")
        self._flags = bytearray()
        self._bodies: dict[int, bytes] = {}
        self._lock = threading.Lock()
        for source in sources:
            self.append(source)

    def append(self, source: SourceObject) -> int:
        """Add one and return its number."""
        with self._lock:
            number = self.locations.append(source.bucket, source.key, source.version_id)
            self._etags.append(source.etag)
            self._sizes.append(source.size)
            self._modified.append(source.modified)
            self._crc32s.append(UNKNOWN)
            self._flags.append(0)
            self._fill(number, source)
            return number

    def renew(self, number: int, source: SourceObject) -> int:
        """Put what is known by now of an object in place of what was known; its number, another if it has changed."""
        with self._lock:
            known = (self._etags[number], self._sizes[number], self._modified[number])
            if known == (source.etag, source.size, source.modified):
                self.locations.set_version(number, source.version_id)
                self._fill(number, source)
                return number
        return self.append(source)

    def _fill(self, number: int, source: SourceObject) -> None:
        self._crc32s[number] = UNKNOWN if source.crc32 is None else source.crc32
        self._flags[number] = source.composite * _COMPOSITE | source.archived * _ARCHIVED
        if source.body is not None:
            self._bodies[number] = source.body

    def size(self, number: int) -> int:
        """The size alone, in bytes."""
        return self._sizes[number]

    def says_enough(self, number: int, *, read_whole: int = 0) -> bool:
        """Whether what a listing says is all that is needed: it is read as a whole, and then S3 tells its CRC32.

        An object of fewer than ``read_whole`` bytes is read in one piece, whatever a look would tell.
        """
        if self._flags[number] & _ARCHIVED:
            return False
        size = self._sizes[number]
        # Of an object made of parts, whose ETag says so, S3 may tell the parts' CRC32s alone, and only to a look.
        return size <= MIN_PART or (size < read_whole and "-" not in self._etags.at(number))

    def at(self, number: int) -> SourceObject:
        """The object of this number, from 0 on."""
        (bucket, key, version_id), crc32 = self.locations.at(number), self._crc32s[number]
        flags = self._flags[number]
        return SourceObject(
            bucket,
            key,
            self._sizes[number],
            self._etags.at(number),
            self._modified[number],
            version_id,
            None if crc32 == UNKNOWN else crc32,
            bool(flags & _COMPOSITE),
            self._bodies.get(number),
            bool(flags & _ARCHIVED),
        )

    def columns(self, numbers: Sequence[int]) -> "Columns":
        """What is known of the objects of these numbers."""
        crc32s = array("q", map(self._crc32s.__getitem__, numbers))
        if self._bodies:
            for place, number in enumerate(numbers):
                if crc32s[place] == UNKNOWN and number in self._bodies:
                    # What S3 told was compared with what came along.
                    crc32s[place] = zlib.crc32(self._bodies[number])
        return Columns(
            array("Q", map(self._sizes.__getitem__, numbers)),
            array("q", map(self._modified.__getitem__, numbers)),
            crc32s,
        )

    def identities(self, numbers: Sequence[int]) -> bytes:
        """What tells the objects of these numbers from any others, as many: the same whatever else is in the table."""
        return b"".join(
            (
                self.locations.identities(numbers),
                framed(map(self._etags.encoded, numbers)),
                little_endian(array("Q", map(self._sizes.__getitem__, numbers))),
                little_endian(array("q", map(self._modified.__getitem__, numbers))),
            )
        )

    def __len__(self) -> int:
        return len(self._flags)

    def picked(self, numbers: range) -> "PickedSources":
        """The objects of these numbers."""
        return PickedSources(self, array("I", numbers))


@dataclass(frozen=True, slots=True)
class Columns:
    """Of objects in their order: sizes in bytes, times in seconds since the epoch, and CRC32s or ``UNKNOWN``.

    A CRC32 is what S3 tells of the whole content, or that of the content where it is there already.
    """

    sizes: "array[int]"
    modified: "array[int]"
    crc32s: "array[int]"


class PickedSources(Made[SourceObject]):
    """Some objects of a table, by their numbers, in any order and as often as they are named."""

    __slots__ = ("_numbers", "_table")

    def __init__(self, table: SourceTable, numbers: "array[int]") -> None:
        self._table = table
        self._numbers = numbers

    def total(self) -> int:
        """The sizes of all of them together, in bytes."""
        return sum(map(self._table.size, self._numbers))

    def columns(self) -> Columns:
        """What is known of them."""
        return self._table.columns(self._numbers)

    def identities(self) -> Iterator[bytes]:
        """What tells them, in this order, from any others, as many."""
        for start in range(0, len(self._numbers), _AT_ONCE):
            yield self._table.identities(self._numbers[start : start + _AT_ONCE])

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[SourceObject]:
        return map(self._table.at, self._numbers)

    def at(self, number: int) -> SourceObject:
        """The object in this place, from 0 on."""
        return self._table.at(self._numbers[number])

    def picked(self, numbers: range) -> "PickedSources":
        """The objects in these places."""
        return PickedSources(self._table, array("I", map(self._numbers.__getitem__, numbers)))


def as_picked(sources: Sequence[SourceObject]) -> PickedSources:
    """The same objects in columns, where they are not yet."""
    if isinstance(sources, PickedSources):
        return sources
    table = sources if isinstance(sources, SourceTable) else SourceTable(sources)
    return table.picked(range(len(table)))
