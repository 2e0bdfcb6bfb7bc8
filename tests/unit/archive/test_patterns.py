"""Globs over the path below a prefix, and the payload's keys that hold them."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.patterns import Selection
from archiver.archive.pipeline import build_archive
from archiver.archive.request import parse_request
from archiver.archive.resolve import Limits
from archiver.errors import InvalidPayload, LimitExceeded, MissingSources
from devtools.localstack import CHECKOUT
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, delivery, services, unzipped


def documented() -> list[tuple[str, str, str]]:
    """The table of docs/payload.md: pattern, what it matches, what it does not."""
    text = (CHECKOUT / "docs" / "payload.md").read_text(encoding="utf-8")
    table = text.partition("| pattern | matches | does not match |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \|$", table, flags=re.MULTILINE)
    assert len(rows) > 5
    return rows


@pytest.mark.parametrize(("pattern", "matches", "others"), documented())
def test_the_documented_table(pattern: str, matches: str, others: str) -> None:
    for path in re.findall("`([^`]+)`", matches):
        assert Selection((pattern,)).takes(path), path
    for path in re.findall("`([^`]+)`", others):
        assert not Selection((pattern,)).takes(path), path


def naive(pattern: list[str], segments: list[str]) -> bool:
    """The definition, with all its branches."""
    if not pattern:
        return not segments
    if pattern[0] == "**":
        return any(naive(pattern[1:], segments[at:]) for at in range(len(segments) + 1))
    return bool(segments) and pattern[0] in ("*", segments[0]) and naive(pattern[1:], segments[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=6),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=7),
)
def test_any_depth_is_what_it_says(pattern: list[str], segments: list[str]) -> None:
    assert Selection(("/".join(pattern),)).takes("/".join(segments)) == naive(pattern, segments)


@pytest.mark.parametrize("pattern", ["*a" * 500 + "b", "**/" * 300 + "b", "*a/**/" * 150 + "b", "[" * 1000])
def test_no_pattern_takes_long(pattern: str) -> None:
    selection = Selection((pattern,))
    paths = ["a" * 1000, "a/" * 500 + "a"]
    selection.takes("warm")

    started = time.thread_time()
    taken = [selection.takes(path) for path in paths]

    assert taken == [False, False]
    assert time.thread_time() - started < 1


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    for path in ("a.jpg", "a.raw", "2026/b.jpg", "2026/b.JPG", "2026/tmp/c.jpg", "tmp/d.jpg", ""):
        s3.put_object(SOURCES, f"photos/{path}", path.encode())
    return s3


def built(s3: FakeS3, *files: dict[str, Any], most: int = 100) -> list[str]:
    limited = services(s3, limits=Limits(max_files=most, max_archive_bytes=1 << 30))
    key = build_archive({"files": list(files)}, delivery=delivery(), services=limited).key
    return sorted(unzipped(s3.content(ARCHIVES, key)))


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        (["*.jpg"], None, ["a.jpg"]),
        (["**/*.jpg"], ["**/tmp/**"], ["2026/b.jpg", "a.jpg"]),
        (["*.jpg", "2026/*.JPG"], None, ["2026/b.JPG", "a.jpg"]),
        (None, ["**/*.jpg"], ["2026/b.JPG", "a.raw"]),
    ],
)
def test_what_is_selected_is_archived(
    s3: FakeS3, include: list[str] | None, exclude: list[str] | None, taken: list[str]
) -> None:
    assert built(s3, {"source": "photos/", "include": include, "exclude": exclude}) == taken


def test_one_prefix_with_two_selections(s3: FakeS3) -> None:
    jpg = {"source": "photos/", "include": ["*.jpg"], "destination": "jpg"}
    raw = {"source": "photos/", "include": ["*.raw"], "destination": "raw"}

    assert built(s3, jpg, raw, jpg | {"destination": "again"}) == ["again/a.jpg", "jpg/a.jpg", "raw/a.raw"]


def test_what_is_left_out_does_not_count(s3: FakeS3) -> None:
    assert built(s3, {"source": "photos/", "include": ["*.jpg"]}, most=1) == ["a.jpg"]
    with pytest.raises(LimitExceeded):
        built(s3, {"source": "photos/", "include": ["*.*"]}, most=1)


@pytest.mark.parametrize("selection", [{"include": ["*.png"]}, {"exclude": ["**"]}])
def test_a_prefix_of_which_nothing_is_left_is_missing(s3: FakeS3, selection: dict[str, list[str]]) -> None:
    with pytest.raises(MissingSources, match="photos/"):
        built(s3, {"source": "photos/"} | selection)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ({"source": "a.jpg", "include": ["*"]}, "files[0].include: 'a.jpg' is no prefix, which would end in a slash"),
        ({"source": "a.jpg", "exclude": ["*"]}, "files[0].exclude: 'a.jpg' is no prefix"),
        ({"source": "a/", "include": []}, "files[0].include: "),
        ({"source": "a/", "include": "*.jpg"}, "files[0].include: "),
        ({"source": "a/", "include": ["x", ""]}, "files[0].include[1]: "),
        ({"source": "a/", "include": ["/x"]}, "files[0].include[0]: an empty segment"),
        ({"source": "a/", "exclude": ["x/"]}, "files[0].exclude[0]: an empty segment"),
        ({"source": "a/", "exclude": ["x" * 1025]}, "files[0].exclude[0]: "),
        ({"source": "a/", "exclude": ["x"] * 101}, "files[0].exclude: "),
    ],
)
def test_what_is_no_selection_is_refused(file: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        parse_request({"files": [file]}, max_files=10, default_bucket="b")

    assert refused.value.message.startswith(complaint)
