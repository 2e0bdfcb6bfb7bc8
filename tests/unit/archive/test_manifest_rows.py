"""Manifests from their bytes to their rows: three formats, gzip, and bytes that are neither."""

import gzip
import io
import itertools
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from archiver.archive.location import Location
from archiver.archive.manifest_rows import MAX_LINE, Row, RowError, TooLong, rows

MIB = 1024 * 1024


def read(data: bytes, *, piece: int = 1 << 20, most_lines: int = 1000, most_bytes: int = 1 << 30) -> list[Row]:
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    return list(rows(pieces, most_lines=most_lines, most_bytes=most_bytes))


def files(data: bytes, **options: Any) -> list[tuple[int, object]]:
    return [(row.line, row.file) for row in read(data, **options)]


JSON_LINES = '{"source": "a ü.jpg"}\n\n  {"source": "b,\\n", "destination": "d/"}\r\n'.encode()
CSV = 'source,destination\r\na ü.jpg,\r\n"b,""\n",d/\n\n'.encode()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize(
    "wrap", [bytes, gzip.compress, lambda data: gzip.compress(data[:5], mtime=0) + gzip.compress(data[5:], mtime=0)]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (JSON_LINES, [(1, {"source": "a ü.jpg"}), (3, {"source": "b,\n", "destination": "d/"})]),
        (JSON_LINES.rstrip(), [(1, {"source": "a ü.jpg"}), (3, {"source": "b,\n", "destination": "d/"})]),
        (CSV, [(2, {"source": "a ü.jpg"}), (4, {"source": 'b,"\n', "destination": "d/"})]),
    ],
)
def test_each_format_in_pieces_of_any_size(data: bytes, expected: object, mark: bytes, wrap: Any, piece: int) -> None:
    assert files(wrap(mark + data), piece=piece) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"source\na\nb\n", [{"source": "a"}, {"source": "b"}]),
        (b"destination,source\nd,a\n", [{"source": "a", "destination": "d"}]),
        (b'"source","destination"\n"a","d"\n', [{"source": "a", "destination": "d"}]),
        (b"\n \nsource\na\x0cb\n", [{"source": "a\x0cb"}]),
    ],
)
def test_other_headers(data: bytes, expected: list[dict[str, str]]) -> None:
    assert [file for _, file in files(data)] == expected


def test_separators_of_unicode_end_no_line() -> None:
    assert [file for _, file in files("source\na\u2028b\u0085c\n".encode())] == [{"source": "a\u2028b\u0085c"}]


def test_the_manifest_of_batch_operations() -> None:
    data = b'bucket,a%20b+c%2Bd%C3%BC%2C.jpg\n"bucket","x",3HL4k\nother-bucket,folder%2F\nother-bucket,x,\n'

    assert [(row.line, row.location) for row in read(data)] == [
        (1, Location("bucket", "a b c+dü,.jpg")),
        (2, Location("bucket", "x", "3HL4k")),
        (4, Location("other-bucket", "x")),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"source,destination\n", gzip.compress(b"", mtime=0)])
