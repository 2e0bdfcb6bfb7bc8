"""Looking at sources: with as few requests as can be, and with the content of small ones at once."""

import threading
from dataclasses import dataclass, replace

from archiver.archive.location import Location
from archiver.archive.plan import MIN_PART
from archiver.archive.reading import fetch_verified
from archiver.archive.storage import SourceLookup, SourceMissing, SourceObject
from archiver.zipformat.crc import crc32_of_parts

#: Objects up to this size, in bytes, come along with the look itself: one request in place of two.
SMALL = 64 * 1024
#: What all bodies that came along may take together, in bytes.
SMALL_BUDGET = 24 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that a job wants: for the file ``index`` of the request, with its path below a prefix.

    ``listed`` is what a listing showed of it; ``again`` says that it is looked at already. An object of fewer than
    ``read_whole`` bytes is read in one piece, whatever a look would tell.
    """

    index: int
    location: Location
    relative: str | None = None
    listed: SourceObject | None = None
    again: bool = False
    read_whole: int = 0

    @property
    def is_known(self) -> bool:
        """Whether a listing said all that is needed: it is read as a whole, and then S3 tells its CRC32."""
        listed = self.listed
        if listed is None or listed.archived:
            return False
        # Of an object made of parts, whose ETag says so, S3 may tell the parts' CRC32s alone, and only to a look.
        return listed.size <= MIN_PART or (listed.size < self.read_whole and "-" not in listed.etag)

    @property
    def takes_a_request(self) -> bool:
        """Whether the storage has to be asked."""
        return not (self.again or self.is_known)


class Look:
    """Looks at sources, and learns from their sizes whether to ask for the content at once."""

    def __init__(self, sources: SourceLookup) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._budget = SMALL_BUDGET
        self._small = 0
        self._large = 0

    def at_all(self, batch: list[Wanted]) -> list[tuple[Wanted, SourceObject | None]]:
        """Each with what ``at`` says of it; nothing is said of those that are looked at already."""
        # What a listing said is all that ``at`` would say.
        return [
            (wanted, None if wanted.again else wanted.listed if wanted.is_known else self.at(wanted))
            for wanted in batch
        ]

    def at(self, wanted: Wanted) -> SourceObject | None:
        """The object, None if it is missing; with its CRC32 where S3 can tell."""
        if wanted.location.is_prefix and wanted.listed is None:
            return None
        try:
            source = self._source(wanted)
        except SourceMissing:
            return None
        if source.composite and source.crc32 is None:
            parts = self._sources.part_checksums(source)
            if parts is not None:
                source = replace(source, crc32=crc32_of_parts(parts))
        return source

    def _source(self, wanted: Wanted) -> SourceObject:
        if wanted.listed is not None and wanted.is_known:
            return wanted.listed
        with self._lock:
            fetch = wanted.listed is None and self._budget >= SMALL and self._small >= self._large
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
