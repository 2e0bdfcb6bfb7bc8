"""The readers that judge the archives notice what is wrong with one."""

import os
import zipfile
from pathlib import Path

import pytest

from tests.support.oracles import Listing, MissingReader, Readers

FILES = {
    "plain.txt": b"text",
    "empty": b"",
    "album/图片 🗼 صورة.png": b"\x89PNG" * 1000,
    "deep/er/and deeper/name (1).txt": b"again",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for name, body in FILES.items():
            opened.writestr(name, body)
    return path


def test_all_agree_on_a_good_archive(archive: Path, readers: Readers) -> None:
    readers.check(archive, FILES)


def test_another_body_is_noticed(archive: Path, readers: Readers) -> None:
    with pytest.raises(AssertionError, match="reads something else"):
        readers.check(archive, {**FILES, "empty": b"not empty"})


@pytest.mark.parametrize("reader", ["unzip", "7z", "bsdtar", "java, as a stream"])
def test_a_flipped_bit_fails_the_reader(archive: Path, readers: Readers, reader: str) -> None:
    flip_a_bit(archive)

    with pytest.raises(AssertionError, match="ended with"):
        read_by(readers, reader, archive)


def test_a_flipped_bit_shows_in_the_hash_where_the_reader_checks_no_crc(archive: Path, readers: Readers) -> None:
    intact = read_by(readers, "java, as a file", archive)
    flip_a_bit(archive)

    damaged = read_by(readers, "java, as a file", archive)

    assert {name for name in FILES if damaged[name] != intact[name]} == {"album/图片 🗼 صورة.png"}


def flip_a_bit(archive: Path) -> None:
    body = bytearray(archive.read_bytes())
    body[body.index(b"\x89PNG") + 500] ^= 1
    archive.write_bytes(body)


def read_by(readers: Readers, reader: str, archive: Path) -> Listing:
    try:
        return readers.read_by(reader, archive)
    except MissingReader as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
