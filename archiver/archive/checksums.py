"""What is known of each entry's CRC32: from S3 before the build, or from pieces as parts read and copy them.

A part that holds an entry's local header waits here for the pieces that other parts bring. Where S3 has a CRC32 of
the whole entry, the pieces must come to it: an entry whose pieces don't is refuted, and its parts are built again.
"""

import threading
from array import array
from collections.abc import Iterable, Sequence

from archiver.archive.reading import mismatch
from archiver.errors import StorageUnavailable
from archiver.zipformat.crc import crc32_of_parts
from archiver.zipformat.entry import Entry

_UNKNOWN = -1


class Cancelled(Exception):
    """The build failed elsewhere; nobody will bring what is waited for."""


class Checksums:
    """One CRC32 for each entry, filled in by many threads."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._values = array("q")
        self._sizes = array("Q")
        for entry in entries:
            crc32 = entry.known_crc32
            self._values.append(_UNKNOWN if crc32 is None else crc32)
            self._sizes.append(entry.size)
        self._pieces: dict[int, dict[int, tuple[int, int]]] = {}
        self._missing: dict[int, int] = {}
        self._refuted: dict[int, int] = {}
        self._changed = threading.Condition()
        self._cancelled = False

    def known(self, entry: int) -> bool:
        """Whether the entry's CRC32 needs no more pieces."""
        return self._values[entry] != _UNKNOWN

    def stored(self, entry: int) -> int | None:
        """The entry's CRC32 as it was known before the build: what all that is read and copied is compared with."""
        return self._entries[entry].known_crc32

    def learn(self, entry: int, start: int, crc32: int, length: int) -> None:
        """Take in the CRC32 of ``length`` bytes from ``start`` on of the entry's content, in place of an earlier one.

        Also of what was copied, since S3 tells the CRC32 of each part. Raises ``StorageUnavailable`` where the
        pieces of an entry that S3 has no CRC32 of come to another one than before.
        """
        self.learn_all([(entry, start, crc32, length)])

    def learn_all(self, pieces: Iterable[tuple[int, int, int, int]]) -> None:
        """Learn of many pieces at once: entry, start, CRC32 and length of each. Raises as ``learn`` does."""
        with self._changed:
            try:
                for entry, start, crc32, length in pieces:
                    self._learn(entry, start, crc32, length)
            finally:
                self._changed.notify_all()

    def _learn(self, entry: int, start: int, crc32: int, length: int) -> None:
        size = self._sizes[entry]
        if length == size:
            value = crc32
        else:
            # All are kept: one that is read again counts together with the others as they were.
            pieces = self._pieces.setdefault(entry, {})
            self._missing[entry] = self._missing.get(entry, size) - (0 if start in pieces else length)
            pieces[start] = (crc32, length)
            if self._missing[entry]:
                return
            value = crc32_of_parts(piece for _, piece in sorted(pieces.items()))
        known = self._values[entry]
        if known == _UNKNOWN:
            self._values[entry] = value
        elif known == value:
            self._refuted.pop(entry, None)
        elif self.stored(entry) is not None:
            self._refuted[entry] = value
        else:
            first = f"{self._entries[entry].name}: the bytes had CRC32 {known:08x} when read first"
            raise StorageUnavailable(f"{first}, then {value:08x}")

    def refuted(self) -> dict[int, str]:
        """The entries whose bytes are not what S3 says, by number, with what differs."""
        with self._changed:
            return {
                entry: mismatch(self._entries[entry].name, read=found, stored=self._values[entry])
                for entry, found in sorted(self._refuted.items())
            }

    def wait(self, entry: int) -> int:
        """The entry's CRC32, as soon as all its pieces are there. Raises ``Cancelled``."""
        if not self.known(entry):
            with self._changed:
                while not self.known(entry):
                    if self._cancelled:
                        raise Cancelled
                    self._changed.wait()
        return self._values[entry]

    def wait_for_all(self) -> Sequence[int]:
        """Every entry's CRC32. Raises ``Cancelled``."""
        for entry in range(len(self._values)):
            if not self.known(entry):
                self.wait(entry)
        return self._values

    def cancel(self) -> None:
        """Wake whoever waits: the build has failed."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
