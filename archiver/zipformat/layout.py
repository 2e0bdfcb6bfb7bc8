"""Where every byte of an archive is, and what it is, before any of the content has been read.

The order is: for each entry its local header and its data, then the central directory, then the end records.
Records have the same length whatever the CRC32s are, so that sizes and offsets are final from the start. Lengths
are measured on records that the real writer made, one of each shape, so that they can't drift from the output.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from archiver.zipformat import records
from archiver.zipformat.entry import Entry


@dataclass(frozen=True, slots=True)
class HeaderBytes:
    """Bytes [start, stop) of the local header of entry number ``entry``."""

    entry: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class DataBytes:
    """Bytes [start, stop) of the stored (where compressed: the compressed) data of entry number ``entry``."""

    entry: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class DirectoryBytes:
    """Bytes [start, stop) of the central directory with its end records, counted from its start."""

    start: int
    stop: int


Segment = HeaderBytes | DataBytes | DirectoryBytes


class Layout:
    """The fixed layout of the archive of ``entries``, in their order. Immutable; offsets and sizes in bytes.

    ``entries`` is kept, not copied: it may make them as they are asked for, and is not to change.
    ``zone`` is that of the times that know no zone.
    Names are taken as they are: ``archiver.zipformat.names`` makes them safe and unique.
    """

    __slots__ = (
        "_data_offsets", "_header_offsets", "_record_offsets",
        "directory_offset", "directory_size", "entries", "size", "zone",
    )  # fmt: skip

    def __init__(self, entries: Sequence[Entry], *, zone: tzinfo = UTC) -> None:
        self.entries: Final = entries
        self.zone: Final = zone
        self._header_offsets: Final = array("Q")
        self._data_offsets: Final = array("Q")
        # Where each central record starts, from the directory's start; the last item is where the end records do.
        self._record_offsets: Final = array("Q")
        lengths = _Lengths(zone)
        offset = record_offset = 0
        for entry in self.entries:
            header, record = lengths.of(entry, offset)
            self._header_offsets.append(offset)
            offset += header
            self._data_offsets.append(offset)
            offset += entry.stored_size
            self._record_offsets.append(record_offset)
            record_offset += record
        self._record_offsets.append(record_offset)
        #: Offset of the central directory.
        self.directory_offset: Final = offset
        #: Size of the central directory and the end records.
        self.directory_size: Final = record_offset + len(self._end_records())
        #: Size of the whole archive.
        self.size: Final = offset + self.directory_size

    def header_offset(self, index: int) -> int:
        """Where the entry's local header starts."""
        return self._header_offsets[index]

    def data_offset(self, index: int) -> int:
        """Where the entry's data start: the end of its local header."""
        return self._data_offsets[index]

    def data_end(self, index: int) -> int:
        """Where the entry's data end."""
        return self._header_offsets[index + 1] if index + 1 < len(self._header_offsets) else self.directory_offset

    def stored_size(self, index: int) -> int:
        """How many bytes the entry's data take."""
        return self.data_end(index) - self._data_offsets[index]

    def find(self, offset: int) -> int:
        """The number of the entry whose header or data hold ``offset``; ``len(entries)`` from the directory on."""
        if offset >= self.directory_offset:
            return len(self.entries)
        return bisect_right(self._header_offsets, offset) - 1

    def segments(self, start: int, stop: int) -> Iterator[Segment]:
        """What the archive's bytes [start, stop) consist of, in order and without empty segments.

        Raises ``ValueError`` where the range is not within the archive.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"bytes {start} to {stop} of an archive of {self.size}")
        return self._segments(start, stop)

    def _segments(self, start: int, stop: int) -> Iterator[Segment]:
        index = self.find(start)
        headers, count = self._header_offsets, len(self.entries)
        while start < stop and index < count:
            header, data = headers[index], self._data_offsets[index]
            # An entry's data end where the next header begins.
            end = headers[index + 1] if index + 1 < count else self.directory_offset
            if start < data:
                until = min(stop, data)
                yield HeaderBytes(index, start - header, until - header)
                start = until
            if start < min(stop, end):
                until = min(stop, end)
                yield DataBytes(index, start - data, until - data)
                start = until
            index += 1
        if start < stop:
            yield DirectoryBytes(start - self.directory_offset, stop - self.directory_offset)

    def records(self, start: int, stop: int) -> Iterator[tuple[int, HeaderBytes | DirectoryBytes]]:
        """What of the archive's bytes [start, stop) is no content, each with its offset in the archive."""
        for index in range(self.find(start), len(self.entries)):
            header, data = self._header_offsets[index], self._data_offsets[index]
            if header >= stop:
                return
            at, until = max(start, header), min(stop, data)
            if at < until:
                yield at, HeaderBytes(index, at - header, until - header)
        at = max(start, self.directory_offset)
        if at < stop:
            yield at, DirectoryBytes(at - self.directory_offset, stop - self.directory_offset)

    def local_header(self, index: int, *, crc32: int) -> bytes:
        """The local header of an entry whose content has this CRC32."""
        return _local_header(self.entries[index], crc32, self.zone)

    def directory(self, start: int, stop: int, *, crc32s: Sequence[int]) -> bytes:
        """Bytes [start, stop) of the central directory with its end records, counted from ``directory_offset``.

        ``crc32s`` holds every entry's CRC32. Only the records that the range touches are made.
        Raises ``ValueError`` where the range is not within the directory.
        """
        if not 0 <= start <= stop <= self.directory_size:
            raise ValueError(f"bytes {start} to {stop} of a directory of {self.directory_size}")
        index = first = bisect_right(self._record_offsets, start) - 1
        made = []
        while index < len(self.entries) and self._record_offsets[index] < stop:
            made.append(
                _central_record(self.entries[index], crc32s[index], offset=self.header_offset(index), zone=self.zone)
            )
            index += 1
        if stop > self._record_offsets[-1]:
            made.append(self._end_records())
        base = self._record_offsets[first]
        return b"".join(made)[start - base : stop - base]

    def _end_records(self) -> bytes:
        return records.end_records(count=len(self.entries), size=self._record_offsets[-1], offset=self.directory_offset)


