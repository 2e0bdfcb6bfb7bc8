"""An archive on disk: whole under its name or not there at all, in whatever order its parts come."""

import random
import zlib
from pathlib import Path
from typing import Any

import pytest

from archiver.archive.storage import ArchiveObject, CopyRefused, UploadedPart
from archiver.archive.upload import MARKER_NUMBER
from archiver.cli.disk import FileArchive
from archiver.errors import ArchiveRefused, DestinationUnavailable

ARCHIVE = ArchiveObject(key="k", metadata={}, content_disposition=None)
PARTS = [bytes([number]) * (number * 1000) for number in range(1, 30)]
WHOLE = b"".join(PARTS)


def put(archive: FileArchive, number: int, body: bytes) -> UploadedPart:
    return archive.put_part("k", "u", number, body, crc32=zlib.crc32(body))


def complete(archive: FileArchive, parts: list[UploadedPart], whole: bytes = WHOLE) -> Any:
    return archive.complete(ARCHIVE, "u", parts, crc32=zlib.crc32(whole), size=len(whole))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [1, 3], ids=["1", "3"])
def test_parts_come_in_any_order_and_numbers_may_have_gaps(tmp_path: Path, seed: int, step: int) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"an older one")
    archive = FileArchive(path)
    upload_id = archive.create(ARCHIVE)
    put(archive, MARKER_NUMBER, b"m" * 64)
    numbers = {1 + step * index: body for index, body in enumerate(PARTS)}
    order = list(numbers)
    random.Random(seed).shuffle(order)

    done = {number: put(archive, number, numbers[number]) for number in order}
    put(archive, order[0], numbers[order[0]])  # built again
    assert path.read_bytes() == b"an older one"
    stored = complete(archive, [done[number] for number in sorted(done)])
    archive.close()

    assert path.read_bytes() == WHOLE
    assert (stored.size, stored.crc32) == (len(WHOLE), zlib.crc32(WHOLE))
    assert list(tmp_path.iterdir()) == [path]
    assert upload_id


def test_parts_in_their_order_are_written_once(tmp_path: Path) -> None:
    archive = FileArchive(tmp_path / "a.zip")
    archive.create(ARCHIVE)
    for number, body in enumerate(PARTS, 1):
        put(archive, number, body)
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    archive.close()


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    archive = FileArchive(tmp_path / "a.zip")
    archive.create(ARCHIVE)
    put(archive, 2, b"second")
    archive.abort("k", "u")
    assert list(tmp_path.iterdir()) == []

    archive.create(ARCHIVE)  # the build starts over
    done = put(archive, 1, b"first")
    with pytest.raises(ArchiveRefused, match="5 bytes in 1 parts are not as planned"):
        complete(archive, [done], b"first and more")
    archive.close()
    assert list(tmp_path.iterdir()) == []


def test_a_part_built_again_has_its_size(tmp_path: Path) -> None:
    archive = FileArchive(tmp_path / "a.zip")
    archive.create(ARCHIVE)
    put(archive, 1, b"first")
    with pytest.raises(ArchiveRefused):
        put(archive, 1, b"another")
    archive.close()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    archive = FileArchive(tmp_path / "gone" / "a.zip")
    with pytest.raises(DestinationUnavailable, match=r"gone/a\.zip: No such file or directory"):
        archive.put(ARCHIVE, b"whole", crc32=zlib.crc32(b"whole"))
    archive.close()


def test_a_small_archive_is_one_part_and_copies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    archive = FileArchive(path)
    archive.put(ARCHIVE, b"whole", crc32=zlib.crc32(b"whole"))
    archive.close()
    assert path.read_bytes() == b"whole"
    with pytest.raises(CopyRefused):
        archive.copy_part("k", "u", 1, Any, 0, 1)  # type: ignore[arg-type]  # whatever it is
