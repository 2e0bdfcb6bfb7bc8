"""How a plan is shared out: what is in which chunk, what the builder keeps, and how heavy it is."""

from itertools import pairwise

import pytest

from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.chunks import (
    CHUNKS_OF_LEAST_JOB,
    COPY_WEIGHT,
    LEAST_CHUNK,
    LEAST_TURNS,
    MOST_CHUNK,
    MOST_STRETCH,
    READ_WEIGHT,
    TURN,
    Cut,
    chunk_weight,
    cut,
    next_chunk,
    turns,
    weight_of,
)
from archiver.archive.memory import KIB
from archiver.archive.plan import GIB, MIB, MIN_PART
from archiver.archive.storage import SourceObject


def source(number: int, size: int, *, crc32: int | None = 1, bucket: str = "photos") -> SourceObject:
    return SourceObject(bucket, f"{number:05}.jpg", size, "etag", 1_700_000_000, crc32=crc32)


def planned(*sources: SourceObject, uncopyable: bool = False) -> Blueprint:
    return make_blueprint(
        [one.key for one in sources],
        sources,
        part_size=8 * MIB,
        uncopyable=set(range(len(sources))) if uncopyable else set(),
    )


def shared(blueprint: Blueprint, *, most: int = 32 * MIB) -> Cut:
    return cut(blueprint.layout, blueprint.sources, blueprint.parts, most=most)


def test_photos_are_shared_but_for_the_first_and_the_directory() -> None:
    blueprint = planned(*(source(n, 4 * MIB, crc32=None) for n in range(60)))

    found = shared(blueprint)

    assert [*found.kept, *(part for chunk in found.chunks for part in chunk.parts)] == blueprint.parts[:-1]
    assert found.late == (blueprint.parts[-1],)
    # what the builder begins with weighs as much as a chunk
    assert 16 * MIB <= weight_of(blueprint.layout, found.kept) <= 48 * MIB
    assert all(16 * MIB <= chunk.weight <= 48 * MIB for chunk in found.chunks)
    assert [chunk.number for chunk in found.chunks] == list(range(len(found.chunks)))


@pytest.mark.parametrize(
    ("photos", "size", "stretches"),
    [(100, 4 * MIB, 1), (1_000, 4 * MIB, 1), (4_000, 4 * MIB, 2), (40_000, 20 * KIB, 3), (1, 300 * MIB, 1)],
)
def test_a_stretch_is_what_one_reads_of_the_plan(photos: int, size: int, stretches: int) -> None:
    found = shared(planned(*(source(n, size) for n in range(photos)), uncopyable=True))

    assert [chunk for stretch in found.stretches for chunk in stretch] == list(found.chunks)
    assert len(found.stretches) == stretches
    assert max(sum(chunk.weight for chunk in stretch) for stretch in found.stretches) <= MOST_STRETCH


