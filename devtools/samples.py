"""Real files of several kinds to archive: pictures, a PDF, a text, a large binary."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DATA = Path(__file__).resolve().parent / "data"
#: The picture that the compose file puts into its bucket.
SOURCE_JPG = _DATA / "source.jpg"

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
    for name in ("uuid1.png", "uuid2.png", "uuid3.png"):
        yield Sample(f"example-directory/{name}", "image/png", (_DATA / name).read_bytes())
    yield Sample("source.jpg", "image/jpeg", SOURCE_JPG.read_bytes())
    yield Sample("documents/invoice.pdf", "application/pdf", (_DATA / "invoice.pdf").read_bytes())
    text = "Schöne Grüße aus 東京 — مرحبا بالعالم 🗼\n"
    yield Sample("documents/Grüße aus 東京.txt", "text/plain; charset=utf-8", text.encode())
    noise = random.Random(7).randbytes(LARGE_BYTES)  # noqa: S311  # noise, not a secret
    yield Sample("recordings/session.bin", "application/octet-stream", noise)
