"""Objects that are named one by one and found by the page: never wrong, and never dearer than looking at each."""

import threading
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.listings import LEAST, WORTH_A_PAGE, Keys, find_in_listings
from archiver.archive.location import Location
from archiver.archive.pipeline import build_archive
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import BucketMissing, SourceObject
from archiver.archive.traffic import Traffic
from archiver.errors import SourceAccessDenied
from tests.support.fake_model import PAGE
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, services
from tests.support.waiting import LONG_ENOUGH


def store(s3: FakeS3, *keys: str) -> None:
    for key in keys:
        s3.put_object(SOURCES, key, key.encode())


def told(s3: FakeS3, *keys: str, version: str | None = None, at_once: int = 4) -> dict[str, SourceObject]:
    return found_in_listings(s3.objects(Traffic()), [Location(SOURCES, key, version) for key in keys], at_once=at_once)


def found_in_listings(sources: Any, locations: list[Location], *, at_once: int = 4) -> dict[str, SourceObject]:
    table = SourceTable()
    with ThreadPoolExecutor(at_once) as executor:
        index = find_in_listings(Keys(locations), into=table, sources=sources, executor=executor, window=at_once)
    assert len(table) == len({source.location for source in table}), "nothing is there twice"
    found = {location.key: table[row] for location in locations if (row := index.find(location)) is not None}
    assert all(source.location == Location(SOURCES, key) for key, source in found.items())
    return found


def seen(key: str) -> SourceObject:
    return SourceObject(SOURCES, key, 1, '"e"', 1)


