"""An archive on this machine's disk in place of a bucket: the engine's other port, for ``archiver build -o``.

Parts come from several threads, mostly in order. They are appended to one file; one that comes before its turn waits
in a file of its own. Nothing has the archive's name before it is complete.
"""

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from archiver.archive.storage import (
    ArchiveObject,
    Body,
    CopyRefused,
    SourceObject,
    StoredArchive,
    UploadedPart,
)
from archiver.archive.streamed_body import PartBody, StreamedBody
from archiver.archive.upload import LAST_NUMBER
from archiver.errors import ArchiveRefused, DestinationUnavailable


class FileArchive:
    """One archive as a file. What is beside it until then is in a folder of its own, which ``close`` removes."""

    bucket = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._file: BinaryIO | None = None
        self._placed: dict[int, tuple[int, int]] = {}  # where each part begins, and its size
        self._waiting: dict[int, int] = {}  # sizes of the parts that wait for their turn
        self._end = 0

    def find_archive(self, key: str) -> StoredArchive | None:
        """Nothing is gone on with."""
        return None

    def uploads_of(self, key: str) -> list[str]:
        """Nothing is gone on with."""
        return []

    def parts_of(self, key: str, upload_id: str, *, after: int = 0) -> dict[int, UploadedPart]:
        """Nothing is gone on with."""
        return {}

    def put(self, archive: ArchiveObject, body: Body, *, crc32: int) -> StoredArchive:
        """Write an archive of one part. Raises ``DestinationUnavailable``, as all that writes does."""
        upload_id = self.create(archive)
        part = self.put_part(archive.key, upload_id, 1, body, crc32=crc32)
        return self.complete(archive, upload_id, [part], crc32=crc32, size=len(body))

    def create(self, archive: ArchiveObject) -> str:
        """Begin anew."""
        self.close()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name[:100]}-", dir=self._path.parent))
            self._file = (self._folder / "archive").open("w+b")
        except OSError as error:
            raise self._failed(error) from error
        return self._folder.name

    def put_part(self, key: str, upload_id: str, number: int, body: PartBody, *, crc32: int) -> UploadedPart:
        """Write a part, which is whole; the marks of an upload are none."""
        assert not isinstance(body, StreamedBody), "Options.streams is off"
        part = UploadedPart(number, f"{crc32:08x}", len(body), crc32)
        if number > LAST_NUMBER:
            return part
        with self._lock:
            try:
                self._write(number, body)
            except OSError as error:
                raise self._failed(error) from error
        return part

    def copy_part(
        self, key: str, upload_id: str, number: int, source: SourceObject, start: int, stop: int
    ) -> UploadedPart:
        """S3 copies to no disk: the engine reads instead."""
        raise CopyRefused("the archive is a file")

    def complete(
        self,
        archive: ArchiveObject,
        upload_id: str,
        parts: list[UploadedPart],
        *,
        crc32: int,
        size: int,
    ) -> StoredArchive:
        """Give the file its name. Raises ``ArchiveRefused`` where it is not what was planned."""
        with self._lock:
            try:
                for part in parts:  # numbers may have gaps
                    self._append_waiting(part.number)
                placed = [(number, length) for number, (_, length) in self._placed.items()]
                if placed != [(part.number, part.size) for part in parts] or self._end != size:
                    raise ArchiveRefused(f"{self._path}: {self._end} bytes in {len(placed)} parts are not as planned")
                file, folder = self._opened()
                file.flush()
                os.fsync(file.fileno())
                (folder / "archive").replace(self._path)
            except OSError as error:
                raise self._failed(error) from error
        return StoredArchive(f"{crc32:08x}", size, None, crc32, {})

    def abort(self, key: str, upload_id: str) -> None:
        """Leave nothing."""
        self.close()

    def close(self) -> None:
        """Remove what is not the archive."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._file = self._folder = None
            self._placed, self._waiting, self._end = {}, {}, 0

    def _write(self, number: int, body: Body) -> None:
        file, folder = self._opened()
        if number in self._placed:  # built again
            start, length = self._placed[number]
            if length != len(body):
                raise ArchiveRefused(f"{self._path}: part {number} has {len(body)} bytes now, not {length}")
            file.seek(start)
            file.write(body)
        elif number == len(self._placed) + 1:
            self._append(number, body)
            while self._append_waiting(len(self._placed) + 1):
                pass
        else:
            (folder / str(number)).write_bytes(body)
            self._waiting[number] = len(body)

    def _append(self, number: int, body: Body) -> None:
        file, _ = self._opened()
        file.seek(self._end)
        file.write(body)
        self._placed[number] = (self._end, len(body))
        self._end += len(body)

    def _append_waiting(self, number: int) -> bool:
        if self._waiting.pop(number, None) is None:
            return False
        path = self._opened()[1] / str(number)
        self._append(number, path.read_bytes())
        path.unlink()
        return True

    def _opened(self) -> tuple[BinaryIO, Path]:
        assert self._file is not None
        assert self._folder is not None
        return self._file, self._folder

    def _failed(self, error: OSError) -> DestinationUnavailable:
        return DestinationUnavailable(f"{self._path}: {error.strerror or error}")
