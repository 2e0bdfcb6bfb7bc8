"""The lines of a manifest, from its bytes to what each asks for. Pure: bytes come in pieces, rows go out one by one.

Three formats, told apart by their first line, each of them gzipped or not, in UTF-8 with or without a byte order mark:

- JSON Lines: an element of ``files`` a line;
- CSV (RFC 4180) with the header ``source,destination``, in any order, or ``source`` alone;
- the CSV of S3 Batch Operations: ``bucket,key`` or ``bucket,key,version`` without a header, keys URL-encoded.
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html

Whatever the bytes are, memory is bounded by a piece and a line: gzip is opened piece by piece, and there are limits to
a line, to a CSV row over several lines, and to the lines and the bytes of a manifest.
"""

import codecs
import csv
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote_plus

from archiver.archive.document import DocumentError, read
from archiver.archive.location import BUCKET, Location, check_key
from archiver.errors import shown

#: Longest line, in characters: a source and a destination, percent-encoded thrice over.
MAX_LINE = 64 * 1024
#: Longest row of CSV over all its lines, in characters.
MAX_ROW = 2 * MAX_LINE
#: Bytes of gzip that are opened at once.
_OPENED = 1024 * 1024
#: Bytes that become lines at once.
_AT_ONCE = 256 * 1024
_GZIP = b"\x1f\x8b"
#: Deepest nesting of a line of JSON; an element of ``files`` has two levels.
_DEPTH = 4

_HEADERS = ({"source"}, {"source", "destination"})


class RowError(ValueError):
    """A line is not what its format wants; the message is a predicate. ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Row:
    """What one line asks for: an element of ``files`` as JSON has it, or an object."""

    line: int
    file: dict[str, object] | None = None
    location: Location | None = None


class TooLong(Exception):
    """The manifest has more lines, or once it is opened more bytes, than it may have; the message says of what."""


def rows(pieces: Iterable[bytes], *, most_lines: int, most_bytes: int) -> Iterator[Row]:
    """The rows of a manifest that comes in ``pieces``; blank lines are skipped.

    Raises ``RowError``, and ``TooLong`` beyond ``most_lines`` or, opened, ``most_bytes``.
    """
    lines = _Lines(_bounded(_opened(piece for piece in pieces if piece), most_bytes), most_lines)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return
    if first.lstrip()[0] in "{[":
        yield from _json_rows(first, lines)
    else:
        yield from _csv_rows(first, lines)


def _opened(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The content of gzip, member by member (RFC 1952); of anything else the bytes themselves."""
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= len(_GZIP):
            break
    if not start.startswith(_GZIP):
        yield start
        yield from pieces
        return
    member = zlib.decompressobj(wbits=31)
    waiting = start
    while True:
        try:
            if opened := member.decompress(waiting, _OPENED):
                yield opened
        except zlib.error as error:
            raise RowError(0, f"is broken gzip: {error}") from None
        if member.eof:
            waiting = member.unused_data.lstrip(b"\0") or next(pieces, b"").lstrip(b"\0")
            if not waiting:
                return
            member = zlib.decompressobj(wbits=31)
        else:
            waiting = member.unconsumed_tail or next(pieces, b"")
            if not waiting and not opened:
                raise RowError(0, "ends in the middle of its gzip")


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    left = most
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise TooLong(f"{most} bytes once it is opened")
        yield piece


