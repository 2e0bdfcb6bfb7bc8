"""Archives put together from planned parts are, byte for byte, those of a writer that goes from front to back."""

import io
import struct
import time
import zipfile
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive.plan import plan_parts
from archiver.zipformat.crc import crc32_of_parts
from archiver.zipformat.entry import DEFLATED, Entry
from archiver.zipformat.layout import DataBytes, DirectoryBytes, HeaderBytes, Layout

MIB = 1024 * 1024

File = tuple[str, bytes, int, bool]  # name, content, modified, deflated

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=30
).filter(lambda name: not name.startswith("/") and not name.endswith("/"))
moments = st.integers(315_532_800, 2**31 - 1)


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def straightforward(files: list[File]) -> bytes:
    """Written here from APPNOTE alone: sequential, small archives only."""
    archive, directory = b"", b""
    for name, content, modified, deflated in files:
        data = deflate(content) if deflated else content
        at = time.gmtime(modified)
        common = struct.pack(
            "<HHHHHIIIHH",
            20,
            2048,
            8 if deflated else 0,
            (at.tm_hour * 64 + at.tm_min) * 32 + at.tm_sec // 2,
            ((at.tm_year - 1980) * 16 + at.tm_mon) * 32 + at.tm_mday,
            zlib.crc32(content),
            len(data),
            len(content),
            len(name.encode()),
            9,
        )
        tail = name.encode() + b"UT\5\0\1" + modified.to_bytes(4, "little")
        mode = 0o40755 * 65536 + 16 if name.endswith("/") else 0o100644 * 65536
        directory += b"PK\1\2\x3f\3" + common + struct.pack("<HHHII", 0, 0, 0, mode, len(archive)) + tail
        archive += b"PK\3\4" + common + tail + data
    count = len(files)
    return (
        archive + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(archive), 0)
    )


def planned(files: list[File], *, part_size: int) -> bytes:
    """What the engine does, in memory: sources, a plan, and parts that are made last to first."""
    sources = [deflate(content) if deflated else content for _, content, _, deflated in files]
    layout = Layout([
        Entry(name, len(content), modified, method=DEFLATED if deflated else 0, compressed_size=len(source))
        for (name, content, modified, deflated), source in zip(files, sources, strict=True)
    ])  # fmt: skip
    crc32s = [zlib.crc32(content) for _, content, _, _ in files]
    parts: dict[int, bytes] = {}
    for part in reversed(plan_parts(layout, part_size=part_size, copyable=lambda _index: True)):
        if part.entry is not None:
            parts[part.number] = sources[part.entry][part.source_start : part.source_stop]
            continue
        made = []
        for segment in layout.segments(part.start, part.stop):
            match segment:
                case HeaderBytes(entry, start, stop):
                    made.append(layout.local_header(entry, crc32=crc32s[entry])[start:stop])
                case DataBytes(entry, start, stop):
                    made.append(sources[entry][start:stop])
                case DirectoryBytes(start, stop):
                    made.append(layout.directory(start, stop, crc32s=crc32s))
        parts[part.number] = b"".join(made)
    whole = b"".join(parts[number] for number in sorted(parts))
    assert crc32_of_parts((zlib.crc32(parts[n]), len(parts[n])) for n in sorted(parts)) == zlib.crc32(whole)
    return whole


def check(files: list[File], *, part_size: int = 5 * MIB) -> None:
    archive = planned(files, part_size=part_size)

    assert archive == straightforward(files), "differs from the straightforward writer"
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert [(info.filename, info.CRC) for info in opened.infolist()] == [
            (name, zlib.crc32(content)) for name, content, _, _ in files
        ]


small_files = st.tuples(names, st.binary(max_size=2000), moments, st.booleans())
directories = st.tuples(names.map(lambda name: f"{name}/"), st.just(b""), moments, st.just(False))


@given(st.lists(small_files | directories, max_size=20, unique_by=lambda file: file[0]))
@settings(deadline=None)
def test_small_archives(files: list[File]) -> None:
    check(files)


@given(
    st.lists(
        st.sampled_from([0, 100, 3 * MIB, 5 * MIB, 6 * MIB, 10 * MIB - 60, 10 * MIB, 11 * MIB, 23 * MIB]), max_size=4
    ),
    st.sampled_from([5 * MIB, 8 * MIB]),
)
@settings(deadline=None, max_examples=25)
def test_archives_of_objects_that_are_copied(sizes: list[int], part_size: int) -> None:
    pattern = bytes(range(251)) * (MIB // 10)
    files = [(f"{index}.bin", pattern[index : index + size], 10**9, False) for index, size in enumerate(sizes)]
    assert [len(content) for _, content, _, _ in files] == sizes

    check(files, part_size=part_size)
