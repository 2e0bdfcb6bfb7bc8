"""Downloads an archive and compares all of it with its sources."""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

#: What an archive must hold: the CRC32 and size of each path.
Expected = Mapping[str, tuple[int, int]]


class WrongArchiveError(Exception):
    """The archive is not made of its sources."""


def check_archive(archive: Any, *, expected: Expected) -> int:
    """Read every byte of an archive, an ``s3.Object``; returns its size.

    Names, sizes and CRC32s must be those of the sources, the CRC32s those of the bytes that are there, and every
    entry stored. Raises ``WrongArchiveError``.
    """
    with tempfile.TemporaryFile() as file:
        archive.download_fileobj(file)
        size = file.seek(0, io.SEEK_END)  # its parts were written in no certain order
        try:
            with zipfile.ZipFile(file) as opened:
                broken = opened.testzip()
                entries = opened.infolist()
        except zipfile.BadZipFile as error:
            raise WrongArchiveError(f"{archive.key}: {error}") from error
    found = {info.filename: (info.CRC, info.file_size) for info in entries}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if broken is not None:
        raise WrongArchiveError(f"{archive.key}: {broken} is damaged")
    if any(info.compress_type != zipfile.ZIP_STORED for info in entries):
        raise WrongArchiveError(f"{archive.key}: not every entry is stored")
    if wrong or len(entries) != len(expected):
        names = ", ".join(wrong[:5])
        raise WrongArchiveError(f"{archive.key}: {len(entries)} entries for {len(expected)} sources; wrong: {names}")
    return size
