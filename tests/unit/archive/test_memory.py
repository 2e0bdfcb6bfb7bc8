"""The memory of a part: zeros of the asked size, which can be filled and sent."""

import ctypes
import os
from pathlib import Path

import pytest

from archiver.archive.memory import Buffers, Lent, allocate, trim

KIB = 1024


def test_it_is_as_large_as_asked_for_and_empty() -> None:
    memory = allocate(10_000)
    assert len(memory) == 10_000
    assert bytes(memory) == bytes(10_000)


def test_it_can_be_filled_in_places() -> None:
    memory = allocate(10)
    memoryview(memory)[3:6] = b"abc"
    assert bytes(memory) == b"\0\0\0abc\0\0\0\0"


def test_a_buffer_serves_one_part_after_the_other() -> None:
    buffers = Buffers(3_000_000)
    first, second = buffers.take(1_000_000), buffers.take(1_000_000)
    assert first is not second
    buffers.give(first)
    assert buffers.take(900_000) is first


def test_what_nobody_uses_is_let_go_of_where_memory_is_wanted() -> None:
    buffers = Buffers(4_000_000)
    unused, used = buffers.take(1_000_000), buffers.take(1_000_000)
    buffers.give(unused)
    buffers.trim()
    assert buffers.take(1_000_000) is not unused
    buffers.give(used)
    assert buffers.take(1_000_000) is used


@pytest.mark.parametrize("size", [1_100_000, 100_000])
def test_a_buffer_serves_no_part_that_is_larger_or_much_smaller(size: int) -> None:
    buffers = Buffers(3_000_000)
    first = buffers.take(1_000_000)
    buffers.give(first)
    other = buffers.take(size)
    assert other is not first
    assert len(other) >= size


def test_no_more_is_kept_than_there_is_memory_for() -> None:
    buffers = Buffers(1_000_000)
    small = [buffers.take(200_000) for _ in range(3)]
    for buffer in small:
        buffers.give(buffer)
    # those make room for a larger one, and come back no more
    buffers.give(buffers.take(800_000))
    assert sum(any(buffer is buffers.take(200_000) for buffer in small) for _ in range(3)) <= 1


def test_what_is_in_use_beyond_the_memory_is_not_kept() -> None:
    buffers = Buffers(300_000)
    two = [buffers.take(250_000), buffers.take(250_000)]
    for buffer in two:
        buffers.give(buffer)
    again = [buffers.take(250_000), buffers.take(250_000)]
    assert sum(any(buffer is old for old in two) for buffer in again) == 1


def test_what_is_lent_leaves_so_much_less_to_keep() -> None:
    lent = Lent()
    buffers = Buffers(1_000_000, lent)
    first, second = buffers.take(250_000), buffers.take(500_000)
    buffers.give(first)
    lent.take(400_000)
    # beside the one in use and what is lent there is no room for both
    third = buffers.take(600_000)
    assert all(buffer is not first for buffer in (second, third, buffers.take(250_000)))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is another than glibc")
def test_what_is_free_between_blocks_that_stay_goes_back_to_the_system() -> None:
    blocks = [b"x" * (64 * KIB) for _ in range(1_600)]
    staying = blocks[::16]
    full = resident()
    del blocks
    trim()
    assert resident() < full - 80 * KIB * KIB
    assert len(staying) == 100


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
