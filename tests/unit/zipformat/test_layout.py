"""Layouts: offsets that are there before the bytes are, and the archives that come of them, read by other programs."""

import io
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.zipformat import records
from archiver.zipformat.entry import DEFLATED, STORED, Entry
from archiver.zipformat.layout import DataBytes, DirectoryBytes, GrowingSize, HeaderBytes, Layout

MOMENT = 1_700_000_001
GIB = 1 << 30


def assemble(layout: Layout, contents: Sequence[bytes], crc32s: Sequence[int], *, step: int) -> bytes:
    """The archive, put together from ranges of ``step`` bytes as the parts of an upload would be."""
    made = []
    for start in range(0, layout.size, step):
        for segment in layout.segments(start, min(start + step, layout.size)):
            match segment:
                case HeaderBytes(entry, begin, end):
                    made.append(layout.local_header(entry, crc32=crc32s[entry])[begin:end])
                case DataBytes(entry, begin, end):
                    made.append(contents[entry][begin:end])
                case DirectoryBytes(begin, end):
                    made.append(layout.directory(begin, end, crc32s=crc32s))
    return b"".join(made)


def archive_of(files: dict[str, bytes], *, step: int = 1 << 20) -> bytes:
    layout = Layout([Entry(name, len(content), MOMENT) for name, content in files.items()])
    contents = list(files.values())
    return assemble(layout, contents, [zlib.crc32(content) for content in contents], step=step)


FILES = {
    "report.txt": b"a text\n" * 100,
    "photos/été/猫 😀.jpg": bytes(range(256)) * 50,
    "مجلد/ملف.bin": b"\0" * 70_000,
    "empty": b"",
    "empty directory/": b"",
}


