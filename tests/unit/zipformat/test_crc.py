"""CRC32s of concatenations, held against zlib's own over the bytes."""

import importlib.util
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from archiver.zipformat import crc
from archiver.zipformat.crc import crc32_combine, crc32_of_middle, crc32_of_parts


def test_two_pieces_have_the_crc_of_the_whole() -> None:
    first, second = b"the head of an object", b"and what S3 copied" * 1000

    combined = crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second))

    assert combined == zlib.crc32(first + second)


def test_an_empty_second_piece_changes_nothing() -> None:
    assert crc32_combine(0x12345678, 0, 0) == 0x12345678


def test_an_empty_first_piece_changes_nothing() -> None:
    assert crc32_combine(0, 0x12345678, 10_000) == 0x12345678


@pytest.mark.parametrize("length", [1 << 31, (1 << 32) + 1, 5 << 40, (1 << 63) + 12345, (1 << 64) - 1])
def test_long_pieces_agree_with_the_same_piece_in_two(length: int) -> None:
    # Given zeros too many to be made; a run of zeros can be cut anywhere.
    half, rest = length // 2, length - length // 2
    zeros_half = crc32_combine(0xFFFFFFFF, 0, half)

    assert crc32_combine(0xFFFFFFFF, 0, length) == crc32_combine(zeros_half, 0, rest)


def test_the_order_of_long_lengths_is_that_of_the_polynomial() -> None:
    # x has the order 2^32 - 1 modulo the CRC's primitive polynomial: after that many bytes of zeros all is as before.
    assert crc32_combine(0xDEADBEEF, 0, (1 << 32) - 1) == 0xDEADBEEF
    assert crc32_combine(0xDEADBEEF, 0, 1 << 32) == crc32_combine(0xDEADBEEF, 0, 1)


def test_parts_are_combined_in_order() -> None:
    pieces = [b"header", b"", b"data" * 5000, b"\0" * 70_000, b"directory"]

    combined = crc32_of_parts((zlib.crc32(piece), len(piece)) for piece in pieces)

    assert combined == zlib.crc32(b"".join(pieces))


def test_no_parts_have_the_crc_of_nothing() -> None:
    assert crc32_of_parts([]) == zlib.crc32(b"") == 0


@pytest.mark.parametrize("length", [-1, 1 << 64])
def test_a_length_out_of_bounds_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="length"):
        crc32_combine(1, 2, length)


def test_threads_that_need_the_same_operator_first_agree() -> None:
    # given a fresh copy of the module, which has made no operator yet, and threads that switch all the time
    spec = importlib.util.find_spec(crc.__name__)
    assert spec is not None
    assert spec.loader is not None
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            fresh = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(fresh)
            start = threading.Barrier(8)

            def combine(module: ModuleType, start: threading.Barrier) -> int:
                start.wait()
                return int(module.crc32_combine(123, 456, 2**50 - 1))

            # when they all combine at once
            with ThreadPoolExecutor(8) as threads:
                futures = [threads.submit(combine, fresh, start) for _ in range(8)]
                made = {future.result() for future in futures}

            # then they make what one thread makes
            assert made == {crc.crc32_combine(123, 456, 2**50 - 1)}
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("length", [2**31, 2**32 - 2, 2**32 - 1, 2**32, 3 * 2**40 + 1])
def test_the_middle_follows_whatever_comes_after(length: int) -> None:
    before, middle, after = 0x1234_5678, 0x9ABC_DEF0, 0x0FED_CBA9
    whole = crc32_of_parts([(before, 7), (middle, 5), (after, length)])

    assert crc32_of_middle(whole, before=before, length=5, after=after, after_length=length) == middle