def test_a_manifest_may_list_nothing(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize(
    ("data", "line", "complaint"),
    [
        (b'{"source": "a"}\n{"source": \n', 2, "is not JSON: Expecting value at line 1"),
        (b'{"source": "a"}\n["a"]\n', 2, "is JSON, but no object: list, got '[\"a\"]'"),
        (b'[{"source": "a"}]', 1, "is JSON, but no object"),
        (b'{"source": "a", "x": [[[[[1]]]]]}', 1, "is nested deeper"),
        (b'{"source": "\\ud800"}', 1, "holds a lone surrogate"),
        (b"source,destination\na\n", 2, "has 1 fields, and the header has 2, got ['a']"),
        (b"source\na,b\n", 2, "has 2 fields, and the header has 1"),
        (b'source\n"a"b\n', 2, "is no CSV: "),
        (b'source\nx\n"a\n', 3, "is no CSV: "),
        (b"source\nx\n" + b"y" * (MAX_LINE + 1), 3, f"is longer than {MAX_LINE} characters, got 'yyy"),
        (
            b'source\nx\n"a\n' + (b"b" * 999 + b"\n") * 200,
            135,
            "is in a row of more than 131072 characters: a quote is left",
        ),
        (b"source,source\na,b\n", 2, "names no valid bucket"),
        (b"a.jpg\nb.jpg\n", 1, "is no JSON object, not the header source,destination"),
        (b"Bucket Name,Key\n", 1, "is no JSON object"),
        (b"\x89PNG\r\n\x1a\n", 1, "is not UTF-8, got b'\\x89P"),
        (b"source\na\n\xff\n", 3, "is not UTF-8, got b'\\xff"),
        ("source\nü\n".encode()[:-2], 2, "is not UTF-8"),
        (b"source\na\0b\n", 2, "holds a NUL character, so that it is no text, got 'a\\x00b'"),
        (b"\0" * 1000, 1, "holds a NUL character"),
        (b"bucket,a\nbucket,a,v,x\n", 2, "has 4 fields, not bucket,key"),
        (b"bucket,a\n..,a\n", 2, "names no valid bucket, got '..'"),
        (b"bucket,a\nbucket,%ff\n", 2, "the key is no URL-encoded UTF-8, got '%ff'"),
        (b"bucket,a\nbucket,%00\n", 2, "holds a NUL character, got '%00'"),
        (b"bucket," + b"a" * 1025, 1, "the key is longer than S3's 1024 bytes"),
        (b"bucket,a\nbucket,\n", 2, "names no key"),
        (b"\x1f\x8bno gzip", 0, "is broken gzip: "),
        (gzip.compress(b"source\na\n", mtime=0)[:-9], 0, "ends in the middle of its gzip"),
        (gzip.compress(gzip.compress(b"source\na\n", mtime=0), mtime=0), 1, "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_complaint_names_line_and_value(data: bytes, line: int, complaint: str, piece: int) -> None:
    with pytest.raises(RowError) as refused:
        read(data, piece=piece)

    assert (refused.value.line, str(refused.value)[: len(complaint)]) == (line, complaint)


def test_rows_before_a_bad_one_come_first() -> None:
    found = rows(iter([b"source\na\nb,c\n"]), most_lines=10, most_bytes=1000)

    assert next(found).file == {"source": "a"}
    with pytest.raises(RowError):
        next(found)


def bomb(content: bytes, count: int) -> bytes:
    """``count`` times the content, gzipped."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as out:
        for _ in range(count):
            out.write(content)
    return packed.getvalue()


def endless(start: bytes, content: bytes) -> Iterator[bytes]:
    yield start
    yield from itertools.repeat(content)


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: endless(b"", b"x" * MIB),
        lambda: endless(b"source\n", b"x" * MIB),
        lambda: endless(b'{"source": "', b"x" * MIB),
        lambda: endless(b'source\n"', b"x\n" * (MIB // 2)),
        lambda: endless(b"source\n", b'"\n",' * (MIB // 4)),
        lambda: endless(b"source\n", b"\n" * MIB),
        lambda: endless(b"source\n", b"a\n" * (MIB // 2)),
        lambda: endless(b"\x1f\x8b", b"\0" * MIB),
        lambda: endless(b"\xef\xbb\xbf", b" " * MIB),
        lambda: iter([bomb(b"x" * MIB, 200)]),
        lambda: iter([bomb(b"source\n" + b"\n" * MIB, 200)]),
    ],
)
def test_nothing_endless_takes_memory_or_time(pieces: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((RowError, TooLong)):
            for _ in rows(pieces(), most_lines=100_000, most_bytes=1 << 30):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # A piece, its text, its lines as a list of strings.
    assert peak < 100 * MIB


def test_a_bomb_ends_at_the_bytes_that_it_may_have() -> None:
    # Lines that are all good, so that only their sum is too much
    lines = (json.dumps({"source": "x" * (MAX_LINE - 100)}) + "\n").encode()
    packed = zlib.compressobj(wbits=31)
    pieces = itertools.chain(packed.compress(lines) for _ in itertools.repeat(None))

    with pytest.raises(TooLong, match="10485760 bytes once it is opened"):
        for _ in rows(pieces, most_lines=100_000, most_bytes=10 * MIB):
            pass
