"""Columns say what they were filled with, in a fraction of the memory."""

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.columns import TextColumn, column_of
from archiver.archive.files import FileList, RequestedFile
from archiver.archive.location import Location
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import SourceObject
from archiver.zipformat.names import each_unique


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_texts_are_what_they_were(texts: list[str]) -> None:
    column = TextColumn(texts)

    assert list(column) == texts
    assert [column[index] for index in range(-len(texts), 0)] == texts
    assert list(column[1:3]) == texts[1:3]
    with pytest.raises(IndexError):
        column[len(texts)]


def test_a_column_is_not_made_twice() -> None:
    column = TextColumn(["a"])

    assert column_of(column) is column
    assert list(column_of(iter(["a", "b"]))) == ["a", "b"]


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