class _Lines:
    """The lines of text, once, without what ends them; ``number`` is that of the last one."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces = pieces
        self._most = most
        self._lines = self._split()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _split(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        rest = ""
        for piece in self._pieces:
            # Lines of a part of it at a time: as objects they take more than it does.
            for start in range(0, len(piece), _AT_ONCE):
                *lines, rest = (rest + self._decoded(decoder, piece[start : start + _AT_ONCE])).split("\n")
                for line in lines:
                    yield self._next(line)
                if len(rest) > MAX_LINE:
                    self._next(rest)
        rest += self._decoded(decoder, b"", final=True)
        if rest:
            yield self._next(rest)

    def _next(self, line: str) -> str:
        self.number += 1
        if self.number > self._most:
            raise TooLong(f"{self._most} lines")
        if len(line) > MAX_LINE:
            raise RowError(self.number, f"is longer than {MAX_LINE} characters, got {shown(line)}")
        if "\0" in line:
            raise RowError(self.number, f"holds a NUL character, so that it is no text, got {shown(line)}")
        return line[:-1] if line.endswith("\r") else line

    def _decoded(self, decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> str:
        try:
            return decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            line = self.number + 1 + error.object[: error.start].count(b"\n")
            bad = error.object[error.start : error.start + 8]
            raise RowError(line, f"is not UTF-8, got {shown(bad)}") from None


def _json_rows(first: str, lines: _Lines) -> Iterator[Row]:
    for line in chain([first], lines):
        if not line.strip():
            continue
        try:
            yield Row(lines.number, file=read(line, depth=_DEPTH).value)
        except DocumentError as error:
            raise RowError(lines.number, f"{error}, got {shown(line)}") from None


def _csv_rows(first: str, lines: _Lines) -> Iterator[Row]:
    table = _table(first, lines)
    header = next(table)
    if set(header) in _HEADERS and len(set(header)) == len(header):
        for cells in table:
            if len(cells) != len(header):
                raise RowError(
                    lines.number, f"has {len(cells)} fields, and the header has {len(header)}, got {shown(cells)}"
                )
            # An empty destination is none: CSV has no other way to say so.
            named = dict(zip(header, cells, strict=True))
            yield Row(lines.number, file={name: cell for name, cell in named.items() if cell or name == "source"})
        return
    if len(header) not in (2, 3) or not BUCKET.fullmatch(header[0]):
        raise RowError(
            lines.number,
            "is no JSON object, not the header source,destination, and no bucket,key of S3 Batch Operations, "
            f"got {shown(first)}",
        )
    for cells in chain([header], table):
        if (row := _object_row(cells, lines.number)) is not None:
            yield row


def _object_row(cells: list[str], line: int) -> Row | None:
    """The object of a row ``bucket,key[,version]``; None for the marker of a folder, which is no file."""
    if len(cells) not in (2, 3):
        raise RowError(line, f"has {len(cells)} fields, not bucket,key or bucket,key,version, got {shown(cells)}")
    if not BUCKET.fullmatch(cells[0]):
        raise RowError(line, f"names no valid bucket, got {shown(cells[0])}")
    try:
        # As forms have it: a plus is a space, and %2B a plus.
        key = unquote_plus(cells[1], errors="strict") if "%" in cells[1] or "+" in cells[1] else cells[1]
        location = check_key(Location(cells[0], key, (cells[2] if len(cells) > 2 else "") or None))
    except UnicodeDecodeError:
        raise RowError(line, f"the key is no URL-encoded UTF-8, got {shown(cells[1])}") from None
    except ValueError as error:
        raise RowError(line, f"{error}, got {shown(cells[1])}") from None
    if not key:
        raise RowError(line, f"names no key, got {shown(cells)}")
    return None if location.is_prefix else Row(line, location=location)


def _table(first: str, lines: _Lines) -> Iterator[list[str]]:
    """The rows of CSV that have a cell; a quoted cell may go over several lines."""
    length = 0
    start = ""  # of the row

    def measured() -> Iterator[str]:
        nonlocal length, start
        for line in chain([first], lines):
            if not length:
                start = line
            length += len(line) + 1
            if length > MAX_ROW:
                raise RowError(
                    lines.number,
                    f"is in a row of more than {MAX_ROW} characters: a quote is left open, got {shown(start)}",
                )
            yield f"{line}\n"

    reader = csv.reader(measured(), strict=True)
    try:
        for cells in reader:
            length = 0
            if cells:
                yield cells
    except csv.Error as error:
        raise RowError(lines.number, f"is no CSV: {error}, got {shown(start)}") from None