class Listed:
    """A bucket of these keys, which counts the pages of its listing."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys
        self.pages = 0

    def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
        self.pages += 1
        behind = bisect_right(self._keys, after.key)
        return [seen(key) for key in self._keys[behind : behind + PAGE] if key.startswith(prefix)]


def test_all_are_told_by_one_page(s3: FakeS3) -> None:
    keys = [f"photos/{number:03d}" for number in range(100)]
    store(s3, *keys, "photos", "photos/0", "z")

    found = told(s3, *keys)

    assert sorted(found) == keys
    assert found["photos/007"].size == len("photos/007")
    assert s3.calls == {"page": 1}


@pytest.mark.parametrize("end", ["é", " ", "😀"])
def test_a_first_one_that_nothing_plain_comes_just_before_is_left_to_a_look(s3: FakeS3, end: str) -> None:
    keys = [f"{number:03d}{end}" for number in range(100)]
    store(s3, *keys)

    assert sorted(told(s3, *keys)) == keys[1:]
    assert s3.calls == {"page": 1}


def test_all_are_found_in_the_order_of_their_utf_8_however_they_were_named(s3: FakeS3) -> None:
    # UTF-16 has them the other way round.
    keys = [f"{start}{number:02d}" for start in ("\uff5e", "😀") for number in range(20)]
    store(s3, *keys)

    assert sorted(told(s3, *reversed(keys), *keys)) == keys
    assert s3.calls == {"page": 1}


def test_few_are_not_worth_a_page(s3: FakeS3) -> None:
    keys = [f"{number:03d}" for number in range(LEAST - 1)]
    store(s3, *keys)

    assert told(s3, *keys, *keys) == {}
    assert not s3.calls


def test_prefixes_and_versions_are_left_out(s3: FakeS3) -> None:
    keys = [f"{number:03d}" for number in range(LEAST)]
    store(s3, *keys)

    assert told(s3, *keys, version="v1") == {}
    assert told(s3, *(f"{key}/" for key in keys)) == {}
    assert not s3.calls


def test_missing_ones_are_not_told(s3: FakeS3) -> None:
    keys = [f"{number:03d}" for number in range(60)]
    store(s3, *keys[::2])

    assert sorted(told(s3, *keys)) == keys[::2]


def test_a_page_without_enough_that_is_wanted_is_the_last(s3: FakeS3) -> None:
    """A thousand strangers lie between any two of the wanted ones."""
    store(s3, *(f"{number:05d}" for number in range(20_000)))
    wanted = [f"{number:05d}" for number in range(0, 20_000, 200)]

    told(s3, *wanted)

    assert s3.calls == {"page": 1}


def test_a_page_begins_at_the_next_that_is_wanted(s3: FakeS3) -> None:
    """Two crowds of wanted ones, many pages apart."""
    store(s3, *(f"{number:05d}" for number in range(9_000)))
    crowds = [*(f"{number:05d}" for number in range(100)), *(f"{number:05d}" for number in range(8_000, 8_100))]

    found = told(s3, *crowds)

    assert sorted(found) == crowds
    assert s3.calls == {"page": 2}


def test_of_many_side_by_side_each_page_shows_a_thousand(s3: FakeS3) -> None:
    keys = [f"photos/{number:05d}.jpg" for number in range(10_000)]
    store(s3, *keys)

    assert sorted(told(s3, *keys)) == keys
    assert s3.calls == {"page": 10}


@pytest.mark.parametrize(("every", "count"), [(2, 200), (10, 1_000), (20, 1_000)])
def test_of_scattered_ones_all_are_shown_by_few_pages_more_than_one_by_one(every: int, count: int) -> None:
    """One page after the other, each beginning where the one before it ended, takes the fewest."""
    there = [f"{number:06d}" for number in range(count * every)]
    # Not evenly: where the next page ends can only be guessed.
    wanted = sorted(Random(every).sample(there, count))
    listed = Listed(there)

    found = found_in_listings(listed, [Location(SOURCES, key) for key in wanted])

    assert listed.pages <= count * every / PAGE * 1.3 + 1
    # A few between two pages are left to looks.
    assert len(found) >= len(wanted) * 0.95


def test_pages_are_under_way_together(s3: FakeS3) -> None:
    """Every tenth of ten pages is wanted: the first page lets expect how far the next ones reach."""
    store(s3, *(f"{number:05d}" for number in range(10_000)))
    wanted = [f"{number:05d}" for number in range(0, 10_000, 10)]
    gate = threading.Condition()
    asked = under_way = 0

    def enter(_: object) -> None:
        nonlocal asked, under_way
        with gate:
            asked += 1
            under_way += 1
            gate.notify_all()
            # All but the first come only together.
            assert asked == 1 or gate.wait_for(lambda: under_way > 6, LONG_ENOUGH)

    s3.before("page", enter)

    assert len(told(s3, *wanted, at_once=16)) >= 950
    assert s3.calls["page"] <= 12


def test_a_bucket_that_is_missing_ends_it(s3: FakeS3) -> None:
    with pytest.raises(BucketMissing):
        found_in_listings(s3.objects(Traffic()), [Location("nowhere", f"{number}") for number in range(5_000)])


def test_without_the_permission_nothing_is_told(s3: FakeS3) -> None:
    keys = [f"{number:03d}" for number in range(50)]
    store(s3, *keys)

    def deny(_: object) -> None:
        raise SourceAccessDenied("no s3:ListBucket")

    s3.before("page", deny)

    assert told(s3, *keys) == {}


def test_a_listing_that_stands_still_is_left(s3: FakeS3) -> None:
    """A server that knows no StartAfter: its page is true, and the next one would be the same."""
    keys = [f"{number:03d}" for number in range(100)]
    store(s3, *keys)
    first = s3.objects(Traffic()).page(Location(SOURCES, ""), prefix="")[:50]

    class Still:
        pages = 0

        def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
            self.pages += 1
            return first

    still = Still()

    found = found_in_listings(still, [Location(SOURCES, key) for key in keys])

    assert len(found) == 50
    assert still.pages == 2


def test_a_page_that_ends_before_it_begins_is_the_last() -> None:
    keys = [f"{number:03d}" for number in range(1, 101)]

    class Backwards(Listed):
        def page(self, after: Location, *, prefix: str) -> list[SourceObject]:
            return [*super().page(after, prefix=prefix), seen("000")]

    backwards = Backwards(keys[:50])

    assert len(found_in_listings(backwards, [Location(SOURCES, key) for key in keys])) == 50
    assert backwards.pages == 1


def test_pages_that_what_was_found_does_not_pay_for_are_not_asked() -> None:
    """The first page shows some that are wanted, and none of the next ones enough."""
    there = [f"{number:06d}" for number in range(80_000)]
    wanted = there[0:1_000:50] + there[1_000::100]
    listed = Listed(there)

    found = found_in_listings(listed, [Location(SOURCES, key) for key in wanted])

    assert len(found) >= 20
    assert listed.pages <= len(found) // WORTH_A_PAGE + 1


@given(
    there=st.sets(st.text("ab/é😀", min_size=1, max_size=4), max_size=300),
    wanted=st.sets(st.text("ab/é😀", min_size=1, max_size=4), max_size=300),
)
def test_what_is_told_is_true_and_costs_no_more(there: set[str], wanted: set[str]) -> None:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    store(s3, *there)

    found = told(s3, *wanted)

    assert set(found) <= there & wanted
    assert all(source.size == len(key.encode()) for key, source in found.items())
    # Each page but the last of a listing saves more looks than it costs.
    assert s3.calls["page"] <= len(found) // WORTH_A_PAGE + 1


def test_an_archive_of_many_is_the_same_without_listings(s3: FakeS3) -> None:
    keys = [f"photos/{number:03d}.jpg" for number in range(80)]
    store(s3, *keys)
    with_a_page = build_archive(files(*keys), delivery=delivery(), services=services(s3))
    assert s3.calls["page"] == 1
    assert s3.calls["head"] + s3.calls["fetch_small"] == 0

    def deny(_: object) -> None:
        raise SourceAccessDenied("no s3:ListBucket")

    s3.before("page", deny)
    without = build_archive(files(*keys), delivery=delivery(request_id="again"), services=services(s3))

    assert without.files == 80
    assert s3.content(ARCHIVES, without.key) == s3.content(ARCHIVES, with_a_page.key)
