"""Real files of several kinds to archive, made without any library: pictures, a PDF, a text, a large binary."""

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The picture that the compose file puts into its bucket.
SOURCE_JPG = Path(__file__).resolve().parent / "data" / "source.jpg"

#: Over 24 MiB: its archive is a multipart upload of several parts, and most of it is copied inside S3.
LARGE_BYTES = 25 * 1024 * 1024 + 4_321


@dataclass(frozen=True, slots=True)
class Sample:
    """A file: the key it goes under and what it is."""

    key: str
    content_type: str
    body: bytes


def samples() -> Iterator[Sample]:
    """One file of each kind; the same bytes on every call."""
    for number, colour in enumerate(((216, 87, 42), (38, 110, 160), (70, 140, 80)), start=1):
        yield Sample(f"example-directory/uuid{number}.png", "image/png", png(320, 200, colour))
    yield Sample("source.jpg", "image/jpeg", SOURCE_JPG.read_bytes())
    yield Sample("documents/invoice.pdf", "application/pdf", pdf(["Invoice 2026-117", "Three pictures, delivered."]))
    yield Sample(
        "documents/Grüße aus 東京.txt",
        "text/plain; charset=utf-8",
        "Schöne Grüße aus 東京 — مرحبا بالعالم 🗼\n".encode(),
    )
    yield Sample("recordings/session.bin", "application/octet-stream", random.Random(7).randbytes(LARGE_BYTES))  # noqa: S311 - noise, not a secret


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A picture that fades from ``colour`` to black: 8-bit RGB. Source: PNG specification, 5 and 11.2."""
    row = b"".join(bytes(part * (width - x) // width for part in colour) for x in range(width))
    pixels = (b"\0" + row) * height  # each row begins with its filter's type: none
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def pdf(lines: list[str]) -> bytes:
    """One A4 page with ``lines`` (Latin-1, no parentheses). Source: ISO 32000-1, 7.5, file structure."""
    text = " T* ".join(f"({line}) Tj" for line in lines)
    content = f"BT /F1 24 Tf 30 TL 72 720 Td {text} ET".encode("latin-1")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    document = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        document += b"%010d 00000 n \n" % offset
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(document)
