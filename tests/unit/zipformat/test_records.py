"""Each record, taken apart by hand along APPNOTE; ZIP64 with sizes and offsets that no test could write."""

import struct
from zoneinfo import ZoneInfo

import pytest

from archiver.zipformat import records

GIB = 1 << 30
MOMENT = 1_700_000_001  # 2023-11-14 22:13:21 UTC


def local(**changes: object) -> bytes:
    fields = {"name": b"a.txt", "method": 0, "modified": MOMENT, "crc32": 0xCAFEBABE, "compressed_size": 7, "size": 7}
    return records.local_file_header(**(fields | changes))  # type: ignore[arg-type]  # the names are checked at run time


def central(**changes: object) -> bytes:
    fields = {"name": b"a.txt", "method": 0, "modified": MOMENT, "crc32": 0xCAFEBABE, "compressed_size": 7, "size": 7}
    return records.central_directory_header(**(fields | {"offset": 1000} | changes))  # type: ignore[arg-type]  # as above


def extras(field: bytes) -> dict[int, bytes]:
    """The extra fields by their id, in their order."""
    found = {}
    while field:
        identifier, length = struct.unpack_from("<HH", field)
        found[identifier] = field[4 : 4 + length]
        field = field[4 + length :]
    return found


def test_a_local_header_field_by_field() -> None:
    header = local()

    fields = struct.unpack_from("<4sHHHHHIIIHH", header)
    dos_time, dos_date = 22 << 11 | 13 << 5 | 10, 43 << 9 | 11 << 5 | 14
    assert fields == (b"PK\3\4", 20, 0x0800, 0, dos_time, dos_date, 0xCAFEBABE, 7, 7, 5, 9)
    assert header[30:35] == b"a.txt"
    assert extras(header[35:]) == {0x5455: struct.pack("<Bi", 1, MOMENT)}


def test_a_central_header_field_by_field() -> None:
    header = central()

    fields = struct.unpack_from("<4sHHHHHHIIIHHHHHII", header)
    dos_time, dos_date = 22 << 11 | 13 << 5 | 10, 43 << 9 | 11 << 5 | 14
    assert fields[:13] == (b"PK\1\2", 0x033F, 20, 0x0800, 0, dos_time, dos_date, 0xCAFEBABE, 7, 7, 5, 9, 0)
    assert fields[13:] == (0, 0, 0o100644 << 16, 1000)
    assert header[46:51] == b"a.txt"
    assert extras(header[51:]) == {0x5455: struct.pack("<Bi", 1, MOMENT)}


def test_a_directory_says_so_in_both_ways() -> None:
    assert struct.unpack_from("<I", central(name=b"d/", size=0, compressed_size=0), 38) == (0o040755 << 16 | 0x10,)


@pytest.mark.parametrize(
    ("size", "compressed_size"),
    [(0xFFFF_FFFF, 0xFFFF_FFFF), (5 * GIB, 5 * GIB), (5 * GIB, 100), (100, 5 * GIB)],
)
def test_a_huge_entry_has_both_sizes_in_the_local_zip64_extra(size: int, compressed_size: int) -> None:
    header = local(size=size, compressed_size=compressed_size)

    assert struct.unpack_from("<H", header, 4) == (45,)
    assert struct.unpack_from("<II", header, 18) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    found = extras(header[35:])
    assert list(found) == [0x0001, 0x5455]
    assert struct.unpack("<QQ", found[1]) == (size, compressed_size)


def test_the_greatest_size_that_needs_no_zip64() -> None:
    header = local(size=0xFFFF_FFFE, compressed_size=0xFFFF_FFFE)

    assert struct.unpack_from("<H", header, 4) == (20,)
    assert list(extras(header[35:])) == [0x5455]


@pytest.mark.parametrize("huge", [(), ("size",), ("compressed_size",), ("offset",), ("size", "offset"),
                                  ("size", "compressed_size"), ("size", "compressed_size", "offset")])  # fmt: skip
def test_the_central_zip64_extra_holds_what_needs_it_and_nothing_else(huge: tuple[str, ...]) -> None:
    values = {"size": 11, "compressed_size": 12, "offset": 13} | {
        name: 0xFFFF_FFFF + number for number, name in enumerate(huge)
    }

    header = central(**values)

    narrow = {name: min(value, 0xFFFF_FFFF) for name, value in values.items()}
    assert struct.unpack_from("<H", header, 6) == (45 if huge else 20,)
    assert struct.unpack_from("<II", header, 20) == (narrow["compressed_size"], narrow["size"])
    assert struct.unpack_from("<I", header, 42) == (narrow["offset"],)
    found = extras(header[51:])
    assert list(found) == [0x0001, 0x5455] if huge else [0x5455]
    if huge:
        assert struct.unpack(f"<{len(huge)}Q", found[1]) == tuple(values[name] for name in huge)


