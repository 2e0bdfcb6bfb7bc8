"""Looking at sources: with as few requests as can be, and with the content of small ones at once."""

import threading
from typing import NamedTuple

from archiver.archive.location import Location
from archiver.archive.reading import fetch_verified
from archiver.archive.storage import SourceLookup, SourceMissing, SourceObject
from archiver.zipformat.crc import crc32_of_parts

#: Objects up to this size, in bytes, come along with the look itself: one request in place of two.
SMALL = 64 * 1024
#: What all bodies that came along may take together, in bytes.
SMALL_BUDGET = 24 * 1024 * 1024


class Wanted(NamedTuple):
    """An object that a job wants: for the file ``number`` of the request, with its path below a prefix.

    ``destination`` is the file's.
    ``row`` is its number in the job's table, where a listing showed it; ``look`` says whether the storage has to be
    asked: not where the listing said all that is needed, and not ``again``, where an earlier look tells.
    """

    number: int
    location: Location
    destination: str | None = None
    relative: str | None = None
    row: int | None = None
    look: bool = True
    again: bool = False


class Look:
    """Looks at sources, and learns from their sizes whether to ask for the content at once."""

    def __init__(self, sources: SourceLookup) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._budget = SMALL_BUDGET
        self._small = 0
        self._large = 0

    def at_last(self, batch: list[Wanted]) -> tuple[list[Wanted], SourceObject | None]:
        """The batch, and what ``at`` says of its last one, where that takes a look."""
        return batch, self.at(batch[-1]) if batch[-1].look else None

    def at(self, wanted: Wanted) -> SourceObject | None:
        """The object, None if it is missing; with its CRC32 where S3 can tell."""
        if wanted.location.is_prefix and wanted.row is None:
            return None
        try:
            source = self._source(wanted)
        except SourceMissing:
            return None
        if source.composite and source.crc32 is None:
            parts = self._sources.part_checksums(source)
            if parts is not None:
                source = source._replace(crc32=crc32_of_parts(parts))
        return source

    def _source(self, wanted: Wanted) -> SourceObject:
        with self._lock:
            fetch = wanted.row is None and self._budget >= SMALL and self._small >= self._large
            if fetch:
                self._budget -= SMALL
        held = 0
        try:
            location = wanted.location
            source = fetch_verified(self._sources, location, limit=SMALL) if fetch else self._sources.head(location)
            held = len(source.body or b"")
        finally:
            if fetch:
                with self._lock:
                    self._budget += SMALL - held
        with self._lock:
            if source.size <= SMALL:
                self._small += 1
            else:
                self._large += 1
        return source
