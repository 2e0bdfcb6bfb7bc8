"""The records of a ZIP archive: one function per record, values in, bytes out.

Rules that hold for all of them, chosen so that every common reader takes the archive, streaming ones included:

- the local header carries the real CRC and sizes (general purpose bit 3 is off, there are no data descriptors);
- names are UTF-8 and say so (bit 11);
- ZIP64 appears where a value does not fit, and only there: some readers refuse a needless one;
- the ZIP64 extra comes before the extended timestamp;
- the extended timestamp is UTC, as it has to be; MS-DOS's fields, which know no zone, are local time in the zone that
  the caller names: readers that know only them show them as they are.

Sections cited are those of PKWARE's APPNOTE.TXT 6.3.10. All integers are little-endian (4.1.9's order of fields).
"""

import struct
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

#: A 32-bit or 16-bit field that holds this says: look in the ZIP64 extra or record (4.4.1.4).
_IN_ZIP64_32 = 0xFFFF_FFFF
_IN_ZIP64_16 = 0xFFFF

#: 4.4.3.2: 2.0 for deflate and directories, 4.5 for ZIP64. Stored files could do with 1.0; every reader takes 2.0.
_VERSION = 20
_VERSION_ZIP64 = 45
#: 4.4.2: made on Unix (3), after version 6.3 of the specification: external attributes hold Unix's mode.
_MADE_BY = (3 << 8) | 63
#: 4.4.4: bit 11, the name is UTF-8.
_FLAGS = 1 << 11

#: 4.4.15: Unix's mode in the upper half, MS-DOS's directory bit in the lower.
_FILE_ATTRIBUTES = 0o100644 << 16
_DIRECTORY_ATTRIBUTES = 0o040755 << 16 | 0x10

#: What MS-DOS's format can say: 1980-01-01 00:00:00 to 2107-12-31 23:59:58.
_DOS_FIRST = datetime(1980, 1, 1)
_DOS_LAST = datetime(2107, 12, 31, 23, 59, 58)
#: The same in seconds since 1970, with a day more at either end, which no zone is away from UTC.
_SECONDS = (315_532_800 - 86_400, 4_354_819_198 + 86_400)

#: What signed 32 bits hold.
_FIRST_TIMESTAMP, _LAST_TIMESTAMP = -0x8000_0000, 0x7FFF_FFFF

#: Which of the parts that not all have an entry's records have.
Shape = tuple[bool, bool, bool, bool]

_LOCAL_HEADER = struct.Struct(
    "<"
    "I"  # local file header signature, 4 bytes
    "H"  # version needed to extract, 2
    "H"  # general purpose bit flag, 2
    "H"  # compression method, 2
    "H"  # last modified time, 2
    "H"  # last modified date, 2
    "I"  # CRC32, 4
    "I"  # compressed size, 4
    "I"  # uncompressed size, 4
    "H"  # length of the name, 2
    "H"  # length of the extra field, 2
)

_CENTRAL_HEADER = struct.Struct(
    "<"
    "I"  # central file header signature, 4 bytes
    "H"  # version made by, 2
    "H"  # version needed to extract, 2
    "H"  # general purpose bit flag, 2
    "H"  # compression method, 2
    "H"  # last modified time, 2
    "H"  # last modified date, 2
    "I"  # CRC32, 4
    "I"  # compressed size, 4
    "I"  # uncompressed size, 4
    "H"  # length of the name, 2
    "H"  # length of the extra field, 2
    "H"  # length of the comment, 2
    "H"  # number of the disk where the file starts, 2
    "H"  # internal file attributes, 2
    "I"  # external file attributes, 4
    "I"  # offset of the local header, 4
)

_ZIP64_END = struct.Struct(
    "<"
    "I"  # ZIP64 end of central directory signature, 4 bytes
    "Q"  # size of the rest of this record, 8
    "H"  # version made by, 2
    "H"  # version needed to extract, 2
    "I"  # number of this disk, 4
    "I"  # number of the disk where the central directory starts, 4
    "Q"  # entries on this disk, 8
    "Q"  # entries in all, 8
    "Q"  # size of the central directory, 8
    "Q"  # offset of the central directory, 8
)

_ZIP64_LOCATOR = struct.Struct(
    "<"
    "I"  # ZIP64 end of central directory locator signature, 4 bytes
    "I"  # number of the disk with the ZIP64 end record, 4
    "Q"  # offset of the ZIP64 end record, 8
    "I"  # number of disks, 4
)

_END = struct.Struct(
    "<"
    "I"  # end of central directory signature, 4 bytes
    "H"  # number of this disk, 2
    "H"  # number of the disk where the central directory starts, 2
    "H"  # entries on this disk, 2
    "H"  # entries in all, 2
    "I"  # size of the central directory, 4
    "I"  # offset of the central directory, 4
    "H"  # length of the comment, 2
)


def shape(size: int, compressed_size: int, offset: int, modified: int) -> Shape:
    """What an entry's records have, but for the name: two entries of one shape have records of one length.

    It tells which of the values need ZIP64, and whether the time fits its extra.
    """
    return (
        size >= _IN_ZIP64_32,
        compressed_size >= _IN_ZIP64_32,
        offset >= _IN_ZIP64_32,
        _FIRST_TIMESTAMP <= modified <= _LAST_TIMESTAMP,
    )