def test_the_end_of_a_small_archive() -> None:
    end = records.end_records(count=0xFFFE, size=0xFFFF_FFFE, offset=0xFFFF_FFFE)

    assert end == struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFE, 0xFFFE, 0xFFFF_FFFE, 0xFFFF_FFFE, 0)


@pytest.mark.parametrize(
    ("count", "size", "offset"),
    [(0xFFFF, 100, 200), (70_000, 7_000_000, 200), (1, 0xFFFF_FFFF, 200), (1, 100, 0xFFFF_FFFF), (1, 100, 5 << 40)],
)
def test_the_end_of_an_archive_that_needs_zip64(count: int, size: int, offset: int) -> None:
    end = records.end_records(count=count, size=size, offset=offset)

    assert struct.unpack_from("<4sQHHIIQQQQ", end) == (
        b"PK\6\6", 44, 0x033F, 45, 0, 0, count, count, size, offset,
    )  # fmt: skip
    assert struct.unpack_from("<4sIQI", end, 56) == (b"PK\6\7", 0, offset + size, 1)
    narrow_count = min(count, 0xFFFF)
    assert struct.unpack_from("<4sHHHHIIH", end, 76) == (
        b"PK\5\6", 0, 0, narrow_count, narrow_count, min(size, 0xFFFF_FFFF), min(offset, 0xFFFF_FFFF), 0,
    )  # fmt: skip
    assert len(end) == 56 + 20 + 22


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        (315_532_800, (1980, 1, 1, 0, 0, 0)),
        (0, (1980, 1, 1, 0, 0, 0)),
        (-(10**15), (1980, 1, 1, 0, 0, 0)),
        (1_709_210_096, (2024, 2, 29, 12, 34, 56)),
        (4_354_819_198, (2107, 12, 31, 23, 59, 58)),
        (10**15, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_dos_times_are_utc_and_clamped(modified: int, expected: tuple[int, ...]) -> None:
    assert said(records.dos_datetime(modified)) == expected


def said(fields: tuple[int, int]) -> tuple[int, ...]:
    clock, date = fields
    return ((date >> 9) + 1980, date >> 5 & 15, date & 31, clock >> 11, clock >> 5 & 63, (clock & 31) * 2)


@pytest.mark.parametrize(
    ("modified", "zone", "expected"),
    [
        (1_709_210_096, "Europe/Berlin", (2024, 2, 29, 13, 34, 56)),
        (1_720_000_000, "Europe/Berlin", (2024, 7, 3, 11, 46, 40)),
        (1_709_251_198, "Asia/Tokyo", (2024, 3, 1, 8, 59, 58)),
        (315_532_800, "America/New_York", (1980, 1, 1, 0, 0, 0)),
        (315_532_800, "Asia/Tokyo", (1980, 1, 1, 9, 0, 0)),
        (4_354_819_198, "Pacific/Kiritimati", (2107, 12, 31, 23, 59, 58)),
        (4_354_819_198 + 3600, "America/New_York", (2107, 12, 31, 19, 59, 58)),
    ],
)
def test_dos_times_are_local_in_a_zone_that_is_named(modified: int, zone: str, expected: tuple[int, ...]) -> None:
    assert said(records.dos_datetime(modified, ZoneInfo(zone))) == expected


def test_the_extended_timestamp_is_utc_in_every_zone() -> None:
    moment = 1_709_210_096

    for header, start in ((local(modified=moment, zone=ZoneInfo("Asia/Tokyo")), 35), (central(modified=moment), 51)):
        assert extras(header[start:])[0x5455] == struct.pack("<Bi", 1, moment)


@pytest.mark.parametrize(
    ("modified", "kept"), [(-(1 << 31), True), ((1 << 31) - 1, True), (1 << 31, False), (-(1 << 31) - 1, False)]
)
def test_an_extended_timestamp_that_does_not_fit_is_left_out(modified: int, kept: bool) -> None:
    assert (0x5455 in extras(local(modified=modified)[35:])) is kept
    assert (0x5455 in extras(central(modified=modified)[51:])) is kept
