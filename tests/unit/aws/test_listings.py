"""A listing ends: with its last page, or with an error."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from archiver.aws.listings import MOST_EMPTY_PAGES, going_forward
from archiver.errors import StorageUnavailable


def listed(pages: Iterable[dict[str, Any]]) -> list[str]:
    forward = going_forward(pages, what="s3://b/p/", items="Contents", identity=lambda item: item, markers=("Next",))
    return [item for page in forward for item in page.get("Contents", ())]


def page(*items: str, after: str | None = None) -> dict[str, Any]:
    return {"Contents": list(items), "IsTruncated": after is not None} | ({"Next": after} if after else {})


def test_pages_follow_each_other_to_the_last() -> None:
    assert listed([page("a", "b", after="1"), page(after="2"), page("c")]) == ["a", "b", "c"]
    assert listed([page()]) == []


@pytest.mark.parametrize(
    "pages",
    [
        itertools.cycle([page("a", after="1"), page("b", after="2")]),
        (page("a", after=str(number)) for number in itertools.count()),
        itertools.chain([page("a", after="1")], itertools.repeat(page(after="1"))),
    ],
    ids=["in a circle", "the same under another marker", "the same marker"],
)
def test_pages_that_come_again_are_an_error(pages: Iterator[dict[str, Any]]) -> None:
    with pytest.raises(StorageUnavailable, match="listing of s3://b/p/ does not go forward"):
        listed(pages)


def test_empty_pages_without_end_are_an_error() -> None:
    given = 0

    def empty() -> Iterator[dict[str, Any]]:
        nonlocal given
        for given in itertools.count(1):
            yield page(after=str(given))

    with pytest.raises(StorageUnavailable, match="does not go forward"):
        listed(empty())

    assert given == MOST_EMPTY_PAGES + 1


def test_a_page_that_tells_neither_its_end_nor_the_next_is_an_error() -> None:
    with pytest.raises(StorageUnavailable, match="ends early"):
        listed([{"Contents": ["a"], "IsTruncated": True}])
