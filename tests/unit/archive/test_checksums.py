"""CRC32s that arrive in pieces, in any order, from many threads."""

import itertools
import random
import threading
import zlib

import pytest

from archiver.archive.checksums import Cancelled, Checksums
from archiver.errors import StorageUnavailable
from archiver.zipformat.entry import Entry
from tests.support.waiting import LONG_ENOUGH, eventually

CONTENT = random.Random(1).randbytes(10_000)


def test_pieces_in_any_order_make_the_whole() -> None:
    checksums = Checksums([Entry("a", 3, 0, crc32=7), Entry("b", len(CONTENT), 0)])
    cuts = [0, 1, 500, 9_000, len(CONTENT)]
    pieces = list(itertools.pairwise(cuts))
    random.Random(2).shuffle(pieces)

    for start, stop in pieces:
        assert not checksums.known(1)
        checksums.learn(1, start, zlib.crc32(CONTENT[start:stop]), stop - start)

    assert list(checksums.wait_for_all()) == [7, zlib.crc32(CONTENT)]


def test_a_waiting_part_goes_on_with_the_last_piece() -> None:
    checksums = Checksums([Entry("a", len(CONTENT), 0)])
    heard: list[int] = []
    waiting = threading.Thread(target=lambda: heard.append(checksums.wait(0)))
    waiting.start()

    checksums.learn(0, 4_000, zlib.crc32(CONTENT[4_000:]), 6_000)
    assert heard == []
    checksums.learn(0, 0, zlib.crc32(CONTENT[:4_000]), 4_000)

    waiting.join(LONG_ENOUGH)
    assert heard == [zlib.crc32(CONTENT)]


def waiting_for(checksums: Checksums, *entries: int) -> dict[int, int | None]:
    """What threads have heard that wait for the entries: a CRC32, or None where they were cancelled."""
    heard: dict[int, int | None] = {}

    def wait(entry: int) -> None:
        try:
            heard[entry] = checksums.wait(entry)
        except Cancelled:
            heard[entry] = None

    for number, entry in enumerate(entries, 1):
        threading.Thread(target=wait, args=[entry], daemon=True).start()
        assert eventually(lambda: len(checksums._changed._waiters) == number)  # type: ignore[attr-defined]  # noqa: B023  # the standard library's
    return heard


def test_each_waiting_part_goes_on_whoever_began_to_wait_first() -> None:
    checksums = Checksums([Entry("a", 3, 0), Entry("b", 3, 0)])
    heard = waiting_for(checksums, 1, 0)

    checksums.learn(0, 0, 77, 3)
    assert eventually(lambda: heard == {0: 77})
    checksums.learn(1, 0, 88, 3)
    assert eventually(lambda: heard == {0: 77, 1: 88})


def test_pieces_that_are_learned_at_once_count_up_to_the_one_that_contradicts() -> None:
    # given an entry that was read before, as S3 has no CRC32 of it
    checksums = Checksums([Entry("a", 3, 0), Entry("b", len(CONTENT), 0), Entry("c", 3, 0)])
    checksums.learn(2, 0, 99, 3)
    heard = waiting_for(checksums, 1, 0)

    # when it comes otherwise, behind the pieces of others
    halves = [(1, start, zlib.crc32(CONTENT[start : start + 5_000]), 5_000) for start in (5_000, 0)]
    with pytest.raises(StorageUnavailable, match="c: the bytes had CRC32 00000063 when read first, then 00000001"):
        checksums.learn_all([(0, 0, 77, 3), *halves, (2, 0, 1, 3)])

    # then those who wait for them have them
    assert eventually(lambda: heard == {0: 77, 1: zlib.crc32(CONTENT)})


def test_nobody_waits_for_a_build_that_failed() -> None:
    checksums = Checksums([Entry("a", 10, 0), Entry("b", 10, 0)])
    heard = waiting_for(checksums, 0, 1)

    checksums.cancel()

    assert eventually(lambda: heard == {0: None, 1: None})
    with pytest.raises(Cancelled):
        checksums.wait_for_all()


def test_an_entry_is_refuted_until_its_pieces_come_to_what_s3_says() -> None:
    # given an entry of which S3 has the CRC32, one of whose three pieces is read wrongly
    checksums = Checksums([Entry("a", len(CONTENT), 0, crc32=zlib.crc32(CONTENT))])
    checksums.learn(0, 0, zlib.crc32(CONTENT[:100]), 100)
    checksums.learn(0, 100, 1, 900)
    assert checksums.refuted() == {}, "it is not all there"
    checksums.learn(0, 1_000, zlib.crc32(CONTENT[1_000:]), len(CONTENT) - 1_000)
    (reason,) = checksums.refuted().values()
    assert reason.startswith("a: the bytes read have CRC32 ")
    assert reason.endswith(f", S3 says {zlib.crc32(CONTENT):08x}")

    # when that piece is read again
    checksums.learn(0, 100, zlib.crc32(CONTENT[100:1_000]), 900)

    # then all is well, until another reading differs
    assert checksums.refuted() == {}
    checksums.learn(0, 0, 1, 100)
    assert list(checksums.refuted()) == [0]


def test_two_readings_that_differ_are_refused_where_s3_does_not_tell_which_is_right() -> None:
    checksums = Checksums([Entry("a", len(CONTENT), 0)])
    checksums.learn(0, 0, zlib.crc32(CONTENT), len(CONTENT))

    with pytest.raises(StorageUnavailable, match="when read first, then 00000001"):
        checksums.learn(0, 0, 1, len(CONTENT))


def test_an_empty_entry_is_known() -> None:
    assert Checksums([Entry("a", 0, 0), Entry("d/", 0, 0)]).wait_for_all().tolist() == [0, 0]  # type: ignore[attr-defined]  # an array