@pytest.mark.parametrize("step", [1, 13, 1000, 1 << 20])
def test_zipfile_reads_what_was_laid_out_whatever_the_ranges(step: int) -> None:
    files = FILES if step > 1 else {"a/b": b"small", "c": b""}

    archive = archive_of(files, step=step)

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert {info.filename: opened.read(info) for info in opened.infolist()} == files
        for info in opened.infolist():
            assert info.date_time == (2023, 11, 14, 22, 13, 20)
            assert info.external_attr >> 16 == (0o040755 if info.is_dir() else 0o100644)
            assert not info.flag_bits & 0x08, "a data descriptor breaks streaming readers"
            assert info.flag_bits & 0x800


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
def test_unzip_finds_no_fault(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(archive_of(FILES))

    tested = subprocess.run(["unzip", "-t", "archive.zip"], cwd=tmp_path, capture_output=True, text=True)

    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "No errors detected" in tested.stdout


def test_a_deflated_entry_is_read_back() -> None:
    content = b"compressible " * 1000
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(content) + packer.flush()
    layout = Layout([Entry("a.csv", len(content), MOMENT, method=DEFLATED, compressed_size=len(packed))])

    archive = assemble(layout, [packed], [zlib.crc32(content)], step=100)

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.read("a.csv") == content


def test_an_empty_archive_is_an_end_record() -> None:
    archive = archive_of({})

    assert len(archive) == 22
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == []


def test_offsets_follow_each_other_without_gaps() -> None:
    layout = Layout(
        [Entry("a", 10, MOMENT), Entry("b/", 0, MOMENT), Entry("c", 6 * GIB, MOMENT), Entry("d", 1, MOMENT)]
    )

    for index in range(4):
        following = layout.header_offset(index + 1) if index < 3 else layout.directory_offset
        header = layout.local_header(index, crc32=1)
        assert layout.data_offset(index) == layout.header_offset(index) + len(header)
        assert layout.data_end(index) == layout.data_offset(index) + layout.entries[index].stored_size == following
    assert layout.size == layout.directory_offset + layout.directory_size


def test_an_offset_over_4_gib_concerns_the_directory_alone() -> None:
    # Given an entry over 4 GiB and a small one behind it.
    layout = Layout([Entry("huge", 6 * GIB, MOMENT), Entry("small", 1, MOMENT)])
    plain = Layout([Entry("small", 1, MOMENT)])

    # Then the small one's local header is what it always was, and zipfile, given the directory, knows all offsets.
    assert layout.local_header(1, crc32=5) == plain.local_header(0, crc32=5)
    directory = layout.directory(0, layout.directory_size, crc32s=[4, 5])
    with zipfile.ZipFile(OnlyEnd(layout.directory_offset, directory)) as opened:
        huge, small = opened.infolist()
    assert (huge.header_offset, huge.file_size, huge.compress_size) == (0, 6 * GIB, 6 * GIB)
    assert (small.header_offset, small.file_size, small.CRC) == (layout.header_offset(1), 1, 5)


#: Around what 16 and 32 bits, signed or not, hold.
edges = st.sampled_from([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, 1 << 45])
names = st.text(st.sampled_from("aü猫😀"), min_size=1, max_size=3)


@given(st.lists(st.tuples(names, edges, st.none() | edges, edges.map(lambda moment: moment - (1 << 32))), max_size=6))
def test_what_was_measured_is_what_the_writer_makes(given: list[tuple[str, int, int | None, int]]) -> None:
    """Of each entry's records only those of the first of its shape are made to measure them."""
    entries = [
        Entry(name, size, moment, method=STORED if compressed is None else DEFLATED, compressed_size=compressed)
        for name, size, compressed, moment in given
    ]
    layout, growing = Layout(entries), GrowingSize()
    at = directory = 0

    for index, entry in enumerate(entries):
        assert layout.header_offset(index) == at
        record = records.central_directory_header(
            name=entry.name.encode(),
            method=entry.method,
            modified=entry.modified,
            crc32=0,
            compressed_size=entry.stored_size,
            size=entry.size,
            offset=at,
        )
        at += len(layout.local_header(index, crc32=0))
        assert layout.data_offset(index) == at
        at += entry.stored_size
        directory += len(record)
        assert growing.with_entry(entry) == at + directory + len(
            records.end_records(count=index + 1, size=directory, offset=at)
        )
        growing.add(entry)

    assert layout.directory_offset == at
    assert layout.directory_size == len(layout.directory(0, layout.directory_size, crc32s=[0] * len(entries)))


def test_70000_entries_need_zip64_at_the_end() -> None:
    layout = Layout([Entry(f"{number}", 0, MOMENT) for number in range(70_000)])

    archive = assemble(layout, [b""] * 70_000, [0] * 70_000, step=1 << 20)

    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.namelist() == [str(number) for number in range(70_000)]


def test_a_range_of_the_directory_is_a_slice_of_the_whole() -> None:
    layout = Layout([Entry(f"file {number}", number, MOMENT) for number in range(50)])
    crc32s = list(range(50))
    whole = layout.directory(0, layout.directory_size, crc32s=crc32s)

    assert len(whole) == layout.directory_size
    for start in range(0, layout.directory_size, 37):
        for stop in {start, start + 1, min(start + 100, layout.directory_size), layout.directory_size}:
            assert layout.directory(start, stop, crc32s=crc32s) == whole[start:stop]


def test_segments_name_the_entry_and_the_range_within() -> None:
    layout = Layout([Entry("a", 10, MOMENT), Entry("empty", 0, MOMENT)])
    header, empty_header = layout.data_offset(0), layout.data_offset(1) - layout.header_offset(1)

    assert list(layout.segments(5, layout.size - 1)) == [
        HeaderBytes(0, 5, header),
        DataBytes(0, 0, 10),
        HeaderBytes(1, 0, empty_header),
        DirectoryBytes(0, layout.directory_size - 1),
    ]
    assert list(layout.segments(header + 3, header + 4)) == [DataBytes(0, 3, 4)]
    assert list(layout.segments(header, header)) == []


@given(st.lists(st.integers(0, 3), max_size=4), st.data())
def test_records_are_the_segments_without_content_in_their_places(sizes: list[int], data: st.DataObject) -> None:
    layout = Layout([Entry(f"{number}", size, MOMENT) for number, size in enumerate(sizes)])
    start = data.draw(st.integers(0, layout.size))
    stop = data.draw(st.integers(start, layout.size))
    expected, at = [], start
    for segment in layout.segments(start, stop):
        if not isinstance(segment, DataBytes):
            expected.append((at, segment))
        at += segment.stop - segment.start

    assert list(layout.records(start, stop)) == expected


def test_find_tells_whose_bytes_they_are() -> None:
    layout = Layout([Entry("a", 10, MOMENT), Entry("b", 5, MOMENT)])

    found = [layout.find(offset) for offset in range(layout.size)]

    first = layout.header_offset(1)
    assert found == [0] * first + [1] * (layout.directory_offset - first) + [2] * layout.directory_size


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (5, 4), (0, 10_000)])
def test_a_range_outside_is_refused(start: int, stop: int) -> None:
    layout = Layout([Entry("a", 10, MOMENT)])

    with pytest.raises(ValueError, match="bytes"):
        layout.segments(start, stop)
    with pytest.raises(ValueError, match="bytes"):
        layout.directory(start, stop, crc32s=[0])


class OnlyEnd(io.RawIOBase):
    """A file of which only the end exists: everything before reads as nothing."""

    def __init__(self, offset: int, end: bytes) -> None:
        self._offset, self._end, self._at = offset, end, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._offset + len(self._end)}[whence]
        if base + offset < 0:
            raise OSError("before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        assert self._at >= self._offset, "zipfile read where there is nothing"
        start = self._at - self._offset
        found = self._end[start : None if size < 0 else start + size]
        self._at += len(found)
        return found
