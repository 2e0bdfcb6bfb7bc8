"""However a plan is shared out: each part is somebody's, and no chunk needs what lies outside it."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.blueprint import make_blueprint
from archiver.archive.chunks import cut, next_chunk
from archiver.archive.crew_plan import read_block, write_block
from archiver.archive.crew_record import pieces
from archiver.archive.plan import MIB, MIN_PART
from archiver.archive.storage import SourceObject
from archiver.zipformat.layout import HeaderBytes

sources = st.lists(
    st.builds(
        lambda size, known, own: (size, 7 if known else None, own),
        st.one_of(st.integers(0, 3 * MIB), st.integers(4 * MIB, 60 * MIB)),
        st.booleans(),
        st.integers(0, 19).map(lambda chance: chance == 0),
    ),
    min_size=1,
    max_size=40,
)


@given(sources, st.integers(MIN_PART, 64 * MIB), st.sampled_from([0, 3 * MIB]), st.booleans())
def test_every_part_is_in_one_chunk_or_the_builders_and_chunks_need_nothing_else(
    drawn: list[tuple[int, int | None, bool]], most: int, write_worth: int, copies: bool
) -> None:
    objects = [
        SourceObject("" if own else "photos", f"{n}.jpg", size, "etag", 1_700_000_000 + n, None, crc32)
        for n, (size, crc32, own) in enumerate(drawn)
    ]
    blueprint = make_blueprint(
        [one.key for one in objects],
        objects,
        part_size=8 * MIB,
        write_worth=write_worth,
        uncopyable=set() if copies else set(range(len(objects))),
    )
    layout = blueprint.layout

    found = cut(layout, blueprint.sources, blueprint.parts, most=most)

    shared = [part for chunk in found.chunks for part in chunk.parts]
    numbers = sorted(part.number for part in (*shared, *found.kept, *found.late))
    assert numbers == [part.number for part in blueprint.parts]
    assert [chunk for stretch in found.stretches for chunk in stretch] == list(found.chunks)
    early = {part.number for part in found.kept}
    for chunk in found.chunks:
        inside = {(piece.entry, piece.start): piece.stop - piece.start for piece in pieces(layout, chunk.parts)}
        for part in chunk.parts:
            assert part.stop <= layout.directory_offset
            for segment in () if part.entry is not None else layout.segments(part.start, part.stop):
                entry = layout.entries[segment.entry]  # type: ignore[union-attr]
                assert objects[segment.entry].bucket or not entry.size  # type: ignore[union-attr]
                if isinstance(segment, HeaderBytes) and entry.known_crc32 is None:
                    assert entry.size == sum(length for (index, _), length in inside.items() if index == segment.entry)
    # what the builder begins before the crew is done waits for nothing of theirs
    for part in found.kept:
        for segment in () if part.entry is not None else layout.segments(part.start, part.stop):
            if isinstance(segment, HeaderBytes) and layout.entries[segment.entry].known_crc32 is None:
                data, end = layout.data_offset(segment.entry), layout.data_end(segment.entry)
                assert all(
                    other.number in early
                    for other in blueprint.parts
                    if other.start < end and other.stop > data and other.number not in {p.number for p in found.late}
                )
    for stretch in found.stretches:
        block = write_block(layout, blueprint.sources, stretch)
        assert block is not None
        plan = read_block(block, zone=layout.zone)
        assert list(plan.chunks) == [chunk.number for chunk in stretch]
        for chunk in stretch:
            there = plan.chunks[chunk.number]
            assert [(part.number, part.size) for part in there] == [(part.number, part.size) for part in chunk.parts]
            assert [(p.start, p.stop) for p in pieces(plan.layout, there)] == [
                (p.start, p.stop) for p in pieces(layout, chunk.parts)
            ]
            first = layout.find(stretch[0].start)
            assert [plan.sources[p.entry].key for p in pieces(plan.layout, there)] == [
                objects[p.entry].key for p in pieces(layout, chunk.parts)
            ]
            entry = layout.entries[first]
            # That of nothing is known, told or not.
            assert plan.layout.entries[0] == entry._replace(crc32=entry.known_crc32)


@given(st.integers(1, 60), st.lists(st.integers(0, 59), max_size=6), st.sets(st.integers(0, 59)))
def test_helpers_of_one_stretch_build_each_chunk_once(count: int, begins: list[int], begun: set[int]) -> None:
    # given chunks that somebody has begun, and helpers that know only what each has met
    claimed = {number for number in begun if number < count}
    known = [set(range(count)) for _ in (0, *begins)]
    after: list[int | None] = [begin + 1 for begin in (count - 1, *begins)]
    built: list[int] = []
    working = set(range(len(known)))
    while working:
        for one in sorted(working):
            number = next_chunk(sorted(known[one]), last=count - 1, after=after[one])
            if number is None:
                working.discard(one)
                continue
            assert number in known[one]
            known[one].discard(number)
            after[one] = number
            if number in claimed:
                known[one] -= claimed
                after[one] = None
            else:
                claimed.add(number)
                built.append(number)

    assert sorted([*built, *(number for number in begun if number < count)]) == list(range(count))
