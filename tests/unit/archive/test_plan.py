"""Plans, case by case. What holds for all of them is in tests/properties/test_plan.py."""

from collections.abc import Callable

import pytest

from archiver.archive.plan import (
    COPY_SOURCE_MIN,
    GIB,
    MAX_OBJECT,
    MAX_PART,
    MAX_PARTS,
    MIB,
    MIN_PART,
    Part,
    PlanError,
    bytes_copied,
    bytes_literal,
    never_copied,
    plan_parts,
    write_worth,
)
from archiver.zipformat.entry import DEFLATED, Entry
from archiver.zipformat.layout import Layout


def layout_of(*sizes: int) -> Layout:
    return Layout([Entry(f"{index:08}", size, 0) for index, size in enumerate(sizes)])


def always(_index: int) -> bool:
    return True


def never(_index: int) -> bool:
    return False


def test_a_small_archive_is_one_literal_part() -> None:
    layout = layout_of(1000, 2000)

    assert plan_parts(layout, copyable=always) == [Part(1, 0, layout.size, None, 0)]


def test_an_empty_archive_is_one_part() -> None:
    assert plan_parts(layout_of(), copyable=always) == [Part(1, 0, 22, None, 0)]


def test_the_head_of_a_large_object_rides_with_its_header_and_s3_copies_the_rest() -> None:
    layout = layout_of(30 * MIB)
    data = layout.data_offset(0)

    plan = plan_parts(layout, copyable=always)

    assert plan == [
        Part(1, 0, MIN_PART, None, 0),
        Part(2, MIN_PART, data + 30 * MIB, 0, MIN_PART - data),
        Part(3, data + 30 * MIB, layout.size, None, 0),
    ]
    assert bytes_copied(plan) + bytes_literal(plan) == layout.size


def test_no_head_is_read_where_the_literal_part_is_long_enough_already() -> None:
    layout = layout_of(3 * MIB, 3 * MIB, 30 * MIB)

    plan = plan_parts(layout, copyable=always)

    assert [(part.entry, part.source_start) for part in plan] == [(None, 0), (2, 0), (None, 0)]
    assert plan[1].start == layout.data_offset(2)


def test_an_object_is_copied_only_where_5_mib_of_it_are_left() -> None:
    # The header is 47 bytes long, so 10 MiB less 47 leave 5 MiB beyond the head.
    header = layout_of(0).data_offset(0)
    just_enough, one_less = 2 * MIN_PART - header, 2 * MIN_PART - header - 1

    assert bytes_copied(plan_parts(layout_of(just_enough), copyable=always)) == MIN_PART
    assert bytes_copied(plan_parts(layout_of(one_less), copyable=always)) == 0


def test_a_source_must_be_larger_than_5_mib() -> None:
    # Given a literal part that is long enough, so that nothing but the source's size decides.
    asked: list[int] = []

    def ask(index: int) -> bool:
        asked.append(index)
        return True

    exact = plan_parts(layout_of(6 * MIB, COPY_SOURCE_MIN, COPY_SOURCE_MIN + 1), copyable=ask)

    assert [part.entry for part in exact if part.entry is not None] == [2]
    assert asked == [0, 2]


def test_what_the_caller_cannot_copy_is_sent() -> None:
    layout = layout_of(30 * MIB, 30 * MIB)

    plan = plan_parts(layout, copyable=lambda index: index == 1)

    assert {part.entry for part in plan} == {None, 1}


def test_the_compressed_bytes_are_what_is_copied() -> None:
    layout = Layout([Entry("a.csv", 400 * MIB, 0, method=DEFLATED, compressed_size=30 * MIB)])

    plan = plan_parts(layout, copyable=always)

    assert plan[1].source_stop == 30 * MIB


def test_large_copies_are_cut_into_even_pieces_without_a_tail() -> None:
    layout = layout_of(300 * MIB)

    copies = [part for part in plan_parts(layout, copyable=always, copy_part_size=100 * MIB) if part.entry is not None]

    assert len(copies) == 3
    assert max(part.size for part in copies) - min(part.size for part in copies) <= 1
    assert [part.source_start for part in copies][1:] == [part.source_stop for part in copies][:-1]


