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


def check_archive(s3: Any, *, bucket: str, key: str, expected: Expected) -> int:
    """Read every byte of an archive; returns its size.

    Names, sizes and CRC32s must be those of the sources, the CRC32s those of the bytes that are there, and every
    entry stored. Raises ``WrongArchiveError``.
    """
    with tempfile.TemporaryFile() as file:
        s3.download_fileobj(bucket, key, file)
        size = file.seek(0, io.SEEK_END)  # its parts were written in no certain order
        try:
            with zipfile.ZipFile(file) as archive:
                broken = archive.testzip()
                found = {info.filename: (info.CRC, info.file_size) for info in archive.infolist()}
                entries = len(archive.infolist())
                packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        except zipfile.BadZipFile as error:
            raise WrongArchiveError(f"{key}: {error}") from error
    if broken is not None:
        raise WrongArchiveError(f"{key}: {broken} is damaged")
    if packed:
        raise WrongArchiveError(f"{key}: {packed[0]} is not stored")
    if entries != len(expected) or found != dict(expected):
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise WrongArchiveError(f"{key}: {entries} entries for {len(expected)} sources; wrong: {', '.join(wrong[:5])}")
    return size
