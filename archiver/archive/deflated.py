"""What may be deflated, and what was. Few jobs ask for it; the deflating itself is ``archiver.archive.deflate``."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from archiver.archive.carry import Carry
from archiver.archive.storage import UploadedPart
from archiver.zipformat.entry import Entry

#: Objects of fewer bytes stay as they are.
LEAST = 128
#: Up to here an object's local header has no ZIP64 extra, however badly the rest of it deflates.
_ZIP64_ZONE = range(2**32 - 2**24, 2**32)

_COMPRESSED_EXTENSIONS = """
7z aac apk avi avif br bz2 docx ear epub flac flv gif gz heic heif jar jpeg jpg jxl lz lz4 lzma m4a m4v mkv mov mp3 mp4
mpeg mpg odp ods odt oga ogg ogv opus orc parquet png pptx rar tbz2 tgz txz war webm webp whl wma wmv woff woff2 xlsx xz
zip zst
"""
#: What is compressed already; trying would read for nothing.
_COMPRESSED = frozenset(_COMPRESSED_EXTENSIONS.split())


@dataclass(frozen=True, slots=True)
class Deflated:
    """What was deflated: the entries, which sources they are, the parts that S3 has, and the rest in memory."""

    entries: list[Entry] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    parts: list[UploadedPart] = field(default_factory=list)
    carry: Carry = field(default_factory=lambda: Carry(0))

    @property
    def next_number(self) -> int:
        return len(self.parts) + 1


def may_shrink(name: str, size: int) -> bool:
    """Whether a try is worth it, by the name's extension and the size in bytes. A directory's object has no content."""
    if name.endswith("/") or size < LEAST or size in _ZIP64_ZONE:
        return False
    return PurePosixPath(name).suffix[1:].lower() not in _COMPRESSED
