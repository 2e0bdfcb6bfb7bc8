"""How a plan is shared out: what is in which chunk, what the builder keeps, and how heavy it is."""

from itertools import pairwise

from archiver.archive.blueprint import Blueprint, make_blueprint
from archiver.archive.chunks import (
    CHUNKS_OF_LEAST_JOB,
    COPY_WEIGHT,
    LEAST_CHUNK,
    MOST_CHUNK,
    MOST_STRETCH,
    READ_WEIGHT,
    Cut,
    chunk_weight,
    cut,
    weight_of,
)
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


def test_photos_are_shared_but_for_the_directory() -> None:
    blueprint = planned(*(source(n, 4 * MIB, crc32=None) for n in range(60)))

    found = shared(blueprint)

    assert [part.number for chunk in found.chunks for part in chunk.parts] == [
        part.number for part in blueprint.parts[:-1]
    ]
    assert (found.kept, found.late) == ((), (blueprint.parts[-1],))
    assert all(16 * MIB <= chunk.weight <= 48 * MIB for chunk in found.chunks)
    assert [chunk.number for chunk in found.chunks] == list(range(len(found.chunks)))


def test_stretches_are_shorter_towards_the_front_and_take_every_chunk_once() -> None:
    found = shared(planned(*(source(n, 4 * MIB) for n in range(1_000))))

    assert [chunk for stretch in found.stretches for chunk in stretch] == list(found.chunks)
    weights = [sum(chunk.weight for chunk in stretch) for stretch in found.stretches]
    assert max(weights) <= MOST_STRETCH
    assert min(weights[1:]) >= 32 * MIB
    assert weights[-1] > 4 * weights[1]


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
    assert [part.start <= at < part.stop for part in found.kept] == [True]
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
