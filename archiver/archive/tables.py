"""Many texts, locations and objects in little memory: columns, and Python's objects only as they are asked for.

A job of a million entries has several million small values. As objects each takes 50 to 150 bytes more than what it
says; here it takes what it says and some 8 bytes.
"""

import threading
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from archiver.archive.columns import Made, TextColumn, framed, little_endian
from archiver.archive.location import Location
from archiver.archive.plan import MIN_PART
from archiver.archive.storage import SourceObject

#: In a column of CRC32s: there is none.
UNKNOWN = -1

_COMPOSITE, _ARCHIVED = 1, 2
_FIRST_PLACES = 8
_HASH = 0xFFFF_FFFF
#: Objects whose identities are put together at once.
_AT_ONCE = 1_000


class Placed(Protocol):
    """What lies somewhere: a location, or an object in its place."""

    @property
    def bucket(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def version_id(self) -> str | None: ...


class LocationTable(Made[Location]):
    """Locations, each with a number."""

    __slots__ = ("_buckets", "_keys", "_numbers", "_of", "_versions")

    def __init__(self) -> None:
        self._buckets: list[str] = []
        self._numbers: dict[str, int] = {}
        self._of = array("I")
        self._keys = TextColumn()
        self._versions: dict[int, str] = {}

    def append(self, bucket: str, key: str, version_id: str | None = None) -> int:
        """Add one and return its number."""
        number = len(self._of)
        named = self._numbers.get(bucket)
        if named is None:
            named = self._numbers[bucket] = len(self._buckets)
            self._buckets.append(bucket)
        self._of.append(named)
        self._keys.append(key)
        if version_id is not None:
            self._versions[number] = version_id
        return number

    def cut(self, length: int) -> None:
        """Drop all but the first ``length`` locations."""
        del self._of[length:]
        self._keys.cut(length)
        for number in [number for number in self._versions if number >= length]:
            del self._versions[number]

    def at(self, number: int) -> Location:
        """The location of this number, from 0 on."""
        return Location(self._buckets[self._of[number]], self._keys.at(number), self._versions.get(number))

    def is_at(self, number: int, placed: Placed) -> bool:
        """Whether the location of this number is where that lies."""
        return (
            self._keys.at(number) == placed.key
            and self._buckets[self._of[number]] == placed.bucket
            and self._versions.get(number) == placed.version_id
        )

    def identities(self, numbers: Sequence[int]) -> bytes:
        """What tells these locations from any others, as many: the same whatever else is in the table."""
        buckets = [bucket.encode() for bucket in self._buckets]
        versions = self._versions
        pinned = [f"{place} {versions[number]}" for place, number in enumerate(numbers) if number in versions]
        return b"".join(
            (
                framed(map(buckets.__getitem__, map(self._of.__getitem__, numbers))),
                framed(map(self._keys.encoded, numbers)),
                framed(["\n".join(pinned).encode()]),
            )
        )

    def set_version(self, number: int, version_id: str | None) -> None:
        """Say which version of the object it is."""
        if version_id is None:
            self._versions.pop(number, None)
        else:
            self._versions[number] = version_id

    def __len__(self) -> int:
        return len(self._of)


class LocationIndex:
    """Finds locations of a table: those that were added, the first of equal ones.

    A hash table with open addressing: 8 bytes a place, with a location's number and its hash.
    """

    __slots__ = ("_count", "_hashes", "_places", "_table")

    def __init__(self, table: LocationTable) -> None:
        self._table = table
        self._places = array("I", bytes(4 * _FIRST_PLACES))
        self._hashes = array("I", bytes(4 * _FIRST_PLACES))
        self._count = 0

    def add(self, number: int, placed: Placed) -> None:
        """Take in the location of this number, which is where that lies, unless there is an equal one."""
        if self._count * 3 >= len(self._places) * 2:
            self._grow()
        own = hash((placed.bucket, placed.key, placed.version_id)) & _HASH
        place = self._place(own, placed)
        if not self._places[place]:
            self._places[place] = number + 1
            self._hashes[place] = own
            self._count += 1

    def find(self, placed: Placed) -> int | None:
        """The number in the table of where that lies; None where it was not added."""
        own = hash((placed.bucket, placed.key, placed.version_id)) & _HASH
        taken = self._places[self._place(own, placed)]
        return taken - 1 if taken else None

    def _place(self, own: int, placed: Placed) -> int:
        """Where it is, or would be."""
        places, hashes = self._places, self._hashes
        mask = len(places) - 1
        place = own & mask
        while taken := places[place]:
            if hashes[place] == own and self._table.is_at(taken - 1, placed):
                break
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        places, hashes = self._places, self._hashes
        self._places = array("I", bytes(8 * len(places)))
        self._hashes = array("I", bytes(8 * len(places)))
        mask = len(self._places) - 1
        for taken, own in zip(places, hashes, strict=True):
            if taken:
                place = own & mask
                while self._places[place]:
                    place = (place + 1) & mask
                self._places[place], self._hashes[place] = taken, own


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
