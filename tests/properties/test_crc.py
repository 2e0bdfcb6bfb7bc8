"""CRC32s of concatenations equal zlib's over the bytes, however the bytes are cut."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from archiver.zipformat.crc import crc32_combine, crc32_of_middle, crc32_of_parts, four_bytes_of_crc32

crcs = st.integers(0, 0xFFFF_FFFF)
lengths = st.integers(0, (1 << 62) - 1)


@given(st.lists(st.binary(max_size=300)))
def test_parts_give_the_crc_of_the_whole(pieces: list[bytes]) -> None:
    combined = crc32_of_parts((zlib.crc32(piece), len(piece)) for piece in pieces)

    assert combined == zlib.crc32(b"".join(pieces))


@given(crcs, crcs, lengths, crcs, lengths)
def test_it_does_not_matter_which_neighbours_are_combined_first(
    a: int, b: int, b_length: int, c: int, c_length: int
) -> None:
    left = crc32_combine(crc32_combine(a, b, b_length), c, c_length)
    right = crc32_combine(a, crc32_combine(b, c, c_length), b_length + c_length)

    assert left == right


@given(st.binary(), st.binary(), st.binary())
def test_the_middle_of_a_whole_follows_from_the_rest(before: bytes, middle: bytes, after: bytes) -> None:
    found = crc32_of_middle(
        zlib.crc32(before + middle + after),
        before=zlib.crc32(before),
        length=len(middle),
        after=zlib.crc32(after),
        after_length=len(after),
    )

    assert found == zlib.crc32(middle)


@given(st.binary(min_size=4, max_size=4))
def test_four_bytes_are_known_by_their_crc32(four: bytes) -> None:
    assert four_bytes_of_crc32(zlib.crc32(four)) == four
