"""A table of objects says what they said, and tells what an archive is made of from all else."""

import zlib
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.source_table import UNKNOWN, PickedSources, SourceTable, as_picked
from archiver.archive.storage import SourceObject

SOURCES = [
    SourceObject("b", "a", 1, '"e"', 1_700_000_000),
    SourceObject("b", "ü/\U0001f600", 2**45, '"f"', -1, "v1", 0, composite=True),
    SourceObject("c", "", 0, "", 0, crc32=0xFFFF_FFFF, body=b"body", archived=True),
]


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


def test_columns_say_what_is_known_of_the_content() -> None:
    there = SourceObject("b", "k", 4, '"e"', 5, body=b"body")

    columns = as_picked([*SOURCES, there]).columns()

    assert list(columns.sizes) == [1, 2**45, 0, 4]
    assert list(columns.modified) == [1_700_000_000, -1, 0, 5]
    assert list(columns.crc32s) == [UNKNOWN, 0, 0xFFFF_FFFF, zlib.crc32(b"body")]


objects = st.tuples(
    st.sampled_from(["b", "bb"]),
    st.text("xü\ud800", max_size=2),
    st.integers(0, 2),
    st.text("e1", max_size=2),
    st.integers(-1, 1),
    st.sampled_from([None, "v", "v1"]),
).map(lambda fields: SourceObject(*fields))


def identities(sources: Sequence[SourceObject]) -> bytes:
    return b"".join(as_picked(sources).identities())


@given(st.lists(objects, max_size=4), st.randoms(use_true_random=False))
def test_an_identity_is_that_of_the_objects_wherever_they_lie_in_a_table(
    sources: list[SourceObject], random: Random
) -> None:
    table = SourceTable([SourceObject("other", "else", 7, "f", 7, "v0")])
    places = list(range(len(sources)))
    random.shuffle(places)
    rows = {place: table.append(sources[place]) for place in places}

    assert identities(PickedSources(table, array("I", (rows[place] for place in sorted(rows))))) == identities(sources)


@given(st.lists(st.tuples(objects, objects), max_size=2))
def test_other_objects_have_another_identity(pairs: list[tuple[SourceObject, SourceObject]]) -> None:
    one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    assert (identities(one) == identities(other)) == (one == other)


def test_many_identities_come_in_pieces() -> None:
    sources = [SourceObject("b", f"{number}", number, '"e"', 0) for number in range(2_500)]

    pieces = list(as_picked(sources).identities())

    assert len(pieces) == 3
    assert pieces[1] == identities(sources[1_000:2_000])