def test_a_6_tib_object_is_copied_in_parts_of_at_most_5_gib() -> None:
    plan = plan_parts(layout_of(6 * 1024 * GIB), copyable=always, copy_part_size=MAX_PART)

    assert max(part.size for part in plan) <= MAX_PART
    assert bytes_literal(plan) < 20 * MIB


def test_an_object_is_sent_where_that_spares_the_next_more_than_it_costs() -> None:
    # Given 10 and 9 MiB: half of the first could be copied, or all of the second behind it.
    plan = plan_parts(layout_of(10 * MIB, 9 * MIB), copyable=always)

    assert [part.entry for part in plan] == [None, 1, None]
    assert bytes_copied(plan) == 9 * MIB


def test_a_copy_must_spare_bytes_that_are_worth_its_requests() -> None:
    # A copy of one piece and a further literal part: two requests, here worth 12 MiB; in two pieces three, 18 MiB.
    def copied(size: int) -> int:
        return bytes_copied(plan_parts(layout_of(MIN_PART, size), copyable=always, write_worth=6 * MIB))

    assert copied(12 * MIB) == 0
    assert copied(12 * MIB + 1) == 12 * MIB + 1
    assert copied(33 * MIB) == 33 * MIB
    assert bytes_copied(plan_parts(layout_of(MIN_PART, 33 * MIB), copyable=always, write_worth=12 * MIB)) == 0


def test_a_request_is_worth_more_bytes_the_cheaper_a_gibibyte_through_the_worker_is() -> None:
    assert write_worth(0.001) == round(0.005 * 2**30)
    assert write_worth(0.01) == round(0.0005 * 2**30)


@pytest.mark.parametrize("worth", [0, 3 * MIB, 4 * MIB, 1 << 40])
def test_what_is_never_copied_is_always_read_in_one_piece(worth: int) -> None:
    size = max(MIN_PART, never_copied(worth) - 1)
    layout = layout_of(*[size] * 20)

    plan = plan_parts(layout, copyable=lambda _: size > MIN_PART, write_worth=worth)

    assert bytes_copied(plan) == 0
    assert {part.start for part in plan[:-1]} <= {layout.header_offset(index) for index in range(20)}


