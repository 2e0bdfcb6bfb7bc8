"""Columns say what the objects said that they were filled with, in a fraction of the memory."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.files import FileList, RequestedFile
from archiver.archive.location import Location
from archiver.archive.storage import SourceObject
from archiver.archive.tables import LocationIndex, LocationTable, SourceTable, TextColumn
from archiver.zipformat.names import each_unique

SOURCES = [
    SourceObject("b", "a", 1, '"e"', 1_700_000_000),
    SourceObject("b", "ü/\U0001f600", 2**45, '"f"', -1, "v1", 0, composite=True),
    SourceObject("c", "", 0, "", 0, crc32=0xFFFF_FFFF, body=b"body", archived=True),
]


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_texts_are_what_they_were(texts: list[str]) -> None:
    column = TextColumn(texts)

    assert list(column) == texts
    assert [column[index] for index in range(-len(texts), 0)] == texts
    assert list(column[1:3]) == texts[1:3]
    with pytest.raises(IndexError):
        column[len(texts)]


def test_objects_are_what_they_were() -> None:
    table = SourceTable(SOURCES)

    assert list(table) == SOURCES
    assert [table[-1], *table[:2]] == [SOURCES[2], *SOURCES[:2]]
    assert list(table[::-1][1:]) == [SOURCES[1], SOURCES[0]]
    assert [table.size(number) for number in range(3)] == [1, 2**45, 0]
    assert [table.says_enough(number) for number in range(3)] == [True, False, False]
    with pytest.raises(IndexError):
        table[3]


def test_what_is_known_better_takes_its_place_unless_it_has_changed() -> None:
    table = SourceTable(SOURCES[:1])
    looked = SourceObject("b", "a", 1, '"e"', 1_700_000_000, "v2", 7, composite=True)
    changed = SourceObject("b", "a", 1, '"other"', 1_700_000_000)

    assert table.renew(0, looked) == 0
    assert table.renew(0, changed) == 1
    assert list(table) == [looked, changed]


def test_many_threads_may_append() -> None:
    table = SourceTable()
    sources = [SourceObject("b", f"{number}", number, f'"{number}"', number) for number in range(4_000)]

    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(table.append, sources))

    assert [table[row] for row in rows] == sources


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("xy", max_size=4), st.sampled_from([None, "v"]))))
def test_an_index_finds_the_first_of_equal_ones(given: list[tuple[str, str, str | None]]) -> None:
    table = LocationTable()
    index = LocationIndex(table)
    first: dict[Location, int] = {}
    for bucket, key, version in given:
        number = table.append(bucket, key, version)
        index.add(number, Location(bucket, key, version))
        first.setdefault(Location(bucket, key, version), number)

    assert {location: index.find(location) for location in table} == first
    assert index.find(Location("a", "elsewhere")) is None


def peak(make: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        made = make()
        _, most = tracemalloc.get_traced_memory()
        del made
        return most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda n: FileList(RequestedFile(Location("b", f"photos/{i:09d}.jpg"), f"{i:03d}/") for i in range(n)), 60),
        (lambda n: SourceTable(SourceObject("b", f"{i:09d}", i, f'"{i:032x}"', i, crc32=i) for i in range(n)), 120),
        (lambda n: TextColumn(each_unique(TextColumn(f"{i:09d}.jpg" for i in range(n)))), 120),
    ],
    ids=["files", "sources", "names"],
)
def test_an_entry_takes_little_memory(make: Callable[[int], object], most: int) -> None:
    count = 20_000

    assert peak(lambda: make(count)) < most * count
