"""Every plan tiles its archive and keeps S3's limits; none of them sends more bytes than it must."""

from functools import cache
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive.plan import PlanError, bytes_copied, bytes_literal, plan_parts
from archiver.zipformat.entry import DEFLATED, Entry
from archiver.zipformat.layout import Layout

# S3's limits once more, so that a slip in the module can't hide: parts, bytes.
MIB = 1024 * 1024
GIB = 1024 * MIB
LEAST, GREATEST, MOST = 5 * MIB, 5 * GIB, 10_000
HEADER = Layout([Entry("00000000", 0, 0)]).directory_offset


def around(*values: int) -> st.SearchStrategy[int]:
    """Integers within a header or two of one of the values."""
    return st.builds(
        lambda value, off: max(0, value + off), st.sampled_from(values), st.integers(-2 * HEADER, 2 * HEADER)
    )


sizes = st.one_of(
    st.integers(0, 40_000),
    st.integers(0, 12 * MIB),
    around(LEAST, 2 * LEAST, 3 * LEAST, 8 * MIB, 15 * MIB, 128 * MIB),
    around(4 * GIB, GREATEST, GREATEST + LEAST, 2 * GREATEST),
    st.integers(0, 100 * GIB),
)
part_sizes = st.sampled_from([LEAST, 8 * MIB, 16 * MIB, 100 * MIB]) | st.integers(LEAST, GREATEST)


@st.composite
def layouts(draw: st.DrawFn, sizes: st.SearchStrategy[int] = sizes, max_size: int = 40) -> Layout:
    entries = []
    for index, size in enumerate(draw(st.lists(sizes, max_size=max_size))):
        if draw(st.booleans()):
            entries.append(Entry(f"{index:08}", size, 0))
        else:
            entries.append(Entry(f"{index:08}", size * 3, 0, method=DEFLATED, compressed_size=size))
    return Layout(entries)


@cache
def repetitive(size: int, count: int, other: int | None = None) -> Layout:
    """Objects of one size, or of two by turns."""
    sizes = [size if other is None or index % 2 == 0 else other for index in range(count)]
    return Layout([Entry(f"{index:08}", size, 0) for index, size in enumerate(sizes)])


@st.composite
def repetitive_layouts(draw: st.DrawFn) -> Layout:
    """So many objects, or so large ones, that the part numbers get scarce."""
    return repetitive(*draw(st.sampled_from([
        (12 * MIB, 6_000), (9 * MIB, 15_000), (11 * MIB, 10_000, 4 * MIB), (40 * GIB, 50), (1024 * GIB, 9),
        (700 * MIB, 9_000),
    ])))  # fmt: skip


def check(layout: Layout, *, copyable: set[int], part_size: int, copy_part_size: int, start: int, first: int) -> None:
    plan = plan_parts(
        layout,
        part_size=part_size,
        copyable=copyable.__contains__,
        copy_part_size=copy_part_size,
        start=start,
        first_number=first,
    )

    assert [part.number for part in plan] == list(range(first, first + len(plan)))
    assert first + len(plan) - 1 <= MOST
    assert sum(part.size for part in plan) == bytes_copied(plan) + bytes_literal(plan) == layout.size - start
    assert all(before.stop == after.start for before, after in pairwise(plan))
    if plan:
        assert plan[0].start == start
        assert plan[-1].stop == layout.size
    assert all(LEAST <= part.size <= GREATEST for part in plan[:-1])
    assert all(0 < part.size <= GREATEST for part in plan[-1:])
    for part in plan:
        if part.entry is not None:
            source = layout.entries[part.entry].stored_size
            assert part.entry in copyable
            assert source > LEAST, "S3 copies a range only of a larger source"
            assert 0 <= part.source_start < part.source_stop <= source
            assert layout.data_offset(part.entry) + part.source_start == part.start


@given(layouts(), st.data())
@settings(deadline=None, max_examples=300)
def test_parts_tile_the_archive_within_all_limits(layout: Layout, data: st.DataObject) -> None:
    numbers = list(range(len(layout.entries)))
    check(
        layout,
        copyable=data.draw(st.sets(st.sampled_from(numbers)) if numbers else st.just(set())),
        part_size=data.draw(part_sizes),
        copy_part_size=data.draw(part_sizes),
        start=data.draw(st.just(0) | st.integers(0, layout.size)),
        first=data.draw(st.just(1) | st.integers(1, 500)),
    )