def test_what_is_left_of_a_full_literal_part_joins_it_before_a_copy() -> None:
    # Given 7.9 MiB, then 1 MiB, which does not fit with it into 8 MiB and is too short for a part before a copy.
    layout = layout_of(79 * MIB // 10, MIB, 30 * MIB)

    plan = plan_parts(layout, part_size=8 * MIB, copyable=always)

    assert [part.entry for part in plan] == [None, 2, None]
    assert bytes_copied(plan) == 30 * MIB


def test_small_files_fill_parts_and_are_never_split() -> None:
    layout = layout_of(*[3 * MIB] * 100)

    plan = plan_parts(layout, part_size=8 * MIB, copyable=always)

    borders = {layout.header_offset(index) for index in range(100)} | {layout.directory_offset, layout.size}
    assert {part.stop for part in plan} <= borders
    assert max(part.size for part in plan) <= 10 * MIB  # a quarter over the wish, for a whole file more
    assert len(plan) == 34


def test_large_parts_are_filled_no_further_than_wished() -> None:
    layout = layout_of(*[9 * MIB, 9 * MIB, 9 * MIB, 3 * MIB] * 8)

    plan = plan_parts(layout, part_size=32 * MIB, copyable=lambda _: False)

    assert max(part.size for part in plan) <= 32 * MIB


def test_a_literal_part_has_at_most_15_mib_or_the_part_size() -> None:
    # Given just under 5 MiB, which can't be closed, and a file that is just not to be split.
    header = layout_of(0).data_offset(0)
    layout = layout_of(MIN_PART - header - 1, 2 * MIN_PART - header, 2 * MIN_PART - header)

    plan = plan_parts(layout, part_size=MIN_PART, copyable=never)

    assert plan[0].size == 3 * MIN_PART - 1


def test_a_large_object_that_cannot_be_copied_is_cut_at_the_part_size() -> None:
    plan = plan_parts(layout_of(100 * MIB), part_size=8 * MIB, copyable=never)

    assert [part.size for part in plan[:-1]] == [8 * MIB] * 12


def test_a_large_directory_is_cut_too() -> None:
    layout = Layout([Entry(f"{'d' * 250}/{index:06}", 0, 0) for index in range(60_000)])
    assert layout.directory_size > 2 * 8 * MIB

    plan = plan_parts(layout, part_size=8 * MIB, copyable=always)

    assert all(MIN_PART <= part.size <= 15 * MIB for part in plan[:-1])


def test_an_earlier_attempt_is_continued_where_it_ended() -> None:
    layout = layout_of(50 * MIB, 3 * MIB)
    start = 20 * MIB

    plan = plan_parts(layout, copyable=always, start=start, first_number=4)

    # In the middle of the object the copy needs no head.
    assert plan[0] == Part(4, start, layout.data_end(0), 0, start - layout.data_offset(0))
    assert plan[-1].stop == layout.size
    assert plan_parts(layout, copyable=always, start=layout.size, first_number=5) == []


def test_part_sizes_grow_where_10000_parts_would_not_suffice() -> None:
    layout = layout_of(*[9 * MIB] * 20_000)

    plan = plan_parts(layout, part_size=5 * MIB, copyable=never)

    assert len(plan) <= MAX_PARTS
    assert max(part.size for part in plan) < 30 * MIB, "no more than the numbers ask for"


def test_copies_become_fewer_where_10000_parts_would_not_suffice() -> None:
    # Given 6,000 objects, each worth a copy, which are 12,000 parts.
    layout = layout_of(*[12 * MIB] * 6_000)

    plan = plan_parts(layout, copyable=always)

    assert len(plan) <= MAX_PARTS
    assert bytes_copied(plan) > layout.size * 0.3


def test_a_copy_is_cut_into_larger_pieces_where_10000_parts_would_not_suffice() -> None:
    layout = layout_of(*[1024 * GIB] * 5)

    plan = plan_parts(layout, copyable=always)

    assert len(plan) <= MAX_PARTS
    assert bytes_literal(plan) < 200 * MIB


@pytest.mark.parametrize("copyable", [always, never])
def test_the_largest_object_of_s3_is_planned_and_nothing_beyond(copyable: Callable[[int], bool]) -> None:
    overhead = layout_of(MAX_OBJECT).size - MAX_OBJECT
    largest = layout_of(MAX_OBJECT - overhead)
    assert largest.size == MAX_OBJECT

    plan = plan_parts(largest, copyable=copyable)

    assert len(plan) == MAX_PARTS
    assert all(part.size == MAX_PART for part in plan)
    with pytest.raises(PlanError, match="largest object"):
        plan_parts(layout_of(MAX_OBJECT - overhead + 1), copyable=copyable)


def test_too_few_part_numbers_left_are_a_plan_error() -> None:
    layout = layout_of(6 * GIB)

    with pytest.raises(PlanError, match="part numbers"):
        plan_parts(layout, copyable=always, start=1, first_number=MAX_PARTS)
    with pytest.raises(PlanError, match="part numbers"):
        plan_parts(layout, copyable=always, start=1, first_number=MAX_PARTS + 1)


def test_numbers_above_the_last_allowed_one_are_not_used() -> None:
    layout = layout_of(*[12 * MIB] * 100)

    plan = plan_parts(layout, copyable=always, last_number=20)

    assert plan[-1].number <= 20
    assert plan[-1].stop == layout.size


def test_the_last_number_is_enough_for_what_one_part_holds() -> None:
    layout = layout_of(100 * MIB)

    plan = plan_parts(layout, copyable=always, start=1, first_number=MAX_PARTS)

    assert plan == [Part(MAX_PARTS, 1, layout.size, None, 0)]


@pytest.mark.parametrize(
    "bad",
    [
        {"part_size": MIN_PART - 1},
        {"part_size": MAX_PART + 1},
        {"copy_part_size": MIN_PART - 1},
        {"copy_part_size": MAX_PART + 1},
        {"start": -1},
        {"start": 10_000},
        {"first_number": 0},
        {"last_number": MAX_PARTS + 1},
    ],
)
def test_arguments_out_of_bounds_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"part|byte"):
        plan_parts(layout_of(10), copyable=always, **bad)