@pytest.mark.parametrize(
    ("photos", "expected"),
    [
        (16, 1),  # as many as there are pairs of chunks
        (100, LEAST_TURNS),
        (400, LEAST_TURNS),
        (4_000, -(-4_000 * (4 * MIB + READ_WEIGHT) // TURN)),
    ],
)
def test_turns_are_enough_for_all_and_for_some_at_once(photos: int, expected: int) -> None:
    found = shared(planned(*(source(n, 4 * MIB) for n in range(photos)), uncopyable=True))

    due = turns(found.stretches)

    assert abs(len(due) - expected) <= len(found.stretches)
    # each begins elsewhere, the first of each stretch at its end, the last stretch first
    assert len({turn.begin for turn in due}) == len(due)
    assert [turn.stretch for turn in due[: len(found.stretches)]] == list(reversed(range(len(found.stretches))))
    for turn in due:
        assert turn.begin in [chunk.number for chunk in found.stretches[turn.stretch]]
    for turn in due[: len(found.stretches)]:
        assert turn.begin == found.stretches[turn.stretch][-1].number


def test_where_nothing_is_shared_there_are_no_turns() -> None:
    assert turns([]) == []


@pytest.mark.parametrize(
    ("left", "after", "expected"),
    [
        ([3, 4, 5, 6], 6, 5),
        ([3, 4, 5, 6], 7, 6),
        ([3, 4, 6], 6, 3),  # the one before has been begun: another run
        ([3, 4, 5, 6, 9], None, 4),  # its owner comes from behind: half of it
        ([3, 8, 9], None, 9),  # nobody is behind the last
        ([3], None, 3),
        ([], 5, None),
        ([], None, None),
    ],
)
def test_the_next_chunk_is_one_that_nobody_comes_by_soon(
    left: list[int], after: int | None, expected: int | None
) -> None:
    assert next_chunk(left, last=9, after=after) == expected


def test_a_header_whose_crc32_is_learned_stays_with_its_content() -> None:
    # given an object without a checksum, over several parts
    photos = [source(n, 4 * MIB) for n in range(20)]
    blueprint = planned(*photos[:9], source(20, 20 * MIB, crc32=None), *photos[9:], uncopyable=True)
    first, last = blueprint.layout.header_offset(9), blueprint.layout.data_end(9)
    assert sum(part.start < last and part.stop > first for part in blueprint.parts) > 2

    found = shared(blueprint, most=40 * MIB)

    assert len(found.chunks) > 1
    holding = [chunk for chunk in found.chunks if chunk.start < last and chunk.stop > first]
    assert [chunk.start <= first and chunk.stop >= last for chunk in holding] == [True]


def test_of_a_long_entry_whose_crc32_is_learned_the_header_waits_with_the_builder() -> None:
    # given an object without a checksum, that S3 copies in many pieces
    blueprint = planned(source(0, 4 * GIB, crc32=None), source(1, 6 * MIB))
    assert sum(part.entry is not None for part in blueprint.parts) > 100

    found = shared(blueprint, most=32 * COPY_WEIGHT)

    assert all(part.entry == 0 for chunk in found.chunks for part in chunk.parts)
    assert blueprint.parts[0] in found.late  # header and head


def test_what_only_the_builder_has_stays_with_it() -> None:
    # given a list of missing sources, which lies nowhere
    photos = [source(n, 4 * MIB) for n in range(20)]
    listed = SourceObject("", "MISSING.txt", 3, "e", 0, crc32=0, body=b"abc")
    blueprint = planned(*photos[:10], listed, *photos[10:])

    found = shared(blueprint, most=16 * MIB)

    at = blueprint.layout.header_offset(10)
    behind = [part for part in found.kept if part.start > found.chunks[0].start]  # those before are its first
    assert [part.start <= at < part.stop for part in behind] == [True]
    # and no stretch reaches over it
    assert all(before.stop == after.start for one in found.stretches for before, after in pairwise(one))


def test_requests_weigh_too() -> None:
    small = planned(*(source(n, 100) for n in range(10_000)))
    large = planned(source(0, 4 * GIB))

    assert weight_of(small.layout, small.parts) > 10_000 * READ_WEIGHT
    assert weight_of(large.layout, large.parts) < 200 * COPY_WEIGHT


def test_chunks_grow_with_the_job() -> None:
    assert chunk_weight(GIB, least_job=GIB) == LEAST_CHUNK
    assert chunk_weight(4 * GIB, least_job=GIB) == 64 * MIB
    assert chunk_weight(100 * GIB, least_job=GIB) == MOST_CHUNK
    # so that two pages of a listing show them all
    assert 4096 * GIB // chunk_weight(4096 * GIB, least_job=GIB) < 2_000
    # and with the least job that is shared
    assert chunk_weight(40 * MIB, least_job=40 * MIB) == 40 * MIB // CHUNKS_OF_LEAST_JOB
    assert chunk_weight(MIB, least_job=1) == MIN_PART