@given(repetitive_layouts(), st.data())
@settings(deadline=None, max_examples=20)
def test_limits_hold_where_part_numbers_are_scarce(layout: Layout, data: st.DataObject) -> None:
    some = data.draw(st.integers(1, 7))
    check(
        layout,
        copyable=set(range(0, len(layout.entries), some)),
        part_size=data.draw(part_sizes),
        copy_part_size=data.draw(part_sizes),
        start=data.draw(st.just(0) | st.integers(0, layout.size)),
        first=data.draw(st.just(1) | st.integers(1, 5_000)),
    )


@given(layouts(), st.integers(MOST - 40, MOST), st.booleans())
@settings(deadline=None)
def test_with_few_numbers_left_a_plan_is_right_or_refused(layout: Layout, first: int, copies: bool) -> None:
    copyable = set(range(len(layout.entries))) if copies else set()
    try:
        check(layout, copyable=copyable, part_size=8 * MIB, copy_part_size=8 * MIB, start=0, first=first)
    except PlanError:
        assert layout.size > (MOST - first + 1) * GREATEST, "refused although it fits"


@given(
    layouts(sizes=st.integers(0, 12 * MIB) | around(LEAST, 2 * LEAST)), st.sampled_from([5 * MIB, 8 * MIB, 32 * MIB])
)
@settings(deadline=None)
def test_small_entries_are_kept_whole_and_literal_parts_small(layout: Layout, part_size: int) -> None:
    plan = plan_parts(layout, part_size=part_size, copyable=lambda index: index % 2 == 0)

    assert all(part.size <= max(part_size, 15 * MIB) + LEAST + HEADER for part in plan if part.entry is None)
    stops = {part.stop for part in plan}
    copied = {part.entry for part in plan}
    for index in range(len(layout.entries)):
        begin, end = layout.header_offset(index), layout.data_end(index)
        if index not in copied and end - begin <= 10 * MIB:
            assert not any(begin < stop < end for stop in stops), "a small entry is split"


def greatest_gain(layout: Layout, *, write_worth: int, piece: int) -> int:
    """By brute force: every choice of entries to copy, each literal part before a copy topped up to the least size."""
    eligible = [index for index, entry in enumerate(layout.entries) if entry.stored_size > LEAST]
    greatest = 0
    for count in range(1, len(eligible) + 1):
        for chosen in combinations(eligible, count):
            gain, open_since = 0, 0
            for index in chosen:
                at = max(layout.data_offset(index), open_since + LEAST)
                length = layout.data_end(index) - at
                if length < LEAST:
                    break
                gain += length - write_worth * (-(-length // piece) + 1)
                open_since = layout.data_end(index)
            else:
                greatest = max(greatest, gain)
    return greatest


@given(layouts(sizes=st.integers(0, 16 * MIB) | around(LEAST, 2 * LEAST, 3 * LEAST), max_size=7))
@settings(deadline=None)
def test_no_choice_of_copies_sends_fewer_bytes(layout: Layout) -> None:
    plan = plan_parts(layout, copyable=lambda _index: True)

    assert bytes_copied(plan) == greatest_gain(layout, write_worth=0, piece=32 * MIB)


@given(
    layouts(sizes=st.integers(0, 40 * MIB) | around(LEAST, 2 * LEAST, 3 * LEAST), max_size=6),
    st.sampled_from([1, MIB, 3 * MIB, 6 * MIB]),
)
@settings(deadline=None)
def test_no_choice_of_copies_gains_more(layout: Layout, write_worth: int) -> None:
    plan = plan_parts(layout, copyable=lambda _index: True, write_worth=write_worth)

    copied: dict[int, int] = {}
    for part in plan:
        if part.entry is not None:
            copied[part.entry] = copied.get(part.entry, 0) + part.size
    gain = sum(length - write_worth * (-(-length // (32 * MIB)) + 1) for length in copied.values())
    assert gain == greatest_gain(layout, write_worth=write_worth, piece=32 * MIB)