def local_file_header(
    *, name: bytes, method: int, modified: int, crc32: int, compressed_size: int, size: int, zone: tzinfo = UTC
) -> bytes:
    """The record before an entry's data (4.3.7).

    It is ZIP64 where one of the entry's own sizes needs it; then both sizes are in the extra (4.5.3).
    """
    zip64 = size >= _IN_ZIP64_32 or compressed_size >= _IN_ZIP64_32
    extra = _extended_timestamp(modified)
    if zip64:
        extra = struct.pack("<HHQQ", 0x0001, 16, size, compressed_size) + extra
    dos_time, dos_date = dos_datetime(modified, zone)
    header = _LOCAL_HEADER.pack(
        0x04034B50,
        _VERSION_ZIP64 if zip64 else _VERSION,
        _FLAGS,
        method,
        dos_time,
        dos_date,
        crc32,
        _IN_ZIP64_32 if zip64 else compressed_size,
        _IN_ZIP64_32 if zip64 else size,
        len(name),
        len(extra),
    )
    return header + name + extra


def central_directory_header(
    *,
    name: bytes,
    method: int,
    modified: int,
    crc32: int,
    compressed_size: int,
    size: int,
    offset: int,
    zone: tzinfo = UTC,
) -> bytes:
    """An entry's record in the central directory (4.3.12); ``offset`` is that of its local header.

    The ZIP64 extra holds the fields that need it and no other, in the order that 4.5.3 fixes.
    """
    wide = [value for value in (size, compressed_size, offset) if value >= _IN_ZIP64_32]
    extra = _extended_timestamp(modified)
    if wide:
        extra = struct.pack(f"<HH{len(wide)}Q", 0x0001, 8 * len(wide), *wide) + extra
    dos_time, dos_date = dos_datetime(modified, zone)
    header = _CENTRAL_HEADER.pack(
        0x02014B50,
        _MADE_BY,
        _VERSION_ZIP64 if wide else _VERSION,
        _FLAGS,
        method,
        dos_time,
        dos_date,
        crc32,
        min(compressed_size, _IN_ZIP64_32),
        min(size, _IN_ZIP64_32),
        len(name),
        len(extra),
        0,
        0,
        0,
        _DIRECTORY_ATTRIBUTES if name.endswith(b"/") else _FILE_ATTRIBUTES,
        min(offset, _IN_ZIP64_32),
    )
    return header + name + extra


def zip64_end_of_central_directory(*, count: int, size: int, offset: int) -> bytes:
    """The ZIP64 end record (4.3.14), version 1, for the central directory at ``offset``."""
    return _ZIP64_END.pack(
        0x06064B50,
        _ZIP64_END.size - 12,
        _MADE_BY,
        _VERSION_ZIP64,
        0,
        0,
        count,
        count,
        size,
        offset,
    )


def zip64_end_of_central_directory_locator(*, offset: int) -> bytes:
    """The record that tells where the ZIP64 end record is (4.3.15)."""
    return _ZIP64_LOCATOR.pack(
        0x07064B50,
        0,
        offset,
        1,
    )


def end_of_central_directory(*, count: int, size: int, offset: int) -> bytes:
    """The last record of an archive (4.3.16), without a comment; what does not fit refers to the ZIP64 record."""
    return _END.pack(
        0x06054B50,
        0,
        0,
        min(count, _IN_ZIP64_16),
        min(count, _IN_ZIP64_16),
        min(size, _IN_ZIP64_32),
        min(offset, _IN_ZIP64_32),
        0,
    )


def end_records(*, count: int, size: int, offset: int) -> bytes:
    """All that follows the central directory of ``count`` entries and ``size`` bytes at ``offset`` (4.3.6)."""
    records = end_of_central_directory(count=count, size=size, offset=offset)
    if count >= _IN_ZIP64_16 or size >= _IN_ZIP64_32 or offset >= _IN_ZIP64_32:
        records = (
            zip64_end_of_central_directory(count=count, size=size, offset=offset)
            + zip64_end_of_central_directory_locator(offset=offset + size)
            + records
        )
    return records


# Each entry's time is asked for twice, and times repeat.
@lru_cache(maxsize=256)
def dos_datetime(modified: int, zone: tzinfo = UTC) -> tuple[int, int]:
    """MS-DOS's time and date fields (4.4.6), local time in ``zone``, to two seconds; clamped to 1980 to 2107."""
    first, last = _SECONDS
    local = datetime.fromtimestamp(min(max(modified, first), last), zone).replace(tzinfo=None)
    at = min(max(local, _DOS_FIRST), _DOS_LAST)
    return (
        at.hour << 11 | at.minute << 5 | at.second // 2,
        (at.year - 1980) << 9 | at.month << 5 | at.day,
    )


@lru_cache(maxsize=256)
def _extended_timestamp(modified: int) -> bytes:
    """Info-ZIP's extra 0x5455 (4.6.1): the time in UTC to the second, where signed 32 bits hold it."""
    if not _FIRST_TIMESTAMP <= modified <= _LAST_TIMESTAMP:
        return b""
    return struct.pack("<HHBi", 0x5455, 5, 1, modified)
