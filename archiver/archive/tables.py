"""Many texts, locations and objects in little memory: columns, and Python's objects only as they are asked for.

A job of a million entries has several million small values. As objects each takes 50 to 150 bytes more than what it
says; here it takes what it says and some 8 bytes.
"""

import threading
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

from archiver.archive.location import Location
from archiver.archive.plan import MIN_PART
from archiver.archive.storage import SourceObject

T = TypeVar("T")
_NONE = -1
_COMPOSITE, _ARCHIVED = 1, 2
_FIRST_PLACES = 8
_HASH = 0xFFFF_FFFF


class Made(Sequence[T]):
    """A sequence whose items are made as they are asked for."""

    __slots__ = ()

    @abstractmethod
    def at(self, number: int) -> T:
        """The item of this number, from 0 on."""

    def picked(self, numbers: range) -> Sequence[T]:
        """The items of these numbers."""
        return [self.at(number) for number in numbers]

    def __iter__(self) -> Iterator[T]:
        return map(self.at, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        numbers = range(len(self))
        return self.picked(numbers[index]) if isinstance(index, slice) else self.at(numbers[index])


class TextColumn(Made[str]):
    """Texts, one behind the other as UTF-8."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        # Whether halves of pairs may stand in a text is for others to say.
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def cut(self, length: int) -> None:
        """Drop all but the first ``length`` texts."""
        del self._bytes[self._ends[length] :]
        del self._ends[length + 1 :]

    def at(self, number: int) -> str:
        """The text of this number, from 0 on."""
        return self._bytes[self._ends[number] : self._ends[number + 1]].decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def picked(self, numbers: range) -> "TextColumn":
        """The texts of these numbers."""
        return TextColumn(map(self.at, numbers))


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

    def add(self, number: int, location: Location) -> None:
        """Take in a location, which has this number, unless there is an equal one."""
        if self._count * 3 >= len(self._places) * 2:
            self._grow()
        place = self._place(location)
        if not self._places[place]:
            self._places[place] = number + 1
            self._hashes[place] = hash(location) & _HASH
            self._count += 1

    def find(self, location: Location) -> int | None:
        """Its number in the table; None where it was not added."""
        taken = self._places[self._place(location)]
        return taken - 1 if taken else None

    def _place(self, location: Location) -> int:
        """Where it is, or would be."""
        mask = len(self._places) - 1
        own = hash(location) & _HASH
        place = own & mask
        while taken := self._places[place]:
            if self._hashes[place] == own and self._table.at(taken - 1) == location:
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
            self._crc32s.append(_NONE)
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
        self._crc32s[number] = _NONE if source.crc32 is None else source.crc32
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
        location, crc32, flags = self.locations.at(number), self._crc32s[number], self._flags[number]
        return SourceObject(
            location.bucket,
            location.key,
            self._sizes[number],
            self._etags.at(number),
            self._modified[number],
            location.version_id,
            None if crc32 == _NONE else crc32,
            bool(flags & _COMPOSITE),
            self._bodies.get(number),
            bool(flags & _ARCHIVED),
        )

    def __len__(self) -> int:
        return len(self._flags)

    def picked(self, numbers: range) -> "PickedSources":
        """The objects of these numbers."""
        return PickedSources(self, array("I", numbers))


class PickedSources(Made[SourceObject]):
    """Some objects of a table, by their numbers, in any order and as often as they are named."""

    __slots__ = ("_numbers", "_table")

    def __init__(self, table: SourceTable, numbers: "array[int]") -> None:
        self._table = table
        self._numbers = numbers

    def total(self) -> int:
        """The sizes of all of them together, in bytes."""
        return sum(map(self._table.size, self._numbers))

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


def total_size(sources: Sequence[SourceObject]) -> int:
    """The sizes of all objects together, in bytes."""
    return sources.total() if isinstance(sources, PickedSources) else sum(source.size for source in sources)
