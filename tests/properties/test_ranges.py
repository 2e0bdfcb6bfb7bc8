"""However the keys below a prefix are divided: together the ranges are the whole listing, at a bounded price."""

import datetime
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.ranges import EARNED, HANDFUL, MOST_BYTES, Range, Ranges, Shown

ROOM = 16

#: Keys as they are, and as nobody expects them.
keys_below = st.sets(
    st.one_of(
        st.integers(0, 3_000).map("{:06d}.jpg".format),
        st.integers(1, 3_000).map("photo{}".format),
        st.integers(0, 2**64 - 1).map("{:016x}".format),
        st.tuples(st.sampled_from("abzÄ京😀"), st.integers(0, 99)).map("{0[0]}/{0[1]}".format),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
    ),
    max_size=300,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the ranges have brought together, how many pages that took, and how many of these followed each other."""

    keys: list[str]
    pages: int
    rounds: int
    ranges: Ranges


def listed(
    keys: Iterable[str], *, prefix: str = "", page: int = 1000, room: int = ROOM, empties: random.Random | None = None
) -> Listed:
    """List keys in ranges. With ``empties`` some pages have nothing on them, though more follow."""
    there = sorted(prefix + key for key in keys)
    ranges = Ranges(prefix)
    brought: dict[Range, list[str]] = {}
    under_way, pages, rounds = deque([(ranges.head, 1)]), 0, 0
    while under_way:
        assert len(under_way) <= max(1, room)
        at, number = under_way.popleft()
        pages, rounds = pages + 1, max(rounds, number)
        mine = brought.setdefault(at, [])
        behind = bisect_right(there, mine[-1] if mine else at.after)
        shown, more = there[behind : behind + page], behind + page < len(there)
        if empties is not None and empties.random() < 0.1:
            shown, more = [], True
        elif more and not ranges.learnt:
            ranges.learn(shown)
        kept = len(shown) if at.upto is None else bisect_right(shown, at.upto)
        mine += shown[:kept]
        told = Shown(
            first=shown[0] if kept else None,
            last=shown[kept - 1] if kept else None,
            beyond=shown[kept] if kept < len(shown) else None,
            kept=kept,
            listed=len(shown),
            more=more,
        )
        under_way += [(one, number + 1) for one in ranges.shown(at, told, room=room - len(under_way))]
    return Listed([key for at in ranges for key in brought.get(at, ())], pages, rounds, ranges)


def most_pages(keys: int, page: int) -> float:
    """The pages that a listing may take: those that it must, and what may be wasted, some of it under way."""
    needed = -(-keys // page) or 1
    return needed * (1 + EARNED) + HANDFUL + ROOM


@given(keys_below, st.sampled_from(["", "p/", "photos/Ä/"]), st.integers(1, 40), st.integers(0, ROOM))
def test_the_ranges_together_are_the_whole(keys: set[str], prefix: str, page: int, room: int) -> None:
    found = listed(keys, prefix=prefix, page=page, room=room)

    assert found.keys == sorted(prefix + key for key in keys), "each once, in order"
    assert found.ranges.is_whole()
    assert found.pages <= most_pages(len(keys), page)
    for at in found.ranges:
        assert at.upto is None or at.after < at.upto
        assert at.upto == (at.behind.after if at.behind else None)
        assert len(at.after.encode()) <= MOST_BYTES


@given(keys_below, st.integers(1, 40), st.integers())
def test_pages_with_nothing_on_them_lose_nothing(keys: set[str], page: int, seed: int) -> None:
    found = listed(keys, page=page, empties=random.Random(seed))

    assert found.keys == sorted(keys)
    assert found.ranges.is_whole()


@given(keys_below, st.integers(1, 40), st.data())
def test_a_range_that_lacks_its_keys_is_told(keys: set[str], page: int, data: st.DataObject) -> None:
    """As of a server that answers nothing where it is to begin behind a key that does not exist."""
    ranges = listed(keys, page=page).ranges
    # One that ends with the last key it may have shows none behind it.
    lacking = [one.behind for one in ranges if one.behind and one.behind.first is not None and one.beyond is not None]
    if lacking:
        lost = data.draw(st.sampled_from(lacking))
        lost.first = lost.last = lost.beyond = None

    assert ranges.is_whole() == (not lacking)


def dates(count: int) -> list[str]:
    first = datetime.date(2026, 1, 1)
    days = (first + datetime.timedelta(days=number * 330 // count) for number in range(count))
    return [f"{day:%Y/%m/%d}/{number * 7919 % 1_000_003:07d}.jpg" for number, day in enumerate(days)]


def hashes(count: int) -> list[str]:
    drawn = random.Random(1)
    return [f"{drawn.getrandbits(128):032x}" for _ in range(count)]


NAMES = (
    "berlin",
    "london",
    "paris",
    "rome",
    "madrid",
    "oslo",
    "wien",
    "köln",
    "東京",
    "new york",
    "Zürich",
    "a",
    "b",
    "x",
)
#: Shapes of keys, and how many rounds of pages may follow each other at most where 100 pages would.
SHAPES: dict[str, tuple[Callable[[int], list[str]], int]] = {
    "counters": (lambda count: [f"{number:06d}.jpg" for number in range(count)], 12),
    "counters in long keys": (
        lambda count: [f"a/long/way/down/to/IMG_{number:08d}/raw.jpg" for number in range(count)],
        12,
    ),
    "counters that are not padded": (lambda count: [f"photo{number}" for number in range(1, count + 1)], 20),
    "hashes": (hashes, 16),
    "dates": (dates, 18),
    "folders": (lambda count: [f"album{chr(65 + number % 26)}/{number:06d}" for number in range(count)], 18),
    "folders with names": (
        lambda count: [f"{NAMES[number % len(NAMES)]}/{number:06d}.jpg" for number in range(count)],
        28,
    ),
    "few folders": (lambda count: [f"{number % 5}/{number * 7919 % 1_000_003:07d}" for number in range(count)], 18),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_hundred_pages_take_a_few_rounds(shape: str) -> None:
    make, rounds = SHAPES[shape]
    keys = make(100_000)

    found = listed(keys, prefix="p/")

    assert found.keys == sorted(f"p/{key}" for key in keys)
    assert found.rounds <= rounds
    assert found.pages <= most_pages(100_000, 1000)


@pytest.mark.parametrize("count", [0, 1, 999, 1000])
def test_what_is_one_page_takes_one(count: int) -> None:
    assert listed(f"{number:04d}" for number in range(count)).pages == 1


def test_without_room_it_goes_page_after_page() -> None:
    found = listed((f"{number:06d}" for number in range(20_000)), room=1)

    assert (found.pages, found.rounds) == (20, 20)
