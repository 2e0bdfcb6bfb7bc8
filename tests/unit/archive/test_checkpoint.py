"""A checkpoint's bytes, and how far it reaches by what S3 has."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.checkpoint import (
    BEGIN,
    BadCheckpoint,
    Checkpoint,
    Cut,
    EndedEntries,
    Point,
    decode,
)


def ended(*entries: tuple[int, int, int]) -> EndedEntries:
    found = EndedEntries()
    for index, size, crc32 in entries:
        found.append(index, compressed_size=size, crc32=crc32)
    return found


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Cuts between entries, within the first of them or behind it."""
    indexes = draw(st.lists(st.integers(0, 2**40), unique=True, max_size=20).map(sorted))
    entries = ended(*((index, draw(st.integers(0, 2**63)), draw(st.integers(0, 2**32 - 1))) for index in indexes))
    cuts: list[Cut] = []
    before = BEGIN
    for number in range(1, draw(st.integers(0, 6)) + 1):
        index = before.index + draw(st.integers(0, 3))
        offset = draw(st.integers(0, 2**40)) + (before.offset + 1 if index == before.index else 0)
        before = Cut(
            size=draw(st.integers(1, 2**33)),
            entries=draw(st.integers(before.entries, len(indexes))),
            index=index,
            offset=offset,
            crc32=draw(st.integers(0, 2**32 - 1)),
            compressed=draw(st.integers(0, 2**63)),
            header=draw(st.integers(0, number)),
        )
        cuts.append(before)
    crc32s = [draw(st.none() | st.integers(0, 2**32 - 1)) for _ in cuts]
    return Checkpoint(draw(st.text(max_size=70)), entries, cuts, crc32s)


@given(checkpoints())
def test_it_is_read_as_it_was_written(checkpoint: Checkpoint) -> None:
    assert decode(checkpoint.encode()) == checkpoint


@given(checkpoints(), st.data())
def test_no_bytes_do_more_than_be_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    body = bytearray(checkpoint.encode())
    at = data.draw(st.integers(0, len(body) - 1))
    for spoilt in (bytes(body[:at]), bytes(body[:at]) + bytes([body[at] ^ 1 << data.draw(st.integers(0, 7))])):
        with pytest.raises(BadCheckpoint):
            decode(spoilt)


@given(st.binary(max_size=300))
def test_nothing_else_is_one(content: bytes) -> None:
    for body in (content, zlib.compress(content), zlib.compress(b'{"form":1,"entries":1,"cuts":1}\n' + content)):
        with pytest.raises(BadCheckpoint):
            decode(body)


@pytest.mark.parametrize(
    ("cuts", "entries"),
    [
        ([Cut(5, 1, 1, 0)], []),
        ([Cut(0, 0, 1, 0)], []),
        ([Cut(5, 0, 1, 0, header=2)], []),
        ([Cut(5, 0, 1, 9), Cut(5, 0, 1, 9)], []),
        ([Cut(5, 0, 1, 0)], [(2, 1, 1), (2, 1, 1)]),
    ],
)
def test_one_that_contradicts_itself_is_refused(cuts: list[Cut], entries: list[tuple[int, int, int]]) -> None:
    with pytest.raises(BadCheckpoint, match="contradicts"):
        decode(Checkpoint("d", ended(*entries), cuts, [1] * len(cuts)).encode())


#: Part 1 ends behind an entry; the local header of the next, which goes on to part 4, lies in part 2.
CUTS = [Cut(5, 1, 1, 0), Cut(5, 1, 1, 8, header=2), Cut(5, 1, 1, 16, header=2), Cut(5, 2, 2, 0)]


@pytest.mark.parametrize(
    ("there", "point"),
    [
        ("", Point(0)),
        ("1", Point(1)),
        ("12", Point(2)),
        ("1234", Point(4)),
        # what waits for the end of its entry is made anew, as long as the cut goes through that entry
        ("134", Point(3, missing=2)),
        ("13", Point(3, missing=2)),
        ("14", Point(1)),
        ("24", Point(0)),
        ("234", Point(0)),
        ("124", Point(2)),
    ],
)
def test_it_reaches_as_far_as_parts_are_there(there: str, point: Point) -> None:
    checkpoint = Checkpoint("d", ended((0, 9, 9), (1, 9, 9)), CUTS, [7, 7, 7, 7])

    assert checkpoint.point(lambda number, size, crc32: (size, crc32) == (5, 7) and str(number) in there) == point


def test_a_part_that_was_not_uploaded_is_not_there_whatever_s3_has() -> None:
    checkpoint = Checkpoint("d", ended((0, 9, 9)), CUTS[:3], [7, None, 7])

    assert checkpoint.point(lambda *_: True) == Point(3, missing=2)


def test_an_entry_is_found_by_its_source() -> None:
    entries = ended((1, 10, 11), (5, 20, 21))

    assert [entries.find(index) for index in range(7)] == [None, 0, None, None, None, 1, None]
    assert entries.first(1) == ended((1, 10, 11))
