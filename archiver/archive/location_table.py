"""Many locations in little memory: columns, an index, and Python's objects only as they are asked for.

A job of a million entries has several million small values. As objects each takes 50 to 150 bytes more than what it
says; here it takes what it says and some 8 bytes.
"""

from array import array
from collections.abc import Sequence
from typing import Protocol

from archiver.archive.columns import Made, TextColumn, framed
from archiver.archive.location import Location

_FIRST_PLACES = 8
_HASH = 0xFFFF_FFFF


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