class GrowingSize:
    """The size in bytes of an archive that entries are added to, one after the other."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._lengths = _Lengths(zone)
        self._count = 0
        self._offset = 0
        self._directory = 0

    def add(self, entry: Entry, *, spare: int = 0) -> None:
        """Add an entry, with ``spare`` bytes that it may take besides."""
        header, record = self._lengths.of(entry, self._offset)
        self._directory += record
        self._offset += header + entry.stored_size + spare
        self._count += 1

    def with_entry(self, entry: Entry, *, spare: int = 0) -> int:
        """The size once that entry is added."""
        header, record = self._lengths.of(entry, self._offset)
        directory = self._directory + record
        offset = self._offset + header + entry.stored_size + spare
        return offset + directory + len(records.end_records(count=self._count + 1, size=directory, offset=offset))


class _Lengths:
    """The lengths of entries' records: of each shape one is made, the rest are as long."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._measured: dict[records.Shape, tuple[int, int]] = {}

    def of(self, entry: Entry, offset: int) -> tuple[int, int]:
        """Of the local header and of the central record of an entry at ``offset``, in bytes, without the name."""
        name = entry.name
        length = len(name) if name.isascii() else len(name.encode())
        shape = records.shape(entry.size, entry.stored_size, offset, entry.modified)
        measured = self._measured.get(shape)
        if measured is None:
            measured = self._measured[shape] = (
                len(_local_header(entry, 0, self._zone)) - length,
                len(_central_record(entry, 0, offset=offset, zone=self._zone)) - length,
            )
        header, record = measured
        return header + length, record + length


def _local_header(entry: Entry, crc32: int, zone: tzinfo) -> bytes:
    return records.local_file_header(
        name=entry.name.encode(),
        method=entry.method,
        modified=entry.modified,
        crc32=crc32,
        compressed_size=entry.stored_size,
        size=entry.size,
        zone=zone,
    )


def _central_record(entry: Entry, crc32: int, *, offset: int, zone: tzinfo) -> bytes:
    return records.central_directory_header(
        name=entry.name.encode(),
        method=entry.method,
        modified=entry.modified,
        crc32=crc32,
        compressed_size=entry.stored_size,
        size=entry.size,
        offset=offset,
        zone=zone,
    )
