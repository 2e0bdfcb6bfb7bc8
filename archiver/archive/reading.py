"""Reads of sources that are compared with S3's own CRC32, and read again where the bytes are not what it says.

A whole object is compared here, at once. A range has no CRC32 of its own: ``checksums`` compares an entry once all
its ranges are there.
"""

from collections.abc import Iterator, Sequence

from zlib_ng import zlib_ng

from archiver.archive.location import Location
from archiver.archive.storage import Read, SourceLookup, SourceObject, SourceReader
from archiver.errors import StorageUnavailable
from archiver.logs import get_logger
from archiver.zipformat.crc import crc32_combine

#: How often the same bytes are read before their difference from S3's CRC32 counts as lasting.
READS = 4
#: Bytes that are read at once of an object that is read from end to end.
STREAMED = 8 * 1024 * 1024

log = get_logger(__name__)


class BytesDiffer(StorageUnavailable):
    """The bytes read are not what S3 says."""


def mismatch(what: object, *, read: int, stored: int) -> str:
    """How a message says that ``what`` was read with another CRC32 than S3 has stored."""
    return f"{what}: the bytes read have CRC32 {read:08x}, S3 says {stored:08x}"


def read_verified(store: SourceReader, reads: Sequence[Read]) -> list[int]:
    """Fill the target of each read, many at once, and return their CRC32s.

    Raises what ``store.read_all`` raises, and ``BytesDiffer`` where S3 tells the CRC32 of bytes and they never have it.
    """
    found = [0] * len(reads)
    pending: Sequence[int] = range(len(reads))
    for again in range(READS):
        pending = _compared(store, reads, pending, found, lasting=again + 1 == READS)
        if not pending:
            break
    return found


def _compared(
    store: SourceReader, reads: Sequence[Read], numbers: Sequence[int], found: list[int], *, lasting: bool
) -> list[int]:
    """Fill the targets of the reads of these numbers, put their CRC32s into ``found``; the numbers of wrong ones."""
    wrong = []

    def compare(place: int, stored: int | None) -> None:
        number = numbers[place]
        read = reads[number]
        expected = read.source.crc32 if stored is None and read.is_whole else stored
        crc32 = found[number] = zlib_ng.crc32(read.target)
        if expected is not None and crc32 != expected:
            _differs(read.source, read=crc32, stored=expected, lasting=lasting)
            wrong.append(number)

    # Each is compared while others are still to come.
    store.read_all([reads[number] for number in numbers], compare)
    return sorted(wrong)


class VerifiedStream:
    """An object that is read from end to end. ``done`` bytes of it have come so far, and have the CRC32 ``crc32``."""

    def __init__(self, store: SourceReader, source: SourceObject) -> None:
        self._store = store
        self._source = source
        self.done = 0
        self.crc32 = 0

    def __iter__(self) -> Iterator[bytes]:
        """The bytes that have not come yet, piece by piece, each of ``STREAMED`` bytes at most.

        Raises what ``store.read_all`` raises, and ``BytesDiffer`` where S3 tells the CRC32 and the bytes don't have it:
        of a source of one piece before anything is yielded, of a longer one at its end.
        """
        source = self._source
        while self.done < source.size:
            piece = bytearray(min(STREAMED, source.size - self.done))
            (crc32,) = read_verified(self._store, [Read(source, self.done, memoryview(piece))])
            self.crc32 = crc32_combine(self.crc32, crc32, len(piece))
            self.done += len(piece)
            yield bytes(piece)
        if source.crc32 is not None and self.crc32 != source.crc32:
            raise BytesDiffer(mismatch(source, read=self.crc32, stored=source.crc32))


def fetch_verified(lookup: SourceLookup, location: Location, *, limit: int) -> SourceObject:
    """Look at an object and bring its content along where it has at most ``limit`` bytes.

    Raises what ``lookup.fetch_small`` raises, and ``BytesDiffer`` where the content never has S3's CRC32.
    """
    for again in range(READS):
        source = lookup.fetch_small(location, limit=limit)
        found = None if source.body is None else zlib_ng.crc32(source.body)
        if found is None or source.crc32 in (None, found):
            return source
        assert source.crc32 is not None
        _differs(source, read=found, stored=source.crc32, lasting=again + 1 == READS)
    raise AssertionError("unreachable")


def _differs(source: SourceObject, *, read: int, stored: int, lasting: bool) -> None:
    text = mismatch(source, read=read, stored=stored)
    if lasting:
        raise BytesDiffer(f"{text}, {READS} times")
    log.warning("read again: the bytes are not what S3 says", reason=text)
